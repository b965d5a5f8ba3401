/*
 * hsm.h - PKCS#11: modules, tokens, sessions and keys. The only code that loads a library at run time.
 *
 * A token is logged in to once and for all its sessions, so whoever may use one of its keys may use all: keys that must be
 * apart lie on tokens of their own. A token that goes away is opened and logged in to again when it returns.
 */
#pragma once
#include "alg.h"

/* ---- a module ---- */
struct hsm;
struct hsm_settings {
	const char *module;         /* path of the PKCS#11 library */
	const char *init_args;      /* CK_C_INITIALIZE_ARGS.pReserved for modules that need it, or NULL */
	const char *sync_directory; /* synced after every change of a token: SoftHSM never does it itself; or NULL */
};
/* Before hsm_load, by who alone changes these tokens: where the process before was killed while it set another PIN the file of a token may be
 * cut short (SoftHSM); it is put back. `directory` is the sync_directory, or NULL. */
st hsm_mend_tokens(struct scope *s, const char *directory);
/* One module a process; its own threads and locks are allowed. */
st hsm_load(struct scope *s, const struct hsm_settings *settings, struct hsm **out);
void hsm_unload(struct hsm *h);
/* "Vendor: description 2.6, PKCS#11 2.40" */
const char *hsm_description(const struct hsm *h);

struct hsm_token_info {
	char label[33];
	char manufacturer[33];
	char model[17];
	char serial[17];
	char hardware[8], firmware[8]; /* versions, "2.6" */
	bool initialised;
};
/* Every slot with a token in it, initialised or not. */
st hsm_tokens(struct scope *s, struct hsm *h, struct hsm_token_info **out, size_t *out_count);
/* Initialise a free token: label, officer's PIN, user's PIN. E_CONFLICT when the label is taken, E_UNAVAILABLE without a
 * free one. Durable when it returns. */
st hsm_token_create(struct scope *s, struct hsm *h, const char *label, span pin, span officer_pin);

/* ---- a token in use ---- */
struct hsm_token;
/* Keeps the PIN in locked memory that no dump shows. Does not need the token to be there yet. With an empty PIN the token is locked. */
st hsm_token_new(struct scope *s, struct hsm *h, const char *label, span pin, struct hsm_token **out);
void hsm_token_free(struct hsm_token *t);
/* Locked: signatures under way end (they are waited for, 10 s at most), all sessions are logged out and closed, the PIN is wiped. Keys found
 * before stay known and fail with E_STATE. Locking what is locked is fine. */
void hsm_token_lock(struct hsm_token *t);
/* The same for a token that comes up by itself: its PIN stays where it is, and nothing is done with the token until it is released. */
void hsm_token_hold(struct hsm_token *t);
st hsm_token_release(struct scope *s, struct hsm_token *t);
/* E_CONFLICT when it is not locked; E_DENIED when the PIN is refused: then it is locked as before. */
st hsm_token_unlock(struct scope *s, struct hsm_token *t, span pin);
/* Sets another PIN (C_SetPIN): durable when it returns, and from then on the one that is here. Who signs waits for so long. E_STATE: it is
 * locked, so that there is no PIN to set it with. After another failure the token has the one or the other: E_IO when it was set and is perhaps
 * not durable. */
st hsm_token_set_pin(struct scope *s, struct hsm_token *t, span pin);
/* The PIN that is here, appended to what the caller keeps in locked memory and wipes. E_STATE: locked. */
st hsm_token_pin(struct scope *s, struct hsm_token *t, struct buf *out);
const char *hsm_token_label(const struct hsm_token *t);
/* There and logged in to, now; opens it when it was not. E_UNAVAILABLE when it is not there (tried at most once a second),
 * E_DENIED when its PIN was refused (never tried twice with the same PIN: tokens lock). */
st hsm_token_ready(struct scope *s, struct hsm_token *t);

/* ---- keys ---- */
struct hsm_key;
enum hsm_backup { HSM_BACKUP_NONE, HSM_BACKUP_WRAPPED };

