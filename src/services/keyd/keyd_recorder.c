/*
 * keyd_recorder.c - what goes on record without anybody waiting: tokens that come and go, refusals, counts of OCSP answers.
 * Two threads, so that a token that takes long to open does not delay the counts.
 */
#include "keyd_control.h"
#include "daemon.h"
#include "log.h"
#include "wire.h"
#include <stdlib.h>
#include <time.h>

#define QUEUE_MAX        64
#define COUNT_PERIOD     (900 * MOMENT_SECOND / 1000) /* a record at least every second while there are signatures */
#define WATCH_PERIOD     (2 * MOMENT_SECOND)
#define CATCH_UP_PAUSE   (100 * MOMENT_SECOND / 1000)
#define KNOCK_MS         1000
#define COMPLAINT_PERIOD (30 * MOMENT_SECOND)

struct keyd_recorder {
	struct keyd *d;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	struct audit_event queue[QUEUE_MAX];
	size_t count;
	uint64_t dropped;
	pthread_t counter, watcher;
};

void keyd_recorder_put(struct keyd_recorder *r, struct audit_event *event)
{
	(void)pthread_mutex_lock(&r->lock);
	if (r->count < QUEUE_MAX) {
		r->queue[r->count++] = *event;
		*event = (struct audit_event){ .code = event->code };
		(void)pthread_cond_broadcast(&r->wake);
	} else if (r->dropped++ == 0)
		log_put(LOG_LEVEL_ERROR, "records that nobody waits for are dropped: auditd does not take them");
	(void)pthread_mutex_unlock(&r->lock);
}

/* Sleep until `until` (monotonic) or the end; false at the end. */
static bool sleep_until(struct keyd_recorder *r, int64_t until, bool wake_for_queue)
{
	struct timespec at = { .tv_sec = until / MOMENT_SECOND, .tv_nsec = until % MOMENT_SECOND * 1000 };
	(void)pthread_mutex_lock(&r->lock);
	while (!r->stopping && !(wake_for_queue && r->count > 0) && moment_monotonic() < until)
		(void)pthread_cond_clockwait(&r->wake, &r->lock, CLOCK_MONOTONIC, &at);
	bool goes_on = !r->stopping;
	(void)pthread_mutex_unlock(&r->lock);
	return goes_on;
}

static void *count_main(void *argument)
{
	struct keyd_recorder *r = argument;
	int64_t complained = 0;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t next = moment_monotonic();
	do {
		for (struct keyd_key *k = keyd_first_key(r->d); k != NULL; k = k->next) {
			st status = keyd_ocsp_record(&s, r->d, k);
			if (status.code != E_OK && moment_monotonic() - complained > COMPLAINT_PERIOD) {
				complained = moment_monotonic();
				log_failure(&s, "the count of OCSP answers is not on record");
			}
			scope_reset(&s);
		}
		next += COUNT_PERIOD;
		if (next < moment_monotonic())
			next = moment_monotonic() + COUNT_PERIOD / 4; /* a failure: try again soon */
	} while (sleep_until(r, next, false));
	return NULL;
}

/* Offer the queue's head until it is empty or nobody takes it. */
static st drain(struct scope *s, struct keyd_recorder *r)
{
	for (;;) {
		(void)pthread_mutex_lock(&r->lock);
		bool empty = r->count == 0;
		struct audit_event head = r->queue[0];
		(void)pthread_mutex_unlock(&r->lock);
		if (empty)
			return OK;
		uint64_t index;
		TRY(audit_commit(s, r->d->audit, &head, &index));
		(void)pthread_mutex_lock(&r->lock);
		r->count--;
		memmove(r->queue, r->queue + 1, r->count * sizeof r->queue[0]);
		r->dropped = 0;
		(void)pthread_mutex_unlock(&r->lock);
		audit_event_free(&head);
		scope_reset(s);
	}
}

