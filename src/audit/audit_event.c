#include "audit_catalogue.h"
#include "audit_json.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <stdio.h>

static void put(struct audit_event *e, span bytes)
{
	/* Over the cap is found in audit_finish: the room is one byte more than a record may have. */
	if (!buf_append(&e->json, bytes))
		e->json.len = e->json.cap;
}

static void put_hex(struct audit_event *e, span bytes)
{
	if (!buf_reserve(&e->json, 2 * bytes.len + 1)) {
		e->json.len = e->json.cap;
		return;
	}
	(void)hex_write(bytes, (char *)e->json.data + e->json.len);
	e->json.len += 2 * bytes.len;
}

void audit_begin(struct audit_event *e, struct scope *s, enum audit_code code)
{
	uint8_t id[sizeof e->id];
	scope_random(s, id, sizeof id);
	audit_begin_as(e, s, code, id);
}

void audit_begin_as(struct audit_event *e, struct scope *s, enum audit_code code, const uint8_t id[16])
{
	char when[MOMENT_TEXT_MAX];
	*e = (struct audit_event){ .code = code };
	buf_init(&e->json, AUDIT_RECORD_MAX + 1);
	memcpy(e->id, id, sizeof e->id);
	put(e, SPAN_LITERAL("{\"v\":1,\"id\":\""));
	put_hex(e, SPAN_ARRAY(e->id));
	put(e, SPAN_LITERAL("\",\"time\":\""));
	put(e, span_str(moment_text(scope_now(s), when)));
	put(e, SPAN_LITERAL("\",\"event\":\""));
	put(e, span_str(audit_row(code)->name));
	put(e, SPAN_LITERAL("\",\"tx\":\""));
	put_hex(e, SPAN_ARRAY(s->id));
	put(e, SPAN_LITERAL("\""));
}

void audit_event_free(struct audit_event *e)
{
	buf_free(&e->json);
}

/* `,"name":`; a name or form that the catalogue does not have for this event, or a field given twice, is a bug. */
static void put_name(struct audit_event *e, const char *field, enum audit_form form)
{
	const struct audit_row *row = audit_row(e->code);
	enum audit_form own = AUDIT_TEXT;
	int i = audit_row_field(row, span_str(field), e->given, &own);
	if (i < 0 || i >= AUDIT_FIELDS_MAX)
		log_die("event %s has no field %s in the catalogue", row->name, field);
	if (form != own)
		log_die("field %s of event %s is of the form %s in the catalogue and not %s", field, row->name,
			audit_form_name(own), audit_form_name(form));
	if ((e->given & 1ull << i) != 0)
		log_die("field %s of event %s is given twice", field, row->name);
	e->given |= 1ull << i;
	put(e, SPAN_LITERAL(",\""));
	put(e, span_str(field));
	put(e, SPAN_LITERAL("\":"));
}

static void put_string(struct audit_event *e, span utf8)
{
	if (!audit_json_string_write(&e->json, utf8))
		e->json.len = e->json.cap;
}

void audit_text(struct audit_event *e, const char *field, span utf8)
{
	put_name(e, field, AUDIT_TEXT);
	put_string(e, utf8);
}

void audit_str(struct audit_event *e, const char *field, const char *text)
{
	audit_text(e, field, span_str(text));
}

void audit_hex(struct audit_event *e, const char *field, span bytes)
{
	put_name(e, field, AUDIT_HEX);
	put(e, SPAN_LITERAL("\""));
	put_hex(e, bytes);
	put(e, SPAN_LITERAL("\""));
}

void audit_base64(struct audit_event *e, const char *field, span bytes)
{
	put_name(e, field, AUDIT_BASE64);
	put(e, SPAN_LITERAL("\""));
	size_t len = BASE64_LEN(bytes.len);
	if (buf_reserve(&e->json, len)) {
		base64_write(bytes, (char *)e->json.data + e->json.len);
		e->json.len += len;
	} else {
		e->json.len = e->json.cap;
	}
	put(e, SPAN_LITERAL("\""));
}

void audit_number(struct audit_event *e, const char *field, int64_t v)
{
	char text[24];
	put_name(e, field, AUDIT_NUMBER);
	(void)snprintf(text, sizeof text, "%lld", (long long)v);
	put(e, span_str(text));
}

void audit_time(struct audit_event *e, const char *field, int64_t moment)
{
	char text[MOMENT_TEXT_MAX];
	put_name(e, field, AUDIT_TIME);
	put_string(e, span_str(moment_text(moment, text)));
}

st audit_finish(struct scope *s, struct audit_event *e)
{
	const struct audit_row *row = audit_row(e->code);
	if ((audit_row_required(row) & ~e->given) != 0)
		log_die("event %s lacks a field that the catalogue requires: %s", row->name, row->fields);
	put(e, SPAN_LITERAL("}"));
	if (e->json.len > AUDIT_RECORD_MAX)
		return fail(s, E_LIMIT, "the record of %s is over the limit of %d bytes", row->name, AUDIT_RECORD_MAX);
	return OK;
}
