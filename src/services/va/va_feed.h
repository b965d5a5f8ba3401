/*
 * va_feed.h - batches of the status feed that a ca pushes: what is in them, and their reader.
 *
 * The format is fixed in docs/dev/interfaces.md. Reading checks everything that can be checked without the store, so that
 * a batch is applied whole or not at all.
 */
#pragma once
#include "buf.h"

#define VA_FEED_VERSION    1
#define VA_FEED_BATCH_MAX  (4u << 20)
#define VA_FEED_ITEMS_MAX  10000u
#define VA_NAME_MAX        64
#define VA_SERIAL_MAX      20
#define VA_CERTIFICATE_MAX 16384
#define VA_CHAIN_MAX       8

enum va_batch_kind {
	VA_BATCH_CONTINUATION,
	VA_BATCH_SNAPSHOT_START,
	VA_BATCH_SNAPSHOT_PART,
	VA_BATCH_SNAPSHOT_END,
	VA_BATCH_KINDS
};
enum va_item_type { VA_ITEM_CA = 1, VA_ITEM_STATUS, VA_ITEM_CRL, VA_ITEM_SIGNER, VA_ITEM_TYPES };

/* A logical CA. `name` is its element in public paths. */
struct va_ca_item {
	span name;
	span certificate;
	span chain[VA_CHAIN_MAX]; /* above it, the issuer first */
	size_t chain_count;
	span crl_file;
};
/* A certificate that was issued, and what is known of it. Moments; 0 is "none". */
struct va_status_item {
	span serial; /* magnitude without leading zeros */
	bool revoked;
	uint8_t reason; /* CRLReason number */
	int64_t revoked_at;
	int64_t invalidity_date;
	int64_t not_after;
};
struct va_crl_item {
	uint64_t number;
	uint8_t digest[32]; /* SHA-256 of the file */
	int64_t this_update, next_update;
};
/* The OCSP signer of a CA: its certificate, and the label of its key at keyd. */
struct va_signer_item {
	span certificate;
	span key;
};
struct va_item {
	enum va_item_type type;
	uint16_t ca;
	span body; /* as sent, behind the ca id: what the store keeps of CA, CRL and signer items */
	union {
		struct va_ca_item ca_item;
		struct va_status_item status;
		struct va_crl_item crl;
		struct va_signer_item signer;
	};
};
struct va_batch {
	enum va_batch_kind kind;
	uint64_t first;
	struct va_item *item;
	size_t count;
};

/* Spans of the batch point into `bytes`. E_INPUT names the item that is wrong. */
st va_feed_read(struct scope *s, span bytes, struct va_batch *out);
/* A name that may stand in paths: a-z, 0-9 and '-'. */
bool va_feed_name_fits(span name);
/* The body of one item, as the feed or the store carries it. */
st va_feed_read_item(struct scope *s, enum va_item_type type, uint16_t ca, span body, struct va_item *out);
