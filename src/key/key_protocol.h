/*
 * key_protocol.h - what passes between key.h's client and keyd: the kinds of frames and, for each structure, the writer and
 * the reader as a pair. A structure that is also kept in a file opens with its version.
 */
#pragma once
#include "key.h"

enum key_kind {
	KEY_KIND_STATUS = 0x0100,       /* - / struct key_status */
	KEY_KIND_LIST = 0x0101,         /* - / u32 count, that many struct key_info */
	KEY_KIND_FIND = 0x0102,         /* label / struct key_info */
	KEY_KIND_TOKEN_CREATE = 0x0103, /* struct key_token_request / - */
	KEY_KIND_GENERATE = 0x0104,     /* struct key_info / struct key_info */
	KEY_KIND_ENTRY = 0x0105,        /* label / struct key_entry */
	KEY_KIND_CHANGE = 0x0106,       /* struct key_change_request / struct key_entry */
	KEY_KIND_STRAYS = 0x0107,       /* - / u32 count, that many struct key_stray */
	KEY_KIND_METRICS = 0x0108,      /* - / text: metrics in the Prometheus format */
	KEY_KIND_SIGN = 0x0110,         /* struct key_sign_request / for each item struct key_sign_outcome */
	KEY_KIND_STREAM_BEGIN = 0x0112, /* struct key_stream_request / - */
	KEY_KIND_STREAM_DATA = 0x0113,  /* the bytes; no reply */
	KEY_KIND_STREAM_END = 0x0114,   /* - / signature */
	KEY_KIND_LOG_HEAD = 0x0120,     /* label / u64 size, 32 octets root */
	KEY_KIND_CHALLENGE = 0x0130,    /* - / struct key_challenge */
	KEY_KIND_OPEN = 0x0131,         /* an operation / struct key_opening */
	KEY_KIND_EXECUTE = 0x0132,      /* struct key_execution / words */
	KEY_KIND_CHECKPOINT = 0x0121,   /* struct key_checkpoint_request / payload of the signature line */
	KEY_KIND_COSIGN = 0x0122,       /* the cosigner's name, struct key_checkpoint_request / payload of the signature line */
};

#define KEY_NAME_DER_MAX 4096u /* an issuer's Name */
#define KEY_OID_MAX      64u
#define KEY_PROOF_MAX    (64u * 32u) /* rfc6962: at most one hash a level on each side */
#define KEY_STREAM_MAX   (UINT64_C(4) << 30)
#define KEY_STREAM_PART  (256u << 10)
#define KEY_LIST_MAX     10000u
#define KEY_REASON_MAX   200u
#define KEY_OPERATION_ID 64u /* characters of the SHA-256 of a proposal */
#define KEY_ITEMS_MAX    32u /* to be signed, in one frame */

/* One of the things that a frame asks to have signed; each is checked, recorded and answered by itself. */
struct key_sign_item {
	span tx; /* 16 octets: under which the asker's records are found */
	const char *label;
	enum key_purpose purpose;
	const struct alg_signature *algorithm;
	span content;
	span signed_attributes; /* time-stamps only: what is signed; the content is the TSTInfo */
};
struct key_sign_request {
	size_t count;
	struct key_sign_item item[KEY_ITEMS_MAX];
};
struct key_sign_outcome {
	enum code code;
	span value; /* the signature, or why there is none */
};
struct key_stream_request {
	const char *label;
	enum key_purpose purpose;
	const struct alg_signature *algorithm;
	uint64_t total;
};
struct key_checkpoint_request {
	const char *label;
	const char *origin;
	uint64_t size;
	span root; /* 32 octets */
	span proof;
	const char *cosigner; /* its name; NULL: the log signs itself */
};
struct key_token_request {
	const char *token;
	span pin;
	span officer_pin;
};

struct key_change_request {
	const char *label;
	enum key_state to;
	const char *reason;
};

/* Readers leave spans pointing into what they read; strings are copied into the scope. Each checks that nothing is left. */
void key_info_write(struct wr *w, const struct key_info *v);
st key_info_read(struct scope *s, struct rd *r, struct key_info *out); /* one of several: what follows is left */
void key_entry_write(struct wr *w, const struct key_entry *v);
st key_entry_read(struct scope *s, struct rd *r, struct key_entry *out);
void key_strays_write(struct wr *w, const struct key_stray *v, size_t count);
st key_strays_read(struct scope *s, struct rd *r, struct key_stray **out, size_t *out_count);
void key_change_request_write(struct wr *w, const struct key_change_request *v);
st key_change_request_read(struct scope *s, struct rd *r, struct key_change_request *out);
void key_status_write(struct wr *w, const struct key_status *v);
st key_status_read(struct scope *s, struct rd *r, struct key_status *out);
/* A frame is the number of its items (u16), and then each. */
void key_sign_item_write(struct wr *w, const struct key_sign_item *v);
st key_sign_request_read(struct scope *s, struct rd *r, struct key_sign_request *out);
void key_sign_outcome_write(struct wr *w, const struct key_sign_outcome *v);
/* One of several: what follows is left. */
st key_sign_outcome_read(struct scope *s, struct rd *r, struct key_sign_outcome *out);
void key_stream_request_write(struct wr *w, const struct key_stream_request *v);
st key_stream_request_read(struct scope *s, struct rd *r, struct key_stream_request *out);
void key_checkpoint_request_write(struct wr *w, const struct key_checkpoint_request *v);
st key_checkpoint_request_read(struct scope *s, struct rd *r, struct key_checkpoint_request *out);
void key_cosign_request_write(struct wr *w, const struct key_checkpoint_request *v);
st key_cosign_request_read(struct scope *s, struct rd *r, struct key_checkpoint_request *out);
void key_token_request_write(struct wr *w, const struct key_token_request *v);
st key_token_request_read(struct scope *s, struct rd *r, struct key_token_request *out);
st key_label_read(struct scope *s, struct rd *r, const char **out);
/* A label is also a file name: letters, digits, '-', '_' and '.', not first. E_INPUT otherwise. */
st key_label_check(struct scope *s, const char *label);
/* ---- operations with quorum (key_operation.c) ---- */
#define KEY_OPERATION_MAX (64u << 10)
#define KEY_SHARE_MAX     4096u
struct key_execution {
	span operation;
	span share[KEY_SHARES_MAX];
	size_t count;
};
void key_challenge_write(struct wr *w, const struct key_challenge *v);
st key_challenge_read(struct scope *s, struct rd *r, struct key_challenge *out);
void key_opening_write(struct wr *w, const struct key_opening *v);
st key_opening_read(struct scope *s, struct rd *r, struct key_opening *out);
void key_execution_write(struct wr *w, const struct key_execution *v);
st key_execution_read(struct scope *s, struct rd *r, struct key_execution *out);
