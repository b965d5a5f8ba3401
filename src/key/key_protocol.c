#include "key_protocol.h"

/* The second is written only for what the first cannot say: an end of usage. */
#define INFO_VERSION            1
#define INFO_VERSION_ENDS       2
#define ENTRY_VERSION           1
#define ENTRY_VERSION_OPERATION 2 /* with the operation that it comes from */
#define DEVICE_TEXT_MAX         1024u
#define TOKENS_MAX              1000u
#define REASON_MAX              (2 * SCOPE_MESSAGE_MAX) /* why a token is not ready, and what of its custodians */

static const struct {
	enum key_purpose purpose;
	const char *name;
} purposes[] = {
	{ KEY_FOR_CERTIFICATE, "certificate" }, { KEY_FOR_CRL, "crl" }, { KEY_FOR_OCSP, "ocsp" },
	{ KEY_FOR_TIME_STAMP, "time-stamp" },   { KEY_FOR_LOG, "log" }, { KEY_FOR_IDENTITY, "identity" },
	{ KEY_FOR_REQUEST, "request" },
};
#define PURPOSES (sizeof purposes / sizeof purposes[0])
#define PURPOSE_ALL                                                                                                            \
	(KEY_FOR_CERTIFICATE | KEY_FOR_CRL | KEY_FOR_OCSP | KEY_FOR_TIME_STAMP | KEY_FOR_LOG | KEY_FOR_IDENTITY |              \
	 KEY_FOR_REQUEST)

const char *key_purpose_name(enum key_purpose purpose)
{
	for (size_t i = 0; i < PURPOSES; i++)
		if (purposes[i].purpose == purpose)
			return purposes[i].name;
	return "unknown";
}

enum key_purpose key_purpose_named(span name)
{
	for (size_t i = 0; i < PURPOSES; i++)
		if (span_is(name, purposes[i].name))
			return purposes[i].purpose;
	return 0;
}

static bool label_character(char c, bool first)
{
	bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
	return letter || (!first && (c == '-' || c == '_' || c == '.'));
}

st key_label_check(struct scope *s, const char *label)
{
	size_t len = strlen(label);
	bool good = len > 0 && len <= KEY_LABEL_MAX;
	for (size_t i = 0; i < len; i++)
		good = good && label_character(label[i], i == 0);
	return good ? OK
		    : fail(s, E_INPUT,
			   "a label has 1 to %d letters, digits, '-', '_' or '.', and begins with a letter or digit",
			   KEY_LABEL_MAX);
}

st key_label_read(struct scope *s, struct rd *r, const char **out)
{
	const char *label = rd_str(s, r, KEY_LABEL_MAX);
	TRY(rd_end(s, r, "the request"));
	TRY(key_label_check(s, label));
	*out = label;
	return OK;
}

static void limits_write(struct wr *w, const struct key_limits *v)
{
	wr_bytes(w, v->issuer);
	wr_u8(w, v->ca);
	wr_u8(w, (uint8_t)v->policy_count);
	for (size_t i = 0; i < v->policy_count; i++)
		wr_bytes(w, v->policies[i]);
	wr_u32(w, v->validity_days);
	wr_u32(w, v->rate);
	wr_u32(w, v->accuracy_ms);
	wr_str(w, v->origin);
}

static void text_into(struct scope *s, struct rd *r, char *out, size_t room)
{
	const char *text = rd_str(s, r, room - 1);
	memcpy(out, text, strlen(text) + 1);
}

static void limits_read(struct scope *s, struct rd *r, struct key_limits *out)
{
	out->issuer = rd_bytes(r, KEY_NAME_DER_MAX);
	out->ca = rd_bool(r);
	out->policy_count = rd_u8(r);
	if (out->policy_count > KEY_POLICIES_MAX) {
		r->bad = true;
		out->policy_count = 0;
	}
	for (size_t i = 0; i < out->policy_count; i++)
		out->policies[i] = rd_bytes(r, KEY_OID_MAX);
	out->validity_days = rd_u32(r);
	out->rate = rd_u32(r);
	out->accuracy_ms = rd_u32(r);
	text_into(s, r, out->origin, sizeof out->origin);
}

void key_info_write(struct wr *w, const struct key_info *v)
{
	wr_u16(w, v->usage_ends != 0 ? INFO_VERSION_ENDS : INFO_VERSION);
	wr_str(w, v->label);
	wr_str(w, v->token);
	wr_str(w, v->type != NULL ? v->type->name : "");
	wr_u32(w, v->purposes);
	limits_write(w, &v->limits);
	wr_u8(w, v->backup == KEY_BACKUP_WRAPPED ? KEY_BACKUP_WRAPPED : KEY_BACKUP_NONE);
	wr_bytes(w, v->spki);
	wr_i64(w, v->created);
	wr_u8(w, v->usable);
	wr_str(w, v->missing);
	if (v->usage_ends != 0)
		wr_i64(w, v->usage_ends);
}

