/*
 * control_effect.c - what each operation of the register does to it, behind the approvals.
 */
#include "control_internal.h"
#include "control_records.h"
#include "moment.h"
#include "pki_certificate.h"
#include "pki_crl.h"
#include "pki_key.h"

static st find_present(struct scope *s, const struct control_register *r, const struct control_proposal *p,
		       struct control_person **out)
{
	span id = control_parameter(p, "person", 0);
	*out = control_find_person(r, id);
	if (*out == NULL)
		return fail(s, E_NOTFOUND, "%.*s is not on the register: person.enrol comes first", (int)id.len,
			    (const char *)id.data);
	if ((*out)->left)
		return fail(s, E_STATE, "%s has left; who comes back is enrolled anew under another name", (*out)->id);
	return OK;
}

static st check_past(struct scope *s, const struct control_proposal *p, const char *name, int64_t at)
{
	if (control_parameter_moment(p, name) > at + CONTROL_CLOCK_SKEW)
		return fail(s, E_INPUT, "%s is a time to come", name);
	return OK;
}

static st enrol(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	TRY(check_past(s, p, "screened", at));
	TRY(check_past(s, p, "trained", at));
	TRY(control_add_person(s, r, control_parameter(p, "person", 0), control_parameter_octets(s, p, "key"),
			       control_parameter_octets(s, p, "share-key")));
	struct control_person *person = &r->person[r->persons - 1];
	person->serial = scope_copy(&r->memory, control_parameter_octets(s, p, "certificate-serial"));
	memcpy(person->identity, control_parameter_octets(s, p, "identity").data, sizeof person->identity);
	person->screened = control_parameter_moment(p, "screened");
	person->trained = control_parameter_moment(p, "trained");
	return OK;
}

static st change_key(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	struct control_person *person;
	(void)at;
	TRY(find_present(s, r, p, &person));
	TRY(control_set_keys(s, r, person, control_parameter_octets(s, p, "key"), control_parameter_octets(s, p, "share-key")));
	person->serial = scope_copy(&r->memory, control_parameter_octets(s, p, "certificate-serial"));
	return OK;
}

static st train(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	struct control_person *person;
	int64_t trained = control_parameter_moment(p, "trained");
	TRY(find_present(s, r, p, &person));
	TRY(check_past(s, p, "trained", at));
	if (trained <= person->trained)
		return fail(s, E_CONFLICT, "a training that is not older than that is on the register");
	person->trained = trained;
	return OK;
}

static st leave(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	struct control_person *person;
	(void)at;
	TRY(find_present(s, r, p, &person));
	if ((person->granted & CONTROL_IS(AUTHORITY_MEMBER)) != 0)
		return fail(s, E_STATE, "%s is a member of the authority: authority.dismiss comes first", person->id);
	person->left = true;
	person->granted = 0;
	return OK;
}

static st decide(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	span decision = control_parameter(p, "decision", 0);
	(void)at;
	if (control_decision_taken(r, decision))
		return fail(s, E_CONFLICT, "decision %.*s is on the register already", (int)decision.len,
			    (const char *)decision.data);
	r->decision = heap_grow(r->decision, (r->decisions + 1) * sizeof *r->decision);
	r->decision[r->decisions++] = scope_copy(&r->memory, decision);
	return OK;
}

/* The role was checked when the proposal was read. */
static enum control_role role_of(struct scope *s, const struct control_proposal *p)
{
	enum control_role role = CONTROL_ROLE_COUNT;
	return control_role_named(s, control_parameter(p, "role", 0), &role).code == E_OK ? role : CONTROL_ROLE_COUNT;
}

static st check_ready(struct scope *s, const struct control_person *person, int64_t at)
{
	//= tsps#5.3.2 nobody serves in a trusted role before being screened
	if (person->screened == 0)
		return fail(s, E_DENIED, "%s was never screened (practice statement 5.3.2)", person->id);
	//= tsps#5.3.4 training at least every 12 months
	if (person->trained == 0 || at >= control_training_ends(person))
		return fail(
			s, E_DENIED,
			"the training of %s is older than 12 months (practice statement 5.3.4): person.training comes first",
			person->id);
	return OK;
}

static st grant(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	struct control_person *person;
	enum control_role role = role_of(s, p);
	span decision = control_parameter(p, "decision", 0);
	TRY(find_present(s, r, p, &person));
	if (!control_decision_taken(r, decision))
		return fail(s, E_NOTFOUND, "there is no decision %.*s of the authority: decision.take comes first",
			    (int)decision.len, (const char *)decision.data);
	TRY(check_ready(s, person, at));
	if ((person->granted & UINT32_C(1) << role) != 0)
		return fail(s, E_CONFLICT, "%s is %s already", person->id, control_role_row(role)->text);
	TRY(control_role_separate(s, person->granted, role));
	person->granted |= UINT32_C(1) << role;
	return OK;
}

