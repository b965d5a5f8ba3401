#include "auditd_frame.h"
#include "audit_protocol.h"

st frame_records_read(struct scope *s, struct rd *body, struct tail_record **out, size_t *out_count)
{
	uint16_t count = rd_u16(body);
	if (count == 0 || count > AUDIT_BATCH_MAX)
		return fail(s, E_INPUT, "a frame carries 1 to %d records", AUDIT_BATCH_MAX);
	struct tail_record *record = scope_alloc(s, count * sizeof *record);
	for (uint16_t i = 0; i < count; i++) {
		record[i].id = rd_raw(body, AUDIT_ID_LEN).data;
		record[i].json = rd_bytes(body, AUDIT_LEAF_MAX);
	}
	TRY(rd_end(s, body, "a frame of records"));
	*out = record;
	*out_count = count;
	return OK;
}

st frame_record_check(struct scope *s, struct tail_record *r)
{
	struct audit_record parsed;
	TRY(audit_record_read(s, r->json, &parsed));
	if (memcmp(parsed.id, r->id, sizeof parsed.id) != 0)
		return fail(s, E_INPUT, "a record carries another id than its frame");
	if (parsed.component.len == 0)
		return fail(s, E_INPUT, "a record does not say which component wrote it");
	r->class = parsed.row->class;
	return OK;
}

void frame_outcomes_write(struct wr *reply, const struct tail_record *record, size_t count)
{
	wr_u16(reply, (uint16_t)count);
	for (size_t i = 0; i < count; i++) {
		wr_u16(reply, (uint16_t)record[i].code);
		if (record[i].code == E_OK)
			wr_u64(reply, record[i].known ? record[i].index | AUDIT_INDEX_KNOWN : record[i].index);
		else
			wr_str(reply, record[i].message);
	}
}
