#include "wire_frame.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

struct wire_client {
	struct wire_stream stream;
	bool dead;
	bool reused;              /* answered before: a sudden end then means that the peer was restarted */
	struct wire_client *next; /* in a pool */
};

st wire_connect(struct scope *s, const char *path, int timeout_ms, struct wire_client **out)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	if (len >= sizeof address.sun_path)
		return fail(s, E_CONFIG, "socket path %s is longer than the %zu bytes the kernel allows", path,
			    sizeof address.sun_path - 1);
	memcpy(address.sun_path, path, len);
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail_errno(s, E_IO, "making a local socket");
	struct timeval limit = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	if (timeout_ms > 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
			       setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0))
		return fail_errno(s, E_IO, "limiting the wait on a local socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
		return fail_errno(s, E_UNAVAILABLE, "nobody answers at %s", path);
	struct wire_client *c = heap_alloc(sizeof *c);
	wire_stream_start(&c->stream, take_fd(&fd), timeout_ms);
	*out = c;
	return OK;
}

void wire_close(struct wire_client *c)
{
	if (c == NULL)
		return;
	wire_stream_end(&c->stream);
	free(c);
}

bool wire_dead(const struct wire_client *c)
{
	return c->dead;
}

static st read_frame(struct scope *s, struct wire_client *c, struct wire_frame *out)
{
	TRY(wire_stream_fill(s, &c->stream, WIRE_REPLY_HEAD));
	TRY(wire_frame_read(s, buf_span(&c->stream.in), WIRE_REPLY, out));
	TRY(wire_stream_fill(s, &c->stream, WIRE_REPLY_HEAD + out->body_len));
	return wire_frame_read(s, buf_span(&c->stream.in), WIRE_REPLY, out);
}

/* Who closes on us may have said why (too many connections, a part of a stream refused): that is the better message. */
static st send_failed(struct scope *s, struct wire_client *c, st sent)
{
	struct wire_frame frame;
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	if (!c->stream.ended || read_frame(&aside, c, &frame).code != E_OK || frame.kind != WIRE_FAILED)
		return sent;
	scope_clear_error(s);
	return wire_failure_read(s, frame.body);
}

st wire_send(struct scope *s, struct wire_client *c, uint16_t kind, span body)
{
	uint8_t head[WIRE_REQUEST_HEAD];
	if (body.len > WIRE_BODY_MAX)
		return fail(s, E_LIMIT, "a request of %zu bytes is over the limit of %u", body.len, WIRE_BODY_MAX);
	if (c->dead)
		return fail(s, E_UNAVAILABLE, "the connection failed before; connect anew");
	size_t len = wire_frame_head(WIRE_REQUEST, kind, s->id, body.len, head);
	st sent = wire_stream_send(s, &c->stream, span_of(head, len), body);
	c->dead = sent.code != E_OK;
	return c->dead ? send_failed(s, c, sent) : OK;
}

st wire_receive(struct scope *s, struct wire_client *c, uint16_t kind, span *out_reply)
{
	struct wire_frame frame;
	c->dead = true; /* unless a whole reply arrives */
	TRY(read_frame(s, c, &frame));
	if (frame.kind != WIRE_FAILED && frame.kind != kind)
		return fail(s, E_IO, "reply of kind %u to a request of kind %u", frame.kind, kind);
	c->dead = false;
	c->reused = true;
	st status = OK;
	if (frame.kind == WIRE_FAILED)
		status = wire_failure_read(s, frame.body);
	else
		*out_reply = scope_copy(s, frame.body);
	wire_stream_consume(&c->stream, WIRE_REPLY_HEAD + frame.body_len);
	return status;
}

st wire_call(struct scope *s, struct wire_client *c, uint16_t kind, span body, span *out_reply)
{
	TRY(wire_send(s, c, kind, body));
	return wire_receive(s, c, kind, out_reply);
}

#define POOL_IDLE_MAX 64

struct wire_pool {
	char *path;
	int timeout_ms;
	pthread_mutex_t lock;
	struct wire_client *idle;
	size_t idle_count;
};

struct wire_pool *wire_pool_new(const char *path, int timeout_ms)
{
	struct wire_pool *p = heap_alloc(sizeof *p);
	p->path = heap_copy_str(path);
	p->timeout_ms = timeout_ms;
	(void)pthread_mutex_init(&p->lock, NULL);
	return p;
}

static struct wire_client *pop_idle(struct wire_pool *p)
{
	(void)pthread_mutex_lock(&p->lock);
	struct wire_client *c = p->idle;
	if (c != NULL) {
		p->idle = c->next;
		p->idle_count--;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return c;
}

static void drop_idle(struct wire_pool *p)
{
	for (struct wire_client *c = pop_idle(p); c != NULL; c = pop_idle(p))
		wire_close(c);
}

void wire_pool_free(struct wire_pool *p)
{
	if (p == NULL)
		return;
	drop_idle(p);
	(void)pthread_mutex_destroy(&p->lock);
	free(p->path);
	free(p);
}

/* The peer was restarted when an idle connection has ended: all idle ones have, then. */
static bool has_ended(const struct wire_client *c)
{
	uint8_t byte;
	ssize_t got = recv(c->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

st wire_pool_take(struct scope *s, struct wire_pool *p, struct wire_client **out)
{
	struct wire_client *c = pop_idle(p);
	if (c != NULL && has_ended(c)) {
		wire_close(TAKE(c));
		drop_idle(p);
	}
	if (c == NULL)
		TRY(wire_connect(s, p->path, p->timeout_ms, &c));
	*out = c;
	return OK;
}

void wire_pool_give(struct wire_pool *p, struct wire_client *c)
{
	if (c == NULL)
		return;
	bool keep = !c->dead;
	if (keep) {
		(void)pthread_mutex_lock(&p->lock);
		keep = p->idle_count < POOL_IDLE_MAX;
		if (keep) {
			c->next = p->idle;
			p->idle = c;
			p->idle_count++;
		}
		(void)pthread_mutex_unlock(&p->lock);
	}
	if (!keep)
		wire_close(c);
}

st wire_pool_call(struct scope *s, struct wire_pool *p, uint16_t kind, span body, span *out_reply)
{
	struct wire_client *c = pop_idle(p);
	if (c == NULL)
		TRY(wire_connect(s, p->path, p->timeout_ms, &c));
	bool reused = c->reused;
	st status = wire_call(s, c, kind, body, out_reply);
	bool restarted = reused && c->dead && c->stream.ended && !c->stream.begun;
	wire_pool_give(p, c);
	if (!restarted)
		return status;
	drop_idle(p);
	scope_clear_error(s);
	TRY(wire_connect(s, p->path, p->timeout_ms, &c));
	status = wire_call(s, c, kind, body, out_reply);
	wire_pool_give(p, c);
	return status;
}
