#include "pki_ocsp.h"
#include "pki_unit.h"
#include <openssl/ocsp.h>
#include <stdlib.h>

DEFINE_AUTO(OCSP_REQUEST, OCSP_REQUEST_free)
DEFINE_AUTO(OCSP_RESPONSE, OCSP_RESPONSE_free)
DEFINE_AUTO(OCSP_BASICRESP, OCSP_BASICRESP_free)

struct world {
	EVP_PKEY *ca_key, *signer_key;
	X509 *ca, *signer;
};

static int set_up(void **state)
{
	struct world *w = heap_alloc(sizeof *w);
	w->ca_key = unit_key();
	w->signer_key = unit_key();
	w->ca = unit_certificate("CA", w->ca_key, NULL, NULL, "critical,CA:TRUE");
	w->signer = unit_certificate("OCSP", w->signer_key, w->ca, w->ca_key, "OCSPSigning");
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	X509_free(w->ca);
	X509_free(w->signer);
	EVP_PKEY_free(w->ca_key);
	EVP_PKEY_free(w->signer_key);
	free(w);
	return 0;
}

static const uint8_t serial_octets[] = { 0xd1, 2, 3, 4, 5, 6, 7, 8 };
#define SERIAL SPAN_ARRAY(serial_octets)

static OCSP_CERTID *openssl_id(const struct world *w, const EVP_MD *digest)
{
	BIGNUM *number = BN_bin2bn(serial_octets, sizeof serial_octets, NULL);
	ASN1_INTEGER *serial = BN_to_ASN1_INTEGER(number, NULL);
	OCSP_CERTID *id = OCSP_cert_id_new(digest, X509_get_subject_name(w->ca), X509_get0_pubkey_bitstr(w->ca), serial);
	assert_non_null(id);
	ASN1_INTEGER_free(serial);
	BN_free(number);
	return id;
}

static span openssl_request(struct scope *s, const struct world *w, int ids, int nonce_len)
{
	AUTO(OCSP_REQUEST) *request = OCSP_REQUEST_new();
	for (int i = 0; i < ids; i++)
		assert_non_null(OCSP_request_add0_id(request, openssl_id(w, i % 2 == 0 ? EVP_sha1() : EVP_sha256())));
	if (nonce_len > 0)
		assert_int_equal(OCSP_request_add1_nonce(request, NULL, nonce_len), 1);
	unsigned char *der = NULL;
	int len = i2d_OCSP_REQUEST(request, &der);
	return unit_take(s, der, len);
}

static void requests_that_openssl_makes_are_read(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_ocsp_request request;
	assert_ok(&s, pki_ocsp_request_read(&s, openssl_request(&s, w, 3, 32), &request));
	assert_int_equal(request.count, 3);
	assert_true(request.has_nonce);
	assert_int_equal(request.nonce.len, 32);
	span name_hash = digest_new(&s, DIGEST_SHA256, unit_subject(&s, w->ca));
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(request.id[i].digest, i % 2 == 0 ? DIGEST_SHA1 : DIGEST_SHA256);
		assert_true(span_equal(span_from(request.id[i].serial, 1), SERIAL)); /* a sign octet comes first */
	}
	assert_true(span_equal(request.id[0].issuer_key_hash, unit_key_hash(&s, w->ca)));
	assert_true(span_equal(request.id[1].issuer_name_hash, name_hash));
	assert_ok(&s, pki_ocsp_request_read(&s, openssl_request(&s, w, 1, 0), &request));
	assert_false(request.has_nonce);
}

static void our_request_is_the_one_openssl_would_make(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span der, nonce = SPAN_LITERAL("0123456789abcdef0123456789abcdef");
	span issuer = unit_subject(&s, w->ca), spki = unit_spki(&s, w->ca_key);
	assert_ok(&s, pki_ocsp_request_build(&s, DIGEST_SHA256, issuer, spki, SERIAL, nonce, &der));
	const unsigned char *at = der.data;
	AUTO(OCSP_REQUEST) *request = d2i_OCSP_REQUEST(NULL, &at, (long)der.len);
	assert_non_null(request);
	OCSP_CERTID *want = openssl_id(w, EVP_sha256());
	OCSP_CERTID *got = OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0));
	assert_int_equal(OCSP_id_cmp(want, got), 0);
	OCSP_CERTID_free(want);
	struct pki_ocsp_request read;
	assert_ok(&s, pki_ocsp_request_read(&s, der, &read));
	assert_true(span_equal(read.nonce, nonce));
}

