/* What a person reads, and what a script reads. */
#include "file.h"
#include "log.h"
#include "token.h"
#include <stdio.h>
#include <unistd.h>

void token_show(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
}

void token_show_text(span text)
{
	static const char rule[] = "----------------------------------------------------------------\n";
	token_show("%s%.*s%s", rule, (int)text.len, (const char *)text.data, rule);
}

/* The characters that cannot stand in a string as they are (rfc8259#7). */
static void put_string(struct buf *out, const char *text)
{
	bool done = buf_append(out, SPAN_LITERAL("\""));
	for (; *text != 0; text++) {
		char escaped[8];
		unsigned char c = (unsigned char)*text;
		int len = c == '"' || c == '\\' ? snprintf(escaped, sizeof escaped, "\\%c", c)
			  : c < 0x20            ? snprintf(escaped, sizeof escaped, "\\u%04x", c)
						: snprintf(escaped, sizeof escaped, "%c", c);
		done = done && buf_append(out, span_of(escaped, (size_t)len));
	}
	if (!done || !buf_append(out, SPAN_LITERAL("\"")))
		log_die("a result does not fit its buffer");
}

static void put(struct buf *out, const char *text)
{
	if (!buf_append(out, span_str(text)))
		log_die("a result does not fit its buffer");
}

static void put_json(struct buf *out, const struct token_member *members, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		put(out, i == 0 ? "{\n  " : ",\n  ");
		put_string(out, members[i].name);
		put(out, ": ");
		put_string(out, members[i].value);
	}
	put(out, "\n}\n");
}

void token_show_members(const struct token_member *members, size_t count)
{
	AUTO_BUF out;
	buf_init(&out, 0);
	put_json(&out, members, count);
	token_show("%.*s", (int)out.len, (const char *)out.data);
}

st token_print(struct scope *s, const struct token *t, const struct token_member *members, size_t count)
{
	AUTO_BUF out;
	buf_init(&out, 0);
	if (t->json)
		put_json(&out, members, count);
	for (size_t i = 0; i < count && !t->json; i++)
		put(&out, scope_printf(s, "%s: %s\n", members[i].name, members[i].value));
	return file_write_all(s, STDOUT_FILENO, buf_span(&out));
}
