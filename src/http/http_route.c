#include "http_route.h"
#include "text.h"
#include <stdio.h>
#include <strings.h>

/* Walk path and template together. Raw parts go to `part`; false when they do not match. */
static bool match(const char *template, span path, span part[HTTP_PARTS_MAX])
{
	size_t parts = 0;
	while (*template != 0) {
		if (*template != '{') {
			if (path.len == 0 || path.data[0] != (uint8_t) * template)
				return false;
			template ++;
			path = span_from(path, 1);
			continue;
		}
		const char *end = strchr(template, '}');
		if (end == NULL || parts == HTTP_PARTS_MAX)
			return false;
		size_t len = path.len;
		if (end[-1] != '*') {
			const uint8_t *slash = len == 0 ? NULL : memchr(path.data, '/', len);
			len = slash == NULL ? len : (size_t)(slash - path.data);
		}
		if (len == 0)
			return false;
		part[parts++] = span_first(path, len);
		path = span_from(path, len);
		template = end + 1;
	}
	return path.len == 0;
}

static const char *const method_names[] = {
	[HTTP_GET] = "GET, HEAD", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE"
};

static void allow_add(char allow[64], enum http_method method)
{
	if (strstr(allow, method_names[method]) == NULL) {
		size_t used = strlen(allow);
		(void)snprintf(allow + used, 64 - used, "%s%s", used == 0 ? "" : ", ", method_names[method]);
	}
}

static struct http_refusal check_body(const struct http_route *route, const struct http_head *head)
{
	bool has_body = head->chunked || head->length > 0;
	if (has_body && route->max_body == 0)
		return (struct http_refusal){ 413, E_LIMIT, "this resource takes no request body" };
	if (head->length > route->max_body)
		return (struct http_refusal){ 413, E_LIMIT, "the request body is larger than this resource takes" };
	bool is_type = route->media_type == NULL ||
		       (head->content_type.len == strlen(route->media_type) &&
			strncasecmp((const char *)head->content_type.data, route->media_type, head->content_type.len) == 0);
	if (!is_type)
		return (struct http_refusal){ 415, E_INPUT, "the request body is not of the media type of this resource" };
	return (struct http_refusal){ 0 };
}

const struct http_route *http_route_find(const struct http_route *routes, size_t count, const struct http_head *head,
					 struct http_refusal *out_refused, char out_allow[64])
{
	span part[HTTP_PARTS_MAX];
	enum http_method method = head->method == HTTP_HEAD ? HTTP_GET : head->method;
	out_allow[0] = 0;
	for (size_t i = 0; i < count; i++) {
		if (!match(routes[i].path, head->path, part))
			continue;
		if (head->method_known && routes[i].method == method) {
			*out_refused = check_body(&routes[i], head);
			return out_refused->status == 0 ? &routes[i] : NULL;
		}
		allow_add(out_allow, routes[i].method);
	}
	*out_refused = out_allow[0] != 0
			       ? (struct http_refusal){ 405, E_INPUT, "this resource does not offer the method; see Allow" }
			       : (struct http_refusal){ 404, E_NOTFOUND, "there is no such resource" };
	return NULL;
}

st http_decode(struct scope *s, span text, bool plus_is_space, span *out)
{
	uint8_t *decoded = scope_alloc(s, text.len + 1);
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t octet = text.data[i];
		if (octet == '%') {
			span value;
			if (text.len - i < 3 || hex_parse(s, span_of(text.data + i + 1, 2), &value).code != E_OK ||
			    value.data[0] == 0) {
				scope_clear_error(s);
				return fail(s, E_INPUT, "a percent escape is broken or stands for a zero byte (RFC 3986, 2.1)");
			}
			octet = value.data[0];
			i += 2;
		} else if (octet == '+' && plus_is_space) {
			octet = ' ';
		}
		decoded[len++] = octet;
	}
	*out = span_of(decoded, len);
	return OK;
}

st http_route_parts(struct scope *s, const struct http_route *route, span path, span out[HTTP_PARTS_MAX])
{
	span part[HTTP_PARTS_MAX] = { 0 };
	if (!match(route->path, path, part))
		return fail(s, E_BUG, "route %s does not match any more", route->path);
	for (size_t i = 0; i < HTTP_PARTS_MAX; i++) {
		if (part[i].len > 0 && memchr(part[i].data, '%', part[i].len) != NULL)
			TRY(http_decode(s, part[i], false, &out[i]));
		else
			out[i] = part[i];
	}
	return OK;
}
