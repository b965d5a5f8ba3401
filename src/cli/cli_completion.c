/* What shells complete, from the command tables: nouns, verbs, options, and for values what the help calls them. */
#include "cli_nouns.h"
#include "pki_profile.h"

static void put(struct buf *out, const char *text)
{
	(void)buf_append(out, span_str(text));
}

static void put_words(struct buf *out, const char *before, const char *word, const char *after)
{
	put(out, before);
	put(out, word);
	put(out, after);
}

/* ---- bash, which zsh understands as well ---- */

static void put_nouns(struct buf *out)
{
	put(out, "\t\" \") words='--home --json --help");
	for (size_t i = 0; cli_nouns[i] != NULL; i++)
		put_words(out, " ", cli_nouns[i]->name, "");
	put(out, "' ;;\n");
}

static void put_verbs(struct buf *out, const struct cli_noun *noun)
{
	put_words(out, "\t\"", noun->name, " \") words='--help");
	for (size_t i = 0; i < noun->command_count; i++) {
		const struct cli_command *command = &noun->commands[i];
		if (command->verb != NULL)
			put_words(out, " ", command->verb, "");
		for (size_t k = 0; command->verb == NULL && k < command->option_count; k++)
			put_words(out, " --", command->options[k].name, "");
	}
	put(out, "' ;;\n");
}

static void put_options(struct buf *out, const struct cli_noun *noun, const struct cli_command *command)
{
	put_words(out, "\t\"", noun->name, " ");
	put_words(out, "", command->verb, "\") words='--help --json");
	for (size_t i = 0; i < command->option_count; i++)
		put_words(out, " --", command->options[i].name, "");
	put(out, "' ;;\n");
}

/* The options of any command whose value is called like this, as a pattern of `case`. */
static void put_pattern(struct buf *out, const char *value)
{
	const char *between = "\t";
	for (size_t i = 0; cli_nouns[i] != NULL; i++)
		for (size_t k = 0; k < cli_nouns[i]->command_count; k++)
			for (size_t o = 0; o < cli_nouns[i]->commands[k].option_count; o++) {
				const struct cli_option *option = &cli_nouns[i]->commands[k].options[o];
				if (option->value == NULL || strcmp(option->value, value) != 0)
					continue;
				put_words(out, between, "--", option->name);
				between = " | ";
			}
	put(out, ")\n");
}

static void put_values(struct buf *out)
{
	put(out, "\tcase $previous in\n\t--home) COMPREPLY=($(compgen -d -- \"$current\")); return ;;\n");
	put_pattern(out, "FILE");
	put(out, "\t\tCOMPREPLY=($(compgen -f -- \"$current\")); return ;;\n");
	put_pattern(out, "DIR");
	put(out, "\t\tCOMPREPLY=($(compgen -d -- \"$current\")); return ;;\n");
	put_pattern(out, "PROFILE");
	put(out, "\t\twords='");
	for (size_t i = 0; pki_profile_at(i) != NULL; i++)
		put_words(out, i > 0 ? " " : "", pki_profile_at(i)->name, "");
	put(out, "'\n\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\")); return ;;\n\tesac\n");
}

static void bash_script(struct buf *out)
{
	put(out,
	    "_chancery() {\n"
	    "\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} noun= verb= words= word i\n"
	    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tword=${COMP_WORDS[i]}\n\t\tcase $word in\n\t\t--home) i=$((i + 1)) ;;\n"
	    "\t\t-*) ;;\n\t\t*) if [ -z \"$noun\" ]; then noun=$word; else verb=${verb:-$word}; fi ;;\n\t\tesac\n\tdone\n");
	put_values(out);
	put(out, "\tcase \"$noun $verb\" in\n");
	put_nouns(out);
	for (size_t i = 0; cli_nouns[i] != NULL; i++) {
		put_verbs(out, cli_nouns[i]);
		for (size_t k = 0; k < cli_nouns[i]->command_count; k++)
			if (cli_nouns[i]->commands[k].verb != NULL)
				put_options(out, cli_nouns[i], &cli_nouns[i]->commands[k]);
	}
	put(out, "\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}\ncomplete -F _chancery chancery\n");
}

