/*
 * hsm_verify.c - does a signature of the module verify? Decided with libcrypto: a module that is wrong about signing could
 * be wrong about verifying as well.
 */
#include "hsm.h"
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
DEFINE_AUTO(EVP_PKEY_CTX, EVP_PKEY_CTX_free)
DEFINE_AUTO(EVP_MD_CTX, EVP_MD_CTX_free)

static const EVP_MD *message_digest(enum digest_alg alg)
{
	return EVP_get_digestbyname(digest_name(alg));
}

static bool set_padding(EVP_PKEY_CTX *context, const struct alg_signature *algorithm)
{
	if (EVP_PKEY_CTX_set_signature_md(context, message_digest(algorithm->digest)) != 1)
		return false;
	if (algorithm->family != ALG_RSA)
		return true;
	if (!algorithm->pss)
		return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
	return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static bool verify_digest(EVP_PKEY *key, const struct alg_signature *algorithm, span digest, span signature)
{
	AUTO(EVP_PKEY_CTX) *context = EVP_PKEY_CTX_new(key, NULL);
	return context != NULL && EVP_PKEY_verify_init(context) == 1 && set_padding(context, algorithm) &&
	       EVP_PKEY_verify(context, signature.data, signature.len, digest.data, digest.len) == 1;
}

static bool verify_message(EVP_PKEY *key, span message, span signature)
{
	AUTO(EVP_MD_CTX) *context = EVP_MD_CTX_new();
	return context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
	       EVP_DigestVerify(context, signature.data, signature.len, message.data, message.len) == 1;
}

st hsm_verify(struct scope *s, span spki, const struct alg_signature *algorithm, span digest, span signature)
{
	const unsigned char *at = spki.data;
	AUTO(EVP_PKEY) *key = spki.len > LONG_MAX ? NULL : d2i_PUBKEY(NULL, &at, (long)spki.len);
	if (key == NULL)
		return fail(s, E_CRYPTO, "the public key from the token is none that libcrypto accepts");
	bool good = algorithm->digest == DIGEST_NONE ? verify_message(key, digest, signature)
						     : verify_digest(key, algorithm, digest, signature);
	return good ? OK : fail(s, E_CRYPTO, "a signature made by the token does not verify under its public key");
}
