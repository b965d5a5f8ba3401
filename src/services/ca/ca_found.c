/* New logical CAs: self-signed, by request to another CA, or run elsewhere and taken in for publication. */
#include "ca_authority.h"
#include "ca_register.h"
#include "file.h"

#define NAME_MAX_ 64
#define CHAIN_MAX CA_CHAIN_MAX

struct founding {
	struct ca *ca;
	const struct ca_founding *want;
	struct ca_new_authority row;
	const char *actor;
	struct ca_record record, issued;
	struct pki_certificate *own; /* self-signed: to be entered like any other certificate */
};

//= a name is a path element of the repository: lower-case letters, digits and '-'
static st check_name(struct scope *s, const char *name)
{
	size_t len = strlen(name);
	bool good = len > 0 && len <= NAME_MAX_ && name[0] != '-';
	for (size_t i = 0; i < len && good; i++)
		good = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '-';
	return good ? OK
		    : fail(s, E_INPUT, "a CA's name is 1 to %d lower-case letters, digits and '-', as in 'issuing-2'",
			   NAME_MAX_);
}

static st check_free(struct scope *s, struct ca *ca, const char *name, span subject, int64_t *out_id)
{
	int64_t id = 0;
	struct ca_authority *a = NULL;
	TRY(ca_authority_load(s, ca));
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL; i++) {
		if (strcmp(a->name, name) == 0)
			return fail(s, E_CONFLICT, "there is a CA '%s' already", name);
		if (span_equal(a->subject, subject))
			return fail(s, E_CONFLICT, "CA '%s' has that subject already: CAs must differ in their names", a->name);
		id = a->id > id ? a->id : id;
	}
	*out_id = id + 1;
	return OK;
}

static struct db_value text_or_null(const char *text)
{
	return text == NULL || text[0] == 0 ? db_null() : db_text(span_str(text));
}

static st tell_vas(struct scope *s, struct db_tx *tx, const struct ca_new_authority *new)
{
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	span *chain = scope_alloc(&own, sizeof new->chain);
	memcpy(chain, new->chain, sizeof new->chain);
	const struct ca_authority shown = { .id = new->id,
					    .name = new->name,
					    .certificate = new->certificate,
					    .chain = chain,
					    .chain_count = new->chain_count };
	return new->certificate.len > 0 ? ca_feed_ca(s, tx, &shown) : OK;
}

st ca_authority_enter(struct scope *s, struct db_tx *tx, const struct ca_new_authority *new)
{
	AUTO_BUF chain = { 0 };
	TRY(ca_chain_write(s, &chain, new->chain, new->chain_count));
	TRY(db_exec(s, tx, &sql_authority_insert,
		    DB_VALUES(db_integer(new->id), db_text(span_str(new->name)), db_text(span_str(new->profile)),
			      db_integer(new->state), db_blob(new->subject), db_text(span_str(new->key)),
			      db_text(span_str(new->algorithm)), db_blob(new->spki), db_blob(new->certificate),
			      db_blob(buf_span(&chain)), text_or_null(new->crl_url), text_or_null(new->issuer_url),
			      text_or_null(new->ocsp_url), text_or_null(new->cps_url), db_integer(new->crl_hours),
			      db_blob(new->request), db_integer(scope_now(s))),
		    NULL));
	return tell_vas(s, tx, new);
}

static st enter_founding(struct scope *s, struct db_tx *tx, void *arg)
{
	struct founding *f = arg;
	TRY(ca_authority_enter(s, tx, &f->row));
	if (f->own != NULL) {
		struct ca_authority self = { .id = f->row.id, .name = f->row.name };
		struct ca_new_certificate new = { .authority = &self,
						  .profile = f->row.profile,
						  .certificate = f->own,
						  .actor = f->actor,
						  .check_key = true };
		TRY(ca_entry_certificate(s, tx, &new));
		TRY(ca_entry_record(s, tx, &f->issued));
	}
	return ca_entry_record(s, tx, &f->record);
}

static void optional(struct audit_event *e, const char *field, const char *text)
{
	if (text != NULL && text[0] != 0)
		audit_str(e, field, text);
}

