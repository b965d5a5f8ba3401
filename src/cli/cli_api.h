/*
 * cli_api.h - the tool as a client of the ca's API: HTTPS with the operator's certificate, or the local socket.
 */
#pragma once
#include "cli.h"
#include "client.h"

struct cli_api;
/* HTTPS as chancery.conf says. An operator certificate past two thirds of its life is renewed on the way. */
st cli_api_open(struct scope *s, const struct cli *c, struct cli_api **out);
/* A ca on this host by its local socket (founding, off-line root). */
st cli_api_open_local(struct scope *s, const char *socket, struct cli_api **out);
void cli_api_close(struct cli_api *api); /* NULL is fine */
typedef struct cli_api cli_api;
DEFINE_AUTO(cli_api, cli_api_close)

/* One call with JSON in and out; `body` is taken over, NULL for none. An error answer is this call's failure. */
st cli_api_call(struct scope *s, struct cli_api *api, const char *method, const char *path, json_t *body, json_t **out);
/* The same with a body that is no JSON. */
st cli_api_send(struct scope *s, struct cli_api *api, const char *method, const char *path, const char *media_type, span body,
		json_t **out);
/* The same for answers that are no JSON. */
st cli_api_fetch(struct scope *s, struct cli_api *api, const char *path, span *out);
/* A public URL, without TLS client authentication: OCSP, time-stamps, CRLs. */
st cli_fetch(struct scope *s, const char *url, const char *method, const char *media_type, span body,
	     struct client_answer *out);
/* Text as a path or query component. */
char *cli_escape(struct scope *s, const char *text);
