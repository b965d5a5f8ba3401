/*
 * What the ca pushes: the status feed, and by va_crl.c and va_certificate.c its CRLs and this daemon's renewed certificate.
 */
#include "failpoint.h"
#include "daemon_access.h"
#include "log.h"
#include "moment.h"
#include "pki_ext.h"
#include "pki_name.h"
#include "va.h"

static st check_name(struct scope *s, const struct pki_certificate *peer, const char *wanted)
{
	span name;
	TRY(pki_name_get(s, peer->subject, "CN", &name));
	return span_is(name, wanted) ? OK : fail(s, E_DENIED, "only '%s' may push here (push-peer)", wanted);
}

//= en319411-1#CSS-6.3.10-05 who may change what is published as status is one component, by its certificate's role
static st permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	struct va *va = request->state;
	const char *wanted = va_conf_now(va)->push_peer;
	struct pki_certificate peer;
	char *role;
	TRY(pki_certificate_read(s, request->peer_certificate, &peer));
	TRY(pki_ext_role_get(s, &peer, &role));
	if (role == NULL || strcmp(role, route->role) != 0)
		return fail(s, E_DENIED, "only a certificate of role '%s' may push here, not '%s'", route->role,
			    role != NULL ? role : "none");
	if (wanted != NULL)
		TRY(check_name(s, &peer, wanted));
	__atomic_store_n(&va->contact, moment_monotonic(), __ATOMIC_RELAXED);
	return OK;
}

st va_push_permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	struct va *va = request->state;
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	const struct daemon_visit visit = { .route = route->path,
					    .role = route->role,
					    .certificate = pki_certificate_serial(&own, request->peer_certificate),
					    .source = request->peer_address };
	st permitted = permit(s, request, route);
	daemon_access_note(va->access, &visit, permitted, s->message);
	return permitted;
}

/* ---- the feed ---- */

static st check_ca(struct scope *s, const struct va_ca_item *ca)
{
	struct pki_certificate read;
	TRY(pki_certificate_read(s, ca->certificate, &read));
	for (size_t i = 0; i < ca->chain_count; i++)
		TRY(pki_certificate_read(s, ca->chain[i], &read));
	return OK;
}

static st check_item(struct scope *s, void *arg, const struct va_item *item, const struct va_ca_item *ca)
{
	if (item->type == VA_ITEM_CA)
		return check_ca(s, ca);
	if (item->type == VA_ITEM_CRL)
		return va_crl_check(s, arg, &item->crl, ca);
	return va_signer_check(s, &item->signer, ca);
}

struct content {
	bool cas; /* the directory has to be read anew */
	bool crls;
	bool answers; /* other answers than about the serials of the batch may be untrue now */
};

static struct content content_of(const struct va_batch *batch, bool switched)
{
	struct content content = { switched, switched, switched };
	for (size_t i = 0; i < batch->count; i++) {
		enum va_item_type type = batch->item[i].type;
		content.cas = content.cas || type != VA_ITEM_STATUS;
		content.crls = content.crls || type == VA_ITEM_CRL;
		content.answers = content.answers || type == VA_ITEM_SIGNER || type == VA_ITEM_CA;
	}
	return content;
}

/* What was durable a moment ago becomes what is answered: the directory first, so that nothing is signed from the old one after
 * the cache forgot what was signed from it. */
static st publish(struct scope *s, struct va *va, const struct va_batch *batch, bool switched)
{
	/* Parts of a snapshot under way change nothing that is answered. */
	if (batch->kind != VA_BATCH_CONTINUATION && !switched)
		return OK;
	struct content content = content_of(batch, switched);
	if (content.cas)
		TRY(va_directory_refresh(s, va));
	if (content.answers)
		va_cache_clear(va->cache);
	for (size_t i = 0; !content.answers && i < batch->count; i++)
		if (batch->item[i].type == VA_ITEM_STATUS)
			va_cache_drop(va->cache, batch->item[i].status.serial);
	if (content.crls)
		va_crl_tidy(va);
	return OK;
}

