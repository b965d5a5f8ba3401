/*
 * pki_test_keys.h - keys and signatures by OpenSSL, the outsider of this module's tests.
 */
#pragma once
#include "pki_key.h"
#include "unit.h"
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)

static inline EVP_PKEY *test_key(const char *name)
{
	EVP_PKEY *key = NULL;
	if (strncmp(name, "rsa-", 4) == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)strtoul(name + 4, NULL, 10));
	else if (strcmp(name, "ed25519") == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", strcmp(name, "ec-p384") == 0 ? "P-384" : "P-256");
	assert_non_null(key);
	return key;
}

static inline span test_spki(struct scope *s, EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	assert_true(len > 0);
	span out = scope_copy(s, span_of(der, (size_t)len));
	OPENSSL_free(der);
	return out;
}

static inline span test_sign(struct scope *s, EVP_PKEY *key, const struct alg_signature *algorithm, span message)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *settings;
	const char *digest = algorithm->digest == DIGEST_NONE ? NULL : digest_name(algorithm->digest);
	assert_int_equal(EVP_DigestSignInit_ex(context, &settings, digest, NULL, NULL, key, NULL), 1);
	if (algorithm->pss) {
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST), 1);
	}
	size_t len = algorithm->max_signature;
	uint8_t *signature = scope_alloc(s, len);
	assert_int_equal(EVP_DigestSign(context, signature, &len, message.data, message.len), 1);
	EVP_MD_CTX_free(context);
	return span_of(signature, len);
}
