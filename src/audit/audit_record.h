/*
 * audit_record.h - reading records and envelopes: the strict counterpart of audit_begin ... audit_finish.
 */
#pragma once
#include "audit_catalogue.h"

#define AUDIT_ENVELOPE_VERSION 1
#define AUDIT_NAME_MAX         200   /* of a component and of a peer's name */
#define AUDIT_NUMBER_MAX       128   /* the members run, n, after and last */
#define AUDIT_LEAF_MAX         65535 /* what an entry bundle can hold (c2sp tlog-tiles, "Log entries") */

struct audit_field {
	span name;
	span text; /* strings: still escaped, see audit_field_text */
	bool is_number;
	int64_t number;
};

struct audit_record {
	uint8_t id[16];
	int64_t time;
	enum audit_code code;
	const struct audit_row *row;
	span component;
	/* The writer's own number within a run (audit_writers.h); n 0: it has none. `after` 0: nothing is said of an earlier run. */
	uint64_t run, n, after, last;
	uint8_t tx[16];
	struct audit_field field[AUDIT_FIELDS_MAX];
	size_t count;
};

/* E_INPUT names what is wrong: every member must be as the writer writes it, every field as the catalogue has it. */
st audit_record_read(struct scope *s, span json, struct audit_record *out);
/* NULL when the record has no such field. */
const struct audit_field *audit_field_of(const struct audit_record *r, const char *name);
/* Values of fields; E_NOTFOUND when absent, E_INPUT when of another form. */
st audit_field_text(struct scope *s, const struct audit_record *r, const char *name, span *out);
st audit_field_number(struct scope *s, const struct audit_record *r, const char *name, int64_t *out);
st audit_field_hex(struct scope *s, const struct audit_record *r, const char *name, span *out);
st audit_field_base64(struct scope *s, const struct audit_record *r, const char *name, span *out);
st audit_field_time(struct scope *s, const struct audit_record *r, const char *name, int64_t *out);

struct audit_envelope {
	uint64_t seq;
	int64_t at;
	span by;   /* still escaped */
	span json; /* of the record */
	struct audit_record record;
};
st audit_envelope_read(struct scope *s, span leaf, struct audit_envelope *out);
/* When it was done: as auditd received it; what was brought in from a journal (founding, off-line work) says itself when it was. */
int64_t audit_envelope_time(const struct audit_envelope *e);
/* Appends an envelope around a record that was read before; false when over the cap of `out`. */
bool audit_envelope_write(struct buf *out, uint64_t seq, int64_t at, const char *by, span json);
/* Where `,"component":"..."` goes in a record that has none yet: behind the event. 0 when the record does not begin as records do. */
size_t audit_record_component_place(span json);
