/*
 * cli_report.h - the period report for internal auditors: what is counted while the log is verified, and how it becomes a page.
 *
 * Exceptions come first: what was refused, lost, put back or abandoned. Then who did what, and how much in the course of time.
 */
#pragma once
#include "audit_record.h"
#include "cli_audit_words.h"

#define REPORT_BUCKETS_MAX    400
#define REPORT_EXCEPTIONS_MAX 500 /* that are listed; all are counted */
#define REPORT_OPERATIONS_MAX 500
#define REPORT_DEEDS_MAX      1000
#define REPORT_KINDS_MAX      32

struct report_exception {
	uint64_t seq;
	int64_t time;
	const char *event, *component, *who, *words;
};
/* An operation with quorum that was carried out. */
struct report_operation {
	uint64_t seq;
	int64_t time;
	const char *instance, *approved; /* "ca.create by p4, p6" */
	const char *words;
};
/* So many records of this event are by this person, or daemon. */
struct report_deed {
	span who;
	bool person;
	enum audit_code code;
	uint64_t count;
};
struct report {
	struct scope *s;  /* what is kept lies here */
	int64_t from, to; /* [from, to) */
	int64_t width;    /* of a bucket: an hour, a day, or several days */
	size_t buckets;
	uint64_t all[REPORT_BUCKETS_MAX], bad[REPORT_BUCKETS_MAX];
	uint64_t records, exceptions, kinds[REPORT_KINDS_MAX]; /* in the order of report_kind_at */
	struct report_exception exception[REPORT_EXCEPTIONS_MAX];
	size_t listed;
	struct report_operation operation[REPORT_OPERATIONS_MAX];
	size_t operations_listed;
	uint64_t operations;
	struct report_deed deed[REPORT_DEEDS_MAX];
	size_t deeds;
	uint64_t further_deeds;             /* records of deeds that no longer fit the table */
	struct cli_judge *judge;            /* gets every record too; NULL: there is none */
	struct audit_checkpoint checkpoint; /* that was verified, behind the last record; size 0: the log is not sound */
};
void report_begin(struct report *r, struct scope *s, int64_t from, int64_t to);
/* An audit_verify visit, `state` is the report: every record of the log. */
void report_record(void *state, const struct audit_envelope *e, span leaf);
/* The kinds of exceptions, worst first; NULL behind the last. */
struct report_kind {
	enum audit_code code;
	const char *what;
	const char *field, *value; /* only records with this field, and value unless that is NULL; NULL: all of the event */
	const char *words;         /* the field that says why */
};
const struct report_kind *report_kind_at(size_t i);

/* The page: HTML without scripts, everything in one file. `words` is the answer of `audit verify`. False when over the cap of `out`. */
bool report_html(struct scope *s, const struct report *r, const json_t *words, struct buf *out);
/* A part of it: bars over time, as inline SVG with a title, a description, and the figures of each bar. */
bool report_chart(struct scope *s, const struct report *r, struct buf *out);
/* Text between tags and in attributes. */
bool report_text(struct buf *out, span text);
/* "2026-11-26", or with the hour. */
const char *report_bucket_name(struct scope *s, const struct report *r, size_t bucket);