st key_info_read(struct scope *s, struct rd *r, struct key_info *out)
{
	struct key_info v = { 0 };
	uint16_t version = rd_u16(r);
	if (!r->bad && version != INFO_VERSION && version != INFO_VERSION_ENDS)
		return fail(s, E_INPUT, "the description of a key is of version %u, this program reads versions %d and %d",
			    version, INFO_VERSION, INFO_VERSION_ENDS);
	text_into(s, r, v.label, sizeof v.label);
	text_into(s, r, v.token, sizeof v.token);
	v.type = alg_key_named(rd_bytes(r, 32));
	v.purposes = rd_u32(r);
	limits_read(s, r, &v.limits);
	uint8_t backup = rd_u8(r);
	v.backup = backup == KEY_BACKUP_WRAPPED ? KEY_BACKUP_WRAPPED : KEY_BACKUP_NONE;
	v.spki = rd_bytes(r, 8192);
	v.created = rd_i64(r);
	v.usable = rd_bool(r);
	v.missing = rd_str(s, r, 1024);
	if (version == INFO_VERSION_ENDS)
		v.usage_ends = rd_i64(r);
	if (r->bad)
		return rd_end(s, r, "the description of a key");
	if (v.type == NULL)
		return fail(s, E_CRYPTO, "that type of key is not in the table of algorithms");
	if (v.purposes == 0 || (v.purposes & ~(unsigned)PURPOSE_ALL) != 0 || backup > KEY_BACKUP_WRAPPED)
		return fail(s, E_INPUT, "a key needs one or more known purposes, and backup none or wrapped");
	if (v.usage_ends < 0 || (v.usage_ends == 0) != (version == INFO_VERSION))
		return fail(s, E_INPUT, "an end of usage is a moment after 1970, or is left out");
	TRY(key_label_check(s, v.label));
	TRY(key_label_check(s, v.token));
	*out = v;
	return OK;
}

/* ---- the inventory ---- */

static void device_write(struct wr *w, const struct key_device *v)
{
	wr_str(w, v->scheme);
	wr_str(w, v->level);
	wr_str(w, v->certificate);
	wr_str(w, v->copies);
	wr_i64(w, v->expires);
}

static void device_read(struct scope *s, struct rd *r, struct key_device *out)
{
	out->scheme = rd_str(s, r, DEVICE_TEXT_MAX);
	out->level = rd_str(s, r, DEVICE_TEXT_MAX);
	out->certificate = rd_str(s, r, DEVICE_TEXT_MAX);
	out->copies = rd_str(s, r, DEVICE_TEXT_MAX);
	out->expires = rd_i64(r);
}

void key_entry_write(struct wr *w, const struct key_entry *v)
{
	bool operation = v->operation != NULL && v->operation[0] != 0;
	wr_u16(w, operation ? ENTRY_VERSION_OPERATION : ENTRY_VERSION);
	key_info_write(w, &v->info);
	wr_u8(w, (uint8_t)v->state);
	wr_i64(w, v->since);
	wr_u64(w, v->recorded);
	wr_u64(w, v->offered);
	wr_u64(w, v->counted_recorded);
	wr_u64(w, v->counted);
	wr_u8(w, v->at_least);
	wr_str(w, v->checks);
	wr_str(w, v->attributes);
	device_write(w, &v->device);
	if (operation)
		wr_str(w, v->operation);
}

st key_entry_read(struct scope *s, struct rd *r, struct key_entry *out)
{
	struct key_entry *v = scope_new(s, struct key_entry);
	uint16_t version = rd_u16(r);
	if (!r->bad && version != ENTRY_VERSION && version != ENTRY_VERSION_OPERATION)
		return fail(s, E_INPUT, "a row of the inventory is of version %u, this program reads versions %d and %d",
			    version, ENTRY_VERSION, ENTRY_VERSION_OPERATION);
	TRY(key_info_read(s, r, &v->info));
	uint8_t state = rd_u8(r);
	v->since = rd_i64(r);
	v->recorded = rd_u64(r);
	v->offered = rd_u64(r);
	v->counted_recorded = rd_u64(r);
	v->counted = rd_u64(r);
	v->at_least = rd_bool(r);
	v->checks = rd_str(s, r, 1024);
	v->attributes = rd_str(s, r, 4096);
	device_read(s, r, &v->device);
	v->operation = version == ENTRY_VERSION_OPERATION ? rd_str(s, r, KEY_OPERATION_ID) : "";
	TRY(rd_end(s, r, "a row of the inventory"));
	if (state >= KEY_STATE_COUNT || (v->operation[0] != 0) != (version == ENTRY_VERSION_OPERATION))
		return fail(s, E_INPUT, "a row of the inventory has no known state, or no operation where it should have one");
	v->state = (enum key_state)state;
	*out = *v;
	return OK;
}

