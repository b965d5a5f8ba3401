/* What this keyd answers to a request for metrics; from memory, no token is asked. */
#include "keyd.h"
#include "metrics.h"

static void tokens(struct metrics_page *page, struct keyd *d)
{
	static const struct metric ready = {
		"chancery_keyd_token_ready", METRIC_GAUGE,
		"1 when the token is there and logged in; a key group (group=\"yes\") that is locked has 0."
	};
	metrics_family(page, &ready);
	(void)pthread_rwlock_rdlock(&d->registry);
	(void)pthread_mutex_lock(&d->watching);
	for (const struct keyd_token *t = d->tokens; t != NULL; t = t->next) {
		const struct metric_label label[] = { { "token", t->label }, { "group", t->group ? "yes" : "no" } };
		metrics_value(page, &ready, label, 2, t->ready);
	}
	(void)pthread_mutex_unlock(&d->watching);
	(void)pthread_rwlock_unlock(&d->registry);
}

static void states(struct metrics_page *page, struct keyd_key *first, int64_t now)
{
	static const struct metric keys = { "chancery_keyd_keys", METRIC_GAUGE, "Keys that are or were on a token, by state." };
	int64_t count[KEY_STATE_COUNT] = { 0 };
	for (struct keyd_key *k = first; k != NULL; k = k->next)
		count[keyd_life_state(k, now)]++;
	metrics_family(page, &keys);
	for (enum key_state state = KEY_GENERATED; state < KEY_STATE_COUNT; state++) {
		const struct metric_label label = { "state", key_state_name(state) };
		metrics_value(page, &keys, &label, 1, count[state]);
	}
}

/* Of a key that signs nothing any more nobody is to be warned. */
static void usage_ends(struct metrics_page *page, struct keyd_key *first, int64_t now)
{
	static const struct metric ends = {
		"chancery_keyd_key_usage_end_timestamp_seconds", METRIC_GAUGE,
		"When the key signs nothing any more, in seconds since 1970; keys without an end and "
		"destroyed keys are left out."
	};
	metrics_family(page, &ends);
	for (struct keyd_key *k = first; k != NULL; k = k->next) {
		const struct metric_label label[] = { { "key", k->info.label }, { "token", k->info.token } };
		if (k->info.usage_ends != 0 && keyd_life_state(k, now) != KEY_DESTROYED)
			metrics_seconds(page, &ends, label, 2, k->info.usage_ends);
	}
}

void keyd_metrics(struct scope *s, struct keyd *d, struct metrics_page *page)
{
	static const struct metric signatures = { "chancery_keyd_signatures_total", METRIC_COUNTER, "Signatures made." };
	static const struct metric refusals = { "chancery_keyd_refusals_total", METRIC_COUNTER,
						"Requests to sign, generate or change a key that were refused." };
	int64_t now = scope_now(s);
	struct keyd_key *first = keyd_first_key(d);
	metrics_page_begin(page, "keyd", d->started);
	metrics_one(page, &signatures, (int64_t)atomic_load(&d->signatures));
	metrics_one(page, &refusals, (int64_t)atomic_load(&d->refusals));
	tokens(page, d);
	states(page, first, now);
	usage_ends(page, first, now);
}
