/*
 * copy.h - the second place of an audit log: takes tiles, entry bundles and checkpoints from auditd, which dials (mutual TLS), keeps what it
 * has for good, and cosigns a checkpoint when it holds every record under it and the tree only grew (c2sp.org/tlog-witness,
 * c2sp.org/tlog-cosignature). What two persons had removed from the log goes here, too, when the log's own records say so. Its directory is a
 * log like the other: static files that `chancery audit verify --log` reads.
 *
 * It has no way to the log's host and no key: keyd of its own host cosigns, held to the heads it cosigned before.
 */
#pragma once
#include "audit.h"
#include "audit_log.h"
#include "conf.h"
#include "control_records.h"
#include "http_metrics.h"
#include "key.h"
#include "stamp.h"
#include <pthread.h>

struct copy_conf {
	const char *metrics_listen;
	const char *listen, *tls_certificate, *tls_key, *tls_ca, *peer_role;
	const char *log, *log_key, *stamp_anchor;
	const char *keyd, *key, *name;
	const char *audit_socket, *audit_journal;
	const char *founding, *founding_hash;
	int64_t idle;
};

struct copy_follower;

struct copy {
	struct http_metered metered;
	struct http_server *metrics_server;
	const struct copy_conf *conf;
	struct audit *audit;
	struct key_client *keyd;
	struct audit_key log_key[AUDIT_KEYS_MAX]; /* of one name */
	size_t log_keys;
	struct daemon_access *access;
	struct http_server *server;
	/* One change at a time; under the lock: */
	pthread_mutex_t lock;
	struct audit_checkpoint head; /* cosigned last; size 0: none yet */
	struct buf note;              /* it, with its signatures */
	char refused[SCOPE_MESSAGE_MAX];
	uint8_t refused_note[32]; /* SHA-256 of the one put on record last */
	uint64_t lacking;         /* entry that came without content and is covered by nothing, */
	uint64_t lacking_size;    /* ... under a checkpoint of so many records; 0: there is none */
	struct copy_follower *follower;
	struct stamp_trust *trust; /* NULL: tokens are kept without looking who signed them */
};

/* ---- copy_read: what comes from outside ---- */

/* A file below DIR/tile. */
struct copy_place {
	int level; /* or AUDIT_ENTRIES */
	uint64_t n;
	unsigned width;
};
/* "0/x001/234.p/7", "entries/000": E_INPUT for any other text. */
st copy_place_read(struct scope *s, span path, struct copy_place *out);

/* A request to cosign. */
struct copy_request {
	uint64_t old;
	span proof; /* hashes one after the other */
	span note;
};
st copy_request_read(struct scope *s, span body, struct copy_request *out);

/* A time-stamp: u32 length of the stamped checkpoint, it, and behind it the token to the end. */
struct copy_stamped {
	span note, token;
};
st copy_stamped_read(struct scope *s, span body, struct copy_stamped *out);

/* All content that two readings of one entry bundle have. False when they differ in more than that an entry's content is missing in one. */
bool copy_bundle_unite(span there, span brought, struct buf *out);

/* ---- copy_store ---- */
/* What was cosigned last, verified. */
st copy_load(struct scope *s, struct copy *c);
/* Durable when it returns; the same bytes again are fine, others are a fork: E_CONFLICT, on record. Of an entry bundle, entries that one of
 * both lacks are no difference: content that is here stays, and what is lacking is taken as long as it is not cosigned. With the lock. */
st copy_keep_tile(struct scope *s, struct copy *c, const struct copy_place *place, span bytes);
/* This is the newest one now. With the lock. */
st copy_keep_note(struct scope *s, struct copy *c, const struct audit_checkpoint *head, span note);
/* On record, with what was refused, once. With the lock. */
void copy_record_refused(struct copy *c, const char *reason, uint64_t size, span note);

/* ---- copy_witness ---- */
/* The cosignature's line; *out_stale: `old` is not what is held here. With the lock. */
st copy_cosign(struct scope *s, struct copy *c, const struct copy_request *request, bool *out_stale, const char **out_line);

/* ---- copy_stamp ---- */
/* A time-stamp over a checkpoint of the tree that is held here, verified; durable when it returns. One that is here stays as it is.
 * E_STATE: the checkpoint is of more than was cosigned. With the lock. */
st copy_keep_stamp(struct scope *s, struct copy *c, const struct copy_stamped *stamped);

/* ---- copy_purge ---- */
/* Entries without content, collected by copy_lacks() as audit_verify's `removed`. */
struct copy_lacking {
	struct control_range *range; /* to be freed */
	size_t count;
};
void copy_lacks(void *lacking, uint64_t index);
/* Each of them is let go by an operation under this checkpoint, whose records are all here. E_STATE when one is not; E_CRYPTO when it was not
 * under a smaller one already. With the lock. */
st copy_lacking_check(struct scope *s, struct copy *c, const struct copy_lacking *lacking, const struct audit_checkpoint *new);
/* Nothing (NULL) where no founding document is configured; also after a failure to be freed. */
st copy_follower_new(struct scope *s, struct copy *c, struct copy_follower **out);
void copy_follower_start(struct copy_follower *f);
void copy_follower_stop(struct copy_follower *f);
void copy_follower_free(struct copy_follower *f);

/* ---- copy_http ---- */
extern const struct http_route copy_routes[];
extern const size_t copy_route_count;
st copy_permit(struct scope *s, const struct http_request *request, const struct http_route *route);

/* copy_metrics.c: the page of metrics, where the configuration wants it. */
st copy_metrics_serve(struct scope *s, struct copy *c);
