#include "wire_unit.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ECHO = 1, REFUSE = 2, PRIVATE = 3, PART = 4, SUM = 5, SLOW = 6, SHORT = 7 };

struct state {
	atomic_int sessions_closed;
	uint8_t last_id[16];
};

static st echo(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct state *state = peer->service;
	memcpy(state->last_id, s->id, sizeof s->id);
	wr_raw(reply, body->rest);
	return OK;
}

static st refuse(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)peer, (void)body, (void)reply;
	return fail(s, E_CONFLICT, "no, because of rule 7");
}

static bool nobody(const struct wire_peer *peer)
{
	(void)peer;
	return false;
}

/* A stream: parts are summed in the session, a part of 255 is refused. */
static st part(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)reply;
	if (peer->session == NULL)
		peer->session = heap_alloc(sizeof(uint64_t));
	uint64_t *sum = peer->session;
	while (body->rest.len > 0) {
		uint8_t byte = rd_u8(body);
		if (byte == 255)
			return fail(s, E_INPUT, "255 is not allowed");
		*sum += byte;
	}
	return rd_end(s, body, "part");
}

static st total(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)s, (void)body;
	wr_u64(reply, peer->session == NULL ? 0 : *(uint64_t *)peer->session);
	return OK;
}

static st slow(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)s, (void)peer, (void)body;
	(void)usleep(300000);
	wr_u8(reply, 1);
	return OK;
}

static void close_session(struct wire_peer *peer)
{
	struct state *state = peer->service;
	free(peer->session);
	atomic_fetch_add(&state->sessions_closed, 1);
}

static const struct wire_route routes[] = {
	{ .kind = ECHO, .name = "echo", .max_body = WIRE_BODY_MAX, .handle = echo },
	{ .kind = REFUSE, .name = "refuse", .max_body = 10, .handle = refuse },
	{ .kind = PRIVATE, .name = "private", .max_body = 10, .permit = nobody, .handle = echo },
	{ .kind = PART, .name = "part", .max_body = 1000, .silent = true, .handle = part },
	{ .kind = SUM, .name = "sum", .max_body = 0, .handle = total },
	{ .kind = SLOW, .name = "slow", .max_body = 0, .handle = slow },
};

struct fixture {
	struct scope s;
	struct state state;
	char *path;
	struct wire_server *server;
};

static void serve(struct fixture *f, unsigned max_connections)
{
	struct wire_service service = { .routes = routes,
					.route_count = sizeof routes / sizeof routes[0],
					.state = &f->state,
					.max_connections = max_connections,
					.close_session = close_session };
	assert_ok(&f->s, wire_serve(&f->s, f->path, (gid_t)-1, &service, &f->server));
}

static int set_up(void **state)
{
	struct fixture *f = heap_alloc(sizeof *f);
	scope_init(&f->s, NULL);
	f->path = wire_unit_place(&f->s);
	if (f->path == NULL)
		return -1;
	serve(f, 64);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	wire_server_stop(f->server, 1000);
	wire_unit_remove(f->path);
	scope_done(&f->s);
	free(f);
	return 0;
}

/* What the server does with these bytes: the code of its failure reply; the connection must be closed after it. */
static enum code send_garbage(struct fixture *f, span bytes)
{
	int fd = wire_unit_connect(f->path);
	(void)send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
	struct wire_stream stream;
	struct wire_frame frame;
	wire_stream_start(&stream, fd, 2000);
	enum code code = E_OK;
	if (wire_stream_fill(&f->s, &stream, WIRE_REPLY_HEAD).code == E_OK) {
		assert_ok(&f->s, wire_frame_read(&f->s, buf_span(&stream.in), WIRE_REPLY, &frame));
		assert_ok(&f->s, wire_stream_fill(&f->s, &stream, WIRE_REPLY_HEAD + frame.body_len));
		assert_ok(&f->s, wire_frame_read(&f->s, buf_span(&stream.in), WIRE_REPLY, &frame));
		assert_int_equal(frame.kind, WIRE_FAILED);
		code = wire_failure_read(&f->s, frame.body).code;
		scope_clear_error(&f->s);
		wire_stream_consume(&stream, WIRE_REPLY_HEAD + frame.body_len);
		assert_fails(&f->s, E_UNAVAILABLE, wire_stream_fill(&f->s, &stream, 1));
	}
	scope_clear_error(&f->s);
	wire_stream_end(&stream);
	return code;
}

