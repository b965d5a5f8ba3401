#include "http_internal.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* A body up to this size is copied behind the head, so that both leave in one write of one piece. */
#define COPY_MAX 16384
#define KEEP_MAX 65536

/* ---- for handlers ---- */

span http_header(const struct http_request *request, const char *name)
{
	const struct http_connection *c = request->internal;
	return http_head_field(&c->head, name);
}

span http_query(struct scope *s, const struct http_request *request, const char *name)
{
	span rest = request->query;
	size_t len = strlen(name);
	while (rest.len > 0) {
		const uint8_t *end = memchr(rest.data, '&', rest.len);
		span pair = end == NULL ? rest : span_of(rest.data, (size_t)(end - rest.data));
		rest = span_from(rest, pair.len + 1);
		if (pair.len <= len || memcmp(pair.data, name, len) != 0 || pair.data[len] != '=')
			continue;
		span value;
		if (http_decode(s, span_from(pair, len + 1), true, &value).code == E_OK)
			return value;
		scope_clear_error(s);
	}
	return (span){ 0 };
}

void http_reply_header(struct http_reply *reply, const char *name, const char *value)
{
	if (reply->header_count == HTTP_REPLY_HEADERS_MAX || strpbrk(value, "\r\n") != NULL)
		log_die("reply header %s: too many headers, or a line break in its value", name);
	reply->header[reply->header_count].name = name;
	reply->header[reply->header_count++].value = value;
}

/* ---- the answer's octets ---- */

static const struct {
	int status;
	const char *phrase;
} phrases[] = {
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 206, "Partial Content" },
	{ 301, "Moved Permanently" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 415, "Unsupported Media Type" },
	{ 417, "Expectation Failed" },
	{ 422, "Unprocessable Content" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 503, "Service Unavailable" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
};

static const char *phrase_of(int status)
{
	for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Status";
}