/* What the module said of a new key's attributes. */
struct hsm_report {
	const char *attributes; /* "TOKEN=1 PRIVATE=1 ...", as read back */
	const char *missing;    /* names the module does not provide, comma separated; empty when all are */
};
/* Generate on the token, read the attributes back, sign and verify once; durable when it returns. A key that is not
 * as requirements 7.1 want it is destroyed and refused (E_CRYPTO). E_CONFLICT when the label is taken. */
st hsm_generate(struct scope *s, struct hsm_token *t, const char *label, const struct alg_key *type, enum hsm_backup backup,
		struct hsm_report *out_report, struct hsm_key **out);
/* The same, with what the token is to say of the key. */
struct hsm_wanted {
	const char *label;
	const struct alg_key *type;
	enum hsm_backup backup;
	span id;              /* CKA_ID, by which it can be found again when the end comes in between; empty: a random one */
	int64_t starts, ends; /* CKA_START_DATE and CKA_END_DATE are the days of these moments (UTC); 0: none */
};
st hsm_generate_as(struct scope *s, struct hsm_token *t, const struct hsm_wanted *wanted, struct hsm_report *out_report,
		   struct hsm_key **out);
/* The same for a key of P-256 that agrees on secrets (hsm_derive) and does nothing else: DERIVE without SIGN, without backup. */
st hsm_generate_derive(struct scope *s, struct hsm_token *t, const char *label, struct hsm_report *out_report,
		       struct hsm_key **out);
/* The private key with this label; E_NOTFOUND, or E_CONFLICT when there are several. */
st hsm_find(struct scope *s, struct hsm_token *t, const char *label, struct hsm_key **out);
void hsm_key_free(struct hsm_key *k);
/* Remove both halves from the token. */
st hsm_destroy(struct scope *s, struct hsm_key *k);
/* The labels of all private keys of the token; what is no printable ASCII in them is shown as '?'. */
st hsm_private_labels(struct scope *s, struct hsm_token *t, char ***out, size_t *out_count);
/* How many halves have this label and this CKA_ID: what a generation that did not end has left. */
st hsm_count(struct scope *s, struct hsm_token *t, const char *label, span id, size_t *out_count);
/* Removes them. */
st hsm_clear(struct scope *s, struct hsm_token *t, const char *label, span id);
const struct alg_key *hsm_key_type(const struct hsm_key *k);
span hsm_key_spki(const struct hsm_key *k); /* whole SubjectPublicKeyInfo, lives as long as the key */
span hsm_key_id(const struct hsm_key *k);   /* CKA_ID */

/* Sign a digest made with algorithm->digest, or the message itself when that is DIGEST_NONE. The value is as X.509 carries
 * it. E_CRYPTO: algorithm and key do not fit; E_UNAVAILABLE: no token. Any number of threads at once. */
st hsm_sign(struct scope *s, struct hsm_key *k, const struct alg_signature *algorithm, span digest, span *out_signature);
/* ECDH with a peer's uncompressed point: the x coordinate of the shared point, as many octets as a coordinate has
 * (CKM_ECDH1_DERIVE, CKD_NULL). It goes from the module to `out` and nowhere else; who calls wipes it. The point must have been proved
 * to lie on the curve. E_CRYPTO: no key for this, or the module gave something else; E_UNAVAILABLE: no token. */
st hsm_derive(struct scope *s, struct hsm_key *k, span peer_point, uint8_t *out);
/* The value verifies under the key, decided in this process and not by the module. E_CRYPTO when not. */
st hsm_verify(struct scope *s, span spki, const struct alg_signature *algorithm, span digest, span signature);

/* ---- what can it do for us ---- */
enum hsm_finding { HSM_PROVIDED, HSM_MISSING, HSM_UNKNOWN };
struct hsm_probe_row {
	const char *kind; /* "mechanism", "attribute", "token" */
	const char *name;
	enum hsm_finding finding;
	const char *note; /* what it is for, or what its absence costs */
};
/* Reads only, unless the token is given: then throw-away session keys are made to see which attributes hold. */
st hsm_probe(struct scope *s, struct hsm *h, const char *label, struct hsm_token *t, struct hsm_probe_row **out,
	     size_t *out_count);
