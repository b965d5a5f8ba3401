/* `chancery op propose`: a proposal, with a nonce and the register's head from who carries it out. */
#include "cli_nearest.h"
#include "cli_op.h"
#include "control_records.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "pki_certificate.h"
#include "pki_crl.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "text.h"

#define FILE_MAX     65536
#define HOURS        24 /* a proposal lives so long when nothing else is said */
#define REGISTER     "register"
#define CA           "ca"
#define KEY_LABEL    "PUBLIC KEY"
#define CRL_LABEL    "X509 CRL"
#define DOCUMENT_MAX (256u << 20)

/* The parameters of all operations; a test compares them with the table. */
const struct cli_option cli_op_propose_options[CLI_OP_PROPOSE_OPTIONS] = {
	{ .name = "by", .value = "PERSON", .required = true, .help = "who proposes: p1, as the register names you" },
	{ .name = "instance",
	  .value = "NAME",
	  .help = "who carries it out, such as keyd/ca; operations of the register and of the ca need none" },
	{ .name = "hours", .value = "N", .help = "how long the proposal lives (default: 24)" },
	{ .name = "out", .value = "FILE", .required = true, .help = "the file that the approvals come to" },
	{ .name = "nonce", .value = "HEX", .help = "nonce of an instance that is not asked over the network" },
	{ .name = "person", .value = "PERSON", .help = "whom it is about: p3" },
	{ .name = "key",
	  .value = "FILE",
	  .help = "what `chancery-token create` printed, or a public key (PEM or base64); or the name of a key of a group" },
	{ .name = "share-key", .value = "FILE", .help = "the public key that shares are sealed to: the same file again" },
	{ .name = "certificate-serial", .value = "HEX", .help = "serial number of the person's certificate" },
	{ .name = "identity", .value = "HEX", .help = "from `chancery person new`; left out, of the file that is kept here" },
	{ .name = "screened", .value = "DATE", .help = "when the person was screened: 2026-11-02" },
	{ .name = "trained", .value = "DATE", .help = "when the last training was: 2026-11-02" },
	{ .name = "reason", .value = "TEXT", .help = "why" },
	{ .name = "decision", .value = "NAME", .help = "decision of the authority: d-2026-4" },
	{ .name = "title", .value = "TEXT", .help = "what the decision says, in a line" },
	{ .name = "document", .value = "FILE", .help = "its document, of which the SHA-256 is taken, or that in hexadecimal" },
	{ .name = "role", .value = "ROLE", .help = "`chancery role table` lists them" },
	{ .name = "quorum", .value = "N", .help = "how many members of the authority decide" },
	{ .name = "certificate", .value = "FILE", .help = "a certificate, PEM or DER" },
	{ .name = "name", .value = "NAME", .help = "of the instance: keyd/ca; or of the CA: issuing" },
	{ .name = "crl",
	  .value = "FILE",
	  .help = "the newest CRL of that CA, PEM or DER (default: of the CA `management` of the ca)" },
	{ .name = "holder", .value = "NAME", .help = "instance that holds the key group of that CA's key, repeated: keyd/ca" },
	{ .name = "old-crl",
	  .value = "DATE",
	  .help = "of when the management CA's CRL is; added by itself when that is needed" },
	{ .name = "group", .value = "NAME", .help = "key group" },
	{ .name = "threshold", .value = "N", .help = "how many custodians it takes" },
	{ .name = "custodian", .value = "PERSON", .help = "repeated" },
	{ .name = "type", .value = "TYPE", .help = "of the key: ec-p256 and so on" },
	{ .name = "purpose", .value = "NAME", .help = "of the key, repeated: certificate, crl, request, ocsp, time-stamp" },
	{ .name = "backup", .value = "NAME", .help = "of the key: none or wrapped" },
	{ .name = "issuer", .value = "NAME", .help = "name that it issues under: 'C=BE, O=Example, CN=Example CA'" },
	{ .name = "issues-to-cas", .value = "YES", .help = "yes when certificates of CAs are signed with it" },
	{ .name = "policy", .value = "OID", .help = "policy of time-stamps, repeated" },
	{ .name = "validity-days", .value = "N", .help = "of the longest certificate that is signed with it" },
	{ .name = "rate", .value = "N", .help = "signatures a second at most" },
	{ .name = "accuracy-ms", .value = "N", .help = "declared accuracy of time-stamps" },
	{ .name = "usage-ends", .value = "DATE", .help = "from then on the key signs nothing; cannot be changed later" },
	{ .name = "subject",
	  .value = "NAME",
	  .help = "of a CA that is to be certified or taken in, as its request or certificate has it: 'C=BE, O=Example, CN=Example CA'" },
	{ .name = "subject-key", .value = "HEX", .help = "SHA-256 of that CA's public key" },
	{ .name = "not-after", .value = "DATE", .help = "until when its certificate is valid at most" },
	{ .name = "ca", .value = "NAME", .help = "the CA; for ca.revoke the one that signed the certificate" },
	{ .name = "profile", .value = "NAME", .help = "of the CA: root, issuing-ca and so on" },
	{ .name = "algorithm", .value = "NAME", .help = "that the CA signs with (default: by the key)" },
	{ .name = "crl-hours", .value = "N", .help = "how long a CRL is valid" },
	{ .name = "crl-url", .value = "URL", .help = "where its CRL is found" },
	{ .name = "issuer-url", .value = "URL", .help = "where its certificate is found" },
	{ .name = "ocsp-url", .value = "URL", .help = "where its OCSP responder is" },
	{ .name = "cps-url", .value = "URL", .help = "where its practice statement is" },
	{ .name = "serial", .value = "HEX", .help = "serial number of the certificate" },
	{ .name = "log", .value = "NAME", .help = "origin of the log: `chancery audit purge` says this and the next four" },
	{ .name = "size", .value = "N", .help = "records under the checkpoint that is named" },
	{ .name = "root", .value = "HEX", .help = "its root" },
	{ .name = "records", .value = "LIST", .help = "records whose content is to be removed: 3,7-12" },
	{ .name = "count", .value = "N", .help = "how many these are" },
	{ .name = "kept-until",
	  .value = "TIME",
	  .help = "their time was over then; left out, they are erased on a person's request" },
	{ .name = "stamps-kept",
	  .value = "YEARS",
	  .help = "how long records of time-stamps are kept, where that is not 20 years; at least 7" },
	{ .name = "fingerprint", .value = "HEX", .help = "SHA-256 of the public key" },
};
st cli_op_named(struct scope *s, const char *name, const struct control_operation **out)
{
	const struct control_operation *row;
	struct cli_nearest near = { .word = span_str(name) };
	for (size_t i = 0; (row = control_operation_at(i)) != NULL; i++)
		cli_nearest_try(&near, row->name);
	*out = control_operation_named(span_str(name));
	return *out != NULL ? OK
			    : fail(s, E_NOTFOUND, "there is no operation %s%s; `chancery op table` lists them", name,
				   cli_nearest_question(s, &near, ""));
}

