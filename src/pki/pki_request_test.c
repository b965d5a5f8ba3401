#include "pki_request.h"
#include "pki_certificate.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "pki_unit.h"

/* A request wholly by OpenSSL, with two attributes. */
static span foreign_request(struct scope *s, EVP_PKEY *key, bool attributes)
{
	X509_REQ *r = X509_REQ_new();
	X509_NAME *name = X509_REQ_get_subject_name(r);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"Alice", -1, -1, 0), 1);
	assert_int_equal(X509_REQ_set_pubkey(r, key), 1);
	if (attributes) {
		STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
		assert_true(sk_X509_EXTENSION_push(list, X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "CA:TRUE")) >
			    0);
		assert_int_equal(X509_REQ_add_extensions(r, list), 1);
		sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
		assert_int_equal(X509_REQ_add1_attr_by_NID(r, NID_pkcs9_challengePassword, MBSTRING_ASC,
							   (const unsigned char *)"secret", -1),
				 1);
	}
	assert_true(X509_REQ_sign(r, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256()) > 0);
	unsigned char *der = NULL;
	int len = i2d_X509_REQ(r, &der);
	X509_REQ_free(r);
	return unit_take(s, der, len);
}

static void requests_by_openssl_are_read(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const names[] = { "ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "ed25519" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		AUTO(EVP_PKEY) *key = unit_key_named(names[i]);
		span der = foreign_request(&s, key, i % 2 == 0), cn;
		struct pki_request r;
		assert_ok(&s, pki_request_read(&s, der, &r));
		assert_string_equal(r.key->name, names[i]);
		assert_true(span_equal(r.spki, unit_spki(&s, key)));
		assert_true((r.extensions.len > 0) == (i % 2 == 0));
		assert_ok(&s, pki_name_get(&s, r.subject, "CN", &cn));
		assert_true(span_is(cn, "Alice"));
		for (int k = 0; k < 2; k++) {
			const char *label = k == 0 ? "CERTIFICATE REQUEST" : "NEW CERTIFICATE REQUEST";
			assert_ok(&s, pki_request_read(&s, span_str(pki_pem_write(&s, label, der)), &r));
			assert_true(span_equal(r.der, der));
		}
		assert_fails(&s, E_INPUT, pki_request_read(&s, span_str(pki_pem_write(&s, "CERTIFICATE", der)), &r));
	}
}

//= en319411-1#REG-6.3.1-01 any octet that is changed breaks the proof of possession or the shape
static void altered_requests_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key_named("ec-p256");
	span der = foreign_request(&s, key, true);
	struct pki_request r;
	for (size_t i = 0; i < der.len; i++) {
		AUTO_BUF copy = { 0 };
		buf_append(&copy, der);
		copy.data[i] ^= 0x04;
		assert_true(pki_request_read(&s, buf_span(&copy), &r).code != E_OK);
		scope_clear_error(&s);
	}
	AUTO_BUF longer = { 0 };
	buf_append(&longer, der);
	buf_append(&longer, SPAN_LITERAL("\x00"));
	assert_fails(&s, E_INPUT, pki_request_read(&s, buf_span(&longer), &r));
	assert_fails(&s, E_LIMIT, pki_request_read(&s, span_of(scope_alloc(&s, 40000), 40000), &r));
}

static void another_key_proves_nothing(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *mine = unit_key_named("ec-p256"), *other = unit_key_named("ec-p256");
	const struct alg_signature *algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha256"));
	span subject, info, der;
	struct pki_request r;
	assert_ok(&s, pki_name_parse(&s, span_str("C=BE, CN=x"), &subject));
	assert_ok(&s, pki_request_build_info(&s, subject, unit_spki(&s, mine), &info));
	assert_ok(&s, pki_request_assemble(&s, info, algorithm, unit_sign_with(&s, other, algorithm, info), &der));
	assert_fails(&s, E_CRYPTO, pki_request_read(&s, der, &r));
	assert_ok(&s, pki_request_assemble(&s, info, algorithm, unit_sign_with(&s, mine, algorithm, info), &der));
	assert_ok(&s, pki_request_read(&s, der, &r));
	assert_true(span_equal(r.subject, subject));
	assert_int_equal(r.extensions.len, 0);
	const unsigned char *at = der.data;
	X509_REQ *theirs = d2i_X509_REQ(NULL, &at, (long)der.len);
	assert_non_null(theirs);
	assert_int_equal(X509_REQ_verify(theirs, mine), 1);
	X509_REQ_free(theirs);
}

#define EXTENSION_REQUEST "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"
#define CHALLENGE         "\x30\x0f\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07\x31\x02\x0c\x00"

/* Signed correctly, so that only the shape can be the reason. */
static enum code read_info_with(struct scope *s, span version, span attributes)
{
	AUTO(EVP_PKEY) *key = unit_key_named("ec-p256");
	const struct alg_signature *algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha256"));
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_begin(&w, DER_SEQUENCE);
	der_put_raw(&w, version);
	der_put_raw(&w, SPAN_LITERAL("\x30\x00"));
	der_put_raw(&w, unit_spki(s, key));
	der_put_raw(&w, attributes);
	der_end(&w);
	span der;
	assert_ok(s, der_finish(s, &w));
	assert_ok(s, pki_request_assemble(s, buf_span(&b), algorithm, unit_sign_with(s, key, algorithm, buf_span(&b)), &der));
	struct pki_request r;
	enum code code = pki_request_read(s, der, &r).code;
	scope_clear_error(s);
	return code;
}

//= rfc2986#4.1 version, attributes, nothing else and nothing twice
static void requests_of_another_shape_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span v1 = SPAN_LITERAL("\x02\x01\x00"), none = SPAN_LITERAL("\xa0\x00");
	assert_int_equal(read_info_with(&s, v1, none), E_OK);
	assert_int_equal(read_info_with(&s, v1, SPAN_LITERAL("\xa0\x11" CHALLENGE)), E_OK);
	assert_int_equal(read_info_with(&s, SPAN_LITERAL("\x02\x01\x01"), none), E_INPUT);
	assert_int_equal(read_info_with(&s, v1, (span){ 0 }), E_INPUT);
	assert_int_equal(read_info_with(&s, v1, SPAN_LITERAL("\xa0\x00\xa1\x00")), E_INPUT);
	assert_int_equal(read_info_with(&s, v1, SPAN_LITERAL("\xa0\x22" CHALLENGE CHALLENGE)), E_INPUT);
	/* extensionRequest: no value, two values, an empty list is fine to read, an extension that is none */
	assert_int_equal(read_info_with(&s, v1, SPAN_LITERAL("\xa0\x0f\x30\x0d" EXTENSION_REQUEST "\x31\x00")), E_INPUT);
	assert_int_equal(read_info_with(&s, v1, SPAN_LITERAL("\xa0\x11\x30\x0f" EXTENSION_REQUEST "\x31\x02\x30\x00")), E_OK);
	assert_int_equal(read_info_with(&s, v1, SPAN_LITERAL("\xa0\x13\x30\x11" EXTENSION_REQUEST "\x31\x04\x30\x00\x30\x00")),
			 E_INPUT);
	assert_int_equal(read_info_with(&s, v1, SPAN_LITERAL("\xa0\x13\x30\x11" EXTENSION_REQUEST "\x31\x04\x30\x02\x30\x00")),
			 E_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_by_openssl_are_read),
		cmocka_unit_test(altered_requests_are_refused),
		cmocka_unit_test(another_key_proves_nothing),
		cmocka_unit_test(requests_of_another_shape_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
