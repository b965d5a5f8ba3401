/* `chancery key` and `chancery hsm`: keys in the tokens of the zones on this host, through their keyd. */
#include "cli_key.h"
#include "cli_found.h"
#include "cli_nouns.h"
#include "cli_process.h"
#include "key_protocol.h"
#include "moment.h"
#include <stdio.h>

#define EXIT_DISAGREES 1

static bool some_keyd_runs(struct scope *s, const struct cli *c)
{
	const struct cli_daemon *all = cli_conf_daemons(&c->conf);
	for (size_t i = 0; i < c->conf.daemons.count; i++)
		if (all[i].zone != NULL && cli_daemon_runs(s, c, all[i].label))
			return true;
	return false;
}

/* The log that was named, or that of the installation; NULL when nobody asked. */
static const char *wanted_log(const struct cli *c)
{
	if (cli_get(c, "log") != NULL)
		return cli_get(c, "log");
	return cli_get(c, "reconcile") != NULL ? c->conf.audit_log : NULL;
}

static st add_verdicts(struct scope *s, struct cli *c, const struct cli_keys *keys, json_t *rows)
{
	AUTO(json_t) *verdicts = NULL;
	bool agree;
	if (wanted_log(c) == NULL)
		return OK;
	TRY(cli_key_reconcile(s, keys, wanted_log(c), &verdicts, &agree));
	for (size_t i = 0; i < keys->count; i++) {
		json_t *one = json_array_get(verdicts, i);
		(void)json_object_set(json_array_get(rows, i), "log", c->json ? one : json_object_get(one, "verdict"));
	}
	c->exit_code = agree ? 0 : EXIT_DISAGREES;
	return OK;
}

/* In a table: the first of them, and how many more. */
static json_t *certificates_cell(struct scope *s, const json_t *certificates)
{
	size_t count = json_array_size(certificates);
	if (count == 0)
		return json_string("-");
	const json_t *first = json_array_get(certificates, 0);
	const char *text = scope_printf(s, "%s until %.10s", cli_member(first, "serial"), cli_member(first, "not_after"));
	return json_string(count == 1 ? text : scope_printf(s, "%s, and %zu more", text, count - 1));
}

/* With the columns that the others have. */
static json_t *stray_row(const struct cli *c, const struct cli_stray *stray)
{
	json_t *row = cli_key_stray_json(stray);
	if (!c->json)
		(void)json_object_set_new(row, "certificate", json_string("-"));
	if (wanted_log(c) != NULL)
		(void)json_object_set_new(row, "log", json_string("nothing to compare: keyd does not use it"));
	return row;
}

static st list(struct scope *s, struct cli *c)
{
	struct cli_keys keys;
	struct cli_key_certificates certificates;
	TRY(cli_key_inventory(s, c, cli_get(c, "zone"), &keys));
	if (keys.count == 0 && !some_keyd_runs(s, c))
		return fail(s, E_UNAVAILABLE, "no keyd answers");
	AUTO(json_t) *rows = json_array();
	st status = cli_key_certificates(s, c, &certificates);
	for (size_t i = 0; status.code == E_OK && i < keys.count; i++) {
		json_t *row = c->json ? cli_key_json(s, &keys.row[i]) : cli_key_row_json(s, &keys.row[i]);
		AUTO(json_t) *own = cli_key_certificates_of(&certificates, &keys.row[i]);
		(void)json_object_set_new(row, c->json ? "certificates" : "certificate",
					  c->json ? json_incref(own) : certificates_cell(s, own));
		(void)json_array_append_new(rows, row);
	}
	cli_key_certificates_free(&certificates);
	TRY(status);
	TRY(add_verdicts(s, c, &keys, rows));
	for (size_t i = 0; i < keys.stray_count; i++)
		(void)json_array_append_new(rows, stray_row(c, &keys.stray[i]));
	if (certificates.silent != NULL)
		cli_progress(c, "%s", certificates.silent);
	return cli_print(s, c, TAKE(rows));
}

static st show(struct scope *s, struct cli *c)
{
	struct cli_key key;
	struct cli_key_certificates certificates;
	TRY(cli_key_named(s, c, cli_get(c, "zone"), c->argument[0], &key));
	st status = cli_key_certificates(s, c, &certificates);
	AUTO(json_t) *shown = cli_key_json(s, &key);
	(void)json_object_set_new(shown, "certificates", cli_key_certificates_of(&certificates, &key));
	cli_key_certificates_free(&certificates);
	TRY(status);
	if (certificates.silent != NULL)
		(void)json_object_set_new(shown, "certificates not asked for", json_string(certificates.silent));
	const struct cli_keys one = { .row = &key, .count = 1 };
	if (wanted_log(c) != NULL) {
		AUTO(json_t) *verdicts = NULL;
		bool agree;
		TRY(cli_key_reconcile(s, &one, wanted_log(c), &verdicts, &agree));
		(void)json_object_set(shown, "log", json_array_get(verdicts, 0));
		c->exit_code = agree ? 0 : EXIT_DISAGREES;
	}
	return cli_print(s, c, TAKE(shown));
}

