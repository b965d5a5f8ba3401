/* `chancery ca`: the logical CAs. `create` makes one more in one command: token, key, certificate by the off-line root, OCSP
 * signer, first CRL. */
#include "cli_ca.h"
#include "cli_found.h"
#include "cli_nouns.h"
#include "file.h"
#include "key_protocol.h"
#include "pki_certificate.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "pki_profile.h"

static st list(struct scope *s, struct cli *c)
{
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, api, "GET", "/v1/cas", NULL, &answer));
	json_t *cas = json_is_array(answer) ? answer : json_object_get(answer, "cas");
	if (c->json)
		return cli_print(s, c, json_incref(cas));
	json_t *rows = json_array();
	size_t i;
	json_t *ca;
	json_array_foreach(cas, i, ca)(void) json_array_append_new(
		rows, json_pack("{s:s, s:s, s:s, s:s}", "ca", cli_member(ca, "name"), "profile", cli_member(ca, "profile"),
				"state", cli_member(ca, "state"), "subject", cli_member(ca, "subject")));
	return cli_print(s, c, rows);
}

static st show(struct scope *s, struct cli *c)
{
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, api, "GET", scope_printf(s, "/v1/cas/%s", cli_escape(s, c->argument[0])), NULL, &answer));
	if (cli_get(c, "out") != NULL)
		TRY(cli_write_out(s, c, cli_get(c, "out"), span_str(cli_member(answer, "certificate"))));
	return cli_print(s, c, TAKE(answer));
}

/* A new CA is reached at the same places as the issuing one. */
static json_t *urls_like_issuing(struct scope *s, const struct cli *c, const char *name)
{
	json_t *body = json_object();
	(void)json_object_set_new(body, "ocsp_url", json_string(c->conf.ocsp_url));
	(void)json_object_set_new(body, "crl_url", json_string(scope_printf(s, "%scrl/%s.crl", c->conf.repository_url, name)));
	(void)json_object_set_new(body, "issuer_url",
				  json_string(scope_printf(s, "%sca/%s.crt", c->conf.repository_url, name)));
	return body;
}

static st wish(struct scope *s, const struct cli *c, const struct cli_ca_key *key, json_t *more, json_t **out)
{
	json_t *body = json_pack("{s:s, s:s, s:s, s:s}", "name", key->name, "profile", key->profile, "subject", key->subject,
				 "key", key->name);
	AUTO(json_t) *urls = urls_like_issuing(s, c, key->name);
	AUTO(json_t) *added = more;
	if (json_object_update(body, urls) != 0 || (added != NULL && json_object_update(body, added) != 0)) {
		json_decref(body);
		return fail(s, E_BUG, "JSON");
	}
	const char *member;
	json_t *value;
	void *next;
	json_object_foreach_safe(body, next, member, value) if (json_is_null(value))(void) json_object_del(body, member);
	*out = body;
	return OK;
}

/* "crl_url" is crl-url in the operation; whether it is a request only follows from the profile. */
static void as_parameters(struct scope *s, const struct cli_ceremony *m, json_t *body,
			  const char *out[2 * CONTROL_PARAMETERS + 3])
{
	size_t count = 0;
	const char *member;
	json_t *value;
	json_object_foreach(body, member, value)
	{
		if (!json_is_string(value) || count + 4 > 2 * CONTROL_PARAMETERS)
			continue;
		char *hyphened = scope_printf(s, "%s", member);
		for (char *at = strchr(hyphened, '_'); at != NULL; at = strchr(at, '_'))
			*at = '-';
		out[count++] = hyphened;
		out[count++] = scope_printf(s, "%s", json_string_value(value));
	}
	out[count++] = "decision";
	out[count++] = m->decision;
	out[count] = NULL;
}

st cli_ca_plan(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, json_t *more)
{
	const char *parameters[2 * CONTROL_PARAMETERS + 3];
	AUTO(json_t) *body = NULL;
	TRY(wish(s, m->c, key, more, &body));
	as_parameters(s, m, body, parameters);
	return cli_ceremony_plan(s, m, "ca", "ca.create", parameters);
}

static st create_by_persons(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, json_t *body, json_t **out)
{
	const char *parameters[2 * CONTROL_PARAMETERS + 3];
	as_parameters(s, m, body, parameters);
	TRY(cli_ceremony_do(s, m, "ca", "ca.create", parameters));
	return cli_api_call(s, m->api, "GET", scope_printf(s, "/v1/cas/%s", cli_escape(s, key->name)), NULL, out);
}

