#include "watch_http.h"
#include "daemon.h"
#include "watch_send.h"
#include <unistd.h>

/* What is wrong is for those who may do something about it. */
st watch_permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	(void)route;
	if (request->peer_uid != 0 && request->peer_uid != getuid())
		return fail(s, E_DENIED, "this socket is for the user of chancery-watch and root");
	return OK;
}

static void say_json(struct http_reply *reply, span body)
{
	reply->content_type = "application/json";
	reply->body = body;
	http_reply_header(reply, "Cache-Control", "no-store");
}

static st get_alerts(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct watch_http_state *state = request->state;
	say_json(reply, watch_book_json(s, state->book));
	return OK;
}

static st get_rules(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct watch_http_state *state = request->state;
	say_json(reply, watch_rules_json(s, watch_book_rules(state->book)));
	return OK;
}

static st get_health(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct watch_http_state *state = request->state;
	say_json(reply, span_str(scope_printf(s, "{\"status\":\"ok\",\"alerts\":%zu,\"position\":%llu,\"files_fenced\":%s}\n",
					      watch_book_open(state->book, AUDIT_INFO),
					      (unsigned long long)watch_book_position(state->book),
					      daemon_is_fenced() ? "true" : "false")));
	return OK;
}

static st post_trial(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct watch_http_state *state = request->state;
	say_json(reply, watch_send_try(s, watch_book_conf(state->book), scope_now(s)));
	return OK;
}

static st post_comparison(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct watch_http_state *state = request->state;
	if (!watch_compare_now(state->compare))
		return fail(s, E_STATE, "watch.conf has no [compare] with an api-url: nothing is compared");
	reply->status = 202;
	say_json(reply, SPAN_LITERAL("{\"begun\":true}\n"));
	return OK;
}

const struct http_route watch_routes[] = {
	{ .method = HTTP_POST,
	  .path = "/v1/comparison",
	  .media_type = "application/json",
	  .max_body = 1024,
	  .handle = post_comparison,
	  .summary = "Compare OCSP, CRL and database now." },
	{ .method = HTTP_GET, .path = "/v1/alerts", .handle = get_alerts, .summary = "Open alerts, deadlines, outages." },
	{ .method = HTTP_GET, .path = "/v1/rules", .handle = get_rules, .summary = "The rules as they are in force." },
	{ .method = HTTP_POST,
	  .path = "/v1/trial",
	  .media_type = "application/json",
	  .max_body = 1024,
	  .handle = post_trial,
	  .summary = "Send a trial alert through each outlet." },
	{ .method = HTTP_GET, .path = "/healthz", .handle = get_health, .summary = "Whether it watches." },
};
const size_t watch_route_count = sizeof watch_routes / sizeof watch_routes[0];
