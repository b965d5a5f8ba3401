/*
 * auditd_indexed.h - which leaves are records of class control: few among millions, and whoever builds the register of persons needs
 * all of them in order. In memory, and in DIR/control-index so that a start need not read the whole log.
 *
 * The file is derived and never synced: "chanctrl", u16 version, then rows: u8 kind, u64 number, 8 octets of the hash of a leaf,
 * 8 octets check. Kind 1: leaf `number` is of class control; the hash is its own. Kind 2: all leaves below `number` have been looked at;
 * the hash is that of the last of them. The check is SHA-256 over the check before it and the row, cut to 8 octets: rows from the first
 * that does not fit are dropped, and the log is read from there on. A last row whose hash is not that of the log's leaf: the file
 * belongs to another log, and all of it is dropped.
 */
#pragma once
#include "audit_log.h"

struct indexed;
/* Reads the file, and from the bundles what it does not tell of the leaves below `base`. */
st indexed_open(struct scope *s, const char *dir, struct audit_log *log, uint64_t base, struct indexed **out);
void indexed_close(struct indexed *x);
/* The next leaf of class control; one that is there already is passed over. */
void indexed_add(struct indexed *x, uint64_t index);
/* Writes what is known of the leaves below `base`, which are in bundles, to the file. */
void indexed_keep(struct indexed *x, struct audit_log *log, uint64_t base);
/* The indices of those behind the first `from`, at most `max`; `*out_total` is how many there are. */
void indexed_read(struct scope *s, struct indexed *x, uint64_t from, size_t max, uint64_t **out, size_t *out_count,
		  uint64_t *out_total);
