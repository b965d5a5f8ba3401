/* `chancery ts`: time-stamps asked for over the public URL, and verified. */
#include "cli_api.h"
#include "cli_cert.h"
#include "cli_nouns.h"
#include "file.h"
#include "moment.h"
#include "pki_key.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "pki_time_stamp.h"
#include "text.h"
#include <fcntl.h>
#include <unistd.h>

/* extKeyUsage with timeStamping (1.3.6.1.5.5.7.3.8) and nothing else, which is how a TSU's must look. */
static const uint8_t only_time_stamping[] = { 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08 };
static const uint8_t ext_key_usage[] = { 0x55, 0x1d, 0x25 };

static st hash_file(struct scope *s, const char *path, enum digest_alg alg, span *out)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, E_NOTFOUND, "%s", path);
	struct digest d;
	digest_start(&d, alg);
	uint8_t part[16384];
	ssize_t got;
	while ((got = read(fd, part, sizeof part)) > 0)
		digest_add(&d, span_of(part, (size_t)got));
	uint8_t value[DIGEST_MAX];
	span whole = digest_finish(&d, value);
	if (got < 0)
		return fail_errno(s, E_IO, "%s", path);
	*out = scope_copy(s, whole);
	return OK;
}

static st wanted_digest(struct scope *s, const struct cli *c, enum digest_alg *out)
{
	const char *name = cli_get_or(c, "hash", "sha256");
	for (int alg = DIGEST_SHA256; alg < DIGEST_COUNT; alg++)
		if (strcmp(digest_name((enum digest_alg)alg), name) == 0) {
			*out = (enum digest_alg)alg;
			return OK;
		}
	return fail(s, E_INPUT, "--hash is sha256, sha384 or sha512");
}

static json_t *token_json(struct scope *s, const struct pki_time_stamp_response *r)
{
	char when[MOMENT_TEXT_MAX];
	return json_pack("{s:s, s:s, s:i}", "time", moment_text(r->info.gen_time, when), "serial", hex_text(s, r->info.serial),
			 "accuracy_ms", (int)r->info.accuracy_ms);
}

static st granted(struct scope *s, span body, struct pki_time_stamp_response *out)
{
	TRY(pki_time_stamp_response_read(s, body, out));
	if (out->status > 1)
		return fail(s, out->failure == PKI_TIME_NOT_AVAILABLE ? E_CLOCK : E_UNAVAILABLE,
			    "the time-stamping authority refuses: status %d, failure %d%s (rfc3161#2.4.2)", out->status,
			    out->failure, out->failure == PKI_TIME_NOT_AVAILABLE ? ", timeNotAvailable" : "");
	return OK;
}

static st request(struct scope *s, struct cli *c)
{
	enum digest_alg alg = DIGEST_SHA256;
	TRY(wanted_digest(s, c, &alg));
	const char *file = c->argument[0];
	const char *out = cli_get_or(c, "out", scope_printf(s, "%s.tsr", file));
	span hash, query;
	TRY(hash_file(s, file, alg, &hash));
	TRY(cli_check_out(s, out));
	uint8_t nonce[8];
	scope_random(s, nonce, sizeof nonce);
	nonce[0] = (uint8_t)((nonce[0] & 0x3f) | 0x40);
	TRY(pki_time_stamp_request_build(s, alg, hash, (span){ 0 }, SPAN_ARRAY(nonce), true, &query));
	const char *url = cli_get_or(c, "url", c->conf.tsa_url);
	struct client_answer answer;
	TRY(cli_fetch(s, url, "POST", "application/timestamp-query", query, &answer));
	if (answer.status != 200)
		return fail(s, E_UNAVAILABLE, "%s answers with HTTP status %ld", url, answer.status);
	struct pki_time_stamp_response response;
	TRY(granted(s, answer.body, &response));
	if (!span_equal(response.info.nonce, SPAN_ARRAY(nonce)))
		return fail(s, E_CRYPTO, "the token carries another nonce than was asked with (rfc3161#2.4.2)");
	TRY(cli_write_out(s, c, out, answer.body));
	json_t *shown = token_json(s, &response);
	(void)json_object_set_new(shown, "written to", json_string(out));
	return cli_print(s, c, shown);
}

