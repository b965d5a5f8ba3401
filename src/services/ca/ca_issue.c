/*
 * Certificates, from the request to the answer. Order of deeds (docs/decisions/0001): request read and checked; TBS built and
 * read back against its profile; keyd records and signs; signature verified; certificate, status, feed item and record in one
 * transaction; record acknowledged by auditd; answer. Requests that come together go this way together, deed by deed
 * (docs/decisions/0016); each has its own outcome.
 */
#include "ca.h"
#include <stdio.h>
#include "failpoint.h"
#include "log.h"

#define VALIDITY_DAYS_MAX 36500

/* ---- safe repeats ---- */

/* What must be the same for a repeated request id to be the same request. */
static span order_digest(struct scope *s, const struct ca_order *order)
{
	AUTO_BUF all = { 0 };
	struct wr w = wr_into(&all);
	wr_str(&w, order->profile);
	wr_bytes(&w, order->request);
	wr_str(&w, order->subject);
	wr_i64(&w, order->validity_days);
	wr_str(&w, order->role);
	const char *const *const lists[] = { order->dns_names, order->ip_addresses, order->emails };
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		for (const char *const *name = lists[i]; name != NULL && *name != NULL; name++)
			wr_str(&w, *name);
		wr_u32(&w, UINT32_MAX);
	}
	return digest_new(s, DIGEST_SHA256, buf_span(&all));
}

struct look {
	const struct ca_order *order;
	span input, key, subject;
	struct ca_certificate found;
	bool is_repeat;
};

/* One of those on their way together. */
struct issue_work {
	struct scope *scope;
	struct ca *ca;
	const struct ca_order *order;
	struct ca_issued *issued;
	st status;     /* of the last deed */
	bool answered; /* by the first answer to the same request id */
	bool in_flight;
	struct ca_flight_slot slot;
	struct pki_request request;
	struct pki_issue issue;
	struct look look;
	span tbs, der;
	struct pki_certificate certificate;
	struct ca_new_certificate new;
	struct audit_event event;
	struct ca_record record;
};

static st find_repeat(struct scope *s, struct db_tx *tx, struct look *l)
{
	const char *id = l->order->request_id;
	struct db_row row, certificate;
	TRY(db_find(s, tx, &sql_request_of, DB_VALUES(db_integer(l->order->authority->id), db_text(span_str(id))), &row,
		    &l->is_repeat));
	if (!l->is_repeat)
		return OK;
	if (!span_equal(row.column[0].bytes, l->input))
		return fail(s, E_CONFLICT,
			    "request id '%s' was used before with other content: take a new id for a new request", id);
	TRY(db_one(s, tx, &sql_certificate_of, DB_VALUES(db_blob(row.column[1].bytes)), &certificate));
	ca_certificate_from_row(s, &certificate, &l->found);
	return OK;
}

/* Before signing: answered already? and is the key free? Both are asked again by the transaction that stores. */
static st look_before(struct scope *s, struct db_tx *tx, struct look *l)
{
	struct db_row row;
	bool found;
	if (l->order->request_id != NULL)
		TRY(find_repeat(s, tx, l));
	if (l->is_repeat)
		return OK;
	TRY(ca_key_check_lost(s, tx, l->key));
	TRY(db_find(s, tx, &sql_key_of, DB_VALUES(db_blob(l->key)), &row, &found));
	if (found && !span_equal(row.column[0].bytes, l->subject))
		return fail(s, E_CONFLICT,
			    "this public key is certified for another subject already: have a new key pair made");
	return OK;
}

/* ---- what goes into it ---- */

void ca_urls(const struct ca_authority *a, struct pki_ext_context *ext)
{
	ext->crl_url = a->crl_url;
	ext->issuer_url = a->issuer_url;
	ext->ocsp_url = a->ocsp_url;
	ext->cps_url = a->cps_url;
}

static enum pki_issuer_kind kind_of_profile(const struct pki_profile *issuer)
{
	if (issuer->issuer == PKI_SELF_SIGNED)
		return span_is(span_str(issuer->name), "management-ca") ? PKI_BY_MANAGEMENT : PKI_BY_ROOT;
	return PKI_BY_ISSUING;
}

static st check_issuer(struct scope *s, const struct ca_authority *a, const struct pki_profile *profile)
{
	TRY(ca_authority_must_issue(s, a));
	if (profile->issuer == PKI_SELF_SIGNED)
		return fail(s, E_DENIED, "profile %s is of a CA that signs its own certificate: use 'ca create'",
			    profile->name);
	//= en319411-1#GEN-6.5.3-03 a CA key signs only what its kind of CA issues
	if (profile->issuer != kind_of_profile(a->profile))
		return fail(s, E_DENIED, "CA '%s' (profile %s) does not issue certificates of profile %s", a->name,
			    a->profile->name, profile->name);
	return OK;
}

