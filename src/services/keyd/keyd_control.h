/*
 * keyd_control.h - operations with quorum inside keyd: what it knows of the register of persons, what it keeps between them, and how
 * an operation goes from its approvals to its effect. docs/dev/operations.md has the messages.
 *
 * keyd takes the register from the log, where nobody can withhold an entry, and verifies every entry itself from the founding document
 * on, whose hash stands in its configuration. Its own part is STATE/control, signed with its identity key: the number of its last
 * operation and the log as it was then. A log that does not continue that one, and a state that is behind the log (put back from
 * a copy), end all operations until people have looked.
 */
#pragma once
#include "control_activation.h"
#include "keyd.h"

#define KEYD_NONCES_MAX 64
#define KEYD_NONCE_LIFE (24 * INT64_C(3600000000))

struct keyd_nonce {
	uint8_t octets[CONTROL_NONCE_LEN];
	int64_t expires; /* 0: free */
};

/* What is kept between two runs. */
struct keyd_control_state {
	uint64_t sequence;   /* of the last operation that was carried out, or about to be */
	uint64_t recorded;   /* of the last one that is known to be on record */
	uint64_t signatures; /* that the identity key made for all this */
	struct control_seen seen;
	uint64_t log_size; /* a checkpoint of the log, 0: none seen yet */
	uint8_t log_root[CONTROL_HASH_LEN];
};

/* An operation that is open: shares may come for it. */
struct keyd_opened {
	bool open;
	uint8_t proposal[CONTROL_HASH_LEN];
	int64_t expires;
	struct buf scalar; /* of the key that shares are sealed to, in a locked page */
	struct buf spki;
};

/* What ca.certify allows: one certificate of a certificate authority. */
#define KEYD_PERMITS_MAX 16
#define KEYD_PERMIT_LIFE (15 * INT64_C(60000000))
struct keyd_permit {
	int64_t expires; /* 0: free */
	char key[KEY_LABEL_MAX + 1];
	char subject[1025];
	uint8_t spki[CONTROL_HASH_LEN];
	int64_t not_after;
};

/* An operation group.reshare that is on record; `done`: so is that the token has the new PIN. */
struct keyd_reshare {
	char group[KEY_LABEL_MAX + 1], instance[CONTROL_ID_MAX + 1];
	uint8_t proposal[CONTROL_HASH_LEN];
	bool here; /* carried out by this instance */
	bool done;
};

/* An operation that stands in the log before the entries of the register that it speaks of: journals of the founding come in one by one. */
#define KEYD_LATE_MAX 1024
struct keyd_late {
	uint8_t *leaf;
	size_t len;
	uint64_t index;
};

/* Records that name this instance as who carried something out, and that it did not sign: so many, of which no operation.forged says yet. */
struct keyd_forged {
	uint64_t records, first, last;
	char why[SCOPE_MESSAGE_MAX]; /* of the last */
};

struct keyd_control {
	pthread_mutex_t lock; /* one operation after the other */
	const char *instance;
	struct control_register *persons;
	uint64_t read; /* records of class control, so far */
	bool sound;    /* state and log were compared */
	struct keyd_control_state state;
	uint64_t seen; /* highest sequence of an operation in the log that this instance signed */
	struct keyd_forged forged;
	struct keyd_nonce nonce[KEYD_NONCES_MAX];
	struct keyd_opened opened;
	struct keyd_reshare *reshare; /* in the order of the log */
	size_t reshares;
	struct keyd_late *late; /* in the order of the log, judged when the register has come so far */
	size_t lates;
	int64_t looked;             /* monotonic, by the thread that watches */
	pthread_mutex_t permitting; /* of the permits: signing does not wait for operations */
	struct keyd_permit permit[KEYD_PERMITS_MAX];
};

/* Founding document and hash of it; d->control stays NULL when the configuration has none. */
st keyd_control_start(struct scope *s, struct keyd *d);
void keyd_control_stop(struct keyd *d);
/* With the lock held: reads what is new in the log, and at first compares state and log. E_STATE: no operations, and why. */
st keyd_control_follow(struct scope *s, struct keyd *d);
/* The same at the start, so that whoever looks is told before somebody proposes: in the log, and as the reason why groups are locked. What
 * failed here is tried again with each operation. */
void keyd_control_look(struct keyd *d);
/* Once a minute, when no operation is under way: the register as it is now, so that the status knows who is still key custodian. */
void keyd_control_watch(struct keyd *d);

