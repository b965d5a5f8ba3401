#include "control_internal.h"
#include "digest.h"
#include "moment.h"
#include "pki_key.h"

/* ---- signatures ---- */

st control_verify(struct scope *s, const struct pki_key *key, span text, span signature)
{
	const struct alg_signature *algorithm = alg_signature_default(pki_key_type(key));
	return pki_key_verify(s, key, algorithm, text, signature);
}

/* ---- persons ---- */

static bool is_subject(const struct control_signed *o, span person)
{
	return o->proposal.operation->not_by_subject && span_equal(control_parameter(&o->proposal, "person", 0), person);
}

st control_check_role_held(struct scope *s, const struct control_person *p, enum control_role role, int64_t at)
{
	const char *name = control_role_row(role)->text;
	if (p->left)
		return fail(s, E_DENIED, "%s has left and approves nothing any more", p->id);
	if ((p->granted & UINT32_C(1) << role) == 0)
		return fail(s, E_DENIED, "%s is not %s", p->id, name);
	if ((control_roles_held(p, at) & UINT32_C(1) << role) == 0)
		return fail(s, E_DENIED,
			    "%s is %s, but the training is older than 12 months: the role is dormant until it is repeated "
			    "(practice statement 5.3.4)",
			    p->id, name);
	return OK;
}

static st check_time(struct scope *s, const struct control_signed *o, const struct control_approval *a, int64_t at)
{
	if (a->approved + CONTROL_CLOCK_SKEW < o->proposal.proposed || a->approved > at + CONTROL_CLOCK_SKEW ||
	    a->approved > o->proposal.expires)
		return fail(s, E_STATE, "%.*s approved at a time that is not between the proposal and now", (int)a->person.len,
			    (const char *)a->person.data);
	return OK;
}

st control_approval_check(struct scope *s, const struct control_register *r, const struct control_signed *o,
			  const struct control_approval *a, int64_t at)
{
	AUTO_BUF text;
	buf_init(&text, 0);
	const struct control_person *p = control_find_person(r, a->person);
	if (p == NULL)
		return fail(s, E_DENIED, "%.*s is not on the register", (int)a->person.len, (const char *)a->person.data);
	if (control_seat_of(&o->proposal, a->role) == NULL)
		return fail(s, E_DENIED, "%s approves as %s, who has no say in %s", p->id, control_role_row(a->role)->text,
			    o->proposal.operation->name);
	TRY(control_check_role_held(s, p, a->role, at));
	if (is_subject(o, a->person))
		return fail(s, E_DENIED, "%s cannot approve what %s is the subject of", p->id, p->id);
	TRY(control_crl_not_named(s, r, o, p, at));
	TRY(check_time(s, o, a, at));
	TRY(control_approval_text(s, &o->proposal, a, &text));
	return fail_context(s, control_verify(s, p->key, buf_span(&text), a->signature), "the approval of %s", p->id);
}

//= tsps#5.2.2 distinct natural persons
static st check_distinct(struct scope *s, const struct control_signed *o)
{
	for (size_t i = 0; i < o->count; i++)
		for (size_t k = 0; k < i; k++)
			if (span_equal(o->approval[i].person, o->approval[k].person))
				return fail(s, E_DENIED, "%.*s approves twice: every approval is another person's",
					    (int)o->approval[i].person.len, (const char *)o->approval[i].person.data);
	return OK;
}

static st check_seat(struct scope *s, const struct control_signed *o, const struct control_seat *seat, unsigned want,
		     const char *why)
{
	unsigned have = 0;
	for (size_t i = 0; i < o->count; i++)
		have += control_seat_of(&o->proposal, o->approval[i].role) == seat;
	return have >= want ? OK
			    : fail(s, E_DENIED, "%s needs %u approvals by %s%s, there are %u (%s)", o->proposal.operation->name,
				   want, control_roles_text(s, seat->roles), why, have, o->proposal.operation->clause);
}

//= control#late-crl one person more, of another group, where the list of the revoked is old
static st check_late(struct scope *s, const struct control_signed *o)
{
	const struct control_seat *late = control_late_seat(&o->proposal);
	return late == NULL ? OK
			    : check_seat(s, o, late, late->count, ", because the management CA's CRL is older than 24 hours");
}

/* The late one before the second: it has a say in whether those who hold shares are asked. */
static st check_quorum(struct scope *s, const struct control_register *r, const struct control_signed *o, size_t seats)
{
	const struct control_seat *seat = o->proposal.operation->seat;
	for (size_t i = 0; i < seats && seat[i].roles != 0; i++) {
		TRY(check_seat(s, o, &seat[i], seat[i].count == 0 ? r->quorum : seat[i].count, ""));
		if (i == 0)
			TRY(check_late(s, o));
	}
	return OK;
}

/* ---- all of it ---- */

static st check_proposal(struct scope *s, const struct control_register *r, const struct control_proposal *p,
			 const char *instance, int64_t at)
{
	if (!span_is(p->instance, instance))
		return fail(s, E_DENIED, "the proposal is for %.*s, this is %s", (int)p->instance.len,
			    (const char *)p->instance.data, instance);
	if (p->proposed > at + CONTROL_CLOCK_SKEW)
		return fail(s, E_STATE, "the proposal is of a time to come: compare the clocks");
	if (at >= p->expires)
		return fail(s, E_STATE, "the proposal has expired: propose anew");
	if (!control_register_was(r, p->entries, p->head))
		return fail(
			s, E_STATE,
			"the proposal was made on another register than the one here (%llu entries): bring the entries that "
			"are missing, or propose anew",
			(unsigned long long)r->entries);
	const struct control_person *proposer = control_find_person(r, p->proposed_by);
	if (proposer == NULL || proposer->left)
		return fail(s, E_DENIED, "%.*s, who is said to have proposed it, is not on the register",
			    (int)p->proposed_by.len, (const char *)p->proposed_by.data);
	return OK;
}

static st check(struct scope *s, const struct control_register *r, const struct control_signed *o, const char *instance,
		int64_t at, size_t seats)
{
	TRY(check_proposal(s, r, &o->proposal, instance, at));
	TRY(control_crl_check(s, r, o, at));
	TRY(check_distinct(s, o));
	for (size_t i = 0; i < o->count; i++)
		TRY(control_approval_check(s, r, o, &o->approval[i], at));
	return check_quorum(s, r, o, seats);
}

st control_check(struct scope *s, const struct control_register *r, const struct control_signed *o, const char *instance,
		 int64_t at)
{
	return check(s, r, o, instance, at, CONTROL_SEATS_MAX);
}

st control_check_opening(struct scope *s, const struct control_register *r, const struct control_signed *o,
			 const char *instance, int64_t at)
{
	return check(s, r, o, instance, at, 1);
}
