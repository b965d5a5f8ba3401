/*
 * cli.h - the command-line tool: commands are table rows, one file per noun.
 *
 * A handler asks for its options with cli_get(), does its work and hands a JSON value to cli_print(), which writes it as JSON
 * (--json) or as text for people. To add a command: a row in its noun's table, a handler beside it; a new noun also gets a line
 * in cli_nouns.c.
 */
#pragma once
#include "cli_conf.h"
#include "scope.h"
#include <jansson.h>

DEFINE_AUTO(json_t, json_decref)

struct cli_option {
	const char *name;  /* without the dashes */
	const char *value; /* what the help calls its value; NULL: a flag */
	bool required;
	const char *help;
};
#define CLI_VALUES_MAX 64

struct cli;
struct cli_command {
	const char *verb;      /* NULL: the noun itself is the command */
	const char *arguments; /* as the help shows them, "FILE" or "[FILE]"; NULL: none are taken */
	const char *summary;
	const char *example; /* without the tool's name */
	const struct cli_option *options;
	size_t option_count;
	bool without_configuration; /* works outside an installation */
	st (*run)(struct scope *s, struct cli *c);
	/* The first argument decides which options there are: the command that it stands for, which takes the place of this one. */
	st (*of)(struct scope *s, const char *argument, const struct cli_command **out);
};
struct cli_noun {
	const char *name;
	const char *summary;
	const struct cli_command *commands;
	size_t command_count;
};
#define CLI_OPTIONS(table)  .options = (table), .option_count = sizeof(table) / sizeof((table)[0])
#define CLI_COMMANDS(table) .commands = (table), .command_count = sizeof(table) / sizeof((table)[0])
extern const struct cli_noun *const cli_nouns[]; /* NULL-terminated, in the order of the help */

/* One run of the tool. */
struct cli {
	const char *home; /* directory of the installation */
	bool json;
	bool version; /* only that was asked for */
	const struct cli_noun *noun;
	const struct cli_command *command;
	struct {
		const struct cli_option *option;
		const char *value;
	} given[CLI_VALUES_MAX];
	size_t given_count;
	const char *argument[CLI_VALUES_MAX];
	size_t argument_count;
	struct cli_conf conf; /* read before a command that needs it */
	const char *program;  /* path of this program, to find the daemons beside it */
	int exit_code;        /* for outcomes that are no failure of the tool ("tail not anchored") */
};

/* Sort the words of the command line into noun, verb, options and arguments. `--help` anywhere leaves *out_help true. */
st cli_parse(struct scope *s, struct cli *c, int argc, char **argv, bool *out_help);
/* Value of an option; NULL when it was not given. For a flag "" when given. */
const char *cli_get(const struct cli *c, const char *name);
const char *cli_get_or(const struct cli *c, const char *name, const char *otherwise);
/* The i-th value of an option that may be repeated; NULL behind the last. */
const char *cli_get_at(const struct cli *c, const char *name, size_t i);
/* Does the daemon whose pid file lies in the run directory live? */
bool cli_daemon_runs(struct scope *s, const struct cli *c, const char *name);
st cli_get_number(struct scope *s, const struct cli *c, const char *name, uint64_t otherwise, uint64_t max, uint64_t *out);

/* Help for the whole tool, a noun, or a command, by what was parsed. */
void cli_help(const struct cli *c, struct buf *out);
/* "chancery cert issue --profile PROFILE --csr FILE" */
void cli_help_usage(struct buf *out, const struct cli_noun *noun, const struct cli_command *command);
/* The reference page of all commands, as Markdown. */
void cli_help_reference(struct buf *out);

/* Write a result; takes the reference over. */
st cli_print(struct scope *s, const struct cli *c, json_t *result);
/* The same value as text: objects as "name: value" lines, arrays of objects as tables, PEM as it is. */
void cli_text(struct buf *out, const json_t *value);
/* A progress line on standard error; nothing with --json. */
void cli_progress(const struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "3 minutes ago", "in 2 days". */
char *cli_age(struct scope *s, int64_t moment);

/* ---- shared by the nouns ---- */
/* chancery.conf of the installation into c->conf: for a command that works without one but needs it for what was not given. */
st cli_read_conf(struct scope *s, struct cli *c);
/* A path of the installation: `relative` under the home directory. */
char *cli_path(struct scope *s, const struct cli *c, const char *relative);
/* Path of a program of this project: beside this tool, else from PATH. */
char *cli_program(struct scope *s, const struct cli *c, const char *name);
/* Before something is made that then cannot be written: can a file be made there? */
st cli_check_out(struct scope *s, const char *path);
/* Write to the file of --out, or to standard output without it. */
st cli_write_out(struct scope *s, const struct cli *c, const char *path, span bytes);
/* Member of an answer, E_BUG-free: empty string or 0 when it is not there. */
const char *cli_member(const json_t *object, const char *name);
int64_t cli_member_number(const json_t *object, const char *name);
/* A certificate given as a PEM or DER file. */
struct pki_certificate;
st cli_read_certificate(struct scope *s, const char *path, struct pki_certificate *out);
