#include "audit_client.h"
#include "audit_json.h"
#include "audit_local.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Longest wait for auditd's reply. */
#define WRITTEN         64
#define CALL_TIMEOUT_MS 10000
/* After the connection was lost, auditd may be being restarted: try for so long before the operations that wait are refused. */
#define RECONNECT_US       (3 * MOMENT_SECOND)
#define RECONNECT_PAUSE_US 20000
#define ANCHOR_INTERVAL_US MOMENT_SECOND

/* One record that a thread waits for. */
struct waiting {
	const uint8_t *id;
	span head, tail; /* the record, cut where the component goes */
	enum code code;
	char message[SCOPE_MESSAGE_MAX];
	uint64_t index;
	bool known; /* auditd had it already, so that it is not there under the number that it had now */
	char number[AUDIT_NUMBER_MAX];
	bool done;
	pthread_cond_t *wake; /* of the thread that waits; several records may have one */
	struct waiting *next;
};

struct audit {
	char *socket, *component, *anchor;
	struct audit_local *local;
	pthread_mutex_t lock;
	struct waiting *first, **last;
	bool leading;
	struct waiting *sent; /* the frame under way, whose reply nobody reads yet */
	/* The leader's own: */
	struct wire_client *connection;
	bool under_way; /* the frame was sent whole on this connection */
	int64_t last_contact;
	struct buf frame;
	uint64_t run, n;           /* its records that are in the log, numbered without gap */
	uint64_t before, before_n; /* the run before it; 0: none */
	struct {
		uint8_t id[AUDIT_ID_LEN];
		uint64_t index;
	} written[WRITTEN]; /* to the journal, in turn: it has nobody who drops a record that is offered twice */
	unsigned written_next;
	/* Under `lock`: the newest checkpoint, and the thread that keeps it in the anchor file. */
	struct buf checkpoint;
	bool checkpoint_new, closing, has_keeper;
	pthread_t keeper;
	pthread_cond_t keep;
};

static void out_of_room(bool appended)
{
	if (!appended)
		log_die("an audit frame grew over its limit: a check of its size is missing");
}

/* ---- the anchor file ---- */

static void keep_checkpoint(struct audit *a)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span note = scope_copy(&s, buf_span(&a->checkpoint));
	a->checkpoint_new = false;
	(void)pthread_mutex_unlock(&a->lock);
	if (file_replace(&s, a->anchor, note, 0644).code != E_OK)
		log_failure(&s, "keeping the last checkpoint of the audit log");
	(void)pthread_mutex_lock(&a->lock);
}

static void wait_until(struct audit *a, int64_t us)
{
	(void)moment_wait(&a->keep, &a->lock, moment_monotonic() + us);
}

/* Written when it changed, at most once a second, by a thread of its own: no commit waits for it. */
static void *keeper_main(void *argument)
{
	struct audit *a = argument;
	(void)pthread_mutex_lock(&a->lock);
	while (!a->closing) {
		if (a->checkpoint_new)
			keep_checkpoint(a);
		if (!a->closing)
			wait_until(a, ANCHOR_INTERVAL_US);
	}
	if (a->checkpoint_new)
		keep_checkpoint(a);
	(void)pthread_mutex_unlock(&a->lock);
	return NULL;
}

static void take_checkpoint(struct audit *a, span note)
{
	if (note.len == 0)
		return;
	(void)pthread_mutex_lock(&a->lock);
	buf_clear(&a->checkpoint);
	out_of_room(buf_append(&a->checkpoint, note));
	a->checkpoint_new = a->anchor != NULL;
	(void)pthread_mutex_unlock(&a->lock);
}

/* ---- open and close ---- */

static void begin_run(struct scope *s, struct audit *a)
{
	if (a->n > 0) {
		a->before = a->run;
		a->before_n = a->n;
	}
	a->n = 0;
	do
		scope_random(s, &a->run, sizeof a->run);
	while (a->run == 0);
}

