/*
 * ca.h - what the files of the ca share. From outside in: ca_main.c (configuration, start, stop), ca_http*.c (routes),
 * ca_issue.c, ca_revoke.c, ca_crl.c, ca_authority.c, ca_renew.c (the work), ca_entry.c (rows), ca_relay.c, ca_push.c,
 * ca_reconcile.c (what goes to auditd, goes to the vas, comes back from the log), ca_cluster.c (other cas on the same database),
 * ca_register.h (persons and roles).
 */
#pragma once
#include "audit.h"
#include "ca_sql.h"
#include "conf.h"
#include "http_metrics.h"
#include "key.h"
#include "pki_blocklist.h"
#include "pki_crl.h"
#include "pki_key.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "pki_profile.h"
#include "pki_request.h"
#include <pthread.h>
#include <stdatomic.h>

/* ---- configuration ---- */
struct ca_conf_va {
	const char *label;
	const char *url;
};
struct ca_conf {
	const char *metrics_listen;
	const char *database, *postgresql, *postgresql_files; /* one of the first two */
	const char *state_directory, *socket, *listen, *tls_certificate, *tls_key, *tls_ca;
	const char *keyd_socket, *audit_socket, *audit_journal, *audit_anchor;
	const char *founding, *founding_hash; /* of the register of persons */
	const char *instance;                 /* as proposals name this ca */
	int64_t crl_life, workers, signers, feed_window;
	bool postgresql_shared;
	struct conf_list key_blocklist, etsi_curves;
	struct conf_group vas; /* of struct ca_conf_va */
};
extern const struct conf_schema ca_conf_schema;

/* ---- logical CAs ---- */
enum ca_state { CA_WAITING, CA_ACTIVE, CA_EXTERNAL };
const char *ca_state_name(enum ca_state state);

/* One of crl issues at a time; who asks while one is being prepared shares it. */
struct ca_crl_turn {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	uint64_t begun, finished; /* generations */
	bool running;
	bool wanted;      /* by a revocation, for the scheduler */
	int64_t last;     /* monotonic: start of the last one */
	int64_t next_due; /* wall clock: half of the life of the last one has passed */
	uint64_t number;  /* last number known to be taken, stored or not; the database has the last one */
	enum code outcome;
	char message[SCOPE_MESSAGE_MAX];
	struct ca_crl *result;
};

/* Never changed once published and never freed before the end, so that readers need no lock; a change makes a new one. */
struct ca_authority {
	struct ca_authority *next; /* all ever made, to free them */
	struct scope memory;
	int64_t id;
	const char *name;
	const struct pki_profile *profile;
	enum ca_state state;
	span subject;    /* whole Name */
	const char *key; /* label in keyd */
	const struct alg_signature *algorithm;
	span spki;
	uint8_t key_identifier[20];
	struct pki_key *public_key;
	span certificate; /* empty while waiting */
	int64_t not_before, not_after;
	span *chain; /* issuers above, nearest first, without its own certificate */
	size_t chain_count;
	const char *chain_pem; /* its own certificate and these, as everybody who gets a certificate gets them */
	span request;          /* while waiting */
	const char *crl_url, *issuer_url, *ocsp_url, *cps_url;
	int64_t crl_hours;       /* 0: as configured */
	struct ca_crl_turn *crl; /* the same for all versions of this CA */
};

struct ca_relay;
struct ca_flight;
struct ca_push;
struct ca_cluster;
struct ca_blocklists;
struct ca_register;

#define CA_CRL_HOURS_MAX   (24 * INT64_C(366))
#define CA_AUTHORITIES_MAX 256
struct ca {
	struct http_metered metered;
	struct http_server *metrics_server;
	const struct ca_conf *conf;
	_Atomic int64_t crl_life;
	struct db *db;
	struct key_client *keyd;
	struct audit *audit;
	struct http_server *http;
	struct daemon_access *access;
	int64_t expired_looked; /* monotonic, of the renewing thread; 0: not yet */
	struct http_tls_settings tls;

	pthread_rwlock_t lock; /* of the three below */
	struct ca_authority *authority[CA_AUTHORITIES_MAX];
	size_t authority_count;
	struct ca_blocklists *blocklists;
	struct ca_authority *all;

	struct ca_relay *relay;
	struct ca_flight *flight;
	struct ca_push *push;
	struct ca_register *reg; /* of persons; NULL: none is kept */

