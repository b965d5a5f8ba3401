#include "der.h"
#include "unit.h"

static void numbers_survive_the_round_trip(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const int64_t values[] = { 0, 1, 127, 128, 255, 256, 65535, INT64_MAX };
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		AUTO_BUF b = { 0 };
		struct der_wr w = der_write(&b);
		der_put_small(&w, DER_INTEGER, values[i]);
		assert_ok(&s, der_finish(&s, &w));
		struct der_rd r = der_read(buf_span(&b));
		assert_true(der_get_small(&r, DER_INTEGER) == values[i]);
		assert_ok(&s, der_done(&s, &r, "number"));
	}
}

static void lengths_grow_with_their_content(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const size_t lengths[] = { 0, 1, 127, 128, 255, 256, 65535, 65536 };
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		AUTO_BUF b = { 0 };
		struct der_wr w = der_write(&b);
		der_begin(&w, DER_SEQUENCE);
		der_begin(&w, DER_OCTET_STRING);
		der_put_raw(&w, span_of(scope_alloc(&s, lengths[i]), lengths[i]));
		der_end(&w);
		der_end(&w);
		assert_ok(&s, der_finish(&s, &w));
		struct der_rd r = der_read(buf_span(&b));
		struct der_rd inner = der_enter(&r, DER_SEQUENCE);
		assert_int_equal(der_get(&inner, DER_OCTET_STRING).len, lengths[i]);
		der_leave(&r, &inner);
		assert_ok(&s, der_done(&s, &r, "nest"));
	}
}

static void what_is_not_der_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{ "\x02\x81\x01\x05", 4 },                 /* length not in shortest form */
		{ "\x02\x80\x05\x00\x00", 5 },             /* indefinite length */
		{ "\x02\x02\x00\x05", 4 },                 /* integer with a needless zero */
		{ "\x02\x00", 2 },                         /* empty integer */
		{ "\x02\x02\x05", 3 },                     /* cut short */
		{ "\x02\x01\x05\x00", 4 },                 /* trailing byte */
		{ "\x1f\x02\x01\x05", 4 },                 /* long tag */
		{ "\x02\x84\xff\xff\xff\xff\x01", 7 },     /* longer than what is there */
		{ "\x02\x85\x01\x00\x00\x00\x00\x01", 8 }, /* more than four length octets */
		{ "\x02\x01\xff", 3 },                     /* negative */
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct der_rd r = der_read(span_of(bad[i].bytes, bad[i].len));
		(void)der_get_small(&r, DER_INTEGER);
		assert_fails(&s, E_INPUT, der_done(&s, &r, "number"));
	}
}

static void times_follow_rfc_5280(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		const char *rfc3339;
		const char *der;
	} rows[] = {
		{ "2049-12-31T23:59:59Z", "\x17\x0d"
					  "491231235959Z" },
		{ "2050-01-01T00:00:00Z", "\x18\x0f"
					  "20500101000000Z" },
		{ "1950-01-01T00:00:00Z", "\x17\x0d"
					  "500101000000Z" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int64_t moment;
		assert_ok(&s, moment_parse(&s, span_str(rows[i].rfc3339), &moment));
		AUTO_BUF b = { 0 };
		struct der_wr w = der_write(&b);
		der_put_time(&w, moment);
		assert_true(span_is(buf_span(&b), rows[i].der));
		struct der_rd r = der_read(span_str(rows[i].der));
		assert_true(der_get_time(&r) == moment);
		assert_ok(&s, der_done(&s, &r, "time"));
	}
	static const char *const bad[] = { "\x18\x0f"
					   "20490101000000Z",
					   "\x17\x0b"
					   "4901010000Z",
					   "\x17\x0d"
					   "490230000000Z" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct der_rd r = der_read(span_str(bad[i]));
		(void)der_get_time(&r);
		assert_fails(&s, E_INPUT, der_done(&s, &r, "time"));
	}
}

//= rfc3161#2.4.2 genTime: a fraction, where present, has no trailing zero
static void fractions_have_no_trailing_zero(void **state)
{
	(void)state;
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_put_generalized_fraction(&w, 1230000);
	assert_true(span_is(buf_span(&b), "\x18\x12"
					  "19700101000001.23Z"));
	struct der_rd r = der_read(buf_span(&b));
	assert_true(der_get_generalized(&r, true) == 1230000);
	buf_clear(&b);
	der_put_generalized_fraction(&w, 10 * MOMENT_SECOND);
	assert_true(span_is(buf_span(&b), "\x18\x0f"
					  "19700101000010Z"));
	r = der_read(span_str("\x18\x12"
			      "19700101000001.20Z"));
	(void)der_get_generalized(&r, true);
	assert_true(r.bad);
}

static void named_bits_are_trimmed(void **state)
{
	(void)state;
	static const unsigned values[] = { 0, 1, 2, 3, 0x60, 0x100, 0x81 };
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		AUTO_BUF b = { 0 };
		struct der_wr w = der_write(&b);
		der_put_named_bits(&w, values[i]);
		struct der_rd r = der_read(buf_span(&b));
		assert_int_equal(der_get_named_bits(&r), values[i]);
		assert_false(r.bad);
	}
	struct der_rd r = der_read(span_of("\x03\x02\x00\x80", 4));
	(void)der_get_named_bits(&r);
	assert_true(r.bad);
}

static void object_identifiers_read_as_text(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const good[] = { "2.5.29.15", "1.2.840.113549.1.1.11", "0.4.0.2042.1.2", "2.999.1",
					    "1.3.6.1.4.1.47718.2.0.1.1" };
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		span content;
		char *text;
		assert_ok(&s, der_oid_parse(&s, span_str(good[i]), &content));
		assert_ok(&s, der_oid_text(&s, content, &text));
		assert_string_equal(text, good[i]);
	}
	static const char *const bad[] = { "", "1", "3.1", "1.40", "1..2", "1.2.", "a.b", "1.2.03", "1.02" };
	span out;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_fails(&s, E_INPUT, der_oid_parse(&s, span_str(bad[i]), &out));
	uint8_t many[33] = { 0x2a };
	char *text;
	assert_ok(&s, der_oid_text(&s, span_of(many, 31), &text));
	assert_int_equal(der_oid_text(&s, span_of(many, 32), &text).code, E_INPUT);
	scope_clear_error(&s);
	assert_ok(&s, der_oid_text(&s, SPAN_LITERAL("\x2a\x8f\xff\xff\xff\x7f"), &text));
	assert_string_equal(text, "1.2.4294967295");
	assert_int_equal(der_oid_text(&s, SPAN_LITERAL("\x2a\x90\x80\x80\x80\x00"), &text).code, E_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_survive_the_round_trip),  cmocka_unit_test(lengths_grow_with_their_content),
		cmocka_unit_test(what_is_not_der_is_refused),      cmocka_unit_test(times_follow_rfc_5280),
		cmocka_unit_test(fractions_have_no_trailing_zero), cmocka_unit_test(named_bits_are_trimmed),
		cmocka_unit_test(object_identifiers_read_as_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
