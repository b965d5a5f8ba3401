/* `chancery op`: operations with quorum, from the proposal to who carries them out. All of it are files, to be carried by any medium. */
#include "cli_ceremony.h"
#include "cli_key.h"
#include "cli_nouns.h"
#include "cli_process.h"
#include "control_entries.h"
#include "file.h"

#define OPERATIONS_MAX 32 /* approved with one PIN */
#define WORDS_MAX      (2 * OPERATIONS_MAX + 16)

/* ---- files ---- */

st cli_op_read(struct scope *s, const char *path, struct control_signed **out)
{
	span file;
	struct control_signed *o = scope_new(s, struct control_signed);
	TRY(file_read(s, path, CONTROL_SIGNED_MAX, &file));
	TRY(fail_context(s, control_signed_read(s, file, o), "%s", path));
	*out = o;
	return OK;
}

st cli_op_write(struct scope *s, const char *path, const struct control_signed *o)
{
	AUTO_BUF file;
	buf_init(&file, 0);
	TRY(control_signed_write(s, o, &file));
	return fail_context(s, file_replace(s, path, buf_span(&file), 0644), "writing %s", path);
}

/* ---- approve ---- */

/* The person's token is used by a program of its own: this one talks to the network and never sees the PIN. */
static st run_token(struct scope *s, const struct cli *c)
{
	const char *words[WORDS_MAX] = { "approve",
					 "--module",
					 cli_get_or(c, "module", c->conf.module),
					 "--token",
					 cli_get(c, "token"),
					 "--person",
					 cli_get(c, "person"),
					 "--role",
					 cli_get(c, "role") };
	size_t count = 9;
	AUTO_BUF said; /* the same as is told below */
	int code;
	buf_init(&said, 0);
	for (size_t i = 0; i < c->argument_count; i++) {
		words[count++] = "--operation";
		words[count++] = c->argument[i];
	}
	if (cli_get(c, "pin-fd") != NULL) {
		words[count++] = "--pin-fd";
		words[count++] = cli_get(c, "pin-fd");
	}
	TRY(cli_run_program(s, cli_program(s, c, "chancery-token"), words, NULL, -1, &said, &code));
	return code == 0 ? OK : fail(s, E_STATE, "nothing was approved: chancery-token ended with %d", code);
}

static st check_seat(struct scope *s, const struct control_signed *o, const char *name)
{
	enum control_role role;
	TRY(control_role_named(s, span_str(name), &role));
	if (control_seat_of(&o->proposal, role) == NULL)
		return fail(s, E_DENIED, "%s has no say in %s; `chancery op table %s` shows who has", name,
			    o->proposal.operation->name, o->proposal.operation->name);
	return OK;
}

/* Approvals are judged as who carries the operation out will judge them. Without the register nothing is judged yet, and `counts` says why. */
struct judge {
	struct control_register *r;
	const char *counts;
};

static st open_judge(struct scope *s, const struct cli *c, struct judge *out)
{
	AUTO(cli_api) *api = NULL;
	st opened = cli_api_open(s, c, &api);
	if (opened.code == E_OK)
		opened = cli_register_open(s, c, api, NULL, &out->r);
	out->counts = opened.code == E_OK ? "yes" : scope_printf(s, "not judged here: %s", s->message);
	scope_clear_error(s);
	return OK;
}

static st judge_last(struct scope *s, const char *path, const struct judge *judge, size_t before)
{
	struct control_signed *o;
	TRY(cli_op_read(s, path, &o));
	if (o->count == before)
		return fail(s, E_BUG, "chancery-token ended well and %s has no further approval", path);
	return judge->r == NULL ? OK : control_approval_check(s, judge->r, o, &o->approval[o->count - 1], scope_now(s));
}

