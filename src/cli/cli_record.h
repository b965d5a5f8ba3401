/* cli_record.h - what the tool itself puts on record, beside what the daemons do. */
#pragma once
#include "audit.h"
#include "cli.h"

/* Who does this, for a record. */
char *cli_operator(struct scope *s);
/* Whether a daemon runs: by its socket, or, when it does not answer, by its pid file. */
bool cli_serves(struct scope *s, const struct cli *c, const struct cli_daemon *daemon);
/* Finishes the event and puts it at the end of a journal, made when it is not there. */
st cli_journal_put(struct scope *s, const char *path, struct audit_event *e);

/* auditd takes what lies in `incoming` of its log's directory before it serves. Where a journal of this name would lie (the folder is made), and
 * once it is there: durable, and given to whom the log belongs. */
st cli_incoming_path(struct scope *s, const char *log, const char *name, const char **out);
st cli_incoming_give(struct scope *s, const char *log, const char *journal);

/* Finishes the event and has it on record: by auditd when it runs, else by a journal in its `incoming`. E_STATE when there is no log here,
 * E_UNAVAILABLE when auditd runs and does not take it: what was to be recorded must not be done. */
st cli_record(struct scope *s, const struct cli *c, const char *name, struct audit_event *e);
/* Whether it can be, before what is to be recorded is begun. */
st cli_record_possible(struct scope *s, const struct cli *c);
