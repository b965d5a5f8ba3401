#include "cli_manual.h"
#include "cli_nearest.h"
#include "cli_op.h"
#include "cli_soft_key.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_request.h"
#include "unit.h"
#include <stdlib.h>

static st parse(struct scope *s, struct cli *c, bool *help, const char *line)
{
	static char text[512];
	static char *words[32];
	int count = 0;
	words[count++] = text;
	strcpy(text, "chancery ");
	strcat(text, line);
	strtok(text, " ");
	for (char *word; (word = strtok(NULL, " ")) != NULL;)
		words[count++] = word;
	*c = (struct cli){ 0 };
	return cli_parse(s, c, count, words, help);
}

static bool op_has_option(const char *name)
{
	for (size_t i = 0; i < CLI_OP_PROPOSE_OPTIONS; i++)
		if (strcmp(cli_op_propose_options[i].name, name) == 0)
			return true;
	return false;
}

static void every_parameter_of_every_operation_is_an_option_of_op_propose(void **state)
{
	(void)state;
	const struct control_operation *row;
	for (size_t i = 0; (row = control_operation_at(i)) != NULL; i++)
		for (size_t k = 0; k < CONTROL_PARAMETERS && row->parameter[k].name != NULL; k++)
			assert_true(op_has_option(row->parameter[k].name));
}

static void words_become_noun_verb_options_and_arguments(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct cli c;
	bool help;
	assert_ok(&s,
		  parse(&s, &c, &help, "--home /x cert issue --profile p --csr=f --dns-name a --dns-name b --chain --json"));
	assert_string_equal(c.noun->name, "cert");
	assert_string_equal(c.command->verb, "issue");
	assert_string_equal(c.home, "/x");
	assert_true(c.json);
	assert_false(help);
	assert_string_equal(cli_get(&c, "csr"), "f");
	assert_string_equal(cli_get_at(&c, "dns-name", 1), "b");
	assert_null(cli_get_at(&c, "dns-name", 2));
	assert_non_null(cli_get(&c, "chain"));
	assert_ok(&s, parse(&s, &c, &help, "ts verify file.pdf --token t"));
	assert_int_equal(c.argument_count, 1);
	assert_string_equal(c.argument[0], "file.pdf");
	assert_ok(&s, parse(&s, &c, &help, "run --detach"));
	assert_null(c.command->verb);
}

static void what_is_wrong_with_a_line_is_said_with_what_to_do(void **state)
{
	(void)state;
	static const struct {
		const char *line, *says;
	} rows[] = {
		{ "nonsense", "chancery --help" },
		{ "cret issue", "did you mean chancery cert?" },
		{ "certificate issue", "did you mean chancery cert?" },
		{ "issue", "chancery cert issue or chancery crl issue" },
		{ "cert", "issue, show, find, list, revoke or lint; see chancery cert --help" },
		{ "cert nonsense", "cert has no command nonsense; see chancery cert --help" },
		{ "cert isue", "did you mean issue?" },
		{ "cert issue --porfile p", "did you mean --profile?" },
		{ "cert issue --profile p --csr f --hom x", "did you mean --home?" },
		{ "--nothing", "see chancery --help" },
		{ "cert issue", "--profile PROFILE is needed" },
		{ "cert issue --profile", "needs a value" },
		{ "cert issue --profile p --csr f --colour red", "chancery cert issue --help" },
		{ "cert issue --chain=yes", "takes no value" },
		{ "cert list word", "one word too many" },
		{ "ts request", "FILE is needed" },
		{ "cert list -x", "two dashes" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		struct cli c;
		bool help;
		assert_int_equal(parse(&s, &c, &help, rows[i].line).code, E_INPUT);
		if (strstr(s.message, rows[i].says) == NULL)
			print_error("%s: %s\n", rows[i].line, s.message);
		assert_non_null(strstr(s.message, rows[i].says));
	}
}

static void help_is_there_at_every_level_even_when_something_is_missing(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const lines[] = { "--help", "cert --help", "cert issue --help",
					     "help",   "cert help",   "help cert issue" };
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct cli c;
		bool help = false;
		assert_ok(&s, parse(&s, &c, &help, lines[i]));
		assert_true(help);
		AUTO_BUF out;
		buf_init(&out, 0);
		cli_help(&c, &out);
		assert_non_null(memmem(out.data, out.len, "chancery", 8));
		assert_non_null(memmem(out.data, out.len, i % 3 == 0 ? "Start:" : "Example:", i % 3 == 0 ? 6 : 8));
	}
}

