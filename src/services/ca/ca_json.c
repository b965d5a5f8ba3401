#include "ca_json.h"
#include "log.h"
#include <stdlib.h>

#define TEXTS_MAX 32

/* ---- in ---- */

static st read_text(struct scope *s, const char *name, const json_t *value, const char **out)
{
	if (!json_is_string(value) || json_string_length(value) != strlen(json_string_value(value)))
		return fail(s, E_INPUT, "'%s' is a text", name);
	*out = scope_cstr(s, span_str(json_string_value(value)));
	return OK;
}

static st read_texts(struct scope *s, const char *name, const json_t *value, const char *const **out)
{
	size_t count = json_array_size(value);
	if (!json_is_array(value) || count > TEXTS_MAX)
		return fail(s, E_INPUT, "'%s' is a list of at most %d texts", name, TEXTS_MAX);
	const char **texts = scope_alloc(s, (count + 1) * sizeof *texts);
	for (size_t i = 0; i < count; i++)
		TRY(read_text(s, name, json_array_get(value, i), &texts[i]));
	*out = count == 0 ? NULL : texts;
	return OK;
}

static st read_member(struct scope *s, const struct ca_member *m, const json_t *value, void *at)
{
	const char *text = NULL;
	switch (m->type) {
	case CA_MEMBER_TEXT:
		return read_text(s, m->name, value, at);
	case CA_MEMBER_TEXTS:
		return read_texts(s, m->name, value, at);
	case CA_MEMBER_INTEGER:
		if (!json_is_integer(value))
			return fail(s, E_INPUT, "'%s' is a whole number", m->name);
		*(int64_t *)at = json_integer_value(value);
		return OK;
	case CA_MEMBER_BOOLEAN:
		if (!json_is_boolean(value))
			return fail(s, E_INPUT, "'%s' is true or false", m->name);
		*(bool *)at = json_is_true(value);
		return OK;
	case CA_MEMBER_TIME:
		TRY(read_text(s, m->name, value, &text));
		return fail_context(s, moment_parse(s, span_str(text), at), "'%s'", m->name);
	}
	return fail(s, E_BUG, "member '%s' has no type", m->name);
}

static const struct ca_member *member_named(const struct ca_member *members, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	return NULL;
}

static st read_object(struct scope *s, json_t *root, const struct ca_member *members, size_t count, void *out)
{
	const char *name;
	json_t *value;
	json_object_foreach(root, name, value)
	{
		const struct ca_member *m = member_named(members, count, name);
		if (m == NULL)
			return fail(s, E_INPUT, "'%.64s' is no member of this request", name);
		if (!json_is_null(value))
			TRY(read_member(s, m, value, (char *)out + m->offset));
	}
	for (size_t i = 0; i < count; i++)
		if (members[i].required &&
		    (json_object_get(root, members[i].name) == NULL || json_is_null(json_object_get(root, members[i].name))))
			return fail(s, E_INPUT, "'%s' is missing", members[i].name);
	return OK;
}

st ca_json_read(struct scope *s, span body, const struct ca_member *members, size_t count, void *out)
{
	json_error_t where;
	json_t *root = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &where);
	st status;
	if (root == NULL)
		status = fail(s, E_INPUT, "the body is no JSON: %s, line %d", where.text, where.line);
	else if (!json_is_object(root))
		status = fail(s, E_INPUT, "the body is no JSON object");
	else
		status = read_object(s, root, members, count, out);
	json_decref(root);
	return status;
}

/* ---- out ---- */

/* jansson's own writer goes character by character, which for an answer that is nearly all PEM costs more than reading the request
 * and storing the certificate together; this one copies what needs no escape in one piece. */

#define ANSWER_MAX ((size_t)64 << 20)

static bool plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

/* Whether eight octets are all plain; may say no of some that are, behind one that is none. */
static bool all_plain(const char *text)
{
	const uint64_t ones = UINT64_MAX / 255;
	uint64_t w;
	memcpy(&w, text, sizeof w);
	uint64_t quote = w ^ ones * '"', backslash = w ^ ones * '\\';
	uint64_t below = (w - ones * 0x20) & ~w, quotes = (quote - ones) & ~quote,
		 backslashes = (backslash - ones) & ~backslash;
	return ((below | quotes | backslashes) & ones * 0x80) == 0;
}

