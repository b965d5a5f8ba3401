/*
 * Batches of the status feed: any bytes. A batch that is taken keeps to the limits, and written by the page that fixes the format
 * (docs/dev/interfaces.md) it is the same bytes.
 */
#include "fuzz.h"
#include "va_feed.h"

static void write_ca(struct wr *w, const struct va_ca_item *ca)
{
	check(va_feed_name_fits(ca->name) && ca->chain_count <= VA_CHAIN_MAX);
	wr_bytes(w, ca->name);
	wr_bytes(w, ca->certificate);
	wr_u16(w, (uint16_t)ca->chain_count);
	for (size_t i = 0; i < ca->chain_count; i++)
		wr_bytes(w, ca->chain[i]);
	wr_bytes(w, ca->crl_file);
}

static void write_status(struct wr *w, const struct va_status_item *status)
{
	check(status->serial.len >= 1 && status->serial.len <= VA_SERIAL_MAX && status->serial.data[0] != 0);
	check(status->reason <= 10 && status->reason != 7 && status->revoked == (status->revoked_at != 0));
	wr_bytes(w, status->serial);
	wr_u8(w, status->revoked);
	wr_u8(w, status->reason);
	wr_i64(w, status->revoked_at);
	wr_i64(w, status->invalidity_date);
	wr_i64(w, status->not_after);
}

static void write_crl(struct wr *w, const struct va_crl_item *crl)
{
	check(crl->next_update > crl->this_update);
	wr_u64(w, crl->number);
	wr_raw(w, SPAN_ARRAY(crl->digest));
	wr_i64(w, crl->this_update);
	wr_i64(w, crl->next_update);
}

static void write_signer(struct wr *w, const struct va_signer_item *signer)
{
	check(signer->key.len <= VA_NAME_MAX && (signer->key.len == 0 || memchr(signer->key.data, 0, signer->key.len) == NULL));
	wr_bytes(w, signer->certificate);
	wr_bytes(w, signer->key);
}

static void write_item(struct wr *w, const struct va_item *item)
{
	AUTO_BUF body = { 0 };
	struct wr b = wr_into(&body);
	wr_u16(&b, item->ca);
	if (item->type == VA_ITEM_CA)
		write_ca(&b, &item->ca_item);
	else if (item->type == VA_ITEM_STATUS)
		write_status(&b, &item->status);
	else if (item->type == VA_ITEM_CRL)
		write_crl(&b, &item->crl);
	else
		write_signer(&b, &item->signer);
	check(!b.bad && span_equal(span_from(buf_span(&body), 2), item->body));
	wr_u8(w, (uint8_t)item->type);
	wr_bytes(w, buf_span(&body));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct va_batch batch;
	if (va_feed_read(&s, span_of(data, size), &batch).code != E_OK) {
		check(s.message[0] != 0);
		return 0;
	}
	check(batch.kind < VA_BATCH_KINDS && batch.count <= VA_FEED_ITEMS_MAX);
	AUTO_BUF again = { 0 };
	struct wr w = wr_into(&again);
	wr_u16(&w, VA_FEED_VERSION);
	wr_u64(&w, batch.first);
	wr_u8(&w, (uint8_t)batch.kind);
	wr_u32(&w, (uint32_t)batch.count);
	for (size_t i = 0; i < batch.count; i++)
		write_item(&w, &batch.item[i]);
	check(!w.bad && span_equal(buf_span(&again), span_of(data, size)));
	return 0;
}
