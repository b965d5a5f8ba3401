/*
 * va_cache.h - OCSP answers that were signed once and are given again, by the exact bytes of the CertID they answer.
 *
 * Loop threads look in it for every request, so a hit costs one lock of many and no copy. An answer leaves when its time is over,
 * when the status of its serial is told anew, or when room is needed (the one not asked for longest goes). An answer that
 * was signed from a status that has changed since is never taken in: va_cache_mark() before the status is read, and
 * va_cache_put() compares. Requests for the same missing answer wait for one signature.
 */
#pragma once
#include "scope.h"

//= rfc6960#2.2 the serial in a CertID is an INTEGER (an octet 00 before a first bit that is set); feed and store have magnitudes
static inline span va_magnitude(span integer)
{
	while (integer.len > 1 && integer.data[0] == 0)
		integer = span_from(integer, 1);
	return integer;
}

struct va_answer {
	span cert_id;       /* the key, whole DER */
	span serial;        /* INTEGER content octets, inside cert_id */
	span body;          /* OCSPResponse */
	int64_t refresh_at; /* not given from the cache after this (half-life) */
	int64_t next_update;
	bool passing;           /* "unknown": for those who wait for it, not for any cache */
	char last_modified[32]; /* HTTP headers, ready to send */
	char expires[32];
	char etag[72];
	/* The cache's own. */
	int references;
	uint64_t hash;
	struct va_answer *chain, *newer, *older;
};
/* Copies all three; one reference, the caller's. `serial` lies in `cert_id`. */
struct va_answer *va_answer_new(span cert_id, span serial, span body);
struct va_answer *va_answer_hold(struct va_answer *answer);
void va_answer_release(void *answer);

struct va_cache;
/* At most `answers` of them. */
struct va_cache *va_cache_new(size_t answers);
void va_cache_free(struct va_cache *cache);

/* A reference, or NULL. */
struct va_answer *va_cache_get(struct va_cache *cache, span cert_id, span serial, int64_t now);
/* The status of this serial changed (or may have): forget what was signed before. A magnitude or an INTEGER's octets, as all serials here. */
void va_cache_drop(struct va_cache *cache, span serial);
/* The same for everything: another snapshot, another signer. */
void va_cache_clear(struct va_cache *cache);
size_t va_cache_count(struct va_cache *cache);

/* A miss. Whoever is first for this CertID leads: *out_lead is set, and it must call va_cache_land() whatever happens. The
 * others wait and get a reference to the leader's answer, or the leader's failure; or what was kept since the miss. */
struct va_flight;
/* The same without waiting: the answer when one has come meanwhile, else a lead, else neither: another leads. */
void va_cache_lead(struct va_cache *cache, span cert_id, span serial, int64_t now, struct va_flight **out_lead,
		   struct va_answer **out_answer);
st va_cache_join(struct scope *s, struct va_cache *cache, span cert_id, span serial, int64_t now, struct va_flight **out_lead,
		 struct va_answer **out_answer);
/* `answer` NULL: it failed with `code`. `keep`: into the cache, unless the serial's status was told anew since the join. */
void va_cache_land(struct va_cache *cache, struct va_flight *lead, struct va_answer *answer, bool keep, enum code code);
