/*
 * control_crl.c - the management CA's CRL, which goes with every operation and says whose certificate is revoked. It is of the last 24
 * hours; but one that old is taken for the activation of the group that holds the management CA's own key, because without that no other
 * could be made: when it is the newest on record, the proposal says how old it is, and one person more approves.
 */
#include "control_internal.h"
#include "digest.h"
#include "log.h"
#include "pki_crl.h"
#include "pki_key.h"

/* ---- whose it is ---- */

static st crl_algorithm(struct scope *s, const struct pki_crl *crl, const struct alg_signature **out)
{
	*out = alg_signature_of_identifier(crl->signature_identifier);
	return *out != NULL ? OK
			    : fail(s, E_CRYPTO, "the management CA's CRL is signed with an algorithm that is not known here");
}

st control_crl_read(struct scope *s, const struct pki_key *key, span name, span der, struct pki_crl *out)
{
	const struct alg_signature *algorithm;
	if (der.len > CONTROL_CRL_MAX)
		return fail(s, E_LIMIT, "a management CRL has at most %u octets here", CONTROL_CRL_MAX);
	TRY(pki_crl_read(s, der, out));
	TRY(crl_algorithm(s, out, &algorithm));
	if (!span_equal(out->issuer, name))
		return fail(s, E_CRYPTO, "the CRL is not the management CA's");
	return fail_context(s, pki_key_verify(s, key, algorithm, out->tbs, out->signature), "the management CA's CRL");
}

void control_keep_newest(struct control_register *r, const struct pki_crl *crl, span der)
{
	if (crl->number < r->crl_newest)
		return;
	r->crl_newest = crl->number;
	r->newest_of = crl->this_update;
	buf_clear(&r->newest);
	if (!buf_append(&r->newest, der))
		log_die("a management CRL does not fit its buffer");
}

st control_register_crl_on_record(struct scope *s, struct control_register *r, span der)
{
	struct pki_crl crl;
	if (r->management_key == NULL)
		return fail(s, E_STATE, "there is no management CA on the register yet");
	TRY(control_crl_read(s, r->management_key, r->management_name, der, &crl));
	control_keep_newest(r, &crl, der);
	return OK;
}

/* ---- none that is older than one that was seen ---- */

void control_crl_came(struct control_register *r, uint64_t number, int64_t at)
{
	if (number <= r->crl_number)
		return;
	r->crl_number = number;
	r->crl_came = at;
}

/* What was done off line is judged as of its own time, behind what came into the log meanwhile. */
//= control#crl an operation is judged by what could be known when it was carried out
static bool was_known(int64_t known, int64_t at)
{
	return known <= at + CONTROL_CLOCK_SKEW;
}

static bool is_issuer(const struct control_register *r, const struct control_seen *seen, uint8_t out_hash[CONTROL_HASH_LEN])
{
	uint8_t room[DIGEST_MAX];
	memcpy(out_hash, digest_of(DIGEST_SHA256, r->management_spki, room).data, CONTROL_HASH_LEN);
	return memcmp(out_hash, seen->issuer, CONTROL_HASH_LEN) == 0;
}

uint64_t control_crl_lowest(const struct control_register *r, const struct control_seen *seen)
{
	uint8_t hash[CONTROL_HASH_LEN];
	return is_issuer(r, seen, hash) && seen->number > r->crl_number ? seen->number : r->crl_number;
}

static st check_number(struct scope *s, const struct control_proposal *p, uint64_t lowest)
{
	if (p->crl_number >= lowest)
		return OK;
	return fail(s, E_STATE, "CRL %llu of the management CA is older than CRL %llu, which was seen here: propose anew",
		    (unsigned long long)p->crl_number, (unsigned long long)lowest);
}

st control_seen_check(struct scope *s, const struct control_register *r, const struct control_proposal *p,
		      const struct control_seen *seen)
{
	return p->has_crl ? check_number(s, p, control_crl_lowest(r, seen)) : OK;
}

void control_seen_note(const struct control_register *r, const struct control_proposal *p, struct control_seen *seen)
{
	uint8_t hash[CONTROL_HASH_LEN];
	if (!p->has_crl)
		return;
	if (!is_issuer(r, seen, hash) || p->crl_number > seen->number)
		seen->number = p->crl_number;
	memcpy(seen->issuer, hash, sizeof seen->issuer);
}

/* ---- the one that goes with an operation ---- */

