#include "tsa_clock.h"
#include "log.h"
#include "moment.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The system call itself: the library goes by clock_adjtime, which the sandbox refuses since it can set clocks of all kinds. */
static int kernel_adjtimex(void *state, struct timex *out)
{
	(void)state;
	*out = (struct timex){ 0 }; /* no modes: only read */
	return (int)syscall(SYS_adjtimex, out);
}

static int64_t kernel_realtime(void *state)
{
	return source_kernel.now(state);
}

static int64_t kernel_monotonic(void *state)
{
	(void)state;
	return moment_monotonic();
}

const struct tsa_clock_source tsa_clock_kernel = { kernel_adjtimex, kernel_realtime, kernel_monotonic, NULL };

struct tsa_clock {
	struct tsa_clock_settings settings;
	pthread_mutex_t lock; /* of what follows, up to the thread */
	bool trusted;
	char reason[TSA_CLOCK_REASON_MAX];
	int64_t looked;   /* monotonic time of the last look */
	int64_t baseline; /* realtime - monotonic while trusted */
	/* Of the looking thread only. */
	int64_t last_difference;
	int steady; /* looks in a row that found nothing */
	int steady_needed;
	bool loss_recorded;
	struct tsa_clock_sample sample; /* looks == 0: none yet */
	int64_t leap_recorded;          /* the day it was announced for */
	/* The thread. */
	pthread_t thread;
	pthread_cond_t wake;
	bool watching, stopping;
};

struct tsa_clock *tsa_clock_new(const struct tsa_clock_settings *settings)
{
	struct tsa_clock *c = heap_alloc(sizeof *c);
	c->settings = *settings;
	c->steady_needed = 1;
	pthread_condattr_t monotonic;
	if (pthread_mutex_init(&c->lock, NULL) != 0 || pthread_condattr_init(&monotonic) != 0 ||
	    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 || pthread_cond_init(&c->wake, &monotonic) != 0)
		log_die("no lock for the clock's monitor");
	(void)pthread_condattr_destroy(&monotonic);
	(void)snprintf(c->reason, sizeof c->reason, "the clock has not been looked at yet");
	return c;
}

//= en319421#OVR-7.12-04 synchronisation is on record, also while nothing is wrong
static void record_sample(struct tsa_clock *c)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (c->sample.looks == 0 || c->settings.sampled == NULL)
		return;
	if (c->settings.sampled(&s, &c->sample, c->settings.arg).code == E_OK)
		c->sample = (struct tsa_clock_sample){ 0 }; /* else with the next look */
}

