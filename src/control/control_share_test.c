#include "control_share.h"
#include "pki_unit.h"
#include "text.h"

/* Randomness that was written down before. */
struct given {
	uint8_t octets[64];
	size_t used;
};

static void give(void *state, void *out, size_t len)
{
	struct given *g = state;
	uint8_t *to = out;
	for (size_t i = 0; i < len; i++)
		to[i] = g->octets[(g->used + i) % sizeof g->octets];
	g->used += len;
}

static struct source source_of(struct given *g)
{
	return (struct source){ .now = source_kernel.now, .random = give, .state = g };
}

static span octets(struct scope *s, const char *hex)
{
	span out = { 0 };
	assert_ok(s, hex_parse(s, span_str(hex), &out));
	return out;
}

/* ---- splitting ---- */

//= fips197#4.2.1 {57} times {02}, {04}, {08} and {10}
static void multiplication_is_that_of_aes(void **state)
{
	(void)state;
	struct given coefficient = { .octets = { 0x57 } };
	struct source source = source_of(&coefficient);
	struct control_share share[16];
	const uint8_t zero = 0;
	AUTO_SCOPE s;
	scope_init(&s, &source);
	coefficient.used = 0;
	assert_ok(&s, control_split(&s, span_of(&zero, 1), 2, 16, share));
	assert_int_equal(share[0].octets[0], 0x57);
	assert_int_equal(share[1].octets[0], 0xae);
	assert_int_equal(share[3].octets[0], 0x47);
	assert_int_equal(share[7].octets[0], 0x8e);
	assert_int_equal(share[15].octets[0], 0x07);
}

/* Made with:
 *   def mul(a, b):
 *       p = 0
 *       for i in range(8): p ^= (a << i) * (b >> i & 1)
 *       for i in range(14, 7, -1): p ^= (0x11b << i - 8) * (p >> i & 1)
 *       return p
 *   for x in range(1, 6): print(bytes(k ^ mul(0x10 + k, x) ^ mul(0xf0 + k, mul(x, x)) for k in range(16)).hex()) */
static void a_split_with_known_coefficients_gives_known_shares(void **state)
{
	(void)state;
	static const char *const expected[] = {
		"e0e1e2e3e4e5e6e7e8e9eaebecedeeef", "cdcac3c4d1d6dfd8f5f2fbfce9eee7e0", "2d2a232431363f3815121b1c090e0700",
		"d9ccf3e68d98a7b271645b4e25300f1a", "392c13066d7847529184bbaec5d0effa",
	};
	struct given coefficients = { .used = 0 };
	struct source source = source_of(&coefficients);
	struct control_share share[5];
	uint8_t secret[16];
	AUTO_SCOPE s;
	scope_init(&s, &source);
	coefficients.used = 0;
	for (uint8_t i = 0; i < 16; i++) {
		secret[i] = i;
		coefficients.octets[i] = 0x10 + i;
		coefficients.octets[16 + i] = 0xf0 + i;
	}
	assert_ok(&s, control_split(&s, SPAN_ARRAY(secret), 3, 5, share));
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(share[i].index, i + 1);
		assert_int_equal(share[i].threshold, 3);
		assert_string_equal(hex_text(&s, span_of(share[i].octets, share[i].len)), expected[i]);
	}
}

static void join_subset(struct scope *s, const struct control_share *share, unsigned count, unsigned subset, span secret)
{
	struct control_share some[CONTROL_SHARES_MAX];
	size_t taken = 0;
	AUTO_BUF joined;
	buf_init(&joined, 0);
	for (unsigned i = count; i > 0; i--) /* in another order than they were made in */
		if ((subset >> (i - 1) & 1) != 0)
			some[taken++] = share[i - 1];
	if (taken < share[0].threshold) {
		assert_fails(s, E_INPUT, control_join(s, some, taken, &joined));
		return;
	}
	assert_ok(s, control_join(s, some, taken, &joined));
	assert_true(span_equal(buf_span(&joined), secret));
}

//= req7.2#HSM-10 Shamir n-of-m over GF(256)
static void every_subset_that_is_large_enough_joins(void **state)
{
	(void)state;
	struct control_share share[6];
	uint8_t secret[CONTROL_SECRET_MAX];
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (unsigned count = 2; count <= 6; count++)
		for (unsigned threshold = 2; threshold <= count; threshold++) {
			scope_random(&s, secret, sizeof secret);
			assert_ok(&s, control_split(&s, SPAN_ARRAY(secret), threshold, count, share));
			for (unsigned subset = 0; subset < 1u << count; subset++)
				join_subset(&s, share, count, subset, SPAN_ARRAY(secret));
		}
}