/* ---- values, as people write them ---- */

static st moment_value(struct scope *s, const char *given, span *out)
{
	int64_t moment;
	char text[MOMENT_TEXT_MAX];
	const char *whole = strlen(given) == strlen("2026-11-02") ? scope_printf(s, "%sT00:00:00Z", given) : given;
	if (moment_parse(s, span_str(whole), &moment).code != E_OK) {
		scope_clear_error(s);
		return fail(s, E_INPUT, "'%s' is no time: write 2026-11-02 or 2026-11-02T08:30:00Z", given);
	}
	*out = span_str(scope_printf(s, "%s", moment_text(moment, text)));
	return OK;
}

/* Base64 as it is; or of a file: what chancery-token create printed, or a public key. */
static st key_of_file(struct scope *s, const char *given, const char *line, span *out)
{
	span file, der;
	*out = span_str(given);
	if (!file_exists(given))
		return OK;
	TRY(file_read(s, given, FILE_MAX, &file));
	*out = cli_line_value(file, line);
	if (out->len > 0)
		return OK;
	TRY(fail_context(s, pki_pem_or_der(s, file, KEY_LABEL, &der), "%s", given));
	*out = span_str(base64_text(s, der));
	return OK;
}

static st key_value(struct scope *s, const char *given, span *out)
{
	return key_of_file(s, given, "key", out);
}

