#include "pki_name.h"
#include "alg_oid.h"

#define NAME_ATTRIBUTES_MAX 32
#define VALUE_MAX           512

static const struct attribute_row {
	const char *name;
	span oid;
	int tag; /* the string type we write */
} attributes[] = {
	{ "CN", OCTETS("\x55\x04\x03"), DER_UTF8_STRING },
	{ "surname", OCTETS("\x55\x04\x04"), DER_UTF8_STRING },
	{ "serialNumber", OCTETS("\x55\x04\x05"), DER_PRINTABLE_STRING },
	{ "C", OCTETS("\x55\x04\x06"), DER_PRINTABLE_STRING },
	{ "L", OCTETS("\x55\x04\x07"), DER_UTF8_STRING },
	{ "ST", OCTETS("\x55\x04\x08"), DER_UTF8_STRING },
	{ "street", OCTETS("\x55\x04\x09"), DER_UTF8_STRING },
	{ "O", OCTETS("\x55\x04\x0a"), DER_UTF8_STRING },
	{ "OU", OCTETS("\x55\x04\x0b"), DER_UTF8_STRING },
	{ "title", OCTETS("\x55\x04\x0c"), DER_UTF8_STRING },
	{ "businessCategory", OCTETS("\x55\x04\x0f"), DER_UTF8_STRING },
	{ "postalCode", OCTETS("\x55\x04\x11"), DER_UTF8_STRING },
	{ "givenName", OCTETS("\x55\x04\x2a"), DER_UTF8_STRING },
	{ "initials", OCTETS("\x55\x04\x2b"), DER_UTF8_STRING },
	{ "generationQualifier", OCTETS("\x55\x04\x2c"), DER_UTF8_STRING },
	{ "dnQualifier", OCTETS("\x55\x04\x2e"), DER_PRINTABLE_STRING },
	{ "pseudonym", OCTETS("\x55\x04\x41"), DER_UTF8_STRING },
	{ "organizationIdentifier", OCTETS("\x55\x04\x61"), DER_UTF8_STRING },
	{ "UID", OCTETS("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01"), DER_UTF8_STRING },
	{ "DC", OCTETS("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"), DER_IA5_STRING },
	{ "emailAddress", OCTETS("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"), DER_IA5_STRING },
};
#define ATTRIBUTES (sizeof attributes / sizeof attributes[0])

/* Other spellings that people and other tools write. */
static const struct {
	const char *alias, *name;
} aliases[] = {
	{ "SN", "surname" },         { "GN", "givenName" },
	{ "E", "emailAddress" },     { "S", "ST" },
	{ "commonName", "CN" },      { "countryName", "C" },
	{ "organizationName", "O" }, { "organizationalUnitName", "OU" },
	{ "localityName", "L" },     { "stateOrProvinceName", "ST" },
};

static bool equal_ignoring_case(span text, const char *name)
{
	if (text.len != strlen(name))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t a = text.data[i], b = (uint8_t)name[i];
		a = a >= 'A' && a <= 'Z' ? (uint8_t)(a + 32) : a;
		b = b >= 'A' && b <= 'Z' ? (uint8_t)(b + 32) : b;
		if (a != b)
			return false;
	}
	return true;
}

static const struct attribute_row *row_named(span name)
{
	for (size_t i = 0; i < ATTRIBUTES; i++)
		if (equal_ignoring_case(name, attributes[i].name))
			return &attributes[i];
	for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
		if (equal_ignoring_case(name, aliases[i].alias))
			return row_named(span_str(aliases[i].name));
	return NULL;
}

static const struct attribute_row *row_of(span oid)
{
	for (size_t i = 0; i < ATTRIBUTES; i++)
		if (span_equal(attributes[i].oid, oid))
			return &attributes[i];
	return NULL;
}

const char *pki_name_attribute(span oid)
{
	const struct attribute_row *row = row_of(oid);
	return row == NULL ? NULL : row->name;
}

/* Octets of one UTF-8 character in its shortest form, no surrogate and no control character; 0 otherwise. */
static size_t character_len(span text)
{
	uint8_t first = text.data[0];
	if (first < 0x80)
		return first >= 0x20 && first != 0x7f ? 1 : 0;
	size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	if (first < 0xc2 || first > 0xf4 || text.len < len)
		return 0;
	uint32_t point = first & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((text.data[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (text.data[i] & 0x3f);
	}
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	bool control = point < 0xa0;
	bool surrogate = point >= 0xd800 && point <= 0xdfff;
	return point < least[len] || control || surrogate || point > 0x10ffff ? 0 : len;
}

static bool is_utf8(span text)
{
	while (text.len > 0) {
		size_t len = character_len(text);
		if (len == 0)
			return false;
		text = span_from(text, len);
	}
	return true;
}

static bool is_printable(span text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];
		bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!alphanumeric && (c == 0 || strchr(" '()+,-./:=?", c) == NULL))
			return false;
	}
	return true;
}

