#include "pki_key_rsa.h"
#include "log.h"
#include "pki_ecdsa.h"
#include "pki_key_edwards.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdlib.h>

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
DEFINE_AUTO(EVP_PKEY_CTX, EVP_PKEY_CTX_free)
DEFINE_AUTO(EVP_MD_CTX, EVP_MD_CTX_free)
DEFINE_AUTO(BIGNUM, BN_free)

struct pki_key {
	const struct alg_key *type;
	EVP_PKEY *pkey;       /* RSA and Ed25519 */
	struct pki_ecdsa *ec; /* EC */
};

/* ---- decoding ---- */

static void *writable(struct scope *s, span bytes)
{
	return memcpy(scope_alloc(s, bytes.len), bytes.data, bytes.len);
}

static BIGNUM *number_of(span magnitude)
{
	BIGNUM *n = BN_bin2bn(magnitude.data, (int)magnitude.len, NULL);
	if (n == NULL)
		log_die("out of memory for a number");
	return n;
}

/* OSSL_PARAM integers are in the machine's byte order. */
static OSSL_PARAM number_param(struct scope *s, const char *name, span magnitude)
{
	uint8_t *native = scope_alloc(s, magnitude.len);
	AUTO(BIGNUM) *n = number_of(magnitude);
	if (BN_bn2nativepad(n, native, (int)magnitude.len) < 0)
		log_die("libcrypto cannot write a number");
	return OSSL_PARAM_construct_BN(name, native, magnitude.len);
}

static void parameters(struct scope *s, const struct alg_public *public, OSSL_PARAM out[3])
{
	if (public->key->family == ALG_RSA) {
		out[0] = number_param(s, OSSL_PKEY_PARAM_RSA_N, public->modulus);
		out[1] = number_param(s, OSSL_PKEY_PARAM_RSA_E, public->exponent);
		out[2] = OSSL_PARAM_construct_end();
		return;
	}
	out[0] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, writable(s, public->point), public->point.len);
	out[1] = OSSL_PARAM_construct_end();
}

static const char *const family_names[] = { [ALG_RSA] = "RSA", [ALG_ED25519] = "ED25519" };

/* From the parts: five times faster than OpenSSL's decoder of SubjectPublicKeyInfo. */
static st decode(struct scope *s, const struct alg_public *public, EVP_PKEY **out)
{
	OSSL_PARAM params[3];
	parameters(s, public, params);
	AUTO(EVP_PKEY_CTX) *context = EVP_PKEY_CTX_new_from_name(NULL, family_names[public->key->family], NULL);
	if (context == NULL || EVP_PKEY_fromdata_init(context) != 1)
		log_die("libcrypto has no %s keys", family_names[public->key->family]);
	EVP_PKEY *pkey = NULL;
	if (EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
		ERR_clear_error();
		return fail(s, E_CRYPTO, "the public key is no %s key: its numbers are none (FIPS 186-5); make a new key",
			    public->key->name);
	}
	*out = pkey;
	return OK;
}

static st key_of(struct scope *s, const struct alg_public *public, struct pki_key **out)
{
	AUTO(EVP_PKEY) *pkey = NULL;
	struct pki_ecdsa *ec = NULL;
	if (public->key->family == ALG_EC)
		TRY(pki_ecdsa_new(s, public->key, public->point, &ec));
	else
		TRY(decode(s, public, &pkey));
	struct pki_key *key = heap_alloc(sizeof *key);
	*key = (struct pki_key){ .type = public->key, .pkey = TAKE(pkey), .ec = ec };
	*out = key;
	return OK;
}

st pki_key_new(struct scope *s, span spki, struct pki_key **out)
{
	struct alg_public public;
	TRY(alg_public_of_spki(s, spki, &public));
	return key_of(s, &public, out);
}

void pki_key_free(struct pki_key *key)
{
	if (key == NULL)
		return;
	EVP_PKEY_free(key->pkey);
	pki_ecdsa_free(key->ec);
	free(key);
}

const struct alg_key *pki_key_type(const struct pki_key *key)
{
	return key->type;
}

/* ---- verification ---- */

static EVP_MD *fetched[DIGEST_COUNT];
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;

static void fetch_all(void)
{
	static const char *const names[DIGEST_COUNT] = {
		[DIGEST_SHA256] = "SHA2-256",
		[DIGEST_SHA384] = "SHA2-384",
		[DIGEST_SHA512] = "SHA2-512",
	};
	for (int i = 0; i < DIGEST_COUNT; i++)
		if (names[i] != NULL && (fetched[i] = EVP_MD_fetch(NULL, names[i], NULL)) == NULL)
			log_die("libcrypto has no %s", names[i]);
}

