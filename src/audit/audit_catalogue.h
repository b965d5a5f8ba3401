/*
 * audit_catalogue.h - what the rows of audit_events.def say, for those who read records and for the reference page.
 */
#pragma once
#include "audit.h"

#define AUDIT_FIELDS_MAX 64 /* bits of audit_event.given */

/* NULL when there is no such event. */
const struct audit_row *audit_row_named(span name, enum audit_code *out_code);
const char *audit_class_name(enum audit_class class);

/* Walks the fields of a row: false at the end. `at` starts as row->fields. */
bool audit_row_next_field(const char **at, span *out_name, bool *out_optional);
/* Position of a field in its row, -1 when the row has none of that name. */
int audit_row_field(const struct audit_row *row, span name);
/* Bits of the fields that must be there. */
unsigned long long audit_row_required(const struct audit_row *row);

/* docs/reference/events.md, from the rows. */
void audit_catalogue(struct buf *out);
