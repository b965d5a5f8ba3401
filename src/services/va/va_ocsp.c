/*
 * OCSP (RFC 6960, RFC 9919): from a request to the bytes of its answer.
 *
 * A request for one certificate without nonce is answered from the cache by the loop thread; everything else goes to a worker, which
 * takes what waits, looks the statuses up, has the answers signed by keyd in one frame, and keeps them until their half-life. What is
 * not kept: answers with a nonce, with several singles, with another algorithm than the signer's usual one, and "unknown".
 */
#include "log.h"
#include "va.h"
#include "va_http.h"

#define VERIFY_EVERY 1024u /* one answer in so many is verified before it leaves */

static const char media_type[] = "application/ocsp-response";
static const char cache_control_none[] = "no-cache,no-store,max-age=0";

/* What one request is answered from. */
struct query {
	struct va *va;
	const struct va_conf *conf;
	const struct va_directory *directory;
	const struct pki_ocsp_request *request;
	struct va_signer *signer;
	const struct alg_signature *algorithm;
	int64_t now; /* whole second */
	int64_t next_update;
	bool unknown; /* some serial was never issued */
	struct pki_ocsp_single single[PKI_OCSP_SINGLES_MAX];
};

struct answer {
	span body;
	int64_t this_update, next_update;
	bool unknown;
};

/* ---- status ---- */

/* Negative serials and zero were never issued by us (rfc5280#4.1.2.2). */
static bool may_exist(span integer)
{
	return integer.len > 0 && integer.data[0] < 0x80;
}

static st look_up(struct scope *s, struct query *q, const struct va_ca *ca, const struct pki_ocsp_cert_id *id,
		  struct pki_ocsp_single *out)
{
	bool found = false;
	struct va_status_item status = { 0 };
	if (may_exist(id->serial))
		TRY(va_store_status(s, q->va->store, ca->id, va_magnitude(id->serial), &found, &status));
	struct pki_ocsp_single single = { .cert_id = id->whole, .status = PKI_OCSP_UNKNOWN, .this_update = q->now };
	//= en319411-2#OVR-6.6.3-02 a certificate that was not issued is not "good"
	q->unknown = q->unknown || !found;
	if (found) {
		single.status = status.revoked ? PKI_OCSP_REVOKED : PKI_OCSP_GOOD;
		single.revoked_at = status.revoked_at;
		single.reason = status.revoked ? status.reason : 0;
		//= en319411-2#CSS-6.3.10-10 archiveCutoff is the CA's notBefore: status outlives the certificate's expiry
		single.archive_cutoff = ca->read.not_before;
	}
	metrics_count(&q->va->produced[single.status]);
	*out = single;
	return OK;
}

static st find_signer(struct scope *s, struct query *q, struct va_ca *ca)
{
	struct va_signer *signer = &ca->signer;
	if (signer->key == NULL)
		return fail(s, E_NOTFOUND, "OCSP for CA %s is not offered here", ca->name);
	if (q->now < signer->not_before || q->now > signer->not_after)
		return fail(s, E_UNAVAILABLE, "the OCSP signer's certificate of CA %s is not valid now: the ca has to renew it",
			    ca->name);
	q->signer = signer;
	return OK;
}

/* All CertIDs must be ours; the answer is signed for the first one's CA. */
//= rfc6960#2.3 unauthorized: not capable of responding authoritatively
static st look_up_all(struct scope *s, struct query *q)
{
	for (size_t i = 0; i < q->request->count; i++) {
		const struct pki_ocsp_cert_id *id = &q->request->id[i];
		struct va_ca *ca = va_directory_issuer(q->directory, id);
		if (ca == NULL)
			return fail(s, E_NOTFOUND, "the issuer in the request is none of ours (RFC 6960 2.3)");
		if (i == 0)
			TRY(find_signer(s, q, ca));
		TRY(look_up(s, q, ca, id, &q->single[i]));
	}
	//= rfc9919#nextupdate nextUpdate is always there; it does not outlive the signer's certificate
	int64_t life = q->unknown ? q->conf->ocsp_unknown_validity : q->conf->ocsp_validity;
	q->next_update = q->now + life;
	if (q->next_update > q->signer->not_after)
		q->next_update = q->signer->not_after;
	for (size_t i = 0; i < q->request->count; i++)
		q->single[i].next_update = q->next_update;
	return OK;
}

/* ---- signing ---- */

static bool may_use(struct scope *s, const struct query *q, const struct alg_signature *algorithm)
{
	if (algorithm->family != q->signer->type->family)
		return false;
	bool allowed = alg_policy_check(s, q->signer->type, algorithm, ALG_USE_STATUS, false, q->now).code == E_OK;
	scope_clear_error(s);
	return allowed;
}