static st share_key_value(struct scope *s, const char *given, span *out)
{
	return key_of_file(s, given, "share-key", out);
}

static st octets_value(struct scope *s, const char *given, span *out)
{
	struct pki_certificate certificate;
	span name;
	*out = span_str(given);
	if (file_exists(given)) {
		TRY(cli_read_certificate(s, given, &certificate));
		*out = span_str(base64_text(s, certificate.der));
	} else if (strchr(given, ',') != NULL) {
		TRY(pki_name_parse(s, span_str(given), &name));
		*out = span_str(base64_text(s, name));
	}
	return OK;
}

static st crl_value(struct scope *s, const char *given, span *out)
{
	span file, der;
	*out = span_str(given);
	if (!file_exists(given))
		return OK;
	TRY(file_read(s, given, FILE_MAX, &file));
	TRY(fail_context(s, pki_pem_or_der(s, file, CRL_LABEL, &der), "%s", given));
	*out = span_str(base64_text(s, der));
	return OK;
}

static st digest_value(struct scope *s, const char *given, span *out)
{
	uint8_t hash[DIGEST_MAX];
	span file;
	*out = span_str(given);
	if (!file_exists(given))
		return OK;
	TRY(file_read(s, given, DOCUMENT_MAX, &file));
	*out = span_str(hex_text(s, digest_of(DIGEST_SHA256, file, hash)));
	return OK;
}

/* Whole numbers and neighbours one by one are fine: what is proposed has the one form. */
static st records_value(struct scope *s, const char *given, span *out)
{
	struct control_range *range;
	size_t count;
	const char *text;
	TRY(control_records_parse(s, span_str(given), &range, &count));
	TRY(control_records_write(s, range, count, &text));
	*out = span_str(text);
	return OK;
}

static st as_it_is(struct scope *s, const char *given, span *out)
{
	(void)s;
	*out = span_str(given);
	return OK;
}

static st (*const values[CONTROL_TYPE_COUNT])(struct scope *s, const char *given, span *out) = {
	[CONTROL_TYPE_ID] = as_it_is,         [CONTROL_TYPE_ROLE] = as_it_is,   [CONTROL_TYPE_TEXT] = as_it_is,
	[CONTROL_TYPE_MOMENT] = moment_value, [CONTROL_TYPE_NUMBER] = as_it_is, [CONTROL_TYPE_DIGEST] = digest_value,
	[CONTROL_TYPE_SERIAL] = as_it_is,     [CONTROL_TYPE_KEY] = key_value,   [CONTROL_TYPE_SHARE_KEY] = share_key_value,
	[CONTROL_TYPE_OCTETS] = octets_value, [CONTROL_TYPE_CRL] = crl_value,   [CONTROL_TYPE_RECORDS] = records_value,
};

/* ---- parameters ---- */

static const char *value_word(const char *name)
{
	for (size_t i = 0; i < CLI_OP_PROPOSE_OPTIONS; i++)
		if (strcmp(cli_op_propose_options[i].name, name) == 0)
			return cli_op_propose_options[i].value;
	return "VALUE";
}

/* What is kept here of a person who is enrolled. */
static const char *kept_identity(struct scope *s, const struct cli *c, const char *parameter)
{
	struct cli_person person;
	const char *id = cli_get(c, "person");
	if (strcmp(parameter, "identity") != 0 || id == NULL || strchr(id, '/') != NULL)
		return NULL;
	st status = cli_person_read(s, c, id, &person);
	scope_clear_error(s);
	return status.code == E_OK ? hex_text(s, SPAN_ARRAY(person.identity)) : NULL;
}

