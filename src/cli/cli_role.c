/* `chancery role`: who holds which trusted role, from the register that this tool verifies by itself. */
#include "cli_nearest.h"
#include "cli_nouns.h"
#include "cli_register.h"
#include "moment.h"

static const char *state_of(struct scope *s, const struct control_person *p, enum control_role role)
{
	bool held = (control_roles_held(p, scope_now(s)) & UINT32_C(1) << role) != 0;
	return held ? "in force" : "dormant: training is older than 12 months";
}

static const char *lapse_of(struct scope *s, const struct control_person *p, enum control_role role)
{
	char text[MOMENT_TEXT_MAX];
	int64_t ends = control_training_ends(p);
	return role == CONTROL_AUTHORITY_MEMBER || ends == 0 ? "-" : scope_printf(s, "%.10s", moment_text(ends, text));
}

static void add_row(struct scope *s, const struct cli *c, json_t *rows, const struct control_person *p, enum control_role role)
{
	const struct control_role_row *row = control_role_row(role);
	(void)json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "person", p->id, "name",
						    cli_person_name(s, c, p), "role", row->name, "group",
						    control_group_name(row->group), "lapses", lapse_of(s, p, role), "state",
						    state_of(s, p, role)));
}

/* Of one role, or of all (CONTROL_ROLE_COUNT). */
static json_t *rows_of(struct scope *s, const struct cli *c, const struct control_register *r, enum control_role wanted)
{
	json_t *rows = json_array();
	const struct control_person *p;
	for (size_t i = 0; (p = control_person_at(r, i)) != NULL; i++)
		for (int role = 0; role < CONTROL_ROLE_COUNT; role++)
			if ((p->granted & UINT32_C(1) << role) != 0 && (wanted == CONTROL_ROLE_COUNT || (int)wanted == role))
				add_row(s, c, rows, p, (enum control_role)role);
	return rows;
}

static st print_of(struct scope *s, struct cli *c, enum control_role wanted)
{
	AUTO(control_register) *r = NULL;
	TRY(cli_register_look(s, c, &r));
	return cli_print(s, c, rows_of(s, c, r, wanted));
}

static st list(struct scope *s, struct cli *c)
{
	return print_of(s, c, CONTROL_ROLE_COUNT);
}

static st check_role(struct scope *s, const char *name, enum control_role *out)
{
	struct cli_nearest near = { .word = span_str(name) };
	for (int role = 0; role < CONTROL_ROLE_COUNT; role++)
		cli_nearest_try(&near, control_role_row((enum control_role)role)->name);
	st named = control_role_named(s, span_str(name), out);
	if (named.code == E_OK)
		return OK;
	scope_clear_error(s);
	return fail(s, E_INPUT, "there is no role %s%s; `chancery role table` names them", name,
		    cli_nearest_question(s, &near, ""));
}

static st who(struct scope *s, struct cli *c)
{
	enum control_role role;
	TRY(check_role(s, c->argument[0], &role));
	return print_of(s, c, role);
}

static st table(struct scope *s, struct cli *c)
{
	json_t *rows = json_array();
	for (int role = 0; role < CONTROL_ROLE_COUNT; role++) {
		const struct control_role_row *row = control_role_row((enum control_role)role);
		(void)json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "role", row->name, "group",
							    control_group_name(row->group), "title", row->text));
	}
	return cli_print(s, c, rows);
}

static const struct cli_option look_options[] = { CLI_REGISTER_OPTION };
static const struct cli_command commands[] = {
	{ .verb = "list",
	  .summary =
		  "List who holds which trusted role, and until when without further training; verified here from the founding "
		  "document on",
	  .example = "role list",
	  CLI_OPTIONS(look_options),
	  .run = list },
	{ .verb = "who",
	  .arguments = "ROLE",
	  .summary = "List who holds a role",
	  .example = "role who key-custodian",
	  CLI_OPTIONS(look_options),
	  .run = who },
	{ .verb = "table",
	  .summary = "List the roles that there are, and the groups that are kept apart",
	  .example = "role table",
	  .without_configuration = true,
	  .run = table },
};
const struct cli_noun cli_noun_role = { "role", "trusted roles and who holds them", CLI_COMMANDS(commands) };
