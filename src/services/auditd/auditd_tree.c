#include "auditd_tree.h"
#include "file.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILES_MAX 128 /* written and not yet synced */
/* So many are synced with the whole file system, in a third of the time and with a third of the requests; fewer alone, since
 * what others have to write there must not make a quiet log wait (docs/decisions/0069). */
#define SYNC_ALL_FROM 16

struct open_file {
	int fd;
	char *beside, *path;
};

struct tree {
	char *dir;
	uint64_t size;
	struct audit_range range;
	/* The tiles at the right edge, one a level: what is full has gone to its file. */
	struct audit_hash hash[AUDIT_TILE_LEVELS][AUDIT_TILE_WIDTH];
	unsigned width[AUDIT_TILE_LEVELS];
	unsigned written[AUDIT_TILE_LEVELS]; /* width that a file has already */
	struct buf bundle;                   /* the entries of the tile of level 0 */
	struct open_file file[FILES_MAX];
	size_t files;
	char *made; /* directory that was made or found last */
};

uint64_t tree_size(const struct tree *t)
{
	return t->size;
}

struct audit_hash tree_root(const struct tree *t)
{
	return audit_range_root(&t->range);
}

/* ---- files: written beside, synced together, renamed into place, directories synced ---- */

static void forget_files(struct tree *t)
{
	for (size_t i = 0; i < t->files; i++) {
		fd_auto(&t->file[i].fd);
		(void)unlink(t->file[i].beside);
		free(t->file[i].beside);
		free(t->file[i].path);
	}
	t->files = 0;
}

static bool same_directory(const char *a, const char *b)
{
	size_t len = (size_t)(strrchr(a, '/') - a);
	return (size_t)(strrchr(b, '/') - b) == len && memcmp(a, b, len) == 0;
}

/* Tiles and bundles take turns, so the directory synced last is not enough to know. */
static bool directory_is_synced(const struct tree *t, size_t i)
{
	for (size_t k = i; k-- > 0;)
		if (same_directory(t->file[k].path, t->file[i].path))
			return true;
	return false;
}

static st sync_contents(struct scope *s, const struct tree *t)
{
	if (t->files >= SYNC_ALL_FROM)
		return syncfs(t->file[0].fd) == 0 ? OK : fail_errno(s, E_IO, "syncing the file system of %s", t->dir);
	for (size_t i = 0; i < t->files; i++)
		if (fsync(t->file[i].fd) != 0)
			return fail_errno(s, E_IO, "syncing %s", t->file[i].beside);
	return OK;
}

static st sync_files(struct scope *s, struct tree *t)
{
	TRY(sync_contents(s, t));
	for (size_t i = 0; i < t->files; i++)
		if (rename(t->file[i].beside, t->file[i].path) != 0)
			return fail_errno(s, E_IO, "renaming to %s", t->file[i].path);
	for (size_t i = 0; i < t->files; i++)
		if (!directory_is_synced(t, i))
			TRY(file_sync_directory_of(s, t->file[i].path));
	forget_files(t);
	return OK;
}

/* The directories of a tile's path, each durable in the one above it. */
static st make_parents(struct scope *s, struct tree *t, const char *path)
{
	char *parent = scope_cstr(s, span_of(path, (size_t)(strrchr(path, '/') - path)));
	if (t->made != NULL && strcmp(t->made, parent) == 0)
		return OK;
	if (!file_exists(parent)) {
		TRY(file_make_directory(s, parent, 0755));
		for (char *up = parent; strlen(up) > strlen(t->dir);
		     up = scope_cstr(s, span_of(up, (size_t)(strrchr(up, '/') - up))))
			TRY(file_sync_directory_of(s, up));
	}
	free(t->made);
	t->made = heap_copy_str(parent);
	return OK;
}

static st write_file(struct scope *s, struct tree *t, int level, uint64_t n, unsigned width, span bytes)
{
	if (t->files == FILES_MAX)
		TRY(sync_files(s, t));
	char *path = audit_tile_path(s, t->dir, level, n, width);
	TRY(make_parents(s, t, path));
	struct open_file *f = &t->file[t->files];
	*f = (struct open_file){ .beside = heap_copy_str(scope_printf(s, "%s.new", path)), .path = heap_copy_str(path) };
	f->fd = open(f->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	t->files++;
	if (f->fd < 0)
		return fail_errno(s, E_IO, "%s", f->beside);
	return fail_context(s, file_write_all(s, f->fd, bytes), "%s", f->beside);
}

//= c2sp tlog-tiles "Partial Tiles" partial ones may be deleted once the full one is there
static void remove_partials(struct tree *t, int level, uint64_t n)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char *folder = scope_printf(&s, "%s.p", audit_tile_path(&s, t->dir, level, n, AUDIT_TILE_WIDTH));
	char **name;
	size_t count = 0;
	(void)file_list(&s, folder, &name, &count).code;
	for (size_t i = 0; i < count; i++)
		(void)unlink(scope_printf(&s, "%s/%s", folder, name[i]));
	(void)rmdir(folder);
}

/* ---- the tree ---- */

static span tile_bytes(const struct tree *t, unsigned level)
{
	return span_of(t->hash[level], t->width[level] * sizeof t->hash[level][0]);
}

