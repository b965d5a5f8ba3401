#include "http_internal.h"
#include "failpoint.h"
#include "log.h"
#include "moment.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <event2/bufferevent_ssl.h>

#define LINGER_TIME   (2 * HTTP_SECOND)
#define BODY_KEEP_MAX 65536
/* Octets read ahead beside a head: pipelined requests, or the body on its way to its place. */
#define READ_AHEAD         65536
#define LOOKED_AT_FOR_ROOM 64

static const struct http_settings *settings_of(const struct http_connection *c)
{
	return &c->loop->server->settings;
}

static void set_deadline(struct http_connection *c, uint64_t octets)
{
	int64_t idle = settings_of(c)->idle_seconds * HTTP_SECOND;
	c->deadline = moment_monotonic() + idle + (int64_t)(octets / HTTP_SLOWEST) * HTTP_SECOND;
}

/* ---- the end of a connection ---- */

static void close_now(struct http_connection *c)
{
	if (c->phase == HTTP_CLOSED)
		return;
	if (c->ssl != NULL && c->phase != HTTP_HANDSHAKE)
		(void)SSL_shutdown(c->ssl);
	c->phase = HTTP_CLOSED;
	bufferevent_free(c->bev);
	c->bev = NULL;
}

static void unlink_connection(struct http_connection *c)
{
	struct http_loop *loop = c->loop;
	*(c->next != NULL ? &c->next->previous : &loop->last_connection) = c->previous;
	*(c->previous != NULL ? &c->previous->next : &loop->connections) = c->next;
	c->next = c->previous = NULL;
}

static void link_connection(struct http_connection *c)
{
	struct http_loop *loop = c->loop;
	c->next = loop->connections;
	*(c->next != NULL ? &c->next->previous : &loop->last_connection) = c;
	loop->connections = c;
}

/* Something happened to it: it is the first of the list again, so that the last one is the one that has waited longest. */
static void mark_active(struct http_connection *c)
{
	if (c->loop->connections == c)
		return;
	unlink_connection(c);
	link_connection(c);
}

static void free_connection(struct http_connection *c)
{
	unlink_connection(c);
	(void)atomic_fetch_sub(&c->loop->server->connections, 1);
	http_answer_clear(&c->answer);
	buf_free(&c->answer.bytes);
	buf_free(&c->head_bytes);
	buf_free(&c->body);
	buf_free(&c->peer_certificate);
	fd_auto(&c->body_file);
	free(c);
}

/* Every entry from the loop ends here: a closed connection goes once no worker has it. */
static void reap(struct http_connection *c)
{
	if (c->phase == HTTP_CLOSED && !c->with_worker)
		free_connection(c);
}

void http_connection_drop(struct http_connection *c)
{
	close_now(c);
	reap(c);
}

/* The answer is out, but the peer may still be sending what nobody wants: closing now would reset the connection and could
 * take the answer with it. //= rfc9112#9.6 close in stages */
static void start_lingering(struct http_connection *c)
{
	if (c->ssl != NULL)
		(void)SSL_shutdown(c->ssl);
	(void)shutdown(c->fd, SHUT_WR);
	c->phase = HTTP_LINGERING;
	c->deadline = moment_monotonic() + LINGER_TIME;
}

/* ---- writing ---- */

static void forget_exchange(struct http_connection *c)
{
	http_answer_clear(&c->answer);
	if (c->body.room > BODY_KEEP_MAX)
		buf_free(&c->body);
	else
		buf_clear(&c->body);
	if (c->body_file >= 0)
		(void)close(c->body_file);
	c->body_file = -1;
	c->body_len = 0;
	c->scanned = 0;
	c->whole_at = 0;
	c->route = NULL;
	buf_clear(&c->head_bytes);
}

static void answer_is_out(struct http_connection *c)
{
	if (c->route != NULL && c->route->method == HTTP_POST)
		FAILPOINT("http.answered");
	forget_exchange(c);
	if (c->linger && !c->peer_done) {
		start_lingering(c);
	} else if (c->close_after) {
		close_now(c);
	} else {
		c->phase = HTTP_IN_HEAD;
		set_deadline(c, 0);
		mark_active(c);
	}
}

