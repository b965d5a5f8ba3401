#include "http_head.h"
#include "http_route.h"
#include "unit.h"

static struct http_head head;

static int parse(const char *text)
{
	return http_head_parse(span_str(text), &head).status;
}

static void a_plain_request_is_understood(void **state)
{
	(void)state;
	assert_int_equal(parse("POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain; charset=utf-8\r\n"
			       "content-length: 12\r\nX-Y:\t z \r\nExpect: 100-Continue\r\n\r\n"),
			 0);
	assert_int_equal(head.method, HTTP_POST);
	assert_true(head.method_known && head.keep_alive && head.expect_continue && !head.chunked);
	assert_true(span_is(head.path, "/a/b"));
	assert_true(span_is(head.query, "c=d"));
	assert_true(span_is(head.content_type, "text/plain"));
	assert_int_equal(head.length, 12);
	assert_true(span_is(http_head_field(&head, "x-y"), "z"));
	assert_int_equal(http_head_field(&head, "absent").len, 0);
}

static void connections_are_kept_as_their_version_says(void **state)
{
	(void)state;
	assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n"), 0);
	assert_false(head.keep_alive);
	assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), 0);
	assert_true(head.keep_alive);
	assert_int_equal(parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: TE, close\r\n\r\n"), 0);
	assert_false(head.keep_alive);
	assert_int_equal(parse("OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
	assert_false(head.method_known);
	assert_int_equal(parse("GET http://host:80/p?q HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
	assert_true(span_is(head.path, "/p"));
	assert_int_equal(parse("GET https://host HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
	assert_true(span_is(head.path, "/"));
}

#define H "GET / HTTP/1.1\r\nHost: x\r\n"
static const struct {
	const char *text;
	int status;
} refused[] = {
	{ "GET / HTTP/1.1\nHost: x\n\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: x\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: x\rContent-Length: 1\r\n\r\n", 400 },
	{ "GET /\r\n\r\n", 400 },
	{ "GET / \r\n\r\n", 400 },
	{ "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
	{ "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400 },
	{ "G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
	{ " GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
	{ "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505 },
	{ "GET / http/1.1\r\nHost: x\r\n\r\n", 400 },
	{ "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
	{ "GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
	{ "GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n\r\n", 400 },
	{ H "Host: y\r\n\r\n", 400 },
	{ H "No colon\r\n\r\n", 400 },
	{ H "Space : x\r\n\r\n", 400 },
	{ H ": x\r\n\r\n", 400 },
	{ H "A: b\r\n folded\r\n\r\n", 400 },
	{ H "A: b\x01\r\n\r\n", 400 },
	{ H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400 },
	{ H "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400 },
	{ H "Content-Length: 1, 1\r\n\r\n", 400 },
	{ H "Content-Length: +1\r\n\r\n", 400 },
	{ H "Content-Length: -1\r\n\r\n", 400 },
	{ H "Content-Length: 0x1\r\n\r\n", 400 },
	{ H "Content-Length: \r\n\r\n", 400 },
	{ H "Content-Length: 9999999999999999999\r\n\r\n", 413 },
	{ H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501 },
	{ H "Transfer-Encoding: xchunked\r\n\r\n", 501 },
	{ "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ H "Expect: 200-ok\r\n\r\n", 417 },
	{ H "Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n", 400 },
	{ H "A: b", 400 },
	{ "", 400 },
};

//= rfc9112#6.3 what two readers could frame differently is refused
static void what_could_be_read_in_two_ways_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		int got = parse(refused[i].text);
		if (got != refused[i].status)
			print_error("%d for: %s\n", got, refused[i].text);
		assert_int_equal(got, refused[i].status);
	}
}

static void too_many_fields_are_refused(void **state)
{
	(void)state;
	char text[4096] = H;
	for (size_t i = 1; i < HTTP_FIELDS_MAX; i++)
		strcat(text, "A: b\r\n");
	size_t len = strlen(text);
	strcat(text, "\r\n");
	assert_int_equal(parse(text), 0);
	(void)snprintf(text + len, sizeof text - len, "A: b\r\n\r\n");
	assert_int_equal(parse(text), 431);
}

static void the_end_of_a_head_is_found_in_pieces(void **state)
{
	(void)state;
	static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
	size_t whole = sizeof text - 1 - 4;
	for (size_t seen = 0; seen < whole; seen++) {
		assert_int_equal(http_head_end(span_of(text, seen), 0), 0);
		assert_int_equal(http_head_end(span_of(text, whole), seen), whole);
		assert_int_equal(http_head_end(span_of(text, sizeof text - 1), seen), whole);
	}
	assert_int_equal(http_head_end(span_str("GET /\n\nrest"), 0), 7);
	assert_int_equal(http_head_end(span_str("GET /\n\r\nrest"), 0), 8);
}

/* The whole coding, given in pieces of `step` octets; the body, or NULL when it is broken or not at its end. */
static const char *unchunk(const char *text, size_t step, size_t *out_left)
{
	static char body[256];
	struct http_chunks chunks = { 0 };
	size_t len = 0;
	span all = span_str(text);
	for (size_t at = 0; at < all.len; at += step) {
		span in = span_first(span_from(all, at), step);
		for (;;) {
			span part;
			enum http_chunks_step got = http_chunks_next(&chunks, &in, &part);
			if (got == HTTP_CHUNKS_BAD)
				return NULL;
			if (got == HTTP_CHUNKS_MORE)
				break;
			if (got == HTTP_CHUNKS_END) {
				*out_left = all.len - (size_t)(in.data - all.data);
				body[len] = 0;
				return body;
			}
			memcpy(body + len, part.data, part.len);
			len += part.len;
		}
	}
	return NULL;
}

static void chunks_are_joined_however_they_arrive(void **state)
{
	(void)state;
	static const char text[] = "3\r\nabc\r\n0a;x=\"y\"\r\ndefghijklm\r\n0\r\nTrailer: t\r\nB: c\r\n\r\nGET";
	for (size_t step = 1; step < sizeof text; step++) {
		size_t left = 99;
		assert_string_equal(unchunk(text, step, &left), "abcdefghijklm");
		if (step == sizeof text - 1)
			assert_int_equal(left, 3);
	}
	static const char *const bad[] = { "\r\n",
					   "x\r\n",
					   "3\nabc\r\n0\r\n\r\n",
					   "3\r\nabcd\r\n0\r\n\r\n",
					   "-1\r\n",
					   "1000000000000\r\n",
					   "3\r\nabc\n0\r\n\r\n",
					   "0\r\n\n",
					   "0\r\n\r\r",
					   "3 x\nabc",
					   ";\r\n" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		size_t left;
		assert_null(unchunk(bad[i], 1, &left));
		assert_null(unchunk(bad[i], 100, &left));
	}
}

static st nothing(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	(void)s;
	(void)request;
	(void)reply;
	return OK;
}

static const struct http_route routes[] = {
	{ .method = HTTP_GET, .path = "/", .handle = nothing },
	{ .method = HTTP_POST, .path = "/ocsp", .media_type = "application/ocsp-request", .max_body = 10, .handle = nothing },
	{ .method = HTTP_GET, .path = "/ocsp/{request*}", .handle = nothing },
	{ .method = HTTP_PUT, .path = "/v1/{ca}/crl/{number}", .max_body = 5, .handle = nothing },
	{ .method = HTTP_GET, .path = "/v1/{ca}/crl/{number}", .handle = nothing },
	{ .method = HTTP_GET, .path = "/ca/{name}.crt", .handle = nothing },
};

static int find(const char *request, const struct http_route **out, char allow[64])
{
	struct http_refusal why = { 0 };
	assert_int_equal(parse(request), 0);
	*out = http_route_find(routes, sizeof routes / sizeof routes[0], &head, &why, allow);
	return *out != NULL ? 200 : why.status;
}

static void routes_are_found_and_refusals_are_exact(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		const char *line;
		const char *fields;
		int status;
		size_t row;
		const char *allow;
	} cases[] = {
		{ "GET /", "", 200, 0, "" },
		{ "HEAD /", "", 200, 0, "" },
		{ "GET /x", "", 404, 0, "" },
		{ "POST /", "", 405, 0, "GET, HEAD" },
		{ "OPTIONS /v1/a/crl/1", "", 405, 0, "PUT, GET, HEAD" },
		{ "POST /ocsp", "Content-Type: application/OCSP-request\r\nContent-Length: 10\r\n", 200, 1, "" },
		{ "POST /ocsp", "Content-Type: application/ocsp-request\r\nContent-Length: 11\r\n", 413, 0, "" },
		{ "POST /ocsp", "Content-Type: text/plain\r\nContent-Length: 10\r\n", 415, 0, "" },
		{ "POST /ocsp", "Content-Length: 10\r\n", 415, 0, "" },
		{ "GET /", "Content-Length: 1\r\n", 413, 0, "" },
		{ "GET /", "Transfer-Encoding: chunked\r\n", 413, 0, "" },
		{ "GET /ocsp/a/b/c", "", 200, 2, "" },
		{ "GET /ocsp/", "", 404, 0, "" },
		{ "GET /v1/a/crl/7", "", 200, 4, "" },
		{ "GET /v1/a/b/crl/7", "", 404, 0, "" },
		{ "GET /v1//crl/7", "", 404, 0, "" },
		{ "GET /v1/a/crl/7/", "", 404, 0, "" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct http_route *row;
		char allow[64];
		int got =
			find(scope_printf(&s, "%s HTTP/1.1\r\nHost: x\r\n%s\r\n", cases[i].line, cases[i].fields), &row, allow);
		if (got != cases[i].status)
			print_error("%d for %s %s\n", got, cases[i].line, cases[i].fields);
		assert_int_equal(got, cases[i].status);
		if (got == 200)
			assert_ptr_equal(row, &routes[cases[i].row]);
		if (got == 405)
			assert_string_equal(allow, cases[i].allow);
	}
}

static void parts_are_decoded(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span part[HTTP_PARTS_MAX];
	assert_ok(&s, http_route_parts(&s, &routes[4], span_str("/v1/a%20b%2Fc/crl/7"), part));
	assert_true(span_is(part[0], "a b/c"));
	assert_true(span_is(part[1], "7"));
	assert_int_equal(part[2].len, 0);
	assert_ok(&s, http_route_parts(&s, &routes[2], span_str("/ocsp/a+b%2bc=="), part));
	assert_true(span_is(part[0], "a+b+c=="));
	assert_fails(&s, E_INPUT, http_route_parts(&s, &routes[2], span_str("/ocsp/%0"), part));
	assert_fails(&s, E_INPUT, http_route_parts(&s, &routes[2], span_str("/ocsp/%zz"), part));
	assert_fails(&s, E_INPUT, http_route_parts(&s, &routes[2], span_str("/ocsp/%00"), part));
	struct http_request request = { .query = span_str("a=1&b=x+y%3d&c&bb=2") };
	assert_true(span_is(http_query(&s, &request, "b"), "x y="));
	assert_true(span_is(http_query(&s, &request, "bb"), "2"));
	assert_int_equal(http_query(&s, &request, "c").len, 0);
	assert_int_equal(http_query(&s, &request, "d").len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_request_is_understood),
		cmocka_unit_test(connections_are_kept_as_their_version_says),
		cmocka_unit_test(what_could_be_read_in_two_ways_is_refused),
		cmocka_unit_test(too_many_fields_are_refused),
		cmocka_unit_test(the_end_of_a_head_is_found_in_pieces),
		cmocka_unit_test(chunks_are_joined_however_they_arrive),
		cmocka_unit_test(routes_are_found_and_refusals_are_exact),
		cmocka_unit_test(parts_are_decoded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
