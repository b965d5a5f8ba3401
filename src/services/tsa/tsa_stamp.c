#include "failpoint.h"
#include "log.h"
#include "tsa.h"

#define SERIAL_OCTETS 16

/* One request on its way. */
struct stamping {
	struct tsa *tsa;
	struct tsa_query *query;
	const struct tsa_unit *unit;
	struct pki_time_stamp_request request;
	enum pki_failure failure; /* what the rejection carries should it end here */
	uint8_t serial[SERIAL_OCTETS];
};

//= rfc3161#2.4.2 unacceptedPolicy when the policy asked for is not supported
static st choose_policy(struct scope *s, struct stamping *w, span *out)
{
	span wanted = w->request.policy.len > 0 ? w->request.policy : w->unit->policy[0];
	for (size_t i = 0; i < w->unit->policy_count; i++) {
		if (span_equal(w->unit->policy[i], wanted)) {
			*out = w->unit->policy[i];
			return OK;
		}
	}
	w->failure = PKI_UNACCEPTED_POLICY;
	return fail(s, E_INPUT, "this policy is not supported here (rfc3161#2.4.2)");
}

//= en319421#TIS-7.7.1-09 the unit stops by itself at the end of its key's life
static st check_unit(struct scope *s, struct stamping *w, int64_t now)
{
	w->failure = PKI_SYSTEM_FAILURE;
	if (__atomic_load_n(&w->tsa->broken, __ATOMIC_RELAXED))
		return fail(s, E_STATE, "the unit is stopped: a token of its own did not verify");
	if (now < w->unit->not_before || now >= w->unit->key_end)
		return fail(s, E_STATE, "the unit's key is past the end of its use (EN 319 421, TIS-7.7.1-09)");
	return OK;
}

/* No finer than milliseconds, which is what the accuracy is stated in. */
//= rfc3161#2.4.2 genTime carries no more fraction digits than are needed
static int64_t gen_time_of(int64_t now)
{
	return now - now % 1000;
}

/* See docs/decisions/0010-token-serials.md. */
//= rfc3161#2.4.2 the serial is unique for each token of the unit, over restarts as well
static span new_serial(struct scope *s, struct stamping *w)
{
	do
		scope_random(s, w->serial, sizeof w->serial);
	while (w->serial[0] == 0);
	return SPAN_ARRAY(w->serial);
}

static st describe(struct scope *s, struct stamping *w, struct pki_tst_info *out)
{
	int64_t now;
	w->failure = PKI_TIME_NOT_AVAILABLE;
	TRY(tsa_clock_now(s, w->tsa->clock, &now));
	TRY(check_unit(s, w, now));
	TRY(choose_policy(s, w, &out->policy));
	out->imprint = w->request.imprint;
	out->serial = new_serial(s, w);
	out->gen_time = gen_time_of(now);
	out->accuracy_ms = (uint32_t)(w->tsa->conf->accuracy / 1000);
	out->nonce = w->request.nonce;
	out->qualified = w->tsa->conf->qualified;
	return OK;
}

/* All that comes before the signature. */
static st prepare(struct scope *s, struct stamping *w, struct key_item *out)
{
	struct pki_tst_info info = { 0 };
	span tst_info, attributes;
	const struct tsa_unit *unit = w->unit;
	TRY(pki_time_stamp_request_read(s, w->query->request, &w->request, &w->failure));
	TRY(describe(s, w, &info));
	w->failure = PKI_SYSTEM_FAILURE;
	TRY(pki_tst_info_build(s, &info, &tst_info));
	TRY(pki_time_stamp_attributes(s, unit->algorithm->digest, tst_info, unit->certificate, &attributes));
	*out = (struct key_item){ .scope = s,
				  .label = w->tsa->conf->key,
				  .purpose = KEY_FOR_TIME_STAMP,
				  .algorithm = unit->algorithm,
				  .content = tst_info,
				  .signed_attributes = attributes };
	return OK;
}

/* keyd checks what it is to sign, has it on record, and signs; whatever it says, nothing leaves without its signature. */
static st signed_by_keyd(struct scope *s, struct stamping *w, const struct key_item *item)
{
	struct tsa *tsa = w->tsa;
	bool failing = item->outcome.code != E_OK;
	w->failure = item->outcome.code == E_CLOCK ? PKI_TIME_NOT_AVAILABLE : PKI_SYSTEM_FAILURE;
	if (__atomic_exchange_n(&tsa->keyd_failing, failing, __ATOMIC_RELAXED) == failing)
		return item->outcome;
	if (failing)
		log_failure(s, "no time-stamps: keyd does not sign");
	else
		log_put(LOG_LEVEL_NOTICE, "keyd signs again");
	return item->outcome;
}

