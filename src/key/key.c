#include "key_internal.h"
#include "key_protocol.h"
#include <stdlib.h>

/* Generating RSA keys takes a token seconds; everything else answers at once. */
#define TIMEOUT_MS 60000

/* What one frame carries at most, but for a single item that is larger by itself. */
#define FRAME_CONTENT_MAX ((size_t)256 << 10)

struct key_client {
	struct wire_pool *pool;
};

struct key_client *key_client_new(const char *socket)
{
	struct key_client *c = heap_alloc(sizeof *c);
	c->pool = wire_pool_new(socket, TIMEOUT_MS);
	return c;
}

void key_client_free(struct key_client *c)
{
	if (c == NULL)
		return;
	wire_pool_free(c->pool);
	free(c);
}

static st call(struct scope *s, struct key_client *c, enum key_kind kind, const struct wr *w, span *out_reply)
{
	TRY(wr_end(s, w));
	return wire_pool_call(s, c->pool, (uint16_t)kind, buf_span(w->out), out_reply);
}

/* For what must not happen twice: no second try on a new connection. */
st key_call_once(struct scope *s, struct key_client *c, uint16_t kind, const struct wr *w, span *out_reply)
{
	TRY(wr_end(s, w));
	struct wire_client *connection;
	TRY(wire_pool_take(s, c->pool, &connection));
	st status = wire_call(s, connection, kind, buf_span(w->out), out_reply);
	wire_pool_give(c->pool, connection);
	return status;
}

static st call_with_label(struct scope *s, struct key_client *c, enum key_kind kind, const char *label, span *out_reply)
{
	AUTO_BUF body = { .cap = WIRE_BODY_MAX };
	struct wr w = wr_into(&body);
	if (label != NULL)
		wr_str(&w, label);
	return call(s, c, kind, &w, out_reply);
}

st key_status(struct scope *s, struct key_client *c, struct key_status *out)
{
	span reply;
	TRY(call_with_label(s, c, KEY_KIND_STATUS, NULL, &reply));
	struct rd r = rd_of(reply);
	return key_status_read(s, &r, out);
}

st key_metrics(struct scope *s, struct key_client *c, span *out_text)
{
	return call_with_label(s, c, KEY_KIND_METRICS, NULL, out_text);
}

st key_find(struct scope *s, struct key_client *c, const char *label, struct key_info *out)
{
	span reply;
	TRY(call_with_label(s, c, KEY_KIND_FIND, label, &reply));
	struct rd r = rd_of(reply);
	struct key_info info;
	TRY(key_info_read(s, &r, &info));
	TRY(rd_end(s, &r, "the description of a key"));
	*out = info;
	return OK;
}

st key_list(struct scope *s, struct key_client *c, struct key_info **out, size_t *out_count)
{
	span reply;
	TRY(call_with_label(s, c, KEY_KIND_LIST, NULL, &reply));
	struct rd r = rd_of(reply);
	uint32_t count = rd_u32(&r);
	if (count > KEY_LIST_MAX)
		return fail(s, E_INPUT, "a list of %u keys is over the limit", count);
	struct key_info *list = scope_alloc(s, (count + 1) * sizeof *list);
	for (uint32_t i = 0; i < count; i++)
		TRY(key_info_read(s, &r, &list[i]));
	TRY(rd_end(s, &r, "the list of keys"));
	*out = list;
	*out_count = count;
	return OK;
}

st key_entry(struct scope *s, struct key_client *c, const char *label, struct key_entry *out)
{
	span reply;
	TRY(call_with_label(s, c, KEY_KIND_ENTRY, label, &reply));
	struct rd r = rd_of(reply);
	return key_entry_read(s, &r, out);
}

st key_strays(struct scope *s, struct key_client *c, struct key_stray **out, size_t *out_count)
{
	span reply;
	TRY(call_with_label(s, c, KEY_KIND_STRAYS, NULL, &reply));
	struct rd r = rd_of(reply);
	return key_strays_read(s, &r, out, out_count);
}

