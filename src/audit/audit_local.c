#include "audit_local.h"
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct audit_local {
	char *path;
	int fd;
	pthread_mutex_t lock; /* flock() does not keep the threads of one process apart */
	uint64_t next;        /* index behind the last group known here, and where it ends */
	uint64_t end;
	struct audit_group group;
};

static st create(struct scope *s, const char *path)
{
	uint8_t head[AUDIT_FILE_HEAD];
	if (file_exists(path)) /* nothing is made beside it: a daemon's fence may hold this file alone */
		return OK;
	audit_file_head(AUDIT_FILE_JOURNAL, 0, head);
	st status = file_create(s, path, SPAN_ARRAY(head), 0600);
	if (status.code != E_CONFLICT)
		return status;
	scope_clear_error(s);
	return OK;
}

/* Under the lock: what others wrote since, and what a writer that died left unfinished is cut off. */
static st catch_up(struct scope *s, struct audit_local *j)
{
	AUTO_READER r = { .fd = -1 };
	enum audit_read_outcome outcome;
	TRY(fail_context(s, audit_reader_open(s, j->fd, AUDIT_FILE_JOURNAL, &r), "%s", j->path));
	if (r.first != 0)
		return fail(s, E_INPUT,
			    "%s begins with record %llu: it is a part of something else, a journal begins with record 0",
			    j->path, (unsigned long long)r.first);
	if (j->end > 0) {
		r.offset = j->end;
		r.next = j->next;
	}
	do
		TRY(audit_reader_next(s, &r, &outcome));
	while (outcome == AUDIT_READ_GROUP);
	if (outcome == AUDIT_READ_TORN) {
		TRY(fail_context(s, audit_reader_check_torn(s, &r), "%s", j->path));
		if (ftruncate(j->fd, (off_t)r.offset) != 0 || fdatasync(j->fd) != 0)
			return fail_errno(s, E_IO, "cutting an unfinished record off %s", j->path);
	}
	j->end = r.offset;
	j->next = r.next;
	return OK;
}

st audit_local_open(struct scope *s, const char *path, struct audit_local **out)
{
	TRY(fail_context(s, create(s, path), "making journal %s", path));
	AUTO_FD fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, E_IO, "journal %s", path);
	struct audit_local *j = heap_alloc(sizeof *j);
	j->path = heap_copy_str(path);
	j->fd = take_fd(&fd);
	(void)pthread_mutex_init(&j->lock, NULL);
	uint64_t size;
	st status = audit_local_read(s, j, UINT64_MAX, NULL, NULL, &size);
	if (status.code != E_OK) {
		audit_local_close(j);
		return status;
	}
	*out = j;
	return OK;
}

void audit_local_close(struct audit_local *j)
{
	if (j == NULL)
		return;
	fd_auto(&j->fd);
	audit_group_free(&j->group);
	(void)pthread_mutex_destroy(&j->lock);
	free(j->path);
	free(j);
}

static st lock_file(struct scope *s, const struct audit_local *j)
{
	while (flock(j->fd, LOCK_EX) != 0)
		if (errno != EINTR)
			return fail_errno(s, E_IO, "locking %s", j->path);
	return OK;
}

static st write_group(struct scope *s, struct audit_local *j, const span *record, size_t count)
{
	audit_group_begin(&j->group, j->next);
	for (size_t i = 0; i < count; i++) {
		if (!audit_group_fits(&j->group, record[i].len))
			return fail(s, E_LIMIT, "too many records at once for %s", j->path);
		audit_group_open(&j->group);
		if (!buf_append(&j->group.bytes, record[i]))
			return fail(s, E_LIMIT, "too many records at once for %s", j->path);
		(void)audit_group_close(&j->group);
	}
	audit_group_end(&j->group);
	if (lseek(j->fd, (off_t)j->end, SEEK_SET) < 0)
		return fail_errno(s, E_IO, "%s", j->path);
	st status = file_write_all(s, j->fd, buf_span(&j->group.bytes));
	if (status.code == E_OK && fdatasync(j->fd) != 0)
		status = fail_errno(s, E_IO, "syncing");
	if (status.code == E_OK) {
		j->end += j->group.bytes.len;
		j->next += count;
		return OK;
	}
	/* Not acknowledged, so it may go; when even that fails, the next one to lock the file cuts it off. */
	if (ftruncate(j->fd, (off_t)j->end) != 0)
		j->end = 0;
	return fail_context(s, (st){ E_UNAVAILABLE }, "%s", j->path);
}

st audit_local_append(struct scope *s, struct audit_local *j, const span *record, size_t count, uint64_t *out_first)
{
	(void)pthread_mutex_lock(&j->lock);
	st status = lock_file(s, j);
	if (status.code == E_OK)
		status = catch_up(s, j);
	uint64_t first = j->next;
	if (status.code == E_OK && count > 0)
		status = write_group(s, j, record, count);
	(void)flock(j->fd, LOCK_UN);
	(void)pthread_mutex_unlock(&j->lock);
	if (status.code == E_OK)
		*out_first = first;
	return status;
}

static st read_all(struct scope *s, struct audit_local *j, uint64_t from,
		   bool (*each)(void *state, uint64_t index, span record), void *state)
{
	AUTO_READER r = { .fd = -1 };
	enum audit_read_outcome outcome;
	bool more = each != NULL && from < j->next;
	TRY(audit_reader_open(s, j->fd, AUDIT_FILE_JOURNAL, &r));
	while (more) {
		TRY(audit_reader_next(s, &r, &outcome));
		if (outcome != AUDIT_READ_GROUP)
			break;
		span record;
		uint64_t offset, index = r.group_first;
		for (size_t at = 0; more && audit_reader_record(&r, &at, &record, &offset); index++)
			if (index >= from)
				more = each(state, index, record);
	}
	return OK;
}

st audit_local_read(struct scope *s, struct audit_local *j, uint64_t from,
		    bool (*each)(void *state, uint64_t index, span record), void *state, uint64_t *out_size)
{
	(void)pthread_mutex_lock(&j->lock);
	st status = lock_file(s, j);
	if (status.code == E_OK)
		status = catch_up(s, j);
	if (status.code == E_OK)
		status = read_all(s, j, from, each, state);
	*out_size = j->next;
	(void)flock(j->fd, LOCK_UN);
	(void)pthread_mutex_unlock(&j->lock);
	return status;
}
