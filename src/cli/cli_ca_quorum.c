#include "cli_ca_quorum.h"
#include "cli_found.h"
#include "cli_key.h"
#include "digest.h"
#include "moment.h"
#include "pki_certificate.h"
#include "pki_name.h"
#include "pki_profile.h"
#include "text.h"

/* Name and value in turn, NULL at the end. */
struct words {
	const char *word[2 * (KEY_SHARES_MAX + CONTROL_PARAMETERS)];
	size_t count;
};

static void put(struct words *w, const char *name, const char *value)
{
	w->word[w->count++] = name;
	w->word[w->count++] = value;
	w->word[w->count] = NULL;
}

static const char *instance_of(struct scope *s, const struct cli_ca_key *key)
{
	return scope_printf(s, "keyd/%s", key->zone);
}

/* ---- key groups ---- */

static st has_group(struct scope *s, const struct cli *c, const struct cli_ca_key *key, bool *out)
{
	AUTO(key_client) *client = NULL;
	struct key_status status;
	*out = false;
	TRY(cli_key_open(s, c, key->zone, &client));
	TRY(key_status(s, client, &status));
	for (size_t i = 0; i < status.token_count; i++)
		*out = *out || strcmp(status.tokens[i].label, key->name) == 0;
	return OK;
}

/* All who hold the role now, up to what a group can have. */
static st put_custodians(struct scope *s, struct cli_ceremony *m, struct words *w)
{
	AUTO(control_register) *r = NULL;
	const struct control_person *p;
	unsigned count = 0;
	TRY(cli_register_open(s, m->c, m->api, NULL, &r));
	for (size_t i = 0; (p = control_person_at(r, i)) != NULL && count < KEY_SHARES_MAX; i++)
		if ((control_roles_held(p, scope_now(s)) & CONTROL_IS(KEY_CUSTODIAN)) != 0) {
			put(w, "custodian", scope_printf(m->scope, "%s", p->id));
			count++;
		}
	return count >= m->threshold ? OK
				     : fail(s, E_STATE, "there are %u key custodians on the register, and %u are needed", count,
					    m->threshold);
}

static st plan_group(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key)
{
	bool there;
	struct words w = { .count = 0 };
	TRY(has_group(s, m->c, key, &there));
	if (there)
		return OK;
	put(&w, "group", key->name);
	put(&w, "threshold", scope_printf(s, "%u", m->threshold));
	TRY(put_custodians(s, m, &w));
	put(&w, "decision", m->decision);
	return cli_ceremony_plan(s, m, instance_of(s, key), "group.create", w.word);
}

static st finish(struct scope *s, struct cli_ceremony *m)
{
	TRY(cli_ceremony_approve(s, m));
	return cli_ceremony_carry_out_all(s, m);
}

st cli_ca_groups(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, size_t count)
{
	for (size_t i = 0; i < count; i++)
		TRY(plan_group(s, m, &key[i]));
	return finish(s, m);
}

st cli_ca_activate(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, size_t count)
{
	struct cli_ceremony_group group[CLI_CEREMONY_ROWS_MAX] = { 0 };
	for (size_t i = 0; i < count && i + 1 < CLI_CEREMONY_ROWS_MAX; i++)
		group[i] = (struct cli_ceremony_group){ key[i].zone, key[i].name };
	return cli_ceremony_activate(s, m, group);
}

/* ---- keys ---- */

static st find_key(struct scope *s, const struct cli *c, const struct cli_ca_key *key, struct key_info *out)
{
	AUTO(key_client) *client = NULL;
	TRY(cli_key_open(s, c, key->zone, &client));
	return key_find(s, client, key->name, out);
}

static st plan_key(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key)
{
	struct key_info want;
	struct words w = { .count = 0 };
	st found = find_key(s, m->c, key, &want);
	if (found.code != E_NOTFOUND)
		return found;
	scope_clear_error(s);
	TRY(cli_found_ca_key_wanted(s, key->name, key->profile, key->type, key->subject, &want));
	put(&w, "group", key->name);
	put(&w, "key", key->name);
	put(&w, "type", key->type);
	put(&w, "purpose", "certificate");
	put(&w, "purpose", "crl");
	put(&w, "purpose", "request");
	put(&w, "backup", "none");
	put(&w, "issuer", base64_text(s, want.limits.issuer));
	put(&w, "issues-to-cas", want.limits.ca ? "yes" : "no");
	put(&w, "validity-days", scope_printf(s, "%u", want.limits.validity_days));
	put(&w, "decision", m->decision);
	return cli_ceremony_plan(s, m, instance_of(s, key), "key.generate", w.word);
}

