#include "watch_metrics.h"
#include "audit_client.h"
#include "client.h"
#include "key.h"
#include "metrics.h"

#define TIMEOUT_MS      5000
#define MAX_HEADER      8192
#define MAX_CONNECTIONS 32
#define IDLE_SECONDS    30

static const struct metric open_alerts = { "chancery_watch_alerts", METRIC_GAUGE,
					   "Alerts that are open, of this severity and above." };
static const struct metric position = { "chancery_watch_position", METRIC_GAUGE, "Records of the log that were read." };

static st own_page(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct watch_metrics *m = request->state;
	AUTO_METRICS_PAGE page;
	metrics_page_begin(&page, "watch", m->started);
	metrics_family(&page, &open_alerts);
	for (enum audit_severity severity = AUDIT_INFO; severity <= AUDIT_ALERT; severity++) {
		const struct metric_label label = { "severity", audit_severity_name(severity) };
		metrics_value(&page, &open_alerts, &label, 1, (int64_t)watch_book_open(m->book, severity));
	}
	metrics_one(&page, &position, (int64_t)watch_book_position(m->book));
	reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
	reply->body = scope_copy(s, metrics_page_end(&page));
	return OK;
}

typedef struct key_client key_client; /* AUTO() takes a type name */
DEFINE_AUTO(key_client, key_client_free)
typedef struct client client;
DEFINE_AUTO(client, client_free)

static st from_keyd(struct scope *s, const struct watch_metrics_conf *conf, span *out)
{
	AUTO(key_client) *keyd = key_client_new(conf->socket);
	return key_metrics(s, keyd, out);
}

static st from_auditd(struct scope *s, const struct watch_metrics_conf *conf, span *out)
{
	return audit_metrics(s, conf->socket, out);
}

static st from_http(struct scope *s, const struct watch_metrics_conf *conf, span *out)
{
	const struct client_settings settings = {
		.unix_socket = conf->socket, .base_url = conf->url, .timeout_ms = TIMEOUT_MS, .max_body = METRICS_PAGE_MAX
	};
	AUTO(client) *http = NULL;
	struct client_answer answer;
	TRY(client_new(s, &settings, &http));
	TRY(client_call(s, http, "GET", "/metrics", NULL, (span){ 0 }, &answer));
	TRY(client_expect(s, &answer));
	*out = answer.body;
	return OK;
}

static const struct kind {
	const char *name;
	st (*page)(struct scope *s, const struct watch_metrics_conf *conf, span *out);
} kinds[] = { { "keyd", from_keyd }, { "auditd", from_auditd }, { "http", from_http } };

static const struct kind *kind_of(const struct watch_metrics_conf *conf)
{
	size_t i = 0;
	while (strcmp(kinds[i].name, conf->kind) != 0)
		i++; /* the configuration takes no other words */
	return &kinds[i];
}

static st other_page(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct watch_metrics *m = request->state;
	const struct watch_metrics_conf *item = m->conf->metrics.item;
	for (size_t i = 0; i < m->conf->metrics.count; i++) {
		if (!span_is(request->part[0], item[i].label))
			continue;
		reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
		return kind_of(&item[i])->page(s, &item[i], &reply->body);
	}
	return fail(s, E_NOTFOUND, "watch.conf has no [metrics] of that name");
}

static const struct http_route routes[] = {
	{ .method = HTTP_GET,
	  .path = "/metrics",
	  .handle = own_page,
	  .summary = "Metrics of chancery-watch itself (Prometheus)." },
	{ .method = HTTP_GET,
	  .path = "/metrics/{name}",
	  .handle = other_page,
	  .summary = "Metrics of another daemon of this host." },
};

static st check(struct scope *s, const struct watch_metrics_conf *conf)
{
	if ((conf->socket == NULL) == (conf->url == NULL) || (conf->socket == NULL && strcmp(conf->kind, "http") != 0))
		return fail(s, E_CONFIG, "[metrics %s] of kind %s needs a socket%s", conf->label, conf->kind,
			    strcmp(conf->kind, "http") == 0 ? ", or a url, not both" : "");
	return OK;
}

st watch_metrics_open(struct scope *s, const struct watch_metrics *m, struct http_server **out)
{
	const struct watch_metrics_conf *item = m->conf->metrics.item;
	const struct http_settings settings = { .loops = 1,
						.workers = 2,
						.max_connections = MAX_CONNECTIONS,
						.max_header = MAX_HEADER,
						.idle_seconds = IDLE_SECONDS,
						.routes = routes,
						.route_count = sizeof routes / sizeof routes[0],
						.state = (void *)(uintptr_t)m };
	for (size_t i = 0; i < m->conf->metrics.count; i++)
		TRY(check(s, &item[i]));
	if (m->conf->metrics_listen == NULL)
		return OK;
	TRY(http_server_new(s, &settings, out));
	TRY(http_listen(s, *out, m->conf->metrics_listen, NULL));
	return http_server_start(s, *out);
}