/* The first algorithm the client prefers that this key can do and the policy allows, else the key's usual one. */
//= rfc6960#4.4.7.2 an algorithm named by the client is used when it is supported and strong enough
static const struct alg_signature *choose_algorithm(struct scope *s, const struct query *q)
{
	const struct alg_signature *wanted[PKI_OCSP_PREFERRED_MAX];
	size_t count = pki_ocsp_preferred(q->request, wanted);
	for (size_t i = 0; i < count; i++)
		if (may_use(s, q, wanted[i]))
			return wanted[i];
	return q->signer->algorithm;
}

/* keyd refusing for good is our fault, not the client's; keyd or the audit log being away passes. */
static st signing_failed(struct scope *s, st failed)
{
	log_failure(s, "signing an OCSP answer");
	bool passes = failed.code == E_UNAVAILABLE || failed.code == E_BUSY || failed.code == E_LIMIT || failed.code == E_IO;
	return fail(s, passes ? E_UNAVAILABLE : E_STATE, "no OCSP answer was signed");
}

static st verify_sample(struct scope *s, struct query *q, const struct key_item *item)
{
	unsigned before = __atomic_fetch_add(&q->signer->signatures, 1, __ATOMIC_RELAXED);
	if (before % VERIFY_EVERY != 0)
		return OK;
	if (pki_key_verify(s, q->signer->public_key, item->algorithm, item->content, item->signature).code == E_OK)
		return OK;
	/* The next one is verified as well, until one fits. */
	__atomic_store_n(&q->signer->signatures, 0, __ATOMIC_RELAXED);
	log_put(LOG_LEVEL_ERROR, "key '%s' does not fit the OCSP signer's certificate: answers are held back", q->signer->key);
	return fail(s, E_STATE, "the signature over an OCSP answer does not fit the signer's certificate");
}

/* All that comes before the signature. */
static st prepare(struct scope *s, struct query *q, struct key_item *out)
{
	span tbs;
	TRY(look_up_all(s, q));
	q->algorithm = choose_algorithm(s, q);
	TRY(pki_ocsp_build_tbs(s, SPAN_ARRAY(q->signer->key_hash), q->now, q->single, q->request->count,
			       q->request->has_nonce ? q->request->nonce : (span){ 0 }, &tbs));
	*out = (struct key_item){
		.scope = s, .label = q->signer->key, .purpose = KEY_FOR_OCSP, .algorithm = q->algorithm, .content = tbs
	};
	return OK;
}

static st complete(struct scope *s, struct query *q, const struct key_item *item, struct answer *out)
{
	if (item->outcome.code != E_OK)
		return signing_failed(s, item->outcome);
	TRY(verify_sample(s, q, item));
	span body;
	TRY(pki_ocsp_assemble(s, item->content, q->algorithm, item->signature, q->signer->certificate, &body));
	*out = (struct answer){ .body = body, .this_update = q->now, .next_update = q->next_update, .unknown = q->unknown };
	return OK;
}

static struct query *query_new(struct scope *s, struct va *va, const struct va_directory *directory,
			       const struct pki_ocsp_request *request)
{
	struct query *q = scope_new(s, struct query);
	int64_t now = scope_now(s);
	q->va = va;
	q->conf = va_conf_now(va);
	q->directory = directory;
	q->request = request;
	q->now = now - now % MOMENT_SECOND;
	return q;
}

static st answer_now(struct scope *s, struct va *va, const struct pki_ocsp_request *request, struct answer *out)
{
	AUTO_DIRECTORY *directory = va_directory_take(va);
	struct query *q = query_new(s, va, directory, request);
	struct key_item item;
	TRY(prepare(s, q, &item));
	key_sign_all(va->keyd, &item, 1);
	return complete(s, q, &item, out);
}

/* ---- replies ---- */

static const char *etag_of(span body, char out[72])
{
	uint8_t digest[DIGEST_MAX];
	out[0] = '"';
	(void)hex_write(digest_of(DIGEST_SHA256, body, digest), out + 1);
	memcpy(out + 65, "\"", 2);
	return out;
}

