/* watch_metrics.h - one address where Prometheus finds the metrics of all daemons of a host, also of those that have no HTTP. */
#pragma once
#include "http.h"
#include "watch_book.h"

struct watch_metrics {
	const struct watch_conf *conf;
	struct watch_book *book;
	int64_t started;
};
/* GET /metrics: its own page; GET /metrics/NAME: that of another daemon, [metrics NAME]. Nothing where no metrics-listen is configured.
 * E_CONFIG for a [metrics] without what its kind needs. */
st watch_metrics_open(struct scope *s, const struct watch_metrics *m, struct http_server **out);
