/*
 * keyd_signers.h - threads that make the signatures of a frame, one for each processor and bound to it (docs/decisions/0068).
 */
#pragma once
#include "scope.h"

/* Processors beyond so many are left to others: auditd is at its end before. */
#define SIGNERS_MAX 16u

struct signers;

/* So many threads, up to SIGNERS_MAX; 0: one for each processor that this process may use. Where that makes one, or there is but one processor,
 * none: then every caller of signers_each() works for itself. E_IO: a thread could not be started. */
st signers_start(struct scope *s, unsigned wanted, struct signers **out);
/* Ends them; one that is still in `make` is left there. Nobody may call signers_each() any more. NULL: nothing to do. */
void signers_stop(struct signers *all);
/* Calls make(state, i) once for each i in [0, count), several at once and in no order, and returns when all have returned: what `make` wrote
 * is there then. A single one is made by the caller himself, who need not wait to be woken. While what is made mostly waits (a token
 * at the end of a network), callers work along, so that as much is under way as there are callers and threads; and so does a caller that has
 * waited for a tenth of a second, since the threads may all hang in one token and he have asked for another. */
void signers_each(struct signers *all, size_t count, void (*make)(void *state, size_t i), void *state);
