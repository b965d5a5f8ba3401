/* `chancery key` and `chancery hsm`: keys in the tokens of the zones on this host, through their keyd. */
#include "cli_key.h"
#include "cli_nouns.h"
#include "cli_process.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_pem.h"
#include <stdio.h>

static st no_zone(struct scope *s, const struct cli *c, const char *zone)
{
	const struct cli_daemon *all = cli_conf_daemons(&c->conf);
	const char *known = "";
	for (size_t i = 0; i < c->conf.daemons.count; i++)
		if (all[i].zone != NULL)
			known = scope_printf(s, "%s%s%s", known, known[0] == 0 ? "" : ", ", all[i].zone);
	return fail(s, E_NOTFOUND, "this host has no keyd of a zone %s; there are %s", zone, known[0] == 0 ? "none" : known);
}

st cli_key_open(struct scope *s, const struct cli *c, const char *zone, key_client **out)
{
	const struct cli_daemon *keyd = cli_conf_keyd(&c->conf, zone);
	if (keyd != NULL && keyd->socket != NULL) {
		*out = key_client_new(keyd->socket);
		return OK;
	}
	return no_zone(s, c, zone);
}

static json_t *purposes(unsigned bits)
{
	json_t *out = json_array();
	for (unsigned bit = 1; bit <= KEY_FOR_REQUEST; bit <<= 1)
		if (bits & bit)
			(void)json_array_append_new(out, json_string(key_purpose_name((enum key_purpose)bit)));
	return out;
}

static json_t *key_json(struct scope *s, const char *zone, const struct key_info *key, bool whole)
{
	char created[MOMENT_TEXT_MAX];
	json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "zone", zone, "token", key->token, "key", key->label,
				"type", key->type->name, "backup", key->backup == KEY_BACKUP_WRAPPED ? "wrapped" : "none",
				"usable", key->usable, "created", moment_text(key->created, created));
	if (!whole)
		return out;
	(void)json_object_set_new(out, "purposes", purposes(key->purposes));
	(void)json_object_set_new(out, "not provided by the module", json_string(key->missing == NULL ? "" : key->missing));
	(void)json_object_set_new(out, "ca", json_boolean(key->limits.ca));
	(void)json_object_set_new(out, "validity days at most", json_integer(key->limits.validity_days));
	(void)json_object_set_new(out, "signatures per second at most", json_integer(key->limits.rate));
	char *issuer = NULL;
	if (key->limits.issuer.len > 0 && pki_name_text(s, key->limits.issuer, &issuer).code == E_OK)
		(void)json_object_set_new(out, "issuer", json_string(issuer));
	(void)json_object_set_new(out, "public key", json_string(pki_pem_write(s, "PUBLIC KEY", key->spki)));
	return out;
}

static st add_zone(struct scope *s, const struct cli_daemon *daemon, json_t *rows)
{
	AUTO(key_client) *client = key_client_new(daemon->socket);
	struct key_info *keys;
	size_t count;
	TRY(key_list(s, client, &keys, &count));
	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(rows, key_json(s, daemon->zone, &keys[i], false));
	return OK;
}

/* Zones that are not running (the off-line root) are left out without --zone. */
st cli_key_rows(struct scope *s, const struct cli *c, const char *zone, json_t *rows)
{
	const struct cli_daemon *all = cli_conf_daemons(&c->conf);
	for (size_t i = 0; i < c->conf.daemons.count; i++) {
		if (all[i].zone == NULL || (zone != NULL && strcmp(zone, all[i].zone) != 0))
			continue;
		st added = add_zone(s, &all[i], rows);
		if (zone != NULL)
			TRY(added);
		scope_clear_error(s);
	}
	return OK;
}

