/*
 * The second place of the log: a thread for each puts tiles, entry bundles, checkpoints and time-stamps there, in order, one file in memory at a time, and
 * keeps the cosignature (c2sp.org/tlog-witness). Nothing waits for it; what is there is verified there, and the answer here.
 */
#include "audit_client.h"
#include "auditd.h"
#include "daemon_pacer.h"
#include "auditd_push.h"
#include "client.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "stamp.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>

#define CALL_TIMEOUT_MS   30000
#define ANSWER_MAX        65536
#define PAUSE_MAX_US      (10 * MOMENT_SECOND)
#define COMPLAIN_EVERY_US MOMENT_MINUTE

struct copier {
	struct auditd *a;
	const struct auditd_copy_conf *conf;
	struct audit_key cosigner;
	char *cosigner_key; /* as text, which `cosigner` points into */
	struct scope kept;
	char *path; /* of the cosigned checkpoint */
	struct pacer pace;
	/* This thread's own: */
	struct client *client;
	struct push push;
	bool asked;       /* `size` and `stamped` are what the other side says */
	uint64_t stamped; /* leaves under the newest time-stamp there */
	unsigned failures;
	bool refused, warned;
	int64_t complained;
	/* Under the lock: */
	uint64_t size; /* leaves under the cosigned checkpoint */
	int64_t since; /* monotonic: it is behind since then; 0: it is not */
	char failure[SCOPE_MESSAGE_MAX];
};
struct copiers {
	struct copier **one;
	size_t count;
};

/* ---- what goes there ---- */

static st call(struct scope *s, struct copier *g, const char *method, const char *path, const char *media_type, span body,
	       struct client_answer *out)
{
	if (g->client == NULL) {
		const struct client_settings settings = { .base_url = g->conf->url,
							  .certificate = g->conf->tls_certificate,
							  .key = g->conf->tls_key,
							  .server_ca = g->conf->tls_ca,
							  .timeout_ms = CALL_TIMEOUT_MS,
							  .max_body = ANSWER_MAX };
		TRY(client_new(s, &settings, &g->client));
	}
	st called = client_call(s, g->client, method, path, media_type, body, out);
	if (called.code != E_OK) {
		client_free(TAKE(g->client)); /* a renewed certificate is read with the next */
		return called;
	}
	return OK;
}

static st put_file(struct scope *s, void *state, int level, uint64_t n, unsigned width, span bytes)
{
	struct copier *g = state;
	struct client_answer answer;
	TRY(call(s, g, "PUT", audit_tile_path(s, "", level, n, width), "application/octet-stream", bytes, &answer));
	return client_expect(s, &answer);
}

static bool is_stopping(void *state)
{
	struct copier *g = state;
	return pacer_is_stopping(&g->pace);
}

/* ---- checkpoints ---- */

