/*
 * auditd_segment.h - the files of the tail: DIR/tail/FIRST, written at their end by one thread, read by index.
 */
#pragma once
#include "audit_log.h"

struct segment;
struct segments {
	char *dir;
	struct segment *oldest, *active;
	uint64_t next; /* index behind the last group */
	uint64_t end;  /* offset behind the last group that was synced, in the active file */
	/* Room for the next file, `tail/next`, its blocks written with zeroes: appending to it changes no metadata. -1: none. */
	int spare;
	bool doubtful; /* a sync failed: nobody knows what the file has behind `end` (and the kernel forgets having said so) */
};

typedef st (*segment_leaf)(struct scope *s, void *state, uint64_t index, span leaf, uint64_t offset);
/* Reads all segments in order, giving each leaf to `leaf`; drops an unfinished group at the very end; makes the first segment of
 * a new log. E_STATE for a gap, or for damage to what was acknowledged. */
st segments_open(struct scope *s, struct segments *g, const char *dir, segment_leaf leaf, void *state);
void segments_close(struct segments *g);
/* First index in the tail; 0 when there is no tail yet. */
st segments_first(struct scope *s, const char *dir, uint64_t *out);
/* Writes and syncs one group. On failure nothing of it is in the file, or the file is made anew before the next group is written. */
st segments_write(struct scope *s, struct segments *g, span group);
/* Makes room of so many octets for the next file, at most 32 MiB; groups may be written meanwhile. Without room, or behind its end,
 * groups are appended: it is faster with it and no worse without, so that failing is not said. 0: none is made. */
void segments_prepare(struct segments *g, uint64_t octets);
/* Closes the active file, unless it is empty, and begins one at `next`. */
st segments_rotate(struct scope *s, struct segments *g, uint64_t next);
st segments_read(struct scope *s, const struct segments *g, uint64_t index, uint64_t offset, uint32_t len, struct buf *out);
/* The file that has this leaf; *out_next is the first leaf of the one behind it. A closed one stays as it is until segments_trim(). */
int segments_file(const struct segments *g, uint64_t index, uint64_t *out_next);
/* Removes closed files whose leaves are all below this. */
void segments_trim(struct segments *g, uint64_t below);