//= rfc5280#4.1.2.5 notAfter is included in the validity; en319411-1 no certificate outlives its issuer's
static st set_validity(struct scope *s, const struct ca_order *order, const struct pki_profile *profile,
		       struct pki_ext_context *ext)
{
	int64_t validity = profile->standard_validity;
	bool asked = order->validity_days != 0 || order->validity_seconds != 0;
	if (order->validity_days < 0 || order->validity_days > VALIDITY_DAYS_MAX)
		return fail(s, E_INPUT, "validity_days is a number from 1 to %d", VALIDITY_DAYS_MAX);
	if (asked)
		validity = order->validity_days * MOMENT_DAY + order->validity_seconds * MOMENT_SECOND;
	if (validity > profile->max_validity)
		return fail(s, E_LIMIT, "profile %s allows at most %lld days of validity", profile->name,
			    (long long)(profile->max_validity / MOMENT_DAY));
	int64_t now = scope_now(s);
	ext->not_before = now - now % MOMENT_SECOND;
	ext->not_after = ext->not_before + validity - MOMENT_SECOND;
	int64_t end = order->authority->not_after;
	if (ext->not_after > end && asked)
		return fail(s, E_LIMIT, "the CA's own certificate ends before that: ask for a shorter validity");
	if (ext->not_after > end)
		ext->not_after = end;
	return ext->not_after > ext->not_before
		       ? OK
		       : fail(s, E_STATE, "the certificate of CA '%s' has ended", order->authority->name);
}

static st set_subject(struct scope *s, const struct ca_order *order, const struct pki_profile *profile, span requested,
		      span *out)
{
	span wanted = requested;
	if (order->subject_der.len > 0)
		wanted = order->subject_der;
	else if (order->subject != NULL)
		TRY(pki_name_parse(s, span_str(order->subject), &wanted));
	return pki_profile_subject(s, profile, wanted, out);
}

static st prepare(struct scope *s, const struct ca_order *order, const struct pki_request *request, struct pki_issue *out)
{
	const struct ca_authority *a = order->authority;
	const struct pki_profile *profile = pki_profile_named(span_str(order->profile));
	if (profile == NULL)
		return fail(s, E_NOTFOUND, "there is no profile '%s'; 'chancery profile list' shows them", order->profile);
	TRY(check_issuer(s, a, profile));
	*out = (struct pki_issue){
		.profile = profile,
		.issuer = a->subject,
		.issuer_not_after = a->not_after,
		.algorithm = a->algorithm,
		.ext = { .profile = profile,
			 .subject_spki = request->spki,
			 .issuer_spki = a->spki,
			 .issuer_key_identifier = SPAN_ARRAY(a->key_identifier),
			 .dns_names = order->dns_names,
			 .ip_addresses = order->ip_addresses,
			 .emails = order->emails,
			 .role = order->role },
	};
	ca_urls(a, &out->ext);
	uint8_t *serial = scope_alloc(s, 16);
	pki_serial_new(s, serial);
	out->serial = span_of(serial, 16);
	TRY(alg_policy_check(s, request->key, alg_signature_default(request->key), profile->use, true, scope_now(s)));
	TRY(set_validity(s, order, profile, &out->ext));
	return set_subject(s, order, profile, request->subject, &out->subject);
}

/* ---- signing ---- */

/* Whether keyd had the record made before it failed is not known for these. */
static bool outcome_unknown(st status)
{
	return status.code == E_UNAVAILABLE || status.code == E_IO || status.code == E_BUSY || status.code == E_BUG;
}

static st build(struct scope *s, const struct pki_issue *issue, span *out_tbs)
{
	TRY(pki_profile_build_tbs(s, issue, out_tbs));
	return pki_profile_check(s, issue, *out_tbs);
}

/* What keyd answered: its signature, verified, makes the certificate. */
static st take_signature(struct scope *s, struct ca *ca, const struct ca_authority *a, const struct pki_issue *issue,
			 uint64_t position, const struct key_item *item, span *out_der)
{
	if (item->outcome.code != E_OK) {
		if (outcome_unknown(item->outcome))
			ca_flight_doubt(ca, a->id, ca_magnitude(issue->serial), position);
		return item->outcome;
	}
	FAILPOINT("ca.signed");
	st verified = pki_key_verify(s, a->public_key, issue->algorithm, item->content, item->signature);
	if (verified.code != E_OK) {
		ca_flight_doubt(ca, a->id, ca_magnitude(issue->serial), position);
		return fail_context(s, verified, "keyd's signature with key '%s' does not verify", a->key);
	}
	return pki_certificate_assemble(s, item->content, issue->algorithm, item->signature, out_der);
}