/* The chain is the certificates one after the other, as any reader of DER can take them apart. */
static span chain_bytes(struct scope *s, const struct ca_new_authority *new)
{
	AUTO_BUF all = { 0 };
	struct wr w = wr_into(&all);
	for (size_t i = 0; i < new->chain_count; i++)
		wr_raw(&w, new->chain[i]);
	return scope_copy(s, buf_span(&all));
}

st ca_authority_record(struct scope *s, const struct ca_new_authority *new, const char *actor, struct audit_event *e)
{
	uint8_t digest[DIGEST_MAX];
	char *subject;
	TRY(pki_name_text(s, new->subject, &subject));
	audit_begin(e, s, AUDIT_CA_CREATED);
	audit_str(e, "ca", new->name);
	audit_str(e, "subject", subject);
	audit_hex(e, "key", digest_of(DIGEST_SHA256, new->spki, digest));
	audit_base64(e, "certificate", new->certificate);
	audit_number(e, "number", new->id);
	optional(e, "profile", new->profile);
	optional(e, "label", new->key);
	optional(e, "algorithm", new->algorithm);
	if (new->request.len > 0)
		audit_base64(e, "request", new->request);
	if (new->chain_count > 0)
		audit_base64(e, "chain", chain_bytes(s, new));
	optional(e, "crl_url", new->crl_url);
	optional(e, "issuer_url", new->issuer_url);
	optional(e, "ocsp_url", new->ocsp_url);
	optional(e, "cps_url", new->cps_url);
	if (new->crl_hours > 0)
		audit_number(e, "crl_hours", new->crl_hours);
	audit_str(e, "actor", actor);
	return audit_finish(s, e);
}

static st issued_record(struct scope *s, const struct founding *f, struct audit_event *e)
{
	audit_begin(e, s, AUDIT_CERTIFICATE_ISSUED);
	audit_str(e, "ca", f->row.name);
	audit_hex(e, "serial", ca_magnitude(f->own->serial));
	audit_str(e, "profile", f->row.profile);
	audit_time(e, "not_before", f->own->not_before);
	audit_time(e, "not_after", f->own->not_after);
	audit_base64(e, "signature", f->own->signature);
	audit_str(e, "actor", f->actor);
	return audit_finish(s, e);
}

static st store_founding(struct scope *s, struct founding *f, struct ca_authority **out)
{
	AUTO_EVENT created = { 0 };
	AUTO_EVENT issued = { 0 };
	TRY(ca_authority_record(s, &f->row, f->actor, &created));
	f->record = (struct ca_record){ .event = &created };
	if (f->own != NULL) {
		TRY(issued_record(s, f, &issued));
		f->issued = (struct ca_record){ .event = &issued, .object = ca_magnitude(f->own->serial) };
	}
	TRY(db_tx(s, f->ca->db, enter_founding, f));
	TRY(ca_authority_load(s, f->ca));
	ca_push_wake(f->ca);
	if (f->own != NULL)
		TRY(ca_relay_deliver(s, f->ca, &f->issued));
	TRY(ca_relay_deliver(s, f->ca, &f->record));
	return ca_authority_named(s, f->ca, span_str(f->row.name), out);
}

/* ---- with a key here ---- */

static st choose_algorithm(struct scope *s, const struct key_info *key, const char *wanted, const struct alg_signature **out)
{
	const struct alg_signature *a =
		wanted == NULL ? alg_signature_default(key->type) : alg_signature_named(span_str(wanted));
	if (a == NULL)
		return fail(s, E_INPUT, "there is no signature algorithm '%s'; as in ecdsa-sha256", wanted);
	if (a->family != key->type->family)
		return fail(s, E_INPUT, "key '%s' is of type %s and cannot sign with %s", key->label, key->type->name, a->name);
	*out = a;
	return alg_policy_check(s, key->type, a, ALG_USE_CA, true, scope_now(s));
}

static int64_t validity_of(const struct ca_founding *w, const struct pki_profile *profile)
{
	return w->validity_days > 0 ? w->validity_days * MOMENT_DAY : profile->standard_validity;
}

static st check_validity(struct scope *s, const struct ca_founding *w, const struct pki_profile *profile)
{
	if (w->validity_days < 0 || validity_of(w, profile) > profile->max_validity)
		return fail(s, E_LIMIT, "profile %s allows at most %lld days of validity", profile->name,
			    (long long)(profile->max_validity / MOMENT_DAY));
	return OK;
}

