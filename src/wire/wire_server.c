#include "wire_internal.h"
#include "log.h"
#include "moment.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A peer may stay silent between frames for ever (pools do), but a frame that has begun ends within this time, and a reply is
 * taken within it: a stalled peer costs one thread for so long, and nobody else anything. */
#define FRAME_TIMEOUT_MS 10000
#define BACKLOG          128
#define ACCEPT_PAUSE_US  100000

/* ---- accepting ---- */

static struct wire_connection *remember(struct wire_server *server, int fd, const struct ucred *who)
{
	struct wire_connection *c = heap_alloc(sizeof *c);
	c->server = server;
	c->peer = (struct wire_peer){ .uid = who->uid, .pid = who->pid, .service = server->service.state };
	wire_stream_start(&c->stream, fd, server->service.frame_timeout_ms);
	(void)pthread_mutex_lock(&server->lock);
	c->next = server->connections;
	c->link = &server->connections;
	if (c->next != NULL)
		c->next->link = &c->next;
	server->connections = c;
	server->count++;
	(void)pthread_mutex_unlock(&server->lock);
	return c;
}

static void refuse(int fd, const struct ucred *who, unsigned limit)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct wire_connection c = { .peer = { .uid = who->uid, .pid = who->pid } };
	wire_stream_start(&c.stream, fd, 1); /* the accepting thread does not wait for a peer that it refuses */
	st status = fail(&s, E_BUSY, "all %u connections are taken; try again later", limit);
	(void)wire_connection_send_failure(&s, &c, status.code, s.message).code;
	wire_connection_log(&s, &c, "connection");
	wire_stream_end(&c.stream);
}

static void accept_one(struct wire_server *server)
{
	struct ucred who;
	socklen_t len = sizeof who;
	AUTO_FD fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED) {
			log_put(LOG_LEVEL_ERROR, "accepting on %s: %s", server->path, strerror(errno));
			(void)usleep(ACCEPT_PAUSE_US);
		}
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0) {
		log_put(LOG_LEVEL_ERROR, "the kernel does not say who connected to %s: %s", server->path, strerror(errno));
		return;
	}
	(void)pthread_mutex_lock(&server->lock);
	bool full = server->count >= server->service.max_connections;
	(void)pthread_mutex_unlock(&server->lock);
	if (full) {
		refuse(take_fd(&fd), &who, server->service.max_connections);
		return;
	}
	struct wire_connection *c = remember(server, take_fd(&fd), &who);
	if (wire_connection_start(c))
		return;
	log_put(LOG_LEVEL_ERROR, "no thread for a connection to %s", server->path);
	wire_connection_forget(c);
	wire_stream_end(&c->stream);
	free(c);
}

static void *acceptor_main(void *argument)
{
	struct wire_server *server = argument;
	struct pollfd ready[2] = { { .fd = server->listener, .events = POLLIN }, { .fd = server->wake, .events = POLLIN } };
	for (;;) {
		if (poll(ready, 2, -1) < 0 && errno != EINTR)
			log_die("waiting on %s: %s", server->path, strerror(errno));
		if (atomic_load(&server->stopping))
			return NULL;
		if ((ready[0].revents & POLLIN) != 0)
			accept_one(server);
	}
}

/* ---- start and stop ---- */

/* Bound beside and renamed into place with its final mode: there is no moment at which somebody else may connect. */
static st bind_listener(struct scope *s, const char *path, gid_t group, int *out_fd, struct stat *out_about)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *beside = scope_printf(s, "%s.%d", path, (int)getpid());
	if (strlen(beside) >= sizeof address.sun_path)
		return fail(s, E_CONFIG, "socket path %s is too long: the kernel allows %zu bytes with \".PID\" behind it",
			    path, sizeof address.sun_path - 1);
	memcpy(address.sun_path, beside, strlen(beside));
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail_errno(s, E_IO, "making a local socket");
	(void)unlink(beside);
	if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)
		return fail_errno(s, E_IO, "binding %s", beside);
	bool own = group == (gid_t)-1;
	if ((!own && chown(beside, (uid_t)-1, group) != 0) || chmod(beside, own ? 0600 : 0660) != 0 ||
	    listen(fd, BACKLOG) != 0 || stat(beside, out_about) != 0 || rename(beside, path) != 0) {
		st status = fail_errno(s, E_IO, "opening %s", path);
		(void)unlink(beside);
		return status;
	}
	*out_fd = take_fd(&fd);
	return OK;
}

