/* The words of the command line, by the tables. */
#include "token.h"

const struct token_option token_common[] = {
	{ "module", "FILE", false, "PKCS#11 module of the token (default: SoftHSM, /usr/lib/softhsm/libsofthsm2.so)" },
	{ "token", "LABEL", true, "the token's label" },
	{ "pin-fd", "N", false, "read the PIN from this descriptor instead of asking at the terminal: for scripts and tests" },
	{ "json", NULL, false, "print the result as JSON" },
	{ "help", NULL, false, "explain instead of doing" },
};
const size_t token_common_count = sizeof token_common / sizeof token_common[0];

static const struct token_option *option_in(const struct token_option *options, size_t count, span name)
{
	for (size_t i = 0; i < count; i++)
		if (span_is(name, options[i].name))
			return &options[i];
	return NULL;
}

static const struct token_option *option_named(const struct token *t, span name)
{
	const struct token_option *found = option_in(token_common, token_common_count, name);
	if (found == NULL && t->command != NULL)
		found = option_in(t->command->options, t->command->option_count, name);
	return found;
}

static const char *names_of_commands(struct scope *s)
{
	const char *names = "";
	for (size_t i = 0; token_commands[i] != NULL; i++)
		names = scope_printf(s, "%s%s%s", names, i == 0 ? "" : ", ", token_commands[i]->name);
	return names;
}

static st keep(struct scope *s, struct token *t, const struct token_option *option, const char *value)
{
	if (strcmp(option->name, "json") == 0)
		t->json = true;
	else if (strcmp(option->name, "help") == 0)
		t->help = true;
	else if (!option->repeated && token_get(t, option->name) != NULL)
		return fail(s, E_INPUT, "--%s is given twice", option->name);
	else if (t->given_count == TOKEN_VALUES_MAX)
		return fail(s, E_LIMIT, "too many options: at most %d operations are approved at once", TOKEN_OPERATIONS_MAX);
	else {
		t->given[t->given_count].option = option;
		t->given[t->given_count++].value = value;
	}
	return OK;
}

/* "--name value" or "--name=value"; *at moves on by the words used up. */
static st take_option(struct scope *s, struct token *t, int argc, char **argv, int *at)
{
	const char *word = argv[*at] + 2, *equals = strchr(word, '=');
	span name = equals == NULL ? span_str(word) : span_of(word, (size_t)(equals - word));
	const struct token_option *option = option_named(t, name);
	if (option == NULL)
		return fail(s, E_INPUT, "there is no option --%.*s here; see chancery-token%s%s --help", (int)name.len,
			    (const char *)name.data, t->command == NULL ? "" : " ", t->command == NULL ? "" : t->command->name);
	if (option->value == NULL && equals != NULL)
		return fail(s, E_INPUT, "--%s takes no value", option->name);
	if (option->value == NULL)
		return keep(s, t, option, "");
	if (equals == NULL && *at + 1 >= argc)
		return fail(s, E_INPUT, "--%s needs a value: --%s %s", option->name, option->name, option->value);
	return keep(s, t, option, equals != NULL ? equals + 1 : argv[++*at]);
}

static st take_command(struct scope *s, struct token *t, const char *word)
{
	if (strcmp(word, "help") == 0) {
		t->help = true;
		return OK;
	}
	if (t->command != NULL)
		return fail(s, E_INPUT, "'%s' is one word too many; see chancery-token %s --help", word, t->command->name);
	for (size_t i = 0; token_commands[i] != NULL; i++)
		if (strcmp(token_commands[i]->name, word) == 0)
			t->command = token_commands[i];
	return t->command != NULL ? OK : fail(s, E_INPUT, "there is no command %s; there are %s", word, names_of_commands(s));
}

static st check_needed(struct scope *s, const struct token *t, const struct token_option *options, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (options[i].needed && token_get(t, options[i].name) == NULL)
			return fail(s, E_INPUT, "--%s %s is needed: %s. Example: chancery-token %s", options[i].name,
				    options[i].value, options[i].help, t->command->example);
	return OK;
}

st token_parse(struct scope *s, struct token *t, int argc, char **argv)
{
	t->help = argc == 1;
	for (int at = 1; at < argc; at++) {
		if (strcmp(argv[at], "-h") == 0)
			t->help = true;
		else if (strcmp(argv[at], "--version") == 0)
			t->version = true;
		else if (strcmp(argv[at], "--man") == 0)
			t->man = true;
		else if (strncmp(argv[at], "--", 2) == 0)
			TRY(take_option(s, t, argc, argv, &at));
		else
			TRY(take_command(s, t, argv[at]));
	}
	if (t->help || t->version || t->man)
		return OK;
	if (t->command == NULL)
		return fail(s, E_INPUT, "say what to do: %s; see chancery-token --help", names_of_commands(s));
	TRY(check_needed(s, t, token_common, token_common_count));
	return check_needed(s, t, t->command->options, t->command->option_count);
}

const char *token_get_at(const struct token *t, const char *name, size_t i)
{
	for (size_t k = 0; k < t->given_count; k++)
		if (strcmp(t->given[k].option->name, name) == 0 && i-- == 0)
			return t->given[k].value;
	return NULL;
}

const char *token_get(const struct token *t, const char *name)
{
	return token_get_at(t, name, 0);
}
