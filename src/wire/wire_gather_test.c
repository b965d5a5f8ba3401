#include "wire_unit.h"
#include <pthread.h>
#include <stdatomic.h>

enum { TOGETHER = 1, ECHO = 2, PRIVATE = 3 };

#define LARGE ((size_t)60000)

struct state {
	atomic_int held; /* while it is not 0, what was handed over is not answered */
	atomic_int most; /* requests handed over at once */
	atomic_int under_way;
	atomic_int sessions_closed;
};

static st answer(struct wire_exchange *e)
{
	if (span_is(e->body.rest, "no"))
		return fail(e->scope, E_CONFLICT, "no, because of rule 7");
	wr_raw(&e->reply, e->body.rest);
	return OK;
}

static void together(struct wire_exchange *e, size_t count)
{
	struct state *state = e[0].peer->service;
	if ((int)count > atomic_load(&state->most))
		atomic_store(&state->most, (int)count);
	atomic_store(&state->under_way, (int)count);
	while (atomic_load(&state->held) != 0)
		(void)usleep(1000);
	for (size_t i = 0; i < count; i++)
		e[i].ended = answer(&e[i]);
	atomic_store(&state->under_way, 0);
}

static st echo(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)s, (void)peer;
	wr_raw(reply, body->rest);
	return OK;
}

static bool nobody(const struct wire_peer *peer)
{
	(void)peer;
	return false;
}

static void close_session(struct wire_peer *peer)
{
	struct state *state = peer->service;
	atomic_fetch_add(&state->sessions_closed, 1);
}

struct fixture {
	struct scope s;
	struct state state;
	char *path;
	struct wire_server *server;
};

