#include "watch_book_internal.h"
#include "digest.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>

#define STATE_MAX (32u << 20)

static void lock(struct watch_book *b)
{
	(void)pthread_mutex_lock(&b->lock);
}

static void unlock(struct watch_book *b)
{
	(void)pthread_mutex_unlock(&b->lock);
}

struct watch_book *watch_book_new(const struct watch_rules *rules, const struct watch_conf *conf)
{
	struct watch_book *b = heap_alloc(sizeof *b);
	*b = (struct watch_book){ .rules = rules, .conf = conf, .state = conf->state, .next_notice = 1 };
	(void)pthread_mutex_init(&b->lock, NULL);
	return b;
}

void watch_book_free(struct watch_book *b)
{
	if (b == NULL)
		return;
	for (size_t i = 0; i < b->counts; i++)
		free(b->count[i].time);
	free(b->alert);
	free(b->count);
	free(b->deadline);
	free(b->notice);
	(void)pthread_mutex_destroy(&b->lock);
	free(b);
}

const struct watch_rules *watch_book_rules(struct watch_book *b)
{
	lock(b);
	const struct watch_rules *rules = b->rules;
	unlock(b);
	return rules;
}

const struct watch_conf *watch_book_conf(struct watch_book *b)
{
	lock(b);
	const struct watch_conf *conf = b->conf;
	unlock(b);
	return conf;
}

/* ---- alerts and notices ---- */

size_t watch_find_alert(const struct watch_book *b, const struct watch_rule *rule, const char *subject)
{
	size_t i = 0;
	while (i < b->alerts && (b->alert[i].rule != rule || strcmp(b->alert[i].subject, subject) != 0))
		i++;
	return i;
}

/* The same alert has the same id, so that it is told once after a kill. */
static void set_id(struct watch_alert *a)
{
	uint8_t digest[DIGEST_MAX];
	char text[sizeof a->subject + 128];
	int len = snprintf(text, sizeof text, "alert %s %lld %s", a->rule->name, (long long)a->since, a->subject);
	span id = digest_of(DIGEST_SHA256, span_of(text, (size_t)len), digest);
	(void)hex_write(span_first(id, 16), a->id);
}

/* The oldest goes when there are too many: an outlet that is away for so long has missed it, and is told so. */
static void add_notice(struct watch_book *b, const struct watch_alert *a, bool opened, const char *reason, int64_t at)
{
	if (b->notices == WATCH_NOTICES_MAX) {
		memmove(&b->notice[0], &b->notice[1], --b->notices * sizeof *b->notice);
		b->lost++;
	}
	b->notice = heap_grow(b->notice, (b->notices + 1) * sizeof *b->notice);
	struct watch_notice *n = &b->notice[b->notices++];
	*n = (struct watch_notice){ .number = b->next_notice++, .opened = opened, .alert = *a, .at = at };
	(void)snprintf(n->reason, sizeof n->reason, "%s", reason);
	log_put(!opened                              ? LOG_LEVEL_NOTICE
		: a->rule->severity >= AUDIT_WARNING ? LOG_LEVEL_WARNING
						     : LOG_LEVEL_NOTICE,
		"alert %s%s%s %s: %s", a->rule->name, a->subject[0] != 0 ? " " : "", a->subject, opened ? "opened" : "closed",
		opened ? a->text : reason);
}

static bool is_history(const struct watch_book *b)
{
	return b->position < b->history;
}

void watch_open_alert(struct watch_book *b, const struct watch_rule *rule, const char *subject, const char *text, int64_t at)
{
	if (b->alerts == WATCH_ALERTS_MAX) {
		log_put(LOG_LEVEL_ERROR, "more than %d alerts are open; %s %s is not kept", WATCH_ALERTS_MAX, rule->name,
			subject);
		return;
	}
	b->alert = heap_grow(b->alert, (b->alerts + 1) * sizeof *b->alert);
	struct watch_alert *a = &b->alert[b->alerts++];
	*a = (struct watch_alert){ .rule = rule, .since = at, .last = at, .count = 1 };
	(void)snprintf(a->subject, sizeof a->subject, "%s", subject);
	(void)snprintf(a->text, sizeof a->text, "%s", text);
	set_id(a);
	if (!is_history(b))
		add_notice(b, a, true, "", at);
	b->changed = true;
}

