/*
 * What an operator must see to: for /healthz, and in the log without being asked.
 */
#include "daemon.h"
#include "log.h"
#include "moment.h"
#include "va.h"
#include <jansson.h>
#include <stdlib.h>

DEFINE_AUTO(json_t, json_decref)

#define LOOK_SECONDS 20
#define REMIND       (1 * MOMENT_HOUR)

struct va_watch {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	char *said; /* what was said last */
	int64_t said_at;
};

struct problems {
	struct scope *s;
	struct buf text;
	bool failing; /* something is not answered, or not validly, now */
};

static void problem(struct problems *p, bool failing, const char *text)
{
	if (p->text.len > 0)
		(void)buf_append(&p->text, SPAN_LITERAL("; "));
	(void)buf_append(&p->text, span_str(text));
	p->failing = p->failing || failing;
}

/* A thing that has to be renewed in time: it fails at its end, and its last quarter is the time to say so. */
static void look_at_life(struct problems *p, const char *what, const char *ca, int64_t from, int64_t until, int64_t now)
{
	char text[MOMENT_TEXT_MAX];
	if (now >= until)
		problem(p, true, scope_printf(p->s, "%s of %s is over since %s", what, ca, moment_text(until, text)));
	else if (now > until - (until - from) / 4)
		problem(p, false,
			scope_printf(p->s, "%s of %s ends at %s and was not renewed", what, ca, moment_text(until, text)));
}

static void look_at_ca(struct problems *p, const struct va_ca *ca, int64_t now)
{
	if (ca->crl.number == 0)
		problem(p, false, scope_printf(p->s, "no CRL of %s was published yet", ca->name));
	else
		look_at_life(p, "the CRL", ca->name, ca->crl.this_update, ca->crl.next_update, now);
	if (ca->signer.key != NULL)
		look_at_life(p, "the OCSP signer's certificate", ca->name, ca->signer.not_before, ca->signer.not_after, now);
}

static int64_t silence(const struct va *va)
{
	return moment_monotonic() - __atomic_load_n(&va->contact, __ATOMIC_RELAXED);
}

static void look(struct problems *p, const struct va *va, const struct va_directory *directory)
{
	int64_t now = scope_now(p->s);
	for (size_t i = 0; i < directory->count; i++)
		look_at_ca(p, &directory->ca[i], now);
	if (silence(va) > va_conf_now(va)->feed_silence)
		problem(p, false,
			scope_printf(p->s, "nothing heard from the ca for %lld s", (long long)(silence(va) / MOMENT_SECOND)));
}

/* ---- /healthz ---- */

static char *time_text(struct scope *s, int64_t moment)
{
	return moment_text(moment, scope_alloc(s, MOMENT_TEXT_MAX));
}

static json_t *describe_crl(struct scope *s, const struct va_crl *crl, int64_t now)
{
	return json_pack("{s:I,s:s,s:s,s:I}", "number", (json_int_t)crl->number, "this_update", time_text(s, crl->this_update),
			 "next_update", time_text(s, crl->next_update), "age_seconds",
			 (json_int_t)((now - crl->this_update) / MOMENT_SECOND));
}

static json_t *describe_signer(struct scope *s, const struct va_signer *signer, int64_t now)
{
	return json_pack("{s:s,s:s,s:I}", "key", signer->key, "not_after", time_text(s, signer->not_after), "remaining_seconds",
			 (json_int_t)((signer->not_after - now) / MOMENT_SECOND));
}

static json_t *describe_ca(struct scope *s, const struct va_ca *ca)
{
	int64_t now = scope_now(s);
	json_t *out = json_pack("{s:s}", "name", ca->name);
	if (ca->crl.number != 0)
		(void)json_object_set_new(out, "crl", describe_crl(s, &ca->crl, now));
	if (ca->signer.key != NULL)
		(void)json_object_set_new(out, "signer", describe_signer(s, &ca->signer, now));
	return out;
}

