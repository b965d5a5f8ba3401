/*
 * va_feed_test.h - batches for the unit tests, written as a ca writes them.
 */
#pragma once
#include "va_feed.h"

static inline struct wr batch_begin(struct buf *out, enum va_batch_kind kind, uint64_t first, uint32_t count)
{
	buf_clear(out);
	struct wr w = wr_into(out);
	wr_u16(&w, VA_FEED_VERSION);
	wr_u64(&w, first);
	wr_u8(&w, (uint8_t)kind);
	wr_u32(&w, count);
	return w;
}

static inline void batch_item(struct wr *w, uint8_t type, struct buf *body)
{
	wr_u8(w, type);
	wr_bytes(w, buf_span(body));
	buf_free(body);
}

static inline void batch_ca(struct wr *w, uint16_t ca, const char *name)
{
	struct buf body = { 0 };
	struct wr b = wr_into(&body);
	wr_u16(&b, ca);
	wr_str(&b, name);
	wr_str(&b, "certificate");
	wr_u16(&b, 1);
	wr_str(&b, "issuer");
	wr_str(&b, "crl");
	batch_item(w, VA_ITEM_CA, &body);
}

static inline void batch_status(struct wr *w, uint16_t ca, uint64_t serial, int64_t revoked_at, uint8_t reason)
{
	struct buf body = { 0 };
	struct wr b = wr_into(&body);
	wr_u16(&b, ca);
	wr_u32(&b, 9);
	wr_u8(&b, 0x40);
	wr_u64(&b, serial);
	wr_u8(&b, revoked_at != 0);
	wr_u8(&b, reason);
	wr_i64(&b, revoked_at);
	wr_i64(&b, 0);
	wr_i64(&b, 1900000000000000);
	batch_item(w, VA_ITEM_STATUS, &body);
}

static inline void batch_crl(struct wr *w, uint16_t ca, uint64_t number)
{
	struct buf body = { 0 };
	struct wr b = wr_into(&body);
	wr_u16(&b, ca);
	wr_u64(&b, number);
	for (size_t i = 0; i < 4; i++)
		wr_u64(&b, number);
	wr_i64(&b, 1);
	wr_i64(&b, 2);
	batch_item(w, VA_ITEM_CRL, &body);
}

static inline void batch_signer(struct wr *w, uint16_t ca, const char *key)
{
	struct buf body = { 0 };
	struct wr b = wr_into(&body);
	wr_u16(&b, ca);
	wr_str(&b, "certificate");
	wr_str(&b, key);
	batch_item(w, VA_ITEM_SIGNER, &body);
}

/* The serial of batch_status. */
static inline span serial_of(uint64_t serial, uint8_t out[9])
{
	out[0] = 0x40;
	for (size_t i = 0; i < 8; i++)
		out[1 + i] = (uint8_t)(serial >> (8 * (7 - i)));
	return span_of(out, 9);
}
