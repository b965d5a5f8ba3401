#include "audit_record.h"
#include "audit_json.h"
#include "moment.h"
#include "text.h"
#include <stdio.h>

/* A digit's value with a bit that says that it is one. */
#define IS_DIGIT 0x10u
static const uint8_t lower_digit[256] = {
	['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15, ['6'] = 0x16, ['7'] = 0x17,
	['8'] = 0x18, ['9'] = 0x19, ['a'] = 0x1a, ['b'] = 0x1b, ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f,
};

/* Sixteen octets in lower-case hexadecimal: one spelling only, so that an id cannot be offered twice in two forms. */
static void read_id(struct json *j, uint8_t out[16])
{
	span text = audit_json_string(j);
	unsigned all = IS_DIGIT;
	for (size_t i = 0; i < 16 && text.len == 32; i++) {
		unsigned high = lower_digit[text.data[2 * i]], low = lower_digit[text.data[2 * i + 1]];
		all &= high & low;
		out[i] = (uint8_t)(high << 4 | (low & 0x0fu));
	}
	if (text.len != 32 || all == 0)
		j->bad = true;
}

/* Eight octets in the same spelling, of which not all are zero. */
static uint64_t read_run(struct json *j)
{
	span text = audit_json_string(j);
	uint64_t run = 0;
	unsigned all = IS_DIGIT;
	for (size_t i = 0; i < 16 && text.len == 16; i++) {
		all &= lower_digit[text.data[i]];
		run = run << 4 | (lower_digit[text.data[i]] & 0x0fu);
	}
	if (text.len != 16 || all == 0 || run == 0)
		j->bad = true;
	return run;
}

static void read_number(struct json *j, struct audit_record *r)
{
	r->run = r->n = r->after = r->last = 0;
	if (!audit_json_skip(j, SPAN_LITERAL(",\"run\":")))
		return;
	r->run = read_run(j);
	audit_json_expect(j, SPAN_LITERAL(",\"n\":"));
	r->n = audit_json_unsigned(j);
	if (r->n == 0)
		j->bad = true;
	if (!audit_json_skip(j, SPAN_LITERAL(",\"after\":")))
		return;
	r->after = read_run(j);
	audit_json_expect(j, SPAN_LITERAL(",\"last\":"));
	r->last = audit_json_unsigned(j);
}

/* A record without "component" is one that has not passed through a client yet. */
static st read_head(struct scope *s, struct json *j, struct audit_record *r)
{
	audit_json_expect(j, SPAN_LITERAL("{\"v\":1,\"id\":"));
	read_id(j, r->id);
	audit_json_expect(j, SPAN_LITERAL(",\"time\":"));
	span time = audit_json_string(j);
	audit_json_expect(j, SPAN_LITERAL(",\"event\":"));
	span event = audit_json_string(j);
	if (audit_json_skip(j, SPAN_LITERAL(",\"component\":")))
		r->component = audit_json_string(j);
	read_number(j, r);
	audit_json_expect(j, SPAN_LITERAL(",\"tx\":"));
	read_id(j, r->tx);
	if (j->bad || r->component.len > AUDIT_NAME_MAX)
		return fail(s, E_INPUT,
			    "a record does not begin with v, id, time, event, component and tx as records of version 1 do");
	r->row = audit_row_named(event, &r->code);
	if (r->row == NULL)
		return fail(s, E_INPUT, "event %.*s is not in the catalogue", (int)(event.len < 60 ? event.len : 60),
			    (const char *)event.data);
	return fail_context(s, moment_parse(s, time, &r->time), "time of a record");
}

static st read_field(struct scope *s, struct json *j, struct audit_record *r, unsigned long long *given)
{
	struct audit_field *field = &r->field[r->count];
	field->name = audit_json_string(j);
	audit_json_expect(j, SPAN_LITERAL(":"));
	field->is_number = j->rest.len > 0 && j->rest.data[0] != '"';
	if (field->is_number)
		field->number = audit_json_number(j);
	else
		field->text = audit_json_string(j);
	if (j->bad)
		return fail(s, E_INPUT, "%s: field %zu is not a string or a whole number", r->row->name, r->count);
	enum audit_form form = AUDIT_TEXT;
	int i = audit_row_field(r->row, field->name, *given, &form);
	if (i < 0 || (*given & 1ull << i) != 0)
		return fail(s, E_INPUT, "%s: field %.*s is given twice or not in the catalogue", r->row->name,
			    (int)(field->name.len < 60 ? field->name.len : 60), (const char *)field->name.data);
	if (field->is_number ? form != AUDIT_NUMBER : !audit_form_fits(form, field->text))
		return fail(s, E_INPUT, "%s: field %.*s is not of the form %s", r->row->name, (int)field->name.len,
			    (const char *)field->name.data, audit_form_name(form));
	*given |= 1ull << i;
	r->count++;
	return OK;
}

st audit_record_read(struct scope *s, span json, struct audit_record *out)
{
	struct json j = { .rest = json };
	unsigned long long given = 0;
	if (json.len > AUDIT_RECORD_MAX + AUDIT_NAME_MAX + AUDIT_NUMBER_MAX + 32)
		return fail(s, E_LIMIT, "a record of %zu bytes is over the limit of %d", json.len, AUDIT_RECORD_MAX);
	memset(out->id, 0, sizeof out->id);
	out->component = (span){ 0 };
	out->count = 0;
	TRY(read_head(s, &j, out));
	while (audit_json_skip(&j, SPAN_LITERAL(",")))
		TRY(read_field(s, &j, out, &given));
	audit_json_expect(&j, SPAN_LITERAL("}"));
	if (j.bad || j.rest.len > 0)
		return fail(s, E_INPUT, "%s: the record does not end behind its last field", out->row->name);
	if ((audit_row_required(out->row) & ~given) != 0)
		return fail(s, E_INPUT, "%s: a field is missing, the catalogue has: %s", out->row->name, out->row->fields);
	return OK;
}

const struct audit_field *audit_field_of(const struct audit_record *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (span_is(r->field[i].name, name))
			return &r->field[i];
	return NULL;
}

st audit_field_text(struct scope *s, const struct audit_record *r, const char *name, span *out)
{
	const struct audit_field *field = audit_field_of(r, name);
	if (field == NULL)
		return fail(s, E_NOTFOUND, "%s: no field %s", r->row->name, name);
	if (field->is_number)
		return fail(s, E_INPUT, "%s: field %s is a number", r->row->name, name);
	*out = audit_json_unescape(s, field->text);
	return OK;
}

st audit_field_number(struct scope *s, const struct audit_record *r, const char *name, int64_t *out)
{
	const struct audit_field *field = audit_field_of(r, name);
	if (field == NULL)
		return fail(s, E_NOTFOUND, "%s: no field %s", r->row->name, name);
	if (!field->is_number)
		return fail(s, E_INPUT, "%s: field %s is not a number", r->row->name, name);
	*out = field->number;
	return OK;
}

st audit_field_hex(struct scope *s, const struct audit_record *r, const char *name, span *out)
{
	span text;
	TRY(audit_field_text(s, r, name, &text));
	return fail_context(s, hex_parse(s, text, out), "%s: field %s", r->row->name, name);
}

st audit_field_base64(struct scope *s, const struct audit_record *r, const char *name, span *out)
{
	span text;
	TRY(audit_field_text(s, r, name, &text));
	return fail_context(s, base64_parse(s, text, out), "%s: field %s", r->row->name, name);
}

st audit_field_time(struct scope *s, const struct audit_record *r, const char *name, int64_t *out)
{
	span text;
	TRY(audit_field_text(s, r, name, &text));
	return fail_context(s, moment_parse(s, text, out), "%s: field %s", r->row->name, name);
}

st audit_envelope_read(struct scope *s, span leaf, struct audit_envelope *out)
{
	struct json j = { .rest = leaf };
	if (leaf.len == 0)
		return fail(
			s, E_INPUT,
			"its content was removed, and no operation lets go of what is needed here: `chancery audit verify` says "
			"what happened");
	audit_json_expect(&j, SPAN_LITERAL("{\"v\":1,\"seq\":"));
	out->seq = audit_json_unsigned(&j);
	audit_json_expect(&j, SPAN_LITERAL(",\"at\":"));
	span at = audit_json_string(&j);
	audit_json_expect(&j, SPAN_LITERAL(",\"by\":"));
	out->by = audit_json_string(&j);
	audit_json_expect(&j, SPAN_LITERAL(",\"record\":"));
	if (j.bad || leaf.len > AUDIT_LEAF_MAX || j.rest.len < 2 || j.rest.data[j.rest.len - 1] != '}')
		return fail(s, E_INPUT, "a leaf is not an envelope of version 1 with v, seq, at, by and record");
	out->json = span_first(j.rest, j.rest.len - 1);
	TRY(fail_context(s, moment_parse(s, at, &out->at), "time of receipt"));
	return audit_record_read(s, out->json, &out->record);
}

bool audit_envelope_write(struct buf *out, uint64_t seq, int64_t at, const char *by, span json)
{
	char head[64];
	char when[MOMENT_TEXT_MAX];
	(void)snprintf(head, sizeof head, "{\"v\":%d,\"seq\":%llu,\"at\":\"", AUDIT_ENVELOPE_VERSION, (unsigned long long)seq);
	return buf_append(out, span_str(head)) && buf_append(out, span_str(moment_text(at, when))) &&
	       buf_append(out, SPAN_LITERAL("\",\"by\":")) && audit_json_string_write(out, span_str(by)) &&
	       buf_append(out, SPAN_LITERAL(",\"record\":")) && buf_append(out, json) && buf_append(out, SPAN_LITERAL("}"));
}

size_t audit_record_component_place(span json)
{
	struct json j = { .rest = json };
	uint8_t id[16];
	audit_json_expect(&j, SPAN_LITERAL("{\"v\":1,\"id\":"));
	read_id(&j, id);
	audit_json_expect(&j, SPAN_LITERAL(",\"time\":"));
	(void)audit_json_string(&j);
	audit_json_expect(&j, SPAN_LITERAL(",\"event\":"));
	(void)audit_json_string(&j);
	return j.bad ? 0 : json.len - j.rest.len;
}

int64_t audit_envelope_time(const struct audit_envelope *e)
{
	span import = SPAN_LITERAL("import by ");
	bool from_journal = span_is(e->by, "founding") || span_equal(span_first(e->by, import.len), import);
	return from_journal ? e->record.time : e->at;
}
