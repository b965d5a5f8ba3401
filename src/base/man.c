#include "man.h"
#include <ctype.h>

static void put(struct buf *out, const char *text)
{
	(void)buf_append(out, span_str(text));
}

/* A line that begins with '.' or ''' would be a request, '\' begins an escape, and '-' alone may become a hyphen. */
static void put_escaped(struct buf *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		put(out, "\\&");
	for (; *text != 0; text++) {
		if (*text == '\\')
			put(out, "\\e");
		else if (*text == '-')
			put(out, "\\-");
		else
			(void)buf_append(out, span_of(text, 1));
	}
}

/* An argument of a macro: quotes end it, so they are doubled. */
static void put_quoted(struct buf *out, const char *text)
{
	put(out, "\"");
	for (; *text != 0; text++) {
		if (*text == '"')
			put(out, "\"\"");
		else if (*text == '\\')
			put(out, "\\e");
		else if (*text == '-')
			put(out, "\\-");
		else
			(void)buf_append(out, span_of(text, 1));
	}
	put(out, "\"");
}

static void put_macro(struct buf *out, const char *macro, const char *text)
{
	put(out, ".");
	put(out, macro);
	put(out, " ");
	put_quoted(out, text);
	put(out, "\n");
}

void man_begin(struct buf *out, const char *name, const char *section, const char *summary)
{
	put(out, ".TH ");
	for (const char *at = name; *at != 0; at++) {
		char upper = (char)toupper((unsigned char)*at);
		(void)buf_append(out, span_of(&upper, 1));
	}
	put(out, " ");
	put(out, section);
	put(out, " \"\" \"Chancery " CHANCERY_VERSION "\"\n.SH NAME\n");
	put_escaped(out, name);
	put(out, " \\- ");
	put_escaped(out, summary);
	put(out, "\n");
}

void man_heading(struct buf *out, const char *text)
{
	put_macro(out, "SH", text);
}

void man_subheading(struct buf *out, const char *text)
{
	put_macro(out, "SS", text);
}

/* A heading begins a paragraph by itself. */
static void put_paragraph(struct buf *out)
{
	size_t line = out->len;
	while (line > 1 && out->data[line - 2] != '\n')
		line--;
	if (line >= 1 && span_is(span_first(span_from(buf_span(out), line - 1), 2), ".S"))
		return;
	put(out, ".PP\n");
}

void man_text(struct buf *out, const char *text)
{
	put_paragraph(out);
	put_escaped(out, text);
	put(out, "\n");
}

static bool is_value(char c)
{
	return isupper((unsigned char)c) || c == '_';
}

/* What stands for a value is a word of two or more capitals. */
static size_t value_len(const char *text)
{
	size_t len = 0;
	while (is_value(text[len]))
		len++;
	return len >= 1 && !islower((unsigned char)text[len]) ? len : 0;
}

void man_usage(struct buf *out, const char *usage)
{
	put_paragraph(out);
	put(out, "\\fB");
	for (size_t len; *usage != 0; usage += len) {
		char letter[2] = { *usage, 0 };
		len = value_len(usage);
		if (len == 0) {
			put_escaped(out, letter);
			len = 1;
			continue;
		}
		put(out, "\\fI");
		(void)buf_append(out, span_of(usage, len));
		put(out, "\\fB");
	}
	put(out, "\\fR\n");
}

void man_item(struct buf *out, const char *term, const char *text, const char *detail)
{
	put(out, ".TP\n");
	put_macro(out, "B", term);
	put_escaped(out, text);
	put(out, "\n");
	if (detail == NULL)
		return;
	put(out, ".br\n");
	put_escaped(out, detail);
	put(out, "\n");
}

void man_example(struct buf *out, const char *text)
{
	put(out, ".RS 4\n.EX\n");
	put_escaped(out, text);
	put(out, "\n.EE\n.RE\n");
}
