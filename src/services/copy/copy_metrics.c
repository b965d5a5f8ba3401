/* What an operator of the second place alarms on. */
#include "copy.h"

static const struct metric cosigned = { "chancery_copy_leaves", METRIC_GAUGE, "Leaves under the newest cosigned checkpoint." };
static const struct metric refusing = { "chancery_copy_refusing", METRIC_GAUGE,
					"1 when another history of the log was brought." };

static void fill(struct scope *s, struct metrics_page *page, void *state)
{
	struct copy *c = state;
	(void)s;
	(void)pthread_mutex_lock(&c->lock);
	uint64_t size = c->head.size;
	bool refused = c->refused[0] != 0;
	(void)pthread_mutex_unlock(&c->lock);
	metrics_one(page, &cosigned, (int64_t)size);
	metrics_one(page, &refusing, refused);
}

/* Nothing else on this host could: the cosigning key is as much of the second place as its files. */
static st other(struct scope *s, span name, void *state, span *out)
{
	const struct copy *c = state;
	if (!span_is(name, "keyd"))
		return fail(s, E_NOTFOUND, "chancery-copy hands on the metrics of its keyd, at /metrics/keyd");
	return key_metrics(s, c->keyd, out);
}

st copy_metrics_serve(struct scope *s, struct copy *c)
{
	c->metered = (struct http_metered){ .daemon = "copy",
					    .started = scope_now(s),
					    .server = { { "log", c->server } },
					    .fill = fill,
					    .other = other,
					    .state = c };
	return http_metrics_open(s, c->conf->metrics_listen, &c->metered, &c->metrics_server);
}