/* TBSRequest around these parts; each is whole DER. */
static span craft_request(struct scope *s, span before, span list, span after, span signature)
{
	AUTO_BUF b = { 0 };
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	der_begin(&d, DER_SEQUENCE);
	der_put_raw(&d, before);
	der_put_raw(&d, list);
	der_put_raw(&d, after);
	der_end(&d);
	der_put_raw(&d, signature);
	der_end(&d);
	assert_ok(s, der_finish(s, &d));
	return scope_copy(s, buf_span(&b));
}

static span craft_list(struct scope *s, const struct world *w, size_t count, span single_extensions)
{
	span id;
	assert_ok(s, pki_ocsp_cert_id_build(s, DIGEST_SHA1, unit_subject(s, w->ca), unit_spki(s, w->ca_key), SERIAL, &id));
	AUTO_BUF b = { 0 };
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	for (size_t i = 0; i < count; i++) {
		der_begin(&d, DER_SEQUENCE);
		der_put_raw(&d, id);
		der_put_raw(&d, single_extensions);
		der_end(&d);
	}
	der_end(&d);
	assert_ok(s, der_finish(s, &d));
	return scope_copy(s, buf_span(&b));
}

/* [tag] { SEQUENCE OF Extension }, every one with the same content. */
static span craft_extensions(struct scope *s, int tag, const char *oid, bool critical, span value, size_t times)
{
	span oid_content;
	assert_ok(s, der_oid_parse(s, span_str(oid), &oid_content));
	AUTO_BUF b = { 0 };
	struct der_wr d = der_write(&b);
	der_begin(&d, tag);
	der_begin(&d, DER_SEQUENCE);
	for (size_t i = 0; i < times; i++) {
		der_begin(&d, DER_SEQUENCE);
		der_put_oid(&d, oid_content);
		if (critical)
			der_put_boolean(&d, true);
		der_put(&d, DER_OCTET_STRING, value);
		der_end(&d);
	}
	der_end(&d);
	der_end(&d);
	assert_ok(s, der_finish(s, &d));
	return scope_copy(s, buf_span(&b));
}

static span octet_string(struct scope *s, size_t len)
{
	AUTO_BUF b = { 0 };
	struct der_wr d = der_write(&b);
	der_put(&d, DER_OCTET_STRING, span_of(scope_alloc(s, len), len));
	assert_ok(s, der_finish(s, &d));
	return scope_copy(s, buf_span(&b));
}

#define NONCE_OID   "1.3.6.1.5.5.7.48.1.2"
#define OTHER_OID   "1.3.6.1.5.5.7.48.1.99"
#define REQUEST_TAG DER_CONTEXT_CONSTRUCTED(2)
#define SINGLE_TAG  DER_CONTEXT_CONSTRUCTED(0)

//= rfc9654#2.1 a nonce has 1 to 128 octets; any other length gives malformedRequest
static void nonces_have_1_to_128_octets(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		size_t len;
		bool good;
	} rows[] = { { 0, false }, { 1, true }, { 16, true }, { 32, true }, { 128, true }, { 129, false } };
	span list = craft_list(&s, w, 1, (span){ 0 });
	struct pki_ocsp_request read;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		span nonce = craft_extensions(&s, REQUEST_TAG, NONCE_OID, false, octet_string(&s, rows[i].len), 1);
		span der = craft_request(&s, (span){ 0 }, list, nonce, (span){ 0 });
		if (rows[i].good) {
			assert_ok(&s, pki_ocsp_request_read(&s, der, &read));
			assert_int_equal(read.nonce.len, rows[i].len);
		} else
			assert_fails(&s, E_INPUT, pki_ocsp_request_read(&s, der, &read));
	}
}

