#include "keyd_control.h"
#include "metrics.h"
#include "wire.h"
#include <stdio.h>
#include <stdlib.h>

#define PLANNED_SHOWN 64

/* A stream under way on one connection. After a refusal the rest is passed over and the end tells why. */
struct stream {
	struct key_sign_item item; /* without content */
	char label[KEY_LABEL_MAX + 1];
	struct keyd_key *key;
	struct keyd_crl *crl;
	st refused;
	char message[SCOPE_MESSAGE_MAX];
};

static void stream_free(struct stream *stream)
{
	if (stream == NULL)
		return;
	keyd_crl_free(stream->crl);
	free(stream);
}

static void close_session(struct wire_peer *peer)
{
	stream_free(peer->session);
	peer->session = NULL;
}

static bool administrator(const struct wire_peer *peer)
{
	const struct keyd *d = peer->service;
	return keyd_may_administer(d->conf, peer->uid);
}

/* With `watching` held. */
static const char *token_reason(struct scope *s, const struct keyd_token *t)
{
	const char *locked = t->ready ? "" : t->reason;
	return scope_printf(s, "%s%s%s", locked, locked[0] != 0 && t->custodians[0] != 0 ? "; " : "", t->custodians);
}

static st handle_status(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct keyd *d = peer->service;
	TRY(rd_end(s, body, "a request for the status"));
	struct key_status status = { .zone = d->conf->zone,
				     .module = hsm_description(d->hsm),
				     .signatures = atomic_load(&d->signatures),
				     .refusals = atomic_load(&d->refusals) };
	(void)pthread_rwlock_rdlock(&d->registry);
	for (struct keyd_token *t = d->tokens; t != NULL; t = t->next)
		status.token_count++;
	status.tokens = scope_alloc(s, (status.token_count + 1) * sizeof *status.tokens);
	size_t i = 0;
	(void)pthread_mutex_lock(&d->watching);
	for (struct keyd_token *t = d->tokens; t != NULL; t = t->next)
		status.tokens[i++] = (struct key_token_status){ t->label, t->ready, token_reason(s, t) };
	(void)pthread_mutex_unlock(&d->watching);
	(void)pthread_rwlock_unlock(&d->registry);
	key_status_write(reply, &status);
	return OK;
}

static st handle_metrics(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	AUTO_METRICS_PAGE page = { 0 };
	TRY(rd_end(s, body, "a request for metrics"));
	keyd_metrics(s, peer->service, &page);
	wr_raw(reply, metrics_page_end(&page));
	return OK;
}

static st handle_list(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct keyd *d = peer->service;
	TRY(rd_end(s, body, "a request for the list of keys"));
	struct keyd_key *first = keyd_first_key(d);
	uint32_t count = 0;
	for (struct keyd_key *k = first; k != NULL; k = k->next)
		count++;
	struct keyd_planned *p = keyd_next_planned(d, NULL);
	const struct keyd_planned *planned[PLANNED_SHOWN];
	uint32_t plans = 0;
	for (; p != NULL && plans < PLANNED_SHOWN; p = keyd_next_planned(d, p))
		planned[plans++] = p;
	wr_u32(reply, count + plans);
	for (struct keyd_key *k = first; k != NULL; k = k->next) {
		struct key_info info;
		keyd_describe(d, k, &info);
		key_info_write(reply, &info);
	}
	for (uint32_t i = 0; i < plans; i++)
		key_info_write(reply, &planned[i]->info);
	return OK;
}

static st handle_strays(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct key_stray *stray = scope_alloc(s, KEY_STRAYS_MAX * sizeof *stray);
	size_t count;
	TRY(rd_end(s, body, "a request for keys without a description"));
	keyd_find_strays(s, peer->service, stray, &count);
	key_strays_write(reply, stray, count);
	return OK;
}

static st handle_find(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct keyd *d = peer->service;
	const char *label;
	struct keyd_key *k;
	struct key_info info;
	TRY(key_label_read(s, body, &label));
	TRY(keyd_find_key(s, d, label, &k));
	keyd_describe(d, k, &info);
	key_info_write(reply, &info);
	return OK;
}

