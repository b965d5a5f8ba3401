/* `chancery alert`: what chancery-watch says is wrong, its rules, and whether its outlets work. */
#include "cli_alert.h"
#include "cli_nouns.h"
#include "cli_record.h"
#include "cli_register.h"
#include "moment.h"
#include "text.h"
#include <stdlib.h>

#define REASON_MAX 300

static st open_watch(struct scope *s, const struct cli *c, struct cli_api **out)
{
	const struct cli_daemon *watch = cli_conf_daemon(&c->conf, "watch");
	if (watch == NULL || watch->socket == NULL)
		return fail(s, E_NOTFOUND,
			    "chancery.conf has no [daemon watch] with a socket: nobody watches over this installation");
	return cli_api_open_local(s, watch->socket, out);
}

static st ask(struct scope *s, const struct cli *c, const char *method, const char *path, json_t **out)
{
	AUTO(cli_api) *api = NULL;
	TRY(open_watch(s, c, &api));
	return cli_api_call(s, api, method, path, strcmp(method, "POST") == 0 ? json_object() : NULL, out);
}

st cli_alerts_get(struct scope *s, const struct cli *c, json_t **out)
{
	return ask(s, c, "GET", "/v1/alerts", out);
}

static int urgency(const json_t *alert)
{
	static const char *const severities[] = { "info", "notice", "warning", "alert" };
	for (int i = 0; i < 4; i++)
		if (strcmp(cli_member(alert, "severity"), severities[i]) == 0)
			return i;
	return -1;
}

static json_t *row_of(struct scope *s, const json_t *alert)
{
	int64_t since;
	const char *opened = cli_member(alert, "since");
	if (moment_parse(s, span_str(opened), &since).code == E_OK)
		opened = cli_age(s, since);
	scope_clear_error(s);
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "severity", cli_member(alert, "severity"), "alert",
			 cli_member(alert, "rule"), "subject", cli_member(alert, "subject"), "opened", opened, "count",
			 (json_int_t)cli_member_number(alert, "count"), "text", cli_member(alert, "text"));
}

json_t *cli_alert_rows(struct scope *s, const json_t *alerts)
{
	const json_t *open = json_object_get(alerts, "alerts");
	json_t *rows = json_array();
	for (int wanted = 3; wanted >= -1; wanted--)
		for (size_t i = 0; i < json_array_size(open); i++)
			if (urgency(json_array_get(open, i)) == wanted)
				(void)json_array_append_new(rows, row_of(s, json_array_get(open, i)));
	if (json_array_size(rows) > 0)
		return rows;
	json_decref(rows);
	return NULL;
}

/* ---- commands ---- */

static st list(struct scope *s, struct cli *c)
{
	AUTO(json_t) *all = NULL;
	TRY(cli_alerts_get(s, c, &all));
	if (c->json)
		return cli_print(s, c, TAKE(all));
	AUTO(json_t) *out = json_object();
	json_t *rows = cli_alert_rows(s, all);
	(void)json_object_set_new(out, "alerts", rows != NULL ? rows : json_string("none is open"));
	if (json_array_size(json_object_get(all, "deadlines")) > 0)
		(void)json_object_set(out, "deadlines", json_object_get(all, "deadlines"));
	const json_t *alert;
	size_t i;
	json_t *numbers = json_object();
	json_array_foreach(json_object_get(all, "alerts"), i, alert)(void) json_object_set_new(
		numbers, cli_member(alert, "alert"),
		json_string(scope_printf(s, "%s %s", cli_member(alert, "rule"), cli_member(alert, "subject"))));
	if (json_object_size(numbers) > 0)
		(void)json_object_set(out, "to close one, once it was looked into", numbers);
	json_decref(numbers);
	return cli_print(s, c, TAKE(out));
}

static st rules(struct scope *s, struct cli *c)
{
	AUTO(json_t) *all = NULL;
	TRY(ask(s, c, "GET", "/v1/rules", &all));
	return cli_print(s, c, TAKE(all));
}

