#include "control_internal.h"
#include "moment.h"
#include "text.h"
#include <stdio.h>

static bool cut_word(span *rest, span *out)
{
	const uint8_t *space = rest->len == 0 ? NULL : memchr(rest->data, ' ', rest->len);
	*out = space == NULL ? *rest : span_of(rest->data, (size_t)(space - rest->data));
	*rest = span_from(*rest, out->len + 1);
	return out->len > 0;
}

/* "PERSON ROLE TIME BASE64" */
static st parse_approval(struct scope *s, span value, struct control_approval *out)
{
	span person, role, time;
	char again[MOMENT_TEXT_MAX];
	if (!cut_word(&value, &person) || !cut_word(&value, &role) || !cut_word(&value, &time) || value.len == 0)
		return fail(s, E_INPUT, "an approval is person, role, time and signature");
	if (control_id_problem(person) != NULL)
		return fail(s, E_INPUT, "a person's name %s", control_id_problem(person));
	out->person = person;
	TRY(control_role_named(s, role, &out->role));
	TRY(moment_parse(s, time, &out->approved));
	if (!span_is(time, moment_text(out->approved, again)))
		return fail(s, E_INPUT, "a time is written with six digits behind the second, in UTC");
	return base64_parse(s, value, &out->signature);
}

void control_get_approval(struct control_rd *r, struct scope *s, struct control_approval *out)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	span value = control_get(r, "approval");
	if (r->problem[0] == 0 && parse_approval(&aside, value, out).code != E_OK)
		control_refuse(r, "(approval): %s", aside.message);
	if (r->problem[0] == 0)
		out->signature = scope_copy(s, out->signature);
}

static void read_approvals(struct scope *s, struct control_rd *r, struct control_signed *o)
{
	while (control_next_is(r, "approval") && o->count < CONTROL_APPROVALS_MAX)
		control_get_approval(r, s, &o->approval[o->count++]);
	if (control_next_is(r, "approval")) {
		(void)control_get(r, "approval");
		control_refuse(r, "is more than the %d approvals that an operation may have", CONTROL_APPROVALS_MAX);
	}
}

st control_signed_read(struct scope *s, span file, struct control_signed *out)
{
	span text = file, behind = { 0 };
	if (file.len > CONTROL_SIGNED_MAX)
		return fail(s, E_LIMIT, "an operation with its approvals is at most %d octets", CONTROL_SIGNED_MAX);
	(void)control_cut(file, &text, &behind);
	out->count = 0;
	out->crl = (span){ 0 };
	TRY(control_proposal_read(s, text, &out->proposal));
	struct control_rd r = { .rest = behind, .line = 1, .what = "behind the proposal" };
	read_approvals(s, &r, out);
	if (control_next_is(&r, "crl"))
		out->crl = control_get_base64(&r, s, "crl");
	return control_end(s, &r);
}

void control_put_approval(struct control_wr *w, struct scope *s, const struct control_approval *a)
{
	char time[MOMENT_TEXT_MAX];
	control_put_str(w, "approval",
			scope_printf(s, "%.*s %s %s %s", (int)a->person.len, (const char *)a->person.data,
				     control_role_row(a->role)->name, moment_text(a->approved, time),
				     base64_text(s, a->signature)));
}

st control_signed_write(struct scope *s, const struct control_signed *o, struct buf *out)
{
	out->cap = CONTROL_SIGNED_MAX;
	struct control_wr w = { .out = out };
	w.bad = !buf_append(out, o->proposal.text) || !buf_append(out, SPAN_LITERAL("\n"));
	for (size_t i = 0; i < o->count; i++)
		control_put_approval(&w, s, &o->approval[i]);
	if (o->crl.len > 0)
		control_put_base64(&w, "crl", o->crl);
	return control_written(s, &w);
}

st control_approval_text(struct scope *s, const struct control_proposal *p, const struct control_approval *a, struct buf *out)
{
	struct control_wr w = control_write(out, "approval");
	control_put(&w, "person", a->person);
	control_put_str(&w, "role", control_role_row(a->role)->name);
	control_put_moment(&w, "approved", a->approved);
	control_put_hex(&w, "proposal", SPAN_ARRAY(p->hash));
	TRY(control_written(s, &w));
	out->cap = CONTROL_TEXT_MAX + 1024;
	if (!buf_append(out, SPAN_LITERAL("\n")) || !buf_append(out, p->text))
		return fail(s, E_LIMIT, "a proposal is at most %d octets", CONTROL_TEXT_MAX);
	return OK;
}

const char *control_approvers_text(struct scope *s, const struct control_signed *o)
{
	const char *text = o->proposal.operation->name;
	for (size_t i = 0; i < o->count; i++)
		text = scope_printf(s, "%s%s%.*s", text, i == 0 ? " by " : ", ", (int)o->approval[i].person.len,
				    (const char *)o->approval[i].person.data);
	return text;
}
