#include "watch_log.h"
#include "daemon_pacer.h"
#include "digest.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <stdlib.h>

#define PAUSE      (MOMENT_SECOND / 2)
#define LEAVES_MAX 1000
/* A first run looks back so far for what is still open. */
#define HISTORY_MAX UINT64_C(1000000)

struct watch_log {
	struct pacer pacer;
	struct watch_book *book;
	struct audit *audit;
	bool begun;
};

static st check_size(struct scope *s, const struct watch_log *l, uint64_t size)
{
	uint64_t position = watch_book_position(l->book);
	if (position <= size)
		return OK;
	return fail(
		s, E_STATE,
		"the log has %llu records, and %llu were read before: it was put back. Look into that first, then move the book of "
		"chancery-watch away",
		(unsigned long long)size, (unsigned long long)position);
}

static void begin(struct watch_log *l, uint64_t size)
{
	l->begun = true;
	if (watch_book_position(l->book) == 0)
		watch_book_begin(l->book, size > HISTORY_MAX ? size - HISTORY_MAX : 0, size);
}

/* Up to LEAVES_MAX of them; false when there are no more. The first time only to see how long the log is. */
static st read_on(struct scope *s, struct watch_log *l, bool *out_more)
{
	struct audit_leaf *leaf;
	size_t count;
	uint64_t size;
	TRY(audit_read(s, l->audit, watch_book_position(l->book), l->begun ? LEAVES_MAX : 1, &leaf, &count, &size));
	TRY(check_size(s, l, size));
	*out_more = true;
	if (!l->begun) {
		begin(l, size);
		return OK;
	}
	for (size_t i = 0; i < count; i++)
		watch_book_take(l->book, leaf[i].index, leaf[i].bytes);
	*out_more = watch_book_position(l->book) < size && count > 0;
	return OK;
}

static void follow(struct watch_log *l)
{
	bool more = true;
	while (more && !pacer_is_stopping(&l->pacer)) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		st read = read_on(&s, l, &more);
		char *now = scope_printf(&s, "%s", s.message);
		if (read.code != E_OK)
			log_failure(&s, "reading the audit log");
		if (read.code != E_OK)
			watch_book_raise(l->book, "log-unreachable", "", now, scope_now(&s));
		else
			watch_book_clear(l->book, "log-unreachable", "", "it answers", scope_now(&s));
		if (read.code != E_OK)
			return;
	}
}

static void derive(const struct watch_notice *n, uint8_t id[16])
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t digest[32];
	const char *text = scope_printf(&s, "%s %s %lld", n->opened ? "opened" : "closed", n->alert.id, (long long)n->at);
	memcpy(id, digest_of(DIGEST_SHA256, span_str(text), digest).data, 16);
}

static st put_on_record(struct scope *s, struct watch_log *l, const struct watch_notice *n)
{
	uint8_t id[16];
	uint64_t index;
	const struct watch_alert *a = &n->alert;
	derive(n, id);
	AUTO_EVENT e;
	audit_begin_as(&e, s, n->opened ? AUDIT_ALERT_OPENED : AUDIT_ALERT_CLOSED, id);
	audit_str(&e, "alert", a->id);
	audit_str(&e, "rule", a->rule->name);
	if (n->opened)
		audit_str(&e, "severity", audit_severity_name(a->rule->severity));
	if (a->subject[0] != 0)
		audit_str(&e, "subject", a->subject);
	audit_str(&e, n->opened ? "text" : "reason", n->opened ? a->text : n->reason);
	audit_time(&e, "since", a->since);
	TRY(audit_finish(s, &e));
	return audit_commit(s, l->audit, &e, &index);
}

/* In the book before in the log: whoever is killed in between tells it again under the same id. */
static void record(struct watch_log *l)
{
	struct watch_notice n;
	while (watch_book_unrecorded(l->book, &n) && !pacer_is_stopping(&l->pacer)) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		st done = watch_book_save(&s, l->book);
		if (done.code == E_OK)
			done = put_on_record(&s, l, &n);
		if (done.code != E_OK) {
			log_failure(&s, "putting an alert on record");
			return;
		}
		watch_book_recorded(l->book, n.number);
	}
}

static void save(struct watch_log *l)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	watch_book_tick(l->book, scope_now(&s));
	if (watch_book_save(&s, l->book).code != E_OK)
		log_failure(&s, "keeping the book");
}

static void *run(void *argument)
{
	struct watch_log *l = argument;
	do {
		follow(l);
		record(l);
		save(l);
	} while (pacer_pause(&l->pacer, PAUSE));
	return NULL;
}

void watch_log_start(struct watch_book *book, struct audit *audit, struct watch_log **out)
{
	struct watch_log *l = heap_alloc(sizeof *l);
	*l = (struct watch_log){ .book = book, .audit = audit };
	pacer_init(&l->pacer);
	pacer_start(&l->pacer, "follow the log", run, l);
	*out = l;
}

void watch_log_stop(struct watch_log *l)
{
	if (l == NULL)
		return;
	pacer_stop(&l->pacer);
	save(l);
	pacer_free(&l->pacer);
	free(l);
}
