#include "watch_send.h"
#include "client.h"
#include "daemon_pacer.h"
#include "log.h"
#include "moment.h"
#include "watch_runner.h"
#include <jansson.h>
#include <stdlib.h>

#define TIMEOUT_MS  10000
#define BODY_MAX    65536
#define PAUSE       (MOMENT_SECOND / 4)
#define RETRY_FIRST MOMENT_SECOND
#define RETRY_MOST  (5 * 60 * MOMENT_SECOND)

struct outlet {
	const struct watch_outlet_conf *conf;
	enum audit_severity severity;
	struct watch_book *book;
	struct pacer pacer;
	unsigned failures;
};
struct watch_send {
	struct outlet *outlet;
	size_t count;
};

/* ---- one notice, one way ---- */

static st post(struct scope *s, const struct watch_outlet_conf *conf, span json)
{
	const struct client_settings settings = {
		.base_url = conf->url, .server_ca = conf->tls_ca, .timeout_ms = TIMEOUT_MS, .max_body = BODY_MAX
	};
	struct client *client;
	struct client_answer answer;
	TRY(client_new(s, &settings, &client));
	st sent = client_call(s, client, "POST", "", "application/json", json, &answer);
	client_free(client);
	TRY(sent);
	return answer.status >= 200 && answer.status <= 299
		       ? OK
		       : fail(s, E_UNAVAILABLE, "%s answered with %ld", conf->url, answer.status);
}

static st mail(struct scope *s, const struct watch_outlet_conf *conf, const struct watch_notice *n)
{
	const struct watch_alert *a = &n->alert;
	char at[MOMENT_TEXT_MAX], since[MOMENT_TEXT_MAX];
	const char *state = n->opened ? "opened" : "closed";
	const char *name = scope_printf(s, "%s%s%s", a->rule->name, a->subject[0] != 0 ? " " : "", a->subject);
	const struct client_mail letter = {
		.server = conf->mail_server,
		.from = conf->mail_from,
		.to = conf->mail_to,
		.subject = scope_printf(s, "[chancery] %s %s: %s", audit_severity_name(a->rule->severity), state, name),
		.text = scope_printf(s,
				     "Alert %s, severity %s, was %s at %s; it is there since %s.\n\n%s\n%s%s\nIts number: %s\n",
				     name, audit_severity_name(a->rule->severity), state, moment_text(n->at, at),
				     moment_text(a->since, since), a->text, n->reason, n->reason[0] != 0 ? "\n" : "", a->id),
		.date = n->at,
		.message_id = scope_printf(s, "%s.%s", a->id, state),
		.timeout_ms = TIMEOUT_MS,
	};
	return client_mail(s, &letter);
}

static st tell(struct scope *s, const struct watch_outlet_conf *conf, const struct watch_notice *n)
{
	span json = watch_notice_json(s, n);
	if (conf->command != NULL)
		return watch_runner_run(s, conf->command, json);
	return conf->url != NULL ? post(s, conf, json) : mail(s, conf, n);
}

/* ---- a thread for each outlet ---- */

/* Always: it may have failed before a restart. */
static void succeeded(struct outlet *o, int64_t now)
{
	watch_book_clear(o->book, "outlet-failed", o->conf->label, "it takes alerts again", now);
	o->failures = 0;
}

static int64_t failed(struct outlet *o, struct scope *s)
{
	int64_t wait = RETRY_FIRST;
	log_failure(s, scope_printf(s, "telling outlet %s", o->conf->label));
	watch_book_raise(o->book, "outlet-failed", o->conf->label, scope_printf(s, "%s: %s", o->conf->label, s->message),
			 scope_now(s));
	for (unsigned i = 0; i < o->failures && wait < RETRY_MOST; i++)
		wait *= 2;
	o->failures++;
	return wait < RETRY_MOST ? wait : RETRY_MOST;
}

static int64_t send_next(struct outlet *o)
{
	struct watch_notice n;
	if (!watch_book_notice(o->book, watch_book_sent(o->book, o->conf->label), &n))
		return PAUSE;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	/* That an outlet fails is not for that outlet to tell. */
	bool own = strcmp(n.alert.rule->name, "outlet-failed") == 0 && strcmp(n.alert.subject, o->conf->label) == 0;
	if (n.alert.rule->severity >= o->severity && !own) {
		if (tell(&s, o->conf, &n).code != E_OK)
			return failed(o, &s);
		succeeded(o, scope_now(&s));
	}
	watch_book_set_sent(o->book, o->conf->label, n.number);
	return 0;
}

