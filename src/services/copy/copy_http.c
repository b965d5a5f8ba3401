#include "copy.h"
#include "daemon_access.h"
#include "daemon.h"
#include "log.h"
#include "pki_ext.h"

#define REQUEST_MAX (AUDIT_NOTE_MAX + 8192)
#define STAMPED_MAX (4 + AUDIT_NOTE_MAX + STAMP_TOKEN_MAX)

static st permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	const struct copy *c = request->state;
	struct pki_certificate peer;
	char *role = NULL;
	(void)route;
	TRY(pki_certificate_read(s, request->peer_certificate, &peer));
	TRY(pki_ext_role_get(s, &peer, &role));
	if (role == NULL || strcmp(role, c->conf->peer_role) != 0)
		return fail(s, E_DENIED, "this is for role '%s' only, not for '%s'", c->conf->peer_role,
			    role == NULL ? "none" : role);
	return OK;
}

st copy_permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	struct copy *copy = request->state;
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	const struct daemon_visit visit = { .route = route->path,
					    .role = route->role,
					    .certificate = pki_certificate_serial(&own, request->peer_certificate),
					    .source = request->peer_address };
	st permitted = permit(s, request, route);
	daemon_access_note(copy->access, &visit, permitted, s->message);
	return permitted;
}

static void say(struct http_reply *reply, const char *media_type, const char *text)
{
	reply->content_type = media_type;
	reply->body = span_str(text);
	http_reply_header(reply, "Cache-Control", "no-store");
}

static st put_tile(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct copy *c = request->state;
	struct copy_place place;
	TRY(copy_place_read(s, request->part[0], &place));
	(void)pthread_mutex_lock(&c->lock);
	st kept = copy_keep_tile(s, c, &place, request->body);
	(void)pthread_mutex_unlock(&c->lock);
	reply->status = 204;
	return kept;
}

static char *size_text(struct scope *s, struct copy *c)
{
	(void)pthread_mutex_lock(&c->lock);
	uint64_t size = c->head.size;
	(void)pthread_mutex_unlock(&c->lock);
	return scope_printf(s, "%llu\n", (unsigned long long)size);
}

static st get_size(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	say(reply, "text/x.tlog.size", size_text(s, request->state));
	return OK;
}

//= c2sp tlog-witness "add-checkpoint" 409 with the size that is held here, when the old one is another
static st add_checkpoint(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct copy *c = request->state;
	struct copy_request asked;
	const char *line = NULL;
	bool stale = false;
	TRY(copy_request_read(s, request->body, &asked));
	(void)pthread_mutex_lock(&c->lock);
	st cosigned = copy_cosign(s, c, &asked, &stale, &line);
	(void)pthread_mutex_unlock(&c->lock);
	TRY(cosigned);
	reply->status = stale ? 409 : 200;
	say(reply, stale ? "text/x.tlog.size" : "text/plain", stale ? size_text(s, c) : line);
	return OK;
}

static st add_stamp(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct copy *c = request->state;
	struct copy_stamped stamped;
	TRY(copy_stamped_read(s, request->body, &stamped));
	(void)pthread_mutex_lock(&c->lock);
	st kept = copy_keep_stamp(s, c, &stamped);
	(void)pthread_mutex_unlock(&c->lock);
	reply->status = 204;
	return kept;
}

static st get_stamped(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct copy *c = request->state;
	uint64_t size = 0;
	(void)pthread_mutex_lock(&c->lock);
	st found = stamp_newest(s, c->conf->log, &size);
	(void)pthread_mutex_unlock(&c->lock);
	if (found.code != E_NOTFOUND)
		TRY(found);
	scope_clear_error(s);
	say(reply, "text/x.tlog.size", scope_printf(s, "%llu\n", (unsigned long long)size));
	return OK;
}

static st get_health(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct copy *c = request->state;
	(void)pthread_mutex_lock(&c->lock);
	bool refused = c->refused[0] != 0;
	uint64_t size = c->head.size;
	(void)pthread_mutex_unlock(&c->lock);
	reply->status = refused ? 503 : 200;
	say(reply, "application/json",
	    scope_printf(s, "{\"status\":\"%s\",\"records\":%llu,\"files_fenced\":%s}\n", refused ? "refusing" : "ok",
			 (unsigned long long)size, daemon_is_fenced() ? "true" : "false"));
	return OK;
}

const struct http_route copy_routes[] = {
	{ .method = HTTP_PUT,
	  .path = "/tile/{rest*}",
	  .media_type = "application/octet-stream",
	  .max_body = AUDIT_BUNDLE_MAX,
	  .handle = put_tile,
	  .summary = "A tile or an entry bundle (c2sp.org/tlog-tiles)." },
	{ .method = HTTP_POST,
	  .path = "/add-checkpoint",
	  .media_type = "text/plain",
	  .max_body = REQUEST_MAX,
	  .handle = add_checkpoint,
	  .summary = "Cosign a checkpoint whose records are here (c2sp.org/tlog-witness)." },
	{ .method = HTTP_GET, .path = "/size", .handle = get_size, .summary = "Records under the newest cosigned checkpoint." },
	{ .method = HTTP_POST,
	  .path = "/add-stamp",
	  .media_type = "application/octet-stream",
	  .max_body = STAMPED_MAX,
	  .handle = add_stamp,
	  .summary = "A time-stamp over a checkpoint that is cosigned, or over an older one." },
	{ .method = HTTP_GET,
	  .path = "/stamped",
	  .handle = get_stamped,
	  .summary = "Records under the newest time-stamp that is here; 0: none." },
	{ .method = HTTP_GET, .path = "/healthz", .handle = get_health, .summary = "Whether the log is taken." },
};
const size_t copy_route_count = sizeof copy_routes / sizeof copy_routes[0];