/* What was published is published: that it could not be recorded is said in the log. */
static void record_crl(struct va *va, const struct va_ca *ca)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT e;
	uint64_t index;
	audit_begin(&e, &s, AUDIT_CRL_PUBLISHED);
	audit_str(&e, "ca", ca->name);
	audit_number(&e, "number", (int64_t)ca->crl.number);
	audit_hex(&e, "digest", SPAN_ARRAY(ca->crl.digest));
	if (audit_finish(&s, &e).code != E_OK || audit_commit(&s, va->audit, &e, &index).code != E_OK)
		log_failure(&s, "recording that a CRL is published");
}

/* Those of the directory that were not published in the one before. */
static void record_crls(struct va *va, const struct va_directory *before)
{
	AUTO_DIRECTORY *now = va_directory_take(va);
	for (size_t i = 0; now != before && i < now->count; i++) {
		const struct va_ca *ca = &now->ca[i], *old = va_directory_named(before, span_str(ca->name));
		if (ca->crl.number != 0 && (old == NULL || old->crl.number != ca->crl.number))
			record_crl(va, ca);
	}
}

static st answer_number(struct scope *s, struct http_reply *reply, uint64_t number)
{
	reply->content_type = "application/json";
	reply->body = span_str(scope_printf(s, "{\"number\":%llu}", (unsigned long long)number));
	http_reply_header(reply, "Cache-Control", "no-store");
	return OK;
}

static st feed_post(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct va *va = request->state;
	struct va_batch batch;
	TRY(va_feed_read(s, request->body, &batch));
	(void)pthread_mutex_lock(&va->feed);
	AUTO_DIRECTORY *before = va_directory_take(va);
	struct va_applied applied = { 0 };
	st done = va_store_apply(s, va->store, &batch, check_item, va, &applied);
	if (done.code == E_OK && applied.changed) {
		FAILPOINT("va.stored");
		done = publish(s, va, &batch, applied.switched);
	}
	(void)pthread_mutex_unlock(&va->feed);
	TRY(done);
	record_crls(va, before);
	if (applied.switched)
		log_put(LOG_LEVEL_NOTICE, "a snapshot of the status feed, number %llu, is what is answered now",
			(unsigned long long)applied.number);
	return answer_number(s, reply, applied.number);
}

static st feed_get(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct va *va = request->state;
	uint64_t number;
	TRY(va_store_number(s, va->store, &number));
	return answer_number(s, reply, number);
}

#define CRL_MAX ((size_t)1 << 32)

const struct http_route va_push_routes[] = {
	{ .method = HTTP_POST,
	  .path = "/v1/feed",
	  .media_type = "application/vnd.chancery.feed",
	  .max_body = VA_FEED_BATCH_MAX,
	  .role = "ca",
	  .handle = feed_post,
	  .summary = "A batch of the status feed; answers the last number that is durable." },
	{ .method = HTTP_GET,
	  .path = "/v1/feed",
	  .role = "ca",
	  .handle = feed_get,
	  .summary = "The last number of the feed that is durable." },
	{ .method = HTTP_PUT,
	  .path = "/v1/crls/{ca}/{number}",
	  .media_type = "application/pkix-crl",
	  .max_body = CRL_MAX,
	  .spool = true,
	  .role = "ca",
	  .handle = va_crl_put,
	  .summary = "A CRL, published by the feed item that names it." },
	{ .method = HTTP_PUT,
	  .path = "/v1/certificate",
	  .media_type = "application/x-pem-file",
	  .max_body = 65536,
	  .role = "ca",
	  .handle = va_certificate_put,
	  .summary = "The renewed TLS certificate (and chain) for this daemon's own key." },
};
const size_t va_push_route_count = sizeof va_push_routes / sizeof va_push_routes[0];
