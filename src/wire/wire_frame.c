#include "wire_frame.h"
#include "moment.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_AHEAD ((size_t)16 << 10)
/* Kept between frames; what a large frame needed beyond it is given back. */
#define KEEP_ROOM ((size_t)128 << 10)

st wire_frame_read(struct scope *s, span bytes, enum wire_direction direction, struct wire_frame *out)
{
	size_t head = wire_head_len(direction);
	struct rd r = rd_of(bytes);
	uint32_t len = rd_u32(&r);
	uint16_t kind = rd_u16(&r);
	uint16_t version = rd_u16(&r);
	span id = direction == WIRE_REQUEST ? rd_raw(&r, WIRE_ID_LEN) : (span){ 0 };
	if (r.bad)
		return fail(s, E_INPUT, "a frame is shorter than its head of %zu bytes", head);
	if (version != WIRE_VERSION)
		return fail(s, E_INPUT, "frame of version %u, this program speaks version %u", version, WIRE_VERSION);
	if (len < head - sizeof len || len - (head - sizeof len) > WIRE_BODY_MAX)
		return fail(s, E_INPUT, "a frame cannot be %u bytes long", len);
	size_t body_len = len - (head - sizeof len);
	*out = (struct wire_frame){ .kind = kind, .id = id.data, .body_len = body_len };
	if (r.rest.len >= body_len)
		out->body = span_first(r.rest, body_len);
	return OK;
}