st audit_open(struct scope *s, const struct audit_settings *settings, struct audit **out)
{
	if ((settings->socket == NULL) == (settings->journal == NULL))
		return fail(s, E_CONFIG, "records go either to auditd (a socket) or to a local journal: configure exactly one");
	size_t name_len = settings->component == NULL ? 0 : strlen(settings->component);
	if (name_len == 0 || name_len > 64)
		return fail(s, E_CONFIG, "the component of audit records has 1 to 64 characters");
	struct audit_local *local = NULL;
	if (settings->journal != NULL)
		TRY(audit_local_open(s, settings->journal, &local));
	struct audit *a = heap_alloc(sizeof *a);
	a->local = local;
	a->socket = settings->socket == NULL ? NULL : heap_copy_str(settings->socket);
	a->anchor = settings->anchor == NULL || local != NULL ? NULL : heap_copy_str(settings->anchor);
	AUTO_BUF component;
	buf_init(&component, 1024);
	out_of_room(buf_append(&component, SPAN_LITERAL(",\"component\":")) &&
		    audit_json_string_write(&component, span_str(settings->component)) &&
		    buf_append(&component, span_of("", 1)));
	a->component = heap_copy_str((const char *)component.data);
	a->last = &a->first;
	begin_run(s, a);
	buf_init(&a->frame, WIRE_BODY_MAX);
	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_cond_init(&a->keep, NULL);
	if (a->anchor != NULL) {
		if (pthread_create(&a->keeper, NULL, keeper_main, a) != 0)
			log_die("no thread to keep checkpoints");
		a->has_keeper = true;
	}
	*out = a;
	return OK;
}

void audit_close(struct audit *a)
{
	if (a == NULL)
		return;
	(void)pthread_mutex_lock(&a->lock);
	a->closing = true;
	(void)pthread_cond_broadcast(&a->keep);
	(void)pthread_mutex_unlock(&a->lock);
	if (a->has_keeper)
		(void)pthread_join(a->keeper, NULL);
	wire_close(a->connection);
	audit_local_close(a->local);
	buf_free(&a->frame);
	buf_free(&a->checkpoint);
	(void)pthread_cond_destroy(&a->keep);
	(void)pthread_mutex_destroy(&a->lock);
	free(a->socket);
	free(a->component);
	free(a->anchor);
	free(a);
}

/* ---- the leader's work: one frame for all that wait ---- */

static void settle(struct waiting *batch, enum code code, const char *message)
{
	for (struct waiting *w = batch; w != NULL; w = w->next) {
		w->code = code;
		(void)snprintf(w->message, sizeof w->message, "%s", message);
	}
}

static size_t record_len(const struct audit *a, const struct waiting *w)
{
	return w->head.len + strlen(a->component) + strlen(w->number) + w->tail.len;
}

static void write_record(const struct audit *a, struct buf *out, const struct waiting *w)
{
	out_of_room(buf_append(out, w->head) && buf_append(out, span_str(a->component)) &&
		    buf_append(out, span_str(w->number)) && buf_append(out, w->tail));
}

/* Every frame is answered before the next is written, so that a number is given once it is sure what became of those before it. */
static void number_batch(const struct audit *a, struct waiting *batch)
{
	uint64_t n = a->n;
	for (struct waiting *w = batch; w != NULL; w = w->next) {
		int len = snprintf(w->number, sizeof w->number, ",\"run\":\"%016llx\",\"n\":%llu", (unsigned long long)a->run,
				   (unsigned long long)++n);
		if (n == 1 && a->before != 0)
			(void)snprintf(w->number + len, sizeof w->number - (size_t)len, ",\"after\":\"%016llx\",\"last\":%llu",
				       (unsigned long long)a->before, (unsigned long long)a->before_n);
	}
}

/* A run goes on as long as each of its numbers is in the log for certain. */
static void count_batch(struct audit *a, const struct waiting *batch)
{
	const struct waiting *w = batch;
	for (; w != NULL && w->code == E_OK && !w->known; w = w->next)
		a->n++;
	if (w == NULL)
		return;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	begin_run(&s, a);
}

static void write_request(struct audit *a, const struct waiting *batch)
{
	uint16_t count = 0;
	for (const struct waiting *w = batch; w != NULL; w = w->next)
		count++;
	a->frame.len = 0;
	struct wr out = wr_into(&a->frame);
	wr_u16(&out, count);
	for (const struct waiting *w = batch; w != NULL; w = w->next) {
		wr_raw(&out, span_of(w->id, AUDIT_ID_LEN));
		wr_u32(&out, (uint32_t)record_len(a, w));
		write_record(a, &a->frame, w);
	}
	out_of_room(!out.bad);
}