static st revoke(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	struct control_person *person;
	enum control_role role = role_of(s, p);
	(void)at;
	TRY(find_present(s, r, p, &person));
	if ((person->granted & UINT32_C(1) << role) == 0)
		return fail(s, E_NOTFOUND, "%s is not %s", person->id, control_role_row(role)->text);
	person->granted &= ~(UINT32_C(1) << role);
	return OK;
}

static size_t members_but(const struct control_register *r, const struct control_person *person)
{
	size_t members = 0;
	for (size_t i = 0; i < r->persons; i++)
		members += &r->person[i] != person && (r->person[i].granted & CONTROL_IS(AUTHORITY_MEMBER)) != 0;
	return members;
}

static st set_quorum(struct scope *s, struct control_register *r, const struct control_proposal *p, size_t members)
{
	uint64_t quorum = control_parameter_number(p, "quorum", 0);
	//= tsps#5.2.2 critical operations need two persons at least
	if (quorum < 2 || quorum > members)
		return fail(s, E_INPUT, "a quorum of %llu of %zu members; two at least, and no more than there are",
			    (unsigned long long)quorum, members);
	r->quorum = (unsigned)quorum;
	return OK;
}

static st admit(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	struct control_person *person;
	(void)at;
	TRY(find_present(s, r, p, &person));
	if ((person->granted & CONTROL_IS(AUTHORITY_MEMBER)) != 0)
		return fail(s, E_CONFLICT, "%s is a member of the authority already", person->id);
	TRY(set_quorum(s, r, p, members_but(r, NULL) + 1));
	person->granted |= CONTROL_IS(AUTHORITY_MEMBER);
	return OK;
}

static st dismiss(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	struct control_person *person;
	(void)at;
	TRY(find_present(s, r, p, &person));
	if ((person->granted & CONTROL_IS(AUTHORITY_MEMBER)) == 0)
		return fail(s, E_NOTFOUND, "%s is no member of the authority", person->id);
	TRY(set_quorum(s, r, p, members_but(r, person)));
	person->granted &= ~CONTROL_IS(AUTHORITY_MEMBER);
	return OK;
}

/* Where its key is: what the exception for old CRLs is about. */
static st read_holders(struct scope *s, const struct control_register *r, const struct control_proposal *p, size_t *out_count)
{
	span name;
	*out_count = 0;
	for (; (name = control_parameter(p, "holder", *out_count)).len > 0; (*out_count)++) {
		const struct control_instance *i = control_instance_named(r, name);
		if (i == NULL || i->retired)
			return fail(s, E_NOTFOUND, "there is no instance %.*s, or it is retired", (int)name.len,
				    (const char *)name.data);
		if (*out_count == CONTROL_HOLDERS_MAX)
			return fail(s, E_LIMIT, "a key group has at most %d holders", CONTROL_HOLDERS_MAX);
	}
	if ((*out_count > 0) != (control_parameter(p, "group", 0).len > 0))
		return fail(s, E_INPUT,
			    "the key group of the management CA's key and the keyd that holds it are named together");
	return OK;
}

//= control#late-crl whoever is to say who is revoked has said it once: else nothing could be approved any more
static st read_first_crl(struct scope *s, const struct control_proposal *p, const struct pki_certificate *certificate,
			 const struct pki_key *key, int64_t at, struct pki_crl *out)
{
	TRY(fail_context(s, control_crl_read(s, key, certificate->subject, control_parameter_octets(s, p, "crl"), out),
			 "the CRL that shows that this CA can issue one"));
	if (out->this_update > at + CONTROL_CLOCK_SKEW || at - out->this_update > CONTROL_CRL_AGE)
		return fail(s, E_STATE,
			    "the CRL that shows that this CA can issue one is not of the last 24 hours: propose anew");
	return OK;
}

static void take_management(struct control_register *r, const struct control_proposal *p,
			    const struct pki_certificate *certificate, struct pki_key *key, size_t holders)
{
	if (!span_equal(certificate->spki, r->management_spki))
		r->crl_number = r->crl_newest = 0; /* another CA counts anew */
	pki_key_free(r->management_key);
	r->management_key = key;
	r->management_name = scope_copy(&r->memory, certificate->subject);
	r->management_spki = scope_copy(&r->memory, certificate->spki);
	r->management_group = scope_copy(&r->memory, control_parameter(p, "group", 0));
	r->holders = holders;
	for (size_t i = 0; i < holders; i++)
		r->holder[i] = scope_copy(&r->memory, control_parameter(p, "holder", i));
}

