#include "http_head.h"
#include <strings.h>

#define REFUSE(status_, code_, detail_) ((struct http_refusal){ .status = (status_), .code = (code_), .detail = (detail_) })
#define ACCEPT                          ((struct http_refusal){ 0 })
#define LENGTH_DIGITS_MAX               18
#define METHOD_MAX                      20

static const char *const methods[] = {
	[HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE"
};

static bool is_token_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!is_token_char(text.data[i]))
			return false;
	return text.len > 0;
}

static bool is_same_word(span text, const char *word)
{
	size_t len = strlen(word);
	return text.len == len && strncasecmp((const char *)text.data, word, len) == 0;
}

static span trim(span text)
{
	while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
		text = span_from(text, 1);
	while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
		text.len--;
	return text;
}

/* Up to `end`, and takes it with `end` off the front; all of it when `end` does not occur. */
static span take_until(span *rest, char end)
{
	const uint8_t *at = rest->len == 0 ? NULL : memchr(rest->data, end, rest->len);
	span taken = at == NULL ? *rest : span_of(rest->data, (size_t)(at - rest->data));
	*rest = span_from(*rest, taken.len + 1);
	return taken;
}

size_t http_head_end(span text, size_t scanned)
{
	size_t from = scanned < 3 ? 0 : scanned - 3;
	const uint8_t *at;
	while (from < text.len && (at = memchr(text.data + from, '\n', text.len - from)) != NULL) {
		size_t next = (size_t)(at - text.data) + 1;
		if (next < text.len && text.data[next] == '\n')
			return next + 1;
		if (next + 1 < text.len && text.data[next] == '\r' && text.data[next + 1] == '\n')
			return next + 2;
		from = next;
	}
	return 0;
}

/* A line that ends with CR LF and has neither inside. //= rfc9112#2.2 a bare CR is invalid in any protocol element */
static bool take_line(span *rest, span *out)
{
	span line = take_until(rest, '\n');
	if (line.len == 0 || line.data[line.len - 1] != '\r')
		return false;
	line.len--;
	*out = line;
	return line.len == 0 || memchr(line.data, '\r', line.len) == NULL;
}

static struct http_refusal parse_version(span text, struct http_head *out)
{
	if (text.len != 8 || memcmp(text.data, "HTTP/", 5) != 0 || text.data[6] != '.')
		return REFUSE(400, E_INPUT, "the request line does not end with an HTTP version (RFC 9112, 2.3)");
	if (text.data[5] != '1')
		return REFUSE(505, E_INPUT, "this server speaks HTTP/1.1");
	out->version_1_0 = text.data[7] == '0';
	return ACCEPT;
}

/* //= rfc9112#3.2.2 a server must accept the absolute form too */
static span without_authority(span target)
{
	static const char *const schemes[] = { "http://", "https://" };
	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(schemes[i]);
		if (target.len > len && strncasecmp((const char *)target.data, schemes[i], len) == 0) {
			const uint8_t *slash = memchr(target.data + len, '/', target.len - len);
			return slash == NULL ? SPAN_LITERAL("/") : span_of(slash, (size_t)(target.data + target.len - slash));
		}
	}
	return target;
}

static struct http_refusal parse_target(span target, struct http_head *out)
{
	for (size_t i = 0; i < target.len; i++)
		if (target.data[i] <= 0x20 || target.data[i] >= 0x7f)
			return REFUSE(400, E_INPUT,
				      "the request target has a character that must be percent-encoded (RFC 9112, 3.2)");
	target = without_authority(target);
	if (target.len == 0 || target.data[0] != '/')
		return REFUSE(400, E_INPUT, "the request target does not start with '/' (RFC 9112, 3.2.1)");
	out->path = take_until(&target, '?');
	out->query = target;
	return ACCEPT;
}

static struct http_refusal parse_request_line(span line, struct http_head *out)
{
	out->method_text = take_until(&line, ' ');
	if (!is_token(out->method_text) || out->method_text.len > METHOD_MAX)
		return REFUSE(400, E_INPUT, "the request does not start with a method (RFC 9112, 3.1)");
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		if (span_is(out->method_text, methods[i])) {
			out->method = (enum http_method)i;
			out->method_known = true;
		}
	}
	span target = take_until(&line, ' ');
	struct http_refusal refused = parse_version(line, out);
	return refused.status != 0 ? refused : parse_target(target, out);
}

static struct http_refusal parse_field(span line, struct http_head *out)
{
	if (out->field_count == HTTP_FIELDS_MAX)
		return REFUSE(431, E_LIMIT, "the request has too many header fields");
	span name = take_until(&line, ':');
	if (!is_token(name) || (line.len == 0 && name.data[name.len] != ':'))
		return REFUSE(400, E_INPUT,
			      "a header line has no proper field name (RFC 9112, 5.1: no folding, no space before the colon)");
	span value = trim(line);
	for (size_t i = 0; i < value.len; i++)
		if ((value.data[i] < 0x20 && value.data[i] != '\t') || value.data[i] == 0x7f)
			return REFUSE(400, E_INPUT, "a header field has a control character (RFC 9110, 5.5)");
	out->field[out->field_count++] = (struct http_field){ .name = name, .value = value };
	return ACCEPT;
}

