/* Numbers, moments, hexadecimal, base64 and object identifiers: any text. What is read is written as the text that gives it. */
#include "der.h"
#include "fuzz.h"

static void moment(struct scope *s, span text)
{
	int64_t v, again;
	char room[MOMENT_TEXT_MAX];
	if (moment_parse(s, text, &v).code == E_OK)
		check(moment_parse(s, span_str(moment_text(v, room)), &again).code == E_OK && again == v);
	scope_clear_error(s);
}

static void oid(struct scope *s, span text)
{
	span content;
	char *again;
	if (der_oid_parse(s, text, &content).code == E_OK)
		check(der_oid_text(s, content, &again).code == E_OK && span_is(text, again));
	scope_clear_error(s);
	if (der_oid_text(s, text, &again).code == E_OK)
		check(der_oid_parse(s, span_str(again), &content).code == E_OK && span_equal(content, text));
	scope_clear_error(s);
}

/* As DER: the times, small numbers and named bits that a reader takes are written as the same octets. */
static void der(struct scope *s, span bytes)
{
	AUTO_BUF again = { 0 };
	struct der_wr w = der_write(&again);
	struct der_rd d = der_read(bytes);
	int tag = der_next(&d);
	if (tag == DER_UTC_TIME || tag == DER_GENERALIZED_TIME)
		der_put_time(&w, der_get_time(&d));
	else if (tag == DER_INTEGER)
		der_put_small(&w, DER_INTEGER, der_get_small(&d, DER_INTEGER));
	else if (tag == DER_BIT_STRING)
		der_put_named_bits(&w, der_get_named_bits(&d));
	else if (tag == DER_BOOLEAN)
		der_put_boolean(&w, der_get_boolean(&d));
	else
		return;
	if (der_done(s, &d, "it").code == E_OK)
		check(der_finish(s, &w).code == E_OK && span_equal(buf_span(&again), bytes));
	scope_clear_error(s);
	d = der_read(bytes);
	int64_t precise = der_get_generalized(&d, true);
	buf_clear(&again);
	w = der_write(&again);
	der_put_generalized_fraction(&w, precise);
	if (der_done(s, &d, "it").code == E_OK)
		check(der_finish(s, &w).code == E_OK && span_equal(buf_span(&again), bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span text = span_of(data, size), bytes;
	uint64_t number;
	if (hex_parse(&s, text, &bytes).code == E_OK)
		check(bytes.len == size / 2 && hex_parse(&s, span_str(hex_text(&s, bytes)), &bytes).code == E_OK);
	scope_clear_error(&s);
	if (base64_parse(&s, text, &bytes).code == E_OK)
		check(span_is(text, base64_text(&s, bytes)));
	scope_clear_error(&s);
	if (decimal_parse(&s, text, 1000, &number).code == E_OK)
		check(number <= 1000);
	scope_clear_error(&s);
	moment(&s, text);
	oid(&s, text);
	der(&s, text);
	return 0;
}
