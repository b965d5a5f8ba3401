#include "daemon_access.h"
#include "digest.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <pthread.h>
#include <stdlib.h>

#define SESSIONS 256
#define WINDOW   MOMENT_SECOND
#define PAUSE    (15 * MOMENT_MINUTE) /* whoever comes back after it has logged in again */

struct session {
	uint8_t who[32];
	int64_t seen; /* monotonic; 0: free */
};

struct daemon_access {
	struct audit_tally *tally;
	pthread_mutex_t lock;
	struct session session[SESSIONS];
};

struct daemon_access *daemon_access_new(struct audit *audit)
{
	struct daemon_access *a = heap_alloc(sizeof *a);
	if (pthread_mutex_init(&a->lock, NULL) != 0)
		log_die("no lock for sessions");
	a->tally = audit_tally_new(audit, WINDOW);
	return a;
}

void daemon_access_free(struct daemon_access *a)
{
	if (a == NULL)
		return;
	audit_tally_free(a->tally);
	(void)pthread_mutex_destroy(&a->lock);
	free(a);
}

/* That of whoever it is, or the one that has been silent longest. */
static struct session *session_of(struct daemon_access *a, const uint8_t who[32])
{
	struct session *oldest = &a->session[0];
	for (size_t i = 0; i < SESSIONS; i++) {
		if (a->session[i].seen != 0 && memcmp(a->session[i].who, who, sizeof a->session[i].who) == 0)
			return &a->session[i];
		if (a->session[i].seen < oldest->seen)
			oldest = &a->session[i];
	}
	memcpy(oldest->who, who, sizeof oldest->who);
	oldest->seen = 0;
	return oldest;
}

static bool is_login(struct daemon_access *a, const struct daemon_visit *v)
{
	uint8_t who[DIGEST_MAX];
	(void)digest_of_two(DIGEST_SHA256, v->certificate, span_str(v->source), who);
	int64_t now = moment_monotonic();
	(void)pthread_mutex_lock(&a->lock);
	struct session *session = session_of(a, who);
	bool login = session->seen == 0 || now - session->seen > PAUSE;
	session->seen = now;
	(void)pthread_mutex_unlock(&a->lock);
	return login;
}

void daemon_access_granted(struct daemon_access *a, const struct daemon_visit *v)
{
	if (!is_login(a, v))
		return;
	const struct audit_tally_field field[] = { { "route", span_str(v->route) },
						   { "certificate", v->certificate },
						   { "source", span_str(v->source) } };
	audit_tally_add(a->tally, AUDIT_ACCESS_GRANTED, field, sizeof field / sizeof field[0]);
}

void daemon_access_refused(struct daemon_access *a, const struct daemon_visit *v, const char *reason)
{
	const struct audit_tally_field field[] = { { "route", span_str(v->route) },
						   { "role", span_str(v->role) },
						   { "certificate", v->certificate },
						   { "source", span_str(v->source) },
						   { "reason", span_str(reason) } };
	audit_tally_add(a->tally, AUDIT_ACCESS_REFUSED, field, sizeof field / sizeof field[0]);
}