//= rfc3161#2.3 the extension is critical and holds timeStamping alone
static st check_unit(struct scope *s, const struct pki_certificate *unit, const struct pki_certificate *issuer,
		     int64_t gen_time)
{
	TRY(fail_context(s, pki_signature_verify(s, issuer->spki, unit->signature_identifier, unit->tbs, unit->signature),
			 "certificate of the time-stamping unit"));
	const struct pki_extension *usage = pki_certificate_extension(unit, SPAN_ARRAY(ext_key_usage));
	if (usage == NULL || !usage->critical || !span_equal(usage->value, SPAN_ARRAY(only_time_stamping)))
		return fail(s, E_CRYPTO, "the signer's certificate is not for time-stamping alone (rfc3161#2.3)");
	if (gen_time < unit->not_before || gen_time > unit->not_after)
		return fail(s, E_CRYPTO, "the unit's certificate was not valid at the time in the token");
	return OK;
}

/* What the signed attributes must be for this TSTInfo and this signer: compared whole, so that the ESSCertIDv2, the digest and
 * the order are all checked at once. */
static st check_signature(struct scope *s, const struct pki_time_stamp_response *r, const struct pki_certificate *unit)
{
	const struct alg_signature *algorithm = alg_signature_of_identifier(r->signature_identifier);
	if (algorithm == NULL)
		return fail(s, E_CRYPTO, "the token is signed with an algorithm we do not know");
	span expected;
	TRY(pki_time_stamp_attributes(s, algorithm->digest, r->tst_info, unit->der, &expected));
	if (!span_equal(expected, r->signed_attributes))
		return fail(
			s, E_CRYPTO,
			"the signed attributes are not those of this content and this unit (rfc5816#2.2.1); tokens of other "
			"makers are verified with `openssl ts -verify`");
	return fail_context(s, pki_signature_verify(s, unit->spki, r->signature_identifier, r->signed_attributes, r->signature),
			    "the token's signature");
}

static st check_imprint(struct scope *s, const char *file, span imprint)
{
	for (int alg = DIGEST_SHA256; alg < DIGEST_COUNT; alg++) {
		span hash;
		TRY(hash_file(s, file, (enum digest_alg)alg, &hash));
		if (imprint.len > hash.len && span_equal(span_from(imprint, imprint.len - hash.len), hash))
			return OK;
	}
	return fail(s, E_CRYPTO, "the token is about other data than %s: its hash is not the message imprint (rfc3161#2.4.2)",
		    file);
}

static st verify_token(struct scope *s, struct cli *c)
{
	const char *file = c->argument[0];
	span body;
	TRY(fail_context(s, file_read(s, cli_get_or(c, "token", scope_printf(s, "%s.tsr", file)), 1u << 20, &body),
			 "the time-stamp of %s; name its file with --token FILE", file));
	struct pki_time_stamp_response response;
	TRY(granted(s, body, &response));
	TRY(check_imprint(s, file, response.info.imprint));
	struct pki_certificate unit, issuer;
	TRY(cli_read_certificate(s, cli_get_or(c, "tsu", scope_printf(s, "%s/tsu.pem", c->conf.certificates)), &unit));
	TRY(cli_read_certificate(s, cli_get_or(c, "issuer", scope_printf(s, "%s/issuing.pem", c->conf.certificates)), &issuer));
	TRY(check_unit(s, &unit, &issuer, response.info.gen_time));
	TRY(check_signature(s, &response, &unit));
	char *subject;
	TRY(pki_name_text(s, unit.subject, &subject));
	json_t *shown = token_json(s, &response);
	(void)json_object_set_new(shown, "unit", json_string(subject));
	(void)json_object_set_new(shown, "signature", json_string("good"));
	return cli_print(s, c, shown);
}

static const struct cli_option request_options[] = {
	{ .name = "out", .value = "FILE", .help = "write the answer there (default: FILE.tsr)" },
	{ .name = "hash", .value = "NAME", .help = "sha256 (default), sha384, sha512" },
	{ .name = "url", .value = "URL", .help = "the time-stamping authority (default: tsa-url of chancery.conf)" },
};
static const struct cli_option verify_options[] = {
	{ .name = "token", .value = "FILE", .help = "the answer (default: FILE.tsr)" },
	{ .name = "tsu", .value = "FILE", .help = "certificate of the unit (default: this installation's)" },
	{ .name = "issuer", .value = "FILE", .help = "certificate of the unit's CA (default: this installation's)" },
};
static const struct cli_command commands[] = {
	{ .verb = "request",
	  .arguments = "FILE",
	  .summary = "Have a file time-stamped; only its hash is sent",
	  .example = "ts request contract.pdf",
	  CLI_OPTIONS(request_options),
	  .run = request },
	{ .verb = "verify",
	  .arguments = "FILE",
	  .summary = "Verify a time-stamp over a file: content, unit, signature",
	  .example = "ts verify contract.pdf --token contract.pdf.tsr",
	  CLI_OPTIONS(verify_options),
	  .run = verify_token },
};
const struct cli_noun cli_noun_ts = { "ts", "time-stamps", CLI_COMMANDS(commands) };
