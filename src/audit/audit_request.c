/* Reading leaves, condition of the log, import of off-line journals: requests that are not on any hot path. */
#include "audit_client.h"
#include "audit_local.h"
#include <unistd.h>

typedef struct wire_client wire_client; /* AUTO() takes a type name */
DEFINE_AUTO(wire_client, wire_close)

#define TIMEOUT_MS 30000

static st call(struct scope *s, struct wire_client *c, enum audit_kind kind, const struct buf *request, span *out_reply)
{
	return fail_context(s, wire_call(s, c, (uint16_t)kind, buf_span(request), out_reply), "auditd");
}

/* ---- leaves ---- */

struct collected {
	struct scope *s;
	struct audit_leaf *leaf;
	size_t count, max, bytes;
};

/* A journal has records only; the envelope that auditd would have given them is put around them. */
static bool collect(void *state, uint64_t index, span record)
{
	struct collected *c = state;
	AUTO_BUF envelope;
	buf_init(&envelope, AUDIT_LEAF_MAX + 1);
	struct audit_record r;
	AUTO_SCOPE aside;
	scope_init(&aside, c->s->source);
	if (c->count == c->max || c->bytes > WIRE_BODY_MAX)
		return false;
	int64_t at = audit_record_read(&aside, record, &r).code == E_OK ? r.time : 0;
	if (!audit_envelope_write(&envelope, index, at, "journal", record))
		return false;
	c->leaf[c->count++] = (struct audit_leaf){ .index = index, .bytes = scope_copy(c->s, buf_span(&envelope)) };
	c->bytes += envelope.len;
	return true;
}

static st read_journal(struct scope *s, struct audit_local *journal, uint64_t from, size_t max, struct audit_leaf **out,
		       size_t *out_count, uint64_t *out_size)
{
	struct collected c = { .s = s, .max = max < 4096 ? max : 4096 };
	c.leaf = scope_alloc(s, c.max * sizeof *c.leaf);
	TRY(audit_local_read(s, journal, from, collect, &c, out_size));
	*out = c.leaf;
	*out_count = c.count;
	return OK;
}

st audit_read(struct scope *s, struct audit *a, uint64_t from, size_t max, struct audit_leaf **out, size_t *out_count,
	      uint64_t *out_size)
{
	if (audit_journal(a) != NULL)
		return read_journal(s, audit_journal(a), from, max, out, out_count, out_size);
	AUTO(wire_client) *c = NULL;
	AUTO_BUF request;
	buf_init(&request, 64);
	struct wr w = wr_into(&request);
	wr_u64(&w, from);
	wr_u32(&w, max > UINT32_MAX ? UINT32_MAX : (uint32_t)max);
	TRY(wire_connect(s, audit_socket(a), TIMEOUT_MS, &c));
	span reply;
	TRY(call(s, c, AUDIT_KIND_READ, &request, &reply));
	struct rd r = rd_of(reply);
	uint64_t size = rd_u64(&r);
	uint32_t count = rd_u32(&r);
	if (r.bad || count > reply.len / 4 + 1)
		return fail(s, E_IO, "auditd's reply cannot be read");
	struct audit_leaf *leaf = scope_alloc(s, count * sizeof *leaf);
	for (uint32_t i = 0; i < count; i++)
		leaf[i] = (struct audit_leaf){ .index = from + i, .bytes = rd_bytes(&r, AUDIT_LEAF_MAX) };
	TRY(rd_end(s, &r, "auditd's reply"));
	*out = leaf;
	*out_count = count;
	*out_size = size;
	return OK;
}

/* ---- condition ---- */

st audit_status_get(struct scope *s, const char *socket, struct audit_status *out)
{
	AUTO(wire_client) *c = NULL;
	AUTO_BUF none;
	buf_init(&none, 1);
	span reply;
	TRY(wire_connect(s, socket, TIMEOUT_MS, &c));
	TRY(call(s, c, AUDIT_KIND_STATUS, &none, &reply));
	struct rd r = rd_of(reply);
	struct audit_status got = { 0 };
	got.size = rd_u64(&r);
	got.signed_size = rd_u64(&r);
	got.checkpoint_time = rd_i64(&r);
	got.waiting = rd_i64(&r);
	got.checkpoint = rd_bytes(&r, WIRE_BODY_MAX);
	TRY(rd_end(s, &r, "auditd's reply"));
	*out = got;
	return OK;
}

