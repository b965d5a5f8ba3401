/*
 * A request as the server reads it: head, route, parts of the path, query, chunked body. The first octet says in pieces of
 * what size the body is given.
 */
#include "fuzz.h"
#include "http_head.h"
#include "http_route.h"

static st nothing(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	(void)s;
	(void)request;
	(void)reply;
	return OK;
}

static const struct http_route routes[] = {
	{ .method = HTTP_GET, .path = "/", .handle = nothing },
	{ .method = HTTP_POST, .path = "/ocsp", .media_type = "application/ocsp-request", .max_body = 4096, .handle = nothing },
	{ .method = HTTP_GET, .path = "/ocsp/{request*}", .handle = nothing },
	{ .method = HTTP_PUT, .path = "/v1/crls/{ca}/{number}", .max_body = 100000, .handle = nothing },
	{ .method = HTTP_DELETE, .path = "/v1/{a}/{b}/{c}/{d*}", .handle = nothing },
};

static void read_route(const struct http_head *head)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct http_refusal refused;
	char allow[64];
	const struct http_route *route = http_route_find(routes, sizeof routes / sizeof routes[0], head, &refused, allow);
	check((route == NULL) == (refused.status != 0));
	if (route == NULL)
		return;
	check(head->length <= route->max_body);
	span part[HTTP_PARTS_MAX];
	if (http_route_parts(&s, route, head->path, part).code == E_OK)
		for (size_t i = 0; i < HTTP_PARTS_MAX; i++)
			check(part[i].len <= head->path.len &&
			      (part[i].len == 0 || memchr(part[i].data, 0, part[i].len) == NULL));
	const struct http_request request = { .query = head->query };
	(void)http_query(&s, &request, "a");
}

/* However the coding is cut, the same octets come out. */
static size_t read_chunks(span body, size_t piece, size_t *out_end)
{
	struct http_chunks chunks = { 0 };
	size_t total = 0;
	for (size_t at = 0; at < body.len; at += piece) {
		span in = span_first(span_from(body, at), piece);
		for (enum http_chunks_step step = HTTP_CHUNKS_DATA; step == HTTP_CHUNKS_DATA;) {
			span part = { 0 };
			step = http_chunks_next(&chunks, &in, &part);
			total += step == HTTP_CHUNKS_DATA ? part.len : 0;
			if (step == HTTP_CHUNKS_BAD || step == HTTP_CHUNKS_END) {
				*out_end = (size_t)(in.data != NULL ? in.data - body.data : (ptrdiff_t)body.len);
				return step == HTTP_CHUNKS_BAD ? SIZE_MAX : total;
			}
		}
	}
	return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	size_t piece = (size_t)data[0] + 1;
	span text = span_of(data + 1, size - 1);
	size_t end = http_head_end(text, 0);
	for (size_t scanned = 0; scanned < end && scanned < 64; scanned++)
		check(http_head_end(text, scanned) == end);
	if (end == 0)
		return 0;
	struct http_head head;
	struct http_refusal refused = http_head_parse(span_first(text, end), &head);
	if (refused.status != 0)
		return 0;
	check(!(head.chunked && head.has_length));
	read_route(&head);
	size_t in_pieces_end = 0, whole_end = 0;
	span body = span_from(text, end);
	if (head.chunked && body.len > 0)
		check(read_chunks(body, piece, &in_pieces_end) == read_chunks(body, body.len, &whole_end));
	return 0;
}
