#include "daemon.h"
#include "moment.h"
#include "watch_host.h"
#include "watch_http.h"
#include "watch_log.h"
#include "watch_metrics.h"
#include "watch_parameters.h"
#include "watch_probe.h"
#include "watch_reload.h"
#include "watch_runner.h"
#include "watch_send.h"
#include <stdlib.h>

#define STOP_GRACE_MS   2000
#define MAX_HEADER      8192
#define MAX_CONNECTIONS 16
#define IDLE_SECONDS    30

/* The rules that one configuration makes. Alerts and notices under way name them, so none goes before the end. */
struct ruling {
	struct ruling *earlier;
	struct scope memory;
	struct watch_rules rules;
};
struct watch {
	const struct watch_conf *conf;
	struct audit *audit;
	struct ruling *ruling; /* the latest */
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

static void ruling_free(struct ruling *r)
{
	scope_done(&r->memory);
	free(r);
}

static st ruling_new(struct scope *s, const struct watch_conf *conf, struct ruling **out)
{
	struct ruling *r = heap_alloc(sizeof *r);
	scope_init(&r->memory, NULL);
	st read = watch_rules_read(&r->memory, conf, &r->rules);
	if (read.code != E_OK) {
		st failed = fail(s, read.code, "%s", r->memory.message);
		ruling_free(r);
		return failed;
	}
	*out = r;
	return OK;
}

static void take_ruling(struct watch *w, struct ruling *r)
{
	r->earlier = w->ruling;
	w->ruling = r;
}

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
	while (w->ruling != NULL) {
		struct ruling *earlier = w->ruling->earlier;
		ruling_free(w->ruling);
		w->ruling = earlier;
	}
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
	w->http = (struct watch_http_state){ .book = w->book };
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

/* What can be wrong with rules, probes and outlets is found here; `out` is made of the rules. */
static st check(struct scope *s, const struct watch_conf *conf, struct ruling **out)
{
	TRY(watch_send_check(s, conf));
	TRY(watch_probe_check(s, conf));
	return ruling_new(s, conf, out);
}

static st assemble(struct scope *s, struct watch *w)
{
	struct ruling *ruling;
	const struct audit_settings audit = { .socket = w->conf->audit_socket,
					      .anchor = w->conf->anchor,
					      .component = "watch" };
	TRY(check(s, w->conf, &ruling));
	take_ruling(w, ruling);
	w->book = watch_book_new(&ruling->rules, w->conf);
	TRY(watch_book_load(s, w->book));
	TRY(audit_open(s, &audit, &w->audit));
	TRY(daemon_record_start(s, w->audit));
	TRY(watch_parameters_record(s, w->audit, w->conf, &ruling->rules));
	w->send = watch_send_start(w->conf, w->book);
	w->probe = watch_probe_start(w->conf, w->book, w->audit, NULL);
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

/* On record before it is in force; nothing of it is in force when anything is wrong with it. */
static st take_over(struct scope *s, struct watch *w, const struct watch_conf *next)
{
	struct ruling *ruling;
	TRY(watch_reload_check(s, w->conf, next));
	TRY(watch_runner_check(s, next));
	TRY(check(s, next, &ruling));
	st recorded = watch_parameters_record(s, w->audit, next, &ruling->rules);
	if (recorded.code != E_OK) {
		ruling_free(ruling);
		return recorded;
	}
	take_ruling(w, ruling);
	watch_send_stop(w->send); /* what is gone raises nothing behind the book's back */
	watch_probe_halt(w->probe);
	watch_book_configure(w->book, &ruling->rules, next, scope_now(s));
	w->send = watch_send_start(next, w->book);
	w->probe = watch_probe_start(next, w->book, w->audit, w->probe);
	w->conf = next;
	return OK;
}

static st reload(struct scope *s, void *state, const void *conf)
{
	struct watch *w = state;
	st taken = take_over(s, w, conf);
	daemon_record_reload(w->audit, taken.code == E_OK);
	return taken;
}

static const char *keeps(struct scope *s, const void *conf)
{
	(void)s;
	return ((const struct watch_conf *)conf)->state;
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
	.reload = reload,
	.keeps = keeps,
	.stop = stop,
	.before_fence = before_fence,
	.may_connect_internet = true,
};

int watch_main(int argc, char **argv);

int watch_main(int argc, char **argv)
{
	return daemon_main(&watch_daemon, argc, argv);
}
