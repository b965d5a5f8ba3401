/*
 * keyd.h - shared between the files of this service: its configuration, its keys, and the way of a request to sign.
 */
#pragma once
#include "audit.h"
#include "conf.h"
#include "hsm.h"
#include "key_protocol.h"
#include "keyd_content.h"
#include "keyd_life.h"
#include "metrics.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* ---- configuration ---- */
struct keyd_peer {
	const char *label;
	int64_t uid;
	const char *purposes; /* names, space separated; "*" for all */
	const char *keys;     /* labels, space separated; "*" for all */
};
/* What is known of the device that a token is, and of the token's copies. */
struct keyd_device {
	const char *label;
	const char *token; /* or "*" */
	const char *scheme, *level, *certificate;
	const char *expires; /* a date */
	struct conf_list copies;
};
struct keyd_conf {
	const char *zone;
	const char *module;
	const char *module_init_args;
	struct conf_list hsm_addresses;
	const char *state;
	const char *token_directory;
	struct conf_list module_directories;
	struct conf_list tokens;
	const char *socket;
	const char *socket_group;
	int64_t connections;
	int64_t signers;
	struct conf_list administrators;
	const char *audit_socket;
	const char *audit_journal;
	const char *founding, *founding_hash, *persons, *instance;
	struct conf_group peers;
	struct conf_group devices;
};
extern const struct conf_schema keyd_schema;
/* What the rows cannot say: names of purposes and labels, one of audit-socket and audit-journal. */
st keyd_conf_check(struct scope *s, const struct keyd_conf *conf);
/* E_STATE naming the row when the two differ in more than who may ask: that much can change at run time. */
st keyd_conf_compare(struct scope *s, const struct keyd_conf *now, const struct keyd_conf *next);
/* Where this module keeps its tokens, when that is ours to sync; NULL otherwise. */
const char *keyd_token_directory(struct scope *s, const struct keyd_conf *conf);
/* What the configuration says of the device of a token. */
struct key_device keyd_conf_device(struct scope *s, const struct keyd_conf *conf, const char *token);
/* SoftHSM finds its tokens by a file named in the environment: written into the state directory, no secret. */
st keyd_prepare_module(struct scope *s, const struct keyd_conf *conf);

/* ---- who may ask ---- */
bool keyd_may_administer(const struct keyd_conf *conf, uid_t uid);
bool keyd_may_sign(const struct keyd_conf *conf, uid_t uid, enum key_purpose purpose, const char *label);

/* ---- PINs ---- */
st keyd_pin_fd_option(struct scope *s, const char *value);
st keyd_pin_directory_option(struct scope *s, const char *value);
/* The directory of that option, for the fence around files. */
void keyd_pin_paths(void (*each)(void *state, enum conf_access access, const char *path), void *state);
/* Hands each PIN to `take` and wipes it. `wanted`: labels for which to look in a directory or to ask on the terminal. */
struct keyd_pin_taker {
	st (*take)(struct scope *s, void *state, const char *token, span pin);
	void *state;
};
st keyd_read_pins(struct scope *s, const struct conf_list *wanted, const struct keyd_pin_taker *taker);

/* ---- live OCSP: counted and hash-chained instead of recorded one by one ---- */
struct keyd_ocsp {
	pthread_mutex_t lock;
	bool used; /* this process has signed an answer with the key: the file says "not in order" */
	bool gap;  /* the run before did not end in order, and that is not on record yet */
	int64_t gap_since;
	uint64_t total;
	uint64_t acknowledged; /* total that the log is known to have */
	uint8_t chain[32];
	uint64_t count; /* not yet in a record */
	int64_t from, to;
	int64_t oldest; /* monotonic, of the first of them; 0: none */
	bool pending;   /* a record on its way: offered again, as it is, until it is acknowledged */
	int64_t pending_oldest;
	uint64_t pending_total; /* what it says, to be kept in the file first */
	uint8_t pending_chain[32];
	struct audit_event record;
};

/* ---- keys ---- */
struct keyd_token {
	char label[KEY_LABEL_MAX + 1];
	struct hsm_token *hsm; /* NULL: no PIN */
	bool held;             /* deactivated by an operation, though its PIN is here */
	bool group;            /* a key group that custodians activate: its PIN is nobody's */
	bool ready;
	char reason[SCOPE_MESSAGE_MAX];
	char custodians[SCOPE_MESSAGE_MAX]; /* of a group: whether there are enough, when that is to be said */
	struct keyd_token *next;
};
/* A key's description against the key.generate that this keyd finds in the log; KEYD_NOT_COMPARED: no operation made it. */
enum keyd_approval { KEYD_NOT_COMPARED, KEYD_NOT_AS_APPROVED, KEYD_AS_APPROVED };

