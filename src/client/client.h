/*
 * client.h - HTTP client over libcurl: mutual TLS between hosts, Unix sockets on one host. One call at a time per handle.
 */
#pragma once
#include "buf.h"

struct client_settings {
	const char *base_url;    /* "https://127.0.0.1:8443" */
	const char *unix_socket; /* instead of TCP; NULL */
	const char *certificate; /* PEM chain and key of this side; NULL without TLS client authentication */
	const char *key;
	const char *server_ca; /* PEM the server's certificate must lead to */
	long timeout_ms;
	size_t max_body; /* of answers */
};
struct client;
st client_new(struct scope *s, const struct client_settings *settings, struct client **out);
void client_free(struct client *c);
struct client_answer {
	long status;
	span content_type;
	span body;
};
/* `media_type` and `body` for POST and PUT. OK whatever the HTTP status; E_UNAVAILABLE when no answer came. */
st client_call(struct scope *s, struct client *c, const char *method, const char *path, const char *media_type, span body,
	       struct client_answer *out);
/* Upload a file as the body. */
st client_send_file(struct scope *s, struct client *c, const char *method, const char *path, const char *media_type, int fd,
		    uint64_t len, struct client_answer *out);
/* Turn a status outside 200..299 into the failure it stands for, with the problem document's detail as message. */
st client_expect(struct scope *s, const struct client_answer *answer);

/* A mail, through the server at smtp://HOST:PORT; STARTTLS when the server offers it. Addresses without angle brackets; the text in UTF-8, with
 * "\n" between lines. E_INPUT for an address or a subject that could be more than one line, E_UNAVAILABLE when it was not taken. */
struct client_mail {
	const char *server, *from, *to, *subject, *text;
	int64_t date;
	const char *message_id; /* of its own, so that one told twice is seen to be one */
	long timeout_ms;
};
st client_mail(struct scope *s, const struct client_mail *mail);
