#include "pki_time_stamp.h"
#include "pki_unit.h"
#include <openssl/ts.h>
#include <stdlib.h>

DEFINE_AUTO(TS_REQ, TS_REQ_free)
DEFINE_AUTO(TS_RESP, TS_RESP_free)
DEFINE_AUTO(TS_MSG_IMPRINT, TS_MSG_IMPRINT_free)
DEFINE_AUTO(ASN1_INTEGER, ASN1_INTEGER_free)

struct world {
	EVP_PKEY *ca_key, *unit_key;
	X509 *ca, *unit;
};

static int set_up(void **state)
{
	struct world *w = heap_alloc(sizeof *w);
	w->ca_key = unit_key();
	w->unit_key = unit_key();
	w->ca = unit_certificate("CA", w->ca_key, NULL, NULL, "critical,CA:TRUE");
	w->unit = unit_certificate("TSU 1", w->unit_key, w->ca, w->ca_key, "critical,timeStamping");
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	X509_free(w->ca);
	X509_free(w->unit);
	EVP_PKEY_free(w->ca_key);
	EVP_PKEY_free(w->unit_key);
	free(w);
	return 0;
}

#define POLICY "1.3.6.1.4.1.99999.1"

static span oid(struct scope *s, const char *text)
{
	span content;
	assert_ok(s, der_oid_parse(s, span_str(text), &content));
	return content;
}

struct wish {
	const char *digest; /* OpenSSL's name */
	bool policy, nonce, cert_req;
	long version;
	int short_by;
	bool extension;
};

static void add_extension(TS_REQ *request)
{
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	assert_int_equal(ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05", 1), 1);
	X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, NID_id_pkix_OCSP_noCheck, 0, value);
	assert_int_equal(TS_REQ_add_ext(request, extension, -1), 1);
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(value);
}

static void set_imprint(TS_REQ *request, const struct wish *wish)
{
	const EVP_MD *digest = EVP_get_digestbyname(wish->digest);
	unsigned char hash[EVP_MAX_MD_SIZE] = { 1, 2, 3 };
	AUTO(TS_MSG_IMPRINT) *imprint = TS_MSG_IMPRINT_new();
	X509_ALGOR *algorithm = X509_ALGOR_new();
	X509_ALGOR_set_md(algorithm, digest);
	assert_int_equal(TS_MSG_IMPRINT_set_algo(imprint, algorithm), 1);
	assert_int_equal(TS_MSG_IMPRINT_set_msg(imprint, hash, EVP_MD_get_size(digest) - wish->short_by), 1);
	assert_int_equal(TS_REQ_set_msg_imprint(request, imprint), 1);
	X509_ALGOR_free(algorithm);
}

static TS_REQ *openssl_request(const struct wish *wish)
{
	TS_REQ *request = TS_REQ_new();
	assert_int_equal(TS_REQ_set_version(request, wish->version == 0 ? 1 : wish->version), 1);
	set_imprint(request, wish);
	if (wish->policy) {
		ASN1_OBJECT *policy = OBJ_txt2obj(POLICY, 1);
		assert_int_equal(TS_REQ_set_policy_id(request, policy), 1);
		ASN1_OBJECT_free(policy);
	}
	if (wish->nonce) {
		AUTO(ASN1_INTEGER) *nonce = ASN1_INTEGER_new();
		assert_int_equal(ASN1_INTEGER_set_uint64(nonce, UINT64_C(0xfedcba9876543210)), 1);
		assert_int_equal(TS_REQ_set_nonce(request, nonce), 1);
	}
	assert_int_equal(TS_REQ_set_cert_req(request, wish->cert_req), 1);
	if (wish->extension)
		add_extension(request);
	return request;
}

static span encode(struct scope *s, const TS_REQ *request)
{
	unsigned char *der = NULL;
	int len = i2d_TS_REQ(request, &der);
	return unit_take(s, der, len);
}

