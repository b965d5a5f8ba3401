/*
 * audit_local.h - an off-line journal: records made durable in a local file, where no auditd is.
 *
 * Several processes may share one (the off-line root's keyd and ca): each group is written under a lock on the file, after
 * what others wrote meanwhile was read.
 */
#pragma once
#include "audit_journal.h"

struct audit_local;
st audit_local_open(struct scope *s, const char *path, struct audit_local **out);
void audit_local_close(struct audit_local *j);
/* Appends these records as one group; synced when it returns. `*out_first` is the index of the first. */
st audit_local_append(struct scope *s, struct audit_local *j, const span *record, size_t count, uint64_t *out_first);
/* Calls `each` for every record from `from` on until it returns false; `*out_size` is their number in the file. */
st audit_local_read(struct scope *s, struct audit_local *j, uint64_t from,
		    bool (*each)(void *state, uint64_t index, span record), void *state, uint64_t *out_size);
