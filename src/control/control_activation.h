/*
 * control_activation.h - the three texts by which key custodians give a keyd the activation data of a key group. All of them are files:
 * who carries them learns nothing and can change nothing unnoticed.
 *
 * keyd says, signed with its identity key, to which key shares go for one proposal, the activation statement:
 *
 *   chancery activation 1
 *   instance: keyd/ca
 *   nonce: 32 hexadecimal digits     of the proposal
 *   proposal: 64 hexadecimal digits  its SHA-256
 *   group: issuing
 *   key: SubjectPublicKeyInfo, base64, P-256: made for this statement, in keyd's locked memory only
 *   expires: 2026-11-26T18:30:00.000000Z
 *
 *   signature: BASE64                behind a blank line; as X.509 carries it
 *
 * A custodian's share as it was made with the group, sealed to the custodian's token with the context control_share_context:
 *
 *   chancery share 1
 *   group: issuing
 *   person: p4
 *   index: 1
 *   threshold: 2
 *   commitment: 64 hexadecimal digits control_share_commitment with the same context
 *   key: 64 hexadecimal digits        SHA-256 of the share key of the custodian's token; this line and the next are left out in shares
 *   proposal: 64 hexadecimal digits   that were made before custodians could be exchanged. SHA-256 of what made it: group.create, group.reshare
 *   sealed: BASE64                    control_share_write, sealed
 *
 * The same share, opened by the custodian's token and sealed to the statement's key with the context control_opened_share_context:
 *
 *   chancery opened-share 1
 *   instance: keyd/ca
 *   proposal: 64 hexadecimal digits
 *   group: issuing
 *   person: p4
 *   index: 1
 *   sealed: BASE64                    control_share_write, sealed
 *
 * What the custodian hands in is one file: that text, a blank line, and the line "approval: PERSON ROLE TIME BASE64" of the operation.
 */
#pragma once
#include "control_register.h"
#include "control_share.h"

/* A statement is good for so long at most: what is sealed to it must be of no use to who takes keyd's memory later. */
#define CONTROL_STATEMENT_LIFE    (4 * INT64_C(3600000000))
#define CONTROL_STATEMENT_MAX     4096
#define CONTROL_SHARE_FILE_MAX    4096
#define CONTROL_SHARE_CONTEXT_MAX 1024

/* ---- the activation statement ---- */
struct control_statement {
	span instance;
	uint8_t nonce[CONTROL_NONCE_LEN];
	uint8_t proposal[CONTROL_HASH_LEN];
	span group;
	span key; /* SubjectPublicKeyInfo */
	int64_t expires;
	span text;      /* what is signed; made when read or verified, not written */
	span signature; /* ECDSA as X.509 carries it, over the text */
};
/* The bytes that the instance's identity key signs. */
st control_statement_text(struct scope *s, const struct control_statement *m, struct buf *out);
/* With the signature behind it: the file. */
st control_statement_write(struct scope *s, const struct control_statement *m, struct buf *out);
/* Reads the form, and checks that the key is a point of P-256; says nothing of who signed it. Spans point into the file or the scope. */
st control_statement_read(struct scope *s, span file, struct control_statement *out);
/* Is it what the instance of this proposal says of this proposal, now? E_CRYPTO: not signed with the key that the register has for that
 * instance; E_DENIED: of another proposal, group or instance, or the instance is unknown or retired; E_STATE: expired. */
st control_statement_verify(struct scope *s, const struct control_register *r, const struct control_statement *m,
			    const struct control_proposal *p, int64_t at);

/* ---- a share, sealed to its custodian ---- */
struct control_sealed_share {
	span group, person;
	unsigned index, threshold;
	uint8_t commitment[CONTROL_COMMITMENT];
	bool bound; /* it says to which key it is sealed, and which proposal made it */
	uint8_t key[CONTROL_HASH_LEN], proposal[CONTROL_HASH_LEN];
	span sealed;
};
st control_sealed_share_write(struct scope *s, const struct control_sealed_share *h, struct buf *out);
st control_sealed_share_read(struct scope *s, span file, struct control_sealed_share *out);
/* Group, person, index and threshold, as lines of text: for sealing and for the commitment (the other members are not looked at). */
st control_share_context(struct scope *s, const struct control_sealed_share *h, struct buf *out);

/* ---- a share, sealed to the statement's key ---- */
struct control_opened_share {
	span instance;
	uint8_t proposal[CONTROL_HASH_LEN];
	span group, person;
	unsigned index;
	span sealed;
};
/* The text alone: what keyd takes. */
st control_opened_share_write(struct scope *s, const struct control_opened_share *h, struct buf *out);
st control_opened_share_read(struct scope *s, span text, struct control_opened_share *out);
/* All but `sealed`. */
st control_opened_share_context(struct scope *s, const struct control_opened_share *h, struct buf *out);
/* The custodian's file: the text and the approval as key-custodian of the same person. `out_text` is the text alone. */
st control_custodian_file_write(struct scope *s, const struct control_opened_share *h, const struct control_approval *a,
				struct buf *out);
st control_custodian_file_read(struct scope *s, span file, struct control_opened_share *out,
			       struct control_approval *out_approval, span *out_text);