static json_t *describe(struct scope *s, struct va *va, const struct va_directory *directory, const struct problems *found,
			uint64_t number)
{
	json_t *cas = json_array();
	for (size_t i = 0; i < directory->count; i++)
		(void)json_array_append_new(cas, describe_ca(s, &directory->ca[i]));
	json_t *out = json_pack("{s:s,s:s,s:I,s:I,s:I,s:b,s:o}", "service", "va", "status",
				found->failing        ? "failing"
				: found->text.len > 0 ? "warning"
						      : "ok",
				"feed_number", (json_int_t)number, "feed_silence_seconds",
				(json_int_t)(silence(va) / MOMENT_SECOND), "answers_kept",
				(json_int_t)va_cache_count(va->cache), "files_fenced", (int)daemon_is_fenced(), "cas", cas);
	if (out != NULL && found->text.len > 0)
		(void)json_object_set_new(out, "problems", json_stringn((const char *)found->text.data, found->text.len));
	return out;
}

st va_healthz(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct va *va = request->state;
	AUTO_DIRECTORY *directory = va_directory_take(va);
	uint64_t number;
	TRY(va_store_number(s, va->store, &number));
	struct problems found = { .s = s };
	look(&found, va, directory);
	AUTO(json_t) *json = describe(s, va, directory, &found, number);
	bool failing = found.failing;
	buf_free(&found.text);
	char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
	if (text == NULL)
		return fail(s, E_BUG, "the state of health cannot be written as JSON");
	reply->status = failing ? 503 : 200;
	reply->content_type = "application/json";
	reply->body = scope_copy(s, span_str(text));
	free(text);
	http_reply_header(reply, "Cache-Control", "no-store");
	return OK;
}

/* ---- the log ---- */

/* Said when it changes, and again every hour while it lasts. */
static void say(struct va_watch *watch, const struct problems *found)
{
	span text = buf_span(&found->text);
	int64_t now = moment_monotonic();
	bool same = watch->said != NULL && span_is(text, watch->said);
	if (same && (text.len == 0 || now - watch->said_at < REMIND))
		return;
	if (text.len > 0)
		log_put(found->failing ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%.*s", (int)text.len, (const char *)text.data);
	else if (watch->said != NULL && watch->said[0] != 0)
		log_put(LOG_LEVEL_NOTICE, "all is in order again");
	free(watch->said);
	watch->said = heap_alloc(text.len + 1);
	if (text.len > 0)
		memcpy(watch->said, text.data, text.len);
	watch->said_at = now;
}

static void look_and_say(struct va *va)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_DIRECTORY *directory = va_directory_take(va);
	struct problems found = { .s = &s };
	look(&found, va, directory);
	say(va->watch, &found);
	buf_free(&found.text);
}

static void *watch_run(void *arg)
{
	struct va *va = arg;
	struct va_watch *watch = va->watch;
	(void)pthread_mutex_lock(&watch->lock);
	while (!watch->stop) {
		look_and_say(va);
		struct timespec until;
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += LOOK_SECONDS;
		(void)pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
	}
	(void)pthread_mutex_unlock(&watch->lock);
	return NULL;
}

st va_watch_start(struct scope *s, struct va *va)
{
	struct va_watch *watch = heap_alloc(sizeof *watch);
	pthread_condattr_t monotonic;
	if (pthread_mutex_init(&watch->lock, NULL) != 0 || pthread_condattr_init(&monotonic) != 0 ||
	    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 || pthread_cond_init(&watch->wake, &monotonic) != 0)
		log_die("no locks for the watch");
	va->watch = watch;
	if (pthread_create(&watch->thread, NULL, watch_run, va) == 0)
		return OK;
	va->watch = NULL;
	free(watch);
	return fail(s, E_IO, "no thread for the watch");
}

void va_watch_stop(struct va *va)
{
	struct va_watch *watch = va->watch;
	if (watch == NULL)
		return;
	(void)pthread_mutex_lock(&watch->lock);
	watch->stop = true;
	(void)pthread_cond_signal(&watch->wake);
	(void)pthread_mutex_unlock(&watch->lock);
	(void)pthread_join(watch->thread, NULL);
	free(watch->said);
	free(watch);
	va->watch = NULL;
}
