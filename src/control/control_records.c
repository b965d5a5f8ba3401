#include "control_records.h"
#include "buf.h"
#include "text.h"
#include <stdio.h>

static st not_canonical(struct scope *s)
{
	return fail(s, E_INPUT, "records are numbers and ranges in order, such as 3,7-12,400");
}

static bool read_number(struct scope *s, span text, uint64_t *out)
{
	return text.len > 0 && (text.len == 1 || text.data[0] != '0') && decimal_parse(s, text, INT64_MAX, out).code == E_OK;
}

static span cut(span *rest, char mark)
{
	const uint8_t *found = rest->len == 0 ? NULL : memchr(rest->data, mark, rest->len);
	span part = found == NULL ? *rest : span_of(rest->data, (size_t)(found - rest->data));
	*rest = found == NULL ? (span){ 0 } : span_from(*rest, part.len + 1);
	return part;
}

static bool read_range(struct scope *s, span text, struct control_range *out)
{
	bool pair = text.len > 0 && memchr(text.data, '-', text.len) != NULL;
	span last = text, first = cut(&last, '-');
	if (!read_number(s, first, &out->first))
		return false;
	out->last = out->first;
	return !pair || (read_number(s, last, &out->last) && out->last > out->first);
}

st control_records_read(struct scope *s, span text, struct control_range **out, size_t *out_count)
{
	struct control_range *range = scope_alloc(s, CONTROL_RANGES_MAX * sizeof *range);
	size_t count = 0;
	if (text.len > CONTROL_RECORDS_MAX)
		return fail(s, E_LIMIT, "records are named in at most %d octets", CONTROL_RECORDS_MAX);
	if (text.len == 0 || text.data[text.len - 1] == ',')
		return not_canonical(s);
	for (span rest = text; rest.len > 0; count++) {
		if (count == CONTROL_RANGES_MAX)
			return fail(s, E_LIMIT, "an operation is about at most %d ranges of records", CONTROL_RANGES_MAX);
		/* Neighbours are one range. */
		if (!read_range(s, cut(&rest, ','), &range[count]) ||
		    (count > 0 && range[count].first < range[count - 1].last + 2))
			return not_canonical(s);
	}
	*out = range;
	*out_count = count;
	return OK;
}

st control_records_write(struct scope *s, const struct control_range *range, size_t count, const char **out)
{
	AUTO_BUF text;
	buf_init(&text, CONTROL_RECORDS_MAX);
	for (size_t i = 0; i < count; i++) {
		char one[64];
		int len = snprintf(one, sizeof one, "%s%llu", i == 0 ? "" : ",", (unsigned long long)range[i].first);
		if (range[i].last != range[i].first)
			len += snprintf(one + len, sizeof one - (size_t)len, "-%llu", (unsigned long long)range[i].last);
		if (!buf_append(&text, span_of(one, (size_t)len)))
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

bool control_records_have(const struct control_range *range, size_t count, uint64_t index)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (range[middle].last < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && range[low].first <= index;
}
