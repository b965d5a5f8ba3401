/*
 * daemon_parameters.h - parameters whose change is a record: each that differs, with what it was and what it is. A file has what was recorded last, so
 * that a change made while the daemon was stopped is one too.
 */
#pragma once
#include "scope.h"

/* One parameter; `from` NULL: it was not there, `to` NULL: it is there no more. */
typedef st daemon_parameter(struct scope *s, void *state, span name, const char *from, const char *to);

/* `text`: lines NAME=VALUE; a name that is repeated, in lines that stand together, is one parameter. What differs from the file at `path` is handed to
 * `record`, and then the file replaced: after a crash in between it stands in the log twice, and never not at all. Without a file nothing is
 * recorded. */
st daemon_parameters_record(struct scope *s, const char *path, const char *text, daemon_parameter *record, void *state);
