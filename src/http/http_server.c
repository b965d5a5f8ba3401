#include "http_internal.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG               1024
#define QUEUE_FOR_EACH_WORKER 64
/* Of the process: listeners, loops, stores, sockets to other daemons, files on their way out. */
#define OTHER_DESCRIPTORS 256

/* ---- listening sockets ---- */

struct address {
	struct sockaddr_storage place;
	socklen_t len;
};

static st parse_address(struct scope *s, const char *text, struct address *out)
{
	const char *colon = strrchr(text, ':');
	uint64_t port = 0;
	if (colon == NULL || decimal_parse(s, span_str(colon + 1), 65535, &port).code != E_OK) {
		scope_clear_error(s);
		return fail(s, E_CONFIG, "'%s' is no address: write 127.0.0.1:8080, [::1]:8080 or unix:/path", text);
	}
	*out = (struct address){ 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&out->place;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->place;
	char *host = scope_cstr(s, span_of(text, (size_t)(colon - text)));
	size_t len = strlen(host);
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = 0;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		out->len = sizeof *v6;
		if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1)
			return OK;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	out->len = sizeof *v4;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1)
		return OK;
	return fail(s, E_CONFIG, "'%s' is no address: write 127.0.0.1:8080, [::1]:8080 or unix:/path", text);
}

static st open_socket(struct scope *s, const char *text, const struct address *at, bool shared, int *out_fd)
{
	int on = 1;
	int family = at->place.ss_family;
	AUTO_FD fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
	    (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0))
		return fail_errno(s, E_IO, "a socket for %s", text);
	if (bind(fd, (const struct sockaddr *)&at->place, at->len) != 0 || listen(fd, BACKLOG) != 0)
		return fail_errno(s, E_IO, "listening on %s", text);
	*out_fd = take_fd(&fd);
	return OK;
}

static st real_address(struct scope *s, struct http_listener *l, int fd, struct address *at)
{
	char host[INET6_ADDRSTRLEN];
	if (getsockname(fd, (struct sockaddr *)&at->place, &at->len) != 0)
		return fail_errno(s, E_IO, "the address of a socket");
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&at->place;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&at->place;
	bool is_v6 = at->place.ss_family == AF_INET6;
	if (inet_ntop(at->place.ss_family, is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, host,
		      sizeof host) == NULL)
		return fail_errno(s, E_IO, "the address of a socket");
	l->address =
		heap_copy_str(scope_printf(s, is_v6 ? "[%s]:%d" : "%s:%d", host, ntohs(is_v6 ? v6->sin6_port : v4->sin_port)));
	return OK;
}

/* A port that is shared among our loops would also be shared with a second daemon started by mistake: the first socket asks for
 * the port alone. */
static st listen_tcp(struct scope *s, struct http_listener *l, const char *text)
{
	struct address at;
	AUTO_FD alone = -1;
	TRY(parse_address(s, text, &at));
	TRY(open_socket(s, text, &at, false, &alone));
	TRY(real_address(s, l, alone, &at));
	unsigned loops = l->server->settings.loops;
	if (loops == 1) {
		l->fds[l->fd_count++] = take_fd(&alone);
		return OK;
	}
	(void)close(take_fd(&alone));
	for (; l->fd_count < loops; l->fd_count++)
		TRY(open_socket(s, text, &at, true, &l->fds[l->fd_count]));
	return OK;
}

static bool answers(const struct address *at)
{
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && connect(fd, (const struct sockaddr *)&at->place, at->len) == 0;
}

