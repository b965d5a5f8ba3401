#include "va_cache.h"
#include "log.h"
#include <pthread.h>
#include <stdlib.h>

#define SHARDS       32u
#define WAIT_SECONDS 15

/* One signature that is being made, and how many wait for it. */
struct va_flight {
	struct va_flight *next;
	uint8_t *cert_id;
	size_t cert_id_len;
	uint64_t hash;
	uint64_t mark; /* the shard's when the status was about to be read */
	unsigned waiting;
	bool landed;
	struct va_answer *answer;
	enum code code;
};

struct shard {
	_Alignas(64) pthread_mutex_t lock;
	pthread_cond_t landed;
	struct va_answer **bucket;
	size_t buckets; /* a power of two */
	size_t count, room;
	struct va_answer newest_oldest; /* ring: .older is the newest answer, .newer the oldest */
	uint64_t mark;                  /* counts the changes of status in this shard */
	struct va_flight *flights;
};

struct va_cache {
	uint64_t seed[2];
	struct shard shard[SHARDS];
};

/* ---- answers ---- */

struct va_answer *va_answer_new(span cert_id, span serial, span body)
{
	struct va_answer *answer = heap_alloc(sizeof *answer + cert_id.len + body.len);
	uint8_t *at = (uint8_t *)(answer + 1);
	memcpy(at, cert_id.data, cert_id.len);
	memcpy(at + cert_id.len, body.data, body.len);
	answer->cert_id = span_of(at, cert_id.len);
	answer->serial = span_of(at + (serial.data - cert_id.data), serial.len);
	answer->body = span_of(at + cert_id.len, body.len);
	answer->references = 1;
	return answer;
}

struct va_answer *va_answer_hold(struct va_answer *answer)
{
	(void)__atomic_add_fetch(&answer->references, 1, __ATOMIC_RELAXED);
	return answer;
}

void va_answer_release(void *held)
{
	struct va_answer *answer = held;
	if (answer != NULL && __atomic_sub_fetch(&answer->references, 1, __ATOMIC_ACQ_REL) == 0)
		free(answer);
}

/* ---- the table ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Of the serial, not of the CertID: all forms of asking for one certificate (SHA-1, SHA-256) lie in one bucket, so a change of
 * status finds them. Seeded, so that nobody can choose serials that collide. */
static uint64_t hash_of(const struct va_cache *cache, span integer)
{
	span serial = va_magnitude(integer);
	uint64_t hash = cache->seed[0] ^ serial.len;
	for (size_t i = 0; i < serial.len; i += 8) {
		uint64_t word = 0;
		size_t n = serial.len - i < 8 ? serial.len - i : 8;
		memcpy(&word, serial.data + i, n);
		hash = mix(hash ^ word, cache->seed[1] | 1);
	}
	return hash ^ hash >> 32;
}

static struct shard *shard_of(struct va_cache *cache, uint64_t hash)
{
	return &cache->shard[hash % SHARDS];
}

static struct va_answer **bucket_of(const struct shard *shard, uint64_t hash)
{
	return &shard->bucket[hash / SHARDS & (shard->buckets - 1)];
}

static void ring_leave(struct va_answer *answer)
{
	answer->newer->older = answer->older;
	answer->older->newer = answer->newer;
}

static void ring_enter(struct shard *shard, struct va_answer *answer)
{
	struct va_answer *ring = &shard->newest_oldest;
	answer->older = ring->older;
	answer->newer = ring;
	ring->older->newer = answer;
	ring->older = answer;
}

static void remove_at(struct shard *shard, struct va_answer **at)
{
	struct va_answer *answer = *at;
	*at = answer->chain;
	ring_leave(answer);
	shard->count--;
	va_answer_release(answer);
}

static void remove_answer(struct shard *shard, const struct va_answer *answer)
{
	struct va_answer **at = bucket_of(shard, answer->hash);
	while (*at != answer)
		at = &(*at)->chain;
	remove_at(shard, at);
}

static struct va_answer **find(const struct shard *shard, uint64_t hash, span cert_id)
{
	struct va_answer **at = bucket_of(shard, hash);
	while (*at != NULL && !((*at)->hash == hash && span_equal((*at)->cert_id, cert_id)))
		at = &(*at)->chain;
	return at;
}