	bool shared; /* the database, with other cas */
	_Atomic bool leads;
	/* Where keyd may have put records of a ca that had just ended, behind the comparison at start; 0: nowhere. */
	_Atomic uint64_t late_from;
	struct ca_cluster *cluster;

	/* One condition wakes the threads that wait for work; each looks for its own. News for the vas have another: they come with
	 * every certificate. */
	pthread_mutex_t mutex;
	pthread_cond_t work, news;
	uint64_t feed_changes;        /* counted under `mutex` */
	_Atomic uint64_t revocations; /* counted, so that what was looked up about a peer is looked up again after one */
	_Atomic uint64_t unissued[CODE_COUNT]; /* certificates that were asked for, by why there is none */
	_Atomic unsigned unstored;             /* signings in a row whose result could not be stored */
	_Atomic int64_t store_again;           /* after these nothing is signed before then (monotonic) */
	_Atomic bool stopping;
	pthread_t crl_thread, renew_thread;
	bool recorded;    /* that it started */
	unsigned threads; /* how many of these two run */
};
/* ---- ca_main.c ---- */
struct ca *ca_new(const struct ca_conf *conf);
/* Database, log and keyd, compared with each other: everything that those stand on who serve. */
st ca_open(struct scope *s, struct ca *ca);
/* In order, whatever was started of it; frees it. */
void ca_stop(void *state);
/* Sleep until there is work (or news), or so long; with `mutex` held. */
void ca_wait(struct ca *ca, pthread_cond_t *what, int64_t microseconds);
void ca_wake(struct ca *ca);
st ca_thread(struct scope *s, pthread_t *out, void *(*main)(void *), void *arg);

/* ---- ca_cluster.c: other cas on the same database ---- */
#define CA_PROCESSES_MAX 256
struct ca_process {
	int64_t id, position; /* in the log: nothing of it is open before */
	bool alive;
};
struct ca_processes {
	struct ca_process process[CA_PROCESSES_MAX];
	size_t count;
};
st ca_cluster_processes(struct scope *s, struct ca *ca, struct ca_processes *out);
/* At start: who leads compares database and log, the others wait until that is done. Alone, a ca leads. */
st ca_cluster_join(struct scope *s, struct ca *ca);
/* Until no ca works on what began before this position of the log; E_BUSY after a minute. */
st ca_cluster_await(struct scope *s, struct ca *ca, uint64_t position);
/* In a transaction: one's own position, and with it the one at which the next start begins to compare. */
st ca_cluster_enter_position(struct scope *s, struct db_tx *tx, struct ca *ca, int64_t position);
st ca_cluster_save_position(struct scope *s, struct ca *ca, int64_t position);
st ca_cluster_start(struct scope *s, struct ca *ca);
void ca_cluster_stop(struct ca *ca);

/* ---- ca_authority.c ---- */
/* What the database has and memory lacks: all at start, later what another ca made. */
st ca_authority_load(struct scope *s, struct ca *ca);
void ca_authority_free_all(struct ca *ca);
/* E_NOTFOUND when there is none. */
st ca_authority_named(struct scope *s, struct ca *ca, span name, struct ca_authority **out);
struct ca_authority *ca_authority_at(struct ca *ca, size_t i);          /* NULL behind the last */
struct ca_authority *ca_authority_numbered(struct ca *ca, int64_t id);  /* NULL when unknown */
struct ca_authority *ca_authority_of_subject(struct ca *ca, span name); /* which issues under this Name */
st ca_authority_must_issue(struct scope *s, const struct ca_authority *a);
/* E_CRYPTO when this type of key is on a curve outside the curve set of the CA of this name, for its own key and those it certifies. */
st ca_check_curve(struct scope *s, const struct ca *ca, const char *name, const struct alg_key *type);

struct ca_founding {
	const char *name, *profile, *subject, *key, *algorithm, *crl_url, *issuer_url, *ocsp_url, *cps_url;
	int64_t crl_hours, validity_days;
	bool request_only;
	bool approved; /* by an operation with quorum: where there is a register of persons, nothing else founds a CA */
	const char *actor;
};
/* What can be told without signing anything: E_OK, and ca_authority_found would go on to sign. */
st ca_authority_found_check(struct scope *s, struct ca *ca, const struct ca_founding *want);
st ca_authority_found(struct scope *s, struct ca *ca, const struct ca_founding *want, struct ca_authority **out);
st ca_authority_complete(struct scope *s, struct ca *ca, span name, span certificate_pem, const char *actor,
			 struct ca_authority **out);
