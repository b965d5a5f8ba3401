/*
 * wire_gather.c - one thread for all connections whose requests are worked on together. A connection comes here with its first such
 * request, by its thread, which ends; and goes back to a thread for anything else: another request, a frame that is not right, a
 * reply that the peer does not take at once. So nobody whom this thread serves can make it wait for him.
 */
#include "log.h"
#include "moment.h"
#include "wire_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Between looks at frames that have begun and do not end. */
#define OVERDUE_MS 1000

struct wire_gather {
	struct wire_server *server;
	int epoll, wake;
	pthread_t thread;
	pthread_mutex_t lock;
	struct wire_connection *given; /* by their threads */
	bool stopping;
	/* The thread's own: what is going to be worked on. */
	const struct wire_route *route;
	size_t count;
	struct wire_connection *connection[WIRE_TOGETHER_MAX];
	size_t frame_len[WIRE_TOGETHER_MAX];
	struct wire_exchange exchange[WIRE_TOGETHER_MAX];
	struct scope scope[WIRE_TOGETHER_MAX];
	struct buf reply[WIRE_TOGETHER_MAX];
	struct scope looking;
	int64_t looked; /* for what is overdue */
};

static void wake(struct wire_gather *g)
{
	uint64_t one = 1;
	if (write(g->wake, &one, sizeof one) != (ssize_t)sizeof one)
		log_die("the thread that gathers requests cannot be woken");
}

void wire_gather_take(struct wire_gather *g, struct wire_connection *c)
{
	(void)pthread_mutex_lock(&g->lock);
	c->next_given = g->given;
	g->given = c;
	(void)pthread_mutex_unlock(&g->lock);
	wake(g);
}

static struct wire_connection *take_given(struct wire_gather *g, bool *out_stopping)
{
	uint64_t wakes;
	if (read(g->wake, &wakes, sizeof wakes) < 0 && errno != EAGAIN)
		log_die("the thread that gathers requests cannot see what woke it: %s", strerror(errno));
	(void)pthread_mutex_lock(&g->lock);
	struct wire_connection *given = g->given;
	g->given = NULL;
	*out_stopping = g->stopping;
	(void)pthread_mutex_unlock(&g->lock);
	return given;
}

/* ---- coming and going ---- */

static bool watch(const struct wire_gather *g, struct wire_connection *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	if (!c->watched)
		c->watched = epoll_ctl(g->epoll, EPOLL_CTL_ADD, c->stream.fd, &event) == 0;
	return c->watched;
}

static void unwatch(const struct wire_gather *g, struct wire_connection *c)
{
	if (c->watched)
		(void)epoll_ctl(g->epoll, EPOLL_CTL_DEL, c->stream.fd, NULL);
	c->watched = false;
	c->begun = 0;
}

static void end(struct scope *s, const struct wire_gather *g, struct wire_connection *c, st status)
{
	unwatch(g, c);
	wire_connection_end(s, c, status);
}

static void back_to_thread(struct scope *s, const struct wire_gather *g, struct wire_connection *c)
{
	unwatch(g, c);
	if (!wire_connection_start(c))
		wire_connection_end(s, c, fail(s, E_BUSY, "no thread for a connection to %s", g->server->path));
}

/* ---- working ---- */

static st send_outcome(struct scope *s, struct wire_connection *c, const struct wire_route *route, struct wire_exchange *e,
		       struct buf *reply)
{
	if (e->ended.code == E_OK)
		e->ended = wr_end(s, &e->reply);
	uint16_t kind = route->kind;
	if (e->ended.code != E_OK) {
		wire_connection_log(s, c, route->name);
		kind = WIRE_FAILED;
		buf_clear(reply);
		struct wr w = wr_into(reply);
		wire_failure_write(&w, e->ended.code, s->message);
		scope_clear_error(s);
	}
	uint8_t head[WIRE_REQUEST_HEAD];
	size_t len = wire_frame_head(WIRE_REPLY, kind, NULL, reply->len, head);
	return wire_stream_send_now(s, &c->stream, span_of(head, len), buf_span(reply), &c->unsent);
}