static int set_up(void **state)
{
	static const struct wire_route routes[] = {
		{ .kind = TOGETHER, .name = "together", .max_body = LARGE, .handle_all = together },
		{ .kind = ECHO, .name = "echo", .max_body = LARGE, .handle = echo },
		{ .kind = PRIVATE, .name = "private", .max_body = 10, .permit = nobody, .handle_all = together },
	};
	struct fixture *f = heap_alloc(sizeof *f);
	scope_init(&f->s, NULL);
	f->path = wire_unit_place(&f->s);
	if (f->path == NULL)
		return -1;
	struct wire_service service = { .routes = routes,
					.route_count = sizeof routes / sizeof routes[0],
					.state = &f->state,
					.max_connections = 64,
					.close_session = close_session,
					.frame_timeout_ms = 1500 };
	assert_ok(&f->s, wire_serve(&f->s, f->path, (gid_t)-1, &service, &f->server));
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

static struct wire_client *connect_to(struct fixture *f)
{
	struct wire_client *c;
	assert_ok(&f->s, wire_connect(&f->s, f->path, 5000, &c));
	return c;
}

static void asks(struct fixture *f, struct wire_client *c, uint16_t kind, const char *body)
{
	span reply;
	assert_ok(&f->s, wire_call(&f->s, c, kind, span_str(body), &reply));
	assert_true(span_is(reply, body));
}

static void until(atomic_int *value, int wanted)
{
	for (int i = 0; i < 5000 && atomic_load(value) != wanted; i++)
		(void)usleep(1000);
	assert_int_equal(atomic_load(value), wanted);
}

struct caller {
	pthread_t thread;
	struct wire_client *client;
	const char *body;
	enum code code;
	bool same;
};

static void *caller_main(void *argument)
{
	struct caller *c = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span reply = { 0 };
	c->code = wire_call(&s, c->client, TOGETHER, span_str(c->body), &reply).code;
	c->same = span_is(reply, c->body);
	return NULL;
}

static void call_aside(struct fixture *f, struct caller *c, const char *body)
{
	*c = (struct caller){ .client = connect_to(f), .body = body };
	asks(f, c->client, TOGETHER, "first");
	assert_int_equal(pthread_create(&c->thread, NULL, caller_main, c), 0);
}

static void comes_back(struct caller *c, enum code wanted)
{
	assert_int_equal(pthread_join(c->thread, NULL), 0);
	assert_int_equal(c->code, wanted);
	assert_int_equal(c->same, wanted == E_OK);
	wire_close(c->client);
}

/* One request holds the gatherer until tests let go. */
static void hold(struct fixture *f, struct caller *c)
{
	*c = (struct caller){ .client = connect_to(f), .body = "holds" };
	atomic_store(&f->state.held, 1);
	assert_int_equal(pthread_create(&c->thread, NULL, caller_main, c), 0);
	until(&f->state.under_way, 1);
}

static void what_waits_is_worked_on_together_and_answered_one_by_one(void **state)
{
	struct fixture *f = *state;
	struct wire_client *client[8];
	struct caller holder, caller[8];
	for (int i = 0; i < 8; i++) {
		client[i] = connect_to(f);
		asks(f, client[i], TOGETHER, "first");
	}
	hold(f, &holder);
	for (int i = 0; i < 8; i++) {
		caller[i] = (struct caller){ .client = client[i], .body = i == 3 ? "no" : "yes" };
		assert_int_equal(pthread_create(&caller[i].thread, NULL, caller_main, &caller[i]), 0);
	}
	(void)usleep(100000);
	atomic_store(&f->state.held, 0);
	comes_back(&holder, E_OK);
	for (int i = 0; i < 8; i++)
		comes_back(&caller[i], i == 3 ? E_CONFLICT : E_OK);
	assert_int_equal(atomic_load(&f->state.most), 8);
}

static void a_connection_may_ask_for_other_things_between(void **state)
{
	struct fixture *f = *state;
	struct wire_client *c = connect_to(f);
	for (int i = 0; i < 3; i++) {
		asks(f, c, TOGETHER, "a");
		asks(f, c, TOGETHER, "b");
		asks(f, c, ECHO, "c");
	}
	span reply;
	assert_fails(&f->s, E_DENIED, wire_call(&f->s, c, PRIVATE, span_str("d"), &reply));
	asks(f, c, TOGETHER, "e");
	wire_close(c);
	until(&f->state.sessions_closed, 1);
}

static void others_are_answered_while_requests_wait(void **state)
{
	struct fixture *f = *state;
	struct wire_client *before = connect_to(f), *after;
	struct caller holder;
	asks(f, before, ECHO, "before");
	hold(f, &holder);
	asks(f, before, ECHO, "meanwhile");
	after = connect_to(f);
	asks(f, after, ECHO, "also new");
	atomic_store(&f->state.held, 0);
	comes_back(&holder, E_OK);
	wire_close(before);
	wire_close(after);
}

/* ---- peers that do not behave ---- */

static size_t frame_into(uint8_t *out, uint16_t kind, const void *body, size_t len)
{
	static const uint8_t id[WIRE_ID_LEN] = { 1 };
	size_t head = wire_frame_head(WIRE_REQUEST, kind, id, len, out);
	memcpy(out + head, body, len);
	return head + len;
}

static void expect_reply(int fd, uint16_t kind, size_t body_len)
{
	static uint8_t reply[WIRE_REPLY_HEAD + LARGE];
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct wire_frame frame;
	assert_int_equal(recv(fd, reply, WIRE_REPLY_HEAD + body_len, MSG_WAITALL), WIRE_REPLY_HEAD + body_len);
	assert_ok(&s, wire_frame_read(&s, span_of(reply, WIRE_REPLY_HEAD + body_len), WIRE_REPLY, &frame));
	assert_int_equal(frame.kind, kind);
	assert_int_equal(frame.body_len, body_len);
}

static void send_raw(int fd, const uint8_t *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static void a_frame_that_trickles_in_holds_nobody(void **state)
{
	struct fixture *f = *state;
	struct wire_client *other = connect_to(f);
	uint8_t frame[100];
	size_t len = frame_into(frame, TOGETHER, "slowly", 6);
	int fd = wire_unit_connect(f->path);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < len; i += 5) {
			send_raw(fd, frame + i, len - i < 5 ? len - i : 5);
			asks(f, other, TOGETHER, "quickly");
		}
		expect_reply(fd, TOGETHER, 6);
	}
	send_raw(fd, frame, len - 1);
	(void)close(fd);
	until(&f->state.sessions_closed, 1);
	asks(f, other, TOGETHER, "still there");
	wire_close(other);
}

/* The time of one that came in parts ends with it. */
static void after_a_frame_in_parts_one_may_be_silent(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[100];
	size_t len = frame_into(frame, TOGETHER, "body", 4);
	int fd = wire_unit_connect(f->path);
	send_raw(fd, frame, len);
	expect_reply(fd, TOGETHER, 4);
	send_raw(fd, frame, len - 1);
	(void)usleep(50000);
	send_raw(fd, frame + len - 1, 1);
	expect_reply(fd, TOGETHER, 4);
	(void)usleep(3500000);
	send_raw(fd, frame, len);
	expect_reply(fd, TOGETHER, 4);
	(void)close(fd);
}

static void a_frame_that_does_not_end_is_given_up(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[100], byte;
	size_t len = frame_into(frame, TOGETHER, "body", 4);
	int fd = wire_unit_connect(f->path);
	send_raw(fd, frame, len);
	expect_reply(fd, TOGETHER, 4);
	send_raw(fd, frame, len - 1);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	(void)close(fd);
	assert_int_equal(atomic_load(&f->state.sessions_closed), 1);
}

static void requests_sent_at_once_are_answered_in_order(void **state)
{
	struct fixture *f = *state;
	uint8_t frames[3 * (WIRE_REQUEST_HEAD + 10)];
	size_t len = frame_into(frames, TOGETHER, "1", 1);
	len += frame_into(frames + len, TOGETHER, "22", 2);
	len += frame_into(frames + len, ECHO, "333", 3);
	int fd = wire_unit_connect(f->path);
	for (int i = 0; i < 3; i++) {
		send_raw(fd, frames, len);
		expect_reply(fd, TOGETHER, 1);
		expect_reply(fd, TOGETHER, 2);
		expect_reply(fd, ECHO, 3);
	}
	(void)close(fd);
}