static void release_lent(const void *data, size_t len, void *argument)
{
	(void)data;
	(void)len;
	struct http_answer *held = argument;
	held->release(held->owner);
	free(held);
}

/* Hand over to the bufferevent what was not written at once; the write callback tells when it is gone. */
static bool queue_answer(struct http_connection *c, span bytes, span lent)
{
	struct evbuffer *output = bufferevent_get_output(c->bev);
	struct http_answer *answer = &c->answer;
	bool queued = evbuffer_add(output, bytes.data, bytes.len) == 0;
	if (queued && answer->release != NULL) {
		struct http_answer *held = heap_alloc(sizeof *held);
		*held = (struct http_answer){ .release = answer->release, .owner = answer->owner };
		queued = evbuffer_add_reference(output, lent.data, lent.len, release_lent, held) == 0;
		if (queued)
			answer->release = NULL;
		else
			free(held);
	}
	if (queued && answer->file >= 0) {
		queued = answer->file_len == 0 || evbuffer_add_file(output, answer->file, 0, (ev_off_t)answer->file_len) == 0;
		if (queued && answer->file_len > 0)
			answer->file = -1; /* libevent closes it */
	}
	return queued && bufferevent_enable(c->bev, EV_WRITE) == 0;
}

/* True when all of the answer went out in this one call. */
static bool write_at_once(struct http_connection *c, span *bytes, span *lent)
{
	bool direct = c->ssl == NULL && c->answer.file < 0 && evbuffer_get_length(bufferevent_get_output(c->bev)) == 0;
	if (!direct)
		return false;
	struct iovec parts[2] = { { (void *)(uintptr_t)bytes->data, bytes->len },
				  { (void *)(uintptr_t)lent->data, lent->len } };
	const struct msghdr message = { .msg_iov = parts, .msg_iovlen = lent->len > 0 ? 2 : 1 };
	ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	size_t done = sent > 0 ? (size_t)sent : 0;
	size_t of_bytes = done < bytes->len ? done : bytes->len;
	*bytes = span_from(*bytes, of_bytes);
	*lent = span_from(*lent, done - of_bytes);
	return bytes->len == 0 && lent->len == 0;
}

/* Send the answer that was built. Afterwards the phase is WRITING, or already the one after it. */
static void send_answer(struct http_connection *c)
{
	span bytes = buf_span(&c->answer.bytes);
	span lent = c->answer.lent;
	c->phase = HTTP_WRITING;
	set_deadline(c, bytes.len + lent.len + c->answer.file_len);
	if (write_at_once(c, &bytes, &lent)) {
		answer_is_out(c);
		return;
	}
	mark_active(c);
	if (!queue_answer(c, bytes, lent))
		close_now(c);
}

static void refuse(struct http_connection *c, struct http_refusal why, const char *allow)
{
	c->close_after = true;
	c->linger = true;
	http_refuse(c, why, allow);
	send_answer(c);
}

/* ---- the request is complete ---- */

static void handle_request(struct http_connection *c)
{
	struct http_loop *loop = c->loop;
	c->phase = HTTP_HANDLING;
	c->deadline = INT64_MAX;
	c->whole_at = moment_monotonic();
	if (atomic_load_explicit(&loop->server->stop_deadline, memory_order_relaxed) != 0)
		c->close_after = true;
	if (c->route->on_loop) {
		bool deferred = http_dispatch(c, &loop->scope, false);
		scope_reset(&loop->scope);
		if (!deferred) {
			send_answer(c);
			return;
		}
	}
	c->with_worker = true;
	mark_active(c);
	if (http_pool_put(http_pool_of(loop->server, c->route), c))
		return;
	c->with_worker = false;
	http_turn_away(c);
	send_answer(c);
}

/* ---- the body ---- */

static struct http_refusal store_body(struct http_connection *c, span bytes)
{
	if (bytes.len > c->route->max_body - c->body_len)
		return (struct http_refusal){ 413, E_LIMIT, "the request body is larger than this resource takes" };
	c->body_len += bytes.len;
	if (c->body_file < 0)
		return buf_append(&c->body, bytes) ? (struct http_refusal){ 0 }
						   : (struct http_refusal){ 413, E_LIMIT, "the request body does not fit" };
	while (bytes.len > 0) {
		ssize_t done = write(c->body_file, bytes.data, bytes.len);
		if (done < 0 && errno != EINTR)
			return (struct http_refusal){ 507, E_IO, "the request body cannot be stored" };
		bytes = span_from(bytes, done > 0 ? (size_t)done : 0);
	}
	return (struct http_refusal){ 0 };
}