void cli_key_duties(struct scope *s, const json_t *rows, json_t *duties)
{
	size_t i;
	const json_t *row;
	json_array_foreach(rows, i, row)
	{
		if (json_is_true(json_object_get(row, "usable")))
			continue;
		char *duty =
			scope_printf(s,
				     "key %s of zone %s is not usable: its token is closed or refused its PIN; chancery run "
				     "--stop, then chancery run with the right PIN (log/keyd-%s.log says more)",
				     cli_member(row, "key"), cli_member(row, "zone"), cli_member(row, "zone"));
		(void)json_array_append_new(duties, json_string(duty));
	}
}

static bool some_keyd_runs(struct scope *s, const struct cli *c)
{
	const struct cli_daemon *all = cli_conf_daemons(&c->conf);
	for (size_t i = 0; i < c->conf.daemons.count; i++)
		if (all[i].zone != NULL && cli_daemon_runs(s, c, all[i].label))
			return true;
	return false;
}

static st list(struct scope *s, struct cli *c)
{
	AUTO(json_t) *rows = json_array();
	if (cli_get(c, "zone") != NULL && cli_conf_keyd(&c->conf, cli_get(c, "zone")) == NULL)
		return no_zone(s, c, cli_get(c, "zone"));
	TRY(cli_key_rows(s, c, cli_get(c, "zone"), rows));
	if (json_array_size(rows) == 0 && !some_keyd_runs(s, c))
		return fail(s, E_UNAVAILABLE, "no keyd answers");
	return cli_print(s, c, TAKE(rows));
}

static st show(struct scope *s, struct cli *c)
{
	AUTO(key_client) *client = NULL;
	TRY(cli_key_open(s, c, cli_get(c, "zone"), &client));
	struct key_info key;
	TRY(key_find(s, client, c->argument[0], &key));
	return cli_print(s, c, key_json(s, cli_get(c, "zone"), &key, true));
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
	AUTO(key_client) *client = NULL;
	TRY(cli_key_open(s, c, cli_get(c, "zone"), &client));
	struct key_info made;
	TRY(key_generate(s, client, &want, &made));
	return cli_print(s, c, key_json(s, cli_get(c, "zone"), &made, true));
}

/* The tool links no PKCS#11: keyd's own probe is run, with the zone's PINs when the installation keeps them. */
static st probe(struct scope *s, struct cli *c)
{
	const char *zone = cli_get_or(c, "zone", "ca");
	const struct cli_daemon *keyd = cli_conf_keyd(&c->conf, zone);
	if (keyd == NULL)
		return no_zone(s, c, zone);
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
static const struct cli_option list_options[] = { ZONE(false) };
static const struct cli_option show_options[] = { ZONE(true) };
static const struct cli_option generate_options[] = {
	ZONE(true),
	{ .name = "token", .value = "TOKEN", .required = true, .help = "the token (key group) it is generated on" },
	{ .name = "purposes",
	  .value = "LIST",
	  .required = true,
	  .help = "what it may sign: certificate,crl,ocsp,time-stamp,log,request" },
	{ .name = "type",
	  .value = "TYPE",
	  .help = "ec-p256 (default), ec-p384, ec-p521, ec-brainpoolp512r1, rsa-3072, rsa-4096, ed25519" },
	{ .name = "backup", .value = "KIND", .help = "none (default) or wrapped; cannot be changed later" },
	{ .name = "validity-days", .value = "N", .help = "longest validity it may sign" },
	{ .name = "rate", .value = "N", .help = "most signatures per second" },
};
static const struct cli_command key_commands[] = {
	{ .verb = "list",
	  .summary = "List the keys of all zones that run here",
	  .example = "key list",
	  CLI_OPTIONS(list_options),
	  .run = list },
	{ .verb = "show",
	  .arguments = "KEY",
	  .summary = "Show a key with its purposes and limits",
	  .example = "key show --zone ca issuing",
	  CLI_OPTIONS(show_options),
	  .run = show },
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
	  CLI_OPTIONS(list_options),
	  .run = probe },
};
const struct cli_noun cli_noun_hsm = { "hsm", "the PKCS#11 module behind the keys", CLI_COMMANDS(hsm_commands) };