#define UNREAD 20

static void *write_unread(void *argument)
{
	const int *fd = argument;
	static uint8_t frame[WIRE_REQUEST_HEAD + LARGE], body[LARGE];
	size_t len = frame_into(frame, TOGETHER, body, LARGE);
	for (int i = 0; i < UNREAD; i++)
		for (size_t done = 0; done < len;) {
			ssize_t sent = send(*fd, frame + done, len - done, MSG_NOSIGNAL);
			if (sent <= 0)
				return NULL;
			done += (size_t)sent;
		}
	return NULL;
}

static void who_does_not_take_replies_holds_nobody(void **state)
{
	struct fixture *f = *state;
	struct wire_client *other = connect_to(f);
	pthread_t writer;
	int fd = wire_unit_connect(f->path);
	assert_int_equal(pthread_create(&writer, NULL, write_unread, &fd), 0);
	for (int i = 0; i < 100; i++) {
		asks(f, other, TOGETHER, "quickly");
		(void)usleep(2000);
	}
	for (int i = 0; i < UNREAD; i++)
		expect_reply(fd, TOGETHER, LARGE);
	assert_int_equal(pthread_join(writer, NULL), 0);
	(void)close(fd);
	wire_close(other);
}

static void what_is_no_request_ends_only_its_connection(void **state)
{
	struct fixture *f = *state;
	struct wire_client *other = connect_to(f);
	uint8_t frame[100], answer_room[200];
	int fd = wire_unit_connect(f->path);
	send_raw(fd, frame, frame_into(frame, TOGETHER, "good", 4));
	expect_reply(fd, TOGETHER, 4);
	size_t len = frame_into(frame, 77, "bad", 3);
	send_raw(fd, frame, len);
	ssize_t got = recv(fd, answer_room, sizeof answer_room, 0);
	assert_true(got > WIRE_REPLY_HEAD && answer_room[4] == 0xff && answer_room[5] == 0xff);
	assert_int_equal(recv(fd, answer_room, sizeof answer_room, 0), 0);
	(void)close(fd);
	asks(f, other, TOGETHER, "good");
	wire_close(other);
}

/* ---- many, and the end ---- */

static void *hammer_main(void *argument)
{
	struct fixture *f = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct wire_client *c;
	uintptr_t wrong = 0;
	for (int round = 0; round < 20; round++) {
		if (wire_connect(&s, f->path, 5000, &c).code != E_OK)
			return argument;
		for (size_t i = 0; i < 20; i++) {
			uint8_t body[3000];
			span reply, sent = span_of(body, i * 149 + 3);
			memset(body, (int)i, sizeof body);
			st status = wire_call(&s, c, i % 7 == 6 ? ECHO : TOGETHER, sent, &reply);
			wrong += status.code != E_OK || !span_equal(reply, sent);
			scope_reset(&s);
		}
		wire_close(c);
	}
	return wrong == 0 ? NULL : argument;
}

static void many_writers_come_and_go(void **state)
{
	struct fixture *f = *state;
	pthread_t thread[24];
	for (size_t i = 0; i < 24; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, hammer_main, f), 0);
	for (size_t i = 0; i < 24; i++) {
		void *wrong;
		assert_int_equal(pthread_join(thread[i], &wrong), 0);
		assert_null(wrong);
	}
	until(&f->state.sessions_closed, 24 * 20);
}

static void *let_go(void *argument)
{
	struct fixture *f = argument;
	(void)usleep(100000);
	atomic_store(&f->state.held, 0);
	return NULL;
}

static void stopping_lets_what_is_under_way_end(void **state)
{
	struct fixture *f = *state;
	struct caller holder, idle;
	pthread_t letting_go;
	call_aside(f, &idle, "idle");
	comes_back(&idle, E_OK);
	hold(f, &holder);
	assert_int_equal(pthread_create(&letting_go, NULL, let_go, f), 0);
	wire_server_stop(f->server, 2000);
	f->server = NULL;
	assert_int_equal(pthread_join(letting_go, NULL), 0);
	comes_back(&holder, E_OK);
	assert_int_equal(atomic_load(&f->state.sessions_closed), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_waits_is_worked_on_together_and_answered_one_by_one),
		TEST(a_connection_may_ask_for_other_things_between),
		TEST(others_are_answered_while_requests_wait),
		TEST(a_frame_that_trickles_in_holds_nobody),
		TEST(after_a_frame_in_parts_one_may_be_silent),
		TEST(a_frame_that_does_not_end_is_given_up),
		TEST(requests_sent_at_once_are_answered_in_order),
		TEST(who_does_not_take_replies_holds_nobody),
		TEST(what_is_no_request_ends_only_its_connection),
		TEST(many_writers_come_and_go),
		TEST(stopping_lets_what_is_under_way_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
