#include "pki_key.h"
#include "pki_unit.h"
#include <openssl/bn.h>

static void signatures_by_openssl_verify_and_altered_ones_do_not(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const rows[][2] = {
		{ "ec-p256", "ecdsa-sha256" },      { "ec-p384", "ecdsa-sha384" },
		{ "ec-p384", "ecdsa-sha256" },      { "rsa-2048", "rsa-pss-sha256" },
		{ "rsa-2048", "rsa-pss-sha384" },   { "rsa-2048", "rsa-pkcs1-sha256" },
		{ "rsa-2048", "rsa-pkcs1-sha384" }, { "ed25519", "ed25519" },
		{ "ec-p521", "ecdsa-sha512" },      { "ec-brainpoolp512r1", "ecdsa-sha512" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		AUTO(EVP_PKEY) *pkey = unit_key_named(rows[i][0]);
		const struct alg_signature *algorithm = alg_signature_named(span_str(rows[i][1]));
		struct pki_key *key;
		assert_ok(&s, pki_key_new(&s, unit_spki(&s, pkey), &key));
		assert_string_equal(pki_key_type(key)->name, rows[i][0]);
		span message = span_str("to be signed"), signature = unit_sign_with(&s, pkey, algorithm, message);
		assert_ok(&s, pki_key_verify(&s, key, algorithm, message, signature));
		assert_fails(&s, E_CRYPTO, pki_key_verify(&s, key, algorithm, span_str("to be signeD"), signature));
		assert_fails(&s, E_CRYPTO,
			     pki_key_verify(&s, key, algorithm, message, span_first(signature, signature.len - 1)));
		assert_fails(&s, E_CRYPTO, pki_key_verify(&s, key, algorithm, message, (span){ 0 }));
		if (algorithm->digest != DIGEST_NONE) {
			span digest = digest_new(&s, algorithm->digest, message);
			assert_ok(&s, pki_key_verify_digest(&s, key, algorithm, digest, signature));
			digest = digest_new(&s, algorithm->digest, span_str("to be signeD"));
			assert_fails(&s, E_CRYPTO, pki_key_verify_digest(&s, key, algorithm, digest, signature));
		}
		const struct alg_signature *other = alg_signature_named(span_str(i == 0 ? "ed25519" : "ecdsa-sha256"));
		if (other->family != algorithm->family)
			assert_fails(&s, E_CRYPTO, pki_key_verify(&s, key, other, message, signature));
		pki_key_free(key);
	}
}

static void a_salt_of_another_length_is_no_signature_of_this_algorithm(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *pkey = unit_key_named("rsa-2048");
	struct pki_key *key;
	assert_ok(&s, pki_key_new(&s, unit_spki(&s, pkey), &key));
	const struct alg_signature *pss = alg_signature_named(span_str("rsa-pss-sha256"));
	const struct alg_signature *pkcs1 = alg_signature_named(span_str("rsa-pkcs1-sha256"));
	span message = span_str("m");
	assert_fails(&s, E_CRYPTO, pki_key_verify(&s, key, pss, message, unit_sign_with(&s, pkey, pkcs1, message)));
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *settings;
	assert_int_equal(EVP_DigestSignInit_ex(context, &settings, "SHA256", NULL, NULL, pkey, NULL), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, 20), 1);
	uint8_t signature[256];
	size_t len = sizeof signature;
	assert_int_equal(EVP_DigestSign(context, signature, &len, message.data, message.len), 1);
	EVP_MD_CTX_free(context);
	assert_fails(&s, E_CRYPTO, pki_key_verify(&s, key, pss, message, span_of(signature, len)));
	pki_key_free(key);
}

static void good_keys_pass_every_check(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const names[] = { "ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "ed25519" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		AUTO(EVP_PKEY) *pkey = unit_key_named(names[i]);
		assert_ok(&s, pki_key_check(&s, unit_spki(&s, pkey)));
	}
}

static void a_key_of_our_own_is_validated_in_full_and_the_words_say_how(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const rows[][2] = { { "ec-p256", "n*Q=O" },    { "ec-p384", "n*Q=O" },
					       { "ec-p521", "n*Q=O" },    { "ec-brainpoolp512r1", "n*Q=O" },
					       { "rsa-3072", "e=65537" }, { "ed25519", "n*Q=O" } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		AUTO(EVP_PKEY) *pkey = unit_key_named(rows[i][0]);
		const char *checks;
		assert_ok(&s, pki_key_assure(&s, unit_spki(&s, pkey), &checks));
		assert_non_null(strstr(checks, rows[i][1]));
	}
}