struct keyd_key {
	struct scope memory; /* what `info` points to */
	struct key_info info;
	const char *attributes, *checks, *operation; /* as noted at generation */
	uint8_t key_hash[20];
	pthread_mutex_t lock;
	struct hsm_key *hsm; /* NULL until its token was there once */
	int64_t allowance;   /* rate: what is left, in millionths of a signature, at `refilled` */
	int64_t refilled;
	struct keyd_ocsp ocsp;
	struct keyd_life life;
	_Atomic enum keyd_approval approval;
	_Atomic uint64_t signatures[KEY_PURPOSE_COUNT]; /* by purpose, in the order of its bits */
	bool approved_here;                             /* compared with an operation of this instance: no other has a say */
	struct keyd_key *next;
};

/* A key that is to be generated, or whose generation did not end. */
#define KEYD_ID_LEN 16
struct keyd_planned {
	struct scope memory;
	struct key_info info;    /* `created`: when it was planned; no public key */
	uint8_t id[KEYD_ID_LEN]; /* CKA_ID */
	const char *operation;   /* SHA-256 of its proposal; empty: an administrator's */
	_Atomic bool over;       /* generated, refused, or planned anew */
	struct keyd_planned *next;
};

struct keyd_recorder;
struct keyd_control;
struct signers;
struct wire_server;

struct keyd {
	const struct keyd_conf *_Atomic conf; /* replaced as a whole by a reload; each stays valid until the end */
	struct hsm *hsm;
	struct audit *audit;
	struct keyd_recorder *recorder;
	struct signers *signers;
	struct keyd_control *control; /* NULL: no operations with quorum */
	struct wire_server *server;
	pthread_rwlock_t registry; /* of the two lists; keys stay where they are until the end */
	pthread_mutex_t generating;
	pthread_mutex_t watching; /* of `ready` and `reason` of the tokens */
	struct keyd_token *tokens;
	struct keyd_key *keys;
	struct keyd_planned *planned;
	_Atomic uint64_t signatures;
	_Atomic uint64_t refusals;
	_Atomic uint64_t undone[CODE_COUNT]; /* what was asked for and not done, by why */
	struct metric_histogram signing;
	int64_t started; /* the process */
};

st keyd_load_keys(struct scope *s, struct keyd *d);
void keyd_free_keys(struct keyd *d);
/* Keys are entered before the first and never leave: the list behind it does not change. */
struct keyd_key *keyd_first_key(struct keyd *d);
st keyd_find_key(struct scope *s, struct keyd *d, const char *label, struct keyd_key **out);
/* The key on its token; looks for it again when the token was not there so far. */
st keyd_hsm_key(struct scope *s, struct keyd *d, struct keyd_key *k, struct hsm_key **out);
/* What can be said before it is generated: purposes, policy of algorithms, label. */
st keyd_check_wanted(struct scope *s, struct keyd *d, const struct key_info *want);
/* `operation`: SHA-256 of the proposal that it comes from, hexadecimal; empty: none. */
st keyd_generate(struct scope *s, struct keyd *d, const struct key_info *want, const char *operation, struct keyd_key **out);
/* ---- keyd_planned.c ---- */
/* Behind keyd_load_keys: what is planned and was generated is planned no longer. */
st keyd_load_planned(struct scope *s, struct keyd *d);
void keyd_free_planned(struct keyd *d);
/* The first, or the one behind `before`, that is not over; NULL. They stay where they are until the end. */
struct keyd_planned *keyd_next_planned(struct keyd *d, const struct keyd_planned *before);
struct keyd_planned *keyd_find_planned(struct keyd *d, const char *label);
/* Durable when it returns. What an interrupted generation of this label left on this token is destroyed before, on record. */
st keyd_plan_key(struct scope *s, struct keyd *d, const struct key_info *want, const char *operation, struct hsm_token *token,
		 struct keyd_planned **out);
void keyd_planned_over(struct scope *s, struct keyd *d, struct keyd_planned *p);
void keyd_planned_describe(struct scope *s, const struct keyd *d, const struct keyd_planned *p, struct key_entry *out);
/* Private keys on tokens that are open, which no description here names. */
void keyd_find_strays(struct scope *s, struct keyd *d, struct key_stray stray[KEY_STRAYS_MAX], size_t *out_count);
/* As key.h shows it. */
void keyd_describe(struct keyd *d, const struct keyd_key *k, struct key_info *out);
st keyd_add_token(struct scope *s, struct keyd *d, const char *label, span pin);
/* E_CONFLICT when a token with this label is there. */
st keyd_require_free_token(struct scope *s, struct keyd *d, const char *label);
/* On record, then made; it is not opened. */
st keyd_initialise_token(struct scope *s, struct keyd *d, const char *label, span pin, span officer_pin);
/* ---- key groups: tokens that are locked until custodians activate them ---- */
st keyd_add_group(struct scope *s, struct keyd *d, const char *label);
/* E_NOTFOUND: no such group. E_STATE: it is active, or it is not. */
st keyd_require_group(struct scope *s, struct keyd *d, const char *label);
st keyd_require_active(struct scope *s, struct keyd *d, const char *label);
st keyd_require_locked(struct scope *s, struct keyd *d, const char *label);
st keyd_unlock_group(struct scope *s, struct keyd *d, const char *label, span pin);
st keyd_lock_group(struct scope *s, struct keyd *d, const char *label);
/* The PIN of an active group, appended to locked memory; and another in its place, as hsm_token_set_pin. */
st keyd_group_pin(struct scope *s, struct keyd *d, const char *label, struct buf *out);
st keyd_set_group_pin(struct scope *s, struct keyd *d, const char *label, span pin);
/* What is to be said of a group's custodians, active or not; empty: nothing. */
void keyd_explain_custodians(struct keyd *d, const char *label, const char *text);
/* What the status says of each locked group, in the place of whom to call. */
void keyd_explain_locked(struct keyd *d, const char *why);
bool keyd_is_group(struct keyd *d, const char *label);
/* ---- tokens that come up by themselves, and may be held ---- */
st keyd_require_token(struct scope *s, struct keyd *d, const char *label);
st keyd_hold_token(struct scope *s, struct keyd *d, const char *label);
st keyd_release_token(struct scope *s, struct keyd *d, const char *label);
st keyd_create_token(struct scope *s, struct keyd *d, const char *label, span pin, span officer_pin);
struct keyd_token *keyd_token_named(struct keyd *d, const char *label); /* with the registry locked */
/* Try every token; what changed is logged and goes on record. */
void keyd_watch_tokens(struct keyd *d);

