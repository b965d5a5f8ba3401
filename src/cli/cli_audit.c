/* `chancery audit`: records of the log, and of journals of off-line work. Verification is in cli_audit_verify.c. */
#include "cli_audit.h"
#include "cli_nearest.h"
#include "audit.h"
#include "audit_client.h"
#include "cli_nouns.h"
#include "file.h"
#include "moment.h"
#include "text.h"

#define PAGE 256

st cli_audit_socket(struct scope *s, const struct cli *c, const char **out)
{
	const struct cli_daemon *daemon = cli_conf_daemon(&c->conf, "auditd");
	if (daemon == NULL || daemon->socket == NULL)
		return fail(s, E_NOTFOUND, "chancery.conf names no auditd with a socket on this host");
	*out = daemon->socket;
	return OK;
}

/* ---- show ---- */
struct wish {
	const char *event, *containing;
	json_t *rows;
	uint64_t limit;
};

static bool wanted(const struct wish *w, span leaf, const json_t *record)
{
	if (w->event != NULL && strcmp(cli_member(record, "event"), w->event) != 0)
		return false;
	return w->containing == NULL || memmem(leaf.data, leaf.len, w->containing, strlen(w->containing)) != NULL;
}

static st add_leaf(struct scope *s, const struct audit_leaf *leaf, const struct wish *w)
{
	AUTO(json_t) *envelope = json_loadb((const char *)leaf->bytes.data, leaf->bytes.len, 0, NULL);
	if (envelope == NULL)
		return fail(s, E_CRYPTO, "record %llu is no JSON; see `chancery audit verify`",
			    (unsigned long long)leaf->index);
	if (wanted(w, leaf->bytes, json_object_get(envelope, "record")))
		(void)json_array_append_new(w->rows, TAKE(envelope));
	return OK;
}

static json_t *short_rows(const json_t *envelopes)
{
	json_t *rows = json_array();
	size_t i;
	json_t *envelope;
	json_array_foreach(envelopes, i, envelope)
	{
		json_t *record = json_object_get(envelope, "record");
		json_t *row = json_pack("{s:O, s:s, s:s, s:s}", "seq", json_object_get(envelope, "seq"), "time",
					cli_member(record, "time"), "event", cli_member(record, "event"), "component",
					cli_member(record, "component"));
		const char *about = cli_member(record, "serial");
		if (about[0] == 0)
			about = cli_member(record, "key");
		if (about[0] == 0)
			about = cli_member(record, "ca");
		(void)json_object_set_new(row, "about", json_string(about));
		(void)json_array_append_new(rows, row);
	}
	return rows;
}

/* The newest records unless --from says where to begin: pages are read from the place that can hold them. */
static st collect(struct scope *s, const struct cli *c, struct audit *log, struct wish *w)
{
	uint64_t size, from;
	struct audit_leaf *leaves;
	size_t count;
	TRY(audit_read(s, log, 0, 1, &leaves, &count, &size));
	bool filtered = w->event != NULL || w->containing != NULL;
	uint64_t newest = size > w->limit && !filtered ? size - w->limit : 0;
	TRY(cli_get_number(s, c, "from", newest, UINT64_MAX, &from));
	while (from < size && json_array_size(w->rows) < w->limit) {
		AUTO_SCOPE page;
		scope_init(&page, NULL);
		st read = audit_read(&page, log, from, PAGE, &leaves, &count, &size);
		for (size_t i = 0; read.code == E_OK && i < count && json_array_size(w->rows) < w->limit; i++)
			read = add_leaf(&page, &leaves[i], w);
		if (read.code != E_OK)
			return fail(s, read.code, "%s", page.message);
		if (count == 0)
			break;
		from += count;
	}
	return OK;
}

static st check_event(struct scope *s, const char *name)
{
	struct cli_nearest near = { .word = span_str(name == NULL ? "" : name) };
	for (int code = 0; name != NULL && code < AUDIT_CODE_COUNT; code++) {
		if (strcmp(audit_row((enum audit_code)code)->name, name) == 0)
			return OK;
		cli_nearest_try(&near, audit_row((enum audit_code)code)->name);
	}
	return name == NULL ? OK
			    : fail(s, E_INPUT, "there is no event %s%s; `chancery audit catalogue` names them", name,
				   cli_nearest_question(s, &near, ""));
}