//= rfc9919#6 Last-Modified is thisUpdate, Expires nextUpdate, ETag the hash of the response; max-age within nextUpdate, public,
//= no-transform, must-revalidate; never no-cache or no-store on an answer that is authoritative
static void reply_headers(struct scope *s, struct http_reply *reply, int64_t max_age, const char *last_modified,
			  const char *expires, const char *etag)
{
	reply->content_type = media_type;
	http_reply_header(reply, "Last-Modified", last_modified);
	http_reply_header(reply, "Expires", expires);
	http_reply_header(reply, "ETag", etag);
	http_reply_header(
		reply, "Cache-Control",
		scope_printf(s, "max-age=%lld,public,no-transform,must-revalidate", (long long)(max_age / MOMENT_SECOND)));
}

/* An answer for this client alone, or one that may be untrue in a minute: no cache may give it to another. */
static void reply_once(struct scope *s, struct http_reply *reply, const struct answer *answer)
{
	char *text = scope_alloc(s, 32 + 32 + 72);
	int64_t expires = answer->unknown ? answer->this_update : answer->next_update;
	reply_headers(s, reply, 0, va_http_date(answer->this_update, text), va_http_date(expires, text + 32),
		      etag_of(answer->body, text + 64));
	reply->body = answer->body;
}

static void reply_kept(struct scope *s, struct http_reply *reply, struct va_answer *answer, const struct va_conf *conf,
		       int64_t now)
{
	int64_t max_age = answer->passing ? 0 : answer->next_update - now;
	if (max_age > conf->ocsp_max_age)
		max_age = conf->ocsp_max_age;
	reply_headers(s, reply, max_age > 0 ? max_age : 0, answer->last_modified, answer->expires, answer->etag);
	reply->body = answer->body;
	reply->release = va_answer_release;
	reply->owner = answer;
}

static struct va_answer *answer_to_keep(const struct pki_ocsp_cert_id *id, const struct answer *made)
{
	struct va_answer *answer = va_answer_new(id->whole, id->serial, made->body);
	answer->next_update = made->next_update;
	answer->passing = made->unknown;
	answer->refresh_at = made->this_update + (made->next_update - made->this_update) / 2;
	(void)va_http_date(made->this_update, answer->last_modified);
	(void)va_http_date(made->unknown ? made->this_update : made->next_update, answer->expires);
	(void)etag_of(made->body, answer->etag);
	return answer;
}

/* ---- requests ---- */

static bool may_be_kept(const struct pki_ocsp_request *request)
{
	return request->count == 1 && !request->has_nonce && request->preferred.len == 0;
}

//= rfc6960#A.1 GET {url}/{url-encoding of base-64 encoding of the DER encoding of the OCSPRequest}, or POST the DER encoding
static st read_request(struct scope *s, const struct http_request *http, struct pki_ocsp_request **out)
{
	span der = http->body;
	if (http->method != HTTP_POST)
		TRY(pki_ocsp_request_from_url(s, span_from(http->path, strlen("/ocsp/")), &der));
	struct pki_ocsp_request *request = scope_new(s, struct pki_ocsp_request);
	TRY(pki_ocsp_request_read(s, der, request));
	*out = request;
	return OK;
}

static bool reply_from_cache(struct scope *s, struct va *va, const struct pki_ocsp_request *request, struct http_reply *reply)
{
	if (!may_be_kept(request))
		return false;
	int64_t now = scope_now(s);
	struct va_answer *answer = va_cache_get(va->cache, request->id[0].whole, request->id[0].serial, now);
	if (answer == NULL)
		return false;
	metrics_count(&va->given_again);
	reply_kept(s, reply, answer, va_conf_now(va), now);
	return true;
}

/* On a loop thread: what is not in the cache goes to a worker. */
st va_ocsp_loop(struct scope *s, const struct http_request *http, struct http_reply *reply)
{
	struct pki_ocsp_request *request;
	TRY(read_request(s, http, &request));
	reply->defer = !reply_from_cache(s, http->state, request, reply);
	return OK;
}

/* ---- several requests together, on a worker ---- */

/* One of them, from its request to its reply. */
struct entry {
	struct va *va;
	struct http_exchange *e;
	struct pki_ocsp_request *request;
	struct query *query;    /* NULL: nothing to sign for it */
	struct va_flight *lead; /* others may be waiting for its answer */
	struct va_answer *kept; /* what they get */
	struct key_item *item;
	bool answered;
	bool follows; /* the same answer is on its way for another request */
};

/* Kept meanwhile, ours to make, or on its way with another. */
static void look_for_kept(struct entry *n)
{
	const struct pki_ocsp_cert_id *id = &n->request->id[0];
	int64_t now = scope_now(n->e->scope);
	struct va_answer *answer = NULL;
	va_cache_lead(n->va->cache, id->whole, id->serial, now, &n->lead, &answer);
	if (answer != NULL)
		reply_kept(n->e->scope, &n->e->reply, answer, va_conf_now(n->va), now);
	n->answered = answer != NULL;
	n->follows = answer == NULL && n->lead == NULL;
}