static struct key_item item_for(struct scope *s, const struct ca_authority *a, const struct pki_issue *issue, span tbs)
{
	return (struct key_item){
		.scope = s, .label = a->key, .purpose = KEY_FOR_CERTIFICATE, .algorithm = issue->algorithm, .content = tbs
	};
}

st ca_sign_certificate(struct scope *s, struct ca *ca, const struct ca_authority *a, const struct pki_issue *issue,
		       uint64_t position, span *out_der)
{
	span tbs;
	TRY(build(s, issue, &tbs));
	struct key_item item = item_for(s, a, issue, tbs);
	key_sign_all(ca->keyd, &item, 1);
	return take_signature(s, ca, a, issue, position, &item, out_der);
}

/* ---- storing ---- */

static st build_record(struct scope *s, struct issue_work *w)
{
	const struct pki_certificate *c = w->new.certificate;
	struct audit_event *e = &w->event;
	uint8_t digest[DIGEST_MAX];
	audit_begin(e, s, AUDIT_CERTIFICATE_ISSUED);
	audit_str(e, "ca", w->new.authority->name);
	audit_hex(e, "serial", ca_magnitude(c->serial));
	audit_str(e, "profile", w->new.profile);
	audit_time(e, "not_before", c->not_before);
	audit_time(e, "not_after", c->not_after);
	if (w->new.request_id != NULL)
		audit_str(e, "request", scope_printf(s, "%s %s", w->new.request_id, hex_text(s, w->new.input)));
	if (w->order->request.len > 0)
		audit_hex(e, "csr", digest_of(DIGEST_SHA256, w->order->request, digest));
	audit_base64(e, "signature", c->signature);
	audit_str(e, "actor", w->new.actor);
	return audit_finish(s, e);
}

static st store_all(struct scope *s, struct db_tx *tx, void *arg)
{
	struct issue_work *w = arg;
	TRY(ca_entry_certificate(s, tx, &w->new));
	if (w->order->also != NULL)
		TRY(w->order->also(s, tx, w->new.certificate, w->order->arg));
	return ca_entry_record(s, tx, &w->record);
}

/* Once for all that were committed together. */
static void deliver_stored(void *const *arg, size_t count)
{
	struct ca *ca = ((struct issue_work *)arg[0])->ca;
	struct ca_record *record[DB_TOGETHER_MAX];
	for (size_t i = 0; i < count; i++) {
		record[i] = &((struct issue_work *)arg[i])->record;
		FAILPOINT("ca.stored");
	}
	ca_push_wake(ca);
	ca_relay_deliver_all(ca, record, count);
}

static st prepare_storing(struct scope *s, struct issue_work *w)
{
	const struct ca_order *order = w->order;
	TRY(pki_certificate_read(s, w->der, &w->certificate));
	w->new = (struct ca_new_certificate){
		.authority = order->authority,
		.profile = order->profile,
		.certificate = &w->certificate,
		.role = order->role,
		.request_id = order->request_id,
		.actor = order->actor,
		.input = w->look.input,
		.check_key = true,
	};
	w->record = (struct ca_record){ .event = &w->event, .object = ca_magnitude(w->certificate.serial) };
	return build_record(s, w);
}

static st show(struct scope *s, struct issue_work *w)
{
	const struct pki_certificate *c = &w->certificate;
	TRY(ca_relay_delivered(s, &w->record));
	*w->issued = (struct ca_issued){ .certificate = {
						 .serial = ca_magnitude(c->serial),
						 .der = c->der,
						 .ca = w->order->authority->id,
						 .profile = w->order->profile,
						 .subject = w->new.subject,
						 .role = w->order->role,
						 .request_id = w->order->request_id,
						 .not_before = c->not_before,
						 .not_after = c->not_after,
					 } };
	return OK;
}

/* ---- deed by deed ---- */

static bool goes_on(const struct issue_work *w)
{
	return w->status.code == E_OK && !w->answered;
}

static void each(struct issue_work *const *work, size_t count, st (*deed)(struct scope *s, struct issue_work *w))
{
	for (size_t i = 0; i < count; i++)
		if (goes_on(work[i]))
			work[i]->status = deed(work[i]->scope, work[i]);
}

