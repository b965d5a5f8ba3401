/*
 * What is being signed right now. From it follows the position in the log up to which everything is surely in the database,
 * where the next start begins to compare: the least position at which something under way began. And what failed with an
 * unknown outcome: whether keyd had it on record before it or auditd went away shows only later, in the log.
 */
#include "ca.h"
#include "log.h"
#include <stdlib.h>

#define SETTLE_US (5 * MOMENT_SECOND) /* longer than a record can still be on its way from keyd */
#define TICK_US   MOMENT_SECOND

struct ca_flight {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	pthread_t thread;
	struct ca_flight_slot *first;
	struct ca_doubt *doubts;
	_Atomic uint64_t reached;
	_Atomic bool grew; /* beyond `reached`, it is not known how far */
	uint64_t saved;
	bool stopping;
};

static bool same(const struct ca_flight_slot *a, const struct ca_flight_slot *b)
{
	static const uint8_t none[32];
	bool key = memcmp(a->key, b->key, sizeof a->key) == 0 && memcmp(a->key, none, sizeof none) != 0;
	bool request = a->request_id[0] != 0 && a->ca == b->ca && strcmp(a->request_id, b->request_id) == 0;
	return key || request;
}

st ca_flight_begin(struct scope *s, struct ca *ca, struct ca_flight_slot *slot)
{
	struct ca_flight *f = ca->flight;
	bool clash = false;
	(void)pthread_mutex_lock(&f->mutex);
	for (struct ca_flight_slot *other = f->first; other != NULL && !clash; other = other->next)
		clash = same(slot, other);
	if (!clash) {
		slot->position = atomic_load(&f->reached);
		slot->since = moment_monotonic();
		slot->next = f->first;
		if (slot->next != NULL)
			slot->next->previous = slot;
		f->first = slot;
	}
	(void)pthread_mutex_unlock(&f->mutex);
	return clash ? fail(s, E_BUSY, "the same request, or one for the same key, is being worked on; ask again in a moment")
		     : OK;
}

void ca_flight_end(struct ca *ca, struct ca_flight_slot *slot)
{
	struct ca_flight *f = ca->flight;
	(void)pthread_mutex_lock(&f->mutex);
	if (slot->next != NULL)
		slot->next->previous = slot->previous;
	if (slot->previous != NULL)
		slot->previous->next = slot->next;
	else
		f->first = slot->next;
	(void)pthread_mutex_unlock(&f->mutex);
}

void ca_flight_doubt(struct ca *ca, int64_t authority, span serial, uint64_t position)
{
	struct ca_doubt *d = heap_alloc(sizeof *d);
	*d = (struct ca_doubt){
		.authority = authority, .serial_len = serial.len, .position = position, .since = moment_monotonic()
	};
	memcpy(d->serial, serial.data, serial.len < sizeof d->serial ? serial.len : sizeof d->serial);
	struct ca_flight *f = ca->flight;
	(void)pthread_mutex_lock(&f->mutex);
	d->next = f->doubts;
	f->doubts = d;
	(void)pthread_mutex_unlock(&f->mutex);
}

void ca_flight_reached(struct ca *ca, uint64_t index)
{
	uint64_t before = atomic_load(&ca->flight->reached);
	while (before < index && !atomic_compare_exchange_weak(&ca->flight->reached, &before, index))
		;
}

void ca_flight_grew(struct ca *ca)
{
	atomic_store(&ca->flight->grew, true);
}

/* Any length that the log had is good enough; without auditd the last one stays. */
static void ask_how_far(struct ca *ca)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_leaf *leaf;
	size_t count;
	uint64_t size;
	bool awaited = ca->shared || atomic_load(&ca->late_from) > 0; /* others make it grow too, and wait for us to follow */
	if (!atomic_exchange(&ca->flight->grew, false) && !awaited)
		return;
	if (audit_read(&s, ca->audit, atomic_load(&ca->flight->reached), 1, &leaf, &count, &size).code == E_OK)
		ca_flight_reached(ca, size);
	else
		ca_flight_grew(ca);
}

