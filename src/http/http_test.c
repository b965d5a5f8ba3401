/* The server as its peers see it: every test talks to a running one over loopback. */
#include "http.h"
#include "file.h"
#include "unit.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX (8u << 20)

static struct http_server *server;
static struct sockaddr_in server_at;
static char answer[ANSWER_MAX + 1];
static size_t answer_len;
static int released;

/* ---- handlers ---- */

static st echo(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	reply->content_type = "text/plain";
	const char *where = request->on_worker ? "worker" : "loop";
	reply->body = span_str(scope_printf(s, "%s %zu %.*s", where, request->body.len, (int)request->body.len,
					    request->body.len > 0 ? (const char *)request->body.data : ""));
	return OK;
}

static st echo_header(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	reply->body = scope_copy(s, http_header(request, "x-test"));
	http_reply_header(reply, "Cache-Control", "no-store");
	return OK;
}

static st defer_once(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	reply->defer = !request->on_worker;
	return request->on_worker ? echo(s, request, reply) : OK;
}

static void count_release(void *owner)
{
	(void)__atomic_add_fetch(&released, 1, __ATOMIC_SEQ_CST);
	free(owner);
}

static st large(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	uint64_t len = strtoull(scope_cstr(s, http_query(s, request, "len")), NULL, 10);
	char *body = heap_alloc(len);
	memset(body, 'x', len);
	reply->body = span_of(body, len);
	reply->owner = body;
	reply->release = count_release;
	return OK;
}

static st from_file(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	(void)request;
	reply->file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	reply->file_len = 100000;
	return reply->file >= 0 ? OK : fail_errno(s, E_IO, "own program");
}

static st spooled(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	char first[2] = { 0 };
	char last[2] = { 0 };
	if (pread(request->body_file, first, 1, 0) != 1 ||
	    pread(request->body_file, last, 1, (off_t)request->body_len - 1) != 1)
		return fail_errno(s, E_IO, "reading the spooled body");
	reply->body = span_str(
		scope_printf(s, "%llu %s%s %zu", (unsigned long long)request->body_len, first, last, request->body.len));
	return OK;
}

static st failing(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	reply->release = count_release;
	reply->owner = heap_alloc(1);
	reply->body = span_str("not this");
	if (span_is(request->query, "denied"))
		return fail(s, E_DENIED, "say \"no\"\n");
	return fail(s, E_IO, "/secret/path is broken");
}

static st slow(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	(void)usleep(300000);
	return echo(s, request, reply);
}

static st no_content(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	(void)s;
	(void)request;
	reply->status = 204;
	return OK;
}

static st who(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	reply->body = span_str(scope_printf(s, "%s %d %s", request->local ? "local" : "remote",
					    request->local ? (int)request->peer_uid : -1, request->peer_address));
	return OK;
}

/* Each answers how many it was worked on with; one with the query "fail" fails, and the first call keeps the only worker busy. */
static void together(struct http_exchange *const *all, size_t count)
{
	(void)usleep(150000);
	for (size_t i = 0; i < count; i++) {
		struct scope *s = all[i]->scope;
		if (span_is(all[i]->request.query, "fail"))
			all[i]->ended = fail(s, E_CONFLICT, "this one fails alone");
		else
			all[i]->reply.body = span_str(scope_printf(s, "%zu together", count));
	}
}

static st permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	(void)request;
	return route->role != NULL ? fail(s, E_DENIED, "role %s is needed", route->role) : OK;
}

