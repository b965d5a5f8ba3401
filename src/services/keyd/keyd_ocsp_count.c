/*
 * keyd_ocsp_count.c - live OCSP answers are too many for a record each. keyd counts them and chains their digests, and has one
 * record a second made of that. What is counted is counted before it is signed, so the log never knows too few.
 *
 * The file ocsp/LABEL says up to which total records were offered, and whether the last process ended in order. The total is
 * kept before the record is offered: after a kill, the count goes on from at least what the log knows.
 */
#include "keyd.h"
#include "file.h"
#include "log.h"

#define FILE_VERSION 1
/* A record a second, and as much again for it to arrive; then no more answers are signed. No audit, no operation. */
#define UNRECORDED_MAX (2 * MOMENT_SECOND)

static char *count_path(struct scope *s, const struct keyd *d, const struct keyd_key *k)
{
	return scope_printf(s, "%s/ocsp/%s", d->conf->state, k->info.label);
}

static st keep(struct scope *s, const struct keyd *d, const struct keyd_key *k, bool in_order, uint64_t total,
	       const uint8_t chain[32])
{
	AUTO_BUF file = { .cap = 256 };
	struct wr w = wr_into(&file);
	wr_u16(&w, FILE_VERSION);
	wr_u8(&w, in_order);
	wr_u64(&w, total);
	wr_raw(&w, span_of(chain, 32));
	wr_i64(&w, scope_now(s));
	TRY(wr_end(s, &w));
	return file_replace(s, count_path(s, d, k), buf_span(&file), 0600);
}

st keyd_ocsp_load(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	if ((k->info.purposes & KEY_FOR_OCSP) == 0)
		return OK;
	span bytes;
	const char *path = count_path(s, d, k);
	st status = file_read(s, path, 256, &bytes);
	if (status.code == E_NOTFOUND) {
		scope_clear_error(s);
		return OK;
	}
	TRY(status);
	struct rd r = rd_of(bytes);
	uint16_t version = rd_u16(&r);
	bool in_order = rd_bool(&r);
	uint64_t total = rd_u64(&r);
	span chain = rd_raw(&r, 32);
	int64_t kept = rd_i64(&r);
	TRY(fail_context(s, rd_end(s, &r, "the count of OCSP answers"), "%s", path));
	if (version != FILE_VERSION)
		return fail(s, E_STATE, "%s is of version %u, this program reads version %d", path, version, FILE_VERSION);
	k->ocsp.total = total;
	memcpy(k->ocsp.chain, chain.data, chain.len);
	k->ocsp.gap = !in_order;
	k->ocsp.acknowledged = in_order ? total : 0;
	k->ocsp.gap_since = kept;
	return OK;
}

/* With the lock held. */
static st may_count(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	struct keyd_ocsp *o = &k->ocsp;
	if (o->gap)
		return fail(s, E_UNAVAILABLE,
			    "the last run did not end in order and that is not on record yet; is auditd there?");
	int64_t oldest = o->pending ? o->pending_oldest : o->oldest;
	if (oldest != 0 && moment_monotonic() - oldest > UNRECORDED_MAX)
		return fail(s, E_UNAVAILABLE,
			    "OCSP answers signed with \"%s\" could not be put on record for %d s; is auditd there?",
			    k->info.label, (int)(UNRECORDED_MAX / MOMENT_SECOND));
	if (o->used)
		return OK;
	TRY(keep(s, d, k, false, o->total, o->chain));
	o->used = true;
	return OK;
}

static void chain_on(struct keyd_ocsp *o, span digest)
{
	uint8_t joined[32 + DIGEST_MAX], result[DIGEST_MAX];
	size_t len = digest.len < DIGEST_MAX ? digest.len : DIGEST_MAX;
	memcpy(joined, o->chain, 32);
	memcpy(joined + 32, digest.data, len);
	memcpy(o->chain, digest_of(DIGEST_SHA256, span_of(joined, 32 + len), result).data, 32);
}

