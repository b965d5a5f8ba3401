/* `chancery ocsp query`: asks as a relying party would, over the public URL, and checks the answer. */
#include "cli_api.h"
#include "cli_cert.h"
#include "cli_nouns.h"
#include "moment.h"
#include "pki_crl.h"
#include "pki_ocsp.h"
#include "text.h"

static const char *const status_words[] = {
	[PKI_OCSP_GOOD] = "good", [PKI_OCSP_REVOKED] = "revoked", [PKI_OCSP_UNKNOWN] = "unknown"
};
static const char *const error_words[] = { "successful", "malformedRequest", "internalError", "tryLater",
					   "",           "sigRequired",      "unauthorized" };

static st ask(struct scope *s, const struct cli *c, span request, struct pki_ocsp_response *out)
{
	const char *url = cli_get_or(c, "url", c->conf.ocsp_url);
	struct client_answer answer;
	TRY(cli_fetch(s, url, "POST", "application/ocsp-request", request, &answer));
	if (answer.status != 200)
		return fail(s, E_UNAVAILABLE, "%s answers with HTTP status %ld", url, answer.status);
	TRY(pki_ocsp_response_read(s, answer.body, out));
	if (cli_get(c, "out") != NULL)
		TRY(cli_write_out(s, c, cli_get(c, "out"), answer.body));
	if (out->status != 0)
		return fail(s, E_UNAVAILABLE, "the responder answers %s (rfc6960#4.2.1)",
			    out->status <= 6 && out->status > 0 ? error_words[out->status] : "with an unknown status");
	return OK;
}

static st query(struct scope *s, struct cli *c)
{
	struct pki_certificate cert, issuer;
	TRY(cli_read_certificate(s, cli_get(c, "cert"), &cert));
	TRY(cli_read_certificate(s, cli_get_or(c, "issuer", scope_printf(s, "%s/issuing.pem", c->conf.certificates)), &issuer));
	if (!span_equal(cert.issuer, issuer.subject))
		return fail(s, E_INPUT, "that certificate was issued by another CA; name its certificate with --issuer FILE");
	uint8_t nonce[32];
	scope_random(s, nonce, sizeof nonce);
	span asked = cli_get(c, "nonce") != NULL ? SPAN_ARRAY(nonce) : (span){ 0 };
	enum digest_alg digest = strcmp(cli_get_or(c, "digest", "sha256"), "sha1") == 0 ? DIGEST_SHA1 : DIGEST_SHA256;
	span request;
	TRY(pki_ocsp_request_build(s, digest, issuer.subject, issuer.spki, cert.serial, asked, &request));
	struct pki_ocsp_response response;
	TRY(ask(s, c, request, &response));
	TRY(pki_ocsp_response_verify(s, &response, &issuer));
	if (!span_equal(asked, response.nonce) && asked.len > 0)
		return fail(s, E_CRYPTO, "the answer carries another nonce than was asked with (rfc9654#2.1)");
	if (response.count != 1)
		return fail(s, E_CRYPTO, "the answer is about %zu certificates instead of one", response.count);
	const struct pki_ocsp_single *single = &response.single[0];
	char produced[MOMENT_TEXT_MAX], from[MOMENT_TEXT_MAX], to[MOMENT_TEXT_MAX], at[MOMENT_TEXT_MAX];
	AUTO(json_t) *out = json_pack("{s:s, s:s, s:s, s:s, s:s}", "serial", cli_serial_text(s, cert.serial), "status",
				      status_words[single->status], "produced_at", moment_text(response.produced_at, produced),
				      "this_update", moment_text(single->this_update, from), "next_update",
				      moment_text(single->next_update, to));
	if (single->status == PKI_OCSP_REVOKED) {
		(void)json_object_set_new(out, "revoked_at", json_string(moment_text(single->revoked_at, at)));
		(void)json_object_set_new(out, "reason", json_string(pki_reason_name(single->reason)));
	}
	(void)json_object_set_new(out, "signature", json_string("good"));
	c->exit_code = single->status == PKI_OCSP_GOOD ? 0 : 1;
	return cli_print(s, c, TAKE(out));
}

static const struct cli_option query_options[] = {
	{ .name = "cert", .value = "FILE", .required = true, .help = "the certificate asked about" },
	{ .name = "issuer", .value = "FILE", .help = "its CA's certificate (default: the issuing CA of this installation)" },
	{ .name = "url", .value = "URL", .help = "the responder (default: ocsp-url of chancery.conf)" },
	{ .name = "digest", .value = "NAME", .help = "of the CertID: sha256 (default) or sha1" },
	{ .name = "nonce", .help = "ask with a nonce: the answer is signed for this request alone" },
	{ .name = "out", .value = "FILE", .help = "write the OCSPResponse there" },
};
static const struct cli_command commands[] = {
	{ .verb = "query",
	  .summary = "Ask for a certificate's status and verify the answer; exit 0 only for good, 1 for revoked and unknown",
	  .example = "ocsp query --cert certificate.pem",
	  CLI_OPTIONS(query_options),
	  .run = query },
};
const struct cli_noun cli_noun_ocsp = { "ocsp", "ask the OCSP responder", CLI_COMMANDS(commands) };
