/* The inventory of keys: asked from the keyds, as JSON, and what is to be done about it. */
#include "cli_key.h"
#include "digest.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "text.h"

#define WARN_BEFORE (90 * MOMENT_DAY)

/* ---- asking ---- */

st cli_key_no_zone(struct scope *s, const struct cli *c, const char *zone)
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
	if (keyd == NULL || keyd->socket == NULL)
		return cli_key_no_zone(s, c, zone);
	*out = key_client_new(keyd->socket);
	return OK;
}

static st add_locked(struct scope *s, const struct cli_daemon *daemon, struct key_client *client, struct cli_keys *keys)
{
	struct key_status status;
	TRY(key_status(s, client, &status));
	struct cli_locked *all = scope_alloc(s, (keys->locked_count + status.token_count + 1) * sizeof *all);
	if (keys->locked_count > 0)
		memcpy(all, keys->locked, keys->locked_count * sizeof *all);
	for (size_t i = 0; i < status.token_count; i++) {
		const struct key_token_status *token = &status.tokens[i];
		bool locked = !token->ready && strncmp(token->reason, "locked: ", 8) == 0;
		if (locked || (token->ready && token->reason[0] != 0))
			all[keys->locked_count++] =
				(struct cli_locked){ daemon->zone, token->label, token->reason, token->ready };
	}
	keys->locked = all;
	return OK;
}

static bool is_planned(const struct cli_keys *keys, const char *zone, const char *label)
{
	for (size_t i = 0; i < keys->count; i++)
		if (keys->row[i].entry.state == KEY_PLANNED && strcmp(keys->row[i].zone, zone) == 0 &&
		    strcmp(keys->row[i].entry.info.label, label) == 0)
			return true;
	return false;
}

/* What is left of a planned key is told with it. */
static st add_strays(struct scope *s, const struct cli_daemon *daemon, struct key_client *client, struct cli_keys *keys)
{
	struct key_stray *found;
	size_t count;
	TRY(key_strays(s, client, &found, &count));
	struct cli_stray *all = scope_alloc(s, (keys->stray_count + count + 1) * sizeof *all);
	if (keys->stray_count > 0)
		memcpy(all, keys->stray, keys->stray_count * sizeof *all);
	for (size_t i = 0; i < count; i++)
		if (!is_planned(keys, daemon->zone, found[i].label))
			all[keys->stray_count++] = (struct cli_stray){ daemon->zone, found[i].token, found[i].label };
	keys->stray = all;
	return OK;
}

static st add_zone(struct scope *s, const struct cli_daemon *daemon, struct cli_keys *keys)
{
	AUTO(key_client) *client = key_client_new(daemon->socket);
	struct key_info *known;
	size_t count;
	TRY(add_locked(s, daemon, client, keys));
	TRY(key_list(s, client, &known, &count));
	struct cli_key *row = scope_alloc(s, (keys->count + count + 1) * sizeof *row);
	if (keys->count > 0)
		memcpy(row, keys->row, keys->count * sizeof *row);
	for (size_t i = 0; i < count; i++) {
		struct cli_key *key = &row[keys->count + i];
		*key = (struct cli_key){ .zone = daemon->zone, .socket = daemon->socket };
		TRY(key_entry(s, client, known[i].label, &key->entry));
	}
	keys->row = row;
	keys->count += count;
	return add_strays(s, daemon, client, keys);
}

st cli_key_inventory(struct scope *s, const struct cli *c, const char *zone, struct cli_keys *out)
{
	const struct cli_daemon *all = cli_conf_daemons(&c->conf);
	struct cli_keys keys = { 0 };
	if (zone != NULL && cli_conf_keyd(&c->conf, zone) == NULL)
		return cli_key_no_zone(s, c, zone);
	for (size_t i = 0; i < c->conf.daemons.count; i++) {
		if (all[i].zone == NULL || all[i].socket == NULL || (zone != NULL && strcmp(zone, all[i].zone) != 0))
			continue;
		st added = add_zone(s, &all[i], &keys);
		if (zone != NULL)
			TRY(added);
		scope_clear_error(s);
	}
	*out = keys;
	return OK;
}

st cli_key_named(struct scope *s, const struct cli *c, const char *zone, const char *label, struct cli_key *out)
{
	struct cli_keys keys = { 0 };
	const struct cli_key *found = NULL;
	TRY(cli_key_inventory(s, c, zone, &keys));
	for (size_t i = 0; i < keys.count; i++) {
		if (strcmp(keys.row[i].entry.info.label, label) != 0)
			continue;
		if (found != NULL)
			return fail(s, E_CONFLICT, "zones %s and %s both have a key \"%s\"; add --zone", found->zone,
				    keys.row[i].zone, label);
		found = &keys.row[i];
	}
	if (found == NULL && zone != NULL)
		return fail(s, E_NOTFOUND, "zone %s has no key \"%s\"; `chancery key list` names those there are", zone, label);
	if (found == NULL)
		return fail(s, E_NOTFOUND, "no keyd that answers has a key \"%s\"; `chancery key list` names those there are",
			    label);
	*out = *found;
	return OK;
}

