/*
 * store_postgres.h - one connection to PostgreSQL, shared by store_postgres.c (opening, transactions) and
 * store_postgres_run.c (statements). Private to the driver.
 *
 * The connection is in pipeline mode: a statement whose answer nobody waits for is only queued, and its failure is that of the next
 * statement that is waited for, or of the commit. A transaction of twenty statements costs as many round trips as it asks questions.
 */
#pragma once
#include "store_driver.h"
#include <libpq-fe.h>

#define PG_SLOTS  256u /* a power of two, well over the statements of any service */
#define PG_QUEUE  96u  /* statements under way; their answers, which are short, fit into any socket's buffer */
#define PG_CURSOR 256  /* rows fetched at once */

struct pg_slot {
	const struct db_statement *statement;
	bool prepared;
};
enum pg_kind { PG_PREPARE, PG_RUN, PG_SYNC };
/* What the server owes an answer for, in order. */
struct pg_item {
	enum pg_kind kind;
	const char *name;
	struct pg_slot *slot;
};
struct db_connection {
	PGconn *handle; /* NULL: lost, or never there */
	char *address;
	enum db_role role;
	struct pg_slot slot[PG_SLOTS];
	struct pg_item queue[PG_QUEUE + 8];
	size_t queued;
	unsigned cursors; /* open ones, by which they are named */
	bool open;        /* a transaction */
	bool fresh;       /* ... that has answered nothing yet */
	bool again;       /* it failed by no fault of its own */
	int64_t writer;   /* what it signs its commits with */
	bool claimed;     /* it has, once: the lock was ours */
	bool warned;      /* the server warned since this was set to false */
	enum code failed; /* of the first failure in the transaction */
	char message[200];
};

/* store_postgres_run.c */
st pg_run(struct scope *s, struct db_connection *c, const struct db_statement *statement, const struct db_value *values,
	  size_t value_count, st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg, int64_t *out_changed);
/* The same in constant memory, by a cursor. */
st pg_each(struct scope *s, struct db_connection *c, const struct db_statement *statement, const struct db_value *values,
	   size_t value_count, st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg);
/* Queued, and nobody waits. */
st pg_queue(struct scope *s, struct db_connection *c, const struct db_statement *statement, const struct db_value *values,
	    size_t value_count);
/* The end of a pipeline, sent off; behind it the server takes statements again after a failure. */
st pg_sync(struct scope *s, struct db_connection *c);
/* Everything queued is answered. The failure is that of the transaction, so far. */
st pg_settle(struct scope *s, struct db_connection *c);
/* Simple queries, outside of the pipeline. */
st pg_script(struct scope *s, struct db_connection *c, const char *sql);
/* The connection is gone; what was under way on it can be run again when it was no commit. */
void pg_lost(struct db_connection *c, const char *why);
st pg_failure(struct scope *s, const struct db_connection *c);

/* store_postgres.c */
st pg_connect(struct scope *s, struct db_connection *c);
st pg_begin(struct scope *s, struct db_connection *c, enum db_role role);
