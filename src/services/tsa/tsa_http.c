#include "daemon.h"
#include "daemon_access.h"
#include "file.h"
#include "log.h"
#include "pki_ext.h"
#include "pki_renewal.h"
#include "tsa.h"

#define PEM_MAX 65536

/* ---- for everybody ---- */

//= rfc3161#3.4 application/timestamp-query in, application/timestamp-reply out; HTTP 200 for rejections as well
static void post_queries(struct http_exchange *const *exchange, size_t count)
{
	struct tsa_query query[HTTP_TOGETHER_MAX];
	for (size_t i = 0; i < count; i++)
		query[i] = (struct tsa_query){ .scope = exchange[i]->scope, .request = exchange[i]->request.body };
	tsa_answer(exchange[0]->request.state, query, count);
	for (size_t i = 0; i < count; i++) {
		exchange[i]->ended = query[i].ended;
		exchange[i]->reply.body = query[i].answer;
		exchange[i]->reply.content_type = "application/timestamp-reply";
		http_reply_header(&exchange[i]->reply, "Cache-Control", "no-store");
	}
}

/* A query that was not begun: the client of a time-stamping protocol reads its answers, not HTTP's. */
//= rfc3161#2.4.2 systemFailure: the request cannot be handled due to system failure; the protocol has no "try later"
bool tsa_query_failed(struct scope *s, const struct http_request *request, const struct http_route *route, enum code code,
		      struct http_reply *reply)
{
	const char *text = code == E_BUSY ? "too many requests wait already; try again in a second"
					  : "the time-stamping authority cannot issue a token now; nothing was issued";
	span rejection;
	if (route->handle_all != post_queries)
		return false;
	tsa_note_refusal(request->state, PKI_SYSTEM_FAILURE, text);
	scope_clear_error(s);
	if (pki_time_stamp_rejection(s, PKI_SYSTEM_FAILURE, text, &rejection).code != E_OK)
		return false;
	*reply = (struct http_reply){
		.status = 200, .content_type = "application/timestamp-reply", .body = rejection, .file = -1
	};
	http_reply_header(reply, "Cache-Control", "no-store");
	return true;
}

const char *tsa_trouble(struct scope *s, struct tsa *tsa, char reason[TSA_CLOCK_REASON_MAX])
{
	const struct tsa_unit *unit = tsa_unit_now(tsa);
	if (__atomic_load_n(&tsa->broken, __ATOMIC_RELAXED))
		return "a token did not verify; the unit is stopped";
	if (scope_now(s) >= unit->key_end)
		return "the key's period of use is over";
	if (!tsa_clock_trusted(tsa->clock, reason))
		return reason;
	return __atomic_load_n(&tsa->keyd_failing, __ATOMIC_RELAXED) ? "keyd does not sign" : NULL;
}

static st get_health(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct tsa *tsa = request->state;
	char reason[TSA_CLOCK_REASON_MAX], key_end[MOMENT_TEXT_MAX];
	const char *why = tsa_trouble(s, tsa, reason);
	char *body = scope_printf(s,
				  "{\"status\":\"%s\",\"reason\":\"%s\",\"clock\":\"%s\",\"qualified\":%s,\"accuracy_ms\":%lld,"
				  "\"key_end\":\"%s\",\"stamped\":%llu,\"files_fenced\":%s}\n",
				  why == NULL ? "ok" : "failing", why == NULL ? "" : why, tsa->conf->clock,
				  tsa->conf->qualified ? "true" : "false", (long long)(tsa->conf->accuracy / 1000),
				  moment_text(tsa_unit_now(tsa)->key_end, key_end),
				  (unsigned long long)__atomic_load_n(&tsa->stamped, __ATOMIC_RELAXED),
				  daemon_is_fenced() ? "true" : "false");
	reply->status = why == NULL ? 200 : 503;
	reply->content_type = "application/json";
	reply->body = span_str(body);
	http_reply_header(reply, "Cache-Control", "no-store");
	return OK;
}

#define QUERY_ROUTE(path_)                                                                                                     \
	{                                                                                                                      \
		.method = HTTP_POST, .path = path_, .media_type = "application/timestamp-query",                               \
		.max_body = PKI_TIME_STAMP_REQUEST_MAX, .handle_all = post_queries, .summary = "Time-stamp a hash (RFC 3161)." \
	}

const struct http_route tsa_public_routes[] = {
	QUERY_ROUTE("/"),
	QUERY_ROUTE("/tsa"),
	{ .method = HTTP_GET,
	  .path = "/healthz",
	  .on_loop = true,
	  .handle = get_health,
	  .summary = "Whether tokens are issued." },
};
const size_t tsa_public_route_count = sizeof tsa_public_routes / sizeof tsa_public_routes[0];

/* ---- for the ca ---- */

/* The management CA certified many; only the component "ca" renews. */
static st permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	struct pki_certificate peer;
	char *role = NULL;
	TRY(pki_certificate_read(s, request->peer_certificate, &peer));
	TRY(pki_ext_role_get(s, &peer, &role));
	if (route->role != NULL && (role == NULL || strcmp(role, route->role) != 0))
		return fail(s, E_DENIED, "this is for role '%s' only, not for '%s'", route->role, role == NULL ? "none" : role);
	return OK;
}

st tsa_management_permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	struct tsa *tsa = request->state;
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	const struct daemon_visit visit = { .route = route->path,
					    .role = route->role,
					    .certificate = pki_certificate_serial(&own, request->peer_certificate),
					    .source = request->peer_address };
	st permitted = permit(s, request, route);
	daemon_access_note(tsa->access, &visit, permitted, s->message);
	return permitted;
}

static st put_certificate(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct tsa *tsa = request->state;
	span present, ca;
	TRY(file_read(s, tsa->conf->tls_certificate, PEM_MAX, &present));
	TRY(file_read(s, tsa->conf->tls_ca, PEM_MAX, &ca));
	TRY(pki_renewal_check(s, present, request->body, ca));
	TRY(file_replace(s, tsa->conf->tls_certificate, request->body, 0644));
	http_server_reload(tsa->server);
	http_server_reload(tsa->management);
	log_put(LOG_LEVEL_NOTICE, "the TLS certificate was renewed");
	reply->status = 204;
	return OK;
}

const struct http_route tsa_management_routes[] = {
	{ .method = HTTP_PUT,
	  .path = "/v1/certificate",
	  .media_type = "application/x-pem-file",
	  .max_body = PEM_MAX,
	  .role = "ca",
	  .handle = put_certificate,
	  .summary = "The renewed TLS certificate (and chain) for this daemon's own key." },
};
const size_t tsa_management_route_count = sizeof tsa_management_routes / sizeof tsa_management_routes[0];
