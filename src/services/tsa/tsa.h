/*
 * tsa.h - the time-stamping authority: what its parts share.
 *
 * One time-stamp unit, on HTTP and HTTPS. The tsa holds no key but that of its TLS: it builds TSTInfo and signed attributes, the
 * keyd of zone "time" checks them, has them put on record and signs. A management listener of its own, with mutual TLS, takes
 * renewed TLS certificates from the ca.
 */
#pragma once
#include "audit_tally.h"
#include "conf.h"
#include "http_metrics.h"
#include "key.h"
#include "pki_time_stamp.h"
#include "tsa_clock.h"

#define TSA_POLICIES_MAX 16
#define TSA_CHAIN_MAX    6

struct tsa_conf {
	const char *metrics_listen;
	struct conf_list listen, tls_listen;
	const char *management_listen;
	const char *tls_certificate, *tls_key, *tls_ca;
	const char *keyd_socket, *key;
	const char *certificate, *chain;
	struct conf_list policies;
	const char *test_policy;
	bool qualified;
	int64_t accuracy;
	const char *clock;
	int64_t verify_every;
	const char *audit_socket, *audit_journal, *audit_anchor;
	int64_t loops, workers, queue, max_connections, idle;
};
extern const struct conf_schema tsa_schema;

/* The time-stamp unit: its certificate, checked once, and everything that every token needs of it. */
struct tsa_unit {
	struct scope memory;
	span certificate;
	span chain[TSA_CHAIN_MAX]; /* as sent with certReq: without the root */
	size_t chain_count;
	const struct alg_key *key;
	const struct alg_signature *algorithm;
	struct pki_key *public;
	int64_t not_before, key_end;   /* of the private key's use */
	span policy[TSA_POLICIES_MAX]; /* accepted; the first is used when none is asked for */
	size_t policy_count;
	struct tsa_unit *earlier; /* replaced by a reload; requests under way may still use it */
};
/* Reads and checks the unit's certificate, chain and key; nothing is stamped before this succeeded. */
//= en319421#TIS-7.6.4-05 no token before the unit's certificate is loaded and its chain verified
st tsa_unit_load(struct scope *s, const struct tsa_conf *conf, struct key_client *keyd, struct tsa_unit **out);
void tsa_unit_free(struct tsa_unit *unit);

struct tsa {
	struct http_metered metered;
	struct http_server *metrics_server;
	_Atomic uint64_t rejected[PKI_FAILURE_BITS]; /* by enum pki_failure */
	const struct tsa_conf *conf;
	struct tsa_unit *unit; /* read with tsa_unit_now() */
	struct tsa_clock *clock;
	struct key_client *keyd;
	struct audit *audit;
	struct daemon_access *access;
	struct audit_tally *refused;
	struct tsa_watch *watch;
	struct http_server *server, *management;
	uint64_t stamped;  /* since the start */
	bool broken;       /* a token of ours did not verify: no more of them */
	bool keyd_failing; /* the last request keyd was asked for failed */
};
static inline struct tsa_unit *tsa_unit_now(struct tsa *tsa)
{
	return __atomic_load_n(&tsa->unit, __ATOMIC_ACQUIRE);
}

/* The answers to requests, always one for each: a token or the protocol's rejection. `ended` is a failure only when not even that can
 * be written. Answers are in their query's scope. */
struct tsa_query {
	struct scope *scope;
	span request; /* TimeStampReq */
	span answer;  /* out: TimeStampResp */
	st ended;     /* out */
};
/* What stops the tokens, NULL when nothing does. */
const char *tsa_trouble(struct scope *s, struct tsa *tsa, char reason[TSA_CLOCK_REASON_MAX]);

/* ---- tsa_watch.c ---- */
/* unit.loaded, before its first token. */
st tsa_record_unit(struct scope *s, struct tsa *tsa, const struct tsa_conf *conf, const struct tsa_unit *unit);
/* A thread that puts unit.stopped and unit.resumed on record. */
struct tsa_watch *tsa_watch_start(struct tsa *tsa);
void tsa_watch_stop(struct tsa_watch *w);

/* A request that was refused is counted: time_stamp.refused, once a minute. */
void tsa_note_refusal(struct tsa *tsa, enum pki_failure failure, const char *reason);
void tsa_answer(struct tsa *tsa, struct tsa_query *query, size_t count);

extern const struct http_route tsa_public_routes[];
extern const size_t tsa_public_route_count;
extern const struct http_route tsa_management_routes[];
extern const size_t tsa_management_route_count;
/* Also a query that could not be worked on is answered in the protocol's terms; `failed` of the public server. */
const char *tsa_failure_name(enum pki_failure failure);
bool tsa_query_failed(struct scope *s, const struct http_request *request, const struct http_route *route, enum code code,
		      struct http_reply *reply);
/* Only the ca may use the management listener. */
st tsa_management_permit(struct scope *s, const struct http_request *request, const struct http_route *route);
int tsa_main(int argc, char **argv);

/* tsa_metrics.c: the page of metrics, where the configuration wants it. */
st tsa_metrics_serve(struct scope *s, struct tsa *tsa);
