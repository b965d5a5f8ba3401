/*
 * keyd_sign.c - the way of what is to be signed: admitted, read, hashed, on record, signed. In this order, for every kind of content, and
 * for all items of a frame together: one wait for the disk.
 */
#include "keyd.h"
#include "keyd_signers.h"
#include "failpoint.h"
#include "log.h"
#include "text.h"

/* More would not fit into a record with its base64. */
#define CONTENT_IN_RECORD_MAX    40000u
#define REFUSAL_RECORDS_A_SECOND 5

/* One item on its way. */
struct signing {
	struct keyd_key *key;
	struct hsm_key *hsm;
	bool begun; /* in flight, until keyd_life_end */
	const struct purpose_row *row;
	const struct key_sign_item *item;
	struct keyd_found found;
	span digest; /* that is signed; for Ed25519 the message itself */
	uint8_t digest_room[DIGEST_MAX];
	struct audit_event event;
	struct key_sign_outcome *outcome;
	/* Of who makes the signature: */
	struct scope aside;
	span signature;
	st made;
};

static void describe_certificate(struct audit_event *e, const struct signing *g)
{
	audit_hex(e, "issuer_key", SPAN_ARRAY(g->key->key_hash));
	audit_hex(e, "serial", g->found.serial);
	audit_time(e, "not_after", g->found.not_after);
	audit_base64(e, "tbs", g->item->content);
}

static void describe_crl(struct audit_event *e, const struct signing *g)
{
	audit_hex(e, "issuer_key", SPAN_ARRAY(g->key->key_hash));
	audit_number(e, "number", g->found.number);
	audit_number(e, "entries", (int64_t)g->found.entries);
	audit_time(e, "this_update", g->found.this_update);
	audit_time(e, "next_update", g->found.next_update);
}

static void describe_time_stamp(struct audit_event *e, const struct signing *g)
{
	audit_hex(e, "serial", g->found.serial);
	audit_time(e, "gen_time", g->found.gen_time);
	audit_base64(e, "tst_info", g->item->content);
}

static void describe_request(struct audit_event *e, const struct signing *g)
{
	audit_base64(e, "request", g->item->content);
}

/* What a key of this purpose signs, and how that is recorded. */
struct purpose_row {
	enum key_purpose purpose;
	bool whole_in_record;
	st (*check)(struct scope *s, const struct keyd_rules *rules, const struct key_sign_item *item, struct keyd_found *out);
	enum audit_code event;
	void (*describe)(struct audit_event *e, const struct signing *g); /* NULL: counted and chained (live OCSP) */
};

/* Contents that stand alone. */
#define CHECK_OF(kind)                                                                                                         \
	static st check_##kind(struct scope *s, const struct keyd_rules *rules, const struct key_sign_item *item,              \
			       struct keyd_found *out)                                                                         \
	{                                                                                                                      \
		if (item->signed_attributes.len > 0)                                                                           \
			return fail(s, E_INPUT, "only time-stamps come with signed attributes");                               \
		return keyd_check_##kind(s, rules, item->content, out);                                                        \
	}
CHECK_OF(certificate)
CHECK_OF(ocsp)
CHECK_OF(request)

/* A list in one piece; larger ones come as streams. */
static st check_crl(struct scope *s, const struct keyd_rules *rules, const struct key_sign_item *item, struct keyd_found *out)
{
	if (item->signed_attributes.len > 0)
		return fail(s, E_INPUT, "only time-stamps come with signed attributes");
	struct keyd_crl *crl = keyd_crl_new(rules, item->content.len);
	uint8_t digest[DIGEST_MAX];
	span ignored;
	st status = keyd_crl_add(s, crl, item->content);
	if (status.code == E_OK)
		status = keyd_crl_finish(s, crl, out, digest, &ignored);
	keyd_crl_free(crl);
	return status;
}

static st check_time_stamp(struct scope *s, const struct keyd_rules *rules, const struct key_sign_item *item,
			   struct keyd_found *out)
{
	return keyd_check_time_stamp(s, rules, item->content, item->signed_attributes, out);
}