/* Who may connect is decided by the handler from the peer's uid, so the socket itself is open to all who reach its directory. */
static st listen_unix(struct scope *s, struct http_listener *l, const char *path)
{
	struct address at = { .len = sizeof(struct sockaddr_un) };
	struct sockaddr_un *place = (struct sockaddr_un *)&at.place;
	if (strlen(path) >= sizeof place->sun_path)
		return fail(s, E_CONFIG, "the path of socket %s is longer than %zu bytes", path, sizeof place->sun_path - 1);
	place->sun_family = AF_UNIX;
	memcpy(place->sun_path, path, strlen(path) + 1);
	if (answers(&at))
		return fail(s, E_CONFLICT, "another process serves the socket %s", path);
	if (unlink(path) != 0 && errno != ENOENT)
		return fail_errno(s, E_IO, "removing the former socket %s", path);
	TRY(open_socket(s, path, &at, false, &l->fds[0]));
	l->fd_count = 1;
	l->path = heap_copy_str(path);
	l->address = heap_copy_str(scope_printf(s, "unix:%s", path));
	if (chmod(path, 0666) != 0)
		return fail_errno(s, E_IO, "permissions of socket %s", path);
	return OK;
}

st http_listener_new(struct scope *s, struct http_server *server, const char *address, struct http_listener **out)
{
	struct http_listener *l = heap_alloc(sizeof *l);
	l->server = server;
	l->local = strncmp(address, "unix:", 5) == 0;
	l->fds = heap_alloc(server->settings.loops * sizeof *l->fds);
	st listening = l->local ? listen_unix(s, l, address + 5) : listen_tcp(s, l, address);
	if (listening.code != E_OK) {
		http_listener_free(l);
		return listening;
	}
	*out = l;
	return OK;
}

void http_listener_free(struct http_listener *l)
{
	for (size_t i = 0; i < l->fd_count; i++)
		fd_auto(&l->fds[i]);
	if (l->path != NULL)
		(void)unlink(l->path);
	http_tls_free(l->tls);
	free(l->path);
	free(l->address);
	free(l->fds);
	free(l);
}

/* ---- the server ---- */

static void log_libevent(int severity, const char *text)
{
	log_put(severity >= EVENT_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG, "libevent: %s", text);
}

static st check_routes(struct scope *s, const struct http_settings *settings)
{
	for (size_t i = 0; i < settings->route_count; i++) {
		const struct http_route *route = &settings->routes[i];
		bool handled = route->handle != NULL || (route->handle_all != NULL && !route->on_loop);
		if (route->path[0] != '/' || !handled || route->method == HTTP_HEAD)
			return fail(s, E_BUG, "route %zu (%s) is not complete", i, route->path);
		if (route->handle_all != NULL && settings->together == 0)
			return fail(s, E_BUG, "route %s takes requests together, but there are no workers for that",
				    route->path);
		if (route->spool && settings->spool_directory == NULL)
			return fail(s, E_BUG, "route %s spools its body, but there is no spool directory", route->path);
	}
	return OK;
}

st http_server_new(struct scope *s, const struct http_settings *settings, struct http_server **out)
{
	TRY(check_routes(s, settings));
	if (settings->max_connections == 0 || settings->max_header < 256 || settings->idle_seconds <= 0)
		return fail(s, E_BUG, "an HTTP server needs limits for connections, header and idle time");
	event_set_log_callback(log_libevent);
	struct http_server *server = heap_alloc(sizeof *server);
	server->settings = *settings;
	server->settings.loops = settings->loops == 0 ? 1 : settings->loops;
	server->settings.workers = settings->workers == 0 ? 1 : settings->workers;
	*out = server;
	return OK;
}

st http_listen(struct scope *s, struct http_server *server, const char *address, const struct http_tls_settings *tls)
{
	if (server->listener_count == HTTP_LISTENERS_MAX)
		return fail(s, E_CONFIG, "at most %d addresses to listen on", HTTP_LISTENERS_MAX);
	struct http_listener *listener;
	TRY(http_listener_new(s, server, address, &listener));
	st secured = tls != NULL ? http_tls_new(s, tls, &listener->tls) : OK;
	if (secured.code != E_OK) {
		http_listener_free(listener);
		return fail_context(s, secured, "%s", address);
	}
	server->listeners[server->listener_count++] = listener;
	return OK;
}

