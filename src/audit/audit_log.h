/*
 * audit_log.h - a log as static files (c2sp.org/tlog-tiles) and the tail that auditd keeps beside them.
 *
 *   DIR/checkpoint            the newest signed checkpoint
 *   DIR/tile/L/N[.p/W]        hashes; N in three-digit path elements, all but the last with an x before it
 *   DIR/tile/entries/N[.p/W]  entry bundles: u16 length, leaf, 256 times or W times
 *   DIR/tail/FIRST            records acknowledged and not yet in bundles, as files of groups named by their first index
 */
#pragma once
#include "audit_journal.h"
#include "audit_note.h"

#define AUDIT_TILE_WIDTH  256
#define AUDIT_TILE_LEVELS 8
#define AUDIT_ENTRIES     (-1) /* as a level: entry bundles */
#define AUDIT_BUNDLE_MAX  (AUDIT_TILE_WIDTH * (size_t)(65535 + 2))

/* Path of a tile or bundle; `width` 256 for a full one. */
char *audit_tile_path(struct scope *s, const char *dir, int level, uint64_t n, unsigned width);

struct audit_log;
st audit_log_open(struct scope *s, const char *dir, struct audit_log **out);
void audit_log_close(struct audit_log *log);
/* The signed note, as it is; E_NOTFOUND when the log has none yet. */
st audit_log_checkpoint(struct scope *s, const struct audit_log *log, span *out);
/* The first `width` hashes of a tile, from the full one, from the partial one of this width, or from a wider one. Valid until
 * the next call. */
st audit_log_tile(struct scope *s, struct audit_log *log, int level, uint64_t n, unsigned width, const struct audit_hash **out);
/* Root of a perfect subtree from the tiles: an audit_source whose state is the struct audit_log. */
st audit_log_node(struct scope *s, void *log, unsigned height, uint64_t number, struct audit_hash *out);
/* Reads the bundle with at least `width` entries into `out`. */
st audit_log_bundle(struct scope *s, const struct audit_log *log, uint64_t n, unsigned width, struct buf *out);
/* Next leaf of a bundle; false at its end or when it is cut (then r->bad). */
bool audit_bundle_next(struct rd *r, span *out_leaf);

/* Remove partial tiles and bundles at `dir` that a tree of `old` leaves had and one of `new` leaves does not need. As well as it can be done. */
void audit_log_tidy(const char *dir, uint64_t old, uint64_t new);

/* Remove what was left beside the full entry bundle N, which nobody writes any more: partial ones, and what a process had begun when it died.
 * As well as it can be done. */
void audit_log_drop_leftovers(const char *dir, uint64_t n);

/* The files of the tail in order. `*out` is empty when there is no tail directory. */
struct audit_segment {
	uint64_t first;
	const char *path;
};
st audit_log_segments(struct scope *s, const char *dir, struct audit_segment **out, size_t *out_count);

/* Walks all leaves from `from` on, out of bundles and tail, in constant memory, until `each` returns false. */
typedef bool (*audit_each)(void *state, uint64_t index, span leaf);
st audit_log_each(struct scope *s, struct audit_log *log, uint64_t from, audit_each each, void *state);
/* The same out of bundles only. */
st audit_log_each_bundled(struct scope *s, struct audit_log *log, uint64_t from, audit_each each, void *state);