st cli_ca_request(struct scope *s, const struct cli *c, struct cli_api *api, struct cli_ceremony *m,
		  const struct cli_ca_key *key, json_t *more, json_t **out)
{
	AUTO(json_t) *body = NULL;
	TRY(wish(s, c, key, more, &body));
	if (strcmp(key->name, "root") != 0 && m != NULL)
		return create_by_persons(s, m, key, body, out);
	return cli_api_call(s, api, "POST", "/v1/cas", TAKE(body), out);
}

st cli_ca_certify(struct scope *s, const struct cli *c, struct cli_api *api, struct cli_root *root, const char *name,
		  const char *profile, const char *request)
{
	const char *certificate, *chain;
	TRY(cli_root_sign(s, root, profile, request, &certificate, &chain));
	AUTO(json_t) *done = NULL;
	TRY(cli_api_call(s, api, "PUT", scope_printf(s, "/v1/cas/%s/certificate", name),
			 json_pack("{s:s, s:s}", "certificate", certificate, "chain", chain), &done));
	return cli_found_keep(s, c, name, certificate);
}

static st make_key(struct scope *s, const struct cli *c, struct cli_ceremony *m, const struct cli_ca_key *key)
{
	if (m == NULL) {
		TRY(cli_found_token(s, c, "ca", key->name, NULL));
		return cli_found_ca_key(s, c, key->name, key->profile, key->type, key->subject);
	}
	TRY(cli_ca_groups(s, m, key, 1));
	TRY(cli_ca_activate(s, m, key, 1));
	return cli_ca_keys(s, m, key, 1);
}

static st certify_with_root(struct scope *s, const struct cli *c, struct cli_api *api, struct cli_ceremony *m,
			    const struct cli_ca_key *key, const char *request)
{
	static const struct cli_ca_key root_key = { .zone = "root", .name = "root" };
	struct cli_root root;
	TRY(cli_root_open(s, c, m, &root));
	st certified = m == NULL ? OK : cli_ca_allow(s, m, &root_key, key);
	if (certified.code == E_OK)
		certified = cli_ca_certify(s, c, api, &root, key->name, key->profile, request);
	cli_root_close(&root);
	TRY(certified);
	return cli_root_import(s, c);
}

/* Before a token is made that nobody needs. */
static st check_wish(struct scope *s, struct cli_api *api, const char *name, const char *profile, const char *subject,
		     const char *type)
{
	span parsed;
	AUTO(json_t) *there = NULL;
	TRY(key_label_check(s, name));
	TRY(fail_context(s, pki_name_parse(s, span_str(subject), &parsed), "--subject"));
	if (pki_profile_named(span_str(profile)) == NULL)
		return fail(s, E_NOTFOUND, "there is no profile %s; `chancery profile list` names them", profile);
	if (alg_key_named(span_str(type)) == NULL)
		return fail(s, E_INPUT,
			    "--type %s: there are ec-p256, ec-p384, ec-p521, ec-brainpoolp512r1, rsa-3072 and rsa-4096", type);
	st asked = cli_api_call(s, api, "GET", scope_printf(s, "/v1/cas/%s", cli_escape(s, name)), NULL, &there);
	if (asked.code == E_OK)
		return fail(s, E_CONFLICT, "there is a CA %s already; `chancery ca show %s` shows it", name, name);
	if (asked.code != E_NOTFOUND)
		return asked;
	scope_clear_error(s);
	return OK;
}

static st create_ca(struct scope *s, struct cli *c, struct cli_api *api, struct cli_ceremony *m, const struct cli_ca_key *key)
{
	const char *name = key->name;
	AUTO(json_t) *made = NULL;
	cli_progress(c, "Token and key of %s ...", name);
	TRY(make_key(s, c, m, key));
	TRY(cli_ca_request(s, c, api, m, key, json_pack("{s:b}", "request_only", true), &made));
	const char *request;
	TRY(cli_found_member(s, made, "request", &request));
	if (cli_get(c, "request-out") != NULL) {
		TRY(cli_write_out(s, c, cli_get(c, "request-out"), span_str(request)));
		return cli_print(s, c,
				 json_pack("{s:s, s:s, s:s}", "ca", name, "state", "waiting", "next",
					   "have the request certified, then `chancery ca complete NAME --cert FILE`"));
	}
	cli_progress(c, "Certificate by the off-line root ...");
	TRY(certify_with_root(s, c, api, m, key, request));
	cli_progress(c, "OCSP signer and first CRL ...");
	TRY(cli_found_ocsp_signer(s, c, api, name, cli_get_or(c, "ocsp-subject", scope_printf(s, "%s OCSP", key->subject)), 0,
				  NULL));
	AUTO(json_t) *crl = NULL;
	TRY(cli_api_call(s, api, "POST", scope_printf(s, "/v1/cas/%s/crls", cli_escape(s, name)), json_object(), &crl));
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:s}", "ca", name, "state", "active", "certificate",
				   scope_printf(s, "%s/%s.pem", c->conf.certificates, name)));
}