const char *http_server_address(const struct http_server *server, size_t listener)
{
	return listener < server->listener_count ? server->listeners[listener]->address : NULL;
}

static st start_loops(struct scope *s, struct http_server *server)
{
	server->loops = heap_alloc(server->settings.loops * sizeof *server->loops);
	for (; server->loops_made < server->settings.loops; server->loops_made++)
		TRY(http_loop_init(s, &server->loops[server->loops_made], server, server->loops_made));
	for (unsigned i = 0; i < server->loops_made; i++) {
		struct http_loop *loop = &server->loops[i];
		if (pthread_create(&loop->thread, NULL, http_loop_run, loop) != 0)
			return fail(s, E_IO, "a loop thread could not be started");
		loop->started = true;
	}
	return OK;
}

static st start_pool(struct scope *s, struct http_pool *pool, unsigned workers, unsigned queue, unsigned at_once)
{
	if (workers == 0)
		return OK;
	return http_pool_start(s, pool, workers, queue != 0 ? queue : workers * at_once * QUEUE_FOR_EACH_WORKER, at_once);
}

/* A connection is a descriptor, and the usual soft limit (1,024) is below what is promised. What the hard limit does not allow
 * is not promised: a connection that is accepted and refused harms nobody, one that cannot be accepted stops all. */
static void fit_descriptors(struct http_settings *settings)
{
	struct rlimit files;
	const rlim_t wanted = (rlim_t)settings->max_connections + OTHER_DESCRIPTORS;
	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= wanted)
		return;
	const rlim_t before = files.rlim_cur;
	files.rlim_cur = wanted < files.rlim_max ? wanted : files.rlim_max;
	const rlim_t now = setrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : before;
	if (now >= wanted)
		return;
	settings->max_connections = now > 2 * OTHER_DESCRIPTORS ? (unsigned)(now - OTHER_DESCRIPTORS) : (unsigned)now / 2;
	log_put(LOG_LEVEL_WARNING, "this process may open %llu files (ulimit -n), so it takes %u connections at most",
		(unsigned long long)now, settings->max_connections);
}

st http_server_start(struct scope *s, struct http_server *server)
{
	fit_descriptors(&server->settings);
	const struct http_settings *settings = &server->settings;
	TRY(start_pool(s, &server->pool, settings->workers, settings->queue, 1));
	TRY(start_pool(s, &server->together, settings->together, settings->queue, HTTP_TOGETHER_MAX));
	TRY(start_loops(s, server));
	for (size_t i = 0; i < server->listener_count; i++)
		log_put(LOG_LEVEL_NOTICE, "listening on %s%s", server->listeners[i]->address,
			server->listeners[i]->tls != NULL ? " (TLS)" : "");
	return OK;
}

void http_server_reload(struct http_server *server)
{
	for (size_t i = 0; i < server->listener_count; i++)
		if (server->listeners[i]->tls != NULL)
			http_tls_refresh(server->listeners[i]->tls, true);
}

void http_server_stop(struct http_server *server, int grace_ms)
{
	if (server == NULL)
		return;
	atomic_store(&server->stop_deadline, moment_monotonic() + (int64_t)grace_ms * 1000);
	for (unsigned i = 0; i < server->loops_made; i++)
		http_loop_wake(&server->loops[i]);
	for (unsigned i = 0; i < server->loops_made; i++)
		if (server->loops[i].started)
			(void)pthread_join(server->loops[i].thread, NULL);
	http_pool_stop(&server->pool);
	http_pool_stop(&server->together);
	for (unsigned i = 0; i < server->loops_made; i++)
		http_loop_free(&server->loops[i]);
	for (size_t i = 0; i < server->listener_count; i++)
		http_listener_free(server->listeners[i]);
	free(server->loops);
	free(server);
}