static st handle_token_create(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)reply;
	struct key_token_request request;
	TRY(key_token_request_read(s, body, &request));
	return keyd_create_token(s, peer->service, request.token, request.pin, request.officer_pin);
}

//= tsps#6.1.1 no one person makes a key of a CA
static st require_no_quorum(struct scope *s, const struct keyd *d, const struct key_info *want)
{
	if (d->control == NULL || (want->purposes & (KEY_FOR_CERTIFICATE | KEY_FOR_CRL)) == 0)
		return OK;
	return fail(s, E_DENIED, "a key of a CA is made by the operation key.generate (practice statement 6.1.1)");
}

static st handle_generate(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct keyd *d = peer->service;
	struct key_info want, info;
	struct keyd_key *k;
	TRY(key_info_read(s, body, &want));
	TRY(rd_end(s, body, "the description of a key"));
	st status = require_no_quorum(s, d, &want);
	if (status.code == E_OK)
		status = keyd_generate(s, d, &want, "", &k);
	if (status.code != E_OK)
		keyd_refused_to(s, d, want.label, "generate", status);
	TRY(status);
	keyd_describe(d, k, &info);
	info.usable = true;
	key_info_write(reply, &info);
	return OK;
}

static st handle_entry(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct keyd *d = peer->service;
	const char *label;
	struct keyd_key *k;
	struct key_entry *entry = scope_new(s, struct key_entry);
	TRY(key_label_read(s, body, &label));
	st found = keyd_find_key(s, d, label, &k);
	const struct keyd_planned *p = found.code == E_NOTFOUND ? keyd_find_planned(d, label) : NULL;
	if (p == NULL)
		TRY(found);
	if (p == NULL)
		keyd_life_describe(s, d, k, entry);
	else
		keyd_planned_describe(s, d, p, entry);
	scope_clear_error(s);
	key_entry_write(reply, entry);
	return OK;
}

static st handle_change(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct keyd *d = peer->service;
	struct key_change_request request;
	struct keyd_key *k;
	struct key_entry *entry = scope_new(s, struct key_entry);
	TRY(key_change_request_read(s, body, &request));
	const struct keyd_why why = { .actor = scope_printf(s, "uid %u", (unsigned)peer->uid), .reason = request.reason };
	st status = d->control == NULL ? keyd_key_change(s, d, request.label, request.to, &why)
				       : fail(s, E_DENIED,
					      "keys change by the operations key.suspend, key.resume and key.destroy, which "
					      "two persons approve (practice statement 6.2.9, 6.2.10)");
	if (status.code != E_OK)
		keyd_refused_to(s, d, request.label, "change", status);
	TRY(status);
	TRY(keyd_find_key(s, d, request.label, &k));
	keyd_life_describe(s, d, k, entry);
	key_entry_write(reply, entry);
	return OK;
}

/* What was refused goes on record before the answer says so. */
static st answer(struct scope *s, struct keyd *d, const char *label, enum key_purpose purpose, st status, span signature,
		 struct wr *reply)
{
	if (status.code != E_OK) {
		keyd_refused(s, d, label, purpose, status);
		return status;
	}
	wr_raw(reply, signature);
	return OK;
}

static st handle_sign(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct key_sign_request *request = scope_new(s, struct key_sign_request);
	struct key_sign_outcome outcome[KEY_ITEMS_MAX];
	TRY(key_sign_request_read(s, body, request));
	keyd_sign(s, peer->service, peer->uid, request, outcome);
	for (size_t i = 0; i < request->count; i++)
		key_sign_outcome_write(reply, &outcome[i]);
	return OK;
}

