/*
 * buf.h - owned bytes that grow up to a cap, wiped when freed; and the two cursors over bytes in our own formats.
 *
 * Cursors have a sticky error: read or write everything, then check once with rd_end() or wr_end(). Numbers are
 * big-endian. Nothing here knows DER: see der.h.
 */
#pragma once
#include "scope.h"

struct buf {
	uint8_t *data;
	size_t len;
	size_t room;
	size_t cap; /* never more bytes than this; 0 means BUF_CAP_DEFAULT */
};
#define BUF_CAP_DEFAULT (64u << 20)

void buf_init(struct buf *b, size_t cap);
void buf_free(struct buf *b); /* wipes; fine on a zeroed buf */
#define AUTO_BUF __attribute__((cleanup(buf_free))) struct buf
static inline span buf_span(const struct buf *b)
{
	return span_of(b->data, b->len);
}
/* Make room for `more` bytes; false when that is over the cap. */
bool buf_reserve(struct buf *b, size_t more);
bool buf_append(struct buf *b, span bytes);
/* Forget the content (wiped), keep the memory. */
void buf_clear(struct buf *b);
/* Remove the first n bytes. */
void buf_consume(struct buf *b, size_t n);

/* Writer into a buf. */
struct wr {
	struct buf *out;
	bool bad;
};
struct wr wr_into(struct buf *out);
void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_u64(struct wr *w, uint64_t v);
void wr_i64(struct wr *w, int64_t v);
void wr_raw(struct wr *w, span bytes);
/* A 32-bit length, then the bytes. */
void wr_bytes(struct wr *w, span bytes);
void wr_str(struct wr *w, const char *text);
st wr_end(struct scope *s, const struct wr *w);

/* Reader. Spans it returns point into the bytes given to rd_of(). */
struct rd {
	span rest;
	bool bad;
};
struct rd rd_of(span bytes);
uint8_t rd_u8(struct rd *r);
/* An octet 0 or 1; any other is an error, so that each thing is said in one way. */
bool rd_bool(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
int64_t rd_i64(struct rd *r);
span rd_raw(struct rd *r, size_t len);
/* Counterpart of wr_bytes; more than `max` is an error. */
span rd_bytes(struct rd *r, size_t max);
/* As rd_bytes, but copied into the scope with a final zero; a zero byte inside is an error. */
char *rd_str(struct scope *s, struct rd *r, size_t max);
/* E_INPUT, naming `what`, when anything failed or bytes are left over. */
st rd_end(struct scope *s, const struct rd *r, const char *what);
