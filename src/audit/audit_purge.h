/*
 * audit_purge.h - taking the content of records out of the files of a log. What stays is an entry of length 0 in the bundle, which no record
 * has, and the leaf's hash in its tile: root, checkpoints and proofs are what they were. Each leaf had a random id of 128 bits, so its hash
 * says nothing of what it was.
 */
#pragma once
#include "audit_log.h"

/* May be removed: they are in bundles that are full, under the newest checkpoint of so many leaves. */
uint64_t audit_purge_end(uint64_t size);
/* Which entries go: the first of them at or behind this index; UINT64_MAX: none. */
struct audit_going {
	uint64_t (*next)(const void *state, uint64_t index);
	const void *state;
};
/* Empties these entries of the bundles in DIR, all of them below audit_purge_end(); durable when it returns. Each bundle is written once. What is
 * empty already stays so: after a crash it is done again. *out_removed: so many had content. */
st audit_purge(struct scope *s, const char *dir, const struct audit_going *going, uint64_t *out_removed);