static st begin(struct scope *s, const struct wire_peer *peer, struct stream *stream, uint64_t total)
{
	const struct alg_signature *algorithm = stream->item.algorithm;
	if (stream->item.purpose != KEY_FOR_CRL)
		return fail(s, E_DENIED, "only CRLs are signed as streams");
	TRY(keyd_admit(s, peer->service, peer->uid, &stream->item, &stream->key));
	if (algorithm->digest == DIGEST_NONE)
		return fail(s, E_CRYPTO, "%s signs whole messages, not streams", algorithm->name);
	struct keyd_rules rules = keyd_rules_of(s, stream->key, algorithm);
	stream->crl = keyd_crl_new(&rules, total);
	return OK;
}

static st handle_stream_begin(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct key_stream_request request;
	close_session(peer);
	TRY(key_stream_request_read(s, body, &request));
	struct stream *stream = heap_alloc(sizeof *stream);
	memcpy(stream->label, request.label, strlen(request.label) + 1);
	stream->item =
		(struct key_sign_item){ .label = stream->label, .purpose = request.purpose, .algorithm = request.algorithm };
	st status = begin(s, peer, stream, request.total);
	if (status.code != E_OK) {
		stream_free(stream);
		return answer(s, peer->service, request.label, request.purpose, status, (span){ 0 }, reply);
	}
	peer->session = stream;
	return OK;
}

static st handle_stream_data(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)reply;
	struct stream *stream = peer->session;
	if (stream == NULL)
		return fail(s, E_STATE, "a part of a stream came, but none was begun");
	if (stream->refused.code != E_OK)
		return OK;
	stream->refused = keyd_crl_add(s, stream->crl, rd_raw(body, body->rest.len));
	if (stream->refused.code != E_OK)
		(void)snprintf(stream->message, sizeof stream->message, "%s", s->message);
	scope_clear_error(s);
	return OK;
}

static st finish(struct scope *s, struct keyd *d, struct stream *stream, struct key_sign_outcome *out)
{
	struct keyd_found found;
	uint8_t *digest = scope_alloc(s, DIGEST_MAX);
	span value;
	if (stream->refused.code != E_OK)
		return fail(s, stream->refused.code, "%s", stream->message);
	TRY(keyd_crl_finish(s, stream->crl, &found, digest, &value));
	stream->item.tx = SPAN_ARRAY(s->id);
	keyd_sign_crl(s, d, &stream->item, stream->key, &found, value, out);
	return OK;
}

static st handle_stream_end(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	TRY(rd_end(s, body, "the end of a stream"));
	struct stream *stream = peer->session;
	if (stream == NULL)
		return fail(s, E_STATE, "a stream ended that was not begun");
	struct key_sign_outcome outcome = { .code = E_OK };
	st status = finish(s, peer->service, stream, &outcome);
	if (status.code != E_OK)
		keyd_refused(s, peer->service, stream->label, stream->item.purpose, status);
	else if (outcome.code != E_OK)
		status = fail(s, outcome.code, "%.*s", (int)outcome.value.len, (const char *)outcome.value.data);
	else
		wr_raw(reply, outcome.value);
	close_session(peer);
	return status;
}

static st handle_log_head(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	const char *label;
	uint64_t size;
	uint8_t root[32];
	TRY(key_label_read(s, body, &label));
	TRY(keyd_log_head(s, peer->service, label, &size, root));
	wr_u64(reply, size);
	wr_raw(reply, SPAN_ARRAY(root));
	return OK;
}

static st sign_checkpoint(struct scope *s, struct wire_peer *peer, const struct key_checkpoint_request *request,
			  struct wr *reply)
{
	span payload = { 0 };
	st status = keyd_sign_checkpoint(s, peer->service, peer->uid, request, &payload);
	return answer(s, peer->service, request->label, KEY_FOR_LOG, status, payload, reply);
}

static st handle_checkpoint(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct key_checkpoint_request request;
	TRY(key_checkpoint_request_read(s, body, &request));
	return sign_checkpoint(s, peer, &request, reply);
}

static st handle_cosign(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct key_checkpoint_request request;
	TRY(key_cosign_request_read(s, body, &request));
	return sign_checkpoint(s, peer, &request, reply);
}

