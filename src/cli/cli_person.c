/* `chancery person`: names of persons. On the register and in the log a person is p3 and a SHA-256; the name lies in a file here. */
#include "cli_nouns.h"
#include "cli_register.h"
#include "text.h"

static st new (struct scope *s, struct cli *c)
{
	struct cli_person person = { .id = c->argument[0], .name = cli_get(c, "name") };
	const char *problem = control_id_problem(span_str(person.id));
	if (problem == NULL)
		problem = strchr(person.id, '/') == NULL ? NULL : "has no '/', as a file is named after it";
	if (problem != NULL)
		return fail(s, E_INPUT, "%s: a person's name on the register %s; take p1, p2 and so on", person.id, problem);
	scope_random(s, person.random, sizeof person.random);
	cli_person_identity(&person);
	TRY(fail_context(s, cli_person_write(s, c, &person), "keeping the name of %s", person.id));
	const char *identity = hex_text(s, SPAN_ARRAY(person.identity));
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:s, s:s}", "person", person.id, "name", person.name, "identity", identity,
				   "kept in", cli_person_path(s, c, person.id)));
}

static st show(struct scope *s, struct cli *c)
{
	struct cli_person person;
	if (strchr(c->argument[0], '/') != NULL)
		return fail(s, E_INPUT, "%s is no person's name on the register: p1, p2 and so on", c->argument[0]);
	TRY(fail_context(s, cli_person_read(s, c, c->argument[0], &person), "what is kept here of %s", c->argument[0]));
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:s}", "person", person.id, "name", person.name, "identity",
				   hex_text(s, SPAN_ARRAY(person.identity))));
}

static const struct cli_option new_options[] = {
	{ .name = "name", .value = "NAME", .required = true, .help = "as the person's identity document has it" },
};
static const struct cli_command commands[] = {
	{ .verb = "new",
	  .arguments = "PERSON",
	  .summary =
		  "Keep a person's name here, and make the identity that stands for it on the register: SHA-256 over 16 random "
		  "octets and the name. The file can be erased; the log stays whole",
	  .example = "person new p3 --name 'An Peeters'",
	  CLI_OPTIONS(new_options),
	  .run = new },
	{ .verb = "show",
	  .arguments = "PERSON",
	  .summary = "Show the name that is kept here, and its identity",
	  .example = "person show p3",
	  .run = show },
};
const struct cli_noun cli_noun_person = { "person", "names of persons, which no log holds", CLI_COMMANDS(commands) };
