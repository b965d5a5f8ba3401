/*
 * auditd_push.h - the static files of a log, in order, one in memory at a time, to another place.
 */
#pragma once
#include "audit_log.h"

struct push {
	struct audit_log *log; /* of this thread alone */
	st (*put)(struct scope *s, void *state, int level, uint64_t n, unsigned width, span bytes);
	bool (*stopping)(void *state);
	void *state;
	bool entries;    /* bundles as well as hashes */
	uint64_t pushed; /* the full tiles of so many leaves are there for certain */
};
/* What a tree of `size` leaves has and one of `from` has not: entries with their hashes, the oldest first, then the upper tiles. As the
 * tree of `size` leaves has them, whatever the files have by now. E_UNAVAILABLE when it is to stop. */
st push_files(struct scope *s, struct push *p, uint64_t from, uint64_t size);
