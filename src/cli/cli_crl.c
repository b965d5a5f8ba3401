/* `chancery crl`. */
#include "cli_ceremony.h"
#include "cli_found.h"
#include "cli_crl.h"
#include "cli_nouns.h"
#include "file.h"
#include "moment.h"
#include "pki_certificate.h"
#include "pki_crl.h"
#include "pki_key.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "text.h"

#define CRL_FILE_MAX (256u << 20)

static json_t *order_of(const struct cli *c)
{
	json_t *order = json_object();
	if (cli_get(c, "next-update") != NULL)
		(void)json_object_set_new(order, "next_update", json_string(cli_get(c, "next-update")));
	return order;
}

/* On record in the log before anybody else gets it. */
static st issue_by_root(struct scope *s, const struct cli *c, struct cli_api *online, struct cli_root *root, json_t **out)
{
	span crl;
	TRY(cli_root_crl(s, root, order_of(c), &crl));
	TRY(cli_root_import(s, c));
	return fail_context(s, cli_crl_hand_over(s, online, "root", crl, out),
			    "the CRL is made and on record, but not published");
}

static st issue_off_line(struct scope *s, const struct cli *c, struct cli_api *online, json_t **out)
{
	struct cli_root root;
	cli_progress(c, "The off-line root is started for this ...");
	TRY(cli_root_open(s, c, NULL, &root));
	st issued = issue_by_root(s, c, online, &root, out);
	cli_root_close(&root);
	TRY(issued);
	return cli_root_import(s, c); /* that it ended */
}

/* Asked first, so that nothing is started or typed for a ca that does not answer. */
static st is_kept_elsewhere(struct scope *s, struct cli_api *api, const char *ca, bool *out)
{
	AUTO(json_t) *about = NULL;
	TRY(cli_api_call(s, api, "GET", scope_printf(s, "/v1/cas/%s", cli_escape(s, ca)), NULL, &about));
	*out = strcmp(cli_member(about, "state"), "external") == 0;
	return OK;
}

static st issue(struct scope *s, struct cli *c)
{
	const char *ca = cli_get_or(c, "ca", "issuing");
	bool elsewhere = false;
	AUTO(cli_api) *api = NULL;
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_open(s, c, &api));
	TRY(is_kept_elsewhere(s, api, ca, &elsewhere));
	if (elsewhere && (strcmp(ca, "root") != 0 || cli_conf_daemon(&c->conf, "root-ca") == NULL))
		return fail(s, E_STATE,
			    "%s is kept elsewhere: have its CRL made there, then `chancery crl publish FILE --ca %s`", ca, ca);
	if (elsewhere)
		TRY(issue_off_line(s, c, api, &answer));
	else
		TRY(cli_api_call(s, api, "POST", scope_printf(s, "/v1/cas/%s/crls", cli_escape(s, ca)), order_of(c), &answer));
	return cli_print(s, c, TAKE(answer));
}

static st publish(struct scope *s, struct cli *c)
{
	span bytes, crl;
	TRY(file_read(s, c->argument[0], CRL_FILE_MAX, &bytes));
	TRY(fail_context(s, pki_pem_or_der(s, bytes, "X509 CRL", &crl), "%s", c->argument[0]));
	AUTO(cli_api) *api = NULL;
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_open(s, c, &api));
	TRY(cli_crl_hand_over(s, api, cli_get_or(c, "ca", "root"), crl, &answer));
	return cli_print(s, c, TAKE(answer));
}

st cli_crl_published(struct scope *s, const char *url, span *out)
{
	struct client_answer answer;
	TRY(cli_fetch(s, url, "GET", NULL, (span){ 0 }, &answer));
	if (answer.status != 200)
		return fail(s, E_UNAVAILABLE, "%s answers with status %ld", url, answer.status);
	*out = answer.body;
	return OK;
}

static st bytes_to_show(struct scope *s, const struct cli *c, span *out)
{
	if (c->argument_count > 0) {
		span bytes;
		TRY(file_read(s, c->argument[0], CRL_FILE_MAX, &bytes));
		return fail_context(s, pki_pem_or_der(s, bytes, "X509 CRL", out), "%s", c->argument[0]);
	}
	if (cli_get(c, "ca") == NULL)
		return cli_crl_published(s, cli_get_or(c, "url", c->conf.crl_url), out);
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	return cli_api_fetch(s, api, scope_printf(s, "/v1/cas/%s/crl", cli_escape(s, cli_get(c, "ca"))), out);
}

