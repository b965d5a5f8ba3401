/* What this keyd answers to a request for metrics; from memory, no token is asked. */
#include "keyd.h"

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

static void signatures_of(struct metrics_page *page, const struct metric *m, struct keyd_key *k)
{
	for (int i = 0; i < KEY_PURPOSE_COUNT; i++) {
		enum key_purpose purpose = 1u << i;
		const struct metric_label label[] = { { "key", k->info.label }, { "purpose", key_purpose_name(purpose) } };
		if ((k->info.purposes & purpose) != 0)
			metrics_value(page, m, label, 2, (int64_t)atomic_load(&k->signatures[i]));
	}
}

static void signatures(struct metrics_page *page, struct keyd *d, struct keyd_key *first)
{
	static const struct metric made = { "chancery_keyd_signatures_total", METRIC_COUNTER,
					    "Signatures made by the key for the purpose." };
	static const struct metric took = { "chancery_keyd_signing_duration_seconds", METRIC_HISTOGRAM,
					    "What the token takes for a signature, waiting for a session included." };
	metrics_family(page, &made);
	for (struct keyd_key *k = first; k != NULL; k = k->next)
		signatures_of(page, &made, k);
	metrics_family(page, &took);
	metrics_histogram(page, &took, NULL, 0, &d->signing);
}

static void undone(struct metrics_page *page, struct keyd *d, const struct metric *m, bool refusals)
{
	metrics_family(page, m);
	for (enum code code = E_OK + 1; code < CODE_COUNT; code++) {
		const struct metric_label label = { "code", code_row(code)->name };
		if (keyd_is_refusal(code) == refusals)
			metrics_value(page, m, &label, 1, (int64_t)atomic_load(&d->undone[code]));
	}
}

void keyd_metrics(struct scope *s, struct keyd *d, struct metrics_page *page)
{
	static const struct metric refused = { "chancery_keyd_refusals_total", METRIC_COUNTER,
					       "Requests to sign, generate or change a key that were refused." };
	static const struct metric failed = { "chancery_keyd_failures_total", METRIC_COUNTER,
					      "Such requests that were allowed and could not be done." };
	int64_t now = scope_now(s);
	struct keyd_key *first = keyd_first_key(d);
	metrics_page_begin(page, "keyd", d->started);
	signatures(page, d, first);
	undone(page, d, &refused, true);
	undone(page, d, &failed, false);
	tokens(page, d);
	states(page, first, now);
	usage_ends(page, first, now);
}