/* With the lock. */
static struct va_answer *get_locked(struct shard *shard, uint64_t hash, span cert_id, int64_t now)
{
	struct va_answer **at = find(shard, hash, cert_id);
	if (*at == NULL || now >= (*at)->refresh_at)
		return NULL;
	struct va_answer *got = va_answer_hold(*at);
	ring_leave(got);
	ring_enter(shard, got);
	return got;
}

struct va_answer *va_cache_get(struct va_cache *cache, span cert_id, span serial, int64_t now)
{
	uint64_t hash = hash_of(cache, serial);
	struct shard *shard = shard_of(cache, hash);
	(void)pthread_mutex_lock(&shard->lock);
	struct va_answer *got = get_locked(shard, hash, cert_id, now);
	(void)pthread_mutex_unlock(&shard->lock);
	return got;
}

static void put_locked(struct shard *shard, struct va_answer *answer)
{
	struct va_answer **at = find(shard, answer->hash, answer->cert_id);
	if (*at != NULL)
		remove_at(shard, at);
	if (shard->count == shard->room)
		remove_answer(shard, shard->newest_oldest.newer);
	at = bucket_of(shard, answer->hash);
	answer->chain = *at;
	*at = va_answer_hold(answer);
	ring_enter(shard, answer);
	shard->count++;
}

void va_cache_drop(struct va_cache *cache, span serial)
{
	uint64_t hash = hash_of(cache, serial);
	struct shard *shard = shard_of(cache, hash);
	(void)pthread_mutex_lock(&shard->lock);
	shard->mark++;
	struct va_answer **at = bucket_of(shard, hash);
	while (*at != NULL) {
		if (span_equal(va_magnitude((*at)->serial), va_magnitude(serial)))
			remove_at(shard, at);
		else
			at = &(*at)->chain;
	}
	(void)pthread_mutex_unlock(&shard->lock);
}

void va_cache_clear(struct va_cache *cache)
{
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &cache->shard[i];
		(void)pthread_mutex_lock(&shard->lock);
		shard->mark++;
		while (shard->count > 0)
			remove_answer(shard, shard->newest_oldest.newer);
		(void)pthread_mutex_unlock(&shard->lock);
	}
}

size_t va_cache_count(struct va_cache *cache)
{
	size_t count = 0;
	for (size_t i = 0; i < SHARDS; i++) {
		(void)pthread_mutex_lock(&cache->shard[i].lock);
		count += cache->shard[i].count;
		(void)pthread_mutex_unlock(&cache->shard[i].lock);
	}
	return count;
}

/* ---- one signature for many ---- */

static void flight_free(struct va_flight *flight)
{
	va_answer_release(flight->answer);
	free(flight->cert_id);
	free(flight);
}

/* A flight that began before a change of status is not joined: what it brings may be the status from before. */
static struct va_flight *flight_find(const struct shard *shard, uint64_t hash, span cert_id)
{
	struct va_flight *flight = shard->flights;
	while (flight != NULL && !(flight->hash == hash && flight->mark == shard->mark &&
				   span_equal(span_of(flight->cert_id, flight->cert_id_len), cert_id)))
		flight = flight->next;
	return flight;
}

static struct va_flight *flight_begin(struct shard *shard, uint64_t hash, span cert_id)
{
	struct va_flight *flight = heap_alloc(sizeof *flight);
	flight->cert_id = heap_alloc(cert_id.len);
	memcpy(flight->cert_id, cert_id.data, cert_id.len);
	flight->cert_id_len = cert_id.len;
	flight->hash = hash;
	flight->mark = shard->mark;
	flight->next = shard->flights;
	shard->flights = flight;
	return flight;
}

static st flight_wait(struct scope *s, struct shard *shard, struct va_flight *flight, struct va_answer **out)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += WAIT_SECONDS;
	flight->waiting++;
	int error = 0;
	while (!flight->landed && error == 0)
		error = pthread_cond_timedwait(&shard->landed, &shard->lock, &until);
	flight->waiting--;
	bool landed = flight->landed;
	enum code code = flight->code;
	if (landed && flight->answer != NULL)
		*out = va_answer_hold(flight->answer);
	bool have = landed && flight->answer != NULL;
	if (landed && flight->waiting == 0)
		flight_free(flight);
	if (!landed)
		return fail(s, E_BUSY, "no OCSP answer was signed within %d seconds", WAIT_SECONDS);
	return have ? OK : fail(s, code, "the OCSP answer waited for was not signed");
}

