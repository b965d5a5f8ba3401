#include "pki_crl.h"
#include "pki_unit.h"

DEFINE_AUTO(X509_CRL, X509_CRL_free)
#define AUTO_WRITER __attribute__((cleanup(writer_auto))) struct pki_crl_writer

static void writer_auto(struct pki_crl_writer **w)
{
	pki_crl_free(*w);
}

static struct entry_row {
	const char *serial;
	size_t serial_len;
	const char *revoked_at;
	int reason;
	const char *invalidity;
} const rows[] = {
	{ "\x01", 1, "2026-01-02T03:04:05Z", 0, NULL },
	{ "\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78\x9a\xbc\xde\xf0", 16, "2026-11-22T17:00:00Z", 1, NULL },
	{ "\x7f", 1, "2026-11-22T17:00:00Z", 4, "2025-11-22T17:00:00Z" },
	{ "\x80", 1, "2026-11-22T17:00:00Z", 0, "2025-11-22T17:00:00Z" },
	{ "\xfe\x00", 2, "2026-11-22T17:00:00Z", 10, NULL },
};
#define ROWS (sizeof rows / sizeof rows[0])

static struct pki_crl_entry entry_of(struct scope *s, const struct entry_row *row)
{
	return (struct pki_crl_entry){
		.serial = span_of(row->serial, row->serial_len),
		.revoked_at = unit_moment(s, row->revoked_at),
		.reason = row->reason,
		.invalidity_date = row->invalidity == NULL ? 0 : unit_moment(s, row->invalidity),
	};
}

static struct pki_crl_head head_of(struct scope *s, const X509 *ca)
{
	return (struct pki_crl_head){
		.issuer = unit_subject(s, ca),
		.issuer_key_identifier = unit_key_hash(s, ca),
		.number = 0x80,
		.this_update = unit_moment(s, "2026-11-22T18:00:00Z"),
		.next_update = unit_moment(s, "2026-11-23T18:00:00Z"),
		.expired_certs_from = unit_moment(s, "2024-01-01T00:00:00Z"),
		.algorithm = unit_algorithm(),
	};
}

static st collect(struct scope *s, span part, void *arg)
{
	(void)s;
	assert_true(part.len <= 65536);
	assert_true(buf_append(arg, part));
	return OK;
}

/* What begins, the entries, what ends. */
static span tbs_of(struct scope *s, const struct pki_crl_ends *ends, const struct buf *entries)
{
	AUTO_BUF tbs = { 0 };
	assert_true(buf_append(&tbs, ends->head) && buf_append(&tbs, buf_span(entries)) && buf_append(&tbs, ends->tail));
	assert_int_equal(tbs.len, ends->tbs_length);
	return scope_copy(s, buf_span(&tbs));
}

/* With rows[0..count), framed and signed. */
static span write_crl(struct scope *s, const struct pki_crl_head *head, size_t count, EVP_PKEY *key)
{
	AUTO_BUF entries = { 0 }, whole = { 0 };
	AUTO_WRITER *w = NULL;
	struct pki_crl_ends ends;
	assert_ok(s, pki_crl_open(s, head, collect, &entries, &w));
	for (size_t i = 0; i < count; i++) {
		struct pki_crl_entry entry = entry_of(s, &rows[i]);
		assert_ok(s, pki_crl_entry(s, w, &entry));
	}
	assert_ok(s, pki_crl_close(s, w, &ends));
	assert_int_equal(ends.entries, count);
	assert_int_equal(ends.head.len, pki_crl_head_len(w, entries.len));
	span before, after, tbs = tbs_of(s, &ends, &entries);
	assert_ok(s, pki_crl_frame(s, ends.tbs_length, head->algorithm, unit_sign(s, key, tbs), &before, &after));
	assert_true(buf_append(&whole, before) && buf_append(&whole, tbs) && buf_append(&whole, after));
	return scope_copy(s, buf_span(&whole));
}

