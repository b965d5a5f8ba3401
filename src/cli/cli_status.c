/* `chancery status`: one screen. Whatever does not answer is a line that says so, never a failure of the command; the exit code
 * tells whether everything is well. */
#include "audit_client.h"
#include "cli_alert.h"
#include "cli_api.h"
#include "cli_audit.h"
#include "cli_cert.h"
#include "cli_crl.h"
#include "cli_key.h"
#include "cli_nouns.h"
#include "cli_op.h"
#include "file.h"
#include "moment.h"
#include "pki_crl.h"
#include "pki_ocsp.h"
#include "text.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/timex.h>
#include <unistd.h>

#define EXIT_NOT_WELL    1
#define DUTY_PART        6 /* of the life of a CRL */
#define TRAINING_WARNING (30 * MOMENT_DAY)

struct process {
	int pid;
	int uid;
	long resident_kib;
};

/* From /proc; false when there is no such process. */
static bool read_process(struct scope *s, int pid, struct process *out)
{
	FILE *status = fopen(scope_printf(s, "/proc/%d/status", pid), "re");
	if (status == NULL)
		return false;
	char line[256];
	*out = (struct process){ .pid = pid, .uid = -1 };
	while (fgets(line, sizeof line, status) != NULL) {
		if (strncmp(line, "Uid:", 4) == 0)
			out->uid = (int)strtol(line + 4, NULL, 10);
		if (strncmp(line, "RssAnon:", 8) == 0)
			out->resident_kib = strtol(line + 8, NULL, 10);
	}
	(void)fclose(status);
	return true;
}

static bool process_of(struct scope *s, const struct cli *c, const char *name, struct process *out)
{
	span text;
	if (file_read(s, scope_printf(s, "%s/%s.pid", c->conf.run_directory, name), 64, &text).code != E_OK) {
		scope_clear_error(s);
		return false;
	}
	int pid = (int)strtol(scope_cstr(s, text), NULL, 10);
	return pid > 1 && kill(pid, 0) == 0 && read_process(s, pid, out);
}

bool cli_daemon_runs(struct scope *s, const struct cli *c, const char *name)
{
	struct process p;
	return process_of(s, c, name, &p);
}

static const char *health_of(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, span *out_said)
{
	*out_said = (span){ 0 };
	if (daemon->health == NULL)
		return "-";
	struct client_answer answer = { 0 };
	st got;
	if (strncmp(daemon->health, "https:", 6) == 0) {
		AUTO(cli_api) *api = NULL;
		got = cli_api_open(s, c, &api);
		if (got.code == E_OK)
			got = cli_api_fetch(s, api, "/healthz", &answer.body);
		answer.status = 200;
	} else
		got = cli_fetch(s, daemon->health, "GET", NULL, (span){ 0 }, &answer);
	scope_clear_error(s);
	if (got.code == E_OK)
		*out_said = answer.body;
	return got.code != E_OK ? "no answer" : answer.status == 200 ? "ok" : "not well";
}

/* What the daemons that can be asked say of their fence around files. */
struct fences {
	size_t fenced;
	const char *unfenced; /* names */
};

static void add_fence(struct scope *s, struct fences *f, const char *name, span said)
{
	const char *text = scope_cstr(s, said);
	if (strstr(text, "\"files_fenced\":true") != NULL)
		f->fenced++;
	else if (strstr(text, "\"files_fenced\":false") != NULL)
		f->unfenced = scope_printf(s, "%s%s%s", f->unfenced, f->unfenced[0] == 0 ? "" : ", ", name);
}

static const char *fences_text(struct scope *s, const struct fences *f)
{
	if (f->unfenced[0] != 0)
		return scope_printf(s, "NOT FENCED: the kernel has no Landlock (%s)", f->unfenced);
	return f->fenced > 0 ? "each daemon opens what is in the directories of its configuration only (Landlock)"
			     : "no daemon answers";
}