void tsa_clock_free(struct tsa_clock *c)
{
	if (c == NULL)
		return;
	if (c->watching) {
		(void)pthread_mutex_lock(&c->lock);
		c->stopping = true;
		(void)pthread_cond_signal(&c->wake);
		(void)pthread_mutex_unlock(&c->lock);
		(void)pthread_join(c->thread, NULL);
		record_sample(c);
	}
	(void)pthread_cond_destroy(&c->wake);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

static int64_t monotonic(const struct tsa_clock *c)
{
	return c->settings.source->monotonic(c->settings.source->state);
}

struct instant {
	int64_t real, up;
};

/* Both clocks at one instant: read again when something came between, which would look like a jump. */
static struct instant instant_now(const struct tsa_clock *c)
{
	struct instant best = { 0 };
	int64_t narrowest = INT64_MAX;
	for (int i = 0; i < 5 && narrowest > 50; i++) {
		int64_t before = monotonic(c);
		int64_t real = c->settings.source->realtime(c->settings.source->state);
		int64_t after = monotonic(c);
		if (after - before < narrowest) {
			narrowest = after - before;
			best = (struct instant){ .real = real, .up = after };
		}
	}
	return best;
}

static int64_t absolute(int64_t v)
{
	return v < 0 ? -v : v;
}

/* ---- one look ---- */

struct finding {
	char reason[TSA_CLOCK_REASON_MAX]; /* empty: nothing is wrong */
	int64_t offset, error;             /* microseconds */
	int64_t difference;                /* realtime - monotonic */
	int64_t real;
	int leap; /* announced: 1 inserted, -1 deleted, 0 none */
};

__attribute__((format(printf, 2, 3))) static void find(struct finding *f, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vsnprintf(f->reason, sizeof f->reason, format, args);
	va_end(args);
}

//= en319421#TIS-7.7.2-07 a leap second falls into the last minute of the announced day
static bool near_leap(int64_t now, const struct timex *t, int state)
{
	if (state == TIME_OOP)
		return true;
	int64_t into_day = now % MOMENT_DAY;
	bool announced = state == TIME_INS || state == TIME_DEL || (t->status & (STA_INS | STA_DEL)) != 0;
	if (announced && into_day >= MOMENT_DAY - MOMENT_SECOND - TSA_CLOCK_LEAP_PAUSE)
		return true;
	return (announced || state == TIME_WAIT) && into_day <= TSA_CLOCK_LEAP_PAUSE;
}

static int leap_of(const struct timex *t, int state)
{
	if (state == TIME_INS || (t->status & STA_INS) != 0)
		return 1;
	return state == TIME_DEL || (t->status & STA_DEL) != 0 ? -1 : 0;
}

//= en319421#TIS-7.7.2-05 drift and jumps out of synchronisation with UTC are detected
static void judge(const struct tsa_clock *c, struct finding *f)
{
	struct timex t;
	int64_t accuracy = c->settings.accuracy;
	int state = c->settings.source->adjtimex(c->settings.source->state, &t);
	struct instant now = instant_now(c);
	f->difference = now.real - now.up;
	f->real = now.real;
	if (state < 0) {
		find(f, "the kernel does not tell the state of its clock");
		return;
	}
	f->offset = (t.status & STA_NANO) != 0 ? t.offset / 1000 : t.offset;
	f->error = t.maxerror;
	f->leap = leap_of(&t, state);
	if (state == TIME_ERROR || (t.status & (STA_UNSYNC | STA_CLOCKERR)) != 0)
		find(f, "the kernel clock is not synchronised with UTC");
	else if (t.maxerror < 0 || t.esterror < 0 || t.esterror > accuracy || absolute(f->offset) + t.maxerror > accuracy)
		find(f, "the kernel clock may be wrong by %lld us, more than the declared %lld us",
		     (long long)(absolute(f->offset) + t.maxerror), (long long)accuracy);
	else if (near_leap(now.real, &t, state))
		find(f, "a leap second is near");
	else if (c->trusted && absolute(f->difference - c->baseline) > accuracy)
		find(f, "the clock jumped by %lld us", (long long)(f->difference - c->baseline));
	else if (!c->trusted && c->steady > 0 && absolute(f->difference - c->last_difference) > accuracy)
		find(f, "the clock jumped by %lld us", (long long)(f->difference - c->last_difference));
}

static void record_loss(struct tsa_clock *c, struct scope *s, const char *reason)
{
	if (c->loss_recorded)
		return;
	st recorded = c->settings.lost == NULL ? OK : c->settings.lost(s, reason, c->settings.arg);
	c->loss_recorded = recorded.code == E_OK; /* else at the next look */
}

static void lose(struct tsa_clock *c, const struct finding *f)
{
	(void)pthread_mutex_lock(&c->lock);
	bool was_trusted = c->trusted;
	bool same = strcmp(c->reason, f->reason) == 0;
	c->trusted = false;
	memcpy(c->reason, f->reason, sizeof c->reason);
	c->looked = monotonic(c);
	(void)pthread_mutex_unlock(&c->lock);
	c->steady = 0;
	if (was_trusted || !same)
		log_put(LOG_LEVEL_ERROR, "no time-stamps: %s", f->reason);
	if (was_trusted)
		c->steady_needed = TSA_CLOCK_STEADY;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	record_loss(c, &s, f->reason);
}

/* Trusted only when that is on record: a recalibration nobody can prove did not happen. */
//= en319421#TIS-7.7.2-06 after a loss, tokens again only with a recalibration on record
static void regain(struct tsa_clock *c, const struct finding *f)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st recorded = c->settings.regained == NULL ? OK : c->settings.regained(&s, f->offset, f->error, c->settings.arg);
	if (recorded.code != E_OK) {
		log_failure(&s, "putting the regained clock on record");
		return;
	}
	(void)pthread_mutex_lock(&c->lock);
	c->trusted = true;
	c->reason[0] = 0;
	c->baseline = f->difference;
	c->looked = monotonic(c);
	(void)pthread_mutex_unlock(&c->lock);
	c->loss_recorded = false;
	log_put(LOG_LEVEL_NOTICE, "the clock is trusted: offset %lld us, at most %lld us wrong", (long long)f->offset,
		(long long)f->error);
}

