/*
 * daemon.h - the one service main: configuration, log, signals, privileges, sandbox, readiness, pid file, reload.
 * Each service's main is one `const struct daemon` and a call.
 */
#pragma once
#include "audit.h"
#include "conf.h"

/* An option of one service only, such as keyd's --pin-fd N. Options are taken before the configuration is read. */
struct daemon_option {
	const char *name;  /* "--pin-fd" */
	const char *value; /* what stands for its value in --help ("N"); NULL: it has none */
	const char *help;
	st (*set)(struct scope *s, const char *value);
};

struct daemon {
	const char *name;    /* "ca" */
	const char *summary; /* for --help */
	const struct conf_schema *schema;
	/* Everything up to ready; returns quickly with threads running. `conf` is the service's struct. */
	st (*start)(struct scope *s, const void *conf, void **out_state);
	/* SIGHUP: a new, valid configuration; what cannot change at run time is refused with E_STATE and logged. NULL: not offered.
	 * Every configuration that was handed over stays valid until the process ends. */
	st (*reload)(struct scope *s, void *state, const void *conf);
	/* A directory that this daemon writes: what this run is (program, configuration, stopped in order or not) is kept there for the next
	 * start. NULL, or a NULL result: the next start will not know. */
	const char *(*keeps)(struct scope *s, const void *conf);
	void (*stop)(void *state); /* in order; a process that does not come to its end in 30 s is ended */
	/* Extra one-shot commands: "chancery-keyd --config F probe ..."; NULL-terminated, may be NULL. */
	const struct daemon_command *commands;
	const struct daemon_option *options; /* NULL-terminated by name, may be NULL */
	bool may_connect_internet;           /* sandbox: AF_INET sockets at all */
	bool (*needs_internet)(
		const void *conf); /* the same where the configuration decides (a network HSM); NULL: it does not */
	bool loads_module;         /* another vendor's code runs in this process: devices and system files are open to it */
	/* Before fence and filter, in a process without threads: for what starts programs (the hook of an alert). NULL: nothing. */
	st (*before_fence)(struct scope *s, const void *conf);
	/* Paths that do not stand in the configuration, such as those of options; NULL: there are none. */
	void (*further_paths)(void (*each)(void *state, enum conf_access access, const char *path), void *state);
};
struct daemon_command {
	const char *name;
	const char *help;
	int (*run)(const void *conf, int argc, char **argv);
};
/* --config FILE [--check | COMMAND ...], --reference, --version, --help, --pid-file FILE, --ready-fd N. Ready is said as "ready\n"
 * on descriptor N and as READY=1 to $NOTIFY_SOCKET. Exit code from codes.def. */
int daemon_main(const struct daemon *daemon, int argc, char **argv);

/* Whether the kernel keeps this process inside the directories of its configuration: for health pages. */
bool daemon_is_fenced(void);

/* ---- the records of a daemon's life, the same for all: call them when the audit client is there and before it is closed ---- */
st daemon_record_start(struct scope *s, struct audit *audit);
void daemon_record_reload(struct audit *audit, bool in_force);
void daemon_record_stop(struct audit *audit, const char *reason);

/* ---- the same in parts, for auditd, which is its own client, and keyd, whose stop may have to wait: events are begun and filled ---- */
#define DAEMON_LIFE_EVENTS 3
/* What the run before this one left: service.crashed, software.updated, configuration.changed. How many there are. */
size_t daemon_life_events(struct scope *s, struct audit_event out[DAEMON_LIFE_EVENTS]);
void daemon_event_reload(struct scope *s, struct audit_event *out, bool in_force);
/* false: the configuration that was read again is the one in force. */
bool daemon_event_changed(struct scope *s, struct audit_event *out);
/* Once the events before are on record. */
void daemon_life_begun(void);
/* The stop is in order. */
void daemon_life_ended(void);