/* ---- showing ---- */

static const char *purposes_text(struct scope *s, unsigned bits)
{
	const char *text = "";
	for (unsigned bit = 1; bit <= KEY_FOR_REQUEST; bit <<= 1)
		if ((bits & bit) != 0)
			text = scope_printf(s, "%s%s%s", text, text[0] != 0 ? " " : "",
					    key_purpose_name((enum key_purpose)bit));
	return text;
}

/* "-" of a key that is planned: it has none. */
static const char *fingerprint(struct scope *s, const struct key_info *key)
{
	uint8_t digest[DIGEST_MAX];
	if (key->spki.len == 0)
		return "-";
	return hex_text(s, digest_of(DIGEST_SHA256, key->spki, digest));
}

/* "1204", "at least 1204" */
static const char *signatures_text(struct scope *s, const struct key_entry *e)
{
	return scope_printf(s, "%s%llu", e->at_least ? "at least " : "", (unsigned long long)(e->recorded + e->counted));
}

static void set_text(json_t *to, const char *name, const char *text)
{
	if (text != NULL && text[0] != 0)
		(void)json_object_set_new(to, name, json_string(text));
}

static void set_time(json_t *to, const char *name, int64_t moment)
{
	char text[MOMENT_TEXT_MAX];
	if (moment != 0)
		(void)json_object_set_new(to, name, json_string(moment_text(moment, text)));
}

json_t *cli_key_row_json(struct scope *s, const struct cli_key *key)
{
	const struct key_info *info = &key->entry.info;
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "zone", key->zone, "token", info->token, "key",
			 info->label, "type", info->type->name, "purposes", purposes_text(s, info->purposes), "state",
			 key_state_name(key->entry.state), "signatures", signatures_text(s, &key->entry), "usable",
			 (int)info->usable, "fingerprint",
			 info->spki.len == 0 ? "-" : scope_printf(s, "%.16s...", fingerprint(s, info)));
}

static json_t *limits_json(struct scope *s, const struct key_limits *limits)
{
	json_t *out = json_pack("{s:b, s:I, s:I}", "ca", (int)limits->ca, "validity days at most",
				(json_int_t)limits->validity_days, "signatures per second at most", (json_int_t)limits->rate);
	char *issuer = NULL;
	if (limits->issuer.len > 0 && pki_name_text(s, limits->issuer, &issuer).code == E_OK)
		set_text(out, "issuer", issuer);
	if (limits->accuracy_ms > 0)
		(void)json_object_set_new(out, "accuracy ms at most", json_integer(limits->accuracy_ms));
	set_text(out, "origin", limits->origin);
	const char *policies = "";
	for (size_t i = 0; i < limits->policy_count; i++) {
		char *policy;
		if (der_oid_text(s, limits->policies[i], &policy).code == E_OK)
			policies = scope_printf(s, "%s%s%s", policies, i > 0 ? " " : "", policy);
	}
	set_text(out, "policies", policies);
	return out;
}

static json_t *device_json(const struct key_device *device)
{
	json_t *out = json_object();
	if (device->scheme[0] == 0)
		set_text(out, "certification", "none is declared: [device ...] in keyd.conf");
	set_text(out, "scheme", device->scheme);
	set_text(out, "level", device->level);
	set_text(out, "certificate", device->certificate);
	set_time(out, "certified until", device->expires);
	set_text(out, "copies", device->copies[0] != 0 ? device->copies : "none are declared");
	return out;
}

static const char *planned_text(struct scope *s, const struct cli_key *key)
{
	return scope_printf(
		s,
		"it is being generated, or its generation did not end: then have it generated anew under this name (%s); what was left of it on the token "
		"is destroyed then, and is not used until",
		key->entry.operation[0] != 0 ? "chancery op propose key.generate" : "chancery key generate");
}

static void set_generated(json_t *out, const struct key_entry *e)
{
	set_text(out, "checks", e->checks[0] != 0 ? e->checks : "not noted: generated by an earlier version");
	set_text(out, "attributes", e->attributes);
	(void)json_object_set_new(out, "not provided by the module",
				  json_string(e->info.missing == NULL ? "" : e->info.missing));
}

/* The row of a private key that is in no inventory. */
json_t *cli_key_stray_json(const struct cli_stray *stray)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "zone", stray->zone, "token", stray->token, "key",
			 stray->label, "type", "-", "purposes", "-", "state", "not described", "signatures", "-", "usable", 0,
			 "fingerprint", "-");
}

