/*
 * va.h - the validation authority: what its parts share.
 *
 * Two listeners: one for the public (OCSP, CRLs, CA certificates, plain HTTP as the standards want it), one where only the ca may
 * push what is to be published. The va holds no key but that of its TLS; OCSP answers are signed by its own keyd zone.
 */
#pragma once
#include "audit.h"
#include "conf.h"
#include "http_metrics.h"
#include "key.h"
#include "va_cache.h"
#include "va_directory.h"
#include "va_store.h"
#include <pthread.h>

struct va_conf {
	const char *metrics_listen;
	struct conf_list listen;
	const char *push_listen;
	const char *push_peer;
	const char *tls_certificate, *tls_key, *tls_ca;
	const char *state_directory;
	const char *keyd_socket;
	const char *audit_socket, *audit_journal, *audit_anchor;
	int64_t ocsp_validity, ocsp_unknown_validity, ocsp_max_age;
	int64_t repository_max_age;
	int64_t feed_silence;
	int64_t ocsp_cache;
	int64_t loops, workers, signers, queue, max_connections;
};
extern const struct conf_schema va_schema;

struct va {
	struct http_metered metered;
	struct http_server *metrics_server;
	_Atomic uint64_t produced[3]; /* OCSP answers, by pki_ocsp_status */
	_Atomic uint64_t given_again; /* OCSP answers from memory */
	_Atomic uint64_t failed[CODE_COUNT];
	const struct va_conf *conf; /* changes on reload: read through va_conf_now() */
	struct va_store *store;
	struct va_cache *cache;
	struct key_client *keyd;
	struct audit *audit;
	struct daemon_access *access;
	struct http_server *public_server, *push_server;
	pthread_mutex_t feed; /* one batch at a time, until it is what is answered */
	pthread_mutex_t lock; /* of `directory` */
	struct va_directory *directory;
	int64_t contact; /* monotonic: when the ca was last heard */
	struct va_watch *watch;
};

static inline const struct va_conf *va_conf_now(const struct va *va)
{
	return __atomic_load_n(&va->conf, __ATOMIC_ACQUIRE);
}

/* The directory as it is now, kept alive until given back: `AUTO_DIRECTORY *d = va_directory_take(va);` */
struct va_directory *va_directory_take(struct va *va);
/* Read it from the store anew and let later requests see it. */
st va_directory_refresh(struct scope *s, struct va *va);

/* The routes of each part. */
extern const struct http_route va_public_routes[];
extern const size_t va_public_route_count;
extern const struct http_route va_push_routes[];
extern const size_t va_push_route_count;

/* va_ocsp.c */
st va_ocsp_loop(struct scope *s, const struct http_request *request, struct http_reply *reply);
void va_ocsp_all(struct http_exchange *const *exchange, size_t count);
/* Failures as OCSP error answers, with HTTP 200; false when the route is not an OCSP one. */
bool va_ocsp_failed(struct scope *s, const struct http_request *request, const struct http_route *route, enum code code,
		    struct http_reply *reply);

/* va_repository.c and va_page.c */
st va_repository_ca(struct scope *s, const struct http_request *request, struct http_reply *reply);
st va_repository_crl(struct scope *s, const struct http_request *request, struct http_reply *reply);
st va_page(struct scope *s, const struct http_request *request, struct http_reply *reply);
st va_page_style(struct scope *s, const struct http_request *request, struct http_reply *reply);

/* va_push.c */
st va_push_permit(struct scope *s, const struct http_request *request, const struct http_route *route);

/* va_crl.c: CRL files. */
/* The path of a CRL that was uploaded. */
char *va_crl_path(struct scope *s, const struct va *va, span name, uint64_t number);
st va_crl_put(struct scope *s, const struct http_request *request, struct http_reply *reply);
/* The uploaded file against the feed item that wants it published: digest, issuer, number, dates, signature. */
st va_crl_check(struct scope *s, struct va *va, const struct va_crl_item *crl, const struct va_ca_item *ca);
/* Delete what is older than what is published. */
void va_crl_tidy(struct va *va);

/* va_certificate.c */
st va_certificate_put(struct scope *s, const struct http_request *request, struct http_reply *reply);

/* va_health.c */
st va_healthz(struct scope *s, const struct http_request *request, struct http_reply *reply);
/* A thread that says in the log what an operator must see to. */
st va_watch_start(struct scope *s, struct va *va);
void va_watch_stop(struct va *va);

/* va_metrics.c: the page of metrics, where the configuration wants it. */
st va_metrics_serve(struct scope *s, struct va *va);
