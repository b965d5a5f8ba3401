/*
 * To the vas: a thread for each, dialling outward. It asks for the va's number and goes on from there; a va that is empty,
 * behind the kept window or ahead of this database (restored from a backup) gets a snapshot. CRL files go before the items
 * that name them.
 */
#include "ca_push.h"
#include "log.h"
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH_ROWS        4000
#define HEARTBEAT_US      (15 * MOMENT_SECOND)
#define RETRY_US          MOMENT_SECOND
#define NOTE_US           MOMENT_SECOND
#define PRUNE_US          (10 * MOMENT_SECOND)
#define CLIENT_TIMEOUT_MS 20000
#define FEED_TYPE         "application/vnd.chancery.feed"

/* ---- talking to the va ---- */

static st read_number(struct scope *s, const struct client_answer *answer, int64_t *out)
{
	json_t *root = json_loadb((const char *)answer->body.data, answer->body.len, 0, NULL);
	const json_t *number = json_object_get(root, "number");
	bool good = json_is_integer(number) && json_integer_value(number) >= 0;
	if (good)
		*out = json_integer_value(number);
	json_decref(root);
	return good ? OK : fail(s, E_UNAVAILABLE, "the va's answer carries no number");
}

static st ask_number(struct scope *s, struct ca_va *va, int64_t *out)
{
	struct client_answer answer;
	TRY(client_call(s, va->client, "GET", "/v1/feed", NULL, (span){ 0 }, &answer));
	TRY(client_expect(s, &answer));
	return read_number(s, &answer, out);
}

st ca_push_batch(struct scope *s, struct ca_va *va, enum ca_feed_kind kind, int64_t first, uint32_t count, span items,
		 int64_t *out)
{
	AUTO_BUF batch;
	buf_init(&batch, CA_FEED_BATCH_BYTES + 64);
	struct wr w = wr_into(&batch);
	wr_u16(&w, CA_FEED_VERSION);
	wr_u64(&w, (uint64_t)first);
	wr_u8(&w, (uint8_t)kind);
	wr_u32(&w, count);
	wr_raw(&w, items);
	TRY(wr_end(s, &w));
	struct client_answer answer;
	TRY(client_call(s, va->client, "POST", "/v1/feed", FEED_TYPE, buf_span(&batch), &answer));
	TRY(client_expect(s, &answer));
	return read_number(s, &answer, out);
}

st ca_push_item(struct scope *s, struct buf *out, enum ca_feed_type type, span body)
{
	struct wr w = wr_into(out);
	wr_u8(&w, (uint8_t)type);
	wr_bytes(&w, body);
	return wr_end(s, &w);
}

st ca_push_crl_file(struct scope *s, struct ca_va *va, const char *authority, const struct ca_crl *crl)
{
	char *path = ca_crl_path(s, va->ca, authority, crl->number);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	struct client_answer answer;
	TRY(client_send_file(s, va->client, "PUT",
			     scope_printf(s, "/v1/crls/%s/%llu", authority, (unsigned long long)crl->number),
			     "application/pkix-crl", fd, crl->size, &answer));
	return client_expect(s, &answer);
}

/* ---- continuation ---- */

struct bounds {
	int64_t least, most;
};

static st read_bounds(struct scope *s, struct db_tx *tx, void *arg)
{
	struct bounds *b = arg;
	struct db_row row;
	TRY(db_one(s, tx, &sql_feed_bounds, NULL, 0, &row));
	b->least = row.column[0].integer;
	b->most = row.column[1].integer;
	return OK;
}

struct rows {
	struct ca_va *va;
	int64_t after;
	uint32_t count;
	struct buf items;
	int64_t crl[CA_AUTHORITIES_MAX]; /* CAs whose CRL is named by an item */
	size_t crl_count;
	bool full;
};