/* ---- samples ---- */

static void add_sample(struct tsa_clock *c, const struct finding *f)
{
	struct tsa_clock_sample *sample = &c->sample;
	if (sample->looks++ == 0)
		sample->since = f->real;
	sample->until = f->real;
	if (f->reason[0] == 0) {
		sample->trusted++;
		sample->offset = absolute(f->offset) > absolute(sample->offset) ? f->offset : sample->offset;
		sample->error = f->error > sample->error ? f->error : sample->error;
	}
	if (sample->until - sample->since >= TSA_CLOCK_SAMPLE_PERIOD || sample->until < sample->since)
		record_sample(c);
}

/* Once for each day that has one. */
static void note_leap(struct tsa_clock *c, const struct finding *f)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t day = f->real - f->real % MOMENT_DAY;
	if (f->leap == 0 || c->leap_recorded == day || c->settings.leap == NULL)
		return;
	if (c->settings.leap(&s, f->leap > 0, day, c->settings.arg).code == E_OK)
		c->leap_recorded = day;
}

void tsa_clock_look(struct tsa_clock *c)
{
	if (c->settings.kind == TSA_CLOCK_TEST)
		return;
	struct finding f = { .reason = "" };
	judge(c, &f);
	note_leap(c, &f);
	if (f.reason[0] != 0) {
		lose(c, &f);
	} else if (c->trusted) {
		(void)pthread_mutex_lock(&c->lock);
		c->looked = monotonic(c);
		(void)pthread_mutex_unlock(&c->lock);
	} else if (++c->steady >= c->steady_needed) {
		regain(c, &f);
	}
	c->last_difference = f.difference;
	add_sample(c, &f);
}

/* ---- the monitor ---- */

static void *watch(void *arg)
{
	struct tsa_clock *c = arg;
	(void)pthread_mutex_lock(&c->lock);
	while (!c->stopping) {
		(void)pthread_mutex_unlock(&c->lock);
		tsa_clock_look(c);
		(void)pthread_mutex_lock(&c->lock);
		struct timespec until;
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += TSA_CLOCK_INTERVAL * 1000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (!c->stopping)
			(void)pthread_cond_timedwait(&c->wake, &c->lock, &until);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return NULL;
}

st tsa_clock_watch(struct scope *s, struct tsa_clock *c)
{
	if (c->settings.kind == TSA_CLOCK_TEST)
		return OK;
	tsa_clock_look(c);
	int failed = pthread_create(&c->thread, NULL, watch, c);
	if (failed != 0) {
		errno = failed;
		return fail_errno(s, E_IO, "starting the clock's monitor");
	}
	c->watching = true;
	return OK;
}

/* ---- for every token ---- */

/* Why not now; NULL when there is no reason. The caller holds the lock. */
static const char *refusal(const struct tsa_clock *c, const struct instant *now)
{
	if (!c->trusted)
		return c->reason;
	if (now->up - c->looked > TSA_CLOCK_STALE || now->up < c->looked)
		return "the clock's monitor has been silent for over a second";
	if (absolute(now->real - now->up - c->baseline) > c->settings.accuracy)
		return "the clock jumped";
	return NULL;
}

static bool trusted_now(struct tsa_clock *c, int64_t *out_now, char out_reason[TSA_CLOCK_REASON_MAX])
{
	out_reason[0] = 0;
	(void)pthread_mutex_lock(&c->lock);
	struct instant now = instant_now(c);
	const char *reason = c->settings.kind == TSA_CLOCK_TEST ? NULL : refusal(c, &now);
	if (reason != NULL)
		(void)snprintf(out_reason, TSA_CLOCK_REASON_MAX, "%s", reason);
	(void)pthread_mutex_unlock(&c->lock);
	*out_now = now.real;
	return reason == NULL;
}

st tsa_clock_now(struct scope *s, struct tsa_clock *c, int64_t *out_now)
{
	char reason[TSA_CLOCK_REASON_MAX];
	int64_t now;
	if (!trusted_now(c, &now, reason))
		return fail(s, E_CLOCK, "no trusted time: %s (EN 319 421, TIS-7.7.2)", reason);
	*out_now = now;
	return OK;
}

bool tsa_clock_trusted(struct tsa_clock *c, char out_reason[TSA_CLOCK_REASON_MAX])
{
	int64_t ignored;
	return trusted_now(c, &ignored, out_reason);
}