st keyd_ocsp_count(struct scope *s, struct keyd *d, struct keyd_key *k, span digest)
{
	struct keyd_ocsp *o = &k->ocsp;
	(void)pthread_mutex_lock(&o->lock);
	st status = may_count(s, d, k);
	if (status.code == E_OK) {
		chain_on(o, digest);
		o->total++;
		o->to = scope_now(s);
		if (o->count++ == 0) {
			o->from = o->to;
			o->oldest = moment_monotonic();
		}
	}
	(void)pthread_mutex_unlock(&o->lock);
	return status;
}

static st make_gap(struct scope *s, struct keyd *d, struct keyd_key *k, struct audit_event *e)
{
	audit_begin(e, s, AUDIT_OCSP_GAP);
	audit_str(e, "zone", d->conf->zone);
	audit_str(e, "key", k->info.label);
	audit_number(e, "last_total", (int64_t)k->ocsp.total);
	audit_hex(e, "last_chain", SPAN_ARRAY(k->ocsp.chain));
	audit_time(e, "since", k->ocsp.gap_since);
	return audit_finish(s, e);
}

/* With the lock held: what was counted becomes the pending record. */
static st make_record(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	struct keyd_ocsp *o = &k->ocsp;
	struct audit_event *e = &o->record;
	audit_begin(e, s, AUDIT_OCSP_SIGNED);
	audit_str(e, "zone", d->conf->zone);
	audit_str(e, "key", k->info.label);
	audit_number(e, "count", (int64_t)o->count);
	audit_number(e, "total", (int64_t)o->total);
	audit_hex(e, "chain", SPAN_ARRAY(o->chain));
	audit_time(e, "from", o->from);
	audit_time(e, "to", o->to);
	TRY(audit_finish(s, e));
	o->pending = true;
	o->pending_oldest = o->oldest;
	o->pending_total = o->total;
	memcpy(o->pending_chain, o->chain, 32);
	o->count = 0;
	o->oldest = 0;
	return OK;
}

static st record_gap(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	struct keyd_ocsp *o = &k->ocsp;
	uint64_t index;
	/* Only this thread works on the record, and nothing is counted before the gap is on record. */
	if (o->record.json.len == 0)
		TRY(make_gap(s, d, k, &o->record));
	TRY(audit_commit(s, d->audit, &o->record, &index));
	audit_event_free(&o->record);
	TRY(keep(s, d, k, true, o->total, o->chain));
	TRY(keyd_life_lost(s, d, k));
	log_put(LOG_LEVEL_WARNING, "key \"%s\": the last run did not end in order; the gap is on record", k->info.label);
	(void)pthread_mutex_lock(&o->lock);
	o->gap = false;
	o->acknowledged = o->total;
	(void)pthread_mutex_unlock(&o->lock);
	return OK;
}

st keyd_ocsp_record(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	struct keyd_ocsp *o = &k->ocsp;
	if ((k->info.purposes & KEY_FOR_OCSP) == 0)
		return OK;
	if (o->gap)
		return record_gap(s, d, k);
	(void)pthread_mutex_lock(&o->lock);
	st status = !o->pending && o->count > 0 ? make_record(s, d, k) : OK;
	bool pending = o->pending;
	(void)pthread_mutex_unlock(&o->lock);
	TRY(status);
	if (!pending)
		return OK;
	uint64_t index;
	TRY(keep(s, d, k, false, o->pending_total, o->pending_chain));
	TRY(audit_commit(s, d->audit, &o->record, &index));
	audit_event_free(&o->record);
	(void)pthread_mutex_lock(&o->lock);
	o->pending = false;
	o->acknowledged = o->pending_total;
	(void)pthread_mutex_unlock(&o->lock);
	return OK;
}

void keyd_ocsp_close(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	struct keyd_ocsp *o = &k->ocsp;
	if (!o->used)
		return;
	st status = OK;
	for (int tries = 0; tries < 2 && status.code == E_OK && (o->pending || o->count > 0); tries++)
		status = keyd_ocsp_record(s, d, k);
	if (status.code == E_OK)
		status = keep(s, d, k, true, o->total, o->chain);
	if (status.code != E_OK)
		log_failure(s, "the last OCSP answers are not on record; the next start will record a gap");
}
