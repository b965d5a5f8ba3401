/*
 * control_operation.h - the one table of critical operations: who approves each of them, who carries it out, how long a proposal
 * lives, what it says; and the proposal itself, the canonical bytes that people approve.
 *
 *   chancery proposal 1
 *   operation: role.grant
 *   instance: register               who carries it out, and nobody else
 *   nonce: 32 hexadecimal digits     made by that instance, good once
 *   register: 17 64 hex. digits      entries and head of the register of persons that the proposer saw
 *   management-crl: 5 64 hex. digits number and SHA-256 of the management CA's CRL, or "none" while there is no management CA
 *   proposed-by: p3
 *   proposed: 2026-11-26T18:00:00.000000Z
 *   expires: 2026-11-27T18:00:00.000000Z
 *   ... the parameters of the operation, in the order of its row
 */
#pragma once
#include "control_role.h"
#include "control_text.h"

#define CONTROL_ID_MAX        64
#define CONTROL_SEATS_MAX     3
#define CONTROL_PARAMETERS    16 /* names in a row */
#define CONTROL_VALUES_MAX    64 /* lines of parameters in a proposal */
#define CONTROL_NONCE_LEN     16
#define CONTROL_HASH_LEN      32
#define CONTROL_APPROVALS_MAX 32

enum control_executor { CONTROL_BY_REGISTER, CONTROL_BY_KEYD, CONTROL_BY_CA, CONTROL_EXECUTOR_COUNT };
const char *control_executor_text(enum control_executor executor);

/* So many distinct persons, each of whom holds one of these roles. Count 0: the quorum that the authority has set itself. */
struct control_seat {
	unsigned count;
	uint32_t roles;
};
enum control_type {
	CONTROL_TYPE_ID,        /* a name of ours: lower-case letters, digits, '.', '-', '/' */
	CONTROL_TYPE_ROLE,      /* name of a role that can be granted */
	CONTROL_TYPE_TEXT,      /* words for people */
	CONTROL_TYPE_MOMENT,    /* a time */
	CONTROL_TYPE_NUMBER,    /* 0 to 2^32 - 1 */
	CONTROL_TYPE_DIGEST,    /* SHA-256, 64 hexadecimal digits */
	CONTROL_TYPE_SERIAL,    /* hexadecimal, an even number of digits, at most 40 */
	CONTROL_TYPE_KEY,       /* SubjectPublicKeyInfo, base64: P-256 or P-384 */
	CONTROL_TYPE_SHARE_KEY, /* SubjectPublicKeyInfo, base64: P-256, for ECDH */
	CONTROL_TYPE_OCTETS,    /* base64 */
	CONTROL_TYPE_CRL,       /* CertificateList, base64 */
	CONTROL_TYPE_RECORDS,   /* numbers of records of the log (control_records.h) */
	CONTROL_TYPE_COUNT
};
enum control_presence { CONTROL_ONCE, CONTROL_OPTIONAL, CONTROL_REPEATED };
struct control_parameter {
	const char *name;
	enum control_type type;
	enum control_presence presence;
};
struct control_operation {
	const char *name;
	enum control_executor executor;
	int64_t life;      /* longest, from proposed to expires */
	const char *words; /* what is approved, in words: {name} stands for the parameter */
	struct control_seat seat[CONTROL_SEATS_MAX];
	/* One more seat, which is filled when the management CA's CRL is older than 24 hours. Count 0: refused with such a CRL. */
	struct control_seat late;
	struct control_parameter parameter[CONTROL_PARAMETERS];
	bool not_by_subject; /* who is the parameter "person" approves nothing of it */
	const char *clause;  /* where it comes from */
};
const struct control_operation *control_operation_named(span name); /* NULL when there is none */
const struct control_operation *control_operation_at(size_t i);     /* NULL behind the last: to list them */
/* The page of the reference manual that lists the rows. */
void control_operation_reference(struct buf *out);

/* ---- a proposal ---- */
struct control_value {
	const struct control_parameter *parameter;
	span text;
};
struct control_proposal {
	span text; /* the canonical bytes */
	uint8_t hash[CONTROL_HASH_LEN];
	const struct control_operation *operation;
	span instance;
	uint8_t nonce[CONTROL_NONCE_LEN];
	uint64_t entries; /* of the register */
	uint8_t head[CONTROL_HASH_LEN];
	bool has_crl;
	uint64_t crl_number;
	uint8_t crl_hash[CONTROL_HASH_LEN];
	span proposed_by;
	int64_t proposed, expires;
	struct control_value value[CONTROL_VALUES_MAX];
	size_t count;
};
/* Reads and checks every line: names, order, types, life. Spans point into `text`. E_INPUT says which line is wrong. */
st control_proposal_read(struct scope *s, span text, struct control_proposal *out);
/* Writes the canonical bytes of `p` (text and hash are made, the rest is read) and reads them back: what comes out can be approved. */
st control_proposal_write(struct scope *s, const struct control_proposal *p, struct buf *out);
/* Adds a parameter in the order of the row: E_INPUT when the operation has none of this name. */
st control_proposal_add(struct scope *s, struct control_proposal *p, const char *name, span value);
/* A parameter's value; empty when it was left out. `nth` counts from 0 those that are repeated. */
span control_parameter(const struct control_proposal *p, const char *name, size_t nth);
/* The same as octets, for the types that are written in base64 or hexadecimal. */
span control_parameter_octets(struct scope *s, const struct control_proposal *p, const char *name);
int64_t control_parameter_moment(const struct control_proposal *p, const char *name); /* 0: left out */
uint64_t control_parameter_number(const struct control_proposal *p, const char *name, uint64_t left_out);
/* What it asks for, in words, for who is about to approve it. */
const char *control_proposal_words(struct scope *s, const struct control_proposal *p);
/* Which seat somebody takes who approves it in this role; NULL: none. No role stands in two seats of an operation. */
const struct control_seat *control_seat_of(const struct control_proposal *p, enum control_role role);
/* The seat behind those of the row: the late one, where the proposal says that its CRL is old; NULL in all others. */
const struct control_seat *control_late_seat(const struct control_proposal *p);
/* thisUpdate of the management CA's CRL, in a proposal that says of it that it is older than 24 hours; 0 in all others. */
int64_t control_proposal_old_crl(const struct control_proposal *p);
/* One person's name as an identifier: "p3". */
const char *control_id_problem(span id);
