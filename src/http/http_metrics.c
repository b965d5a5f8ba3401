#include "http_metrics.h"
#include "http_internal.h"
#include <stdio.h>

#define MAX_HEADER      8192
#define MAX_CONNECTIONS 16
#define IDLE_SECONDS    30

static const char media_type[] = "text/plain; version=0.0.4; charset=utf-8";
static const struct metric requests = { "chancery_http_requests_total", METRIC_COUNTER,
					"Requests answered, by class of the HTTP status." };
static const struct metric turned_away = { "chancery_http_turned_away_total", METRIC_COUNTER,
					   "Requests that found no worker free and too many waiting." };
static const struct metric refused = { "chancery_http_connections_refused_total", METRIC_COUNTER,
				       "Connections refused because as many were open as may be." };
static const struct metric connections = { "chancery_http_connections", METRIC_GAUGE, "Connections that are open." };
static const struct metric queue = { "chancery_http_waiting", METRIC_GAUGE, "Requests that wait for a worker." };
static const struct metric took = { "chancery_http_request_duration_seconds", METRIC_HISTOGRAM,
				    "From the last octet of a request to its answer, without the way of the answer." };

/* One line or more of one metric. */
struct putting {
	const struct metric *metric;
	void (*put)(struct metrics_page *page, const struct metric *m, const char *name, struct http_server *server);
};

static void put_requests(struct metrics_page *page, const struct metric *m, const char *name, struct http_server *server)
{
	for (int class = 1; class < HTTP_CLASSES; class ++) {
		char text[4];
		(void)snprintf(text, sizeof text, "%dxx", class);
		const struct metric_label label[] = { { "listener", name }, { "class", text } };
		metrics_value(page, m, label, 2, (int64_t)atomic_load(&server->answered[class]));
	}
}

static void put_number(struct metrics_page *page, const struct metric *m, const char *name, uint64_t value)
{
	const struct metric_label label = { "listener", name };
	metrics_value(page, m, &label, 1, (int64_t)value);
}

static void put_turned_away(struct metrics_page *page, const struct metric *m, const char *name, struct http_server *server)
{
	put_number(page, m, name, atomic_load(&server->turned_away));
}

static void put_refused(struct metrics_page *page, const struct metric *m, const char *name, struct http_server *server)
{
	put_number(page, m, name, atomic_load(&server->refused_connections));
}

static void put_connections(struct metrics_page *page, const struct metric *m, const char *name, struct http_server *server)
{
	put_number(page, m, name, atomic_load(&server->connections));
}

static void put_waiting(struct metrics_page *page, const struct metric *m, const char *name, struct http_server *server)
{
	put_number(page, m, name,
		   __atomic_load_n(&server->pool.waiting, __ATOMIC_RELAXED) +
			   __atomic_load_n(&server->together.waiting, __ATOMIC_RELAXED));
}

static void put_took(struct metrics_page *page, const struct metric *m, const char *name, struct http_server *server)
{
	const struct metric_label label = { "listener", name };
	metrics_histogram(page, m, &label, 1, &server->took);
}

static const struct putting puttings[] = { { &requests, put_requests }, { &turned_away, put_turned_away },
					   { &refused, put_refused },   { &connections, put_connections },
					   { &queue, put_waiting },     { &took, put_took } };

/* All values of one metric stand together: that is the format. */
static void put_servers(struct metrics_page *page, const struct http_metered *m)
{
	for (size_t what = 0; what < sizeof puttings / sizeof puttings[0]; what++) {
		const struct putting *p = &puttings[what];
		metrics_family(page, p->metric);
		for (size_t i = 0; i < HTTP_METERED_MAX; i++)
			if (m->server[i].server != NULL)
				p->put(page, p->metric, m->server[i].name, m->server[i].server);
	}
}

static st get_metrics(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct http_metered *m = request->state;
	AUTO_METRICS_PAGE page;
	metrics_page_begin(&page, m->daemon, m->started);
	put_servers(&page, m);
	if (m->fill != NULL)
		m->fill(s, &page, m->state);
	reply->content_type = media_type;
	reply->body = scope_copy(s, metrics_page_end(&page));
	return OK;
}

static st get_other(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct http_metered *m = request->state;
	if (m->other == NULL)
		return fail(s, E_NOTFOUND, "this daemon hands on no metrics but its own");
	reply->content_type = media_type;
	return m->other(s, request->part[0], m->state, &reply->body);
}

static const struct http_route routes[] = {
	{ .method = HTTP_GET,
	  .path = "/metrics",
	  .handle = get_metrics,
	  .summary = "What the daemon counts and measures (Prometheus)." },
	{ .method = HTTP_GET,
	  .path = "/metrics/{name}",
	  .handle = get_other,
	  .summary = "The same of another daemon of this host, where this one hands it on." },
};

st http_metrics_open(struct scope *s, const char *address, const struct http_metered *metered, struct http_server **out)
{
	const struct http_settings settings = { .loops = 1,
						.workers = 1,
						.max_connections = MAX_CONNECTIONS,
						.max_header = MAX_HEADER,
						.idle_seconds = IDLE_SECONDS,
						.routes = routes,
						.route_count = sizeof routes / sizeof routes[0],
						.state = (void *)(uintptr_t)metered };
	if (address == NULL)
		return OK;
	TRY(http_server_new(s, &settings, out));
	TRY(http_listen(s, *out, address, NULL));
	return http_server_start(s, *out);
}