static uint64_t tile_number(const struct tree *t, unsigned level)
{
	return level * 8 + 8 >= 64 ? 0 : t->size >> (8 * level + 8);
}

/* A full tile goes to its file, and its root becomes a hash of the level above. `n` is its number. */
static st tile_full(struct scope *s, struct tree *t, unsigned level, uint64_t n)
{
	TRY(write_file(s, t, (int)level, n, AUDIT_TILE_WIDTH, tile_bytes(t, level)));
	if (level == 0) {
		TRY(write_file(s, t, AUDIT_ENTRIES, n, AUDIT_TILE_WIDTH, buf_span(&t->bundle)));
		t->bundle.len = 0;
	}
	if (t->written[level] > 0) {
		/* The full files must be in place before the partial ones go. */
		TRY(sync_files(s, t));
		remove_partials(t, (int)level, n);
		if (level == 0)
			remove_partials(t, AUDIT_ENTRIES, n);
	}
	struct audit_hash root = audit_root_of(t->hash[level], AUDIT_TILE_WIDTH);
	t->width[level] = 0;
	t->written[level] = 0;
	if (level + 1 == AUDIT_TILE_LEVELS)
		return fail(s, E_LIMIT, "the log is full");
	t->hash[level + 1][t->width[level + 1]++] = root;
	return OK;
}

st tree_add(struct scope *s, struct tree *t, span leaf, const struct audit_hash *hash)
{
	uint8_t length[2] = { (uint8_t)(leaf.len >> 8), (uint8_t)leaf.len };
	if (leaf.len > UINT16_MAX || !buf_append(&t->bundle, SPAN_ARRAY(length)) || !buf_append(&t->bundle, leaf))
		return fail(s, E_LIMIT, "leaf %llu does not fit a bundle", (unsigned long long)t->size);
	t->hash[0][t->width[0]++] = *hash;
	audit_range_add(&t->range, hash);
	t->size++;
	for (unsigned level = 0; level < AUDIT_TILE_LEVELS && t->width[level] == AUDIT_TILE_WIDTH; level++)
		TRY(tile_full(s, t, level, tile_number(t, level) - 1));
	return OK;
}

st tree_flush(struct scope *s, struct tree *t)
{
	for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++) {
		if (t->width[level] == 0 || t->width[level] == t->written[level])
			continue;
		uint64_t n = tile_number(t, level);
		TRY(write_file(s, t, (int)level, n, t->width[level], tile_bytes(t, level)));
		if (level == 0)
			TRY(write_file(s, t, AUDIT_ENTRIES, n, t->width[0], buf_span(&t->bundle)));
		t->written[level] = t->width[level];
	}
	return sync_files(s, t);
}

void tree_close(struct tree *t)
{
	if (t == NULL)
		return;
	forget_files(t);
	buf_free(&t->bundle);
	free(t->made);
	free(t->dir);
	free(t);
}

/* The entries of the last, partial bundle must be those that its tile has hashes of. */
static st load_bundle(struct scope *s, struct tree *t, const struct audit_log *log)
{
	AUTO_BUF bundle;
	buf_init(&bundle, AUDIT_BUNDLE_MAX);
	TRY(audit_log_bundle(s, log, t->size / AUDIT_TILE_WIDTH, t->width[0], &bundle));
	struct rd r = rd_of(buf_span(&bundle));
	for (unsigned i = 0; i < t->width[0]; i++) {
		span leaf = { 0 };
		bool there = audit_bundle_next(&r, &leaf);
		struct audit_hash hash = audit_leaf_hash(leaf);
		if (!there || !audit_hash_equal(&hash, &t->hash[0][i]))
			return fail(s, E_STATE, "leaf %llu is not the one whose hash is in its tile",
				    (unsigned long long)(t->size - t->width[0] + i));
	}
	if (!buf_append(&t->bundle, span_first(buf_span(&bundle), bundle.len - r.rest.len)))
		return fail(s, E_BUG, "a bundle does not fit its buffer");
	return OK;
}

static st load(struct scope *s, struct tree *t, struct audit_log *log)
{
	struct audit_source source = { .node = audit_log_node, .state = log };
	for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++) {
		const struct audit_hash *hash;
		t->width[level] = (unsigned)(t->size >> (8 * level)) % AUDIT_TILE_WIDTH;
		t->written[level] = t->width[level];
		if (t->width[level] == 0)
			continue;
		TRY(audit_log_tile(s, log, (int)level, tile_number(t, level), t->width[level], &hash));
		memcpy(t->hash[level], hash, t->width[level] * sizeof *hash);
	}
	TRY(audit_source_range(s, &source, t->size, &t->range));
	return t->width[0] == 0 ? OK : load_bundle(s, t, log);
}

st tree_open(struct scope *s, const char *dir, struct audit_log *log, uint64_t size, struct tree **out)
{
	struct tree *t = heap_alloc(sizeof *t);
	t->dir = heap_copy_str(dir);
	t->size = size;
	buf_init(&t->bundle, AUDIT_BUNDLE_MAX);
	st status = fail_context(s, load(s, t, log), "the tree of %llu leaves", (unsigned long long)size);
	if (status.code != E_OK) {
		tree_close(t);
		return status;
	}
	*out = t;
	return OK;
}
