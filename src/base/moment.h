/*
 * moment.h - points in time: microseconds since 1970-01-01T00:00:00Z. UTC everywhere, no local time anywhere.
 */
#pragma once
#include "scope.h"
#include <pthread.h>

#define MOMENT_SECOND   INT64_C(1000000)
#define MOMENT_MINUTE   (60 * MOMENT_SECOND)
#define MOMENT_HOUR     (3600 * MOMENT_SECOND)
#define MOMENT_DAY      (86400 * MOMENT_SECOND)
#define MOMENT_TEXT_MAX 40

struct calendar {
	int year, month, day, hour, minute, second;
};

/* Proleptic Gregorian, years 1 to 9999. */
struct calendar moment_calendar(int64_t moment);
/* -1 on success is no value: an impossible date (month 13, February 30, hour 24, second 60) gives false. */
bool moment_from_calendar(const struct calendar *c, int64_t *out);
/* RFC 3339 with microseconds, "2026-11-22T17:46:00.000001Z", into `out`; returns `out`. */
char *moment_text(int64_t moment, char out[MOMENT_TEXT_MAX]);
/* RFC 3339 in UTC with 0 to 6 fraction digits; false, and E_INPUT, otherwise. */
bool moment_read(span text, int64_t *out);
st moment_parse(struct scope *s, span text, int64_t *out);
/* Seconds since boot of a clock that is never set, in microseconds: for intervals and deadlines only. */
int64_t moment_monotonic(void);
/* Wait on a condition until moment_monotonic() reaches `deadline`; false when it did. Setting the wall clock changes nothing. */
bool moment_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline);
