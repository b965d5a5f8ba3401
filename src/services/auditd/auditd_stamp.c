/*
 * Time-stamps over checkpoints, asked for by a thread of their own. It holds no lock while it asks, and no record waits for it, since
 * an authority of ours signs only what is on record here.
 */
#include "audit_client.h"
#include "auditd.h"
#include "daemon_pacer.h"
#include "client.h"
#include "failpoint.h"
#include "log.h"
#include "moment.h"
#include "stamp.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define CALL_TIMEOUT_MS   10000
#define RETRY_US          (5 * MOMENT_SECOND)
#define COMPLAIN_EVERY_US MOMENT_MINUTE

struct stamper {
	struct auditd *a;
	const struct auditd_conf *conf; /* a reload puts a newer one there */
	struct stamp_trust *trust;
	struct pacer pace;
	/* This thread's own: */
	unsigned failures; /* in a row */
	int64_t complained;
	bool warned;
	/* Under the lock: */
	atomic_bool asking;
	struct buf asked; /* the note that a token is being asked for */
	uint64_t size;    /* leaves under the newest stamped checkpoint */
	int64_t gen_time;
	char failure[SCOPE_MESSAGE_MAX]; /* of the last attempt */
};

static const struct auditd_conf *conf_of(const struct stamper *g)
{
	return __atomic_load_n(&g->conf, __ATOMIC_ACQUIRE);
}

void stamper_reload(struct stamper *g, const struct auditd_conf *conf)
{
	if (g == NULL)
		return;
	__atomic_store_n(&g->conf, conf, __ATOMIC_RELEASE);
	pacer_wake(&g->pace);
}

/* ---- at start ---- */

static st check_conf(struct scope *s, const struct auditd_conf *conf)
{
	if (strncmp(conf->stamp_url, "http://", 7) != 0 && strncmp(conf->stamp_url, "https://", 8) != 0)
		return fail(s, E_CONFIG, "stamp-url: write http://... or https://...");
	if (conf->stamp_anchor == NULL)
		return fail(s, E_CONFIG,
			    "stamp-url needs stamp-anchor: a file with the certificates that tokens are verified against");
	return OK;
}

st stamper_new(struct scope *s, struct auditd *a, struct stamper **out)
{
	struct stamp_trust *trust;
	if (a->conf->stamp_url == NULL)
		return OK;
	TRY(check_conf(s, a->conf));
	TRY(fail_context(s, stamp_trust_open(s, a->conf->stamp_anchor, &trust), "stamp-anchor"));
	struct stamper *g = heap_alloc(sizeof *g);
	g->a = a;
	g->conf = a->conf;
	g->trust = trust;
	buf_init(&g->asked, AUDIT_NOTE_MAX);
	pacer_init(&g->pace);
	*out = g;
	return OK;
}

/* The record of the token over this note. */
static bool is_record_over(struct scope *s, const struct audit_record *r, span note)
{
	span tst_info;
	if (r->code != AUDIT_SIGN_TIME_STAMP || note.len == 0)
		return false;
	bool over = audit_field_base64(s, r, "tst_info", &tst_info).code == E_OK && stamp_is_about(s, tst_info, note);
	scope_clear_error(s);
	return over;
}

struct resuming {
	span note;  /* the newest that was stamped */
	int64_t at; /* of the oldest leaf behind it that calls for a stamp */
};

static bool look_at(void *state, uint64_t index, span leaf)
{
	struct resuming *r = state;
	struct audit_envelope envelope;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	(void)index;
	if (audit_envelope_read(&s, leaf, &envelope).code != E_OK || is_record_over(&s, &envelope.record, r->note))
		return true;
	r->at = envelope.at;
	return false;
}

static st load_newest(struct scope *s, struct stamper *g, span *out_note)
{
	uint64_t size;
	int64_t gen_time;
	span note, token;
	TRY(stamp_newest(s, conf_of(g)->log, &size));
	if (size > tail_size(g->a->tail))
		return fail(s, E_STATE, "there is a time-stamp of %llu leaves, and the log has fewer",
			    (unsigned long long)size);
	TRY(stamp_read(s, conf_of(g)->log, size, &note, &token));
	TRY(fail_context(s, stamp_verify(s, g->trust, note, token, &gen_time), "the time-stamp of %llu leaves",
			 (unsigned long long)size));
	g->size = size;
	g->gen_time = gen_time;
	*out_note = note;
	return OK;
}

/* A stamp that does not verify (any more) is none: the log is stamped again. `audit verify` tells more. */
st stamper_resume(struct scope *s, struct stamper *g)
{
	struct resuming r = { .at = 0 };
	st loaded = load_newest(s, g, &r.note);
	if (loaded.code != E_OK && loaded.code != E_NOTFOUND)
		log_failure(s, "the newest time-stamp of the log does not count");
	scope_clear_error(s);
	tail_stamped(g->a->tail, g->size, moment_monotonic());
	TRY(audit_log_each(s, g->a->log, g->size, look_at, &r));
	int64_t now = scope_now(s);
	if (r.at > 0)
		tail_was_unstamped(g->a->tail, r.at < now ? now - r.at : 0);
	return OK;
}

