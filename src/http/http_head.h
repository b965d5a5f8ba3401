/*
 * http_head.h - the request as it arrives: request line, fields and chunked framing, read strictly (RFC 9112). Private to http.
 *
 * Whatever two readers of a message could understand differently is refused instead of repaired: bare CR or LF, folded lines,
 * space before a colon, two lengths, a length beside an encoding. Pure functions over bytes, the target of fuzz_http_route.
 */
#pragma once
#include "http.h"

#define HTTP_FIELDS_MAX 50

struct http_field {
	span name;
	span value;
};
struct http_head {
	span method_text;
	enum http_method method;
	bool method_known;
	span path;
	span query;
	bool version_1_0;
	bool keep_alive;
	bool expect_continue;
	bool chunked;
	bool has_length;
	uint64_t length;
	span content_type; /* without parameters */
	struct http_field field[HTTP_FIELDS_MAX];
	size_t field_count;
};
/* Why a request is refused by the server itself; `status` 0: it is not. */
struct http_refusal {
	int status;
	enum code code;
	const char *detail;
};

/* `text` ends with the empty line. The head's spans point into it. */
struct http_refusal http_head_parse(span text, struct http_head *out);
span http_head_field(const struct http_head *head, const char *name);
/* How many octets of `text` the head has, its empty line included; 0 when its end is not there yet. `scanned` octets were
 * searched before. */
size_t http_head_end(span text, size_t scanned);

/* Chunked coding, a piece at a time. */
enum http_chunks_step { HTTP_CHUNKS_MORE, HTTP_CHUNKS_DATA, HTTP_CHUNKS_END, HTTP_CHUNKS_BAD };
struct http_chunks {
	int state;
	uint64_t left; /* of the chunk under way */
	unsigned digits;
	size_t overhead; /* octets of extensions and trailers so far */
};
/* Takes from the front of `in`. DATA: `out` is the next piece of the body. MORE: everything was taken and more must come. */
enum http_chunks_step http_chunks_next(struct http_chunks *c, span *in, span *out);
