/* Help at every level, and the reference page, from the tables. */
#include "cli.h"
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static void put(struct buf *out, const char *format, ...)
{
	char line[1024];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (len > 0)
		(void)buf_append(out, span_of(line, (size_t)len < sizeof line ? (size_t)len : sizeof line - 1));
}

void cli_help_usage(struct buf *out, const struct cli_noun *noun, const struct cli_command *command)
{
	put(out, "chancery %s", noun->name);
	if (command->verb != NULL)
		put(out, " %s", command->verb);
	for (size_t i = 0; i < command->option_count; i++)
		if (command->options[i].required)
			put(out, " --%s %s", command->options[i].name, command->options[i].value);
	if (command->arguments != NULL)
		put(out, " %s", command->arguments);
}

static void help_whole(struct buf *out)
{
	put(out, "chancery - a trust service provider's one command-line tool\n\n"
		 "  chancery [--home DIR] [--json] NOUN VERB [OPTIONS]\n\n");
	for (size_t i = 0; cli_nouns[i] != NULL; i++)
		put(out, "  %-10s %s\n", cli_nouns[i]->name, cli_nouns[i]->summary);
	put(out, "\n  --home DIR  directory of the installation (default: $CHANCERY_HOME, else /var/lib/chancery)\n"
		 "  --json      print results as JSON\n"
		 "  --help      explain a noun (chancery cert --help) or a command (chancery cert issue --help)\n"
		 "  --version   print the version\n\n"
		 "Start:  chancery --home var/first init --test --name 'First steps' && chancery --home var/first run\n"
		 "        (and then in another shell)  export CHANCERY_HOME=$PWD/var/first; chancery status\n"
		 "Issue:  chancery cert issue --profile ncp-plus-n --csr request.pem --out certificate.pem\n");
}

static void help_noun(struct buf *out, const struct cli_noun *noun)
{
	put(out, "chancery %s - %s\n\n", noun->name, noun->summary);
	int width = 0;
	for (size_t i = 0; i < noun->command_count; i++)
		width = (int)strlen(noun->commands[i].verb) > width ? (int)strlen(noun->commands[i].verb) : width;
	for (size_t i = 0; i < noun->command_count; i++)
		put(out, "  %-*s  %s\n", width, noun->commands[i].verb, noun->commands[i].summary);
	put(out, "\nExample:  chancery %s\n", noun->commands[0].example);
	put(out, "More:     chancery %s %s --help\n", noun->name, noun->commands[0].verb);
}

static int show_option(const struct cli_option *option, char out[64])
{
	return snprintf(out, 64, "--%s%s%s", option->name, option->value == NULL ? "" : " ",
			option->value == NULL ? "" : option->value);
}

static void help_command(struct buf *out, const struct cli_noun *noun, const struct cli_command *command)
{
	cli_help_usage(out, noun, command);
	put(out, "\n\n  %s\n\n", command->summary);
	int width = 0;
	char shown[64];
	for (size_t i = 0; i < command->option_count; i++) {
		int len = show_option(&command->options[i], shown);
		width = len > width ? len : width;
	}
	for (size_t i = 0; i < command->option_count; i++) {
		const struct cli_option *option = &command->options[i];
		(void)show_option(option, shown);
		put(out, "  %-*s  %s%s\n", width, shown, option->help, option->required ? " (needed)" : "");
	}
	put(out, "%sExample:  chancery %s\n", command->option_count > 0 ? "\n" : "", command->example);
}

void cli_help(const struct cli *c, struct buf *out)
{
	if (c->noun == NULL)
		help_whole(out);
	else if (c->command == NULL)
		help_noun(out, c->noun);
	else
		help_command(out, c->noun, c->command);
}

static void reference_command(struct buf *out, const struct cli_noun *noun, const struct cli_command *command)
{
	put(out, "### `");
	cli_help_usage(out, noun, command);
	put(out, "`\n%s.\n\n", command->summary);
	for (size_t i = 0; i < command->option_count; i++) {
		const struct cli_option *option = &command->options[i];
		put(out, "- `--%s%s%s` %s%s\n", option->name, option->value == NULL ? "" : " ",
		    option->value == NULL ? "" : option->value, option->help, option->required ? " (needed)" : "");
	}
	put(out, "%sExample: `chancery %s`\n\n", command->option_count > 0 ? "\n" : "", command->example);
}

void cli_help_reference(struct buf *out)
{
	put(out,
	    "# Commands\n\nPrinted by `chancery reference commands`; do not edit. Every command takes `--home DIR`, `--json` and "
	    "`--help`.\n\n");
	for (size_t i = 0; cli_nouns[i] != NULL; i++) {
		put(out, "## %s\n%s.\n\n", cli_nouns[i]->name, cli_nouns[i]->summary);
		for (size_t k = 0; k < cli_nouns[i]->command_count; k++)
			reference_command(out, cli_nouns[i], &cli_nouns[i]->commands[k]);
	}
	put(out, "## Exit codes\n\n| exit | code | meaning |\n|---|---|---|\n");
	for (int code = 0; code < CODE_COUNT; code++)
		put(out, "| %d | %s | %s |\n", code_row((enum code)code)->exit_code, code_row((enum code)code)->name,
		    code_row((enum code)code)->meaning);
	put(out, "| 2 | | `audit verify`: sound, but the tail is not anchored by any checkpoint kept outside the log |\n");
}