static const struct purpose_row purposes[] = {
	{ KEY_FOR_CERTIFICATE, true, check_certificate, AUDIT_SIGN_CERTIFICATE, describe_certificate },
	{ KEY_FOR_CRL, false, check_crl, AUDIT_SIGN_CRL, describe_crl },
	{ KEY_FOR_OCSP, false, check_ocsp, AUDIT_OCSP_SIGNED, NULL },
	{ KEY_FOR_TIME_STAMP, true, check_time_stamp, AUDIT_SIGN_TIME_STAMP, describe_time_stamp },
	{ KEY_FOR_REQUEST, true, check_request, AUDIT_SIGN_REQUEST, describe_request },
};

static const struct purpose_row *purpose_row(enum key_purpose purpose)
{
	for (size_t i = 0; i < sizeof purposes / sizeof purposes[0]; i++)
		if (purposes[i].purpose == purpose)
			return &purposes[i];
	return NULL;
}

st keyd_admit(struct scope *s, struct keyd *d, uid_t uid, const struct key_sign_item *item, struct keyd_key **out)
{
	struct keyd_key *k;
	TRY(keyd_find_key(s, d, item->label, &k));
	const char *purpose = key_purpose_name(item->purpose);
	if (!keyd_may_sign(d->conf, uid, item->purpose, item->label))
		return fail(s, E_DENIED, "uid %u may not use key \"%s\" for %s", (unsigned)uid, item->label, purpose);
	if ((k->info.purposes & item->purpose) == 0)
		return fail(s, E_DENIED, "key \"%s\" is not for %s", item->label, purpose);
	if (item->algorithm->family != k->info.type->family)
		return fail(s, E_CRYPTO, "a key of type %s cannot sign with %s", k->info.type->name, item->algorithm->name);
	TRY(keyd_life_check(s, k));
	if (k->approval == KEYD_NOT_AS_APPROVED)
		return fail(
			s, E_DENIED,
			"key \"%s\" is not described as it was approved: its file in the state directory was changed. Put it "
			"back from a copy; the key.generate in the log says what the key may do",
			k->info.label);
	//= req2.4 the dated policy is applied whenever something is signed
	TRY(alg_policy_check(s, k->info.type, item->algorithm, keyd_use(k->info.purposes), false, scope_now(s)));
	*out = k;
	return OK;
}

struct keyd_rules keyd_rules_of(struct scope *s, const struct keyd_key *k, const struct alg_signature *algorithm)
{
	return (struct keyd_rules){
		.key = &k->info, .algorithm = algorithm, .key_hash = SPAN_ARRAY(k->key_hash), .now = scope_now(s)
	};
}

/* A bucket that holds what the key may sign in one second. */
st keyd_check_rate(struct scope *s, struct keyd_key *k)
{
	int64_t rate = k->info.limits.rate;
	if (rate == 0)
		return OK;
	int64_t now = moment_monotonic();
	(void)pthread_mutex_lock(&k->lock);
	int64_t passed = k->refilled == 0 || now - k->refilled > MOMENT_SECOND ? MOMENT_SECOND : now - k->refilled;
	k->refilled = now;
	k->allowance += passed * rate;
	if (k->allowance > rate * MOMENT_SECOND)
		k->allowance = rate * MOMENT_SECOND;
	bool allowed = k->allowance >= MOMENT_SECOND;
	if (allowed)
		k->allowance -= MOMENT_SECOND;
	(void)pthread_mutex_unlock(&k->lock);
	return allowed ? OK : fail(s, E_LIMIT, "key \"%s\" signs at most %lld times a second", k->info.label, (long long)rate);
}

st keyd_token_sign(struct scope *s, struct keyd *d, struct keyd_key *k, enum key_purpose purpose, struct hsm_key *hsm,
		   const struct alg_signature *algorithm, span digest, span *out)
{
	int64_t begun = moment_monotonic();
	TRY(hsm_sign(s, hsm, algorithm, digest, out));
	metrics_observe(&d->signing, moment_monotonic() - begun);
	metrics_count(&k->signatures[__builtin_ctz(purpose)]);
	metrics_count(&d->signatures);
	return OK;
}

/* ---- on record, then signed ---- */

static st describe(struct scope *s, struct keyd *d, struct signing *g)
{
	struct audit_event *e = &g->event;
	audit_begin(e, s, g->row->event);
	audit_str(e, "zone", d->conf->zone);
	audit_str(e, "key", g->key->info.label);
	audit_str(e, "algorithm", g->item->algorithm->name);
	audit_hex(e, "digest", g->digest);
	g->row->describe(e, g);
	return audit_finish(s, e);
}

