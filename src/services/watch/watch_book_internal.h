/* watch_book_internal.h - the book from inside: what watch_book.c, watch_book_file.c, watch_deadline.c and watch_outage.c share. Under its lock. */
#pragma once
#include "watch_book.h"
#include <jansson.h>
#include <pthread.h>

struct watch_count {
	const struct watch_rule *rule;
	char subject[WATCH_SUBJECT_MAX];
	int64_t *time; /* of the last `threshold` records, oldest at `next` */
	unsigned held, next;
};
struct watch_deadline {
	char reference[WATCH_REFERENCE_MAX];
	char event[WATCH_REFERENCE_MAX];
	int64_t at, due;
};
#define WATCH_SERVICES_MAX 32
#define WATCH_OUTAGES_MAX  64
struct watch_outage {
	int64_t from, to; /* to 0: it lasts */
};
struct watch_service {
	char name[64];
	struct watch_outage outage[WATCH_OUTAGES_MAX]; /* oldest first */
	size_t count;
};
struct watch_sent {
	char outlet[64];
	uint64_t number;
};
struct watch_book {
	pthread_mutex_t lock;
	const struct watch_rules *rules;
	const struct watch_conf *conf;
	const char *state;          /* the directory: no reload moves it */
	uint64_t position, history; /* the next leaf; leaves below `history` are not told */
	uint64_t next_notice, lost; /* notices that fell out before every outlet had them */
	bool changed;
	struct watch_alert *alert;
	struct watch_count *count;
	struct watch_deadline *deadline;
	struct watch_notice *notice;
	size_t alerts, counts, deadlines, notices;
	struct watch_service service[WATCH_SERVICES_MAX];
	size_t services;
	struct watch_sent sent[WATCH_OUTLETS_MAX];
	size_t outlets;
};

void watch_open_alert(struct watch_book *b, const struct watch_rule *rule, const char *subject, const char *text, int64_t at);
void watch_close_alert(struct watch_book *b, size_t i, const char *reason, int64_t at);
/* Its place among the open ones; the number of them when it is not. */
size_t watch_find_alert(const struct watch_book *b, const struct watch_rule *rule, const char *subject);
void watch_raise(struct watch_book *b, const char *rule, const char *subject, const char *text, int64_t at);
void watch_clear(struct watch_book *b, const char *rule, const char *subject, const char *reason, int64_t at);

/* ---- watch_deadline ---- */
void watch_deadline_take(struct watch_book *b, const struct audit_record *record);
void watch_deadline_tick(struct watch_book *b, int64_t now);
/* ---- watch_outage ---- */
void watch_outage_seen(struct watch_book *b, const char *service, bool up, int64_t at);
/* Nobody asks for these services any more: their outages end here. */
void watch_outage_end_unprobed(struct watch_book *b, int64_t at);
/* How many certificates have a false status, by a record `status.compared`: over the limits it raises `integrity-significant`. */
void watch_integrity_take(struct watch_book *b, const struct audit_record *record, int64_t at);
/* ---- watch_book_configure ---- */
/* Closes what nobody could close any more under the configuration as it is. */
void watch_close_orphans(struct watch_book *b, int64_t at);
/* ---- watch_book_file ---- */
json_t *watch_book_pack(const struct watch_book *b);
st watch_book_unpack(struct scope *s, struct watch_book *b, const json_t *all);