static st sign_own(struct scope *s, struct founding *f, const struct pki_profile *profile,
		   const struct alg_signature *algorithm)
{
	const struct ca_founding *w = f->want;
	int64_t now = scope_now(s);
	int64_t validity = validity_of(w, profile);
	struct ca_authority self = { .id = f->row.id, .name = w->name, .key = f->row.key, .spki = f->row.spki };
	uint8_t serial[16];
	pki_serial_new(s, serial);
	struct pki_issue issue = {
		.profile = profile,
		.serial = SPAN_ARRAY(serial),
		.issuer = f->row.subject,
		.issuer_not_after = INT64_MAX,
		.subject = f->row.subject,
		.algorithm = algorithm,
		.ext = { .profile = profile,
			 .subject_spki = f->row.spki,
			 .issuer_spki = f->row.spki,
			 .cps_url = w->cps_url,
			 .not_before = now - now % MOMENT_SECOND,
			 .not_after = now - now % MOMENT_SECOND + validity - MOMENT_SECOND },
	};
	TRY(pki_key_new(s, f->row.spki, &self.public_key));
	st status = ca_sign_certificate(s, f->ca, &self, &issue, ca_flight_position(f->ca), &f->row.certificate);
	pki_key_free(self.public_key);
	TRY(status);
	f->own = scope_new(s, struct pki_certificate);
	return pki_certificate_read(s, f->row.certificate, f->own);
}

static st sign_request(struct scope *s, struct founding *f, const struct alg_signature *algorithm)
{
	span info, signature;
	TRY(pki_request_build_info(s, f->row.subject, f->row.spki, &info));
	TRY(key_sign(s, f->ca->keyd, f->row.key, KEY_FOR_REQUEST, algorithm, info, &signature));
	return pki_request_assemble(s, info, algorithm, signature, &f->row.request);
}

struct signing {
	const struct pki_profile *profile;
	const struct alg_signature *algorithm;
};

/* All but the signature; the row has what is known before it. */
static st check_with_key(struct scope *s, struct founding *f, struct signing *out)
{
	const struct ca_founding *w = f->want;
	const struct pki_profile *profile = pki_profile_named(span_str(w->profile));
	if (profile == NULL || !profile->ca)
		return fail(s, E_INPUT, "'%s' is no profile of a CA; 'chancery profile list' shows them", w->profile);
	if ((profile->issuer == PKI_SELF_SIGNED) == w->request_only)
		return fail(s, E_INPUT,
			    w->request_only ? "profile %s signs its own certificate: leave request_only out"
					    : "profile %s is certified by another CA: set request_only",
			    w->profile);
	span wanted;
	TRY(pki_name_parse(s, span_str(w->subject), &wanted));
	TRY(pki_profile_subject(s, profile, wanted, &f->row.subject));
	TRY(check_free(s, f->ca, w->name, f->row.subject, &f->row.id));
	struct key_info *key = scope_new(s, struct key_info);
	TRY(key_find(s, f->ca->keyd, w->key, key));
	TRY(ca_check_curve(s, f->ca, w->name, key->type));
	TRY(choose_algorithm(s, key, w->algorithm, &out->algorithm));
	TRY(pki_key_check(s, key->spki));
	TRY(ca_key_check(s, f->ca, key->spki));
	f->row.profile = profile->name;
	f->row.key = w->key;
	f->row.spki = key->spki;
	f->row.algorithm = out->algorithm->name;
	f->row.state = w->request_only ? CA_WAITING : CA_ACTIVE;
	out->profile = profile;
	return check_validity(s, w, profile);
}

static st found_with_key(struct scope *s, struct founding *f, struct ca_authority **out)
{
	struct signing with;
	TRY(check_with_key(s, f, &with));
	TRY(f->want->request_only ? sign_request(s, f, with.algorithm) : sign_own(s, f, with.profile, with.algorithm));
	return store_founding(s, f, out);
}

/* Founding and completing a CA happen one at a time. */
static pthread_mutex_t founding_mutex = PTHREAD_MUTEX_INITIALIZER;

