#include "pki_name.h"
#include "unit.h"
#include <openssl/x509.h>

static void text_and_der_survive_the_round_trip(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "C=BE, O=Example NV, organizationIdentifier=NTRBE-0123456789, CN=Example Root",
		  "C=BE, O=Example NV, organizationIdentifier=NTRBE-0123456789, CN=Example Root" },
		{ "  c=BE ,o = Example\\, NV ,CN= A\\+B\\\\ ", "C=BE, O=Example\\, NV, CN=A\\+B\\\\" },
		{ "commonName=\\ x\\ ", "CN=\\ x\\ " },
		{ "SN=M\xc3\xbcller, GN=Zo\xc3\xab, CN=x=y", "surname=M\xc3\xbcller, givenName=Zo\xc3\xab, CN=x=y" },
		{ "1.3.6.1.4.1.99999.1=own, DC=example, emailAddress=a@b.example",
		  "1.3.6.1.4.1.99999.1=own, DC=example, emailAddress=a@b.example" },
		{ "", "" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		span der;
		char *text;
		assert_ok(&s, pki_name_parse(&s, span_str(rows[i].in), &der));
		assert_ok(&s, pki_name_text(&s, der, &text));
		assert_string_equal(text, rows[i].out);
		const unsigned char *at = der.data;
		X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)der.len);
		assert_non_null(name);
		assert_ptr_equal(at, der.data + der.len);
		X509_NAME_free(name);
	}
}

static void attributes_are_found_by_name(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span der, value;
	assert_ok(&s, pki_name_parse(&s, span_str("C=BE, CN=one, OU=a, OU=b"), &der));
	assert_ok(&s, pki_name_get(&s, der, "OU", &value));
	assert_true(span_is(value, "a"));
	assert_ok(&s, pki_name_get(&s, der, "pseudonym", &value));
	assert_int_equal(value.len, 0);
	assert_fails(&s, E_BUG, pki_name_get(&s, der, "shoeSize", &value));
}

static void text_that_is_no_name_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const bad[] = {
		"CN",
		"CN=",
		"CN=a,",
		"CN=a, ,",
		"=x",
		"XX=a",
		"CN=a+OU=b",
		"CN=a\\",
		"C=BEL",
		"C=be",
		"serialNumber=a_b",
		"emailAddress=\xc3\xa9@x",
		"CN=\xff",
		"CN=a\tb",
		"CN=\xc0\xaf",
		"CN=\xed\xa0\x80",
		"CN=\xc2\x85",
		"3.1=x",
		"CN=\xf0\x9f",
	};
	span der;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_fails(&s, E_INPUT, pki_name_parse(&s, span_str(bad[i]), &der));
}

//= rfc5280#4.1.2.4 names that use other string types, several attributes in an RDN, or trailing bytes
static void der_that_is_no_name_of_ours_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
#define ROW(literal) { literal, sizeof(literal) - 1 }
		ROW("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x1e\x01\x41"), /* BMPString */
		ROW("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x14\x01\x41"), /* TeletexString */
		ROW("\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x0c\x02"
		    "BE"),                                                       /* C as UTF8String */
		ROW("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x00"), /* zero byte */
		ROW("\x30\x16\x31\x14\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x41\x30\x08\x06\x03\x55\x04\x0b\x0c\x01\x41"),
		ROW("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x41\x00"),
		ROW("\x31\x00"),
	};
	char *text;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_fails(&s, E_INPUT, pki_name_text(&s, span_of(bad[i].bytes, bad[i].len), &text));
	assert_ok(&s, pki_name_text(&s, SPAN_LITERAL("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x41"), &text));
	assert_string_equal(text, "CN=A");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_and_der_survive_the_round_trip),
		cmocka_unit_test(attributes_are_found_by_name),
		cmocka_unit_test(text_that_is_no_name_is_refused),
		cmocka_unit_test(der_that_is_no_name_of_ours_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