/* ---- keyd_control_state.c ---- */
/* `out_found` false: there is none, this keyd has carried out nothing yet. E_CRYPTO when its signature is not this keyd's. */
st keyd_control_load(struct scope *s, struct keyd *d, struct keyd_control_state *out, bool *out_found);
/* Durable when it returns; counts its own signature. */
st keyd_control_keep(struct scope *s, struct keyd *d, struct keyd_control_state *state);
/* With the identity key of this keyd, which is not a key that a peer can have used. */
st keyd_identity_sign(struct scope *s, struct keyd *d, span text, span *out_signature);
/* "rebuild-control": while keyd is stopped; the next start takes the sequence from the log. */
int keyd_rebuild_control(const void *conf, int argc, char **argv);
bool keyd_control_rebuilding(struct scope *s, const struct keyd *d);
void keyd_control_rebuilt(struct scope *s, const struct keyd *d);

/* ---- keyd_operation.c ---- */
void keyd_forget_opened(struct keyd_opened *opened);
st keyd_challenge(struct scope *s, struct keyd *d, struct key_challenge *out);
st keyd_open_operation(struct scope *s, struct keyd *d, span file, struct key_opening *out);
st keyd_execute(struct scope *s, struct keyd *d, const struct key_execution *request, const char **out_words);

/* An operation under way: what its effect works on. */
struct keyd_work {
	struct keyd *d;
	const struct control_signed *operation;
	const struct key_execution *request;
	struct buf secret;   /* locked in memory, wiped: a PIN */
	bool opened_is_used; /* what was opened is over with this operation */
	int64_t at;
};
/* One row per operation: everything that can be refused is refused in `prepare`, before anything is on record. */
struct keyd_effect {
	const char *operation;
	st (*prepare)(struct scope *s, struct keyd_work *w);
	st (*carry_out)(struct scope *s, struct keyd_work *w);
};
/* E_DENIED when the decision that it cites was not taken. */
st keyd_require_decision(struct scope *s, const struct keyd_work *w);
/* Notes whether a key of this zone is described as this key.generate of the log says; an operation for a key that is not here is passed over.
 * `here`: of this instance. One of another counts for keys of groups, which several keyds may share, and only while there is none of this one. */
st keyd_compare_generated(struct scope *s, struct keyd *d, const struct control_proposal *p, bool here);
extern const struct keyd_effect keyd_effects[];
extern const size_t keyd_effect_count;

/* ---- keyd_permit.c ---- */
st keyd_prepare_certify(struct scope *s, struct keyd_work *w);
st keyd_carry_out_certify(struct scope *s, struct keyd_work *w);

/* ---- keyd_group.c: key groups whose PIN nobody has ---- */
/* Every group that was created here, as a locked token. */
st keyd_load_groups(struct scope *s, struct keyd *d);
/* Is it a key group of this keyd that custodians activate? */
bool keyd_has_group(struct scope *s, const struct keyd *d, const char *group);
/* The sealed shares of a group, each as the text of its file. */
st keyd_group_shares(struct scope *s, struct keyd *d, const char *group, span share[KEY_SHARES_MAX], size_t *out_count);
st keyd_prepare_create(struct scope *s, struct keyd_work *w);
st keyd_carry_out_create(struct scope *s, struct keyd_work *w);
/* With an old management CRL: E_DENIED unless this group is where the management CA's key is. */
st keyd_check_old_crl(struct scope *s, struct keyd *d, const struct control_proposal *p);
st keyd_prepare_activate(struct scope *s, struct keyd_work *w);
st keyd_carry_out_activate(struct scope *s, struct keyd_work *w);
st keyd_prepare_deactivate(struct scope *s, struct keyd_work *w);
st keyd_carry_out_deactivate(struct scope *s, struct keyd_work *w);
st keyd_prepare_reactivate(struct scope *s, struct keyd_work *w);
st keyd_carry_out_reactivate(struct scope *s, struct keyd_work *w);
/* ---- keyd_reshare.c: the custodians of an active group are exchanged ---- */
st keyd_prepare_reshare(struct scope *s, struct keyd_work *w);
st keyd_carry_out_reshare(struct scope *s, struct keyd_work *w);
/* Unlocks with what the shares came out of, and finishes an exchange that was interrupted. */
st keyd_open_group(struct scope *s, struct keyd *d, const char *group, span secret);
/* From the log: the operation, approved, and that it was done. */
st keyd_note_reshare(struct scope *s, struct keyd *d, const struct control_proposal *p, bool here);
st keyd_note_reshared(struct scope *s, struct keyd *d, span proposal);
/* E_STATE: another keyd exchanged them, and the files here are of before. */
st keyd_require_current_shares(struct scope *s, struct keyd *d, const char *group);
/* For the status: groups with no more custodians than are needed. */
void keyd_look_at_custodians(struct keyd *d);
/* Groups that come up by themselves and were deactivated stay so over a restart: those of STATE/deactivated. */
st keyd_hold_deactivated(struct scope *s, struct keyd *d);
/* Room for a secret that is never swapped and in no dump. */
st keyd_secret_room(struct scope *s, struct buf *b);
void keyd_secret_wipe(struct buf *b);