static void nothing_is_suggested_that_is_far_from_what_was_typed(void **state)
{
	(void)state;
	static const struct {
		const char *typed, *candidate;
		bool near;
	} rows[] = {
		{ "cert", "cert", true },        { "cret", "cert", true },       { "crt", "cert", true },
		{ "CERT", "cert", true },        { "ca", "ts", false },          { "stauts", "status", true },
		{ "stop", "status", false },     { "xx", "ca", false },          { "ocps", "ocsp", true },
		{ "certificate", "cert", true }, { "resotre", "restore", true }, { "", "ca", false },
		{ "reserve", "restore", false }, { "restoer", "restore", true },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cli_nearest near = { .word = span_str(rows[i].typed) };
		cli_nearest_try(&near, rows[i].candidate);
		if ((near.name != NULL) != rows[i].near)
			print_error("%s, %s\n", rows[i].typed, rows[i].candidate);
		assert_int_equal(near.name != NULL, rows[i].near);
	}
}

/* Whoever adds a manual event to the catalogue is told here what else it needs. */
static void every_manual_event_of_the_catalogue_can_be_entered(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	size_t found = 0;
	for (int code = 0; code < AUDIT_CODE_COUNT; code++) {
		const struct audit_row *row = audit_row((enum audit_code)code);
		const struct cli_kind *kind = cli_kind_of((enum audit_code)code);
		const struct cli_command *command = NULL;
		assert_int_equal(row->class == AUDIT_MANUAL, kind != NULL);
		if (kind == NULL)
			continue;
		found++;
		assert_ok(&s, cli_manual_command(&s, row->name, &command)); /* each field has a row, or it dies */
		assert_string_equal(command->verb, scope_printf(&s, "add %s", row->name));
		assert_non_null(strstr(kind->example, scope_printf(&s, "record add %s --by ", row->name)));
		for (size_t i = 0; i < command->option_count; i++)
			assert_true(!command->options[i].required ||
				    strstr(kind->example, scope_printf(&s, " --%s ", command->options[i].name)) != NULL);
		bool refers = strstr(row->fields, "closes:") != NULL || strstr(row->fields, "about:") != NULL;
		assert_true(!refers || cli_manual_opens(kind->refers));
	}
	assert_true(found > 25);
	assert_fails(&s, E_INPUT, cli_manual_command(&s, "certificate.issued", &(const struct cli_command *){ NULL }));
}

static void times_are_taken_as_people_write_them(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t now = scope_now(&s), day = now - now % MOMENT_DAY - MOMENT_DAY, got;
	char text[MOMENT_TEXT_MAX];
	const char *date = scope_printf(&s, "%.10s", moment_text(day, text));
	static const char *const good[] = {
		"%s", "%sT00:00Z", "%s 00:00", "%s 00:00:00", "%sT00:00:00Z", "%sT00:00:00.000000Z"
	};
	static const char *const bad[] = { "%s 24:00", "%sx", "%s 0:00", "x%s", "%s 00:00 +0100" };
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		char value[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		(void)snprintf(value, sizeof value, good[i], date);
		assert_ok(&s, cli_manual_time(&s, "at", value, false, &got));
		assert_true(got == day);
		if (i >= sizeof bad / sizeof bad[0])
			continue;
		(void)snprintf(value, sizeof value, bad[i], date);
#pragma GCC diagnostic pop
		assert_fails(&s, E_INPUT, cli_manual_time(&s, "at", value, false, &got));
	}
	assert_fails(&s, E_INPUT, cli_manual_time(&s, "at", moment_text(now + MOMENT_HOUR, text), false, &got));
	assert_ok(&s, cli_manual_time(&s, "due", moment_text(now + MOMENT_HOUR, text), true, &got));
	assert_fails(&s, E_INPUT, cli_manual_time(&s, "at", moment_text(now - 400 * MOMENT_DAY, text), false, &got));
}

/* The tables are complete: whoever adds a command without an example or a handler is told here. */
static void every_command_has_a_summary_an_example_that_parses_and_a_handler(void **state)
{
	(void)state;
	for (size_t i = 0; cli_nouns[i] != NULL; i++)
		for (size_t k = 0; k < cli_nouns[i]->command_count; k++) {
			const struct cli_command *command = &cli_nouns[i]->commands[k];
			assert_non_null(command->summary);
			assert_non_null(command->example);
			assert_true(command->run != NULL || command->of != NULL);
			assert_true(command->verb != NULL || cli_nouns[i]->command_count == 1);
			for (size_t o = 0; o < command->option_count; o++)
				assert_true(command->options[o].help != NULL &&
					    (command->options[o].value != NULL || !command->options[o].required));
			if (strchr(command->example, '\'') != NULL)
				continue; /* quoted: for a shell to split */
			AUTO_SCOPE s;
			scope_init(&s, NULL);
			struct cli c;
			bool help;
			assert_ok(&s, parse(&s, &c, &help, command->example));
			assert_true(c.command == command || command->of != NULL);
		}
}