/* The newest CRL of a CA stands for all before it: their files may be gone, and nobody wants them any more. */
static st newest_crl_item(struct scope *s, struct rows *r, span body)
{
	struct rd item = rd_of(body);
	int64_t ca = rd_u16(&item);
	struct ca_crl last;
	TRY(ca_crl_last(s, r->va->ca, ca, &last));
	bool known = false;
	for (size_t i = 0; i < r->crl_count; i++)
		known = known || r->crl[i] == ca;
	if (!known) {
		const struct ca_authority *a = ca_authority_numbered(r->va->ca, ca);
		if (a == NULL || r->crl_count == CA_AUTHORITIES_MAX)
			return fail(s, E_BUG, "a CRL of an unknown CA %lld in the feed", (long long)ca);
		TRY(ca_push_crl_file(s, r->va, a->name, &last));
		r->crl[r->crl_count++] = ca;
	}
	AUTO_BUF fresh = { 0 };
	TRY(ca_feed_write_crl(s, &fresh, ca, &last));
	return ca_push_item(s, &r->items, CA_FEED_CRL, buf_span(&fresh));
}

static st take_row(struct scope *s, const struct db_row *row, void *arg)
{
	struct rows *r = arg;
	enum ca_feed_type type = (enum ca_feed_type)row->column[1].integer;
	span body = row->column[2].bytes;
	r->full = r->full || r->items.len + body.len + 4096 > CA_FEED_BATCH_BYTES;
	if (r->full)
		return OK;
	if (row->column[0].integer != r->after + r->count + 1)
		return fail(s, E_BUG, "the feed has a gap before number %lld", (long long)row->column[0].integer);
	r->count++;
	return type == CA_FEED_CRL ? newest_crl_item(s, r, body) : ca_push_item(s, &r->items, type, body);
}

static st read_rows(struct scope *s, struct db_tx *tx, void *arg)
{
	struct rows *r = arg;
	return db_each(s, tx, &sql_feed_after, DB_VALUES(db_integer(r->after), db_integer(BATCH_ROWS)), take_row, r);
}

static st push_more(struct scope *s, struct ca_va *va, int64_t after, int64_t *out_number)
{
	struct rows *r = scope_new(s, struct rows);
	*r = (struct rows){ .va = va, .after = after };
	buf_init(&r->items, CA_FEED_BATCH_BYTES);
	st status = db_read(s, va->ca->db, read_rows, r);
	if (status.code == E_OK)
		status = ca_push_batch(s, va, CA_FEED_CONTINUATION, after + 1, r->count, buf_span(&r->items), out_number);
	buf_free(&r->items);
	return status;
}

/* ---- what the va has confirmed ---- */

struct position {
	const struct ca_va *va;
	int64_t number, at;
	struct ca_record *record;
};

static st save_position(struct scope *s, struct db_tx *tx, void *arg)
{
	const struct position *p = arg;
	TRY(db_exec(s, tx, &sql_va_set, DB_VALUES(db_text(span_str(p->va->name)), db_integer(p->number), db_integer(p->at)),
		    NULL));
	return ca_entry_record(s, tx, p->record);
}

/* One record a second at most, with the number reached by then: evidence of when a status was visible. */
static st note_position(struct scope *s, struct ca_va *va)
{
	if (va->number == va->noted || moment_monotonic() < va->noted_at + NOTE_US)
		return OK;
	AUTO_EVENT event = { 0 };
	audit_begin(&event, s, AUDIT_STATUS_PUBLISHED);
	audit_str(&event, "va", va->name);
	audit_number(&event, "number", va->number);
	TRY(audit_finish(s, &event));
	struct ca_record record = { .event = &event };
	struct position p = { .va = va, .number = va->number, .at = scope_now(s), .record = &record };
	TRY(db_tx(s, va->ca->db, save_position, &p));
	TRY(ca_relay_deliver(s, va->ca, &record));
	va->noted = p.number;
	va->noted_at = moment_monotonic();
	return OK;
}

struct prune {
	int64_t window;
};