static void a_call_gets_its_reply_and_hands_on_the_transaction_id(void **state)
{
	struct fixture *f = *state;
	struct wire_client *c;
	span reply;
	assert_ok(&f->s, wire_connect(&f->s, f->path, 2000, &c));
	assert_ok(&f->s, wire_call(&f->s, c, ECHO, SPAN_LITERAL("hello"), &reply));
	assert_true(span_is(reply, "hello"));
	assert_memory_equal(f->state.last_id, f->s.id, 16);
	assert_ok(&f->s, wire_call(&f->s, c, ECHO, (span){ 0 }, &reply));
	assert_int_equal(reply.len, 0);
	wire_close(c);
}

static void the_largest_body_passes_and_a_larger_one_is_refused(void **state)
{
	struct fixture *f = *state;
	struct wire_client *c;
	span reply;
	uint8_t *big = scope_alloc(&f->s, WIRE_BODY_MAX + 1);
	for (size_t i = 0; i < WIRE_BODY_MAX; i++)
		big[i] = (uint8_t)(i * 7);
	assert_ok(&f->s, wire_connect(&f->s, f->path, 5000, &c));
	assert_ok(&f->s, wire_call(&f->s, c, ECHO, span_of(big, WIRE_BODY_MAX), &reply));
	assert_true(span_equal(reply, span_of(big, WIRE_BODY_MAX)));
	assert_fails(&f->s, E_LIMIT, wire_call(&f->s, c, ECHO, span_of(big, WIRE_BODY_MAX + 1), &reply));
	assert_false(wire_dead(c));
	assert_fails(&f->s, E_LIMIT, wire_call(&f->s, c, REFUSE, span_of(big, 11), &reply));
	wire_close(c);
}

static void a_refusal_keeps_the_connection(void **state)
{
	struct fixture *f = *state;
	struct wire_client *c;
	span reply;
	assert_ok(&f->s, wire_connect(&f->s, f->path, 2000, &c));
	st refused = wire_call(&f->s, c, REFUSE, (span){ 0 }, &reply);
	assert_int_equal(refused.code, E_CONFLICT);
	assert_string_equal(f->s.message, "no, because of rule 7");
	scope_clear_error(&f->s);
	assert_fails(&f->s, E_DENIED, wire_call(&f->s, c, PRIVATE, (span){ 0 }, &reply));
	assert_false(wire_dead(c));
	assert_ok(&f->s, wire_call(&f->s, c, ECHO, SPAN_LITERAL("x"), &reply));
	wire_close(c);
}

static void malformed_frames_close_only_their_connection(void **state)
{
	struct fixture *f = *state;
	uint8_t head[WIRE_REQUEST_HEAD];
	uint8_t id[16] = { 0 };
	size_t len = wire_frame_head(WIRE_REQUEST, 77, id, 0, head);
	assert_int_equal(send_garbage(f, span_of(head, len)), E_INPUT); /* unknown kind */
	len = wire_frame_head(WIRE_REQUEST, ECHO, id, WIRE_BODY_MAX + 1, head);
	assert_int_equal(send_garbage(f, span_of(head, len)), E_INPUT); /* too long, refused before the body */
	len = wire_frame_head(WIRE_REQUEST, REFUSE, id, 11, head);
	assert_int_equal(send_garbage(f, span_of(head, len)), E_LIMIT); /* over the limit of its route */
	len = wire_frame_head(WIRE_REQUEST, ECHO, id, 0, head);
	head[7] = WIRE_VERSION + 1;
	assert_int_equal(send_garbage(f, span_of(head, len)), E_INPUT); /* other version */
	memset(head, 0xff, sizeof head);
	assert_int_equal(send_garbage(f, SPAN_ARRAY(head)), E_INPUT);
	memset(head, 0, sizeof head);
	assert_int_equal(send_garbage(f, SPAN_ARRAY(head)), E_INPUT); /* shorter than its own head */
	assert_int_equal(send_garbage(f, span_of(head, 5)), E_OK);    /* cut: nothing to answer */
	struct wire_client *c;
	span reply;
	assert_ok(&f->s, wire_connect(&f->s, f->path, 2000, &c));
	assert_ok(&f->s, wire_call(&f->s, c, ECHO, SPAN_LITERAL("alive"), &reply));
	wire_close(c);
}