void va_cache_lead(struct va_cache *cache, span cert_id, span serial, int64_t now, struct va_flight **out_lead,
		   struct va_answer **out_answer)
{
	uint64_t hash = hash_of(cache, serial);
	struct shard *shard = shard_of(cache, hash);
	(void)pthread_mutex_lock(&shard->lock);
	*out_answer = get_locked(shard, hash, cert_id, now);
	bool leads = *out_answer == NULL && flight_find(shard, hash, cert_id) == NULL;
	*out_lead = leads ? flight_begin(shard, hash, cert_id) : NULL;
	(void)pthread_mutex_unlock(&shard->lock);
}

st va_cache_join(struct scope *s, struct va_cache *cache, span cert_id, span serial, int64_t now, struct va_flight **out_lead,
		 struct va_answer **out_answer)
{
	uint64_t hash = hash_of(cache, serial);
	struct shard *shard = shard_of(cache, hash);
	(void)pthread_mutex_lock(&shard->lock);
	*out_answer = get_locked(shard, hash, cert_id, now);
	*out_lead = NULL;
	struct va_flight *flight = flight_find(shard, hash, cert_id);
	st done = OK;
	if (*out_answer == NULL && flight != NULL)
		done = flight_wait(s, shard, flight, out_answer);
	else if (*out_answer == NULL)
		*out_lead = flight_begin(shard, hash, cert_id);
	(void)pthread_mutex_unlock(&shard->lock);
	return done;
}

void va_cache_land(struct va_cache *cache, struct va_flight *lead, struct va_answer *answer, bool keep, enum code code)
{
	struct shard *shard = shard_of(cache, lead->hash);
	(void)pthread_mutex_lock(&shard->lock);
	struct va_flight **at = &shard->flights;
	while (*at != lead)
		at = &(*at)->next;
	*at = lead->next;
	if (answer != NULL && keep && lead->mark == shard->mark) {
		answer->hash = lead->hash;
		put_locked(shard, answer);
	}
	lead->landed = true;
	lead->code = code;
	lead->answer = answer != NULL ? va_answer_hold(answer) : NULL;
	(void)pthread_cond_broadcast(&shard->landed);
	if (lead->waiting == 0)
		flight_free(lead);
	(void)pthread_mutex_unlock(&shard->lock);
}

/* ---- making and freeing ---- */

static void shard_init(struct shard *shard, size_t room)
{
	pthread_condattr_t monotonic;
	if (pthread_mutex_init(&shard->lock, NULL) != 0 || pthread_condattr_init(&monotonic) != 0 ||
	    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 || pthread_cond_init(&shard->landed, &monotonic) != 0)
		log_die("no locks for the OCSP cache");
	shard->room = room;
	shard->buckets = 16;
	while (shard->buckets < room)
		shard->buckets *= 2;
	shard->bucket = heap_alloc(shard->buckets * sizeof(struct va_answer *));
	shard->newest_oldest.newer = shard->newest_oldest.older = &shard->newest_oldest;
}

struct va_cache *va_cache_new(size_t answers)
{
	struct va_cache *cache = aligned_alloc(64, sizeof *cache);
	if (cache == NULL)
		log_die("out of memory for the OCSP cache");
	memset(cache, 0, sizeof *cache);
	source_kernel.random(NULL, cache->seed, sizeof cache->seed);
	for (size_t i = 0; i < SHARDS; i++)
		shard_init(&cache->shard[i], (answers + SHARDS - 1) / SHARDS);
	return cache;
}

void va_cache_free(struct va_cache *cache)
{
	if (cache == NULL)
		return;
	va_cache_clear(cache);
	for (size_t i = 0; i < SHARDS; i++) {
		free(cache->shard[i].bucket);
		(void)pthread_cond_destroy(&cache->shard[i].landed);
		(void)pthread_mutex_destroy(&cache->shard[i].lock);
	}
	free(cache);
}
