#include "http_internal.h"
#include "log.h"
#include "moment.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_RUNNING_MS  1000
#define TICK_STOPPING_MS 20
#define TLS_CHECK_EVERY  (60 * HTTP_SECOND)

static void set_tick(struct http_loop *loop, int milliseconds)
{
	const struct timeval after = { milliseconds / 1000, milliseconds % 1000 * 1000 };
	if (event_add(loop->tick, &after) != 0)
		log_die("a loop has no clock");
}

static void on_wake(evutil_socket_t fd, short what, void *argument)
{
	(void)what;
	struct http_loop *loop = argument;
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);
	(void)got;
	(void)pthread_mutex_lock(&loop->lock);
	struct http_connection *done = loop->done;
	loop->done = NULL;
	(void)pthread_mutex_unlock(&loop->lock);
	for (struct http_connection *next; done != NULL; done = next) {
		next = done->next_job;
		http_connection_resume(done);
	}
	if (atomic_load(&loop->server->stop_deadline) != 0)
		set_tick(loop, 0);
}

void http_loop_wake(struct http_loop *loop)
{
	const uint64_t one = 1;
	ssize_t done = write(loop->wake_fd, &one, sizeof one);
	if (done != sizeof one && errno != EAGAIN)
		log_die("a loop cannot be woken: %s", strerror(errno));
}

/* From a worker. Only the first of a batch has to wake the loop. */
void http_loop_hand_back(struct http_loop *loop, struct http_connection *c)
{
	(void)pthread_mutex_lock(&loop->lock);
	bool first = loop->done == NULL;
	c->next_job = loop->done;
	loop->done = c;
	(void)pthread_mutex_unlock(&loop->lock);
	if (first)
		http_loop_wake(loop);
}

void http_loop_watch(struct http_loop *loop)
{
	const struct timeval after = { .tv_usec = HTTP_PATIENCE_MS * 1000 };
	if (event_add(loop->patience, &after) != 0)
		log_die("a loop has no clock");
}

static void on_patience(evutil_socket_t fd, short what, void *argument)
{
	(void)fd;
	(void)what;
	struct http_loop *loop = argument;
	if (http_pool_look(&loop->server->together))
		http_loop_watch(loop);
}

static void stop_accepting(struct http_loop *loop)
{
	for (size_t i = 0; i < HTTP_LISTENERS_MAX; i++) {
		if (loop->accepting[i] != NULL)
			evconnlistener_free(loop->accepting[i]);
		loop->accepting[i] = NULL;
	}
}

static void check_certificates(struct http_loop *loop, int64_t now)
{
	struct http_server *server = loop->server;
	if (loop != &server->loops[0] || now < loop->next_tls_check)
		return;
	loop->next_tls_check = now + TLS_CHECK_EVERY;
	for (size_t i = 0; i < server->listener_count; i++)
		if (server->listeners[i]->tls != NULL)
			http_tls_refresh(server->listeners[i]->tls, false);
}

static void on_tick(evutil_socket_t fd, short what, void *argument)
{
	(void)fd;
	(void)what;
	struct http_loop *loop = argument;
	int64_t now = moment_monotonic();
	int64_t stop = atomic_load(&loop->server->stop_deadline);
	if (stop != 0)
		stop_accepting(loop);
	for (struct http_connection *c = loop->connections, *next; c != NULL; c = next) {
		next = c->next;
		http_connection_tick(c, now, stop != 0);
	}
	if (stop != 0 && (loop->connections == NULL || now >= stop)) {
		(void)event_base_loopbreak(loop->base);
		return;
	}
	check_certificates(loop, now);
	set_tick(loop, stop != 0 ? TICK_STOPPING_MS : TICK_RUNNING_MS);
}

static void on_accept(struct evconnlistener *accepting, evutil_socket_t fd, struct sockaddr *peer, int len, void *argument)
{
	(void)len;
	struct http_loop *loop = argument;
	for (size_t i = 0; i < loop->server->listener_count; i++)
		if (loop->accepting[i] == accepting)
			http_connection_accept(loop, loop->server->listeners[i], fd, peer);
}

/* Out of descriptors or memory: pause until the next tick instead of spinning. */
static void on_accept_error(struct evconnlistener *accepting, void *argument)
{
	(void)accepting;
	(void)argument;
	log_put(LOG_LEVEL_ERROR, "a connection could not be accepted: %s", strerror(EVUTIL_SOCKET_ERROR()));
	(void)usleep(10000);
}

static st listen_on(struct scope *s, struct http_loop *loop, size_t index)
{
	struct http_server *server = loop->server;
	for (size_t i = 0; i < server->listener_count; i++) {
		struct http_listener *listener = server->listeners[i];
		if (index >= listener->fd_count)
			continue;
		loop->accepting[i] = evconnlistener_new(
			loop->base, on_accept, loop, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1, listener->fds[index]);
		if (loop->accepting[i] == NULL)
			return fail_errno(s, E_IO, "listening on %s", listener->address);
		listener->fds[index] = -1; /* closed with the evconnlistener from now on */
		evconnlistener_set_error_cb(loop->accepting[i], on_accept_error);
	}
	return OK;
}

static st new_base(struct scope *s, struct event_base **out)
{
	struct event_config *config = event_config_new();
	bool made = config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0;
	*out = made ? event_base_new_with_config(config) : NULL;
	if (config != NULL)
		event_config_free(config);
	return *out != NULL ? OK : fail(s, E_IO, "libevent gives no event base");
}

st http_loop_init(struct scope *s, struct http_loop *loop, struct http_server *server, size_t index)
{
	*loop = (struct http_loop){ .server = server, .wake_fd = -1 };
	scope_init(&loop->scope, NULL);
	if (pthread_mutex_init(&loop->lock, NULL) != 0)
		return fail(s, E_IO, "no lock for a loop");
	TRY(new_base(s, &loop->base));
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return fail_errno(s, E_IO, "eventfd");
	loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
	loop->tick = event_new(loop->base, -1, 0, on_tick, loop);
	loop->patience = event_new(loop->base, -1, 0, on_patience, loop);
	if (loop->wake == NULL || loop->tick == NULL || loop->patience == NULL || event_add(loop->wake, NULL) != 0)
		return fail(s, E_IO, "libevent gives no event");
	set_tick(loop, TICK_STOPPING_MS);
	return listen_on(s, loop, index);
}

void *http_loop_run(void *argument)
{
	struct http_loop *loop = argument;
	if (event_base_dispatch(loop->base) < 0)
		log_die("a loop of the HTTP server failed");
	return NULL;
}

/* The thread has ended and no worker runs any more. */
void http_loop_free(struct http_loop *loop)
{
	for (struct http_connection *c = loop->connections, *next; c != NULL; c = next) {
		next = c->next;
		c->with_worker = false;
		http_connection_drop(c);
	}
	stop_accepting(loop);
	if (loop->wake != NULL)
		event_free(loop->wake);
	if (loop->tick != NULL)
		event_free(loop->tick);
	if (loop->patience != NULL)
		event_free(loop->patience);
	if (loop->base != NULL)
		event_base_free(loop->base);
	fd_auto(&loop->wake_fd);
	(void)pthread_mutex_destroy(&loop->lock);
	scope_done(&loop->scope);
}
