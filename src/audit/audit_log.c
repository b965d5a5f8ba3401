#include "audit_log.h"
#include "file.h"
#include "text.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRIES 4

struct audit_log {
	char *dir;
	int level; /* of the tile in `hash`; what it holds is `width` hashes */
	uint64_t n;
	unsigned width;
	struct audit_hash hash[AUDIT_TILE_WIDTH];
};

//= c2sp tlog-tiles "Merkle Tree" index in zero-padded three-digit elements, all but the last with an x
static char *index_path(struct scope *s, uint64_t n)
{
	char *path = scope_printf(s, "%03u", (unsigned)(n % 1000));
	for (n /= 1000; n > 0; n /= 1000)
		path = scope_printf(s, "x%03u/%s", (unsigned)(n % 1000), path);
	return path;
}

char *audit_tile_path(struct scope *s, const char *dir, int level, uint64_t n, unsigned width)
{
	char *kind = level == AUDIT_ENTRIES ? scope_printf(s, "entries") : scope_printf(s, "%d", level);
	char *path = scope_printf(s, "%s/tile/%s/%s", dir, kind, index_path(s, n));
	return width == AUDIT_TILE_WIDTH ? path : scope_printf(s, "%s.p/%u", path, width);
}

st audit_log_open(struct scope *s, const char *dir, struct audit_log **out)
{
	if (!file_exists(dir))
		return fail_errno(s, E_NOTFOUND, "log directory %s", dir);
	struct audit_log *log = heap_alloc(sizeof *log);
	log->dir = heap_copy_str(dir);
	*out = log;
	return OK;
}

void audit_log_close(struct audit_log *log)
{
	if (log == NULL)
		return;
	free(log->dir);
	free(log);
}

st audit_log_checkpoint(struct scope *s, const struct audit_log *log, span *out)
{
	return file_read(s, scope_printf(s, "%s/checkpoint", log->dir), AUDIT_NOTE_MAX, out);
}

/* Widest partial file with at least `width` entries; 0 when there is none. */
static st find_partial(struct scope *s, const char *dir, int level, uint64_t n, unsigned width, unsigned *out_widest)
{
	char **name;
	size_t count = 0;
	st listed = file_list(s, scope_printf(s, "%s.p", audit_tile_path(s, dir, level, n, AUDIT_TILE_WIDTH)), &name, &count);
	if (listed.code != E_OK && listed.code != E_NOTFOUND)
		return listed;
	scope_clear_error(s);
	*out_widest = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t w;
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		if (decimal_parse(&aside, span_str(name[i]), AUDIT_TILE_WIDTH - 1, &w).code == E_OK && w >= width &&
		    w > *out_widest)
			*out_widest = (unsigned)w;
	}
	return OK;
}

/* The file that has these entries: full, of exactly this width, or wider. */
static st find_file(struct scope *s, const char *dir, int level, uint64_t n, unsigned width, char **out)
{
	*out = audit_tile_path(s, dir, level, n, AUDIT_TILE_WIDTH);
	if (file_exists(*out))
		return OK;
	char *full = *out;
	if (width < AUDIT_TILE_WIDTH) {
		*out = audit_tile_path(s, dir, level, n, width);
		if (file_exists(*out))
			return OK;
		unsigned wider;
		TRY(find_partial(s, dir, level, n, width, &wider));
		*out = audit_tile_path(s, dir, level, n, wider);
		if (wider != 0)
			return OK;
	}
	return fail(s, E_NOTFOUND, "%s is missing (%u entries are needed)", full, width);
}

/* A log that is being written loses a partial file when the full one takes its place: then look again. */
static st read_tile(struct scope *s, const struct audit_log *log, int level, uint64_t n, unsigned width, char **out_path,
		    span *out)
{
	st status = { E_NOTFOUND };
	for (int i = 0; i < TRIES && status.code == E_NOTFOUND; i++) {
		scope_clear_error(s);
		status = find_file(s, log->dir, level, n, width, out_path);
		if (status.code == E_OK)
			status = file_read(s, *out_path, sizeof log->hash, out);
	}
	return status;
}

st audit_log_tile(struct scope *s, struct audit_log *log, int level, uint64_t n, unsigned width, const struct audit_hash **out)
{
	if (log->width < width || log->level != level || log->n != n) {
		char *path;
		span bytes;
		TRY(read_tile(s, log, level, n, width, &path, &bytes));
		if (bytes.len % AUDIT_HASH_LEN != 0 || bytes.len / AUDIT_HASH_LEN < width)
			return fail(s, E_INPUT, "%s has %zu bytes: not %u hashes", path, bytes.len, width);
		memcpy(log->hash, bytes.data, bytes.len);
		log->level = level;
		log->n = n;
		log->width = (unsigned)(bytes.len / AUDIT_HASH_LEN);
	}
	*out = log->hash;
	return OK;
}

