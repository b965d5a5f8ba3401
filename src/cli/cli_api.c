#include "cli_api.h"
#include "cli_soft_key.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "pki_certificate.h"
#include "pki_pem.h"
#include <ctype.h>

#define ANSWER_MAX (64u << 20)
#define TIMEOUT_MS 60000

struct cli_api {
	struct client *client;
};

static st api_new(struct scope *s, const struct client_settings *settings, struct cli_api **out)
{
	struct client *client;
	TRY(client_new(s, settings, &client));
	struct cli_api *api = heap_alloc(sizeof *api);
	api->client = client;
	*out = api;
	return OK;
}

st cli_api_open_local(struct scope *s, const char *socket, struct cli_api **out)
{
	const struct client_settings settings = {
		.base_url = "http://localhost",
		.unix_socket = socket,
		.timeout_ms = TIMEOUT_MS,
		.max_body = ANSWER_MAX,
	};
	return api_new(s, &settings, out);
}

static st open_https(struct scope *s, const struct cli *c, struct cli_api **out)
{
	if (!file_exists(c->conf.api_certificate))
		return fail(s, E_NOTFOUND,
			    "no operator certificate at %s: this needs an operator of the ca; see api-certificate in "
			    "chancery.conf",
			    c->conf.api_certificate);
	const struct client_settings settings = {
		.base_url = c->conf.api_url,
		.certificate = c->conf.api_certificate,
		.key = c->conf.api_key,
		.server_ca = c->conf.api_server_ca,
		.timeout_ms = TIMEOUT_MS,
		.max_body = ANSWER_MAX,
	};
	return api_new(s, &settings, out);
}

static st renew(struct scope *s, const struct cli *c, span subject)
{
	AUTO(cli_api) *api = NULL;
	TRY(open_https(s, c, &api));
	span key, request;
	TRY(file_read(s, c->conf.api_key, 16384, &key));
	TRY(cli_soft_key_request(s, key, subject, &request));
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, api, "POST", "/v1/renewal",
			 json_pack("{s:s}", "request", pki_pem_write(s, "CERTIFICATE REQUEST", request)), &answer));
	const char *pem = cli_member(answer, "certificate");
	if (pem[0] == 0)
		return fail(s, E_BUG, "the ca answered a renewal without a certificate");
	return file_replace(s, c->conf.api_certificate, span_str(pem), 0644);
}

/* Past two thirds of its life the certificate is renewed, with the old one as proof of who asks. A failure is only a warning:
 * the old one still serves. */
static void renew_when_due(const struct cli *c)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_certificate own;
	if (!file_exists(c->conf.api_certificate) || cli_read_certificate(&s, c->conf.api_certificate, &own).code != E_OK)
		return;
	int64_t due = own.not_before + (own.not_after - own.not_before) / 3 * 2;
	int64_t now = scope_now(&s);
	if (now < due || now > own.not_after)
		return;
	if (renew(&s, c, own.subject).code != E_OK)
		log_put(LOG_LEVEL_WARNING, "the operator certificate is due for renewal, which failed: %s", s.message);
	else
		cli_progress(c, "The operator certificate was due and has been renewed.");
}

st cli_api_open(struct scope *s, const struct cli *c, struct cli_api **out)
{
	renew_when_due(c);
	return open_https(s, c, out);
}

void cli_api_close(struct cli_api *api)
{
	if (api == NULL)
		return;
	client_free(api->client);
	free(api);
}

static st answer_json(struct scope *s, span body, json_t **out)
{
	json_error_t error;
	json_t *value = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (value == NULL)
		return fail(s, E_UNAVAILABLE, "the answer is no JSON: %s", error.text);
	*out = value;
	return OK;
}

st cli_api_send(struct scope *s, struct cli_api *api, const char *method, const char *path, const char *media_type, span body,
		json_t **out)
{
	struct client_answer answer;
	TRY(client_call(s, api->client, method, path, media_type, body, &answer));
	TRY(client_expect(s, &answer));
	if (answer.body.len == 0) {
		*out = json_object();
		return OK;
	}
	return answer_json(s, answer.body, out);
}

st cli_api_call(struct scope *s, struct cli_api *api, const char *method, const char *path, json_t *body, json_t **out)
{
	AUTO(json_t) *sent = body;
	if (sent == NULL)
		return cli_api_send(s, api, method, path, NULL, (span){ 0 }, out);
	char *dump = json_dumps(sent, JSON_COMPACT);
	span text = scope_copy(s, span_str(dump));
	free(dump);
	if (text.len == 0)
		return fail(s, E_BUG, "a request could not be written as JSON");
	return cli_api_send(s, api, method, path, "application/json", text, out);
}

st cli_api_fetch(struct scope *s, struct cli_api *api, const char *path, span *out)
{
	struct client_answer answer;
	TRY(client_call(s, api->client, "GET", path, NULL, (span){ 0 }, &answer));
	TRY(client_expect(s, &answer));
	*out = answer.body;
	return OK;
}

/* "http://host:port/path" into what a client wants. */
static const char *split_url(struct scope *s, const char *url, const char **out_path)
{
	const char *host = strstr(url, "://");
	const char *slash = host == NULL ? NULL : strchr(host + 3, '/');
	*out_path = slash == NULL ? "/" : slash;
	return slash == NULL ? url : scope_cstr(s, span_of(url, (size_t)(slash - url)));
}

st cli_fetch(struct scope *s, const char *url, const char *method, const char *media_type, span body, struct client_answer *out)
{
	const char *path;
	const struct client_settings settings = {
		.base_url = split_url(s, url, &path),
		.timeout_ms = TIMEOUT_MS,
		.max_body = ANSWER_MAX,
	};
	AUTO(cli_api) *api = NULL;
	TRY(api_new(s, &settings, &api));
	TRY(client_call(s, api->client, method, path, media_type, body, out));
	out->body = scope_copy(s, out->body);
	out->content_type = scope_copy(s, out->content_type);
	return OK;
}

char *cli_escape(struct scope *s, const char *text)
{
	char *out = scope_alloc(s, 3 * strlen(text) + 1);
	char *at = out;
	for (; *text != 0; text++) {
		unsigned char byte = (unsigned char)*text;
		if (isalnum(byte) || strchr("-._~", byte) != NULL)
			*at++ = *text;
		else
			at += snprintf(at, 4, "%%%02X", byte);
	}
	return out;
}