/* True when what follows is here already: no event will say so. */
static bool finish(struct wire_gather *g, size_t i)
{
	struct wire_connection *c = g->connection[i];
	struct scope *s = &g->scope[i];
	c->gathered = false;
	wire_stream_consume(&c->stream, g->frame_len[i]);
	st sent = send_outcome(s, c, g->route, &g->exchange[i], &g->reply[i]);
	bool done = sent.code == E_OK && c->unsent.len == 0, more = done && c->stream.in.len > 0;
	if (sent.code != E_OK)
		end(s, g, c, sent);
	else if (!done)
		back_to_thread(s, g, c);
	buf_clear(&g->reply[i]);
	scope_reset(s);
	return more;
}

static void look_at(struct wire_gather *g, struct wire_connection *c);

static void work(struct wire_gather *g)
{
	while (g->count > 0) {
		struct wire_connection *again[WIRE_TOGETHER_MAX];
		size_t agains = 0, count = g->count;
		g->route->handle_all(g->exchange, count);
		g->count = 0;
		for (size_t i = 0; i < count; i++)
			if (finish(g, i))
				again[agains++] = g->connection[i];
		for (size_t i = 0; i < agains; i++)
			look_at(g, again[i]);
	}
}

static void add(struct wire_gather *g, struct wire_connection *c, const struct wire_route *route,
		const struct wire_frame *frame)
{
	if (g->count == WIRE_TOGETHER_MAX)
		work(g);
	size_t i = g->count++;
	c->begun = 0;
	c->gathered = true;
	g->route = route;
	g->connection[i] = c;
	g->frame_len[i] = WIRE_REQUEST_HEAD + frame->body_len;
	memcpy(g->scope[i].id, frame->id, WIRE_ID_LEN);
	g->exchange[i] = (struct wire_exchange){
		.scope = &g->scope[i], .peer = &c->peer, .body = rd_of(frame->body), .reply = wr_into(&g->reply[i])
	};
}

/* ---- reading ---- */

static st read_frame(struct scope *s, struct wire_connection *c, struct wire_frame *out, bool *out_whole)
{
	TRY(wire_stream_fill_now(s, &c->stream, WIRE_REQUEST_HEAD, out_whole));
	if (!*out_whole)
		return OK;
	TRY(wire_frame_read(s, buf_span(&c->stream.in), WIRE_REQUEST, out));
	TRY(wire_stream_fill_now(s, &c->stream, WIRE_REQUEST_HEAD + out->body_len, out_whole));
	return wire_frame_read(s, buf_span(&c->stream.in), WIRE_REQUEST, out);
}

/* Something can be read from it. What is not a whole request for all is left to a thread, which says what is wrong with it, if so. */
static void look_at(struct wire_gather *g, struct wire_connection *c)
{
	struct scope *s = &g->looking;
	struct wire_frame frame;
	const struct wire_route *route = NULL;
	bool whole = false;
	if (c->gathered)
		return;
	st status = read_frame(s, c, &frame, &whole);
	if (status.code == E_OK && !whole) {
		c->begun = c->begun != 0 ? c->begun : moment_monotonic();
		return;
	}
	if (status.code == E_OK)
		status = wire_connection_route(s, c, &frame, &route);
	if (c->stream.ended)
		end(s, g, c, status);
	else if (status.code != E_OK || route->handle_all == NULL || !wire_connection_permits(c, route) ||
		 (g->count > 0 && g->route != route))
		back_to_thread(s, g, c);
	else
		add(g, c, route, &frame);
	if (status.code != E_OK)
		scope_reset(s);
}