//= rfc6960#4.1.1 OCSPRequest, and rfc6960#4.4 unknown extensions only matter when critical
static void requests_are_read_strictly(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	const span none = { 0 }, list = craft_list(&s, w, 1, none), nonce = octet_string(&s, 16),
		   null = SPAN_LITERAL("\x05\x00");
	const span name = SPAN_LITERAL("\xa1\x06\xa4\x04\x30\x02\x31\x00"), version = SPAN_LITERAL("\xa0\x03\x02\x01\x00");
	const span signature = SPAN_LITERAL("\xa0\x0c\x30\x0a\x30\x03\x06\x01\x2a\x03\x03\x00\x01\x02");
	const span unknown = craft_extensions(&s, REQUEST_TAG, OTHER_OID, false, null, 1);
	const span critical = craft_extensions(&s, REQUEST_TAG, OTHER_OID, true, null, 1);
	const span empty = craft_extensions(&s, REQUEST_TAG, OTHER_OID, false, null, 0);
	const span two_nonces = craft_extensions(&s, REQUEST_TAG, NONCE_OID, false, nonce, 2);
	const span bare_nonce = craft_extensions(&s, REQUEST_TAG, NONCE_OID, false, null, 1);
	const span unknown_single = craft_list(&s, w, 1, craft_extensions(&s, SINGLE_TAG, OTHER_OID, false, null, 1));
	const span critical_single = craft_list(&s, w, 1, craft_extensions(&s, SINGLE_TAG, OTHER_OID, true, null, 1));
	const struct {
		const char *what;
		span der;
		enum code code;
	} rows[] = {
		{ "plain", craft_request(&s, none, list, none, none), E_OK },
		{ "requestor name", craft_request(&s, name, list, none, none), E_OK },
		{ "signed", craft_request(&s, name, list, none, signature), E_OK },
		{ "default version", craft_request(&s, version, list, none, none), E_INPUT },
		{ "empty list", craft_request(&s, none, craft_list(&s, w, 0, none), none, none), E_INPUT },
		{ "32 requests", craft_request(&s, none, craft_list(&s, w, 32, none), none, none), E_OK },
		{ "33 requests", craft_request(&s, none, craft_list(&s, w, 33, none), none, none), E_LIMIT },
		{ "unknown extension", craft_request(&s, none, list, unknown, none), E_OK },
		{ "critical one", craft_request(&s, none, list, critical, none), E_INPUT },
		{ "no extension in the list", craft_request(&s, none, list, empty, none), E_INPUT },
		{ "two nonces", craft_request(&s, none, list, two_nonces, none), E_INPUT },
		{ "bare nonce", craft_request(&s, none, list, bare_nonce, none), E_INPUT },
		{ "single extension", craft_request(&s, none, unknown_single, none, none), E_OK },
		{ "critical single extension", craft_request(&s, none, critical_single, none, none), E_INPUT },
		{ "octets behind", craft_request(&s, none, list, none, null), E_INPUT },
		{ "rubbish", SPAN_LITERAL("rubbish"), E_INPUT },
		{ "nothing", none, E_INPUT },
	};
	struct pki_ocsp_request read;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		st got = pki_ocsp_request_read(&s, rows[i].der, &read);
		if (got.code != rows[i].code)
			print_error("%s: %s\n", rows[i].what, s.message);
		assert_int_equal(got.code, rows[i].code);
		scope_clear_error(&s);
	}
	span whole = rows[0].der;
	for (size_t len = 0; len < whole.len; len++)
		assert_fails(&s, E_INPUT, pki_ocsp_request_read(&s, span_first(whole, len), &read));
}

//= rfc6960#A.1 GET {url}/{url-encoding of base-64 encoding of the DER encoding of the OCSPRequest}
static void requests_come_in_urls_as_clients_write_them(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char want[] = "\xfb\xff\xbf\x01"; /* base64 "+/+/AQ==" */
	static const char *const good[] = {
		"%2B%2F%2B%2FAQ%3D%3D", "%2b%2f%2b%2fAQ%3d%3d", "+/+/AQ==", "/+/+/AQ==", "%2B/%2B/AQ==", "+%2F+%2FAQ%3D=",
	};
	span der;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_ok(&s, pki_ocsp_request_from_url(&s, span_str(good[i]), &der));
		assert_true(span_is(der, want));
	}
	static const char *const bad[] = { "", "/", "+/+/AQ", "+/+/AR==", "%2", "%", "%zz", "+/+/ AQ==", "-_-_AQ==" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_fails(&s, E_INPUT, pki_ocsp_request_from_url(&s, span_str(bad[i]), &der));
}

static struct pki_ocsp_single single_of(struct scope *s, const struct world *w, enum digest_alg digest,
					enum pki_ocsp_status status)
{
	struct pki_ocsp_single single = { .status = status };
	int64_t now = scope_now(s);
	assert_ok(s,
		  pki_ocsp_cert_id_build(s, digest, unit_subject(s, w->ca), unit_spki(s, w->ca_key), SERIAL, &single.cert_id));
	single.this_update = now - MOMENT_MINUTE;
	single.next_update = now + MOMENT_HOUR;
	if (status == PKI_OCSP_REVOKED) {
		single.revoked_at = now - MOMENT_HOUR;
		single.reason = digest == DIGEST_SHA1 ? 1 : 0;
	}
	single.archive_cutoff = digest == DIGEST_SHA256 ? now - MOMENT_DAY : 0;
	return single;
}

