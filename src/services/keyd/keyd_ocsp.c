/*
 * keyd_ocsp.c - OCSP ResponseData (rfc6960#4.2.1), on the way of every live answer: no allocation, one pass.
 */
#include "keyd_content.h"

/* producedAt and thisUpdate come from the responder's clock, which may run a little ahead of ours or have waited. */
#define CLOCK_TOLERANCE MOMENT_MINUTE

static void skip_cert_id(struct der_rd *d)
{
	struct der_rd id = der_enter(d, DER_SEQUENCE);
	(void)der_get(&id, DER_SEQUENCE);     /* hashAlgorithm */
	(void)der_get(&id, DER_OCTET_STRING); /* issuerNameHash */
	(void)der_get(&id, DER_OCTET_STRING); /* issuerKeyHash */
	(void)der_get_integer(&id);
	der_leave(d, &id);
}

static void skip_status(struct der_rd *d)
{
	if (der_next(d) != DER_CONTEXT_CONSTRUCTED(1)) {
		span empty = der_get(d, der_next(d) == DER_CONTEXT(2) ? DER_CONTEXT(2) : DER_CONTEXT(0));
		d->bad = d->bad || empty.len != 0;
		return;
	}
	struct der_rd revoked = der_enter(d, DER_CONTEXT_CONSTRUCTED(1));
	(void)der_get_generalized(&revoked, false);
	if (!der_at_end(&revoked)) {
		struct der_rd reason = der_enter(&revoked, DER_CONTEXT_CONSTRUCTED(0));
		(void)der_get_small(&reason, DER_ENUMERATED);
		der_leave(&revoked, &reason);
	}
	der_leave(d, &revoked);
}

static st check_dates(struct scope *s, const struct keyd_rules *rules, int64_t this_update, int64_t next_update)
{
	//= rfc6960#4.2.2.1 thisUpdate later than the local time makes a response unreliable
	if (this_update > rules->now + CLOCK_TOLERANCE)
		return fail(s, E_DENIED, "thisUpdate of an OCSP answer lies in the future (RFC 6960 4.2.2.1)");
	if (next_update == INT64_MAX)
		return rules->key->limits.validity_days == 0
			       ? OK
			       : fail(s, E_DENIED, "an OCSP answer without nextUpdate never ends, but key \"%s\" has a limit",
				      rules->key->label);
	return keyd_check_life(s, rules, this_update, next_update, "the OCSP answer");
}

static st check_single(struct scope *s, const struct keyd_rules *rules, struct der_rd *list)
{
	struct der_rd d = der_enter(list, DER_SEQUENCE);
	skip_cert_id(&d);
	skip_status(&d);
	int64_t this_update = der_get_generalized(&d, false);
	int64_t next_update = INT64_MAX;
	if (der_next(&d) == DER_CONTEXT_CONSTRUCTED(0)) {
		struct der_rd next = der_enter(&d, DER_CONTEXT_CONSTRUCTED(0));
		next_update = der_get_generalized(&next, false);
		der_leave(&d, &next);
	}
	(void)der_skip(&d, DER_CONTEXT_CONSTRUCTED(1)); /* singleExtensions */
	der_leave(list, &d);
	if (list->bad)
		return fail(s, E_INPUT, "a SingleResponse is malformed (RFC 6960 4.2.1)");
	return check_dates(s, rules, this_update, next_update);
}

//= rfc6960#4.2.2.3 the responder is named byKey: SHA-1 of the key that signs
static st check_responder(struct scope *s, const struct keyd_rules *rules, struct der_rd *d)
{
	struct der_rd by_key = der_enter(d, DER_CONTEXT_CONSTRUCTED(2));
	span hash = der_get(&by_key, DER_OCTET_STRING);
	der_leave(d, &by_key);
	if (d->bad)
		return fail(s, E_INPUT, "this is no ResponseData with a responder byKey (RFC 6960 4.2.1)");
	if (!span_equal(hash, rules->key_hash))
		return fail(s, E_DENIED, "the OCSP answer names another key as responder than \"%s\"", rules->key->label);
	return OK;
}

st keyd_check_ocsp(struct scope *s, const struct keyd_rules *rules, span tbs, struct keyd_found *out)
{
	struct der_rd outer = der_read(tbs);
	struct der_rd d = der_enter(&outer, DER_SEQUENCE);
	TRY(check_responder(s, rules, &d)); /* version is DEFAULT v1: left out */
	int64_t produced = der_get_generalized(&d, false);
	struct der_rd list = der_enter(&d, DER_SEQUENCE);
	if (d.bad || der_at_end(&list))
		return fail(s, E_INPUT, "an OCSP answer has producedAt and at least one response (RFC 6960 4.2.1)");
	while (!der_at_end(&list))
		TRY(check_single(s, rules, &list));
	der_leave(&d, &list);
	(void)der_skip(&d, DER_CONTEXT_CONSTRUCTED(1)); /* responseExtensions */
	der_leave(&outer, &d);
	TRY(der_done(s, &outer, "the ResponseData"));
	int64_t off = produced - rules->now;
	if (off > CLOCK_TOLERANCE || off < -CLOCK_TOLERANCE)
		return fail(s, E_DENIED, "producedAt of an OCSP answer is %lld s off keyd's clock; compare the clocks",
			    (long long)(off / MOMENT_SECOND));
	*out = (struct keyd_found){ 0 };
	return OK;
}
