/*
 * control_records.h - which records of the log an operation is about, as people approve it: "3,7-12,400". One form only: ascending, without
 * gaps of nothing between two ranges, numbers without leading zeros.
 */
#pragma once
#include "scope.h"

#define CONTROL_RANGES_MAX  512
#define CONTROL_RECORDS_MAX 6144 /* octets of the text: it stands twice in one record of the log, and a CRL with it */

struct control_range {
	uint64_t first, last; /* both are meant */
};
/* E_INPUT: not of that form; E_LIMIT: too many. */
st control_records_read(struct scope *s, span text, struct control_range **out, size_t *out_count);
/* The text of ranges in order; E_LIMIT when it is too long. */
st control_records_write(struct scope *s, const struct control_range *range, size_t count, const char **out);
/* The next index, in order, to ranges on the heap, which grow; to be freed. */
void control_records_add(struct control_range **range, size_t *count, uint64_t index);
uint64_t control_records_count(const struct control_range *range, size_t count);
bool control_records_have(const struct control_range *range, size_t count, uint64_t index);
