#include "pki_ecdsa.h"
#include "pki_unit.h"
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/obj_mac.h>

#define BEYOND_THE_TABLE 520 /* verifications after which a key on P-256 has its table */

static const struct {
	const char *key;
	int curve;
} rows[] = { { "ec-p256", NID_X9_62_prime256v1 },
	     { "ec-p384", NID_secp384r1 },
	     { "ec-p521", NID_secp521r1 },
	     { "ec-brainpoolp512r1", NID_brainpoolP512r1 } };

static struct pki_ecdsa *key_of(struct scope *s, const char *type, EVP_PKEY *pkey)
{
	struct alg_public public;
	struct pki_ecdsa *key;
	assert_ok(s, alg_public_of_spki(s, unit_spki(s, pkey), &public));
	assert_ok(s, pki_ecdsa_new(s, alg_key_named(span_str(type)), public.point, &key));
	return key;
}

/* An Ecdsa-Sig-Value of any two numbers, in DER that is right. */
static span pair_of(struct scope *s, const BIGNUM *r, const BIGNUM *other)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	unsigned char *der = NULL;
	assert_int_equal(ECDSA_SIG_set0(sig, BN_dup(r), BN_dup(other)), 1);
	int len = i2d_ECDSA_SIG(sig, &der);
	ECDSA_SIG_free(sig);
	return unit_take(s, der, len);
}

static bool openssl_takes(EVP_PKEY *pkey, span digest, span signature)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey, NULL);
	assert_int_equal(EVP_PKEY_verify_init(context), 1);
	int verdict = EVP_PKEY_verify(context, signature.data, signature.len, digest.data, digest.len);
	EVP_PKEY_CTX_free(context);
	return verdict == 1;
}

static span sign_digest(struct scope *s, EVP_PKEY *pkey, span digest)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey, NULL);
	uint8_t out[160];
	size_t len = sizeof out;
	assert_int_equal(EVP_PKEY_sign_init(context), 1);
	assert_int_equal(EVP_PKEY_sign(context, out, &len, digest.data, digest.len), 1);
	EVP_PKEY_CTX_free(context);
	return scope_copy(s, span_of(out, len));
}

/* With and without a table, digests shorter and longer than the order, one bit turned anywhere: the verdict is OpenSSL's. */
static void every_verdict_is_that_of_openssl(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		scope_init(&s, NULL);
		AUTO(EVP_PKEY) *pkey = unit_key_named(rows[i].key);
		struct pki_ecdsa *key = key_of(&s, rows[i].key, pkey);
		const unsigned rounds =
			rows[i].curve == NID_X9_62_prime256v1 ? 2 * BEYOND_THE_TABLE : 90; /* the others have none */
		for (unsigned n = 0; n < rounds; n++) {
			uint8_t digest[64];
			scope_random(&s, digest, sizeof digest);
			span whole = span_of(digest, n % 3 == 0 ? 64 : n % 3 == 1 ? 48 : 32);
			span signature = sign_digest(&s, pkey, whole);
			assert_true(pki_ecdsa_verify(key, whole, signature));
			uint8_t *broken = (uint8_t *)scope_cstr(&s, signature);
			broken[n % signature.len] ^= (uint8_t)(1u << n / signature.len % 8);
			span altered = span_of(broken, signature.len);
			assert_int_equal(pki_ecdsa_verify(key, whole, altered), openssl_takes(pkey, whole, altered));
			digest[n % 32] ^= 1;
			assert_false(pki_ecdsa_verify(key, whole, signature));
		}
		pki_ecdsa_free(key);
		scope_done(&s);
	}
}

