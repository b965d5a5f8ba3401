/*
 * status_rows.h - certificates that nobody issued, to fill databases with. What is random in the n-th of them is computed from n, so that who
 * looks it up needs no list of serials.
 */
#pragma once
#include "buf.h"

enum rows_value { ROWS_SERIAL, ROWS_KEY, ROWS_SUBJECT, ROWS_REQUEST, ROWS_OTHER };
#define ROWS_LEN 16

/* 128 bits; of a serial number, as pki_serial_new makes it: positive, its first octet not 0. */
void rows_value(enum rows_value kind, uint64_t number, uint8_t out[ROWS_LEN]);
/* Every fiftieth, at random. */
bool rows_revoked(uint64_t number);

/*
 * The numbers 0 to count - 1, so many at once, for an index by a random value. The first ones (a hundredth of all, at least 10,000) come at
 * random, as certificates do; the others in the order of the value, which is as fast as a disk writes. As they come between those
 * that are there, pages are split, and no fuller than by random arrival (SQLite's 84 and 82 %, LMDB's emptier).
 */
#define ROWS_TOGETHER 20000u
typedef st rows_take(struct scope *s, const uint64_t *number, size_t count, void *arg);
st rows_each(struct scope *s, enum rows_value kind, uint64_t count, rows_take *take, void *arg);

/* Microseconds: the median, and what 99 of 100 stay below. */
struct rows_times {
	double p50, p99;
};
typedef st rows_look(struct scope *s, uint64_t number, void *arg);
/* Looks up so many of the first `count`, at random; before that `untimed` others, for what is still to be brought into memory. */
st rows_time(struct scope *s, uint64_t count, size_t untimed, size_t lookups, rows_look *look, void *arg,
	     struct rows_times *out);
