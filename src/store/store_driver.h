/*
 * store_driver.h - what a database must offer to store.c: one const struct db_driver_ops, one file each. A connection is
 * used by one thread at a time. To add a database: a file store_NAME.c, a line in db_drivers (store.c).
 */
#pragma once
#include "store.h"

struct db_connection;

enum db_role {
	DB_WRITER, /* the only connection that changes anything */
	DB_READER,
	DB_KEEPER, /* for the side thread: maintenance beside writers */
};

struct db_driver_ops {
	const char *scheme; /* of the URL, without ':' */
	enum db_dialect dialect;
	/* Checks the address, and makes sure nobody else writes to this database (or, `shared`, only those that share it), unless opening
	 * the writer does; the handle is given back with unlock. */
	st (*lock)(struct scope *s, const char *address, bool shared, void **out_lock);
	void (*unlock)(void *lock);
	/* See db_process, db_lead, db_process_alive; NULL where a database cannot be shared. */
	int64_t (*number)(const void *lock);
	st (*lead)(struct scope *s, struct db_connection *writer, bool *out_leads);
	st (*alive)(struct scope *s, struct db_connection *reader, int64_t process, bool *out_alive);
	/* Opens and proves that a commit will be durable (E_CONFIG otherwise). */
	st (*open)(struct scope *s, const char *address, void *lock, enum db_role role, struct db_connection **out);
	/* The same again on a reader's connection, while others write; E_CONFIG only when a commit would not be durable any more. NULL
	 * where nobody else can change it. */
	st (*prove)(struct scope *s, struct db_connection *c);
	void (*close)(struct db_connection *c);
	st (*begin)(struct scope *s, struct db_connection *c, enum db_role role);
	/* E_UNAVAILABLE: it may be done or not, and nobody can say; after any other failure it is not. */
	st (*commit)(struct scope *s, struct db_connection *c);
	void (*rollback)(struct db_connection *c);
	/* Inside a transaction: a mark, forgotten or gone back to. What failed behind the mark has failed when `keep` returns. */
	st (*mark)(struct scope *s, struct db_connection *c);
	st (*keep)(struct scope *s, struct db_connection *c);
	st (*undo)(struct scope *s, struct db_connection *c);
	/* False when a failure ended the transaction by itself. */
	bool (*in_transaction)(const struct db_connection *c);
	/* True when the transaction failed by no fault of its works, and is surely not done: it may be run again. */
	bool (*again)(const struct db_connection *c);
	/* Several commands at once, without parameters: migrations. */
	st (*script)(struct scope *s, struct db_connection *c, const char *sql);
	/* One statement, prepared once per connection. `row` may be NULL; by the writer, without `row` and `out_changed`, it may be put off
	 * to the next one that is waited for, to `keep` or `commit`, and fail there. */
	st (*run)(struct scope *s, struct db_connection *c, const struct db_statement *statement, const struct db_value *values,
		  size_t value_count, st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg,
		  int64_t *out_changed);
	/* The same for any number of rows, in constant memory. */
	st (*each)(struct scope *s, struct db_connection *c, const struct db_statement *statement,
		   const struct db_value *values, size_t value_count,
		   st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg);
	/* How much has piled up since the last maintenance, in pages or what the database counts; by the writer. */
	uint64_t (*pending)(const struct db_connection *c);
	/* Without hindering writers, and with writers held off. True when nothing is left. NULL: the database needs none. */
	bool (*maintain)(struct db_connection *keeper, bool exclusive);
	uint64_t maintain_from; /* `pending` that calls for maintenance */
	uint64_t maintain_hard; /* ... that calls for it with writers held off */
	st (*backup)(struct scope *s, struct db_connection *reader, const char *path);
};

extern const struct db_driver_ops db_driver_sqlite, db_driver_postgres;

static inline const char *db_statement_sql(const struct db_statement *statement, enum db_dialect dialect)
{
	return statement->sql[dialect] != NULL ? statement->sql[dialect] : statement->sql[DB_SQLITE];
}