//= fips186-5#6.4.2 step 1: r and s outside [1, n - 1] end the verification
static void numbers_out_of_range_fit_nothing(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		EC_GROUP *group = EC_GROUP_new_by_curve_name(rows[i].curve);
		AUTO(EVP_PKEY) *pkey = unit_key_named(rows[i].key);
		struct pki_ecdsa *key = key_of(&s, rows[i].key, pkey);
		span digest = SPAN_LITERAL("0123456789abcdef0123456789abcdef");
		span good = sign_digest(&s, pkey, digest);
		const unsigned char *at = good.data;
		ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)good.len);
		const BIGNUM *n = EC_GROUP_get0_order(group), *r = ECDSA_SIG_get0_r(sig), *value = ECDSA_SIG_get0_s(sig);
		BIGNUM *zero = BN_new(), *r_beyond = BN_new(), *s_beyond = BN_new();
		BN_zero(zero);
		assert_int_equal(BN_add(r_beyond, r, n) + BN_add(s_beyond, value, n), 2);
		assert_true(pki_ecdsa_verify(key, digest, pair_of(&s, r, value)));
		const BIGNUM *const bad[][2] = { { zero, value }, { r, zero }, { zero, zero },      { n, value },
						 { r, n },        { n, n },    { r_beyond, value }, { r, s_beyond } };
		for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
			assert_false(pki_ecdsa_verify(key, digest, pair_of(&s, bad[k][0], bad[k][1])));
		BN_free(zero);
		BN_free(r_beyond);
		BN_free(s_beyond);
		ECDSA_SIG_free(sig);
		EC_GROUP_free(group);
		pki_ecdsa_free(key);
	}
}

/* The second number with its sign octet cut off: read as unsigned it would fit. */
static void negative_numbers_fit_nothing(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *pkey = unit_key();
	struct pki_ecdsa *key = key_of(&s, "ec-p256", pkey);
	span digest = SPAN_LITERAL("0123456789abcdef0123456789abcdef"), value = { 0 }, r = { 0 };
	while (value.len != 33) {
		struct der_rd whole = der_read(sign_digest(&s, pkey, digest));
		struct der_rd two = der_enter(&whole, DER_SEQUENCE);
		r = der_get_integer(&two);
		value = der_get_integer(&two);
	}
	for (size_t cut = 0; cut < 2; cut++) {
		AUTO_BUF b = { 0 };
		struct der_wr w = der_write(&b);
		der_begin(&w, DER_SEQUENCE);
		der_put(&w, DER_INTEGER, r);
		der_put(&w, DER_INTEGER, span_from(value, cut));
		der_end(&w);
		assert_ok(&s, der_finish(&s, &w));
		assert_int_equal(pki_ecdsa_verify(key, digest, buf_span(&b)), cut == 0);
	}
	pki_ecdsa_free(key);
}

/* The two summands are the same point: adding them is doubling, which a formula for sums alone would get wrong. */
static void equal_summands_are_doubled(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	const BIGNUM *n = EC_GROUP_get0_order(group);
	BN_CTX *c = BN_CTX_new();
	BIGNUM *k = BN_new(), *r = BN_new(), *e = BN_new(), *d = BN_new(), *value = BN_new();
	EC_POINT *point = EC_POINT_new(group);
	uint8_t digest[32], octets[65];
	scope_random(&s, digest, sizeof digest);
	assert_int_equal(BN_rand_range(k, n), 1);
	assert_int_equal(EC_POINT_mul(group, point, k, NULL, NULL, c), 1);
	assert_int_equal(EC_POINT_get_affine_coordinates(group, point, r, NULL, c), 1);
	assert_int_equal(BN_nnmod(r, r, n, c), 1);
	assert_non_null(BN_bin2bn(digest, 32, e));
	assert_non_null(BN_mod_inverse(d, r, n, c));
	assert_int_equal(BN_mod_mul(d, d, e, n, c), 1); /* d = e / r: u1 = u2 * d */
	assert_non_null(BN_mod_inverse(value, k, n, c));
	assert_int_equal(BN_mod_mul(value, value, e, n, c), 1);
	assert_int_equal(BN_mod_lshift1(value, value, n, c), 1); /* (e + r d) / k */
	assert_int_equal(EC_POINT_mul(group, point, d, NULL, NULL, c), 1);
	assert_int_equal(EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, octets, 65, c), 65);
	struct pki_ecdsa *key;
	assert_ok(&s, pki_ecdsa_new(&s, alg_key_named(SPAN_LITERAL("ec-p256")), SPAN_ARRAY(octets), &key));
	span signature = pair_of(&s, r, value);
	for (unsigned i = 0; i < BEYOND_THE_TABLE; i++)
		assert_true(pki_ecdsa_verify(key, SPAN_ARRAY(digest), signature));
	pki_ecdsa_free(key);
	EC_POINT_free(point);
	BN_free(k);
	BN_free(r);
	BN_free(e);
	BN_free(d);
	BN_free(value);
	BN_CTX_free(c);
	EC_GROUP_free(group);
}

