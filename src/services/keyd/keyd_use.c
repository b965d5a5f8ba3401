/*
 * keyd_use.c - how often each key signed, by the log: its records are counted on from the place up to which the count is right.
 */
#include "audit_record.h"
#include "keyd.h"
#include "log.h"

#define LEAVES_AT_ONCE 1024u
#define PART           (200 * MOMENT_SECOND / 1000)
#define BEGIN_PART     (2 * MOMENT_SECOND)
#define TRAILING_AFTER (60 * MOMENT_SECOND)

static bool is_signature(enum audit_code code)
{
	return code == AUDIT_SIGN_CERTIFICATE || code == AUDIT_SIGN_CRL || code == AUDIT_SIGN_TIME_STAMP ||
	       code == AUDIT_SIGN_REQUEST;
}

static bool contains(span bytes, const char *text)
{
	return memmem(bytes.data, bytes.len, text, strlen(text)) != NULL;
}

/* The key of this zone that a record tells something of; NULL when it does not. */
static struct keyd_key *subject_of(struct scope *s, struct keyd *d, span leaf, struct audit_envelope *out)
{
	span zone, label;
	if (!contains(leaf, "\"event\":\"sign.") && !contains(leaf, "\"event\":\"key."))
		return NULL;
	if (audit_envelope_read(s, leaf, out).code != E_OK || audit_field_text(s, &out->record, "zone", &zone).code != E_OK ||
	    audit_field_text(s, &out->record, "key", &label).code != E_OK) {
		scope_clear_error(s);
		return NULL;
	}
	if (!span_is(zone, d->conf->zone))
		return NULL;
	struct keyd_key *k = keyd_first_key(d);
	while (k != NULL && !span_is(label, k->info.label))
		k = k->next;
	return k;
}

/* What narrows is always taken; what widens only from the state it was made from, since the record of a first use may come late. */
static void replay(struct scope *s, struct keyd_life *l, const struct audit_record *r)
{
	span from, to;
	if (audit_field_text(s, r, "from", &from).code != E_OK || audit_field_text(s, r, "to", &to).code != E_OK) {
		scope_clear_error(s);
		return;
	}
	enum key_state next = key_state_named(to);
	bool narrows = next == KEY_SUSPENDED || next == KEY_EXPIRED || next == KEY_DESTROYED;
	if (l->by_log == KEY_DESTROYED || (!narrows && (next != KEY_ACTIVE || key_state_named(from) != l->by_log)))
		return;
	l->by_log = next;
	l->by_log_since = r->time;
}

/* A second generation under one label: the state directory was lost, and what signed before was another key. */
static void take(struct scope *s, struct keyd_key *k, uint64_t index, const struct audit_record *r)
{
	struct keyd_life *l = &k->life;
	(void)pthread_mutex_lock(&l->lock);
	if ((l->behind || l->trailing) && index >= l->position) {
		if (is_signature(r->code))
			l->settled++;
		else if (r->code == AUDIT_KEY_GENERATED)
			l->settled = 0;
		else if (r->code == AUDIT_KEY_CHANGED)
			replay(s, l, r);
	}
	(void)pthread_mutex_unlock(&l->lock);
}

/* What was removed may have been a signature of any key that counts there: from now on the count is the least. */
static void pass_over(struct keyd *d, uint64_t index)
{
	for (struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next) {
		struct keyd_life *l = &k->life;
		(void)pthread_mutex_lock(&l->lock);
		if ((l->behind || l->trailing) && index >= l->position) {
			l->changed = l->changed || !l->at_least;
			l->at_least = true;
		}
		(void)pthread_mutex_unlock(&l->lock);
	}
}

static void take_all(struct scope *s, struct keyd *d, const struct audit_leaf *leaf, size_t count)
{
	size_t removed = 0;
	for (size_t i = 0; i < count; i++) {
		struct audit_envelope e;
		struct keyd_key *k = subject_of(s, d, leaf[i].bytes, &e);
		if (k != NULL)
			take(s, k, leaf[i].index, &e.record);
		if (leaf[i].bytes.len > 0)
			continue;
		removed++;
		pass_over(d, leaf[i].index);
	}
	if (removed > 0)
		log_put(LOG_LEVEL_NOTICE,
			"%zu records from %llu on were removed from the log: signatures of which they told are not counted again",
			removed, (unsigned long long)leaf[0].index);
}

/* From where to read on; false when no key is behind. Notes which keys are idle: if they still are when the end has been read, nothing of
 * theirs stands behind it. */
