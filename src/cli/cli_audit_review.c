/* `chancery audit review`: an auditor has read a report, and signs so with the token whose key the register has; then it goes on record. The
 * token may be here, or the file goes to where it is and comes back signed. */
#include "audit_log.h"
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "cli_process.h"
#include "cli_record.h"
#include "cli_register.h"
#include "control_review.h"
#include "digest.h"
#include "file.h"
#include "text.h"

const char *cli_audit_period(struct scope *s, const char *report)
{
	return scope_printf(s, "%s.period", report);
}

/* ---- the text ---- */

/* `audit report` verified the log, and wrote beside the report which one that was. */
static st read_period(struct scope *s, const char *report, struct control_report *out)
{
	span file, bytes;
	uint8_t room[DIGEST_MAX];
	const char *path = cli_audit_period(s, report);
	if (!file_exists(path))
		return fail(
			s, E_NOTFOUND,
			"%s is not there, which says of which log %s is: `chancery audit report` writes it beside a report of a "
			"sound log",
			path, report);
	TRY(file_read(s, path, CONTROL_REVIEW_MAX, &file));
	TRY(fail_context(s, control_report_read(s, file, out), "%s", path));
	TRY(file_read(s, report, CLI_AUDIT_REPORT_MAX, &bytes));
	if (!span_equal(digest_of(DIGEST_SHA256, bytes, room), SPAN_ARRAY(out->report)))
		return fail(s, E_CONFLICT, "%s is not the file that `audit report` wrote: it was changed since", report);
	return OK;
}

static st make_review(struct scope *s, const struct cli *c, struct control_review *out)
{
	struct control_review m = { .conclusion = span_str(cli_get_or(c, "conclusion", "")),
				    .person = span_str(cli_get_or(c, "by", "")),
				    .reviewed = scope_now(s) };
	const char *problem = control_id_problem(m.person);
	if (problem != NULL)
		return fail(s, E_INPUT, "--by: a person's name on the register %s; the log has no other", problem);
	if (m.conclusion.len == 0)
		return fail(s, E_INPUT, "--conclusion: a review says what its reader concludes");
	TRY(fail_context(s, control_role_named(s, span_str(cli_get_or(c, "role", "system-auditor")), &m.role), "--role"));
	TRY(read_period(s, cli_get(c, "report"), &m.of));
	*out = m;
	return OK;
}

static st write_review(struct scope *s, const char *path, const struct control_review *m)
{
	AUTO_BUF file;
	struct control_review again;
	buf_init(&file, 0);
	TRY(control_review_write(s, m, &file));
	TRY(control_review_read(s, buf_span(&file), &again)); /* its limits */
	return fail_context(s, file_replace(s, path, buf_span(&file), 0644), "writing %s", path);
}

/* ---- the signature ---- */

/* A program of its own, which asks for the PIN and reaches no network. */
static st run_token(struct scope *s, const struct cli *c, const char *path)
{
	const char *fd = cli_get(c, "pin-fd");
	const char *const words[] = { "review",
				      "--module",
				      cli_get_or(c, "module", c->conf.module),
				      "--token",
				      cli_get(c, "token"),
				      "--person",
				      cli_get(c, "by"),
				      "--report",
				      cli_get(c, "report"),
				      "--review",
				      path,
				      fd == NULL ? NULL : "--pin-fd",
				      fd,
				      NULL };
	AUTO_BUF said; /* the same as is told below */
	int code;
	buf_init(&said, 0);
	TRY(cli_run_program(s, cli_program(s, c, "chancery-token"), words, NULL, -1, &said, &code));
	return code == 0 ? OK : fail(s, E_STATE, "nothing was signed: chancery-token ended with %d", code);
}

/* ---- what counts ---- */

static st check_log(struct scope *s, struct cli *c, const struct control_report *of)
{
	span note;
	bool same;
	struct audit_log *log;
	struct audit_checkpoint now = { .size = 0 };
	struct cli_audit_source source;
	TRY(cli_audit_find(s, c, NULL, &source));
	TRY(audit_log_open(s, source.log, &log));
	st status = audit_log_checkpoint(s, log, &note);
	if (status.code == E_OK)
		status = audit_checkpoint_open(s, note, source.key, source.keys, &now);
	audit_log_close(log);
	TRY(status);
	TRY(cli_audit_had_root(s, source.log, of->size, of->root, &same));
	if (!same || !span_is(of->log, now.origin))
		return fail(s, E_CONFLICT, "the report is of another log than the one here (%s)", now.origin);
	return OK;
}

static st check_auditor(struct scope *s, const struct cli *c, const struct control_review *m)
{
	AUTO(cli_api) *api = NULL;
	AUTO(control_register) *r = NULL;
	TRY(cli_api_open(s, c, &api));
	TRY(cli_register_open(s, c, api, NULL, &r));
	return fail_context(s, control_review_check(s, r, m, scope_now(s)), "nothing is put on record");
}

static st put_on_record(struct scope *s, struct cli *c, const char *path)
{
	span file;
	struct control_review m;
	TRY(file_read(s, path, CONTROL_REVIEW_MAX, &file));
	TRY(fail_context(s, control_review_read(s, file, &m), "%s", path));
	TRY(check_log(s, c, &m.of));
	TRY(check_auditor(s, c, &m));
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_REPORT_REVIEWED);
	audit_hex(&e, "report", SPAN_ARRAY(m.of.report));
	audit_text(&e, "person", m.person);
	audit_text(&e, "conclusion", m.conclusion);
	audit_base64(&e, "file", file);
	audit_str(&e, "operator", cli_operator(s));
	TRY(cli_record(s, c, "report-reviewed", &e));
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:s, s:s}", "report", hex_text(s, SPAN_ARRAY(m.of.report)), "reviewed by",
				   scope_cstr(s, m.person), "as", control_role_row(m.role)->name, "signature",
				   "verified, on record"));
}

/* ---- the command ---- */

static st begin(struct scope *s, struct cli *c, const char *path)
{
	struct control_review m;
	TRY(make_review(s, c, &m));
	TRY(check_log(s, c, &m.of));
	TRY(write_review(s, path, &m));
	if (cli_get(c, "token") != NULL)
		return run_token(s, c, path);
	const char *next = scope_printf(
		s,
		"chancery-token review --review %s --report %s --person %s --token LABEL; then chancery audit review --signed %s",
		path, cli_get(c, "report"), cli_get(c, "by"), path);
	return cli_print(
		s, c, json_pack("{s:s, s:s, s:s}", "review", path, "signature", "missing: nothing is on record", "next", next));
}

st cli_audit_review(struct scope *s, struct cli *c)
{
	const char *made = cli_get(c, "signed"), *report = cli_get(c, "report");
	if ((made == NULL) == (report == NULL))
		return fail(s, E_INPUT,
			    "name the report that was read, --report FILE, or its review that is signed, --signed FILE");
	TRY(cli_record_possible(s, c));
	if (made != NULL)
		return put_on_record(s, c, made);
	const char *path = scope_printf(s, "%s.review", report);
	TRY(begin(s, c, path));
	return cli_get(c, "token") == NULL ? OK : put_on_record(s, c, path);
}
