/*
 * pki_unit.h - for the unit tests of this module: OpenSSL as the outsider that makes keys and certificates, signs what we
 * wrote and judges it.
 */
#pragma once
#include "alg.h"
#include "unit.h"
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
DEFINE_AUTO(X509, X509_free)
DEFINE_AUTO(X509_STORE, X509_STORE_free)
DEFINE_AUTO(EVP_MD_CTX, EVP_MD_CTX_free)

static inline EVP_PKEY *unit_key(void)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	assert_non_null(key);
	return key;
}

/* By the name of the algorithm table. */
static inline EVP_PKEY *unit_key_named(const char *name)
{
	EVP_PKEY *key = NULL;
	if (strncmp(name, "rsa-", 4) == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)strtoul(name + 4, NULL, 10));
	else if (strcmp(name, "ed25519") == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC",
					strcmp(name, "ec-p384") == 0              ? "P-384"
					: strcmp(name, "ec-p521") == 0            ? "P-521"
					: strcmp(name, "ec-brainpoolp512r1") == 0 ? "brainpoolP512r1"
										  : "P-256");
	assert_non_null(key);
	return key;
}

static inline span unit_take(struct scope *s, unsigned char *der, int len)
{
	assert_true(len > 0);
	span out = scope_copy(s, span_of(der, (size_t)len));
	OPENSSL_free(der);
	return out;
}

static inline span unit_sign(struct scope *s, EVP_PKEY *key, span message)
{
	AUTO(EVP_MD_CTX) *c = EVP_MD_CTX_new();
	uint8_t out[512];
	size_t len = sizeof out;
	assert_int_equal(EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(c, out, &len, message.data, message.len), 1);
	return scope_copy(s, span_of(out, len));
}

static inline span unit_sign_with(struct scope *s, EVP_PKEY *key, const struct alg_signature *algorithm, span message)
{
	AUTO(EVP_MD_CTX) *c = EVP_MD_CTX_new();
	EVP_PKEY_CTX *settings;
	const char *digest = algorithm->digest == DIGEST_NONE ? NULL : digest_name(algorithm->digest);
	assert_int_equal(EVP_DigestSignInit_ex(c, &settings, digest, NULL, NULL, key, NULL), 1);
	if (algorithm->pss) {
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST), 1);
	}
	size_t len = algorithm->max_signature;
	uint8_t *signature = scope_alloc(s, len);
	assert_int_equal(EVP_DigestSign(c, signature, &len, message.data, message.len), 1);
	return span_of(signature, len);
}

/* A v3 certificate for `key` under this common name, signed by `issuer` and its key (NULL: itself). */
static inline X509 *unit_certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, const char *usage)
{
	X509 *c = X509_new();
	X509_NAME *subject = X509_get_subject_name(c);
	assert_int_equal(X509_set_version(c, 2), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(c), issuer == NULL ? 1 : 77), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(c, issuer != NULL ? X509_get_subject_name(issuer) : subject), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(c), -3600));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(c), 86400));
	assert_int_equal(X509_set_pubkey(c, key), 1);
	int nid = issuer == NULL ? NID_basic_constraints : NID_ext_key_usage;
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, usage);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(c, extension, -1), 1);
	X509_EXTENSION_free(extension);
	assert_true(X509_sign(c, issuer_key != NULL ? issuer_key : key, EVP_sha256()) > 0);
	return c;
}

static inline span unit_der(struct scope *s, const X509 *certificate)
{
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);
	return unit_take(s, der, len);
}

static inline span unit_subject(struct scope *s, const X509 *certificate)
{
	unsigned char *der = NULL;
	int len = i2d_X509_NAME(X509_get_subject_name(certificate), &der);
	return unit_take(s, der, len);
}

static inline span unit_spki(struct scope *s, EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	return unit_take(s, der, len);
}

/* SHA-1 over the bits of the public key. */
static inline span unit_key_hash(struct scope *s, const X509 *certificate)
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	assert_int_equal(X509_pubkey_digest(certificate, EVP_sha1(), hash, &len), 1);
	return scope_copy(s, span_of(hash, len));
}

static inline int64_t unit_moment(struct scope *s, const char *rfc3339)
{
	int64_t moment = 0;
	assert_ok(s, moment_parse(s, span_str(rfc3339), &moment));
	return moment;
}

static inline const struct alg_signature *unit_algorithm(void)
{
	return alg_signature_named(SPAN_LITERAL("ecdsa-sha256"));
}