static void text_shows_objects_as_lines_and_lists_as_tables(void **state)
{
	(void)state;
	AUTO(json_t) *value = json_pack("{s:s, s:b, s:[{s:s, s:i}, {s:s, s:i}]}", "name", "x", "well", 1, "rows", "a", "one",
					"b", 1, "a", "eleven", "b", 22);
	AUTO_BUF out;
	buf_init(&out, 0);
	cli_text(&out, value);
	assert_true(span_is(buf_span(&out), "name  x\nwell  yes\n\nrows:\na       b\none     1\neleven  22\n"));
}

static int64_t fixed_now(void *state)
{
	(void)state;
	return INT64_C(1000) * MOMENT_DAY;
}

static void fixed_random(void *state, void *out, size_t len)
{
	(void)state;
	memset(out, 1, len);
}

static void ages_are_told_in_the_unit_that_fits(void **state)
{
	(void)state;
	const struct source source = { fixed_now, fixed_random, NULL };
	AUTO_SCOPE s;
	scope_init(&s, &source);
	int64_t now = scope_now(&s);
	assert_string_equal(cli_age(&s, now - 90 * MOMENT_SECOND), "90 seconds ago");
	assert_string_equal(cli_age(&s, now + 3 * MOMENT_HOUR), "in 3 hours");
	assert_string_equal(cli_age(&s, now - 40 * MOMENT_DAY), "40 days ago");
	assert_string_equal(cli_age(&s, now), "in 0 seconds");
}

static void a_software_key_makes_a_request_that_proves_possession(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span key, subject, der;
	assert_ok(&s, cli_soft_key_new(&s, &key));
	assert_ok(&s, pki_name_parse(&s, span_str("O=TEST, CN=va"), &subject));
	assert_ok(&s, cli_soft_key_request(&s, key, subject, &der));
	struct pki_request request;
	assert_ok(&s, pki_request_read(&s, der, &request));
	assert_true(span_equal(request.subject, subject));
	assert_string_equal(request.key->name, "ec-p256");
	assert_fails(&s, E_CRYPTO, cli_soft_key_request(&s, SPAN_LITERAL("no key"), subject, &der));
}

static void the_configuration_has_defaults_for_all_but_the_name(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct cli_conf conf;
	span text = span_str("name = TEST\n[daemon ca]\nprogram = chancery-ca\nconfig = ca.conf\n"
			     "[daemon keyd-ca]\nprogram = chancery-keyd\nconfig = keyd-ca.conf\nzone = ca\npin-prompt = yes\n");
	assert_ok(&s, conf_parse(&s, &cli_conf_schema, "/p/etc/chancery.conf", text, &conf));
	assert_string_equal(conf.run_directory, "/p/etc/../run");
	assert_int_equal(conf.daemons.count, 2);
	assert_true(cli_conf_daemon(&conf, "keyd-ca")->pin_prompt);
	assert_null(cli_conf_daemon(&conf, "ca")->zone);
	assert_true(cli_conf_daemon(&conf, "ca")->supervised);
	assert_null(cli_conf_daemon(&conf, "va"));
	assert_fails(&s, E_CONFIG, conf_parse(&s, &cli_conf_schema, "c", SPAN_LITERAL("[daemon ca]\nprogram = x\n"), &conf));
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(every_parameter_of_every_operation_is_an_option_of_op_propose),
		cmocka_unit_test(words_become_noun_verb_options_and_arguments),
		cmocka_unit_test(what_is_wrong_with_a_line_is_said_with_what_to_do),
		cmocka_unit_test(nothing_is_suggested_that_is_far_from_what_was_typed),
		cmocka_unit_test(help_is_there_at_every_level_even_when_something_is_missing),
		cmocka_unit_test(every_manual_event_of_the_catalogue_can_be_entered),
		cmocka_unit_test(times_are_taken_as_people_write_them),
		cmocka_unit_test(every_command_has_a_summary_an_example_that_parses_and_a_handler),
		cmocka_unit_test(text_shows_objects_as_lines_and_lists_as_tables),
		cmocka_unit_test(ages_are_told_in_the_unit_that_fits),
		cmocka_unit_test(a_software_key_makes_a_request_that_proves_possession),
		cmocka_unit_test(the_configuration_has_defaults_for_all_but_the_name),
	};
	return cmocka_run_group_tests(all, NULL, NULL);
}
