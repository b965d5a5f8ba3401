#include "der.h"

struct der_rd der_read(span bytes)
{
	return (struct der_rd){ .rest = bytes };
}

int der_next(const struct der_rd *d)
{
	return d->bad || d->rest.len == 0 ? 0 : d->rest.data[0];
}

bool der_at_end(const struct der_rd *d)
{
	return d->bad || d->rest.len == 0;
}

static span bad(struct der_rd *d)
{
	d->bad = true;
	return (span){ 0 };
}

/* Octets of tag and length, and the content length; false unless the shortest definite form. */
static bool header(span rest, size_t *out_header, size_t *out_content)
{
	if (rest.len < 2 || (rest.data[0] & 0x1f) == 0x1f)
		return false;
	size_t first = rest.data[1];
	if (first < 0x80) {
		*out_header = 2;
		*out_content = first;
		return first <= rest.len - 2;
	}
	size_t count = first & 0x7f;
	if (count < 1 || count > 4 || rest.len < 2 + count || rest.data[2] == 0)
		return false;
	size_t content = 0;
	for (size_t i = 0; i < count; i++)
		content = content << 8 | rest.data[2 + i];
	*out_header = 2 + count;
	*out_content = content;
	return content >= 0x80 && content <= rest.len - 2 - count;
}

static span take(struct der_rd *d, int tag, bool whole)
{
	size_t head, content;
	if (d->bad || !header(d->rest, &head, &content) || (tag != 0 && d->rest.data[0] != tag))
		return bad(d);
	span out = whole ? span_of(d->rest.data, head + content) : span_of(d->rest.data + head, content);
	d->rest = span_of(d->rest.data + head + content, d->rest.len - head - content);
	return out;
}

span der_get(struct der_rd *d, int tag)
{
	return take(d, tag, false);
}

span der_get_whole(struct der_rd *d, int tag)
{
	return take(d, tag, true);
}

struct der_rd der_enter(struct der_rd *d, int tag)
{
	span content = take(d, tag, false);
	return (struct der_rd){ .rest = content, .bad = d->bad };
}

void der_leave(struct der_rd *d, const struct der_rd *inner)
{
	if (inner->bad || inner->rest.len > 0)
		d->bad = true;
}

bool der_skip(struct der_rd *d, int tag)
{
	if (der_next(d) != tag)
		return false;
	(void)take(d, tag, false);
	return !d->bad;
}

bool der_get_boolean(struct der_rd *d)
{
	span content = der_get(d, DER_BOOLEAN);
	if (content.len != 1 || (content.data[0] != 0 && content.data[0] != 0xff))
		return bad(d).len != 0;
	return content.data[0] != 0;
}

static bool shortest_integer(span c)
{
	if (c.len == 0)
		return false;
	if (c.len == 1)
		return true;
	return !(c.data[0] == 0 && c.data[1] < 0x80) && !(c.data[0] == 0xff && c.data[1] >= 0x80);
}

span der_get_integer(struct der_rd *d)
{
	span content = der_get(d, DER_INTEGER);
	return shortest_integer(content) ? content : bad(d);
}

int64_t der_get_small(struct der_rd *d, int tag)
{
	span content = der_get(d, tag);
	if (!shortest_integer(content) || content.len > 8 || content.data[0] >= 0x80)
		return (int64_t)bad(d).len;
	int64_t v = 0;
	for (size_t i = 0; i < content.len; i++)
		v = v << 8 | content.data[i];
	return v;
}

span der_get_bits(struct der_rd *d)
{
	span content = der_get(d, DER_BIT_STRING);
	if (content.len < 1 || content.data[0] != 0)
		return bad(d);
	return span_from(content, 1);
}

