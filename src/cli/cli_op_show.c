/* `chancery op show`, `table`, `list`: what an operation asks for and who has approved, judged by the register as it is here. */
#include "audit_client.h"
#include "audit_record.h"
#include "cli_audit.h"
#include "cli_op.h"
#include "moment.h"
#include "text.h"

#define PAGE 256

const char *cli_op_seat_text(struct scope *s, const struct control_seat *seat, unsigned quorum)
{
	const char *roles = control_roles_text(s, seat->roles);
	unsigned count = seat->count == 0 ? quorum : seat->count;
	return count == 0 ? scope_printf(s, "the authority's quorum of: %s", roles)
			  : scope_printf(s, "%u of: %s", count, roles);
}

/* ---- show ---- */

static bool is_first(const struct control_signed *o, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (span_equal(o->approval[k].person, o->approval[i].person))
			return false;
	return true;
}

/* What is wrong with an approval; NULL when it counts. */
static const char *problem_of(struct scope *s, const struct control_register *r, const struct control_signed *o, size_t i)
{
	if (!is_first(o, i))
		return "NO: the same person again";
	st status = control_approval_check(s, r, o, &o->approval[i], scope_now(s));
	const char *problem = status.code == E_OK ? NULL : scope_printf(s, "NO: %s", s->message);
	scope_clear_error(s);
	return problem;
}

static json_t *approvals(struct scope *s, const struct cli *c, const struct control_register *r, const struct control_signed *o)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < o->count; i++) {
		const struct control_approval *a = &o->approval[i];
		const struct control_person *p = control_person_named(r, a->person);
		const char *problem = problem_of(s, r, o, i);
		char time[MOMENT_TEXT_MAX];
		(void)json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s}", "person", scope_cstr(s, a->person),
							    "name", p == NULL ? "-" : cli_person_name(s, c, p), "role",
							    control_role_row(a->role)->name, "approved",
							    moment_text(a->approved, time), "counts",
							    problem == NULL ? "yes" : problem));
	}
	return rows;
}

static json_t *seat_json(struct scope *s, const struct control_register *r, const struct control_signed *o,
			 const struct control_seat *seat)
{
	unsigned have = 0, want = seat->count == 0 ? control_register_quorum(r) : seat->count;
	for (size_t i = 0; i < o->count; i++)
		have += control_seat_of(&o->proposal, o->approval[i].role) == seat && problem_of(s, r, o, i) == NULL;
	return json_pack("{s:i, s:i, s:s}", "approved", (int)have, "empty", (int)(have < want ? want - have : 0), "seat",
			 cli_op_seat_text(s, seat, control_register_quorum(r)));
}

static json_t *seats(struct scope *s, const struct control_register *r, const struct control_signed *o)
{
	json_t *rows = json_array();
	const struct control_operation *operation = o->proposal.operation;
	for (size_t i = 0; i < CONTROL_SEATS_MAX && operation->seat[i].roles != 0; i++)
		(void)json_array_append_new(rows, seat_json(s, r, o, &operation->seat[i]));
	if (control_late_seat(&o->proposal) != NULL)
		(void)json_array_append_new(rows, seat_json(s, r, o, control_late_seat(&o->proposal)));
	return rows;
}

/* The same judgement that who carries it out will make, but for the nonce. */
static const char *verdict(struct scope *s, const struct cli *c, const struct control_register *r,
			   const struct control_signed *o)
{
	const char *instance = scope_cstr(s, o->proposal.instance), *missing, *file = c->argument[0];
	if (control_check(s, r, o, instance, scope_now(s)).code == E_OK)
		return scope_printf(s, "complete: chancery op execute %s", file);
	missing = scope_printf(s, "%s", s->message);
	scope_clear_error(s);
	bool opens = strcmp(o->proposal.operation->name, "group.activate") == 0 &&
		     control_check_opening(s, r, o, instance, scope_now(s)).code == E_OK;
	scope_clear_error(s);
	return opens ? scope_printf(s, "ready to be opened: chancery op open %s, then the shares of the custodians", file)
		     : scope_printf(s, "not yet: %s", missing);
}

static json_t *shown(struct scope *s, const struct cli *c, const struct control_register *r, const struct control_signed *o)
{
	char expires[MOMENT_TEXT_MAX];
	json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "operation", o->proposal.operation->name, "asks for",
				control_proposal_words(s, &o->proposal), "carried out by", scope_cstr(s, o->proposal.instance),
				"expires", moment_text(o->proposal.expires, expires), "SHA-256",
				hex_text(s, SPAN_ARRAY(o->proposal.hash)), "verdict", verdict(s, c, r, o));
	(void)json_object_set_new(out, "seats", seats(s, r, o));
	(void)json_object_set_new(out, "approvals", approvals(s, c, r, o));
	(void)json_object_set_new(out, "text that is approved", json_string(scope_cstr(s, o->proposal.text)));
	return out;
}

