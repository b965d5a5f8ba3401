#include "va_store_value.h"

#define SCHEMA_VERSION 1

st va_meta_write(struct scope *s, const struct va_meta *meta, struct buf *out)
{
	struct wr w = wr_into(out);
	wr_u8(&w, SCHEMA_VERSION);
	wr_u8(&w, meta->current);
	wr_u64(&w, meta->number);
	wr_u8(&w, meta->building);
	wr_u64(&w, meta->building_number);
	return wr_end(s, &w);
}

st va_meta_read(struct scope *s, span value, struct va_meta *out)
{
	struct rd r = rd_of(value);
	uint8_t version = rd_u8(&r);
	struct va_meta meta = { .current = rd_bool(&r) };
	meta.number = rd_u64(&r);
	meta.building = rd_bool(&r);
	meta.building_number = rd_u64(&r);
	if (version != SCHEMA_VERSION)
		return fail(s, E_STATE,
			    "the status store has version %u, this program writes %d: delete it, the ca sends a snapshot",
			    version, SCHEMA_VERSION);
	TRY(rd_end(s, &r, "the state of the status store"));
	*out = meta;
	return OK;
}

st va_status_write(struct scope *s, const struct va_status_item *status, struct buf *out)
{
	struct wr w = wr_into(out);
	wr_u8(&w, status->revoked);
	wr_u8(&w, status->reason);
	wr_i64(&w, status->revoked_at);
	wr_i64(&w, status->invalidity_date);
	wr_i64(&w, status->not_after);
	return wr_end(s, &w);
}

st va_status_read(struct scope *s, span value, struct va_status_item *out)
{
	struct rd r = rd_of(value);
	struct va_status_item status = { .revoked = rd_bool(&r) };
	status.reason = rd_u8(&r);
	status.revoked_at = rd_i64(&r);
	status.invalidity_date = rd_i64(&r);
	status.not_after = rd_i64(&r);
	TRY(rd_end(s, &r, "a status in the store"));
	*out = status;
	return OK;
}