uint64_t ca_flight_position(struct ca *ca)
{
	struct ca_flight *f = ca->flight;
	(void)pthread_mutex_lock(&f->mutex);
	uint64_t position = atomic_load(&f->reached);
	for (const struct ca_flight_slot *slot = f->first; slot != NULL; slot = slot->next)
		position = slot->position < position ? slot->position : position;
	for (const struct ca_doubt *d = f->doubts; d != NULL; d = d->next)
		position = d->position < position ? d->position : position;
	(void)pthread_mutex_unlock(&f->mutex);
	return position;
}

/* Positions in a journal say nothing about the log it is imported into later: there the comparison begins at the first leaf. */
int64_t ca_log_position(const struct ca *ca, uint64_t position)
{
	return ca->conf->audit_journal != NULL ? 0 : (int64_t)position;
}

/* Those old enough leave the list when they are settled. New ones come in front, so what is handed out is a tail of it. */
static struct ca_doubt *ripe_doubts(struct ca_flight *f)
{
	int64_t limit = moment_monotonic() - SETTLE_US;
	(void)pthread_mutex_lock(&f->mutex);
	struct ca_doubt *d = f->doubts;
	while (d != NULL && d->since > limit)
		d = d->next;
	(void)pthread_mutex_unlock(&f->mutex);
	return d;
}

static void forget_doubts(struct ca_flight *f, struct ca_doubt *from)
{
	(void)pthread_mutex_lock(&f->mutex);
	struct ca_doubt **at = &f->doubts;
	while (*at != from)
		at = &(*at)->next;
	*at = NULL;
	(void)pthread_mutex_unlock(&f->mutex);
	while (from != NULL) {
		struct ca_doubt *next = from->next;
		free(from);
		from = next;
	}
}

static st tick(struct scope *s, struct ca *ca)
{
	struct ca_flight *f = ca->flight;
	struct ca_doubt *doubts = ripe_doubts(f);
	if (doubts != NULL) {
		TRY(ca_reconcile_doubts(s, ca, doubts));
		forget_doubts(f, doubts);
	}
	ask_how_far(ca);
	int64_t position = ca_log_position(ca, ca_flight_position(ca));
	if ((uint64_t)position <= f->saved)
		return OK;
	TRY(ca_cluster_save_position(s, ca, position));
	f->saved = (uint64_t)position;
	return OK;
}

static void *flight_main(void *arg)
{
	struct ca *ca = arg;
	struct ca_flight *f = ca->flight;
	for (;;) {
		struct timespec until;
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += TICK_US / MOMENT_SECOND;
		(void)pthread_mutex_lock(&f->mutex);
		if (!f->stopping)
			(void)pthread_cond_timedwait(&f->changed, &f->mutex, &until);
		bool stopping = f->stopping;
		(void)pthread_mutex_unlock(&f->mutex);
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		if (tick(&s, ca).code != E_OK)
			log_failure(&s, "settling what was being signed");
		if (stopping)
			return NULL;
	}
}

st ca_flight_start(struct scope *s, struct ca *ca)
{
	struct ca_flight *f = ca->flight;
	return ca_thread(s, &f->thread, flight_main, ca);
}

void ca_flight_new(struct ca *ca)
{
	struct ca_flight *f = heap_alloc(sizeof *f);
	pthread_condattr_t attributes;
	if (pthread_condattr_init(&attributes) != 0 || pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
	    pthread_cond_init(&f->changed, &attributes) != 0 || pthread_mutex_init(&f->mutex, NULL) != 0)
		log_die("no locks for what is being signed");
	(void)pthread_condattr_destroy(&attributes);
	ca->flight = f;
}

void ca_flight_stop(struct ca *ca)
{
	struct ca_flight *f = ca->flight;
	if (f == NULL)
		return;
	if (f->thread != 0) {
		(void)pthread_mutex_lock(&f->mutex);
		f->stopping = true;
		(void)pthread_cond_signal(&f->changed);
		(void)pthread_mutex_unlock(&f->mutex);
		(void)pthread_join(f->thread, NULL);
	}
	forget_doubts(f, f->doubts);
	(void)pthread_cond_destroy(&f->changed);
	(void)pthread_mutex_destroy(&f->mutex);
	free(f);
	ca->flight = NULL;
}