/* What stands in the row, and what has no place there. */
json_t *cli_key_json(struct scope *s, const struct cli_key *key)
{
	static const char *const families[] = { [ALG_RSA] = "RSA", [ALG_EC] = "ECDSA", [ALG_ED25519] = "EdDSA" };
	const struct key_entry *e = &key->entry;
	json_t *out = cli_key_row_json(s, key);
	set_text(out, "algorithm", families[e->info.type->family]);
	(void)json_object_set_new(out, "size", json_integer(e->info.type->bits));
	set_text(out, "fingerprint", fingerprint(s, &e->info));
	set_time(out, "in this state since", e->since);
	set_text(out, "operation", e->operation);
	if (e->state == KEY_PLANNED)
		set_text(out, "what to do", planned_text(s, key));
	else
		set_time(out, "created", e->info.created);
	set_time(out, "usage ends", e->info.usage_ends);
	set_text(out, "backup", e->info.backup == KEY_BACKUP_WRAPPED ? "wrapped" : "none");
	if (e->state != KEY_PLANNED)
		set_generated(out, e);
	(void)json_object_set_new(out, "limits", limits_json(s, &e->info.limits));
	(void)json_object_set_new(out, "device", device_json(&e->device));
	if (e->state != KEY_PLANNED)
		set_text(out, "public key", pki_pem_write(s, "PUBLIC KEY", e->info.spki));
	return out;
}

/* ---- what is to be done ---- */

static void add_duty(json_t *duties, const char *text)
{
	(void)json_array_append_new(duties, json_string(text));
}

static bool is_locked(const struct cli_keys *keys, const struct cli_key *key)
{
	for (size_t i = 0; i < keys->locked_count; i++)
		if (!keys->locked[i].active && strcmp(keys->locked[i].zone, key->zone) == 0 &&
		    strcmp(keys->locked[i].group, key->entry.info.token) == 0)
			return true;
	return false;
}

size_t cli_key_duties(struct scope *s, const struct cli_keys *keys, json_t *duties)
{
	size_t amiss = 0;
	//= tsps#6.2.8 who is to be called when a key group is locked
	for (size_t i = 0; i < keys->locked_count; i++)
		add_duty(duties, scope_printf(s, "key group %s of zone %s%s %s", keys->locked[i].group, keys->locked[i].zone,
					      keys->locked[i].active ? ":" : " is", keys->locked[i].reason));
	for (size_t i = 0; i < keys->count; i++) {
		const struct cli_key *key = &keys->row[i];
		if (key->entry.state == KEY_PLANNED)
			add_duty(duties, scope_printf(s, "key %s of zone %s is planned: %s", key->entry.info.label, key->zone,
						      planned_text(s, key)));
		if (key->entry.info.usable || key->entry.state == KEY_DESTROYED || key->entry.state == KEY_PLANNED ||
		    is_locked(keys, key))
			continue;
		amiss++;
		add_duty(duties,
			 scope_printf(s,
				      "key %s of zone %s is not usable: its token is closed or refused its PIN; chancery run "
				      "--stop, then chancery run with the right PIN (log/keyd-%s.log says more)",
				      key->entry.info.label, key->zone, key->zone));
	}
	return amiss;
}

//= requirements#C2 the inventory holds certificate, scheme and expiry, and says when it expires
static void warn_of_device(struct scope *s, const struct cli_key *key, json_t *duties)
{
	const struct key_device *device = &key->entry.device;
	int64_t now = scope_now(s);
	if (device->expires == 0 || device->expires - now > WARN_BEFORE)
		return;
	add_duty(
		duties,
		scope_printf(
			s,
			"the certification of the device of key %s of zone %s (%s %s) %s %s: have it certified anew, or move to "
			"another device; then amend [device] in keyd-%s.conf",
			key->entry.info.label, key->zone, device->scheme, device->certificate,
			device->expires > now ? "ends" : "ENDED", cli_age(s, device->expires), key->zone));
}

static void warn_of_period(struct scope *s, const struct cli_key *key, json_t *duties)
{
	int64_t ends = key->entry.info.usage_ends;
	if (ends == 0 || ends - scope_now(s) > WARN_BEFORE || key->entry.state == KEY_EXPIRED)
		return;
	add_duty(duties, scope_printf(s, "the usage period of key %s of zone %s ends %s: generate the next key and certify it",
				      key->entry.info.label, key->zone, cli_age(s, ends)));
}

static void warn_of_stray(struct scope *s, const struct cli_stray *stray, json_t *duties)
{
	add_duty(
		duties,
		scope_printf(
			s,
			"token %s of zone %s holds a private key \"%s\" that no description of keyd names: nothing uses it; find out "
			"who made it, and remove it with the tool of the HSM",
			stray->token, stray->zone, stray->label));
}

void cli_key_warnings(struct scope *s, const struct cli_keys *keys, json_t *duties)
{
	for (size_t i = 0; i < keys->stray_count; i++)
		warn_of_stray(s, &keys->stray[i], duties);
	for (size_t i = 0; i < keys->count; i++) {
		if (keys->row[i].entry.state == KEY_DESTROYED || keys->row[i].entry.state == KEY_PLANNED)
			continue;
		warn_of_device(s, &keys->row[i], duties);
		warn_of_period(s, &keys->row[i], duties);
	}
}