static void bytes_that_trickle_in_are_put_together(void **state)
{
	struct fixture *f = *state;
	uint8_t frames[2 * (WIRE_REQUEST_HEAD + 3)];
	uint8_t id[16] = { 1 };
	for (size_t i = 0; i < 2; i++) {
		uint8_t *at = frames + i * (WIRE_REQUEST_HEAD + 3);
		(void)wire_frame_head(WIRE_REQUEST, ECHO, id, 3, at);
		memcpy(at + WIRE_REQUEST_HEAD, i == 0 ? "abc" : "def", 3);
	}
	int fd = wire_unit_connect(f->path);
	for (size_t i = 0; i < sizeof frames; i++) {
		assert_int_equal(send(fd, frames + i, 1, 0), 1);
		if (i % 9 == 0)
			(void)usleep(1000);
	}
	struct wire_stream stream;
	wire_stream_start(&stream, fd, 2000);
	assert_ok(&f->s, wire_stream_fill(&f->s, &stream, 2 * (WIRE_REPLY_HEAD + 3)));
	assert_memory_equal(stream.in.data + WIRE_REPLY_HEAD, "abc", 3);
	assert_memory_equal(stream.in.data + 2 * WIRE_REPLY_HEAD + 3, "def", 3);
	wire_stream_end(&stream);
}

static void streams_have_no_replies_and_a_refused_part_ends_them(void **state)
{
	struct fixture *f = *state;
	struct wire_client *c;
	span reply;
	assert_ok(&f->s, wire_connect(&f->s, f->path, 2000, &c));
	for (int i = 0; i < 100; i++)
		assert_ok(&f->s, wire_send(&f->s, c, PART, SPAN_LITERAL("\1\2\3")));
	assert_ok(&f->s, wire_call(&f->s, c, SUM, (span){ 0 }, &reply));
	struct rd r = rd_of(reply);
	assert_int_equal(rd_u64(&r), 600);
	assert_ok(&f->s, wire_send(&f->s, c, PART, SPAN_LITERAL("\xff")));
	st status = OK;
	for (int i = 0; i < 1000 && status.code == E_OK; i++)
		status = wire_send(&f->s, c, PART, SPAN_LITERAL("\1"));
	if (status.code == E_OK)
		status = wire_call(&f->s, c, SUM, (span){ 0 }, &reply);
	assert_int_equal(status.code, E_INPUT);
	assert_string_equal(f->s.message, "255 is not allowed");
	scope_clear_error(&f->s);
	wire_close(c);
}

static void a_slow_server_is_given_up_after_the_timeout(void **state)
{
	struct fixture *f = *state;
	struct wire_client *c;
	span reply;
	assert_ok(&f->s, wire_connect(&f->s, f->path, 50, &c));
	assert_fails(&f->s, E_UNAVAILABLE, wire_call(&f->s, c, SLOW, (span){ 0 }, &reply));
	assert_true(wire_dead(c));
	assert_fails(&f->s, E_UNAVAILABLE, wire_call(&f->s, c, ECHO, (span){ 0 }, &reply));
	wire_close(c);
}

static void too_many_connections_are_told_so(void **state)
{
	struct fixture *f = *state;
	wire_server_stop(f->server, 1000);
	serve(f, 2);
	struct wire_client *c[3];
	span reply;
	for (int i = 0; i < 2; i++) {
		assert_ok(&f->s, wire_connect(&f->s, f->path, 2000, &c[i]));
		assert_ok(&f->s, wire_call(&f->s, c[i], ECHO, (span){ 0 }, &reply));
	}
	assert_ok(&f->s, wire_connect(&f->s, f->path, 2000, &c[2]));
	assert_fails(&f->s, E_BUSY, wire_call(&f->s, c[2], ECHO, (span){ 0 }, &reply));
	wire_close(c[2]);
	wire_close(c[0]);
	st status = { E_BUSY };
	for (int i = 0; i < 200 && status.code != E_OK; i++) {
		(void)usleep(5000);
		scope_clear_error(&f->s);
		assert_ok(&f->s, wire_connect(&f->s, f->path, 2000, &c[2]));
		status = wire_call(&f->s, c[2], ECHO, (span){ 0 }, &reply);
		wire_close(c[2]);
	}
	assert_int_equal(status.code, E_OK);
	wire_close(c[1]);
}

struct hammer {
	struct wire_pool *pool;
	unsigned seed;
	int wrong;
};

static void *hammer_main(void *argument)
{
	struct hammer *h = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (unsigned i = 0; i < 300; i++) {
		uint8_t body[700];
		size_t len = (i * 37 + h->seed) % sizeof body;
		memset(body, (int)(i + h->seed), len);
		span reply;
		if (wire_pool_call(&s, h->pool, ECHO, span_of(body, len), &reply).code != E_OK ||
		    !span_equal(reply, span_of(body, len)))
			h->wrong++;
		scope_reset(&s);
	}
	return NULL;
}