st key_change(struct scope *s, struct key_client *c, const char *label, enum key_state to, const char *reason,
	      struct key_entry *out)
{
	AUTO_BUF body = { .cap = 4096 };
	struct wr w = wr_into(&body);
	const struct key_change_request request = { label, to, reason };
	key_change_request_write(&w, &request);
	span reply;
	TRY(key_call_once(s, c, KEY_KIND_CHANGE, &w, &reply));
	struct rd r = rd_of(reply);
	return key_entry_read(s, &r, out);
}

st key_token_create(struct scope *s, struct key_client *c, const char *token, span pin, span officer_pin)
{
	AUTO_BUF body = { .cap = 4096 };
	struct wr w = wr_into(&body);
	const struct key_token_request request = { token, pin, officer_pin };
	key_token_request_write(&w, &request);
	span reply;
	return key_call_once(s, c, KEY_KIND_TOKEN_CREATE, &w, &reply);
}

st key_generate(struct scope *s, struct key_client *c, const struct key_info *want, struct key_info *out)
{
	AUTO_BUF body = { .cap = WIRE_BODY_MAX };
	struct wr w = wr_into(&body);
	key_info_write(&w, want);
	span reply;
	TRY(key_call_once(s, c, KEY_KIND_GENERATE, &w, &reply));
	struct rd r = rd_of(reply);
	struct key_info info;
	TRY(key_info_read(s, &r, &info));
	TRY(rd_end(s, &r, "the description of a key"));
	*out = info;
	return OK;
}

/* ---- signatures ---- */

/* How many of these go into the next frame. */
static size_t frame_count(const struct key_item *item, size_t count)
{
	size_t content = 0, n = 0;
	for (; n < count && n < KEY_ITEMS_MAX; n++) {
		content += item[n].content.len + item[n].signed_attributes.len;
		if (n > 0 && content > FRAME_CONTENT_MAX)
			break;
	}
	return n;
}

static st read_outcome(struct scope *s, struct rd *r, struct key_item *item)
{
	struct key_sign_outcome outcome;
	TRY(key_sign_outcome_read(s, r, &outcome));
	if (outcome.code == E_OK && outcome.value.len > item->algorithm->max_signature)
		return fail(s, E_IO, "keyd's signature is longer than its algorithm makes them");
	item->outcome = outcome.code == E_OK ? OK : fail_told(item->scope, outcome.code, outcome.value);
	item->signature = outcome.code == E_OK ? scope_copy(item->scope, outcome.value) : (span){ 0 };
	return OK;
}

static st ask(struct scope *s, struct key_client *c, struct key_item *item, size_t count, size_t *out_answered)
{
	AUTO_BUF body = { .cap = WIRE_BODY_MAX };
	struct wr w = wr_into(&body);
	wr_u16(&w, (uint16_t)count);
	for (size_t i = 0; i < count; i++) {
		const struct key_sign_item one = {
			SPAN_ARRAY(item[i].scope->id), item[i].label, item[i].purpose, item[i].algorithm, item[i].content,
			item[i].signed_attributes
		};
		key_sign_item_write(&w, &one);
	}
	span reply;
	TRY(key_call_once(s, c, KEY_KIND_SIGN, &w, &reply));
	struct rd r = rd_of(reply);
	for (; *out_answered < count; ++*out_answered)
		TRY(read_outcome(s, &r, &item[*out_answered]));
	st ended = rd_end(s, &r, "keyd's answer to a request to sign");
	if (ended.code != E_OK)
		*out_answered = 0; /* an answer with more in it than was asked for is none */
	return ended;
}

void key_sign_all(struct key_client *c, struct key_item *item, size_t count)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t done = 0, n; done < count; done += n, scope_reset(&s)) {
		size_t answered = 0;
		n = frame_count(item + done, count - done);
		st asked = ask(&s, c, item + done, n, &answered);
		for (size_t i = done + answered; asked.code != E_OK && i < done + n; i++) {
			item[i].outcome = fail(item[i].scope, asked.code, "%s", s.message);
			item[i].signature = (span){ 0 };
		}
	}
}

