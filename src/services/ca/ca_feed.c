/* Feed items: what the vas are told, each with a number of its own, in the order of the commits (docs/dev/interfaces.md). */
#include "ca_feed.h"

static st enter(struct scope *s, struct db_tx *tx, enum ca_feed_type type, const struct buf *body)
{
	return db_exec(s, tx, &sql_feed_insert, DB_VALUES(db_integer(type), db_blob(buf_span(body))), NULL);
}

st ca_feed_write_ca(struct scope *s, struct buf *out, const struct ca_authority *a)
{
	struct wr w = wr_into(out);
	wr_u16(&w, (uint16_t)a->id);
	wr_str(&w, a->name);
	wr_bytes(&w, a->certificate);
	wr_u16(&w, (uint16_t)a->chain_count);
	for (size_t i = 0; i < a->chain_count; i++)
		wr_bytes(&w, a->chain[i]);
	wr_str(&w, scope_printf(s, "%s.crl", a->name));
	return wr_end(s, &w);
}

st ca_feed_write_status(struct scope *s, struct buf *out, const struct ca_certificate *c)
{
	struct wr w = wr_into(out);
	wr_u16(&w, (uint16_t)c->ca);
	wr_bytes(&w, c->serial);
	wr_u8(&w, (uint8_t)c->state);
	wr_u8(&w, (uint8_t)c->reason);
	wr_i64(&w, c->revoked_at);
	wr_i64(&w, c->invalidity_date);
	wr_i64(&w, c->not_after);
	return wr_end(s, &w);
}

st ca_feed_write_crl(struct scope *s, struct buf *out, int64_t ca, const struct ca_crl *crl)
{
	struct wr w = wr_into(out);
	wr_u16(&w, (uint16_t)ca);
	wr_u64(&w, crl->number);
	wr_raw(&w, SPAN_ARRAY(crl->digest));
	wr_i64(&w, crl->this_update);
	wr_i64(&w, crl->next_update);
	return wr_end(s, &w);
}

st ca_feed_write_signer(struct scope *s, struct buf *out, int64_t ca, span certificate, const char *label)
{
	struct wr w = wr_into(out);
	wr_u16(&w, (uint16_t)ca);
	wr_bytes(&w, certificate);
	wr_str(&w, label);
	return wr_end(s, &w);
}

st ca_feed_ca(struct scope *s, struct db_tx *tx, const struct ca_authority *a)
{
	AUTO_BUF body = { 0 };
	TRY(ca_feed_write_ca(s, &body, a));
	return enter(s, tx, CA_FEED_CA, &body);
}

st ca_feed_status(struct scope *s, struct db_tx *tx, const struct ca_certificate *c)
{
	AUTO_BUF body = { 0 };
	TRY(ca_feed_write_status(s, &body, c));
	return enter(s, tx, CA_FEED_STATUS, &body);
}

st ca_feed_crl(struct scope *s, struct db_tx *tx, int64_t ca, const struct ca_crl *crl)
{
	AUTO_BUF body = { 0 };
	TRY(ca_feed_write_crl(s, &body, ca, crl));
	return enter(s, tx, CA_FEED_CRL, &body);
}

st ca_feed_signer(struct scope *s, struct db_tx *tx, int64_t ca, span certificate, const char *label)
{
	AUTO_BUF body = { 0 };
	TRY(ca_feed_write_signer(s, &body, ca, certificate, label));
	return enter(s, tx, CA_FEED_SIGNER, &body);
}