static const struct http_route routes[] = {
	{ .method = HTTP_GET, .path = "/loop", .on_loop = true, .handle = echo },
	{ .method = HTTP_POST, .path = "/loop", .on_loop = true, .media_type = "text/plain", .max_body = 100, .handle = echo },
	{ .method = HTTP_POST, .path = "/worker", .media_type = "text/plain", .max_body = 100, .handle = echo },
	{ .method = HTTP_GET, .path = "/defer", .on_loop = true, .handle = defer_once },
	{ .method = HTTP_GET, .path = "/header", .on_loop = true, .handle = echo_header },
	{ .method = HTTP_GET, .path = "/large", .on_loop = true, .handle = large },
	{ .method = HTTP_GET, .path = "/file", .handle = from_file },
	{ .method = HTTP_PUT,
	  .path = "/spool",
	  .media_type = "text/plain",
	  .max_body = 4000000,
	  .spool = true,
	  .handle = spooled },
	{ .method = HTTP_GET, .path = "/fails", .handle = failing },
	{ .method = HTTP_GET, .path = "/slow", .handle = slow },
	{ .method = HTTP_GET, .path = "/empty", .on_loop = true, .handle = no_content },
	{ .method = HTTP_GET, .path = "/role", .role = "operator", .handle = echo },
	{ .method = HTTP_GET, .path = "/who", .handle = who },
	{ .method = HTTP_GET, .path = "/together", .handle_all = together },
	{ .method = HTTP_GET, .path = "/together/{role}", .role = "operator", .handle_all = together },
};
static const struct http_settings standard = {
	.loops = 2,
	.workers = 2,
	.together = 1,
	.queue = 4,
	.max_connections = 40,
	.max_header = 2000,
	.idle_seconds = 2,
	.spool_directory = "/tmp",
	.routes = routes,
	.route_count = sizeof routes / sizeof routes[0],
	.permit = permit,
};

/* ---- the peer ---- */

static int start_server(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_ok(&s, http_server_new(&s, &standard, &server));
	assert_ok(&s, http_listen(&s, server, "127.0.0.1:0", NULL));
	assert_ok(&s, http_server_start(&s, server));
	server_at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	server_at.sin_port = htons((uint16_t)atoi(strrchr(http_server_address(server, 0), ':') + 1));
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	http_server_stop(server, 2000);
	return 0;
}

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&server_at, sizeof server_at), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	size_t len = strlen(text);
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Until the peer closes, or nothing comes for `ms`. True when it closed. */
static bool hear(int fd, int ms)
{
	answer_len = 0;
	bool closed = false;
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	while (answer_len < ANSWER_MAX && poll(&wait, 1, ms) == 1) {
		ssize_t got = read(fd, answer + answer_len, ANSWER_MAX - answer_len);
		if (got <= 0) {
			closed = true;
			break;
		}
		answer_len += (size_t)got;
	}
	answer[answer_len] = 0;
	return closed;
}

#define assert_has(text)                                                                                                       \
	do {                                                                                                                   \
		if (strstr(answer, (text)) == NULL)                                                                            \
			print_error("no '%s' in: %.400s\n", (text), answer);                                                   \
		assert_non_null(strstr(answer, (text)));                                                                       \
	} while (0)

