#include "control_register.h"
#include "file.h"
#include "moment.h"
#include "text.h"
#include "token.h"

/* ---- shared with the custodian's share ---- */

st token_check_time(struct scope *s, const struct control_proposal *p, int64_t now)
{
	char text[MOMENT_TEXT_MAX];
	if (now >= p->expires)
		return fail(s, E_STATE, "the proposal expired at %s: have it proposed anew", moment_text(p->expires, text));
	if (p->proposed > now + CONTROL_CLOCK_SKEW)
		return fail(s, E_STATE,
			    "the proposal was made at %s, which is still to come by this machine's clock: set it right",
			    moment_text(p->proposed, text));
	return OK;
}

st token_show_approval(struct scope *s, const struct control_proposal *p, const struct control_approval *a)
{
	char until[MOMENT_TEXT_MAX];
	AUTO_BUF text;
	buf_init(&text, 0);
	TRY(control_approval_text(s, p, a, &text));
	token_show("\nYou are asked to approve:\n\n  %s\n\n", control_proposal_words(s, p));
	token_show("  proposed by     %.*s\n  carried out by  %.*s\n  until           %s\n  you approve as  %.*s, %s\n\n"
		   "The whole text that your token signs:\n",
		   (int)p->proposed_by.len, (const char *)p->proposed_by.data, (int)p->instance.len,
		   (const char *)p->instance.data, moment_text(p->expires, until), (int)a->person.len,
		   (const char *)a->person.data, control_role_row(a->role)->text);
	token_show_text(buf_span(&text));
	return OK;
}

st token_approve(struct scope *s, struct token *t, const struct control_proposal *p, struct control_approval *a)
{
	AUTO_BUF text;
	buf_init(&text, 0);
	TRY(control_approval_text(s, p, a, &text));
	return token_sign(s, t, buf_span(&text), &a->signature);
}

/* ---- the operation file ---- */

static st read_signed(struct scope *s, const char *path, struct control_signed *out)
{
	span file;
	TRY(fail_context(s, file_read(s, path, CONTROL_SIGNED_MAX, &file), "%s", path));
	return fail_context(s, control_signed_read(s, file, out), "%s", path);
}

/* The operation with the approvals so far: from its file when that is there, which must be of the same proposal, else from the proposal. */
static st read_operation(struct scope *s, const struct token *t, const char *path, struct control_signed *out)
{
	const char *proposal = token_get(t, "proposal");
	struct control_signed *had = scope_new(s, struct control_signed);
	if (proposal != NULL)
		TRY(read_signed(s, proposal, out));
	if (!file_exists(path))
		return proposal != NULL ? OK
					: fail(s, E_NOTFOUND, "%s is not there: name the proposal with --proposal FILE", path);
	TRY(read_signed(s, path, had));
	if (proposal != NULL && !span_equal(had->proposal.text, out->proposal.text))
		return fail(
			s, E_CONFLICT,
			"%s holds approvals of another proposal than %s: approvals belong to one text and cannot be moved; name "
			"another file with --operation, or approve the proposal that is in it",
			path, proposal);
	*out = *had;
	return OK;
}

static const char *operation_path(struct scope *s, const struct token *t)
{
	const char *given = token_get(t, "operation");
	return given != NULL ? given : scope_printf(s, "%s.operation", token_get(t, "proposal"));
}

/* ---- may this person approve it at all ---- */

static uint32_t roles_of(const struct control_proposal *p)
{
	const struct control_seat *late = control_late_seat(p);
	uint32_t roles = late == NULL ? 0 : late->roles;
	for (size_t i = 0; i < CONTROL_SEATS_MAX; i++)
		roles |= p->operation->seat[i].roles;
	return roles;
}

