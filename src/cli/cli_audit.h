/* cli_audit.h - bringing journals of off-line work into the log. */
#pragma once
#include "audit_verify.h"
#include "cli.h"

/* Offers every record of a journal to auditd, which drops those it has by their id. */
st cli_audit_import(struct scope *s, const struct cli *c, const char *path);
/* auditd of this host; E_NOTFOUND when chancery.conf names none. */
st cli_audit_socket(struct scope *s, const struct cli *c, const char **out);
/* The handler of `audit verify`. */
st cli_audit_verify(struct scope *s, struct cli *c);
/* The verdict on a log directory by this installation's verifier key; `anchored`: held to the checkpoints its daemons kept. */
st cli_audit_check(struct scope *s, const struct cli *c, const char *dir, bool anchored, struct audit_report *out);