static void requests_that_openssl_makes_are_read(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const digests[] = { "SHA256", "SHA384", "SHA512" };
	for (unsigned i = 0; i < 24; i++) {
		struct wish wish = { digests[i % 3], (i / 3 & 1) != 0, (i / 3 & 2) != 0, (i / 3 & 4) != 0, 0, 0, false };
		AUTO(TS_REQ) *request = openssl_request(&wish);
		struct pki_time_stamp_request read;
		enum pki_failure failure = PKI_SYSTEM_FAILURE;
		assert_ok(&s, pki_time_stamp_request_read(&s, encode(&s, request), &read, &failure));
		assert_int_equal(failure, PKI_SYSTEM_FAILURE);
		assert_int_equal(read.digest, DIGEST_SHA256 + i % 3);
		assert_true(wish.policy ? span_equal(read.policy, oid(&s, POLICY)) : read.policy.len == 0);
		assert_int_equal(read.nonce.len, wish.nonce ? 9 : 0);
		assert_int_equal(read.cert_req, wish.cert_req);
	}
}

//= rfc3161#2.4.2 badDataFormat for what is no request, badRequest for another version, badAlg for a hash not accepted,
//= rfc3161#2.4.2 unacceptedExtension for any extension, critical or not: none is known here
static void each_fault_has_its_failure_code(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		struct wish wish;
		enum pki_failure failure;
	} rows[] = {
		{ { .digest = "SHA256", .version = 2 }, PKI_BAD_REQUEST },
		{ { .digest = "SHA1" }, PKI_BAD_ALG },
		{ { .digest = "MD5" }, PKI_BAD_ALG },
		{ { .digest = "SHA224" }, PKI_BAD_ALG },
		{ { .digest = "SHA256", .short_by = 1 }, PKI_BAD_DATA_FORMAT },
		{ { .digest = "SHA256", .extension = true }, PKI_UNACCEPTED_EXTENSION },
	};
	struct pki_time_stamp_request read;
	enum pki_failure failure = PKI_SYSTEM_FAILURE;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		AUTO(TS_REQ) *request = openssl_request(&rows[i].wish);
		assert_fails(&s, E_INPUT, pki_time_stamp_request_read(&s, encode(&s, request), &read, &failure));
		assert_int_equal(failure, rows[i].failure);
	}
}

static void whatever_is_not_a_request_has_a_bad_data_format(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(TS_REQ) *request = openssl_request(&(struct wish){ "SHA256", true, true, true, 0, 0, false });
	span der = encode(&s, request);
	struct pki_time_stamp_request read;
	enum pki_failure failure = PKI_SYSTEM_FAILURE;
	for (size_t len = 0; len < der.len; len++) {
		assert_fails(&s, E_INPUT, pki_time_stamp_request_read(&s, span_first(der, len), &read, &failure));
		assert_int_equal(failure, PKI_BAD_DATA_FORMAT);
	}
	uint8_t *longer = scope_alloc(&s, PKI_TIME_STAMP_REQUEST_MAX + 1);
	memcpy(longer, der.data, der.len);
	assert_fails(&s, E_INPUT, pki_time_stamp_request_read(&s, span_of(longer, der.len + 1), &read, &failure));
	assert_int_equal(failure, PKI_BAD_DATA_FORMAT);
	longer[der.len - 1] = 0; /* certReq FALSE, written out */
	assert_fails(&s, E_INPUT, pki_time_stamp_request_read(&s, span_of(longer, der.len), &read, &failure));
	assert_fails(&s, E_INPUT, pki_time_stamp_request_read(&s, SPAN_LITERAL("rubbish"), &read, &failure));
	assert_int_equal(failure, PKI_BAD_DATA_FORMAT);
}

static void our_request_is_the_one_openssl_would_make(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t hash[32] = { 9 };
	span der;
	assert_ok(&s, pki_time_stamp_request_build(&s, DIGEST_SHA256, SPAN_ARRAY(hash), oid(&s, POLICY),
						   SPAN_LITERAL("\xff\x01"), true, &der));
	const unsigned char *at = der.data;
	AUTO(TS_REQ) *request = d2i_TS_REQ(NULL, &at, (long)der.len);
	assert_non_null(request);
	assert_int_equal(TS_REQ_get_cert_req(request), 1);
	assert_int_equal(ASN1_INTEGER_get(TS_REQ_get_nonce(request)), 0xff01);
	assert_true(span_equal(encode(&s, request), der));
	assert_fails(&s, E_INPUT,
		     pki_time_stamp_request_build(&s, DIGEST_SHA384, SPAN_ARRAY(hash), (span){ 0 }, (span){ 0 }, false, &der));
}

