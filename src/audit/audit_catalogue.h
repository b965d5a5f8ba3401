/*
 * audit_catalogue.h - what the rows of audit_events.def say, for those who read records and for the reference page.
 */
#pragma once
#include "audit.h"

#define AUDIT_FIELDS_MAX 64 /* bits of audit_event.given */

/* NULL when there is no such event. */
const struct audit_row *audit_row_named(span name, enum audit_code *out_code);
const char *audit_class_name(enum audit_class class);

const char *audit_severity_name(enum audit_severity severity);
/* E_INPUT names those there are. */
st audit_severity_named(struct scope *s, const char *name, enum audit_severity *out);

/* How a value is written: hexadecimal in lower case, base64 with padding, times in RFC 3339, UTC (moment.h); numbers are whole and bare. */
enum audit_form { AUDIT_TEXT, AUDIT_NUMBER, AUDIT_HEX, AUDIT_BASE64, AUDIT_TIME };
const char *audit_form_name(enum audit_form form);
/* Whether a string, still escaped, has a form; never for AUDIT_NUMBER. */
bool audit_form_fits(enum audit_form form, span text);

struct audit_row_field {
	span name;
	enum audit_form form;
	bool optional;
};
/* Walks the fields of a row: false at the end. `at` starts as row->fields. */
bool audit_row_next_field(const char **at, struct audit_row_field *out);
/* A field of a row and its position, -1 when the row has none of that name. `given` has the bits of those before it. */
int audit_row_field(const struct audit_row *row, span name, unsigned long long given, enum audit_form *out_form);
/* Bits of the fields that must be there. */
unsigned long long audit_row_required(const struct audit_row *row);

/* docs/reference/events.md, from the rows. */
void audit_catalogue(struct buf *out);
