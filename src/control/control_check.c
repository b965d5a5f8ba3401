#include "control_internal.h"
#include "digest.h"
#include "moment.h"
#include "pki_crl.h"
#include "pki_key.h"
#include "text.h"

/* ---- signatures ---- */

st control_verify(struct scope *s, const struct pki_key *key, span text, span signature)
{
	const struct alg_signature *algorithm = alg_signature_default(pki_key_type(key));
	return pki_key_verify(s, key, algorithm, text, signature);
}

/* ---- the management CA's CRL ---- */

static st crl_algorithm(struct scope *s, const struct pki_crl *crl, const struct alg_signature **out)
{
	*out = alg_signature_of_identifier(crl->signature_identifier);
	return *out != NULL ? OK
			    : fail(s, E_CRYPTO, "the management CA's CRL is signed with an algorithm that is not known here");
}

static st check_crl_named(struct scope *s, const struct control_register *r, const struct control_signed *o)
{
	uint8_t hash[DIGEST_MAX];
	const struct control_proposal *p = &o->proposal;
	if (r->management_key == NULL && p->has_crl)
		return fail(s, E_STATE, "there is no management CA on the register yet, so no CRL can be named: propose anew");
	if (r->management_key == NULL)
		return OK;
	if (!p->has_crl || o->crl.len == 0)
		return fail(s, E_STATE,
			    "the proposal comes without the management CA's CRL, which says whose certificate is "
			    "revoked: propose anew with it");
	if (p->crl_number < r->crl_number)
		return fail(s, E_STATE,
			    "CRL %llu of the management CA is older than CRL %llu, which was seen here: propose anew",
			    (unsigned long long)p->crl_number, (unsigned long long)r->crl_number);
	if (!span_equal(digest_of(DIGEST_SHA256, o->crl, hash), SPAN_ARRAY(p->crl_hash)))
		return fail(s, E_CRYPTO, "the CRL that comes with the proposal is not the one that it names");
	return OK;
}

//= control#crl a management CRL no older than 24 h goes with every operation
st control_crl_check(struct scope *s, const struct control_register *r, const struct control_signed *o, int64_t at)
{
	struct pki_crl crl;
	const struct alg_signature *algorithm;
	TRY(check_crl_named(s, r, o));
	if (r->management_key == NULL)
		return OK;
	TRY(pki_crl_read(s, o->crl, &crl));
	TRY(crl_algorithm(s, &crl, &algorithm));
	if (!span_equal(crl.issuer, r->management_name))
		return fail(s, E_CRYPTO, "the CRL that comes with the proposal is not the management CA's");
	TRY(fail_context(s, pki_key_verify(s, r->management_key, algorithm, crl.tbs, crl.signature),
			 "the management CA's CRL"));
	if (crl.number != o->proposal.crl_number)
		return fail(s, E_INPUT, "the CRL has number %llu, the proposal names %llu", (unsigned long long)crl.number,
			    (unsigned long long)o->proposal.crl_number);
	if (crl.this_update > at + CONTROL_CLOCK_SKEW || at - crl.this_update > CONTROL_CRL_AGE)
		return fail(s, E_STATE,
			    "the management CA's CRL is not of the last 24 hours: have one issued and propose anew");
	return OK;
}

static st check_not_revoked(struct scope *s, const struct control_signed *o, const struct control_person *p)
{
	struct pki_crl_entry entry;
	bool found = false;
	if (o->crl.len == 0 || p->serial.len == 0)
		return OK;
	TRY(pki_crl_find(s, o->crl, p->serial, &found, &entry));
	if (found)
		return fail(s, E_DENIED, "the certificate of %s is revoked", p->id);
	return OK;
}

/* ---- persons ---- */

static bool is_subject(const struct control_signed *o, span person)
{
	return o->proposal.operation->not_by_subject && span_equal(control_parameter(&o->proposal, "person", 0), person);
}

static st check_role_held(struct scope *s, const struct control_person *p, const struct control_approval *a, int64_t at)
{
	const char *role = control_role_row(a->role)->text;
	if (p->left)
		return fail(s, E_DENIED, "%s has left and approves nothing any more", p->id);
	if ((p->granted & UINT32_C(1) << a->role) == 0)
		return fail(s, E_DENIED, "%s is not %s", p->id, role);
	if ((control_roles_held(p, at) & UINT32_C(1) << a->role) == 0)
		return fail(s, E_DENIED,
			    "%s is %s, but the training is older than 12 months: the role is dormant until it is repeated "
			    "(practice statement 5.3.4)",
			    p->id, role);
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
	if (control_seat_of(o->proposal.operation, a->role) == NULL)
		return fail(s, E_DENIED, "%s approves as %s, who has no say in %s", p->id, control_role_row(a->role)->text,
			    o->proposal.operation->name);
	TRY(check_role_held(s, p, a, at));
	if (is_subject(o, a->person))
		return fail(s, E_DENIED, "%s cannot approve what %s is the subject of", p->id, p->id);
	TRY(check_not_revoked(s, o, p));
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

static st check_quorum(struct scope *s, const struct control_register *r, const struct control_signed *o, size_t seats)
{
	for (size_t i = 0; i < seats && o->proposal.operation->seat[i].roles != 0; i++) {
		const struct control_seat *seat = &o->proposal.operation->seat[i];
		unsigned have = 0, want = seat->count == 0 ? r->quorum : seat->count;
		for (size_t k = 0; k < o->count; k++)
			have += control_seat_of(o->proposal.operation, o->approval[k].role) == seat;
		if (have < want)
			return fail(s, E_DENIED, "%s needs %u approvals by %s, there are %u (%s)", o->proposal.operation->name,
				    want, control_roles_text(s, seat->roles), have, o->proposal.operation->clause);
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