static st add_parameter(struct scope *s, const struct cli *c, struct control_proposal *p,
			const struct control_parameter *parameter)
{
	size_t count = 0;
	const char *given;
	for (; (given = cli_get_at(c, parameter->name, count)) != NULL; count++) {
		span value;
		if (count > 0 && parameter->presence != CONTROL_REPEATED)
			return fail(s, E_INPUT, "--%s is given once", parameter->name);
		TRY(fail_context(s, values[parameter->type](s, given, &value), "--%s", parameter->name));
		TRY(control_proposal_add(s, p, parameter->name, value));
	}
	given = count == 0 ? kept_identity(s, c, parameter->name) : NULL;
	if (given != NULL)
		return control_proposal_add(s, p, parameter->name, span_str(given));
	if (count == 0 && parameter->type == CONTROL_TYPE_CRL)
		return OK; /* asked for later */
	if (count == 0 && parameter->presence == CONTROL_ONCE)
		return fail(s, E_INPUT, "%s needs --%s %s; `chancery op table %s` shows what it takes", p->operation->name,
			    parameter->name, value_word(parameter->name), p->operation->name);
	return OK;
}

static bool is_parameter(const struct control_operation *operation, const char *name)
{
	for (size_t i = 0; i < CONTROL_PARAMETERS && operation->parameter[i].name != NULL; i++)
		if (strcmp(operation->parameter[i].name, name) == 0)
			return true;
	return false;
}

static bool is_general(const char *name)
{
	static const char *const general[] = { "by", "instance", "hours", "out", "nonce" };
	for (size_t i = 0; i < sizeof general / sizeof general[0]; i++)
		if (strcmp(general[i], name) == 0)
			return true;
	return false;
}

static st add_parameters(struct scope *s, const struct cli *c, struct control_proposal *p)
{
	for (size_t i = 0; i < c->given_count; i++)
		if (!is_general(c->given[i].option->name) && !is_parameter(p->operation, c->given[i].option->name))
			return fail(s, E_INPUT, "%s takes no --%s; `chancery op table %s` shows what it takes",
				    p->operation->name, c->given[i].option->name, p->operation->name);
	for (size_t i = 0; i < CONTROL_PARAMETERS && p->operation->parameter[i].name != NULL; i++)
		TRY(add_parameter(s, c, p, &p->operation->parameter[i]));
	return OK;
}

/* ---- who carries it out ---- */

st cli_op_take_nonce(struct scope *s, const char *hex, struct control_proposal *p)
{
	span nonce;
	TRY(fail_context(s, hex_parse(s, span_str(hex), &nonce), "the nonce"));
	if (nonce.len != sizeof p->nonce)
		return fail(s, E_INPUT, "a nonce has %zu octets, in hexadecimal", sizeof p->nonce);
	memcpy(p->nonce, nonce.data, nonce.len);
	return OK;
}

static st take_instance(struct scope *s, const struct cli *c, struct control_proposal *p)
{
	static const char *const standard[CONTROL_EXECUTOR_COUNT] = { [CONTROL_BY_REGISTER] = REGISTER, [CONTROL_BY_CA] = CA };
	enum control_executor executor = p->operation->executor;
	const char *instance = cli_get_or(c, "instance", standard[executor]);
	if (instance == NULL || (executor == CONTROL_BY_REGISTER) != (strcmp(instance, REGISTER) == 0))
		return fail(s, E_INPUT,
			    executor == CONTROL_BY_KEYD
				    ? "%s is carried out by the keyd that holds the keys: --instance keyd/ca"
				    : "%s is carried out by the register or the ca that is asked: leave --instance out",
			    p->operation->name);
	p->instance = span_str(instance);
	return OK;
}

