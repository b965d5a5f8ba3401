/* The whole content for a va: CAs, CRLs, OCSP signers and every status, read from one snapshot of the database. */
#include "ca_push.h"

struct snapshot {
	struct ca_va *va;
	struct db_tx *tx;
	int64_t number, answered;
	uint32_t count;
	struct buf items;
};

static st send_part(struct scope *s, struct snapshot *p)
{
	if (p->count == 0)
		return OK;
	/* A scope of its own: a snapshot of millions must not pile up answers. */
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	int64_t ignored;
	st status = ca_push_batch(&own, p->va, CA_FEED_SNAPSHOT_PART, p->number, p->count, buf_span(&p->items), &ignored);
	p->items.len = 0;
	p->count = 0;
	return status.code == E_OK ? OK : fail(s, status.code, "%s", own.message);
}

static st add(struct scope *s, struct snapshot *p, enum ca_feed_type type, const struct buf *body)
{
	if (p->count == CA_FEED_BATCH_ITEMS || p->items.len + body->len + 16 > CA_FEED_BATCH_BYTES)
		TRY(send_part(s, p));
	p->count++;
	return ca_push_item(s, &p->items, type, buf_span(body));
}

static st add_authorities(struct scope *s, struct snapshot *p)
{
	const struct ca_authority *a;
	for (size_t i = 0; (a = ca_authority_at(p->va->ca, i)) != NULL; i++) {
		AUTO_BUF body = { 0 };
		if (a->certificate.len == 0)
			continue;
		TRY(ca_feed_write_ca(s, &body, a));
		TRY(add(s, p, CA_FEED_CA, &body));
	}
	return OK;
}

static st add_crls(struct scope *s, struct snapshot *p)
{
	const struct ca_authority *a;
	for (size_t i = 0; (a = ca_authority_at(p->va->ca, i)) != NULL; i++) {
		AUTO_BUF body = { 0 };
		struct ca_crl last;
		st found = ca_crl_last(s, p->va->ca, a->id, &last);
		if (found.code == E_NOTFOUND) {
			scope_clear_error(s);
			continue;
		}
		TRY(found);
		TRY(ca_push_crl_file(s, p->va, a->name, &last));
		TRY(ca_feed_write_crl(s, &body, a->id, &last));
		TRY(add(s, p, CA_FEED_CRL, &body));
	}
	return OK;
}

static st add_signer(struct scope *s, const struct db_row *row, void *arg)
{
	AUTO_BUF body = { 0 };
	TRY(ca_feed_write_signer(s, &body, row->column[0].integer, row->column[2].bytes, scope_cstr(s, row->column[1].bytes)));
	return add(s, arg, CA_FEED_SIGNER, &body);
}

static st add_status(struct scope *s, const struct db_row *row, void *arg)
{
	const struct db_value *v = row->column;
	struct ca_certificate c = { .ca = v[0].integer,
				    .serial = v[1].bytes,
				    .state = (int)v[2].integer,
				    .reason = (int)v[3].integer,
				    .revoked_at = v[4].integer,
				    .invalidity_date = v[5].integer,
				    .not_after = v[6].integer };
	AUTO_BUF body = { 0 };
	TRY(ca_feed_write_status(s, &body, &c));
	return add(s, arg, CA_FEED_STATUS, &body);
}

static st send_all(struct scope *s, struct db_tx *tx, void *arg)
{
	struct snapshot *p = arg;
	struct db_row row;
	TRY(db_one(s, tx, &sql_feed_bounds, NULL, 0, &row));
	p->number = row.column[1].integer;
	TRY(ca_push_batch(s, p->va, CA_FEED_SNAPSHOT_START, p->number, 0, (span){ 0 }, &p->answered));
	TRY(add_authorities(s, p));
	TRY(add_crls(s, p));
	TRY(db_each(s, tx, &sql_identity_signers, NULL, 0, add_signer, p));
	TRY(db_each(s, tx, &sql_status_all, NULL, 0, add_status, p));
	TRY(send_part(s, p));
	return ca_push_batch(s, p->va, CA_FEED_SNAPSHOT_END, p->number, 0, (span){ 0 }, &p->answered);
}

st ca_push_snapshot(struct scope *s, struct ca_va *va, int64_t *out_number)
{
	struct snapshot p = { .va = va };
	buf_init(&p.items, CA_FEED_BATCH_BYTES);
	st status = db_read(s, va->ca->db, send_all, &p);
	buf_free(&p.items);
	TRY(status);
	*out_number = p.answered;
	return OK;
}

static st read_va(struct scope *s, struct db_tx *tx, void *arg)
{
	struct ca_va *va = arg;
	struct db_row row;
	bool found;
	TRY(db_find(s, tx, &sql_va_of, DB_VALUES(db_text(span_str(va->name))), &row, &found));
	if (!found)
		return OK;
	va->noted = row.column[0].integer;
	va->confirmed_at = row.column[1].integer;
	atomic_store(&va->forget, va->noted < 0);
	return OK;
}

st ca_push_recall(struct scope *s, struct ca_va *va)
{
	return db_read(s, va->ca->db, read_va, va);
}
