/* Another configuration under a book that is open; a start with another one than before is the same. */
#include "watch_book_internal.h"
#include <stdlib.h>

static bool has_outlet(const struct watch_conf *conf, const char *label)
{
	const struct watch_outlet_conf *item = conf->outlets.item;
	for (size_t i = 0; i < conf->outlets.count; i++)
		if (strcmp(item[i].label, label) == 0)
			return true;
	return false;
}

static bool has_probe(const struct watch_conf *conf, const char *label)
{
	const struct watch_probe_conf *item = conf->probes.item;
	for (size_t i = 0; i < conf->probes.count; i++)
		if (strcmp(item[i].label, label) == 0)
			return true;
	return false;
}

static const struct raised_by {
	const char *rule;
	bool (*is_there)(const struct watch_conf *conf, const char *subject);
	const char *reason;
} raised[] = {
	{ "probe-failed", has_probe, "this probe is configured no more" },
	{ "crl-late", has_probe, "this probe is configured no more" },
	{ "outlet-failed", has_outlet, "this outlet is configured no more" },
};

void watch_close_orphans(struct watch_book *b, int64_t at)
{
	for (size_t i = b->alerts; i-- > 0;)
		for (size_t k = 0; k < sizeof raised / sizeof raised[0]; k++)
			if (strcmp(b->alert[i].rule->name, raised[k].rule) == 0 &&
			    !raised[k].is_there(b->conf, b->alert[i].subject)) {
				watch_close_alert(b, i, raised[k].reason, at);
				break;
			}
	watch_outage_end_unprobed(b, at);
}

static void take_alerts_over(struct watch_book *b, int64_t at)
{
	for (size_t i = b->alerts; i-- > 0;) {
		const struct watch_rule *rule = watch_rule_named(b->rules, b->alert[i].rule->name);
		if (rule != NULL)
			b->alert[i].rule = rule;
		else
			watch_close_alert(b, i, "its rule is configured no more", at);
	}
}

/* The newest of what was counted, oldest first, in a ring of another size. */
static void resize(struct watch_count *c, unsigned was, unsigned size)
{
	unsigned keep = c->held < size ? c->held : size;
	int64_t *time = heap_alloc(size * sizeof *time);
	for (unsigned i = 0; i < keep; i++)
		time[i] = c->time[(c->next + was - keep + i) % was];
	free(c->time);
	c->time = time;
	c->held = keep;
	c->next = keep % size;
}

static void take_counts_over(struct watch_book *b)
{
	size_t kept = 0;
	for (size_t i = 0; i < b->counts; i++) {
		struct watch_count *c = &b->count[i];
		const struct watch_rule *rule = watch_rule_named(b->rules, c->rule->name);
		if (rule == NULL || rule->threshold <= 1) {
			free(c->time);
			continue;
		}
		if (rule->threshold != c->rule->threshold)
			resize(c, c->rule->threshold, rule->threshold);
		c->rule = rule;
		b->count[kept++] = *c;
	}
	b->counts = kept;
}

/* Or notices would be kept for an outlet that takes none. */
static void forget_outlets(struct watch_book *b)
{
	size_t kept = 0;
	for (size_t i = 0; i < b->outlets; i++)
		if (has_outlet(b->conf, b->sent[i].outlet))
			b->sent[kept++] = b->sent[i];
	b->outlets = kept;
}

void watch_book_configure(struct watch_book *b, const struct watch_rules *rules, const struct watch_conf *conf, int64_t at)
{
	(void)pthread_mutex_lock(&b->lock);
	b->rules = rules;
	b->conf = conf;
	take_alerts_over(b, at);
	take_counts_over(b);
	forget_outlets(b);
	watch_close_orphans(b, at);
	b->changed = true;
	(void)pthread_mutex_unlock(&b->lock);
}