/* The daemons, and what their uids say about separation. */
static json_t *daemons(struct scope *s, const struct cli *c, bool *well, const char **out_separation, const char **out_fences)
{
	struct fences fences = { .unfenced = "" };
	int shared = -1;
	json_t *rows = json_array();
	const struct cli_daemon *all = cli_conf_daemons(&c->conf);
	int seen[64];
	size_t seen_count = 0;
	for (size_t i = 0; i < c->conf.daemons.count; i++) {
		if (!all[i].supervised)
			continue;
		struct process p = { 0 };
		bool running = process_of(s, c, all[i].label, &p);
		span said = { 0 };
		const char *health = running ? health_of(s, c, &all[i], &said) : "-";
		add_fence(s, &fences, all[i].label, said);
		*well = *well && running && (strcmp(health, "ok") == 0 || strcmp(health, "-") == 0);
		for (size_t k = 0; running && k < seen_count; k++)
			if (seen[k] == p.uid)
				shared = p.uid;
		if (running && seen_count < 64)
			seen[seen_count++] = p.uid;
		json_t *row = json_pack("{s:s, s:s}", "daemon", all[i].label, "state", running ? "running" : "DOWN");
		(void)json_object_set_new(row, "pid", running ? json_integer(p.pid) : json_null());
		(void)json_object_set_new(row, "uid", running ? json_integer(p.uid) : json_null());
		(void)json_object_set_new(row, "KiB", running ? json_integer(p.resident_kib) : json_null());
		(void)json_object_set_new(row, "health", json_string(health));
		(void)json_array_append_new(rows, row);
	}
	*out_separation = shared >= 0       ? scope_printf(s, "NOT SEPARATED: daemons share uid %d", shared)
			  : seen_count == 0 ? "no daemon runs"
					    : "each daemon has its own uid";
	*out_fences = fences_text(s, &fences);
	return rows;
}

static void add_crl(struct scope *s, const struct cli *c, json_t *out, bool *well)
{
	span der;
	struct pki_crl crl;
	st got = cli_crl_published(s, c->conf.crl_url, &der);
	if (got.code == E_OK)
		got = pki_crl_read(s, der, &crl);
	const char *text = scope_printf(s, "NOT PUBLISHED: %s", s->message);
	if (got.code == E_OK) {
		bool fresh = crl.next_update > scope_now(s);
		*well = *well && fresh;
		text = scope_printf(s, "number %llu, %llu entries, made %s, next update %s%s", (unsigned long long)crl.number,
				    (unsigned long long)crl.entries, cli_age(s, crl.this_update), cli_age(s, crl.next_update),
				    fresh ? "" : " OVERDUE");
	} else
		*well = false;
	scope_clear_error(s);
	(void)json_object_set_new(out, "published CRL", json_string(text));
}

/* The unit's own certificate is one that always exists and may be asked about. */
static st ask_ocsp(struct scope *s, const struct cli *c, struct pki_ocsp_response *out)
{
	struct pki_certificate cert, issuer;
	TRY(cli_read_certificate(s, scope_printf(s, "%s/tsu.pem", c->conf.certificates), &cert));
	TRY(cli_read_certificate(s, scope_printf(s, "%s/issuing.pem", c->conf.certificates), &issuer));
	span request;
	TRY(pki_ocsp_request_build(s, DIGEST_SHA256, issuer.subject, issuer.spki, cert.serial, (span){ 0 }, &request));
	struct client_answer answer;
	TRY(cli_fetch(s, c->conf.ocsp_url, "POST", "application/ocsp-request", request, &answer));
	TRY(pki_ocsp_response_read(s, answer.body, out));
	if (out->status != 0 || out->count != 1)
		return fail(s, E_UNAVAILABLE, "the responder answers with error %d", out->status);
	return OK;
}

static void add_ocsp(struct scope *s, const struct cli *c, json_t *out, bool *well)
{
	struct pki_ocsp_response response;
	const char *text;
	if (ask_ocsp(s, c, &response).code == E_OK)
		text = scope_printf(s, "answers, produced %s, next update %s", cli_age(s, response.produced_at),
				    cli_age(s, response.single[0].next_update));
	else {
		text = scope_printf(s, "NO ANSWER: %s", s->message);
		*well = false;
	}
	scope_clear_error(s);
	(void)json_object_set_new(out, "OCSP", json_string(text));
}

static void add_clock(struct scope *s, const struct cli *c, json_t *out)
{
	struct timex kernel = { 0 };
	int state = ntp_adjtime(&kernel);
	const char *text = state < 0 || state == TIME_ERROR ? "NOT SYNCHRONISED (kernel)"
							    : scope_printf(s, "synchronised, error at most %.3f ms (kernel)",
									   (double)kernel.maxerror / 1000.0);
	if (c->conf.test)
		text = scope_printf(s, "%s; time-stamps use `clock = test`", text);
	(void)json_object_set_new(out, "clock", json_string(text));
}

