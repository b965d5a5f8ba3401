/* `chancery record add KIND`: options made of the catalogue's row, checks, and the record. */
#include "cli_manual.h"
#include "cli_nearest.h"
#include "cli_record.h"
#include "cli_register.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "text.h"

#define FILE_MAX ((size_t)1 << 30)

static const char *const given_by_the_tool[] = { "reference", "person", "at", "operator", "remarks", "file" };

static bool is_given_by_the_tool(span name)
{
	for (size_t i = 0; i < sizeof given_by_the_tool / sizeof given_by_the_tool[0]; i++)
		if (span_is(name, given_by_the_tool[i]))
			return true;
	return false;
}

/* A deadline that the tool computes is no option. */
static bool is_option(const struct cli_kind *kind, span name)
{
	return !is_given_by_the_tool(name) && !(kind->life != 0 && span_is(name, "due"));
}

/* ---- the command of a kind ---- */

static st add(struct scope *s, struct cli *c);

static size_t put_field_options(struct scope *s, const struct cli_kind *kind, struct cli_option *out)
{
	const char *at = audit_row(kind->code)->fields;
	struct audit_row_field field;
	size_t count = 0;
	while (audit_row_next_field(&at, &field)) {
		if (!is_option(kind, field.name))
			continue;
		const struct cli_manual_field *known = cli_manual_field_named(field.name);
		out[count++] = (struct cli_option){ .name = cli_manual_option_name(s, field.name),
						    .value = known->value,
						    .required = !field.optional,
						    .help = known->help };
	}
	return count;
}

static st no_such_kind(struct scope *s, const char *name)
{
	struct cli_nearest near = { .word = span_str(name) };
	for (int code = 0; code < AUDIT_CODE_COUNT; code++)
		if (cli_kind_of((enum audit_code)code) != NULL)
			cli_nearest_try(&near, audit_row((enum audit_code)code)->name);
	return fail(s, E_INPUT, "%s is no kind of record%s; chancery record kinds lists them", name,
		    cli_nearest_question(s, &near, ""));
}

st cli_manual_command(struct scope *s, const char *name, const struct cli_command **out)
{
	enum audit_code code;
	const struct audit_row *row = audit_row_named(span_str(name), &code);
	const struct cli_kind *kind = row == NULL ? NULL : cli_kind_of(code);
	if (kind == NULL)
		return no_such_kind(s, name);
	struct cli_option *options = scope_alloc(s, (AUDIT_FIELDS_MAX + 4) * sizeof *options);
	size_t count = 0;
	options[count++] = (struct cli_option){ "by", "PERSON", true, "who says so, as on the register: p3" };
	count += put_field_options(s, kind, options + count);
	options[count++] =
		(struct cli_option){ "at", "TIME", false, "when it happened, in UTC, as '2026-11-27 10:00' (default: now)" };
	options[count++] =
		(struct cli_option){ "file", "FILE", kind->needs_file,
				     "a file that belongs to it: its SHA-256 goes on record, the file stays with you" };
	options[count++] = (struct cli_option){ "remarks", "TEXT", false,
						"no names, ids of persons only: what is on record cannot be erased" };
	struct cli_command *command = scope_new(s, struct cli_command);
	*command = (struct cli_command){ .verb = scope_printf(s, "add %s", row->name),
					 .summary = scope_printf(s, "On record: %s (%s)", row->text, row->clause),
					 .example = kind->example,
					 .options = options,
					 .option_count = count,
					 .run = add };
	*out = command;
	return OK;
}

/* ---- checks ---- */

/* The register is asked where there is one; an incident can be entered while the ca is down. */
static st check_known(struct scope *s, struct cli *c, const char *person)
{
	const char *problem = control_id_problem(span_str(person));
	if (problem != NULL)
		return fail(s, E_INPUT, "--by %s: a person's id on the register %s; the log has no names", person, problem);
	if (!file_exists(c->conf.founding))
		return OK;
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	AUTO(control_register) *known = NULL;
	if (cli_register_look(&aside, c, &known).code != E_OK) {
		cli_progress(c, "The register could not be asked whether there is a %s (%s).", person, aside.message);
		return OK;
	}
	if (control_person_named(known, span_str(person)) == NULL)
		return fail(s, E_NOTFOUND, "there is no %s on the register; chancery role list shows who is", person);
	return OK;
}

