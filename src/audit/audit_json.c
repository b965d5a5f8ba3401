#include "audit_json.h"
#include "text.h"
#include <endian.h>

static const uint8_t replacement[3] = { 0xef, 0xbf, 0xbd }; /* U+FFFD */

/* Bytes that stand for themselves in a string. */
static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

typedef int8_t sixteen __attribute__((vector_size(16)));

/* How many of sixteen octets, from the first on, stand for themselves: logs are verified by the million. Those over 0x7f are negative here. */
static unsigned plain_of_sixteen(const uint8_t *at)
{
	sixteen v;
	uint64_t half[2];
	memcpy(&v, at, sizeof v);
	sixteen special = (v < 0x20) | (v == 0x7f) | (v == '"') | (v == '\\');
	memcpy(half, &special, sizeof half);
	if (half[0] != 0)
		return (unsigned)__builtin_ctzll(le64toh(half[0])) / 8;
	return half[1] != 0 ? 8 + (unsigned)__builtin_ctzll(le64toh(half[1])) / 8 : 16;
}

/* Where the first octet from `from` on is that does not stand for itself; the length when there is none. */
static size_t skip_plain(span text, size_t from)
{
	size_t i = from;
	while (i + sizeof(sixteen) <= text.len) {
		unsigned plain = plain_of_sixteen(text.data + i);
		i += plain;
		if (plain < sizeof(sixteen))
			return i;
	}
	while (i < text.len && is_plain(text.data[i]))
		i++;
	return i;
}

static bool write_special(struct buf *out, span *text)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t c = text->data[0];
	size_t len = utf8_length(*text);
	if (len > 1) {
		span character = span_first(*text, len);
		*text = span_from(*text, len);
		return buf_append(out, character);
	}
	*text = span_from(*text, 1);
	if (len == 0)
		return buf_append(out, SPAN_ARRAY(replacement));
	if (c == '"' || c == '\\')
		return buf_append(out, SPAN_LITERAL("\\")) && buf_append(out, span_of(&c, 1));
	char escape[7] = { '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15], 0 };
	return buf_append(out, span_str(escape));
}

bool audit_json_string_write(struct buf *out, span text)
{
	bool good = buf_append(out, SPAN_LITERAL("\""));
	while (good && text.len > 0) {
		size_t plain = skip_plain(text, 0);
		good = buf_append(out, span_first(text, plain));
		text = span_from(text, plain);
		if (good && text.len > 0)
			good = write_special(out, &text);
	}
	return good && buf_append(out, SPAN_LITERAL("\""));
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Value of four hexadecimal digits, -1 when they are none. */
static int32_t hex_quad(span text)
{
	int32_t value = 0;
	if (text.len < 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		int digit = hex_value(text.data[i]);
		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

static bool is_surrogate(int32_t value)
{
	return value >= 0xd800 && value <= 0xdfff;
}

/* Length of the escape that starts with a backslash here, 0 when it is none. Surrogates are refused: the writer never needs
 * them, UTF-8 carries every character. */
static size_t escape_length(span text)
{
	if (text.len < 2)
		return 0;
	uint8_t c = text.data[1];
	if (c != 'u')
		return c != 0 && strchr("\"\\/bfnrt", c) != NULL ? 2 : 0;
	int32_t value = hex_quad(span_from(text, 2));
	return value < 0 || is_surrogate(value) ? 0 : 6;
}

span audit_json_string(struct json *j)
{
	audit_json_expect(j, SPAN_LITERAL("\""));
	span start = j->rest;
	size_t i = 0;
	while (!j->bad) {
		i = skip_plain(start, i);
		if (i >= start.len || start.data[i] < 0x20) {
			j->bad = true;
			break;
		}
		if (start.data[i] == '"') {
			j->rest = span_from(start, i + 1);
			return span_first(start, i);
		}
		span here = span_from(start, i);
		size_t len = here.data[0] == '\\' ? escape_length(here) : utf8_length(here);
		j->bad = len == 0;
		i += len;
	}
	return (span){ 0 };
}

uint64_t audit_json_unsigned(struct json *j)
{
	size_t len = 0;
	uint64_t value = 0;
	while (!j->bad && len < j->rest.len && j->rest.data[len] >= '0' && j->rest.data[len] <= '9') {
		uint64_t digit = j->rest.data[len] - (uint64_t)'0';
		if (value > (UINT64_MAX - digit) / 10)
			j->bad = true;
		value = value * 10 + digit;
		len++;
	}
	if (len == 0 || (len > 1 && j->rest.data[0] == '0'))
		j->bad = true;
	j->rest = span_from(j->rest, len);
	return j->bad ? 0 : value;
}

int64_t audit_json_number(struct json *j)
{
	bool negative = audit_json_skip(j, SPAN_LITERAL("-"));
	uint64_t value = audit_json_unsigned(j);
	if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0) || (negative && value == 0))
		j->bad = true;
	if (j->bad)
		return 0;
	return negative ? (int64_t)(0 - value) : (int64_t)value;
}

static size_t put_character(int32_t value, uint8_t *out)
{
	if (value < 0x80) {
		out[0] = (uint8_t)value;
		return 1;
	}
	if (value < 0x800) {
		out[0] = (uint8_t)(0xc0 | value >> 6);
		out[1] = (uint8_t)(0x80 | (value & 0x3f));
		return 2;
	}
	out[0] = (uint8_t)(0xe0 | value >> 12);
	out[1] = (uint8_t)(0x80 | (value >> 6 & 0x3f));
	out[2] = (uint8_t)(0x80 | (value & 0x3f));
	return 3;
}

span audit_json_unescape(struct scope *s, span escaped)
{
	static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
	uint8_t *out = scope_alloc(s, escaped.len + 1);
	size_t len = 0;
	while (escaped.len > 0) {
		size_t used = 1;
		if (escaped.data[0] != '\\' || escaped.len < 2) {
			out[len++] = escaped.data[0];
		} else if (escaped.data[1] == 'u' && escaped.len >= 6) {
			used = 6;
			len += put_character(hex_quad(span_from(escaped, 2)), out + len);
		} else {
			used = 2;
			const char *letter = strchr(letters, escaped.data[1]);
			out[len++] = letter != NULL && *letter != 0 ? (uint8_t)meanings[letter - letters] : escaped.data[1];
		}
		escaped = span_from(escaped, used);
	}
	return span_of(out, len);
}