static struct pki_tst_info info_of(struct scope *s, const struct pki_time_stamp_request *request, bool qualified)
{
	static const uint8_t serial[16] = { 0xf0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	return (struct pki_tst_info){
		.policy = oid(s, POLICY),
		.imprint = request->imprint,
		.serial = SPAN_ARRAY(serial),
		.gen_time = scope_now(s),
		.accuracy_ms = 500,
		.nonce = request->nonce,
		.qualified = qualified,
	};
}

/* The whole answer to a request, as the service makes it. */
static span answer(struct scope *s, const struct world *w, span der_request, bool qualified)
{
	struct pki_time_stamp_request request;
	enum pki_failure failure;
	assert_ok(s, pki_time_stamp_request_read(s, der_request, &request, &failure));
	struct pki_tst_info info = info_of(s, &request, qualified);
	span tst_info, attributes, der, certificate = unit_der(s, w->unit), chain = unit_der(s, w->ca);
	assert_ok(s, pki_tst_info_build(s, &info, &tst_info));
	assert_ok(s, pki_time_stamp_attributes(s, DIGEST_SHA256, tst_info, certificate, &attributes));
	span signature = unit_sign(s, w->unit_key, attributes);
	assert_ok(s, pki_time_stamp_assemble(s, tst_info, attributes, unit_algorithm(), signature, certificate, &chain, 1,
					     request.cert_req, &der));
	return der;
}

static int openssl_judges(const struct world *w, TS_REQ *request, span der, bool give_certificate)
{
	const unsigned char *at = der.data;
	AUTO(TS_RESP) *response = d2i_TS_RESP(NULL, &at, (long)der.len);
	if (response == NULL || at != der.data + der.len)
		return -1;
	TS_VERIFY_CTX *c = TS_REQ_to_TS_VERIFY_CTX(request, NULL);
	assert_non_null(c);
	TS_VERIFY_CTX_add_flags(c, TS_VFY_SIGNATURE);
	X509_STORE *store = X509_STORE_new();
	assert_int_equal(X509_STORE_add_cert(store, w->ca), 1);
	(void)TS_VERIFY_CTX_set_store(c, store);
	if (give_certificate) {
		STACK_OF(X509) *certificates = sk_X509_new_null();
		assert_true(X509_up_ref(w->unit) && sk_X509_push(certificates, w->unit) > 0);
		(void)TS_VERIFY_CTX_set_certs(c, certificates);
	}
	int verdict = TS_RESP_verify_response(c, response);
	TS_VERIFY_CTX_free(c);
	return verdict;
}

static void openssl_accepts_our_tokens(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const digests[] = { "SHA256", "SHA384", "SHA512" };
	for (unsigned i = 0; i < 48; i++) {
		struct wish wish = { digests[i % 3], (i / 3 & 1) != 0, (i / 3 & 2) != 0, (i / 3 & 4) != 0, 0, 0, false };
		AUTO(TS_REQ) *request = openssl_request(&wish);
		span der = answer(&s, w, encode(&s, request), i >= 24);
		assert_int_equal(openssl_judges(w, request, der, !wish.cert_req), 1);
		if (!wish.cert_req)
			assert_int_not_equal(openssl_judges(w, request, der, false), 1);
	}
}

static void tokens_are_byte_for_byte_what_openssl_encodes_again(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(TS_REQ) *request = openssl_request(&(struct wish){ "SHA384", true, true, true, 0, 0, false });
	span der = answer(&s, w, encode(&s, request), true);
	const unsigned char *at = der.data;
	AUTO(TS_RESP) *response = d2i_TS_RESP(NULL, &at, (long)der.len);
	unsigned char *again = NULL;
	int len = i2d_TS_RESP(response, &again);
	assert_true(span_equal(unit_take(&s, again, len), der));
}

static void a_changed_octet_is_noticed(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(TS_REQ) *request = openssl_request(&(struct wish){ "SHA256", true, true, false, 0, 0, false });
	span der = answer(&s, w, encode(&s, request), true);
	struct pki_time_stamp_response read;
	assert_ok(&s, pki_time_stamp_response_read(&s, der, &read));
	size_t from = (size_t)(read.tst_info.data - der.data);
	uint8_t *copy = scope_alloc(&s, der.len);
	for (size_t i = from; i < der.len; i += i < from + read.tst_info.len ? 1 : 5) {
		memcpy(copy, der.data, der.len);
		copy[i] ^= 1;
		(void)pki_time_stamp_response_read(&s, span_of(copy, der.len), &read).code; /* must not crash */
		scope_clear_error(&s);
		if (i < from + read.tst_info.len)
			assert_int_not_equal(openssl_judges(w, request, span_of(copy, der.len), true), 1);
	}
	for (size_t len = 0; len < der.len; len++)
		assert_fails(&s, E_INPUT, pki_time_stamp_response_read(&s, span_first(der, len), &read));
}

static void what_was_stamped_is_read_again(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(TS_REQ) *request = openssl_request(&(struct wish){ "SHA256", true, true, true, 0, 0, false });
	span der_request = encode(&s, request);
	struct pki_time_stamp_request asked;
	enum pki_failure failure;
	assert_ok(&s, pki_time_stamp_request_read(&s, der_request, &asked, &failure));
	struct pki_time_stamp_response read;
	assert_ok(&s, pki_time_stamp_response_read(&s, answer(&s, w, der_request, true), &read));
	assert_int_equal(read.status, 0);
	assert_int_equal(read.failure, -1);
	assert_true(span_equal(read.info.imprint, asked.imprint));
	assert_true(span_equal(read.info.nonce, asked.nonce));
	assert_true(span_equal(read.info.policy, oid(&s, POLICY)));
	assert_int_equal(read.info.accuracy_ms, 500);
	assert_true(read.info.qualified);
	span signer;
	assert_ok(&s, pki_time_stamp_signer(&s, &read, &signer));
	assert_true(span_equal(signer, unit_der(&s, w->unit)));
}

static struct pki_key *key_of(struct scope *s, EVP_PKEY *key)
{
	struct pki_key *out = NULL;
	assert_ok(s, pki_key_new(s, unit_spki(s, key), &out));
	return out;
}

//= rfc5652#5.6 the message digest is recalculated, and the signature checked over the DER of the signed attributes
static void we_verify_what_we_stamped_and_notice_every_change(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(TS_REQ) *request = openssl_request(&(struct wish){ "SHA256", true, true, false, 0, 0, false });
	span der = answer(&s, w, encode(&s, request), true), unit = unit_der(&s, w->unit);
	struct pki_key *key = key_of(&s, w->unit_key), *other = key_of(&s, w->ca_key);
	struct pki_time_stamp_response read;
	assert_ok(&s, pki_time_stamp_response_read(&s, der, &read));
	assert_ok(&s, pki_time_stamp_verify(&s, &read, unit, key));
	assert_fails(&s, E_CRYPTO, pki_time_stamp_verify(&s, &read, unit, other));
	assert_fails(&s, E_CRYPTO, pki_time_stamp_verify(&s, &read, unit_der(&s, w->ca), key));
	uint8_t *copy = scope_alloc(&s, der.len);
	size_t from = (size_t)(read.tst_info.data - der.data);
	for (size_t i = from; i < from + read.tst_info.len; i++) {
		memcpy(copy, der.data, der.len);
		copy[i] ^= 1;
		struct pki_time_stamp_response changed;
		if (pki_time_stamp_response_read(&s, span_of(copy, der.len), &changed).code == E_OK)
			assert_fails(&s, E_CRYPTO, pki_time_stamp_verify(&s, &changed, unit, key));
		scope_clear_error(&s);
	}
	pki_key_free(key);
	pki_key_free(other);
}

static void a_token_answers_one_request_only(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(TS_REQ) *request = openssl_request(&(struct wish){ "SHA256", true, true, true, 0, 0, false });
	struct pki_time_stamp_request asked;
	enum pki_failure failure;
	assert_ok(&s, pki_time_stamp_request_read(&s, encode(&s, request), &asked, &failure));
	struct pki_time_stamp_response read;
	assert_ok(&s, pki_time_stamp_response_read(&s, answer(&s, w, encode(&s, request), false), &read));
	static const uint8_t other[32] = { 7 };
	assert_ok(&s, pki_time_stamp_answers(&s, &read, DIGEST_SHA256, asked.hash, asked.nonce));
	assert_ok(&s, pki_time_stamp_answers(&s, &read, DIGEST_SHA256, asked.hash, (span){ 0 }));
	assert_fails(&s, E_CRYPTO, pki_time_stamp_answers(&s, &read, DIGEST_SHA256, SPAN_ARRAY(other), asked.nonce));
	assert_fails(&s, E_CRYPTO, pki_time_stamp_answers(&s, &read, DIGEST_SHA384, asked.hash, asked.nonce));
	assert_fails(&s, E_CRYPTO, pki_time_stamp_answers(&s, &read, DIGEST_SHA256, asked.hash, SPAN_LITERAL("\x01")));
}

//= en319422#5.2.2 accuracy is present and at most one second
static void accuracies_are_at_most_one_second(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(TS_REQ) *request = openssl_request(&(struct wish){ .digest = "SHA256" });
	struct pki_time_stamp_request asked;
	enum pki_failure failure;
	assert_ok(&s, pki_time_stamp_request_read(&s, encode(&s, request), &asked, &failure));
	static const uint32_t good[] = { 1, 127, 128, 255, 256, 999, 1000 }, bad[] = { 0, 1001 };
	span der;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct pki_tst_info info = info_of(&s, &asked, false), read;
		info.accuracy_ms = good[i];
		assert_ok(&s, pki_tst_info_build(&s, &info, &der));
		assert_ok(&s, pki_tst_info_read(&s, der, &read));
		assert_int_equal(read.accuracy_ms, good[i]);
		const unsigned char *at = der.data;
		TS_TST_INFO *openssl = d2i_TS_TST_INFO(NULL, &at, (long)der.len);
		assert_non_null(openssl);
		const ASN1_INTEGER *millis = TS_ACCURACY_get_millis(TS_TST_INFO_get_accuracy(openssl));
		const ASN1_INTEGER *seconds = TS_ACCURACY_get_seconds(TS_TST_INFO_get_accuracy(openssl));
		long total = (seconds != NULL ? 1000 * ASN1_INTEGER_get(seconds) : 0) +
			     (millis != NULL ? ASN1_INTEGER_get(millis) : 0);
		assert_int_equal(total, good[i]);
		TS_TST_INFO_free(openssl);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct pki_tst_info info = info_of(&s, &asked, false);
		info.accuracy_ms = bad[i];
		assert_fails(&s, E_INPUT, pki_tst_info_build(&s, &info, &der));
	}
}

