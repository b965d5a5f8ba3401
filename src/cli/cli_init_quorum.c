#include "cli_init_quorum.h"
#include "cli_found.h"
#include "cli_key.h"
#include "digest.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_profile.h"
#include "text.h"

/* A proposal's parameters, name and value in turn. */
#define PARAMETERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

st cli_init_quorum_key(struct scope *s, const struct cli *c, struct cli_api *api, const char *zone, const char *name,
		       const char *profile, const char *type, const char *subject)
{
	struct key_info want;
	const char *instance = scope_printf(s, "keyd/%s", zone);
	TRY(cli_found_ca_key_wanted(s, name, profile, type, subject, &want));
	TRY(cli_rehearsal_do(s, c, api, instance, "group.create",
			     PARAMETERS("group", name, "threshold", "2", "custodian", "p7", "custodian", "p8", "custodian",
					"p9", "decision", CLI_REHEARSAL_DECISION)));
	TRY(cli_rehearsal_activate(s, c, api, zone, name));
	return cli_rehearsal_do(s, c, api, instance, "key.generate",
				PARAMETERS("group", name, "key", name, "type", type, "purpose", "certificate", "purpose", "crl",
					   "purpose", "request", "backup", "none", "issuer", base64_text(s, want.limits.issuer),
					   "issues-to-cas", want.limits.ca ? "yes" : "no", "validity-days",
					   scope_printf(s, "%u", want.limits.validity_days), "decision",
					   CLI_REHEARSAL_DECISION));
}

static st subject_of(struct scope *s, const struct pki_profile *profile, const char *subject, char **out)
{
	span asked, name;
	TRY(pki_name_parse(s, span_str(subject), &asked));
	TRY(pki_profile_subject(s, profile, asked, &name));
	return pki_name_text(s, name, out);
}

st cli_init_quorum_certify(struct scope *s, const struct cli *c, struct cli_api *api, const char *zone, const char *issuer,
			   const char *name, const char *profile_name, const char *subject)
{
	const struct pki_profile *profile = pki_profile_named(span_str(profile_name));
	AUTO(key_client) *client = NULL;
	struct key_info key;
	char *text, until[MOMENT_TEXT_MAX];
	uint8_t room[DIGEST_MAX];
	TRY(subject_of(s, profile, subject, &text));
	TRY(cli_key_open(s, c, strcmp(name, "root") == 0 ? "root" : "ca", &client));
	TRY(key_find(s, client, name, &key));
	return cli_rehearsal_do(s, c, api, scope_printf(s, "keyd/%s", zone), "ca.certify",
				PARAMETERS("key", issuer, "subject", text, "subject-key",
					   hex_text(s, digest_of(DIGEST_SHA256, key.spki, room)), "not-after",
					   moment_text(scope_now(s) + profile->max_validity + MOMENT_DAY, until), "decision",
					   CLI_REHEARSAL_DECISION));
}

st cli_init_quorum_management(struct scope *s, const struct cli *c, struct cli_api *api)
{
	struct pki_certificate certificate;
	span crl;
	TRY(cli_read_certificate(s, scope_printf(s, "%s/management.pem", c->conf.certificates), &certificate));
	TRY(cli_api_fetch(s, api, CLI_MANAGEMENT_CRL, &crl));
	TRY(cli_rehearsal_do(s, c, api, "register", "management.certificate",
			     PARAMETERS("certificate", base64_text(s, certificate.der), "crl", base64_text(s, crl), "group",
					"management", "holder", "keyd/ca")));
	return cli_rehearsal_export(s, c, api);
}