static void many_threads_share_a_pool(void **state)
{
	struct fixture *f = *state;
	struct wire_pool *pool = wire_pool_new(f->path, 5000);
	struct hammer hammers[32];
	pthread_t threads[32];
	for (unsigned i = 0; i < 32; i++) {
		hammers[i] = (struct hammer){ .pool = pool, .seed = i };
		assert_int_equal(pthread_create(&threads[i], NULL, hammer_main, &hammers[i]), 0);
	}
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(hammers[i].wrong, 0);
	}
	wire_pool_free(pool);
}

static void a_pool_survives_a_restart_of_the_server(void **state)
{
	struct fixture *f = *state;
	struct wire_pool *pool = wire_pool_new(f->path, 2000);
	span reply;
	assert_ok(&f->s, wire_pool_call(&f->s, pool, ECHO, SPAN_LITERAL("1"), &reply));
	wire_server_stop(f->server, 1000);
	f->server = NULL;
	assert_fails(&f->s, E_UNAVAILABLE, wire_pool_call(&f->s, pool, ECHO, SPAN_LITERAL("2"), &reply));
	serve(f, 64);
	assert_ok(&f->s, wire_pool_call(&f->s, pool, ECHO, SPAN_LITERAL("3"), &reply));
	wire_server_stop(f->server, 1000);
	serve(f, 64);
	assert_ok(&f->s, wire_pool_call(&f->s, pool, ECHO, SPAN_LITERAL("4"), &reply));
	assert_true(span_is(reply, "4"));
	wire_server_stop(f->server, 1000);
	serve(f, 64);
	struct wire_client *c;
	assert_ok(&f->s, wire_pool_take(&f->s, pool, &c));
	assert_ok(&f->s, wire_call(&f->s, c, SUM, (span){ 0 }, &reply));
	wire_pool_give(pool, c);
	wire_pool_free(pool);
}

static void stopping_lets_a_running_request_end(void **state)
{
	struct fixture *f = *state;
	struct wire_client *c;
	span reply;
	assert_ok(&f->s, wire_connect(&f->s, f->path, 2000, &c));
	assert_ok(&f->s, wire_send(&f->s, c, SLOW, (span){ 0 }));
	(void)usleep(50000);
	wire_server_stop(f->server, 2000);
	f->server = NULL;
	struct wire_client *late;
	assert_fails(&f->s, E_UNAVAILABLE, wire_connect(&f->s, f->path, 100, &late));
	/* The reply to the request that ran is there; it is read as the reply of a call that cannot be sent any more. */
	assert_int_equal(atomic_load(&f->state.sessions_closed), 1);
	st status = wire_call(&f->s, c, SLOW, (span){ 0 }, &reply);
	assert_int_equal(status.code, E_UNAVAILABLE);
	scope_clear_error(&f->s);
	wire_close(c);
}

static void the_socket_is_private_and_not_taken_from_a_living_server(void **state)
{
	struct fixture *f = *state;
	struct stat about;
	assert_int_equal(stat(f->path, &about), 0);
	assert_int_equal(about.st_mode & 0777, 0600);
	struct wire_service service = { .routes = routes, .route_count = 1, .max_connections = 1 };
	struct wire_server *second;
	assert_fails(&f->s, E_STATE, wire_serve(&f->s, f->path, (gid_t)-1, &service, &second));
	wire_server_stop(f->server, 1000);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strcpy(address.sun_path, f->path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0); /* a stale one */
	assert_int_equal(close(fd), 0);
	service = (struct wire_service){ .routes = routes, .route_count = 1, .max_connections = 1, .state = &f->state };
	assert_ok(&f->s, wire_serve(&f->s, f->path, getgid(), &service, &f->server));
	assert_int_equal(stat(f->path, &about), 0);
	assert_int_equal(about.st_mode & 0777, 0660);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_gets_its_reply_and_hands_on_the_transaction_id),
		TEST(the_largest_body_passes_and_a_larger_one_is_refused),
		TEST(a_refusal_keeps_the_connection),
		TEST(malformed_frames_close_only_their_connection),
		TEST(bytes_that_trickle_in_are_put_together),
		TEST(streams_have_no_replies_and_a_refused_part_ends_them),
		TEST(a_slow_server_is_given_up_after_the_timeout),
		TEST(too_many_connections_are_told_so),
		TEST(many_threads_share_a_pool),
		TEST(a_pool_survives_a_restart_of_the_server),
		TEST(stopping_lets_a_running_request_end),
		TEST(the_socket_is_private_and_not_taken_from_a_living_server),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
