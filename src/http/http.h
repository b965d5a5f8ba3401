/*
 * http.h - a thin skin over libevent's HTTP server: routes as tables, limits, TLS, problem documents.
 *
 * Loop threads answer `inline` routes at once (short, in memory, no blocking); every other handler is straight-line blocking
 * code on a worker pool. SIGPIPE must be ignored (daemon does it). Body over the limit: 413 before reading it; wrong media type 415, method 405, header 431.
 */
#pragma once
#include "buf.h"
#include <sys/types.h>

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE };

#define HTTP_PARTS_MAX 4
#define HTTP_ROLE_MAX  32
struct http_request {
	enum http_method method;
	span path;                 /* as sent, before '?', not decoded */
	span part[HTTP_PARTS_MAX]; /* what the {name}s of the route's path matched, percent-decoded */
	span query;
	span body;
	span content_type; /* without parameters; empty when absent */
	const char *peer_address;
	span peer_certificate; /* DER of the verified client certificate; empty without one */
	bool local;            /* came over a Unix socket */
	uid_t peer_uid;        /* of a local peer */
	bool on_worker;        /* a worker runs the handler and it may block; false on a loop thread */
	int body_file;         /* `spool` routes: the whole body in an unlinked file, at offset 0; else -1 */
	uint64_t body_len;     /* of body or body_file */
	void *state;           /* given to http_server_new */
	void *internal;
};
/* Value of a request header; empty when absent. */
span http_header(const struct http_request *request, const char *name);
/* Value of a query parameter, decoded; empty when absent. */
span http_query(struct scope *s, const struct http_request *request, const char *name);

#define HTTP_REPLY_HEADERS_MAX 12
struct http_reply {
	int status; /* 200 unless set */
	const char *content_type;
	span body;                    /* scope memory, or static, or kept alive by `release` */
	void (*release)(void *owner); /* called when the bytes were sent or the connection is gone; may be NULL */
	void *owner;
	int file; /* a descriptor to send instead of body, closed afterwards; -1 for none */
	uint64_t file_len;
	bool defer; /* from an on_loop handler: drop this reply, run the handler again on a worker */
	struct {
		const char *name;
		const char *value;
	} header[HTTP_REPLY_HEADERS_MAX];
	size_t header_count;
};
void http_reply_header(struct http_reply *reply, const char *name, const char *value);

/* One of several requests that a worker works on together. */
#define HTTP_TOGETHER_MAX 32
struct http_exchange {
	struct scope *scope; /* of this request alone */
	struct http_request request;
	struct http_reply reply;
	st ended; /* what `handle` would have returned; E_OK at the start */
};

struct http_route {
	enum http_method method; /* HTTP_GET answers HEAD as well */
	const char *path;        /* "/v1/certificates/{serial}"; a final "{rest*}" matches slashes too */
	const char *media_type;  /* of the request body; NULL when it has none */
	size_t max_body;
	bool on_loop;     /* answered by the loop thread itself: short and in memory, must not block */
	bool spool;       /* the body is written to a file as it arrives (max_body still holds), for uploads of any size */
	const char *role; /* for the service's own check and for OpenAPI; NULL: anybody */
	st (*handle)(struct scope *s, const struct http_request *request, struct http_reply *reply);
	/* In the place of `handle` on a worker, for work that is cheaper together (one frame to keyd, one wait for the disk): a free
	 * worker takes an even share of all that are there (docs/decisions/0067). Up to as many as there are workers are taken alone
	 * and at once; whoever waits for others to come with it waits 20 ms at most while a worker is free. */
	void (*handle_all)(struct http_exchange *const *exchange, size_t count);
	const char *summary; /* one line for OpenAPI */
};

/* Certificate and key of a TLS server or client, with the CA that its peers must have. Reloads itself when the files change. */
struct http_tls_settings {
	const char *certificate; /* PEM chain */
	const char *key;         /* PEM private key, 0600 */
	const char *client_ca;   /* PEM; client certificates are required and verified; NULL: none is asked for */
};

struct http_settings {
	unsigned loops; /* loop threads, on a shared port */
	unsigned workers;
	unsigned together; /* further workers, for routes with handle_all; 0: no such routes */
	unsigned queue;    /* requests waiting for a worker, E_BUSY above; 0: 64 for each worker */
	unsigned
		max_connections; /* above, the one that waits longest for its request is closed, else the new one is told 503 */
	const char *spool_directory; /* where `spool` routes keep bodies; NULL: no such routes */
	size_t max_header;           /* octets of request line and headers, 431 above */
	int idle_seconds;            /* a connection without a complete request for so long is closed */
	const struct http_route *routes;
	size_t route_count;
	void *state;
	/* May the peer use this route? Called on the worker (or loop) before the handler; NULL: every route is open. */
	st (*permit)(struct scope *s, const struct http_request *request, const struct http_route *route);
	/* Answer for a failed handler in the protocol's own terms, and for one that could not be begun because too many requests
	 * wait (E_BUSY, on the loop thread: it must not block); NULL, or returning false: a problem document (RFC 9457). */
	bool (*failed)(struct scope *s, const struct http_request *request, const struct http_route *route, enum code code,
		       struct http_reply *reply);
};
struct http_server;
st http_server_new(struct scope *s, const struct http_settings *settings, struct http_server **out);
/* "127.0.0.1:8080", "[::1]:8080" or "unix:/path". TLS when `tls` is given. Before http_server_start. */
st http_listen(struct scope *s, struct http_server *server, const char *address, const struct http_tls_settings *tls);
/* Where the listener made by the n-th http_listen (from 0) is reached: port 0 has become a real one. */
const char *http_server_address(const struct http_server *server, size_t listener);
st http_server_start(struct scope *s, struct http_server *server);
/* Load changed certificates now (they are also looked at every minute). */
void http_server_reload(struct http_server *server);
/* No new requests; those under way get up to `grace_ms`; then everything is closed and freed. */
void http_server_stop(struct http_server *server, int grace_ms);
