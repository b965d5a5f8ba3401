#include "daemon.h"
#include "daemon_access.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "va.h"
#include <stdlib.h>

int va_main(int argc, char **argv);

#define MAX_HEADER    16384
#define IDLE_SECONDS  30
#define STOP_GRACE_MS 5000

/* ---- the directory ---- */

struct va_directory *va_directory_take(struct va *va)
{
	(void)pthread_mutex_lock(&va->lock);
	struct va_directory *d = va_directory_hold(va->directory);
	(void)pthread_mutex_unlock(&va->lock);
	return d;
}

st va_directory_refresh(struct scope *s, struct va *va)
{
	struct va_directory *new;
	TRY(va_directory_load(s, va->store, &new));
	(void)pthread_mutex_lock(&va->lock);
	struct va_directory *old = va->directory;
	va->directory = new;
	(void)pthread_mutex_unlock(&va->lock);
	va_directory_release(old);
	return OK;
}

/* ---- the public routes ---- */

const struct http_route va_public_routes[] = {
	{ .method = HTTP_POST,
	  .path = "/ocsp",
	  .media_type = "application/ocsp-request",
	  .max_body = PKI_OCSP_REQUEST_MAX,
	  .on_loop = true,
	  .handle = va_ocsp_loop,
	  .handle_all = va_ocsp_all,
	  .summary = "OCSP (RFC 6960, RFC 9919)." },
	{ .method = HTTP_GET,
	  .path = "/ocsp/{request*}",
	  .on_loop = true,
	  .handle = va_ocsp_loop,
	  .handle_all = va_ocsp_all,
	  .summary = "OCSP by GET (RFC 6960 A.1)." },
	{ .method = HTTP_GET,
	  .path = "/crl/{file}",
	  .handle = va_repository_crl,
	  .summary = "CRL of a CA: NAME.crl (RFC 2585)." },
	{ .method = HTTP_GET,
	  .path = "/ca/{file}",
	  .handle = va_repository_ca,
	  .summary = "Certificate of a CA: NAME.crt (DER), NAME.pem." },
	{ .method = HTTP_GET, .path = "/", .handle = va_page, .summary = "List of CA certificates and CRLs for people." },
	{ .method = HTTP_GET, .path = "/style.css", .on_loop = true, .handle = va_page_style, .summary = "Style of the list." },
	{ .method = HTTP_GET,
	  .path = "/healthz",
	  .handle = va_healthz,
	  .summary = "Feed number, ages of CRLs, ends of OCSP signers." },
};
const size_t va_public_route_count = sizeof va_public_routes / sizeof va_public_routes[0];

/* ---- start and stop ---- */

static st serve_public(struct scope *s, struct va *va)
{
	const struct http_settings settings = {
		.loops = (unsigned)va->conf->loops,
		.workers = (unsigned)va->conf->workers,
		.together = (unsigned)va->conf->signers,
		.queue = (unsigned)va->conf->queue,
		.max_connections = (unsigned)va->conf->max_connections,
		.max_header = MAX_HEADER,
		.idle_seconds = IDLE_SECONDS,
		.routes = va_public_routes,
		.route_count = va_public_route_count,
		.state = va,
		.failed = va_ocsp_failed,
	};
	TRY(http_server_new(s, &settings, &va->public_server));
	for (size_t i = 0; i < va->conf->listen.count; i++)
		TRY(http_listen(s, va->public_server, va->conf->listen.item[i], NULL));
	return http_server_start(s, va->public_server);
}

static st serve_push(struct scope *s, struct va *va)
{
	const struct http_settings settings = {
		.loops = 1,
		.workers = 2,
		.max_connections = 16,
		.max_header = MAX_HEADER,
		.idle_seconds = IDLE_SECONDS,
		.spool_directory = scope_printf(s, "%s/crls", va->conf->state_directory),
		.routes = va_push_routes,
		.route_count = va_push_route_count,
		.state = va,
		.permit = va_push_permit,
	};
	const struct http_tls_settings tls = { .certificate = va->conf->tls_certificate,
					       .key = va->conf->tls_key,
					       .client_ca = va->conf->tls_ca };
	TRY(http_server_new(s, &settings, &va->push_server));
	TRY(http_listen(s, va->push_server, va->conf->push_listen, &tls));
	return http_server_start(s, va->push_server);
}

static st open_state(struct scope *s, struct va *va)
{
	const struct va_conf *conf = va->conf;
	TRY(file_make_directory(s, scope_printf(s, "%s/crls", conf->state_directory), 0750));
	TRY(va_store_open(s, scope_printf(s, "%s/status.lmdb", conf->state_directory), &va->store));
	va->cache = va_cache_new((size_t)conf->ocsp_cache);
	va->keyd = key_client_new(conf->keyd_socket);
	TRY(va_directory_refresh(s, va));
	va_crl_tidy(va);
	const struct audit_settings audit = {
		.socket = conf->audit_socket, .journal = conf->audit_journal, .component = "va", .anchor = conf->audit_anchor
	};
	return audit_open(s, &audit, &va->audit);
}

