/*
 * key.h - client of keyd: "sign these bytes with this key for this purpose". Whoever links this can ask; keyd decides.
 * The same structures, with their reader and writer, are what keyd answers with (key_protocol.h).
 */
#pragma once
#include "alg.h"
#include "wire.h"

/* What a key is for. A key may have several (a CA key: certificate, CRL and its own certification request). */
enum key_purpose {
	KEY_FOR_CERTIFICATE = 1, /* TBSCertificate */
	KEY_FOR_CRL = 2,         /* TBSCertList */
	KEY_FOR_OCSP = 4,        /* OCSP ResponseData */
	KEY_FOR_TIME_STAMP = 8,  /* TSTInfo with its CMS signed attributes */
	KEY_FOR_LOG = 16,        /* checkpoints of the audit log */
	KEY_FOR_IDENTITY = 32,   /* keyd's own statements */
	KEY_FOR_REQUEST = 64,    /* CertificationRequestInfo of the key itself: proof of possession */
};
#define KEY_PURPOSE_COUNT 7
const char *key_purpose_name(enum key_purpose purpose);
enum key_purpose key_purpose_named(span name); /* 0 when unknown */

#define KEY_LABEL_MAX    64
#define KEY_POLICIES_MAX 16

/* What a key may sign beyond its purpose, fixed when it is generated. Zero or empty: not limited, except `ca`. */
struct key_limits {
	span issuer;                     /* whole DER Name that every certificate and CRL must carry as issuer */
	bool ca;                         /* may sign certificates with cA TRUE */
	span policies[KEY_POLICIES_MAX]; /* certificatePolicies / TSA policies, OID content octets; none listed: any */
	size_t policy_count;
	uint32_t validity_days; /* longest validity of a certificate, longest life of a CRL or OCSP answer */
	uint32_t rate;          /* signatures per second */
	uint32_t accuracy_ms;   /* time-stamps: largest difference between genTime and keyd's clock, largest accuracy claimed */
	char origin[128];       /* log: the only origin line of checkpoints */
};

enum key_backup { KEY_BACKUP_NONE, KEY_BACKUP_WRAPPED };

struct key_info {
	char label[KEY_LABEL_MAX + 1];
	char token[KEY_LABEL_MAX + 1];
	const struct alg_key *type;
	unsigned purposes;
	struct key_limits limits;
	enum key_backup backup;
	span spki; /* whole SubjectPublicKeyInfo */
	int64_t created;
	int64_t usage_ends;  /* nothing is signed from this moment on; 0: no end. Fixed when the key is generated */
	bool usable;         /* its token is there and logged in */
	const char *missing; /* attributes the module does not provide, comma separated; empty when all are */
};

/* ---- the life of a key (NIST SP 800-57 part 1, 7) ---- */
enum key_state {
	KEY_PLANNED,   /* to be generated, or its generation did not end: it has no public key, and signs nothing */
	KEY_GENERATED, /* on its token; has proved possession at most */
	KEY_ACTIVE,    /* has signed */
	KEY_SUSPENDED, /* signs nothing until it is resumed */
	KEY_EXPIRED,   /* its usage period is over */
	KEY_DESTROYED, /* no longer on its token; the description stays as the record */
	KEY_STATE_COUNT
};
const char *key_state_name(enum key_state state);
enum key_state key_state_named(span name); /* KEY_STATE_COUNT when unknown */
/* E_STATE, naming the key and what is possible instead, unless the table of moves has this one. */
st key_state_check(struct scope *s, const char *label, enum key_state from, enum key_state to);

/* What the configuration of keyd says of the device a key lies in; empty texts and 0 where it says nothing. */
struct key_device {
	const char *scheme;      /* "Common Criteria", "FIPS 140-3" */
	const char *level;       /* "EAL4+ AVA_VAN.5", "3" */
	const char *certificate; /* number */
	const char *copies;      /* where copies of the token are, one after the other */
	int64_t expires;         /* of the certification */
};

/* A row of the inventory. Signatures that are put on record one by one: `recorded` are known to be in the log, `offered` are these and
 * those under way. Counted are OCSP answers, of which `counted_recorded` are in the log's sums, and checkpoints, which are no records. */
struct key_entry {
	struct key_info info;
	enum key_state state;
	int64_t since;
	uint64_t recorded, offered;
	uint64_t counted_recorded, counted;
	bool at_least; /* a kill, a log that was not read yet or from which records were removed: there may have been more */
	const char *checks;     /* what was checked of the public key at generation; empty: by a version that did not note it */
	const char *attributes; /* as read back at generation */
	const char *
		operation; /* SHA-256 of the proposal that it comes from, hexadecimal; empty: none, or by a version that did not note it */
	struct key_device device;
};

/* A private key on a token that no description of its keyd names: it is never used. */
#define KEY_STRAYS_MAX 1024
struct key_stray {
	const char *token, *label;
};

struct key_client;
/* Does not connect yet. `socket` is the zone's keyd. Safe for many threads. */
struct key_client *key_client_new(const char *socket);
void key_client_free(struct key_client *c);

/* How the zone is: for status screens. */
struct key_token_status {
	const char *label;
	bool ready;         /* there and logged in to */
	const char *reason; /* why not; of a key group also what is to be said of its custodians; else empty */
};
struct key_status {
	const char *zone;
	const char *module;  /* what the PKCS#11 module says of itself */
	uint64_t signatures; /* since start */
	uint64_t refusals;
	struct key_token_status *tokens;
	size_t token_count;
};
st key_status(struct scope *s, struct key_client *c, struct key_status *out);

