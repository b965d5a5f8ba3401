/*
 * stamp.h - time-stamps (RFC 3161) over checkpoints of the log: what proves when a record was there to somebody who trusts neither
 * the log's key nor its host. They are files beside the log, so that they can be published and checked with `openssl ts -verify` alone.
 *
 *   DIR/stamp/000/000/000/000/000/001/234.checkpoint   the signed note that was stamped, of 1234 leaves
 *   DIR/stamp/000/000/000/000/000/001/234.token        the token (ContentInfo, DER) over SHA-256 of that file
 *
 * Both formats carry their version themselves. A token whose checkpoint is not there was cut off by a crash, and is no stamp.
 */
#pragma once
#include "audit_log.h"

/* One token, with the certificates in it. */
#define STAMP_TOKEN_MAX ((size_t)65536)

/* ---- tokens ---- */

/* Certificates that the chain of a token's signer may end at. One user at a time: it remembers the signer verified last. */
struct stamp_trust;
/* A PEM file with 1 to 16 certificates, or one in DER. */
st stamp_trust_open(struct scope *s, const char *path, struct stamp_trust **out);
void stamp_trust_close(struct stamp_trust *t);

/* What a TSA is asked over HTTP (rfc3161#3.4): SHA-256 of the note, the signer's certificate wanted. `nonce`: INTEGER content octets. */
st stamp_request(struct scope *s, span note, span nonce, span *out_query);
/* Its answer, verified as by stamp_verify() and against the nonce; the token alone comes out. E_UNAVAILABLE when the TSA refuses, in its
 * own words; E_CRYPTO or E_INPUT when what came is no token for this question. */
st stamp_answer(struct scope *s, struct stamp_trust *t, span note, span nonce, span answer, span *out_token,
		int64_t *out_gen_time);
/* Imprint, signature, ESSCertIDv2, a signer for time-stamping alone, and its chain to an anchor as of genTime: E_CRYPTO says which does
 * not hold. Whether a certificate of the chain was revoked is not part of it: stamp_standing(). */
st stamp_verify(struct scope *s, struct stamp_trust *t, span note, span token, int64_t *out_gen_time);
/* Is this TSTInfo one about this note? */
bool stamp_is_about(struct scope *s, span tst_info, span note);

/* ---- was a certificate of the signer revoked? ---- */

/* Complete CRLs, DER or PEM with several, before the first token is verified. Whose they are is seen when a chain needs them. */
st stamp_trust_add_crls(struct scope *s, struct stamp_trust *t, const char *path);
enum stamp_state {
	STAMP_GOOD, /* no certificate below the anchor was revoked then, by a CRL of its issuer that was valid then or is newer */
	STAMP_UNKNOWN, /* the CRLs that are here do not say */
	STAMP_VOID,    /* revoked later, for a reason that leaves no token of that key worth anything (rfc3161#4) */
	STAMP_REVOKED  /* revoked before the token was made */
};
struct stamp_standing {
	enum stamp_state state;
	int64_t as_of;   /* thisUpdate of the oldest CRL that this rests on */
	char words[320]; /* why it is not good */
};
/* Of the token that stamp_verify() verified last. */
void stamp_standing(const struct stamp_trust *t, int64_t gen_time, struct stamp_standing *out);
/* Is this CRL by an issuer of one of the certificates in the token? */
bool stamp_crl_concerns(struct scope *s, span token, span crl);

/* ---- files ---- */

/* Both files durable; nothing is overwritten: E_CONFLICT when this size has its stamp. */
st stamp_put(struct scope *s, const char *dir, uint64_t size, span note, span token);
st stamp_read(struct scope *s, const char *dir, uint64_t size, span *out_note, span *out_token);
/* Size of the newest; E_NOTFOUND when there is none. */
st stamp_newest(struct scope *s, const char *dir, uint64_t *out_size);
/* Sizes of all that are over `after`, from the smallest on, in constant memory. */
typedef st (*stamp_each)(struct scope *s, void *state, uint64_t size);
st stamp_walk(struct scope *s, const char *dir, uint64_t after, stamp_each each, void *state);
/* Remove those of more than `size` leaves: a copy of a log that grows gets a stamp of what it does not hold. */
st stamp_remove_above(struct scope *s, const char *dir, uint64_t size);

/* ---- all stamps of a log ---- */

/* Is this note a checkpoint of `size` leaves, signed by a key of the log, and of the tree that the log's tiles have? They must have that
 * many. E_CRYPTO when not. */
st stamp_note_check(struct scope *s, struct audit_log *log, const struct audit_key *key, size_t key_count, uint64_t size,
		    span note);

struct stamp_check {
	const char *dir;
	const struct audit_key *key;
	size_t key_count;
	struct stamp_trust *trust; /* NULL: they are counted only */
	uint64_t size;             /* leaves whose tiles were verified (audit_verify): stamps are held to them */
	uint64_t last;             /* the newest stamp when that began; later ones of a log that grows are passed over */
};
struct stamp_report {
	uint64_t found, verified;
	uint64_t unrevoked;    /* of those verified: no certificate of the signer was revoked, by CRLs that are here */
	int64_t as_of;         /* thisUpdate of the oldest CRL that says so */
	uint64_t unknown;      /* of those verified: the CRLs do not say; the first of them was made at */
	int64_t unknown_since; /* this time */
	char unknown_why[320]; /* because */
	uint64_t voided; /* of a key that was revoked later in such a way that they prove nothing: not among those verified */
	char void_why[320];
	uint64_t newest; /* leaves under the newest that was verified */
	int64_t gen_time;
	char problem[SCOPE_MESSAGE_MAX + 64]; /* empty: none is wrong */
};
/* Each is a checkpoint of this very log under a good token. Fails only when it cannot be done. */
st stamp_check_log(struct scope *s, const struct stamp_check *request, struct stamp_report *out);