/* The ca that is asked says who it is. */
static st check_ca(struct scope *s, const struct cli *c, const char *name, struct control_proposal *p)
{
	if (cli_get(c, "instance") != NULL && !span_is(p->instance, name))
		return fail(s, E_STATE, "this ca is the instance %s", name);
	p->instance = span_str(scope_printf(s, "%s", name));
	return OK;
}

static st ask_nonce(struct scope *s, const struct cli *c, struct cli_api *api, struct control_proposal *p)
{
	AUTO(json_t) *given = NULL;
	enum control_executor executor = p->operation->executor;
	if (cli_get(c, "nonce") != NULL)
		return cli_op_take_nonce(s, cli_get(c, "nonce"), p);
	if (executor == CONTROL_BY_KEYD)
		return cli_op_keyd_nonce(s, c, p);
	TRY(cli_api_call(s, api, "POST", "/v1/operations/nonce", NULL, &given));
	if (executor == CONTROL_BY_CA)
		TRY(check_ca(s, c, cli_member(given, "ca"), p));
	return cli_op_take_nonce(s, cli_member(given, "nonce"), p);
}

/* What is to be done before anything can be proposed, for who is in front of it. */
static st refuse_old(struct scope *s, const struct control_register *r, int64_t age)
{
	struct control_management m = { .holders = 0 };
	long long hours = age / MOMENT_HOUR;
	if (!control_register_management(r, &m) || m.group.len == 0)
		return fail(
			s, E_STATE,
			"the management CA's CRL is %lld hours old, and every operation comes with one of the last 24: chancery crl issue "
			"--ca management first",
			hours);
	return fail(
		s, E_STATE,
		"the management CA's CRL is %lld hours old, and every operation comes with one of the last 24: chancery crl issue --ca "
		"management first. If its key is locked, before that chancery op propose group.activate --group %.*s --instance %.*s, "
		"which one person more approves",
		hours, (int)m.group.len, (const char *)m.group.data, (int)m.holder[0].len, (const char *)m.holder[0].data);
}

//= control#late-crl an old one is said to be old
static st say_old(struct scope *s, const struct control_register *r, struct control_proposal *p, int64_t this_update)
{
	char text[MOMENT_TEXT_MAX];
	int64_t age = scope_now(s) - this_update;
	if (age <= CONTROL_CRL_AGE || control_proposal_old_crl(p) != 0)
		return OK;
	if (!control_takes_old_crl(r, p))
		return refuse_old(s, r, age);
	return control_proposal_add(s, p, "old-crl", span_str(scope_printf(s, "%s", moment_text(this_update, text))));
}

static st fetch_crl(struct scope *s, struct cli_api *api, span *out)
{
	TRY(fail_context(s, cli_api_fetch(s, api, CLI_MANAGEMENT_CRL, out), "the management CA's CRL"));
	*out = scope_copy(s, *out);
	return OK;
}

/* Of the CA that is to become the management CA, when no file was given. */
static st take_first_crl(struct scope *s, struct cli_api *api, struct control_proposal *p)
{
	span crl;
	if (!is_parameter(p->operation, "crl") || control_parameter(p, "crl", 0).len > 0)
		return OK;
	TRY(fetch_crl(s, api, &crl));
	return control_proposal_add(s, p, "crl", span_str(base64_text(s, crl)));
}

//= control#crl a management CRL no older than 24 h goes with every operation
st cli_op_take_crl(struct scope *s, struct cli_api *api, const struct control_register *r, struct control_signed *o)
{
	struct pki_crl crl;
	uint8_t hash[DIGEST_MAX];
	if (!control_has_management(r))
		return OK;
	TRY(fetch_crl(s, api, &o->crl));
	TRY(pki_crl_read(s, o->crl, &crl));
	TRY(say_old(s, r, &o->proposal, crl.this_update));
	o->proposal.has_crl = true;
	o->proposal.crl_number = crl.number;
	memcpy(o->proposal.crl_hash, digest_of(DIGEST_SHA256, o->crl, hash).data, CONTROL_HASH_LEN);
	return OK;
}