/* R's x lies between the order and the field's prime, which chance never brings: R is chosen, and the key that fits it computed. */
static void an_x_beyond_the_order_counts_modulo_the_order(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	const BIGNUM *n = EC_GROUP_get0_order(group);
	BN_CTX *c = BN_CTX_new();
	BIGNUM *x = BN_dup(n), *r = BN_new(), *e = BN_new(), *inverse = BN_new();
	EC_POINT *sum = EC_POINT_new(group), *q = EC_POINT_new(group);
	uint8_t digest[32], octets[65];
	scope_random(&s, digest, sizeof digest);
	do
		assert_int_equal(BN_add_word(x, 1), 1);
	while (EC_POINT_set_compressed_coordinates(group, sum, x, 0, c) != 1);
	assert_true(BN_cmp(x, EC_GROUP_get0_field(group)) < 0);
	assert_int_equal(BN_sub(r, x, n), 1);
	assert_non_null(BN_bin2bn(digest, 32, e));
	assert_non_null(BN_mod_inverse(inverse, r, n, c));
	assert_int_equal(EC_POINT_mul(group, q, e, NULL, NULL, c), 1); /* with s = 1: Q = (R - e G) / r */
	assert_int_equal(EC_POINT_invert(group, q, c), 1);
	assert_int_equal(EC_POINT_add(group, q, sum, q, c), 1);
	assert_int_equal(EC_POINT_mul(group, q, NULL, q, inverse, c), 1);
	assert_int_equal(EC_POINT_point2oct(group, q, POINT_CONVERSION_UNCOMPRESSED, octets, 65, c), 65);
	struct pki_ecdsa *key;
	assert_ok(&s, pki_ecdsa_new(&s, alg_key_named(SPAN_LITERAL("ec-p256")), SPAN_ARRAY(octets), &key));
	assert_true(pki_ecdsa_verify(key, SPAN_ARRAY(digest), pair_of(&s, r, BN_value_one())));
	digest[0] ^= 1;
	assert_false(pki_ecdsa_verify(key, SPAN_ARRAY(digest), pair_of(&s, r, BN_value_one())));
	pki_ecdsa_free(key);
	EC_POINT_free(sum);
	EC_POINT_free(q);
	BN_free(x);
	BN_free(r);
	BN_free(e);
	BN_free(inverse);
	BN_CTX_free(c);
	EC_GROUP_free(group);
}

/* One signature, one encoding: a second one would make two certificates of one. */
static void another_encoding_of_the_same_numbers_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *pkey = unit_key();
	struct pki_ecdsa *key = key_of(&s, "ec-p256", pkey);
	span digest = SPAN_LITERAL("0123456789abcdef0123456789abcdef");
	span good = sign_digest(&s, pkey, digest);
	AUTO_BUF b = { 0 };
	assert_true(buf_append(&b, SPAN_LITERAL("\x30\x81")) && buf_append(&b, span_from(good, 1)));
	assert_false(pki_ecdsa_verify(key, digest, buf_span(&b))); /* length in two octets */
	buf_clear(&b);
	assert_true(buf_append(&b, good) && buf_append(&b, SPAN_LITERAL("\x00")));
	assert_false(pki_ecdsa_verify(key, digest, buf_span(&b))); /* an octet behind */
	buf_clear(&b);
	uint8_t head[] = { 0x30, (uint8_t)(good.data[1] + 1), 0x02, (uint8_t)(good.data[3] + 1), 0 };
	assert_true(buf_append(&b, SPAN_ARRAY(head)) && buf_append(&b, span_from(good, 4)));
	assert_false(pki_ecdsa_verify(key, digest, buf_span(&b))); /* a zero in front that nothing needs, or two */
	assert_true(pki_ecdsa_verify(key, digest, good));
	pki_ecdsa_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verdict_is_that_of_openssl),
		cmocka_unit_test(numbers_out_of_range_fit_nothing),
		cmocka_unit_test(negative_numbers_fit_nothing),
		cmocka_unit_test(equal_summands_are_doubled),
		cmocka_unit_test(an_x_beyond_the_order_counts_modulo_the_order),
		cmocka_unit_test(another_encoding_of_the_same_numbers_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