static void assurance_refuses(struct scope *s, const uint8_t key[32], const char *why)
{
	span spki;
	const char *checks;
	assert_ok(s, alg_spki_ed25519(s, span_of(key, 32), &spki));
	scope_clear_error(s);
	assert_int_equal(pki_key_assure(s, spki, &checks).code, E_CRYPTO);
	assert_non_null(strstr(s->message, why));
}

//= requirements#HSM-20 point on the curve, not the neutral element, n*Q = O
static void edwards_points_off_the_curve_or_of_another_order_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		uint8_t first, middle, last;
		const char *why;
	} rows[] = {
		{ 2, 0, 0, "no point of the curve" },          /* no x has this y */
		{ 0xee, 0xff, 0x7f, "no point of the curve" }, /* y = p + 1: another spelling of 1 */
		{ 1, 0, 0x80, "no point of the curve" },       /* x = 0 with the sign of -0 */
		{ 1, 0, 0, "order" },                          /* the neutral element */
		{ 0xec, 0xff, 0x7f, "order" },                 /* order 2 */
		{ 0, 0, 0, "order" },                          /* order 4 */
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint8_t key[32];
		memset(key, rows[i].middle, sizeof key);
		key[0] = rows[i].first;
		key[31] = rows[i].last;
		assurance_refuses(&s, key, rows[i].why);
	}
}

/* Q + (0, -1) = (-x, -y): on the curve, and of twice the order. */
static void an_edwards_point_with_a_part_of_small_order_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *pkey = unit_key_named("ed25519");
	struct alg_public public;
	uint8_t key[32];
	assert_ok(&s, alg_public_of_spki(&s, unit_spki(&s, pkey), &public));
	int borrow = 0;
	for (size_t i = 0; i < 32; i++) { /* p - y, from the lowest octet up */
		int p = i == 0 ? 0xed : i == 31 ? 0x7f : 0xff, y = i == 31 ? public.point.data[i] & 0x7f : public.point.data[i];
		int left = p - y - borrow;
		borrow = left < 0;
		key[i] = (uint8_t)left;
	}
	key[31] |= (uint8_t) ~public.point.data[31] & 0x80;
	assurance_refuses(&s, key, "order");
}

//= sp800-56a#5.6.2.3.4 the point lies on the curve
static void points_off_the_curve_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const names[] = { "ec-p256", "ec-p384" };
	for (size_t i = 0; i < 2; i++) {
		AUTO(EVP_PKEY) *pkey = unit_key_named(names[i]);
		span spki = unit_spki(&s, pkey);
		uint8_t *last = (uint8_t *)scope_cstr(&s, spki);
		last[spki.len - 1] ^= 1;
		assert_fails(&s, E_CRYPTO, pki_key_check(&s, span_of(last, spki.len)));
		memset(last + spki.len - 2 * alg_key_named(span_str(names[i]))->coordinate, 0,
		       2 * alg_key_named(span_str(names[i]))->coordinate);
		assert_fails(&s, E_CRYPTO, pki_key_check(&s, span_of(last, spki.len)));
	}
}

/* ---- RSA moduli that fail one check each ---- */

static void refused_because(struct scope *s, const BIGNUM *n, const char *why)
{
	uint8_t modulus[256];
	assert_int_equal(BN_bn2binpad(n, modulus, sizeof modulus), sizeof modulus);
	span spki;
	assert_ok(s, alg_spki_rsa(s, SPAN_ARRAY(modulus), SPAN_LITERAL("\x01\x00\x01"), &spki));
	st status = pki_key_check(s, spki);
	assert_int_equal(status.code, E_CRYPTO);
	if (strstr(s->message, why) == NULL)
		print_error("%s\n", s->message);
	assert_non_null(strstr(s->message, why));
	scope_clear_error(s);
}

static void even_moduli_and_small_factors_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	BIGNUM *n = BN_new();
	assert_int_equal(BN_rand(n, 2048, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD), 1);
	assert_int_equal(BN_clear_bit(n, 0), 1);
	refused_because(&s, n, "even");
	static const struct {
		unsigned factor;
		int bits;                                           /* of the other one */
	} rows[] = { { 3, 2046 }, { 257, 2040 }, { 65521, 2032 } }; /* 65521 is the largest prime below 65536 */
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		do {
			assert_int_equal(BN_generate_prime_ex(n, rows[i].bits, 0, NULL, NULL, NULL), 1);
			assert_int_equal(BN_mul_word(n, rows[i].factor), 1);
		} while (BN_num_bits(n) != 2048);
		refused_because(&s, n, "factor below 65536");
	}
	BN_free(n);
}

