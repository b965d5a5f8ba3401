/*
 * metrics.h - a daemon's page of metrics in the Prometheus text exposition format 0.0.4.
 *
 * A metric is a row: name with the prefix chancery_ and its base unit, _total for counters, type, help. What moves on a hot path is an
 * _Atomic uint64_t of the daemon's own, added to with metrics_count (relaxed: no lock, no allocation); the page is written when
 * somebody asks. A line that has no room on the page is left out as a whole, and the page says how many were. A histogram counts as
 * one line: half of one would mislead.
 */
#pragma once
#include "buf.h"
#include <stdatomic.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
struct metric {
	const char *name;
	enum metric_type type;
	const char *help; /* a sentence; any text */
};
struct metric_label {
	const char *name;
	const char *value; /* any text: it is escaped */
};

/* How long things took, from 250 microseconds to 10 seconds; zero at first. */
#define METRIC_BUCKETS 12
struct metric_histogram {
	_Atomic uint64_t bucket[METRIC_BUCKETS + 1]; /* those that end in it alone; the last is over all bounds */
	_Atomic uint64_t sum;                        /* microseconds */
};

#define METRICS_PAGE_MAX (256u << 10)
struct metrics_page {
	struct buf text; /* at most METRICS_PAGE_MAX bytes */
	uint64_t left_out;
};
static inline void metrics_count(_Atomic uint64_t *counter)
{
	(void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Relaxed, as metrics_count. Less than nothing, which a clock that is set can make of an interval, counts as nothing. */
void metrics_observe(struct metric_histogram *histogram, int64_t microseconds);

/* Opens with chancery_build_info, chancery_process_start_time_seconds and what /proc/self says of memory and descriptors; what it does
 * not say is left out. `start`: moment at which the process began. */
void metrics_page_begin(struct metrics_page *page, const char *daemon, int64_t start);
/* Help and type: once for each metric, before its values. */
void metrics_family(struct metrics_page *page, const struct metric *m);
void metrics_value(struct metrics_page *page, const struct metric *m, const struct metric_label *label, size_t count,
		   int64_t value);
/* Microseconds, of an interval or since 1970, as seconds. */
void metrics_seconds(struct metrics_page *page, const struct metric *m, const struct metric_label *label, size_t count,
		     int64_t microseconds);
/* _bucket, _sum and _count of one row of labels. */
void metrics_histogram(struct metrics_page *page, const struct metric *m, const struct metric_label *label, size_t count,
		       struct metric_histogram *histogram);
/* A metric with one value and no labels. */
void metrics_one(struct metrics_page *page, const struct metric *m, int64_t value);
void metrics_one_seconds(struct metrics_page *page, const struct metric *m, int64_t microseconds);
/* The page is complete; it stays the caller's, to be given back with metrics_page_free. */
span metrics_page_end(struct metrics_page *page);
void metrics_page_free(struct metrics_page *page);
#define AUTO_METRICS_PAGE __attribute__((cleanup(metrics_page_free))) struct metrics_page