/* One approval that does not hold, and the whole operation would be refused: what was added is taken out again, of all of them. */
static st take_back(struct scope *s, const struct cli *c, const size_t *before)
{
	for (size_t i = 0; i < c->argument_count; i++) {
		struct control_signed *o;
		TRY(cli_op_read(s, c->argument[i], &o));
		o->count = before[i];
		TRY(cli_op_write(s, c->argument[i], o));
	}
	return OK;
}

static st keep_if_they_count(struct scope *s, const struct cli *c, const struct judge *judge, const size_t *before)
{
	for (size_t i = 0; i < c->argument_count; i++) {
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		st judged = judge_last(&aside, c->argument[i], judge, before[i]);
		if (judged.code == E_OK)
			continue;
		TRY(take_back(s, c, before));
		return fail(s, judged.code, "nothing was approved, %s is as it was: %s", c->argument[i], aside.message);
	}
	return OK;
}

static st approve(struct scope *s, struct cli *c)
{
	struct judge judge = { 0 };
	struct control_signed *o;
	size_t before[OPERATIONS_MAX];
	if (c->argument_count > OPERATIONS_MAX)
		return fail(s, E_LIMIT, "at most %d operations are approved at once", OPERATIONS_MAX);
	for (size_t i = 0; i < c->argument_count; i++) {
		TRY(cli_op_read(s, c->argument[i], &o));
		TRY(check_seat(s, o, cli_get(c, "role")));
		before[i] = o->count;
	}
	TRY(run_token(s, c));
	TRY(open_judge(s, c, &judge));
	st kept = keep_if_they_count(s, c, &judge, before);
	control_register_free(judge.r);
	TRY(kept);
	json_t *names = json_array();
	for (size_t i = 0; i < c->argument_count; i++)
		(void)json_array_append_new(names, json_string(c->argument[i]));
	return cli_print(s, c,
			 json_pack("{s:o, s:s, s:s}", "approved", names, "counts", judge.counts, "next",
				   "chancery op show FILE says which approvals are still needed"));
}

/* ---- merge ---- */

static bool has_approval(const struct control_signed *o, const struct control_approval *a)
{
	for (size_t i = 0; i < o->count; i++)
		if (span_equal(o->approval[i].person, a->person))
			return true;
	return false;
}

static st merge_one(struct scope *s, struct control_signed *into, const char *path)
{
	struct control_signed *from;
	TRY(cli_op_read(s, path, &from));
	if (memcmp(from->proposal.hash, into->proposal.hash, sizeof into->proposal.hash) != 0)
		return fail(s, E_CONFLICT, "%s is another proposal: approvals hold for the one text that was signed", path);
	for (size_t i = 0; i < from->count; i++) {
		if (has_approval(into, &from->approval[i]))
			continue;
		if (into->count == CONTROL_APPROVALS_MAX)
			return fail(s, E_LIMIT, "an operation has at most %d approvals", CONTROL_APPROVALS_MAX);
		into->approval[into->count++] = from->approval[i];
	}
	if (into->crl.len == 0)
		into->crl = from->crl;
	return OK;
}

static st merge(struct scope *s, struct cli *c)
{
	struct control_signed *o;
	const char *out = cli_get_or(c, "out", c->argument[0]);
	TRY(cli_op_read(s, c->argument[0], &o));
	for (size_t i = 1; i < c->argument_count; i++)
		TRY(merge_one(s, o, c->argument[i]));
	TRY(cli_op_write(s, out, o));
	return cli_print(s, c, json_pack("{s:s, s:i}", "written to", out, "approvals", (int)o->count));
}

/* ---- execute, register ---- */

static st execute(struct scope *s, struct cli *c)
{
	struct control_signed *o;
	AUTO(cli_api) *api = NULL;
	AUTO(json_t) *done = NULL;
	span file;
	TRY(cli_op_read(s, c->argument[0], &o));
	if (o->proposal.operation->executor == CONTROL_BY_KEYD)
		return cli_op_keyd_execute(s, c, o);
	if (cli_get(c, "share") != NULL)
		return fail(s, E_INPUT, "%s needs no shares", o->proposal.operation->name);
	TRY(file_read(s, c->argument[0], CONTROL_SIGNED_MAX, &file));
	TRY(cli_api_open(s, c, &api));
	TRY(cli_api_send(s, api, "POST", "/v1/operations", "text/plain", file, &done));
	return cli_print(s, c, TAKE(done));
}

