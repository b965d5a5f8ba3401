/*
 * control_seal.c - sealing to a P-256 key. The ephemeral scalar comes from the scope's randomness like everything random here, so the
 * shared point is computed with libcrypto's curve arithmetic and not with a key that libcrypto makes up itself.
 */
#include "alg.h"
#include "control_share.h"
#include "log.h"
#include "pki_key.h"
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/obj_mac.h>

#define SEAL_VERSION 1
#define POINT        65 /* uncompressed */
#define TAG          16
#define KEY          32
#define IV           12
#define OVERHEAD     (1 + POINT + TAG)
#define CONTEXT_MAX  1024

DEFINE_AUTO(BIGNUM, BN_clear_free)
DEFINE_AUTO(BN_CTX, BN_CTX_free)
DEFINE_AUTO(EC_GROUP, EC_GROUP_free)
DEFINE_AUTO(EC_POINT, EC_POINT_clear_free)
DEFINE_AUTO(EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)
DEFINE_AUTO(EVP_KDF, EVP_KDF_free)
DEFINE_AUTO(EVP_KDF_CTX, EVP_KDF_CTX_free)

/* Only memory that is not there makes these calls fail: their inputs were checked. */
static void must(int done)
{
	if (done != 1)
		log_die("libcrypto cannot compute what a share is sealed with");
}

/* ---- P-256 ---- */

static const struct alg_key *p256(void)
{
	return alg_key_named(SPAN_LITERAL("ec-p256"));
}

static st point_of(struct scope *s, span spki, span *out)
{
	struct alg_public public;
	TRY(pki_key_check(s, spki));
	TRY(alg_public_of_spki(s, spki, &public));
	if (public.key != p256())
		return fail(s, E_CRYPTO, "shares are sealed to keys of type ec-p256, this is %s", public.key->name);
	*out = public.point;
	return OK;
}

/* Is it less than the order, and not 0? Of random octets all but one in 2^32 are. */
static bool is_scalar(const EC_GROUP *group, const BIGNUM *k)
{
	return !BN_is_zero(k) && BN_cmp(k, EC_GROUP_get0_order(group)) < 0;
}

/* The generator times the scalar, whole; NULL for `peer` means the generator. False when the octets are no scalar. */
static bool multiply(const uint8_t scalar[CONTROL_SCALAR], span peer, uint8_t out[POINT])
{
	AUTO(EC_GROUP) *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	AUTO(BN_CTX) *aside = BN_CTX_secure_new();
	AUTO(BIGNUM) *k = BN_secure_new();
	must(group != NULL && aside != NULL && k != NULL && BN_bin2bn(scalar, CONTROL_SCALAR, k) != NULL);
	BN_set_flags(k, BN_FLG_CONSTTIME);
	if (!is_scalar(group, k))
		return false;
	AUTO(EC_POINT) *from = EC_POINT_new(group), *to = EC_POINT_new(group);
	must(from != NULL && to != NULL);
	if (peer.len > 0)
		must(EC_POINT_oct2point(group, from, peer.data, peer.len, aside));
	must(peer.len > 0 ? EC_POINT_mul(group, to, NULL, from, k, aside) : EC_POINT_mul(group, to, k, NULL, NULL, aside));
	must(EC_POINT_point2oct(group, to, POINT_CONVERSION_UNCOMPRESSED, out, POINT, aside) == POINT);
	return true;
}

static void new_pair(struct scope *s, uint8_t scalar[CONTROL_SCALAR], uint8_t point[POINT])
{
	do
		scope_random(s, scalar, CONTROL_SCALAR);
	while (!multiply(scalar, (span){ 0 }, point));
}

st control_pair_new(struct scope *s, uint8_t out_scalar[CONTROL_SCALAR], span *out_spki)
{
	uint8_t point[POINT];
	new_pair(s, out_scalar, point);
	return alg_spki_ec(s, p256(), SPAN_ARRAY(point), out_spki);
}

st control_pair_derive(struct scope *s, void *scalar, span peer_point, uint8_t out[32])
{
	uint8_t shared[POINT];
	span spki;
	TRY(alg_spki_ec(s, p256(), peer_point, &spki));
	TRY(pki_key_check(s, spki));
	if (!multiply(scalar, peer_point, shared))
		return fail(s, E_BUG, "this is no private key of P-256");
	memcpy(out, shared + 1, 32);
	wipe(shared, sizeof shared);
	return OK;
}

/* ---- the key of one message ---- */

struct message_key {
	uint8_t key[KEY];
	uint8_t iv[IV];
};

static uint8_t *octets_of(span bytes)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} u = { .in = bytes.data };
	return u.out;
}

static OSSL_PARAM octets(const char *name, span value)
{
	return OSSL_PARAM_construct_octet_string(name, octets_of(value), value.len);
}

/* Salted with both public points, so that a key belongs to one sender's message for one recipient (rfc5869#3.1). */
static void message_key(const uint8_t x[32], span ephemeral, span recipient, span context, struct message_key *out)
{
	static char sha256[] = "SHA256";
	uint8_t salt[2 * POINT];
	memcpy(salt, ephemeral.data, POINT);
	memcpy(salt + POINT, recipient.data, POINT);
	AUTO(EVP_KDF) *hkdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
	AUTO(EVP_KDF_CTX) *derivation = EVP_KDF_CTX_new(hkdf);
	const OSSL_PARAM parameters[] = { OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256, 0),
					  octets(OSSL_KDF_PARAM_KEY, span_of(x, 32)),
					  octets(OSSL_KDF_PARAM_SALT, SPAN_ARRAY(salt)), octets(OSSL_KDF_PARAM_INFO, context),
					  OSSL_PARAM_construct_end() };
	uint8_t both[KEY + IV];
	must(derivation != NULL && EVP_KDF_derive(derivation, both, sizeof both, parameters) == 1);
	memcpy(out->key, both, KEY);
	memcpy(out->iv, both + KEY, IV);
	wipe(both, sizeof both);
}