unsigned der_get_named_bits(struct der_rd *d)
{
	span content = der_get(d, DER_BIT_STRING);
	if (content.len < 1 || content.len > 3 || content.data[0] > 7)
		return (unsigned)bad(d).len;
	unsigned unused = content.data[0];
	uint8_t last = content.data[content.len - 1];
	bool trimmed = content.len == 1 ? unused == 0 : (last & ((1u << (unused + 1)) - 1)) == 1u << unused;
	if (!trimmed)
		return (unsigned)bad(d).len;
	unsigned bits = 0;
	for (size_t i = 0; i < 8 * (content.len - 1); i++)
		if ((content.data[1 + i / 8] & (0x80u >> (i % 8))) != 0)
			bits |= 1u << i;
	return bits;
}

static bool two_digits(span text, size_t at, int *out)
{
	if (at + 2 > text.len)
		return false;
	unsigned high = (unsigned)text.data[at] - '0';
	unsigned low = (unsigned)text.data[at + 1] - '0';
	*out = (int)(high * 10 + low);
	return high <= 9 && low <= 9;
}

/* "MMDDHHMMSS" at `at`, for the year already in `c`. */
static bool rest_of_time(span text, size_t at, struct calendar *c, int64_t *out)
{
	return two_digits(text, at, &c->month) && two_digits(text, at + 2, &c->day) && two_digits(text, at + 4, &c->hour) &&
	       two_digits(text, at + 6, &c->minute) && two_digits(text, at + 8, &c->second) && moment_from_calendar(c, out);
}

static bool generalized(span text, bool fraction, int64_t *out)
{
	struct calendar c = { 0 };
	int century, year;
	if (text.len < 15 || text.data[text.len - 1] != 'Z' || !two_digits(text, 0, &century) || !two_digits(text, 2, &year))
		return false;
	c.year = century * 100 + year;
	if (!rest_of_time(text, 4, &c, out))
		return false;
	span part = span_of(text.data + 14, text.len - 15);
	if (part.len == 0)
		return true;
	if (!fraction || part.data[0] != '.' || part.len < 2 || part.len > 7 || part.data[part.len - 1] == '0')
		return false;
	int64_t scale = MOMENT_SECOND;
	for (size_t i = 1; i < part.len; i++) {
		if (part.data[i] < '0' || part.data[i] > '9')
			return false;
		scale /= 10;
		*out += (part.data[i] - '0') * scale;
	}
	return true;
}

int64_t der_get_generalized(struct der_rd *d, bool fraction)
{
	int64_t moment = 0;
	if (!generalized(der_get(d, DER_GENERALIZED_TIME), fraction, &moment))
		return (int64_t)bad(d).len;
	return moment;
}

//= rfc5280#4.1.2.5 dates through 2049 as UTCTime, from 2050 as GeneralizedTime, both with seconds and Z
int64_t der_get_time(struct der_rd *d)
{
	int64_t moment = 0;
	if (der_next(d) == DER_GENERALIZED_TIME) {
		moment = der_get_generalized(d, false);
		return moment_calendar(moment).year >= 2050 ? moment : (int64_t)bad(d).len;
	}
	span text = der_get(d, DER_UTC_TIME);
	struct calendar c = { 0 };
	if (text.len != 13 || text.data[12] != 'Z' || !two_digits(text, 0, &c.year))
		return (int64_t)bad(d).len;
	c.year += c.year >= 50 ? 1900 : 2000;
	return rest_of_time(text, 2, &c, &moment) ? moment : (int64_t)bad(d).len;
}

st der_done(struct scope *s, const struct der_rd *d, const char *what)
{
	if (d->bad)
		return fail(s, E_INPUT, "%s is not well-formed DER of its type", what);
	if (d->rest.len > 0)
		return fail(s, E_INPUT, "%s is followed by %zu bytes that do not belong to it", what, d->rest.len);
	return OK;
}

st der_content(struct scope *s, span whole, int tag, span *out)
{
	struct der_rd d = der_read(whole);
	span content = der_get(&d, tag);
	TRY(der_done(s, &d, "an element"));
	*out = content;
	return OK;
}
