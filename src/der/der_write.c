#include "der.h"
#include "log.h"
#include <stdio.h>

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

void der_put_generalized(struct der_wr *d, int64_t moment)
{
	der_put_generalized_fraction(d, moment - ((moment % MOMENT_SECOND) + MOMENT_SECOND) % MOMENT_SECOND);
}

void der_put_generalized_fraction(struct der_wr *d, int64_t moment)
{
	struct calendar c = moment_calendar(moment);
	int64_t micro = ((moment % MOMENT_SECOND) + MOMENT_SECOND) % MOMENT_SECOND;
	char text[64];
	int len = snprintf(text, sizeof text, "%04d%02d%02d%02d%02d%02d.%06d", c.year, c.month, c.day, c.hour, c.minute, c.second,
			   (int)micro);
	while (text[len - 1] == '0')
		len--;
	if (text[len - 1] == '.' || len < 14)
		len = 14;
	text[len++] = 'Z';
	der_put(d, DER_GENERALIZED_TIME, span_of(text, (size_t)len));
}

//= rfc5280#4.1.2.5 dates through 2049 as UTCTime, from 2050 as GeneralizedTime
void der_put_time(struct der_wr *d, int64_t moment)
{
	struct calendar c = moment_calendar(moment);
	if (c.year >= 2050) {
		der_put_generalized(d, moment);
		return;
	}
	char text[64];
	int len = snprintf(text, sizeof text, "%02d%02d%02d%02d%02d%02dZ", c.year % 100, c.month, c.day, c.hour, c.minute, c.second);
	der_put(d, DER_UTC_TIME, span_of(text, (size_t)len));
}

st der_finish(struct scope *s, const struct der_wr *d)
{
	if (d->depth != 0)
		log_die("DER element left open");
	if (d->bad)
		return fail(s, E_LIMIT, "a DER object grew over its limit of %zu bytes", d->out->cap);
	return OK;
}
