/* HTTP: what is held against the audit log: the CRLs of a CA by number, and the records that are still to be delivered. */
#include "ca_http.h"

#define PAGE_MAX 1000

struct page {
	int64_t ca, after;
	uint64_t limit;
	json_t *rows;
	int64_t last; /* of a full page; 0: there is no more */
};

static st read_query(struct scope *s, const struct http_request *request, struct page *page)
{
	uint64_t after = 0;
	span from = http_query(s, request, "after"), limit = http_query(s, request, "limit");
	page->limit = PAGE_MAX;
	if (from.len > 0)
		TRY(decimal_parse(s, from, INT64_MAX, &after));
	if (limit.len > 0)
		TRY(decimal_parse(s, limit, PAGE_MAX, &page->limit));
	page->after = (int64_t)after;
	return page->limit > 0 ? OK : fail(s, E_INPUT, "limit is 1 to %d", PAGE_MAX);
}

static void add_row(struct page *page, json_t *one, int64_t position)
{
	(void)json_array_append_new(page->rows, one);
	page->last = json_array_size(page->rows) == page->limit ? position : 0;
}

static st reply_page(struct scope *s, struct http_reply *reply, const char *name, struct page *page, st read)
{
	json_t *root = json_pack("{s:o}", name, page->rows);
	if (read.code != E_OK) {
		json_decref(root);
		return read;
	}
	if (page->last != 0)
		ca_json_text(root, "next", scope_printf(s, "%lld", (long long)page->last));
	return ca_json_reply(s, reply, 200, root);
}

/* A reading may be begun again. */
static void begin_page(struct page *page)
{
	page->last = 0;
	(void)json_array_clear(page->rows);
}

/* ---- CRLs ---- */

static st add_crl(struct scope *s, const struct db_row *row, void *arg)
{
	const struct db_value *v = row->column;
	const struct ca_crl crl = { .number = (uint64_t)v[0].integer,
				    .size = (uint64_t)v[1].integer,
				    .entries = (uint64_t)v[2].integer,
				    .this_update = v[3].integer,
				    .next_update = v[4].integer };
	(void)s;
	add_row(arg, ca_http_crl_json(&crl), v[0].integer);
	return OK;
}

static st read_crls(struct scope *s, struct db_tx *tx, void *arg)
{
	struct page *page = arg;
	begin_page(page);
	return db_each(s, tx, &sql_crl_after,
		       DB_VALUES(db_integer(page->ca), db_integer(page->after), db_integer((int64_t)page->limit)), add_crl,
		       page);
}

st ca_http_crls(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca *ca = request->state;
	struct ca_authority *a;
	struct page page = { .after = 0 };
	TRY(ca_authority_named(s, ca, request->part[0], &a));
	TRY(read_query(s, request, &page));
	page.ca = a->id;
	page.rows = json_array();
	st read = db_read(s, ca->db, read_crls, &page);
	return reply_page(s, reply, "crls", &page, read);
}

/* ---- the outbox ---- */

static void copy_text(json_t *to, const json_t *from, const char *name)
{
	const json_t *value = json_object_get(from, name);
	if (json_is_string(value))
		ca_json_text(to, name, json_string_value(value));
}

/* What the record is about, and not the record: who may not read the log need not read it here. */
static st add_waiting(struct scope *s, const struct db_row *row, void *arg)
{
	const struct db_value *v = row->column;
	json_t *record = json_loadb((const char *)v[1].bytes.data, v[1].bytes.len, 0, NULL);
	json_t *one = json_object();
	(void)s;
	ca_json_number(one, "seq", v[0].integer);
	ca_json_time(one, "entered_at", v[2].integer);
	copy_text(one, record, "event");
	copy_text(one, record, "serial");
	copy_text(one, record, "ca");
	if (json_is_integer(json_object_get(record, "number")))
		ca_json_number(one, "number", json_integer_value(json_object_get(record, "number")));
	json_decref(record);
	add_row(arg, one, v[0].integer);
	return OK;
}

static st read_outbox(struct scope *s, struct db_tx *tx, void *arg)
{
	struct page *page = arg;
	begin_page(page);
	return db_each(s, tx, &sql_outbox_after, DB_VALUES(db_integer(page->after), db_integer((int64_t)page->limit)),
		       add_waiting, page);
}

st ca_http_outbox(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca *ca = request->state;
	struct page page = { .after = 0 };
	TRY(read_query(s, request, &page));
	page.rows = json_array();
	st read = db_read(s, ca->db, read_outbox, &page);
	return reply_page(s, reply, "outbox", &page, read);
}
