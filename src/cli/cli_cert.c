/* `chancery cert`: certificates, by the ca's API; `show --cert` and `lint` also without it. */
#include "cli_api.h"
#include "cli_cert.h"
#include "cli_nearest.h"
#include "cli_nouns.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "pki_profile.h"
#include "text.h"

static json_t *extensions_json(struct scope *s, const struct pki_certificate *cert)
{
	json_t *out = json_array();
	for (size_t i = 0; i < cert->extension_count; i++) {
		const struct pki_extension *extension = &cert->extension[i];
		const struct pki_ext_ops *ops = pki_ext_of(extension->oid);
		char *text = NULL;
		if (ops == NULL || ops->print == NULL || ops->print(s, extension->value, &text).code != E_OK)
			text = hex_text(s, extension->value);
		scope_clear_error(s);
		(void)json_array_append_new(out, json_pack("{s:s, s:b, s:s}", "extension",
							   ops == NULL ? hex_text(s, extension->oid) : ops->name, "critical",
							   extension->critical, "value", text));
	}
	return out;
}

char *cli_serial_text(struct scope *s, span serial)
{
	while (serial.len > 1 && serial.data[0] == 0)
		serial = span_from(serial, 1);
	return hex_text(s, serial);
}

st cli_certificate_json(struct scope *s, const struct pki_certificate *cert, json_t **out)
{
	char *subject, *issuer;
	TRY(pki_name_text(s, cert->subject, &subject));
	TRY(pki_name_text(s, cert->issuer, &issuer));
	const struct alg_key *key;
	TRY(alg_key_of_spki(s, cert->spki, &key));
	const struct alg_signature *algorithm = alg_signature_of_identifier(cert->signature_identifier);
	char from[MOMENT_TEXT_MAX], to[MOMENT_TEXT_MAX];
	uint8_t digest[DIGEST_MAX];
	*out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "serial", cli_serial_text(s, cert->serial), "subject",
			 subject, "issuer", issuer, "not_before", moment_text(cert->not_before, from), "not_after",
			 moment_text(cert->not_after, to), "key", key->name, "signed_with",
			 algorithm == NULL ? "unknown" : algorithm->name, "sha256",
			 hex_text(s, digest_of(DIGEST_SHA256, cert->der, digest)), "extensions", extensions_json(s, cert));
	return OK;
}

/* The serial from --serial, or from the certificate of --cert. */
static st wanted_serial(struct scope *s, const struct cli *c, const char **out)
{
	const char *given = cli_get(c, "serial");
	const char *file = cli_get(c, "cert");
	if ((given == NULL) == (file == NULL))
		return fail(s, E_INPUT, "name one certificate, by --serial HEX or --cert FILE");
	if (file != NULL) {
		struct pki_certificate cert;
		TRY(cli_read_certificate(s, file, &cert));
		*out = cli_serial_text(s, cert.serial);
		return OK;
	}
	char *plain = scope_alloc(s, strlen(given) + 1);
	size_t n = 0;
	for (const char *at = given; *at != 0; at++)
		if (*at != ':')
			plain[n++] = *at;
	span bytes;
	TRY(fail_context(s, hex_parse(s, span_str(plain), &bytes), "--serial"));
	*out = cli_serial_text(s, bytes);
	return OK;
}

static const char *ca_of_profile(const struct cli *c, const struct pki_profile *profile)
{
	static const char *const standard[] = { [PKI_SELF_SIGNED] = "root",
						[PKI_BY_ROOT] = "root",
						[PKI_BY_ISSUING] = "issuing",
						[PKI_BY_MANAGEMENT] = "management" };
	return cli_get_or(c, "ca", standard[profile->issuer]);
}

static json_t *strings_of(const struct cli *c, const char *name)
{
	json_t *out = json_array();
	const char *value;
	for (size_t i = 0; (value = cli_get_at(c, name, i)) != NULL; i++)
		(void)json_array_append_new(out, json_string(value));
	return out;
}

