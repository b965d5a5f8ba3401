#include "key_internal.h"
#include "key_protocol.h"

void key_challenge_write(struct wr *w, const struct key_challenge *v)
{
	wr_str(w, v->instance);
	wr_raw(w, SPAN_ARRAY(v->nonce));
	wr_u64(w, v->entries);
	wr_raw(w, SPAN_ARRAY(v->head));
	wr_u64(w, v->crl_number);
}

static void read_octets(struct rd *r, uint8_t *out, size_t len)
{
	span octets = rd_raw(r, len);
	if (!r->bad)
		memcpy(out, octets.data, len);
}

st key_challenge_read(struct scope *s, struct rd *r, struct key_challenge *out)
{
	struct key_challenge v = { .instance = rd_str(s, r, KEY_LABEL_MAX) };
	read_octets(r, v.nonce, sizeof v.nonce);
	v.entries = rd_u64(r);
	read_octets(r, v.head, sizeof v.head);
	v.crl_number = rd_u64(r);
	TRY(rd_end(s, r, "a challenge"));
	*out = v;
	return OK;
}

static void write_shares(struct wr *w, const span *share, size_t count)
{
	wr_u16(w, (uint16_t)count);
	for (size_t i = 0; i < count; i++)
		wr_bytes(w, share[i]);
}

static st read_shares(struct scope *s, struct rd *r, span share[KEY_SHARES_MAX], size_t *out_count)
{
	size_t count = rd_u16(r);
	if (count > KEY_SHARES_MAX)
		return fail(s, E_LIMIT, "%zu shares are more than the %d that there can be", count, KEY_SHARES_MAX);
	for (size_t i = 0; i < count; i++)
		share[i] = rd_bytes(r, KEY_SHARE_MAX);
	*out_count = count;
	return OK;
}

void key_opening_write(struct wr *w, const struct key_opening *v)
{
	wr_bytes(w, v->statement);
	write_shares(w, v->share, v->count);
}

st key_opening_read(struct scope *s, struct rd *r, struct key_opening *out)
{
	out->statement = rd_bytes(r, KEY_SHARE_MAX);
	TRY(read_shares(s, r, out->share, &out->count));
	return rd_end(s, r, "an activation statement with its shares");
}

void key_execution_write(struct wr *w, const struct key_execution *v)
{
	wr_bytes(w, v->operation);
	write_shares(w, v->share, v->count);
}

st key_execution_read(struct scope *s, struct rd *r, struct key_execution *out)
{
	out->operation = rd_bytes(r, KEY_OPERATION_MAX);
	TRY(read_shares(s, r, out->share, &out->count));
	return rd_end(s, r, "an operation to carry out");
}

/* ---- the client ---- */

st key_challenge(struct scope *s, struct key_client *c, struct key_challenge *out)
{
	AUTO_BUF body = { .cap = 16 };
	struct wr w = wr_into(&body);
	span reply;
	TRY(key_call_once(s, c, KEY_KIND_CHALLENGE, &w, &reply));
	struct rd r = rd_of(reply);
	return key_challenge_read(s, &r, out);
}

st key_open_operation(struct scope *s, struct key_client *c, span operation, struct key_opening *out)
{
	AUTO_BUF body = { .cap = WIRE_BODY_MAX };
	struct wr w = wr_into(&body);
	wr_bytes(&w, operation);
	span reply;
	TRY(key_call_once(s, c, KEY_KIND_OPEN, &w, &reply));
	struct rd r = rd_of(reply);
	return key_opening_read(s, &r, out);
}

st key_execute(struct scope *s, struct key_client *c, span operation, const span *share, size_t count, const char **out_words)
{
	AUTO_BUF body = { .cap = WIRE_BODY_MAX };
	struct wr w = wr_into(&body);
	struct key_execution execution = { .operation = operation, .count = count };
	if (count > KEY_SHARES_MAX)
		return fail(s, E_LIMIT, "%zu shares are more than the %d that there can be", count, KEY_SHARES_MAX);
	if (count > 0)
		memcpy(execution.share, share, count * sizeof *share);
	key_execution_write(&w, &execution);
	span reply;
	TRY(key_call_once(s, c, KEY_KIND_EXECUTE, &w, &reply));
	struct rd r = rd_of(reply);
	*out_words = rd_str(s, &r, KEY_OPERATION_MAX);
	return rd_end(s, &r, "what an operation did");
}