static X509_CRL *decode(span der)
{
	const unsigned char *at = der.data;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)der.len);
	assert_non_null(crl);
	assert_ptr_equal(at, der.data + der.len);
	return crl;
}

static ASN1_TIME *openssl_time(struct scope *s, int64_t moment)
{
	(void)s;
	return ASN1_TIME_adj(NULL, (time_t)(moment / MOMENT_SECOND), 0, 0);
}

static void openssl_add_entry(struct scope *s, X509_CRL *crl, const struct pki_crl_entry *entry)
{
	X509_REVOKED *revoked = X509_REVOKED_new();
	BIGNUM *number = BN_bin2bn(entry->serial.data, (int)entry->serial.len, NULL);
	ASN1_INTEGER *serial = BN_to_ASN1_INTEGER(number, NULL);
	ASN1_TIME *when = openssl_time(s, entry->revoked_at);
	assert_int_equal(X509_REVOKED_set_serialNumber(revoked, serial), 1);
	assert_int_equal(X509_REVOKED_set_revocationDate(revoked, when), 1);
	if (entry->reason > 0) {
		ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
		assert_int_equal(ASN1_ENUMERATED_set(reason, entry->reason), 1);
		assert_int_equal(X509_REVOKED_add1_ext_i2d(revoked, NID_crl_reason, reason, 0, 0), 1);
		ASN1_ENUMERATED_free(reason);
	}
	if (entry->invalidity_date != 0) {
		ASN1_GENERALIZEDTIME *date =
			ASN1_GENERALIZEDTIME_adj(NULL, (time_t)(entry->invalidity_date / MOMENT_SECOND), 0, 0);
		assert_int_equal(X509_REVOKED_add1_ext_i2d(revoked, NID_invalidity_date, date, 0, 0), 1);
		ASN1_GENERALIZEDTIME_free(date);
	}
	assert_int_equal(X509_CRL_add0_revoked(crl, revoked), 1);
	ASN1_TIME_free(when);
	ASN1_INTEGER_free(serial);
	BN_free(number);
}

static void openssl_add_number(X509_CRL *crl, uint64_t number)
{
	ASN1_INTEGER *value = ASN1_INTEGER_new();
	assert_int_equal(ASN1_INTEGER_set_uint64(value, number), 1);
	assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_crl_number, value, 0, 0), 1);
	ASN1_INTEGER_free(value);
}

static void openssl_add_key_identifier(X509_CRL *crl, span identifier)
{
	AUTHORITY_KEYID *value = AUTHORITY_KEYID_new();
	value->keyid = ASN1_OCTET_STRING_new();
	assert_int_equal(ASN1_OCTET_STRING_set(value->keyid, identifier.data, (int)identifier.len), 1);
	assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier, value, 0, 0), 1);
	AUTHORITY_KEYID_free(value);
}

/* The same content built with OpenSSL's own calls. */
static span openssl_tbs(struct scope *s, const struct pki_crl_head *head, size_t count, const X509 *ca, EVP_PKEY *key)
{
	AUTO(X509_CRL) *crl = X509_CRL_new();
	ASN1_TIME *this_update = openssl_time(s, head->this_update), *next_update = openssl_time(s, head->next_update);
	assert_int_equal(X509_CRL_set_version(crl, 1), 1);
	assert_int_equal(X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)), 1);
	assert_int_equal(X509_CRL_set1_lastUpdate(crl, this_update), 1);
	assert_int_equal(X509_CRL_set1_nextUpdate(crl, next_update), 1);
	for (size_t i = 0; i < count; i++) {
		struct pki_crl_entry entry = entry_of(s, &rows[i]);
		openssl_add_entry(s, crl, &entry);
	}
	openssl_add_key_identifier(crl, head->issuer_key_identifier);
	openssl_add_number(crl, head->number);
	assert_true(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
	unsigned char *der = NULL;
	int len = i2d_re_X509_CRL_tbs(crl, &der);
	ASN1_TIME_free(this_update);
	ASN1_TIME_free(next_update);
	return unit_take(s, der, len);
}

