/*
 * der.h - DER (X.690), strict and bounded, without libcrypto: a reader with a sticky error over untrusted bytes, and a
 * writer. Definite lengths in their shortest form only; one-byte tags only (all of PKIX fits); depth is the caller's code.
 */
#pragma once
#include "buf.h"
#include "moment.h"
#include "text.h"

enum {
	DER_BOOLEAN = 0x01,
	DER_INTEGER = 0x02,
	DER_BIT_STRING = 0x03,
	DER_OCTET_STRING = 0x04,
	DER_NULL = 0x05,
	DER_OID = 0x06,
	DER_ENUMERATED = 0x0a,
	DER_UTF8_STRING = 0x0c,
	DER_PRINTABLE_STRING = 0x13,
	DER_IA5_STRING = 0x16,
	DER_UTC_TIME = 0x17,
	DER_GENERALIZED_TIME = 0x18,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
};
/* Context tags: primitive (IMPLICIT of a primitive type) and constructed. */
#define DER_CONTEXT(n)             (0x80 | (n))
#define DER_CONTEXT_CONSTRUCTED(n) (0xa0 | (n))

/* ---- reading ---- */
struct der_rd {
	span rest;
	bool bad;
};
struct der_rd der_read(span bytes);
/* Tag of the next element, 0 at the end or after an error. */
int der_next(const struct der_rd *d);
bool der_at_end(const struct der_rd *d);
/* Content of the next element, which must have this tag. */
span der_get(struct der_rd *d, int tag);
/* The next element whole, with tag and length; any tag when `tag` is 0. */
span der_get_whole(struct der_rd *d, int tag);
/* Into a constructed element: a reader over its content. After an error the inner reader is bad as well. */
struct der_rd der_enter(struct der_rd *d, int tag);
/* Leave: the inner reader must be at its end; its error becomes the outer's. */
void der_leave(struct der_rd *d, const struct der_rd *inner);
/* Only when present. */
bool der_skip(struct der_rd *d, int tag);
bool der_get_boolean(struct der_rd *d);
/* Content octets of an INTEGER, shortest form checked. */
span der_get_integer(struct der_rd *d);
/* Non-negative INTEGER (or ENUMERATED) up to INT64_MAX. */
int64_t der_get_small(struct der_rd *d, int tag);
/* Content of a BIT STRING with no unused bits. */
span der_get_bits(struct der_rd *d);
/* Named-bit BIT STRING of up to 16 bits: bit 0 of the RFC text is value bit 0. DER's trimmed form is required. */
unsigned der_get_named_bits(struct der_rd *d);
/* UTCTime (to 2049) or GeneralizedTime (from 2050, without fraction) as rfc5280#4.1.2.5 wants. */
int64_t der_get_time(struct der_rd *d);
/* GeneralizedTime with seconds; a fraction of up to 6 digits without trailing zero when `fraction` (rfc3161#2.4.2). */
int64_t der_get_generalized(struct der_rd *d, bool fraction);
/* E_INPUT naming `what` when something was malformed or is left over. */
st der_done(struct scope *s, const struct der_rd *d, const char *what);
/* Whole-element helpers for bytes that were checked before. */
st der_content(struct scope *s, span whole, int tag, span *out);

/* ---- writing ---- */
#define DER_WRITE_DEPTH 24
struct der_wr {
	struct buf *out;
	size_t open[DER_WRITE_DEPTH]; /* where each open element starts */
	unsigned depth;
	bool bad;
};
struct der_wr der_write(struct buf *out);
void der_begin(struct der_wr *d, int tag);
void der_end(struct der_wr *d);
void der_put(struct der_wr *d, int tag, span content);
/* Bytes that are DER already. */
void der_put_raw(struct der_wr *d, span whole);
void der_put_boolean(struct der_wr *d, bool v);
void der_put_small(struct der_wr *d, int tag, int64_t v); /* INTEGER or ENUMERATED, v >= 0 */
/* Positive INTEGER from big-endian magnitude: leading zeros dropped, a sign octet added where needed. */
void der_put_unsigned(struct der_wr *d, span magnitude);
void der_put_oid(struct der_wr *d, span content);
void der_put_bits(struct der_wr *d, span bits);
void der_put_named_bits(struct der_wr *d, unsigned bits);
void der_put_null(struct der_wr *d);
void der_put_time(struct der_wr *d, int64_t moment);        /* UTCTime to 2049, GeneralizedTime from 2050 */
void der_put_generalized(struct der_wr *d, int64_t moment); /* whole seconds */
/* With as many fraction digits (up to 6) as are not zero. */
void der_put_generalized_fraction(struct der_wr *d, int64_t moment);
/* E_LIMIT when the buf's cap was reached; an unclosed element is a bug and ends the process. */
st der_finish(struct scope *s, const struct der_wr *d);
/* Length in bytes of tag and length octets before `content` bytes of content. */
size_t der_header_len(size_t content);
/* Tag and length octets into `out` (at most 10 bytes), for streams whose content follows elsewhere. */
size_t der_header(int tag, size_t content, uint8_t *out);
/* A whole Time element as der_put_time writes it, for the same streams. */
#define DER_TIME_MAX 32
size_t der_time(int64_t moment, uint8_t out[DER_TIME_MAX]);

/* ---- object identifiers ---- */
/* "1.2.840..." from content octets and back. E_INPUT when malformed; at most 32 arcs of 32 bits. */
st der_oid_text(struct scope *s, span content, char **out);
st der_oid_parse(struct scope *s, span text, span *out);