static st check_context(struct scope *s, span context)
{
	if (context.len == 0 || context.len > CONTEXT_MAX)
		return fail(s, E_LIMIT, "the context of a seal has 1 to %d octets", CONTEXT_MAX);
	return OK;
}

/* ---- sealing ---- */

static void encrypt(const struct message_key *key, span context, span secret, uint8_t *out, uint8_t tag[TAG])
{
	AUTO(EVP_CIPHER_CTX) *gcm = EVP_CIPHER_CTX_new();
	int len;
	must(gcm != NULL && EVP_EncryptInit_ex2(gcm, EVP_aes_256_gcm(), key->key, key->iv, NULL) == 1);
	must(EVP_EncryptUpdate(gcm, NULL, &len, context.data, (int)context.len));
	must(EVP_EncryptUpdate(gcm, out, &len, secret.data, (int)secret.len));
	must(EVP_EncryptFinal_ex(gcm, out + len, &len));
	must(EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, TAG, tag));
}

/* A new message key, and the point that its holder needs. */
static void fresh_key(struct scope *s, span recipient, span context, uint8_t ephemeral[POINT], struct message_key *out)
{
	uint8_t scalar[CONTROL_SCALAR], shared[POINT];
	new_pair(s, scalar, ephemeral);
	must(multiply(scalar, recipient, shared));
	message_key(shared + 1, span_of(ephemeral, POINT), recipient, context, out);
	wipe(scalar, sizeof scalar);
	wipe(shared, sizeof shared);
}

st control_seal(struct scope *s, span recipient_spki, span context, span secret, struct buf *out)
{
	span recipient;
	struct message_key key;
	uint8_t ephemeral[POINT], tag[TAG], ciphertext[CONTROL_SEALED_MAX - OVERHEAD];
	if (secret.len == 0 || secret.len > sizeof ciphertext)
		return fail(s, E_LIMIT, "%zu octets to be sealed; it may be 1 to %zu", secret.len, sizeof ciphertext);
	TRY(check_context(s, context));
	TRY(point_of(s, recipient_spki, &recipient));
	fresh_key(s, recipient, context, ephemeral, &key);
	encrypt(&key, context, secret, ciphertext, tag);
	wipe(&key, sizeof key);
	struct wr w = wr_into(out);
	wr_u8(&w, SEAL_VERSION);
	wr_raw(&w, SPAN_ARRAY(ephemeral));
	wr_raw(&w, span_of(ciphertext, secret.len));
	wr_raw(&w, SPAN_ARRAY(tag));
	return wr_end(s, &w);
}

/* ---- opening ---- */

struct sealed {
	span ephemeral, ciphertext, tag;
};

static st read_sealed(struct scope *s, span octets, struct sealed *out)
{
	struct rd r = rd_of(octets);
	uint8_t version = rd_u8(&r);
	out->ephemeral = rd_raw(&r, POINT);
	size_t left = r.rest.len;
	if (octets.len > CONTROL_SEALED_MAX || left <= TAG)
		return fail(s, E_INPUT, "%zu octets are nothing sealed; it has %d to %d", octets.len, OVERHEAD + 1,
			    CONTROL_SEALED_MAX);
	out->ciphertext = rd_raw(&r, left - TAG);
	out->tag = rd_raw(&r, TAG);
	TRY(rd_end(s, &r, "what is sealed"));
	if (version != SEAL_VERSION)
		return fail(s, E_INPUT, "sealed in version %u; this program knows version %d", version, SEAL_VERSION);
	span spki;
	TRY(alg_spki_ec(s, p256(), out->ephemeral, &spki));
	return fail_context(s, pki_key_check(s, spki), "the sender's key in what is sealed");
}

static bool decrypt(const struct message_key *key, span context, const struct sealed *m, uint8_t *out)
{
	AUTO(EVP_CIPHER_CTX) *gcm = EVP_CIPHER_CTX_new();
	int len;
	must(gcm != NULL && EVP_DecryptInit_ex2(gcm, EVP_aes_256_gcm(), key->key, key->iv, NULL) == 1);
	must(EVP_DecryptUpdate(gcm, NULL, &len, context.data, (int)context.len));
	must(EVP_DecryptUpdate(gcm, out, &len, m->ciphertext.data, (int)m->ciphertext.len));
	must(EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, TAG, octets_of(m->tag)));
	bool fits = EVP_DecryptFinal_ex(gcm, out + len, &len) == 1;
	ERR_clear_error();
	return fits;
}

st control_unseal(struct scope *s, const struct control_opener *opener, span context, span sealed, struct buf *out_secret)
{
	struct sealed m;
	struct message_key key;
	uint8_t x[32];
	span own;
	TRY(check_context(s, context));
	TRY(point_of(s, opener->spki, &own));
	TRY(read_sealed(s, sealed, &m));
	buf_clear(out_secret);
	if (!buf_reserve(out_secret, m.ciphertext.len))
		return fail(s, E_LIMIT, "what was sealed has no room here");
	TRY(opener->derive(s, opener->state, m.ephemeral, x));
	message_key(x, m.ephemeral, own, context, &key);
	bool fits = decrypt(&key, context, &m, out_secret->data);
	wipe(x, sizeof x);
	wipe(&key, sizeof key);
	out_secret->len = m.ciphertext.len;
	if (fits)
		return OK;
	buf_clear(out_secret);
	return fail(s, E_CRYPTO, "this was sealed to another key or for another purpose, or it was changed on its way");
}
