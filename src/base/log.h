/*
 * log.h - for operators; may be lost (evidence goes to the audit log). One line to standard error per entry, with the
 * priority prefix of the journal when that is what reads it. Libraries do not log: they fail() and the service's main
 * loop logs once.
 */
#pragma once
#include "scope.h"

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* Name shown in each line, usually the service's; set once in main. `max` is the least urgent level written. */
void log_init(const char *name, enum log_level max);
void log_put(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The failure of a scope, at the level its code calls for, with the scope's id and what was being done. */
void log_failure(const struct scope *s, const char *doing);
/* Say why and end the process at once (no clean-up: a restart must always be safe). */
_Noreturn void log_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
