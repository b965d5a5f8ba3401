/* What the ca itself carries out when the right persons have approved it: CAs, their certificates, the parameters of their CRLs. */
#include "ca_register.h"
#include "pki_certificate.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "text.h"

static const char *text(struct scope *s, const struct control_signed *o, const char *name)
{
	span value = control_parameter(&o->proposal, name, 0);
	return value.len > 0 ? scope_cstr(s, value) : NULL;
}

/* ---- ca.create ---- */

static struct ca_founding founding_of(struct scope *s, const struct control_signed *o)
{
	const struct pki_profile *profile = pki_profile_named(control_parameter(&o->proposal, "profile", 0));
	return (struct ca_founding){
		.name = text(s, o, "name"),
		.profile = text(s, o, "profile"),
		.subject = text(s, o, "subject"),
		.key = text(s, o, "key"),
		.algorithm = text(s, o, "algorithm"),
		.crl_url = text(s, o, "crl-url"),
		.issuer_url = text(s, o, "issuer-url"),
		.ocsp_url = text(s, o, "ocsp-url"),
		.cps_url = text(s, o, "cps-url"),
		.crl_hours = (int64_t)control_parameter_number(&o->proposal, "crl-hours", 0),
		.validity_days = (int64_t)control_parameter_number(&o->proposal, "validity-days", 0),
		.request_only = profile != NULL && profile->issuer != PKI_SELF_SIGNED,
		.approved = true,
		.actor = control_approvers_text(s, o),
	};
}

static st prepare_create(struct scope *s, struct ca *ca, const struct control_signed *o)
{
	const struct ca_founding want = founding_of(s, o);
	struct key_info *key = scope_new(s, struct key_info);
	TRY(ca_authority_found_check(s, ca, &want));
	TRY(key_find(s, ca->keyd, want.key, key));
	if (!key->usable)
		return fail(s, E_STATE, "key '%s' cannot sign now (%s): activate its group first", want.key, key->missing);
	return OK;
}

static st carry_out_create(struct scope *s, struct ca *ca, const struct control_signed *o)
{
	const struct ca_founding want = founding_of(s, o);
	struct ca_authority *a;
	return ca_authority_found(s, ca, &want, &a);
}

/* ---- ca.take-in ---- */

static const char *certificate_of(struct scope *s, const struct control_signed *o)
{
	return pki_pem_write(s, "CERTIFICATE", control_parameter_octets(s, &o->proposal, "certificate"));
}

/* What people read is what the certificate says. */
static st prepare_take_in(struct scope *s, struct ca *ca, const struct control_signed *o)
{
	struct pki_certificate certificate;
	char *subject;
	TRY(ca_authority_take_in_check(s, ca, text(s, o, "name"), certificate_of(s, o)));
	TRY(pki_certificate_read(s, control_parameter_octets(s, &o->proposal, "certificate"), &certificate));
	TRY(pki_name_text(s, certificate.subject, &subject));
	if (strcmp(subject, text(s, o, "subject")) != 0)
		return fail(s, E_INPUT, "the certificate is of %.200s, and the proposal says %.200s", subject,
			    text(s, o, "subject"));
	return OK;
}

static st carry_out_take_in(struct scope *s, struct ca *ca, const struct control_signed *o)
{
	struct ca_authority *a;
	return ca_authority_take_in(s, ca, text(s, o, "name"), certificate_of(s, o), true, control_approvers_text(s, o), &a);
}

/* ---- ca.revoke ---- */

static struct ca_revocation revocation_of(struct scope *s, const struct control_signed *o)
{
	return (struct ca_revocation){ .channel = "operation",
				       .serial = ca_magnitude(control_parameter_octets(s, &o->proposal, "serial")),
				       .reason = text(s, o, "reason"),
				       .approved = true,
				       .actor = control_approvers_text(s, o) };
}

static st prepare_revoke(struct scope *s, struct ca *ca, const struct control_signed *o)
{
	struct ca_certificate certificate;
	const struct ca_revocation want = revocation_of(s, o);
	TRY(ca_revoke_check(s, ca, &want, &certificate));
	const struct ca_authority *a = ca_authority_numbered(ca, certificate.ca);
	const char *named = text(s, o, "ca");
	if (a == NULL || strcmp(a->name, named) != 0)
		return fail(s, E_INPUT, "certificate %s was signed by the CA '%s', and the proposal names '%s'",
			    hex_text(s, want.serial), a != NULL ? a->name : "", named);
	if (certificate.state == CA_REVOKED)
		return fail(s, E_CONFLICT, "certificate %s is revoked already", hex_text(s, want.serial));
	return OK;
}

static st carry_out_revoke(struct scope *s, struct ca *ca, const struct control_signed *o)
{
	struct ca_revoked revoked;
	const struct ca_revocation want = revocation_of(s, o);
	return ca_revoke(s, ca, &want, &revoked);
}

/* ---- crl.parameters ---- */

static st prepare_crl(struct scope *s, struct ca *ca, const struct control_signed *o)
{
	struct ca_authority *a;
	uint64_t hours = control_parameter_number(&o->proposal, "crl-hours", 0);
	TRY(ca_authority_named(s, ca, control_parameter(&o->proposal, "ca", 0), &a));
	if (a->state == CA_EXTERNAL)
		return fail(s, E_STATE, "CA '%s' is run elsewhere: its CRLs are not made here", a->name);
	if (hours < 1 || hours > CA_CRL_HOURS_MAX)
		return fail(s, E_INPUT, "crl-hours is a number from 1 to %lld", (long long)CA_CRL_HOURS_MAX);
	return OK;
}

/* It is done from the record, which was read just before; so it is also where the database is older than the record. */
static st carry_out_crl(struct scope *s, struct ca *ca, const struct control_signed *o)
{
	(void)o;
	return ca_register_settle(s, ca);
}

const struct ca_effect ca_effects[] = {
	{ "ca.create", prepare_create, carry_out_create },
	{ "ca.take-in", prepare_take_in, carry_out_take_in },
	{ "ca.revoke", prepare_revoke, carry_out_revoke },
	{ "crl.parameters", prepare_crl, carry_out_crl },
};
const size_t ca_effect_count = sizeof ca_effects / sizeof ca_effects[0];
