/*
 * wire_connection.c - one connection in a thread of its own: frame by frame, from head to reply.
 */
#include "log.h"
#include "wire_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define STACK_BYTES ((size_t)2 << 20)

static const struct wire_route *route_of(const struct wire_server *server, uint16_t kind)
{
	for (size_t i = 0; i < server->service.route_count; i++)
		if (server->routes[i].kind == kind)
			return &server->routes[i];
	return NULL;
}

static st send_reply(struct scope *s, struct wire_connection *c, uint16_t kind, span body)
{
	uint8_t head[WIRE_REQUEST_HEAD];
	size_t len = wire_frame_head(WIRE_REPLY, kind, NULL, body.len, head);
	return wire_stream_send(s, &c->stream, span_of(head, len), body);
}

st wire_connection_send_failure(struct scope *s, struct wire_connection *c, enum code code, const char *message)
{
	AUTO_BUF body;
	buf_init(&body, WIRE_BODY_MAX);
	struct wr w = wr_into(&body);
	wire_failure_write(&w, code, message);
	AUTO_SCOPE aside; /* the failure itself is still to be logged from `s` */
	scope_init(&aside, s->source);
	return send_reply(&aside, c, WIRE_FAILED, buf_span(&body));
}

st wire_connection_route(struct scope *s, const struct wire_connection *c, const struct wire_frame *frame,
			 const struct wire_route **out)
{
	const struct wire_route *route = route_of(c->server, frame->kind);
	if (route == NULL)
		return fail(s, E_INPUT, "there is no request of kind %u here", frame->kind);
	if (frame->body_len > route->max_body)
		return fail(s, E_LIMIT, "%s: %zu bytes are over the limit of %zu", route->name, frame->body_len,
			    route->max_body);
	*out = route;
	return OK;
}

bool wire_connection_permits(const struct wire_connection *c, const struct wire_route *route)
{
	return route->permit == NULL || route->permit(&c->peer);
}

void wire_connection_log(const struct scope *s, const struct wire_connection *c, const char *doing)
{
	char what[128];
	(void)snprintf(what, sizeof what, "%s from uid %u pid %d", doing, (unsigned)c->peer.uid, (int)c->peer.pid);
	log_failure(s, what);
}

static st handle(struct scope *s, struct wire_connection *c, const struct wire_route *route, span body, struct buf *reply)
{
	if (!wire_connection_permits(c, route))
		return fail(s, E_DENIED, "%s: uid %u may not ask for this here", route->name, (unsigned)c->peer.uid);
	struct rd r = rd_of(body);
	struct wr w = wr_into(reply);
	TRY(route->handle(s, &c->peer, &r, &w));
	return wr_end(s, &w);
}

static st answer(struct scope *s, struct wire_connection *c, const struct wire_route *route, const struct wire_frame *frame,
		 struct buf *reply)
{
	memcpy(s->id, frame->id, WIRE_ID_LEN);
	st status = handle(s, c, route, frame->body, reply);
	wire_stream_consume(&c->stream, WIRE_REQUEST_HEAD + frame->body_len);
	if (status.code == E_OK)
		return route->silent ? OK : send_reply(s, c, route->kind, buf_span(reply));
	st told = wire_connection_send_failure(s, c, status.code, s->message);
	if (route->silent || told.code != E_OK)
		return status;
	wire_connection_log(s, c, route->name);
	return OK;
}

/* One frame from head to reply; or *out_gathered: it was read, and the gatherer is to work on it. A failure returned here ends the
 * connection. */
static st serve_frame(struct scope *s, struct wire_connection *c, struct buf *reply, bool *out_gathered)
{
	struct wire_frame frame;
	const struct wire_route *route = NULL;
	TRY(wire_stream_fill(s, &c->stream, WIRE_REQUEST_HEAD));
	st status = wire_frame_read(s, buf_span(&c->stream.in), WIRE_REQUEST, &frame);
	if (status.code == E_OK)
		status = wire_connection_route(s, c, &frame, &route);
	if (status.code != E_OK) {
		(void)wire_connection_send_failure(s, c, status.code, s->message).code;
		return status;
	}
	TRY(wire_stream_fill(s, &c->stream, WIRE_REQUEST_HEAD + frame.body_len));
	TRY(wire_frame_read(s, buf_span(&c->stream.in), WIRE_REQUEST, &frame));
	*out_gathered = route->handle_all != NULL && wire_connection_permits(c, route);
	return *out_gathered ? OK : answer(s, c, route, &frame, reply);
}

void wire_connection_forget(struct wire_connection *c)
{
	struct wire_server *server = c->server;
	(void)pthread_mutex_lock(&server->lock);
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	server->count--;
	(void)pthread_cond_broadcast(&server->changed);
	(void)pthread_mutex_unlock(&server->lock);
}

void wire_connection_end(struct scope *s, struct wire_connection *c, st status)
{
	bool ended_between_frames = c->stream.ended && !c->stream.begun;
	if (status.code != E_OK && !ended_between_frames)
		wire_connection_log(s, c, "connection closed: request");
	if (c->server->service.close_session != NULL)
		c->server->service.close_session(&c->peer);
	/* The descriptor is closed after the server forgot it, so that stopping never shuts down a number reused. */
	struct wire_stream stream = c->stream;
	/* The peer sees the end before wire_server_stop() returns: a pool then knows its idle connections are of the past. */
	(void)shutdown(stream.fd, SHUT_RDWR);
	buf_free(&c->unsent);
	wire_connection_forget(c);
	wire_stream_end(&stream);
	free(c);
}

/* What a peer was too slow for, while others waited. */
static st send_unsent(struct scope *s, struct wire_connection *c)
{
	if (c->unsent.len == 0)
		return OK;
	TRY(wire_stream_send(s, &c->stream, buf_span(&c->unsent), (span){ 0 }));
	buf_free(&c->unsent);
	return OK;
}

static void *connection_main(void *argument)
{
	struct wire_connection *c = argument;
	struct wire_server *server = c->server;
	AUTO_BUF reply;
	buf_init(&reply, WIRE_BODY_MAX);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st status = send_unsent(&s, c);
	while (status.code == E_OK && !atomic_load(&server->stopping)) {
		bool gathered = false;
		status = serve_frame(&s, c, &reply, &gathered);
		if (gathered) {
			wire_gather_take(server->gather, c);
			return NULL;
		}
		if (status.code != E_OK)
			break;
		buf_clear(&reply);
		scope_reset(&s);
	}
	wire_connection_end(&s, c, status);
	return NULL;
}

bool wire_connection_start(struct wire_connection *c)
{
	pthread_attr_t attributes;
	pthread_t thread;
	if (pthread_attr_init(&attributes) != 0)
		return false;
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
	bool started = pthread_create(&thread, &attributes, connection_main, c) == 0;
	(void)pthread_attr_destroy(&attributes);
	return started;
}