static st save_register(struct scope *s, struct cli *c)
{
	AUTO(cli_api) *api = NULL;
	AUTO(control_register) *r = NULL;
	AUTO_BUF file;
	buf_init(&file, CONTROL_ENTRIES_MAX);
	TRY(cli_check_out(s, cli_get(c, "out")));
	TRY(cli_api_open(s, c, &api));
	TRY(cli_register_open(s, c, api, &file, &r));
	TRY(cli_write_out(s, c, cli_get(c, "out"), buf_span(&file)));
	return cli_print(s, c,
			 json_pack("{s:s, s:I}", "written to", cli_get(c, "out"), "entries",
				   (json_int_t)control_register_head(r).entries));
}

/* ---- activate ---- */

/* Every group of a keyd of this host that waits for its quorum, or those that were named. */
static st choose(struct scope *s, const struct cli *c, struct cli_ceremony_group *group)
{
	struct cli_keys keys;
	size_t count = 0;
	TRY(cli_key_inventory(s, c, NULL, &keys));
	for (size_t i = 0; i < keys.locked_count && count + 1 < CLI_CEREMONY_ROWS_MAX; i++)
		for (size_t k = 0; k < (c->argument_count == 0 ? 1 : c->argument_count); k++)
			if (c->argument_count == 0 || strcmp(c->argument[k], keys.locked[i].group) == 0)
				group[count++] = (struct cli_ceremony_group){ keys.locked[i].zone, keys.locked[i].group };
	return OK;
}

static st activate(struct scope *s, struct cli *c)
{
	struct cli_ceremony_group group[CLI_CEREMONY_ROWS_MAX] = { 0 };
	AUTO(cli_api) *api = NULL;
	AUTO(cli_ceremony) *m = NULL;
	TRY(choose(s, c, group));
	TRY(cli_api_open_local(s, cli_conf_daemon(&c->conf, "ca")->socket, &api));
	TRY(cli_ceremony_open(s, c, api, &m));
	TRY(cli_ceremony_activate(s, m, group));
	json_t *names = json_array();
	for (size_t i = 0; group[i].name != NULL; i++)
		(void)json_array_append_new(names, json_string(group[i].name));
	return cli_print(s, c,
			 json_pack("{s:s, s:o}", "by", m->scripted ? "the scripted persons of test-secrets (TEST)" : "quorum",
				   "activated", names));
}

/* ---- the table ---- */