/* A CA that is run elsewhere, for publication. Where there is a register of persons it is `approved` by an operation, or refused. */
st ca_authority_take_in_check(struct scope *s, struct ca *ca, const char *name, const char *certificate_pem);
st ca_authority_take_in(struct scope *s, struct ca *ca, const char *name, const char *certificate_pem, bool approved,
			const char *actor, struct ca_authority **out);
/* E_NOTFOUND when there is no such CA yet. The next CRL is made at once when that changes something. */
st ca_authority_set_crl_hours(struct scope *s, struct ca *ca, const char *name, int64_t hours);

/* ---- rows (ca_entry.c): parts of transactions that several deeds share ---- */
struct ca_certificate {
	span serial, der;
	int64_t ca, id;
	const char *profile, *subject, *role, *request_id;
	int64_t not_before, not_after, revoked_at, invalidity_date;
	int state, reason;
};
enum { CA_GOOD = 0, CA_REVOKED = 1 };
/* E_NOTFOUND when no certificate has this serial. */
st ca_certificate_find(struct scope *s, struct ca *ca, span serial, struct ca_certificate *out);
void ca_certificate_from_row(struct scope *s, const struct db_row *row, struct ca_certificate *out);

/* A record on its way: written into the outbox by the transaction of its effect. */
struct ca_record {
	struct audit_event *event;
	span object; /* serial it is about; may be empty */
	int64_t seq;
	enum code delivered; /* by ca_relay_deliver_all */
	char why_not[SCOPE_MESSAGE_MAX];
};
/* At start, before the first of them. */
st ca_entry_start(struct scope *s, struct ca *ca);
st ca_entry_record(struct scope *s, struct db_tx *tx, struct ca_record *record);
struct ca_new_certificate {
	const struct ca_authority *authority;
	const char *profile;
	struct pki_certificate *certificate;
	const char *role, *request_id, *actor;
	span input;     /* digest of the request as it came; with request_id */
	bool check_key; /* refuse a key certified for another subject */
	char *subject;  /* as text; filled by ca_entry_certificate */
};
st ca_entry_certificate(struct scope *s, struct db_tx *tx, struct ca_new_certificate *new);
/* A serial closed without a certificate. */
st ca_entry_abandoned(struct scope *s, struct db_tx *tx, int64_t ca, span serial, int64_t revoked_at, int64_t not_after);
st ca_meta_get(struct scope *s, struct db_tx *tx, const char *name, int64_t *out); /* 0 when not set */
st ca_meta_set(struct scope *s, struct db_tx *tx, const char *name, int64_t value);
/* The magnitude of an INTEGER: without a sign octet. */
span ca_magnitude(span integer);

/* ---- ca_key.c: keys that are not certified ---- */
/* Takes the lists of these files instead of those before; they stay when one of the new is wrong. */
st ca_key_lists_load(struct scope *s, struct ca *ca, const struct conf_list *paths);
void ca_key_lists_free(struct ca *ca);
/* E_CRYPTO when the key is on a list. */
st ca_key_check_lists(struct scope *s, struct ca *ca, span spki);
/* E_CRYPTO when a certificate over this key (SHA-256 of its SubjectPublicKeyInfo) was revoked for its compromise. */
st ca_key_check_lost(struct scope *s, struct db_tx *tx, span digest);
/* Both. */
st ca_key_check(struct scope *s, struct ca *ca, span spki);
/* In the transaction of a revocation: the key is lost where the reason says so. */
st ca_key_enter_revocation(struct scope *s, struct db_tx *tx, span serial, int reason);
/* At start: revocations from before lost keys were kept. */
st ca_key_catch_up(struct scope *s, struct ca *ca);

/* ---- ca_expired.c ---- */
/* certificate.expired and role.lapsed for what ended since it was looked at before; the first time, only that it was looked at. */
st ca_expired_look(struct scope *s, struct ca *ca);
/* The same at start, and then each hour: of the thread that renews. */
void ca_expired_tend(struct ca *ca);

