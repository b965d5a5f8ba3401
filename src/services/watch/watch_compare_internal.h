/* watch_compare_internal.h - what watch_compare.c and watch_compare_place.c share: a round, and how far it is. */
#pragma once
#include "daemon_pacer.h"
#include "pki_certificate.h"
#include "watch_compare.h"
#include <jansson.h>
#include <stdatomic.h>

#define SERIAL_MAX 20  /* rfc5280#4.1.2.2 */
#define DOUBTS_MAX 100 /* looked at again together */

struct serial {
	uint8_t len, octets[SERIAL_MAX];
};
/* What is said of one certificate. */
struct said {
	struct serial serial, before; /* before: the one in front of it, "" for the first: where its page begins */
	bool revoked;
	int64_t revoked_at, not_after;
};
struct crl {
	struct serial *entry; /* in order */
	size_t count, room;
	int64_t this_update, expired_from;
};
DEFINE_AUTO(json_t, json_decref)
struct watch_compare {
	const struct watch_conf *conf;
	struct audit *audit;
	struct pacer pacer;
	struct client *api, *public_client;
	_Atomic bool asked;
	int64_t began;     /* the round under way; 0: none */
	json_t *done;      /* names of the CAs that it is through with */
	json_t *kept;      /* the CA that a former run was at, and how far; NULL: none */
	int64_t kept_last; /* monotonic */
};
struct round {
	struct watch_compare *c;
	const char *ca;
	bool has_ocsp;
	struct scope memory; /* of the CA's certificate */
	struct pki_certificate issuer;
	struct crl crl;
	int64_t crl_due;     /* thisUpdate of the ca's last CRL: what the public gets has to be as new */
	struct serial after; /* looked at last */
	struct said doubt[DOUBTS_MAX];
	size_t doubts;
	uint64_t serials, differ, unreachable;
	unsigned missing; /* in a row */
	unsigned logged;
};

/* False for none, and for one that is too long. */
bool compare_take_serial(span bytes, struct serial *out);
span compare_serial_span(const struct serial *serial);

/* ---- watch_compare_place: how far a round is, for a start behind a kill ---- */
/* Begins a round: the one that is kept, when it is not older than an interval, or a new one. */
void compare_place_begin(struct watch_compare *c, int64_t now);
/* Whether a former run kept one to go on with. */
bool compare_place_is_kept(struct watch_compare *c, int64_t now);
bool compare_place_is_done(const struct watch_compare *c, const char *ca);
/* Where a former run was at this CA, if it was. */
void compare_place_resume(struct round *r);
/* Once a second, or at once. What cannot be kept is looked at again. */
void compare_place_keep(struct round *r, bool at_once);
/* This CA is behind us; and the round. */
void compare_place_done(struct watch_compare *c, const char *ca);
void compare_place_end(struct watch_compare *c);
void compare_place_free(struct watch_compare *c);
