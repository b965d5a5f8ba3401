/*
 * keyd_content.h - is this what the key may sign? One parser for each purpose, on src/der alone. Whatever is not read to its
 * last byte as exactly the type that belongs to the purpose, and within the key's limits, is refused.
 */
#pragma once
#include "key.h"

/* What a content is held against. */
struct keyd_rules {
	const struct key_info *key;
	const struct alg_signature *algorithm; /* asked for: must be the one named inside */
	span key_hash;                         /* SHA-1 over the key's bits (rfc6960#4.2.1) */
	int64_t now;                           /* keyd's own clock */
};

/* What was found, for the record. Spans point into the content. */
struct keyd_found {
	span serial; /* content octets of the INTEGER */
	int64_t not_after;
	bool ca;            /* certificates: of a certificate authority, or of who signs CRLs */
	span subject, spki; /* certificates: whole */
	int64_t number;     /* CRL number */
	uint64_t entries;
	int64_t this_update;
	int64_t next_update;
	int64_t gen_time;
};

st keyd_check_certificate(struct scope *s, const struct keyd_rules *rules, span tbs, struct keyd_found *out);
st keyd_check_ocsp(struct scope *s, const struct keyd_rules *rules, span tbs, struct keyd_found *out);
st keyd_check_request(struct scope *s, const struct keyd_rules *rules, span tbs, struct keyd_found *out);
st keyd_check_time_stamp(struct scope *s, const struct keyd_rules *rules, span tst_info, span signed_attributes,
			 struct keyd_found *out);

/* A TBSCertList in parts of any size, checked and hashed as it passes, in constant memory. */
struct keyd_crl;
struct keyd_crl *keyd_crl_new(const struct keyd_rules *rules, uint64_t total); /* rules are copied, what they point to stays */
st keyd_crl_add(struct scope *s, struct keyd_crl *c, span part);
/* E_INPUT when it is not complete. The digest is the algorithm's, in `out_digest` (DIGEST_MAX bytes). */
st keyd_crl_finish(struct scope *s, struct keyd_crl *c, struct keyd_found *out, uint8_t *out_digest, span *out_digest_span);
void keyd_crl_free(struct keyd_crl *c);

/* ---- shared by the parsers ---- */
#define KEYD_EXTENSIONS_MAX 64
struct keyd_extension {
	span oid;
	bool critical;
	span value;
};
/* SEQUENCE OF Extension, each type once (rfc5280#4.2): `list` is at its content. */
st keyd_read_extensions(struct scope *s, struct der_rd *list, const char *what, struct keyd_extension out[KEYD_EXTENSIONS_MAX],
			size_t *out_count);
const struct keyd_extension *keyd_extension_of(const struct keyd_extension *list, size_t count, span oid);
st keyd_check_algorithm(struct scope *s, const struct keyd_rules *rules, span identifier, const char *what);
st keyd_check_issuer(struct scope *s, const struct keyd_rules *rules, span issuer, const char *what);
/* `policy` is among the key's, or the key is not limited to any. */
st keyd_check_policy(struct scope *s, const struct keyd_rules *rules, span policy);
/* The time from `from` to `to` is not negative and within the key's limit. */
st keyd_check_life(struct scope *s, const struct keyd_rules *rules, int64_t from, int64_t to, const char *what);