/* What --closes and --about name must be there, be of the right kind, and be open. */
static st check_reference(struct scope *s, struct cli *c, const struct cli_kind *kind, const char *option)
{
	struct cli_manual_log log;
	const char *reference = cli_get(c, option), *wanted = audit_row(kind->refers)->name;
	TRY(cli_manual_read(s, c, &log));
	const struct cli_manual_record *of = cli_manual_find(&log, reference);
	if (of == NULL)
		return fail(s, E_NOTFOUND,
			    "--%s %s: there is no such record; chancery record list --kind %s shows their references", option,
			    reference, wanted);
	if (of->code != kind->refers)
		return fail(s, E_INPUT, "--%s %s: that is a record of kind %s; one of %s is needed here", option, reference,
			    of->row->name, wanted);
	if (of->closed)
		return fail(s, E_CONFLICT,
			    "%s is closed already; chancery record add %s opens a new one that may name it in --remarks",
			    reference, wanted);
	return OK;
}

static st check_references(struct scope *s, struct cli *c, const struct cli_kind *kind)
{
	if (cli_get(c, "closes") != NULL)
		TRY(check_reference(s, c, kind, "closes"));
	return cli_get(c, "about") == NULL ? OK : check_reference(s, c, kind, "about");
}

/* ---- the record ---- */

static st deadline(struct scope *s, const struct cli *c, const struct cli_kind *kind, int64_t *out)
{
	*out = 0;
	if (kind->life == 0 || (kind->value != NULL && strcmp(cli_get_or(c, kind->field, ""), kind->value) != 0))
		return OK;
	TRY(cli_manual_time(s, kind->from, cli_get(c, kind->from), false, out));
	*out += kind->life;
	return OK;
}

static st put_file(struct scope *s, const struct cli *c, struct audit_event *e)
{
	span content;
	const char *path = cli_get(c, "file");
	if (path == NULL)
		return OK;
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	if (file_read(&aside, path, FILE_MAX, &content).code != E_OK)
		return fail(s, aside.code, "--file: %s", aside.message);
	audit_hex(e, "file", digest_new(s, DIGEST_SHA256, content));
	return OK;
}

static st put_fields(struct scope *s, const struct cli *c, const struct cli_kind *kind, int64_t due, struct audit_event *e)
{
	const char *at = audit_row(kind->code)->fields;
	struct audit_row_field field;
	while (audit_row_next_field(&at, &field)) {
		if (is_given_by_the_tool(field.name))
			continue;
		const char *value = cli_get(c, cli_manual_option_name(s, field.name));
		if (!is_option(kind, field.name) && due != 0)
			audit_time(e, "due", due);
		else if (value != NULL && is_option(kind, field.name))
			TRY(cli_manual_put(s, e, &field, value));
	}
	return OK;
}

static st fill(struct scope *s, const struct cli *c, const struct cli_kind *kind, int64_t due, struct audit_event *e,
	       char **out_reference)
{
	int64_t at = scope_now(s);
	const struct audit_row_field remarks = { SPAN_LITERAL("remarks"), AUDIT_TEXT, true };
	const char *stem = audit_row(kind->code)->name;
	if (cli_get(c, "at") != NULL)
		TRY(cli_manual_time(s, "at", cli_get(c, "at"), false, &at));
	audit_begin(e, s, kind->code);
	*out_reference = scope_printf(s, "%.*s-%s", (int)strcspn(stem, "."), stem, hex_text(s, span_of(e->id, 4)));
	audit_str(e, "reference", *out_reference);
	audit_str(e, "person", cli_get(c, "by"));
	audit_time(e, "at", at);
	TRY(put_fields(s, c, kind, due, e));
	if (cli_get(c, "remarks") != NULL)
		TRY(cli_manual_put(s, e, &remarks, cli_get(c, "remarks")));
	TRY(put_file(s, c, e));
	audit_str(e, "operator", cli_operator(s));
	return OK;
}

static st add(struct scope *s, struct cli *c)
{
	enum audit_code code = AUDIT_CODE_COUNT;
	char *reference, due_text[MOMENT_TEXT_MAX];
	int64_t due;
	AUTO_EVENT e = { 0 };
	(void)audit_row_named(span_str(c->command->verb + strlen("add ")), &code);
	const struct cli_kind *kind = cli_kind_of(code);
	TRY(cli_record_possible(s, c));
	TRY(deadline(s, c, kind, &due));
	TRY(fill(s, c, kind, due, &e, &reference));
	TRY(check_known(s, c, cli_get(c, "by")));
	TRY(check_references(s, c, kind));
	TRY(cli_record(s, c, reference, &e));
	json_t *said = json_pack("{s:s, s:s}", "reference", reference, "on record", audit_row(code)->name);
	if (due != 0)
		(void)json_object_set_new(said, "due", json_string(moment_text(due, due_text)));
	if (due != 0)
		(void)json_object_set_new(said, "to do", json_string(kind->why));
	return cli_print(s, c, said);
}
