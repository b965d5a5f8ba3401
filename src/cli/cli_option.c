/* The words of a command line, by the tables. */
#include "cli.h"
#include "cli_nearest.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>

static const struct cli_option global_options[] = {
	{ .name = "home", .value = "DIR", .help = "directory of the installation" },
	{ .name = "json", .help = "print results as JSON" },
	{ .name = "help", .help = "explain instead of doing" },
	{ .name = "version", .help = "print the version" },
};

static const struct cli_noun *noun_named(const char *name)
{
	for (size_t i = 0; cli_nouns[i] != NULL; i++)
		if (strcmp(cli_nouns[i]->name, name) == 0)
			return cli_nouns[i];
	return NULL;
}

static const struct cli_command *command_named(const struct cli_noun *noun, const char *verb)
{
	for (size_t i = 0; i < noun->command_count; i++) {
		const char *has = noun->commands[i].verb;
		if (has == verb || (has != NULL && verb != NULL && strcmp(has, verb) == 0))
			return &noun->commands[i];
	}
	return NULL;
}

static const struct cli_option *option_in(const struct cli_option *options, size_t count, span name)
{
	for (size_t i = 0; i < count; i++)
		if (span_is(name, options[i].name))
			return &options[i];
	return NULL;
}

static const struct cli_option *option_named(const struct cli *c, span name)
{
	const struct cli_option *found = option_in(global_options, sizeof global_options / sizeof global_options[0], name);
	if (found == NULL && c->command != NULL)
		found = option_in(c->command->options, c->command->option_count, name);
	return found;
}

static st take_value(struct scope *s, struct cli *c, const struct cli_option *option, const char *value, bool *out_help)
{
	if (strcmp(option->name, "help") == 0)
		*out_help = true;
	else if (strcmp(option->name, "version") == 0)
		c->version = true;
	else if (strcmp(option->name, "json") == 0)
		c->json = true;
	else if (strcmp(option->name, "home") == 0)
		c->home = value;
	else if (c->given_count == CLI_VALUES_MAX)
		return fail(s, E_LIMIT, "at most %d options in one command", CLI_VALUES_MAX);
	else {
		c->given[c->given_count].option = option;
		c->given[c->given_count++].value = value;
	}
	return OK;
}

/* " cert issue", what was understood so far, for "see chancery cert issue --help". */
static const char *understood(struct scope *s, const struct cli *c)
{
	const char *verb = c->command == NULL ? NULL : c->command->verb;
	return c->noun == NULL ? ""
			       : scope_printf(s, " %s%s%s", c->noun->name, verb == NULL ? "" : " ", verb == NULL ? "" : verb);
}

static void try_options(struct cli_nearest *near, const struct cli_option *options, size_t count)
{
	for (size_t i = 0; i < count; i++)
		cli_nearest_try(near, options[i].name);
}

static st no_option(struct scope *s, const struct cli *c, span name)
{
	struct cli_nearest near = { .word = name };
	try_options(&near, global_options, sizeof global_options / sizeof global_options[0]);
	if (c->command != NULL)
		try_options(&near, c->command->options, c->command->option_count);
	return fail(s, E_INPUT, "there is no option --%.*s here%s; see chancery%s --help", (int)name.len,
		    (const char *)name.data, cli_nearest_question(s, &near, "--"), understood(s, c));
}

/* "--name value", "--name=value" or "--flag"; *at moves on by the words used up. */
static st take_option(struct scope *s, struct cli *c, int argc, char **argv, int *at, bool *out_help)
{
	const char *word = argv[*at] + 2;
	const char *equals = strchr(word, '=');
	span name = equals == NULL ? span_str(word) : span_of(word, (size_t)(equals - word));
	const struct cli_option *option = option_named(c, name);
	if (option == NULL)
		return no_option(s, c, name);
	if (option->value == NULL && equals != NULL)
		return fail(s, E_INPUT, "--%s takes no value", option->name);
	const char *value = "";
	if (equals != NULL)
		value = equals + 1;
	else if (option->value != NULL) {
		if (*at + 1 >= argc)
			return fail(s, E_INPUT, "--%s needs a value: --%s %s", option->name, option->name, option->value);
		value = argv[++*at];
	}
	return take_value(s, c, option, value, out_help);
}

/* Nouns that have this verb, for somebody who left the noun out: "cert issue or crl issue". */
static const char *nouns_with(struct scope *s, const char *verb)
{
	const char *out = "";
	for (size_t i = 0; cli_nouns[i] != NULL; i++)
		if (command_named(cli_nouns[i], verb) != NULL)
			out = scope_printf(s, "%s%schancery %s %s", out, out[0] == 0 ? "" : " or ", cli_nouns[i]->name, verb);
	return out;
}

static st no_noun(struct scope *s, const char *word)
{
	const char *with = nouns_with(s, word);
	if (with[0] != 0)
		return fail(s, E_INPUT, "%s is part of a command: %s; chancery --help lists all", word, with);
	struct cli_nearest near = { .word = span_str(word) };
	for (size_t i = 0; cli_nouns[i] != NULL; i++)
		cli_nearest_try(&near, cli_nouns[i]->name);
	return fail(s, E_INPUT, "there is no command %s%s; chancery --help lists them", word,
		    cli_nearest_question(s, &near, "chancery "));
}