static st issue_body(struct scope *s, const struct cli *c, const struct pki_profile *profile, json_t **out)
{
	span request;
	TRY(file_read(s, cli_get(c, "csr"), 65536, &request));
	if (request.len == 0)
		return fail(s, E_INPUT, "%s is empty: a CERTIFICATE REQUEST was expected", cli_get(c, "csr"));
	span der;
	TRY(fail_context(s,
			 pki_pem_or_der(s, request,
					memmem(request.data, request.len, "BEGIN NEW", 9) != NULL ? "NEW CERTIFICATE REQUEST"
												  : "CERTIFICATE REQUEST",
					&der),
			 "%s", cli_get(c, "csr")));
	json_t *body =
		json_pack("{s:s, s:s}", "profile", profile->name, "request", pki_pem_write(s, "CERTIFICATE REQUEST", der));
	static const struct {
		const char *option, *member;
	} texts[] = {
		{ "subject", "subject" }, { "request-id", "request_id" }, { "role", "role" }, { "identity", "identity" }
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (cli_get(c, texts[i].option) != NULL)
			(void)json_object_set_new(body, texts[i].member, json_string(cli_get(c, texts[i].option)));
	if (cli_get(c, "dns-name") != NULL)
		(void)json_object_set_new(body, "dns_names", strings_of(c, "dns-name"));
	if (cli_get(c, "ip-address") != NULL)
		(void)json_object_set_new(body, "ip_addresses", strings_of(c, "ip-address"));
	uint64_t days = 0;
	st number = cli_get_number(s, c, "validity-days", 0, 20000, &days);
	if (number.code == E_OK && days > 0)
		(void)json_object_set_new(body, "validity_days", json_integer((json_int_t)days));
	*out = body;
	return number;
}

/* The certificate, and behind it the chain when --chain was given. */
static char *with_chain(struct scope *s, const struct cli *c, const json_t *answer)
{
	const json_t *chain = json_object_get(answer, "chain");
	char *all = scope_printf(s, "%s", cli_member(answer, "certificate"));
	if (cli_get(c, "chain") == NULL)
		return all;
	if (json_is_string(chain))
		return scope_printf(s, "%s%s", all, json_string_value(chain));
	for (size_t i = 0; i < json_array_size(chain); i++)
		all = scope_printf(s, "%s%s", all, json_string_value(json_array_get(chain, i)));
	return all;
}

static st no_profile(struct scope *s, const char *name)
{
	struct cli_nearest near = { .word = span_str(name) };
	const struct pki_profile *p;
	for (size_t i = 0; (p = pki_profile_at(i)) != NULL; i++)
		cli_nearest_try(&near, p->name);
	return fail(s, E_NOTFOUND, "there is no profile %s%s; `chancery profile list` names them", name,
		    cli_nearest_question(s, &near, ""));
}

static st issue(struct scope *s, struct cli *c)
{
	const struct pki_profile *profile = pki_profile_named(span_str(cli_get(c, "profile")));
	if (profile == NULL)
		return no_profile(s, cli_get(c, "profile"));
	AUTO(json_t) *body = NULL;
	TRY(issue_body(s, c, profile, &body));
	TRY(cli_check_out(s, cli_get(c, "out")));
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, api, "POST", scope_printf(s, "/v1/cas/%s/certificates", cli_escape(s, ca_of_profile(c, profile))),
			 TAKE(body), &answer));
	char *pem = with_chain(s, c, answer);
	const char *out = cli_get(c, "out");
	if (out != NULL)
		TRY(fail_context(s, cli_write_out(s, c, out, span_str(pem)),
				 "certificate %s is issued and kept; `chancery cert show` gives it again",
				 cli_member(answer, "serial")));
	if (c->json)
		return cli_print(s, c, TAKE(answer));
	if (out == NULL)
		return cli_write_out(s, c, NULL, span_str(pem));
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:s}", "serial", cli_member(answer, "serial"), "profile", profile->name,
				   "written to", out));
}

/* An answer of the ca with the certificate decoded into it. */
static st decode_into(struct scope *s, json_t *answer)
{
	span der;
	TRY(pki_pem_or_der(s, span_str(cli_member(answer, "certificate")), "CERTIFICATE", &der));
	struct pki_certificate cert;
	TRY(pki_certificate_read(s, der, &cert));
	AUTO(json_t) *decoded = NULL;
	TRY(cli_certificate_json(s, &cert, &decoded));
	return json_object_update_missing(answer, decoded) == 0 ? OK : fail(s, E_BUG, "JSON");
}

static st show(struct scope *s, struct cli *c)
{
	AUTO(json_t) *shown = NULL;
	if (cli_get(c, "cert") != NULL && cli_get(c, "serial") == NULL) {
		struct pki_certificate cert;
		TRY(cli_read_certificate(s, cli_get(c, "cert"), &cert));
		TRY(cli_certificate_json(s, &cert, &shown));
		return cli_print(s, c, TAKE(shown));
	}
	const char *serial;
	TRY(wanted_serial(s, c, &serial));
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	TRY(cli_api_call(s, api, "GET", scope_printf(s, "/v1/certificates/%s", serial), NULL, &shown));
	if (cli_get(c, "out") != NULL)
		TRY(cli_write_out(s, c, cli_get(c, "out"), span_str(with_chain(s, c, shown))));
	TRY(decode_into(s, shown));
	if (!c->json && cli_get(c, "chain") == NULL)
		(void)json_object_del(shown, "chain");
	return cli_print(s, c, TAKE(shown));
}