void watch_close_alert(struct watch_book *b, size_t i, const char *reason, int64_t at)
{
	if (!is_history(b))
		add_notice(b, &b->alert[i], false, reason, at);
	memmove(&b->alert[i], &b->alert[i + 1], (--b->alerts - i) * sizeof *b->alert);
	b->changed = true;
}

void watch_raise(struct watch_book *b, const char *rule, const char *subject, const char *text, int64_t at)
{
	const struct watch_rule *r = watch_rule_named(b->rules, rule);
	if (r != NULL && r->on && watch_find_alert(b, r, subject) == b->alerts)
		watch_open_alert(b, r, subject, text, at);
}

void watch_clear(struct watch_book *b, const char *rule, const char *subject, const char *reason, int64_t at)
{
	const struct watch_rule *r = watch_rule_named(b->rules, rule);
	size_t i = r != NULL ? watch_find_alert(b, r, subject) : b->alerts;
	if (i < b->alerts)
		watch_close_alert(b, i, reason, at);
}

void watch_book_raise(struct watch_book *b, const char *rule, const char *subject, const char *text, int64_t at)
{
	lock(b);
	watch_raise(b, rule, subject, text, at);
	unlock(b);
}

void watch_book_clear(struct watch_book *b, const char *rule, const char *subject, const char *reason, int64_t at)
{
	lock(b);
	watch_clear(b, rule, subject, reason, at);
	unlock(b);
}

void watch_book_seen(struct watch_book *b, const char *service, bool up, int64_t at)
{
	lock(b);
	watch_outage_seen(b, service, up, at);
	unlock(b);
}

/* ---- counting ---- */

static struct watch_count *count_of(struct watch_book *b, const struct watch_rule *rule, const char *subject)
{
	for (size_t i = 0; i < b->counts; i++)
		if (b->count[i].rule == rule && strcmp(b->count[i].subject, subject) == 0)
			return &b->count[i];
	if (b->counts == WATCH_COUNTS_MAX) { /* the oldest is forgotten */
		free(b->count[0].time);
		memmove(&b->count[0], &b->count[1], --b->counts * sizeof *b->count);
	}
	b->count = heap_grow(b->count, (b->counts + 1) * sizeof *b->count);
	struct watch_count *c = &b->count[b->counts++];
	*c = (struct watch_count){ .rule = rule, .time = heap_alloc(rule->threshold * sizeof *c->time) };
	(void)snprintf(c->subject, sizeof c->subject, "%s", subject);
	return c;
}

static bool over_threshold(struct watch_book *b, const struct watch_rule *rule, const char *subject, int64_t at)
{
	if (rule->threshold <= 1)
		return true;
	struct watch_count *c = count_of(b, rule, subject);
	c->time[c->next] = at;
	c->next = (c->next + 1) % rule->threshold;
	c->held += c->held < rule->threshold;
	return c->held == rule->threshold && at - c->time[c->next] <= rule->window;
}

static void count_record(struct watch_book *b, const struct watch_rule *rule, const struct audit_record *record, uint64_t index,
			 int64_t at)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char subject[WATCH_SUBJECT_MAX];
	watch_rule_subject(&s, rule, record, subject);
	size_t i = watch_find_alert(b, rule, subject);
	b->changed = true;
	if (i < b->alerts) {
		b->alert[i].last = at;
		b->alert[i].count++;
	} else if (over_threshold(b, rule, subject, at)) {
		watch_open_alert(b, rule, subject, scope_printf(&s, "%s (record %llu)", rule->text, (unsigned long long)index),
				 at);
	}
}