st key_sign(struct scope *s, struct key_client *c, const char *label, enum key_purpose purpose,
	    const struct alg_signature *algorithm, span content, span *out_signature)
{
	struct key_item item = { .scope = s, .label = label, .purpose = purpose, .algorithm = algorithm, .content = content };
	key_sign_all(c, &item, 1);
	TRY(item.outcome);
	*out_signature = item.signature;
	return OK;
}

struct key_stream {
	struct key_client *client;
	struct wire_client *connection;
};

st key_stream_begin(struct scope *s, struct key_client *c, const char *label, enum key_purpose purpose,
		    const struct alg_signature *algorithm, uint64_t total, struct key_stream **out)
{
	AUTO_BUF body = { .cap = 4096 };
	struct wr w = wr_into(&body);
	const struct key_stream_request request = { label, purpose, algorithm, total };
	key_stream_request_write(&w, &request);
	TRY(wr_end(s, &w));
	struct wire_client *connection;
	TRY(wire_pool_take(s, c->pool, &connection));
	span reply;
	st status = wire_call(s, connection, KEY_KIND_STREAM_BEGIN, buf_span(&body), &reply);
	if (status.code != E_OK) {
		wire_pool_give(c->pool, connection);
		return status;
	}
	struct key_stream *stream = heap_alloc(sizeof *stream);
	*stream = (struct key_stream){ c, connection };
	*out = stream;
	return OK;
}

st key_stream_data(struct scope *s, struct key_stream *stream, span part)
{
	while (part.len > 0) {
		span piece = span_first(part, KEY_STREAM_PART);
		TRY(wire_send(s, stream->connection, KEY_KIND_STREAM_DATA, piece));
		part = span_from(part, piece.len);
	}
	return OK;
}

st key_stream_end(struct scope *s, struct key_stream *stream, span *out_signature)
{
	st status = wire_call(s, stream->connection, KEY_KIND_STREAM_END, (span){ 0 }, out_signature);
	wire_pool_give(stream->client->pool, stream->connection);
	free(stream);
	return status;
}

/* keyd forgets a stream with its connection. */
void key_stream_drop(struct key_stream *stream)
{
	if (stream == NULL)
		return;
	wire_close(stream->connection);
	free(stream);
}

st key_log_head(struct scope *s, struct key_client *c, const char *label, uint64_t *out_size, uint8_t out_root[32])
{
	span reply;
	TRY(call_with_label(s, c, KEY_KIND_LOG_HEAD, label, &reply));
	struct rd r = rd_of(reply);
	uint64_t size = rd_u64(&r);
	span root = rd_raw(&r, 32);
	TRY(rd_end(s, &r, "the last tree head"));
	*out_size = size;
	memcpy(out_root, root.data, root.len);
	return OK;
}

/* Name and proof are bounded by what reads them. */
static st sign_checkpoint(struct scope *s, struct key_client *c, enum key_kind kind,
			  const struct key_checkpoint_request *request, span *out_signature)
{
	AUTO_BUF body = { .cap = 8192 };
	struct wr w = wr_into(&body);
	if (kind == KEY_KIND_COSIGN)
		key_cosign_request_write(&w, request);
	else
		key_checkpoint_request_write(&w, request);
	return call(s, c, kind, &w, out_signature);
}

st key_sign_checkpoint(struct scope *s, struct key_client *c, const char *label, const char *origin, uint64_t size,
		       const uint8_t root[32], span proof, span *out_signature)
{
	const struct key_checkpoint_request request = { label, origin, size, span_of(root, 32), proof, NULL };
	return sign_checkpoint(s, c, KEY_KIND_CHECKPOINT, &request, out_signature);
}

st key_cosign_checkpoint(struct scope *s, struct key_client *c, const char *label, const char *cosigner, const char *origin,
			 uint64_t size, const uint8_t root[32], span proof, span *out_signature)
{
	const struct key_checkpoint_request request = { label, origin, size, span_of(root, 32), proof, cosigner };
	return sign_checkpoint(s, c, KEY_KIND_COSIGN, &request, out_signature);
}
