/*
 * What daemons send to auditd: any bytes as the body of append. What is taken is written again as the same bytes, every record has an
 * outcome, and none is taken that is not of the catalogue, without component, or of another id.
 */
#include "audit_protocol.h"
#include "auditd_frame.h"
#include "fuzz.h"

static void judge(struct scope *s, struct tail_record *r)
{
	st status = frame_record_check(s, r);
	r->code = status.code;
	if (status.code != E_OK) {
		check(s->message[0] != 0);
		r->message = scope_printf(s, "%s", s->message);
		scope_clear_error(s);
		return;
	}
	struct audit_record parsed;
	check(audit_record_read(s, r->json, &parsed).code == E_OK && parsed.component.len > 0 && parsed.row->class == r->class);
	check(memcmp(parsed.id, r->id, AUDIT_ID_LEN) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span body = span_of(data, size);
	struct rd r = rd_of(body);
	struct tail_record *record;
	size_t count;
	if (frame_records_read(&s, &r, &record, &count).code != E_OK)
		return 0;
	check(count >= 1 && count <= AUDIT_BATCH_MAX);
	AUTO_BUF again = { 0 }, reply = { .cap = WIRE_BODY_MAX };
	struct wr w = wr_into(&again), outcomes = wr_into(&reply);
	wr_u16(&w, (uint16_t)count);
	for (size_t i = 0; i < count; i++) {
		wr_raw(&w, span_of(record[i].id, AUDIT_ID_LEN));
		wr_bytes(&w, record[i].json);
		judge(&s, &record[i]);
	}
	check(span_equal(buf_span(&again), body));
	frame_outcomes_write(&outcomes, record, count);
	check(!outcomes.bad);
	return 0;
}