st audit_log_node(struct scope *s, void *state, unsigned height, uint64_t number, struct audit_hash *out)
{
	struct audit_log *log = state;
	unsigned level = height / 8, within = height % 8;
	const struct audit_hash *hash;
	/* 2^within neighbours in one tile, which begin at a multiple of that. */
	uint64_t first = number << within;
	unsigned begin = (unsigned)(first % AUDIT_TILE_WIDTH), count = 1u << within;
	if (level >= AUDIT_TILE_LEVELS)
		return fail(s, E_LIMIT, "no log is that large");
	TRY(audit_log_tile(s, log, (int)level, first / AUDIT_TILE_WIDTH, begin + count, &hash));
	*out = audit_root_of(hash + begin, count);
	return OK;
}

st audit_log_bundle(struct scope *s, const struct audit_log *log, uint64_t n, unsigned width, struct buf *out)
{
	char *path = NULL;
	AUTO_FD fd = -1;
	for (int i = 0; i < TRIES && fd < 0; i++) {
		TRY(find_file(s, log->dir, AUDIT_ENTRIES, n, width, &path));
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	off_t len = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (len < 0)
		return fail_errno(s, E_IO, "%s", path);
	out->cap = AUDIT_BUNDLE_MAX;
	out->len = 0;
	if ((uint64_t)len > AUDIT_BUNDLE_MAX || !buf_reserve(out, (size_t)len))
		return fail(s, E_INPUT, "%s is larger than any bundle can be", path);
	while (out->len < (size_t)len) {
		ssize_t got = pread(fd, out->data + out->len, (size_t)len - out->len, (off_t)out->len);
		if (got < 0)
			return fail_errno(s, E_IO, "%s", path);
		if (got == 0)
			return fail(s, E_INPUT, "%s became shorter while it was read", path);
		out->len += (size_t)got;
	}
	return OK;
}

bool audit_bundle_next(struct rd *r, span *out_leaf)
{
	if (r->rest.len == 0)
		return false;
	uint16_t len = rd_u16(r);
	*out_leaf = rd_raw(r, len);
	return !r->bad;
}

static int by_first(const void *a, const void *b)
{
	const struct audit_segment *left = a, *right = b;
	return (left->first > right->first) - (left->first < right->first);
}

st audit_log_segments(struct scope *s, const char *dir, struct audit_segment **out, size_t *out_count)
{
	char *folder = scope_printf(s, "%s/tail", dir);
	char **name;
	size_t names = 0, count = 0;
	st listed = file_list(s, folder, &name, &names);
	if (listed.code != E_OK && listed.code != E_NOTFOUND)
		return listed;
	scope_clear_error(s);
	struct audit_segment *found = scope_alloc(s, (names + 1) * sizeof *found);
	for (size_t i = 0; i < names; i++) {
		uint64_t first;
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		if (decimal_parse(&aside, span_str(name[i]), UINT64_MAX, &first).code != E_OK)
			continue;
		found[count++] = (struct audit_segment){ .first = first, .path = scope_printf(s, "%s/%s", folder, name[i]) };
	}
	qsort(found, count, sizeof *found, by_first);
	*out = found;
	*out_count = count;
	return OK;
}

/* ---- walking ---- */

struct walk {
	uint64_t next;
	audit_each each;
	void *state;
	bool more;
};

/* The bundle that holds leaf w->next, as far as it goes; E_NOTFOUND when there is none. */
static st walk_bundle(struct scope *s, const struct audit_log *log, struct walk *w, struct buf *bundle)
{
	uint64_t n = w->next / AUDIT_TILE_WIDTH, first = n * AUDIT_TILE_WIDTH, begun = w->next;
	TRY(audit_log_bundle(s, log, n, (unsigned)(w->next % AUDIT_TILE_WIDTH) + 1, bundle));
	struct rd r = rd_of(buf_span(bundle));
	span leaf;
	for (uint64_t index = first; w->more && index < first + AUDIT_TILE_WIDTH && audit_bundle_next(&r, &leaf); index++) {
		if (index < w->next)
			continue;
		w->more = w->each(w->state, index, leaf);
		w->next += w->more;
	}
	if (r.bad)
		return fail(s, E_INPUT, "entry bundle %llu is cut inside leaf %llu", (unsigned long long)n,
			    (unsigned long long)w->next);
	/* Its name promised the leaf that was asked for. */
	if (w->more && (w->next == begun || (w->next == first + AUDIT_TILE_WIDTH && r.rest.len > 0)))
		return fail(s, E_INPUT, "entry bundle %llu has not as many records as its name says", (unsigned long long)n);
	return OK;
}

static st walk_segment(struct scope *s, const struct audit_segment *segment, struct walk *w)
{
	AUTO_READER r = { .fd = -1 };
	AUTO_FD fd = open(segment->path, O_RDONLY | O_CLOEXEC);
	enum audit_read_outcome outcome = AUDIT_READ_GROUP;
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", segment->path);
	TRY(fail_context(s, audit_reader_open(s, fd, AUDIT_FILE_TAIL, &r), "%s", segment->path));
	while (w->more) {
		TRY(audit_reader_next(s, &r, &outcome));
		if (outcome != AUDIT_READ_GROUP)
			break;
		span leaf;
		uint64_t offset, index = r.group_first;
		for (size_t at = 0; w->more && audit_reader_record(&r, &at, &leaf, &offset); index++) {
			if (index != w->next)
				continue;
			w->more = w->each(w->state, index, leaf);
			w->next += w->more;
		}
	}
	return OK;
}

static st walk_bundles(struct scope *s, const struct audit_log *log, struct walk *w)
{
	AUTO_BUF bundle;
	buf_init(&bundle, AUDIT_BUNDLE_MAX);
	AUTO_SCOPE aside; /* what one bundle needs of memory is given back before the next */
	scope_init(&aside, s->source);
	st status = OK;
	while (w->more && (status = walk_bundle(&aside, log, w, &bundle)).code == E_OK)
		scope_reset(&aside);
	if (status.code == E_OK || status.code == E_NOTFOUND)
		return OK;
	return fail(s, status.code, "%s", aside.message);
}

st audit_log_each_bundled(struct scope *s, struct audit_log *log, uint64_t from, audit_each each, void *state)
{
	struct walk w = { .next = from, .each = each, .state = state, .more = true };
	return walk_bundles(s, log, &w);
}

st audit_log_each(struct scope *s, struct audit_log *log, uint64_t from, audit_each each, void *state)
{
	struct walk w = { .next = from, .each = each, .state = state, .more = true };
	struct audit_segment *segment;
	size_t count;
	TRY(walk_bundles(s, log, &w));
	TRY(audit_log_segments(s, log->dir, &segment, &count));
	for (size_t i = 0; i < count && w.more; i++)
		TRY(walk_segment(s, &segment[i], &w));
	return OK;
}

/* ---- partial tiles that are needed no more ---- */

//= c2sp tlog-tiles "Partial Tiles" partial ones may be deleted once the full one is there, or a wider one
static void tidy_level(struct scope *s, const char *dir, int level, uint64_t n, unsigned width)
{
	char *folder = scope_printf(s, "%s.p", audit_tile_path(s, dir, level, n, AUDIT_TILE_WIDTH));
	char **name;
	size_t count = 0;
	if (file_list(s, folder, &name, &count).code != E_OK)
		scope_clear_error(s);
	for (size_t i = 0; i < count; i++)
		if (strcmp(name[i], scope_printf(s, "%u", width)) != 0)
			(void)unlink(scope_printf(s, "%s/%s", folder, name[i]));
	if (width == 0)
		(void)rmdir(folder);
}

/* A process that died while it wrote a bundle has left what it had of it beside. */
static void drop_unfinished(struct scope *s, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = scope_cstr(s, span_of(path, (size_t)(slash - path))), *begin = scope_printf(s, "%s.", slash + 1);
	char **name;
	size_t count = 0;
	if (file_list(s, folder, &name, &count).code != E_OK)
		scope_clear_error(s);
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(name[i]);
		if (strncmp(name[i], begin, strlen(begin)) == 0 && len > 4 && strcmp(name[i] + len - 4, ".new") == 0)
			(void)unlink(scope_printf(s, "%s/%s", folder, name[i]));
	}
}

void audit_log_drop_leftovers(const char *dir, uint64_t n)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	tidy_level(&s, dir, AUDIT_ENTRIES, n, 0);
	drop_unfinished(&s, audit_tile_path(&s, dir, AUDIT_ENTRIES, n, AUDIT_TILE_WIDTH));
}

void audit_log_tidy(const char *dir, uint64_t old, uint64_t new)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++) {
		uint64_t was = old >> (8 * level), is = new >> (8 * level);
		unsigned width = was >> 8 == is >> 8 ? (unsigned)(is % AUDIT_TILE_WIDTH) : 0;
		tidy_level(&s, dir, (int)level, was >> 8, width);
		if (level == 0)
			tidy_level(&s, dir, AUDIT_ENTRIES, was >> 8, width);
	}
}