static st no_verb(struct scope *s, const struct cli_noun *noun, const char *word)
{
	struct cli_nearest near = { .word = span_str(word) };
	for (size_t i = 0; i < noun->command_count; i++)
		cli_nearest_try(&near, noun->commands[i].verb);
	return fail(s, E_INPUT, "%s has no command %s%s; see chancery %s --help", noun->name, word,
		    cli_nearest_question(s, &near, ""), noun->name);
}

/* `chancery help cert issue` and `chancery cert help` are what many try first. */
static bool asks_for_help(const struct cli *c, const char *word)
{
	return c->command == NULL && strcmp(word, "help") == 0;
}

static st take_word(struct scope *s, struct cli *c, const char *word)
{
	if (c->noun == NULL && strcmp(word, "version") == 0) {
		c->version = true;
		return OK;
	}
	if (c->noun == NULL) {
		c->noun = noun_named(word);
		if (c->noun == NULL)
			return no_noun(s, word);
		c->command = command_named(c->noun, NULL);
		return OK;
	}
	if (c->command == NULL) {
		c->command = command_named(c->noun, word);
		return c->command == NULL ? no_verb(s, c->noun, word) : OK;
	}
	if (c->command->of != NULL)
		return c->command->of(s, word, &c->command);
	if (c->command->arguments == NULL)
		return fail(s, E_INPUT, "'%s' is one word too many; see chancery%s --help", word, understood(s, c));
	if (c->argument_count == CLI_VALUES_MAX)
		return fail(s, E_LIMIT, "at most %d arguments in one command", CLI_VALUES_MAX);
	c->argument[c->argument_count++] = word;
	return OK;
}

/* "issue, show, find or list" */
static const char *verbs_of(struct scope *s, const struct cli_noun *noun)
{
	const char *out = "";
	for (size_t i = 0; i < noun->command_count; i++)
		out = scope_printf(s, "%s%s%s", out,
				   i == 0                         ? ""
				   : i + 1 == noun->command_count ? " or "
								  : ", ",
				   noun->commands[i].verb);
	return out;
}

static st check_complete(struct scope *s, const struct cli *c)
{
	if (c->noun == NULL)
		return fail(s, E_INPUT, "say what to do; chancery --help lists the commands");
	if (c->command == NULL)
		return fail(s, E_INPUT, "say what to do: %s %s; see chancery %s --help", c->noun->name, verbs_of(s, c->noun),
			    c->noun->name);
	for (size_t i = 0; i < c->command->option_count; i++) {
		const struct cli_option *option = &c->command->options[i];
		if (option->required && cli_get(c, option->name) == NULL)
			return fail(s, E_INPUT, "--%s %s is needed: %s. Example: chancery %s", option->name, option->value,
				    option->help, c->command->example);
	}
	if (c->command->arguments != NULL && c->command->arguments[0] != '[' && c->argument_count == 0)
		return fail(s, E_INPUT, "%s is needed. Example: chancery %s", c->command->arguments, c->command->example);
	return OK;
}

st cli_parse(struct scope *s, struct cli *c, int argc, char **argv, bool *out_help)
{
	bool help = false;
	bool only_words = false;
	for (int at = 1; at < argc; at++) {
		bool dashed = !only_words && argv[at][0] == '-' && argv[at][1] != 0;
		if (dashed && strcmp(argv[at], "-h") == 0)
			help = true;
		else if (dashed && strcmp(argv[at], "--") == 0)
			only_words = true;
		else if (dashed && argv[at][1] == '-')
			TRY(take_option(s, c, argc, argv, &at, &help));
		else if (dashed)
			return fail(s, E_INPUT, "%s: options are written out, with two dashes", argv[at]);
		else if (!only_words && asks_for_help(c, argv[at]))
			help = true;
		else
			TRY(take_word(s, c, argv[at]));
	}
	*out_help = help;
	return help || c->version || argc == 1 ? OK : check_complete(s, c);
}

const char *cli_get_at(const struct cli *c, const char *name, size_t i)
{
	for (size_t at = 0; at < c->given_count; at++)
		if (strcmp(c->given[at].option->name, name) == 0 && i-- == 0)
			return c->given[at].value;
	return NULL;
}

const char *cli_get(const struct cli *c, const char *name)
{
	return cli_get_at(c, name, 0);
}

const char *cli_get_or(const struct cli *c, const char *name, const char *otherwise)
{
	const char *value = cli_get(c, name);
	return value == NULL ? otherwise : value;
}

st cli_get_number(struct scope *s, const struct cli *c, const char *name, uint64_t otherwise, uint64_t max, uint64_t *out)
{
	const char *value = cli_get(c, name);
	if (value == NULL) {
		*out = otherwise;
		return OK;
	}
	return fail_context(s, decimal_parse(s, span_str(value), max, out), "--%s", name);
}
