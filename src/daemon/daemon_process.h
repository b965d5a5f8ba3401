/*
 * daemon_process.h - what a daemon does to its own process: privileges, sandbox, pid file, readiness. Private to daemon.
 */
#pragma once
#include "scope.h"

/* The leak checker of a sanitizer build stops the process with ptrace to look at its memory: let it. */
#if defined(__SANITIZE_ADDRESS__)
#define DAEMON_UNDER_SANITIZER true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DAEMON_UNDER_SANITIZER true
#endif
#endif
#ifndef DAEMON_UNDER_SANITIZER
#define DAEMON_UNDER_SANITIZER false
#endif

/* No core dumps, no new privileges, files for the owner only, no reading of its memory by others of the same user. */
st daemon_harden(struct scope *s);
/* A seccomp filter for all threads to come: see the table in daemon_sandbox.c. */
st daemon_sandbox(struct scope *s, bool may_connect_internet);
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