/* ---- one stamp ---- */

bool stamper_asked_for(struct stamper *g, const struct tail_record *record)
{
	struct audit_record r;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (g == NULL || !atomic_load(&g->asking))
		return false;
	(void)pthread_mutex_lock(&g->pace.lock);
	span note = scope_copy(&s, buf_span(&g->asked));
	(void)pthread_mutex_unlock(&g->pace.lock);
	return audit_record_read(&s, record->json, &r).code == E_OK && is_record_over(&s, &r, note);
}

static void set_asked(struct stamper *g, span note)
{
	(void)pthread_mutex_lock(&g->pace.lock);
	buf_clear(&g->asked);
	if (!buf_append(&g->asked, note))
		log_die("a checkpoint does not fit its buffer");
	atomic_store(&g->asking, note.len > 0);
	(void)pthread_mutex_unlock(&g->pace.lock);
}

static st ask(struct scope *s, struct stamper *g, span query, struct client_answer *out)
{
	struct client *client;
	const struct client_settings settings = { .base_url = conf_of(g)->stamp_url,
						  .server_ca = conf_of(g)->stamp_tls_ca,
						  .timeout_ms = CALL_TIMEOUT_MS,
						  .max_body = STAMP_TOKEN_MAX };
	TRY(client_new(s, &settings, &client));
	//= rfc3161#3.4 a request is posted as application/timestamp-query
	st called = client_call(s, client, "POST", "", "application/timestamp-query", query, out);
	client_free(client);
	TRY(called);
	if (out->status != 200)
		return fail(s, E_UNAVAILABLE, "%s answers with HTTP status %ld", conf_of(g)->stamp_url, out->status);
	return OK;
}

/* Only what verifies is kept: a token that does not would be the first thing an auditor finds. */
static st stamp(struct scope *s, struct stamper *g, uint64_t size, span note)
{
	uint8_t nonce[8];
	struct client_answer answer;
	span query, token;
	int64_t gen_time;
	scope_random(s, nonce, sizeof nonce);
	nonce[0] = (uint8_t)((nonce[0] & 0x3f) | 0x40); /* a positive INTEGER */
	TRY(stamp_request(s, note, SPAN_ARRAY(nonce), &query));
	set_asked(g, note);
	st asked = ask(s, g, query, &answer);
	set_asked(g, (span){ 0 });
	TRY(asked);
	TRY(stamp_answer(s, g->trust, note, SPAN_ARRAY(nonce), answer.body, &token, &gen_time));
	FAILPOINT("auditd.stamped");
	TRY(stamp_put(s, conf_of(g)->log, size, note, token));
	(void)pthread_mutex_lock(&g->pace.lock);
	g->size = size;
	g->gen_time = gen_time;
	(void)pthread_mutex_unlock(&g->pace.lock);
	return OK;
}

/* Records of stamping call for no stamp: else each would bring the next, for ever. */
static st one_attempt(struct scope *s, struct stamper *g)
{
	AUTO_BUF note;
	uint64_t from;
	int64_t time;
	buf_init(&note, AUDIT_NOTE_MAX);
	if (tail_unstamped(g->a->tail, &from) == 0)
		return OK;
	uint64_t size = signer_checkpoint(g->a->signer, UINT64_MAX, &note, &time);
	if (size <= from)
		return OK; /* what waits is under no checkpoint yet */
	TRY(stamp(s, g, size, buf_span(&note)));
	int64_t age = scope_now(s) - time;
	tail_stamped(g->a->tail, size, moment_monotonic() - (age > 0 ? age : 0));
	return OK;
}

/* ---- the thread ---- */

static void keep_failure(struct stamper *g, const char *message)
{
	(void)pthread_mutex_lock(&g->pace.lock);
	(void)snprintf(g->failure, sizeof g->failure, "%s", message);
	(void)pthread_mutex_unlock(&g->pace.lock);
}

/* Once may be a restart of the authority. */
static void complain(struct stamper *g, const struct scope *s)
{
	int64_t now = moment_monotonic();
	if (g->failures < 2 || (g->complained != 0 && now - g->complained < COMPLAIN_EVERY_US))
		return;
	g->complained = now;
	log_failure(s, "having a checkpoint time-stamped");
}

static void one_round(struct stamper *g)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st attempted = one_attempt(&s, g);
	keep_failure(g, attempted.code == E_OK ? "" : s.message);
	g->failures = attempted.code == E_OK ? 0 : g->failures + 1;
	if (attempted.code != E_OK)
		complain(g, &s);
}

static void record_late(struct scope *s, struct stamper *g, int64_t waiting)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_STAMP_LATE);
	audit_number(&e, "size", (int64_t)g->size);
	audit_time(&e, "since", scope_now(s) - waiting);
	audit_str(&e, "reason", g->failure[0] == 0 ? "no checkpoint is signed" : g->failure);
	if (auditd_record(s, g->a, &e).code != E_OK)
		log_failure(s, "recording that time-stamps are late");
}

