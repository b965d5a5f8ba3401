/* Which certificates a key has: those of the installation's directory, and those that the ca knows of its CAs and OCSP signers. */
#include "cli_api.h"
#include "cli_cert.h"
#include "cli_key.h"
#include "file.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_pem.h"

#define CERTIFICATES_MAX 10000u

static st add(struct scope *s, struct cli_key_certificates *to, const struct pki_certificate *cert, const char *state)
{
	char until[MOMENT_TEXT_MAX];
	char *subject, *issuer;
	const char *serial = cli_serial_text(s, cert->serial);
	TRY(pki_name_text(s, cert->subject, &subject));
	TRY(pki_name_text(s, cert->issuer, &issuer));
	for (size_t i = 0; i < to->count; i++)
		if (strcmp(cli_member(to->row[i].shown, "serial"), serial) == 0 &&
		    strcmp(cli_member(to->row[i].shown, "issuer"), issuer) == 0)
			return OK;
	if (to->count == CERTIFICATES_MAX)
		return fail(s, E_LIMIT, "at most %u certificates are looked at", CERTIFICATES_MAX);
	json_t *shown =
		json_pack("{s:s, s:s, s:s, s:s, s:s}", "serial", serial, "not_after", moment_text(cert->not_after, until),
			  "state", cert->not_after <= scope_now(s) ? "expired" : state, "subject", subject, "issuer", issuer);
	(void)json_array_append_new(to->owner, shown);
	to->row[to->count++] = (struct cli_key_certificate){ cert->spki, shown };
	return OK;
}

/* Files that are no certificates are none of ours. */
static st add_directory(struct scope *s, const char *directory, struct cli_key_certificates *to)
{
	char **names;
	size_t count;
	if (directory == NULL || !file_exists(directory))
		return OK;
	TRY(file_list(s, directory, &names, &count));
	for (size_t i = 0; i < count; i++) {
		struct pki_certificate cert;
		if (cli_read_certificate(s, scope_printf(s, "%s/%s", directory, names[i]), &cert).code == E_OK)
			TRY(add(s, to, &cert, "on file"));
		scope_clear_error(s);
	}
	return OK;
}

static st add_answer(struct scope *s, const json_t *answer, const char *state, struct cli_key_certificates *to)
{
	span der;
	struct pki_certificate cert;
	if (cli_member(answer, "certificate")[0] == 0)
		return OK;
	TRY(pki_pem_or_der(s, span_str(cli_member(answer, "certificate")), "CERTIFICATE", &der));
	TRY(pki_certificate_read(s, der, &cert));
	return add(s, to, &cert, state);
}

static st add_cas(struct scope *s, struct cli_api *api, struct cli_key_certificates *to)
{
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, api, "GET", "/v1/cas", NULL, &answer));
	size_t i;
	const json_t *ca;
	json_array_foreach(json_object_get(answer, "cas"), i, ca) TRY(add_answer(s, ca, cli_member(ca, "state"), to));
	return OK;
}

/* Those with a key in a keyd; the others are TLS certificates of daemons. */
static st add_identities(struct scope *s, struct cli_api *api, struct cli_key_certificates *to)
{
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, api, "GET", "/v1/identities", NULL, &answer));
	size_t i;
	const json_t *identity;
	json_array_foreach(json_object_get(answer, "identities"), i, identity)
	{
		AUTO(json_t) *certificate = NULL;
		if (cli_member(identity, "key")[0] == 0)
			continue;
		TRY(cli_api_call(s, api, "GET", scope_printf(s, "/v1/certificates/%s", cli_member(identity, "serial")), NULL,
				 &certificate));
		TRY(add_answer(s, certificate, cli_member(certificate, "state"), to));
	}
	return OK;
}

static st ask_ca(struct scope *s, const struct cli *c, struct cli_key_certificates *to)
{
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	TRY(add_cas(s, api, to));
	return add_identities(s, api, to);
}

/* The ca first: it knows more of a certificate than a file does. */
st cli_key_certificates(struct scope *s, const struct cli *c, struct cli_key_certificates *out)
{
	*out = (struct cli_key_certificates){ .row = scope_alloc(s, CERTIFICATES_MAX * sizeof *out->row),
					      .owner = json_array() };
	if (ask_ca(s, c, out).code != E_OK)
		out->silent = scope_printf(s, "the ca was not asked: %s", s->message);
	scope_clear_error(s);
	return add_directory(s, c->conf.certificates, out);
}

void cli_key_certificates_free(struct cli_key_certificates *certificates)
{
	json_decref(certificates->owner);
	certificates->owner = NULL;
}

json_t *cli_key_certificates_of(const struct cli_key_certificates *certificates, const struct cli_key *key)
{
	json_t *out = json_array();
	for (size_t i = 0; i < certificates->count; i++)
		if (span_equal(certificates->row[i].spki, key->entry.info.spki))
			(void)json_array_append(out, certificates->row[i].shown);
	return out;
}