static st read_reply(struct scope *s, struct audit *a, struct waiting *batch, span reply)
{
	struct rd r = rd_of(reply);
	(void)rd_u16(&r);
	for (struct waiting *w = batch; w != NULL; w = w->next) {
		w->code = (enum code)rd_u16(&r);
		if (w->code == E_OK) {
			uint64_t index = rd_u64(&r);
			w->index = index & ~AUDIT_INDEX_KNOWN;
			w->known = index != w->index;
			continue;
		}
		span message = rd_bytes(&r, SCOPE_MESSAGE_MAX - 1);
		if (w->code >= CODE_COUNT)
			r.bad = true;
		memcpy(w->message, message.data == NULL ? (const uint8_t *)"" : message.data, message.len);
		w->message[message.len] = 0;
	}
	(void)rd_u64(&r);
	span checkpoint = rd_bytes(&r, WIRE_BODY_MAX);
	st status = rd_end(s, &r, "auditd's reply");
	if (status.code != E_OK)
		return fail(s, E_IO, "auditd's reply cannot be read");
	take_checkpoint(a, checkpoint);
	return OK;
}

/* Numbers a batch and sends it, without waiting. */
static void send_frame(struct audit *a, struct waiting *batch)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	number_batch(a, batch);
	write_request(a, batch);
	a->under_way =
		a->connection != NULL && wire_send(&s, a->connection, AUDIT_KIND_APPEND, buf_span(&a->frame)).code == E_OK;
}

static st exchange(struct scope *s, struct audit *a, span *out_reply)
{
	bool under_way = a->under_way;
	a->under_way = false;
	return under_way ? wire_receive(s, a->connection, AUDIT_KIND_APPEND, out_reply)
			 : wire_call(s, a->connection, AUDIT_KIND_APPEND, buf_span(&a->frame), out_reply);
}

/* The same ids may be sent again: auditd answers for a record it has with the index it has. */
static st call_auditd(struct scope *s, struct audit *a, span *out_reply)
{
	bool lost = a->connection == NULL;
	for (;;) {
		st status = OK;
		scope_clear_error(s);
		if (a->connection == NULL)
			status = wire_connect(s, a->socket, CALL_TIMEOUT_MS, &a->connection);
		if (status.code == E_OK) {
			status = exchange(s, a, out_reply);
			if (!wire_dead(a->connection)) {
				a->last_contact = moment_monotonic();
				return status;
			}
			wire_close(TAKE(a->connection));
		}
		if (!lost)
			a->last_contact = moment_monotonic(); /* until now it was there */
		lost = true;
		if (moment_monotonic() >= a->last_contact + RECONNECT_US)
			return fail_context(s, (st){ E_UNAVAILABLE },
					    "auditd does not answer, and without a record nothing is done (start auditd)");
		(void)usleep(RECONNECT_PAUSE_US);
	}
}

static void commit_to_auditd(struct audit *a, struct waiting *batch)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span reply;
	st status = call_auditd(&s, a, &reply);
	if (status.code == E_OK)
		status = read_reply(&s, a, batch, reply);
	if (status.code != E_OK)
		settle(batch, status.code, s.message);
	if (a->frame.room > (size_t)64 << 10)
		buf_free(&a->frame);
}

/* Two threads may offer one record of the outbox. */
static bool is_written(const struct audit *a, struct waiting *w)
{
	for (size_t i = 0; i < WRITTEN && !w->known; i++)
		if (memcmp(a->written[i].id, w->id, AUDIT_ID_LEN) == 0) {
			w->index = a->written[i].index;
			w->known = true;
		}
	return w->known;
}

static void remember_written(struct audit *a, const struct waiting *w)
{
	memcpy(a->written[a->written_next].id, w->id, AUDIT_ID_LEN);
	a->written[a->written_next].index = w->index;
	a->written_next = (a->written_next + 1) % WRITTEN;
}

static void commit_to_journal(struct audit *a, struct waiting *batch)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span record[AUDIT_BATCH_MAX];
	size_t count = 0;
	number_batch(a, batch);
	a->frame.len = 0;
	size_t total = 0;
	for (const struct waiting *w = batch; w != NULL; w = w->next)
		total += record_len(a, w);
	out_of_room(buf_reserve(&a->frame, total));
	for (struct waiting *w = batch; w != NULL; w = w->next) {
		size_t begun = a->frame.len;
		if (is_written(a, w))
			continue;
		write_record(a, &a->frame, w);
		record[count++] = span_from(buf_span(&a->frame), begun);
	}
	uint64_t index;
	st status = audit_local_append(&s, a->local, record, count, &index);
	if (status.code != E_OK) {
		settle(batch, status.code, s.message);
		return;
	}
	for (struct waiting *w = batch; w != NULL; w = w->next) {
		if (w->known)
			continue;
		w->index = index++;
		remember_written(a, w);
	}
}

