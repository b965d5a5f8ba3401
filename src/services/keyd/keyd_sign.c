/*
 * keyd_sign.c - the way of a request: admitted, read, hashed, on record, signed. In this order, for every kind of content.
 */
#include "keyd.h"
#include "failpoint.h"
#include "log.h"
#include "text.h"

/* More would not fit into a record with its base64. */
#define CONTENT_IN_RECORD_MAX    40000u
#define REFUSAL_RECORDS_A_SECOND 5

struct signing {
	struct keyd *d;
	struct keyd_key *key;
	const struct keyd_order *order;
	struct keyd_found found;
	span content; /* that goes into the record: TBSCertificate, TSTInfo, request */
	span digest;  /* that is signed */
};

static void describe_certificate(struct audit_event *e, const struct signing *g)
{
	audit_hex(e, "issuer_key", SPAN_ARRAY(g->key->key_hash));
	audit_hex(e, "serial", g->found.serial);
	audit_time(e, "not_after", g->found.not_after);
	audit_base64(e, "tbs", g->content);
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
	audit_base64(e, "tst_info", g->content);
}

static void describe_request(struct audit_event *e, const struct signing *g)
{
	audit_base64(e, "request", g->content);
}

/* What a key of this purpose signs, and how that is recorded. */
static const struct purpose_row {
	enum key_purpose purpose;
	st (*check)(struct scope *s, const struct keyd_rules *rules, span tbs, struct keyd_found *out);
	enum audit_code event;
	void (*describe)(struct audit_event *e, const struct signing *g); /* NULL: counted and chained (live OCSP) */
} purposes[] = {
	{ KEY_FOR_CERTIFICATE, keyd_check_certificate, AUDIT_SIGN_CERTIFICATE, describe_certificate },
	{ KEY_FOR_CRL, NULL, AUDIT_SIGN_CRL, describe_crl },
	{ KEY_FOR_OCSP, keyd_check_ocsp, AUDIT_OCSP_SIGNED, NULL },
	{ KEY_FOR_TIME_STAMP, NULL, AUDIT_SIGN_TIME_STAMP, describe_time_stamp },
	{ KEY_FOR_REQUEST, keyd_check_request, AUDIT_SIGN_REQUEST, describe_request },
};

static const struct purpose_row *purpose_row(enum key_purpose purpose)
{
	for (size_t i = 0; i < sizeof purposes / sizeof purposes[0]; i++)
		if (purposes[i].purpose == purpose)
			return &purposes[i];
	return NULL;
}

