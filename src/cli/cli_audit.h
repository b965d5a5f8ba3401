/* cli_audit.h - bringing journals of off-line work into the log. */
#pragma once
#include "audit_verify.h"
#include "cli.h"

struct cli_audit_source;
struct report;

/* Offers every record of a journal to auditd, which drops those it has by their id. */
st cli_audit_import(struct scope *s, const struct cli *c, const char *path);
/* auditd of this host; E_NOTFOUND when chancery.conf names none. */
st cli_audit_socket(struct scope *s, const struct cli *c, const char **out);
/* Handlers of verbs. */
st cli_audit_show(struct scope *s, struct cli *c);
st cli_audit_verify(struct scope *s, struct cli *c);
st cli_audit_export(struct scope *s, struct cli *c);
st cli_audit_prove(struct scope *s, struct cli *c);
st cli_audit_check_proof(struct scope *s, struct cli *c);
st cli_audit_reconcile(struct scope *s, struct cli *c);
st cli_audit_report(struct scope *s, struct cli *c);
st cli_audit_review(struct scope *s, struct cli *c);
#define CLI_AUDIT_REPORT_MAX ((size_t)64 << 20)
/* The file beside a report that says of which log it is (control_review.h). */
const char *cli_audit_period(struct scope *s, const char *report);
st cli_audit_purge(struct scope *s, struct cli *c);
/* Verifies a log and judges its operations with quorum; every record goes to `report` too, unless that is NULL. What was found, in words, and the
 * exit code of the tool. */
st cli_audit_run(struct scope *s, struct cli *c, const struct cli_audit_source *source, struct report *report,
		 json_t **out_words);
/* An option that is a time, or a day whose beginning counts. */
st cli_audit_get_time(struct scope *s, const struct cli *c, const char *option, int64_t otherwise, int64_t *out);
/* The verdict on a log directory by this installation's verifier key; `anchored`: held to the checkpoints its daemons kept. */
st cli_audit_check(struct scope *s, const struct cli *c, const char *dir, bool anchored, struct audit_report *out);