st cli_op_show(struct scope *s, struct cli *c)
{
	struct control_signed *o;
	AUTO(control_register) *r = NULL;
	TRY(cli_op_read(s, c->argument[0], &o));
	TRY(cli_register_look(s, c, &r));
	return cli_print(s, c, shown(s, c, r, o));
}

/* ---- table ---- */

static const char *parameters_text(struct scope *s, const struct control_operation *row)
{
	const char *text = "";
	for (size_t i = 0; i < CONTROL_PARAMETERS && row->parameter[i].name != NULL; i++) {
		enum control_presence presence = row->parameter[i].presence;
		text = scope_printf(s, "%s%s%s%s", text, i == 0 ? "" : ", ", row->parameter[i].name,
				    presence == CONTROL_ONCE       ? ""
				    : presence == CONTROL_OPTIONAL ? "?"
								   : "*");
	}
	return text;
}

static json_t *row_json(struct scope *s, const struct control_operation *row)
{
	const char *approved = "";
	for (size_t i = 0; i < CONTROL_SEATS_MAX && row->seat[i].roles != 0; i++)
		approved = scope_printf(s, "%s%s%s", approved, i == 0 ? "" : "; and ", cli_op_seat_text(s, &row->seat[i], 0));
	if (row->late.count > 0)
		approved = scope_printf(s, "%s; and, with a management CRL older than 24 hours, %s", approved,
					cli_op_seat_text(s, &row->late, 0));
	return json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "operation", row->name, "carried out by",
			 control_executor_text(row->executor), "parameters", parameters_text(s, row), "hours",
			 (json_int_t)(row->life / MOMENT_HOUR), "clause", row->clause, "approved by", approved);
}

st cli_op_table(struct scope *s, struct cli *c)
{
	const struct control_operation *row;
	if (c->argument_count > 0) {
		TRY(cli_op_named(s, c->argument[0], &row));
		return cli_print(s, c, row_json(s, row));
	}
	json_t *rows = json_array();
	for (size_t i = 0; (row = control_operation_at(i)) != NULL; i++)
		(void)json_array_append_new(rows, row_json(s, row));
	return cli_print(s, c, rows);
}

/* ---- list ---- */

struct listing {
	json_t *rows;
	bool refused; /* only those */
};

static const char *field(struct scope *s, const struct audit_record *r, const char *name)
{
	span text;
	st status = audit_field_text(s, r, name, &text);
	scope_clear_error(s);
	return status.code == E_OK ? scope_cstr(s, text) : "-";
}

static st add_leaf(struct scope *s, struct listing *l, const struct audit_leaf *leaf)
{
	struct audit_envelope e;
	char at[MOMENT_TEXT_MAX];
	TRY(audit_envelope_read(s, leaf->bytes, &e));
	bool refused = e.record.code == AUDIT_OPERATION_REFUSED, changed = e.record.code == AUDIT_REGISTER_CHANGED;
	if (l->refused && !refused)
		return OK;
	(void)json_array_append_new(l->rows, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "record", (json_int_t)leaf->index,
						       "time", moment_text(e.at, at), "outcome", e.record.row->name, "instance",
						       changed ? "register" : field(s, &e.record, "instance"), "operation",
						       field(s, &e.record, "operation"), "about",
						       field(s, &e.record, refused ? "reason" : "words")));
	return OK;
}

/* The newest, unless all are asked for. */
static st collect(struct scope *s, struct audit *log, struct listing *l, uint64_t limit)
{
	struct audit_leaf *leaf;
	size_t count;
	uint64_t total;
	TRY(audit_control_read(s, log, 0, 0, &leaf, &count, &total));
	for (uint64_t from = total > limit ? total - limit : 0; from < total; from += count) {
		AUTO_SCOPE page;
		scope_init(&page, NULL);
		st read = audit_control_read(&page, log, from, PAGE, &leaf, &count, &total);
		for (size_t i = 0; read.code == E_OK && i < count; i++)
			read = add_leaf(&page, l, &leaf[i]);
		if (read.code != E_OK)
			return fail(s, read.code, "%s", page.message);
		if (count == 0)
			break;
	}
	return OK;
}

st cli_op_list(struct scope *s, struct cli *c)
{
	uint64_t limit;
	const char *socket = NULL;
	struct audit *log;
	TRY(cli_get_number(s, c, "limit", 50, 1000000, &limit));
	TRY(cli_audit_socket(s, c, &socket));
	const struct audit_settings settings = { .socket = socket, .component = "cli" };
	TRY(audit_open(s, &settings, &log));
	AUTO(json_t) *rows = json_array();
	struct listing l = { .rows = rows, .refused = cli_get(c, "refused") != NULL };
	st collected = collect(s, log, &l, limit);
	audit_close(log);
	TRY(collected);
	return cli_print(s, c, TAKE(rows));
}
