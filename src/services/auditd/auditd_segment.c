#include "auditd_segment.h"
#include "file.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct segment {
	uint64_t first;
	int fd;
	char *path;
	bool stuck; /* it could not be removed, and that was said */
	struct segment *next;
};

static char *segment_path(struct scope *s, const char *dir, uint64_t first)
{
	return scope_printf(s, "%s/tail/%020llu", dir, (unsigned long long)first);
}

static void add_segment(struct segments *g, uint64_t first, const char *path, int fd)
{
	struct segment *new = heap_alloc(sizeof *new);
	*new = (struct segment){ .first = first, .fd = fd, .path = heap_copy_str(path) };
	if (g->active == NULL)
		g->oldest = new;
	else
		g->active->next = new;
	g->active = new;
	g->end = AUDIT_FILE_HEAD;
}

static void free_segment(struct segment *old)
{
	fd_auto(&old->fd);
	free(old->path);
	free(old);
}

static st write_at(struct scope *s, int fd, uint64_t offset, span bytes)
{
	while (bytes.len > 0) {
		ssize_t done = pwrite(fd, bytes.data, bytes.len, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return fail_errno(s, E_UNAVAILABLE, "the audit log cannot be written");
		bytes = span_from(bytes, (size_t)done);
		offset += (uint64_t)done;
	}
	return OK;
}

/* ---- room for the next file ---- */

#define ROOM_STEP ((size_t)64 << 10)
#define ROOM_MAX  ((uint64_t)32 << 20)

static void spare_path(const struct segments *g, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/tail/next", g->dir);
}

static void drop_spare(struct segments *g)
{
	char path[PATH_MAX];
	if (g->spare < 0)
		return;
	spare_path(g, path);
	(void)unlink(path);
	fd_auto(&g->spare);
	g->spare = -1;
}

static st write_zeroes(struct scope *s, int fd, uint64_t octets)
{
	static const uint8_t zeroes[ROOM_STEP] = { 0 };
	for (uint64_t at = 0; at < octets; at += ROOM_STEP)
		TRY(file_write_all(s, fd, SPAN_ARRAY(zeroes)));
	return fsync(fd) == 0 ? OK : fail_errno(s, E_IO, "syncing");
}

void segments_prepare(struct segments *g, uint64_t octets)
{
	char path[PATH_MAX];
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (octets == 0 || g->spare >= 0)
		return;
	spare_path(g, path);
	g->spare = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (g->spare < 0)
		return;
	if (fchmod(g->spare, 0640) != 0 || write_zeroes(&s, g->spare, octets < ROOM_MAX ? octets : ROOM_MAX).code != E_OK)
		drop_spare(g);
}

static st use_spare(struct scope *s, struct segments *g, const char *path, uint64_t first, int *out_fd)
{
	uint8_t head[AUDIT_FILE_HEAD];
	char spare[PATH_MAX];
	spare_path(g, spare);
	audit_file_head(AUDIT_FILE_TAIL, first, head);
	TRY(write_at(s, g->spare, 0, SPAN_ARRAY(head)));
	if (fdatasync(g->spare) != 0 || rename(spare, path) != 0)
		return fail_errno(s, E_IO, "%s", path);
	*out_fd = take_fd(&g->spare);
	g->spare = -1;
	return file_sync_directory_of(s, path);
}

void segments_close(struct segments *g)
{
	while (g->oldest != NULL) {
		struct segment *old = g->oldest;
		g->oldest = old->next;
		free_segment(old);
	}
	drop_spare(g);
	free(g->dir);
	*g = (struct segments){ .spare = -1 };
}

static st make_file(struct scope *s, struct segments *g, const char *path, uint64_t first, int *out_fd)
{
	uint8_t head[AUDIT_FILE_HEAD];
	if (g->spare >= 0)
		return use_spare(s, g, path, first, out_fd);
	audit_file_head(AUDIT_FILE_TAIL, first, head);
	TRY(file_replace(s, path, SPAN_ARRAY(head), 0640));
	*out_fd = open(path, O_RDWR | O_CLOEXEC);
	return *out_fd >= 0 ? OK : fail_errno(s, E_IO, "%s", path);
}

/* One that fails halfway is not left there: leaves go on in the file before it, and at the next start it would look as if those
 * from `first` on were lost. */
static st create_segment(struct scope *s, struct segments *g, uint64_t first)
{
	AUTO_FD fd = -1;
	char *path = segment_path(s, g->dir, first);
	st made = make_file(s, g, path, first, &fd);
	if (made.code != E_OK) {
		drop_spare(g);
		(void)unlink(path);
		return made;
	}
	add_segment(g, first, path, take_fd(&fd));
	return OK;
}

/* ---- reading at start ---- */

static st read_groups(struct scope *s, struct audit_reader *r, segment_leaf leaf, void *state, enum audit_read_outcome *out)
{
	for (;;) {
		TRY(audit_reader_next(s, r, out));
		if (*out != AUDIT_READ_GROUP)
			return OK;
		span record;
		uint64_t offset, index = r->group_first;
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		for (size_t at = 0; audit_reader_record(r, &at, &record, &offset); index++) {
			st status = leaf(&aside, state, index, record, offset);
			if (status.code != E_OK)
				return fail(s, status.code, "%s", aside.message);
		}
	}
}

static st load_segment(struct scope *s, struct segments *g, const struct audit_segment *found, bool last, segment_leaf leaf,
		       void *state)
{
	AUTO_FD fd = open(found->path, O_RDWR | O_CLOEXEC);
	AUTO_READER r = { .fd = -1 };
	enum audit_read_outcome outcome;
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", found->path);
	TRY(audit_reader_open(s, fd, AUDIT_FILE_TAIL, &r));
	if (r.first != found->first)
		return fail(s, E_STATE, "its name says %llu and its head %llu", (unsigned long long)found->first,
			    (unsigned long long)r.first);
	if (g->active != NULL && r.first != g->next)
		return fail(s, E_STATE, "leaves %llu to %llu are missing before it: restore the tail directory from a copy",
			    (unsigned long long)g->next, (unsigned long long)r.first - 1);
	TRY(read_groups(s, &r, leaf, state, &outcome));
	if (outcome == AUDIT_READ_TORN) {
		TRY(audit_reader_check_torn(s, &r));
		if (!last)
			return fail(s, E_STATE, "record %llu is damaged, and later ones were acknowledged",
				    (unsigned long long)r.next);
		log_put(LOG_LEVEL_NOTICE, "%s: an unfinished group behind record %llu, never acknowledged, is dropped",
			found->path, (unsigned long long)r.next);
		if (ftruncate(fd, (off_t)r.offset) != 0 || fsync(fd) != 0)
			return fail_errno(s, E_IO, "cutting off an unfinished group");
	}
	add_segment(g, found->first, found->path, take_fd(&fd));
	g->end = r.offset;
	g->next = r.next;
	return OK;
}

st segments_open(struct scope *s, struct segments *g, const char *dir, segment_leaf leaf, void *state)
{
	struct audit_segment *found;
	size_t count;
	g->dir = heap_copy_str(dir);
	g->spare = -1;
	TRY(audit_log_segments(s, dir, &found, &count));
	for (size_t i = 0; i < count; i++)
		TRY(fail_context(s, load_segment(s, g, &found[i], i + 1 == count, leaf, state), "%s", found[i].path));
	if (count == 0)
		TRY(create_segment(s, g, 0));
	/* What was read was there, but perhaps only in the page cache of a process that died before its sync: make sure once. */
	if (fsync(g->active->fd) != 0)
		return fail_errno(s, E_IO, "syncing %s", g->active->path);
	return OK;
}

st segments_first(struct scope *s, const char *dir, uint64_t *out)
{
	struct audit_segment *found;
	size_t count;
	TRY(audit_log_segments(s, dir, &found, &count));
	*out = count == 0 ? 0 : found[0].first;
	return OK;
}

/* ---- writing ---- */

/* After a failed sync the kernel may count pages as written that are not. So what was acknowledged is read back, checked, and
 * written to a new file that takes the place of the doubtful one once it is synced. */
static st rewrite_active(struct scope *s, struct segments *g)
{
	struct segment *active = g->active;
	AUTO_READER r = { .fd = -1 };
	enum audit_read_outcome outcome = AUDIT_READ_GROUP;
	AUTO_BUF copy;
	buf_init(&copy, 0);
	AUTO_FD old = open(active->path, O_RDONLY | O_CLOEXEC);
	if (old < 0 || !buf_reserve(&copy, (size_t)g->end))
		return fail_errno(s, E_UNAVAILABLE, "re-opening %s after a failed sync", active->path);
	TRY(audit_reader_open(s, old, AUDIT_FILE_TAIL, &r));
	while (r.offset < g->end && outcome == AUDIT_READ_GROUP)
		TRY(audit_reader_next(s, &r, &outcome));
	if (r.offset != g->end || pread(old, copy.data, (size_t)g->end, 0) != (ssize_t)g->end)
		return fail(s, E_UNAVAILABLE,
			    "%s cannot be read back whole after a failed sync: restore it from a copy and restart auditd",
			    active->path);
	copy.len = (size_t)g->end;
	TRY(file_replace(s, active->path, buf_span(&copy), 0640));
	AUTO_FD fresh = open(active->path, O_RDWR | O_CLOEXEC);
	if (fresh < 0)
		return fail_errno(s, E_UNAVAILABLE, "%s", active->path);
	(void)close(active->fd);
	active->fd = take_fd(&fresh);
	g->doubtful = false;
	log_put(LOG_LEVEL_NOTICE, "%s was read back and written anew after a failed sync", active->path);
	return OK;
}

st segments_write(struct scope *s, struct segments *g, span group)
{
	if (g->doubtful && rewrite_active(s, g).code != E_OK)
		return (st){ E_UNAVAILABLE };
	st status = write_at(s, g->active->fd, g->end, group);
	if (status.code == E_OK && fdatasync(g->active->fd) != 0) {
		g->doubtful = true;
		status = fail_errno(s, E_UNAVAILABLE, "the audit log cannot be synced");
	}
	if (status.code == E_OK) {
		g->end += group.len;
		return OK;
	}
	/* Never acknowledged, so it may go; when even that fails, the file is written anew. */
	if (ftruncate(g->active->fd, (off_t)g->end) != 0)
		g->doubtful = true;
	return status;
}

st segments_rotate(struct scope *s, struct segments *g, uint64_t next)
{
	if (g->end == AUDIT_FILE_HEAD)
		return OK;
	if (g->doubtful)
		TRY(rewrite_active(s, g));
	return create_segment(s, g, next);
}

static const struct segment *segment_of(const struct segments *g, uint64_t index)
{
	const struct segment *segment = g->oldest;
	while (segment->next != NULL && segment->next->first <= index)
		segment = segment->next;
	return segment;
}

int segments_file(const struct segments *g, uint64_t index, uint64_t *out_next)
{
	const struct segment *segment = segment_of(g, index);
	*out_next = segment->next != NULL ? segment->next->first : UINT64_MAX;
	return segment->fd;
}

st segments_read(struct scope *s, const struct segments *g, uint64_t index, uint64_t offset, uint32_t len, struct buf *out)
{
	const struct segment *segment = segment_of(g, index);
	if (!buf_reserve(out, len))
		return fail(s, E_LIMIT, "no room for leaf %llu", (unsigned long long)index);
	if (pread(segment->fd, out->data + out->len, len, (off_t)offset) != (ssize_t)len)
		return fail(s, E_IO, "leaf %llu cannot be read from %s", (unsigned long long)index, segment->path);
	out->len += len;
	return OK;
}

static bool remove_segment(struct segment *old)
{
	if (unlink(old->path) == 0 || errno == ENOENT)
		return true;
	if (!old->stuck)
		log_put(LOG_LEVEL_WARNING, "%s is in bundles now and cannot be removed: %s; it is tried again", old->path,
			strerror(errno));
	old->stuck = true;
	return false;
}

/* The oldest first, and none before it is gone: a gap would look like leaves that were lost, and nobody starts on that. */
void segments_trim(struct segments *g, uint64_t below)
{
	while (g->oldest != g->active && g->oldest->next->first <= below && remove_segment(g->oldest)) {
		struct segment *old = g->oldest;
		g->oldest = old->next;
		free_segment(old);
	}
}