static st verify(struct scope *s, const struct stamping *w, span der)
{
	struct pki_time_stamp_response read;
	TRY(pki_time_stamp_response_read(s, der, &read));
	TRY(pki_time_stamp_answers(s, &read, w->request.digest, w->request.hash, w->request.nonce));
	return pki_time_stamp_verify(s, &read, w->unit->certificate, w->unit->public);
}

/* The first after each start, and then one in so many. A token that does not verify stops the unit for good. */
static st verify_sample(struct scope *s, struct stamping *w, span der)
{
	uint64_t number = __atomic_fetch_add(&w->tsa->stamped, 1, __ATOMIC_RELAXED);
	if (number % (uint64_t)w->tsa->conf->verify_every != 0)
		return OK;
	st verified = verify(s, w, der);
	if (verified.code == E_OK)
		return OK;
	__atomic_store_n(&w->tsa->broken, true, __ATOMIC_RELAXED);
	log_failure(s, "NO MORE TIME-STAMPS: a token of this unit does not verify; check the HSM, then restart the tsa");
	return verified;
}

static st complete(struct scope *s, struct stamping *w, const struct key_item *item)
{
	const struct tsa_unit *unit = w->unit;
	span der;
	TRY(signed_by_keyd(s, w, item));
	TRY(pki_time_stamp_assemble(s, item->content, item->signed_attributes, unit->algorithm, item->signature,
				    unit->certificate, unit->chain, unit->chain_count, w->request.cert_req, &der));
	TRY(verify_sample(s, w, der));
	/* What was signed while the clock was being lost stays here. */
	int64_t ignored_now;
	w->failure = PKI_TIME_NOT_AVAILABLE;
	TRY(tsa_clock_now(s, w->tsa->clock, &ignored_now));
	w->query->answer = der;
	return OK;
}

/* What a stranger is told: the reason when the fault is the request's or the clock's, nothing of our inside otherwise. */
static const char *told(const struct scope *s, enum code code)
{
	bool plain = code == E_INPUT || code == E_CLOCK || code == E_STATE;
	return plain ? s->message : "the time-stamping authority cannot issue a token now; nothing was issued";
}

//= rfc3161#2.4.2 PKIFailureInfo
const char *tsa_failure_name(enum pki_failure failure)
{
	static const struct {
		enum pki_failure failure;
		const char *name;
	} names[] = {
		{ PKI_BAD_ALG, "badAlg" },
		{ PKI_BAD_REQUEST, "badRequest" },
		{ PKI_BAD_DATA_FORMAT, "badDataFormat" },
		{ PKI_TIME_NOT_AVAILABLE, "timeNotAvailable" },
		{ PKI_UNACCEPTED_POLICY, "unacceptedPolicy" },
		{ PKI_UNACCEPTED_EXTENSION, "unacceptedExtension" },
		{ PKI_ADD_INFO_NOT_AVAILABLE, "addInfoNotAvailable" },
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].failure == failure)
			return names[i].name;
	return "systemFailure";
}

void tsa_note_refusal(struct tsa *tsa, enum pki_failure failure, const char *reason)
{
	const struct audit_tally_field field[] = { { "failure", span_str(tsa_failure_name(failure)) },
						   { "reason", span_str(reason) } };
	metrics_count(&tsa->rejected[failure]);
	audit_tally_add(tsa->refused, AUDIT_TIME_STAMP_REFUSED, field, sizeof field / sizeof field[0]);
}

static st reject(struct scope *s, const struct stamping *w, enum code code)
{
	const char *text = scope_printf(s, "%s", told(s, code));
	tsa_note_refusal(w->tsa, w->failure, s->message);
	scope_clear_error(s);
	return pki_time_stamp_rejection(s, w->failure, text, &w->query->answer);
}

void tsa_answer(struct tsa *tsa, struct tsa_query *query, size_t count)
{
	struct stamping *w = scope_alloc(query[0].scope, count * sizeof *w);
	struct key_item *item = scope_alloc(query[0].scope, count * sizeof *item);
	const struct tsa_unit *unit = tsa_unit_now(tsa);
	size_t to_sign = 0, next = 0;
	for (size_t i = 0; i < count; i++) {
		w[i] = (struct stamping){ .tsa = tsa, .query = &query[i], .unit = unit, .failure = PKI_SYSTEM_FAILURE };
		query[i].ended = prepare(query[i].scope, &w[i], &item[to_sign]);
		to_sign += query[i].ended.code == E_OK;
	}
	key_sign_all(tsa->keyd, item, to_sign);
	FAILPOINT("tsa.signed");
	for (size_t i = 0; i < count; i++) {
		if (query[i].ended.code == E_OK)
			query[i].ended = complete(query[i].scope, &w[i], &item[next++]);
		if (query[i].ended.code != E_OK)
			query[i].ended = reject(query[i].scope, &w[i], query[i].ended.code);
	}
}