static st bash(struct scope *s, struct cli *c)
{
	AUTO_BUF script;
	buf_init(&script, 0);
	put(&script, "# Completion for bash, printed by `chancery completion bash`.\n");
	bash_script(&script);
	return cli_write_out(s, c, cli_get(c, "out"), buf_span(&script));
}

static st zsh(struct scope *s, struct cli *c)
{
	AUTO_BUF script;
	buf_init(&script, 0);
	put(&script,
	    "#compdef chancery\n# Completion for zsh, printed by `chancery completion zsh`.\nautoload -Uz bashcompinit && bashcompinit\n");
	bash_script(&script);
	return cli_write_out(s, c, cli_get(c, "out"), buf_span(&script));
}

/* ---- fish ---- */

/* In single quotes fish takes everything but a quote and a backslash as it is. */
static void put_fish_text(struct buf *out, const char *text)
{
	put(out, " -d '");
	for (; *text != 0; text++) {
		if (*text == '\'' || *text == '\\')
			put(out, "\\");
		(void)buf_append(out, span_of(text, 1));
	}
	put(out, "'\n");
}

static void put_fish_option(struct buf *out, const char *condition, const struct cli_option *option)
{
	put_words(out, "complete -c chancery -n '", condition, "' -l ");
	put(out, option->name);
	bool file = option->value != NULL && (strcmp(option->value, "FILE") == 0 || strcmp(option->value, "DIR") == 0);
	put(out, option->value == NULL ? "" : file ? " -r -F" : " -x");
	put_fish_text(out, option->help);
}

static void put_fish_command(struct scope *s, struct buf *out, const struct cli_noun *noun, const struct cli_command *command)
{
	const char *condition = scope_printf(s, "__fish_seen_subcommand_from %s", noun->name);
	if (command->verb != NULL) {
		put_words(out, "complete -c chancery -n '", condition, "' -a ");
		put(out, command->verb);
		put_fish_text(out, command->summary);
		condition = scope_printf(s, "%s; and __fish_seen_subcommand_from %s", condition, command->verb);
	}
	for (size_t i = 0; i < command->option_count; i++)
		put_fish_option(out, condition, &command->options[i]);
}

static st fish(struct scope *s, struct cli *c)
{
	AUTO_BUF script;
	buf_init(&script, 0);
	put(&script,
	    "# Completion for fish, printed by `chancery completion fish`.\ncomplete -c chancery -f\n"
	    "complete -c chancery -l home -r -F -d 'directory of the installation'\ncomplete -c chancery -l json -d 'print results as JSON'\n");
	for (size_t i = 0; cli_nouns[i] != NULL; i++) {
		put_words(&script, "complete -c chancery -n __fish_use_subcommand -a ", cli_nouns[i]->name, "");
		put_fish_text(&script, cli_nouns[i]->summary);
		for (size_t k = 0; k < cli_nouns[i]->command_count; k++)
			put_fish_command(s, &script, cli_nouns[i], &cli_nouns[i]->commands[k]);
	}
	return cli_write_out(s, c, cli_get(c, "out"), buf_span(&script));
}

static const struct cli_option options[] = {
	{ .name = "out", .value = "FILE", .help = "write it there (default: standard output)" },
};
static const struct cli_command commands[] = {
	{ .verb = "bash",
	  .summary = "Print what bash completes",
	  .example = "completion bash --out /etc/bash_completion.d/chancery",
	  .without_configuration = true,
	  CLI_OPTIONS(options),
	  .run = bash },
	{ .verb = "zsh",
	  .summary = "Print what zsh completes",
	  .example = "completion zsh --out /usr/local/share/zsh/site-functions/_chancery",
	  .without_configuration = true,
	  CLI_OPTIONS(options),
	  .run = zsh },
	{ .verb = "fish",
	  .summary = "Print what fish completes",
	  .example = "completion fish --out /etc/fish/completions/chancery.fish",
	  .without_configuration = true,
	  CLI_OPTIONS(options),
	  .run = fish },
};
const struct cli_noun cli_noun_completion = { "completion", "print what shells complete", CLI_COMMANDS(commands) };
