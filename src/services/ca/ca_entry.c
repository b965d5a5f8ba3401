/* Rows that several deeds write: parts of their transactions. */
#include "ca.h"

span ca_magnitude(span integer)
{
	while (integer.len > 1 && integer.data[0] == 0)
		integer = span_from(integer, 1);
	return integer;
}

static struct db_value text_or_null(const char *text)
{
	return text == NULL ? db_null() : db_text(span_str(text));
}

static const char *text_of(struct scope *s, const struct db_value *v)
{
	return v->type == DB_NULL ? NULL : scope_cstr(s, v->bytes);
}

/* ---- certificates ---- */

void ca_certificate_from_row(struct scope *s, const struct db_row *row, struct ca_certificate *out)
{
	const struct db_value *v = row->column;
	*out = (struct ca_certificate){
		.serial = scope_copy(s, v[0].bytes),
		.ca = v[1].integer,
		.profile = text_of(s, &v[2]),
		.subject = text_of(s, &v[3]),
		.not_before = v[4].integer,
		.not_after = v[5].integer,
		.state = (int)v[6].integer,
		.reason = (int)v[7].integer,
		.revoked_at = v[8].integer,
		.invalidity_date = v[9].integer,
		.role = text_of(s, &v[10]),
		.request_id = text_of(s, &v[11]),
		.der = scope_copy(s, v[12].bytes),
		.id = v[13].integer,
	};
}

struct find {
	span serial;
	struct ca_certificate *out;
};

static st find_certificate(struct scope *s, struct db_tx *tx, void *arg)
{
	struct find *f = arg;
	struct db_row row;
	bool found;
	TRY(db_find(s, tx, &sql_certificate_of, DB_VALUES(db_blob(f->serial)), &row, &found));
	if (!found)
		return fail(s, E_NOTFOUND, "no certificate has the serial number %s; 'chancery cert find' looks by subject",
			    hex_text(s, f->serial));
	ca_certificate_from_row(s, &row, f->out);
	return OK;
}

st ca_certificate_find(struct scope *s, struct ca *ca, span serial, struct ca_certificate *out)
{
	struct find f = { ca_magnitude(serial), out };
	return db_read(s, ca->db, find_certificate, &f);
}

/* The same key for another person would make two identities answer for one signature. */
//= en319411-1#GEN-6.3.3-10 a public key is certified for one subject only
static st claim_key(struct scope *s, struct db_tx *tx, const struct pki_certificate *c)
{
	uint8_t key[DIGEST_MAX], subject[DIGEST_MAX];
	span key_digest = digest_of(DIGEST_SHA256, c->spki, key);
	span subject_digest = digest_of(DIGEST_SHA256, c->subject, subject);
	TRY(ca_key_check_lost(s, tx, key_digest));
	struct db_row row;
	int64_t added;
	TRY(db_exec(s, tx, &sql_key_insert, DB_VALUES(db_blob(key_digest), db_blob(subject_digest)), &added));
	if (added > 0)
		return OK;
	TRY(db_one(s, tx, &sql_key_of, DB_VALUES(db_blob(key_digest)), &row));
	if (!span_equal(row.column[0].bytes, subject_digest))
		return fail(s, E_CONFLICT,
			    "this public key is certified for another subject already: have a new key pair made");
	return OK;
}

//= en319411-1#GEN-6.3.3-02A the primary key of the status table keeps serial numbers unique over all CAs
st ca_entry_certificate(struct scope *s, struct db_tx *tx, struct ca_new_certificate *new)
{
	const struct pki_certificate *c = new->certificate;
	int64_t ca = new->authority->id;
	span serial = ca_magnitude(c->serial);
	TRY(pki_name_text(s, c->subject, &new->subject));
	if (new->check_key)
		TRY(claim_key(s, tx, c));
	TRY(db_exec(s, tx, &sql_certificate_insert,
		    DB_VALUES(db_blob(serial), db_integer(ca), db_text(span_str(new->profile)), db_text(span_str(new->subject)),
			      db_integer(c->not_before), db_integer(c->not_after), text_or_null(new->role),
			      text_or_null(new->request_id), db_text(span_str(new->actor)), db_blob(c->der)),
		    NULL));
	TRY(db_exec(s, tx, &sql_status_insert_good, DB_VALUES(db_blob(serial), db_integer(ca), db_integer(c->not_after)),
		    NULL));
	if (new->request_id != NULL)
		TRY(db_exec(s, tx, &sql_request_insert,
			    DB_VALUES(db_integer(ca), db_text(span_str(new->request_id)), db_blob(new->input), db_blob(serial)),
			    NULL));
	return ca_feed_status(s, tx, &(struct ca_certificate){ .ca = ca, .serial = serial, .not_after = c->not_after });
}

st ca_entry_abandoned(struct scope *s, struct db_tx *tx, int64_t ca, span serial, int64_t revoked_at, int64_t not_after)
{
	TRY(db_exec(s, tx, &sql_status_insert,
		    DB_VALUES(db_blob(serial), db_integer(ca), db_integer(CA_REVOKED), db_integer(0), db_integer(revoked_at),
			      db_integer(0), db_integer(not_after), db_integer(0)),
		    NULL));
	return ca_feed_status(
		s, tx,
		&(struct ca_certificate){
			.ca = ca, .serial = serial, .state = CA_REVOKED, .revoked_at = revoked_at, .not_after = not_after });
}

/* ---- records ---- */

/* Counted here, never twice: with numbers that the database gives again once the outbox is empty, a row that was delivered twice
 * could be removed a second time when it is another's. */
static _Atomic int64_t last_seq;

static st read_last_seq(struct scope *s, struct db_tx *tx, void *arg)
{
	struct db_row row;
	TRY(db_one(s, tx, &sql_outbox_last, NULL, 0, &row));
	*(int64_t *)arg = row.column[0].integer;
	return OK;
}

st ca_entry_start(struct scope *s, struct ca *ca)
{
	int64_t last = db_process(ca->db) << 32; /* with others on the same database, in a range of one's own */
	if (last == 0)
		TRY(db_read(s, ca->db, read_last_seq, &last));
	atomic_store(&last_seq, last);
	return OK;
}

st ca_entry_record(struct scope *s, struct db_tx *tx, struct ca_record *record)
{
	record->seq = atomic_fetch_add(&last_seq, 1) + 1;
	return db_exec(s, tx, &sql_outbox_insert,
		       DB_VALUES(db_integer(record->seq), db_blob(SPAN_ARRAY(record->event->id)), db_blob(record->object),
				 db_blob(buf_span(&record->event->json)), db_integer(scope_now(s))),
		       NULL);
}

/* ---- numbers kept under a name ---- */

st ca_meta_get(struct scope *s, struct db_tx *tx, const char *name, int64_t *out)
{
	struct db_row row;
	bool found;
	TRY(db_find(s, tx, &sql_meta_of, DB_VALUES(db_text(span_str(name))), &row, &found));
	*out = found ? row.column[0].integer : 0;
	return OK;
}

st ca_meta_set(struct scope *s, struct db_tx *tx, const char *name, int64_t value)
{
	return db_exec(s, tx, &sql_meta_set, DB_VALUES(db_text(span_str(name)), db_integer(value)), NULL);
}
