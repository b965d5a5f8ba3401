/*
 * audit_note.h - signed notes and checkpoints: what a log's signature is put on (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), and
 * the signature of who has seen that a log only grew (c2sp.org/tlog-cosignature).
 */
#pragma once
#include "audit_tree.h"
#include "buf.h"

#define AUDIT_NOTE_MAX            65536
#define AUDIT_ORIGIN_MAX          127
#define AUDIT_NOTE_SIGNATURES_MAX 32 /* at least 16 must be accepted */

/* A public key that signs notes, with its name: "NAME+8 hex digits+base64(type octet, key)". */
enum audit_key_type { AUDIT_KEY_ED25519 = 1, AUDIT_KEY_ECDSA = 2, AUDIT_KEY_COSIGNER = 4 };
struct audit_key {
	span name;
	uint8_t id[4];
	enum audit_key_type type;
	uint64_t until; /* of a key that was rolled over: it signs checkpoints of at most so many leaves; 0: of any size */
	span key;       /* Ed25519 and cosigners, who have no other: 32 octets; ECDSA: SubjectPublicKeyInfo */
};
/* May this be a key name or an origin? E_INPUT says what one looks like. */
st audit_name_check(struct scope *s, span name);
/* From a SubjectPublicKeyInfo: Ed25519, or ECDSA on P-256, P-384 or P-521. E_CRYPTO for any other. */
st audit_key_of_spki(struct scope *s, const char *name, span spki, struct audit_key *out);
/* The same for a cosigner: Ed25519 only. */
st audit_cosigner_of_spki(struct scope *s, const char *name, span spki, struct audit_key *out);
st audit_key_parse(struct scope *s, span text, struct audit_key *out);
/* The keys of a log's verifier file: a line each, the newest first, "KEY" or "KEY until LEAVES". */
#define AUDIT_KEYS_MAX 16
st audit_keys_parse(struct scope *s, span text, struct audit_key out[AUDIT_KEYS_MAX], size_t *out_count);
char *audit_key_text(struct scope *s, const struct audit_key *key);
/* SHA-256 of that text, in hexadecimal: for people who compare. The id has 32 bits only, and a forger finds a second key with the same. */
char *audit_key_digest(struct scope *s, const struct audit_key *key);

struct audit_note {
	span text;       /* with its final newline: what is signed */
	span signatures; /* the lines behind the blank one */
};
st audit_note_read(struct scope *s, span note, struct audit_note *out);
/* OK when at least one key of the list signed it. Signatures of unknown keys are passed over, a wrong one of a known key refuses
 * the note: E_CRYPTO. */
st audit_note_verify(struct scope *s, const struct audit_note *note, const struct audit_key *key, size_t count);
/* The signature line for a payload of key id and signature, with its newline. */
char *audit_note_signature_line(struct scope *s, const char *name, span payload);

/* What a cosigner signs at this time, in seconds since 1970; the payload of its line is key id, the time in 8 octets, signature. */
char *audit_cosigned_text(struct scope *s, uint64_t seconds, span note_text);

struct audit_checkpoint {
	char origin[AUDIT_ORIGIN_MAX + 1];
	uint64_t size;
	struct audit_hash root;
};
/* The text that is signed, with its final newline. */
char *audit_checkpoint_text(struct scope *s, const struct audit_checkpoint *c);
/* Reads the three lines of a note's text; extension lines are passed over. */
st audit_checkpoint_read(struct scope *s, span text, struct audit_checkpoint *out);
/* Reads and verifies a whole signed checkpoint: by a key that may sign one of its size. */
st audit_checkpoint_open(struct scope *s, span note, const struct audit_key *key, size_t count, struct audit_checkpoint *out);