static st begin(struct entry *n, const struct va_directory *directory)
{
	struct scope *s = n->e->scope;
	TRY(read_request(s, &n->e->request, &n->request));
	if (may_be_kept(n->request))
		look_for_kept(n);
	if (n->answered || n->follows)
		return OK;
	n->query = query_new(s, n->va, directory, n->request);
	return prepare(s, n->query, n->item);
}

static void finish(struct entry *n)
{
	struct scope *s = n->e->scope;
	struct answer made = { 0 };
	if (n->query == NULL)
		return;
	st ended = n->e->ended.code == E_OK ? complete(s, n->query, n->item, &made) : n->e->ended;
	n->e->ended = ended;
	if (n->lead != NULL) {
		n->kept = ended.code == E_OK ? answer_to_keep(&n->request->id[0], &made) : NULL;
		va_cache_land(n->va->cache, n->lead, n->kept, ended.code == E_OK && !made.unknown, ended.code);
	}
	if (ended.code != E_OK)
		return;
	if (n->kept != NULL)
		reply_kept(s, &n->e->reply, n->kept, n->query->conf, scope_now(s));
	else
		reply_once(s, &n->e->reply, &made);
}

/* The answer that another worker makes, or has failed to make by now. "unknown" goes to those who wait, and nowhere else. */
static st join(struct scope *s, struct va *va, const struct pki_ocsp_request *request, struct va_answer **out)
{
	const struct pki_ocsp_cert_id *id = &request->id[0];
	struct va_flight *lead;
	struct answer made;
	TRY(va_cache_join(s, va->cache, id->whole, id->serial, scope_now(s), &lead, out));
	if (lead == NULL)
		return OK;
	st done = answer_now(s, va, request, &made);
	*out = done.code == E_OK ? answer_to_keep(id, &made) : NULL;
	va_cache_land(va->cache, lead, *out, done.code == E_OK && !made.unknown, done.code);
	return done;
}

/* The same answer was on its way already, for another of these requests or with another worker. */
static st follow(struct entry *n, const struct entry *all, size_t count)
{
	struct va_answer *answer = NULL;
	for (size_t i = 0; i < count && answer == NULL; i++)
		if (all[i].kept != NULL && span_equal(all[i].request->id[0].whole, n->request->id[0].whole))
			answer = va_answer_hold(all[i].kept);
	if (answer == NULL)
		TRY(join(n->e->scope, n->va, n->request, &answer));
	reply_kept(n->e->scope, &n->e->reply, answer, va_conf_now(n->va), scope_now(n->e->scope));
	return OK;
}

void va_ocsp_all(struct http_exchange *const *exchange, size_t count)
{
	struct va *va = exchange[0]->request.state;
	AUTO_DIRECTORY *directory = va_directory_take(va);
	struct entry entry[HTTP_TOGETHER_MAX];
	struct key_item item[HTTP_TOGETHER_MAX];
	size_t to_sign = 0;
	for (size_t i = 0; i < count; i++) {
		entry[i] = (struct entry){ .va = va, .e = exchange[i], .item = &item[to_sign] };
		exchange[i]->ended = begin(&entry[i], directory);
		to_sign += exchange[i]->ended.code == E_OK && entry[i].query != NULL;
	}
	key_sign_all(va->keyd, item, to_sign);
	for (size_t i = 0; i < count; i++)
		finish(&entry[i]);
	for (size_t i = 0; i < count; i++)
		if (exchange[i]->ended.code == E_OK && entry[i].follows)
			exchange[i]->ended = follow(&entry[i], entry, count);
}

//= rfc6960#2.3 errors are answered unsigned, without responseBytes
//= rfc9919#6 and no cache keeps them
//= rfc6960#2.3 tryLater: the service exists and cannot answer for the moment, also when too many requests wait
bool va_ocsp_failed(struct scope *s, const struct http_request *request, const struct http_route *route, enum code code,
		    struct http_reply *reply)
{
	struct va *va = request->state;
	(void)s;
	if (route->handle != va_ocsp_loop)
		return false;
	metrics_count(&va->failed[code]);
	*reply = (struct http_reply){ .status = 200, .content_type = media_type, .file = -1 };
	reply->body = pki_ocsp_error(code_row(code)->ocsp_status);
	http_reply_header(reply, "Cache-Control", cache_control_none);
	http_reply_header(reply, "Pragma", "no-cache");
	return true;
}