/* PSS as the identifier says it: MGF1 over the same digest, salt exactly as long as the digest. */
static bool set_pss(EVP_PKEY_CTX *context)
{
	return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static bool verify_rsa(const struct pki_key *key, const struct alg_signature *algorithm, span digest, span signature)
{
	(void)pthread_once(&fetch_once, fetch_all);
	AUTO(EVP_PKEY_CTX) *context = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	if (context == NULL)
		log_die("out of memory for a signature check");
	if (EVP_PKEY_verify_init(context) != 1 || EVP_PKEY_CTX_set_signature_md(context, fetched[algorithm->digest]) != 1 ||
	    (algorithm->pss && !set_pss(context)))
		log_die("libcrypto cannot verify %s", algorithm->name);
	bool fits = EVP_PKEY_verify(context, signature.data, signature.len, digest.data, digest.len) == 1;
	ERR_clear_error();
	return fits;
}

static bool verify_whole(const struct pki_key *key, const struct alg_signature *algorithm, span message, span signature)
{
	AUTO(EVP_MD_CTX) *context = EVP_MD_CTX_new();
	if (context == NULL)
		log_die("out of memory for a signature check");
	if (EVP_DigestVerifyInit(context, NULL, NULL, NULL, key->pkey) != 1)
		log_die("libcrypto cannot verify %s", algorithm->name);
	bool fits = EVP_DigestVerify(context, signature.data, signature.len, message.data, message.len) == 1;
	ERR_clear_error();
	return fits;
}

static st verified(struct scope *s, const struct alg_signature *algorithm, bool fits)
{
	return fits ? OK : fail(s, E_CRYPTO, "the %s signature does not fit the key and the content", algorithm->name);
}

static st check_family(struct scope *s, const struct pki_key *key, const struct alg_signature *algorithm)
{
	if (key->type->family != algorithm->family)
		return fail(s, E_CRYPTO, "a signature by %s cannot come from a key of type %s", algorithm->name,
			    key->type->name);
	return OK;
}

st pki_key_verify_digest(struct scope *s, const struct pki_key *key, const struct alg_signature *algorithm, span digest,
			 span signature)
{
	TRY(check_family(s, key, algorithm));
	if (digest.len != digest_len(algorithm->digest) || digest.len == 0)
		log_die("a digest of %zu octets is not what %s signs", digest.len, algorithm->name);
	return verified(s, algorithm,
			key->ec != NULL ? pki_ecdsa_verify(key->ec, digest, signature)
					: verify_rsa(key, algorithm, digest, signature));
}

st pki_key_verify(struct scope *s, const struct pki_key *key, const struct alg_signature *algorithm, span message,
		  span signature)
{
	uint8_t digest[DIGEST_MAX];
	if (algorithm->digest != DIGEST_NONE)
		return pki_key_verify_digest(s, key, algorithm, digest_of(algorithm->digest, message, digest), signature);
	TRY(check_family(s, key, algorithm));
	return verified(s, algorithm, verify_whole(key, algorithm, message, signature));
}

//= rfc5280#4.2.1.2 method 1: SHA-1 of the subjectPublicKey without tag, length and unused bits
st pki_key_identifier(struct scope *s, span spki, uint8_t out[20])
{
	struct der_rd d = der_read(spki);
	struct der_rd info = der_enter(&d, DER_SEQUENCE);
	(void)der_get_whole(&info, DER_SEQUENCE);
	span bits = der_get_bits(&info);
	der_leave(&d, &info);
	TRY(der_done(s, &d, "a SubjectPublicKeyInfo"));
	uint8_t digest[DIGEST_MAX];
	memcpy(out, digest_of(DIGEST_SHA1, bits, digest).data, 20);
	return OK;
}

st pki_key_check(struct scope *s, span spki)
{
	struct pki_key *key;
	TRY(pki_key_new_checked(s, spki, &key));
	pki_key_free(key);
	return OK;
}

/* Of an EC key nothing is left to check: it was not made unless its point is on the curve and not infinity. */
st pki_key_new_checked(struct scope *s, span spki, struct pki_key **out)
{
	struct alg_public public;
	TRY(alg_public_of_spki(s, spki, &public));
	if (public.key->family == ALG_RSA)
		TRY(pki_key_check_modulus(s, public.modulus));
	return key_of(s, &public, out);
}

//= requirements#HSM-20 the result is recorded per key
st pki_key_assure(struct scope *s, span spki, const char **out_checks)
{
	static const char *const checks[] = {
		[ALG_RSA] =
			"e=65537, exact size, odd, no factor below 2^16 (SP 800-89 5.3.3), no close primes, no ROCA, no prime power",
		[ALG_EC] = "named curve, point on the curve, not infinity, n*Q=O (SP 800-56A 5.6.2.3.3)",
		[ALG_ED25519] = "canonical point on the curve, not neutral, n*Q=O (SP 800-186 D.1.3)",
	};
	struct alg_public public;
	struct pki_key *key;
	TRY(alg_public_of_spki(s, spki, &public));
	TRY(pki_key_new_checked(s, spki, &key));
	st status = OK;
	if (key->ec != NULL && !pki_ecdsa_has_order(key->ec))
		status = fail(s, E_CRYPTO,
			      "the point of the %s key has not the order of the curve (SP 800-56A 5.6.2.3.3); make a new key",
			      public.key->name);
	if (public.key->family == ALG_ED25519)
		status = pki_key_check_edwards(s, public.point);
	pki_key_free(key);
	TRY(status);
	*out_checks = checks[public.key->family];
	return OK;
}

st pki_signature_verify(struct scope *s, span spki, span identifier, span message, span signature)
{
	const struct alg_signature *algorithm = alg_signature_of_identifier(identifier);
	if (algorithm == NULL)
		return fail(s, E_CRYPTO, "it is signed with an algorithm we do not know");
	struct pki_key *key;
	TRY(pki_key_new(s, spki, &key));
	st good = pki_key_verify(s, key, algorithm, message, signature);
	pki_key_free(key);
	return good;
}