static void look_at_given(struct wire_gather *g, struct wire_connection *given)
{
	struct scope *s = &g->looking;
	for (struct wire_connection *c = given, *next; c != NULL; c = next) {
		next = c->next_given;
		if (watch(g, c))
			look_at(g, c);
		else
			end(s, g, c, fail_errno(s, E_IO, "watching a connection to %s", g->server->path));
	}
}

/* A frame that has begun ends within the time that a thread would give it. */
static bool is_overdue(const struct wire_connection *c, int64_t now)
{
	return c->watched && c->begun != 0 && now - c->begun > (int64_t)c->stream.timeout_ms * 1000;
}

static struct wire_connection *find_overdue(struct wire_gather *g, int64_t now)
{
	(void)pthread_mutex_lock(&g->server->lock);
	struct wire_connection *c = g->server->connections;
	while (c != NULL && !is_overdue(c, now))
		c = c->next;
	(void)pthread_mutex_unlock(&g->server->lock);
	return c;
}

static void end_overdue(struct wire_gather *g)
{
	struct scope *s = &g->looking;
	int64_t now = moment_monotonic();
	if (now - g->looked < (int64_t)OVERDUE_MS * 1000)
		return;
	g->looked = now;
	for (struct wire_connection *c = find_overdue(g, now); c != NULL; c = find_overdue(g, now))
		end(s, g, c,
		    fail(s, E_UNAVAILABLE, "the other side of a local socket did not answer within %d ms",
			 c->stream.timeout_ms));
}

static void *gather_main(void *argument)
{
	struct wire_gather *g = argument;
	struct epoll_event event[WIRE_TOGETHER_MAX];
	for (bool stopping = false; !stopping;) {
		int ready = epoll_wait(g->epoll, event, WIRE_TOGETHER_MAX, OVERDUE_MS);
		bool woken = false;
		if (ready < 0 && errno != EINTR)
			log_die("waiting for requests on %s: %s", g->server->path, strerror(errno));
		for (int i = 0; i < ready; i++)
			if (event[i].data.ptr != NULL)
				look_at(g, event[i].data.ptr);
			else
				woken = true;
		/* Behind the events: what is looked at here may end, and no event may speak of it then. */
		if (woken)
			look_at_given(g, take_given(g, &stopping));
		work(g);
		end_overdue(g);
	}
	return NULL;
}

/* ---- start and stop ---- */

struct wire_gather *wire_gather_start(struct wire_server *server)
{
	struct wire_gather *g = heap_alloc(sizeof *g);
	struct epoll_event event = { .events = EPOLLIN };
	g->server = server;
	g->epoll = epoll_create1(EPOLL_CLOEXEC);
	g->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	(void)pthread_mutex_init(&g->lock, NULL);
	scope_init(&g->looking, NULL);
	for (size_t i = 0; i < WIRE_TOGETHER_MAX; i++) {
		scope_init(&g->scope[i], NULL);
		buf_init(&g->reply[i], WIRE_BODY_MAX);
	}
	if (g->epoll < 0 || g->wake < 0 || epoll_ctl(g->epoll, EPOLL_CTL_ADD, g->wake, &event) != 0 ||
	    pthread_create(&g->thread, NULL, gather_main, g) != 0)
		log_die("no thread to gather requests on %s: %s", server->path, strerror(errno));
	return g;
}

void wire_gather_stop(struct wire_gather *g)
{
	if (g == NULL)
		return;
	(void)pthread_mutex_lock(&g->lock);
	g->stopping = true;
	(void)pthread_mutex_unlock(&g->lock);
	wake(g);
	(void)pthread_join(g->thread, NULL);
	scope_done(&g->looking);
	for (size_t i = 0; i < WIRE_TOGETHER_MAX; i++) {
		scope_done(&g->scope[i]);
		buf_free(&g->reply[i]);
	}
	fd_auto(&g->epoll);
	fd_auto(&g->wake);
	(void)pthread_mutex_destroy(&g->lock);
	free(g);
}