static void record_resumed(struct scope *s, struct stamper *g)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_STAMP_RESUMED);
	audit_number(&e, "size", (int64_t)g->size);
	audit_time(&e, "gen_time", g->gen_time);
	if (auditd_record(s, g->a, &e).code != E_OK)
		log_failure(s, "recording that time-stamps come again");
}

static int64_t waiting_of(struct stamper *g)
{
	uint64_t ignored_from;
	return tail_unstamped(g->a->tail, &ignored_from);
}

static void watch_age(struct stamper *g)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t waiting = waiting_of(g);
	bool late = waiting > conf_of(g)->stamp_alarm_age;
	if (late && !g->warned) {
		log_put(LOG_LEVEL_ERROR,
			"ALARM: no time-stamp of the audit log for %lld s; issuance stops at %lld s: does the authority at %s "
			"answer?",
			(long long)(waiting / MOMENT_SECOND), (long long)(conf_of(g)->stamp_age_limit / MOMENT_SECOND),
			conf_of(g)->stamp_url);
		record_late(&s, g, waiting);
	}
	if (!late && g->warned) {
		log_put(LOG_LEVEL_NOTICE, "checkpoints of the audit log are time-stamped again");
		record_resumed(&s, g);
	}
	g->warned = late;
}

static void *stamper_main(void *argument)
{
	struct stamper *g = argument;
	int64_t interval = conf_of(g)->stamp_interval, pause = interval < RETRY_US ? interval : RETRY_US;
	while (pacer_pause(&g->pace, pause)) {
		one_round(g);
		watch_age(g);
		interval = conf_of(g)->stamp_interval;
		pause = g->failures > 0 && interval > RETRY_US ? RETRY_US : interval;
	}
	one_round(g);
	return NULL;
}

void stamper_start(struct stamper *g)
{
	if (g == NULL)
		return;
	pacer_start(&g->pace, "have checkpoints time-stamped", stamper_main, g);
}

void stamper_stop(struct stamper *g)
{
	if (g != NULL)
		pacer_stop(&g->pace);
}

void stamper_free(struct stamper *g)
{
	if (g == NULL)
		return;
	stamp_trust_close(g->trust);
	buf_free(&g->asked);
	pacer_free(&g->pace);
	free(g);
}

/* ---- what others ask ---- */

//= EN 319 401 REQ-7.9.1-15 records are bound to trusted time: nothing is issued under records that nobody stamps for long
st stamper_check(struct scope *s, struct stamper *g)
{
	if (g == NULL)
		return OK;
	int64_t waiting = waiting_of(g), limit = conf_of(g)->stamp_age_limit;
	if (waiting <= limit)
		return OK;
	return fail(s, E_UNAVAILABLE,
		    "records wait for a time-stamped checkpoint since %lld s, the limit is %lld s: no certificate is issued "
		    "(EN 319 401 REQ-7.9.1); see `chancery status` for why the authority gives none, or raise stamp-age-limit "
		    "of auditd.conf and reload auditd",
		    (long long)(waiting / MOMENT_SECOND), (long long)(limit / MOMENT_SECOND));
}

static enum audit_stamp_condition condition(const struct stamper *g, int64_t waiting)
{
	if (waiting > conf_of(g)->stamp_age_limit)
		return AUDIT_STAMPS_OVERDUE;
	return waiting > conf_of(g)->stamp_alarm_age ? AUDIT_STAMPS_LATE : AUDIT_STAMPS_WELL;
}

void stamper_write(struct stamper *g, struct wr *reply)
{
	static const uint8_t none[1 + 4 * 8 + 4] = { AUDIT_STAMPS_NONE };
	if (g == NULL) {
		wr_raw(reply, SPAN_ARRAY(none));
		return;
	}
	int64_t waiting = waiting_of(g);
	(void)pthread_mutex_lock(&g->pace.lock);
	wr_u8(reply, (uint8_t)condition(g, waiting));
	wr_u64(reply, g->size);
	wr_i64(reply, g->gen_time);
	wr_i64(reply, waiting);
	wr_i64(reply, conf_of(g)->stamp_age_limit);
	wr_str(reply, g->failure);
	(void)pthread_mutex_unlock(&g->pace.lock);
}

void stamper_metrics(struct stamper *g, struct metrics_page *page)
{
	static const struct metric condition_of = { "chancery_auditd_stamp_condition", METRIC_GAUGE,
						    "1: time-stamps are as wanted; 2: late; 3: overdue, nothing is issued." };
	static const struct metric leaves = { "chancery_auditd_stamped_leaves", METRIC_GAUGE,
					      "Records under the newest time-stamped checkpoint." };
	static const struct metric wait = { "chancery_auditd_stamp_waiting_seconds", METRIC_GAUGE,
					    "How long the oldest record has waited that is under no time-stamped checkpoint." };
	if (g == NULL)
		return;
	int64_t waiting = waiting_of(g);
	(void)pthread_mutex_lock(&g->pace.lock);
	uint64_t size = g->size;
	(void)pthread_mutex_unlock(&g->pace.lock);
	metrics_one(page, &condition_of, condition(g, waiting));
	metrics_one(page, &leaves, (int64_t)size);
	metrics_one_seconds(page, &wait, waiting);
}
