/*
 * va_store_value.h - what the status store keeps under its keys, as bytes: the state of the feed, and the status of one certificate.
 * (CA, CRL and signer items are kept as the feed carries them.)
 */
#pragma once
#include "va_feed.h"

struct va_meta {
	uint8_t current; /* generation that answers */
	uint64_t number;
	bool building; /* a snapshot arrives in the other generation */
	uint64_t building_number;
};
st va_meta_write(struct scope *s, const struct va_meta *meta, struct buf *out);
/* E_STATE when another version wrote it, E_INPUT when it is not whole. */
st va_meta_read(struct scope *s, span value, struct va_meta *out);

#define VA_STATUS_LEN 26
st va_status_write(struct scope *s, const struct va_status_item *status, struct buf *out);
/* `out->serial` is left empty: it is in the key. */
st va_status_read(struct scope *s, span value, struct va_status_item *out);
