/*
 * audit_purge.h - taking the content of records out of the files of a log. What stays is an entry of length 0 in the bundle, which no record
 * has, and the leaf's hash in its tile: root, checkpoints and proofs are what they were. Each leaf had a random id of 128 bits, so its hash
 * says nothing of what it was.
 */
#pragma once
#include "audit_log.h"

/* May be removed: they are in bundles that are full, under the newest checkpoint of so many leaves. */
uint64_t audit_purge_end(uint64_t size);
/* Empties the entries [first, last] of the bundles in DIR, in which `last` is below audit_purge_end(); durable when it returns. What is empty
 * already stays so: after a crash it is done again. *out_removed: so many had content. */
st audit_purge(struct scope *s, const char *dir, uint64_t first, uint64_t last, uint64_t *out_removed);
