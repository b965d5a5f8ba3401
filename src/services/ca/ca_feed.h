/* Feed items and batches, between ca_feed.c and ca_push.c. */
#pragma once
#include "ca.h"

enum ca_feed_type { CA_FEED_CA = 1, CA_FEED_STATUS = 2, CA_FEED_CRL = 3, CA_FEED_SIGNER = 4 };
enum ca_feed_kind { CA_FEED_CONTINUATION, CA_FEED_SNAPSHOT_START, CA_FEED_SNAPSHOT_PART, CA_FEED_SNAPSHOT_END };
#define CA_FEED_VERSION     1
#define CA_FEED_BATCH_ITEMS 10000
#define CA_FEED_BATCH_BYTES (4u << 20)

st ca_feed_write_ca(struct scope *s, struct buf *out, const struct ca_authority *a);
st ca_feed_write_status(struct scope *s, struct buf *out, const struct ca_certificate *c);
st ca_feed_write_crl(struct scope *s, struct buf *out, int64_t ca, const struct ca_crl *crl);
st ca_feed_write_signer(struct scope *s, struct buf *out, int64_t ca, span certificate, const char *label);
