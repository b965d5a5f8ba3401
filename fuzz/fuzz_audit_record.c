/* Records and envelopes: any bytes. What is read as a record fits an envelope, from which the same record is read. */
#include "audit_json.h"
#include "audit_record.h"
#include "fuzz.h"

static void check_again(struct scope *s, span json, const struct audit_record *first)
{
	struct audit_envelope envelope;
	AUTO_BUF leaf;
	buf_init(&leaf, 2 * (size_t)AUDIT_LEAF_MAX);
	if (!audit_envelope_write(&leaf, 7, 0, "any\xff\"one", json))
		__builtin_trap();
	if (leaf.len > AUDIT_LEAF_MAX)
		return;
	if (audit_envelope_read(s, buf_span(&leaf), &envelope).code != E_OK || envelope.seq != 7 ||
	    envelope.record.code != first->code || envelope.record.count != first->count || envelope.record.run != first->run ||
	    envelope.record.n != first->n || envelope.record.after != first->after || envelope.record.last != first->last ||
	    !span_equal(envelope.json, json))
		__builtin_trap();
}

/* Whatever a field is asked to be, it is that or refused with words. */
static void read_field(struct scope *s, const struct audit_record *record, const char *name)
{
	span bytes;
	int64_t value;
	const st as[] = { audit_field_text(s, record, name, &bytes), audit_field_number(s, record, name, &value),
			  audit_field_hex(s, record, name, &bytes), audit_field_base64(s, record, name, &bytes),
			  audit_field_time(s, record, name, &value) };
	bool refused = false;
	enum audit_form form = AUDIT_TEXT;
	for (size_t i = 0; i < sizeof as / sizeof as[0]; i++)
		refused = refused || as[i].code != E_OK;
	check(refused == (s->message[0] != 0));
	if (audit_row_field(record->row, span_str(name), 0, &form) >= 0 && audit_field_of(record, name) != NULL)
		check(as[form].code == E_OK);
	scope_clear_error(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_record record;
	struct audit_envelope envelope;
	span bytes = span_of(data, size);
	if (audit_record_read(&s, bytes, &record).code == E_OK) {
		for (size_t i = 0; i < record.count; i++)
			read_field(&s, &record, scope_cstr(&s, record.field[i].name));
		read_field(&s, &record, "none");
		size_t place = audit_record_component_place(bytes);
		if (place == 0 || place >= size)
			__builtin_trap();
		check_again(&s, bytes, &record);
	}
	scope_clear_error(&s);
	if (audit_envelope_read(&s, bytes, &envelope).code == E_OK && envelope.json.data + envelope.json.len + 1 != data + size)
		__builtin_trap();
	return 0;
}
