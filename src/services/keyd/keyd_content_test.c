/*
 * keyd_content_test.c - the edges of what keyd reads: the whole matrix on the socket is tests/flow/test_keyd_matrix.py.
 */
#include "keyd_content.h"
#include "unit.h"

#define NOW (INT64_C(1795374000) * MOMENT_SECOND)

static struct key_info info;
static struct keyd_rules rules;
static const uint8_t hash[20] = { 1 };

static int start(void **state)
{
	(void)state;
	info = (struct key_info){
		.label = "k", .token = "k", .type = alg_key_named(span_str("ec-p256")), .spki = SPAN_LITERAL("\x30\x00")
	};
	rules = (struct keyd_rules){ .key = &info,
				     .algorithm = alg_signature_named(span_str("ecdsa-sha256")),
				     .key_hash = SPAN_ARRAY(hash),
				     .now = NOW };
	return 0;
}

/* A TBSCertList; each test changes one thing. */
struct list {
	int64_t version;
	int64_t this_update, next_update; /* 0: left out */
	bool listed;                      /* revokedCertificates is there, with these entries */
	size_t entries;
	const char *entry_extensions; /* whole, hexadecimal */
	const char *crl_extensions;   /* content of [0], hexadecimal; NULL: left out */
	size_t serial_len;
};
#define NUMBER                "300c300a0603551d140403020105"
#define REASON_KEY_COMPROMISE "300c300a0603551d1504030a0101"

static struct list good_list(void)
{
	return (struct list){ .version = 1,
			      .this_update = NOW,
			      .next_update = NOW + 7 * MOMENT_DAY,
			      .listed = true,
			      .entries = 2,
			      .entry_extensions = REASON_KEY_COMPROMISE,
			      .crl_extensions = NUMBER,
			      .serial_len = 16 };
}

static void put_hex(struct scope *s, struct der_wr *d, const char *text)
{
	span bytes;
	assert_ok(s, hex_parse(s, span_str(text), &bytes));
	der_put_raw(d, bytes);
}

static void write_list(struct scope *s, const struct list *l, struct buf *out)
{
	struct der_wr d = der_write(out);
	der_begin(&d, DER_SEQUENCE);
	der_put_small(&d, DER_INTEGER, l->version);
	der_put_raw(&d, rules.algorithm->identifier);
	put_hex(s, &d, "300d310b3009060355040613024245");
	der_put_time(&d, l->this_update);
	if (l->next_update != 0)
		der_put_time(&d, l->next_update);
	if (l->listed) {
		der_begin(&d, DER_SEQUENCE);
		for (size_t i = 0; i < l->entries; i++) {
			uint8_t serial[32] = { 0x40 };
			der_begin(&d, DER_SEQUENCE);
			der_put(&d, DER_INTEGER, span_of(serial, l->serial_len));
			der_put_time(&d, l->this_update);
			if (l->entry_extensions != NULL)
				put_hex(s, &d, l->entry_extensions);
			der_end(&d);
		}
		der_end(&d);
	}
	if (l->crl_extensions != NULL) {
		der_begin(&d, DER_CONTEXT_CONSTRUCTED(0));
		put_hex(s, &d, l->crl_extensions);
		der_end(&d);
	}
	der_end(&d);
	assert_ok(s, der_finish(s, &d));
}

static st judge(struct scope *s, span tbs, size_t part, struct keyd_found *out)
{
	struct keyd_crl *crl = keyd_crl_new(&rules, tbs.len);
	uint8_t digest[DIGEST_MAX];
	span value;
	st status = OK;
	for (size_t at = 0; at < tbs.len && status.code == E_OK; at += part)
		status = keyd_crl_add(s, crl, span_first(span_from(tbs, at), part));
	if (status.code == E_OK)
		status = keyd_crl_finish(s, crl, out, digest, &value);
	keyd_crl_free(crl);
	return status;
}

static enum code verdict(const struct list *l)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF tbs = { .cap = 65536 };
	struct keyd_found found = { 0 };
	write_list(&s, l, &tbs);
	enum code whole = judge(&s, buf_span(&tbs), tbs.len, &found).code;
	scope_clear_error(&s);
	assert_int_equal(judge(&s, buf_span(&tbs), 1, &found).code, whole);
	if (whole == E_OK)
		assert_int_equal(found.entries, l->listed ? l->entries : 0);
	return whole;
}

static void a_list_is_read_to_its_edges(void **state)
{
	(void)state;
	struct list l = good_list();
	assert_int_equal(verdict(&l), E_OK);
	l.entries = 300; /* the head of revokedCertificates has a long length */
	assert_int_equal(verdict(&l), E_OK);
	l.entry_extensions = NULL;
	assert_int_equal(verdict(&l), E_OK);
	l.listed = false; //= rfc5280#5.1.2.6 none revoked: the list is absent
	assert_int_equal(verdict(&l), E_OK);
	l.listed = true;
	l.entries = 0;
	assert_int_equal(verdict(&l), E_INPUT);
}

static void a_list_without_what_it_needs_is_refused(void **state)
{
	(void)state;
	struct list l = good_list();
	l.version = 0;
	assert_int_equal(verdict(&l), E_INPUT);
	l = good_list();
	l.next_update = 0; //= rfc5280#5.1.2.5 nextUpdate is present
	assert_int_equal(verdict(&l), E_INPUT);
	l = good_list();
	l.next_update = l.this_update - MOMENT_DAY;
	assert_int_equal(verdict(&l), E_INPUT);
	l = good_list();
	l.this_update = NOW + MOMENT_HOUR;
	assert_int_equal(verdict(&l), E_DENIED);
	l = good_list();
	l.crl_extensions = NULL;
	assert_int_equal(verdict(&l), E_INPUT);
	l = good_list();
	l.serial_len = 21; //= rfc5280#4.1.2.2 at most 20 octets
	assert_int_equal(verdict(&l), E_INPUT);
}

