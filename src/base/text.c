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
	if (text.len % 2 != 0)
		return fail(s, E_INPUT, "hexadecimal text has an odd number of digits");
	uint8_t *bytes = scope_alloc(s, text.len / 2);
	for (size_t i = 0; i < text.len; i += 2) {
		int high = hex_value(text.data[i]);
		int low = hex_value(text.data[i + 1]);
		if (high < 0 || low < 0)
			return fail(s, E_INPUT, "character %zu is not a hexadecimal digit", i);
		bytes[i / 2] = (uint8_t)(high << 4 | low);
	}
	*out = span_of(bytes, text.len / 2);
	return OK;
}

void base64_write(span bytes, char *out)
{
	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t left = bytes.len - i;
		uint32_t group = (uint32_t)bytes.data[i] << 16;
		if (left > 1)
			group |= (uint32_t)bytes.data[i + 1] << 8;
		if (left > 2)
			group |= bytes.data[i + 2];
		*out++ = base64_digits[group >> 18];
		*out++ = base64_digits[group >> 12 & 63];
		*out++ = left > 1 ? base64_digits[group >> 6 & 63] : '=';
		*out++ = left > 2 ? base64_digits[group & 63] : '=';
	}
}

char *base64_text(struct scope *s, span bytes)
{
	char *out = scope_alloc(s, BASE64_LEN(bytes.len) + 1);
	base64_write(bytes, out);
	return out;
}

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
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
		if (!base64_group(text.data + i, digits, bytes + len))
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
