/* The records of class control, and whether the log still holds what it held: what the register of persons is built on. */
#include "audit_client.h"
#include "audit_local.h"
#include "audit_note.h"

typedef struct wire_client wire_client; /* AUTO() takes a type name */
DEFINE_AUTO(wire_client, wire_close)

#define TIMEOUT_MS  30000
#define LEAVES_MAX  4096 /* of one answer */
#define LEAF_HEAD   12   /* what stands before a leaf in a reply */
#define PROOF_BYTES (AUDIT_PROOF_MAX * AUDIT_HASH_LEN)

/* The connection goes with the scope: a reply lies in it. */
static st ask(struct scope *s, struct audit *a, enum audit_kind kind, const struct buf *request, span *out_reply)
{
	AUTO(wire_client) *c = NULL;
	span reply;
	TRY(wire_connect(s, audit_socket(a), TIMEOUT_MS, &c));
	TRY(fail_context(s, wire_call(s, c, (uint16_t)kind, buf_span(request), &reply), "auditd"));
	*out_reply = scope_copy(s, reply);
	return OK;
}

/* ---- records ---- */

struct controls {
	struct audit_leaf *leaf;
	size_t count;
	uint64_t total;
};

struct journal_reading {
	struct scope *s;
	uint64_t from;
	size_t max, bytes;
	struct controls found;
};

/* A journal has records only; the envelope that auditd would have given them is put around them. All are counted. */
static bool collect(void *state, uint64_t index, span record)
{
	struct journal_reading *r = state;
	struct controls *found = &r->found;
	struct audit_record parsed;
	AUTO_SCOPE aside;
	scope_init(&aside, r->s->source);
	if (audit_record_read(&aside, record, &parsed).code != E_OK || parsed.row->class != AUDIT_CONTROL)
		return true;
	if (found->total++ < r->from || found->count == r->max || r->bytes > WIRE_BODY_MAX)
		return true;
	AUTO_BUF envelope;
	buf_init(&envelope, AUDIT_LEAF_MAX + 1);
	if (!audit_envelope_write(&envelope, index, parsed.time, "journal", record))
		return false;
	found->leaf[found->count++] = (struct audit_leaf){ .index = index, .bytes = scope_copy(r->s, buf_span(&envelope)) };
	r->bytes += envelope.len;
	return true;
}

static st read_journal(struct scope *s, struct audit_local *journal, uint64_t from, size_t max, struct controls *out)
{
	struct journal_reading r = { .s = s, .from = from, .max = max };
	uint64_t size;
	r.found.leaf = scope_alloc(s, (max + 1) * sizeof *r.found.leaf);
	TRY(audit_local_read(s, journal, 0, collect, &r, &size));
	*out = r.found;
	return OK;
}

static st read_controls(struct scope *s, span reply, size_t max, struct controls *out)
{
	struct rd r = rd_of(reply);
	struct controls found = { .total = rd_u64(&r) };
	found.count = rd_u32(&r);
	if (r.bad || found.count > max || found.count > reply.len / LEAF_HEAD)
		return fail(s, E_IO, "auditd's reply cannot be read");
	found.leaf = scope_alloc(s, (found.count + 1) * sizeof *found.leaf);
	for (size_t i = 0; i < found.count; i++) {
		found.leaf[i].index = rd_u64(&r);
		found.leaf[i].bytes = rd_bytes(&r, AUDIT_LEAF_MAX);
		if (i > 0 && found.leaf[i].index <= found.leaf[i - 1].index)
			r.bad = true; /* the order of the log is what the register lives by */
	}
	TRY(rd_end(s, &r, "auditd's reply"));
	*out = found;
	return OK;
}

static st ask_controls(struct scope *s, struct audit *a, uint64_t from, size_t max, struct controls *out)
{
	AUTO_BUF request;
	buf_init(&request, 64);
	struct wr w = wr_into(&request);
	wr_u64(&w, from);
	wr_u32(&w, (uint32_t)max);
	span reply;
	TRY(ask(s, a, AUDIT_KIND_CONTROL, &request, &reply));
	return read_controls(s, reply, max, out);
}

st audit_control_read(struct scope *s, struct audit *a, uint64_t from, size_t max, struct audit_leaf **out, size_t *out_count,
		      uint64_t *out_total)
{
	struct controls found = { 0 };
	if (max > LEAVES_MAX)
		max = LEAVES_MAX;
	if (audit_journal(a) != NULL)
		TRY(read_journal(s, audit_journal(a), from, max, &found));
	else
		TRY(ask_controls(s, a, from, max, &found));
	*out = found.leaf;
	*out_count = found.count;
	*out_total = found.total;
	return OK;
}

/* ---- consistency ---- */

static st read_proof(struct scope *s, span reply, struct audit_checkpoint *out, span *out_proof)
{
	struct rd r = rd_of(reply);
	span note = rd_bytes(&r, AUDIT_NOTE_MAX);
	*out_proof = rd_bytes(&r, PROOF_BYTES);
	TRY(rd_end(s, &r, "auditd's reply"));
	struct audit_note parts;
	if (note.len == 0)
		return OK; /* nothing is signed yet */
	TRY(audit_note_read(s, note, &parts));
	return audit_checkpoint_read(s, parts.text, out);
}

static st ask_newest(struct scope *s, struct audit *a, uint64_t size, const uint8_t root[32], struct audit_checkpoint *out)
{
	struct audit_hash older;
	AUTO_BUF request;
	buf_init(&request, 64);
	struct wr w = wr_into(&request);
	wr_u64(&w, size);
	span reply, proof;
	TRY(ask(s, a, AUDIT_KIND_CONSISTENCY, &request, &reply));
	TRY(read_proof(s, reply, out, &proof));
	if (size == 0)
		return OK; /* whatever its root is said to be */
	memcpy(older.octets, root, sizeof older.octets);
	//= rfc6962#2.1.2 the log that is there extends the one that was seen before
	return fail_context(s, audit_verify_consistency(s, proof, size, &older, out->size, &out->root),
			    "the audit log is not the one that was seen before: it was cut, forked or put back from a copy");
}

st audit_consistent(struct scope *s, struct audit *a, uint64_t size, const uint8_t root[32], uint64_t *out_size,
		    uint8_t out_root[32])
{
	struct audit_checkpoint newest = { .root = audit_root_of(NULL, 0) };
	if (audit_journal(a) == NULL)
		TRY(ask_newest(s, a, size, root, &newest));
	else if (size > 0)
		return fail(s, E_STATE,
			    "a journal has no checkpoints, and %llu records are said to be under one: configure the audit log "
			    "again instead of the journal",
			    (unsigned long long)size);
	*out_size = newest.size;
	memcpy(out_root, newest.root.octets, sizeof newest.root.octets);
	return OK;
}