static void extensions_of_a_list_are_those_that_are_known(void **state)
{
	(void)state;
	static const char *const bad_entries[] = {
		"300c300a0603551d1504030a0100",                         /* unspecified is left out */
		"300c300a0603551d1504030a0107",                         /* 7 is not used */
		"300c300a0603551d1504030a010b",                         /* there is no 11 */
		"3018300a0603551d1504030a0101300a0603551d1504030a0101", /* twice */
		"300c300a0603551d1704030a0101",                         /* another extension */
		"300f300d0603551d150101ff04030a0101",                   /* critical */
		"3000",                                                 /* none */
	};
	struct list l = good_list();
	for (size_t i = 0; i < sizeof bad_entries / sizeof bad_entries[0]; i++) {
		l.entry_extensions = bad_entries[i];
		assert_int_equal(verdict(&l), E_INPUT);
	}
	l = good_list();
	l.crl_extensions = "300f300d0603551d1b0101ff0403020105"; /* a delta: critical and not for us */
	assert_int_equal(verdict(&l), E_DENIED);
	l.crl_extensions = "300c300a0603551d230403800101"; /* no number */
	assert_int_equal(verdict(&l), E_DENIED);
	l.crl_extensions = "3018300a0603551d140403020105300a0603551d140403020105"; /* two */
	assert_int_equal(verdict(&l), E_INPUT);
}

static void no_cut_and_no_changed_length_passes(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF tbs = { .cap = 65536 };
	struct keyd_found found;
	struct list l = good_list();
	write_list(&s, &l, &tbs);
	for (size_t len = 0; len < tbs.len; len++) {
		assert_int_not_equal(judge(&s, span_first(buf_span(&tbs), len), 7, &found).code, E_OK);
		scope_reset(&s);
	}
	tbs.data[1]++;
	assert_int_not_equal(judge(&s, buf_span(&tbs), 7, &found).code, E_OK);
}

/* A certificate of version 3 with these extensions (content of [3], hexadecimal). */
static enum code certificate_verdict(const char *extensions)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF tbs = { .cap = 4096 };
	uint8_t serial[16] = { 0x40 };
	struct keyd_found found;
	struct der_wr d = der_write(&tbs);
	der_begin(&d, DER_SEQUENCE);
	put_hex(&s, &d, "a003020102");
	der_put(&d, DER_INTEGER, SPAN_ARRAY(serial));
	der_put_raw(&d, rules.algorithm->identifier);
	put_hex(&s, &d, "300d310b3009060355040613024245");
	der_begin(&d, DER_SEQUENCE);
	der_put_time(&d, NOW);
	der_put_time(&d, NOW + 30 * MOMENT_DAY);
	der_end(&d);
	put_hex(&s, &d,
		"3000"
		"3000");
	der_begin(&d, DER_CONTEXT_CONSTRUCTED(3));
	put_hex(&s, &d, extensions);
	der_end(&d);
	der_end(&d);
	assert_ok(&s, der_finish(&s, &d));
	return keyd_check_certificate(&s, &rules, buf_span(&tbs), &found).code;
}

static void a_key_limited_to_end_entities_signs_no_authority(void **state)
{
	(void)state;
	static const struct {
		const char *extensions;
		enum code limited, unlimited;
	} rows[] = {
		{ "300e300c0603551d130101ff04023000", E_OK, E_OK },             /* cA FALSE */
		{ "3011300f0603551d130101ff040530030101ff", E_DENIED, E_OK },   /* cA TRUE */
		{ "300e300c0603551d0f0101ff04020780", E_INPUT, E_INPUT },       /* a bit string that is not trimmed */
		{ "3010300e0603551d0f0101ff0404030206c0", E_OK, E_OK },         /* digitalSignature, nonRepudiation */
		{ "3010300e0603551d0f0101ff040403020204", E_DENIED, E_DENIED }, /* keyCertSign without cA */
		{ "3010300e0603551d0f0101ff040403020102", E_DENIED, E_OK },     /* cRLSign */
		{ "301c300c0603551d130101ff04023000300c0603551d130101ff04023000", E_INPUT, E_INPUT }, /* twice */
		{ "3011300f0603551d13010100040530030101ff", E_INPUT, E_INPUT }, /* critical FALSE is left out */
		{ "3011300f0603551d130101ff04053003010100", E_INPUT, E_INPUT }, /* cA FALSE is left out */
		{ "3000", E_INPUT, E_INPUT },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		info.limits.ca = false;
		assert_int_equal(certificate_verdict(rows[i].extensions), rows[i].limited);
		info.limits.ca = true;
		assert_int_equal(certificate_verdict(rows[i].extensions), rows[i].unlimited);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_read_to_its_edges),
		cmocka_unit_test(a_list_without_what_it_needs_is_refused),
		cmocka_unit_test(extensions_of_a_list_are_those_that_are_known),
		cmocka_unit_test(no_cut_and_no_changed_length_passes),
		cmocka_unit_test(a_key_limited_to_end_entities_signs_no_authority),
	};
	return cmocka_run_group_tests(tests, start, NULL);
}
