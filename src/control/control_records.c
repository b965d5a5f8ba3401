#include "control_records.h"
#include "buf.h"
#include "text.h"
#include <stdio.h>

#define LEAST_DIGITS 2

static st not_canonical(struct scope *s)
{
	return fail(
		s, E_INPUT,
		"records are numbers and ranges in order, such as 3,7-12,812340-45,71: no number has more of the digits of the one "
		"before it than the last two need");
}

/* ---- a number behind another one ---- */

static size_t digits_of(uint64_t n, char out[24])
{
	return (size_t)snprintf(out, 24, "%llu", (unsigned long long)n);
}

/* What is left of it when the digits that it shares with the one before are left out. */
static const char *shortened(uint64_t n, const uint64_t *before, char room[24])
{
	char last[24];
	size_t len = digits_of(n, room), common = 0;
	if (before == NULL || digits_of(*before, last) != len || len <= LEAST_DIGITS)
		return room;
	while (common < len - LEAST_DIGITS && room[common] == last[common])
		common++;
	return room + common;
}

/* Whole, or the last digits of one that begins as the one before. */
static bool read_number(struct scope *s, span text, const uint64_t *before, uint64_t *out)
{
	char last[24];
	size_t len = before == NULL ? 0 : digits_of(*before, last);
	span whole = text;
	if (text.len == 0)
		return false;
	if (text.len >= LEAST_DIGITS && text.len < len)
		whole = span_str(
			scope_printf(s, "%.*s%.*s", (int)(len - text.len), last, (int)text.len, (const char *)text.data));
	return whole.len > 0 && (whole.len == 1 || whole.data[0] != '0') &&
	       decimal_parse(s, whole, INT64_MAX, out).code == E_OK;
}

/* ---- ranges ---- */

static span cut(span *rest, char mark)
{
	const uint8_t *found = rest->len == 0 ? NULL : memchr(rest->data, mark, rest->len);
	span part = found == NULL ? *rest : span_of(rest->data, (size_t)(found - rest->data));
	*rest = found == NULL ? (span){ 0 } : span_from(*rest, part.len + 1);
	return part;
}

static bool read_range(struct scope *s, span text, const uint64_t *before, struct control_range *out)
{
	bool pair = text.len > 0 && memchr(text.data, '-', text.len) != NULL;
	span last = text, first = cut(&last, '-');
	if (!read_number(s, first, before, &out->first))
		return false;
	out->last = out->first;
	return !pair || (read_number(s, last, &out->first, &out->last) && out->last > out->first);
}

st control_records_parse(struct scope *s, span text, struct control_range **out, size_t *out_count)
{
	struct control_range *range = scope_alloc(s, CONTROL_RANGES_MAX * sizeof *range), one;
	size_t count = 0;
	if (text.len > CONTROL_RECORDS_MAX)
		return fail(s, E_LIMIT, "records are named in at most %d octets", CONTROL_RECORDS_MAX);
	if (text.len == 0 || text.data[text.len - 1] == ',')
		return not_canonical(s);
	for (span rest = text; rest.len > 0;) {
		struct control_range *before = count == 0 ? NULL : &range[count - 1];
		scope_clear_error(s);
		if (!read_range(s, cut(&rest, ','), before == NULL ? NULL : &before->last, &one) ||
		    (before != NULL && one.first <= before->last))
			return not_canonical(s);
		if (before != NULL && one.first == before->last + 1) {
			before->last = one.last;
			continue;
		}
		if (count == CONTROL_RANGES_MAX)
			return fail(s, E_LIMIT, "an operation is about at most %d ranges of records", CONTROL_RANGES_MAX);
		range[count++] = one;
	}
	*out = range;
	*out_count = count;
	return OK;
}

st control_records_read(struct scope *s, span text, struct control_range **out, size_t *out_count)
{
	struct control_range *range;
	size_t count;
	const char *again;
	TRY(control_records_parse(s, text, &range, &count));
	TRY(control_records_write(s, range, count, &again));
	if (!span_is(text, again))
		return not_canonical(s);
	*out = range;
	*out_count = count;
	return OK;
}

size_t control_range_write(const struct control_range *range, const struct control_range *before, char out[CONTROL_RANGE_MAX])
{
	char room[24];
	const char *comma = before == NULL ? "" : ",";
	int len = snprintf(out, CONTROL_RANGE_MAX, "%s%s", comma,
			   shortened(range->first, before == NULL ? NULL : &before->last, room));
	if (range->last != range->first)
		len += snprintf(out + len, CONTROL_RANGE_MAX - (size_t)len, "-%s", shortened(range->last, &range->first, room));
	return (size_t)len;
}

st control_records_write(struct scope *s, const struct control_range *range, size_t count, const char **out)
{
	AUTO_BUF text;
	buf_init(&text, CONTROL_RECORDS_MAX);
	for (size_t i = 0; i < count; i++) {
		char one[CONTROL_RANGE_MAX];
		size_t len = control_range_write(&range[i], i == 0 ? NULL : &range[i - 1], one);
		if (!buf_append(&text, span_of(one, len)))
			return fail(s, E_LIMIT, "records are named in at most %d octets", CONTROL_RECORDS_MAX);
	}
	*out = scope_cstr(s, buf_span(&text));
	return OK;
}

void control_records_add(struct control_range **range, size_t *count, uint64_t index)
{
	struct control_range *last = *count == 0 ? NULL : &(*range)[*count - 1];
	if (last != NULL && last->last + 1 == index) {
		last->last = index;
		return;
	}
	*range = heap_grow(*range, (*count + 1) * sizeof **range);
	(*range)[(*count)++] = (struct control_range){ .first = index, .last = index };
}

uint64_t control_records_count(const struct control_range *range, size_t count)
{
	uint64_t records = 0;
	for (size_t i = 0; i < count; i++)
		records += range[i].last - range[i].first + 1;
	return records;
}

uint64_t control_records_next(const struct control_range *range, size_t count, uint64_t index)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (range[middle].last < index)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == count)
		return UINT64_MAX;
	return range[low].first > index ? range[low].first : index;
}

bool control_records_have(const struct control_range *range, size_t count, uint64_t index)
{
	return control_records_next(range, count, index) == index;
}