/* Take what `data` has of the body. `out_used`: octets taken; true when the body is complete. */
static bool take_body(struct http_connection *c, span data, size_t *out_used, struct http_refusal *out_refused)
{
	span rest = data;
	if (!c->head.chunked) {
		uint64_t missing = c->head.length - c->body_len;
		span part = span_first(data, missing < data.len ? (size_t)missing : data.len);
		*out_used = part.len;
		*out_refused = store_body(c, part);
		return c->body_len == c->head.length;
	}
	for (;;) {
		span part;
		enum http_chunks_step step = http_chunks_next(&c->chunks, &rest, &part);
		if (step == HTTP_CHUNKS_DATA)
			*out_refused = store_body(c, part);
		else if (step == HTTP_CHUNKS_BAD)
			*out_refused = (struct http_refusal){ 400, E_INPUT,
							      "the chunked coding of the body is broken (RFC 9112, 7.1)" };
		*out_used = data.len - rest.len;
		if (step != HTTP_CHUNKS_DATA || out_refused->status != 0)
			return step == HTTP_CHUNKS_END;
	}
}

/* Each returns whether there may be more to do at once. */
static bool advance_body(struct http_connection *c, struct evbuffer *input)
{
	while (c->phase == HTTP_IN_BODY) {
		size_t len = evbuffer_get_contiguous_space(input);
		if (len == 0)
			return false;
		struct http_refusal refused = { 0 };
		size_t used = 0;
		bool complete = take_body(c, span_of(evbuffer_pullup(input, (ev_ssize_t)len), len), &used, &refused);
		(void)evbuffer_drain(input, used);
		if (refused.status != 0) {
			refuse(c, refused, NULL);
			return false;
		}
		if (complete)
			handle_request(c);
	}
	return true;
}

static bool open_spool(struct http_connection *c)
{
	const char *directory = settings_of(c)->spool_directory;
	c->body_file = directory == NULL ? -1 : open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (c->body_file < 0)
		log_put(LOG_LEVEL_ERROR, "no file for a request body in %s: %s",
			directory != NULL ? directory : "(no spool directory)", strerror(errno));
	return c->body_file >= 0;
}

//= rfc9110#10.1.1 100 (Continue) only once the server is ready for the content
static void invite_body(struct http_connection *c)
{
	static const char invitation[] = "HTTP/1.1 100 Continue\r\n\r\n";
	if (!c->head.expect_continue || evbuffer_get_length(bufferevent_get_input(c->bev)) > 0)
		return;
	if (evbuffer_add(bufferevent_get_output(c->bev), invitation, sizeof invitation - 1) != 0 ||
	    bufferevent_enable(c->bev, EV_WRITE) != 0)
		close_now(c);
}

static void begin_body(struct http_connection *c)
{
	static const struct http_refusal no_room = { 507, E_IO, "the request body cannot be stored" };
	bool has_body = c->head.chunked || c->head.length > 0;
	c->chunks = (struct http_chunks){ 0 };
	if (c->route->spool && !open_spool(c)) {
		refuse(c, no_room, NULL);
		return;
	}
	if (!has_body) {
		handle_request(c);
		return;
	}
	c->body.cap = c->route->max_body;
	c->phase = HTTP_IN_BODY;
	set_deadline(c, c->head.chunked ? c->route->max_body : c->head.length);
	invite_body(c);
}

/* ---- the head ---- */

static void understand_head(struct http_connection *c)
{
	const struct http_settings *settings = settings_of(c);
	char allow[64];
	struct http_refusal refused = http_head_parse(buf_span(&c->head_bytes), &c->head);
	c->close_after = refused.status != 0 || !c->head.keep_alive;
	c->linger = false;
	if (refused.status == 0)
		c->route = http_route_find(settings->routes, settings->route_count, &c->head, &refused, allow);
	else
		allow[0] = 0;
	if (c->route != NULL) {
		begin_body(c);
		return;
	}
	bool whole = c->head.keep_alive && !c->head.chunked && c->head.length == 0 && refused.status != 400;
	if (!whole) {
		refuse(c, refused, allow);
		return;
	}
	http_refuse(c, refused, allow);
	send_answer(c);
}