static void *watch_thread(void *argument)
{
	struct keyd_recorder *r = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t next_watch = 0, next_turn;
	bool taken = true, offered = false, started = false, behind = false;
	do {
		if (moment_monotonic() >= next_watch) {
			keyd_watch_tokens(r->d);
			keyd_life_tick(&s, r->d);
			keyd_control_watch(r->d);
			next_watch = moment_monotonic() + WATCH_PERIOD;
		}
		/* keyd of the log zone starts before auditd: its start goes on record when there is somebody to record it, and
		 * before it how the run before ended. */
		offered = offered || keyd_left_offer(&s, r->d).code == E_OK;
		started = started || (offered && daemon_record_start(&s, r->d->audit).code == E_OK);
		taken = started && drain(&s, r).code == E_OK;
		scope_reset(&s);
		bool read = keyd_use_catch_up(&s, r->d, &behind).code == E_OK;
		scope_reset(&s);
		int64_t soon = moment_monotonic() + (read ? CATCH_UP_PAUSE : MOMENT_SECOND);
		next_turn = taken ? next_watch : moment_monotonic() + MOMENT_SECOND;
		next_turn = behind && soon < next_turn ? soon : next_turn;
	} while (sleep_until(r, next_turn, taken));
	return NULL;
}

struct keyd_recorder *keyd_recorder_start(struct keyd *d)
{
	struct keyd_recorder *r = heap_alloc(sizeof *r);
	r->d = d;
	if (pthread_mutex_init(&r->lock, NULL) != 0 || pthread_cond_init(&r->wake, NULL) != 0)
		log_die("no lock for records");
	d->recorder = r;
	if (pthread_create(&r->counter, NULL, count_main, r) != 0 || pthread_create(&r->watcher, NULL, watch_thread, r) != 0)
		log_die("no thread for records");
	return r;
}

/* keyd of the log zone outlives auditd, and need not wait for it to come back. */
static bool somebody_records(struct scope *s, const struct keyd *d)
{
	struct wire_client *c = NULL;
	bool there = d->conf->audit_socket == NULL || wire_connect(s, d->conf->audit_socket, KNOCK_MS, &c).code == E_OK;
	wire_close(c);
	scope_clear_error(s);
	return there;
}

static void put_stop(struct scope *s, struct keyd_recorder *r)
{
	struct audit_event e;
	audit_begin(&e, s, AUDIT_SERVICE_STOPPED);
	audit_str(&e, "reason", "in order");
	if (audit_finish(s, &e).code == E_OK)
		keyd_recorder_put(r, &e);
	audit_event_free(&e);
}

static void finish_queue(struct scope *s, struct keyd_recorder *r)
{
	if (somebody_records(s, r->d) && drain(s, r).code == E_OK)
		return;
	scope_reset(s);
	if (keyd_left_keep(s, r->d, r->queue, r->count).code != E_OK) {
		log_failure(s, "records are left behind");
		return;
	}
	log_put(LOG_LEVEL_NOTICE, "auditd has ended before: %zu records, the stop among them, go on record at the next start",
		r->count);
}

static void close_lives(struct scope *s, struct keyd *d)
{
	if (somebody_records(s, d))
		keyd_life_tick(s, d);
	for (struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next) {
		keyd_life_close(s, d, k);
		scope_reset(s);
	}
}

void keyd_recorder_stop(struct keyd_recorder *r)
{
	(void)pthread_mutex_lock(&r->lock);
	r->stopping = true;
	(void)pthread_cond_broadcast(&r->wake);
	(void)pthread_mutex_unlock(&r->lock);
	(void)pthread_join(r->counter, NULL);
	(void)pthread_join(r->watcher, NULL);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (struct keyd_key *k = keyd_first_key(r->d); k != NULL; k = k->next) {
		keyd_ocsp_close(&s, r->d, k);
		scope_reset(&s);
	}
	close_lives(&s, r->d);
	put_stop(&s, r);
	finish_queue(&s, r);
	daemon_life_ended();
	for (size_t i = 0; i < r->count; i++)
		audit_event_free(&r->queue[i]);
	(void)pthread_mutex_destroy(&r->lock);
	(void)pthread_cond_destroy(&r->wake);
	free(r);
}