span http_head_field(const struct http_head *head, const char *name)
{
	for (size_t i = 0; i < head->field_count; i++)
		if (is_same_word(head->field[i].name, name))
			return head->field[i].value;
	return (span){ 0 };
}

/* ---- what the server itself understands ---- */

static struct http_refusal take_length(struct http_head *head, span value)
{
	//= rfc9112#6.3 a message with differing or invalid lengths must be refused; a second one is never right
	if (head->has_length)
		return REFUSE(400, E_INPUT, "the request has two Content-Length fields (RFC 9112, 6.3)");
	if (value.len == 0)
		return REFUSE(400, E_INPUT, "Content-Length is empty (RFC 9110, 8.6)");
	uint64_t length = 0;
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return REFUSE(400, E_INPUT, "Content-Length is not a decimal number (RFC 9110, 8.6)");
		if (i >= LENGTH_DIGITS_MAX)
			return REFUSE(413, E_LIMIT, "Content-Length is beyond every limit");
		length = length * 10 + (uint64_t)(value.data[i] - '0');
	}
	head->has_length = true;
	head->length = length;
	return ACCEPT;
}

static struct http_refusal take_encoding(struct http_head *head, span value)
{
	if (head->chunked)
		return REFUSE(400, E_INPUT, "the request has two Transfer-Encoding fields (RFC 9112, 6.1)");
	if (!is_same_word(value, "chunked"))
		return REFUSE(501, E_INPUT, "the only transfer coding here is chunked (RFC 9112, 6.1)");
	head->chunked = true;
	return ACCEPT;
}

static struct http_refusal take_connection(struct http_head *head, span value)
{
	while (value.len > 0) {
		span word = trim(take_until(&value, ','));
		if (is_same_word(word, "close"))
			head->keep_alive = false;
		else if (is_same_word(word, "keep-alive") && head->version_1_0)
			head->keep_alive = true;
	}
	return ACCEPT;
}

static struct http_refusal take_expect(struct http_head *head, span value)
{
	if (!is_same_word(value, "100-continue"))
		return REFUSE(417, E_INPUT, "the only expectation known here is 100-continue (RFC 9110, 10.1.1)");
	head->expect_continue = !head->version_1_0;
	return ACCEPT;
}

static struct http_refusal take_type(struct http_head *head, span value)
{
	if (head->content_type.data != NULL)
		return REFUSE(400, E_INPUT, "the request has two Content-Type fields (RFC 9110, 5.3)");
	head->content_type = trim(take_until(&value, ';'));
	return ACCEPT;
}

static struct http_refusal take_nothing(struct http_head *head, span value)
{
	(void)head;
	(void)value;
	return ACCEPT;
}

static const struct {
	const char *name;
	struct http_refusal (*take)(struct http_head *head, span value);
} understood[] = {
	{ "Content-Length", take_length }, { "Transfer-Encoding", take_encoding }, { "Connection", take_connection },
	{ "Expect", take_expect },         { "Content-Type", take_type },          { "Host", take_nothing },
};

static struct http_refusal understand_fields(struct http_head *head)
{
	size_t hosts = 0;
	for (size_t i = 0; i < head->field_count; i++) {
		for (size_t j = 0; j < sizeof understood / sizeof understood[0]; j++) {
			if (!is_same_word(head->field[i].name, understood[j].name))
				continue;
			hosts += understood[j].take == take_nothing;
			struct http_refusal refused = understood[j].take(head, head->field[i].value);
			if (refused.status != 0)
				return refused;
		}
	}
	//= rfc9112#3.2 a request without exactly one Host is answered with 400
	if (hosts > 1 || (hosts == 0 && !head->version_1_0))
		return REFUSE(400, E_INPUT, "the request needs exactly one Host field (RFC 9112, 3.2)");
	//= rfc9112#6.1 Transfer-Encoding beside Content-Length may be an attempt at request smuggling
	if (head->chunked && (head->has_length || head->version_1_0))
		return REFUSE(400, E_INPUT, "Transfer-Encoding stands beside Content-Length or in HTTP/1.0 (RFC 9112, 6.1)");
	return ACCEPT;
}

struct http_refusal http_head_parse(span text, struct http_head *out)
{
	struct http_refusal broken = REFUSE(400, E_INPUT, "a line of the request does not end with CR LF (RFC 9112, 2.2)");
	*out = (struct http_head){ 0 };
	span line;
	if (!take_line(&text, &line))
		return broken;
	struct http_refusal refused = parse_request_line(line, out);
	out->keep_alive = !out->version_1_0;
	while (refused.status == 0) {
		if (!take_line(&text, &line))
			return broken;
		if (line.len == 0)
			return understand_fields(out);
		refused = parse_field(line, out);
	}
	return refused;
}
