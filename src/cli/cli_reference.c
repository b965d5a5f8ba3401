/* `chancery reference`: the printed pages under docs/reference, from the tables. tests/flow/test_reference.py compares them. */
#include "audit_catalogue.h"
#include "cli_man.h"
#include "cli_nouns.h"
#include "cli_process.h"
#include "control_operation.h"
#include "file.h"
#include <unistd.h>

static bool put(struct buf *out, const char *text)
{
	return buf_append(out, span_str(text));
}

static st commands_page(struct scope *s, struct cli *c)
{
	(void)c;
	AUTO_BUF page;
	buf_init(&page, 0);
	cli_help_reference(&page);
	return file_write_all(s, STDOUT_FILENO, buf_span(&page));
}

static st events_page(struct scope *s, struct cli *c)
{
	(void)c;
	AUTO_BUF page;
	buf_init(&page, 0);
	audit_catalogue(&page);
	return file_write_all(s, STDOUT_FILENO, buf_span(&page));
}

static st operations_page(struct scope *s, struct cli *c)
{
	(void)c;
	AUTO_BUF page;
	buf_init(&page, 0);
	control_operation_reference(&page);
	return file_write_all(s, STDOUT_FILENO, buf_span(&page));
}

/* Each program prints its own names: the tool links none of the daemons. */
static st configuration_page(struct scope *s, struct cli *c)
{
	AUTO_BUF page;
	buf_init(&page, 0);
	(void)put(&page, "# Configuration\n\nPrinted by `chancery reference configuration`; do not edit.\n\n");
	conf_reference(&page, &cli_conf_schema);
	static const char *const programs[] = { "chancery-keyd", "chancery-auditd", "chancery-ca",   "chancery-va",
						"chancery-tsa",  "chancery-copy",   "chancery-watch" };
	static const char *const arguments[] = { "--reference", NULL };
	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
		int code;
		AUTO_BUF part;
		buf_init(&part, 0);
		TRY(cli_run_program(s, cli_program(s, c, programs[i]), arguments, NULL, -1, &part, &code));
		if (code != 0)
			return fail(s, E_UNAVAILABLE, "%s --reference ended with %d", programs[i], code);
		(void)put(&page, "\n");
		(void)buf_append(&page, buf_span(&part));
	}
	return file_write_all(s, STDOUT_FILENO, buf_span(&page));
}

static const struct cli_option man_options[] = {
	{ .name = "out", .value = "DIR", .required = true, .help = "directory that gets man1/ and man8/" },
};
static const struct cli_command commands[] = {
	{ .verb = "configuration",
	  .summary = "Print every configuration name of every program",
	  .example = "reference configuration",
	  .without_configuration = true,
	  .run = configuration_page },
	{ .verb = "events",
	  .summary = "Print the catalogue of audit events",
	  .example = "reference events",
	  .without_configuration = true,
	  .run = events_page },
	{ .verb = "operations",
	  .summary = "Print the table of operations that need a quorum",
	  .example = "reference operations",
	  .without_configuration = true,
	  .run = operations_page },
	{ .verb = "commands",
	  .summary = "Print every command of this tool",
	  .example = "reference commands",
	  .without_configuration = true,
	  .run = commands_page },
	{ .verb = "man",
	  .summary = "Write the manual pages of this tool and of the daemons",
	  .example = "reference man --out /usr/local/share/man",
	  .without_configuration = true,
	  CLI_OPTIONS(man_options),
	  .run = cli_man_pages },
};
const struct cli_noun cli_noun_reference = { "reference", "print the reference pages", CLI_COMMANDS(commands) };