st token_check_seat(struct scope *s, const struct control_signed *o, const struct control_approval *a)
{
	const struct control_operation *operation = o->proposal.operation;
	if (control_seat_of(&o->proposal, a->role) == NULL)
		return fail(s, E_DENIED, "%s is not approved by a %s; it is by: %s", operation->name,
			    control_role_row(a->role)->name, control_roles_text(s, roles_of(&o->proposal)));
	if (operation->not_by_subject && span_equal(a->person, control_parameter(&o->proposal, "person", 0)))
		return fail(s, E_DENIED, "%s is about %.*s, who approves nothing of it", operation->name, (int)a->person.len,
			    (const char *)a->person.data);
	for (size_t i = 0; i < o->count; i++)
		if (span_equal(o->approval[i].person, a->person))
			return fail(s, E_CONFLICT, "%.*s has approved this already: every approval is another person's",
				    (int)a->person.len, (const char *)a->person.data);
	if (o->count == CONTROL_APPROVALS_MAX)
		return fail(s, E_LIMIT, "an operation has at most %d approvals", CONTROL_APPROVALS_MAX);
	return OK;
}

static st write_operation(struct scope *s, const char *path, const struct control_signed *o)
{
	AUTO_BUF file;
	buf_init(&file, 0);
	TRY(control_signed_write(s, o, &file));
	return fail_context(s, file_replace(s, path, buf_span(&file), 0644), "writing %s", path);
}

static st print_approval(struct scope *s, const struct token *t, const char *path, const struct control_signed *o,
			 const struct control_approval *a)
{
	char time[MOMENT_TEXT_MAX];
	const struct token_member members[] = {
		{ "operation", path },
		{ "proposal-sha256", hex_text(s, SPAN_ARRAY(o->proposal.hash)) },
		{ "person", scope_cstr(s, a->person) },
		{ "role", control_role_row(a->role)->name },
		{ "approved", moment_text(a->approved, time) },
		{ "approvals", scope_printf(s, "%zu", o->count) },
	};
	TRY(token_print(s, t, members, sizeof members / sizeof members[0]));
	token_show("Give %s to the next who approves, or to who carries it out (chancery op execute).\n", path);
	return OK;
}

/* One of the operations that are approved with one PIN. */
struct approving {
	const char *path;
	struct control_signed *operation;
	struct control_approval approval;
};

/* All that can be found wrong is found, and everything is shown, before a PIN is asked for. */
static st prepare(struct scope *s, struct token *t, const char *path, struct approving *out)
{
	struct control_approval *a = &out->approval;
	out->path = path;
	out->operation = scope_new(s, struct control_signed);
	a->approved = scope_now(s);
	TRY(token_person(s, t, &a->person));
	TRY(fail_context(s, control_role_named(s, span_str(token_get(t, "role")), &a->role), "--role %s",
			 token_get(t, "role")));
	TRY(read_operation(s, t, path, out->operation));
	TRY(token_check_time(s, &out->operation->proposal, a->approved));
	TRY(token_check_seat(s, out->operation, a));
	return token_show_approval(s, &out->operation->proposal, a);
}

static st approve_one(struct scope *s, struct token *t, struct approving *one)
{
	struct control_signed *o = one->operation;
	TRY(token_approve(s, t, &o->proposal, &one->approval));
	o->approval[o->count++] = one->approval;
	TRY(write_operation(s, one->path, o));
	return print_approval(s, t, one->path, o, &one->approval);
}

st token_run_approve(struct scope *s, struct token *t)
{
	struct approving *one = scope_alloc(s, TOKEN_OPERATIONS_MAX * sizeof *one);
	size_t count = 0;
	bool many = token_get_at(t, "operation", 1) != NULL;
	if (token_get(t, "proposal") == NULL && token_get(t, "operation") == NULL)
		return fail(s, E_INPUT,
			    "name what is to be approved: --proposal FILE, or --operation FILE when others have approved it. "
			    "Example: chancery-token %s",
			    t->command->example);
	if (many && token_get(t, "proposal") != NULL)
		return fail(s, E_INPUT, "--proposal goes with one operation");
	if (!many)
		TRY(prepare(s, t, operation_path(s, t), &one[count++]));
	for (const char *path; many && (path = token_get_at(t, "operation", count)) != NULL; count++) {
		if (count == TOKEN_OPERATIONS_MAX)
			return fail(s, E_LIMIT, "at most %d operations are approved at once", TOKEN_OPERATIONS_MAX);
		TRY(fail_context(s, prepare(s, t, path, &one[count]), "nothing was approved: %s", path));
	}
	TRY(token_open(s, t, many ? scope_printf(s, "to approve these %zu", count) : "to approve this"));
	for (size_t i = 0; i < count; i++)
		TRY(approve_one(s, t, &one[i]));
	return OK;
}