static bool look(struct keyd *d, uint64_t *out_from)
{
	bool any = false;
	*out_from = UINT64_MAX;
	for (struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next) {
		struct keyd_life *l = &k->life;
		(void)pthread_mutex_lock(&l->lock);
		l->quiet = l->in_flight == 0;
		l->seen = l->begun;
		if (l->behind || l->trailing) {
			any = true;
			*out_from = l->position < *out_from ? l->position : *out_from;
		}
		(void)pthread_mutex_unlock(&l->lock);
	}
	return any;
}

/* With the lock held: nothing of this key went on record since it was looked at. */
static bool was_idle(const struct keyd_life *l)
{
	return l->quiet && l->in_flight == 0 && l->begun == l->seen;
}

/* Everything before `to` has been read; of a log that was put back with a loss, everything that is left. */
static void advance(struct keyd *d, uint64_t to, uint64_t size)
{
	for (struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next) {
		struct keyd_life *l = &k->life;
		(void)pthread_mutex_lock(&l->lock);
		if (l->position > size)
			l->position = size;
		if ((l->behind || l->trailing) && l->position < to) {
			l->position = to;
			l->changed = true;
		}
		(void)pthread_mutex_unlock(&l->lock);
	}
}

/* With the lock held, the first time: the file was of an earlier time than the log. */
static void adopt(struct keyd_key *k)
{
	struct keyd_life *l = &k->life;
	if (!l->moved && l->by_log != l->state) {
		log_put(LOG_LEVEL_WARNING,
			"key \"%s\" is %s by the log, and %s by its file, which is of an earlier time: the log counts",
			k->info.label, key_state_name(l->by_log), key_state_name(l->state));
		l->state = l->by_log;
		l->since = l->by_log_since;
		l->changed = true;
	}
	l->moved = true;
}

/* The end has been read. True when a key that signs all the time has to be looked at again. */
static bool arrive(struct keyd *d)
{
	bool again = false;
	for (struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next) {
		struct keyd_life *l = &k->life;
		(void)pthread_mutex_lock(&l->lock);
		l->trailing = false;
		l->settled_at = moment_monotonic();
		if (l->behind)
			adopt(k);
		if (l->behind && was_idle(l)) {
			l->recorded = l->offered = l->settled;
			l->behind = false;
			l->changed = true;
		}
		again = again || l->behind;
		(void)pthread_mutex_unlock(&l->lock);
	}
	return again;
}

st keyd_use_catch_up(struct scope *s, struct keyd *d, bool *out_more)
{
	int64_t end = moment_monotonic() + PART;
	uint64_t from, size = 0;
	*out_more = false;
	while (look(d, &from)) {
		struct audit_leaf *leaf;
		size_t leaves;
		TRY(audit_read(s, d->audit, from, LEAVES_AT_ONCE, &leaf, &leaves, &size));
		take_all(s, d, leaf, leaves);
		uint64_t to = from + leaves < size ? from + leaves : size;
		advance(d, to, size);
		scope_reset(s);
		*out_more = to < size;
		if (!*out_more) {
			*out_more = arrive(d);
			return OK;
		}
		if (moment_monotonic() > end)
			return OK;
	}
	return OK;
}

void keyd_use_begin(struct keyd *d)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t end = moment_monotonic() + BEGIN_PART;
	bool more = true;
	while (more && moment_monotonic() < end)
		if (keyd_use_catch_up(&s, d, &more).code != E_OK)
			return;
}

/* With the lock held. */
static bool wants_settling(const struct keyd_life *l)
{
	return !l->behind && l->settled != l->recorded;
}

st keyd_use_settle(struct scope *s, struct keyd *d)
{
	bool wanted = false;
	uint64_t ignored, size;
	(void)look(d, &ignored);
	for (struct keyd_key *k = keyd_first_key(d); k != NULL && !wanted; k = k->next) {
		(void)pthread_mutex_lock(&k->life.lock);
		wanted = wants_settling(&k->life);
		(void)pthread_mutex_unlock(&k->life.lock);
	}
	if (!wanted)
		return OK;
	struct audit_leaf *leaf;
	size_t leaves;
	TRY(audit_read(s, d->audit, UINT64_MAX, 0, &leaf, &leaves, &size));
	for (struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next) {
		struct keyd_life *l = &k->life;
		(void)pthread_mutex_lock(&l->lock);
		if (wants_settling(l) && was_idle(l)) {
			l->settled = l->recorded;
			l->position = size;
			l->settled_at = moment_monotonic();
			l->changed = true;
		} else if (wants_settling(l) && moment_monotonic() - l->settled_at > TRAILING_AFTER)
			l->trailing = true;
		(void)pthread_mutex_unlock(&l->lock);
	}
	return OK;
}