static st read_size(struct scope *s, const struct copier *g, span text, uint64_t *out)
{
	if (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	return fail_context(s, decimal_parse(s, text, INT64_MAX, out), "the size that %s says", g->conf->url);
}

static st take_size(struct scope *s, struct copier *g, span text)
{
	uint64_t size;
	TRY(read_size(s, g, text, &size));
	(void)pthread_mutex_lock(&g->pace.lock);
	g->size = size;
	(void)pthread_mutex_unlock(&g->pace.lock);
	g->push.pushed = size;
	g->asked = true;
	return OK;
}

static st ask_size(struct scope *s, struct copier *g)
{
	struct client_answer answer;
	TRY(call(s, g, "GET", "/stamped", NULL, (span){ 0 }, &answer));
	TRY(client_expect(s, &answer));
	TRY(read_size(s, g, answer.body, &g->stamped));
	TRY(call(s, g, "GET", "/size", NULL, (span){ 0 }, &answer));
	TRY(client_expect(s, &answer));
	return take_size(s, g, answer.body);
}

//= c2sp tlog-witness "add-checkpoint" old size, proof, empty line, checkpoint
static st write_request(struct scope *s, struct copier *g, uint64_t size, span note, char **out)
{
	struct audit_proof *proof = scope_new(s, struct audit_proof);
	struct audit_source source = { .node = audit_log_node, .state = g->push.log };
	TRY(audit_prove_consistency(s, &source, g->size, size, proof));
	char *text = scope_printf(s, "old %llu\n", (unsigned long long)g->size);
	for (size_t i = 0; i < proof->count; i++)
		text = scope_printf(s, "%s%s\n", text, base64_text(s, SPAN_ARRAY(proof->hash[i].octets)));
	*out = scope_printf(s, "%s\n%.*s", text, (int)note.len, (const char *)note.data);
	return OK;
}

/* The lines that came back are kept when one of them is the cosigner's and good. */
static st keep_cosignature(struct scope *s, struct copier *g, span note, span lines)
{
	struct audit_note parts;
	char *cosigned =
		scope_printf(s, "%.*s%.*s", (int)note.len, (const char *)note.data, (int)lines.len, (const char *)lines.data);
	TRY(audit_note_read(s, span_str(cosigned), &parts));
	TRY(fail_context(s, audit_note_verify(s, &parts, &g->cosigner, 1), "the cosignature of %s", g->conf->label));
	return file_replace(s, g->path, span_str(cosigned), 0644);
}

static st add_checkpoint(struct scope *s, struct copier *g, uint64_t size, span note)
{
	char *request;
	struct client_answer answer;
	TRY(write_request(s, g, size, note, &request));
	TRY(call(s, g, "POST", "/add-checkpoint", "text/plain", span_str(request), &answer));
	if (answer.status == 409 && span_is(answer.content_type, "text/x.tlog.size"))
		return take_size(s, g, answer.body); /* the next round goes on from there */
	TRY(client_expect(s, &answer));
	TRY(keep_cosignature(s, g, note, answer.body));
	(void)pthread_mutex_lock(&g->pace.lock);
	g->size = size;
	(void)pthread_mutex_unlock(&g->pace.lock);
	return OK;
}

static st copy_to(struct scope *s, struct copier *g, uint64_t size, span note)
{
	if (!g->asked)
		TRY(ask_size(s, g));
	if (g->size > size)
		return fail(
			s, E_CONFLICT,
			"the copy has cosigned %llu records and this log has %llu: leaves were lost; restore the log from the "
			"copy",
			(unsigned long long)g->size, (unsigned long long)size);
	TRY(push_files(s, &g->push, g->size, size));
	return add_checkpoint(s, g, size, note);
}

/* ---- time-stamps, behind the checkpoints that they are over ---- */

static st put_stamp(struct scope *s, struct copier *g, uint64_t size)
{
	AUTO_BUF body;
	span note, token;
	struct client_answer answer;
	buf_init(&body, 4 + AUDIT_NOTE_MAX + STAMP_TOKEN_MAX);
	TRY(stamp_read(s, g->a->conf->log, size, &note, &token));
	struct wr w = wr_into(&body);
	wr_bytes(&w, note);
	wr_raw(&w, token);
	TRY(wr_end(s, &w));
	TRY(call(s, g, "POST", "/add-stamp", "application/octet-stream", buf_span(&body), &answer));
	return fail_context(s, client_expect(s, &answer), "the time-stamp of %llu records", (unsigned long long)size);
}

static st copy_stamp(struct scope *s, void *state, uint64_t size)
{
	struct copier *g = state;
	if (size > g->size)
		return OK; /* the copy has not those records yet */
	if (is_stopping(g))
		return fail(s, E_UNAVAILABLE, "auditd is being stopped");
	TRY(put_stamp(s, g, size));
	g->stamped = size;
	return OK;
}

/* ---- the thread ---- */

static void set_since(struct copier *g, bool behind)
{
	(void)pthread_mutex_lock(&g->pace.lock);
	if (!behind)
		g->since = 0;
	else if (g->since == 0)
		g->since = moment_monotonic();
	(void)pthread_mutex_unlock(&g->pace.lock);
}

static void keep_failure(struct copier *g, st status, const struct scope *s)
{
	bool failed = status.code != E_OK;
	(void)pthread_mutex_lock(&g->pace.lock);
	(void)snprintf(g->failure, sizeof g->failure, "%s", failed ? s->message : "");
	(void)pthread_mutex_unlock(&g->pace.lock);
	g->failures = failed ? g->failures + 1 : 0;
	g->refused = status.code == E_CRYPTO || status.code == E_CONFLICT;
	int64_t now = moment_monotonic();
	if (!failed || g->failures < 2 || (g->complained != 0 && now - g->complained < COMPLAIN_EVERY_US))
		return;
	g->complained = now;
	log_failure(s, scope_printf(&g->kept, "copying the log to %s", g->conf->label));
}

static void one_round(struct copier *g)
{
	AUTO_SCOPE s;
	AUTO_BUF note;
	int64_t ignored_time;
	scope_init(&s, NULL);
	buf_init(&note, AUDIT_NOTE_MAX);
	uint64_t size = signer_checkpoint(g->a->signer, UINT64_MAX, &note, &ignored_time);
	if (size == 0)
		return;
	bool grown = !g->asked || size != g->size;
	if (grown)
		set_since(g, true);
	st copied = grown ? copy_to(&s, g, size, buf_span(&note)) : OK;
	if (copied.code == E_OK)
		copied = stamp_walk(&s, g->a->conf->log, g->stamped, copy_stamp, g);
	if (copied.code != E_OK)
		g->asked = false;
	keep_failure(g, copied, &s);
	if (copied.code != E_OK)
		set_since(g, true);
	if (copied.code == E_OK && g->size == size)
		set_since(g, false);
}

static int64_t behind(struct copier *g)
{
	(void)pthread_mutex_lock(&g->pace.lock);
	int64_t us = g->since == 0 ? 0 : moment_monotonic() - g->since;
	(void)pthread_mutex_unlock(&g->pace.lock);
	return us;
}

static void record_late(struct scope *s, struct copier *g, int64_t us)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_COPY_LATE);
	audit_str(&e, "copy", g->conf->label);
	audit_number(&e, "size", (int64_t)g->size);
	audit_time(&e, "since", scope_now(s) - us);
	audit_str(&e, "reason", g->failure);
	if (auditd_record(s, g->a, &e).code != E_OK)
		log_failure(s, "recording that a copy of the log is late");
}