//= rfc3161#2.4.2 a token is there exactly when the status is granted or grantedWithMods
static void rejections_carry_their_failure_and_no_token(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const enum pki_failure failures[] = {
		PKI_BAD_ALG,           PKI_BAD_REQUEST,          PKI_BAD_DATA_FORMAT,        PKI_TIME_NOT_AVAILABLE,
		PKI_UNACCEPTED_POLICY, PKI_UNACCEPTED_EXTENSION, PKI_ADD_INFO_NOT_AVAILABLE, PKI_SYSTEM_FAILURE,
	};
	for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
		span der;
		assert_ok(&s, pki_time_stamp_rejection(&s, failures[i], "why", &der));
		struct pki_time_stamp_response read;
		assert_ok(&s, pki_time_stamp_response_read(&s, der, &read));
		assert_int_equal(read.status, 2);
		assert_int_equal(read.failure, failures[i]);
		assert_int_equal(read.token.len, 0);
		assert_true(span_is(read.text, "why"));
		const unsigned char *at = der.data;
		AUTO(TS_RESP) *response = d2i_TS_RESP(NULL, &at, (long)der.len);
		const ASN1_BIT_STRING *bits = TS_STATUS_INFO_get0_failure_info(TS_RESP_get_status_info(response));
		assert_int_equal(ASN1_BIT_STRING_get_bit(bits, (int)failures[i]), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_that_openssl_makes_are_read),
		cmocka_unit_test(each_fault_has_its_failure_code),
		cmocka_unit_test(whatever_is_not_a_request_has_a_bad_data_format),
		cmocka_unit_test(our_request_is_the_one_openssl_would_make),
		cmocka_unit_test(openssl_accepts_our_tokens),
		cmocka_unit_test(tokens_are_byte_for_byte_what_openssl_encodes_again),
		cmocka_unit_test(a_changed_octet_is_noticed),
		cmocka_unit_test(what_was_stamped_is_read_again),
		cmocka_unit_test(we_verify_what_we_stamped_and_notice_every_change),
		cmocka_unit_test(a_token_answers_one_request_only),
		cmocka_unit_test(accuracies_are_at_most_one_second),
		cmocka_unit_test(rejections_carry_their_failure_and_no_token),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
