#include "auditd_push.h"

static st put_tile(struct scope *s, struct push *p, unsigned level, uint64_t n, unsigned width)
{
	const struct audit_hash *hash;
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	st put = audit_log_tile(&aside, p->log, (int)level, n, width, &hash);
	if (put.code == E_OK)
		put = p->put(&aside, p->state, (int)level, n, width, span_of(hash, width * sizeof *hash));
	return put.code == E_OK ? OK : fail(s, put.code, "%s", aside.message);
}

static st put_bundle(struct scope *s, struct push *p, uint64_t n, unsigned width)
{
	AUTO_BUF bundle;
	AUTO_SCOPE aside;
	buf_init(&bundle, AUDIT_BUNDLE_MAX);
	scope_init(&aside, s->source);
	st put = audit_log_bundle(&aside, p->log, n, width, &bundle);
	struct rd r = rd_of(buf_span(&bundle));
	span leaf;
	for (unsigned i = 0; put.code == E_OK && i < width; i++)
		if (!audit_bundle_next(&r, &leaf))
			put = fail(&aside, E_IO, "entry bundle %llu is cut", (unsigned long long)n);
	if (put.code == E_OK)
		put = p->put(&aside, p->state, AUDIT_ENTRIES, n, width, span_first(buf_span(&bundle), bundle.len - r.rest.len));
	return put.code == E_OK ? OK : fail(s, put.code, "%s", aside.message);
}

static st push_leaves(struct scope *s, struct push *p, uint64_t size)
{
	for (uint64_t n = p->pushed / AUDIT_TILE_WIDTH; n * AUDIT_TILE_WIDTH < size; n++) {
		uint64_t left = size - n * AUDIT_TILE_WIDTH;
		unsigned width = left < AUDIT_TILE_WIDTH ? (unsigned)left : AUDIT_TILE_WIDTH;
		if (p->stopping(p->state))
			return fail(s, E_UNAVAILABLE, "auditd is being stopped");
		if (p->entries)
			TRY(put_bundle(s, p, n, width));
		TRY(put_tile(s, p, 0, n, width));
		if (width == AUDIT_TILE_WIDTH)
			p->pushed = (n + 1) * AUDIT_TILE_WIDTH;
	}
	return OK;
}

st push_files(struct scope *s, struct push *p, uint64_t from, uint64_t size)
{
	TRY(push_leaves(s, p, size));
	for (unsigned level = 1; level < AUDIT_TILE_LEVELS && size >> (8 * level) > 0; level++) {
		uint64_t hashes = size >> (8 * level);
		for (uint64_t n = from >> (8 * level) >> 8; n * AUDIT_TILE_WIDTH < hashes; n++) {
			uint64_t left = hashes - n * AUDIT_TILE_WIDTH;
			TRY(put_tile(s, p, level, n, left < AUDIT_TILE_WIDTH ? (unsigned)left : AUDIT_TILE_WIDTH));
		}
	}
	return OK;
}
