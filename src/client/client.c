#include "client.h"
#include "client_curl.h"
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* An upload may take as long as at this rate, octets a second; the server has the same idea of slow. */
#define SLOWEST 65536

struct client {
	CURL *curl;
	char *base_url;
	long timeout_ms;
	size_t max_body;
	char error[CURL_ERROR_SIZE];
};

static pthread_once_t libcurl_once = PTHREAD_ONCE_INIT;
static CURLcode libcurl_started;

static void start_libcurl(void)
{
	libcurl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

st client_options_end(struct scope *s, const struct options *o)
{
	if (o->result != CURLE_OK)
		return fail(s, E_BUG, "libcurl does not take %s: %s", o->failed, curl_easy_strerror(o->result));
	return OK;
}

static st set_standing_options(struct scope *s, struct client *c, const struct client_settings *settings)
{
	struct options o = { .curl = c->curl };
	bool mutual = settings->certificate != NULL;
	SET(&o, CURLOPT_ERRORBUFFER, c->error);
	SET(&o, CURLOPT_NOSIGNAL, 1L);
	SET(&o, CURLOPT_PROTOCOLS_STR, "http,https");
	SET(&o, CURLOPT_PROXY, "");
	SET(&o, CURLOPT_FOLLOWLOCATION, 0L);
	SET(&o, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(&o, CURLOPT_CONNECTTIMEOUT_MS, settings->timeout_ms);
	SET(&o, CURLOPT_SSLVERSION, (long)(mutual ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2));
	SET(&o, CURLOPT_SSL_VERIFYPEER, 1L);
	SET(&o, CURLOPT_SSL_VERIFYHOST, 2L);
	SET(&o, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	if (settings->unix_socket != NULL)
		SET(&o, CURLOPT_UNIX_SOCKET_PATH, settings->unix_socket);
	if (settings->server_ca != NULL) {
		SET(&o, CURLOPT_CAINFO, settings->server_ca);
		SET(&o, CURLOPT_CAPATH, NULL);
	}
	if (mutual) {
		SET(&o, CURLOPT_SSLCERT, settings->certificate);
		SET(&o, CURLOPT_SSLKEY, settings->key);
	}
	return client_options_end(s, &o);
}

st client_start(struct scope *s)
{
	if (pthread_once(&libcurl_once, start_libcurl) != 0 || libcurl_started != CURLE_OK)
		return fail(s, E_BUG, "libcurl does not start: %s", curl_easy_strerror(libcurl_started));
	return OK;
}

st client_new(struct scope *s, const struct client_settings *settings, struct client **out)
{
	TRY(client_start(s));
	struct client *c = heap_alloc(sizeof *c);
	c->base_url = heap_copy_str(settings->base_url != NULL ? settings->base_url : "http://localhost");
	c->timeout_ms = settings->timeout_ms;
	c->max_body = settings->max_body;
	c->curl = curl_easy_init();
	st made = c->curl != NULL ? set_standing_options(s, c, settings) : fail(s, E_BUG, "libcurl gives no handle");
	if (made.code != E_OK) {
		client_free(c);
		return made;
	}
	*out = c;
	return OK;
}

void client_free(struct client *c)
{
	if (c == NULL)
		return;
	if (c->curl != NULL)
		curl_easy_cleanup(c->curl);
	free(c->base_url);
	free(c);
}

/* ---- one call ---- */

static size_t collect(char *data, size_t size, size_t count, void *argument)
{
	return buf_append(argument, span_of(data, size * count)) ? count : 0;
}

struct upload {
	int fd;
	uint64_t at;
	uint64_t left;
};

static size_t read_upload(char *into, size_t size, size_t count, void *argument)
{
	struct upload *u = argument;
	size_t want = size * count < u->left ? size * count : (size_t)u->left;
	if (want == 0)
		return 0;
	ssize_t got = pread(u->fd, into, want, (off_t)u->at);
	if (got <= 0)
		return CURL_READFUNC_ABORT;
	u->at += (uint64_t)got;
	u->left -= (uint64_t)got;
	return (size_t)got;
}

/* A connection that was kept may have to send the body a second time. */
static int rewind_upload(void *argument, curl_off_t offset, int origin)
{
	struct upload *u = argument;
	if (origin != SEEK_SET || offset < 0)
		return CURL_SEEKFUNC_CANTSEEK;
	u->left += u->at - (uint64_t)offset;
	u->at = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

static st add_header(struct scope *s, header_list **list, const char *line)
{
	header_list *longer = curl_slist_append(*list, line);
	if (longer == NULL)
		return fail(s, E_BUG, "libcurl takes no header");
	*list = longer;
	return OK;
}

static void set_body(struct options *o, span body)
{
	if (body.data == NULL)
		return;
	SET(o, CURLOPT_POST, 1L);
	SET(o, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	SET(o, CURLOPT_POSTFIELDS, (const char *)body.data);
}

static void set_upload(struct options *o, struct upload *upload)
{
	SET(o, CURLOPT_UPLOAD, 1L);
	SET(o, CURLOPT_INFILESIZE_LARGE, (curl_off_t)upload->left);
	SET(o, CURLOPT_READFUNCTION, read_upload);
	SET(o, CURLOPT_READDATA, (void *)upload);
	SET(o, CURLOPT_SEEKFUNCTION, rewind_upload);
	SET(o, CURLOPT_SEEKDATA, (void *)upload);
}

/* The options of the last call must not reach into this one. */
static void set_call(struct options *o, const struct client *c, const char *method, const char *url, struct buf *into,
		     uint64_t octets)
{
	SET(o, CURLOPT_UPLOAD, 0L);
	SET(o, CURLOPT_POST, 0L);
	SET(o, CURLOPT_HTTPGET, 1L);
	SET(o, CURLOPT_NOBODY, strcmp(method, "HEAD") == 0 ? 1L : 0L);
	SET(o, CURLOPT_URL, url);
	SET(o, CURLOPT_TIMEOUT_MS, c->timeout_ms + (long)(octets / SLOWEST) * 1000);
	SET(o, CURLOPT_WRITEFUNCTION, collect);
	SET(o, CURLOPT_WRITEDATA, (void *)into);
}

static st perform(struct scope *s, struct client *c, const char *method, const char *url, const struct buf *body)
{
	c->error[0] = 0;
	CURLcode result = curl_easy_perform(c->curl);
	if (result == CURLE_WRITE_ERROR)
		return fail(s, E_LIMIT, "%s %s: the answer has more than the %zu bytes expected (%zu came)", method, url,
			    c->max_body, body->len);
	if (result != CURLE_OK)
		return fail(s, E_UNAVAILABLE, "%s %s: no answer: %s", method, url,
			    c->error[0] != 0 ? c->error : curl_easy_strerror(result));
	return OK;
}

static st take_answer(struct scope *s, struct client *c, const struct buf *body, struct client_answer *out)
{
	long status = 0;
	const char *type = NULL;
	if (curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK ||
	    curl_easy_getinfo(c->curl, CURLINFO_CONTENT_TYPE, &type) != CURLE_OK)
		return fail(s, E_BUG, "libcurl does not tell the status");
	*out = (struct client_answer){ .status = status,
				       .content_type = scope_copy(s, span_str(type)),
				       .body = scope_copy(s, buf_span(body)) };
	return OK;
}

static st call(struct scope *s, struct client *c, const char *method, const char *path, const char *media_type, span body,
	       struct upload *upload, struct client_answer *out)
{
	AUTO_BUF into;
	buf_init(&into, c->max_body);
	AUTO(header_list) *headers = NULL;
	struct options o = { .curl = c->curl };
	const char *url = scope_printf(s, "%s%s", c->base_url, path);
	if (media_type != NULL)
		TRY(add_header(s, &headers, scope_printf(s, "Content-Type: %s", media_type)));
	if (upload == NULL)
		TRY(add_header(s, &headers, "Expect:")); /* bodies in memory are small: do not wait for an invitation */
	set_call(&o, c, method, url, &into, upload != NULL ? upload->left : body.len);
	if (upload != NULL)
		set_upload(&o, upload);
	else
		set_body(&o, body);
	if (strcmp(method, "HEAD") != 0)
		SET(&o, CURLOPT_CUSTOMREQUEST, method);
	else
		SET(&o, CURLOPT_CUSTOMREQUEST, NULL);
	SET(&o, CURLOPT_HTTPHEADER, headers);
	TRY(client_options_end(s, &o));
	st performed = perform(s, c, method, url, &into);
	(void)curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
	TRY(performed);
	return take_answer(s, c, &into, out);
}

st client_call(struct scope *s, struct client *c, const char *method, const char *path, const char *media_type, span body,
	       struct client_answer *out)
{
	bool has_body = body.len > 0 || media_type != NULL;
	span sent = has_body && body.data == NULL ? SPAN_LITERAL("") : body;
	return call(s, c, method, path, media_type, has_body ? sent : (span){ 0 }, NULL, out);
}

st client_send_file(struct scope *s, struct client *c, const char *method, const char *path, const char *media_type, int fd,
		    uint64_t len, struct client_answer *out)
{
	struct upload upload = { .fd = fd, .left = len };
	return call(s, c, method, path, media_type, (span){ 0 }, &upload, out);
}

/* ---- failures of the other side ---- */

static enum code code_of_status(long status)
{
	for (enum code code = E_INPUT; code < CODE_COUNT; code++)
		if (code_row(code)->http_status == status)
			return code;
	return status >= 500 ? E_UNAVAILABLE : E_INPUT;
}

static enum code code_of_name(const char *name, long status)
{
	for (enum code code = E_INPUT; name != NULL && code < CODE_COUNT; code++)
		if (strcmp(code_row(code)->name, name) == 0)
			return code;
	return code_of_status(status);
}

DEFINE_AUTO(json_t, json_decref)

//= rfc9457#3.1 "detail" is for people; our "code" says what a program can do about it
st client_expect(struct scope *s, const struct client_answer *answer)
{
	if (answer->status >= 200 && answer->status <= 299)
		return OK;
	AUTO(json_t) *problem = json_loadb((const char *)answer->body.data, answer->body.len, JSON_REJECT_DUPLICATES, NULL);
	const char *detail = json_string_value(json_object_get(problem, "detail"));
	const char *name = json_string_value(json_object_get(problem, "code"));
	const char *tx = json_string_value(json_object_get(problem, "tx"));
	enum code code = code_of_name(name, answer->status);
	if (detail == NULL || detail[0] == 0)
		return fail(s, code, "the server answered with HTTP status %ld", answer->status);
	return tx == NULL ? fail(s, code, "%s", detail) : fail(s, code, "%s (tx %s there)", detail, tx);
}
