/*
 * wire.h - frames on local sockets: how the processes of one host talk. One request, one reply, blocking, in order.
 *
 * A frame is: u32 length of what follows, u16 kind, u16 version (WIRE_VERSION), in requests 16 octets transaction id, body.
 * A reply has the request's kind, or WIRE_FAILED with u16 code and a message (u32 length, text). The transaction id is the
 * id of the caller's scope; the handler's scope takes it over, so that records and log lines of all processes that worked on
 * one request carry the same `tx`. Who is on the other side is known from the kernel (SO_PEERCRED), never from what it says.
 * A malformed frame closes that connection and is logged; it never ends the process.
 */
#pragma once
#include "buf.h"
#include <sys/types.h>

#define WIRE_VERSION  1
#define WIRE_FAILED   0xffff
#define WIRE_BODY_MAX (1u << 20)

/* ---- client: a connection used by one thread at a time ---- */
struct wire_client;
/* Connect, E_UNAVAILABLE when nobody listens. `timeout_ms` bounds each call. */
st wire_connect(struct scope *s, const char *path, int timeout_ms, struct wire_client **out);
void wire_close(struct wire_client *c); /* NULL is fine */
/* Send one request and wait for its reply (in the scope's memory). A failure reply becomes the failure of this call.
 * After E_UNAVAILABLE or E_IO the connection is dead: close it and connect anew. */
st wire_call(struct scope *s, struct wire_client *c, uint16_t kind, span body, span *out_reply);
/* Send without waiting for a reply: parts of a stream, which the other side does not answer, or what wire_receive() takes the reply to. */
st wire_send(struct scope *s, struct wire_client *c, uint16_t kind, span body);
/* The reply to what was sent last, as wire_call() would give it. */
st wire_receive(struct scope *s, struct wire_client *c, uint16_t kind, span *out_reply);
/* True after a failure of the connection itself, as opposed to a refusal by the peer. */
bool wire_dead(const struct wire_client *c);

/* A pool of connections to one path, for many threads: wire_pool_call takes an idle one or connects, and reconnects once
 * when the peer was restarted and nothing of the request had been answered. Only for requests that may be repeated. */
struct wire_pool;
struct wire_pool *wire_pool_new(const char *path, int timeout_ms);
void wire_pool_free(struct wire_pool *p);
st wire_pool_call(struct scope *s, struct wire_pool *p, uint16_t kind, span body, span *out_reply);
/* Borrow a connection for a conversation of several frames; give it back (dead ones are closed). */
st wire_pool_take(struct scope *s, struct wire_pool *p, struct wire_client **out);
void wire_pool_give(struct wire_pool *p, struct wire_client *c);

/* ---- server: a thread per connection, or one for all whose requests are worked on together ---- */
struct wire_peer {
	uid_t uid;
	pid_t pid;
	void *service; /* the state given to wire_serve */
	void *session; /* the handlers' own, per connection; freed by close_session */
};

/* One of several requests that are worked on together. */
struct wire_exchange {
	struct scope *scope; /* its own; its failures and their message belong here */
	struct wire_peer *peer;
	struct rd body;
	struct wr reply; /* empty at the start and capped at WIRE_BODY_MAX */
	st ended;        /* out: as `handle` would return it */
};

struct wire_route {
	uint16_t kind;
	const char *name;
	size_t max_body;
	bool silent; /* a part of a stream: no reply is sent unless it fails, which closes the connection */
	/* May this peer send this kind? NULL: whoever may connect. */
	bool (*permit)(const struct wire_peer *peer);
	/* Straight-line, blocking. `reply` is empty at the start and capped at WIRE_BODY_MAX. */
	st (*handle)(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply);
	/* Instead of `handle`, when requests of several peers are best worked on together (one wait for the disk): one thread reads
	 * all connections that sent this kind before, and hands over what is there, up to WIRE_TOGETHER_MAX. It may block; meanwhile
	 * requests of other kinds are answered by threads of their connections. */
	void (*handle_all)(struct wire_exchange *exchange, size_t count);
};
#define WIRE_TOGETHER_MAX 128

struct wire_service {
	const struct wire_route *routes;
	size_t route_count;
	void *state;
	unsigned max_connections;                      /* more are refused at once with E_BUSY */
	void (*close_session)(struct wire_peer *peer); /* or NULL */
	/* A frame that has begun ends within this time, and a reply is taken within it; 0: ten seconds. */
	int frame_timeout_ms;
};

struct wire_server;
/* Bind `path` (a stale socket is replaced; mode 0660, or 0600 when `group` is -1) and serve in threads of its own. */
st wire_serve(struct scope *s, const char *path, gid_t group, const struct wire_service *service, struct wire_server **out);
/* Stop accepting, let running requests end (at most `grace_ms`), close. */
void wire_server_stop(struct wire_server *server, int grace_ms);