//= rfc9112#2.2 a server should ignore at least one empty line before the request line
static void skip_empty_line(struct evbuffer *input)
{
	char start[2];
	if (evbuffer_copyout(input, start, 2) == 2 && start[0] == '\r' && start[1] == '\n')
		(void)evbuffer_drain(input, 2);
}

static bool advance_head(struct http_connection *c, struct evbuffer *input)
{
	static const struct http_refusal too_long = { 431, E_LIMIT,
						      "the request line and header fields are longer than this server takes" };
	size_t max = settings_of(c)->max_header;
	if (c->scanned == 0)
		skip_empty_line(input);
	size_t len = evbuffer_get_length(input);
	if (len > max)
		len = max + 1;
	if (len == 0)
		return false;
	if (c->scanned == 0)
		set_deadline(c, 0); /* counts from the first octet, however slowly the others come */
	span text = span_of(evbuffer_pullup(input, (ev_ssize_t)len), len);
	size_t end = http_head_end(text, c->scanned);
	if (end == 0 && len <= max) {
		c->scanned = len;
		return false;
	}
	c->head = (struct http_head){ 0 };
	if (end == 0 || end > max) {
		refuse(c, too_long, NULL);
		return false;
	}
	(void)buf_append(&c->head_bytes, span_first(text, end));
	(void)evbuffer_drain(input, end);
	understand_head(c);
	return true;
}

/* As far as the octets at hand lead. */
static void advance(struct http_connection *c)
{
	bool more = true;
	while (more && (c->phase == HTTP_IN_HEAD || c->phase == HTTP_IN_BODY)) {
		struct evbuffer *input = bufferevent_get_input(c->bev);
		more = c->phase == HTTP_IN_HEAD ? advance_head(c, input) : advance_body(c, input);
	}
	if (c->phase == HTTP_LINGERING)
		(void)evbuffer_drain(bufferevent_get_input(c->bev), evbuffer_get_length(bufferevent_get_input(c->bev)));
	bool waits = c->phase == HTTP_IN_HEAD || c->phase == HTTP_IN_BODY || c->phase == HTTP_LINGERING;
	if (waits && c->peer_done)
		close_now(c);
}

/* ---- from the loop ---- */

static void on_read(struct bufferevent *bev, void *argument)
{
	(void)bev;
	struct http_connection *c = argument;
	advance(c);
	reap(c);
}

static void on_written(struct bufferevent *bev, void *argument)
{
	struct http_connection *c = argument;
	if (c->ssl == NULL)
		(void)bufferevent_disable(bev, EV_WRITE);
	if (c->phase == HTTP_WRITING) {
		answer_is_out(c);
		advance(c);
	}
	reap(c);
}

/* The certificate was verified in the handshake; what it may do is for the service to decide. */
static void handshake_done(struct http_connection *c)
{
	c->phase = HTTP_IN_HEAD;
	set_deadline(c, 0);
	X509 *peer = SSL_get1_peer_certificate(c->ssl);
	if (peer == NULL)
		return;
	unsigned char *der = NULL;
	int len = i2d_X509(peer, &der);
	X509_free(peer);
	if (len <= 0 || !buf_append(&c->peer_certificate, span_of(der, (size_t)len)))
		close_now(c);
	OPENSSL_free(der);
}

static void on_event(struct bufferevent *bev, short what, void *argument)
{
	(void)bev;
	struct http_connection *c = argument;
	if (what & BEV_EVENT_CONNECTED) {
		handshake_done(c);
		advance(c);
	} else if ((what & BEV_EVENT_EOF) != 0 && (what & BEV_EVENT_READING) != 0 && c->phase != HTTP_HANDSHAKE) {
		c->peer_done = true; /* half-closed: it may still be waiting for its answers */
		advance(c);
	} else {
		close_now(c);
	}
	reap(c);
}

void http_connection_resume(struct http_connection *c)
{
	c->with_worker = false;
	if (c->phase == HTTP_HANDLING) {
		send_answer(c);
		advance(c);
	}
	reap(c);
}

