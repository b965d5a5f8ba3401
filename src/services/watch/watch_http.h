/* watch_http.h - what chancery-watch tells those who ask at its local socket. */
#pragma once
#include "http.h"
#include "watch_book.h"
#include "watch_compare.h"

struct watch_http_state {
	struct watch_book *book;
	struct watch_compare *compare; /* NULL: nothing is compared */
};
extern const struct http_route watch_routes[];
extern const size_t watch_route_count;
st watch_permit(struct scope *s, const struct http_request *request, const struct http_route *route);
