#include "control_entries.h"
#include "moment.h"
#include "text.h"

#define ENTRY_LINE_MAX 96

static const char first_line[] = "chancery register 1\n";

static const char *entry_line(struct scope *s, uint64_t number, int64_t at, uint64_t len)
{
	char time[MOMENT_TEXT_MAX];
	return scope_printf(s, "entry: %llu %s %llu", (unsigned long long)number, moment_text(at, time),
			    (unsigned long long)len);
}

st control_entries_write(struct scope *s, uint64_t number, int64_t at, span operation, struct buf *out)
{
	const char *line = scope_printf(s, "%s\n", entry_line(s, number, at, operation.len));
	out->cap = CONTROL_ENTRIES_MAX;
	if ((out->len == 0 && !buf_append(out, SPAN_LITERAL(first_line))) || !buf_append(out, span_str(line)) ||
	    !buf_append(out, operation) || !buf_append(out, SPAN_LITERAL("\n")))
		return fail(s, E_LIMIT, "the register as a file has at most %u octets", CONTROL_ENTRIES_MAX);
	return OK;
}

struct entry {
	uint64_t number, len;
	int64_t at;
	span operation;
};

static bool cut(span *rest, char end, span *out)
{
	const uint8_t *found = rest->len == 0 ? NULL : memchr(rest->data, end, rest->len);
	if (found == NULL)
		return false;
	*out = span_of(rest->data, (size_t)(found - rest->data));
	*rest = span_from(*rest, out->len + 1);
	return true;
}

static st read_head(struct scope *s, span *rest, struct entry *out)
{
	span line, name, number, time;
	if (!cut(rest, '\n', &line) || line.len > ENTRY_LINE_MAX)
		return fail(s, E_INPUT, "\"entry: NUMBER TIME LENGTH\" belongs there");
	span words = line;
	if (!cut(&words, ' ', &name) || !cut(&words, ' ', &number) || !cut(&words, ' ', &time))
		return fail(s, E_INPUT, "\"entry: NUMBER TIME LENGTH\" belongs there");
	TRY(decimal_parse(s, number, INT64_MAX, &out->number));
	TRY(moment_parse(s, time, &out->at));
	TRY(decimal_parse(s, words, CONTROL_SIGNED_MAX, &out->len));
	if (!span_is(line, entry_line(s, out->number, out->at, out->len)))
		return fail(s, E_INPUT, "its first line is written \"%s\"", entry_line(s, out->number, out->at, out->len));
	return OK;
}

static st read_entry(struct scope *s, span *rest, struct entry *out)
{
	TRY(read_head(s, rest, out));
	if (rest->len <= out->len || rest->data[out->len] != '\n')
		return fail(s, E_INPUT, "it does not end where its length says");
	out->operation = span_first(*rest, (size_t)out->len);
	*rest = span_from(*rest, (size_t)out->len + 1);
	return OK;
}

static st apply(struct scope *s, struct control_register *r, const struct entry *e)
{
	uint64_t next = control_register_head(r).entries + 1;
	if (e->number != next)
		return fail(s, E_INPUT, "it has the number %llu", (unsigned long long)e->number);
	return control_register_apply(s, r, e->operation, e->at);
}

st control_entries_apply(struct scope *s, struct control_register *r, span file)
{
	span rest = span_from(file, sizeof first_line - 1);
	if (file.len > CONTROL_ENTRIES_MAX || !span_equal(span_first(file, sizeof first_line - 1), SPAN_LITERAL(first_line)))
		return fail(s, E_INPUT,
			    "this is no register: its first line is \"chancery register 1\", and it has at most %u octets",
			    CONTROL_ENTRIES_MAX);
	while (rest.len > 0) {
		AUTO_SCOPE aside;
		struct entry e = { .number = 0 };
		unsigned long long next = control_register_head(r).entries + 1;
		scope_init(&aside, s->source);
		st status = read_entry(&aside, &rest, &e);
		if (status.code == E_OK)
			status = apply(&aside, r, &e);
		if (status.code != E_OK)
			return fail(s, status.code, "entry %llu of the register: %s", next, aside.message);
	}
	return OK;
}