/* keyd's page of metrics, in the Prometheus text exposition format. It asks no token and is for whoever may connect. */
st key_metrics(struct scope *s, struct key_client *c, span *out_text);

st key_find(struct scope *s, struct key_client *c, const char *label, struct key_info *out);
st key_list(struct scope *s, struct key_client *c, struct key_info **out, size_t *out_count);
/* The inventory's row of a key. */
st key_entry(struct scope *s, struct key_client *c, const char *label, struct key_entry *out);
/* Private keys on the open tokens of the zone that are in no row. */
st key_strays(struct scope *s, struct key_client *c, struct key_stray **out, size_t *out_count);
/* Move a key to another state; administrators only. On record, with the reason, before it happens. E_STATE: not from where it is. */
st key_change(struct scope *s, struct key_client *c, const char *label, enum key_state to, const char *reason,
	      struct key_entry *out);
/* A token (key group) of its own, initialised with this PIN (user) and officer PIN; administrators only. */
st key_token_create(struct scope *s, struct key_client *c, const char *token, span pin, span officer_pin);
/* Generate on the token; `want` gives label, token, type, purposes, limits, backup. Administrators only. Audited. */
st key_generate(struct scope *s, struct key_client *c, const struct key_info *want, struct key_info *out);

/* Sign: keyd parses the content, checks it against purpose and limits, hashes it, has the record made durable, signs. The value is
 * as X.509 carries it (ECDSA: DER sequence). E_DENIED: outside purpose or limits; E_LIMIT: over its rate; E_CRYPTO: the
 * algorithm does not fit the key or is past its date; E_UNAVAILABLE: no audit, no token, no keyd - nothing was signed, or keyd was lost
 * before its answer came and it may have been. It is not asked for a second time: that would be on record, and signed, twice. */
struct key_item {
	struct scope *scope; /* of who asks: its id goes on record, and what comes back is put there */
	const char *label;
	enum key_purpose purpose;
	const struct alg_signature *algorithm;
	span content;           /* TBSCertificate, ResponseData, TSTInfo, ... */
	span signed_attributes; /* time-stamps: the DER SET of CMS signed attributes, which is what gets signed; else empty */
	span signature;         /* out */
	st outcome;             /* out: of this one alone; the message is in its scope */
};
/* Several at once, of any keys and purposes of the zone: up to KEY_ITEMS_MAX in one frame, one wait for the disk for all of them.
 * Whatever happens, each item has its outcome. */
void key_sign_all(struct key_client *c, struct key_item *item, size_t count);
/* One of them. */
st key_sign(struct scope *s, struct key_client *c, const char *label, enum key_purpose purpose,
	    const struct alg_signature *algorithm, span content, span *out_signature);
/* Streams: `total` bytes of TBSCertList in parts of any size; keyd checks and hashes them as they pass. */
struct key_stream;
st key_stream_begin(struct scope *s, struct key_client *c, const char *label, enum key_purpose purpose,
		    const struct alg_signature *algorithm, uint64_t total, struct key_stream **out);
st key_stream_data(struct scope *s, struct key_stream *stream, span part);
/* Ends the stream and frees it, whatever happens. */
st key_stream_end(struct scope *s, struct key_stream *stream, span *out_signature);
void key_stream_drop(struct key_stream *stream);

/* Checkpoints (auditd only). `proof` is the RFC 6962 consistency proof from the head keyd signed last, 32-octet hashes one
 * after the other. The note signature line's payload is returned: 4-octet key hash, then the signature. */
st key_log_head(struct scope *s, struct key_client *c, const char *label, uint64_t *out_size, uint8_t out_root[32]);
st key_sign_checkpoint(struct scope *s, struct key_client *c, const char *label, const char *origin, uint64_t size,
		       const uint8_t root[32], span proof, span *out_signature);
/* The same by a cosigner of this name, who says that the log of this origin only grew (c2sp.org/tlog-cosignature): an Ed25519 key, held to the
 * heads it signed before. The payload has keyd's time between key id and signature. */
st key_cosign_checkpoint(struct scope *s, struct key_client *c, const char *label, const char *cosigner, const char *origin,
			 uint64_t size, const uint8_t root[32], span proof, span *out_signature);

/* ---- operations with quorum (docs/dev/operations.md) ---- */
#define KEY_SHARES_MAX 16
#define KEY_NONCE_LEN  16
struct key_challenge {
	const char *instance; /* who this keyd is in proposals: "keyd/ca" */
	uint8_t nonce[KEY_NONCE_LEN];
	uint64_t entries; /* of the register of persons, as this keyd knows it */
	uint8_t head[32];
	uint64_t crl_number; /* of the management CA; no CRL below it is taken */
};
/* A nonce for one proposal: good once, for a day, and until this keyd is restarted. E_STATE when keyd carries out no operations, and why. */
st key_challenge(struct scope *s, struct key_client *c, struct key_challenge *out);
struct key_opening {
	span statement; /* the activation statement, signed */
	span share[KEY_SHARES_MAX];
	size_t count; /* the custodians' sealed shares */
};
/* An operation with the approvals of its first seat: keyd makes a key that shares can be sealed to. */
st key_open_operation(struct scope *s, struct key_client *c, span operation, struct key_opening *out);
/* An operation with all its approvals, and what custodians have sealed for it (may be none). `out_words`: what was done. */
st key_execute(struct scope *s, struct key_client *c, span operation, const span *share, size_t count, const char **out_words);
