#include "auditd.h"
#include "audit_client.h"
#include "audit_local.h"
#include "file.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* Ids of imported records with their indices, kept for ever: a journal may be brought again years later, when the window of ids
 * has long passed on. A row is 16 octets id and u64 index; a row cut short by a crash is dropped. */
#define ROW_LEN      24
#define ROWS_MAX     1000000u
#define INCOMING_MAX 64 /* at a start; more of them wait for the next */

struct row {
	uint8_t id[16];
	uint64_t index;
};

struct imported {
	pthread_mutex_t lock;
	int fd;
	struct row *row;
	size_t count, room;
};

static void add_row(struct imported *i, const uint8_t *id, uint64_t index)
{
	if (i->count == i->room) {
		i->room = i->room == 0 ? 256 : 2 * i->room;
		i->row = heap_grow(i->row, i->room * sizeof *i->row);
	}
	memcpy(i->row[i->count].id, id, 16);
	i->row[i->count++].index = index;
}

st imported_open(struct scope *s, const char *dir, struct imported **out)
{
	char *path = scope_printf(s, "%s/imported", dir);
	span bytes = { 0 };
	st status = file_read(s, path, (size_t)ROWS_MAX * ROW_LEN, &bytes);
	if (status.code == E_NOTFOUND)
		scope_clear_error(s);
	else
		TRY(status);
	AUTO_FD fd = -1;
	TRY(file_open_append(s, path, 0640, &fd));
	size_t whole = bytes.len / ROW_LEN * ROW_LEN;
	if (whole < bytes.len && ftruncate(fd, (off_t)whole) != 0)
		return fail_errno(s, E_IO, "%s", path);
	struct imported *i = heap_alloc(sizeof *i);
	(void)pthread_mutex_init(&i->lock, NULL);
	for (struct rd r = rd_of(span_first(bytes, whole)); r.rest.len > 0;) {
		span id = rd_raw(&r, 16);
		add_row(i, id.data, rd_u64(&r));
	}
	i->fd = take_fd(&fd);
	*out = i;
	return OK;
}

void imported_close(struct imported *i)
{
	if (i == NULL)
		return;
	fd_auto(&i->fd);
	free(i->row);
	(void)pthread_mutex_destroy(&i->lock);
	free(i);
}

static bool find(const struct imported *i, const uint8_t *id, uint64_t *out)
{
	for (size_t k = 0; k < i->count; k++)
		if (memcmp(i->row[k].id, id, 16) == 0) {
			*out = i->row[k].index;
			return true;
		}
	return false;
}

static st remember(struct scope *s, struct imported *i, const struct tail_record *record, size_t count)
{
	AUTO_BUF rows;
	buf_init(&rows, AUDIT_BATCH_MAX * ROW_LEN);
	struct wr w = wr_into(&rows);
	for (size_t k = 0; k < count; k++) {
		uint64_t known;
		if (record[k].code != E_OK || find(i, record[k].id, &known))
			continue;
		wr_raw(&w, span_of(record[k].id, 16));
		wr_u64(&w, record[k].index);
		add_row(i, record[k].id, record[k].index);
	}
	TRY(wr_end(s, &w));
	TRY(file_write_all(s, i->fd, buf_span(&rows)));
	if (fdatasync(i->fd) != 0)
		return fail_errno(s, E_IO, "syncing the list of imported records");
	return OK;
}

void imported_append(struct scope *s, struct imported *i, struct tail *tail, const char *by, struct tail_record *record,
		     size_t count)
{
	struct tail_record *fresh = scope_alloc(s, count * sizeof *fresh);
	(void)pthread_mutex_lock(&i->lock);
	for (size_t k = 0; k < count; k++) {
		fresh[k] = record[k];
		if (record[k].code == E_OK && find(i, record[k].id, &record[k].index))
			fresh[k].code = E_CONFLICT; /* passed over by the tail, known here */
		else if (i->count + count > ROWS_MAX)
			fresh[k].code = E_LIMIT;
	}
	tail_append(s, tail, by, fresh, count);
	/* In the log already; should the list not be written now, the window of ids still knows them for a long time. */
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	if (remember(&aside, i, fresh, count).code != E_OK)
		log_failure(&aside, "remembering which records were imported");
	for (size_t k = 0; k < count; k++)
		if (fresh[k].code != E_CONFLICT)
			record[k] = fresh[k];
	(void)pthread_mutex_unlock(&i->lock);
}

/* ---- whole journals ---- */

struct reading {
	struct scope *s;
	struct imported *imported;
	struct tail *tail;
	const char *by;
	struct tail_record record[AUDIT_BATCH_MAX];
	size_t count;
	st status;
};

static st append_read(struct reading *f)
{
	imported_append(f->s, f->imported, f->tail, f->by, f->record, f->count);
	for (size_t i = 0; i < f->count; i++)
		if (f->record[i].code != E_OK)
			return fail(f->s, f->record[i].code, "%s", f->record[i].message);
	f->count = 0;
	return OK;
}

static bool take_record(void *state, uint64_t index, span record)
{
	struct reading *f = state;
	struct audit_record parsed;
	f->status = fail_context(f->s, audit_record_read(f->s, record, &parsed), "record %llu", (unsigned long long)index);
	if (f->status.code == E_OK && f->count == AUDIT_BATCH_MAX)
		f->status = append_read(f);
	if (f->status.code != E_OK)
		return false;
	f->record[f->count++] = (struct tail_record){ .id = scope_copy(f->s, SPAN_ARRAY(parsed.id)).data,
						      .json = scope_copy(f->s, record),
						      .class = parsed.row->class };
	return true;
}

static st take_journal(struct scope *s, struct imported *i, struct tail *tail, const char *by, const char *journal)
{
	struct audit_local *local;
	struct reading *f = scope_new(s, struct reading);
	uint64_t size;
	TRY(audit_local_open(s, journal, &local));
	*f = (struct reading){ .s = s, .imported = i, .tail = tail, .by = by };
	st status = audit_local_read(s, local, 0, take_record, f, &size);
	audit_local_close(local);
	TRY(status);
	TRY(fail_context(s, f->status, "%s", journal));
	return f->count == 0 ? OK : append_read(f);
}

st imported_found(struct scope *s, struct imported *i, struct tail *tail, const char *journal)
{
	if (!file_exists(journal))
		return fail(s, E_NOTFOUND, "founding journal %s is not there", journal);
	return take_journal(s, i, tail, "founding", journal);
}

static st list_incoming(struct scope *s, const char *folder, char *path[INCOMING_MAX], size_t *out_count)
{
	char **name;
	size_t names = 0;
	st listed = file_list(s, folder, &name, &names);
	if (listed.code != E_OK && listed.code != E_NOTFOUND)
		return listed;
	scope_clear_error(s);
	for (size_t i = 0; i < names && *out_count < INCOMING_MAX; i++)
		if (name[i][0] != '.')
			path[(*out_count)++] = scope_printf(s, "%s/%s", folder, name[i]);
	return OK;
}

st imported_incoming(struct scope *s, struct imported *i, struct tail *tail, const char *dir)
{
	char *path[INCOMING_MAX];
	size_t count = 0;
	TRY(list_incoming(s, scope_printf(s, "%s/incoming", dir), path, &count));
	for (size_t k = 0; k < count; k++) {
		TRY(fail_context(s, take_journal(s, i, tail, "incoming", path[k]), "journal left in incoming"));
		if (unlink(path[k]) != 0)
			return fail_errno(s, E_IO, "removing %s", path[k]);
	}
	return OK;
}