static bool is_ia5(span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < 0x20 || text.data[i] >= 0x7f)
			return false;
	return true;
}

static bool fits(int tag, span value)
{
	return (tag == DER_UTF8_STRING && is_utf8(value)) || (tag == DER_PRINTABLE_STRING && is_printable(value)) ||
	       (tag == DER_IA5_STRING && is_ia5(value));
}

static bool is_upper(uint8_t c)
{
	return c >= 'A' && c <= 'Z';
}

/* The rules of one value; `name` is for the message. */
static st check_value(struct scope *s, span oid, int tag, span value)
{
	const struct attribute_row *row = row_of(oid);
	const char *name = row == NULL ? "an attribute" : row->name;
	//= en319412-2#NAT-4.2.4-18 values may be longer than RFC 5280's upper bounds: nothing is cut off
	if (value.len == 0 || value.len > VALUE_MAX)
		return fail(s, E_INPUT, "%s of the name is empty or longer than %d octets", name, VALUE_MAX);
	//= rfc5280#4.1.2.4 UTF8String or PrintableString; IA5String where the attribute says so
	if (!fits(tag, value))
		return fail(s, E_INPUT,
			    "%s of the name does not fit its string type (RFC 5280, 4.1.2.4: UTF8String, PrintableString)",
			    name);
	if (row != NULL && row->tag != DER_UTF8_STRING && tag != row->tag)
		return fail(s, E_INPUT, "%s of the name is not of the string type RFC 5280 appendix A.1 gives it", name);
	if (row != NULL && strcmp(row->name, "C") == 0 &&
	    (value.len != 2 || !is_upper(value.data[0]) || !is_upper(value.data[1])))
		return fail(s, E_INPUT, "C of the name is not a two-letter ISO 3166-1 code in capitals (RFC 5280, A.1)");
	return OK;
}

st pki_name_each(struct scope *s, span der, st (*each)(struct scope *s, span oid, int tag, span value, void *arg), void *arg)
{
	struct der_rd d = der_read(der);
	struct der_rd name = der_enter(&d, DER_SEQUENCE);
	TRY(der_done(s, &d, "a Name"));
	for (size_t count = 0; !der_at_end(&name); count++) {
		struct der_rd set = der_enter(&name, DER_SET);
		struct der_rd pair = der_enter(&set, DER_SEQUENCE);
		span oid = der_get(&pair, DER_OID);
		int tag = der_next(&pair);
		span value = der_get(&pair, tag);
		der_leave(&set, &pair);
		if (!set.bad && set.rest.len > 0)
			return fail(s, E_INPUT,
				    "the name has an RDN of several attributes, which is not supported; use one each");
		der_leave(&name, &set);
		if (name.bad)
			break;
		if (count == NAME_ATTRIBUTES_MAX)
			return fail(s, E_LIMIT, "the name has more than %d attributes", NAME_ATTRIBUTES_MAX);
		TRY(check_value(s, oid, tag, value));
		TRY(each(s, oid, tag, value, arg));
	}
	return der_done(s, &name, "a Name");
}

/* ---- text ---- */

static bool needs_escape(span value, size_t i)
{
	uint8_t c = value.data[i];
	bool edge = (i == 0 || i + 1 == value.len) && c == ' ';
	return c == ',' || c == '+' || c == '\\' || edge;
}

static st text_each(struct scope *s, span oid, int tag, span value, void *arg)
{
	(void)tag;
	struct buf *out = arg;
	const struct attribute_row *row = row_of(oid);
	char *dotted = NULL;
	if (row == NULL)
		TRY(der_oid_text(s, oid, &dotted));
	if (out->len > 0)
		(void)buf_append(out, SPAN_LITERAL(", "));
	(void)buf_append(out, span_str(row != NULL ? row->name : dotted));
	(void)buf_append(out, SPAN_LITERAL("="));
	for (size_t i = 0; i < value.len; i++) {
		if (needs_escape(value, i))
			(void)buf_append(out, SPAN_LITERAL("\\"));
		(void)buf_append(out, span_of(value.data + i, 1));
	}
	return OK;
}