static st check_named(struct scope *s, const struct control_register *r, const struct control_signed *o, int64_t at)
{
	uint8_t hash[DIGEST_MAX];
	const struct control_proposal *p = &o->proposal;
	if (!p->has_crl || o->crl.len == 0)
		return fail(s, E_STATE,
			    "the proposal comes without the management CA's CRL, which says whose certificate is "
			    "revoked: propose anew with it");
	if (was_known(r->crl_came, at))
		TRY(check_number(s, p, r->crl_number));
	if (!span_equal(digest_of(DIGEST_SHA256, o->crl, hash), SPAN_ARRAY(p->crl_hash)))
		return fail(s, E_CRYPTO, "the CRL that comes with the proposal is not the one that it names");
	return OK;
}

bool control_takes_old_crl(const struct control_register *r, const struct control_proposal *p)
{
	if (p->operation->late.count == 0 || r->management_group.len == 0 ||
	    !span_equal(control_parameter(p, "group", 0), r->management_group))
		return false;
	for (size_t i = 0; i < r->holders; i++)
		if (span_equal(p->instance, r->holder[i]))
			return true;
	return false;
}

static st refuse_old(struct scope *s, const struct control_register *r)
{
	if (r->management_group.len == 0)
		return fail(s, E_STATE,
			    "the management CA's CRL is not of the last 24 hours: have one issued and propose anew");
	return fail(
		s, E_STATE,
		"the management CA's CRL is not of the last 24 hours: have one issued and propose anew; while its key is locked, only "
		"group.activate of %.*s at %.*s is carried out with an older one",
		(int)r->management_group.len, (const char *)r->management_group.data, (int)r->holder[0].len,
		(const char *)r->holder[0].data);
}

//= control#late-crl the newest on record, said to be old in what people sign
static st check_old(struct scope *s, const struct control_register *r, const struct control_proposal *p,
		    const struct pki_crl *crl, int64_t at)
{
	if (!control_takes_old_crl(r, p))
		return refuse_old(s, r);
	if (control_proposal_old_crl(p) != crl->this_update)
		return fail(
			s, E_STATE,
			"the management CA's CRL is older than 24 hours, and the proposal does not say of when it is: propose anew");
	if (crl->number < r->crl_newest && was_known(r->newest_of, at))
		return fail(
			s, E_STATE,
			"CRL %llu of the management CA is old and not the newest: CRL %llu is on record; propose anew with that",
			(unsigned long long)crl->number, (unsigned long long)r->crl_newest);
	return OK;
}

//= control#crl a management CRL no older than 24 h goes with every operation
static st check_age(struct scope *s, const struct control_register *r, const struct control_proposal *p,
		    const struct pki_crl *crl, int64_t at)
{
	if (crl->this_update > at + CONTROL_CLOCK_SKEW)
		return fail(s, E_STATE, "the management CA's CRL is of a time to come: compare the clocks");
	if (at - crl->this_update > CONTROL_CRL_AGE)
		return check_old(s, r, p, crl, at);
	if (control_proposal_old_crl(p) != 0)
		return fail(
			s, E_STATE,
			"the proposal says that the management CA's CRL is older than 24 hours, and it is not: propose anew");
	return OK;
}

st control_crl_check(struct scope *s, const struct control_register *r, const struct control_signed *o, int64_t at)
{
	struct pki_crl crl;
	const struct control_proposal *p = &o->proposal;
	if (r->management_key == NULL && (p->has_crl || control_proposal_old_crl(p) != 0))
		return fail(s, E_STATE, "there is no management CA on the register yet, so no CRL can be named: propose anew");
	if (r->management_key == NULL)
		return OK;
	TRY(check_named(s, r, o, at));
	TRY(fail_context(s, control_crl_read(s, r->management_key, r->management_name, o->crl, &crl),
			 "what comes with the proposal"));
	if (crl.number != p->crl_number)
		return fail(s, E_INPUT, "the CRL has number %llu, the proposal names %llu", (unsigned long long)crl.number,
			    (unsigned long long)p->crl_number);
	return check_age(s, r, p, &crl, at);
}

static st find_on(struct scope *s, span crl, const struct control_person *p)
{
	struct pki_crl_entry entry;
	bool found = false;
	if (crl.len == 0 || p->serial.len == 0)
		return OK;
	TRY(pki_crl_find(s, crl, p->serial, &found, &entry));
	return found ? fail(s, E_DENIED, "the certificate of %s is revoked", p->id) : OK;
}

st control_newest_not_naming(struct scope *s, const struct control_register *r, const struct control_person *p, int64_t at)
{
	return was_known(r->newest_of, at) ? find_on(s, buf_span(&r->newest), p) : OK;
}

//= control#crl who is revoked since the proposal was made approves nothing of it either
st control_crl_not_named(struct scope *s, const struct control_register *r, const struct control_signed *o,
			 const struct control_person *p, int64_t at)
{
	TRY(find_on(s, o->crl, p));
	return control_newest_not_naming(s, r, p, at);
}