static st check_issuer(struct scope *s, const struct cli *c, const struct pki_crl *crl)
{
	struct pki_certificate issuer;
	TRY(cli_read_certificate(s, cli_get(c, "issuer"), &issuer));
	if (!span_equal(issuer.subject, crl->issuer))
		return fail(s, E_CRYPTO, "the CRL is of another issuer than %s (rfc5280#6.3.3)", cli_get(c, "issuer"));
	struct pki_key *key;
	TRY(pki_key_new(s, issuer.spki, &key));
	const struct alg_signature *algorithm = alg_signature_of_identifier(crl->signature_identifier);
	st good = algorithm == NULL ? fail(s, E_CRYPTO, "the CRL is signed with an algorithm we do not know")
				    : pki_key_verify(s, key, algorithm, crl->tbs, crl->signature);
	pki_key_free(key);
	return good;
}

static st show(struct scope *s, struct cli *c)
{
	span der;
	TRY(bytes_to_show(s, c, &der));
	struct pki_crl crl;
	TRY(pki_crl_read(s, der, &crl));
	if (cli_get(c, "issuer") != NULL)
		TRY(check_issuer(s, c, &crl));
	if (cli_get(c, "out") != NULL)
		TRY(cli_write_out(s, c, cli_get(c, "out"), der));
	char *issuer;
	TRY(pki_name_text(s, crl.issuer, &issuer));
	char from[MOMENT_TEXT_MAX], to[MOMENT_TEXT_MAX];
	AUTO(json_t) *out =
		json_pack("{s:s, s:I, s:s, s:s, s:I, s:I}", "issuer", issuer, "number", (json_int_t)crl.number, "this_update",
			  moment_text(crl.this_update, from), "next_update", moment_text(crl.next_update, to), "entries",
			  (json_int_t)crl.entries, "size", (json_int_t)der.len);
	if (cli_get(c, "issuer") != NULL)
		(void)json_object_set_new(out, "signature", json_string("good"));
	if (cli_get(c, "serial") != NULL) {
		span serial;
		bool found;
		struct pki_crl_entry entry;
		TRY(hex_parse(s, span_str(cli_get(c, "serial")), &serial));
		TRY(pki_crl_find(s, der, serial, &found, &entry));
		(void)json_object_set_new(out, "revoked", json_boolean(found));
		if (found) {
			(void)json_object_set_new(out, "revoked_at", json_string(moment_text(entry.revoked_at, from)));
			(void)json_object_set_new(out, "reason", json_string(pki_reason_name(entry.reason)));
		}
	}
	return cli_print(s, c, TAKE(out));
}

static const struct cli_option issue_options[] = {
	CLI_CEREMONY_BY,
	{ .name = "ca",
	  .value = "NAME",
	  .help = "logical CA (default: issuing); root: the off-line root is started, asked for its PIN, and stopped again" },
	{ .name = "next-update", .value = "TIME", .help = "when the next one is due at the latest (default: the CA's period)" },
};
static const struct cli_option publish_options[] = {
	{ .name = "ca", .value = "NAME", .help = "whose it is (default: root)" },
};
static const struct cli_option show_options[] = {
	{ .name = "ca", .value = "NAME", .help = "ask the ca for this CA's CRL instead of the published one" },
	{ .name = "url", .value = "URL", .help = "fetch from here (default: crl-url of chancery.conf)" },
	{ .name = "serial", .value = "HEX", .help = "say whether this certificate is on it" },
	{ .name = "issuer", .value = "FILE", .help = "verify the signature with this CA certificate" },
	{ .name = "out", .value = "FILE", .help = "write the CRL there" },
};
static const struct cli_command commands[] = {
	{ .verb = "issue",
	  .summary =
		  "Sign and publish a new CRL now; CAs that work here do so by themselves, the off-line root needs it before "
		  "its CRL ends",
	  .example = "crl issue --ca root",
	  CLI_OPTIONS(issue_options),
	  .run = issue },
	{ .verb = "publish",
	  .arguments = "FILE",
	  .summary = "Publish the CRL that a CA kept elsewhere made",
	  .example = "crl publish root.crl --ca root",
	  CLI_OPTIONS(publish_options),
	  .run = publish },
	{ .verb = "show",
	  .arguments = "[FILE]",
	  .summary = "Show a CRL: a file's, the published one, or the ca's own",
	  .example = "crl show --serial 4be1f2",
	  CLI_OPTIONS(show_options),
	  .run = show },
};
const struct cli_noun cli_noun_crl = { "crl", "certificate revocation lists", CLI_COMMANDS(commands) };