/* ---- the way of a request ---- */
enum alg_use keyd_use(unsigned purposes);
/* Key, permission, purpose, algorithm and its dates; what an item is refused for before its content is read. */
st keyd_admit(struct scope *s, struct keyd *d, uid_t uid, const struct key_sign_item *item, struct keyd_key **out);
struct keyd_rules keyd_rules_of(struct scope *s, const struct keyd_key *k, const struct alg_signature *algorithm);
/* The token's signature, counted and timed; all that goes before it is the caller's. `purpose`: one of the key's. */
st keyd_token_sign(struct scope *s, struct keyd *d, struct keyd_key *k, enum key_purpose purpose, struct hsm_key *hsm,
		   const struct alg_signature *algorithm, span digest, span *out);
/* All items of a frame, each with an outcome of its own: what does not fit stops nobody but itself. */
void keyd_sign(struct scope *s, struct keyd *d, uid_t uid, const struct key_sign_request *request,
	       struct key_sign_outcome outcome[KEY_ITEMS_MAX]);
/* The end of a stream: rate, record, signature. The item has no content. */
void keyd_sign_crl(struct scope *s, struct keyd *d, const struct key_sign_item *item, struct keyd_key *k,
		   const struct keyd_found *found, span digest, struct key_sign_outcome *out);
/* With a founding document: E_DENIED unless an operation ca.certify that was carried out allows this one certificate, which uses it up. */
st keyd_take_permit(struct scope *s, struct keyd *d, const struct keyd_key *k, const struct keyd_found *found);
st keyd_check_rate(struct scope *s, struct keyd_key *k);
/* Count a refusal and put it on record, not more than some a second. */
bool keyd_is_refusal(enum code code); /* and not a failure of ours */
void keyd_refused(struct scope *s, struct keyd *d, const char *label, enum key_purpose purpose, st status);
/* The same for what is no signature: "generate", "change". */
void keyd_refused_to(struct scope *s, struct keyd *d, const char *label, const char *what, st status);

st keyd_ocsp_load(struct scope *s, struct keyd *d, struct keyd_key *k);
/* Into count and chain, before the module sees the digest. */
st keyd_ocsp_count(struct scope *s, struct keyd *d, struct keyd_key *k, span digest);
/* A record of what was counted since the last one. */
st keyd_ocsp_record(struct scope *s, struct keyd *d, struct keyd_key *k);
/* Everything is on record: the next start finds no gap. */
void keyd_ocsp_close(struct scope *s, struct keyd *d, struct keyd_key *k);

st keyd_log_head(struct scope *s, struct keyd *d, const char *label, uint64_t *out_size, uint8_t out_root[32]);
st keyd_sign_checkpoint(struct scope *s, struct keyd *d, uid_t uid, const struct key_checkpoint_request *request,
			span *out_payload);

/* ---- records that nobody waits for ---- */
struct keyd_recorder *keyd_recorder_start(struct keyd *d);
/* Takes the finished event over; a full queue drops it and says so in the log. */
void keyd_recorder_put(struct keyd_recorder *r, struct audit_event *event);
/* Ends the threads and records the stop; what auditd is not there to take is kept for the next start. */
void keyd_recorder_stop(struct keyd_recorder *r);
/* ---- keyd_left ---- */
st keyd_left_keep(struct scope *s, struct keyd *d, const struct audit_event *event, size_t count);
/* Has on record what earlier runs left; nothing when they left nothing. */
st keyd_left_offer(struct scope *s, struct keyd *d);

/* ---- keyd_metrics ---- */
/* The page, to be ended and freed by who asked. */
void keyd_metrics(struct scope *s, struct keyd *d, struct metrics_page *page);

extern const struct wire_service keyd_service;
int keyd_probe(const void *conf, int argc, char **argv);
/* "head LABEL" and "forget-head LABEL": for who restores a log that has lost records (`chancery restore`). */
int keyd_head(const void *conf, int argc, char **argv);
int keyd_forget_head(const void *conf, int argc, char **argv);
