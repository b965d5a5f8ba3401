/*
 * store.h - transactions and named statements over a database; the callers see no dialect and no driver.
 *
 * SQL exists only as named statements, one file per service (ca_sql.c), with a slot for each dialect. Many threads may call
 * db_tx at once: those that wait together are committed together (group commit), each still all or nothing by itself.
 */
#pragma once
#include "buf.h"

enum db_dialect { DB_SQLITE, DB_POSTGRES, DB_DIALECT_COUNT };

struct db_statement {
	const char *name;
	const char *sql[DB_DIALECT_COUNT]; /* parameters ?1 ?2 ...; PostgreSQL may be NULL where the same text serves */
};
/* A step of the schema: applied once, in order, recorded with its number. */
struct db_migration {
	int version;
	const char *name;
	const char *sql[DB_DIALECT_COUNT];
};
/* For copying: all columns, and those that put the rows in one order. */
struct db_table {
	const char *name, *columns, *key;
};
struct db_schema {
	const char *service;
	const struct db_migration *migrations;
	size_t migration_count;
	const struct db_table *tables;
	size_t table_count;
};

enum db_type { DB_NULL, DB_INTEGER, DB_TEXT, DB_BLOB };
struct db_value {
	enum db_type type;
	int64_t integer;
	span bytes;
};
static inline struct db_value db_null(void)
{
	return (struct db_value){ .type = DB_NULL };
}
static inline struct db_value db_integer(int64_t v)
{
	return (struct db_value){ .type = DB_INTEGER, .integer = v };
}
static inline struct db_value db_text(span utf8)
{
	return (struct db_value){ .type = DB_TEXT, .bytes = utf8 };
}
static inline struct db_value db_blob(span bytes)
{
	return (struct db_value){ .type = DB_BLOB, .bytes = bytes };
}
#define DB_COLUMNS_MAX 24
/* One row. Spans are valid until the next row (db_each) or live in the scope (db_one). */
struct db_row {
	struct db_value column[DB_COLUMNS_MAX];
	size_t count;
};

struct db;
struct db_tx;
/* `url` is "sqlite:PATH", or "postgresql:" with what libpq takes, a URI or keywords, without a password. Checks and migrates the schema; E_STATE when the database is newer than
 * this program knows, E_CONFIG when durability is not on. */
st db_open(struct scope *s, const char *url, const struct db_schema *schema, struct db **out);
/* One of several processes on this database, all opened like this; E_CONFIG where it cannot be shared, E_STATE while a process has it
 * for itself. Their transactions go one after the other. */
st db_open_shared(struct scope *s, const char *url, const struct db_schema *schema, struct db **out);
void db_close(struct db *db);

/* The number of this process among those that share the database, from 1 to INT32_MAX and another at each opening; 0 when it is alone. */
int64_t db_process(const struct db *db);
/* Whether this process is the one that leads: at most one at a time, the first to ask when there is none. It ends with the
 * session, so it is asked again at intervals; for a moment two may think they lead. Alone, a process leads. */
st db_lead(struct scope *s, struct db *db, bool *out_leads);

typedef st db_work(struct scope *s, struct db_tx *tx, void *arg);
/* Runs `work` in a transaction that is durable when db_tx returns OK; any other outcome leaves no trace, but for
 * E_UNAVAILABLE: the database was lost in the commit, and whether it is done shows later. `work` may be run again after a conflict or a
 * lost connection, on another thread than the caller's, so it touches only `tx`, its scope and `arg`. */
st db_tx(struct scope *s, struct db *db, db_work *work, void *arg);
/* Several transactions of one thread, committed together as far as they go, each all or nothing by itself. When they are durable
 * `after` (may be NULL) runs before db_tx_all returns: once for all transactions that were committed together and name the same `after`,
 * with the `arg` of each, on the thread of one of them and while the next ones are committed already. */
#define DB_TOGETHER_MAX 256
typedef void db_after(void *const *arg, size_t count);
struct db_item {
	struct scope *scope;
	void *arg;
	st outcome; /* out */
};
void db_tx_all(struct db *db, db_work *work, db_after *after, struct db_item *item, size_t count);
/* E_UNAVAILABLE while the server's settings or standbys are such that a commit would not be durable; every transaction that writes is refused with
 * it. To be asked before something is done that must be stored. */
st db_durable(struct scope *s, struct db *db);
/* How many commits so far had an outcome that nobody could tell (E_UNAVAILABLE): what is to follow an effect must look for it. */
uint64_t db_doubts(struct db *db);
/* The same for reading only: a consistent snapshot, runs beside writers. */
st db_read(struct scope *s, struct db *db, db_work *work, void *arg);

/* E_CONFLICT when a uniqueness rule is broken. `out_changed` may be NULL; then the failure may be that of a later statement of the
 * transaction, or of the transaction: `work` must not rest on it. */
st db_exec(struct scope *s, struct db_tx *tx, const struct db_statement *statement, const struct db_value *values,
	   size_t value_count, int64_t *out_changed);
/* Exactly one row, copied into the scope; E_NOTFOUND when there is none. */
st db_one(struct scope *s, struct db_tx *tx, const struct db_statement *statement, const struct db_value *values,
	  size_t value_count, struct db_row *out);
/* One row or none: *out_found tells. */
st db_find(struct scope *s, struct db_tx *tx, const struct db_statement *statement, const struct db_value *values,
	   size_t value_count, struct db_row *out, bool *out_found);
/* Row by row, in constant memory; a failure of `row` ends it. */
st db_each(struct scope *s, struct db_tx *tx, const struct db_statement *statement, const struct db_value *values,
	   size_t value_count, st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg);
#define DB_VALUES(...)                                                                                                         \
	(const struct db_value[]){ __VA_ARGS__ }, sizeof((const struct db_value[]){ __VA_ARGS__ }) / sizeof(struct db_value)
/* All tables of the schema from one database into another, which is empty (E_CONFLICT); both are opened, and migrated, and nobody else
 * may use them. `tell` is called for each table once its copy was read back and found equal, by count and SHA-256 over all values; the
 * copy is durable when OK is returned, and otherwise nothing was kept. */
typedef void db_copied(const struct db_table *table, int64_t rows, span digest, void *arg);
st db_copy(struct scope *s, const char *from, const char *to, const struct db_schema *schema, db_copied *tell, void *arg);
/* Whether the process of this number is connected; in a transaction of db_read. */
st db_process_alive(struct scope *s, struct db_tx *tx, int64_t process, bool *out_alive);
/* A consistent copy of the whole database into a new file or directory, while it is in use. */
st db_backup(struct scope *s, struct db *db, const char *path);
