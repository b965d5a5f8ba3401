/*
 * cli_process.h - the tool starts daemons: arguments, PINs on a descriptor, readiness, orderly end.
 */
#pragma once
#include "cli.h"
#include <sys/types.h>

struct cli_child {
	const struct cli_daemon *daemon;
	pid_t pid;    /* 0: not running */
	int ready_fd; /* -1 once it was ready or is gone */
};

/* What a person without a terminal can do. */
#define CLI_PINS_OTHERWISE                                                                                                     \
	"start this from one, or set pin-directory in chancery.conf, or let systemd hand PINs over as credentials"
/* PINs of a daemon in the descriptor's format ("TOKEN PIN" lines), from its pin-directory or the terminal.
 * Empty when it needs none. */
st cli_pins(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, struct buf *out);
/* The PIN of one token, asked for at the terminal, as a line of that format; nothing when the person leaves it closed. */
st cli_pin_ask(struct scope *s, const struct cli_daemon *daemon, const char *token, struct buf *out);
/* One more line of that format. */
st cli_pins_add(struct scope *s, struct buf *out, const char *token, span pin);
/* Start with --config, --pid-file, --ready-fd and, for a keyd, --pin-fd. `log_fd` becomes its standard error; -1: ours. */
st cli_spawn(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, span pins, int log_fd,
	     struct cli_child *out);
/* Wait until it says it is ready. E_UNAVAILABLE when it ended or takes longer. */
st cli_wait_ready(struct scope *s, struct cli_child *child, int timeout_ms);
/* SIGTERM, and SIGKILL after `grace_ms`; waits for its end. A child that is not running is fine. */
void cli_stop(struct cli_child *child, int grace_ms);
/* Run a program of ours to its end with standard output as ours, or into `out` when given, and standard error as ours, or into `log_fd`
 * unless it is -1; its exit code. */
st cli_run_program(struct scope *s, const char *path, const char *const *arguments, const struct conf_list *environment,
		   int log_fd, struct buf *out, int *out_exit);
/* One of a daemon's own commands ("probe"), with its configuration and PINs; prints to our standard output, or into `out` when
 * given. */
st cli_run_command(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, const char *const *arguments,
		   struct buf *out, int *out_exit);
/* The log file of a daemon, opened for appending; -1 when the installation has no log directory. */
st cli_open_log(struct scope *s, const struct cli *c, const char *name, int *out_fd);