/* Nobody comes in, and whoever came is on record. */
static void close_doors(struct va *va)
{
	va_watch_stop(va);
	va->watch = NULL;
	http_server_stop(va->metrics_server, STOP_GRACE_MS);
	va->metrics_server = NULL;
	http_server_stop(va->public_server, STOP_GRACE_MS);
	http_server_stop(va->push_server, STOP_GRACE_MS);
	daemon_access_free(va->access);
	va->public_server = NULL;
	va->push_server = NULL;
	va->access = NULL;
}

static void va_free(struct va *va)
{
	close_doors(va);
	if (va->audit != NULL)
		audit_close(va->audit);
	va_cache_free(va->cache);
	va_directory_release(va->directory);
	if (va->keyd != NULL)
		key_client_free(va->keyd);
	va_store_close(va->store);
	(void)pthread_mutex_destroy(&va->feed);
	(void)pthread_mutex_destroy(&va->lock);
	free(va);
}

static st start_parts(struct scope *s, struct va *va)
{
	if ((va->conf->audit_socket == NULL) == (va->conf->audit_journal == NULL))
		return fail(s, E_CONFIG, "name audit-socket, or audit-journal where no auditd runs, not both");
	TRY(open_state(s, va));
	TRY(daemon_record_start(s, va->audit));
	va->access = daemon_access_new(va->audit);
	TRY(serve_push(s, va));
	TRY(serve_public(s, va));
	TRY(va_metrics_serve(s, va));
	return va_watch_start(s, va);
}

static st start(struct scope *s, const void *conf, void **out_state)
{
	struct va *va = heap_alloc(sizeof *va);
	va->conf = conf;
	va->contact = moment_monotonic();
	if (pthread_mutex_init(&va->feed, NULL) != 0 || pthread_mutex_init(&va->lock, NULL) != 0)
		log_die("no locks for the va");
	st started = start_parts(s, va);
	if (started.code != E_OK) {
		va_free(va);
		return started;
	}
	*out_state = va;
	return OK;
}

/* What listeners, threads and sockets were made from cannot change under way. */
static bool same_ground(const struct va_conf *a, const struct va_conf *b)
{
	const char *const pairs[][2] = { { a->push_listen, b->push_listen },
					 { a->tls_certificate, b->tls_certificate },
					 { a->tls_key, b->tls_key },
					 { a->tls_ca, b->tls_ca },
					 { a->state_directory, b->state_directory },
					 { a->keyd_socket, b->keyd_socket },
					 { a->audit_socket, b->audit_socket },
					 { a->audit_journal, b->audit_journal } };
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
		if (!span_equal(span_str(pairs[i][0]), span_str(pairs[i][1])))
			return false;
	bool same = a->listen.count == b->listen.count && a->loops == b->loops && a->workers == b->workers &&
		    a->signers == b->signers && a->queue == b->queue && a->max_connections == b->max_connections &&
		    a->ocsp_cache == b->ocsp_cache;
	for (size_t i = 0; same && i < a->listen.count; i++)
		same = strcmp(a->listen.item[i], b->listen.item[i]) == 0;
	return same;
}

static st reload(struct scope *s, void *state, const void *conf)
{
	struct va *va = state;
	if (!same_ground(va->conf, conf)) {
		daemon_record_reload(va->audit, false);
		return fail(
			s, E_STATE,
			"listeners, sockets, TLS files, state-directory, loops, workers, signers and sizes change only by a restart");
	}
	__atomic_store_n(&va->conf, (const struct va_conf *)conf, __ATOMIC_RELEASE);
	http_server_reload(va->push_server);
	daemon_record_reload(va->audit, true);
	return OK;
}

static void stop(void *state)
{
	struct va *va = state;
	close_doors(va);
	daemon_record_stop(va->audit, "asked to");
	va_free(va);
}

static const char *keeps(struct scope *s, const void *conf)
{
	(void)s;
	return ((const struct va_conf *)conf)->state_directory;
}

int va_main(int argc, char **argv)
{
	static const struct daemon va = {
		.keeps = keeps,
		.name = "va",
		.summary = "validation authority: OCSP, CRLs, CA certificates",
		.schema = &va_schema,
		.start = start,
		.reload = reload,
		.stop = stop,
		.may_connect_internet = true,
	};
	return daemon_main(&va, argc, argv);
}