static st show(struct scope *s, struct cli *c)
{
	const char *socket = NULL;
	TRY(cli_audit_socket(s, c, &socket));
	AUTO(json_t) *rows = json_array();
	struct wish w = { .event = cli_get(c, "event"), .containing = cli_get(c, "containing"), .rows = rows };
	TRY(check_event(s, w.event));
	TRY(cli_get_number(s, c, "limit", 50, 1000000, &w.limit));
	const struct audit_settings settings = { .socket = socket, .component = "cli" };
	struct audit *log;
	TRY(audit_open(s, &settings, &log));
	st collected = collect(s, c, log, &w);
	audit_close(log);
	TRY(collected);
	return cli_print(s, c, c->json || cli_get(c, "whole") != NULL ? TAKE(rows) : short_rows(rows));
}

/* ---- import ---- */
static st import_file(struct scope *s, const struct cli *c, const char *path, uint64_t *out_new, uint64_t *out_known)
{
	const char *socket = NULL;
	TRY(cli_audit_socket(s, c, &socket));
	if (!file_exists(path))
		return fail(s, E_NOTFOUND, "%s: there is no such journal", path);
	return audit_import(s, socket, path, out_new, out_known);
}

st cli_audit_import(struct scope *s, const struct cli *c, const char *path)
{
	uint64_t new, known;
	return import_file(s, c, path, &new, &known);
}

static st import(struct scope *s, struct cli *c)
{
	uint64_t new, known;
	TRY(import_file(s, c, c->argument[0], &new, &known));
	return cli_print(s, c,
			 json_pack("{s:s, s:I, s:I}", "journal", c->argument[0], "records brought in", (json_int_t) new,
				   "in the log before", (json_int_t)known));
}

static st catalogue(struct scope *s, struct cli *c)
{
	json_t *rows = json_array();
	for (int code = 0; code < AUDIT_CODE_COUNT; code++) {
		const struct audit_row *row = audit_row((enum audit_code)code);
		(void)json_array_append_new(
			rows, json_pack("{s:s, s:s, s:s}", "event", row->name, "fields", row->fields, "meaning", row->text));
	}
	return cli_print(s, c, rows);
}

static const struct cli_option show_options[] = {
	{ .name = "event", .value = "NAME", .help = "only this event; `chancery audit catalogue` names them" },
	{ .name = "containing", .value = "TEXT", .help = "only records that contain this text (a serial, a name)" },
	{ .name = "from", .value = "N", .help = "begin at this record (default: the newest)" },
	{ .name = "limit", .value = "N", .help = "at most so many (default 50)" },
	{ .name = "whole", .help = "every field of every record" },
};
static const struct cli_option verify_options[] = {
	{ .name = "log",
	  .value = "DIR",
	  .help = "the log to verify (default: this installation's); with --key no installation is needed" },
	{ .name = "key", .value = "FILE", .help = "verifier key of the log (default: this installation's)" },
	{ .name = "anchor",
	  .value = "FILE",
	  .help = "a checkpoint kept outside: the log must be a continuation of it (may be repeated)" },
	{ .name = "stamp-anchor",
	  .value = "FILE",
	  .help = "certificates, PEM, that the time-stamps of checkpoints must lead to (default: this installation's root)" },
	{ .name = "since",
	  .value = "CHECKPOINT",
	  .help = "a checkpoint verified earlier: only what follows it is read, and that it follows" },
};
static const struct cli_command commands[] = {
	{ .verb = "show",
	  .summary = "Show records of the audit log",
	  .example = "audit show --event certificate.issued --limit 10",
	  CLI_OPTIONS(show_options),
	  .run = show },
	{ .verb = "verify",
	  .summary =
		  "Check the whole log off-line: hashes, order, checkpoints, and the checkpoints that daemons kept; exit 0 only if sound",
	  .example = "audit verify",
	  CLI_OPTIONS(verify_options),
	  .without_configuration = true,
	  .run = cli_audit_verify },
	{ .verb = "import",
	  .arguments = "FILE",
	  .summary = "Bring the journal of off-line work (the root's) into the log",
	  .example = "audit import state/keyd-root/journal",
	  .run = import },
	{ .verb = "catalogue",
	  .summary = "List the events that can be on record",
	  .example = "audit catalogue",
	  .without_configuration = true,
	  .run = catalogue },
};
const struct cli_noun cli_noun_audit = { "audit", "the audit log", CLI_COMMANDS(commands) };