/* Of all coefficients there are: each secret gives each pair of shares exactly once, so two of three say nothing of it. */
static void fewer_shares_say_nothing_of_the_secret(void **state)
{
	(void)state;
	static const uint8_t secrets[] = { 0x00, 0x01, 0x53, 0xff };
	static uint8_t seen[sizeof secrets][65536];
	struct given coefficients = { .used = 0 };
	struct source source = source_of(&coefficients);
	struct control_share share[3];
	AUTO_SCOPE s;
	scope_init(&s, &source);
	for (size_t i = 0; i < sizeof secrets; i++)
		for (unsigned c = 0; c < 65536; c++) {
			coefficients.octets[0] = (uint8_t)c;
			coefficients.octets[1] = (uint8_t)(c >> 8);
			coefficients.used = 0;
			assert_int_equal(control_split(&s, span_of(&secrets[i], 1), 3, 3, share).code, E_OK);
			seen[i][share[0].octets[0] << 8 | share[2].octets[0]]++;
		}
	for (size_t i = 0; i < sizeof secrets; i++)
		for (unsigned pair = 0; pair < 65536; pair++)
			assert_int_equal(seen[i][pair], 1);
}

/* And the same of one share of two, for every secret. */
static void one_share_of_two_says_nothing_of_any_secret(void **state)
{
	(void)state;
	struct given coefficient = { .used = 0 };
	struct source source = source_of(&coefficient);
	struct control_share share[2];
	AUTO_SCOPE s;
	scope_init(&s, &source);
	for (unsigned secret = 0; secret < 256; secret++) {
		uint8_t seen[256] = { 0 }, octet = (uint8_t)secret;
		for (unsigned c = 0; c < 256; c++) {
			coefficient.octets[0] = (uint8_t)c;
			coefficient.used = 0;
			assert_int_equal(control_split(&s, span_of(&octet, 1), 2, 2, share).code, E_OK);
			seen[share[1].octets[0]]++;
		}
		for (unsigned value = 0; value < 256; value++)
			assert_int_equal(seen[value], 1);
	}
}

//= tsps#6.2.2 two custodians at least
static void what_is_no_split_is_refused(void **state)
{
	(void)state;
	static const struct {
		size_t len;
		unsigned threshold, count;
	} refused[] = { { 16, 1, 3 }, { 16, 0, 0 }, { 16, 3, 2 }, { 16, 2, 17 }, { 0, 2, 3 }, { 65, 2, 3 } };
	struct control_share share[17];
	uint8_t secret[65] = { 0 };
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		assert_fails(&s, E_INPUT,
			     control_split(&s, span_of(secret, refused[i].len), refused[i].threshold, refused[i].count, share));
	assert_ok(&s, control_split(&s, span_of(secret, 64), 16, 16, share));
}

static void shares_that_do_not_belong_together_are_refused(void **state)
{
	(void)state;
	uint8_t secret[32] = { 7 };
	struct control_share one[3], other[3], pair[2];
	AUTO_BUF joined;
	AUTO_SCOPE s;
	buf_init(&joined, 0);
	scope_init(&s, NULL);
	assert_ok(&s, control_split(&s, SPAN_ARRAY(secret), 2, 3, one));
	assert_ok(&s, control_split(&s, SPAN_ARRAY(secret), 3, 3, other));
	pair[0] = one[0];
	pair[1] = one[0];
	assert_fails(&s, E_INPUT, control_join(&s, pair, 2, &joined)); /* one custodian twice */
	pair[1] = other[1];
	assert_fails(&s, E_INPUT, control_join(&s, pair, 2, &joined));
	pair[1] = one[1];
	pair[1].len--;
	assert_fails(&s, E_INPUT, control_join(&s, pair, 2, &joined));
	pair[1] = one[1];
	pair[1].octets[31] ^= 1;
	assert_ok(&s, control_join(&s, pair, 2, &joined)); /* another secret: the commitments tell */
	assert_false(span_equal(buf_span(&joined), SPAN_ARRAY(secret)));
}

