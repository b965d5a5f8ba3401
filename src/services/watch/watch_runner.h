/*
 * watch_runner.h - starts the commands of outlets. A process of its own, split off before the fence: the daemon, which reads what strangers
 * caused to be written, can start nothing; this one starts the programs of the configuration and no others, and reads from the daemon only
 * which of them, and what to put on its standard input.
 */
#pragma once
#include "watch.h"

#define WATCH_RUNNER_INPUT_MAX 16384

/* Nothing when no outlet has a command. Before any thread exists. E_CONFIG when a command is not a file that can be started. */
st watch_runner_split(struct scope *s, const struct watch_conf *conf);
/* E_STATE when an outlet has a command that no outlet had at the split: what may be started is settled there. */
st watch_runner_check(struct scope *s, const struct watch_conf *conf);
/* Runs a command of the configuration; E_IO with how it ended, E_BUSY when it took longer than a minute (it is killed). One at a time. */
st watch_runner_run(struct scope *s, const char *command, span input);
void watch_runner_end(void);