static st change(struct scope *s, struct cli *c, enum key_state to)
{
	AUTO(key_client) *client = NULL;
	struct cli_key key = { .zone = cli_get(c, "zone") };
	if (strlen(cli_get(c, "reason")) > KEY_REASON_MAX)
		return fail(s, E_LIMIT, "a reason has at most %u characters", KEY_REASON_MAX);
	TRY(cli_key_open(s, c, key.zone, &client));
	TRY(key_change(s, client, c->argument[0], to, cli_get(c, "reason"), &key.entry));
	return cli_print(s, c, cli_key_row_json(s, &key));
}

static st suspend(struct scope *s, struct cli *c)
{
	return change(s, c, KEY_SUSPENDED);
}

static st resume(struct scope *s, struct cli *c)
{
	return change(s, c, KEY_ACTIVE);
}

static st destroy(struct scope *s, struct cli *c)
{
	return change(s, c, KEY_DESTROYED);
}

static st parse_purposes(struct scope *s, const char *text, unsigned *out)
{
	unsigned bits = 0;
	for (const char *at = text; *at != 0;) {
		size_t len = strcspn(at, ",");
		enum key_purpose purpose = key_purpose_named(span_of(at, len));
		if (purpose == 0)
			return fail(
				s, E_INPUT,
				"'%.*s' is no purpose of a key; there are certificate, crl, ocsp, time-stamp, log, identity, request",
				(int)len, at);
		bits |= purpose;
		at += len + (at[len] == ',');
	}
	*out = bits;
	return OK;
}

/* The first moment at which nothing is signed any more. */
static st parse_end(struct scope *s, const char *day, int64_t *out)
{
	*out = 0;
	if (day == NULL)
		return OK;
	st parsed = moment_parse(s, span_str(scope_printf(s, "%sT00:00:00Z", day)), out);
	if (parsed.code == E_OK)
		return OK;
	scope_clear_error(s);
	return fail(s, E_INPUT, "--usage-ends '%s' is no date; write YYYY-MM-DD", day);
}

static st generate(struct scope *s, struct cli *c)
{
	struct key_info want = { .type = alg_key_named(span_str(cli_get_or(c, "type", "ec-p256"))), .missing = "" };
	if (want.type == NULL)
		return fail(
			s, E_INPUT,
			"'%s' is no type of key; there are ec-p256, ec-p384, ec-p521, ec-brainpoolp512r1, rsa-3072, rsa-4096, ed25519",
			cli_get(c, "type"));
	const char *label = c->argument[0];
	const char *token = cli_get(c, "token");
	if (strlen(label) > KEY_LABEL_MAX || strlen(token) > KEY_LABEL_MAX)
		return fail(s, E_LIMIT, "labels have at most %d characters", KEY_LABEL_MAX);
	(void)snprintf(want.label, sizeof want.label, "%s", label);
	(void)snprintf(want.token, sizeof want.token, "%s", token);
	TRY(parse_purposes(s, cli_get(c, "purposes"), &want.purposes));
	want.backup = strcmp(cli_get_or(c, "backup", "none"), "wrapped") == 0 ? KEY_BACKUP_WRAPPED : KEY_BACKUP_NONE;
	uint64_t days, rate;
	TRY(cli_get_number(s, c, "validity-days", 0, 20000, &days));
	TRY(cli_get_number(s, c, "rate", 0, 1000000, &rate));
	want.limits.validity_days = (uint32_t)days;
	want.limits.rate = (uint32_t)rate;
	const char *origin = cli_get_or(c, "origin", "");
	if (strlen(origin) >= sizeof want.limits.origin)
		return fail(s, E_LIMIT, "--origin has at most %zu characters", sizeof want.limits.origin - 1);
	(void)snprintf(want.limits.origin, sizeof want.limits.origin, "%s", origin);
	TRY(parse_end(s, cli_get(c, "usage-ends"), &want.usage_ends));
	if (cli_get(c, "new-token") != NULL)
		TRY(cli_found_token(s, c, cli_get(c, "zone"), token, NULL));
	AUTO(key_client) *client = NULL;
	TRY(cli_key_open(s, c, cli_get(c, "zone"), &client));
	struct key_info made;
	struct cli_key key = { .zone = cli_get(c, "zone") };
	TRY(key_generate(s, client, &want, &made));
	TRY(key_entry(s, client, label, &key.entry));
	return cli_print(s, c, cli_key_json(s, &key));
}