st audit_stamps_get(struct scope *s, const char *socket, struct audit_stamps *out)
{
	AUTO(wire_client) *c = NULL;
	AUTO_BUF none;
	buf_init(&none, 1);
	span reply;
	TRY(wire_connect(s, socket, TIMEOUT_MS, &c));
	TRY(call(s, c, AUDIT_KIND_STAMPS, &none, &reply));
	struct rd r = rd_of(reply);
	uint8_t condition = rd_u8(&r);
	struct audit_stamps got = { .condition = (enum audit_stamp_condition)condition };
	r.bad |= condition >= AUDIT_STAMPS_CONDITIONS;
	got.size = rd_u64(&r);
	got.gen_time = rd_i64(&r);
	got.waiting = rd_i64(&r);
	got.limit = rd_i64(&r);
	got.failure = rd_str(s, &r, SCOPE_MESSAGE_MAX);
	TRY(rd_end(s, &r, "auditd's reply"));
	*out = got;
	return OK;
}

st audit_copies_get(struct scope *s, const char *socket, struct audit_copy out[AUDIT_COPIES_MAX], size_t *out_count)
{
	AUTO(wire_client) *c = NULL;
	AUTO_BUF none;
	buf_init(&none, 1);
	span reply;
	TRY(wire_connect(s, socket, TIMEOUT_MS, &c));
	TRY(call(s, c, AUDIT_KIND_COPIES, &none, &reply));
	struct rd r = rd_of(reply);
	uint16_t count = rd_u16(&r);
	for (uint16_t i = 0; i < count && i < AUDIT_COPIES_MAX; i++) {
		out[i].name = rd_str(s, &r, AUDIT_NAME_MAX);
		out[i].size = rd_u64(&r);
		out[i].behind = rd_i64(&r);
		out[i].late = rd_bool(&r);
		out[i].failure = rd_str(s, &r, SCOPE_MESSAGE_MAX);
	}
	TRY(rd_end(s, &r, "auditd's reply"));
	*out_count = count;
	return OK;
}

st audit_metrics(struct scope *s, const char *socket, span *out_text)
{
	AUTO(wire_client) *c = NULL;
	AUTO_BUF none;
	buf_init(&none, 1);
	TRY(wire_connect(s, socket, TIMEOUT_MS, &c));
	return call(s, c, AUDIT_KIND_METRICS, &none, out_text);
}

/* ---- import ---- */

struct import {
	struct scope *s;
	struct wire_client *client;
	struct buf request;
	uint16_t count;
	uint64_t size_before, fresh, known;
	st status;
};

static st send_import(struct scope *s, struct import *i)
{
	span reply;
	if (i->count == 0)
		return OK;
	i->request.data[0] = (uint8_t)(i->count >> 8);
	i->request.data[1] = (uint8_t)i->count;
	TRY(call(s, i->client, AUDIT_KIND_IMPORT, &i->request, &reply));
	struct rd r = rd_of(reply);
	(void)rd_u16(&r);
	for (uint16_t k = 0; k < i->count; k++) {
		uint16_t code = rd_u16(&r);
		if (code != E_OK) {
			span message = rd_bytes(&r, SCOPE_MESSAGE_MAX);
			return fail_told(s, code < CODE_COUNT ? (enum code)code : E_IO, message);
		}
		if (rd_u64(&r) >= i->size_before)
			i->fresh++;
		else
			i->known++;
	}
	if (r.bad)
		return fail(s, E_IO, "auditd's reply cannot be read");
	i->size_before = rd_u64(&r);
	i->count = 0;
	i->request.len = 2;
	return OK;
}

static bool import_record(void *state, uint64_t index, span record)
{
	struct import *i = state;
	struct audit_record parsed;
	(void)index;
	bool full = i->count == AUDIT_BATCH_MAX || i->request.len + record.len + 64 > WIRE_BODY_MAX;
	if (full)
		i->status = send_import(i->s, i);
	if (i->status.code == E_OK)
		i->status = audit_record_read(i->s, record, &parsed);
	if (i->status.code != E_OK)
		return false;
	struct wr w = wr_into(&i->request);
	wr_raw(&w, SPAN_ARRAY(parsed.id));
	wr_bytes(&w, record);
	i->count++;
	return !w.bad;
}

st audit_import(struct scope *s, const char *socket, const char *journal, uint64_t *out_new, uint64_t *out_known)
{
	struct audit_status before;
	struct audit_local *local;
	AUTO(wire_client) *c = NULL;
	TRY(audit_status_get(s, socket, &before));
	TRY(wire_connect(s, socket, TIMEOUT_MS, &c));
	if (access(journal, R_OK) != 0)
		return fail_errno(s, E_NOTFOUND, "%s", journal);
	TRY(audit_local_open(s, journal, &local));
	struct import i = { .s = s, .client = c, .size_before = before.size };
	buf_init(&i.request, WIRE_BODY_MAX);
	struct wr w = wr_into(&i.request);
	wr_u16(&w, 0);
	uint64_t size;
	st status = audit_local_read(s, local, 0, import_record, &i, &size);
	if (status.code == E_OK)
		status = i.status;
	if (status.code == E_OK)
		status = send_import(s, &i);
	buf_free(&i.request);
	audit_local_close(local);
	TRY(status);
	*out_new = i.fresh;
	*out_known = i.known;
	return OK;
}