static st prune_feed(struct scope *s, struct db_tx *tx, void *arg)
{
	const struct prune *p = arg;
	struct db_row least;
	struct bounds b;
	TRY(db_one(s, tx, &sql_va_least, NULL, 0, &least));
	TRY(read_bounds(s, tx, &b));
	int64_t until = least.column[0].type == DB_NULL ? -1 : least.column[0].integer;
	until = until < b.most - p->window ? until : b.most - p->window;
	/* A va that is gone for long gets a snapshot when it returns: the feed does not wait for it without end. */
	if (until < b.most - 10 * p->window)
		until = b.most - 10 * p->window;
	return until < b.least || b.least == 0 ? OK : db_exec(s, tx, &sql_feed_prune, DB_VALUES(db_integer(until)), NULL);
}

/* ---- the thread ---- */

static void set_state(struct ca_va *va, int64_t number, bool connected, const char *failure)
{
	(void)pthread_mutex_lock(&va->mutex);
	va->number = number;
	va->connected = connected;
	if (connected)
		va->confirmed_at = source_kernel.now(source_kernel.state);
	(void)snprintf(va->failure, sizeof va->failure, "%s", failure);
	(void)pthread_mutex_unlock(&va->mutex);
}

static st connect_va(struct scope *s, struct ca_va *va)
{
	struct ca *ca = va->ca;
	struct client_settings settings = {
		.base_url = va->url,
		.certificate = ca->tls.certificate,
		.key = ca->tls.key,
		.server_ca = ca->tls.client_ca,
		.timeout_ms = CLIENT_TIMEOUT_MS,
		.max_body = 65536,
	};
	if (va->client != NULL)
		return OK;
	TRY(client_new(s, &settings, &va->client));
	int64_t number;
	TRY(ask_number(s, va, &number));
	set_state(va, number, true, "");
	va->settled = false;
	return OK;
}

/* True in *out_more when there may be more to send at once. */
static st push_once(struct scope *s, struct ca_va *va, bool heartbeat, bool *out_more)
{
	*out_more = false;
	TRY(connect_va(s, va));
	struct bounds b;
	TRY(db_read(s, va->ca->db, read_bounds, &b));
	int64_t number = va->number;
	bool snapshot = atomic_load(&va->forget) || number > b.most || (b.most > 0 && number == 0) || number + 1 < b.least;
	if (snapshot) {
		int64_t had = number;
		TRY(ca_push_snapshot(s, va, &number));
		log_put(LOG_LEVEL_NOTICE, "va '%s' got a snapshot up to number %lld; it had %lld", va->name, (long long)number,
			(long long)had);
		atomic_store(&va->forget, false);
	} else if (number < b.most || heartbeat || !va->settled) {
		TRY(push_more(s, va, number, &number));
	} else {
		return note_position(s, va);
	}
	bool progress = number != va->number || number >= b.most;
	va->settled = true;
	set_state(va, number, true, "");
	*out_more = number < b.most && progress;
	if (!progress)
		return fail(s, E_STATE, "the va stays at number %lld", (long long)number);
	return *out_more ? OK : note_position(s, va);
}

static void hang_up(struct ca_va *va)
{
	if (va->client != NULL)
		client_free(va->client);
	va->client = NULL;
}

static void lost(struct scope *s, struct ca_va *va)
{
	if (va->connected || strcmp(va->failure, s->message) != 0)
		log_failure(s, scope_printf(s, "pushing to va '%s'", va->name));
	set_state(va, va->number, false, s->message);
	hang_up(va);
}

static void prune_now_and_then(struct ca_va *va)
{
	if (moment_monotonic() < va->pruned_at + PRUNE_US)
		return;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct prune p = { va->ca->conf->feed_window };
	if (db_tx(&s, va->ca->db, prune_feed, &p).code != E_OK)
		log_failure(&s, "pruning the feed");
	va->pruned_at = moment_monotonic();
}

/* Another ca may have led before, and noted what we do not know of this va. */
static bool leads(struct ca_va *va)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	bool now = atomic_load(&va->ca->leads);
	if (now && !va->led && ca_push_recall(&s, va).code != E_OK) {
		log_failure(&s, "recalling what the vas have");
		return false;
	}
	va->led = now;
	return now;
}

/* Another ca pushes. */
static void rest(struct ca_va *va)
{
	struct ca *ca = va->ca;
	hang_up(va);
	set_state(va, va->number, false, "another ca leads and pushes");
	(void)pthread_mutex_lock(&ca->mutex);
	ca_wait(ca, &ca->work, 200 * INT64_C(1000));
	(void)pthread_mutex_unlock(&ca->mutex);
}

