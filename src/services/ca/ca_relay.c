/*
 * From the outbox to auditd. A record is committed with its effect; then the thread that waits for the answer delivers it
 * itself, or the one that committed for several delivers for all of them in one frame. What was acknowledged is removed from the
 * outbox by one thread, in groups; what could not be delivered is tried again by it until auditd is back. A record may reach
 * auditd twice: it drops the second by its id.
 */
#include "ca.h"
#include "log.h"
#include <stdio.h>
#include <stdlib.h>

#define DONE_MAX 4096
#define TIDY_US  (50 * INT64_C(1000))
#define RETRY_US MOMENT_SECOND
#define OLD_US   (2 * MOMENT_SECOND) /* a record that another ca has not delivered by then, the one that leads delivers */

struct ca_relay {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	pthread_t thread;
	int64_t done[DONE_MAX]; /* acknowledged, still in the outbox */
	size_t done_count;
	bool owing;        /* something could not be delivered */
	int64_t next_look; /* at what others owe; monotonic */
	uint64_t doubts;   /* of the database, that were looked into */
	bool stopping;
};

static void acknowledged(struct ca_relay *r, int64_t seq)
{
	/* When the list is full the row stays: it is delivered again, and dropped as a duplicate. */
	if (r->done_count < DONE_MAX)
		r->done[r->done_count++] = seq;
	else
		r->owing = true;
	if (r->done_count == DONE_MAX / 8)
		(void)pthread_cond_signal(&r->changed);
}

static void acknowledged_one(struct ca_relay *r, int64_t seq)
{
	(void)pthread_mutex_lock(&r->mutex);
	acknowledged(r, seq);
	(void)pthread_mutex_unlock(&r->mutex);
}

static void owe(struct ca_relay *r)
{
	(void)pthread_mutex_lock(&r->mutex);
	r->owing = true;
	(void)pthread_mutex_unlock(&r->mutex);
}

static st send_record(struct scope *s, struct ca *ca, const uint8_t id[16], span json)
{
	uint64_t index;
	TRY(audit_commit_stored(s, ca->audit, id, json, &index));
	ca_flight_reached(ca, index + 1);
	return OK;
}

static const char undelivered[] =
	"it is done and stored, but not yet on record in the audit log; ask again with the same request to be "
	"answered when it is";

st ca_relay_deliver(struct scope *s, struct ca *ca, const struct ca_record *record)
{
	st status = send_record(s, ca, record->event->id, buf_span(&record->event->json));
	if (status.code == E_OK) {
		acknowledged_one(ca->relay, record->seq);
		return OK;
	}
	owe(ca->relay);
	return fail_context(s, status, "%s", undelivered);
}

void ca_relay_deliver_all(struct ca *ca, struct ca_record *const *record, size_t count)
{
	struct ca_relay *r = ca->relay;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	const struct audit_event **event = scope_alloc(&s, count * sizeof *event);
	for (size_t i = 0; i < count; i++)
		event[i] = record[i]->event;
	st status = audit_commit_all(&s, ca->audit, event, count);
	(void)pthread_mutex_lock(&r->mutex);
	for (size_t i = 0; i < count; i++) {
		record[i]->delivered = status.code;
		(void)snprintf(record[i]->why_not, sizeof record[i]->why_not, "%s", s.message);
		if (status.code == E_OK)
			acknowledged(r, record[i]->seq);
		else
			r->owing = true;
	}
	(void)pthread_mutex_unlock(&r->mutex);
	ca_flight_grew(ca);
}

st ca_relay_delivered(struct scope *s, const struct ca_record *record)
{
	if (record->delivered == E_OK)
		return OK;
	return fail(s, record->delivered, "%s: %s", undelivered, record->why_not);
}

st ca_relay_note(struct scope *s, struct ca *ca, struct audit_event *event)
{
	uint64_t index;
	TRY(audit_finish(s, event));
	TRY(audit_commit(s, ca->audit, event, &index));
	ca_flight_reached(ca, index + 1);
	return OK;
}

/* ---- rows that wait ---- */

#define ROWS_MAX 256
struct rows {
	span object;
	int64_t after, before; /* number; when it was entered */
	struct row {
		int64_t seq;
		span event, json;
	} row[ROWS_MAX];
	size_t count;
};

static st keep_row(struct scope *s, const struct db_row *row, void *arg)
{
	struct rows *rows = arg;
	if (rows->count < ROWS_MAX)
		rows->row[rows->count++] = (struct row){ row->column[0].integer, scope_copy(s, row->column[1].bytes),
							 scope_copy(s, row->column[2].bytes) };
	return OK;
}

static st read_rows(struct scope *s, struct db_tx *tx, void *arg)
{
	struct rows *rows = arg;
	if (rows->object.len > 0)
		return db_each(s, tx, &sql_outbox_of, DB_VALUES(db_blob(rows->object)), keep_row, rows);
	return db_each(s, tx, &sql_outbox_all, DB_VALUES(db_integer(rows->after), db_integer(rows->before)), keep_row, rows);
}

static st deliver_rows(struct scope *s, struct ca *ca, const struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		const struct row *row = &rows->row[i];
		if (row->event.len != 16)
			return fail(s, E_BUG, "an outbox row has an event id of %zu octets", row->event.len);
		TRY(send_record(s, ca, row->event.data, row->json));
		acknowledged_one(ca->relay, row->seq);
	}
	return OK;
}

st ca_relay_settle(struct scope *s, struct ca *ca, span object)
{
	struct rows rows = { .object = object };
	TRY(db_read(s, ca->db, read_rows, &rows));
	return deliver_rows(s, ca, &rows);
}

struct deletion {
	int64_t seq[DONE_MAX];
	size_t count;
};

