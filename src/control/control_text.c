#include "control_text.h"
#include "moment.h"
#include "text.h"
#include <stdio.h>

#define NAME_MAX_LEN 48

/* ---- what may stand in a line ---- */

/* U+202A to U+202E and U+2066 to U+2069 turn the direction of writing: what is shown is then not what is signed. U+0080 to
 * U+009F are control characters, U+2028 and U+2029 line ends. */
static bool is_treacherous(span character)
{
	const uint8_t *c = character.data;
	if (character.len == 2)
		return c[0] == 0xc2 && c[1] < 0xa0;
	if (character.len != 3 || c[0] != 0xe2)
		return false;
	return (c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae) || (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9);
}

const char *control_value_problem(span value)
{
	if (value.len == 0)
		return "is empty";
	if (value.len > CONTROL_VALUE_MAX)
		return "is too long";
	if (value.data[0] == ' ' || value.data[value.len - 1] == ' ')
		return "begins or ends with a space";
	for (size_t at = 0; at < value.len;) {
		span rest = span_from(value, at);
		size_t len = utf8_length(rest);
		if (len == 0)
			return "is not UTF-8";
		if (len == 1 && (rest.data[0] < 0x20 || rest.data[0] == 0x7f))
			return "has a control character";
		if (is_treacherous(span_first(rest, len)))
			return "has a character that changes how the line is shown";
		at += len;
	}
	return NULL;
}

static bool is_name(span name)
{
	if (name.len == 0 || name.len > NAME_MAX_LEN || name.data[0] < 'a' || name.data[0] > 'z')
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];
		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-')
			return false;
	}
	return true;
}

/* ---- reading ---- */

void control_refuse(struct control_rd *r, const char *format, ...)
{
	if (r->problem[0] != 0)
		return;
	int len = snprintf(r->problem, sizeof r->problem, "line %u ", r->line - 1);
	va_list args;
	va_start(args, format);
	(void)vsnprintf(r->problem + len, sizeof r->problem - (size_t)len, format, args);
	va_end(args);
	r->rest = (span){ 0 };
}

static bool cut_line(struct control_rd *r, span *out)
{
	const uint8_t *end = r->rest.len == 0 ? NULL : memchr(r->rest.data, '\n', r->rest.len);
	r->line++;
	if (end == NULL)
		return false;
	*out = span_of(r->rest.data, (size_t)(end - r->rest.data));
	r->rest = span_from(r->rest, out->len + 1);
	return true;
}

static bool split(span line, span *out_name, span *out_value)
{
	const uint8_t *colon = memchr(line.data, ':', line.len);
	if (colon == NULL)
		return false;
	*out_name = span_of(line.data, (size_t)(colon - line.data));
	*out_value = span_from(line, out_name->len + 2);
	return is_name(*out_name) && out_name->len + 2 < line.len && colon[1] == ' ';
}

struct control_rd control_read(span text, const char *kind, const char *what)
{
	struct control_rd r = { .rest = text, .line = 1, .what = what };
	char first[96];
	span line = { 0 };
	(void)snprintf(first, sizeof first, "chancery %s 1", kind);
	if (text.len > CONTROL_TEXT_MAX)
		(void)snprintf(r.problem, sizeof r.problem, "has more than %d octets", CONTROL_TEXT_MAX);
	else if (!cut_line(&r, &line) || !span_is(line, first))
		control_refuse(&r, "is not \"%s\"", first);
	return r;
}

bool control_cut(span file, span *out_text, span *out_behind)
{
	for (size_t i = 1; i < file.len; i++)
		if (file.data[i] == '\n' && file.data[i - 1] == '\n') {
			*out_text = span_first(file, i);
			*out_behind = span_from(file, i + 1);
			return true;
		}
	return false;
}

bool control_get_any(struct control_rd *r, span *out_name, span *out_value)
{
	span line = { 0 };
	*out_name = *out_value = (span){ 0 };
	if (r->problem[0] != 0 || r->rest.len == 0)
		return false;
	if (!cut_line(r, &line))
		control_refuse(r, "has no end");
	else if (!split(line, out_name, out_value))
		control_refuse(r, "is not \"name: value\"");
	else if (control_value_problem(*out_value) != NULL)
		control_refuse(r, "(%.*s): the value %s", (int)out_name->len, (const char *)out_name->data,
			       control_value_problem(*out_value));
	if (r->problem[0] == 0)
		return true;
	*out_name = *out_value = (span){ 0 };
	return false;
}

bool control_next_is(const struct control_rd *r, const char *name)
{
	size_t len = strlen(name);
	return r->rest.len > len && memcmp(r->rest.data, name, len) == 0 && r->rest.data[len] == ':';
}

