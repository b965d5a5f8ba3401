/*
 * http_internal.h - server, loops and connections. Private to http.
 *
 * A connection belongs to one loop thread. While a worker runs its handler (`with_worker`) the loop leaves the request and the
 * answer of that connection alone; it gets them back through the loop's list of done connections.
 */
#pragma once
#include "http_head.h"
#include "http_route.h"
#include "metrics.h"
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

struct http_listener;
struct http_loop;

#define HTTP_LISTENERS_MAX 8
#define HTTP_CLASSES       6 /* of a status, by its first digit */
/* Octets a second below which a peer is too slow to be served. */
#define HTTP_SLOWEST 65536
#define HTTP_SECOND  INT64_C(1000000)

/* ---- TLS: http_tls.c ---- */
struct http_tls;
st http_tls_new(struct scope *s, const struct http_tls_settings *settings, struct http_tls **out);
void http_tls_free(struct http_tls *tls);
/* A new server side, with the certificate of the moment; NULL when libssl gives none. */
SSL *http_tls_accept(struct http_tls *tls);
/* Load the files again when they changed (or `always`); what is wrong is logged and the former ones stay. */
void http_tls_refresh(struct http_tls *tls, bool always);

/* ---- connections: http_connection.c ---- */
enum http_phase { HTTP_HANDSHAKE, HTTP_IN_HEAD, HTTP_IN_BODY, HTTP_HANDLING, HTTP_WRITING, HTTP_LINGERING, HTTP_CLOSED };

/* What goes out: head, and a body that is copied into `bytes`, or lent, or a file. */
struct http_answer {
	struct buf bytes;
	span lent;
	void (*release)(void *owner);
	void *owner;
	int file;
	uint64_t file_len;
};
struct http_connection {
	struct http_connection *next, *previous; /* of the loop */
	struct http_connection *next_job;        /* in the pool's queue or the loop's done list */
	struct http_loop *loop;
	struct bufferevent *bev; /* NULL once closed */
	int fd;
	SSL *ssl;
	bool local;
	uid_t peer_uid;
	char peer_address[INET6_ADDRSTRLEN];
	struct buf peer_certificate;
	enum http_phase phase;
	int64_t deadline;
	bool with_worker;
	bool peer_done;   /* it sends no more */
	bool close_after; /* this answer is the last */
	bool linger;      /* request octets may still come that nobody reads */
	size_t scanned;
	struct buf head_bytes;
	struct http_head head;
	const struct http_route *route;
	int64_t whole_at; /* monotonic: all of the request is here; 0: not yet */
	struct http_chunks chunks;
	struct buf body;
	int body_file;
	uint64_t body_len;
	struct http_answer answer;
};
void http_connection_accept(struct http_loop *loop, const struct http_listener *listener, int fd, const struct sockaddr *peer);
/* A worker is done with it. */
void http_connection_resume(struct http_connection *c);
/* Time has passed: close it when its deadline is over, or when it is idle and the server stops. */
void http_connection_tick(struct http_connection *c, int64_t now, bool stopping);
/* Close and free, whatever it does; not while a worker has it. */
void http_connection_drop(struct http_connection *c);

/* ---- requests: http_dispatch.c ---- */
/* Run the handler and put the answer into the connection; true when it wants a worker instead. */
bool http_dispatch(struct http_connection *c, struct scope *s, bool on_worker);
/* For several of one route with handle_all, on a worker; s[i] is the scope of c[i]. */
void http_dispatch_all(struct http_connection *const *c, struct scope *s, size_t count);
/* An answer of the server itself. */
void http_refuse(struct http_connection *c, struct http_refusal why, const char *allow);
/* For what anybody can bring about: true once a minute, so that the log cannot be filled. `last` is when (monotonic), 0 at first. */
bool http_may_be_said(_Atomic int64_t *last);
/* The answer when no worker is free and too many wait: the service's own words for E_BUSY, else 503. */
void http_turn_away(struct http_connection *c);
/* Put a handler's reply into the connection. */
void http_answer_build(struct http_connection *c, struct http_reply *reply);
void http_answer_clear(struct http_answer *answer);
void http_reply_drop(struct http_reply *reply);
/* A problem document as the reply. `tx` may be empty. */
void http_problem(struct scope *s, struct http_reply *reply, int status, enum code code, const char *detail, span tx);