static int by_seq(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/* Rows that were entered together are acknowledged together: few ranges, each without a gap. */
static st delete_rows(struct scope *s, struct db_tx *tx, void *arg)
{
	struct deletion *d = arg;
	qsort(d->seq, d->count, sizeof d->seq[0], by_seq);
	for (size_t first = 0, next; first < d->count; first = next) {
		next = first + 1;
		while (next < d->count && d->seq[next] - d->seq[next - 1] <= 1)
			next++;
		TRY(db_exec(s, tx, &sql_outbox_delete, DB_VALUES(db_integer(d->seq[first]), db_integer(d->seq[next - 1])),
			    NULL));
	}
	return OK;
}

static st tidy(struct scope *s, struct ca *ca)
{
	struct ca_relay *r = ca->relay;
	struct deletion *d = scope_new(s, struct deletion);
	(void)pthread_mutex_lock(&r->mutex);
	d->count = r->done_count;
	memcpy(d->seq, r->done, d->count * sizeof d->seq[0]);
	r->done_count = 0;
	(void)pthread_mutex_unlock(&r->mutex);
	return d->count == 0 ? OK : db_tx(s, ca->db, delete_rows, d);
}

static st drain(struct scope *s, struct ca *ca, int64_t before)
{
	struct rows *rows = scope_new(s, struct rows);
	rows->before = before;
	do {
		rows->count = 0;
		TRY(db_read(s, ca->db, read_rows, rows));
		TRY(deliver_rows(s, ca, rows));
		if (rows->count > 0)
			rows->after = rows->row[rows->count - 1].seq;
	} while (rows->count == ROWS_MAX);
	return tidy(s, ca);
}

st ca_relay_drain(struct scope *s, struct ca *ca)
{
	return drain(s, ca, INT64_MAX);
}

/* ---- the thread ---- */

static void wait_for_work(struct ca_relay *r, int64_t microseconds)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	int64_t nanoseconds = until.tv_nsec + microseconds % MOMENT_SECOND * 1000;
	until.tv_sec += microseconds / MOMENT_SECOND + nanoseconds / 1000000000;
	until.tv_nsec = nanoseconds % 1000000000;
	if (!r->stopping)
		(void)pthread_cond_timedwait(&r->changed, &r->mutex, &until);
}

/* A commit that nobody could tell the outcome of: if it was done, its thread has not done what follows. */
static bool in_doubt(struct ca *ca)
{
	uint64_t doubts = db_doubts(ca->db);
	bool more = doubts != ca->relay->doubts;
	ca->relay->doubts = doubts;
	return more;
}

static void follow_doubts(struct ca *ca)
{
	struct ca_authority *a;
	ca_push_wake(ca);
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL; i++)
		ca_crl_want(ca, a);
}

/* What is owed is for the ca that leads, its own and what others left; its own at once. */
static st work(struct scope *s, struct ca *ca, bool owing)
{
	struct ca_relay *r = ca->relay;
	bool leads = atomic_load(&ca->leads);
	if (owing && leads)
		return ca_relay_drain(s, ca);
	if (!ca->shared || !leads || moment_monotonic() < r->next_look)
		return tidy(s, ca);
	r->next_look = moment_monotonic() + OLD_US;
	return drain(s, ca, scope_now(s) - OLD_US);
}

static void work_once(struct ca *ca, bool owing)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st status = work(&s, ca, owing);
	if (status.code == E_OK)
		return;
	log_failure(&s, "handing records to auditd");
	owe(ca->relay); /* also what was to leave the outbox: it is delivered again, dropped as known, and leaves it then */
}

static void *relay_main(void *arg)
{
	struct ca *ca = arg;
	struct ca_relay *r = ca->relay;
	int64_t next_retry = 0;
	(void)pthread_mutex_lock(&r->mutex);
	while (!r->stopping) {
		wait_for_work(r, TIDY_US);
		bool doubtful = in_doubt(ca);
		r->owing = r->owing || doubtful;
		bool owing = r->owing && moment_monotonic() >= next_retry;
		if (owing) {
			r->owing = false;
			next_retry = moment_monotonic() + RETRY_US;
		}
		bool any = owing || r->done_count > 0 || ca->shared;
		(void)pthread_mutex_unlock(&r->mutex);
		if (doubtful)
			follow_doubts(ca);
		if (any)
			work_once(ca, owing);
		(void)pthread_mutex_lock(&r->mutex);
	}
	(void)pthread_mutex_unlock(&r->mutex);
	work_once(ca, false);
	return NULL;
}

st ca_relay_start(struct scope *s, struct ca *ca)
{
	struct ca_relay *r = heap_alloc(sizeof *r);
	pthread_condattr_t attributes;
	if (pthread_condattr_init(&attributes) != 0 || pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
	    pthread_cond_init(&r->changed, &attributes) != 0 || pthread_mutex_init(&r->mutex, NULL) != 0)
		log_die("no locks for the relay");
	(void)pthread_condattr_destroy(&attributes);
	ca->relay = r;
	st status = ca_thread(s, &r->thread, relay_main, ca);
	if (status.code != E_OK) {
		free(r);
		ca->relay = NULL;
	}
	return status;
}

void ca_relay_stop(struct ca *ca)
{
	struct ca_relay *r = ca->relay;
	if (r == NULL)
		return;
	(void)pthread_mutex_lock(&r->mutex);
	r->stopping = true;
	(void)pthread_cond_signal(&r->changed);
	(void)pthread_mutex_unlock(&r->mutex);
	(void)pthread_join(r->thread, NULL);
	(void)pthread_cond_destroy(&r->changed);
	(void)pthread_mutex_destroy(&r->mutex);
	free(r);
	ca->relay = NULL;
}
