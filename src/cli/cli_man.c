/* Manual pages, from the tables: chancery(1), a page for each noun, and a page of each daemon and of chancery-token, which they print themselves. */
#include "cli_man.h"
#include "cli_nouns.h"
#include "cli_process.h"
#include "file.h"
#include "man.h"

/* They print their own pages. */
static const struct {
	const char *name;
	int section;
} programs[] = { { "chancery-keyd", 8 }, { "chancery-auditd", 8 }, { "chancery-ca", 8 },    { "chancery-va", 8 },
		 { "chancery-tsa", 8 },  { "chancery-copy", 8 },   { "chancery-watch", 8 }, { "chancery-token", 1 } };
#define PROGRAMS (sizeof programs / sizeof programs[0])

static void put_common_options(struct buf *out)
{
	man_item(out, "--home DIR", "directory of the installation (default: $CHANCERY_HOME, else /var/lib/chancery)", NULL);
	man_item(out, "--json", "print results as JSON", NULL);
	man_item(out, "--help", "explain the noun or the command, with an example", NULL);
}

static void put_exit_status(struct buf *out, struct scope *s)
{
	man_heading(out, "EXIT STATUS");
	for (int code = 0; code < CODE_COUNT; code++)
		man_item(out, scope_printf(s, "%d", code_row((enum code)code)->exit_code), code_row((enum code)code)->meaning,
			 NULL);
}

static void tool_page(struct scope *s, struct buf *out)
{
	man_begin(out, "chancery", "1", "a trust service provider's one command-line tool");
	man_heading(out, "SYNOPSIS");
	man_usage(out, "chancery [--home DIR] [--json] NOUN VERB [OPTIONS]");
	man_heading(out, "DESCRIPTION");
	man_text(
		out,
		"Sets up and runs a trust service provider: certification authorities, status, time-stamps, keys in an HSM, and a "
		"log of everything that outsiders can verify. Each noun has a page of its own.");
	man_heading(out, "NOUNS");
	for (size_t i = 0; cli_nouns[i] != NULL; i++)
		man_item(out, cli_nouns[i]->name, cli_nouns[i]->summary, NULL);
	man_heading(out, "OPTIONS");
	put_common_options(out);
	put_exit_status(out, s);
	man_heading(out, "SEE ALSO");
	for (size_t i = 0; i < PROGRAMS; i++)
		man_text(out, scope_printf(s, "%s(%d)", programs[i].name, programs[i].section));
}

static void put_command(struct scope *s, struct buf *out, const struct cli_noun *noun, const struct cli_command *command)
{
	AUTO_BUF usage;
	buf_init(&usage, 0);
	cli_help_usage(&usage, noun, command);
	man_subheading(out, scope_printf(s, "%s %s", noun->name, command->verb == NULL ? "" : command->verb));
	man_usage(out, scope_cstr(s, buf_span(&usage)));
	man_text(out, scope_printf(s, "%s.", command->summary));
	for (size_t i = 0; i < command->option_count; i++) {
		const struct cli_option *o = &command->options[i];
		man_item(out, scope_printf(s, "--%s %s", o->name, o->value == NULL ? "" : o->value),
			 scope_printf(s, "%s%s", o->help, o->required ? " (needed)" : ""), NULL);
	}
	man_text(out, "Example:");
	man_example(out, scope_printf(s, "chancery %s", command->example));
}

static void noun_page(struct scope *s, struct buf *out, const struct cli_noun *noun)
{
	man_begin(out, scope_printf(s, "chancery-%s", noun->name), "1", noun->summary);
	man_heading(out, "COMMANDS");
	for (size_t i = 0; i < noun->command_count; i++)
		put_command(s, out, noun, &noun->commands[i]);
	man_heading(out, "OPTIONS OF EVERY COMMAND");
	put_common_options(out);
	put_exit_status(out, s);
	man_heading(out, "SEE ALSO");
	man_text(out, "chancery(1)");
}

static st program_page(struct scope *s, struct cli *c, const char *program, struct buf *out)
{
	static const char *const arguments[] = { "--man", NULL };
	int code;
	TRY(cli_run_program(s, cli_program(s, c, program), arguments, NULL, -1, out, &code));
	return code == 0 ? OK : fail(s, E_UNAVAILABLE, "%s --man ended with %d", program, code);
}

static st write_page(struct scope *s, const char *directory, const char *name, int section, const struct buf *page)
{
	char *within = scope_printf(s, "%s/man%d", directory, section);
	TRY(file_make_directory(s, within, 0755));
	return file_replace(s, scope_printf(s, "%s/%s.%d", within, name, section), buf_span(page), 0644);
}

st cli_man_pages(struct scope *s, struct cli *c)
{
	const char *directory = cli_get(c, "out");
	TRY(file_make_directory(s, directory, 0755));
	AUTO_BUF page;
	buf_init(&page, 0);
	tool_page(s, &page);
	TRY(write_page(s, directory, "chancery", 1, &page));
	for (size_t i = 0; cli_nouns[i] != NULL; i++) {
		buf_clear(&page);
		noun_page(s, &page, cli_nouns[i]);
		TRY(write_page(s, directory, scope_printf(s, "chancery-%s", cli_nouns[i]->name), 1, &page));
	}
	for (size_t i = 0; i < PROGRAMS; i++) {
		buf_clear(&page);
		TRY(program_page(s, c, programs[i].name, &page));
		TRY(write_page(s, directory, programs[i].name, programs[i].section, &page));
	}
	return OK;
}