/* All that may be refused without a record, and the record itself, which is not yet on its way. */
static st prepare_record(struct scope *s, struct keyd *d, struct signing *g)
{
	TRY(keyd_hsm_key(s, d, g->key, &g->hsm));
	TRY(keyd_check_rate(s, g->key));
	if (g->found.ca)
		TRY(keyd_take_permit(s, d, g->key, &g->found));
	TRY(keyd_life_begin(s, d, g->key, g->item->purpose));
	g->begun = true;
	return g->row->describe != NULL ? describe(s, d, g) : keyd_ocsp_count(s, d, g->key, g->digest);
}

/* How an item ends when it does not end with a signature. */
static void refuse(struct scope *s, struct keyd *d, struct signing *g, st status)
{
	memcpy(s->id, g->item->tx.data, sizeof s->id);
	keyd_refused(s, d, g->item->label, g->item->purpose, status);
	*g->outcome = (struct key_sign_outcome){ status.code, scope_copy(s, span_str(s->message)) };
	scope_clear_error(s);
}

static bool has_record(const struct signing *g)
{
	return g->outcome->code == E_OK && g->row->describe != NULL;
}

static st record_all(struct scope *s, struct keyd *d, const struct signing *g, size_t count)
{
	const struct audit_event *event[KEY_ITEMS_MAX] = { NULL };
	size_t recorded = 0;
	for (size_t i = 0; i < count; i++)
		if (has_record(&g[i])) {
			event[recorded++] = &g[i].event;
			keyd_life_offer(g[i].key);
		}
	st status = audit_commit_all(s, d->audit, event, recorded);
	for (size_t i = 0; i < count; i++)
		if (has_record(&g[i]))
			keyd_life_recorded(g[i].key, status.code == E_OK);
	return status;
}

static void end(struct signing *g)
{
	scope_done(&g->aside);
	audit_event_free(&g->event);
	if (g->begun)
		keyd_life_end(g->key);
}

struct frame {
	struct keyd *d;
	struct signing *item;
};

/* By any of the threads that sign. */
static void make_signature(void *state, size_t i)
{
	const struct frame *frame = state;
	struct signing *g = &frame->item[i];
	if (g->outcome->code != E_OK)
		return;
	scope_init(&g->aside, NULL);
	memcpy(g->aside.id, g->item->tx.data, sizeof g->aside.id);
	g->made = keyd_token_sign(&g->aside, frame->d, g->key, g->item->purpose, g->hsm, g->item->algorithm, g->digest,
				  &g->signature);
}

/* Nothing that should be on record and is not gets any further. */
static void refuse_unrecorded(struct scope *s, struct keyd *d, struct signing *g, size_t count, st recorded)
{
	const char *why = scope_printf(s, "%s", s->message);
	scope_clear_error(s);
	for (size_t i = 0; i < count; i++)
		if (has_record(&g[i]))
			refuse(s, d, &g[i], fail(s, recorded.code, "%s", why));
}

/* None is signed before all that are going to be are on record. */
//= promise1 nothing is signed that is not already on record
static void record_and_sign(struct scope *s, struct keyd *d, struct signing *g, size_t count)
{
	st recorded = record_all(s, d, g, count);
	if (recorded.code != E_OK)
		refuse_unrecorded(s, d, g, count, recorded);
	FAILPOINT("keyd.recorded");
	signers_each(d->signers, count, make_signature, &(struct frame){ d, g });
	for (size_t i = 0; i < count; i++) {
		if (g[i].outcome->code != E_OK)
			continue;
		if (g[i].made.code == E_OK)
			g[i].outcome->value = scope_copy(s, g[i].signature);
		else
			refuse(s, d, &g[i], fail_told(s, g[i].made.code, span_str(g[i].aside.message)));
	}
	FAILPOINT("keyd.signed");
}

/* What goes to the module: the digest, or for Ed25519 the message itself. */
static span hash(const struct alg_signature *algorithm, span message, uint8_t *out)
{
	return algorithm->digest == DIGEST_NONE ? message : digest_of(algorithm->digest, message, out);
}

