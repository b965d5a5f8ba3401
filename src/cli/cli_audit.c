/* `chancery audit`: the table of its commands, and journals of off-line work. The others are in cli_audit_*.c. */
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "audit.h"
#include "audit_catalogue.h"
#include "audit_client.h"
#include "cli_nouns.h"
#include "file.h"

st cli_audit_socket(struct scope *s, const struct cli *c, const char **out)
{
	const struct cli_daemon *daemon = cli_conf_daemon(&c->conf, "auditd");
	if (daemon == NULL || daemon->socket == NULL)
		return fail(s, E_NOTFOUND, "chancery.conf names no auditd with a socket on this host");
	*out = daemon->socket;
	return OK;
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
		(void)json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", row->name, "severity",
							    audit_severity_name(row->severity), "fields", row->fields, "clause",
							    row->clause, "meaning", row->text));
	}
	return cli_print(s, c, rows);
}

static const struct cli_option show_options[] = {
	{ .name = "event", .value = "NAME", .help = "only this event; `chancery audit catalogue` names them" },
	{ .name = "severity", .value = "WORD", .help = "only events of this severity and above: info, notice, warning, alert" },
	{ .name = "component", .value = "NAME", .help = "only records of this daemon: ca, keyd/time, ..." },
	{ .name = "containing", .value = "TEXT", .help = "only records that contain this text (a serial, a name)" },
	{ .name = "begin", .value = "TIME", .help = "only records received from this day (2026-11-01) or time on" },
	{ .name = "end", .value = "TIME", .help = "only records received before this day or time" },
	{ .name = "from", .value = "N", .help = "begin at this record (default: the newest)" },
	{ .name = "limit", .value = "N", .help = "at most so many (default 50)" },
	{ .name = "whole", .help = "every field of every record" },
	{ .name = "log", .value = "DIR", .help = "directory of a log, instead of the auditd that runs: needs no installation" },
	{ .name = "founding",
	  .value = "FILE",
	  .help = "founding document, by which reviews of reports are judged (default: EXPORT's, or this installation's)" },
};
static const struct cli_option verify_options[] = {
	{ .name = "log",
	  .value = "DIR",
	  .help = "the log to verify (default: EXPORT's, or this installation's); with --key no installation is needed" },
	CLI_AUDIT_KEY_OPTION,
	{ .name = "anchor",
	  .value = "FILE",
	  .help = "a checkpoint kept outside: the log must be a continuation of it (may be repeated)" },
	{ .name = "founding",
	  .value = "FILE",
	  .help = "founding document: every operation with quorum is judged again (default: EXPORT's, or this installation's)" },
	{ .name = "stamp-anchor",
	  .value = "FILE",
	  .help = "certificates, PEM, that the time-stamps of checkpoints must lead to (default: this installation's root)" },
	{ .name = "crl",
	  .value = "FILE",
	  .help = "CRLs of who certified the time-stamping authority, DER or PEM (may be repeated; default: EXPORT's)" },
	{ .name = "since",
	  .value = "CHECKPOINT",
	  .help = "a checkpoint verified earlier: only what follows it is read, and that it follows" },
};
static const struct cli_option prove_options[] = {
	{ .name = "record", .value = "N", .help = "prove that this record is in the log (c2sp.org/tlog-proof)" },
	{ .name = "since",
	  .value = "CHECKPOINT",
	  .help = "prove that the log continues this checkpoint (as an add-checkpoint request, c2sp.org/tlog-witness)" },
	{ .name = "out", .value = "FILE", .help = "write the proof there (default: standard output)" },
	CLI_AUDIT_LOG_OPTION,
	CLI_AUDIT_KEY_OPTION,
};
static const struct cli_option check_options[] = {
	{ .name = "key",
	  .value = "FILE",
	  .help = "verifier key of the log, from a source you trust (default: this installation's)" },
	{ .name = "leaf", .value = "FILE", .help = "the record, when the proof does not bring it along" },
};
static const struct cli_option report_options[] = {
	{ .name = "from",
	  .value = "TIME",
	  .help = "first day (2026-11-01) or time of the period, UTC (default: the beginning)" },
	{ .name = "to", .value = "TIME", .help = "day or time at which it ends, not part of it (default: now)" },
	{ .name = "out", .value = "FILE", .required = true, .help = "the report: one HTML page, without scripts" },
	{ .name = "pdf", .value = "FILE", .help = "the same as PDF/A-2b; needs Debian's weasyprint" },
	CLI_AUDIT_LOG_OPTION,
	CLI_AUDIT_KEY_OPTION,
	{ .name = "anchor", .value = "FILE", .help = "a checkpoint kept outside (may be repeated)" },
	{ .name = "founding", .value = "FILE", .help = "founding document (default: EXPORT's, or this installation's)" },
};
static const struct cli_option review_options[] = {
	{ .name = "report", .value = "FILE", .help = "the very file that was read: page or PDF of `audit report`" },
	{ .name = "by", .value = "PERSON", .help = "who read it, as on the register: p7" },
	{ .name = "role", .value = "ROLE", .help = "system-auditor (default) or compliance-officer" },
	{ .name = "conclusion",
	  .value = "TEXT",
	  .help = "what the reader concludes; no names of persons, they could not be erased" },
	{ .name = "token",
	  .value = "LABEL",
	  .help = "label of the reader's token, where it is on this machine; without it FILE.review is written, to be signed elsewhere" },
	{ .name = "module", .value = "PATH", .help = "PKCS#11 module of the token (default: module in chancery.conf)" },
	{ .name = "pin-fd", .value = "N", .help = "chancery-token reads the PIN there instead of asking at the terminal" },
	{ .name = "signed",
	  .value = "FILE",
	  .help = "instead of --report: the review that `chancery-token review` has signed" },
};
static const struct cli_option reconcile_options[] = {
	CLI_AUDIT_LOG_OPTION,
	CLI_AUDIT_KEY_OPTION,
	{ .name = "wait",
	  .value = "SECONDS",
	  .help = "for what is in the outbox at the beginning to come to be on record (default 30)" },
	{ .name = "founding",
	  .value = "FILE",
	  .help = "founding document, to tell records that two persons let go from missing ones (default: this installation's)" },
};
static const struct cli_option purge_options[] = {
	{ .name = "as-of", .value = "TIME", .help = "records whose time was over on this day or time, UTC (default: now)" },
	{ .name = "records",
	  .value = "LIST",
	  .help = "instead, these records, to be erased on the request of a person whom they are about: 3,7-12" },
	{ .name = "stamps-kept",
	  .value = "YEARS",
	  .help = "how long records of time-stamps are kept, as the disclosure statement says; the operations say it, too (default: 20)" },
	{ .name = "propose", .value = "DIRECTORY", .help = "propose the operations: a file of each in this directory" },
	{ .name = "by", .value = "PERSON", .help = "who proposes, with --propose: p1, as the register names you" },
	{ .name = "reason", .value = "TEXT", .help = "why, with --propose" },
	{ .name = "decision", .value = "NAME", .help = "decision of the authority, with --propose: d-2026-4" },
	{ .name = "hours", .value = "N", .help = "how long the proposals live (default: 24)" },
	{ .name = "apply",
	  .help = "remove from this log what the operations in it let go: for a copy, an export, a published folder" },
	CLI_AUDIT_LOG_OPTION,
	CLI_AUDIT_KEY_OPTION,
	{ .name = "founding", .value = "FILE", .help = "founding document (default: EXPORT's, or this installation's)" },
};
static const struct cli_option export_options[] = { CLI_AUDIT_LOG_OPTION, CLI_AUDIT_KEY_OPTION };
static const struct cli_command commands[] = {
	{ .verb = "show",
	  .arguments = "[EXPORT]",
	  .summary = "Show records of the audit log, or of an export",
	  .example = "audit show --event certificate.issued --begin 2026-11-01 --limit 10",
	  CLI_OPTIONS(show_options),
	  .without_configuration = true,
	  .run = cli_audit_show },
	{ .verb = "verify",
	  .arguments = "[EXPORT]",
	  .summary =
		  "Check the whole log off-line: hashes, order, signature, the checkpoints kept outside, the approvals of every operation "
		  "with quorum; say what was checked and what could not be; exit 0 only if sound",
	  .example = "audit verify export-of-november --key log.vkey --anchor checkpoint-of-may",
	  CLI_OPTIONS(verify_options),
	  .without_configuration = true,
	  .run = cli_audit_verify },
	{ .verb = "export",
	  .arguments = "DIR",
	  .summary =
		  "Write a folder that an auditor verifies elsewhere: log, key, founding document, kept checkpoints, and what they are",
	  .example = "audit export /media/stick/export-of-november",
	  CLI_OPTIONS(export_options),
	  .without_configuration = true,
	  .run = cli_audit_export },
	{ .verb = "prove",
	  .arguments = "[EXPORT]",
	  .summary =
		  "Write a proof that one record is in the log, or that the log continues a checkpoint; other tools verify it too",
	  .example = "audit prove --record 17 --out 17.tlog-proof",
	  CLI_OPTIONS(prove_options),
	  .without_configuration = true,
	  .run = cli_audit_prove },
	{ .verb = "check",
	  .arguments = "PROOF",
	  .summary = "Verify a proof that a record is in the log, and show the record",
	  .example = "audit check 17.tlog-proof --key log.vkey",
	  CLI_OPTIONS(check_options),
	  .without_configuration = true,
	  .run = cli_audit_check_proof },
	{ .verb = "reconcile",
	  .summary =
		  "Hold the ca's database against the log: every certificate, revocation and CRL of the one is in the other, or was let go by an "
		  "operation that is named; exit 0 if they agree, 1 if not, 2 if records wait in the outbox, which it names",
	  .example = "audit reconcile",
	  CLI_OPTIONS(reconcile_options),
	  .run = cli_audit_reconcile },
	{ .verb = "report",
	  .arguments = "[EXPORT]",
	  .summary =
		  "Write a report on a period: exceptions first, then what the log is worth, its course in a chart, and who did what",
	  .example = "audit report --from 2026-10-01 --to 2026-11-01 --out october.html --pdf october.pdf",
	  CLI_OPTIONS(report_options),
	  .without_configuration = true,
	  .run = cli_audit_report },
	{ .verb = "review",
	  .summary = "Sign that you, an auditor on the register, reviewed a report, and put that on record",
	  .example = "audit review --report october.pdf --by p7 --conclusion 'two refusals followed up' --token dirk",
	  CLI_OPTIONS(review_options),
	  .run = cli_audit_review },
	{ .verb = "purge",
	  .arguments = "[EXPORT]",
	  .summary =
		  "Say which records need not be kept any more, as operations that two persons approve, and with --propose write them (nothing is "
		  "removed by it); with --apply, remove at another place what they let go",
	  .example = "audit purge --as-of 2027-01-01",
	  CLI_OPTIONS(purge_options),
	  .without_configuration = true,
	  .run = cli_audit_purge },
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