static void put_number(uint8_t *out, uint32_t v, size_t width)
{
	for (size_t i = 0; i < width; i++)
		out[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
}

size_t wire_frame_head(enum wire_direction direction, uint16_t kind, const uint8_t *id, size_t body_len,
		       uint8_t out[WIRE_REQUEST_HEAD])
{
	size_t head = wire_head_len(direction);
	put_number(out, (uint32_t)(body_len + head - 4), 4);
	put_number(out + 4, kind, 2);
	put_number(out + 6, WIRE_VERSION, 2);
	if (direction == WIRE_REQUEST)
		memcpy(out + WIRE_REPLY_HEAD, id, WIRE_ID_LEN);
	return head;
}

st wire_failure_read(struct scope *s, span body)
{
	struct rd r = rd_of(body);
	uint16_t code = rd_u16(&r);
	span message = rd_bytes(&r, SCOPE_MESSAGE_MAX);
	if (r.bad || r.rest.len > 0 || code == E_OK || code >= CODE_COUNT)
		return fail(s, E_IO, "the other side failed and its reply cannot be read");
	return fail_told(s, (enum code)code, message);
}

void wire_failure_write(struct wr *w, enum code code, const char *message)
{
	wr_u16(w, (uint16_t)code);
	wr_bytes(w, span_of(message, strnlen(message, SCOPE_MESSAGE_MAX)));
}

void wire_stream_start(struct wire_stream *w, int fd, int timeout_ms)
{
	*w = (struct wire_stream){ .fd = fd, .timeout_ms = timeout_ms };
	buf_init(&w->in, WIRE_BODY_MAX + WIRE_REQUEST_HEAD + 2 * READ_AHEAD);
}

void wire_stream_end(struct wire_stream *w)
{
	fd_auto(&w->fd);
	w->fd = -1;
	buf_free(&w->in);
}

void wire_stream_consume(struct wire_stream *w, size_t len)
{
	buf_consume(&w->in, len);
	w->begun = w->in.len > 0;
	if (w->in.len == 0 && w->in.room > KEEP_ROOM)
		buf_free(&w->in);
}

static st wait_until(struct scope *s, const struct wire_stream *w, short events, int64_t deadline)
{
	int left = -1;
	if (w->timeout_ms > 0) {
		int64_t us = deadline - moment_monotonic();
		left = us > 0 ? (int)(us / 1000 + 1) : 0;
	}
	struct pollfd ready = { .fd = w->fd, .events = events };
	int got = poll(&ready, 1, left);
	if (got < 0 && errno != EINTR)
		return fail_errno(s, E_IO, "waiting on a local socket");
	if (got == 0)
		return fail(s, E_UNAVAILABLE, "the other side of a local socket did not answer within %d ms", w->timeout_ms);
	return OK;
}

static int64_t deadline_of(const struct wire_stream *w)
{
	return w->timeout_ms > 0 ? moment_monotonic() + (int64_t)w->timeout_ms * 1000 : 0;
}

/* What a failed recv or send means: to be tried again after waiting (OK), or the end. */
static st socket_failed(struct scope *s, struct wire_stream *w, const char *doing)
{
	if (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)
		return OK;
	w->ended = errno == EPIPE || errno == ECONNRESET;
	return fail_errno(s, w->ended ? E_UNAVAILABLE : E_IO, "%s a local socket", doing);
}

/* One recv; *out_nothing: nothing was there, and errno says why. */
static st receive(struct scope *s, struct wire_stream *w, size_t need, int flags, bool *out_nothing)
{
	size_t more = need - w->in.len;
	if (!buf_reserve(&w->in, more > READ_AHEAD ? more : READ_AHEAD))
		return fail(s, E_LIMIT, "a frame is over the limit of %u bytes", WIRE_BODY_MAX);
	ssize_t got = recv(w->fd, w->in.data + w->in.len, w->in.room - w->in.len, flags);
	if (got == 0) {
		w->ended = true;
		return fail(s, E_UNAVAILABLE, "the other side closed the connection%s", w->begun ? " inside a frame" : "");
	}
	*out_nothing = got < 0;
	if (got < 0)
		return OK;
	w->in.len += (size_t)got;
	w->begun = true;
	return OK;
}

st wire_stream_fill(struct scope *s, struct wire_stream *w, size_t need)
{
	int64_t deadline = 0;
	while (w->in.len < need) {
		bool nothing;
		TRY(receive(s, w, need, w->begun ? MSG_DONTWAIT : 0, &nothing));
		if (!nothing)
			continue;
		bool waited_in_vain = !w->begun && (errno == EAGAIN || errno == EWOULDBLOCK);
		if (waited_in_vain)
			return fail(s, E_UNAVAILABLE, "the other side of a local socket did not answer within %d ms",
				    w->timeout_ms);
		TRY(socket_failed(s, w, "reading from"));
		if (!w->begun)
			continue;
		if (deadline == 0)
			deadline = deadline_of(w);
		TRY(wait_until(s, w, POLLIN, deadline));
	}
	return OK;
}

st wire_stream_fill_now(struct scope *s, struct wire_stream *w, size_t need, bool *out_whole)
{
	bool nothing = false;
	while (w->in.len < need && !nothing) {
		TRY(receive(s, w, need, MSG_DONTWAIT, &nothing));
		if (nothing)
			TRY(socket_failed(s, w, "reading from"));
	}
	*out_whole = w->in.len >= need;
	return OK;
}

/* What the socket takes now of both is taken off them; nothing, for a reason that passes, is fine. */
static st send_some(struct scope *s, struct wire_stream *w, span *head, span *body, bool *out_full)
{
	/* sendmsg takes pointers to what it only reads, without const. */
	struct iovec parts[2] = { { (void *)(uintptr_t)head->data, head->len }, { (void *)(uintptr_t)body->data, body->len } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t sent = sendmsg(w->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	*out_full = sent < 0;
	if (sent < 0)
		return socket_failed(s, w, "writing to");
	size_t from_head = (size_t)sent < head->len ? (size_t)sent : head->len;
	*head = span_from(*head, from_head);
	*body = span_from(*body, (size_t)sent - from_head);
	return OK;
}

st wire_stream_send_now(struct scope *s, struct wire_stream *w, span head, span body, struct buf *rest)
{
	bool full = false;
	while (head.len + body.len > 0 && !full)
		TRY(send_some(s, w, &head, &body, &full));
	if (!buf_append(rest, head) || !buf_append(rest, body))
		return fail(s, E_LIMIT, "a reply is over its limit");
	return OK;
}

st wire_stream_send(struct scope *s, struct wire_stream *w, span head, span body)
{
	int64_t deadline = deadline_of(w);
	while (head.len + body.len > 0) {
		bool full;
		TRY(send_some(s, w, &head, &body, &full));
		if (full)
			TRY(wait_until(s, w, POLLOUT, deadline));
	}
	return OK;
}
