/* The schema's steps: each applied once, in order, in a transaction of its own, and recorded. */
#include "store_internal.h"

static const struct db_statement schema_table = {
	"schema_table",
	{ "CREATE TABLE IF NOT EXISTS schema_step (version INTEGER PRIMARY KEY, service TEXT NOT NULL, name TEXT NOT NULL,"
	  " applied_at INTEGER NOT NULL)",
	  "CREATE TABLE IF NOT EXISTS schema_step (version BIGINT PRIMARY KEY, service TEXT NOT NULL, name TEXT NOT NULL,"
	  " applied_at BIGINT NOT NULL)" }
};
static const struct db_statement schema_steps = { "schema_steps",
						  { "SELECT version, service, name FROM schema_step ORDER BY version" } };
static const struct db_statement schema_enter = { "schema_enter", { "INSERT INTO schema_step VALUES (?1, ?2, ?3, ?4)" } };

struct progress {
	const struct db_schema *schema;
	size_t applied;
	const struct db_migration *next;
};

static st step_is_known(struct scope *s, const struct db_row *row, void *arg)
{
	struct progress *p = arg;
	const struct db_schema *schema = p->schema;
	int64_t version = row->column[0].integer;
	if (!span_is(row->column[1].bytes, schema->service))
		return fail(s, E_STATE, "this database belongs to '%.*s', not to '%s'", (int)row->column[1].bytes.len,
			    (const char *)row->column[1].bytes.data, schema->service);
	if (p->applied >= schema->migration_count)
		return fail(s, E_STATE,
			    "the database has schema version %lld, this program knows up to %d: install the newer program, or "
			    "restore "
			    "the backup made before the upgrade",
			    (long long)version,
			    schema->migration_count > 0 ? schema->migrations[schema->migration_count - 1].version : 0);
	const struct db_migration *known = &schema->migrations[p->applied];
	if (known->version != version || !span_is(row->column[2].bytes, known->name))
		return fail(s, E_STATE, "step %lld of the database's schema is not the step '%s' this program knows",
			    (long long)version, known->name);
	p->applied++;
	return OK;
}

static st read_steps(struct scope *s, struct db_tx *tx, void *arg)
{
	struct progress *p = arg;
	p->applied = 0;
	TRY(db_exec(s, tx, &schema_table, NULL, 0, NULL));
	return db_each(s, tx, &schema_steps, NULL, 0, step_is_known, p);
}

static st apply_step(struct scope *s, struct db_tx *tx, void *arg)
{
	struct progress *p = arg;
	const struct db_driver_ops *ops = tx->db->ops;
	TRY(read_steps(s, tx, p));
	if (p->applied > (size_t)(p->next - p->schema->migrations)) /* by another process meanwhile */
		return OK;
	const struct db_statement step = { .name = p->next->name,
					   .sql = { p->next->sql[DB_SQLITE], p->next->sql[DB_POSTGRES] } };
	TRY(ops->script(s, tx->connection, db_statement_sql(&step, ops->dialect)));
	return db_exec(s, tx, &schema_enter,
		       DB_VALUES(db_integer(p->next->version), db_text(span_str(p->schema->service)),
				 db_text(span_str(p->next->name)), db_integer(scope_now(s))),
		       NULL);
}

st db_schema_apply(struct scope *s, struct db *db, const struct db_schema *schema)
{
	struct progress p = { .schema = schema };
	TRY(db_tx(s, db, read_steps, &p));
	for (size_t i = p.applied; i < schema->migration_count; i++) {
		p.next = &schema->migrations[i];
		TRY(fail_context(s, db_tx(s, db, apply_step, &p), "schema step %d '%s'", p.next->version, p.next->name));
	}
	return OK;
}
