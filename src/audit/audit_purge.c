#include "audit_purge.h"
#include "failpoint.h"
#include "file.h"

uint64_t audit_purge_end(uint64_t size)
{
	return size - size % AUDIT_TILE_WIDTH;
}

/* The bundle without what is to go; how many of these there were. */
static st without(struct scope *s, span bundle, uint64_t begin, const struct audit_going *going, struct buf *out,
		  uint64_t *out_removed)
{
	struct rd r = rd_of(bundle);
	struct wr w = wr_into(out);
	uint64_t index = begin;
	span leaf;
	*out_removed = 0;
	for (; index < begin + AUDIT_TILE_WIDTH && audit_bundle_next(&r, &leaf); index++) {
		bool goes = going->next(going->state, index) == index;
		*out_removed += goes && leaf.len > 0;
		wr_u16(&w, goes ? 0 : (uint16_t)leaf.len);
		if (!goes)
			wr_raw(&w, leaf);
	}
	if (r.bad || index < begin + AUDIT_TILE_WIDTH || r.rest.len > 0)
		return fail(s, E_INPUT, "entry bundle %llu does not hold %d whole records; see `chancery audit verify`",
			    (unsigned long long)(begin / AUDIT_TILE_WIDTH), AUDIT_TILE_WIDTH);
	return wr_end(s, &w);
}

static st purge_bundle(struct scope *s, struct audit_log *log, const char *dir, uint64_t n, const struct audit_going *going,
		       uint64_t *out_removed)
{
	AUTO_BUF bundle, rest;
	buf_init(&bundle, AUDIT_BUNDLE_MAX);
	buf_init(&rest, AUDIT_BUNDLE_MAX);
	TRY(audit_log_bundle(s, log, n, AUDIT_TILE_WIDTH, &bundle));
	TRY(without(s, buf_span(&bundle), n * AUDIT_TILE_WIDTH, going, &rest, out_removed));
	audit_log_drop_leftovers(dir, n); /* what goes would stay in them */
	const char *path = audit_tile_path(s, dir, AUDIT_ENTRIES, n, AUDIT_TILE_WIDTH);
	if (*out_removed == 0) /* by an attempt whose sync may have failed */
		return file_sync_directory_of(s, path);
	FAILPOINT("audit.purge");
	return file_replace(s, path, buf_span(&rest), 0644);
}

st audit_purge(struct scope *s, const char *dir, const struct audit_going *going, uint64_t *out_removed)
{
	struct audit_log *log;
	uint64_t removed = 0, index = going->next(going->state, 0);
	st status = audit_log_open(s, dir, &log);
	TRY(status);
	while (index != UINT64_MAX && status.code == E_OK) {
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		uint64_t some = 0, n = index / AUDIT_TILE_WIDTH;
		st purged = purge_bundle(&aside, log, dir, n, going, &some);
		removed += some;
		if (purged.code != E_OK)
			status = fail(s, purged.code, "%s", aside.message);
		index = going->next(going->state, (n + 1) * AUDIT_TILE_WIDTH);
	}
	audit_log_close(log);
	TRY(status);
	*out_removed = removed;
	return OK;
}