void http_connection_tick(struct http_connection *c, int64_t now, bool stopping)
{
	bool idle = c->phase == HTTP_IN_HEAD && c->scanned == 0;
	if (now >= c->deadline || (stopping && idle))
		close_now(c);
	reap(c);
}

/* ---- the start of a connection ---- */

static bool learn_peer(struct http_connection *c, const struct sockaddr *peer)
{
	if (c->local) {
		struct ucred credentials;
		socklen_t len = sizeof credentials;
		if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0)
			return false;
		c->peer_uid = credentials.uid;
		return true;
	}
	int on = 1;
	const void *address = peer->sa_family == AF_INET
				      ? (const void *)&((const struct sockaddr_in *)(const void *)peer)->sin_addr
				      : (const void *)&((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
	return inet_ntop(peer->sa_family, address, c->peer_address, sizeof c->peer_address) != NULL &&
	       setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
}

static bool open_bufferevent(struct http_connection *c, const struct http_listener *listener)
{
	struct event_base *base = c->loop->base;
	if (listener->tls != NULL) {
		c->ssl = http_tls_accept(listener->tls);
		if (c->ssl == NULL)
			return false;
		c->phase = HTTP_HANDSHAKE;
		c->bev = bufferevent_openssl_socket_new(base, c->fd, c->ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	} else {
		c->phase = HTTP_IN_HEAD;
		c->bev = bufferevent_socket_new(base, c->fd, BEV_OPT_CLOSE_ON_FREE);
	}
	if (c->bev == NULL)
		log_die("libevent gives no bufferevent");
	if (c->ssl != NULL)
		bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
	else /* Answers are written at once; only what the socket does not take goes through the bufferevent. */
		(void)bufferevent_disable(c->bev, EV_WRITE);
	return true;
}

/* What is being worked on, or on its way in or out for as long as it is large, is not taken from anybody. */
static bool waits_for_request(const struct http_connection *c)
{
	return c->phase == HTTP_HANDSHAKE || c->phase == HTTP_IN_HEAD || c->phase == HTTP_LINGERING ||
	       (c->phase == HTTP_IN_BODY && !c->route->spool);
}

/* At the limit, the one of those near the end of the list that has kept us waiting longest for its request is closed. Otherwise
 * it would take no more than silent connections to keep everybody out. */
static bool make_room(struct http_loop *loop)
{
	struct http_connection *c = loop->last_connection;
	for (int i = 0; c != NULL && i < LOOKED_AT_FOR_ROOM; i++, c = c->previous)
		if (waits_for_request(c)) {
			http_connection_drop(c);
			return true;
		}
	return false;
}

static void note_limit(struct http_server *server, bool made_room)
{
	if (http_may_be_said(&server->limit_said))
		log_put(LOG_LEVEL_WARNING, "%u connections are open, as many as may be: %s", server->settings.max_connections,
			made_room ? "those that wait longest for a request are closed for new ones" : "new ones are refused");
}

static bool has_room(struct http_loop *loop)
{
	struct http_server *server = loop->server;
	if (atomic_load(&server->connections) < server->settings.max_connections)
		return true;
	bool made = make_room(loop);
	if (!made)
		metrics_count(&server->refused_connections);
	note_limit(server, made);
	return made;
}

void http_connection_accept(struct http_loop *loop, const struct http_listener *listener, int fd, const struct sockaddr *peer)
{
	static const char full[] =
		"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	const struct http_settings *settings = &loop->server->settings;
	if (!has_room(loop)) {
		if (listener->tls == NULL)
			(void)send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)close(fd);
		return;
	}
	struct http_connection *c = heap_alloc(sizeof *c);
	*c = (struct http_connection){ .loop = loop, .fd = fd, .local = listener->local, .body_file = -1, .answer.file = -1 };
	if (!learn_peer(c, peer) || !open_bufferevent(c, listener)) {
		(void)close(fd);
		free(c);
		return;
	}
	buf_init(&c->head_bytes, settings->max_header + 1);
	link_connection(c);
	(void)atomic_fetch_add(&loop->server->connections, 1);
	set_deadline(c, 0);
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, settings->max_header + READ_AHEAD);
	if (bufferevent_enable(c->bev, EV_READ) != 0)
		http_connection_drop(c);
}