static st begin(struct scope *s, struct ca *ca, const struct ca_founding *want, struct founding *out)
{
	*out = (struct founding){ .ca = ca, .want = want, .actor = want->actor };
	TRY(check_name(s, want->name));
	//= tsps#5.2.2 no one person sets up a CA
	if (ca->reg != NULL && !want->approved)
		return ca_register_refuse(s, ca, "ca.create", want->actor, "A CA is set up");
	if (want->crl_hours < 0 || want->crl_hours > CA_CRL_HOURS_MAX)
		return fail(s, E_INPUT, "crl_hours is a number from 1 to %lld", (long long)CA_CRL_HOURS_MAX);
	out->row = (struct ca_new_authority){ .name = want->name,
					      .crl_url = want->crl_url,
					      .issuer_url = want->issuer_url,
					      .ocsp_url = want->ocsp_url,
					      .cps_url = want->cps_url,
					      .crl_hours = want->crl_hours };
	return OK;
}

st ca_authority_found_check(struct scope *s, struct ca *ca, const struct ca_founding *want)
{
	struct founding f;
	struct signing with;
	TRY(begin(s, ca, want, &f));
	return check_with_key(s, &f, &with);
}

st ca_authority_found(struct scope *s, struct ca *ca, const struct ca_founding *want, struct ca_authority **out)
{
	struct ca_flight_slot slot = { 0 };
	struct founding f;
	TRY(begin(s, ca, want, &f));
	(void)pthread_mutex_lock(&founding_mutex);
	st status = ca_flight_begin(s, ca, &slot);
	if (status.code == E_OK) {
		status = found_with_key(s, &f, out);
		ca_flight_end(ca, &slot);
	}
	(void)pthread_mutex_unlock(&founding_mutex);
	ca_wake(ca); /* its first CRL is due */
	return status;
}

/* ---- certificates that come from outside ---- */

struct pem_list {
	span der[CHAIN_MAX + 1];
	size_t count;
};

static st keep_pem(struct scope *s, span der, void *arg)
{
	struct pem_list *list = arg;
	if (list->count > CHAIN_MAX)
		return fail(s, E_LIMIT, "a chain has more than %d certificates", CHAIN_MAX);
	list->der[list->count++] = scope_copy(s, der);
	return OK;
}

/* Each certificate must be signed by the next; the first is the CA's own. */
static st check_chain(struct scope *s, const struct pem_list *list)
{
	for (size_t i = 0; i + 1 < list->count; i++) {
		struct pki_certificate *c = scope_new(s, struct pki_certificate);
		struct pki_certificate *issuer = scope_new(s, struct pki_certificate);
		TRY(pki_certificate_read(s, list->der[i], c));
		TRY(pki_certificate_read(s, list->der[i + 1], issuer));
		const struct alg_signature *algorithm = alg_signature_of_identifier(c->signature_identifier);
		if (!span_equal(c->issuer, issuer->subject) || algorithm == NULL)
			return fail(s, E_CRYPTO, "certificate %zu of the chain was not issued by the one that follows it",
				    i + 1);
		struct pki_key *key;
		TRY(pki_key_new(s, issuer->spki, &key));
		st status = pki_key_verify(s, key, algorithm, c->tbs, c->signature);
		pki_key_free(key);
		TRY(fail_context(s, status, "certificate %zu of the chain", i + 1));
	}
	return OK;
}

/* All but the first, which is the CA's own; there is room for the rest. */
static void set_chain(struct ca_new_authority *row, const struct pem_list *list)
{
	row->chain_count = list->count - 1;
	memcpy(row->chain, list->der + 1, row->chain_count * sizeof row->chain[0]);
}

static st read_chain(struct scope *s, span pem, struct pem_list *out, struct pki_certificate *own)
{
	TRY(pki_pem_each(s, pem, "CERTIFICATE", keep_pem, out));
	if (out->count == 0)
		return fail(s, E_INPUT, "there is no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----");
	TRY(check_chain(s, out));
	return pki_certificate_read(s, out->der[0], own);
}

struct completion {
	struct ca_new_authority row;
	struct ca_record record;
};