static const struct cli_option approve_options[] = {
	{ .name = "token", .value = "LABEL", .required = true, .help = "label of your token" },
	{ .name = "person", .value = "PERSON", .required = true, .help = "you, as the register names you: p3" },
	{ .name = "role", .value = "ROLE", .required = true, .help = "the role in which you approve" },
	{ .name = "module", .value = "PATH", .help = "PKCS#11 module of the token (default: module in chancery.conf)" },
	{ .name = "pin-fd", .value = "N", .help = "chancery-token reads the PIN there instead of asking at the terminal" },
};
static const struct cli_option show_options[] = { CLI_REGISTER_OPTION };
static const struct cli_option merge_options[] = {
	{ .name = "out", .value = "FILE", .help = "default: the first of them" },
};
static const struct cli_option open_options[] = {
	{ .name = "out", .value = "PREFIX", .help = "what the names of the files begin with (default: FILE)" },
};
static const struct cli_option execute_options[] = {
	{ .name = "share", .value = "FILE", .help = "what a key custodian's chancery-token share wrote, repeated" },
};
static const struct cli_option list_options[] = {
	{ .name = "limit", .value = "N", .help = "how many, the newest (default: 50)" },
	{ .name = "refused", .help = "only those that were refused" },
};
static const struct cli_option verify_options[] = {
	{ .name = "log", .value = "DIR", .help = "directory of the log (default: audit-log in chancery.conf)" },
	{ .name = "founding", .value = "FILE", .help = "founding document (default: founding in chancery.conf)" },
};
static const struct cli_option activate_options[] = { CLI_CEREMONY_BY };
static const struct cli_option register_options[] = {
	{ .name = "out", .value = "FILE", .required = true, .help = "to be carried to a machine without network" },
};
static const struct cli_command commands[] = {
	{ .verb = "propose",
	  .arguments = "OPERATION",
	  .summary = "Make a proposal: a text that others approve. `op table OPERATION` shows which options it takes",
	  .example = "op propose role.grant --by p1 --person p3 --role pki-operator --decision d-2026-4 --out grant.op",
	  CLI_OPTIONS(cli_op_propose_options),
	  .run = cli_op_propose },
	{ .verb = "show",
	  .arguments = "FILE",
	  .summary =
		  "Show what an operation asks for, who has approved it and which seats are still empty, judged by the register",
	  .example = "op show grant.op",
	  CLI_OPTIONS(show_options),
	  .run = cli_op_show },
	{ .verb = "approve",
	  .arguments = "FILE...",
	  .summary =
		  "Approve operations with your token: chancery-token shows the words of each, asks for the PIN once and signs",
	  .example = "op approve grant.op --token an --person p1 --role authority-member",
	  CLI_OPTIONS(approve_options),
	  .run = approve },
	{ .verb = "merge",
	  .arguments = "FILE...",
	  .summary = "Bring the approvals of several copies into one file",
	  .example = "op merge grant.op from-an/grant.op from-bo/grant.op",
	  CLI_OPTIONS(merge_options),
	  .run = merge },
	{ .verb = "open",
	  .arguments = "FILE",
	  .summary = "Open an activation that two have approved: keyd's statement, and a share for each custodian, as files",
	  .example = "op open activate.op",
	  CLI_OPTIONS(open_options),
	  .run = cli_op_open },
	{ .verb = "execute",
	  .arguments = "FILE",
	  .summary = "Bring an operation to who carries it out; it is verified there, put on record, and done",
	  .example = "op execute activate.op --share p4.opened --share p5.opened",
	  CLI_OPTIONS(execute_options),
	  .run = execute },
	{ .verb = "list",
	  .summary = "List operations that were carried out or refused, from the audit log",
	  .example = "op list --refused",
	  CLI_OPTIONS(list_options),
	  .run = cli_op_list },
	{ .verb = "table",
	  .arguments = "[OPERATION]",
	  .summary = "List the operations that need a quorum, with who approves them and what they take",
	  .example = "op table role.grant",
	  .without_configuration = true,
	  .run = cli_op_table },
	{ .verb = "verify",
	  .summary =
		  "Judge every operation in a log again, off-line, from the founding document on; exit 1 when one did not have its "
		  "quorum. `audit verify` judges the log itself, and these too",
	  .example = "op verify --log copy/log --founding founding",
	  .without_configuration = true,
	  CLI_OPTIONS(verify_options),
	  .run = cli_op_verify },
	{ .verb = "activate",
	  .arguments = "[GROUP...]",
	  .summary =
		  "Have key groups activated that are locked, as after each start: proposes that for each, waits for those who open it and for "
		  "the custodians' shares, and carries it out. In test installations the scripted persons do their part at once",
	  .example = "op activate issuing management --by p4",
	  CLI_OPTIONS(activate_options),
	  .run = activate },
	{ .verb = "register",
	  .summary = "Write the verified register to a file, for chancery-token on a machine without network",
	  .example = "op register --out register",
	  CLI_OPTIONS(register_options),
	  .run = save_register },
};
const struct cli_noun cli_noun_op = { "op", "operations that no one does alone", CLI_COMMANDS(commands) };