span control_get(struct control_rd *r, const char *name)
{
	span found, value;
	if (!control_get_any(r, &found, &value)) {
		r->line++;
		control_refuse(r, "is missing: %s", name);
		return (span){ 0 };
	}
	if (span_is(found, name))
		return value;
	control_refuse(r, "is %.*s, where %s belongs", (int)found.len, (const char *)found.data, name);
	return (span){ 0 };
}

st control_end(struct scope *s, const struct control_rd *r)
{
	if (r->problem[0] != 0)
		return fail(s, E_INPUT, "%s: %s", r->what, r->problem);
	if (r->rest.len > 0)
		return fail(s, E_INPUT, "%s: line %u and what follows do not belong there", r->what, r->line);
	return OK;
}

/* A value parsed by one of the functions for text, whose failure becomes the cursor's. */
#define PARSE(r, name, call)                                                                                                   \
	do {                                                                                                                   \
		if ((r)->problem[0] == 0 && (call).code != E_OK)                                                               \
			control_refuse((r), "(%s): %s", (name), aside.message);                                                \
	} while (0)

int64_t control_get_moment(struct control_rd *r, const char *name)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	char again[MOMENT_TEXT_MAX];
	int64_t moment = 0;
	span text = control_get(r, name);
	PARSE(r, name, moment_parse(&aside, text, &moment));
	if (r->problem[0] == 0 && !span_is(text, moment_text(moment, again)))
		control_refuse(r, "(%s): a time is written with six digits behind the second, in UTC", name);
	return r->problem[0] == 0 ? moment : 0;
}

uint64_t control_get_number(struct control_rd *r, const char *name, uint64_t max)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	uint64_t number = 0;
	span text = control_get(r, name);
	PARSE(r, name, decimal_parse(&aside, text, max, &number));
	if (text.len > 1 && text.data[0] == '0')
		control_refuse(r, "(%s): a number is written without leading zeros", name);
	return r->problem[0] == 0 ? number : 0;
}

void control_get_hex(struct control_rd *r, const char *name, uint8_t *out, size_t len)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	span octets = { 0 }, text = control_get(r, name);
	memset(out, 0, len);
	PARSE(r, name, hex_parse(&aside, text, &octets));
	if (r->problem[0] == 0 && (octets.len != len || !span_is(text, hex_text(&aside, octets))))
		control_refuse(r, "(%s): %zu octets in lower-case hexadecimal belong there", name, len);
	if (r->problem[0] == 0)
		memcpy(out, octets.data, len);
}

span control_get_base64(struct control_rd *r, struct scope *s, const char *name)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	span octets = { 0 }, text = control_get(r, name);
	PARSE(r, name, base64_parse(&aside, text, &octets));
	return r->problem[0] == 0 ? scope_copy(s, octets) : (span){ 0 };
}

/* ---- writing ---- */

struct control_wr control_write(struct buf *out, const char *kind)
{
	char first[96];
	(void)snprintf(first, sizeof first, "chancery %s 1\n", kind);
	out->cap = CONTROL_TEXT_MAX;
	return (struct control_wr){ .out = out, .bad = out->len != 0 || !buf_append(out, span_str(first)) };
}

void control_put(struct control_wr *w, const char *name, span value)
{
	if (control_value_problem(value) != NULL || !is_name(span_str(name)) || !buf_append(w->out, span_str(name)) ||
	    !buf_append(w->out, SPAN_LITERAL(": ")) || !buf_append(w->out, value) || !buf_append(w->out, SPAN_LITERAL("\n")))
		w->bad = true;
}

void control_put_str(struct control_wr *w, const char *name, const char *value)
{
	control_put(w, name, span_str(value));
}

void control_put_moment(struct control_wr *w, const char *name, int64_t moment)
{
	char text[MOMENT_TEXT_MAX];
	control_put_str(w, name, moment_text(moment, text));
}

void control_put_number(struct control_wr *w, const char *name, uint64_t v)
{
	char text[24];
	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)v);
	control_put_str(w, name, text);
}

void control_put_hex(struct control_wr *w, const char *name, span octets)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	control_put_str(w, name, hex_text(&aside, octets));
}

void control_put_base64(struct control_wr *w, const char *name, span octets)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	control_put_str(w, name, base64_text(&aside, octets));
}

st control_written(struct scope *s, const struct control_wr *w)
{
	if (w->bad)
		return fail(s, w->out->len + 1 >= CONTROL_TEXT_MAX ? E_LIMIT : E_INPUT,
			    "a value is empty, not UTF-8, has control characters, or the text is over %d octets",
			    CONTROL_TEXT_MAX);
	return OK;
}