st keyd_admit(struct scope *s, struct keyd *d, const struct keyd_order *order, struct keyd_key **out)
{
	struct keyd_key *k;
	TRY(keyd_find_key(s, d, order->label, &k));
	const char *purpose = key_purpose_name(order->purpose);
	if (!keyd_may_sign(d->conf, order->uid, order->purpose, order->label))
		return fail(s, E_DENIED, "uid %u may not use key \"%s\" for %s", (unsigned)order->uid, order->label, purpose);
	if ((k->info.purposes & order->purpose) == 0)
		return fail(s, E_DENIED, "key \"%s\" is not for %s", order->label, purpose);
	if (order->algorithm->family != k->info.type->family)
		return fail(s, E_CRYPTO, "a key of type %s cannot sign with %s", k->info.type->name, order->algorithm->name);
	//= req2.4 the dated policy is applied whenever something is signed
	TRY(alg_policy_check(s, k->info.type, order->algorithm, keyd_use(k->info.purposes), false, scope_now(s)));
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

static st describe(struct scope *s, const struct signing *g, const struct purpose_row *row, struct audit_event *e)
{
	audit_begin(e, s, row->event);
	audit_str(e, "zone", g->d->conf->zone);
	audit_str(e, "key", g->key->info.label);
	audit_str(e, "algorithm", g->order->algorithm->name);
	audit_hex(e, "digest", g->digest);
	row->describe(e, g);
	return audit_finish(s, e);
}

static st record(struct scope *s, const struct signing *g, const struct purpose_row *row)
{
	AUTO_EVENT e;
	TRY(describe(s, g, row, &e));
	uint64_t index;
	return audit_commit(s, g->d->audit, &e, &index);
}

//= promise1 nothing is signed that is not already on record
static st record_and_sign(struct scope *s, const struct signing *g, span *out_signature)
{
	const struct purpose_row *row = purpose_row(g->order->purpose);
	struct hsm_key *hsm;
	TRY(keyd_hsm_key(s, g->d, g->key, &hsm));
	TRY(keyd_check_rate(s, g->key));
	if (row->describe != NULL)
		TRY(record(s, g, row));
	else
		TRY(keyd_ocsp_count(s, g->d, g->key, g->digest));
	FAILPOINT("keyd.recorded");
	TRY(hsm_sign(s, hsm, g->order->algorithm, g->digest, out_signature));
	atomic_fetch_add(&g->d->signatures, 1);
	FAILPOINT("keyd.signed");
	return OK;
}

/* What goes to the module: the digest, or for Ed25519 the message itself. */
static span hash(const struct alg_signature *algorithm, span message, uint8_t *out)
{
	return algorithm->digest == DIGEST_NONE ? message : digest_of(algorithm->digest, message, out);
}

static st check_list(struct scope *s, const struct keyd_rules *rules, span tbs, struct keyd_found *out)
{
	struct keyd_crl *crl = keyd_crl_new(rules, tbs.len);
	uint8_t digest[DIGEST_MAX];
	span ignored;
	st status = keyd_crl_add(s, crl, tbs);
	if (status.code == E_OK)
		status = keyd_crl_finish(s, crl, out, digest, &ignored);
	keyd_crl_free(crl);
	return status;
}

st keyd_sign(struct scope *s, struct keyd *d, const struct keyd_order *order, span tbs, span *out_signature)
{
	const struct purpose_row *row = purpose_row(order->purpose);
	if (row == NULL || order->purpose == KEY_FOR_TIME_STAMP)
		return fail(s, E_DENIED, "nothing is signed for the purpose %s in this way", key_purpose_name(order->purpose));
	struct signing g = { .d = d, .order = order, .content = tbs };
	TRY(keyd_admit(s, d, order, &g.key));
	struct keyd_rules rules = keyd_rules_of(s, g.key, order->algorithm);
	TRY(row->check != NULL ? row->check(s, &rules, tbs, &g.found) : check_list(s, &rules, tbs, &g.found));
	if (row->check == keyd_check_certificate && tbs.len > CONTENT_IN_RECORD_MAX)
		return fail(s, E_LIMIT, "a TBSCertificate of %zu bytes does not fit into a record", tbs.len);
	uint8_t digest[DIGEST_MAX];
	g.digest = hash(order->algorithm, tbs, digest);
	return record_and_sign(s, &g, out_signature);
}

static st check_time_stamp(struct scope *s, struct signing *g, span tst_info, span signed_attributes,
			   uint8_t digest[DIGEST_MAX])
{
	TRY(keyd_admit(s, g->d, g->order, &g->key));
	struct keyd_rules rules = keyd_rules_of(s, g->key, g->order->algorithm);
	TRY(keyd_check_time_stamp(s, &rules, tst_info, signed_attributes, &g->found));
	if (tst_info.len > CONTENT_IN_RECORD_MAX)
		return fail(s, E_LIMIT, "a TSTInfo of %zu bytes does not fit into a record", tst_info.len);
	g->content = tst_info;
	g->digest = hash(g->order->algorithm, signed_attributes, digest);
	return OK;
}

st keyd_sign_time_stamp(struct scope *s, struct keyd *d, const struct keyd_order *order, span tst_info, span signed_attributes,
			span *out_signature)
{
	struct signing g = { .d = d, .order = order };
	uint8_t digest[DIGEST_MAX];
	TRY(check_time_stamp(s, &g, tst_info, signed_attributes, digest));
	return record_and_sign(s, &g, out_signature);
}

/* ---- several time-stamps in one frame: one record each, on their way to auditd together ---- */

/* One of them, from its check to its signature. */
struct member {
	struct signing g;
	struct hsm_key *hsm;
	struct audit_event event;
	uint8_t digest[DIGEST_MAX];
};

static st prepare(struct scope *s, struct member *m, const struct keyd_time_stamp *item)
{
	memcpy(s->id, item->tx.data, sizeof s->id); /* its record belongs to who asked for it */
	TRY(check_time_stamp(s, &m->g, item->tst_info, item->signed_attributes, m->digest));
	TRY(keyd_hsm_key(s, m->g.d, m->g.key, &m->hsm));
	TRY(keyd_check_rate(s, m->g.key));
	return describe(s, &m->g, purpose_row(KEY_FOR_TIME_STAMP), &m->event);
}

/* How an item ends when it does not end with a signature. */
static void refuse(struct scope *s, const struct keyd_order *order, struct keyd *d, struct keyd_time_stamp *item, st status)
{
	keyd_refused(s, d, order->label, order->purpose, status);
	item->outcome.code = status.code;
	item->outcome.value = scope_copy(s, span_str(s->message));
	scope_clear_error(s);
}

/* None of them is signed before all that are going to be are on record. */
//= promise1 nothing is signed that is not already on record
static void record_and_sign_all(struct scope *s, struct keyd *d, const struct keyd_order *order, struct member *member,
				struct keyd_time_stamp *item, size_t count)
{
	const struct audit_event *event[KEY_TIME_STAMPS_MAX];
	size_t good = 0;
	for (size_t i = 0; i < count; i++)
		if (item[i].outcome.code == E_OK)
			event[good++] = &member[i].event;
	st recorded = audit_commit_all(s, d->audit, event, good);
	const char *why = scope_printf(s, "%s", s->message);
	scope_clear_error(s);
	FAILPOINT("keyd.recorded");
	for (size_t i = 0; i < count; i++) {
		if (item[i].outcome.code != E_OK)
			continue;
		st status = recorded.code != E_OK
				    ? fail(s, recorded.code, "%s", why)
				    : hsm_sign(s, member[i].hsm, order->algorithm, member[i].g.digest, &item[i].outcome.value);
		if (status.code != E_OK)
			refuse(s, order, d, &item[i], status);
		else
			atomic_fetch_add(&d->signatures, 1);
	}
	FAILPOINT("keyd.signed");
}

void keyd_sign_time_stamps(struct scope *s, struct keyd *d, const struct keyd_order *order, struct keyd_time_stamp *item,
			   size_t count)
{
	struct member *member = scope_alloc(s, count * sizeof *member);
	for (size_t i = 0; i < count; i++) {
		member[i].g = (struct signing){ .d = d, .order = order };
		item[i].outcome = (struct key_time_stamp_outcome){ .code = E_OK };
		st prepared = prepare(s, &member[i], &item[i]);
		if (prepared.code != E_OK)
			refuse(s, order, d, &item[i], prepared);
	}
	record_and_sign_all(s, d, order, member, item, count);
	for (size_t i = 0; i < count; i++)
		audit_event_free(&member[i].event);
}

st keyd_sign_crl(struct scope *s, struct keyd *d, const struct keyd_order *order, struct keyd_key *k,
		 const struct keyd_found *found, span digest, span *out_signature)
{
	struct signing g = { .d = d, .order = order, .key = k, .found = *found, .digest = digest };
	return record_and_sign(s, &g, out_signature);
}

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

void keyd_refused(struct scope *s, struct keyd *d, const char *label, enum key_purpose purpose, st status)
{
	bool refusal = status.code == E_DENIED || status.code == E_INPUT || status.code == E_LIMIT || status.code == E_CRYPTO ||
		       status.code == E_NOTFOUND || status.code == E_CONFLICT;
	if (!refusal)
		return;
	atomic_fetch_add(&d->refusals, 1);
	if (!refusal_is_recorded())
		return;
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	memcpy(aside.id, s->id, sizeof aside.id);
	struct audit_event e;
	audit_begin(&e, &aside, AUDIT_KEY_REFUSED);
	audit_str(&e, "zone", d->conf->zone);
	audit_text(&e, "key", span_first(span_str(label), KEY_LABEL_MAX));
	audit_str(&e, "purpose", key_purpose_name(purpose));
	audit_text(&e, "reason", span_str(s->message));
	if (audit_finish(&aside, &e).code == E_OK)
		keyd_recorder_put(d->recorder, &e);
	audit_event_free(&e);
}