/* The tool links no PKCS#11: keyd's own probe is run, with the zone's PINs when the installation keeps them. */
static st probe(struct scope *s, struct cli *c)
{
	const char *zone = cli_get_or(c, "zone", "ca");
	const struct cli_daemon *keyd = cli_conf_keyd(&c->conf, zone);
	if (keyd == NULL)
		return cli_key_no_zone(s, c, zone);
	const char *arguments[6] = { "probe" };
	size_t n = 1;
	if (c->json)
		arguments[n++] = "--json";
	if (c->argument_count > 0) {
		arguments[n++] = "--token";
		arguments[n++] = c->argument[0];
	}
	return cli_run_command(s, c, keyd, arguments, NULL, &c->exit_code);
}

/* clang-format off */
#define ZONE(needed) { .name = "zone", .value = "ZONE", .required = needed, .help = "ca, status, time, log or root" }
/* clang-format on */
#define RECONCILE                                                                                                              \
	{                                                                                                                      \
		.name = "reconcile",                                                                                           \
		.help = "count its signatures in the log of this installation, and say whether keyd counts the same"           \
	}
static const struct cli_option probe_options[] = { ZONE(false) };
static const struct cli_option list_options[] = {
	ZONE(false), RECONCILE, { .name = "log", .value = "DIR", .help = "the same in this copy of the log" }
};
static const struct cli_option change_options[] = {
	ZONE(true), { .name = "reason", .value = "TEXT", .required = true, .help = "goes on record with the change" }
};
static const struct cli_option generate_options[] = {
	ZONE(true),
	{ .name = "token", .value = "TOKEN", .required = true, .help = "the token (key group) it is generated on" },
	{ .name = "new-token",
	  .help = "make the token first, with PINs that are asked for; `token = TOKEN` in its keyd.conf opens it at the next start" },
	{ .name = "purposes",
	  .value = "LIST",
	  .required = true,
	  .help = "what it may sign: certificate,crl,ocsp,time-stamp,log,identity,request" },
	{ .name = "type",
	  .value = "TYPE",
	  .help = "ec-p256 (default), ec-p384, ec-p521, ec-brainpoolp512r1, rsa-3072, rsa-4096, ed25519" },
	{ .name = "backup", .value = "KIND", .help = "none (default) or wrapped; cannot be changed later" },
	{ .name = "validity-days", .value = "N", .help = "longest validity it may sign" },
	{ .name = "origin", .value = "NAME", .help = "log: the only audit log whose checkpoints it signs" },
	{ .name = "rate", .value = "N", .help = "most signatures per second" },
	{ .name = "usage-ends", .value = "DATE", .help = "from this day on (UTC) it signs nothing; cannot be changed later" },
};
static const struct cli_command key_commands[] = {
	{ .verb = "list",
	  .summary = "List the keys of all zones that run here, with state, signatures and certificates",
	  .example = "key list --reconcile",
	  CLI_OPTIONS(list_options),
	  .run = list },
	{ .verb = "show",
	  .arguments = "KEY",
	  .summary = "Show everything about a key: purposes, limits, checks, state, device, certificates, signatures",
	  .example = "key show issuing --reconcile",
	  CLI_OPTIONS(list_options),
	  .run = show },
	{ .verb = "suspend",
	  .arguments = "KEY",
	  .summary = "Suspend a key: it signs nothing until it is resumed",
	  .example = "key suspend --zone ca --reason 'incident 12' issuing",
	  CLI_OPTIONS(change_options),
	  .run = suspend },
	{ .verb = "resume",
	  .arguments = "KEY",
	  .summary = "Let a suspended key sign again",
	  .example = "key resume --zone ca --reason 'incident 12 closed' issuing",
	  CLI_OPTIONS(change_options),
	  .run = resume },
	{ .verb = "destroy",
	  .arguments = "KEY",
	  .summary = "Destroy a key on its token, for good; its description stays as the record",
	  .example = "key destroy --zone ca --reason 'end of life' issuing-2020",
	  CLI_OPTIONS(change_options),
	  .run = destroy },
	{ .verb = "generate",
	  .arguments = "KEY",
	  .summary = "Generate a key on its token; purposes, limits and backup are fixed for good",
	  .example = "key generate --zone ca --token issuing --purposes certificate,crl,request issuing-2027",
	  CLI_OPTIONS(generate_options),
	  .run = generate },
};
const struct cli_noun cli_noun_key = { "key", "keys in the tokens of this host's zones", CLI_COMMANDS(key_commands) };

static const struct cli_command hsm_commands[] = {
	{ .verb = "probe",
	  .arguments = "[TOKEN]",
	  .summary =
		  "Tell mechanism by mechanism and attribute by attribute what the PKCS#11 module can do for us, and what is missing",
	  .example = "hsm probe --zone ca",
	  CLI_OPTIONS(probe_options),
	  .run = probe },
};
const struct cli_noun cli_noun_hsm = { "hsm", "the PKCS#11 module behind the keys", CLI_COMMANDS(hsm_commands) };