/* "Date: ...\r\n", formatted once a second in each thread. //= rfc9110#6.6.1 an origin server with a clock sends Date */
static span date_line(void)
{
	static _Thread_local time_t second;
	static _Thread_local char line[64];
	static _Thread_local size_t len;
	time_t now = (time_t)(source_kernel.now(NULL) / HTTP_SECOND);
	if (now != second || len == 0) {
		struct tm parts;
		(void)gmtime_r(&now, &parts);
		len = strftime(line, sizeof line, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
		second = now;
	}
	return span_of(line, len);
}

static void put(struct buf *out, const char *text)
{
	(void)buf_append(out, span_str(text));
}

static void put_number(struct buf *out, uint64_t value)
{
	uint8_t digits[20];
	size_t at = sizeof digits;
	do {
		digits[--at] = (uint8_t)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	(void)buf_append(out, span_of(digits + at, sizeof digits - at));
}

static void put_field(struct buf *out, const char *name, const char *value)
{
	put(out, name);
	put(out, ": ");
	put(out, value);
	put(out, "\r\n");
}

static void put_head(struct http_connection *c, const struct http_reply *reply, bool has_body, uint64_t body_len)
{
	struct buf *out = &c->answer.bytes;
	put(out, "HTTP/1.1 ");
	put_number(out, (uint64_t)reply->status);
	put(out, " ");
	put(out, phrase_of(reply->status));
	put(out, "\r\n");
	(void)buf_append(out, date_line());
	if (reply->content_type != NULL)
		put_field(out, "Content-Type", reply->content_type);
	if (has_body) {
		put(out, "Content-Length: ");
		put_number(out, body_len);
		put(out, "\r\n");
	}
	for (size_t i = 0; i < reply->header_count; i++)
		put_field(out, reply->header[i].name, reply->header[i].value);
	if (c->close_after)
		put(out, "Connection: close\r\n");
	else if (c->head.version_1_0)
		put(out, "Connection: keep-alive\r\n");
	put(out, "\r\n");
}

void http_reply_drop(struct http_reply *reply)
{
	if (reply->release != NULL)
		reply->release(reply->owner);
	if (reply->file >= 0)
		(void)close(reply->file);
	*reply = (struct http_reply){ .status = 200, .file = -1 };
}

void http_answer_clear(struct http_answer *answer)
{
	if (answer->release != NULL)
		answer->release(answer->owner);
	if (answer->file >= 0)
		(void)close(answer->file);
	if (answer->bytes.room > KEEP_MAX)
		buf_free(&answer->bytes);
	else
		buf_clear(&answer->bytes);
	*answer = (struct http_answer){ .bytes = answer->bytes, .file = -1 };
}

static void count_answer(const struct http_connection *c, const struct http_reply *reply)
{
	struct http_server *server = c->loop->server;
	if (reply->status >= 100 && reply->status < 100 * HTTP_CLASSES)
		metrics_count(&server->answered[reply->status / 100]);
	if (c->whole_at != 0)
		metrics_observe(&server->took, moment_monotonic() - c->whole_at);
}

void http_answer_build(struct http_connection *c, struct http_reply *reply)
{
	struct http_answer *answer = &c->answer;
	//= rfc9110#8.6 no Content-Length in an answer with status 1xx or 204; a 304 has no content
	bool may_have_body = reply->status >= 200 && reply->status != 204 && reply->status != 304;
	bool sends_body = may_have_body && c->head.method != HTTP_HEAD;
	uint64_t body_len = reply->file >= 0 ? reply->file_len : reply->body.len;
	http_answer_clear(answer);
	count_answer(c, reply);
	put_head(c, reply, may_have_body, body_len);
	if (!sends_body) {
		http_reply_drop(reply);
		return;
	}
	if (reply->file >= 0) {
		answer->file = reply->file;
		answer->file_len = reply->file_len;
		return;
	}
	if (reply->release == NULL || reply->body.len <= COPY_MAX) {
		if (!buf_append(&answer->bytes, reply->body))
			log_die("an answer of %zu bytes: send it as a file", reply->body.len);
		http_reply_drop(reply);
		return;
	}
	answer->lent = reply->body;
	answer->release = reply->release;
	answer->owner = reply->owner;
}

/* ---- failures ---- */

static void put_json(struct buf *out, const char *name, const char *text)
{
	put(out, "\"");
	put(out, name);
	put(out, "\":\"");
	for (; *text != 0; text++) {
		unsigned char octet = (unsigned char)*text;
		char escaped[8];
		if (octet == '"' || octet == '\\')
			(void)snprintf(escaped, sizeof escaped, "\\%c", octet);
		else if (octet < 0x20 || octet >= 0x7f)
			(void)snprintf(escaped, sizeof escaped, "\\u%04x", octet >= 0x80 ? 0xfffdu : (unsigned)octet);
		else
			(void)snprintf(escaped, sizeof escaped, "%c", octet);
		put(out, escaped);
	}
	put(out, "\"");
}

//= rfc9457#3.1 members of a problem details object; "code" and "tx" are extensions (3.2)
void http_problem(struct scope *s, struct http_reply *reply, int status, enum code code, const char *detail, span tx)
{
	AUTO_BUF json;
	buf_init(&json, 0);
	put(&json, "{");
	put_json(&json, "title", phrase_of(status));
	put(&json, ",\"status\":");
	put_number(&json, (uint64_t)status);
	put(&json, ",");
	put_json(&json, "detail", detail);
	put(&json, ",");
	put_json(&json, "code", code_row(code)->name);
	if (tx.len > 0) {
		put(&json, ",");
		put_json(&json, "tx", hex_text(s, tx));
	}
	put(&json, "}\n");
	reply->status = status;
	reply->content_type = "application/problem+json";
	reply->body = scope_copy(s, buf_span(&json));
	if (status == 503)
		http_reply_header(reply, "Retry-After", "1");
}

void http_refuse(struct http_connection *c, struct http_refusal why, const char *allow)
{
	struct scope *s = &c->loop->scope;
	struct http_reply reply = { .status = 200, .file = -1 };
	http_problem(s, &reply, why.status, why.code, why.detail, (span){ 0 });
	if (allow != NULL && allow[0] != 0)
		http_reply_header(&reply, "Allow", allow);
	log_put(LOG_LEVEL_DEBUG, "request from %s refused: %s", c->local ? "a local peer" : c->peer_address, why.detail);
	http_answer_build(c, &reply);
	scope_reset(s);
}

/* What anybody on the network can cause at will goes to the log at debug only, or the log would be theirs to fill. */
static void log_refused(const struct scope *s, const struct http_connection *c)
{
	if (code_row(s->code)->log_level <= LOG_LEVEL_WARNING)
		log_failure(s, c->route->path);
	else
		log_put(LOG_LEVEL_DEBUG, "%s: %s", c->route->path, s->message);
}

/* The detail of a fault inside (paths, states) stays in the log, where `tx` finds it. */
static void write_failure(struct http_connection *c, struct scope *s, const struct http_request *request, st ended,
			  struct http_reply *reply)
{
	const struct http_settings *settings = &c->loop->server->settings;
	http_reply_drop(reply);
	if (settings->failed != NULL && settings->failed(s, request, c->route, ended.code, reply))
		return;
	http_reply_drop(reply);
	const struct code_row *row = code_row(ended.code);
	bool shown = row->http_status != 500 || c->local;
	http_problem(s, reply, row->http_status, ended.code, shown ? s->message : row->meaning, SPAN_ARRAY(s->id));
}

static void answer_failure(struct http_connection *c, struct scope *s, const struct http_request *request, st ended,
			   struct http_reply *reply)
{
	s->code = s->code == E_OK ? ended.code : s->code;
	log_refused(s, c);
	write_failure(c, s, request, ended, reply);
}

/* ---- the way of a request ---- */

static struct http_request request_of(struct http_connection *c, bool on_worker)
{
	return (struct http_request){
		.method = c->head.method,
		.path = c->head.path,
		.query = c->head.query,
		.body = buf_span(&c->body),
		.content_type = c->head.content_type,
		.peer_address = c->peer_address,
		.peer_certificate = buf_span(&c->peer_certificate),
		.local = c->local,
		.peer_uid = c->peer_uid,
		.on_worker = on_worker,
		.body_file = c->body_file,
		.body_len = c->body_len,
		.state = c->loop->server->settings.state,
		.internal = c,
	};
}

bool http_may_be_said(_Atomic int64_t *last)
{
	int64_t now = moment_monotonic();
	int64_t said = atomic_load(last);
	return (said == 0 || now - said > MOMENT_MINUTE) && atomic_compare_exchange_strong(last, &said, now);
}

static void note_turned_away(struct http_server *server, const struct http_route *route)
{
	const struct http_pool *pool = http_pool_of(server, route);
	if (http_may_be_said(&server->turned_away_said))
		log_put(LOG_LEVEL_WARNING, "%s: requests are turned away, %u wait for %u workers already", route->path,
			pool->limit, pool->count);
}

void http_turn_away(struct http_connection *c)
{
	struct scope *s = &c->loop->scope;
	struct http_request request = request_of(c, false);
	struct http_reply reply = { .status = 200, .file = -1 };
	st busy = fail(s, E_BUSY, "too many requests wait already; try again in a second");
	metrics_count(&c->loop->server->turned_away);
	note_turned_away(c->loop->server, c->route);
	write_failure(c, s, &request, busy, &reply);
	http_answer_build(c, &reply);
	scope_reset(s);
}

static st admit(struct scope *s, struct http_connection *c, struct http_request *request)
{
	const struct http_settings *settings = &c->loop->server->settings;
	TRY(http_route_parts(s, c->route, c->head.path, request->part));
	return settings->permit == NULL ? OK : settings->permit(s, request, c->route);
}

static void finish(struct http_connection *c, struct scope *s, const struct http_request *request, st ended,
		   struct http_reply *reply)
{
	if (ended.code != E_OK)
		answer_failure(c, s, request, ended, reply);
	http_answer_build(c, reply);
}

bool http_dispatch(struct http_connection *c, struct scope *s, bool on_worker)
{
	struct http_request request = request_of(c, on_worker);
	struct http_reply reply = { .status = 200, .file = -1 };
	st ended = admit(s, c, &request);
	if (ended.code == E_OK)
		ended = c->route->handle(s, &request, &reply);
	if (ended.code == E_OK && reply.defer && !on_worker) {
		http_reply_drop(&reply);
		return true;
	}
	finish(c, s, &request, ended, &reply);
	return false;
}

void http_dispatch_all(struct http_connection *const *c, struct scope *s, size_t count)
{
	struct http_exchange exchange[HTTP_TOGETHER_MAX], *admitted[HTTP_TOGETHER_MAX];
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		struct http_exchange *e = &exchange[i];
		*e = (struct http_exchange){ &s[i], request_of(c[i], true), { .status = 200, .file = -1 }, OK };
		e->ended = admit(&s[i], c[i], &e->request);
		if (e->ended.code == E_OK)
			admitted[n++] = e;
	}
	if (n > 0)
		c[0]->route->handle_all(admitted, n);
	for (size_t i = 0; i < count; i++)
		finish(c[i], &s[i], &exchange[i].request, exchange[i].ended, &exchange[i].reply);
}