static void a_crl_is_byte_for_byte_what_openssl_encodes(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	AUTO(X509) *ca = unit_certificate("CA", key, NULL, NULL, "critical,CA:TRUE");
	for (size_t count = 0; count <= ROWS; count++) {
		struct pki_crl_head head = head_of(&s, ca);
		head.expired_certs_from = 0; /* OpenSSL 3.0 has no such extension */
		span der = write_crl(&s, &head, count, key);
		struct pki_crl read;
		assert_ok(&s, pki_crl_read(&s, der, &read));
		assert_true(span_equal(read.tbs, openssl_tbs(&s, &head, count, ca, key)));
		AUTO(X509_CRL) *crl = decode(der);
		assert_int_equal(X509_CRL_verify(crl, key), 1);
	}
}

static void what_was_written_is_read_again(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	AUTO(X509) *ca = unit_certificate("CA", key, NULL, NULL, "critical,CA:TRUE");
	struct pki_crl_head head = head_of(&s, ca);
	span der = write_crl(&s, &head, ROWS, key);
	struct pki_crl crl;
	assert_ok(&s, pki_crl_read(&s, der, &crl));
	assert_int_equal(crl.entries, ROWS);
	assert_int_equal(crl.number, 0x80);
	assert_true(crl.this_update == head.this_update && crl.next_update == head.next_update);
	assert_true(crl.expired_certs_from == head.expired_certs_from);
	assert_true(span_equal(crl.issuer, head.issuer));
	assert_true(span_equal(crl.issuer_key_identifier, head.issuer_key_identifier));
	for (size_t i = 0; i < ROWS; i++) {
		struct pki_crl_entry want = entry_of(&s, &rows[i]), got = { 0 };
		bool found = false;
		assert_ok(&s, pki_crl_find(&s, der, want.serial, &found, &got));
		assert_true(found);
		assert_true(got.revoked_at == want.revoked_at && got.invalidity_date == want.invalidity_date);
		assert_int_equal(got.reason, want.reason);
	}
	struct pki_crl_entry none = { 0 };
	bool found = true;
	assert_ok(&s, pki_crl_find(&s, der, SPAN_LITERAL("\x02"), &found, &none));
	assert_false(found);
}

static void a_changed_octet_breaks_the_signature_or_the_shape(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	AUTO(X509) *ca = unit_certificate("CA", key, NULL, NULL, "critical,CA:TRUE");
	struct pki_crl_head head = head_of(&s, ca);
	span der = write_crl(&s, &head, ROWS, key);
	uint8_t *copy = scope_alloc(&s, der.len);
	for (size_t i = 0; i < der.len; i++) {
		memcpy(copy, der.data, der.len);
		copy[i] ^= 1;
		const unsigned char *at = copy;
		AUTO(X509_CRL) *crl = d2i_X509_CRL(NULL, &at, (long)der.len);
		assert_true(crl == NULL || X509_CRL_verify(crl, key) != 1 || at != copy + der.len);
		struct pki_crl ignored;
		(void)pki_crl_read(&s, span_of(copy, der.len), &ignored).code; /* must not crash */
		scope_clear_error(&s);
	}
	struct pki_crl ignored;
	for (size_t len = 0; len < der.len; len++)
		assert_fails(&s, E_INPUT, pki_crl_read(&s, span_first(der, len), &ignored));
}

static st count_octets(struct scope *s, span part, void *arg)
{
	(void)s;
	*(uint64_t *)arg += part.len;
	return OK;
}

