/*
 * alg.h - the algorithms: key types, signature algorithms, and the dated policy that says which of them may still be used.
 * Every size of a key or a signature comes from these tables.
 */
#pragma once
#include "der.h"
#include "digest.h"

enum alg_family { ALG_RSA, ALG_EC, ALG_ED25519 };

/* A type of key. Names: "rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521", "ec-brainpoolp512r1",
 * "ed25519". */
struct alg_key {
	const char *name;
	enum alg_family family;
	unsigned bits;
	span curve;        /* EC: content octets of the named curve's OID, else empty */
	size_t coordinate; /* EC: octets of one coordinate, else 0 */
	bool etsi_only;    /* in the curve set `etsi` (TS 119 312), not in `fips` (FIPS 186-5) */
};

/* A signature algorithm. Names: "ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512", "rsa-pss-sha256", "rsa-pss-sha384", "rsa-pkcs1-sha256",
 * "rsa-pkcs1-sha384", "ed25519". `identifier` is the whole AlgorithmIdentifier. */
struct alg_signature {
	const char *name;
	enum alg_family family;
	enum digest_alg digest; /* DIGEST_NONE: the key signs the message itself */
	bool pss;
	span identifier;
	size_t max_signature; /* octets of the value as X.509 carries it */
};

const struct alg_key *alg_key_named(span name); /* NULL when unknown */
const struct alg_key *alg_key_at(size_t i);     /* NULL behind the last: to list them */
const struct alg_signature *alg_signature_named(span name);
const struct alg_signature *alg_signature_at(size_t i);
const struct alg_signature *alg_signature_of_identifier(span whole);
/* The algorithm a key of this type uses when nobody chose: digest as wide as the key, PSS for RSA. */
const struct alg_signature *alg_signature_default(const struct alg_key *key);
/* Hash algorithm identifiers (NULL parameters absent or present, both are read; written absent). DIGEST_NONE: unknown. */
enum digest_alg alg_digest_of_identifier(span whole);
span alg_digest_identifier(enum digest_alg digest);
/* OID content of a digest, for CMS and OCSP. */
enum digest_alg alg_digest_of_oid(span content);
span alg_digest_oid(enum digest_alg digest);

/* The parts of a public key, pointing into its SubjectPublicKeyInfo. */
struct alg_public {
	const struct alg_key *key;
	span modulus, exponent; /* RSA: magnitudes */
	span point;             /* EC: uncompressed point; Ed25519: the 32 octets */
};
/* Which type of key a SubjectPublicKeyInfo holds; E_CRYPTO for types, curves, sizes or exponents outside the table, for
 * an EC point not in uncompressed form or of the wrong length. Does not prove the point lies on the curve (pki_key.h). */
st alg_key_of_spki(struct scope *s, span spki, const struct alg_key **out);
st alg_public_of_spki(struct scope *s, span spki, struct alg_public *out);
/* SubjectPublicKeyInfo from the public parts: EC: uncompressed point; RSA: `modulus` and `exponent`; Ed25519: 32 octets. */
st alg_spki_ec(struct scope *s, const struct alg_key *key, span point, span *out);
st alg_spki_rsa(struct scope *s, span modulus, span exponent, span *out);
st alg_spki_ed25519(struct scope *s, span key, span *out);
/* ECDSA: r || s as PKCS#11 gives it, into the DER that X.509 carries. */
st alg_ecdsa_der(struct scope *s, span raw, span *out);

/* What an algorithm is used for; the policy differs. */
enum alg_use { ALG_USE_CA, ALG_USE_END_ENTITY, ALG_USE_STATUS, ALG_USE_TIME_STAMP, ALG_USE_LOG, ALG_USE_INTERNAL };
/* One row of the dated policy. Moments; INT64_MAX is "no end". */
struct alg_policy {
	const char *key;       /* name of a key type */
	const char *signature; /* name of a signature algorithm */
	unsigned uses;         /* bits 1 << enum alg_use */
	int64_t from;
	int64_t no_new_after; /* no new key or certificate after this */
	int64_t no_use_after; /* no signature after this */
	const char *source;   /* where the dates come from */
};
const struct alg_policy *alg_policy_at(size_t i);
/* The row for this use, whatever its dates; NULL when there is none. */
const struct alg_policy *alg_policy_of(const struct alg_key *key, const struct alg_signature *signature, enum alg_use use);
/* E_CRYPTO with the clause when this key and algorithm may not be used at `now`; `fresh` for new keys and certificates. */
//= ts119312#tables the algorithm policy is a dated table in data, applied at issue, re-key and sign time
st alg_policy_check(struct scope *s, const struct alg_key *key, const struct alg_signature *signature, enum alg_use use,
		    bool fresh, int64_t now);
