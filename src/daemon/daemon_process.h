/*
 * daemon_process.h - what a daemon does to its own process: fence, pid file, readiness. Private to daemon.
 */
#pragma once
#include "scope.h"

struct daemon;
/* Landlock: no file is opened, made or removed from here on but in the directories of this configuration, and system files for
 * reading. Where the kernel has no Landlock that is said in the log, and the rest of the sandbox stands. */
st daemon_fence(struct scope *s, const struct daemon *d, const void *conf, const char *config, const char *pid_file);
/* Write the pid and hold the lock on it; E_STATE when another process holds it. The descriptor stays open. */
st daemon_pid_file(struct scope *s, const char *path, int *out_fd);
/* Tell the service manager ("READY=1"), when there is one. */
st daemon_notify(struct scope *s, const char *message);
/* For the records of daemon.h: which configuration is in force. */
st daemon_remember_configuration(struct scope *s, const char *path);
span daemon_configuration_digest(void);
span daemon_program_digest(void);
/* Before the fence: which program this is, and where `keeps` of the daemon has the file about the run before. */
st daemon_life_prepare(struct scope *s, const struct daemon *d, const void *conf, const char *config);
