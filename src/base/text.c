#include "text.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *hex_write(span bytes, char *out)
{
	for (size_t i = 0; i < bytes.len; i++) {
		out[2 * i] = hex_digits[bytes.data[i] >> 4];
		out[2 * i + 1] = hex_digits[bytes.data[i] & 15];
	}
	out[2 * bytes.len] = 0;
	return out;
}

char *hex_text(struct scope *s, span bytes)
{
	return hex_write(bytes, scope_alloc(s, 2 * bytes.len + 1));
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

st hex_parse(struct scope *s, span text, span *out)
{
	for (size_t i = 0; i < text.len; i++)
		if (hex_value(text.data[i]) < 0)
			return fail(s, E_INPUT, "character %zu is not a hexadecimal digit", i + 1);
	if (text.len % 2 != 0)
		return fail(s, E_INPUT, "hexadecimal text has an odd number of digits; one at its beginning or end is missing");
	uint8_t *bytes = scope_alloc(s, text.len / 2);
	for (size_t i = 0; i < text.len; i += 2) {
		int high = hex_value(text.data[i]);
		int low = hex_value(text.data[i + 1]);
		bytes[i / 2] = (uint8_t)(high << 4 | low);
	}
	*out = span_of(bytes, text.len / 2);
	return OK;
}

static void base64_digits_of(uint32_t group, char *out)
{
	out[0] = base64_digits[group >> 18];
	out[1] = base64_digits[group >> 12 & 63];
	out[2] = base64_digits[group >> 6 & 63];
	out[3] = base64_digits[group & 63];
}

void base64_write(span bytes, char *out)
{
	size_t i = 0;
	for (; i + 3 <= bytes.len; i += 3, out += 4)
		base64_digits_of((uint32_t)bytes.data[i] << 16 | (uint32_t)bytes.data[i + 1] << 8 | bytes.data[i + 2], out);
	size_t left = bytes.len - i;
	if (left == 0)
		return;
	base64_digits_of((uint32_t)bytes.data[i] << 16 | (left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0), out);
	out[3] = '=';
	if (left == 1)
		out[2] = '=';
}

char *base64_text(struct scope *s, span bytes)
{
	char *out = scope_alloc(s, BASE64_LEN(bytes.len) + 1);
	base64_write(bytes, out);
	return out;
}

/* A digit's value plus one; 0 for what is none. A table, since branches on random text cost more than all the rest. */
static const uint8_t base64_values[256] = {
	['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,  ['I'] = 9,  ['J'] = 10,
	['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20,
	['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30,
	['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
	['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50,
	['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60,
	['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

static int base64_value(uint8_t c)
{
	return base64_values[c] - 1;
}

/* Four digits, three octets: all groups but the last. */
static bool base64_whole_group(const uint8_t *text, uint8_t *out)
{
	int a = base64_value(text[0]), b = base64_value(text[1]), c = base64_value(text[2]), d = base64_value(text[3]);
	if ((a | b | c | d) < 0)
		return false;
	out[0] = (uint8_t)(a << 2 | b >> 4);
	out[1] = (uint8_t)(b << 4 | c >> 2);
	out[2] = (uint8_t)(c << 6 | d);
	return true;
}

static bool base64_group(const uint8_t *text, size_t digits, uint8_t *out)
{
	uint32_t group = 0;
	for (size_t i = 0; i < 4; i++) {
		int value = i < digits ? base64_value(text[i]) : 0;
		if (value < 0 || (i >= digits && text[i] != '='))
			return false;
		group = group << 6 | (uint32_t)value;
	}
	if ((digits == 2 && (group & 0xffff) != 0) || (digits == 3 && (group & 0xff) != 0))
		return false;
	for (size_t i = 0; i + 1 < digits; i++)
		out[i] = (uint8_t)(group >> (16 - 8 * i));
	return true;
}

st base64_parse(struct scope *s, span text, span *out)
{
	if (text.len % 4 != 0)
		return fail(s, E_INPUT, "base64 text has no multiple of four characters");
	uint8_t *bytes = scope_alloc(s, text.len / 4 * 3);
	size_t len = 0;
	for (size_t i = 0; i < text.len; i += 4) {
		bool last = i + 4 == text.len;
		size_t digits = 4;
		if (last && text.data[i + 3] == '=')
			digits = text.data[i + 2] == '=' ? 2 : 3;
		bool good = digits == 4 ? base64_whole_group(text.data + i, bytes + len)
					: base64_group(text.data + i, digits, bytes + len);
		if (!good)
			return fail(s, E_INPUT, "base64 text is not canonical near character %zu", i);
		len += digits - 1;
	}
	*out = span_of(bytes, len);
	return OK;
}

st decimal_parse(struct scope *s, span text, uint64_t max, uint64_t *out)
{
	if (text.len == 0)
		return fail(s, E_INPUT, "a number is missing");
	uint64_t value = 0;
	for (size_t i = 0; i < text.len; i++) {
		unsigned digit = (unsigned)text.data[i] - '0';
		if (digit > 9)
			return fail(s, E_INPUT, "'%.*s' is not a number", (int)(text.len < 40 ? text.len : 40),
				    (const char *)text.data);
		if (value > (max - digit) / 10 || digit > max)
			return fail(s, E_INPUT, "a number is over its limit of %llu", (unsigned long long)max);
		value = value * 10 + digit;
	}
	*out = value;
	return OK;
}

size_t utf8_length(span text)
{
	static const struct {
		uint8_t mask, lead, first_low;
		size_t len;
	} forms[] = { { 0xe0, 0xc0, 0x80, 2 }, { 0xf0, 0xe0, 0x80, 3 }, { 0xf8, 0xf0, 0x80, 4 } };
	uint8_t lead = text.data[0];
	if (lead < 0x80)
		return 1;
	for (size_t i = 0; i < 3; i++) {
		if ((lead & forms[i].mask) != forms[i].lead)
			continue;
		size_t len = forms[i].len;
		if (text.len < len)
			return 0;
		for (size_t k = 1; k < len; k++)
			if ((text.data[k] & 0xc0) != 0x80)
				return 0;
		uint8_t second = text.data[1];
		bool overlong = (len == 2 && lead < 0xc2) || (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
		bool surrogate = lead == 0xed && second >= 0xa0;
		bool behind = lead > 0xf4 || (lead == 0xf4 && second >= 0x90);
		return overlong || surrogate || behind ? 0 : len;
	}
	return 0;
}