static void add_audit_head(struct scope *s, const struct cli *c, json_t *out, bool *well)
{
	span note;
	const char *text;
	if (file_read(s, scope_printf(s, "%s/checkpoint", c->conf.audit_log), 65536, &note).code == E_OK) {
		char *all = scope_cstr(s, note);
		char *size = strchr(all, '\n');
		char *root = size == NULL ? NULL : strchr(size + 1, '\n');
		text = root == NULL
			       ? "checkpoint is not readable"
			       : scope_printf(s, "%.*s records, root %.16s...", (int)(root - size - 1), size + 1, root + 1);
	} else {
		text = scope_printf(s, "NO CHECKPOINT: %s", s->message);
		*well = false;
	}
	scope_clear_error(s);
	(void)json_object_set_new(out, "audit head", json_string(text));
}

/* What auditd says of the time-stamps over its checkpoints. */
static void add_stamps(struct scope *s, const struct cli *c, json_t *out, bool *well)
{
	struct audit_stamps stamps;
	const char *socket, *text;
	st got = cli_audit_socket(s, c, &socket);
	if (got.code == E_OK)
		got = audit_stamps_get(s, socket, &stamps);
	if (got.code != E_OK) {
		text = scope_printf(s, "NOT KNOWN: %s", s->message);
	} else if (stamps.condition == AUDIT_STAMPS_NONE) {
		text = "none: auditd.conf names no authority (stamp-url)";
	} else {
		const char *newest = stamps.gen_time == 0 ? "none yet"
							  : scope_printf(s, "%llu records, %s", (unsigned long long)stamps.size,
									 cli_age(s, stamps.gen_time));
		static const char *const marks[] = { [AUDIT_STAMPS_WELL] = "",
						     [AUDIT_STAMPS_LATE] = "LATE: ",
						     [AUDIT_STAMPS_OVERDUE] = "OVERDUE, nothing is issued: " };
		text = scope_printf(s, "%s%s%s%s", marks[stamps.condition], newest, stamps.failure[0] == 0 ? "" : "; ",
				    stamps.failure);
	}
	*well = *well && got.code == E_OK && stamps.condition < AUDIT_STAMPS_LATE;
	scope_clear_error(s);
	(void)json_object_set_new(out, "audit time-stamp", json_string(text));
}

/* How far each second place of the log is. */
static void add_copies(struct scope *s, const struct cli *c, json_t *out, bool *well)
{
	struct audit_copy copy[AUDIT_COPIES_MAX];
	struct audit_status log;
	const char *socket;
	size_t count = 0;
	bool known = cli_audit_socket(s, c, &socket).code == E_OK && audit_status_get(s, socket, &log).code == E_OK &&
		     audit_copies_get(s, socket, copy, &count).code == E_OK;
	scope_clear_error(s); /* that auditd does not answer is told above */
	json_t *rows = json_array();
	for (size_t i = 0; known && i < count; i++) {
		uint64_t backlog = log.size > copy[i].size ? log.size - copy[i].size : 0;
		*well = *well && !copy[i].late;
		(void)json_array_append_new(rows, json_pack("{s:s, s:s, s:I, s:I, s:I, s:s}", "copy", copy[i].name, "state",
							    copy[i].late         ? "LATE"
							    : copy[i].behind > 0 ? "behind"
										 : "cosigned",
							    "records", (json_int_t)copy[i].size, "backlog", (json_int_t)backlog,
							    "seconds behind", (json_int_t)(copy[i].behind / MOMENT_SECOND),
							    "reason", copy[i].failure));
	}
	if (count > 0)
		(void)json_object_set(out, "copies of the log", rows);
	json_decref(rows);
}

static const char *condition(const struct key_entry *e)
{
	bool signs = e->state == KEY_GENERATED || e->state == KEY_ACTIVE;
	return !signs ? key_state_name(e->state) : e->info.usable ? "usable" : "NOT USABLE";
}

static void add_keys(struct scope *s, const struct cli *c, json_t *out, json_t *duties)
{
	struct cli_keys keys = { 0 };
	(void)cli_key_inventory(s, c, NULL, &keys).code;
	json_t *shown = json_array();
	for (size_t i = 0; i < keys.count; i++) {
		const struct key_entry *e = &keys.row[i].entry;
		(void)json_array_append_new(shown, json_pack("{s:s, s:s, s:s, s:s}", "zone", keys.row[i].zone, "key",
							     e->info.label, "type", e->info.type->name, "state", condition(e)));
	}
	scope_clear_error(s);
	(void)cli_key_duties(s, &keys, duties);
	cli_key_warnings(s, &keys, duties);
	(void)json_object_set_new(out, "keys", shown);
}

