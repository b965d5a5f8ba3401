#include "der.h"
#include "log.h"

struct der_wr der_write(struct buf *out)
{
	return (struct der_wr){ .out = out };
}

static void append(struct der_wr *d, span bytes)
{
	if (!d->bad && !buf_append(d->out, bytes))
		d->bad = true;
}

size_t der_header(int tag, size_t content, uint8_t *out)
{
	out[0] = (uint8_t)tag;
	if (content < 0x80) {
		out[1] = (uint8_t)content;
		return 2;
	}
	size_t count = 1;
	while (count < 8 && content >> (8 * count) != 0)
		count++;
	out[1] = (uint8_t)(0x80 | count);
	for (size_t i = 0; i < count; i++)
		out[2 + i] = (uint8_t)(content >> (8 * (count - 1 - i)));
	return 2 + count;
}

size_t der_header_len(size_t content)
{
	uint8_t ignored[10];
	return der_header(0, content, ignored);
}

/* An open element has two octets reserved; der_end moves its content when the length needs more. */
void der_begin(struct der_wr *d, int tag)
{
	if (d->depth == DER_WRITE_DEPTH)
		log_die("DER nests deeper than %d", DER_WRITE_DEPTH);
	d->open[d->depth++] = d->out->len;
	uint8_t reserved[2] = { (uint8_t)tag, 0 };
	append(d, SPAN_ARRAY(reserved));
}

void der_end(struct der_wr *d)
{
	if (d->depth == 0)
		log_die("DER element closed that was not open");
	size_t start = d->open[--d->depth];
	if (d->bad)
		return;
	size_t content = d->out->len - start - 2;
	uint8_t head[10];
	size_t head_len = der_header(d->out->data[start], content, head);
	if (!buf_reserve(d->out, head_len - 2)) {
		d->bad = true;
		return;
	}
	uint8_t *at = d->out->data + start;
	memmove(at + head_len, at + 2, content);
	memcpy(at, head, head_len);
	d->out->len += head_len - 2;
}

void der_put(struct der_wr *d, int tag, span content)
{
	uint8_t head[10];
	append(d, span_of(head, der_header(tag, content.len, head)));
	append(d, content);
}

void der_put_raw(struct der_wr *d, span whole)
{
	append(d, whole);
}

void der_put_boolean(struct der_wr *d, bool v)
{
	uint8_t octet = v ? 0xff : 0;
	der_put(d, DER_BOOLEAN, span_of(&octet, 1));
}

static void put_magnitude(struct der_wr *d, int tag, span magnitude)
{
	while (magnitude.len > 1 && magnitude.data[0] == 0)
		magnitude = span_from(magnitude, 1);
	static const uint8_t zero = 0;
	if (magnitude.len == 0)
		magnitude = span_of(&zero, 1);
	bool sign_octet = magnitude.data[0] >= 0x80;
	uint8_t head[10];
	append(d, span_of(head, der_header(tag, magnitude.len + sign_octet, head)));
	append(d, span_of(&zero, sign_octet));
	append(d, magnitude);
}

void der_put_unsigned(struct der_wr *d, span magnitude)
{
	put_magnitude(d, DER_INTEGER, magnitude);
}

void der_put_small(struct der_wr *d, int tag, int64_t v)
{
	uint8_t bytes[8];
	for (size_t i = 0; i < 8; i++)
		bytes[i] = (uint8_t)((uint64_t)v >> (8 * (7 - i)));
	put_magnitude(d, tag, SPAN_ARRAY(bytes));
}

void der_put_oid(struct der_wr *d, span content)
{
	der_put(d, DER_OID, content);
}

void der_put_bits(struct der_wr *d, span bits)
{
	uint8_t head[10];
	append(d, span_of(head, der_header(DER_BIT_STRING, bits.len + 1, head)));
	append(d, span_of("", 1));
	append(d, bits);
}

void der_put_named_bits(struct der_wr *d, unsigned bits)
{
	uint8_t content[5] = { 0 };
	size_t last = 0;
	for (unsigned i = 0; i < 32; i++) {
		if ((bits & (1u << i)) == 0)
			continue;
		content[1 + i / 8] |= (uint8_t)(0x80u >> (i % 8));
		last = i + 1;
	}
	size_t octets = (last + 7) / 8;
	content[0] = (uint8_t)(8 * octets - last);
	der_put(d, DER_BIT_STRING, span_of(content, 1 + octets));
}

void der_put_null(struct der_wr *d)
{
	der_put(d, DER_NULL, (span){ 0 });
}

static char *put_two(char *at, int v)
{
	at[0] = (char)('0' + v / 10);
	at[1] = (char)('0' + v % 10);
	return at + 2;
}

/* "MMDDHHMMSS". By hand: snprintf would be most of the cost of an OCSP answer or a CRL entry. */
static char *put_calendar(char *at, const struct calendar *c)
{
	at = put_two(at, c->month);
	at = put_two(at, c->day);
	at = put_two(at, c->hour);
	at = put_two(at, c->minute);
	return put_two(at, c->second);
}

static int micro_of(int64_t moment)
{
	return (int)(((moment % MOMENT_SECOND) + MOMENT_SECOND) % MOMENT_SECOND);
}

/* "YYYYMMDDHHMMSS[.fraction]Z" into `out`, which has room for DER_TIME_MAX. */
static size_t generalized_text(int64_t moment, char *out)
{
	struct calendar c = moment_calendar(moment);
	char *at = put_calendar(put_two(put_two(out, c.year / 100), c.year % 100), &c);
	int micro = micro_of(moment);
	if (micro != 0) {
		*at++ = '.';
		for (int scale = 100000; micro != 0; scale /= 10) {
			*at++ = (char)('0' + micro / scale);
			micro %= scale;
		}
	}
	*at++ = 'Z';
	return (size_t)(at - out);
}

void der_put_generalized(struct der_wr *d, int64_t moment)
{
	der_put_generalized_fraction(d, moment - micro_of(moment));
}

void der_put_generalized_fraction(struct der_wr *d, int64_t moment)
{
	char text[DER_TIME_MAX];
	der_put(d, DER_GENERALIZED_TIME, span_of(text, generalized_text(moment, text)));
}

//= rfc5280#4.1.2.5 dates through 2049 as UTCTime, from 2050 as GeneralizedTime
size_t der_time(int64_t moment, uint8_t out[DER_TIME_MAX])
{
	struct calendar c = moment_calendar(moment);
	char *text = (char *)out + 2;
	size_t len;
	if (c.year >= 2050)
		len = generalized_text(moment - micro_of(moment), text);
	else {
		char *at = put_calendar(put_two(text, c.year % 100), &c);
		*at++ = 'Z';
		len = (size_t)(at - text);
	}
	out[0] = c.year >= 2050 ? DER_GENERALIZED_TIME : DER_UTC_TIME;
	out[1] = (uint8_t)len;
	return 2 + len;
}

void der_put_time(struct der_wr *d, int64_t moment)
{
	uint8_t whole[DER_TIME_MAX];
	append(d, span_of(whole, der_time(moment, whole)));
}

st der_finish(struct scope *s, const struct der_wr *d)
{
	if (d->depth != 0)
		log_die("DER element left open");
	if (d->bad)
		return fail(s, E_LIMIT, "a DER object grew over its limit of %zu bytes", d->out->cap);
	return OK;
}