/* A person closes an alert by a record of it. */
static bool close_by_person(struct watch_book *b, const struct audit_record *record, int64_t at)
{
	if (record->code != AUDIT_ALERT_CLOSED)
		return false;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span id, reason;
	if (span_is(record->component, "watch") || audit_field_text(&s, record, "alert", &id).code != E_OK ||
	    audit_field_text(&s, record, "reason", &reason).code != E_OK)
		return true;
	for (size_t i = 0; i < b->alerts; i++)
		if (span_is(id, b->alert[i].id)) {
			watch_close_alert(b, i, scope_cstr(&s, reason), at);
			if (!is_history(b)) /* that record is what closed it */
				b->notice[b->notices - 1].recorded = true;
			break;
		}
	return true;
}

/* When it happened, where the record says so (events of a host, what persons enter); else when it was received. */
static int64_t happened(const struct audit_envelope *e)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t at;
	bool said = audit_field_of(&e->record, "at") != NULL && audit_field_time(&s, &e->record, "at", &at).code == E_OK;
	return said ? at : audit_envelope_time(e);
}

static void take_record(struct watch_book *b, const struct audit_envelope *e)
{
	int64_t at = happened(e);
	if (close_by_person(b, &e->record, at) || e->record.code == AUDIT_ALERT_OPENED)
		return;
	for (size_t i = 0; i < b->rules->count; i++) {
		const struct watch_rule *rule = &b->rules->rule[i];
		if (watch_rule_counts(rule, &e->record))
			count_record(b, rule, &e->record, e->seq, at);
		if (!watch_rule_closes(rule, &e->record))
			continue;
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		char subject[WATCH_SUBJECT_MAX];
		watch_rule_subject(&s, rule, &e->record, subject);
		size_t open = watch_find_alert(b, rule, subject);
		if (open < b->alerts)
			watch_close_alert(b, open,
					  scope_printf(&s, "%s (record %llu)", e->record.row->name, (unsigned long long)e->seq),
					  at);
	}
	watch_deadline_take(b, &e->record);
	watch_integrity_take(b, &e->record, at);
}

void watch_book_take(struct watch_book *b, uint64_t index, span leaf)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_envelope *e = scope_new(&s, struct audit_envelope);
	st read = audit_envelope_read(&s, leaf, e);
	lock(b);
	if (read.code == E_OK)
		take_record(b, e);
	b->position = index + 1;
	if (b->position == b->history)
		for (size_t i = 0; i < b->alerts; i++)
			add_notice(b, &b->alert[i], true, "", b->alert[i].since);
	unlock(b);
	if (read.code != E_OK && leaf.len > 0) /* of a later version, or purged */
		log_put(LOG_LEVEL_WARNING, "record %llu is not understood: %s", (unsigned long long)index, s.message);
}

uint64_t watch_book_position(struct watch_book *b)
{
	lock(b);
	uint64_t position = b->position;
	unlock(b);
	return position;
}

void watch_book_begin(struct watch_book *b, uint64_t from, uint64_t size)
{
	lock(b);
	b->position = from;
	b->history = size;
	b->changed = true;
	unlock(b);
}

static void close_the_quiet(struct watch_book *b, int64_t now)
{
	for (size_t i = b->alerts; i-- > 0;) {
		const struct watch_alert *a = &b->alert[i];
		if (a->rule->event[0] != NULL && a->rule->closing_event[0] == NULL && a->rule->window > 0 &&
		    now - a->last > a->rule->window)
			watch_close_alert(b, i, "no such record any more within the window of its rule", now);
	}
}

void watch_book_tick(struct watch_book *b, int64_t now)
{
	lock(b);
	if (!is_history(b)) {
		close_the_quiet(b, now);
		watch_deadline_tick(b, now);
	}
	unlock(b);
}

/* ---- notices ---- */

bool watch_book_notice(struct watch_book *b, uint64_t number, struct watch_notice *out)
{
	bool found = false;
	lock(b);
	for (size_t i = 0; i < b->notices && !found; i++)
		if (b->notice[i].number > number) {
			*out = b->notice[i];
			found = true;
		}
	unlock(b);
	return found;
}

