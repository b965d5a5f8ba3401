/*
 * audit_verify.h - checking a whole log off-line, from its static files alone and in constant memory.
 *
 * Every entry bundle against the hashes of its tile, every tile against the tiles below it, the root against the signed
 * checkpoint, the signature against the public key, the envelopes without gap, the records against the catalogue; then what
 * daemons have kept ("anchors": checkpoints they were acknowledged under) against the log, and the tail that no checkpoint
 * covers yet.
 */
#pragma once
#include "audit_log.h"
#include "audit_record.h"
#include "audit_writers.h"

/* The verdict is the exit code of `chancery audit verify`. */
enum audit_verdict { AUDIT_SOUND = 0, AUDIT_UNSOUND = 1, AUDIT_NOT_ANCHORED = 2 };

struct audit_anchor {
	const char *name; /* of its file, for the report */
	span note;
	bool came_along; /* with the copy that is verified: it must agree, but it is no word of anybody else */
};

struct audit_verify {
	const char *dir;
	const struct audit_key *key;
	size_t key_count;
	/* Read them before calling: a daemon may get a newer one while this runs. */
	const struct audit_anchor *anchor;
	size_t anchor_count;
	/* Called for each record that is sound by itself, in the order of the log, those of the tail too; NULL: nobody is. */
	void (*visit)(void *state, const struct audit_envelope *envelope, span leaf);
	void *state;
	/* Called for each entry whose content was removed (audit_purge.h); whether somebody might do that is the caller's to judge. NULL: each is
	 * a finding. */
	void (*removed)(void *state, uint64_t index);
	void *removed_state;
	span checkpoint; /* the one to hold the log to; empty: the one in `dir` */
	span since;      /* a checkpoint verified earlier: only what follows is read, and that it follows; empty: everything */
};

struct audit_report {
	enum audit_verdict verdict;
	bool has_index; /* of the first bad record */
	uint64_t index;
	char problem[SCOPE_MESSAGE_MAX]; /* empty when sound */
	struct audit_checkpoint checkpoint;
	uint64_t from;        /* leaves [from, checkpoint.size) were read */
	uint64_t tail;        /* leaves behind the checkpoint, verified by their structure only */
	bool tail_unfinished; /* the tail ends in a group whose writer is at it or died: not acknowledged */
	uint64_t removed;     /* of these, entries without content: their hashes were read */
	size_t anchors;       /* that agree with the log */
	size_t came_along;    /* so many of these came with the copy itself */
	uint64_t anchored;    /* leaves that `since`, or the largest of those that did not, covers */
	/* Writers by their own numbers, in the scope given to audit_verify. */
	const struct audit_writer *writer;
	size_t writers;
	int64_t begin, end; /* time of receipt of the first and the last record that was read; 0: none was */
};

/* Fails only when it cannot be done (no such directory, disk errors); what is wrong with the log is in the report. */
st audit_verify(struct scope *s, const struct audit_verify *request, struct audit_report *out);

/* ---- audit show ---- */
struct audit_filter {
	const char *event;  /* NULL: all */
	const char *serial; /* value of the field "serial"; NULL: all */
	uint64_t from, to;  /* indices, `to` exclusive; 0: to the end */
};
typedef bool (*audit_show)(void *state, const struct audit_envelope *envelope, span leaf);
/* Calls `show` for the leaves that fit, until it returns false. */
st audit_log_select(struct scope *s, struct audit_log *log, const struct audit_filter *filter, audit_show show, void *state);