/* What the operator is to do, with the command. A CA that works here renews its CRL in half its life, so its last sixth means that
 * something keeps it from it; the off-line root's is renewed by hand. */
static void add_duty(struct scope *s, const json_t *ca, json_t *duties)
{
	int64_t this_update, next_update, now = scope_now(s);
	const char *name = cli_member(ca, "name");
	const json_t *crl = json_object_get(ca, "last_crl");
	if (moment_parse(s, span_str(cli_member(crl, "this_update")), &this_update).code != E_OK ||
	    moment_parse(s, span_str(cli_member(crl, "next_update")), &next_update).code != E_OK) {
		scope_clear_error(s);
		return;
	}
	if (next_update - now > (next_update - this_update) / DUTY_PART)
		return;
	(void)json_array_append_new(
		duties, json_string(scope_printf(s, "the CRL of %s %s %s: chancery crl issue --ca %s", name,
						 next_update > now ? "ends" : "ENDED", cli_age(s, next_update), name)));
}

/* What the ca says of itself: CAs, how far each va is, renewals. */
static void add_ca(struct scope *s, const struct cli *c, json_t *out, json_t *duties, bool *well)
{
	AUTO(cli_api) *api = NULL;
	AUTO(json_t) *status = NULL;
	st got = cli_api_open(s, c, &api);
	if (got.code == E_OK)
		got = cli_api_call(s, api, "GET", "/v1/status", NULL, &status);
	if (got.code != E_OK) {
		*well = false;
		(void)json_object_set_new(out, "ca", json_string(scope_printf(s, "NO ANSWER: %s", s->message)));
		scope_clear_error(s);
		return;
	}
	json_t *cas = json_array();
	size_t i;
	json_t *ca;
	json_array_foreach(json_object_get(status, "cas"), i, ca)
	{
		const json_t *crl = json_object_get(ca, "last_crl");
		(void)json_array_append_new(cas, json_pack("{s:s, s:s, s:I, s:s}", "ca", cli_member(ca, "name"), "state",
							   cli_member(ca, "state"), "CRL",
							   (json_int_t)cli_member_number(crl, "number"), "next update",
							   cli_member(crl, "next_update")));
		add_duty(s, ca, duties);
	}
	(void)json_object_set_new(out, "CAs", cas);
	static const char *const kept[][2] = { { "vas", "status feed" },
					       { "certificates", "certificates" },
					       { "outbox", "records to relay" } };
	for (size_t k = 0; k < sizeof kept / sizeof kept[0]; k++)
		if (json_object_get(status, kept[k][0]) != NULL)
			(void)json_object_set(out, kept[k][1], json_object_get(status, kept[k][0]));
}

/* Membership of the authority does not lapse. */
static size_t lapsing(const json_t *roles)
{
	size_t count = 0;
	for (size_t i = 0; i < json_array_size(roles); i++)
		count += strcmp(json_string_value(json_array_get(roles, i)), "authority-member") != 0;
	return count;
}

/* Who is to be trained again, before the roles lapse. */
static void add_training(struct scope *s, const json_t *person, json_t *duties)
{
	int64_t lapses, now = scope_now(s);
	const char *id = cli_member(person, "person");
	size_t roles = lapsing(json_object_get(person, "roles")) + lapsing(json_object_get(person, "dormant"));
	bool parsed = moment_parse(s, span_str(cli_member(person, "lapses")), &lapses).code == E_OK;
	scope_clear_error(s);
	if (!parsed || roles == 0 || lapses - now > TRAINING_WARNING)
		return;
	(void)json_array_append_new(
		duties,
		json_string(scope_printf(s,
					 "the roles of %s %s %s, for want of training: chancery op propose person.training "
					 "--person %s --trained DATE",
					 id, lapses > now ? "lapse" : "LAPSED", cli_age(s, lapses), id)));
}

/* Who may be asked while no operation is carried out. */
static const char *late_help(struct scope *s, const json_t *answer)
{
	const char *group = cli_member(answer, "management_group");
	const json_t *holders = json_object_get(answer, "management_holders");
	if (json_array_size(holders) == 0)
		return "chancery crl issue --ca management";
	return scope_printf(
		s,
		"chancery crl issue --ca management; if its key group %s is locked, before that chancery op propose group.activate "
		"--group %s --instance %s, which one of security-and-quality-manager and authority-member approves too",
		group, group, json_string_value(json_array_get(holders, 0)));
}