static void record_resumed(struct scope *s, struct copier *g)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_COPY_RESUMED);
	audit_str(&e, "copy", g->conf->label);
	audit_number(&e, "size", (int64_t)g->size);
	if (auditd_record(s, g->a, &e).code != E_OK)
		log_failure(s, "recording that a copy of the log goes on");
}

/* A refusal is told at once: it does not pass by waiting. */
static void watch(struct copier *g)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t us = behind(g);
	bool late = us > g->conf->alarm_age || g->refused;
	if (late && !g->warned) {
		log_put(LOG_LEVEL_ERROR, "ALARM: the log is not copied to %s for %lld s: %s", g->conf->label,
			(long long)(us / MOMENT_SECOND), g->failure);
		record_late(&s, g, us);
	}
	if (!late && g->warned) {
		log_put(LOG_LEVEL_NOTICE, "the log is copied to %s again", g->conf->label);
		record_resumed(&s, g);
	}
	(void)pthread_mutex_lock(&g->pace.lock);
	g->warned = late;
	(void)pthread_mutex_unlock(&g->pace.lock);
}

static void *copier_main(void *argument)
{
	struct copier *g = argument;
	int64_t pause = g->conf->interval;
	while (pacer_pause(&g->pace, pause)) {
		one_round(g);
		watch(g);
		pause = g->failures > 0 && g->conf->interval * 4 < PAUSE_MAX_US ? g->conf->interval * 4 : g->conf->interval;
	}
	return NULL;
}

/* ---- all of them ---- */

static void copier_free(struct copier *g)
{
	client_free(g->client);
	audit_log_close(g->push.log);
	scope_done(&g->kept);
	pacer_free(&g->pace);
	free(g);
}

static st copier_new(struct scope *s, struct auditd *a, const struct auditd_copy_conf *conf, struct copier **out)
{
	struct copier *g = heap_alloc(sizeof *g);
	g->a = a;
	g->conf = conf;
	g->push = (struct push){ .put = put_file, .stopping = is_stopping, .state = g, .entries = true };
	scope_init(&g->kept, NULL);
	pacer_init(&g->pace);
	g->cosigner_key = scope_printf(&g->kept, "%s", conf->cosigner);
	g->path = scope_printf(&g->kept, "%s/cosigned/%s", a->conf->log, conf->label);
	st made = audit_key_parse(&g->kept, span_str(g->cosigner_key), &g->cosigner);
	if (strchr(conf->label, '/') != NULL || conf->label[0] == '.')
		made = fail(s, E_CONFIG, "[copy %s]: its name becomes that of a file", conf->label);
	else if (made.code != E_OK)
		made = fail(s, made.code, "[copy %s] cosigner: %s", conf->label, g->kept.message);
	else if (g->cosigner.type != AUDIT_KEY_COSIGNER)
		made = fail(s, E_CONFIG, "[copy %s] cosigner: a key of type 4 is wanted (c2sp tlog-cosignature)", conf->label);
	if (made.code == E_OK)
		made = file_make_directory(s, scope_printf(s, "%s/cosigned", a->conf->log), 0755);
	if (made.code == E_OK)
		made = audit_log_open(s, a->conf->log, &g->push.log);
	if (made.code != E_OK) {
		copier_free(g);
		return made;
	}
	*out = g;
	return OK;
}