static void a_share_is_read_back_from_its_octets(void **state)
{
	(void)state;
	static const char *const refused[] = { "",         "01",       "010102",   "02010200", "01000200",
					       "01110200", "01010100", "01011100", "010102" };
	struct control_share share = { .index = 3, .threshold = 2, .octets = { 1, 2, 3 }, .len = 3 }, again;
	AUTO_BUF out;
	AUTO_SCOPE s;
	buf_init(&out, 0);
	scope_init(&s, NULL);
	assert_ok(&s, control_share_write(&s, &share, &out));
	assert_string_equal(hex_text(&s, buf_span(&out)), "010302010203");
	assert_ok(&s, control_share_read(&s, buf_span(&out), &again));
	assert_int_equal(again.index, 3);
	assert_int_equal(again.threshold, 2);
	assert_true(span_equal(span_of(again.octets, again.len), span_of(share.octets, share.len)));
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		assert_fails(&s, E_INPUT, control_share_read(&s, octets(&s, refused[i]), &again));
	uint8_t long_one[3 + CONTROL_SECRET_MAX + 1] = { 1, 1, 2 };
	assert_ok(&s, control_share_read(&s, span_of(long_one, sizeof long_one - 1), &again));
	assert_fails(&s, E_INPUT, control_share_read(&s, SPAN_ARRAY(long_one), &again));
}

/* printf 'chancery commitment 1\n\0\0\0\3abc\1\3\2sixteen octets!!' | sha256sum */
static void a_commitment_is_of_one_share_in_one_context(void **state)
{
	(void)state;
	uint8_t commitment[CONTROL_COMMITMENT], other[CONTROL_COMMITMENT];
	struct control_share share = { .index = 3, .threshold = 2, .len = 16 };
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	memcpy(share.octets, "sixteen octets!!", 16);
	assert_ok(&s, control_share_commitment(&s, &share, span_str("abc"), commitment));
	assert_string_equal(hex_text(&s, SPAN_ARRAY(commitment)),
			    "7de8598fdcf16611e914da1113ce408822ada55d58cbc65eaf3c220353aef554");
	assert_ok(&s, control_share_commitment(&s, &share, span_str("abd"), other));
	assert_memory_not_equal(commitment, other, sizeof other);
	share.index = 2;
	assert_ok(&s, control_share_commitment(&s, &share, span_str("abc"), other));
	assert_memory_not_equal(commitment, other, sizeof other);
	share.len = 15;
	assert_fails(&s, E_INPUT, control_share_commitment(&s, &share, span_str("abc"), other));
}

/* ---- sealing ---- */

static struct control_opener opener_of(span spki, uint8_t scalar[CONTROL_SCALAR])
{
	return (struct control_opener){ .spki = spki, .derive = control_pair_derive, .state = scalar };
}

/* Made with python-cryptography, a second implementation of all of it:
 *   r = ec.derive_private_key(int.from_bytes(bytes(range(1, 33)), "big"), ec.SECP256R1())
 *   e = ec.derive_private_key(int.from_bytes(bytes(range(101, 133)), "big"), ec.SECP256R1())
 *   rp, ep = (k.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for k in (r, e))
 *   k = HKDF(SHA256(), 44, ep + rp, b"unit context").derive(e.exchange(ec.ECDH(), r.public_key()))
 *   b"\1" + ep + AESGCM(k[:32]).encrypt(k[32:], b"sixteen octets!!", b"unit context") */
static const char spki_vector[] =
	"3059301306072a8648ce3d020106082a8648ce3d03010703420004515c3d6eb9e396b904d3feca7f54fdcd0cc1e997bf"
	"375dca515ad0a6c3b4035f4536be3a50f318fbf9a5475902a221502bef0d57e08c53b2cc0a56f17d9f9354";
static const char sealed_vector[] =
	"0104254ee6d1bad1c74ce2fd28ac529a166af4950a0e3da0bc53d96bf40dce38ebe7df5937f11e869d453729a222f63e7"
	"09d0740b97544e1416b1e5a401b385fb950517bd68b1cd6393e6ab767f6dfc561e63f7a0b36407e1130d029f11c61a2"
	"75b3";