static st set_management(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	struct pki_certificate certificate;
	struct pki_crl crl;
	struct pki_key *key;
	size_t holders;
	TRY(read_holders(s, r, p, &holders));
	TRY(fail_context(s, pki_certificate_read(s, control_parameter_octets(s, p, "certificate"), &certificate),
			 "the management CA's certificate"));
	if (at < certificate.not_before || at > certificate.not_after)
		return fail(s, E_STATE, "the management CA's certificate is not valid now");
	TRY(pki_key_new_checked(s, certificate.spki, &key));
	st status = read_first_crl(s, p, &certificate, key, at, &crl);
	if (status.code != E_OK) {
		pki_key_free(key);
		return status;
	}
	take_management(r, p, &certificate, key, holders);
	control_crl_came(r, crl.number, at);
	control_keep_newest(r, &crl, control_parameter_octets(s, p, "crl"));
	return OK;
}

static st enrol_instance(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	(void)at;
	return control_add_instance(s, r, control_parameter(p, "name", 0), control_parameter_octets(s, p, "key"));
}

static st retire_instance(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	span name = control_parameter(p, "name", 0);
	(void)at;
	for (size_t i = 0; i < r->instances; i++)
		if (span_is(name, r->instance[i].name) && !r->instance[i].retired) {
			r->instance[i].retired = true;
			return OK;
		}
	return fail(s, E_NOTFOUND, "there is no instance %.*s, or it is retired", (int)name.len, (const char *)name.data);
}

//= en319421#OVR-7.12-01 records of time-stamps are kept as the provider states, and a year beyond the certificate of the unit
static st check_stamps_kept(struct scope *s, const struct control_proposal *p)
{
	uint64_t years = control_parameter_number(p, "stamps-kept", CONTROL_STAMPS_KEPT_LEAST);
	if (years < CONTROL_STAMPS_KEPT_LEAST || years > CONTROL_STAMPS_KEPT_MOST)
		return fail(s, E_DENIED,
			    "records of time-stamps are kept %d to %d years: a year longer than the certificate of any unit",
			    CONTROL_STAMPS_KEPT_LEAST, CONTROL_STAMPS_KEPT_MOST);
	if (control_parameter(p, "stamps-kept", 0).len > 0 && control_parameter_moment(p, "kept-until") == 0)
		return fail(s, E_INPUT, "stamps-kept goes with kept-until: an erasure does not ask how long anything is kept");
	return OK;
}

/* The log is no part of the register: whoever holds a copy of it removes what an entry names, and nothing else. */
static st purge(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	struct control_range *range;
	size_t count;
	span decision = control_parameter(p, "decision", 0);
	uint64_t size = control_parameter_number(p, "size", 0);
	if (!control_decision_taken(r, decision))
		return fail(s, E_NOTFOUND, "there is no decision %.*s of the authority: decision.take comes first",
			    (int)decision.len, (const char *)decision.data);
	//= tsps#5.4.3 what has not been kept long enough is not removed for that reason
	TRY(check_past(s, p, "kept-until", at));
	TRY(check_stamps_kept(s, p));
	TRY(control_records_read(s, control_parameter(p, "records", 0), &range, &count));
	if (control_records_count(range, count) != control_parameter_number(p, "count", 0))
		return fail(s, E_INPUT, "the records named are not so many as count says");
	if (range[count - 1].last >= size)
		return fail(s, E_INPUT, "record %llu is not among the %llu of the checkpoint that is named",
			    (unsigned long long)range[count - 1].last, (unsigned long long)size);
	return OK;
}

static const struct effect {
	const char *operation;
	st (*apply)(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at);
} effects[] = {
	{ "person.enrol", enrol },
	{ "person.key", change_key },
	{ "person.training", train },
	{ "person.leave", leave },
	{ "decision.take", decide },
	{ "role.grant", grant },
	{ "role.revoke", revoke },
	{ "authority.admit", admit },
	{ "authority.dismiss", dismiss },
	{ "management.certificate", set_management },
	{ "instance.enrol", enrol_instance },
	{ "instance.retire", retire_instance },
	{ "log.purge", purge },
};

st control_effect(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at)
{
	for (size_t i = 0; i < sizeof effects / sizeof effects[0]; i++)
		if (strcmp(effects[i].operation, p->operation->name) == 0)
			return effects[i].apply(s, r, p, at);
	return fail(s, E_BUG, "%s has no effect on the register", p->operation->name);
}
