/* The forms that values of records have. Logs are verified by the million: sixteen octets are looked at together. */
#include "audit_catalogue.h"
#include "moment.h"

typedef int8_t sixteen __attribute__((vector_size(16)));

/* All ones where an octet is a digit; those over 0x7f are negative here. */
typedef sixteen digits_of(sixteen v);

static sixteen hex_digits(sixteen v)
{
	return ((v >= '0') & (v <= '9')) | ((v >= 'a') & (v <= 'f'));
}

/* '/' stands before '0'. */
static sixteen base64_digits(sixteen v)
{
	sixteen letter = v | 0x20;
	return ((letter >= 'a') & (letter <= 'z')) | ((v >= '/') & (v <= '9')) | (v == '+');
}

#define FILLER 0x30 /* a digit of both */

static inline sixteen load(const uint8_t *at, size_t len)
{
	sixteen v;
	memset(&v, FILLER, sizeof v);
	memcpy(&v, at, len);
	return v;
}

static inline __attribute__((always_inline)) bool all_digits(span text, digits_of *digits)
{
	sixteen all = { 0 };
	uint64_t half[2];
	size_t i = 0;
	all = ~all;
	for (; i + sizeof all <= text.len; i += sizeof all) {
		sixteen v;
		memcpy(&v, text.data + i, sizeof v);
		all &= digits(v);
	}
	if (i < text.len)
		all &= digits(load(text.data + i, text.len - i));
	memcpy(half, &all, sizeof half);
	return (half[0] & half[1]) == UINT64_MAX;
}

/* rfc4648#3.5 the bits of the last digit that stand for nothing are zero: one spelling only. */
static bool ends_canonically(uint8_t digit, size_t padding)
{
	static const char one[] = "AEIMQUYcgkosw048", two[] = "AQgw";
	return padding == 0 || strchr(padding == 1 ? one : two, digit) != NULL;
}

static bool is_base64(span text)
{
	size_t padding = 0;
	if (text.len % 4 != 0)
		return false;
	while (padding < 2 && padding < text.len && text.data[text.len - padding - 1] == '=')
		padding++;
	span digits = span_first(text, text.len - padding);
	return all_digits(digits, base64_digits) && (padding == 0 || ends_canonically(digits.data[digits.len - 1], padding));
}

static bool is_any(span text)
{
	(void)text;
	return true;
}

static bool is_bare(span text)
{
	(void)text;
	return false;
}

static bool is_hex(span text)
{
	return text.len % 2 == 0 && all_digits(text, hex_digits);
}

static bool is_time(span text)
{
	int64_t moment;
	return moment_read(text, &moment);
}

static const struct form {
	const char *name;
	bool (*fits)(span text);
} forms[] = {
	[AUDIT_TEXT] = { "text", is_any },        [AUDIT_NUMBER] = { "number", is_bare }, [AUDIT_HEX] = { "hex", is_hex },
	[AUDIT_BASE64] = { "base64", is_base64 }, [AUDIT_TIME] = { "time", is_time },
};

const char *audit_form_name(enum audit_form form)
{
	return forms[form].name;
}

bool audit_form_fits(enum audit_form form, span text)
{
	return forms[form].fits(text);
}
