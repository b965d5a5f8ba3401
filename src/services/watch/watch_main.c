#include "daemon.h"
#include "moment.h"
#include "watch_host.h"
#include "watch_http.h"
#include "watch_log.h"
#include "watch_metrics.h"
#include "watch_probe.h"
#include "watch_runner.h"
#include "watch_send.h"
#include <stdlib.h>

#define STOP_GRACE_MS   2000
#define MAX_HEADER      8192
#define MAX_CONNECTIONS 16
#define IDLE_SECONDS    30

struct watch {
	const struct watch_conf *conf;
	struct audit *audit;
	struct watch_rules rules;
	struct watch_book *book;
	struct watch_log *log;
	struct watch_probe *probe;
	struct watch_send *send;
	struct watch_host *host;
	struct watch_compare *compare;
	struct http_server *server;
	struct watch_http_state http;
	struct watch_metrics metrics;
	struct http_server *metrics_server;
};

static void free_all(struct watch *w)
{
	http_server_stop(w->metrics_server, STOP_GRACE_MS);
	if (w->server != NULL)
		http_server_stop(w->server, STOP_GRACE_MS);
	watch_compare_stop(w->compare);
	watch_host_stop(w->host);
	watch_probe_stop(w->probe);
	watch_send_stop(w->send);
	watch_log_stop(w->log);
	watch_runner_end();
	watch_book_free(w->book);
	audit_close(w->audit);
	free(w);
}

static void stop(void *state)
{
	struct watch *w = state;
	daemon_record_stop(w->audit, "asked to");
	free_all(w);
}

static st open_server(struct scope *s, struct watch *w)
{
	w->http = (struct watch_http_state){ .conf = w->conf, .book = w->book };
	const struct http_settings settings = { .loops = 1,
						.workers = 1,
						.max_connections = MAX_CONNECTIONS,
						.max_header = MAX_HEADER,
						.idle_seconds = IDLE_SECONDS,
						.routes = watch_routes,
						.route_count = watch_route_count,
						.state = &w->http,
						.permit = watch_permit };
	TRY(http_server_new(s, &settings, &w->server));
	TRY(http_listen(s, w->server, scope_printf(s, "unix:%s", w->conf->socket), NULL));
	return http_server_start(s, w->server);
}

static st assemble(struct scope *s, struct watch *w)
{
	const struct audit_settings audit = { .socket = w->conf->audit_socket,
					      .anchor = w->conf->anchor,
					      .component = "watch" };
	TRY(watch_rules_read(s, w->conf, &w->rules));
	w->book = watch_book_new(&w->rules, w->conf);
	TRY(watch_book_load(s, w->book));
	TRY(audit_open(s, &audit, &w->audit));
	TRY(daemon_record_start(s, w->audit));
	TRY(watch_send_start(s, w->conf, w->book, &w->send));
	TRY(watch_probe_start(s, w->conf, w->book, w->audit, &w->probe));
	TRY(open_server(s, w));
	w->metrics = (struct watch_metrics){ .conf = w->conf, .book = w->book, .started = scope_now(s) };
	TRY(watch_metrics_open(s, &w->metrics, &w->metrics_server));
	TRY(watch_compare_start(s, w->conf, w->audit, &w->compare));
	w->http.compare = w->compare;
	watch_host_start(w->conf, w->audit, &w->host);
	watch_log_start(w->book, w->audit, &w->log);
	return OK;
}

static st start(struct scope *s, const void *conf, void **out_state)
{
	struct watch *w = heap_alloc(sizeof *w);
	*w = (struct watch){ .conf = conf };
	st assembled = assemble(s, w);
	if (assembled.code != E_OK) {
		free_all(w);
		return assembled;
	}
	*out_state = w;
	return OK;
}

static st before_fence(struct scope *s, const void *conf)
{
	return watch_runner_split(s, conf);
}

static const struct daemon watch_daemon = {
	.name = "watch",
	.summary = "reads the audit log, probes the services, and raises alerts",
	.schema = &watch_conf_schema,
	.start = start,
	.stop = stop,
	.before_fence = before_fence,
	.may_connect_internet = true,
};

int watch_main(int argc, char **argv);

int watch_main(int argc, char **argv)
{
	return daemon_main(&watch_daemon, argc, argv);
}