st copiers_new(struct scope *s, struct auditd *a, struct copiers **out)
{
	const struct auditd_copy_conf *conf = a->conf->copies.item;
	if (a->conf->copies.count > AUDIT_COPIES_MAX)
		return fail(s, E_CONFIG, "a log has at most %d copies", AUDIT_COPIES_MAX);
	struct copiers *all = heap_alloc(sizeof *all);
	all->one = heap_alloc((a->conf->copies.count + 1) * sizeof(struct copier *));
	*out = all;
	for (; all->count < a->conf->copies.count; all->count++)
		TRY(copier_new(s, a, &conf[all->count], &all->one[all->count]));
	return OK;
}

void copiers_start(struct copiers *all)
{
	for (size_t i = 0; i < all->count; i++)
		pacer_start(&all->one[i]->pace, "copy the log", copier_main, all->one[i]);
}

void copiers_stop(struct copiers *all)
{
	for (size_t i = 0; all != NULL && i < all->count; i++)
		pacer_stop(&all->one[i]->pace);
}

void copiers_free(struct copiers *all)
{
	if (all == NULL)
		return;
	for (size_t i = 0; i < all->count; i++)
		copier_free(all->one[i]);
	free(all->one);
	free(all);
}

void copiers_write(struct copiers *all, struct wr *reply)
{
	wr_u16(reply, (uint16_t)all->count);
	for (size_t i = 0; i < all->count; i++) {
		struct copier *g = all->one[i];
		int64_t us = behind(g);
		(void)pthread_mutex_lock(&g->pace.lock);
		wr_str(reply, g->conf->label);
		wr_u64(reply, g->size);
		wr_i64(reply, us);
		wr_u8(reply, g->warned ? 1 : 0);
		wr_str(reply, g->failure);
		(void)pthread_mutex_unlock(&g->pace.lock);
	}
}

/* One of the three metrics for each copy: the values of a family stand together. */
static void copies_gauge(struct copiers *all, struct metrics_page *page, const struct metric *m,
			 void (*put)(struct metrics_page *, const struct metric *, const struct metric_label *,
				     struct copier *))
{
	metrics_family(page, m);
	for (size_t i = 0; i < all->count; i++) {
		const struct metric_label label = { "copy", all->one[i]->conf->label };
		put(page, m, &label, all->one[i]);
	}
}

static void put_size(struct metrics_page *page, const struct metric *m, const struct metric_label *label, struct copier *g)
{
	(void)pthread_mutex_lock(&g->pace.lock);
	uint64_t size = g->size;
	(void)pthread_mutex_unlock(&g->pace.lock);
	metrics_value(page, m, label, 1, (int64_t)size);
}

static void put_behind(struct metrics_page *page, const struct metric *m, const struct metric_label *label, struct copier *g)
{
	metrics_seconds(page, m, label, 1, behind(g));
}

static void put_late(struct metrics_page *page, const struct metric *m, const struct metric_label *label, struct copier *g)
{
	(void)pthread_mutex_lock(&g->pace.lock);
	bool late = g->warned;
	(void)pthread_mutex_unlock(&g->pace.lock);
	metrics_value(page, m, label, 1, late);
}

void copiers_metrics(struct copiers *all, struct metrics_page *page)
{
	static const struct metric leaves = { "chancery_auditd_copy_leaves", METRIC_GAUGE,
					      "Records under the checkpoint that the copy has cosigned." };
	static const struct metric lag = { "chancery_auditd_copy_behind_seconds", METRIC_GAUGE,
					   "How long the copy has lacked what is under a checkpoint." };
	static const struct metric late = { "chancery_auditd_copy_late", METRIC_GAUGE, "1: the copy is behind for too long." };
	if (all->count == 0)
		return;
	copies_gauge(all, page, &leaves, put_size);
	copies_gauge(all, page, &lag, put_behind);
	copies_gauge(all, page, &late, put_late);
}