bool watch_book_unrecorded(struct watch_book *b, struct watch_notice *out)
{
	bool found = false;
	lock(b);
	for (size_t i = 0; i < b->notices && !found; i++)
		if (!b->notice[i].recorded) {
			*out = b->notice[i];
			found = true;
		}
	unlock(b);
	return found;
}

static bool sent_by_all(const struct watch_book *b, uint64_t number)
{
	for (size_t i = 0; i < b->outlets; i++)
		if (b->sent[i].number < number)
			return false;
	return true;
}

static void forget_what_is_done(struct watch_book *b)
{
	size_t done = 0;
	while (done < b->notices && b->notice[done].recorded && sent_by_all(b, b->notice[done].number))
		done++;
	memmove(&b->notice[0], &b->notice[done], (b->notices - done) * sizeof *b->notice);
	b->notices -= done;
	b->changed = true;
}

void watch_book_recorded(struct watch_book *b, uint64_t number)
{
	lock(b);
	for (size_t i = 0; i < b->notices; i++)
		if (b->notice[i].number == number)
			b->notice[i].recorded = true;
	forget_what_is_done(b);
	unlock(b);
}

static struct watch_sent *sent_of(struct watch_book *b, const char *outlet)
{
	for (size_t i = 0; i < b->outlets; i++)
		if (strcmp(b->sent[i].outlet, outlet) == 0)
			return &b->sent[i];
	if (b->outlets == WATCH_OUTLETS_MAX)
		log_die("more than %d outlets", WATCH_OUTLETS_MAX);
	struct watch_sent *new = &b->sent[b->outlets++];
	*new = (struct watch_sent){ .number = b->next_notice - 1 };
	(void)snprintf(new->outlet, sizeof new->outlet, "%s", outlet);
	return new;
}

uint64_t watch_book_sent(struct watch_book *b, const char *outlet)
{
	lock(b);
	uint64_t number = sent_of(b, outlet)->number;
	unlock(b);
	return number;
}

void watch_book_set_sent(struct watch_book *b, const char *outlet, uint64_t number)
{
	lock(b);
	sent_of(b, outlet)->number = number;
	forget_what_is_done(b);
	unlock(b);
}

size_t watch_book_open(struct watch_book *b, enum audit_severity at_least)
{
	size_t open = 0;
	lock(b);
	for (size_t i = 0; i < b->alerts; i++)
		open += b->alert[i].rule->severity >= at_least;
	unlock(b);
	return open;
}

/* ---- the file ---- */

static const char *state_path(struct scope *s, const struct watch_book *b)
{
	return scope_printf(s, "%s/book.json", b->state);
}

st watch_book_load(struct scope *s, struct watch_book *b)
{
	span text;
	st read = file_read(s, state_path(s, b), STATE_MAX, &text);
	if (read.code == E_NOTFOUND) {
		scope_clear_error(s);
		return OK;
	}
	TRY(read);
	json_error_t error;
	json_t *all = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
	if (all == NULL)
		return fail(s, E_INPUT, "%s: %s; move it away, and the log is read from its beginning", state_path(s, b),
			    error.text);
	st taken = watch_book_unpack(s, b, all);
	json_decref(all);
	if (taken.code == E_OK)
		watch_close_orphans(b, scope_now(s));
	return fail_context(s, taken, "%s", state_path(s, b));
}

st watch_book_save(struct scope *s, struct watch_book *b)
{
	lock(b);
	bool changed = b->changed;
	json_t *all = changed ? watch_book_pack(b) : NULL;
	b->changed = false;
	unlock(b);
	if (!changed)
		return OK;
	char *text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	if (text == NULL)
		return fail(s, E_BUG, "the book cannot be written as JSON");
	st written = file_replace(s, state_path(s, b), span_str(text), 0640);
	free(text);
	if (written.code != E_OK) {
		lock(b);
		b->changed = true;
		unlock(b);
	}
	return written;
}