static span respond(struct scope *s, const struct world *w, const struct pki_ocsp_single *single, size_t count, span nonce)
{
	span tbs, der;
	assert_ok(s, pki_ocsp_build_tbs(s, unit_key_hash(s, w->signer), scope_now(s), single, count, nonce, &tbs));
	span signature = unit_sign(s, w->signer_key, tbs);
	assert_ok(s, pki_ocsp_assemble(s, tbs, unit_algorithm(), signature, unit_der(s, w->signer), &der));
	return der;
}

static int openssl_judges(const struct world *w, span der, OCSP_BASICRESP **out_basic)
{
	const unsigned char *at = der.data;
	AUTO(OCSP_RESPONSE) *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
	if (response == NULL || at != der.data + der.len || OCSP_response_status(response) != 0)
		return -1;
	AUTO(OCSP_BASICRESP) *basic = OCSP_response_get1_basic(response);
	AUTO(X509_STORE) *store = X509_STORE_new();
	assert_int_equal(X509_STORE_add_cert(store, w->ca), 1);
	int verdict = basic == NULL ? -1 : OCSP_basic_verify(basic, NULL, store, 0);
	*out_basic = TAKE(basic);
	return verdict;
}

static void openssl_accepts_our_answers(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const enum pki_ocsp_status statuses[] = { PKI_OCSP_GOOD, PKI_OCSP_REVOKED, PKI_OCSP_UNKNOWN };
	static const int openssl_statuses[] = { V_OCSP_CERTSTATUS_GOOD, V_OCSP_CERTSTATUS_REVOKED, V_OCSP_CERTSTATUS_UNKNOWN };
	for (size_t i = 0; i < 6; i++) {
		bool sha256 = i >= 3;
		struct pki_ocsp_single single = single_of(&s, w, sha256 ? DIGEST_SHA256 : DIGEST_SHA1, statuses[i % 3]);
		AUTO(OCSP_BASICRESP) *basic = NULL;
		assert_int_equal(openssl_judges(w, respond(&s, w, &single, 1, (span){ 0 }), &basic), 1);
		int status, reason;
		ASN1_GENERALIZEDTIME *revoked_at, *this_update, *next_update;
		OCSP_CERTID *id = openssl_id(w, sha256 ? EVP_sha256() : EVP_sha1());
		assert_int_equal(OCSP_resp_find_status(basic, id, &status, &reason, &revoked_at, &this_update, &next_update),
				 1);
		OCSP_CERTID_free(id);
		assert_int_equal(status, openssl_statuses[i % 3]);
		assert_int_equal(OCSP_check_validity(this_update, next_update, 5, -1), 1);
		if (statuses[i % 3] == PKI_OCSP_REVOKED)
			assert_int_equal(reason, sha256 ? -1 : 1);
	}
}

static void openssl_finds_its_nonce_and_all_singles(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_ocsp_single singles[] = {
		single_of(&s, w, DIGEST_SHA1, PKI_OCSP_GOOD),
		single_of(&s, w, DIGEST_SHA256, PKI_OCSP_REVOKED),
	};
	AUTO(OCSP_REQUEST) *request = OCSP_REQUEST_new();
	assert_non_null(OCSP_request_add0_id(request, openssl_id(w, EVP_sha1())));
	assert_int_equal(OCSP_request_add1_nonce(request, NULL, 32), 1);
	unsigned char *der = NULL;
	int len = i2d_OCSP_REQUEST(request, &der);
	struct pki_ocsp_request read;
	assert_ok(&s, pki_ocsp_request_read(&s, unit_take(&s, der, len), &read));
	AUTO(OCSP_BASICRESP) *basic = NULL;
	assert_int_equal(openssl_judges(w, respond(&s, w, singles, 2, read.nonce), &basic), 1);
	assert_int_equal(OCSP_check_nonce(request, basic), 1);
	assert_int_equal(OCSP_resp_count(basic), 2);
}

