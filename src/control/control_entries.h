/*
 * control_entries.h - the entries of the register as one file, so that a person's own machine can come to the same register from the
 * founding document on, from any medium and taking nobody's word for it.
 *
 *   chancery register 1
 *   entry: 1 2026-11-26T18:00:00.000000Z 2148     number, time of the record, octets of the operation that follow this line
 *   chancery proposal 1
 *   ...
 *                                    a line end behind each operation
 */
#pragma once
#include "control_register.h"

#define CONTROL_ENTRIES_MAX (16u << 20) /* octets of such a file */

/* Appends an entry; an empty `out` is begun with the first line. Entries are written in order, from 1 on. E_LIMIT: the file is full. */
st control_entries_write(struct scope *s, uint64_t number, int64_t at, span operation, struct buf *out);
/* Applies the entries to a register that has those before them: each is verified against the register as it was before it. E_INPUT
 * when it is no such file, else what control_register_apply says, with the number of the entry; the register then has the entries
 * before that one. */
st control_entries_apply(struct scope *s, struct control_register *r, span file);