/* Each date as der_time writes it, whatever was written before: the same day, another one, another form. */
static void dates_are_as_if_each_were_alone(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	AUTO(X509) *ca = unit_certificate("CA", key, NULL, NULL, "critical,CA:TRUE");
	static const char *const dates[] = {
		"2026-01-02T03:04:05Z", "2026-01-02T23:59:59Z", "2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z",
		"2049-12-31T23:59:59Z", "2050-01-01T00:00:00Z", "2050-01-01T12:34:56Z", "1970-01-01T00:00:00Z",
		"1969-12-31T23:59:59Z", "1950-01-01T00:00:01Z", "2026-01-02T03:04:05Z",
	};
	struct pki_crl_head head = head_of(&s, ca);
	head.this_update = unit_moment(&s, "2051-01-01T00:00:00Z");
	head.next_update = unit_moment(&s, "2051-01-02T00:00:00Z");
	AUTO_BUF entries = { 0 };
	AUTO_WRITER *w = NULL;
	struct pki_crl_ends ends;
	assert_ok(&s, pki_crl_open(&s, &head, collect, &entries, &w));
	for (size_t i = 0; i < sizeof dates / sizeof dates[0]; i++) {
		const uint8_t serial = (uint8_t)(i + 1);
		struct pki_crl_entry entry = { .serial = span_of(&serial, 1),
					       .revoked_at = unit_moment(&s, dates[i]) + 999999 };
		assert_ok(&s, pki_crl_entry(&s, w, &entry));
	}
	assert_ok(&s, pki_crl_close(&s, w, &ends));
	struct der_rd list = der_read(buf_span(&entries));
	for (size_t i = 0; i < sizeof dates / sizeof dates[0]; i++) {
		struct der_rd d = der_enter(&list, DER_SEQUENCE);
		uint8_t alone[DER_TIME_MAX];
		size_t len = der_time(unit_moment(&s, dates[i]), alone);
		(void)der_get_integer(&d);
		assert_true(span_equal(d.rest, span_of(alone, len)));
		(void)der_get_time(&d);
		der_leave(&list, &d);
	}
	assert_ok(&s, der_done(&s, &list, "the entries"));
}

//= rfc5280#5.1.2.6 an entry names a positive serial of at most 20 octets, once, and was revoked before thisUpdate
static void entries_a_crl_may_not_have_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	AUTO(X509) *ca = unit_certificate("CA", key, NULL, NULL, "critical,CA:TRUE");
	struct pki_crl_head head = head_of(&s, ca);
	static const uint8_t long_serial[21] = { 1 }, signed_serial[20] = { 0x80 };
	struct pki_crl_entry good = entry_of(&s, &rows[2]), bad[6];
	for (size_t i = 0; i < 6; i++)
		bad[i] = good;
	bad[1].serial = SPAN_LITERAL("\x01"); /* out of order */
	bad[2].serial = SPAN_LITERAL("\x00"); /* not positive */
	bad[3].serial = SPAN_ARRAY(long_serial);
	bad[4].serial = SPAN_ARRAY(signed_serial);
	bad[5].serial = SPAN_LITERAL("\x90");
	bad[5].revoked_at = head.this_update + MOMENT_SECOND;
	for (size_t i = 0; i < 6; i++) { /* bad[0] is a double */
		uint64_t seen = 0;
		AUTO_WRITER *w = NULL;
		assert_ok(&s, pki_crl_open(&s, &head, count_octets, &seen, &w));
		assert_ok(&s, pki_crl_entry(&s, w, &good));
		assert_fails(&s, E_INPUT, pki_crl_entry(&s, w, &bad[i]));
		scope_clear_error(&s);
	}
}

static void heads_a_crl_may_not_have_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	AUTO(X509) *ca = unit_certificate("CA", key, NULL, NULL, "critical,CA:TRUE");
	for (int i = 0; i < 3; i++) {
		struct pki_crl_head head = head_of(&s, ca);
		if (i == 0)
			head.next_update = head.this_update;
		else if (i == 1)
			head.issuer_key_identifier = (span){ 0 };
		else
			head.issuer = (span){ 0 };
		uint64_t seen = 0;
		AUTO_WRITER *w = NULL;
		assert_fails(&s, E_INPUT, pki_crl_open(&s, &head, count_octets, &seen, &w));
		assert_null(w);
	}
}

