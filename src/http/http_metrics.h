/*
 * http_metrics.h - the page of metrics of a daemon that has HTTP, at a listener of its own: never where the public comes in.
 */
#pragma once
#include "http.h"
#include "metrics.h"

#define HTTP_METERED_MAX 4
struct http_metered {
	const char *daemon;
	int64_t started; /* moment */
	struct {
		const char *name; /* label `listener` */
		struct http_server *server;
	} server[HTTP_METERED_MAX];
	/* The service's own lines. May block; what it cannot say it leaves out. NULL: none. */
	void (*fill)(struct scope *s, struct metrics_page *page, void *state);
	/* The page of another daemon of the host, handed on at /metrics/NAME; E_NOTFOUND: none of that name. NULL: there is no other. */
	st (*other)(struct scope *s, span name, void *state, span *out);
	void *state;
};
/* Serves GET /metrics, and /metrics/NAME where `other` is set, at `address`; nothing when that is NULL. `metered` must stay valid until http_server_stop. */
st http_metrics_open(struct scope *s, const char *address, const struct http_metered *metered, struct http_server **out);