static st take_times(struct scope *s, const struct cli *c, struct control_proposal *p)
{
	uint64_t hours, longest = (uint64_t)(p->operation->life / MOMENT_HOUR);
	TRY(cli_get_number(s, c, "hours", HOURS < longest ? HOURS : longest, longest, &hours));
	p->proposed = scope_now(s);
	p->expires = p->proposed + (int64_t)hours * MOMENT_HOUR;
	return OK;
}

static void take_head(const struct control_register *r, struct control_proposal *p)
{
	struct control_head head = control_register_head(r);
	p->entries = head.entries;
	memcpy(p->head, head.hash, sizeof p->head);
}

static st check_proposer(struct scope *s, const struct cli *c, const struct control_register *r, struct control_proposal *p)
{
	p->proposed_by = span_str(cli_get(c, "by"));
	const struct control_person *person = control_person_named(r, p->proposed_by);
	if (person == NULL || person->left)
		return fail(s, E_NOTFOUND, "--by %s is nobody on the register; `chancery role list` shows who is",
			    cli_get(c, "by"));
	return OK;
}

st cli_op_complete(struct scope *s, const struct cli *c, struct cli_api *api, const struct control_register *r,
		   struct control_signed *o)
{
	AUTO_BUF text;
	buf_init(&text, 0);
	TRY(take_times(s, c, &o->proposal));
	TRY(check_proposer(s, c, r, &o->proposal));
	take_head(r, &o->proposal);
	TRY(take_instance(s, c, &o->proposal)); /* before the CRL: an old one is for one instance only */
	TRY(take_first_crl(s, api, &o->proposal));
	TRY(cli_op_take_crl(s, api, r, o));
	TRY(ask_nonce(s, c, api, &o->proposal));
	TRY(control_proposal_write(s, &o->proposal, &text));
	return control_proposal_read(s, scope_copy(s, buf_span(&text)), &o->proposal);
}

static const char *seats_text(struct scope *s, const struct control_proposal *p, unsigned quorum)
{
	const char *text = "";
	const struct control_operation *operation = p->operation;
	const struct control_seat *late = control_late_seat(p);
	for (size_t i = 0; i < CONTROL_SEATS_MAX && operation->seat[i].roles != 0; i++)
		text = scope_printf(s, "%s%s%s", text, i == 0 ? "" : "; and ",
				    cli_op_seat_text(s, &operation->seat[i], quorum));
	if (late != NULL)
		text = scope_printf(s, "%s; and, because the management CA's CRL is old, %s", text,
				    cli_op_seat_text(s, late, quorum));
	return text;
}

st cli_op_propose(struct scope *s, struct cli *c)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	AUTO(cli_api) *api = NULL;
	AUTO(control_register) *r = NULL;
	char expires[MOMENT_TEXT_MAX];
	const char *out = cli_get(c, "out");
	TRY(cli_op_named(s, c->argument[0], &o->proposal.operation));
	TRY(cli_check_out(s, out));
	TRY(cli_api_open(s, c, &api));
	TRY(cli_register_open(s, c, api, NULL, &r));
	TRY(add_parameters(s, c, &o->proposal));
	TRY(cli_op_complete(s, c, api, r, o));
	TRY(cli_op_write(s, out, o));
	return cli_print(
		s, c,
		json_pack(
			"{s:s, s:s, s:s, s:s, s:s, s:s}", "operation", o->proposal.operation->name, "asks for",
			control_proposal_words(s, &o->proposal), "approved by",
			seats_text(s, &o->proposal, control_register_quorum(r)), "until",
			moment_text(o->proposal.expires, expires), "written to", out, "next",
			scope_printf(s, "chancery op approve %s --token LABEL --person ID --role ROLE, by each of them", out)));
}