/* ---- ca_relay.c: outbox to auditd ---- */
st ca_relay_start(struct scope *s, struct ca *ca);
void ca_relay_stop(struct ca *ca);
/* After the commit: returns when the record is acknowledged. E_UNAVAILABLE: the effect stands, its record is delivered
 * later. */
st ca_relay_deliver(struct scope *s, struct ca *ca, const struct ca_record *record);
/* The same for records that were committed together; the outcome of each is asked for with ca_relay_delivered. */
void ca_relay_deliver_all(struct ca *ca, struct ca_record *const *record, size_t count);
st ca_relay_delivered(struct scope *s, const struct ca_record *record);
/* Whatever is still owed about this object. */
st ca_relay_settle(struct scope *s, struct ca *ca, span object);
/* Everything owed, at start. */
st ca_relay_drain(struct scope *s, struct ca *ca);
/* One record that goes with no change of the database. */
st ca_relay_note(struct scope *s, struct ca *ca, struct audit_event *event);

/* ---- ca_flight.c: what is being signed, and how far the log is surely reflected in the database ---- */
struct ca_flight_slot {
	struct ca_flight_slot *next, *previous;
	uint64_t position; /* log index before which nothing of it lies */
	int64_t since;     /* monotonic */
	uint8_t key[32];   /* digest of the public key being certified, to keep two subjects from getting it at once */
	char request_id[80];
	int64_t ca;
};
void ca_flight_new(struct ca *ca);
st ca_flight_start(struct scope *s, struct ca *ca);
void ca_flight_stop(struct ca *ca);
st ca_flight_begin(struct scope *s, struct ca *ca, struct ca_flight_slot *slot);
void ca_flight_end(struct ca *ca, struct ca_flight_slot *slot);
/* Signing failed with an unknown outcome: the serial is looked for in the log and closed when it is there. */
void ca_flight_doubt(struct ca *ca, int64_t authority, span serial, uint64_t position);
/* It has grown, how far is asked for before the position is kept next; or it is known to reach at least here. */
void ca_flight_grew(struct ca *ca);
void ca_flight_reached(struct ca *ca, uint64_t index);
uint64_t ca_flight_position(struct ca *ca);
/* As it is kept for the next start. */
int64_t ca_log_position(const struct ca *ca, uint64_t position);

/* ---- ca_reconcile.c ---- */
/* At start: from where the last comparison, and every ca still at work, says that all before is settled. */
st ca_reconcile(struct scope *s, struct ca *ca);
/* The same while serving, for what cas that ended have left open: also what keyd was still at work on for one that had ended just before
 * this one started. On record only when something came of it. */
st ca_reconcile_ended(struct scope *s, struct ca *ca);
/* The same for some serials while running: those found in [from, ...) without a certificate are closed. */
struct ca_doubt {
	struct ca_doubt *next;
	int64_t authority;
	uint8_t serial[PKI_SERIAL_MAX];
	size_t serial_len;
	uint64_t position;
	int64_t since;
};
st ca_reconcile_doubts(struct scope *s, struct ca *ca, const struct ca_doubt *doubts);

/* ---- ca_issue.c ---- */
struct ca_order {
	const struct ca_authority *authority;
	const char *profile;
	span request;             /* PKCS#10, PEM or DER */
	const char *subject;      /* text, instead of the request's */
	span subject_der;         /* or whole Name */
	int64_t validity_days;    /* 0: the profile's */
	int64_t validity_seconds; /* instead of days */
	const char *const *dns_names, *const *ip_addresses, *const *emails;
	const char *role, *request_id, *actor;
	/* Further changes in the same transaction. */
	st (*also)(struct scope *s, struct db_tx *tx, const struct pki_certificate *certificate, void *arg);
	void *arg;
};
struct ca_issued {
	struct ca_certificate certificate;
	bool repeated; /* the first answer to this request id again */
};
st ca_issue(struct scope *s, struct ca *ca, const struct ca_order *order, struct ca_issued *out);
/* Several at once: one frame to keyd, one commit, one frame to auditd. Each has its own outcome. */
#define CA_ISSUE_MAX HTTP_TOGETHER_MAX
struct ca_issuance {
	struct scope *scope; /* of who asks: its id goes on record, and what comes back is put there */
	const struct ca_order *order;
	struct ca_issued issued; /* out */
	st outcome;              /* out: of this one alone; the message is in its scope */
};
void ca_issue_all(struct ca *ca, struct ca_issuance *issuance, size_t count);
/* Build, check, have signed, verify: nothing is stored. `a` signs; for its own certificate too. */
st ca_sign_certificate(struct scope *s, struct ca *ca, const struct ca_authority *a, const struct pki_issue *issue,
		       uint64_t position, span *out_der);
