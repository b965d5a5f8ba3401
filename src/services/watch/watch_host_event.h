/*
 * watch_host_event.h - what an entry of a systemd journal says about its host, by a table of patterns (EN 319 401 REQ-7.9.1-04). Every
 * process of a host can write entries, so only fields that journald sets itself tell who wrote one: root, the kernel, a unit.
 */
#pragma once
#include "audit.h"

#define WATCH_HOST_TEXT_MAX 200 /* octets of a text that comes out */

/* Borrowed; empty when the entry has none. */
struct watch_host_entry {
	span identifier, message_id, message;
	span subject; /* unit that systemd tells about (UNIT, COREDUMP_UNIT) */
	span unit;    /* whose process wrote it */
	span program; /* that wrote it: its path */
	bool is_root, is_kernel;
};
/* In the scope: UTF-8 without control characters, at most WATCH_HOST_TEXT_MAX octets. NULL where the event has no such field. */
struct watch_host_event {
	enum audit_code code;
	const char *user, *target, *method, *source, *outcome;
	const char *unit, *change, *action, *text;
};
/* False when the entry is none of those that go on record. */
bool watch_host_event_of(struct scope *s, const struct watch_host_entry *entry, struct watch_host_event *out);
/* Begins its record, with all its fields. `host` is clean. */
void watch_host_begin(struct audit_event *e, struct scope *s, const struct watch_host_event *v, const uint8_t id[16],
		      const char *host, int64_t at);
/* Cuts, and puts a '?' for each octet that is not UTF-8, for control characters, and for characters that turn the direction of writing. */
char *watch_host_clean(struct scope *s, span text);