static st refuse_second_server(struct scope *s, const char *path)
{
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	struct wire_client *other = NULL;
	if (wire_connect(&aside, path, 1000, &other).code != E_OK)
		return OK;
	wire_close(other);
	return fail(s, E_STATE, "another process serves %s already; stop it first", path);
}

st wire_serve(struct scope *s, const char *path, gid_t group, const struct wire_service *service, struct wire_server **out)
{
	TRY(refuse_second_server(s, path));
	int listener = -1;
	struct stat about = { 0 };
	TRY(bind_listener(s, path, group, &listener, &about));
	struct wire_server *server = heap_alloc(sizeof *server);
	server->service = *service;
	if (server->service.frame_timeout_ms == 0)
		server->service.frame_timeout_ms = FRAME_TIMEOUT_MS;
	server->routes = heap_alloc(service->route_count * sizeof *server->routes);
	memcpy(server->routes, service->routes, service->route_count * sizeof *server->routes);
	server->path = heap_copy_str(path);
	server->device = about.st_dev;
	server->inode = about.st_ino;
	server->listener = listener;
	server->wake = eventfd(0, EFD_CLOEXEC);
	(void)pthread_mutex_init(&server->lock, NULL);
	(void)pthread_cond_init(&server->changed, NULL);
	for (size_t i = 0; i < service->route_count && server->gather == NULL; i++)
		if (service->routes[i].handle_all != NULL)
			server->gather = wire_gather_start(server);
	if (server->wake < 0 || pthread_create(&server->acceptor, NULL, acceptor_main, server) != 0)
		log_die("no thread to serve %s: %s", path, strerror(errno));
	*out = server;
	return OK;
}

static void shut_all(struct wire_server *server, int how)
{
	for (struct wire_connection *c = server->connections; c != NULL; c = c->next)
		(void)shutdown(c->stream.fd, how);
}

static bool wait_for_all(struct wire_server *server, int64_t ms)
{
	int64_t until = moment_monotonic() + ms * 1000;
	while (server->count > 0)
		if (!moment_wait(&server->changed, &server->lock, until))
			break;
	return server->count == 0;
}

static void remove_own_name(const struct wire_server *server)
{
	struct stat about;
	if (stat(server->path, &about) == 0 && about.st_dev == server->device && about.st_ino == server->inode)
		(void)unlink(server->path);
}

void wire_server_stop(struct wire_server *server, int grace_ms)
{
	if (server == NULL)
		return;
	uint64_t one = 1;
	atomic_store(&server->stopping, true);
	if (write(server->wake, &one, sizeof one) != (ssize_t)sizeof one)
		log_die("cannot wake the thread that serves %s", server->path);
	(void)pthread_join(server->acceptor, NULL);
	remove_own_name(server);
	fd_auto(&server->listener);
	fd_auto(&server->wake);
	(void)pthread_mutex_lock(&server->lock);
	shut_all(server, SHUT_RD);
	bool all = wait_for_all(server, grace_ms);
	if (!all) {
		shut_all(server, SHUT_RDWR);
		all = wait_for_all(server, 1000);
	}
	(void)pthread_mutex_unlock(&server->lock);
	if (!all) {
		/* A handler still runs; what it uses stays until the process ends. */
		log_put(LOG_LEVEL_WARNING, "%s: requests still run after %d ms of grace", server->path, grace_ms);
		return;
	}
	wire_gather_stop(server->gather);
	(void)pthread_cond_destroy(&server->changed);
	(void)pthread_mutex_destroy(&server->lock);
	free(server->path);
	free(server->routes);
	free(server);
}
