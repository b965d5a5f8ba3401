/* HTTP: the status of every certificate of a CA, in order of serial. */
#include "ca_http.h"

#define PAGE_MAX 1000

struct page {
	int64_t authority;
	span after; /* a serial */
	uint64_t limit;
	json_t *statuses;
	span last; /* the last serial looked at, of whichever CA */
	uint64_t looked_at;
	struct scope *s;
};

static json_t *status_json(struct scope *s, const struct db_value *v)
{
	json_t *one = json_object();
	bool revoked = v[2].integer == CA_REVOKED;
	ca_json_hex(s, one, "serial", v[1].bytes);
	ca_json_text(one, "state", revoked ? "revoked" : "good");
	if (revoked) {
		ca_json_text(one, "reason", v[3].integer > 0 ? pki_reason_name((int)v[3].integer) : NULL);
		ca_json_time(one, "revoked_at", v[4].integer);
	}
	ca_json_time(one, "not_after", v[5].integer);
	return one;
}

static st add_status(struct scope *s, const struct db_row *row, void *arg)
{
	struct page *page = arg;
	const struct db_value *v = row->column;
	page->looked_at++;
	if (page->looked_at == page->limit)
		page->last = scope_copy(page->s, v[1].bytes);
	if (v[0].integer == page->authority)
		(void)json_array_append_new(page->statuses, status_json(s, v));
	return OK;
}

/* By the primary key over all CAs, and not by the CA: then a page costs the same however few of the certificates are this CA's. */
static st read_page(struct scope *s, struct db_tx *tx, void *arg)
{
	struct page *page = arg;
	page->looked_at = 0; /* it may be called again */
	page->last = (span){ 0 };
	(void)json_array_clear(page->statuses);
	return db_each(s, tx, &sql_status_after, DB_VALUES(db_blob(page->after), db_integer((int64_t)page->limit)), add_status,
		       page);
}

static st read_query(struct scope *s, const struct http_request *request, struct page *page)
{
	struct ca_authority *a;
	span after = http_query(s, request, "after");
	span limit = http_query(s, request, "limit");
	TRY(ca_authority_named(s, request->state, request->part[0], &a));
	page->authority = a->id;
	if (after.len > 0)
		TRY(hex_parse(s, after, &page->after));
	if (limit.len > 0)
		TRY(decimal_parse(s, limit, PAGE_MAX, &page->limit));
	return page->limit > 0 ? OK : fail(s, E_INPUT, "limit is 1 to %d", PAGE_MAX);
}

/* Only what was revoked since then may be missing on the CRL that the public gets. */
static st find_crl_time(struct scope *s, struct ca *ca, int64_t authority, int64_t *out)
{
	struct ca_crl last = { 0 };
	st found = ca_crl_last(s, ca, authority, &last);
	if (found.code == E_NOTFOUND)
		scope_clear_error(s);
	else
		TRY(found);
	*out = last.this_update;
	return OK;
}

st ca_http_statuses(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca *ca = request->state;
	struct page page = { .limit = PAGE_MAX, .s = s };
	int64_t crl_time;
	TRY(read_query(s, request, &page));
	TRY(find_crl_time(s, ca, page.authority, &crl_time));
	page.statuses = json_array();
	st status = db_read(s, ca->db, read_page, &page);
	if (status.code != E_OK) {
		json_decref(page.statuses);
		return status;
	}
	json_t *root = json_pack("{s:o}", "statuses", page.statuses);
	ca_json_time(root, "crl_this_update", crl_time);
	if (page.last.len > 0)
		ca_json_hex(s, root, "next", page.last);
	return ca_json_reply(s, reply, 200, root);
}
