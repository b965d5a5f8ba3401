/* cli_backup.h - what backup and restore have in common: copies that are durable and keep their owner, and their records. */
#pragma once
#include "audit.h"
#include "cli.h"

/* A file that must not be there yet; synced. */
st cli_copy_file(struct scope *s, const char *from, const char *to);
/* A directory with all that is in it; files that are there already stay as they are. */
st cli_copy_tree(struct scope *s, const char *from, const char *to);
/* Who does this, for a record. */
char *cli_operator(struct scope *s);
/* Finishes the event and puts it at the end of a journal, made when it is not there. */
st cli_journal_put(struct scope *s, const char *path, struct audit_event *e);