//= control#late-crl that nothing but one activation is carried out is seen before somebody proposes
static void add_management(struct scope *s, struct cli_api *api, const json_t *answer, json_t *duties)
{
	struct pki_crl crl;
	span der;
	if (!json_is_true(json_object_get(answer, "management")))
		return;
	st got = cli_api_fetch(s, api, CLI_MANAGEMENT_CRL, &der);
	if (got.code == E_OK)
		got = pki_crl_read(s, der, &crl);
	int64_t age = got.code == E_OK ? scope_now(s) - crl.this_update : 0;
	if (got.code == E_OK && age <= CONTROL_CRL_AGE)
		return;
	const char *what = got.code == E_OK ? scope_printf(s, "is %lld hours old", (long long)(age / MOMENT_HOUR))
					    : scope_printf(s, "is not there (%s)", s->message);
	scope_clear_error(s);
	(void)json_array_append_new(
		duties, json_string(scope_printf(s, "the management CA's CRL %s, so no operation is carried out: %s", what,
						 late_help(s, answer))));
}

/* A ca without a register has no line. */
static void add_register(struct scope *s, const struct cli *c, json_t *out, json_t *duties)
{
	AUTO(cli_api) *api = NULL;
	AUTO(json_t) *answer = NULL;
	st got = cli_api_open(s, c, &api);
	if (got.code == E_OK)
		got = cli_api_call(s, api, "GET", "/v1/register", NULL, &answer);
	if (got.code != E_OK && got.code != E_NOTFOUND)
		(void)json_object_set_new(out, "register of persons",
					  json_string(scope_printf(s, "NO ANSWER: %s", s->message)));
	scope_clear_error(s);
	if (got.code != E_OK)
		return;
	(void)json_object_set_new(
		out, "register of persons",
		json_string(scope_printf(s, "%lld entries, head %.16s...", (long long)cli_member_number(answer, "entries"),
					 cli_member(answer, "head"))));
	size_t i;
	json_t *person;
	json_array_foreach(json_object_get(answer, "persons"), i, person) add_training(s, person, duties);
	add_management(s, api, answer, duties);
}

/* What chancery-watch says; an installation without one has no line. */
static void add_alerts(struct scope *s, const struct cli *c, json_t *out, bool *well)
{
	AUTO(json_t) *all = NULL;
	st got = cli_alerts_get(s, c, &all);
	json_t *rows = got.code == E_OK ? cli_alert_rows(s, all) : NULL;
	if (got.code != E_OK && got.code != E_NOTFOUND)
		rows = json_string(scope_printf(s, "NOT KNOWN: %s", s->message));
	scope_clear_error(s);
	*well = *well && rows == NULL;
	if (rows == NULL && got.code == E_OK)
		rows = json_string("none is open");
	if (rows != NULL)
		(void)json_object_set_new(out, "alerts", rows);
}

static st status(struct scope *s, struct cli *c)
{
	bool well = true;
	const char *separation, *fences;
	json_t *rows = daemons(s, c, &well, &separation, &fences);
	AUTO(json_t) *out = json_pack("{s:s, s:s, s:s}", "provider", c->conf.name, "separation", separation, "files", fences);
	add_clock(s, c, out);
	add_crl(s, c, out, &well);
	add_ocsp(s, c, out, &well);
	add_audit_head(s, c, out, &well);
	add_stamps(s, c, out, &well);
	add_copies(s, c, out, &well);
	add_alerts(s, c, out, &well);
	(void)json_object_set_new(out, "daemons", rows);
	AUTO(json_t) *duties = json_array();
	add_keys(s, c, out, duties);
	add_ca(s, c, out, duties, &well);
	add_register(s, c, out, duties);
	if (json_array_size(duties) > 0) {
		well = false;
		(void)json_object_set(out, "to do", duties);
	}
	c->exit_code = well ? 0 : EXIT_NOT_WELL;
	return cli_print(s, c, TAKE(out));
}

static const struct cli_command commands[] = {
	{ .summary =
		  "Show daemons, keys, CRL and OCSP age, clock and audit head on one screen; exit 1 when something is not well",
	  .example = "status",
	  .run = status },
};
const struct cli_noun cli_noun_status = { "status", "how this installation is", CLI_COMMANDS(commands) };
