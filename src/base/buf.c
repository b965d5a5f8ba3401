#include "buf.h"
#include <stdlib.h>

void buf_init(struct buf *b, size_t cap)
{
	*b = (struct buf){ .cap = cap };
}

void buf_free(struct buf *b)
{
	wipe(b->data, b->room);
	free(b->data);
	*b = (struct buf){ .cap = b->cap };
}

/* Growing copies by hand instead of realloc, which would leave the old bytes behind unwiped. */
bool buf_reserve(struct buf *b, size_t more)
{
	size_t cap = b->cap != 0 ? b->cap : BUF_CAP_DEFAULT;
	if (b->len > cap || more > cap - b->len)
		return false;
	if (b->room - b->len >= more)
		return true;
	size_t want = b->len + more;
	size_t room = b->room < 256 ? 256 : b->room;
	while (room < want)
		room *= 2;
	if (room > cap)
		room = cap;
	uint8_t *data = heap_alloc(room);
	if (b->len > 0)
		memcpy(data, b->data, b->len);
	wipe(b->data, b->len);
	free(b->data);
	b->data = data;
	b->room = room;
	return true;
}

bool buf_append(struct buf *b, span bytes)
{
	if (!buf_reserve(b, bytes.len))
		return false;
	if (bytes.len > 0)
		memcpy(b->data + b->len, bytes.data, bytes.len);
	b->len += bytes.len;
	return true;
}

void buf_clear(struct buf *b)
{
	wipe(b->data, b->len);
	b->len = 0;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		buf_clear(b);
		return;
	}
	memmove(b->data, b->data + n, b->len - n);
	wipe(b->data + b->len - n, n);
	b->len -= n;
}

struct wr wr_into(struct buf *out)
{
	return (struct wr){ .out = out };
}

void wr_raw(struct wr *w, span bytes)
{
	if (!w->bad && !buf_append(w->out, bytes))
		w->bad = true;
}

static void wr_number(struct wr *w, uint64_t v, size_t width)
{
	uint8_t bytes[8];
	for (size_t i = 0; i < width; i++)
		bytes[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
	wr_raw(w, span_of(bytes, width));
}

void wr_u8(struct wr *w, uint8_t v)
{
	wr_number(w, v, 1);
}

void wr_u16(struct wr *w, uint16_t v)
{
	wr_number(w, v, 2);
}

void wr_u32(struct wr *w, uint32_t v)
{
	wr_number(w, v, 4);
}

void wr_u64(struct wr *w, uint64_t v)
{
	wr_number(w, v, 8);
}

void wr_i64(struct wr *w, int64_t v)
{
	wr_number(w, (uint64_t)v, 8);
}

void wr_bytes(struct wr *w, span bytes)
{
	if (bytes.len > UINT32_MAX) {
		w->bad = true;
		return;
	}
	wr_u32(w, (uint32_t)bytes.len);
	wr_raw(w, bytes);
}

void wr_str(struct wr *w, const char *text)
{
	wr_bytes(w, span_str(text));
}

st wr_end(struct scope *s, const struct wr *w)
{
	if (w->bad)
		return fail(s, E_LIMIT, "a message grew over its limit of %zu bytes", w->out->cap);
	return OK;
}

struct rd rd_of(span bytes)
{
	return (struct rd){ .rest = bytes };
}

span rd_raw(struct rd *r, size_t len)
{
	if (r->bad || r->rest.len < len) {
		r->bad = true;
		return (span){ 0 };
	}
	span out = span_of(r->rest.data, len);
	r->rest = span_from(r->rest, len);
	return out;
}

static uint64_t rd_number(struct rd *r, size_t width)
{
	span bytes = rd_raw(r, width);
	uint64_t v = 0;
	for (size_t i = 0; i < bytes.len; i++)
		v = v << 8 | bytes.data[i];
	return v;
}

uint8_t rd_u8(struct rd *r)
{
	return (uint8_t)rd_number(r, 1);
}

bool rd_bool(struct rd *r)
{
	uint8_t v = rd_u8(r);
	r->bad = r->bad || v > 1;
	return v == 1;
}

uint16_t rd_u16(struct rd *r)
{
	return (uint16_t)rd_number(r, 2);
}

uint32_t rd_u32(struct rd *r)
{
	return (uint32_t)rd_number(r, 4);
}

uint64_t rd_u64(struct rd *r)
{
	return rd_number(r, 8);
}

int64_t rd_i64(struct rd *r)
{
	return (int64_t)rd_number(r, 8);
}

span rd_bytes(struct rd *r, size_t max)
{
	uint32_t len = rd_u32(r);
	if (len > max) {
		r->bad = true;
		return (span){ 0 };
	}
	return rd_raw(r, len);
}

char *rd_str(struct scope *s, struct rd *r, size_t max)
{
	span text = rd_bytes(r, max);
	if (text.len > 0 && memchr(text.data, 0, text.len) != NULL)
		r->bad = true;
	return scope_cstr(s, r->bad ? (span){ 0 } : text);
}

st rd_end(struct scope *s, const struct rd *r, const char *what)
{
	if (r->bad)
		return fail(s, E_INPUT, "%s is cut short or a part of it is over its limit", what);
	if (r->rest.len > 0)
		return fail(s, E_INPUT, "%s has %zu bytes too many", what, r->rest.len);
	return OK;
}
