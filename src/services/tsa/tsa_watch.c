/* Whether the unit gives tokens, on record: what it is, when it stops and when it gives them again. */
#include "log.h"
#include "pki_certificate.h"
#include "tsa.h"
#include <stdlib.h>

#define INTERVAL MOMENT_SECOND

struct tsa_watch {
	struct tsa *tsa;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	int64_t stopped_since; /* 0: it gives tokens, or that it does not is not on record yet */
	pthread_t thread;
};

static st commit(struct scope *s, struct tsa *tsa, struct audit_event *e)
{
	uint64_t index;
	TRY(audit_finish(s, e));
	return audit_commit(s, tsa->audit, e, &index);
}

static const char *policies_text(struct scope *s, const struct tsa_conf *conf)
{
	const char *text = conf->test_policy != NULL ? conf->test_policy : "";
	for (size_t i = 0; i < conf->policies.count; i++)
		text = scope_printf(s, "%s%s%s", text, text[0] != 0 ? " " : "", conf->policies.item[i]);
	return text[0] != 0 ? text : "0.4.0.2023.1.1";
}

st tsa_record_unit(struct scope *s, struct tsa *tsa, const struct tsa_conf *conf, const struct tsa_unit *unit)
{
	struct pki_certificate c;
	TRY(pki_certificate_read(s, unit->certificate, &c));
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_UNIT_LOADED);
	audit_hex(&e, "certificate", pki_certificate_serial(s, unit->certificate));
	audit_str(&e, "key", conf->key);
	audit_time(&e, "not_before", unit->not_before);
	audit_time(&e, "not_after", c.not_after);
	audit_time(&e, "key_end", unit->key_end);
	audit_str(&e, "policies", policies_text(s, conf));
	return commit(s, tsa, &e);
}

/* Until a change is on record, it is offered again. */
static st record_change(struct scope *s, struct tsa_watch *w, const char *why)
{
	AUTO_EVENT e;
	int64_t now = scope_now(s);
	if (why != NULL) {
		audit_begin(&e, s, AUDIT_UNIT_STOPPED);
		audit_str(&e, "reason", why);
	} else {
		audit_begin(&e, s, AUDIT_UNIT_RESUMED);
		audit_time(&e, "since", w->stopped_since);
	}
	TRY(commit(s, w->tsa, &e));
	w->stopped_since = why != NULL ? now : 0;
	return OK;
}

static void look(struct tsa_watch *w)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char reason[TSA_CLOCK_REASON_MAX];
	const char *why = tsa_trouble(&s, w->tsa, reason);
	if ((why != NULL) != (w->stopped_since != 0) && record_change(&s, w, why).code != E_OK)
		scope_clear_error(&s); /* the clock's monitor, or the next start, says that auditd does not answer */
}

static void *watch(void *argument)
{
	struct tsa_watch *w = argument;
	(void)pthread_mutex_lock(&w->lock);
	while (!w->stopping) {
		(void)pthread_mutex_unlock(&w->lock);
		look(w);
		(void)pthread_mutex_lock(&w->lock);
		if (!w->stopping)
			(void)moment_wait(&w->wake, &w->lock, moment_monotonic() + INTERVAL);
	}
	(void)pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct tsa_watch *tsa_watch_start(struct tsa *tsa)
{
	struct tsa_watch *w = heap_alloc(sizeof *w);
	w->tsa = tsa;
	if (pthread_mutex_init(&w->lock, NULL) != 0 || pthread_cond_init(&w->wake, NULL) != 0 ||
	    pthread_create(&w->thread, NULL, watch, w) != 0)
		log_die("no thread to watch the unit");
	return w;
}

void tsa_watch_stop(struct tsa_watch *w)
{
	if (w == NULL)
		return;
	(void)pthread_mutex_lock(&w->lock);
	w->stopping = true;
	(void)pthread_cond_signal(&w->wake);
	(void)pthread_mutex_unlock(&w->lock);
	(void)pthread_join(w->thread, NULL);
	(void)pthread_mutex_destroy(&w->lock);
	(void)pthread_cond_destroy(&w->wake);
	free(w);
}
