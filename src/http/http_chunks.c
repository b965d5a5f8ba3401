#include "http_head.h"

#define OVERHEAD_MAX 8192
#define DIGITS_MAX   12

enum state { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER_START, TRAILER, TRAILER_LF, END_LF, ENDED };

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One octet of framing; false when it is out of place. //= rfc9112#7.1 chunked transfer coding */
static bool step_size(struct http_chunks *c, uint8_t octet)
{
	int digit = hex_value(octet);
	if (digit >= 0) {
		c->left = c->left << 4 | (uint64_t)digit;
		return ++c->digits <= DIGITS_MAX;
	}
	c->state = octet == '\r' ? SIZE_LF : EXTENSION;
	return c->digits > 0 && (octet == '\r' || octet == ';' || octet == ' ' || octet == '\t');
}

static bool step_line(struct http_chunks *c, uint8_t octet, int after_cr)
{
	if (octet == '\r')
		c->state = after_cr;
	return octet != '\n' && ++c->overhead <= OVERHEAD_MAX;
}

static bool step_exact(struct http_chunks *c, uint8_t octet, uint8_t expected, int next)
{
	c->state = next;
	return octet == expected;
}

static bool step(struct http_chunks *c, uint8_t octet)
{
	switch (c->state) {
	case SIZE:
		return step_size(c, octet);
	case EXTENSION:
		return step_line(c, octet, SIZE_LF);
	case SIZE_LF:
		return step_exact(c, octet, '\n', c->left == 0 ? TRAILER_START : DATA);
	case DATA_CR:
		return step_exact(c, octet, '\r', DATA_LF);
	case DATA_LF:
		c->digits = 0;
		return step_exact(c, octet, '\n', SIZE);
	case TRAILER_START:
		c->state = octet == '\r' ? END_LF : TRAILER;
		return octet != '\n' && ++c->overhead <= OVERHEAD_MAX;
	case TRAILER:
		return step_line(c, octet, TRAILER_LF);
	case TRAILER_LF:
		return step_exact(c, octet, '\n', TRAILER_START);
	case END_LF:
		return step_exact(c, octet, '\n', ENDED);
	default:
		return false;
	}
}

enum http_chunks_step http_chunks_next(struct http_chunks *c, span *in, span *out)
{
	while (in->len > 0) {
		if (c->state == DATA) {
			*out = span_first(*in, c->left < in->len ? (size_t)c->left : in->len);
			*in = span_from(*in, out->len);
			c->left -= out->len;
			c->state = c->left == 0 ? DATA_CR : DATA;
			return HTTP_CHUNKS_DATA;
		}
		if (!step(c, in->data[0]))
			return HTTP_CHUNKS_BAD;
		*in = span_from(*in, 1);
		if (c->state == ENDED)
			return HTTP_CHUNKS_END;
	}
	return HTTP_CHUNKS_MORE;
}