void key_strays_write(struct wr *w, const struct key_stray *v, size_t count)
{
	wr_u32(w, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		wr_str(w, v[i].token);
		wr_str(w, v[i].label);
	}
}

st key_strays_read(struct scope *s, struct rd *r, struct key_stray **out, size_t *out_count)
{
	uint32_t count = rd_u32(r);
	if (count > KEY_STRAYS_MAX)
		return fail(s, E_INPUT, "%u keys without a description are over the limit", count);
	struct key_stray *list = scope_alloc(s, (count + 1) * sizeof *list);
	for (uint32_t i = 0; i < count; i++) {
		list[i].token = rd_str(s, r, KEY_LABEL_MAX);
		list[i].label = rd_str(s, r, KEY_LABEL_MAX);
	}
	TRY(rd_end(s, r, "the keys without a description"));
	*out = list;
	*out_count = count;
	return OK;
}

void key_change_request_write(struct wr *w, const struct key_change_request *v)
{
	wr_str(w, v->label);
	wr_str(w, key_state_name(v->to));
	wr_str(w, v->reason);
}

st key_change_request_read(struct scope *s, struct rd *r, struct key_change_request *out)
{
	struct key_change_request v = { .label = rd_str(s, r, KEY_LABEL_MAX), .to = key_state_named(rd_bytes(r, 32)) };
	v.reason = rd_str(s, r, KEY_REASON_MAX);
	TRY(rd_end(s, r, "a request to change a key"));
	if (v.to == KEY_STATE_COUNT)
		return fail(s, E_INPUT, "a key can be changed to active, suspended or destroyed");
	if (v.reason[0] == 0)
		return fail(s, E_INPUT, "say why: a change of a key goes on record with its reason");
	TRY(key_label_check(s, v.label));
	*out = v;
	return OK;
}

void key_status_write(struct wr *w, const struct key_status *v)
{
	wr_str(w, v->zone);
	wr_str(w, v->module);
	wr_u64(w, v->signatures);
	wr_u64(w, v->refusals);
	wr_u32(w, (uint32_t)v->token_count);
	for (size_t i = 0; i < v->token_count; i++) {
		wr_str(w, v->tokens[i].label);
		wr_u8(w, v->tokens[i].ready);
		wr_str(w, v->tokens[i].reason);
	}
}

st key_status_read(struct scope *s, struct rd *r, struct key_status *out)
{
	struct key_status v = { 0 };
	v.zone = rd_str(s, r, KEY_LABEL_MAX);
	v.module = rd_str(s, r, 1024);
	v.signatures = rd_u64(r);
	v.refusals = rd_u64(r);
	uint32_t count = rd_u32(r);
	if (count > TOKENS_MAX)
		return fail(s, E_INPUT, "a zone of %u tokens is over the limit", count);
	v.token_count = count;
	v.tokens = scope_alloc(s, (count + 1) * sizeof *v.tokens);
	for (uint32_t i = 0; i < count; i++) {
		v.tokens[i].label = rd_str(s, r, KEY_LABEL_MAX);
		v.tokens[i].ready = rd_bool(r);
		v.tokens[i].reason = rd_str(s, r, REASON_MAX);
	}
	TRY(rd_end(s, r, "the status of a zone"));
	*out = v;
	return OK;
}

static st algorithm_read(struct scope *s, struct rd *r, const struct alg_signature **out)
{
	span name = rd_bytes(r, 32);
	const struct alg_signature *algorithm = alg_signature_named(name);
	if (algorithm == NULL && !r->bad)
		return fail(s, E_CRYPTO, "that signature algorithm is not in the table of algorithms");
	*out = algorithm;
	return OK;
}

static st head_read(struct scope *s, struct rd *r, const char **out_label, const struct alg_signature **out_algorithm)
{
	const char *label = rd_str(s, r, KEY_LABEL_MAX);
	TRY(key_label_check(s, label));
	TRY(algorithm_read(s, r, out_algorithm));
	*out_label = label;
	return OK;
}

static void head_write(struct wr *w, const char *label, const struct alg_signature *algorithm)
{
	wr_str(w, label);
	wr_str(w, algorithm->name);
}