/* One request that asks for the connection to be closed. */
static void exchange(const char *text)
{
	AUTO_FD fd = dial();
	say(fd, text);
	assert_true(hear(fd, 3000));
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

/* ---- tests ---- */

static void loop_and_worker_routes_answer(void **state)
{
	(void)state;
	exchange(GET("/loop"));
	assert_has("HTTP/1.1 200 OK\r\nDate: ");
	assert_has("\r\nContent-Type: text/plain\r\nContent-Length: 7\r\nConnection: close\r\n\r\nloop 0 ");
	exchange(
		"POST /worker HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc");
	assert_has("\r\n\r\nworker 3 abc");
	exchange(GET("/defer"));
	assert_has("\r\n\r\nworker 0 ");
	exchange("GET /header HTTP/1.1\r\nhost: x\r\nX-TEST:  v \r\nConnection: close\r\n\r\n");
	assert_has("Cache-Control: no-store\r\n");
	assert_has("\r\n\r\nv");
	exchange("HEAD /loop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	assert_has("Content-Length: 7\r\nConnection: close\r\n\r\n");
	assert_null(strstr(answer, "loop 0"));
	exchange(GET("/empty"));
	assert_has("HTTP/1.1 204 No Content\r\n");
	assert_null(strstr(answer, "Content-Length"));
}

static void requests_that_wait_for_one_route_are_worked_on_together(void **state)
{
	(void)state;
	static const char *const asked[] = { GET("/together"), GET("/together"), GET("/together?fail"), GET("/together"),
					     GET("/together/x") };
	static const char *const answered[] = { "1 together", "3 together", "this one fails alone", "3 together", "403" };
	int fd[5];
	for (size_t i = 0; i < 5; i++) {
		fd[i] = dial();
		say(fd[i], asked[i]);
		(void)usleep(20000); /* the first is taken alone, and in this order */
	}
	for (size_t i = 0; i < 5; i++) {
		assert_true(hear(fd[i], 3000));
		assert_has(answered[i]);
		(void)close(fd[i]);
	}
}

static size_t count_in_answer(const char *text)
{
	size_t count = 0;
	for (const char *at = answer; (at = strstr(at, text)) != NULL; at++)
		count++;
	return count;
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	(void)state;
	AUTO_FD fd = dial();
	say(fd, "\r\nGET /loop HTTP/1.1\r\nHost: x\r\n\r\nPOST /worker HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
		"Content-Length: 2\r\n\r\nhiGET /header HTTP/1.1\r\nHost: x\r\nX-Test: last\r\n\r\n");
	assert_int_equal(shutdown(fd, SHUT_WR), 0); /* a half-closed peer still gets its answers */
	assert_true(hear(fd, 3000));
	assert_int_equal(count_in_answer("HTTP/1.1 200 OK"), 3);
	const char *first = strstr(answer, "loop 0 ");
	const char *second = strstr(answer, "worker 2 hi");
	const char *third = strstr(answer, "\r\n\r\nlast");
	assert_true(first != NULL && second > first && third > second);
}

static void requests_may_come_an_octet_at_a_time(void **state)
{
	(void)state;
	AUTO_FD fd = dial();
	for (const char *at = "POST /loop HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
			      "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
	     *at != 0; at++)
		say(fd, (char[]){ *at, 0 });
	assert_false(hear(fd, 200));
	assert_has("loop 3 abc");
}

static void http_1_0_is_served(void **state)
{
	(void)state;
	exchange("GET /loop HTTP/1.0\r\n\r\n");
	assert_has("Connection: close\r\n");
	AUTO_FD fd = dial();
	say(fd, "GET /loop HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_false(hear(fd, 200));
	assert_has("Connection: keep-alive\r\n");
}

static void refusals_have_their_status(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *status;
		const char *also;
	} cases[] = {
		{ GET("/nothing"), "404 Not Found", "\"code\":\"NOTFOUND\"" },
		{ "PUT /loop HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde", "405 Method Not Allowed",
		  "Allow: GET, HEAD, POST\r\n" },
		{ "PATCH /loop HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method", "Allow: " },
		{ "POST /loop HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\na", "415 Unsupported", "" },
		{ "POST /loop HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 101\r\n\r\n",
		  "413 Content Too Large", "LIMIT" },
		{ "GET /loop HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "400 Bad Request",
		  "application/problem+json" },
		{ "GET /loop HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400 Bad Request",
		  "6.1" },
		{ "POST /loop HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		  "400 Bad", "7.1" },
		{ "GET /loop HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\n\r\n", "417 Expectation", "" },
		{ "rubbish\r\n\r\n", "400 Bad Request", "" },
		{ "GET / HTTP/3.0\r\n\r\n", "505 HTTP Version", "" },
		{ GET("/role"), "403 Forbidden", "role operator is needed" },
		{ GET("/fails?denied"), "403 Forbidden", "\"detail\":\"say \\\"no\\\"\\u000a\"" },
		{ GET("/fails"), "500 Internal Server Error", "\"code\":\"IO\",\"tx\":\"" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		AUTO_FD fd = dial();
		say(fd, cases[i].text);
		(void)hear(fd, 200);
		assert_has(cases[i].status);
		assert_has(cases[i].also);
		assert_has("application/problem+json");
		assert_null(strstr(answer, "/secret"));
		assert_null(strstr(answer, "not this"));
	}
}

/* //= rfc9110#15.5.14 413: refused at the head, while the peer still sends; the answer must reach it all the same. */
static void bodies_over_the_limit_are_refused_before_they_are_read(void **state)
{
	(void)state;
	AUTO_FD fd = dial();
	say(fd, "POST /loop HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 50000000\r\n\r\n");
	char block[10000];
	memset(block, 'x', sizeof block);
	for (int i = 0; i < 300; i++)
		if (send(fd, block, sizeof block, MSG_NOSIGNAL) < 0)
			break;
	assert_true(hear(fd, 3000));
	assert_has("HTTP/1.1 413 ");
	AUTO_FD chunked = dial();
	say(chunked,
	    "POST /worker HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "60\r\n################################################################################################\r\n"
	    "5\r\nabcde");
	(void)hear(chunked, 300);
	assert_has("HTTP/1.1 413 ");
	AUTO_FD expecting = dial();
	say(expecting,
	    "POST /loop HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n");
	(void)hear(expecting, 300);
	assert_has("HTTP/1.1 413 ");
	assert_null(strstr(answer, "100 Continue"));
}

static void a_patient_peer_is_invited_to_send(void **state)
{
	(void)state;
	AUTO_FD fd = dial();
	say(fd,
	    "POST /worker HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	assert_false(hear(fd, 200));
	assert_string_equal(answer, "HTTP/1.1 100 Continue\r\n\r\n");
	say(fd, "abc");
	assert_false(hear(fd, 200));
	assert_has("worker 3 abc");
}

static void long_headers_are_refused(void **state)
{
	(void)state;
	char text[4000];
	(void)snprintf(text, sizeof text, "GET /loop HTTP/1.1\r\nHost: x\r\nX: %01940d\r\n\r\n", 0);
	AUTO_FD fits = dial();
	say(fits, text);
	(void)hear(fits, 200);
	assert_has("HTTP/1.1 200 ");
	(void)snprintf(text, sizeof text, "GET /loop HTTP/1.1\r\nHost: x\r\nX: %03000d", 0);
	exchange(text);
	assert_has("HTTP/1.1 431 ");
}

static void large_answers_arrive_whole(void **state)
{
	(void)state;
	released = 0;
	exchange(GET("/large?len=3000000"));
	assert_has("Content-Length: 3000000\r\n");
	assert_int_equal(strlen(strstr(answer, "\r\n\r\n") + 4), 3000000);
	exchange(GET("/large?len=10"));
	assert_has("\r\n\r\nxxxxxxxxxx");
	exchange("HEAD /large?len=5000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	assert_has("Content-Length: 5000\r\n");
	for (int i = 0; i < 100 && released < 3; i++)
		(void)usleep(10000);
	assert_int_equal(released, 3);
	exchange(GET("/file"));
	assert_has("Content-Length: 100000\r\n");
	const char *body = strstr(answer, "\r\n\r\n") + 4;
	assert_int_equal((size_t)(answer + answer_len - body), 100000);
	assert_memory_equal(body,
			    "\x7f"
			    "ELF",
			    4);
}

static void uploads_are_spooled_to_a_file(void **state)
{
	(void)state;
	AUTO_FD fd = dial();
	say(fd,
	    "PUT /spool HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 3000000\r\n\r\na");
	static char block[2999998];
	memset(block, 'x', sizeof block);
	assert_int_equal(send(fd, block, sizeof block, MSG_NOSIGNAL), sizeof block);
	say(fd, "z");
	assert_true(hear(fd, 3000));
	assert_has("\r\n\r\n3000000 az 0");
}

static void too_many_waiting_requests_get_503(void **state)
{
	(void)state;
	int fd[12];
	for (size_t i = 0; i < 12; i++) {
		fd[i] = dial();
		say(fd[i], GET("/slow"));
	}
	size_t busy = 0, served = 0;
	for (size_t i = 0; i < 12; i++) {
		assert_true(hear(fd[i], 4000));
		busy += strstr(answer, "503 Service Unavailable") != NULL && strstr(answer, "Retry-After: 1\r\n") != NULL;
		served += strstr(answer, "worker 0") != NULL;
		assert_int_equal(close(fd[i]), 0);
	}
	assert_int_equal(busy + served, 12);
	assert_true(busy >= 4 && served >= 6);
}

/* 40 may be open: the 40 newest are, and whoever comes next is served. */
static void idle_connections_make_room_for_others(void **state)
{
	(void)state;
	int fd[60];
	for (size_t i = 0; i < 60; i++) {
		fd[i] = dial();
		say(fd[i], i % 2 == 0 ? "GET /lo" : "");
		(void)usleep(2000); /* so that it is accepted before the next one */
	}
	exchange(GET("/loop"));
	assert_has("200 OK");
	size_t closed = 0;
	for (size_t i = 0; i < 60; i++) {
		bool gone = hear(fd[i], 1);
		assert_int_equal(answer_len, 0);
		closed += gone ? 1 : 0;
		assert_int_equal(close(fd[i]), 0);
	}
	assert_in_range(closed, 20, 25);
}

/* None is taken from a peer that is being answered. */
static void connections_beyond_the_busy_ones_are_told_503(void **state)
{
	(void)state;
	int fd[40];
	for (size_t i = 0; i < 40; i++) {
		fd[i] = dial();
		say(fd[i], "GET /large?len=8000000 HTTP/1.1\r\nHost: x\r\n\r\n");
	}
	for (size_t i = 0; i < 40; i++) {
		struct pollfd begun = { .fd = fd[i], .events = POLLIN };
		assert_int_equal(poll(&begun, 1, 10000), 1);
	}
	AUTO_FD next = dial();
	assert_true(hear(next, 5000));
	assert_has("HTTP/1.1 503 ");
	for (size_t i = 0; i < 40; i++)
		assert_int_equal(close(fd[i]), 0);
	(void)usleep(300000);
	exchange(GET("/loop"));
	assert_has("200 OK");
}

static void silent_and_slow_peers_are_closed(void **state)
{
	(void)state;
	AUTO_FD silent = dial();
	AUTO_FD slow_peer = dial();
	say(slow_peer, "GET /loop");
	for (int i = 0; i < 7; i++) {
		(void)usleep(500000);
		(void)send(slow_peer, "x", 1, MSG_NOSIGNAL);
	}
	assert_true(hear(silent, 5000));
	assert_int_equal(answer_len, 0);
	assert_true(hear(slow_peer, 5000));
}

static void local_peers_are_known_by_their_uid(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char directory[] = "/tmp/chancery-http-XXXXXX";
	assert_non_null(mkdtemp(directory));
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s/socket", directory);
	struct http_server *local;
	assert_ok(&s, http_server_new(&s, &standard, &local));
	assert_ok(&s, http_listen(&s, local, scope_printf(&s, "unix:%s", at.sun_path), NULL));
	assert_ok(&s, http_server_start(&s, local));
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
	say(fd, GET("/who"));
	assert_true(hear(fd, 2000));
	assert_has(scope_printf(&s, "\r\n\r\nlocal %d ", (int)getuid()));
	struct http_server *second;
	assert_ok(&s, http_server_new(&s, &standard, &second));
	assert_fails(&s, E_CONFLICT, http_listen(&s, second, scope_printf(&s, "unix:%s", at.sun_path), NULL));
	assert_fails(&s, E_IO, http_listen(&s, second, http_server_address(server, 0), NULL));
	assert_fails(&s, E_CONFIG, http_listen(&s, second, "localhost:80", NULL));
	assert_ok(&s, http_listen(&s, second, "[::1]:0", NULL));
	http_server_stop(second, 0);
	http_server_stop(local, 100);
	assert_int_equal(rmdir(directory), 0); /* the socket is gone */
}

static void a_stop_lets_running_requests_end(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_FD idle = dial();
	AUTO_FD busy = dial();
	say(busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
	(void)usleep(200000);
	http_server_stop(server, 3000);
	assert_true(hear(busy, 2000));
	assert_has("worker 0");
	assert_true(hear(idle, 2000));
	assert_int_equal(start_server(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loop_and_worker_routes_answer),
		cmocka_unit_test(requests_that_wait_for_one_route_are_worked_on_together),
		cmocka_unit_test(pipelined_requests_are_answered_in_order),
		cmocka_unit_test(requests_may_come_an_octet_at_a_time),
		cmocka_unit_test(http_1_0_is_served),
		cmocka_unit_test(refusals_have_their_status),
		cmocka_unit_test(bodies_over_the_limit_are_refused_before_they_are_read),
		cmocka_unit_test(a_patient_peer_is_invited_to_send),
		cmocka_unit_test(long_headers_are_refused),
		cmocka_unit_test(large_answers_arrive_whole),
		cmocka_unit_test(uploads_are_spooled_to_a_file),
		cmocka_unit_test(too_many_waiting_requests_get_503),
		cmocka_unit_test(idle_connections_make_room_for_others),
		cmocka_unit_test(connections_beyond_the_busy_ones_are_told_503),
		cmocka_unit_test(silent_and_slow_peers_are_closed),
		cmocka_unit_test(local_peers_are_known_by_their_uid),
		cmocka_unit_test(a_stop_lets_running_requests_end),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
