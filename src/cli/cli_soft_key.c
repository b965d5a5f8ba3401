#include "cli_soft_key.h"
#include "pki_request.h"
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
DEFINE_AUTO(EVP_MD_CTX, EVP_MD_CTX_free)
DEFINE_AUTO(BIO, BIO_free)

static st crypto_failed(struct scope *s, const char *doing)
{
	return fail(s, E_CRYPTO, "libcrypto: %s failed", doing);
}

st cli_soft_key_new(struct scope *s, span *out_pem)
{
	AUTO(EVP_PKEY) *key = EVP_EC_gen("P-256");
	AUTO(BIO) *memory = BIO_new(BIO_s_secmem());
	if (key == NULL || memory == NULL || PEM_write_bio_PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL) != 1)
		return crypto_failed(s, "making a P-256 key");
	char *bytes;
	long len = BIO_get_mem_data(memory, &bytes);
	if (len <= 0)
		return crypto_failed(s, "writing a key");
	*out_pem = scope_copy(s, span_of(bytes, (size_t)len));
	return OK;
}

static st sign(struct scope *s, EVP_PKEY *key, span message, span *out)
{
	AUTO(EVP_MD_CTX) *context = EVP_MD_CTX_new();
	size_t len = 0;
	if (context == NULL || EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(context, NULL, &len, message.data, message.len) != 1)
		return crypto_failed(s, "signing a request");
	uint8_t *value = scope_alloc(s, len);
	if (EVP_DigestSign(context, value, &len, message.data, message.len) != 1)
		return crypto_failed(s, "signing a request");
	*out = span_of(value, len);
	return OK;
}

st cli_soft_key_request(struct scope *s, span key_pem, span subject, span *out_request)
{
	AUTO(BIO) *memory = BIO_new_mem_buf(key_pem.data, (int)key_pem.len);
	AUTO(EVP_PKEY) *key = memory == NULL ? NULL : PEM_read_bio_PrivateKey(memory, NULL, NULL, NULL);
	if (key == NULL)
		return crypto_failed(s, "reading a private key");
	unsigned char *spki = NULL;
	int len = i2d_PUBKEY(key, &spki);
	if (len <= 0)
		return crypto_failed(s, "writing a public key");
	span public_key = scope_copy(s, span_of(spki, (size_t)len));
	OPENSSL_free(spki);
	const struct alg_signature *algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha256"));
	span info, value;
	TRY(pki_request_build_info(s, subject, public_key, &info));
	TRY(sign(s, key, info, &value));
	return pki_request_assemble(s, info, algorithm, value, out_request);
}
