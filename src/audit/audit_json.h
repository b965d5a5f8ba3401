/*
 * audit_json.h - the little JSON that records consist of: flat objects whose values are strings and whole numbers, no white
 * space. One writer for strings, one strict cursor.
 */
#pragma once
#include "buf.h"

/* A quoted string. Quotes, backslashes and control characters are escaped; what is not UTF-8 becomes U+FFFD, so that every
 * record stays readable whatever a requester sent. False when over the cap of `out`. */
bool audit_json_string_write(struct buf *out, span text);

/* Cursor with a sticky error, like rd. */
struct json {
	span rest;
	bool bad;
};
/* True, and skipped, when this text comes next. Here, so that a literal's length is known. */
static inline bool audit_json_skip(struct json *j, span text)
{
	if (j->bad || j->rest.len < text.len || memcmp(j->rest.data, text.data, text.len) != 0)
		return false;
	j->rest = span_from(j->rest, text.len);
	return true;
}
/* Exactly this text must come next. */
static inline void audit_json_expect(struct json *j, span text)
{
	if (!audit_json_skip(j, text))
		j->bad = true;
}
/* A quoted string, still escaped: well-formed escapes, valid UTF-8, no bare control characters. */
span audit_json_string(struct json *j);
/* A whole number without leading zeros. */
int64_t audit_json_number(struct json *j);
uint64_t audit_json_unsigned(struct json *j);
/* A string from audit_json_string() as the text it stands for. */
span audit_json_unescape(struct scope *s, span escaped);
