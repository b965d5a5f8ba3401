#include "va_feed.h"

/* A path element and a part of file names, so nothing but letters, digits and hyphens. */
bool va_feed_name_fits(span name)
{
	if (name.len == 0 || name.len > VA_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !(c == '-' && i > 0))
			return false;
	}
	return true;
}

static st read_ca(struct scope *s, struct rd *r, struct va_item *item)
{
	struct va_ca_item *ca = &item->ca_item;
	ca->name = rd_bytes(r, VA_NAME_MAX);
	ca->certificate = rd_bytes(r, VA_CERTIFICATE_MAX);
	ca->chain_count = rd_u16(r);
	if (ca->chain_count > VA_CHAIN_MAX)
		return fail(s, E_LIMIT, "a CA with a chain of %zu certificates; at most %d", ca->chain_count, VA_CHAIN_MAX);
	for (size_t i = 0; i < ca->chain_count; i++)
		ca->chain[i] = rd_bytes(r, VA_CERTIFICATE_MAX);
	ca->crl_file = rd_bytes(r, VA_NAME_MAX + 4);
	if (!r->bad && !va_feed_name_fits(ca->name))
		return fail(s, E_INPUT, "a CA's name is not made of a-z, 0-9 and '-', at most %d characters", VA_NAME_MAX);
	return OK;
}

static st read_status(struct scope *s, struct rd *r, struct va_item *item)
{
	struct va_status_item *status = &item->status;
	status->serial = rd_bytes(r, VA_SERIAL_MAX);
	uint8_t state = rd_u8(r);
	status->revoked = state == 1;
	status->reason = rd_u8(r);
	status->revoked_at = rd_i64(r);
	status->invalidity_date = rd_i64(r);
	status->not_after = rd_i64(r);
	if (r->bad)
		return OK;
	//= rfc5280#4.1.2.2 serial numbers are positive and at most 20 octets long
	if (status->serial.len == 0 || status->serial.data[0] == 0)
		return fail(s, E_INPUT, "a serial number is zero or has leading zeros");
	if (state > 1)
		return fail(s, E_INPUT, "a certificate state %u is neither good (0) nor revoked (1)", state);
	//= rfc5280#5.3.1 CRLReason has no value 7 and none above 10
	if (status->reason == 7 || status->reason > 10)
		return fail(s, E_INPUT, "%u is no CRLReason", status->reason);
	if (status->revoked != (status->revoked_at != 0))
		return fail(s, E_INPUT, "a revoked certificate has a time of revocation, another has none");
	return OK;
}

static st read_crl(struct scope *s, struct rd *r, struct va_item *item)
{
	item->crl.number = rd_u64(r);
	span digest = rd_raw(r, sizeof item->crl.digest);
	if (digest.len == sizeof item->crl.digest)
		memcpy(item->crl.digest, digest.data, digest.len);
	item->crl.this_update = rd_i64(r);
	item->crl.next_update = rd_i64(r);
	if (!r->bad && item->crl.next_update <= item->crl.this_update)
		return fail(s, E_INPUT, "a CRL's nextUpdate does not lie behind its thisUpdate");
	return OK;
}

static st read_signer(struct scope *s, struct rd *r, struct va_item *item)
{
	(void)s;
	item->signer.certificate = rd_bytes(r, VA_CERTIFICATE_MAX);
	item->signer.key = rd_bytes(r, VA_NAME_MAX);
	if (memchr(item->signer.key.data != NULL ? item->signer.key.data : (const uint8_t *)"", 0, item->signer.key.len) !=
	    NULL)
		r->bad = true;
	return OK;
}

static const struct {
	const char *name;
	st (*read)(struct scope *s, struct rd *r, struct va_item *item);
} types[VA_ITEM_TYPES] = {
	[VA_ITEM_CA] = { "CA", read_ca },
	[VA_ITEM_STATUS] = { "status", read_status },
	[VA_ITEM_CRL] = { "CRL", read_crl },
	[VA_ITEM_SIGNER] = { "OCSP signer", read_signer },
};

st va_feed_read_item(struct scope *s, enum va_item_type type, uint16_t ca, span body, struct va_item *out)
{
	if (type >= VA_ITEM_TYPES || types[type].read == NULL)
		return fail(s, E_INPUT, "feed items of type %u are not known to this version", type);
	struct va_item item = { .type = type, .ca = ca, .body = body };
	struct rd r = rd_of(body);
	TRY(types[type].read(s, &r, &item));
	TRY(rd_end(s, &r, types[type].name));
	*out = item;
	return OK;
}

static st read_next(struct scope *s, struct rd *r, struct va_item *out)
{
	uint8_t type = rd_u8(r);
	span body = rd_bytes(r, VA_FEED_BATCH_MAX);
	if (r->bad || body.len < 2)
		return fail(s, E_INPUT, "it is cut short");
	struct rd head = rd_of(body);
	uint16_t ca = rd_u16(&head);
	return va_feed_read_item(s, type, ca, head.rest, out);
}

st va_feed_read(struct scope *s, span bytes, struct va_batch *out)
{
	struct rd r = rd_of(bytes);
	uint16_t version = rd_u16(&r);
	if (!r.bad && version != VA_FEED_VERSION)
		return fail(s, E_INPUT, "feed version %u is not spoken here, only %d: upgrade the va before the ca", version,
			    VA_FEED_VERSION);
	uint64_t first = rd_u64(&r);
	uint8_t kind = rd_u8(&r);
	uint32_t count = rd_u32(&r);
	if (r.bad || kind >= VA_BATCH_KINDS)
		return fail(s, E_INPUT, "not a feed batch");
	if (count > VA_FEED_ITEMS_MAX)
		return fail(s, E_LIMIT, "a feed batch of %u items; at most %u", count, VA_FEED_ITEMS_MAX);
	struct va_batch batch = { .kind = kind, .first = first, .count = count };
	batch.item = scope_alloc(s, count * sizeof *batch.item);
	for (size_t i = 0; i < count; i++) {
		st got = read_next(s, &r, &batch.item[i]);
		if (got.code != E_OK)
			return fail_context(s, got, "feed item %zu of %u", i + 1, count);
	}
	TRY(rd_end(s, &r, "the feed batch"));
	*out = batch;
	return OK;
}