st pki_name_text(struct scope *s, span der, char **out)
{
	AUTO_BUF text = { 0 };
	TRY(pki_name_each(s, der, text_each, &text));
	*out = scope_cstr(s, buf_span(&text));
	return OK;
}

struct wanted {
	span oid;
	span value;
};

static st get_each(struct scope *s, span oid, int tag, span value, void *arg)
{
	(void)s;
	(void)tag;
	struct wanted *w = arg;
	if (w->value.len == 0 && span_equal(oid, w->oid))
		w->value = value;
	return OK;
}

st pki_name_get(struct scope *s, span der, const char *attribute, span *out_value)
{
	const struct attribute_row *row = row_named(span_str(attribute));
	if (row == NULL)
		return fail(s, E_BUG, "there is no name attribute '%s'", attribute);
	struct wanted wanted = { .oid = row->oid };
	TRY(pki_name_each(s, der, get_each, &wanted));
	*out_value = wanted.value;
	return OK;
}

void pki_name_put(struct der_wr *w, span oid, int tag, span value)
{
	const struct attribute_row *row = row_of(oid);
	der_begin(w, DER_SET);
	der_begin(w, DER_SEQUENCE);
	der_put_oid(w, oid);
	der_put(w, row != NULL ? row->tag : tag, value);
	der_end(w);
	der_end(w);
}

static span trim(span text)
{
	while (text.len > 0 && text.data[0] == ' ')
		text = span_from(text, 1);
	while (text.len > 0 && text.data[text.len - 1] == ' ')
		text.len--;
	return text;
}

/* The value up to the next bare comma, escapes resolved; spaces around it dropped unless escaped. */
static st take_value(struct scope *s, span *rest, span *out)
{
	uint8_t *value = scope_alloc(s, rest->len + 1);
	size_t len = 0, keep = 0, i = 0;
	while (i < rest->len && rest->data[i] == ' ')
		i++;
	for (; i < rest->len && rest->data[i] != ','; i++) {
		if (rest->data[i] == '+')
			return fail(s, E_INPUT,
				    "'+' in a name would join attributes, which is not offered; write \\+ for the character");
		bool escaped = rest->data[i] == '\\';
		if (escaped && ++i == rest->len)
			return fail(s, E_INPUT, "the name ends with a backslash; write \\\\ for the character");
		value[len++] = rest->data[i];
		if (escaped || rest->data[i] != ' ')
			keep = len;
	}
	bool comma = i < rest->len;
	*rest = span_from(*rest, i + 1);
	if (comma && trim(*rest).len == 0)
		return fail(s, E_INPUT, "the name ends with a comma; write \\, for the character");
	*out = span_of(value, keep);
	return OK;
}

static st put_pair(struct scope *s, struct der_wr *w, span key, span value)
{
	const struct attribute_row *row = row_named(key);
	span oid = row == NULL ? (span){ 0 } : row->oid;
	int tag = row == NULL ? DER_UTF8_STRING : row->tag;
	if (row == NULL && (key.len == 0 || key.data[0] < '0' || key.data[0] > '2'))
		return fail(s, E_INPUT,
			    "'%.*s' is no name attribute; use C, O, organizationIdentifier, CN and so on, or a dotted OID",
			    (int)span_first(key, 64).len, (const char *)key.data);
	if (row == NULL)
		TRY(der_oid_parse(s, key, &oid));
	TRY(check_value(s, oid, tag, value));
	pki_name_put(w, oid, tag, value);
	return OK;
}

st pki_name_parse(struct scope *s, span text, span *out_der)
{
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_begin(&w, DER_SEQUENCE);
	span rest = text;
	for (size_t count = 0; trim(rest).len > 0; count++) {
		if (count == NAME_ATTRIBUTES_MAX)
			return fail(s, E_LIMIT, "the name has more than %d attributes", NAME_ATTRIBUTES_MAX);
		const uint8_t *equals = rest.data == NULL ? NULL : memchr(rest.data, '=', rest.len);
		if (equals == NULL)
			return fail(s, E_INPUT, "the name has a part without '='; write \"C=BE, O=Example NV, CN=Example\"");
		span key = trim(span_of(rest.data, (size_t)(equals - rest.data))), value;
		rest = span_from(rest, (size_t)(equals - rest.data) + 1);
		TRY(take_value(s, &rest, &value));
		TRY(put_pair(s, &w, key, value));
	}
	der_end(&w);
	TRY(der_finish(s, &w));
	*out_der = scope_copy(s, buf_span(&b));
	return OK;
}
