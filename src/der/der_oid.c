#include "der.h"

#define ARCS_MAX 32

static char *write_arc(char *at, uint64_t arc)
{
	char digits[20];
	size_t count = 0;
	do
		digits[count++] = (char)('0' + arc % 10);
	while ((arc /= 10) > 0);
	while (count > 0)
		*at++ = digits[--count];
	return at;
}

st der_oid_text(struct scope *s, span content, char **out)
{
	if (content.len == 0 || content.len > 5 * ARCS_MAX)
		return fail(s, E_INPUT, "an object identifier is empty or too long");
	char *text = scope_alloc(s, 4 * content.len + 4), *end = text; /* seven bits are three digits and a dot at most */
	uint64_t arc = 0;
	size_t count = 1; /* the first octets stand for two arcs */
	for (size_t i = 0; i < content.len; i++) {
		if ((arc == 0 && content.data[i] == 0x80) || arc > UINT32_MAX)
			return fail(s, E_INPUT, "an object identifier is not in its shortest form");
		arc = arc << 7 | (content.data[i] & 0x7f);
		bool more = (content.data[i] & 0x80) != 0;
		if (more && i + 1 == content.len)
			return fail(s, E_INPUT, "an object identifier is cut short");
		if (more)
			continue;
		uint64_t first = arc < 80 ? arc / 40 : 2;
		if (end == text) {
			end = write_arc(end, first);
			arc -= 40 * first;
		}
		if (arc > UINT32_MAX || ++count > ARCS_MAX)
			return fail(s, E_INPUT, "an object identifier has more than %d arcs, or one of more than 32 bits",
				    ARCS_MAX);
		*end++ = '.';
		end = write_arc(end, arc);
		arc = 0;
	}
	*out = text;
	return OK;
}

static void put_arc(struct buf *b, uint64_t arc)
{
	uint8_t bytes[10];
	size_t at = sizeof bytes;
	bytes[--at] = arc & 0x7f;
	while ((arc >>= 7) != 0)
		bytes[--at] = (uint8_t)(0x80 | (arc & 0x7f));
	(void)buf_append(b, span_of(bytes + at, sizeof bytes - at));
}

st der_oid_parse(struct scope *s, span text, span *out)
{
	AUTO_BUF content;
	buf_init(&content, 0);
	uint64_t arcs[ARCS_MAX];
	size_t n = 0;
	while (n < ARCS_MAX) {
		const uint8_t *dot = text.len == 0 ? NULL : memchr(text.data, '.', text.len);
		span arc = dot == NULL ? text : span_of(text.data, (size_t)(dot - text.data));
		TRY(decimal_parse(s, arc, UINT32_MAX, &arcs[n++]));
		if (arc.len > 1 && arc.data[0] == '0')
			return fail(s, E_INPUT, "an arc of an object identifier begins with a needless zero");
		if (dot == NULL)
			break;
		text = span_from(text, arc.len + 1);
		if (n == ARCS_MAX)
			return fail(s, E_INPUT, "an object identifier has more than %d arcs", ARCS_MAX);
	}
	if (n < 2 || arcs[0] > 2 || (arcs[0] < 2 && arcs[1] > 39))
		return fail(s, E_INPUT, "an object identifier needs two arcs or more, the first 0, 1 or 2");
	put_arc(&content, arcs[0] * 40 + arcs[1]);
	for (size_t i = 2; i < n; i++)
		put_arc(&content, arcs[i]);
	*out = scope_copy(s, buf_span(&content));
	return OK;
}
