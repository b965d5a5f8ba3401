/*
 * keyd_use.c - how often each key signed, by the log: its records are counted on from the place up to which the count is right.
 */
#include "audit_record.h"
#include "keyd.h"

#define LEAVES_AT_ONCE 1024u
#define PART           (200 * MOMENT_SECOND / 1000)
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

/* The key a record of this zone is about; NULL when it is no signature and no generation of one of ours. */
static struct keyd_key *subject_of(struct scope *s, struct keyd *d, span leaf, bool *out_generated)
{
	struct audit_envelope e;
	span zone, label;
	if (!contains(leaf, "\"event\":\"sign.") && !contains(leaf, "\"event\":\"key.generated\""))
		return NULL;
	if (audit_envelope_read(s, leaf, &e).code != E_OK || audit_field_text(s, &e.record, "zone", &zone).code != E_OK ||
	    audit_field_text(s, &e.record, "key", &label).code != E_OK) {
		scope_clear_error(s);
		return NULL;
	}
	*out_generated = e.record.code == AUDIT_KEY_GENERATED;
	if (!span_is(zone, d->conf->zone) || (!*out_generated && !is_signature(e.record.code)))
		return NULL;
	struct keyd_key *k = keyd_first_key(d);
	while (k != NULL && !span_is(label, k->info.label))
		k = k->next;
	return k;
}

/* A second generation under one label: the state directory was lost, and what signed before was another key. */
static void count(struct keyd_key *k, uint64_t index, bool generated)
{
	struct keyd_life *l = &k->life;
	(void)pthread_mutex_lock(&l->lock);
	if ((l->behind || l->trailing) && index >= l->position)
		l->settled = generated ? 0 : l->settled + 1;
	(void)pthread_mutex_unlock(&l->lock);
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

/* The end has been read. True when a key that signs all the time has to be looked at again. */
static bool arrive(struct keyd *d)
{
	bool again = false;
	for (struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next) {
		struct keyd_life *l = &k->life;
		(void)pthread_mutex_lock(&l->lock);
		l->trailing = false;
		l->settled_at = moment_monotonic();
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
		for (size_t i = 0; i < leaves; i++) {
			bool generated = false;
			struct keyd_key *k = subject_of(s, d, leaf[i].bytes, &generated);
			if (k != NULL)
				count(k, leaf[i].index, generated);
		}
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
