#include "alg.h"

/*
 * The dated policy. Add a row when a standard adds an algorithm, put a date into a row when a standard ends one; nothing else
 * in the program knows which algorithms are fit.
 */
#define CA          (1u << ALG_USE_CA)
#define END_ENTITY  (1u << ALG_USE_END_ENTITY)
#define STATUS      (1u << ALG_USE_STATUS)
#define TIME_STAMP  (1u << ALG_USE_TIME_STAMP)
#define LOG         (1u << ALG_USE_LOG)
#define INTERNAL    (1u << ALG_USE_INTERNAL)
#define ALL         (CA | END_ENTITY | STATUS | TIME_STAMP | LOG | INTERNAL)
#define NO_END      INT64_MAX
#define END_OF_2026 (INT64_C(1798761599) * MOMENT_SECOND) /* 2026-12-31T23:59:59Z */
#define END_OF_2028 (INT64_C(1861919999) * MOMENT_SECOND) /* 2028-12-31T23:59:59Z */

#define RSA_SHORT "TS 119 312 V2.1.1 table 6: 1900 to 2999 bits, no new certificate after 2026, none valid after 2028"
#define RSA_LONG  "TS 119 312 V2.1.1 table 6 (3000 bits and more recommended), 7.3 (PSS recommended)"
#define RSA_OLD   "TS 119 312 V2.1.1 table 6, 7.3 (PKCS#1 v1.5 is legacy: only where relying parties need it)"
#define CURVES    "TS 119 312 V2.1.1 6.2.2.3 (recommended curves), SHA-2 as wide as the curve"
#define BRAINPOOL "TS 119 312 V2.1.1 6.2.2.3 (recommended curves); not in FIPS 186-5, so only where the CA's curve set is etsi"

static const struct alg_policy rows[] = {
	{ "ec-p256", "ecdsa-sha256", ALL, 0, NO_END, NO_END, CURVES },
	{ "ec-p384", "ecdsa-sha384", ALL, 0, NO_END, NO_END, CURVES },
	{ "ec-p521", "ecdsa-sha512", ALL, 0, NO_END, NO_END, CURVES },
	{ "ec-brainpoolp512r1", "ecdsa-sha512", ALL & ~(LOG | INTERNAL), 0, NO_END, NO_END, BRAINPOOL },
	{ "rsa-2048", "rsa-pss-sha256", END_ENTITY, 0, END_OF_2026, END_OF_2028, RSA_SHORT },
	{ "rsa-2048", "rsa-pkcs1-sha256", END_ENTITY, 0, END_OF_2026, END_OF_2028, RSA_SHORT },
	{ "rsa-3072", "rsa-pss-sha256", ALL, 0, NO_END, NO_END, RSA_LONG },
	{ "rsa-3072", "rsa-pss-sha384", ALL, 0, NO_END, NO_END, RSA_LONG },
	{ "rsa-3072", "rsa-pkcs1-sha256", ALL & ~LOG, 0, NO_END, NO_END, RSA_OLD },
	{ "rsa-3072", "rsa-pkcs1-sha384", ALL & ~LOG, 0, NO_END, NO_END, RSA_OLD },
	{ "rsa-4096", "rsa-pss-sha256", ALL, 0, NO_END, NO_END, RSA_LONG },
	{ "rsa-4096", "rsa-pss-sha384", ALL, 0, NO_END, NO_END, RSA_LONG },
	{ "rsa-4096", "rsa-pkcs1-sha256", ALL & ~LOG, 0, NO_END, NO_END, RSA_OLD },
	{ "rsa-4096", "rsa-pkcs1-sha384", ALL & ~LOG, 0, NO_END, NO_END, RSA_OLD },
	/* Readers of EdDSA in certificates and PDF lag behind, so it serves where only our own verifier and C2SP's read. */
	{ "ed25519", "ed25519", LOG, 0, NO_END, NO_END, "TS 119 312 V2.1.1 (EdDSA), C2SP signed-note" },
};

static const char *const use_names[] = {
	[ALG_USE_CA] = "certificate authorities", [ALG_USE_END_ENTITY] = "end entities",
	[ALG_USE_STATUS] = "OCSP signers",        [ALG_USE_TIME_STAMP] = "time-stamping units",
	[ALG_USE_LOG] = "the audit log",          [ALG_USE_INTERNAL] = "internal certificates",
};

const struct alg_policy *alg_policy_at(size_t i)
{
	return i < sizeof rows / sizeof rows[0] ? &rows[i] : NULL;
}

const struct alg_policy *alg_policy_of(const struct alg_key *key, const struct alg_signature *signature, enum alg_use use)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (span_is(span_str(key->name), rows[i].key) && span_is(span_str(signature->name), rows[i].signature) &&
		    (rows[i].uses & (1u << use)) != 0)
			return &rows[i];
	return NULL;
}

st alg_policy_check(struct scope *s, const struct alg_key *key, const struct alg_signature *signature, enum alg_use use,
		    bool fresh, int64_t now)
{
	const struct alg_policy *row = alg_policy_of(key, signature, use);
	if (row == NULL)
		return fail(s, E_CRYPTO,
			    "%s with %s is not in the algorithm policy for %s (TS 119 312, requirements 2.4); choose another",
			    key->name, signature->name, use_names[use]);
	char day[MOMENT_TEXT_MAX];
	if (now < row->from)
		return fail(s, E_CRYPTO, "%s with %s may be used from %s only (%s)", key->name, signature->name,
			    moment_text(row->from, day), row->source);
	if (fresh && now > row->no_new_after)
		return fail(s, E_CRYPTO, "%s may not enter new keys or certificates after %s (%s); make a stronger key",
			    key->name, moment_text(row->no_new_after, day), row->source);
	if (now > row->no_use_after)
		return fail(s, E_CRYPTO, "%s with %s may not sign after %s (%s); re-key", key->name, signature->name,
			    moment_text(row->no_use_after, day), row->source);
	return OK;
}