static st create(struct scope *s, struct cli *c)
{
	const struct cli_ca_key key = { .zone = "ca",
					.name = c->argument[0],
					.profile = cli_get_or(c, "profile", "issuing-ca"),
					.type = cli_get_or(c, "type", "ec-p256"),
					.subject = cli_get(c, "subject") };
	AUTO(cli_api) *api = NULL;
	AUTO(cli_ceremony) *m = NULL;
	TRY(cli_api_open(s, c, &api));
	TRY(check_wish(s, api, key.name, key.profile, key.subject, key.type));
	if (cli_ceremony_here(c))
		TRY(cli_ceremony_open(s, c, api, &m));
	return create_ca(s, c, api, m, &key);
}

static st complete(struct scope *s, struct cli *c)
{
	const char *name = c->argument[0];
	struct pki_certificate cert;
	TRY(cli_read_certificate(s, cli_get(c, "cert"), &cert));
	json_t *body = json_pack("{s:s}", "certificate", pki_pem_write(s, "CERTIFICATE", cert.der));
	AUTO(json_t) *sent = body;
	if (cli_get(c, "chain") != NULL) {
		span chain;
		TRY(file_read(s, cli_get(c, "chain"), 1u << 20, &chain));
		(void)json_object_set_new(sent, "chain", json_stringn((const char *)chain.data, chain.len));
	}
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	AUTO(json_t) *done = NULL;
	TRY(cli_api_call(s, api, "PUT", scope_printf(s, "/v1/cas/%s/certificate", cli_escape(s, name)), TAKE(sent), &done));
	TRY(cli_found_keep(s, c, name, pki_pem_write(s, "CERTIFICATE", cert.der)));
	if (cli_get(c, "ocsp-subject") != NULL)
		TRY(cli_found_ocsp_signer(s, c, api, name, cli_get(c, "ocsp-subject"), 0, NULL));
	return cli_print(s, c, TAKE(done));
}

static const struct cli_option show_options[] = { { .name = "out", .value = "FILE", .help = "write its certificate there" } };
static const struct cli_option create_options[] = {
	{ .name = "subject", .value = "NAME", .required = true, .help = "its name: 'C=BE, O=Example, CN=Example CA 2'" },
	{ .name = "profile", .value = "PROFILE", .help = "default: issuing-ca" },
	{ .name = "type",
	  .value = "TYPE",
	  .help = "of its key: ec-p256 (default), ec-p384, ec-p521, ec-brainpoolp512r1, rsa-3072, rsa-4096" },
	{ .name = "ocsp-subject",
	  .value = "NAME",
	  .help = "name of its OCSP signer (default: the CA's, with OCSP behind its CN)" },
	{ .name = "request-out", .value = "FILE", .help = "stop at the request: the root is kept elsewhere" },
	CLI_CEREMONY_OPTIONS,
};
static const struct cli_option complete_options[] = {
	{ .name = "cert", .value = "FILE", .required = true, .help = "the certificate its root made" },
	{ .name = "chain", .value = "FILE", .help = "certificates above it, PEM" },
	{ .name = "ocsp-subject", .value = "NAME", .help = "also make its OCSP signer, with this name" },
};
static const struct cli_command commands[] = {
	{ .verb = "list", .summary = "List the logical CAs", .example = "ca list", .run = list },
	{ .verb = "show",
	  .arguments = "NAME",
	  .summary = "Show a CA",
	  .example = "ca show issuing",
	  CLI_OPTIONS(show_options),
	  .run = show },
	{ .verb = "create",
	  .arguments = "NAME",
	  .summary = "Add a CA below the root: token, key, certificate, OCSP signer and first CRL in one command",
	  .example =
		  "ca create seals --subject 'C=BE, O=Example NV, organizationIdentifier=NTRBE-0123456789, CN=Example Seal CA'",
	  CLI_OPTIONS(create_options),
	  .run = create },
	{ .verb = "complete",
	  .arguments = "NAME",
	  .summary = "Bring a CA the certificate that a root kept elsewhere made for its request",
	  .example = "ca complete seals --cert seals.pem --chain root.pem",
	  CLI_OPTIONS(complete_options),
	  .run = complete },
};
const struct cli_noun cli_noun_ca = { "ca", "logical certification authorities", CLI_COMMANDS(commands) };