void key_sign_item_write(struct wr *w, const struct key_sign_item *v)
{
	wr_raw(w, v->tx);
	head_write(w, v->label, v->algorithm);
	wr_u32(w, v->purpose);
	wr_bytes(w, v->content);
	wr_bytes(w, v->signed_attributes);
}

st key_sign_request_read(struct scope *s, struct rd *r, struct key_sign_request *out)
{
	out->count = rd_u16(r);
	if (out->count < 1 || out->count > KEY_ITEMS_MAX)
		return fail(s, E_INPUT, "one frame asks for 1 to %u signatures", KEY_ITEMS_MAX);
	for (size_t i = 0; i < out->count; i++) {
		struct key_sign_item *item = &out->item[i];
		item->tx = rd_raw(r, sizeof s->id);
		TRY(head_read(s, r, &item->label, &item->algorithm));
		item->purpose = rd_u32(r);
		item->content = rd_bytes(r, WIRE_BODY_MAX);
		item->signed_attributes = rd_bytes(r, WIRE_BODY_MAX);
	}
	return rd_end(s, r, "a request to sign");
}

void key_sign_outcome_write(struct wr *w, const struct key_sign_outcome *v)
{
	wr_u16(w, (uint16_t)v->code);
	wr_bytes(w, v->value);
}

st key_sign_outcome_read(struct scope *s, struct rd *r, struct key_sign_outcome *out)
{
	unsigned code = rd_u16(r);
	span value = rd_bytes(r, WIRE_BODY_MAX);
	if (r->bad || code >= CODE_COUNT || (code == E_OK && value.len == 0))
		return fail(s, E_IO, "keyd's answer to a request to sign cannot be read");
	*out = (struct key_sign_outcome){ (enum code)code, value };
	return OK;
}

void key_stream_request_write(struct wr *w, const struct key_stream_request *v)
{
	head_write(w, v->label, v->algorithm);
	wr_u32(w, v->purpose);
	wr_u64(w, v->total);
}

st key_stream_request_read(struct scope *s, struct rd *r, struct key_stream_request *out)
{
	struct key_stream_request v;
	TRY(head_read(s, r, &v.label, &v.algorithm));
	v.purpose = rd_u32(r);
	v.total = rd_u64(r);
	TRY(rd_end(s, r, "a request to sign a stream"));
	if (v.total == 0 || v.total > KEY_STREAM_MAX)
		return fail(s, E_LIMIT, "a stream to be signed has 1 to %llu bytes", (unsigned long long)KEY_STREAM_MAX);
	*out = v;
	return OK;
}

void key_checkpoint_request_write(struct wr *w, const struct key_checkpoint_request *v)
{
	wr_str(w, v->label);
	wr_str(w, v->origin);
	wr_u64(w, v->size);
	wr_raw(w, v->root);
	wr_bytes(w, v->proof);
}

st key_checkpoint_request_read(struct scope *s, struct rd *r, struct key_checkpoint_request *out)
{
	struct key_checkpoint_request v = { .cosigner = NULL };
	v.label = rd_str(s, r, KEY_LABEL_MAX);
	v.origin = rd_str(s, r, sizeof((struct key_limits *)0)->origin - 1);
	v.size = rd_u64(r);
	v.root = rd_raw(r, 32);
	v.proof = rd_bytes(r, KEY_PROOF_MAX);
	TRY(rd_end(s, r, "a request to sign a checkpoint"));
	TRY(key_label_check(s, v.label));
	*out = v;
	return OK;
}

void key_cosign_request_write(struct wr *w, const struct key_checkpoint_request *v)
{
	wr_str(w, v->cosigner);
	key_checkpoint_request_write(w, v);
}

st key_cosign_request_read(struct scope *s, struct rd *r, struct key_checkpoint_request *out)
{
	struct key_checkpoint_request v;
	const char *cosigner = rd_str(s, r, sizeof((struct key_limits *)0)->origin - 1);
	TRY(key_checkpoint_request_read(s, r, &v));
	v.cosigner = cosigner;
	*out = v;
	return OK;
}

void key_token_request_write(struct wr *w, const struct key_token_request *v)
{
	wr_str(w, v->token);
	wr_bytes(w, v->pin);
	wr_bytes(w, v->officer_pin);
}

st key_token_request_read(struct scope *s, struct rd *r, struct key_token_request *out)
{
	struct key_token_request v;
	v.token = rd_str(s, r, KEY_LABEL_MAX);
	v.pin = rd_bytes(r, 255);
	v.officer_pin = rd_bytes(r, 255);
	TRY(rd_end(s, r, "a request for a token"));
	TRY(key_label_check(s, v.token));
	*out = v;
	return OK;
}