static char *list_path(struct scope *s, const struct cli *c, const char *after, uint64_t limit)
{
	char *path = scope_printf(s, "/v1/certificates?limit=%llu", (unsigned long long)limit);
	static const char *const filters[] = { "ca", "state", "subject" };
	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
		if (cli_get(c, filters[i]) != NULL)
			path = scope_printf(s, "%s&%s=%s", path, filters[i], cli_escape(s, cli_get(c, filters[i])));
	if (after != NULL && after[0] != 0)
		path = scope_printf(s, "%s&after=%s", path, cli_escape(s, after));
	return path;
}

static char *next_of(struct scope *s, const json_t *answer)
{
	const json_t *next = json_object_get(answer, "next");
	if (json_is_integer(next))
		return scope_printf(s, "%lld", (long long)json_integer_value(next));
	return scope_printf(s, "%s", json_is_string(next) ? json_string_value(next) : "");
}

static st list(struct scope *s, struct cli *c)
{
	uint64_t limit;
	TRY(cli_get_number(s, c, "limit", 100, 1000000, &limit));
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	AUTO(json_t) *rows = json_array();
	char *after = NULL;
	while (json_array_size(rows) < limit) {
		uint64_t more = limit - json_array_size(rows);
		AUTO(json_t) *answer = NULL;
		TRY(cli_api_call(s, api, "GET", list_path(s, c, after, more < 1000 ? more : 1000), NULL, &answer));
		if (json_array_extend(rows, json_object_get(answer, "certificates")) != 0)
			return fail(s, E_BUG, "the ca's list has no member `certificates`");
		after = next_of(s, answer);
		if (after[0] == 0)
			break;
	}
	return cli_print(s, c, TAKE(rows));
}

static st revoke(struct scope *s, struct cli *c)
{
	const char *serial;
	TRY(wanted_serial(s, c, &serial));
	json_t *body = json_pack("{s:s}", "reason", cli_get(c, "reason"));
	if (cli_get(c, "invalidity-date") != NULL)
		(void)json_object_set_new(body, "invalidity_date", json_string(cli_get(c, "invalidity-date")));
	AUTO(json_t) *sent = body;
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, api, "POST", scope_printf(s, "/v1/certificates/%s/revocation", serial), TAKE(sent), &answer));
	(void)json_object_set_new(answer, "serial", json_string(serial));
	return cli_print(s, c, TAKE(answer));
}

static st add_finding(struct scope *s, const char *rule, const char *text, void *arg)
{
	(void)s;
	(void)json_array_append_new(arg, json_pack("{s:s, s:s}", "rule", rule, "finding", text));
	return OK;
}

/* Without --profile, the ca is asked which one it was issued under. */
static st profile_for_lint(struct scope *s, struct cli *c, const struct pki_certificate *cert, const struct pki_profile **out)
{
	const char *name = cli_get(c, "profile");
	AUTO(json_t) *answer = NULL;
	if (name == NULL) {
		AUTO(cli_api) *api = NULL;
		TRY(cli_api_open(s, c, &api));
		TRY(cli_api_call(s, api, "GET", scope_printf(s, "/v1/certificates/%s", cli_serial_text(s, cert->serial)), NULL,
				 &answer));
		name = cli_member(answer, "profile");
	}
	*out = pki_profile_named(span_str(name));
	return *out != NULL ? OK : fail(s, E_NOTFOUND, "there is no profile '%s'; `chancery profile list` names them", name);
}

static st lint(struct scope *s, struct cli *c)
{
	struct pki_certificate cert;
	TRY(cli_read_certificate(s, cli_get(c, "cert"), &cert));
	const struct pki_profile *profile;
	TRY(profile_for_lint(s, c, &cert, &profile));
	const struct pki_issue issue = {
		.profile = profile,
		.issuer_not_after = INT64_MAX,
		.algorithm = alg_signature_of_identifier(cert.signature_identifier),
		.ext = { .profile = profile,
			 .subject_spki = cert.spki,
			 .not_before = cert.not_before,
			 .not_after = cert.not_after },
	};
	AUTO(json_t) *findings = json_array();
	TRY(pki_profile_lint(s, &issue, cert.tbs, add_finding, findings));
	bool clean = json_array_size(findings) == 0;
	if (!clean)
		c->exit_code = code_row(E_CRYPTO)->exit_code;
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:b, s:O}", "file", cli_get(c, "cert"), "profile", profile->name, "clean", clean,
				   "findings", findings));
}