/* ---- operations with quorum ---- */

static st handle_challenge(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct key_challenge challenge;
	TRY(rd_end(s, body, "a request for a challenge"));
	TRY(keyd_challenge(s, peer->service, &challenge));
	key_challenge_write(reply, &challenge);
	return OK;
}

static st handle_open(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct key_opening *opening = scope_new(s, struct key_opening);
	span operation = rd_bytes(body, KEY_OPERATION_MAX);
	TRY(rd_end(s, body, "an operation to open"));
	TRY(keyd_open_operation(s, peer->service, operation, opening));
	key_opening_write(reply, opening);
	return OK;
}

static st handle_execute(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct key_execution *execution = scope_new(s, struct key_execution);
	const char *words;
	TRY(key_execution_read(s, body, execution));
	TRY(keyd_execute(s, peer->service, execution, &words));
	wr_str(reply, words);
	return OK;
}

static const struct wire_route routes[] = {
	{ .kind = KEY_KIND_STATUS, .name = "status", .max_body = 0, .handle = handle_status },
	{ .kind = KEY_KIND_METRICS, .name = "metrics", .max_body = 0, .handle = handle_metrics },
	{ .kind = KEY_KIND_LIST, .name = "list of keys", .max_body = 0, .handle = handle_list },
	{ .kind = KEY_KIND_FIND, .name = "find a key", .max_body = 256, .handle = handle_find },
	{ .kind = KEY_KIND_TOKEN_CREATE,
	  .name = "create a token",
	  .max_body = 1024,
	  .permit = administrator,
	  .handle = handle_token_create },
	{ .kind = KEY_KIND_GENERATE,
	  .name = "generate a key",
	  .max_body = 16384,
	  .permit = administrator,
	  .handle = handle_generate },
	{ .kind = KEY_KIND_ENTRY, .name = "row of the inventory", .max_body = 256, .handle = handle_entry },
	{ .kind = KEY_KIND_STRAYS, .name = "keys without a description", .max_body = 0, .handle = handle_strays },
	{ .kind = KEY_KIND_CHANGE, .name = "change a key", .max_body = 1024, .permit = administrator, .handle = handle_change },
	{ .kind = KEY_KIND_SIGN, .name = "sign", .max_body = WIRE_BODY_MAX, .handle = handle_sign },
	{ .kind = KEY_KIND_STREAM_BEGIN, .name = "begin a stream", .max_body = 1024, .handle = handle_stream_begin },
	{ .kind = KEY_KIND_STREAM_DATA,
	  .name = "part of a stream",
	  .max_body = WIRE_BODY_MAX,
	  .silent = true,
	  .handle = handle_stream_data },
	{ .kind = KEY_KIND_STREAM_END, .name = "end a stream", .max_body = 0, .handle = handle_stream_end },
	{ .kind = KEY_KIND_CHALLENGE, .name = "a challenge", .max_body = 0, .handle = handle_challenge },
	{ .kind = KEY_KIND_OPEN, .name = "open an operation", .max_body = KEY_OPERATION_MAX + 4, .handle = handle_open },
	{ .kind = KEY_KIND_EXECUTE,
	  .name = "carry out an operation",
	  .max_body = KEY_OPERATION_MAX + KEY_SHARES_MAX * (KEY_SHARE_MAX + 4) + 8,
	  .handle = handle_execute },
	{ .kind = KEY_KIND_LOG_HEAD, .name = "log head", .max_body = 256, .handle = handle_log_head },
	{ .kind = KEY_KIND_CHECKPOINT, .name = "sign a checkpoint", .max_body = 8192, .handle = handle_checkpoint },
	{ .kind = KEY_KIND_COSIGN, .name = "cosign a checkpoint", .max_body = 8192, .handle = handle_cosign },
};

const struct wire_service keyd_service = {
	.routes = routes,
	.route_count = sizeof routes / sizeof routes[0],
	.close_session = close_session,
};
