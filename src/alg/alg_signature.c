#include "alg.h"
#include "alg_oid.h"

/* RSASSA-PSS with MGF1 over the same digest and a salt as long as the digest.
 * rfc4055#2.1: here the digests' parameters are NULL, not absent. */
#define PSS_IDENTIFIER(oid_of_digest, salt)                                                                                    \
	"\x30\x41\x06\x09" OID_RSASSA_PSS "\x30\x34\xa0\x0f\x30\x0d\x06\x09" oid_of_digest                                     \
	"\x05\x00\xa1\x1c\x30\x1a\x06\x09" OID_MGF1 "\x30\x0d\x06\x09" oid_of_digest "\x05\x00\xa2\x03\x02\x01" salt

#define ECDSA_MAX      104 /* two INTEGERs of 49 octets (P-384) */
#define ECDSA_LONG_MAX 139 /* of 66 octets (P-521; brainpoolP512r1 has 65) */
#define RSA_MAX        512

static const struct alg_signature signatures[] = {
	{ .name = "ecdsa-sha256",
	  .family = ALG_EC,
	  .digest = DIGEST_SHA256,
	  .max_signature = ECDSA_MAX,
	  .identifier = OCTETS("\x30\x0a\x06\x08" OID_ECDSA_SHA256) },
	{ .name = "ecdsa-sha384",
	  .family = ALG_EC,
	  .digest = DIGEST_SHA384,
	  .max_signature = ECDSA_MAX,
	  .identifier = OCTETS("\x30\x0a\x06\x08" OID_ECDSA_SHA384) },
	{ .name = "ecdsa-sha512",
	  .family = ALG_EC,
	  .digest = DIGEST_SHA512,
	  .max_signature = ECDSA_LONG_MAX,
	  .identifier = OCTETS("\x30\x0a\x06\x08" OID_ECDSA_SHA512) },
	{ .name = "rsa-pss-sha256",
	  .family = ALG_RSA,
	  .digest = DIGEST_SHA256,
	  .pss = true,
	  .max_signature = RSA_MAX,
	  .identifier = OCTETS(PSS_IDENTIFIER(OID_SHA256, "\x20")) },
	{ .name = "rsa-pss-sha384",
	  .family = ALG_RSA,
	  .digest = DIGEST_SHA384,
	  .pss = true,
	  .max_signature = RSA_MAX,
	  .identifier = OCTETS(PSS_IDENTIFIER(OID_SHA384, "\x30")) },
	{ .name = "rsa-pkcs1-sha256",
	  .family = ALG_RSA,
	  .digest = DIGEST_SHA256,
	  .max_signature = RSA_MAX,
	  .identifier = OCTETS("\x30\x0d\x06\x09" OID_SHA256_WITH_RSA "\x05\x00") },
	{ .name = "rsa-pkcs1-sha384",
	  .family = ALG_RSA,
	  .digest = DIGEST_SHA384,
	  .max_signature = RSA_MAX,
	  .identifier = OCTETS("\x30\x0d\x06\x09" OID_SHA384_WITH_RSA "\x05\x00") },
	{ .name = "ed25519",
	  .family = ALG_ED25519,
	  .digest = DIGEST_NONE,
	  .max_signature = 64,
	  .identifier = OCTETS("\x30\x05\x06\x03" OID_ED25519) },
};
#define SIGNATURES (sizeof signatures / sizeof signatures[0])

const struct alg_signature *alg_signature_at(size_t i)
{
	return i < SIGNATURES ? &signatures[i] : NULL;
}

const struct alg_signature *alg_signature_named(span name)
{
	for (size_t i = 0; i < SIGNATURES; i++)
		if (span_is(name, signatures[i].name))
			return &signatures[i];
	return NULL;
}

const struct alg_signature *alg_signature_of_identifier(span whole)
{
	for (size_t i = 0; i < SIGNATURES; i++)
		if (span_equal(whole, signatures[i].identifier))
			return &signatures[i];
	return NULL;
}

static const struct {
	const char *key;
	const char *signature;
} defaults[] = {
	{ "rsa-2048", "rsa-pss-sha256" }, { "rsa-3072", "rsa-pss-sha256" },
	{ "rsa-4096", "rsa-pss-sha384" }, { "ec-p256", "ecdsa-sha256" },
	{ "ec-p384", "ecdsa-sha384" },    { "ed25519", "ed25519" },
	{ "ec-p521", "ecdsa-sha512" },    { "ec-brainpoolp512r1", "ecdsa-sha512" },
};

//= ts119312#7.3 PSS is the default for RSA; PKCS#1 v1.5 is legacy and has to be chosen
const struct alg_signature *alg_signature_default(const struct alg_key *key)
{
	for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
		if (span_is(span_str(key->name), defaults[i].key))
			return alg_signature_named(span_str(defaults[i].signature));
	return NULL;
}

static void put_half(struct der_wr *w, span half, bool *out_zero)
{
	bool zero = true;
	for (size_t i = 0; i < half.len; i++)
		zero = zero && half.data[i] == 0;
	*out_zero = *out_zero || zero;
	der_put_unsigned(w, half);
}

//= rfc3279#2.2.3 Ecdsa-Sig-Value is a SEQUENCE of two INTEGERs
st alg_ecdsa_der(struct scope *s, span raw, span *out)
{
	if (raw.len == 0 || raw.len % 2 != 0 || raw.len > 2 * 66)
		return fail(s, E_CRYPTO, "an ECDSA signature of %zu octets is not r and s of one length; check the module",
			    raw.len);
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	bool zero = false;
	der_begin(&w, DER_SEQUENCE);
	put_half(&w, span_first(raw, raw.len / 2), &zero);
	put_half(&w, span_from(raw, raw.len / 2), &zero);
	der_end(&w);
	if (zero)
		return fail(s, E_CRYPTO,
			    "an ECDSA signature with r or s of zero is none (FIPS 186-5, 6.4.2); check the module");
	TRY(der_finish(s, &w));
	*out = scope_copy(s, buf_span(&b));
	return OK;
}
