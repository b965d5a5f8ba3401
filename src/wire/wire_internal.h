/*
 * wire_internal.h - the parts of the server: who accepts (wire_server.c), a thread of a connection (wire_connection.c), and the one
 * thread that reads and answers for all connections whose requests are worked on together (wire_gather.c).
 */
#pragma once
#include "wire_frame.h"
#include <pthread.h>
#include <stdatomic.h>

struct wire_connection {
	struct wire_server *server;
	struct wire_stream stream;
	struct wire_peer peer;
	struct wire_connection *next, **link; /* of the server, under its lock */
	struct buf unsent;                    /* of a reply that the peer did not take at once; its thread sends it */
	/* While gathered: */
	bool watched, gathered; /* the latter: a frame of it is being worked on */
	int64_t begun;          /* when a part of a frame was there (monotonic), 0: between frames */
	struct wire_connection *next_given;
};

struct wire_server {
	struct wire_service service;
	struct wire_route *routes;  /* a copy: the caller's table may live on its stack */
	struct wire_gather *gather; /* NULL: no route has handle_all */
	char *path;
	dev_t device;
	ino_t inode;
	int listener;
	int wake;
	pthread_t acceptor;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct wire_connection *connections;
	unsigned count;
	atomic_bool stopping;
};

/* ---- wire_connection.c ---- */
/* Serves it in a thread of its own until it ends or goes to the gatherer; false when there is no thread for it. */
bool wire_connection_start(struct wire_connection *c);
/* Closes and frees it. `status` is why: it is logged, unless the peer just went away between two frames. */
void wire_connection_end(struct scope *s, struct wire_connection *c, st status);
/* What the frame asks for, E_INPUT or E_LIMIT when this server does not. */
st wire_connection_route(struct scope *s, const struct wire_connection *c, const struct wire_frame *frame,
			 const struct wire_route **out);
bool wire_connection_permits(const struct wire_connection *c, const struct wire_route *route);
void wire_connection_log(const struct scope *s, const struct wire_connection *c, const char *doing);
st wire_connection_send_failure(struct scope *s, struct wire_connection *c, enum code code, const char *message);
/* Takes it off the server's list. */
void wire_connection_forget(struct wire_connection *c);

/* ---- wire_gather.c ---- */
struct wire_gather *wire_gather_start(struct wire_server *server);
/* When no connection is left. */
void wire_gather_stop(struct wire_gather *g);
/* From now on it is the gatherer's; a whole frame of it was read. */
void wire_gather_take(struct wire_gather *g, struct wire_connection *c);