static void *push_main(void *arg)
{
	struct ca_va *va = arg;
	struct ca *ca = va->ca;
	uint64_t seen = 0;
	int64_t last = 0;
	while (!atomic_load(&ca->stopping)) {
		if (!leads(va)) {
			rest(va);
			continue;
		}
		(void)pthread_mutex_lock(&ca->mutex);
		uint64_t now_seen = ca->feed_changes;
		(void)pthread_mutex_unlock(&ca->mutex);
		bool heartbeat = moment_monotonic() >= last + HEARTBEAT_US;
		bool more = false;
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		st status = push_once(&s, va, heartbeat, &more);
		if (heartbeat)
			last = moment_monotonic();
		if (status.code != E_OK)
			lost(&s, va);
		prune_now_and_then(va);
		(void)pthread_mutex_lock(&ca->mutex);
		seen = now_seen;
		int64_t retry = status.code != E_OK ? moment_monotonic() + RETRY_US : 0;
		if (retry == 0 && !more && ca->feed_changes == seen)
			ca_wait(ca, &ca->news, NOTE_US);
		while (moment_monotonic() < retry && !atomic_load(&ca->stopping)) /* news does not make a lost va come back */
			ca_wait(ca, &ca->news, retry - moment_monotonic());
		(void)pthread_mutex_unlock(&ca->mutex);
	}
	hang_up(va);
	return NULL;
}

/* ---- start, stop, state ---- */

struct ca_push {
	struct ca_va *va;
	size_t count;
};

st ca_push_start(struct scope *s, struct ca *ca)
{
	const struct ca_conf_va *rows = ca->conf->vas.item;
	struct ca_push *push = heap_alloc(sizeof *push);
	ca->push = push;
	push->va = heap_alloc((ca->conf->vas.count + 1) * sizeof *push->va);
	for (size_t i = 0; i < ca->conf->vas.count; i++) {
		struct ca_va *va = &push->va[i];
		*va = (struct ca_va){ .ca = ca, .name = rows[i].label, .url = rows[i].url };
		if (pthread_mutex_init(&va->mutex, NULL) != 0)
			return fail(s, E_IO, "no lock for a va");
		TRY(ca_thread(s, &va->thread, push_main, va));
		push->count++;
	}
	return OK;
}

void ca_push_stop(struct ca *ca)
{
	struct ca_push *push = ca->push;
	if (push == NULL)
		return;
	for (size_t i = 0; i < push->count; i++) {
		(void)pthread_join(push->va[i].thread, NULL);
		(void)pthread_mutex_destroy(&push->va[i].mutex);
	}
	free(push->va);
	free(push);
	ca->push = NULL;
}

void ca_push_wake(struct ca *ca)
{
	(void)pthread_mutex_lock(&ca->mutex);
	ca->feed_changes++;
	(void)pthread_cond_broadcast(&ca->news);
	(void)pthread_mutex_unlock(&ca->mutex);
}

size_t ca_push_states(struct scope *s, struct ca *ca, struct ca_va_state **out)
{
	struct bounds b = { 0 };
	if (db_read(s, ca->db, read_bounds, &b).code != E_OK)
		scope_clear_error(s);
	size_t count = ca->push == NULL ? 0 : ca->push->count;
	*out = scope_alloc(s, (count + 1) * sizeof **out);
	for (size_t i = 0; i < count; i++) {
		struct ca_va *va = &ca->push->va[i];
		(void)pthread_mutex_lock(&va->mutex);
		(*out)[i] = (struct ca_va_state){ .name = va->name,
						  .url = va->url,
						  .number = va->number,
						  .lag = b.most - va->number,
						  .confirmed_at = va->confirmed_at,
						  .connected = va->connected };
		(void)snprintf((*out)[i].failure, sizeof(*out)[i].failure, "%s", va->failure);
		(void)pthread_mutex_unlock(&va->mutex);
	}
	return count;
}