static void close_primes_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	BIGNUM *p = BN_new(), *q = BN_new(), *n = BN_new();
	BN_CTX *context = BN_CTX_new();
	do
		assert_int_equal(BN_generate_prime_ex(p, 1024, 0, NULL, NULL, NULL), 1);
	while (!BN_is_bit_set(p, 1022));
	assert_non_null(BN_copy(q, p));
	do
		assert_int_equal(BN_add_word(q, 2), 1);
	while (BN_check_prime(q, context, NULL) != 1);
	assert_int_equal(BN_mul(n, p, q, context), 1);
	refused_because(&s, n, "close together");
	assert_int_equal(BN_sqr(n, p, context), 1);
	refused_because(&s, n, "close together");
	BN_free(p);
	BN_free(q);
	BN_free(n);
	BN_CTX_free(context);
}

//= sp800-89#5.3.3 composite and not the power of a prime
static void primes_and_their_powers_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	BIGNUM *p = BN_new(), *n = BN_new();
	BN_CTX *context = BN_CTX_new();
	assert_int_equal(BN_generate_prime_ex(n, 2048, 0, NULL, NULL, NULL), 1);
	refused_because(&s, n, "prime or the power of one");
	static const int powers[] = { 3, 5 }; /* a square has the closest primes there are */
	for (size_t i = 0; i < sizeof powers / sizeof powers[0]; i++) {
		do {
			assert_int_equal(BN_generate_prime_ex(p, (2048 + powers[i] - 1) / powers[i], 0, NULL, NULL, NULL), 1);
			assert_non_null(BN_copy(n, p));
			for (int k = 1; k < powers[i]; k++)
				assert_int_equal(BN_mul(n, n, p, context), 1);
		} while (BN_num_bits(n) != 2048);
		refused_because(&s, n, "prime or the power of one");
	}
	BN_free(p);
	BN_free(n);
	BN_CTX_free(context);
}

/* A modulus as the faulty generator made them: a power of 65537 modulo the product of the small primes. */
static void roca_moduli_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	BIGNUM *m = BN_new(), *k = BN_new(), *n = BN_new();
	BN_CTX *context = BN_CTX_new();
	assert_int_equal(BN_set_word(m, 2), 1);
	for (BN_ULONG p = 3; p <= 167; p += 2) {
		bool prime = true;
		for (BN_ULONG d = 3; d * d <= p; d += 2)
			prime = prime && p % d != 0;
		if (prime)
			assert_int_equal(BN_mul_word(m, p), 1);
	}
	bool small = true;
	while (small) {
		assert_int_equal(BN_rand(k, 2048 - BN_num_bits(m) + 1, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ANY), 1);
		assert_int_equal(BN_mul(n, m, k, context), 1);
		assert_int_equal(BN_add_word(n, 65537), 1);
		small = BN_num_bits(n) != 2048;
		for (BN_ULONG d = 3; d < 65536 && !small; d += 2)
			small = BN_mod_word(n, d) == 0;
	}
	refused_because(&s, n, "ROCA");
	BN_free(m);
	BN_free(k);
	BN_free(n);
	BN_CTX_free(context);
}

static void the_key_identifier_is_what_openssl_computes(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *pkey = unit_key_named("ec-p256");
	X509 *certificate = X509_new();
	assert_int_equal(X509_set_pubkey(certificate, pkey), 1);
	uint8_t theirs[EVP_MAX_MD_SIZE], ours[20];
	unsigned len;
	assert_int_equal(X509_pubkey_digest(certificate, EVP_sha1(), theirs, &len), 1);
	assert_ok(&s, pki_key_identifier(&s, unit_spki(&s, pkey), ours));
	assert_memory_equal(ours, theirs, 20);
	X509_free(certificate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signatures_by_openssl_verify_and_altered_ones_do_not),
		cmocka_unit_test(a_salt_of_another_length_is_no_signature_of_this_algorithm),
		cmocka_unit_test(good_keys_pass_every_check),
		cmocka_unit_test(a_key_of_our_own_is_validated_in_full_and_the_words_say_how),
		cmocka_unit_test(edwards_points_off_the_curve_or_of_another_order_are_refused),
		cmocka_unit_test(an_edwards_point_with_a_part_of_small_order_is_refused),
		cmocka_unit_test(points_off_the_curve_are_refused),
		cmocka_unit_test(even_moduli_and_small_factors_are_refused),
		cmocka_unit_test(close_primes_are_refused),
		cmocka_unit_test(primes_and_their_powers_are_refused),
		cmocka_unit_test(roca_moduli_are_refused),
		cmocka_unit_test(the_key_identifier_is_what_openssl_computes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
