/*
 * Deadlines count themselves: a record that persons entered and that says until when something is due is a deadline until another one says
 * that it was done (EN 319 401 REQ-7.9.2-09, REQ-7.9.3-01: notice within 24 hours, critical vulnerabilities within 48).
 */
#include "moment.h"
#include "watch_book_internal.h"
#include <stdio.h>

#define NEAR_MOST (3 * MOMENT_DAY)
#define NEAR_PART 4 /* of the time there was */

static void copy_field(struct scope *s, const struct audit_record *r, const char *name, char out[WATCH_REFERENCE_MAX])
{
	span text = { 0 };
	if (audit_field_of(r, name) != NULL && audit_field_text(s, r, name, &text).code != E_OK)
		scope_clear_error(s);
	(void)snprintf(out, WATCH_REFERENCE_MAX, "%.*s", (int)text.len, text.len > 0 ? (const char *)text.data : "");
}

static void remove_deadline(struct watch_book *b, const char *reference, const char *how, int64_t at)
{
	for (size_t i = 0; i < b->deadlines; i++)
		if (strcmp(b->deadline[i].reference, reference) == 0) {
			watch_clear(b, "deadline-near", reference, how, at);
			watch_clear(b, "deadline-missed", reference, how, at);
			memmove(&b->deadline[i], &b->deadline[i + 1], (--b->deadlines - i) * sizeof *b->deadline);
			b->changed = true;
			return;
		}
}

static void add_deadline(struct watch_book *b, const struct watch_deadline *new)
{
	if (b->deadlines == WATCH_DEADLINES_MAX)
		remove_deadline(b, b->deadline[0].reference, "too many deadlines", new->at);
	b->deadline = heap_grow(b->deadline, (b->deadlines + 1) * sizeof *b->deadline);
	b->deadline[b->deadlines++] = *new;
	b->changed = true;
}

/* Telling the supervisory body is what is due for an incident; for everything else it is the closing record. */
static void take_done(struct watch_book *b, struct scope *s, const struct audit_record *r, int64_t at)
{
	char done[WATCH_REFERENCE_MAX];
	copy_field(s, r, "closes", done);
	if (done[0] == 0 && r->code == AUDIT_INCIDENT_NOTIFIED)
		copy_field(s, r, "about", done);
	if (done[0] != 0)
		remove_deadline(b, done, r->row->name, at);
}

/* The clock of a deadline runs from when it was known, not from when somebody wrote it down. */
static const char *begins(const struct audit_record *r)
{
	static const char *const known[] = { "detected", "found" };
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (audit_field_of(r, known[i]) != NULL)
			return known[i];
	return "at";
}

void watch_deadline_take(struct watch_book *b, const struct audit_record *r)
{
	if (r->row->class != AUDIT_MANUAL)
		return;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct watch_deadline new = { 0 };
	take_done(b, &s, r, r->time);
	if (audit_field_of(r, "due") == NULL)
		return;
	copy_field(&s, r, "reference", new.reference);
	(void)snprintf(new.event, sizeof new.event, "%s", r->row->name);
	if (audit_field_time(&s, r, "due", &new.due).code == E_OK && audit_field_time(&s, r, begins(r), &new.at).code == E_OK)
		add_deadline(b, &new);
}

static bool is_near(const struct watch_deadline *d, int64_t now)
{
	int64_t part = (d->due - d->at) / NEAR_PART;
	return d->due - now < (part < NEAR_MOST ? part : NEAR_MOST);
}

void watch_deadline_tick(struct watch_book *b, int64_t now)
{
	for (size_t i = 0; i < b->deadlines; i++) {
		const struct watch_deadline *d = &b->deadline[i];
		char due[MOMENT_TEXT_MAX], text[WATCH_TEXT_MAX];
		bool missed = now >= d->due;
		if (!missed && !is_near(d, now))
			continue;
		(void)snprintf(text, sizeof text, "%s %s %s due at %s: `chancery record list --open`", d->event, d->reference,
			       missed ? "was" : "is", moment_text(d->due, due));
		if (missed)
			watch_clear(b, "deadline-near", d->reference, "it has passed", now);
		watch_raise(b, missed ? "deadline-missed" : "deadline-near", d->reference, text, now);
	}
}