//= rfc5280#4.1.2.2 serial numbers are positive and at most 20 octets long
//= rfc5280#5.3.1 CRLReason has no value 7 and none above 10
static void entries_that_cannot_be_are_not_read(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	AUTO(X509) *ca = unit_certificate("CA", key, NULL, NULL, "critical,CA:TRUE");
	const struct pki_crl_head head = head_of(&s, ca);
	static const struct {
		const char *is, *becomes; /* three octets of an entry: a serial, a reason */
		bool good;
	} changes[] = {
		{ "\x02\x01\x01", "\x02\x01\x02", true },  { "\x02\x01\x01", "\x02\x01\x00", false },
		{ "\x02\x01\x01", "\x02\x01\xff", false }, { "\x0a\x01\x04", "\x0a\x01\x03", true },
		{ "\x0a\x01\x04", "\x0a\x01\x07", false }, { "\x0a\x01\x04", "\x0a\x01\x0b", false },
	};
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		span der = write_crl(&s, &head, ROWS, key);
		struct pki_crl crl;
		assert_ok(&s, pki_crl_read(&s, der, &crl));
		uint8_t *at = memmem(der.data, der.len, changes[i].is, 3);
		assert_non_null(at);
		if (changes[i].is[0] == DER_INTEGER) /* behind the version, which looks like it */
			at = memmem(at + 3, (size_t)(der.data + der.len - at - 3), changes[i].is, 3);
		assert_non_null(at);
		memcpy(at, changes[i].becomes, 3);
		st status = pki_crl_read(&s, der, &crl);
		assert_int_equal(status.code, changes[i].good ? E_OK : E_INPUT);
		scope_clear_error(&s);
	}
}

/* 200,000 entries: the memory of the scope does not grow, and the parts add up to the length promised. */
static void a_large_crl_takes_no_more_memory_than_a_small_one(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	AUTO(X509) *ca = unit_certificate("CA", key, NULL, NULL, "critical,CA:TRUE");
	struct pki_crl_head head = head_of(&s, ca);
	uint64_t seen = 0;
	AUTO_WRITER *w = NULL;
	assert_ok(&s, pki_crl_open(&s, &head, count_octets, &seen, &w));
	uint8_t serial[16] = { 1 };
	struct pki_crl_entry entry = { .serial = SPAN_ARRAY(serial), .revoked_at = head.this_update, .reason = 1 };
	size_t used = s.used;
	for (uint32_t i = 0; i < 200000; i++) {
		for (int j = 0; j < 4; j++)
			serial[12 + j] = (uint8_t)(i >> (8 * (3 - j)));
		assert_ok(&s, pki_crl_entry(&s, w, &entry));
	}
	assert_int_equal(s.used, used);
	struct pki_crl_ends ends;
	assert_ok(&s, pki_crl_close(&s, w, &ends));
	assert_int_equal(ends.entries, 200000);
	assert_int_equal(ends.head.len + seen + ends.tail.len, ends.tbs_length);
	assert_int_equal(ends.head.len, pki_crl_head_len(w, seen));
}

static void reasons_have_names(void **state)
{
	(void)state;
	for (int i = -1; i < 12; i++) {
		const char *name = pki_reason_name(i);
		assert_true((name == NULL) == (i < 0 || i == 7 || i > 10));
		if (name != NULL)
			assert_int_equal(pki_reason_named(span_str(name)), i);
	}
	assert_int_equal(pki_reason_named(SPAN_LITERAL("boredom")), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crl_is_byte_for_byte_what_openssl_encodes),
		cmocka_unit_test(what_was_written_is_read_again),
		cmocka_unit_test(a_changed_octet_breaks_the_signature_or_the_shape),
		cmocka_unit_test(dates_are_as_if_each_were_alone),
		cmocka_unit_test(entries_a_crl_may_not_have_are_refused),
		cmocka_unit_test(heads_a_crl_may_not_have_are_refused),
		cmocka_unit_test(entries_that_cannot_be_are_not_read),
		cmocka_unit_test(a_large_crl_takes_no_more_memory_than_a_small_one),
		cmocka_unit_test(reasons_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
