#include "audit_tally.h"
#include "audit_catalogue.h"
#include "log.h"
#include "moment.h"
#include <pthread.h>
#include <stdlib.h>

struct value {
	uint8_t len;
	uint8_t octets[AUDIT_TALLY_VALUE_MAX];
};

struct slot {
	enum audit_code code;
	uint64_t count; /* 0: free */
	bool others;
	int64_t since, until;
	size_t fields;
	const char *name[AUDIT_TALLY_FIELDS];
	struct value value[AUDIT_TALLY_FIELDS];
};

struct audit_tally {
	struct audit *audit;
	int64_t window;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	struct slot slot[AUDIT_TALLY_SLOTS];
	pthread_t thread;
};

/* ---- counting ---- */

static span cut(span value)
{
	return span_first(value, value.len < AUDIT_TALLY_VALUE_MAX ? value.len : AUDIT_TALLY_VALUE_MAX);
}

static bool is_same(const struct slot *slot, enum audit_code code, const struct audit_tally_field *field, size_t count)
{
	if (slot->count == 0 || slot->others || slot->code != code || slot->fields != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!span_equal(span_of(slot->value[i].octets, slot->value[i].len), cut(field[i].value)))
			return false;
	return true;
}

static void fill(struct slot *slot, enum audit_code code, const struct audit_tally_field *field, size_t count)
{
	*slot = (struct slot){ .code = code, .since = source_kernel.now(NULL), .fields = count };
	for (size_t i = 0; i < count; i++) {
		span value = cut(field[i].value);
		slot->name[i] = field[i].name;
		slot->value[i].len = (uint8_t)value.len;
		if (value.len > 0)
			memcpy(slot->value[i].octets, value.data, value.len);
	}
}

/* That of the event; else a free one, the last of which is for all others of its kind. NULL when there is none. */
static struct slot *place_of(struct audit_tally *t, enum audit_code code, const struct audit_tally_field *field, size_t count)
{
	struct slot *free = NULL, *others = NULL;
	size_t left = 0;
	for (size_t i = 0; i < AUDIT_TALLY_SLOTS; i++) {
		struct slot *slot = &t->slot[i];
		if (is_same(slot, code, field, count))
			return slot;
		if (slot->count > 0 && slot->others && slot->code == code)
			others = slot;
		if (slot->count == 0) {
			free = free == NULL ? slot : free;
			left++;
		}
	}
	/* Some are kept free for the others of further events. */
	if (left <= AUDIT_TALLY_SLOTS / 8 && others != NULL)
		return others;
	if (free == NULL)
		return NULL;
	fill(free, code, field, count);
	free->others = left <= AUDIT_TALLY_SLOTS / 8;
	return free;
}

void audit_tally_add(struct audit_tally *t, enum audit_code code, const struct audit_tally_field *field, size_t count)
{
	(void)pthread_mutex_lock(&t->lock);
	struct slot *slot = place_of(t, code, field, count);
	if (slot != NULL) {
		slot->count++;
		slot->until = source_kernel.now(NULL);
	}
	(void)pthread_cond_signal(&t->wake);
	(void)pthread_mutex_unlock(&t->lock);
}

/* ---- writing ---- */

static void put_field(struct audit_event *e, const struct slot *slot, size_t i)
{
	enum audit_form form = AUDIT_TEXT;
	span value = span_of(slot->value[i].octets, slot->value[i].len);
	(void)audit_row_field(audit_row(slot->code), span_str(slot->name[i]), 0, &form);
	if (form == AUDIT_HEX && value.len > 0 && !slot->others)
		audit_hex(e, slot->name[i], value);
	else if (form == AUDIT_TEXT && value.len > 0)
		audit_text(e, slot->name[i], slot->others ? SPAN_LITERAL("(others)") : value);
}

static st write_slot(struct scope *s, struct audit_tally *t, const struct slot *slot)
{
	AUTO_EVENT e;
	uint64_t index;
	audit_begin(&e, s, slot->code);
	for (size_t i = 0; i < slot->fields; i++)
		put_field(&e, slot, i);
	audit_number(&e, "count", (int64_t)slot->count);
	audit_time(&e, "since", slot->since);
	audit_time(&e, "until", slot->until);
	TRY(audit_finish(s, &e));
	return audit_commit(s, t->audit, &e, &index);
}

/* What comes in while a record is written is counted in the next one. */
static st write_all(struct scope *s, struct audit_tally *t)
{
	for (size_t i = 0; i < AUDIT_TALLY_SLOTS; i++) {
		(void)pthread_mutex_lock(&t->lock);
		struct slot slot = t->slot[i];
		(void)pthread_mutex_unlock(&t->lock);
		if (slot.count == 0)
			continue;
		TRY(write_slot(s, t, &slot));
		(void)pthread_mutex_lock(&t->lock);
		t->slot[i].count -= slot.count;
		t->slot[i].since = t->slot[i].until;
		(void)pthread_mutex_unlock(&t->lock);
	}
	return OK;
}

static bool anything(const struct audit_tally *t)
{
	for (size_t i = 0; i < AUDIT_TALLY_SLOTS; i++)
		if (t->slot[i].count > 0)
			return true;
	return false;
}

static void *write_main(void *argument)
{
	struct audit_tally *t = argument;
	bool goes_on = true, complained = false;
	while (goes_on) {
		(void)pthread_mutex_lock(&t->lock);
		while (!t->stopping && !anything(t))
			(void)pthread_cond_wait(&t->wake, &t->lock);
		for (int64_t end = moment_monotonic() + t->window; !t->stopping && moment_monotonic() < end;)
			(void)moment_wait(&t->wake, &t->lock, end);
		goes_on = !t->stopping;
		(void)pthread_mutex_unlock(&t->lock);
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		bool failed = write_all(&s, t).code != E_OK;
		if (failed && !complained)
			log_failure(&s, "counted events are not on record yet");
		complained = failed;
	}
	return NULL;
}

struct audit_tally *audit_tally_new(struct audit *audit, int64_t window)
{
	struct audit_tally *t = heap_alloc(sizeof *t);
	t->audit = audit;
	t->window = window;
	if (pthread_mutex_init(&t->lock, NULL) != 0 || pthread_cond_init(&t->wake, NULL) != 0 ||
	    pthread_create(&t->thread, NULL, write_main, t) != 0)
		log_die("no thread for counted events");
	return t;
}

void audit_tally_free(struct audit_tally *t)
{
	if (t == NULL)
		return;
	(void)pthread_mutex_lock(&t->lock);
	t->stopping = true;
	(void)pthread_cond_broadcast(&t->wake);
	(void)pthread_mutex_unlock(&t->lock);
	(void)pthread_join(t->thread, NULL);
	(void)pthread_mutex_destroy(&t->lock);
	(void)pthread_cond_destroy(&t->wake);
	free(t);
}