static void sealing_is_what_another_implementation_computes(void **state)
{
	(void)state;
	struct given scalar = { .used = 0 };
	struct source source = source_of(&scalar);
	uint8_t own[CONTROL_SCALAR];
	AUTO_BUF sealed, opened;
	AUTO_SCOPE s;
	scope_init(&s, &source);
	scalar.used = 0;
	buf_init(&sealed, 0);
	buf_init(&opened, 0);
	for (uint8_t i = 0; i < 32; i++) {
		own[i] = 1 + i;
		scalar.octets[i] = 101 + i;
	}
	span spki = octets(&s, spki_vector);
	assert_ok(&s, control_seal(&s, spki, span_str("unit context"), span_str("sixteen octets!!"), &sealed));
	assert_string_equal(hex_text(&s, buf_span(&sealed)), sealed_vector);
	struct control_opener opener = opener_of(spki, own);
	assert_ok(&s, control_unseal(&s, &opener, span_str("unit context"), buf_span(&sealed), &opened));
	assert_true(span_is(buf_span(&opened), "sixteen octets!!"));
}

static void what_was_changed_on_its_way_does_not_open(void **state)
{
	(void)state;
	uint8_t scalar[CONTROL_SCALAR], other[CONTROL_SCALAR];
	span spki, other_spki;
	AUTO_BUF sealed, opened;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	buf_init(&sealed, 0);
	buf_init(&opened, 0);
	assert_ok(&s, control_pair_new(&s, scalar, &spki));
	assert_ok(&s, control_pair_new(&s, other, &other_spki));
	assert_ok(&s, control_seal(&s, spki, span_str("a"), span_str("secret"), &sealed));
	struct control_opener right = opener_of(spki, scalar), wrong = opener_of(other_spki, other);
	assert_ok(&s, control_unseal(&s, &right, span_str("a"), buf_span(&sealed), &opened));
	assert_true(span_is(buf_span(&opened), "secret"));
	assert_fails(&s, E_CRYPTO, control_unseal(&s, &right, span_str("b"), buf_span(&sealed), &opened));
	assert_int_equal(opened.len, 0);
	assert_fails(&s, E_CRYPTO, control_unseal(&s, &wrong, span_str("a"), buf_span(&sealed), &opened));
	for (size_t bit = 0; bit < 8 * sealed.len; bit++) {
		sealed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		st status = control_unseal(&s, &right, span_str("a"), buf_span(&sealed), &opened);
		assert_true(status.code == E_CRYPTO || (status.code == E_INPUT && bit < 8));
		assert_int_equal(opened.len, 0);
		scope_clear_error(&s);
		sealed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t len = 0; len < sealed.len; len++)
		assert_int_not_equal(control_unseal(&s, &right, span_str("a"), span_of(sealed.data, len), &opened).code, E_OK);
}

static void only_keys_of_p256_are_sealed_to(void **state)
{
	(void)state;
	AUTO_BUF sealed;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	buf_init(&sealed, 0);
	AUTO(EVP_PKEY) *p384 = unit_key_named("ec-p384");
	assert_fails(&s, E_CRYPTO, control_seal(&s, unit_spki(&s, p384), span_str("a"), span_str("secret"), &sealed));
	uint8_t off_curve[sizeof spki_vector / 2];
	memcpy(off_curve, octets(&s, spki_vector).data, sizeof off_curve);
	off_curve[sizeof off_curve - 1] ^= 1;
	assert_fails(&s, E_CRYPTO, control_seal(&s, SPAN_ARRAY(off_curve), span_str("a"), span_str("secret"), &sealed));
	span spki = octets(&s, spki_vector);
	uint8_t much[CONTROL_SEALED_MAX] = { 0 };
	assert_fails(&s, E_LIMIT, control_seal(&s, spki, span_str("a"), SPAN_ARRAY(much), &sealed));
	assert_fails(&s, E_LIMIT, control_seal(&s, spki, (span){ 0 }, span_str("secret"), &sealed));
	assert_int_equal(sealed.len, 0);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(multiplication_is_that_of_aes),
		cmocka_unit_test(a_split_with_known_coefficients_gives_known_shares),
		cmocka_unit_test(every_subset_that_is_large_enough_joins),
		cmocka_unit_test(fewer_shares_say_nothing_of_the_secret),
		cmocka_unit_test(one_share_of_two_says_nothing_of_any_secret),
		cmocka_unit_test(what_is_no_split_is_refused),
		cmocka_unit_test(shares_that_do_not_belong_together_are_refused),
		cmocka_unit_test(a_share_is_read_back_from_its_octets),
		cmocka_unit_test(a_commitment_is_of_one_share_in_one_context),
		cmocka_unit_test(sealing_is_what_another_implementation_computes),
		cmocka_unit_test(what_was_changed_on_its_way_does_not_open),
		cmocka_unit_test(only_keys_of_p256_are_sealed_to),
	};
	return cmocka_run_group_tests(all, NULL, NULL);
}