void ca_urls(const struct ca_authority *a, struct pki_ext_context *ext);

/* ---- ca_revoke.c ---- */
struct ca_revocation {
	span serial;
	const char *reason; /* NULL: none stated */
	int64_t invalidity_date;
	bool approved; /* by an operation with quorum: where there is a register of persons, certificates of CAs need one */
	const char *actor;
	const char *channel; /* by which it came: "API", "local socket", "operation"; NULL: from this ca itself */
};
struct ca_revoked {
	int64_t revoked_at, invalidity_date;
	int reason;
	bool before; /* it was revoked already */
};
/* What can be told beforehand; the certificate as it is. */
st ca_revoke_check(struct scope *s, struct ca *ca, const struct ca_revocation *want, struct ca_certificate *out);
st ca_revoke(struct scope *s, struct ca *ca, const struct ca_revocation *want, struct ca_revoked *out);

/* ---- ca_crl.c ---- */
struct ca_crl {
	uint64_t number, entries, size;
	int64_t this_update, next_update;
	uint8_t digest[32];
};
char *ca_crl_path(struct scope *s, const struct ca *ca, const char *authority, uint64_t number);
/* Returns when a CRL that was begun after this call is durable. */
st ca_crl_issue(struct scope *s, struct ca *ca, const struct ca_authority *a, int64_t next_update, struct ca_crl *out);
/* From thisUpdate to nextUpdate when nothing else is asked for. */
int64_t ca_crl_life(const struct ca *ca, const struct ca_authority *a);
void ca_crl_want(struct ca *ca, const struct ca_authority *a);
/* E_NOTFOUND when there is none yet. */
st ca_crl_last(struct scope *s, struct ca *ca, int64_t authority, struct ca_crl *out);
st ca_crl_take_in(struct scope *s, struct ca *ca, const struct ca_authority *a, span der, const char *actor,
		  struct ca_crl *out);
st ca_crl_start(struct scope *s, struct ca *ca);

/* ---- ca_feed.c: in the transaction of what they tell of ---- */
st ca_feed_ca(struct scope *s, struct db_tx *tx, const struct ca_authority *a);
st ca_feed_status(struct scope *s, struct db_tx *tx, const struct ca_certificate *c); /* ca, serial, state, ... not_after */
st ca_feed_crl(struct scope *s, struct db_tx *tx, int64_t ca, const struct ca_crl *crl);
st ca_feed_signer(struct scope *s, struct db_tx *tx, int64_t ca, span certificate, const char *label);

/* ---- ca_push.c ---- */
st ca_push_start(struct scope *s, struct ca *ca);
void ca_push_stop(struct ca *ca);
/* After a commit that added feed items. */
void ca_push_wake(struct ca *ca);
struct ca_va_state {
	const char *name, *url;
	int64_t number, lag, confirmed_at;
	bool connected;
	char failure[SCOPE_MESSAGE_MAX];
};
size_t ca_push_states(struct scope *s, struct ca *ca, struct ca_va_state **out);

/* ---- ca_renew.c ---- */
struct ca_identity {
	const char *name, *profile, *label, *push_url, *file, *settings, *failure;
	int64_t ca, not_after, renew_at;
	span request, serial;
	bool pushed;
};
st ca_identity_enrol(struct scope *s, struct ca *ca, const struct ca_order *order, const struct ca_identity *identity,
		     struct ca_issued *out);
st ca_identity_list(struct scope *s, struct ca *ca, struct ca_identity **out, size_t *out_count);
st ca_renew_certificate(struct scope *s, struct ca *ca, span old_der, span request, const char *actor, struct ca_issued *out);
st ca_renew_start(struct scope *s, struct ca *ca);

/* ---- HTTP ---- */
extern const struct http_route ca_routes[];
extern const size_t ca_route_count;
st ca_permit(struct scope *s, const struct http_request *request, const struct http_route *route);
/* Who asks, for the record. */
const char *ca_actor(struct scope *s, const struct http_request *request);

/* ca_metrics.c: the page of metrics, where the configuration wants it. */
st ca_metrics_serve(struct scope *s, struct ca *ca);