static st try(struct scope *s, struct cli *c)
{
	AUTO(json_t) *all = NULL;
	TRY(ask(s, c, "POST", "/v1/trial", &all));
	if (json_array_size(all) == 0)
		return fail(
			s, E_NOTFOUND,
			"watch.conf names no outlet: alerts go to the audit log and to the daemon's own log only. Add [outlet NAME]");
	const json_t *outlet;
	size_t i;
	json_array_foreach(all, i, outlet) if (!json_is_true(json_object_get(outlet, "told"))) c->exit_code = 1;
	return cli_print(s, c, TAKE(all));
}

static const json_t *find(const json_t *all, const char *id)
{
	const json_t *alert;
	size_t i;
	json_array_foreach(json_object_get(all, "alerts"), i,
			   alert) if (strcmp(cli_member(alert, "alert"), id) == 0) return alert;
	return NULL;
}

static st check_reason(struct scope *s, const char *reason)
{
	if (reason[0] == 0 || strlen(reason) > REASON_MAX)
		return fail(s, E_INPUT, "--reason: say in 1 to %d characters what was found, and what was done", REASON_MAX);
	for (span rest = span_str(reason); rest.len > 0;) {
		size_t len = utf8_length(rest);
		if (len == 0 || rest.data[0] < ' ' || rest.data[0] == 0x7f)
			return fail(s, E_INPUT, "--reason: plain text in UTF-8, on one line");
		rest = span_from(rest, len);
	}
	return OK;
}

/* chancery-watch reads it in the log, as everybody does, and closes the alert. */
static st close_one(struct scope *s, struct cli *c)
{
	AUTO(json_t) *all = NULL;
	int64_t since;
	const char *id = cli_get(c, "alert"), *reason = cli_get(c, "reason"), *by = cli_get(c, "by");
	TRY(check_reason(s, reason));
	TRY(cli_alerts_get(s, c, &all));
	const json_t *alert = find(all, id);
	if (alert == NULL)
		return fail(s, E_NOTFOUND, "no alert %s is open; `chancery alert list` has those that are", id);
	TRY(moment_parse(s, span_str(cli_member(alert, "since")), &since));
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_ALERT_CLOSED);
	audit_str(&e, "alert", id);
	audit_str(&e, "rule", cli_member(alert, "rule"));
	if (cli_member(alert, "subject")[0] != 0)
		audit_str(&e, "subject", cli_member(alert, "subject"));
	audit_str(&e, "reason", reason);
	audit_time(&e, "since", since);
	if (by != NULL)
		audit_str(&e, "person", by);
	audit_str(&e, "operator", cli_operator(s));
	TRY(cli_record(s, c, "alert", &e));
	return cli_print(s, c, json_pack("{s:s, s:s}", "closed", id, "reason", reason));
}

static st compare(struct scope *s, struct cli *c)
{
	AUTO(json_t) *begun = NULL;
	TRY(ask(s, c, "POST", "/v1/comparison", &begun));
	return cli_print(
		s, c,
		json_pack(
			"{s:s}", "begun",
			"the result goes on record: chancery audit show --event status.compared; what differs raises an alert"));
}

static const struct cli_option close_options[] = {
	{ "alert", "ID", true, "which one; `chancery alert list` shows its number" },
	{ "reason", "TEXT", true, "what was found, and what was done; no names of persons" },
	{ "by", "PERSON", false, "who looked into it, by id" },
};
static const struct cli_command commands[] = {
	{ .verb = "list", .summary = "What is wrong now, and which deadlines run", .example = "alert list", .run = list },
	{ .verb = "rules",
	  .summary = "The rules in force: which records and probes raise an alert; watch.conf changes them and adds others",
	  .example = "alert rules --json",
	  .run = rules },
	{ .verb = "close",
	  .summary =
		  "Close an alert that was looked into, on record; most close by themselves when what they are about is over",
	  .example = "alert close --alert 0f3a... --reason 'the network of host b was repaired' --by p5",
	  CLI_OPTIONS(close_options),
	  .run = close_one },
	{ .verb = "compare",
	  .summary =
		  "Have OCSP, CRL and database compared now, for every certificate; chancery-watch does it by itself once a day",
	  .example = "alert compare",
	  .run = compare },
	{ .verb = "try",
	  .summary = "Send a trial alert through each outlet, and say which of them told it; exit 1 when one did not",
	  .example = "alert try",
	  .run = try },
};
const struct cli_noun cli_noun_alert = { "alert", "what chancery-watch says is wrong", CLI_COMMANDS(commands) };
