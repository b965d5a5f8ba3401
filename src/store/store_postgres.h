/*
 * store_postgres.h - one connection to PostgreSQL, shared by store_postgres.c (opening, transactions), store_postgres_run.c
 * (statements) and store_postgres_process.c (who works on the database). Private to the driver.
 *
 * The connection is in pipeline mode: a statement whose answer nobody waits for is only queued, and its failure is that of the next
 * statement that is waited for, or of the commit. A transaction of twenty statements costs as many round trips as it asks questions.
 */
#pragma once
#include "store_driver.h"
#include <libpq-fe.h>
#include <stdatomic.h>

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
/* This process, as the database knows it. */
struct pg_process {
	int32_t id;
	bool shared;               /* with others */
	bool entered;              /* once: the locks were ours, the row is there */
	int64_t writer;            /* the name of its row */
	_Atomic int64_t committed; /* the number of the last commit that was done */
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
	bool leads;       /* its session has the lock of who leads */
	struct pg_process *process;
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
st pg_begin_with(struct scope *s, struct db_connection *c, const struct db_statement *how);
void pg_rollback(struct db_connection *c);
/* One query outside of the pipeline, with an answer and without; the failure is that of the connection. */
st pg_query(struct scope *s, struct db_connection *c, const char *sql, PGresult **out);
st pg_command(struct scope *s, struct db_connection *c, const char *sql);

/* store_postgres_durable.c: E_CONFIG when a commit would not be durable. On a connection that is being opened, and on a reader's. */
st pg_durable_at_opening(struct scope *s, struct db_connection *c);
st pg_durable_still(struct scope *s, struct db_connection *c);

/* store_postgres_process.c */
struct pg_process *pg_process_new(const struct scope *s, bool shared);
/* At each connection: the locks, and proof that the database is where it was. Ends the process when it is an older one. */
st pg_process_join(struct scope *s, struct db_connection *c);
/* In a transaction that writes: wait for others', count it, and what is known when its answer came or was lost. */
st pg_process_turn(struct scope *s, struct db_connection *c);
st pg_process_count(struct scope *s, struct db_connection *c, int64_t *out_number);
void pg_process_committed(struct db_connection *c, int64_t number);
/* E_BUSY with `again`: it is not done; E_UNAVAILABLE: nobody can say. */
st pg_process_outcome(struct scope *s, struct db_connection *c, int64_t mine);
st pg_process_lead(struct scope *s, struct db_connection *writer, bool *out_leads);
st pg_process_alive(struct scope *s, struct db_connection *reader, int64_t process, bool *out_alive);