static size_t plain_length(const char *text, size_t len)
{
	size_t at = 0;
	while (len - at >= sizeof(uint64_t) && all_plain(text + at))
		at += sizeof(uint64_t);
	while (at < len && plain((unsigned char)text[at]))
		at++;
	return at;
}

static bool put_escaped(struct buf *out, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	const char wide[] = { '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15] };
	const char narrow[] = { '\\', c == '\n' ? 'n' : (char)c };
	return c < 0x20 && c != '\n' ? buf_append(out, SPAN_ARRAY(wide)) : buf_append(out, SPAN_ARRAY(narrow));
}

//= rfc8259#7 quotation mark, reverse solidus and control characters are escaped
static bool put_string(struct buf *out, const char *text, size_t len)
{
	bool good = buf_append(out, SPAN_LITERAL("\""));
	for (size_t at = 0; good && at < len;) {
		size_t run = plain_length(text + at, len - at);
		good = buf_append(out, span_of(text + at, run));
		at += run;
		if (good && at < len)
			good = put_escaped(out, (unsigned char)text[at++]);
	}
	return good && buf_append(out, SPAN_LITERAL("\""));
}

static bool put_value(struct buf *out, const json_t *value);

static bool put_object(struct buf *out, const json_t *object)
{
	const char *name, *separator = "{";
	json_t *value;
	if (json_object_size(object) == 0)
		return buf_append(out, SPAN_LITERAL("{}"));
	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		if (!buf_append(out, span_str(separator)) || !put_string(out, name, strlen(name)) ||
		    !buf_append(out, SPAN_LITERAL(":")) || !put_value(out, value))
			return false;
		separator = ",";
	}
	return buf_append(out, SPAN_LITERAL("}"));
}

static bool put_array(struct buf *out, const json_t *array)
{
	bool good = buf_append(out, SPAN_LITERAL("["));
	for (size_t i = 0; good && i < json_array_size(array); i++)
		good = (i == 0 || buf_append(out, SPAN_LITERAL(","))) && put_value(out, json_array_get(array, i));
	return good && buf_append(out, SPAN_LITERAL("]"));
}

static bool put_value(struct buf *out, const json_t *value)
{
	if (json_is_object(value))
		return put_object(out, value);
	if (json_is_array(value))
		return put_array(out, value);
	if (json_is_string(value))
		return put_string(out, json_string_value(value), json_string_length(value));
	char other[64];
	size_t len = json_dumpb(value, other, sizeof other, JSON_ENCODE_ANY);
	return len > 0 && len <= sizeof other && buf_append(out, span_of(other, len));
}

st ca_json_reply(struct scope *s, struct http_reply *reply, int status, json_t *root)
{
	AUTO_BUF text;
	buf_init(&text, ANSWER_MAX);
	bool good = buf_reserve(&text, 8192) && put_value(&text, root) && buf_append(&text, SPAN_LITERAL("\n"));
	json_decref(root);
	if (!good)
		return fail(s, E_LIMIT, "the answer has more than %zu octets: ask for less at once", ANSWER_MAX);
	reply->status = status;
	reply->content_type = "application/json";
	reply->body = scope_copy(s, buf_span(&text));
	return OK;
}

static void set(json_t *object, const char *name, json_t *value)
{
	if (value == NULL || json_object_set_new(object, name, value) != 0)
		log_die("out of memory for JSON, or '%s' is no UTF-8", name);
}

void ca_json_text(json_t *object, const char *name, const char *value)
{
	if (value != NULL)
		set(object, name, json_string_nocheck(value));
}

void ca_json_hex(struct scope *s, json_t *object, const char *name, span value)
{
	set(object, name, json_string(hex_text(s, value)));
}

void ca_json_time(json_t *object, const char *name, int64_t moment)
{
	char text[MOMENT_TEXT_MAX];
	if (moment != 0)
		set(object, name, json_string(moment_text(moment, text)));
}

void ca_json_number(json_t *object, const char *name, int64_t value)
{
	set(object, name, json_integer((json_int_t)value));
}