/* clang-format off */
#define SERIAL { .name = "serial", .value = "HEX", .help = "serial number of the certificate" }
#define CERT(needed, text) { .name = "cert", .value = "FILE", .required = needed, .help = text }
#define CHAIN { .name = "chain", .help = "also the certificates up to the root" }
/* clang-format on */
static const struct cli_option issue_options[] = {
	{ .name = "profile", .value = "PROFILE", .required = true, .help = "kind of certificate; see `chancery profile list`" },
	{ .name = "csr", .value = "FILE", .required = true, .help = "certification request, PKCS#10 in PEM or DER" },
	{ .name = "out", .value = "FILE", .help = "write the certificate there (default: standard output)" },
	CHAIN,
	{ .name = "subject", .value = "NAME", .help = "subject instead of the request's: 'C=BE, O=Example, CN=Name'" },
	{ .name = "ca", .value = "NAME", .help = "logical CA (default: the one the profile is meant for)" },
	{ .name = "request-id", .value = "ID", .help = "repeating the command with the same id returns the first certificate" },
	{ .name = "validity-days", .value = "N", .help = "shorter than the profile's standard" },
	{ .name = "dns-name", .value = "NAME", .help = "TLS servers: a DNS name (may be repeated)" },
	{ .name = "ip-address", .value = "ADDR", .help = "TLS servers: an IP address (may be repeated)" },
	{ .name = "role", .value = "ROLE", .help = "operators: the role" },
	{ .name = "identity", .value = "NAME", .help = "reference of the subject's registration" },
};
static const struct cli_option show_options[] = {
	SERIAL,
	CERT(false, "a certificate file instead; needs no ca"),
	CHAIN,
	{ .name = "out", .value = "FILE", .help = "write the certificate there" },
};
static const struct cli_option list_options[] = {
	{ .name = "ca", .value = "NAME", .help = "only this CA's" },
	{ .name = "state", .value = "STATE", .help = "only good, revoked, or expired ones" },
	{ .name = "limit", .value = "N", .help = "at most so many (default 100)" },
};
static const struct cli_option find_options[] = {
	{ .name = "subject", .value = "TEXT", .required = true, .help = "part of the subject's name" },
	{ .name = "ca", .value = "NAME", .help = "only this CA's" },
	{ .name = "state", .value = "STATE", .help = "only good, revoked, or expired ones" },
	{ .name = "limit", .value = "N", .help = "at most so many (default 100)" },
};
static const struct cli_option revoke_options[] = {
	SERIAL,
	CERT(false, "the certificate to revoke, as a file"),
	{ .name = "reason",
	  .value = "REASON",
	  .required = true,
	  .help = "keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn, unspecified" },
	{ .name = "invalidity-date", .value = "TIME", .help = "since when the key is suspect, 2026-11-22T10:00:00Z" },
};
static const struct cli_option lint_options[] = {
	CERT(true, "the certificate"),
	{ .name = "profile", .value = "PROFILE", .help = "judge by this profile (default: the one the ca issued it under)" },
};
static const struct cli_command commands[] = {
	{ .verb = "issue",
	  .summary = "Issue a certificate for a certification request",
	  .example = "cert issue --profile ncp-plus-n --csr request.pem --out certificate.pem",
	  CLI_OPTIONS(issue_options),
	  .run = issue },
	{ .verb = "show",
	  .summary = "Show a certificate, and its state when the ca is asked by serial",
	  .example = "cert show --serial 4be1f2",
	  CLI_OPTIONS(show_options),
	  .run = show },
	{ .verb = "find",
	  .summary = "Find certificates by subject",
	  .example = "cert find --subject 'Jansen'",
	  CLI_OPTIONS(find_options),
	  .run = list },
	{ .verb = "list",
	  .summary = "List certificates",
	  .example = "cert list --state revoked --limit 20",
	  CLI_OPTIONS(list_options),
	  .run = list },
	{ .verb = "revoke",
	  .summary = "Revoke a certificate; returns when the revocation is durable, OCSP and CRL follow within seconds",
	  .example = "cert revoke --serial 4be1f2 --reason keyCompromise",
	  CLI_OPTIONS(revoke_options),
	  .run = revoke },
	{ .verb = "lint",
	  .without_configuration = false,
	  .summary = "Check a certificate against its profile and name every finding",
	  .example = "cert lint --cert certificate.pem --profile ncp-plus-n",
	  CLI_OPTIONS(lint_options),
	  .run = lint },
};
const struct cli_noun cli_noun_cert = { "cert", "certificates: issue, look up, revoke", CLI_COMMANDS(commands) };
