/*
 * control_records.h - which records of the log an operation is about, as people approve it: "3,7-12,812340-45,71,3002". Ascending, without gaps
 * of nothing between two ranges. A number leaves out the leading digits that it has in common with the number before it, but for the last two, as
 * page numbers do: 812340-45 ends with 812345, and 71 behind it is 812371. There is one form only.
 */
#pragma once
#include "scope.h"

#define CONTROL_RANGES_MAX  2048
#define CONTROL_RECORDS_MAX 6144 /* octets of the text: it stands twice in one record of the log, and a CRL with it */
#define CONTROL_RANGE_MAX   48   /* octets of one range, with its comma and an end */

/* Years that records of time-stamps are kept behind the token, where an operation says so: the provider states the time (EN 319 421 OVR-7.12), and
 * no less than the longest certificate of a unit, and one more. Not to be changed: operations of years ago are judged by it. */
#define CONTROL_STAMPS_KEPT_LEAST 7
#define CONTROL_STAMPS_KEPT_MOST  100

struct control_range {
	uint64_t first, last; /* both are meant */
};
/* E_INPUT: not of that form; E_LIMIT: too many. */
st control_records_read(struct scope *s, span text, struct control_range **out, size_t *out_count);
/* As people type it: numbers may be whole, and neighbours be named one by one. */
st control_records_parse(struct scope *s, span text, struct control_range **out, size_t *out_count);
/* One range behind another (NULL: the first), as text; its length. */
size_t control_range_write(const struct control_range *range, const struct control_range *before, char out[CONTROL_RANGE_MAX]);
/* The text of ranges in order; E_LIMIT when it is too long. */
st control_records_write(struct scope *s, const struct control_range *range, size_t count, const char **out);
/* The next index, in order, to ranges on the heap, which grow; to be freed. */
void control_records_add(struct control_range **range, size_t *count, uint64_t index);
uint64_t control_records_count(const struct control_range *range, size_t count);
/* The first of them at or behind this index; UINT64_MAX: there is none. */
uint64_t control_records_next(const struct control_range *range, size_t count, uint64_t index);
bool control_records_have(const struct control_range *range, size_t count, uint64_t index);
