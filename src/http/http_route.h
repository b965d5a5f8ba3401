/*
 * http_route.h - which row of the table a request is for, and the decoding of paths and queries. Private to http.
 */
#pragma once
#include "http_head.h"

/* The row for the request; NULL with a refusal: 404, 405 (`out_allow` then names the methods), 413 or 415. All of it is known
 * before any octet of the body is read. */
const struct http_route *http_route_find(const struct http_route *routes, size_t count, const struct http_head *head,
					 struct http_refusal *out_refused, char out_allow[64]);
/* What the {name}s of the route's path match, decoded. */
st http_route_parts(struct scope *s, const struct http_route *route, span path, span out[HTTP_PARTS_MAX]);
/* E_INPUT when an escape is broken or stands for a zero byte. */
st http_decode(struct scope *s, span text, bool plus_is_space, span *out);
