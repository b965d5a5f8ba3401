/* Help and the manual page, from the tables. */
#include "man.h"
#include "token.h"
#include <stdio.h>

#define SUMMARY "a person's own token: keys, approvals, signatures, shares"
#define TEACHES                                                                                                                 \
	"Critical operations of the provider are approved by people, with a key on a token that is theirs alone. This program " \
	"shows in words what is asked for, asks for the PIN at the terminal, and writes what the token signed or opened to a "  \
	"file; it reaches no network. Give the PIN only to what you have read and want: it is your signature."

__attribute__((format(printf, 2, 3))) static void put(struct buf *out, const char *format, ...)
{
	char text[2048];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (len > 0)
		(void)buf_append(out, span_of(text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1));
}

static void put_option(struct buf *out, const struct token_option *o)
{
	char shown[64];
	(void)snprintf(shown, sizeof shown, "--%s %s", o->name, o->value == NULL ? "" : o->value);
	put(out, "  %-18s %s%s\n", shown, o->help, o->needed ? " (needed)" : "");
}

static void put_options(struct buf *out, const struct token_option *options, size_t count)
{
	for (size_t i = 0; i < count; i++)
		put_option(out, &options[i]);
}

static void help_command(struct buf *out, const struct token_command *c)
{
	put(out, "chancery-token %s - %s\n\n%s\n\n", c->name, c->summary, c->teaches);
	put_options(out, c->options, c->option_count);
	put_options(out, token_common, token_common_count);
	put(out, "\nExample:  chancery-token %s\n", c->example);
}

void token_help(const struct token *t, struct buf *out)
{
	if (t->command != NULL) {
		help_command(out, t->command);
		return;
	}
	put(out, "chancery-token - %s\n\n%s\n\n", SUMMARY, TEACHES);
	for (size_t i = 0; token_commands[i] != NULL; i++)
		put(out, "  %-8s  %s\n", token_commands[i]->name, token_commands[i]->summary);
	put(out, "\nMore:     chancery-token COMMAND --help\nExample:  chancery-token create --token alice\n");
}

static void man_options(struct scope *s, struct buf *out, const struct token_option *options, size_t count)
{
	for (size_t i = 0; i < count; i++)
		man_item(out, scope_printf(s, "--%s %s", options[i].name, options[i].value == NULL ? "" : options[i].value),
			 scope_printf(s, "%s%s", options[i].help, options[i].needed ? " (needed)" : ""), NULL);
}

void token_man(struct scope *s, struct buf *out)
{
	man_begin(out, "chancery-token", "1", SUMMARY);
	man_heading(out, "SYNOPSIS");
	man_usage(out, "chancery-token COMMAND --token LABEL [OPTIONS]");
	man_heading(out, "DESCRIPTION");
	man_text(out, TEACHES);
	man_heading(out, "COMMANDS");
	for (size_t i = 0; token_commands[i] != NULL; i++) {
		const struct token_command *c = token_commands[i];
		man_subheading(out, c->name);
		man_text(out, scope_printf(s, "%s.", c->summary));
		man_text(out, c->teaches);
		man_options(s, out, c->options, c->option_count);
		man_text(out, "Example:");
		man_example(out, scope_printf(s, "chancery-token %s", c->example));
	}
	man_heading(out, "OPTIONS OF EVERY COMMAND");
	man_options(s, out, token_common, token_common_count);
	man_heading(out, "EXIT STATUS");
	for (int code = 0; code < CODE_COUNT; code++)
		man_item(out, scope_printf(s, "%d", code_row((enum code)code)->exit_code), code_row((enum code)code)->meaning,
			 NULL);
	man_heading(out, "SEE ALSO");
	man_text(out, "chancery(1), chancery-op(1)");
}
