/*
 * audit_tally.h - what anybody can cause as often as he likes: equal events within a window are one record, with their number. A thread of its own
 * writes them, so that nobody waits; what auditd does not take is offered again at the end of the next window. After a kill, the last window is lost.
 */
#pragma once
#include "audit.h"

#define AUDIT_TALLY_FIELDS    6
#define AUDIT_TALLY_VALUE_MAX 200 /* octets of a value; what is longer is cut */
/* Different events in a window; further ones are one record for each event whose texts are "(others)". */
#define AUDIT_TALLY_SLOTS 64

struct audit_tally;
/* `window` in microseconds. `audit` outlives it. */
struct audit_tally *audit_tally_new(struct audit *audit, int64_t window);
/* Writes what has been counted; NULL is fine. */
void audit_tally_free(struct audit_tally *t);

/* A field of the form text, or hex (octets); an empty one is left out where the catalogue allows that. */
struct audit_tally_field {
	const char *name;
	span value;
};
/* Counts an event whose row has `count`, `since` and `until` behind these fields. Never waits for auditd. */
void audit_tally_add(struct audit_tally *t, enum audit_code code, const struct audit_tally_field *field, size_t count);
