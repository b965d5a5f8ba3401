/*
 * A certificate, from the request to the answer. Order of deeds (docs/decisions/0001): request read and checked; TBS built and
 * read back against its profile; keyd records and signs; signature verified; certificate, status, feed item and record in one
 * transaction; record acknowledged by auditd; answer.
 */
#include "ca.h"
#include <stdio.h>
#include "failpoint.h"

#define VALIDITY_DAYS_MAX 36500

struct issue_work {
	struct ca *ca;
	const struct ca_order *order;
	struct ca_new_certificate new;
	struct ca_record record;
};

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
static st look_before(struct scope *s, struct db_tx *tx, void *arg)
{
	struct look *l = arg;
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

st ca_sign_certificate(struct scope *s, struct ca *ca, const struct ca_authority *a, const struct pki_issue *issue,
		       uint64_t position, span *out_der)
{
	span tbs, signature;
	TRY(pki_profile_build_tbs(s, issue, &tbs));
	TRY(pki_profile_check(s, issue, tbs));
	st signed_ = key_sign(s, ca->keyd, a->key, KEY_FOR_CERTIFICATE, issue->algorithm, tbs, &signature);
	if (signed_.code != E_OK) {
		if (outcome_unknown(signed_))
			ca_flight_doubt(ca, a->id, ca_magnitude(issue->serial), position);
		return signed_;
	}
	FAILPOINT("ca.signed");
	st verified = pki_key_verify(s, a->public_key, issue->algorithm, tbs, signature);
	if (verified.code != E_OK) {
		ca_flight_doubt(ca, a->id, ca_magnitude(issue->serial), position);
		return fail_context(s, verified, "keyd's signature with key '%s' does not verify", a->key);
	}
	return pki_certificate_assemble(s, tbs, issue->algorithm, signature, out_der);
}

/* ---- storing ---- */

static st build_record(struct scope *s, const struct issue_work *w)
{
	const struct pki_certificate *c = w->new.certificate;
	struct audit_event *e = w->record.event;
	uint8_t digest[DIGEST_MAX];
	audit_begin(e, s, AUDIT_CERTIFICATE_ISSUED);
	audit_str(e, "ca", w->new.authority->name);
	audit_hex(e, "serial", ca_magnitude(c->serial));
	audit_str(e, "profile", w->new.profile);
	audit_hex(e, "subject_hash", digest_of(DIGEST_SHA256, c->subject, digest));
	audit_time(e, "not_before", c->not_before);
	audit_time(e, "not_after", c->not_after);
	if (w->new.request_id != NULL)
		audit_str(e, "request", scope_printf(s, "%s %s", w->new.request_id, hex_text(s, w->new.input)));
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

static st store_and_tell(struct scope *s, struct ca *ca, const struct ca_order *order, span input, span der, uint64_t position,
			 struct ca_issued *out)
{
	struct pki_certificate *c = scope_new(s, struct pki_certificate);
	TRY(pki_certificate_read(s, der, c));
	AUTO_EVENT event = { 0 };
	struct issue_work w = {
		.ca = ca,
		.order = order,
		.new = { .authority = order->authority,
			 .profile = order->profile,
			 .certificate = c,
			 .role = order->role,
			 .request_id = order->request_id,
			 .actor = order->actor,
			 .input = input,
			 .check_key = true },
		.record = { .event = &event, .object = ca_magnitude(c->serial) },
	};
	TRY(build_record(s, &w));
	st stored = db_tx_then(s, ca->db, store_all, deliver_stored, &w);
	if (stored.code != E_OK) {
		ca_flight_doubt(ca, order->authority->id, ca_magnitude(c->serial), position);
		return stored;
	}
	TRY(ca_relay_delivered(s, &w.record));
	struct ca_certificate *made = &out->certificate;
	*out = (struct ca_issued){ 0 };
	*made = (struct ca_certificate){
		.serial = ca_magnitude(c->serial),
		.der = c->der,
		.ca = order->authority->id,
		.profile = order->profile,
		.subject = w.new.subject,
		.role = order->role,
		.request_id = order->request_id,
		.not_before = c->not_before,
		.not_after = c->not_after,
	};
	return OK;
}

/* ---- together ---- */

static st issue_in_flight(struct scope *s, struct ca *ca, const struct ca_order *order, const struct pki_issue *issue,
			  const struct ca_flight_slot *slot, struct ca_issued *out)
{
	struct look look = { .order = order,
			     .input = order_digest(s, order),
			     .key = SPAN_ARRAY(slot->key),
			     .subject = digest_new(s, DIGEST_SHA256, issue->subject) };
	span der;
	TRY(db_read(s, ca->db, look_before, &look));
	if (look.is_repeat) {
		TRY(ca_relay_settle(s, ca, look.found.serial));
		*out = (struct ca_issued){ .certificate = look.found, .repeated = true };
		return OK;
	}
	TRY(ca_sign_certificate(s, ca, order->authority, issue, slot->position, &der));
	return store_and_tell(s, ca, order, look.input, der, slot->position, out);
}

st ca_issue(struct scope *s, struct ca *ca, const struct ca_order *order, struct ca_issued *out)
{
	struct pki_request *request = scope_new(s, struct pki_request);
	struct pki_issue *issue = scope_new(s, struct pki_issue);
	TRY(pki_request_read(s, order->request, request));
	TRY(ca_key_check_lists(s, ca, request->spki));
	TRY(prepare(s, order, request, issue));
	struct ca_flight_slot slot = { .ca = order->authority->id };
	uint8_t digest[DIGEST_MAX];
	memcpy(slot.key, digest_of(DIGEST_SHA256, request->spki, digest).data, sizeof slot.key);
	if (order->request_id != NULL)
		(void)snprintf(slot.request_id, sizeof slot.request_id, "%s", order->request_id);
	TRY(ca_flight_begin(s, ca, &slot));
	st status = issue_in_flight(s, ca, order, issue, &slot, out);
	ca_flight_end(ca, &slot);
	FAILPOINT("ca.answered");
	return status;
}
