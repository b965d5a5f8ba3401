/*
 * Bodies of frames between keyd and those who ask it: the first octet chooses the reader. What is taken is within the limits, and is
 * written again as the octets that were read: there is one way to say each thing.
 */
#include "fuzz.h"
#include "key_protocol.h"

static void label_fits(const char *label)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	check(key_label_check(&s, label).code == E_OK && strlen(label) <= KEY_LABEL_MAX);
}

static st info(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_info v;
	TRY(key_info_read(s, r, &v));
	label_fits(v.label);
	label_fits(v.token);
	check(v.type != NULL && v.purposes != 0 && v.limits.policy_count <= KEY_POLICIES_MAX);
	for (unsigned bit = 1; bit != 0 && bit <= v.purposes; bit <<= 1)
		if ((v.purposes & bit) != 0)
			check(key_purpose_named(span_str(key_purpose_name((enum key_purpose)bit))) == bit);
	key_info_write(w, &v);
	return OK;
}

static st status(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_status v;
	TRY(key_status_read(s, r, &v));
	key_status_write(w, &v);
	return OK;
}

static st sign_request(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_sign_request v;
	TRY(key_sign_request_read(s, r, &v));
	check(v.count >= 1 && v.count <= KEY_ITEMS_MAX);
	wr_u16(w, (uint16_t)v.count);
	for (size_t i = 0; i < v.count; i++) {
		label_fits(v.item[i].label);
		check(v.item[i].algorithm != NULL && v.item[i].tx.len == 16);
		key_sign_item_write(w, &v.item[i]);
	}
	return OK;
}

static st sign_outcome(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_sign_outcome v;
	TRY(key_sign_outcome_read(s, r, &v));
	check(v.code < CODE_COUNT && (v.code != E_OK || v.value.len > 0));
	key_sign_outcome_write(w, &v);
	return OK;
}

static st stream_request(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_stream_request v;
	TRY(key_stream_request_read(s, r, &v));
	label_fits(v.label);
	check(v.algorithm != NULL && v.total > 0 && v.total <= KEY_STREAM_MAX);
	key_stream_request_write(w, &v);
	return OK;
}

static st checkpoint_request(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_checkpoint_request v;
	TRY(key_checkpoint_request_read(s, r, &v));
	label_fits(v.label);
	check(v.root.len == 32 && v.proof.len <= KEY_PROOF_MAX && strlen(v.origin) < sizeof((struct key_limits *)0)->origin);
	key_checkpoint_request_write(w, &v);
	return OK;
}

static st cosign_request(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_checkpoint_request v;
	TRY(key_cosign_request_read(s, r, &v));
	check(v.cosigner != NULL && strlen(v.cosigner) < sizeof((struct key_limits *)0)->origin);
	key_cosign_request_write(w, &v);
	return OK;
}

static st token_request(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_token_request v;
	TRY(key_token_request_read(s, r, &v));
	label_fits(v.token);
	key_token_request_write(w, &v);
	return OK;
}

static st label(struct scope *s, struct rd *r, struct wr *w)
{
	const char *v;
	TRY(key_label_read(s, r, &v));
	label_fits(v);
	wr_str(w, v);
	return OK;
}

static st entry(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_entry v;
	TRY(key_entry_read(s, r, &v));
	label_fits(v.info.label);
	check(v.state < KEY_STATE_COUNT && v.checks != NULL && v.device.copies != NULL);
	key_entry_write(w, &v);
	return OK;
}

static st strays(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_stray *v;
	size_t count;
	TRY(key_strays_read(s, r, &v, &count));
	check(count <= KEY_STRAYS_MAX);
	key_strays_write(w, v, count);
	return OK;
}

static st change_request(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_change_request v;
	TRY(key_change_request_read(s, r, &v));
	label_fits(v.label);
	check(v.to < KEY_STATE_COUNT && v.reason[0] != 0 && strlen(v.reason) <= KEY_REASON_MAX);
	key_change_request_write(w, &v);
	return OK;
}

static st challenge(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_challenge v;
	TRY(key_challenge_read(s, r, &v));
	key_challenge_write(w, &v);
	return OK;
}

static st opening(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_opening v;
	TRY(key_opening_read(s, r, &v));
	check(v.count <= KEY_SHARES_MAX && v.statement.len <= KEY_SHARE_MAX);
	key_opening_write(w, &v);
	return OK;
}

static st execution(struct scope *s, struct rd *r, struct wr *w)
{
	struct key_execution v;
	TRY(key_execution_read(s, r, &v));
	check(v.count <= KEY_SHARES_MAX && v.operation.len <= KEY_OPERATION_MAX);
	key_execution_write(w, &v);
	return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static st (*const again[])(struct scope *, struct rd *, struct wr *) = {
		info,          status, sign_request,  sign_outcome,   stream_request, checkpoint_request,
		token_request, label,  entry,         change_request, challenge,      opening,
		execution,     strays, cosign_request
	};
	if (size < 1 || data[0] >= sizeof again / sizeof again[0])
		return 0;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF written = { .cap = WIRE_BODY_MAX };
	span body = span_of(data + 1, size - 1);
	struct rd r = rd_of(body);
	struct wr w = wr_into(&written);
	if (again[data[0]](&s, &r, &w).code == E_OK)
		check(!w.bad && !r.bad && span_equal(buf_span(&written), span_first(body, body.len - r.rest.len)));
	else
		check(s.message[0] != 0);
	return 0;
}