static st begin(struct scope *s, struct issue_work *w)
{
	const struct ca_order *order = w->order;
	TRY(pki_request_read(s, order->request, &w->request));
	TRY(ca_key_check_lists(s, w->ca, w->request.spki));
	TRY(ca_check_curve(s, w->ca, order->authority->name, w->request.key));
	TRY(prepare(s, order, &w->request, &w->issue));
	w->slot.ca = order->authority->id;
	uint8_t digest[DIGEST_MAX];
	memcpy(w->slot.key, digest_of(DIGEST_SHA256, w->request.spki, digest).data, sizeof w->slot.key);
	if (order->request_id != NULL)
		(void)snprintf(w->slot.request_id, sizeof w->slot.request_id, "%s", order->request_id);
	TRY(ca_flight_begin(s, w->ca, &w->slot));
	w->in_flight = true;
	w->look = (struct look){ .order = order,
				 .input = order_digest(s, order),
				 .key = SPAN_ARRAY(w->slot.key),
				 .subject = digest_new(s, DIGEST_SHA256, w->issue.subject) };
	return OK;
}

struct works {
	struct issue_work *const *work;
	size_t count;
};

static st look_at_each(struct scope *s, struct db_tx *tx, void *arg)
{
	(void)s;
	const struct works *all = arg;
	for (size_t i = 0; i < all->count; i++)
		if (goes_on(all->work[i]))
			all->work[i]->status = look_before(all->work[i]->scope, tx, &all->work[i]->look);
	return OK;
}

static void look_at_all(struct ca *ca, struct issue_work *const *work, size_t count)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct works all = { work, count };
	st looked = db_durable(&s, ca->db); /* what could not be stored is not signed */
	if (looked.code == E_OK)
		looked = db_read(&s, ca->db, look_at_each, &all);
	for (size_t i = 0; looked.code != E_OK && i < count; i++)
		if (goes_on(work[i]))
			work[i]->status = fail(work[i]->scope, looked.code, "%s", s.message);
}

static st answer_repeat(struct scope *s, struct issue_work *w)
{
	if (!w->look.is_repeat)
		return OK;
	TRY(ca_relay_settle(s, w->ca, w->look.found.serial));
	*w->issued = (struct ca_issued){ .certificate = w->look.found, .repeated = true };
	w->answered = true;
	return OK;
}

static st build_one(struct scope *s, struct issue_work *w)
{
	return build(s, &w->issue, &w->tbs);
}

/* ---- while nothing can be stored ---- */

#define STORE_AGAIN_FIRST MOMENT_SECOND
#define STORE_AGAIN_MOST  (30 * MOMENT_SECOND)

static st try_to_store(struct scope *s, struct db_tx *tx, void *arg)
{
	return ca_meta_set(s, tx, "tried_to_store", *(int64_t *)arg);
}

static void refuse_all(struct issue_work *const *work, size_t count, const char *why)
{
	for (size_t i = 0; i < count; i++)
		if (goes_on(work[i]))
			work[i]->status =
				fail(work[i]->scope, E_UNAVAILABLE,
				     "nothing is signed while the ca's database takes no writes (%s): make room or mend "
				     "its disk; it is tried again by itself",
				     why);
}

/* At once after the first in a row that was in vain, and then the later the more there were. */
static void put_off_storing(struct ca *ca)
{
	unsigned failures = atomic_load(&ca->unstored);
	int64_t wait = failures < 2 ? 0 : failures < 7 ? STORE_AGAIN_FIRST << (failures - 2) : STORE_AGAIN_MOST;
	atomic_store(&ca->store_again, moment_monotonic() + wait);
}

/* On a full or failing disk all goes well up to the signature, and each repetition of a request would be signed, not stored and
 * closed as revoked. So after one that could not be stored something small is stored first; where there is room for that but not for a
 * certificate, which a server with many files can have, one certificate is tried now and then. */
static void admit_by_storage(struct ca *ca, struct issue_work *const *work, size_t count)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t now = scope_now(&s);
	if (atomic_load(&ca->unstored) == 0)
		return;
	if (moment_monotonic() < atomic_load(&ca->store_again)) {
		refuse_all(work, count, "its log says why");
		return;
	}
	if (db_tx(&s, ca->db, try_to_store, &now).code != E_OK) {
		refuse_all(work, count, s.message);
		return;
	}
	put_off_storing(ca);
	size_t one = 0;
	while (one < count && !goes_on(work[one]))
		one++;
	if (one < count)
		refuse_all(work + one + 1, count - one - 1, "one certificate is being tried");
}