static void *run(void *argument)
{
	struct outlet *o = argument;
	int64_t pause = 0;
	do
		pause = send_next(o);
	while (pacer_pause(&o->pacer, pause));
	return NULL;
}

static st check(struct scope *s, const struct watch_outlet_conf *conf)
{
	int ways = (conf->command != NULL) + (conf->url != NULL) + (conf->mail_to != NULL);
	if (ways != 1)
		return fail(s, E_CONFIG, "[outlet %s] needs one of command, url and mail-to, and no other", conf->label);
	if (conf->mail_to != NULL && (conf->mail_from == NULL || conf->mail_server == NULL))
		return fail(s, E_CONFIG, "[outlet %s] mail-to needs mail-from and mail-server", conf->label);
	return OK;
}

st watch_send_check(struct scope *s, const struct watch_conf *conf)
{
	const struct watch_outlet_conf *item = conf->outlets.item;
	if (conf->outlets.count > WATCH_OUTLETS_MAX)
		return fail(s, E_CONFIG, "there are more than %d outlets", WATCH_OUTLETS_MAX);
	for (size_t i = 0; i < conf->outlets.count; i++)
		TRY(check(s, &item[i]));
	return OK;
}

static enum audit_severity severity_of(const struct watch_outlet_conf *conf)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	enum audit_severity severity = AUDIT_INFO;
	if (audit_severity_named(&s, conf->severity, &severity).code != E_OK)
		log_die("[outlet %s] severity = %s was taken by the configuration", conf->label, conf->severity);
	return severity;
}

struct watch_send *watch_send_start(const struct watch_conf *conf, struct watch_book *book)
{
	const struct watch_outlet_conf *item = conf->outlets.item;
	struct watch_send *w = heap_alloc(sizeof *w);
	*w = (struct watch_send){ .outlet = heap_alloc((conf->outlets.count + 1) * sizeof *w->outlet),
				  .count = conf->outlets.count };
	for (size_t i = 0; i < w->count; i++) {
		struct outlet *o = &w->outlet[i];
		*o = (struct outlet){ .conf = &item[i], .severity = severity_of(&item[i]), .book = book };
		pacer_init(&o->pacer);
		(void)watch_book_sent(book, item[i].label);
		pacer_start(&o->pacer, "tell an outlet", run, o);
	}
	return w;
}

void watch_send_stop(struct watch_send *w)
{
	if (w == NULL)
		return;
	for (size_t i = 0; i < w->count; i++) {
		pacer_stop(&w->outlet[i].pacer);
		pacer_free(&w->outlet[i].pacer);
	}
	free(w->outlet);
	free(w);
}

/* ---- a trial ---- */

static const struct watch_rule trial = {
	.name = "trial", .on = true, .severity = AUDIT_NOTICE, .text = "somebody tries whether alerts arrive: nothing is wrong"
};

span watch_send_try(struct scope *s, const struct watch_conf *conf, int64_t now)
{
	const struct watch_outlet_conf *item = conf->outlets.item;
	struct watch_notice n = { .opened = true,
				  .at = now,
				  .alert = { .rule = &trial, .since = now, .last = now, .count = 1 } };
	(void)snprintf(n.alert.id, sizeof n.alert.id, "%016llx%016llx", (unsigned long long)now, 0ull);
	(void)snprintf(n.alert.text, sizeof n.alert.text, "%s", trial.text);
	json_t *all = json_array();
	for (size_t i = 0; i < conf->outlets.count; i++) {
		st told = tell(s, &item[i], &n);
		(void)json_array_append_new(all, json_pack("{s:s, s:b, s:s}", "outlet", item[i].label, "told",
							   told.code == E_OK, "failure", told.code == E_OK ? "" : s->message));
		scope_clear_error(s);
	}
	char *text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	span copy = scope_copy(s, span_str(text));
	free(text);
	return copy;
}
