/*
 * From one database into another, which may be of another kind. All in one transaction of the new one, which reads back what it was
 * given before it commits: the rows of each table, in the order of their key, have the same digest on both sides, or nothing is there.
 */
#include "store_internal.h"
#include "digest.h"
#include "text.h"
#include <endian.h>

struct copy {
	struct db *from, *to;
	const struct db_schema *schema;
	db_copied *tell;
	void *arg;
	/* of the table that is copied now */
	const struct db_table *table;
	struct db_tx *into;
	struct db_statement select, insert;
	struct digest digest;
	int64_t rows;
};

/* Type, length and content of each value: no two rows give the same bytes. */
static void add_row(struct copy *c, const struct db_row *row)
{
	for (size_t i = 0; i < row->count; i++) {
		const struct db_value *v = &row->column[i];
		uint8_t head[9] = { (uint8_t)v->type };
		uint64_t number = htobe64(v->type == DB_INTEGER ? (uint64_t)v->integer : v->bytes.len);
		memcpy(head + 1, &number, sizeof number);
		digest_add(&c->digest, SPAN_ARRAY(head));
		if (v->type == DB_TEXT || v->type == DB_BLOB)
			digest_add(&c->digest, v->bytes);
	}
	c->rows++;
}

static st see_row(struct scope *s, const struct db_row *row, void *arg)
{
	(void)s;
	add_row(arg, row);
	return OK;
}

static st copy_row(struct scope *s, const struct db_row *row, void *arg)
{
	struct copy *c = arg;
	add_row(c, row);
	return db_exec(s, c->into, &c->insert, row->column, row->count, NULL);
}

static char *marks(struct scope *s, size_t count)
{
	char *text = scope_printf(s, "?1");
	for (size_t i = 2; i <= count; i++)
		text = scope_printf(s, "%s, ?%zu", text, i);
	return text;
}

static size_t columns_of(const struct db_table *table)
{
	size_t count = 1;
	for (const char *at = table->columns; *at != 0; at++)
		count += *at == ',';
	return count;
}

static void name_statements(struct scope *s, struct copy *c)
{
	const struct db_table *t = c->table;
	c->select = (struct db_statement){ t->name,
					   { scope_printf(s, "SELECT %s FROM %s ORDER BY %s", t->columns, t->name, t->key) } };
	c->insert = (struct db_statement){
		t->name, { scope_printf(s, "INSERT INTO %s (%s) VALUES (%s)", t->name, t->columns, marks(s, columns_of(t))) }
	};
}

/* Every row of the table on one side. */
static st walk(struct scope *s, struct copy *c, struct db_tx *tx,
	       st (*row)(struct scope *s, const struct db_row *row, void *arg), uint8_t digest[DIGEST_MAX], int64_t *out_rows)
{
	c->rows = 0;
	digest_start(&c->digest, DIGEST_SHA256);
	st status = db_each(s, tx, &c->select, NULL, 0, row, c);
	(void)digest_finish(&c->digest, digest);
	*out_rows = c->rows;
	return status;
}

static st copy_table(struct scope *s, struct copy *c, struct db_tx *from)
{
	uint8_t given[DIGEST_MAX], found[DIGEST_MAX];
	int64_t rows_given, rows_found;
	TRY(walk(s, c, c->into, see_row, found, &rows_found));
	if (rows_found > 0)
		return fail(s, E_CONFLICT, "the database to copy into has %lld rows in %s: give one that is empty",
			    (long long)rows_found, c->table->name);
	TRY(walk(s, c, from, copy_row, given, &rows_given));
	TRY(walk(s, c, c->into, see_row, found, &rows_found));
	if (rows_given != rows_found || memcmp(given, found, digest_len(DIGEST_SHA256)) != 0)
		return fail(s, E_IO, "table %s is not the same in the copy: %lld rows there, %lld here; nothing was kept",
			    c->table->name, (long long)rows_found, (long long)rows_given);
	c->tell(c->table, rows_given, span_of(given, digest_len(DIGEST_SHA256)), c->arg);
	return OK;
}

static st copy_tables(struct scope *s, struct db_tx *from, void *arg)
{
	struct copy *c = arg;
	for (size_t i = 0; i < c->schema->table_count; i++) {
		/* Statements are known by their address as long as a connection lasts: each table has its own. */
		struct copy *one = scope_new(s, struct copy);
		*one = *c;
		one->table = &c->schema->tables[i];
		name_statements(s, one);
		TRY(copy_table(s, one, from));
	}
	return OK;
}

/* Run once: what it reads is one snapshot, and a repetition would tell everything twice. */
static st copy_into(struct scope *s, struct db_tx *tx, void *arg)
{
	struct copy *c = arg;
	if (c->into != NULL)
		return fail(s, E_UNAVAILABLE, "the database that is copied into was lost; nothing was kept: try again");
	c->into = tx;
	return db_read(s, c->from, copy_tables, c);
}

static st copy_between(struct scope *s, struct copy *c, const char *from, const char *to)
{
	TRY(fail_context(s, db_open(s, from, c->schema, &c->from), "the database to copy"));
	TRY(fail_context(s, db_open(s, to, c->schema, &c->to), "the database to copy into"));
	return db_tx(s, c->to, copy_into, c);
}

st db_copy(struct scope *s, const char *from, const char *to, const struct db_schema *schema, db_copied *tell, void *arg)
{
	struct copy c = { .schema = schema, .tell = tell, .arg = arg };
	st status = copy_between(s, &c, from, to);
	db_close(c.from);
	db_close(c.to);
	return status;
}