static void note_storing(struct ca *ca, struct issue_work *const *work, size_t count)
{
	bool stored = false, failed = false;
	for (size_t i = 0; i < count; i++) {
		stored = stored || work[i]->status.code == E_OK;
		failed = failed || work[i]->status.code == E_IO;
	}
	if (failed) {
		atomic_fetch_add(&ca->unstored, 1);
		put_off_storing(ca);
	} else if (stored) {
		atomic_store(&ca->unstored, 0);
	}
}

static void sign_all(struct ca *ca, struct issue_work *const *work, size_t count)
{
	struct key_item item[CA_ISSUE_MAX];
	struct issue_work *of[CA_ISSUE_MAX];
	size_t n = 0;
	for (size_t i = 0; i < count; i++)
		if (goes_on(work[i])) {
			of[n] = work[i];
			item[n++] = item_for(work[i]->scope, work[i]->order->authority, &work[i]->issue, work[i]->tbs);
		}
	key_sign_all(ca->keyd, item, n);
	for (size_t i = 0; i < n; i++)
		of[i]->status = take_signature(of[i]->scope, ca, of[i]->order->authority, &of[i]->issue, of[i]->slot.position,
					       &item[i], &of[i]->der);
}

static st find_answer(struct scope *s, struct db_tx *tx, void *arg)
{
	return find_repeat(s, tx, arg);
}

/* Another ca on the same database had the same request and was first: its answer is the one, what was signed here is closed. */
static st answer_as_another_did(struct scope *s, struct issue_work *w)
{
	if (!w->ca->shared || w->order->request_id == NULL)
		return w->status;
	const char *why_not = scope_printf(s, "%s", s->message);
	scope_clear_error(s);
	TRY(db_read(s, w->ca->db, find_answer, &w->look));
	return w->look.is_repeat ? answer_repeat(s, w) : fail(s, w->status.code, "%s", why_not);
}

static void store_each(struct ca *ca, struct issue_work *const *work, size_t count)
{
	struct db_item item[CA_ISSUE_MAX];
	struct issue_work *of[CA_ISSUE_MAX];
	size_t n = 0;
	for (size_t i = 0; i < count; i++)
		if (goes_on(work[i])) {
			of[n] = work[i];
			item[n++] = (struct db_item){ .scope = work[i]->scope, .arg = work[i] };
		}
	db_tx_all(ca->db, store_all, deliver_stored, item, n);
	for (size_t i = 0; i < n; i++) {
		of[i]->status = item[i].outcome;
		if (item[i].outcome.code == E_CONFLICT)
			of[i]->status = answer_as_another_did(of[i]->scope, of[i]);
		if (item[i].outcome.code != E_OK)
			ca_flight_doubt(ca, of[i]->order->authority->id, of[i]->record.object, of[i]->slot.position);
	}
	note_storing(ca, of, n);
}

void ca_issue_all(struct ca *ca, struct ca_issuance *issuance, size_t count)
{
	struct issue_work *work[CA_ISSUE_MAX];
	if (count > CA_ISSUE_MAX)
		log_die("%zu certificates at once", count);
	for (size_t i = 0; i < count; i++) {
		work[i] = scope_new(issuance[i].scope, struct issue_work);
		work[i]->scope = issuance[i].scope;
		work[i]->ca = ca;
		work[i]->order = issuance[i].order;
		work[i]->issued = &issuance[i].issued;
	}
	each(work, count, begin);
	look_at_all(ca, work, count);
	each(work, count, answer_repeat);
	each(work, count, build_one);
	admit_by_storage(ca, work, count);
	sign_all(ca, work, count);
	each(work, count, prepare_storing);
	store_each(ca, work, count);
	each(work, count, show);
	for (size_t i = 0; i < count; i++) {
		if (work[i]->in_flight) {
			ca_flight_end(ca, &work[i]->slot);
			FAILPOINT("ca.answered");
		}
		audit_event_free(&work[i]->event);
		issuance[i].outcome = work[i]->status;
		if (work[i]->status.code != E_OK)
			metrics_count(&ca->unissued[work[i]->status.code]);
	}
}

st ca_issue(struct scope *s, struct ca *ca, const struct ca_order *order, struct ca_issued *out)
{
	struct ca_issuance one = { .scope = s, .order = order };
	ca_issue_all(ca, &one, 1);
	if (one.outcome.code == E_OK)
		*out = one.issued;
	return one.outcome;
}
