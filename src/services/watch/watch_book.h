/*
 * watch_book.h - what is open, what is counted, what is told: one book, kept in one file. Its methods lock; any thread may call them.
 *
 * The file says up to which leaf of the log it is true, so a record counts once whatever happens. An alert is in the file before it is on
 * record, and its record's id is derived from it: told again after a kill, it stands in the log once.
 */
#pragma once
#include "watch_rule.h"

#define WATCH_ALERTS_MAX    1000
#define WATCH_DEADLINES_MAX 4096
#define WATCH_COUNTS_MAX    4096
#define WATCH_NOTICES_MAX   2000
#define WATCH_TEXT_MAX      512
#define WATCH_REFERENCE_MAX 64
#define WATCH_OUTLETS_MAX   16

struct watch_alert {
	char id[33]; /* hexadecimal */
	const struct watch_rule *rule;
	char subject[WATCH_SUBJECT_MAX];
	char text[WATCH_TEXT_MAX];
	int64_t since, last;
	uint64_t count;
};
/* An alert was opened or closed: to be put on record, and sent by each outlet. */
struct watch_notice {
	uint64_t number;
	bool opened, recorded;
	struct watch_alert alert;
	int64_t at;
	char reason[WATCH_TEXT_MAX]; /* why it was closed */
};

struct watch_book;
/* Rules and configuration stay valid for as long as the book: alerts and notices name them. */
struct watch_book *watch_book_new(const struct watch_rules *rules, const struct watch_conf *conf);
void watch_book_free(struct watch_book *b);
/* Others from now on. What is counted goes on being counted; what nobody could close any more is closed: an alert of a rule, a probe or an
 * outlet that is configured no more. */
void watch_book_configure(struct watch_book *b, const struct watch_rules *rules, const struct watch_conf *conf, int64_t at);
const struct watch_rules *watch_book_rules(struct watch_book *b);
const struct watch_conf *watch_book_conf(struct watch_book *b);
/* The file of the state directory, when there is one; E_INPUT when it is none of ours. */
st watch_book_load(struct scope *s, struct watch_book *b);
/* Does nothing when nothing changed. */
st watch_book_save(struct scope *s, struct watch_book *b);

/* ---- the log ---- */
uint64_t watch_book_position(struct watch_book *b);
/* Where a first run begins: what lies before `size` is history, of which only what is still open at its end is told. */
void watch_book_begin(struct watch_book *b, uint64_t from, uint64_t size);
/* The next leaf. */
void watch_book_take(struct watch_book *b, uint64_t index, span leaf);
/* Closes what was quiet for long enough, and raises and misses deadlines. */
void watch_book_tick(struct watch_book *b, int64_t now);

/* ---- conditions that are no records ---- */
/* Nothing when it is open already, or the rule is off. */
void watch_book_raise(struct watch_book *b, const char *rule, const char *subject, const char *text, int64_t at);
void watch_book_clear(struct watch_book *b, const char *rule, const char *subject, const char *reason, int64_t at);
/* A service was seen to be up or down: its time down is counted, an outage over the limits raises `outage-significant`. */
void watch_book_seen(struct watch_book *b, const char *service, bool up, int64_t at);

/* ---- notices ---- */
/* The first one behind `number`; false when there is none. */
bool watch_book_notice(struct watch_book *b, uint64_t number, struct watch_notice *out);
bool watch_book_unrecorded(struct watch_book *b, struct watch_notice *out);
void watch_book_recorded(struct watch_book *b, uint64_t number);
/* Up to which notice an outlet has sent. A new outlet begins with what comes from now on. */
uint64_t watch_book_sent(struct watch_book *b, const char *outlet);
void watch_book_set_sent(struct watch_book *b, const char *outlet, uint64_t number);

/* ---- for those who ask ---- */
/* {"alerts": [...], "deadlines": [...], "position": n, ...}, in the scope. */
span watch_book_json(struct scope *s, struct watch_book *b);
size_t watch_book_open(struct watch_book *b, enum audit_severity at_least);
/* One notice, as the outlets send it. */
span watch_notice_json(struct scope *s, const struct watch_notice *n);