st cli_ca_keys(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, size_t count)
{
	for (size_t i = 0; i < count; i++)
		TRY(plan_key(s, m, &key[i]));
	return finish(s, m);
}

/* ---- certificates of CAs ---- */

static st subject_of(struct scope *s, const struct pki_profile *profile, const char *subject, char **out)
{
	span asked, name;
	TRY(pki_name_parse(s, span_str(subject), &asked));
	TRY(pki_profile_subject(s, profile, asked, &name));
	return pki_name_text(s, name, out);
}

static st certify_words(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *issuer, const struct cli_ca_key *key,
			struct words *w)
{
	const struct pki_profile *profile = pki_profile_named(span_str(key->profile));
	struct key_info info;
	char *subject, until[MOMENT_TEXT_MAX];
	uint8_t room[DIGEST_MAX];
	if (profile == NULL)
		return fail(s, E_NOTFOUND, "there is no profile %s; `chancery profile list` names them", key->profile);
	TRY(subject_of(s, profile, key->subject, &subject));
	TRY(find_key(s, m->c, key, &info));
	/* whole days, so that what is carried out is what was proposed a while ago */
	int64_t not_after = (scope_now(s) + profile->max_validity) / MOMENT_DAY * MOMENT_DAY + 2 * MOMENT_DAY;
	put(w, "key", issuer->name);
	put(w, "subject", subject);
	put(w, "subject-key", hex_text(s, digest_of(DIGEST_SHA256, info.spki, room)));
	put(w, "not-after", scope_printf(s, "%s", moment_text(not_after, until)));
	put(w, "decision", m->decision);
	return OK;
}

st cli_ca_plan_certify(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *issuer, const struct cli_ca_key *key)
{
	struct words w = { .count = 0 };
	TRY(certify_words(s, m, issuer, key, &w));
	return cli_ceremony_plan(s, m, instance_of(s, issuer), "ca.certify", w.word);
}

st cli_ca_allow(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *issuer, const struct cli_ca_key *key)
{
	struct words w = { .count = 0 };
	TRY(certify_words(s, m, issuer, key, &w));
	return cli_ceremony_do(s, m, instance_of(s, issuer), "ca.certify", w.word);
}

static st certificate_of(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, struct pki_certificate *out)
{
	return cli_read_certificate(s, scope_printf(s, "%s/%s.pem", m->c->conf.certificates, key->name), out);
}

static st take_in_words(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, struct words *w)
{
	struct pki_certificate certificate;
	char *subject;
	TRY(certificate_of(s, m, key, &certificate));
	TRY(pki_name_text(s, certificate.subject, &subject));
	put(w, "name", key->name);
	put(w, "subject", subject);
	put(w, "certificate", base64_text(s, certificate.der));
	put(w, "decision", m->decision);
	return OK;
}

st cli_ca_plan_take_in(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key)
{
	struct words w = { .count = 0 };
	TRY(take_in_words(s, m, key, &w));
	return cli_ceremony_plan(s, m, "ca", "ca.take-in", w.word);
}

st cli_ca_take_in(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key)
{
	struct words w = { .count = 0 };
	TRY(take_in_words(s, m, key, &w));
	return cli_ceremony_do(s, m, "ca", "ca.take-in", w.word);
}

/* ---- the management CA of the register ---- */

static st management_words(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, struct words *w,
			   bool *out_named)
{
	AUTO(control_register) *r = NULL;
	struct pki_certificate certificate;
	span crl;
	TRY(cli_register_open(s, m->c, m->api, NULL, &r));
	*out_named = control_has_management(r);
	if (*out_named)
		return OK;
	TRY(certificate_of(s, m, key, &certificate));
	TRY(cli_api_fetch(s, m->api, CLI_MANAGEMENT_CRL, &crl));
	put(w, "certificate", base64_text(s, certificate.der));
	put(w, "crl", base64_text(s, crl));
	put(w, "group", key->name);
	put(w, "holder", instance_of(s, key));
	return OK;
}

st cli_ca_plan_management(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key)
{
	struct words w = { .count = 0 };
	bool named;
	TRY(management_words(s, m, key, &w, &named));
	return named ? OK : cli_ceremony_plan(s, m, "register", "management.certificate", w.word);
}

st cli_ca_name_management(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key)
{
	struct words w = { .count = 0 };
	bool named;
	TRY(management_words(s, m, key, &w, &named));
	if (!named)
		TRY(cli_ceremony_do(s, m, "register", "management.certificate", w.word));
	return cli_ceremony_export(s, m);
}
