/*
 * daemon.h - the one service main: configuration, log, signals, privileges, sandbox, readiness, pid file, reload.
 * Each service's main is one `const struct daemon` and a call.
 */
#pragma once
#include "audit.h"
#include "conf.h"

struct daemon {
	const char *name;                   /* "ca" */
	const char *summary;                /* for --help */
	const struct conf_schema *schema;
	/* Everything up to ready; returns quickly with threads running. `conf` is the service's struct. */
	st (*start)(struct scope *s, const void *conf, void **out_state);
	/* SIGHUP: a new, valid configuration; what cannot change at run time is refused with E_STATE and logged. NULL: not offered. */
	st (*reload)(struct scope *s, void *state, const void *conf);
	void (*stop)(void *state);
	/* Extra one-shot commands: "chancery-keyd --config F probe ..."; NULL-terminated, may be NULL. */
	const struct daemon_command *commands;
	bool may_connect_internet;          /* sandbox: AF_INET sockets at all */
};
struct daemon_command {
	const char *name;
	const char *help;
	int (*run)(const void *conf, int argc, char **argv);
};
/* --config FILE [--check | --reference | --version | COMMAND ...] ; --pid-file FILE ; --ready-fd N. Exit code from codes.def. */
int daemon_main(const struct daemon *daemon, int argc, char **argv);