/* ---- workers: http_pool.c ---- */
struct http_worker;
struct http_pool {
	pthread_mutex_t lock;
	struct http_connection *first, *last; /* waiting */
	unsigned waiting, limit;
	unsigned at_once;   /* jobs of one route that a worker takes together */
	unsigned under_way; /* jobs that workers have taken */
	unsigned called;    /* workers that were woken and have not looked yet */
	bool stopping;
	bool watched;                       /* a loop looks after what waits, every HTTP_PATIENCE_MS */
	bool hurried;                       /* nothing was taken for so long: the next to look takes less than a share, too */
	uint64_t taken, taken_before;       /* how often something was taken, now and when the loop looked last */
	struct http_worker *workers, *idle; /* idle: the one that ended last in front, its memory is still in the cache */
	unsigned count, workers_wanted;     /* started, of so many */
};
/* What waits for others to come with it waits twice as long at most. */
#define HTTP_PATIENCE_MS 10
st http_pool_start(struct scope *s, struct http_pool *pool, unsigned workers, unsigned limit, unsigned at_once);
/* False when too many wait. */
bool http_pool_put(struct http_pool *pool, struct http_connection *c);
/* From the loop that watches, every HTTP_PATIENCE_MS: who waits since it looked last is taken now. True as long as somebody waits. */
bool http_pool_look(struct http_pool *pool);
/* What still waits is left undone; the workers end. Nothing to do for a pool that was not started. */
void http_pool_stop(struct http_pool *pool);

/* ---- loops and the server: http_loop.c, http_server.c ---- */
struct http_listener {
	struct http_server *server;
	char *address;
	bool local;
	char *path; /* of a Unix socket, removed at the end */
	struct http_tls *tls;
	int *fds; /* one for each loop; a Unix socket has one */
	size_t fd_count;
};
struct http_loop {
	struct http_server *server;
	struct event_base *base;
	struct evconnlistener *accepting[HTTP_LISTENERS_MAX];
	struct event *tick;
	struct event *wake;
	struct event *patience; /* for http_pool_look */
	int wake_fd;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of `done` */
	struct http_connection *done;
	struct http_connection *connections;     /* the first is the one to which something happened last */
	struct http_connection *last_connection; /* and this one has waited longest */
	struct scope scope;
	int64_t next_tls_check;
	int64_t stop_deadline; /* 0: runs */
};
st http_loop_init(struct scope *s, struct http_loop *loop, struct http_server *server, size_t index);
void *http_loop_run(void *loop);
void http_loop_wake(struct http_loop *loop);
/* From the loop's own thread: look after the workers that take several together, until nobody waits. */
void http_loop_watch(struct http_loop *loop);
void http_loop_hand_back(struct http_loop *loop, struct http_connection *c);
void http_loop_free(struct http_loop *loop);

struct http_server {
	struct http_settings settings;
	struct http_listener *listeners[HTTP_LISTENERS_MAX];
	size_t listener_count;
	struct http_loop *loops;
	unsigned loops_made;
	struct http_pool pool, together;
	atomic_uint connections;
	_Atomic uint64_t answered[HTTP_CLASSES], turned_away, refused_connections;
	struct metric_histogram took; /* from the whole request to its answer, waiting for a worker included */
	_Atomic int64_t stop_deadline;
	_Atomic int64_t turned_away_said; /* when the log was told last (monotonic) */
	_Atomic int64_t limit_said;       /* the same for the limit of connections */
};
/* The workers that requests for this route wait for. */
static inline struct http_pool *http_pool_of(struct http_server *server, const struct http_route *route)
{
	return route->handle_all != NULL ? &server->together : &server->pool;
}
st http_listener_new(struct scope *s, struct http_server *server, const char *address, struct http_listener **out);
void http_listener_free(struct http_listener *listener);
