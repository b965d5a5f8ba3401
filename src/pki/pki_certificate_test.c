#include "pki_certificate.h"
#include "pki_key.h"
#include "pki_unit.h"

static void add_extension(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* A certificate made wholly by OpenSSL. */
static span foreign_certificate(struct scope *s, EVP_PKEY *key, bool twice)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	assert_int_equal(X509_set_version(x, 2), 1);
	assert_int_equal(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), UINT64_C(0x8877665544332211)), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"Test", -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(x, name), 1);
	assert_non_null(X509_time_adj_ex(X509_getm_notBefore(x), 0, 0, &(time_t){ 1700000000 }));
	assert_non_null(X509_time_adj_ex(X509_getm_notAfter(x), 0, 0, &(time_t){ 2600000000 }));
	assert_int_equal(X509_set_pubkey(x, key), 1);
	add_extension(x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
	add_extension(x, NID_key_usage, "critical,keyCertSign");
	if (twice)
		add_extension(x, NID_key_usage, "critical,keyCertSign");
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	unsigned char *der = NULL;
	int len = i2d_X509(x, &der);
	span out = scope_copy(s, span_of(der, (size_t)len));
	OPENSSL_free(der);
	X509_free(x);
	return out;
}

static void certificates_by_openssl_are_read(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *pkey = unit_key_named("ec-p256");
	span der = foreign_certificate(&s, pkey, false), again;
	struct pki_certificate c;
	assert_ok(&s, pki_certificate_read(&s, der, &c));
	assert_true(span_equal(c.serial, SPAN_LITERAL("\x00\x88\x77\x66\x55\x44\x33\x22\x11")));
	assert_true(c.not_before == 1700000000 * MOMENT_SECOND);
	assert_true(c.not_after == 2600000000 * MOMENT_SECOND); /* GeneralizedTime */
	assert_true(span_equal(c.issuer, c.subject));
	assert_true(span_equal(c.spki, unit_spki(&s, pkey)));
	assert_int_equal(c.extension_count, 2);
	const struct pki_extension *usage = pki_certificate_extension(&c, SPAN_LITERAL("\x55\x1d\x0f"));
	assert_non_null(usage);
	assert_true(usage->critical);
	assert_true(span_equal(usage->value, SPAN_LITERAL("\x03\x02\x02\x04")));
	assert_null(pki_certificate_extension(&c, SPAN_LITERAL("\x55\x1d\x10")));
	const struct alg_signature *algorithm = alg_signature_of_identifier(c.signature_identifier);
	struct pki_key *key;
	assert_ok(&s, pki_key_new(&s, c.spki, &key));
	assert_ok(&s, pki_key_verify(&s, key, algorithm, c.tbs, c.signature));
	pki_key_free(key);
	assert_ok(&s, pki_certificate_assemble(&s, c.tbs, algorithm, c.signature, &again));
	assert_true(span_equal(der, again));
	assert_fails(&s, E_CRYPTO, pki_certificate_assemble(&s, c.tbs, alg_signature_at(1), c.signature, &again));
}

//= rfc5280#4.2 no two instances of an extension
static void a_repeated_extension_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *pkey = unit_key_named("ec-p256");
	struct pki_certificate c;
	assert_fails(&s, E_INPUT, pki_certificate_read(&s, foreign_certificate(&s, pkey, true), &c));
}

/* Whatever octet is changed or cut: read or refused, never a crash, and nothing is read beyond the end (sanitizer builds). */
static void damaged_certificates_never_pass_as_the_original(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *pkey = unit_key_named("ec-p256");
	span der = foreign_certificate(&s, pkey, false);
	struct pki_certificate c;
	assert_ok(&s, pki_certificate_read(&s, der, &c));
	struct pki_key *key;
	assert_ok(&s, pki_key_new(&s, unit_spki(&s, pkey), &key));
	const struct alg_signature *algorithm = alg_signature_of_identifier(c.signature_identifier);
	for (size_t i = 0; i < der.len; i++) {
		AUTO_BUF copy = { 0 };
		buf_append(&copy, der);
		copy.data[i] ^= 0x01;
		st read = pki_certificate_read(&s, buf_span(&copy), &c);
		if (read.code == E_OK)
			assert_true(pki_key_verify(&s, key, algorithm, c.tbs, c.signature).code != E_OK);
		scope_clear_error(&s);
		copy.data[i] ^= 0x01;
		copy.len = i;
		assert_true(pki_certificate_read(&s, buf_span(&copy), &c).code == E_INPUT);
		scope_clear_error(&s);
	}
	pki_key_free(key);
}

static void random_of_zeros_then_ones(void *state, void *out, size_t len)
{
	int *calls = state;
	memset(out, ++*calls == 2 ? 0x80 : 0xff, len); /* call 1 is the scope's id; 0x80 loses its sign bit and becomes 0 */
}

static int64_t fixed_now(void *state)
{
	(void)state;
	return 0;
}

//= rfc5280#4.1.2.2 positive and never with a leading zero octet
static void serials_are_positive_and_full_length(void **state)
{
	(void)state;
	int calls = 0;
	const struct source source = { .now = fixed_now, .random = random_of_zeros_then_ones, .state = &calls };
	AUTO_SCOPE s;
	scope_init(&s, &source);
	uint8_t serial[16];
	pki_serial_new(&s, serial);
	assert_int_equal(calls, 3);
	assert_int_equal(serial[0], 0x7f);
	assert_int_equal(serial[15], 0xff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_by_openssl_are_read),
		cmocka_unit_test(a_repeated_extension_is_refused),
		cmocka_unit_test(damaged_certificates_never_pass_as_the_original),
		cmocka_unit_test(serials_are_positive_and_full_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
