/* Revocation: final, durable and on record before the answer; vas and CRL follow at once. */
#include "ca_register.h"
#include "failpoint.h"

/* Reasons a certificate of a person or a component may be revoked for (rfc5280#5.3.1). */
static const struct reason_row {
	const char *name;
	const char *refusal; /* NULL: offered */
} reasons[] = {
	{ "keyCompromise", NULL },
	{ "cACompromise", NULL },
	{ "affiliationChanged", NULL },
	{ "superseded", NULL },
	{ "cessationOfOperation", NULL },
	{ "privilegeWithdrawn", NULL },
	{ "aACompromise", NULL },
	{ "unspecified", "unspecified is never encoded (rfc5280#5.3.1): leave the reason out" },
	{ "certificateHold",
	  "suspension is not offered here, a revocation is final (en319411-1 REV-6.3.9-04): revoke with another reason" },
	{ "removeFromCRL", "removeFromCRL stands in delta CRLs only (rfc5280#5.3.1); a revocation is never undone" },
};

static st reason_number(struct scope *s, const char *name, int *out)
{
	*out = 0;
	if (name == NULL)
		return OK;
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		if (strcmp(reasons[i].name, name) != 0)
			continue;
		if (reasons[i].refusal != NULL)
			return fail(s, E_DENIED, "%s", reasons[i].refusal);
		*out = pki_reason_named(span_str(name));
		return *out > 0 ? OK : fail(s, E_BUG, "reason %s has no number", name);
	}
	return fail(s, E_INPUT,
		    "'%s' is no reason; one of keyCompromise, cACompromise, affiliationChanged, superseded, "
		    "cessationOfOperation, privilegeWithdrawn, aACompromise",
		    name);
}

struct revoke_work {
	struct ca_certificate now; /* as it will be */
	struct ca_record requested, record;
	struct ca_revoked *out;
};

static st enter_revocation(struct scope *s, struct db_tx *tx, void *arg)
{
	struct revoke_work *w = arg;
	const struct ca_certificate *c = &w->now;
	int64_t changed;
	TRY(ca_entry_record(s, tx, &w->requested));
	TRY(db_exec(
		s, tx, &sql_status_revoke,
		DB_VALUES(db_blob(c->serial), db_integer(c->reason), db_integer(c->revoked_at), db_integer(c->invalidity_date)),
		&changed));
	w->out->before = changed == 0;
	if (changed == 0) {
		struct db_row row;
		TRY(db_one(s, tx, &sql_status_of, DB_VALUES(db_blob(c->serial)), &row));
		w->out->reason = (int)row.column[2].integer;
		w->out->revoked_at = row.column[3].integer;
		w->out->invalidity_date = row.column[4].integer;
		return OK;
	}
	TRY(ca_key_enter_revocation(s, tx, c->serial, c->reason));
	TRY(ca_feed_status(s, tx, c));
	return ca_entry_record(s, tx, &w->record);
}

//= en319411-1#REV-6.4.5-09 every request for revocation is on record, also one that comes a second time
static st build_request(struct scope *s, struct audit_event *e, const struct ca_revocation *want)
{
	audit_begin(e, s, AUDIT_REVOCATION_REQUESTED);
	audit_hex(e, "serial", ca_magnitude(want->serial));
	if (want->reason != NULL)
		audit_str(e, "reason", want->reason);
	if (want->invalidity_date != 0)
		audit_time(e, "invalidity_date", want->invalidity_date);
	audit_str(e, "channel", want->channel == NULL ? "inside" : want->channel);
	audit_str(e, "actor", want->actor);
	return audit_finish(s, e);
}

static st build_record(struct scope *s, struct audit_event *e, const struct ca_authority *a, const struct ca_certificate *c,
		       const char *actor)
{
	audit_begin(e, s, AUDIT_CERTIFICATE_REVOKED);
	audit_str(e, "ca", a->name);
	audit_hex(e, "serial", c->serial);
	audit_str(e, "reason", pki_reason_name(c->reason));
	audit_time(e, "revoked_at", c->revoked_at);
	if (c->invalidity_date != 0)
		audit_time(e, "invalidity_date", c->invalidity_date);
	audit_str(e, "actor", actor);
	return audit_finish(s, e);
}

/* Of whom it is, not how it was asked for: also one that another CA here has signed, and those of CAs that are run elsewhere. */
static bool is_of_a_ca(struct ca *ca, const struct ca_certificate *c)
{
	const struct pki_profile *profile = pki_profile_named(span_str(c->profile));
	const struct ca_authority *a;
	bool own = profile != NULL && profile->ca;
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL && !own; i++)
		own = c->der.len > 0 && span_equal(a->certificate, c->der);
	return own;
}

st ca_revoke_check(struct scope *s, struct ca *ca, const struct ca_revocation *want, struct ca_certificate *out)
{
	int reason;
	TRY(reason_number(s, want->reason, &reason));
	if (want->invalidity_date > scope_now(s))
		return fail(
			s, E_INPUT,
			"invalidity_date lies in the future (rfc5280#5.3.2 is about when the key was or may have been lost)");
	TRY(ca_certificate_find(s, ca, want->serial, out));
	bool of_a_ca = is_of_a_ca(ca, out);
	//= tsps#5.2.2 no one person revokes the certificate of a CA
	if (ca->reg != NULL && of_a_ca && !want->approved)
		return ca_register_refuse(s, ca, "ca.revoke", want->actor, "The certificate of a CA is revoked");
	if (want->approved && !of_a_ca)
		return fail(s, E_INPUT, "certificate %s is not that of a CA: it is revoked without an operation",
			    hex_text(s, want->serial));
	return OK;
}

//= en319411-1#REV-6.3.9-04 a revocation is final: a second one keeps the first one's time and reason
st ca_revoke(struct scope *s, struct ca *ca, const struct ca_revocation *want, struct ca_revoked *out)
{
	AUTO_EVENT event = { 0 };
	AUTO_EVENT request = { 0 };
	struct revoke_work w = { .out = out };
	int reason;
	TRY(ca_revoke_check(s, ca, want, &w.now));
	TRY(reason_number(s, want->reason, &reason));
	int64_t now = scope_now(s);
	const struct ca_authority *a = ca_authority_numbered(ca, w.now.ca);
	if (a == NULL)
		return fail(s, E_BUG, "certificate of an unknown CA %lld", (long long)w.now.ca);
	w.now.state = CA_REVOKED;
	w.now.reason = reason;
	w.now.revoked_at = now - now % MOMENT_SECOND;
	w.now.invalidity_date = want->invalidity_date - want->invalidity_date % MOMENT_SECOND;
	*out = (struct ca_revoked){ .revoked_at = w.now.revoked_at,
				    .reason = reason,
				    .invalidity_date = w.now.invalidity_date };
	TRY(build_request(s, &request, want));
	TRY(build_record(s, &event, a, &w.now, want->actor));
	w.requested = (struct ca_record){ .event = &request, .object = w.now.serial };
	w.record = (struct ca_record){ .event = &event, .object = w.now.serial };
	TRY(db_tx(s, ca->db, enter_revocation, &w));
	if (out->before)
		return ca_relay_settle(s, ca, w.now.serial);
	atomic_fetch_add(&ca->revocations, 1);
	FAILPOINT("ca.stored");
	ca_push_wake(ca);
	ca_crl_want(ca, a);
	TRY(ca_relay_deliver(s, ca, &w.requested));
	return ca_relay_deliver(s, ca, &w.record);
}
