#include "pki_pem.h"
#include "der.h"
#include "unit.h"

static span sequence_of(struct scope *s, size_t content)
{
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_put(&w, DER_SEQUENCE, span_of(scope_alloc(s, content), content));
	return scope_copy(s, buf_span(&b));
}

static void what_is_written_is_read_back(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t len = 0; len < 200; len++) {
		span der = sequence_of(&s, len), out;
		char *text = pki_pem_write(&s, "CERTIFICATE", der);
		assert_ok(&s, pki_pem_or_der(&s, span_str(text), "CERTIFICATE", &out));
		assert_true(span_equal(der, out));
		assert_ok(&s, pki_pem_or_der(&s, der, "CERTIFICATE", &out));
		assert_true(span_equal(der, out));
	}
}

static st count_each(struct scope *s, span der, void *arg)
{
	(void)s;
	(void)der;
	++*(int *)arg;
	return OK;
}

static void blocks_of_the_label_are_found_among_others(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char *one = pki_pem_write(&s, "CERTIFICATE", sequence_of(&s, 80));
	char *other = pki_pem_write(&s, "X509 CRL", sequence_of(&s, 10));
	char *text = scope_printf(&s, "subject=CN = x\r\n%s\n%s%sfin\n", other, one, one);
	int count = 0;
	assert_ok(&s, pki_pem_each(&s, span_str(text), "CERTIFICATE", count_each, &count));
	assert_int_equal(count, 2);
	span out;
	assert_ok(&s, pki_pem_or_der(&s, span_str(text), "CERTIFICATE", &out));
	assert_int_equal(out.len, 82);
	assert_fails(&s, E_INPUT, pki_pem_or_der(&s, span_str(text), "CERTIFICATE REQUEST", &out));
}

//= rfc7468#3 labels match, lines are base64 without gaps, the block ends
static void damaged_blocks_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const bad[] = {
		"-----BEGIN CERTIFICATE-----\nMAA=\n-----END X509 CRL-----\n",
		"-----BEGIN CERTIFICATE-----\nMAA=\n",
		"-----BEGIN CERTIFICATE-----\n\nMAA=\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\nMAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\nMA A=\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nMAA=\n-----END CERTIFICATE-----\n",
		" -----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
		"",
		"hello",
	};
	span out;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_fails(&s, E_INPUT, pki_pem_or_der(&s, span_str(bad[i]), "CERTIFICATE", &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(blocks_of_the_label_are_found_among_others),
		cmocka_unit_test(damaged_blocks_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