st ca_authority_enter_completion(struct scope *s, struct db_tx *tx, const struct ca_new_authority *new)
{
	int64_t changed;
	AUTO_BUF chain = { 0 };
	TRY(ca_chain_write(s, &chain, new->chain, new->chain_count));
	TRY(db_exec(s, tx, &sql_authority_complete,
		    DB_VALUES(db_integer(new->id), db_blob(new->certificate), db_blob(buf_span(&chain))), &changed));
	if (changed != 1)
		return fail(s, E_STATE, "CA '%s' does not wait for a certificate any more", new->name);
	return tell_vas(s, tx, new);
}

static st enter_completion(struct scope *s, struct db_tx *tx, void *arg)
{
	struct completion *c = arg;
	TRY(ca_authority_enter_completion(s, tx, &c->row));
	return ca_entry_record(s, tx, &c->record);
}

static st must_fit(struct scope *s, const struct ca_authority *a, const struct pki_certificate *own)
{
	if (a->state != CA_WAITING)
		return fail(s, E_STATE, "CA '%s' does not wait for a certificate", a->name);
	if (!span_equal(own->subject, a->subject) || !span_equal(own->spki, a->spki))
		return fail(s, E_CONFLICT, "that certificate is not for CA '%s': subject and key must be those of its request",
			    a->name);
	return OK;
}

st ca_authority_complete(struct scope *s, struct ca *ca, span name, span certificate_pem, const char *actor,
			 struct ca_authority **out)
{
	struct ca_authority *a;
	struct pem_list list = { 0 };
	struct pki_certificate *own = scope_new(s, struct pki_certificate);
	TRY(ca_authority_named(s, ca, name, &a));
	TRY(read_chain(s, certificate_pem, &list, own));
	TRY(must_fit(s, a, own));
	AUTO_EVENT event = { 0 };
	struct completion c = { .row = { .id = a->id,
					 .name = a->name,
					 .profile = a->profile->name,
					 .key = a->key,
					 .algorithm = a->algorithm->name,
					 .subject = a->subject,
					 .spki = a->spki,
					 .certificate = own->der,
					 .request = a->request,
					 .crl_url = a->crl_url,
					 .issuer_url = a->issuer_url,
					 .ocsp_url = a->ocsp_url,
					 .cps_url = a->cps_url,
					 .crl_hours = a->crl_hours },
				.record = { .event = &event } };
	set_chain(&c.row, &list);
	TRY(ca_authority_record(s, &c.row, actor, &event));
	TRY(db_tx(s, ca->db, enter_completion, &c));
	TRY(ca_authority_load(s, ca));
	ca_push_wake(ca);
	TRY(ca_relay_deliver(s, ca, &c.record));
	ca_wake(ca);
	return ca_authority_named(s, ca, name, out);
}

static st prepare_take_in(struct scope *s, struct ca *ca, const char *name, const char *certificate_pem, struct founding *f)
{
	struct pem_list list = { 0 };
	struct pki_certificate *own = scope_new(s, struct pki_certificate);
	TRY(check_name(s, name));
	TRY(read_chain(s, span_str(certificate_pem), &list, own));
	f->row = (struct ca_new_authority){ .name = name,
					    .state = CA_EXTERNAL,
					    .subject = own->subject,
					    .spki = own->spki,
					    .certificate = own->der,
					    .profile = "",
					    .key = "",
					    .algorithm = "" };
	set_chain(&f->row, &list);
	return check_free(s, ca, name, own->subject, &f->row.id);
}

st ca_authority_take_in_check(struct scope *s, struct ca *ca, const char *name, const char *certificate_pem)
{
	struct founding f = { .ca = ca };
	return prepare_take_in(s, ca, name, certificate_pem, &f);
}

st ca_authority_take_in(struct scope *s, struct ca *ca, const char *name, const char *certificate_pem, bool approved,
			const char *actor, struct ca_authority **out)
{
	struct founding f = { .ca = ca, .actor = actor };
	//= tsps#5.2.2 no one person has the repository publish another's CA as ours
	if (ca->reg != NULL && !approved)
		return ca_register_refuse(s, ca, "ca.take-in", actor, "A CA that is run elsewhere is taken in");
	TRY(prepare_take_in(s, ca, name, certificate_pem, &f));
	return store_founding(s, &f, out);
}