/* Takes what one frame holds off the queue. */
static struct waiting *take_batch(struct audit *a)
{
	struct waiting *batch = a->first, **end = &a->first;
	size_t bytes = 2;
	for (unsigned count = 0; *end != NULL && count < AUDIT_BATCH_MAX; count++) {
		bytes += AUDIT_ID_LEN + 4 + record_len(a, *end) + AUDIT_NUMBER_MAX;
		if (bytes > WIRE_BODY_MAX)
			break;
		end = &(*end)->next;
	}
	a->first = *end;
	if (a->first == NULL)
		a->last = &a->first;
	*end = NULL;
	return batch;
}

/* With the lock: the frame under way, or the next one, which then is. */
static struct waiting *take_frame(struct audit *a)
{
	struct waiting *batch = a->sent != NULL ? a->sent : take_batch(a);
	bool send = a->sent == NULL && a->local == NULL;
	a->sent = NULL;
	(void)pthread_mutex_unlock(&a->lock);
	if (send)
		send_frame(a, batch);
	return batch;
}

/* With the lock: what came meanwhile goes to auditd at once, before a thread is woken that reads the reply. */
static void send_next(struct audit *a)
{
	if (a->first == NULL || a->local != NULL || a->connection == NULL)
		return;
	struct waiting *batch = take_batch(a);
	(void)pthread_mutex_unlock(&a->lock);
	send_frame(a, batch);
	(void)pthread_mutex_lock(&a->lock);
	a->sent = batch;
}

static void lead(struct audit *a)
{
	struct waiting *batch = take_frame(a);
	if (a->local != NULL)
		commit_to_journal(a, batch);
	else
		commit_to_auditd(a, batch);
	count_batch(a, batch);
	(void)pthread_mutex_lock(&a->lock);
	send_next(a);
	for (struct waiting *w = batch, *next; w != NULL; w = next) {
		next = w->next; /* a done one belongs to its thread again */
		w->done = true;
		(void)pthread_cond_signal(w->wake);
	}
}

/* Who finds nobody leading leads; the others sleep until a leader has settled their records, or until it is they who read the next
 * reply. Each sleeps on a condition of its own, so that nobody is woken for the records of others. */
static void wait_for(struct audit *a, struct waiting *first, struct waiting *last)
{
	(void)pthread_mutex_lock(&a->lock);
	*a->last = first;
	a->last = &last->next;
	while (!last->done) { /* records are settled in the order of the queue */
		if (a->leading) {
			(void)pthread_cond_wait(last->wake, &a->lock);
			continue;
		}
		a->leading = true;
		lead(a);
		a->leading = false;
		const struct waiting *next = a->sent != NULL ? a->sent : a->first;
		if (next != NULL)
			(void)pthread_cond_signal(next->wake);
	}
	(void)pthread_mutex_unlock(&a->lock);
}

static st begin_waiting(struct scope *s, struct waiting *w, const uint8_t *id, span json)
{
	size_t cut = audit_record_component_place(json);
	if (cut == 0 || json.len > AUDIT_RECORD_MAX)
		return fail(s, E_INPUT, "what is to be put on record is not an audit record");
	*w = (struct waiting){ .id = id, .head = span_first(json, cut), .tail = span_from(json, cut) };
	return OK;
}

st audit_commit_stored(struct scope *s, struct audit *a, const uint8_t id[16], span json, uint64_t *out_index)
{
	pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
	struct waiting w;
	TRY(begin_waiting(s, &w, id, json));
	w.wake = &wake;
	wait_for(a, &w, &w);
	(void)pthread_cond_destroy(&wake);
	if (w.code != E_OK)
		return fail_told(s, w.code, span_str(w.message));
	*out_index = w.index;
	return OK;
}

st audit_commit(struct scope *s, struct audit *a, const struct audit_event *e, uint64_t *out_index)
{
	return audit_commit_stored(s, a, e->id, buf_span(&e->json), out_index);
}

st audit_commit_all(struct scope *s, struct audit *a, const struct audit_event *const *event, size_t count)
{
	if (count == 0)
		return OK;
	pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
	struct waiting *w = scope_alloc(s, count * sizeof *w);
	for (size_t i = 0; i < count; i++) {
		TRY(begin_waiting(s, &w[i], event[i]->id, buf_span(&event[i]->json)));
		w[i].wake = &wake;
		if (i > 0)
			w[i - 1].next = &w[i];
	}
	wait_for(a, &w[0], &w[count - 1]);
	(void)pthread_cond_destroy(&wake);
	for (size_t i = 0; i < count; i++)
		if (w[i].code != E_OK)
			return fail_told(s, w[i].code, span_str(w[i].message));
	return OK;
}

const char *audit_socket(const struct audit *a)
{
	return a->socket;
}

struct audit_local *audit_journal(const struct audit *a)
{
	return a->local;
}