static void a_changed_octet_is_noticed_by_openssl(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_ocsp_single single = single_of(&s, w, DIGEST_SHA256, PKI_OCSP_REVOKED);
	span der = respond(&s, w, &single, 1, (span){ 0 });
	struct pki_ocsp_response response;
	assert_ok(&s, pki_ocsp_response_read(&s, der, &response));
	uint8_t *copy = scope_alloc(&s, der.len);
	size_t from = (size_t)(response.tbs.data - der.data);
	for (size_t i = from; i < from + response.tbs.len; i += 7) {
		memcpy(copy, der.data, der.len);
		copy[i] ^= 1;
		AUTO(OCSP_BASICRESP) *basic = NULL;
		assert_int_not_equal(openssl_judges(w, span_of(copy, der.len), &basic), 1);
		(void)pki_ocsp_response_read(&s, span_of(copy, der.len), &response).code;
		scope_clear_error(&s);
	}
	for (size_t len = 0; len < der.len; len++)
		assert_fails(&s, E_INPUT, pki_ocsp_response_read(&s, span_first(der, len), &response));
}

static void what_was_answered_is_read_again(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_ocsp_single single = single_of(&s, w, DIGEST_SHA256, PKI_OCSP_REVOKED);
	single.reason = 5;
	struct pki_ocsp_response response;
	assert_ok(&s, pki_ocsp_response_read(&s, respond(&s, w, &single, 1, SPAN_LITERAL("nonce")), &response));
	assert_int_equal(response.status, 0);
	assert_int_equal(response.count, 1);
	assert_true(span_equal(response.single[0].cert_id, single.cert_id));
	assert_int_equal(response.single[0].status, PKI_OCSP_REVOKED);
	assert_int_equal(response.single[0].reason, 5);
	assert_true(response.single[0].revoked_at / MOMENT_SECOND == single.revoked_at / MOMENT_SECOND);
	assert_true(response.single[0].archive_cutoff / MOMENT_SECOND == single.archive_cutoff / MOMENT_SECOND);
	assert_true(response.single[0].next_update / MOMENT_SECOND == single.next_update / MOMENT_SECOND);
	assert_true(span_is(response.nonce, "nonce"));
	assert_true(span_equal(response.signer_certificate, unit_der(&s, w->signer)));
	assert_true(span_equal(response.responder_key_hash, unit_key_hash(&s, w->signer)));
}

//= rfc9919#3.2.1 nextUpdate is always there, and thisUpdate is not after producedAt
static void answers_with_times_out_of_order_are_not_made(void **state)
{
	const struct world *w = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_ocsp_single early = single_of(&s, w, DIGEST_SHA1, PKI_OCSP_GOOD), endless = early;
	early.this_update = scope_now(&s) + MOMENT_MINUTE;
	endless.next_update = 0;
	span tbs, hash = unit_key_hash(&s, w->signer);
	assert_fails(&s, E_INPUT, pki_ocsp_build_tbs(&s, hash, scope_now(&s), &early, 1, (span){ 0 }, &tbs));
	assert_fails(&s, E_INPUT, pki_ocsp_build_tbs(&s, hash, scope_now(&s), &endless, 1, (span){ 0 }, &tbs));
	assert_fails(&s, E_INPUT, pki_ocsp_build_tbs(&s, hash, scope_now(&s), &early, 0, (span){ 0 }, &tbs));
}

//= rfc6960#4.2.1 error answers have no responseBytes; status 4 is not used
static void error_answers_are_what_openssl_reads(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const int statuses[] = { 1, 2, 3, 6 };
	for (size_t i = 0; i < 4; i++) {
		span der = pki_ocsp_error(statuses[i]);
		const unsigned char *at = der.data;
		AUTO(OCSP_RESPONSE) *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
		assert_non_null(response);
		assert_int_equal(OCSP_response_status(response), statuses[i]);
		struct pki_ocsp_response read;
		assert_ok(&s, pki_ocsp_response_read(&s, der, &read));
		assert_int_equal(read.status, statuses[i]);
	}
	assert_int_equal(pki_ocsp_error(4).data[4], 2);
	assert_int_equal(pki_ocsp_error(0).data[4], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_that_openssl_makes_are_read),
		cmocka_unit_test(our_request_is_the_one_openssl_would_make),
		cmocka_unit_test(nonces_have_1_to_128_octets),
		cmocka_unit_test(requests_are_read_strictly),
		cmocka_unit_test(requests_come_in_urls_as_clients_write_them),
		cmocka_unit_test(openssl_accepts_our_answers),
		cmocka_unit_test(openssl_finds_its_nonce_and_all_singles),
		cmocka_unit_test(a_changed_octet_is_noticed_by_openssl),
		cmocka_unit_test(what_was_answered_is_read_again),
		cmocka_unit_test(answers_with_times_out_of_order_are_not_made),
		cmocka_unit_test(error_answers_are_what_openssl_reads),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