static st prepare(struct scope *s, struct keyd *d, uid_t uid, struct signing *g)
{
	const struct key_sign_item *item = g->item;
	memcpy(s->id, item->tx.data, sizeof s->id); /* its record belongs to who asked for it */
	g->row = purpose_row(item->purpose);
	if (g->row == NULL)
		return fail(s, E_DENIED, "nothing is signed for the purpose %s in this way", key_purpose_name(item->purpose));
	TRY(keyd_admit(s, d, uid, item, &g->key));
	struct keyd_rules rules = keyd_rules_of(s, g->key, item->algorithm);
	TRY(g->row->check(s, &rules, item, &g->found));
	if (g->row->whole_in_record && item->content.len > CONTENT_IN_RECORD_MAX)
		return fail(s, E_LIMIT, "%zu bytes to be signed do not fit into a record", item->content.len);
	bool time_stamp = item->purpose == KEY_FOR_TIME_STAMP;
	g->digest = hash(item->algorithm, time_stamp ? item->signed_attributes : item->content, g->digest_room);
	return prepare_record(s, d, g);
}

void keyd_sign(struct scope *s, struct keyd *d, uid_t uid, const struct key_sign_request *request,
	       struct key_sign_outcome outcome[KEY_ITEMS_MAX])
{
	struct signing *g = scope_alloc(s, request->count * sizeof *g);
	for (size_t i = 0; i < request->count; i++) {
		g[i].item = &request->item[i];
		g[i].outcome = &outcome[i];
		outcome[i] = (struct key_sign_outcome){ .code = E_OK };
		st prepared = prepare(s, d, uid, &g[i]);
		if (prepared.code != E_OK)
			refuse(s, d, &g[i], prepared);
	}
	record_and_sign(s, d, g, request->count);
	for (size_t i = 0; i < request->count; i++)
		end(&g[i]);
}

void keyd_sign_crl(struct scope *s, struct keyd *d, const struct key_sign_item *item, struct keyd_key *k,
		   const struct keyd_found *found, span digest, struct key_sign_outcome *out)
{
	*out = (struct key_sign_outcome){ .code = E_OK };
	struct signing g = {
		.key = k, .item = item, .row = purpose_row(KEY_FOR_CRL), .found = *found, .digest = digest, .outcome = out
	};
	st prepared = prepare_record(s, d, &g);
	if (prepared.code != E_OK)
		refuse(s, d, &g, prepared);
	record_and_sign(s, d, &g, 1);
	end(&g);
}

/* ---- refusals ---- */

/* True while fewer than so many refusals went on record in this second: whoever floods us does not flood the log. */
static bool refusal_is_recorded(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static int64_t second;
	static int count;
	int64_t now = moment_monotonic() / MOMENT_SECOND;
	(void)pthread_mutex_lock(&lock);
	if (now != second) {
		second = now;
		count = 0;
	}
	bool recorded = count < REFUSAL_RECORDS_A_SECOND;
	count += recorded;
	(void)pthread_mutex_unlock(&lock);
	return recorded;
}

bool keyd_is_refusal(enum code code)
{
	return code == E_DENIED || code == E_INPUT || code == E_LIMIT || code == E_CRYPTO || code == E_NOTFOUND ||
	       code == E_CONFLICT || code == E_STATE;
}

void keyd_refused(struct scope *s, struct keyd *d, const char *label, enum key_purpose purpose, st status)
{
	keyd_refused_to(s, d, label, key_purpose_name(purpose), status);
}

void keyd_refused_to(struct scope *s, struct keyd *d, const char *label, const char *what, st status)
{
	metrics_count(&d->undone[status.code]);
	if (!keyd_is_refusal(status.code))
		return;
	metrics_count(&d->refusals);
	if (!refusal_is_recorded())
		return;
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	memcpy(aside.id, s->id, sizeof aside.id);
	struct audit_event e;
	audit_begin(&e, &aside, AUDIT_KEY_REFUSED);
	audit_str(&e, "zone", d->conf->zone);
	audit_text(&e, "key", span_first(span_str(label), KEY_LABEL_MAX));
	audit_str(&e, "purpose", what);
	audit_text(&e, "reason", span_str(s->message));
	if (audit_finish(&aside, &e).code == E_OK)
		keyd_recorder_put(d->recorder, &e);
	audit_event_free(&e);
}
