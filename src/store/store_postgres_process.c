/*
 * PostgreSQL: the processes that work on one database, and what becomes of their commits.
 *
 * A process is known by two locks of its writer's session: one on the use of the database, exclusive or shared by those that share it,
 * and one of its own number. Whoever has the second anew knows that no transaction of its lost session is under way any more.
 * On that stands what is done about a commit whose answer was lost: each transaction counts up the process's own row in store_writer, and
 * the row says what became of it. Those that share a database write one after the other: each transaction holds a lock as long as it
 * lasts, so that numbers have no gap and nothing that is seen comes before something that is not.
 *
 * The row also shows an older copy put in the database's place, which lacks commits that were acknowledged: then the process ends, and
 * compares with the log when it starts.
 */
#include "store_postgres.h"
#include "log.h"
#include "moment.h"
#include <stdlib.h>
#include <unistd.h>

#define DOUBT_US      (20 * MOMENT_SECOND) /* how long a server is waited for that has a commit's outcome */
#define PAUSE_US      100000
#define USE_LOCK      "7163082334074663545" /* "chancery", read as a number */
#define TURN_LOCK     "7163082334074663546"
#define LEAD_LOCK     "7163082334074663547"
#define PROCESS_CLASS "1667784039" /* with a process's number */

static const struct db_statement turn = { "waiting for the transaction of another process",
					  { NULL, "SELECT pg_advisory_xact_lock(" TURN_LOCK ")" } };
static const struct db_statement begin = { "begin", { NULL, "BEGIN ISOLATION LEVEL READ COMMITTED" } };
static const struct db_statement commit = { "commit", { NULL, "COMMIT" } };
static const struct db_statement number_set = { "number_set",
						{ NULL, "UPDATE store_writer SET number = ?2 WHERE writer = ?1" } };
static const struct db_statement number_of = { "number_of", { NULL, "SELECT number FROM store_writer WHERE writer = ?1" } };
static const struct db_statement lead = { "lead", { NULL, "SELECT pg_try_advisory_lock(" LEAD_LOCK ")" } };
static const struct db_statement lead_still = { "lead_still", { NULL, "SELECT true" } };
static const struct db_statement alive = {
	"alive",
	{ NULL,
	  "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid::bigint = " PROCESS_CLASS
	  " AND objid::bigint = ?1 AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())" }
};

struct pg_process *pg_process_new(const struct scope *s, bool shared)
{
	struct pg_process *p = heap_alloc(sizeof *p);
	uint32_t id;
	scope_random(s, &id, sizeof id);
	scope_random(s, &p->writer, sizeof p->writer);
	p->id = (int32_t)(id >> 1 | 1);
	p->shared = shared;
	return p;
}

/* ---- at each connection ---- */

static st enter(struct scope *s, struct db_connection *c)
{
	const char *sql = scope_printf(
		s,
		"BEGIN; SELECT pg_advisory_xact_lock(" TURN_LOCK ");"
		" DROP TABLE IF EXISTS store_commit;"
		" CREATE TABLE IF NOT EXISTS store_writer (writer BIGINT PRIMARY KEY, number BIGINT NOT NULL, since TIMESTAMPTZ NOT NULL);"
		" DELETE FROM store_writer WHERE %s; INSERT INTO store_writer VALUES (%lld, 0, now()); COMMIT",
		c->process->shared ? "since < now() - INTERVAL '1 year'" : "true", (long long)c->process->writer);
	TRY(pg_command(s, c, "SET client_min_messages = error"));
	TRY(pg_command(s, c, sql));
	c->process->entered = true;
	return pg_command(s, c, "SET client_min_messages = warning");
}

/* As of a connection anew: what was acknowledged is there. */
static st look_whether_older(struct scope *s, struct db_connection *c)
{
	PGresult *r;
	int64_t committed = atomic_load(&c->process->committed);
	TRY(pg_query(s, c,
		     scope_printf(s, "SELECT number FROM store_writer WHERE writer = %lld AND number >= %lld",
				  (long long)c->process->writer, (long long)committed),
		     &r));
	int rows = PQntuples(r);
	PQclear(r);
	if (rows == 0)
		log_die("the database lacks commits of this process that were acknowledged: an older copy was put in its place; started "
			"again, the process compares it with the audit log");
	return OK;
}

static st take_locks(struct scope *s, struct db_connection *c)
{
	const struct pg_process *p = c->process;
	TRY(pg_command(s, c,
		       p->shared ? "SELECT pg_advisory_lock_shared(" USE_LOCK ")" : "SELECT pg_advisory_lock(" USE_LOCK ")"));
	return pg_command(s, c, scope_printf(s, "SELECT pg_advisory_lock(" PROCESS_CLASS ", %d)", (int)p->id));
}

st pg_process_join(struct scope *s, struct db_connection *c)
{
	c->leads = false;
	if (c->role == DB_WRITER)
		TRY(take_locks(s, c));
	if (c->process->entered)
		return look_whether_older(s, c);
	return c->role == DB_WRITER ? enter(s, c) : OK;
}

/* ---- transactions ---- */

st pg_process_turn(struct scope *s, struct db_connection *c)
{
	return c->process->shared ? pg_queue(s, c, &turn, NULL, 0) : OK;
}

st pg_process_count(struct scope *s, struct db_connection *c, int64_t *out_number)
{
	*out_number = atomic_load(&c->process->committed) + 1;
	const struct db_value value[] = { db_integer(c->process->writer), db_integer(*out_number) };
	return pg_queue(s, c, &number_set, value, 2);
}

void pg_process_committed(struct db_connection *c, int64_t number)
{
	atomic_store(&c->process->committed, number);
}

static st read_integer(struct scope *s, const struct db_row *row, void *arg)
{
	(void)s;
	*(int64_t *)arg = row->column[0].integer;
	return OK;
}

/* A question of the writer's session that changes nothing and waits for no disk. */
static st ask_one(struct scope *s, struct db_connection *c, const struct db_statement *statement, const struct db_value *value,
		  size_t count, int64_t *out)
{
	TRY(pg_begin_with(s, c, &begin));
	TRY(pg_run(s, c, statement, value, count, read_integer, out, NULL));
	TRY(pg_queue(s, c, &commit, NULL, 0));
	TRY(pg_sync(s, c));
	TRY(pg_settle(s, c));
	c->open = false;
	return OK;
}

static const char unknown[] =
	"the database was lost in a commit: whether this is stored shows later; ask again with the same request";

st pg_process_outcome(struct scope *s, struct db_connection *c, int64_t mine)
{
	int64_t until = moment_monotonic() + DOUBT_US, number = 0;
	const struct db_value writer = db_integer(c->process->writer);
	for (;;) {
		AUTO_SCOPE own;
		scope_init(&own, NULL);
		if (ask_one(&own, c, &number_of, &writer, 1, &number).code == E_OK)
			break;
		pg_lost(c, own.message);
		c->again = false; /* it may be committed */
		if (moment_monotonic() > until)
			return fail(s, E_UNAVAILABLE, "%s", unknown);
		(void)usleep(PAUSE_US);
	}
	if (number != mine && number != mine - 1)
		return fail(s, E_UNAVAILABLE, "%s", unknown);
	log_put(LOG_LEVEL_WARNING, "database: the connection was lost in a commit, which %s",
		number == mine ? "was done" : "was not done and is repeated");
	if (number == mine)
		return OK;
	c->again = true;
	return fail(s, E_BUSY, "database: the connection was lost before the commit");
}

/* ---- among others ---- */

st pg_process_lead(struct scope *s, struct db_connection *c, bool *out_leads)
{
	int64_t got = 0;
	bool led;
	*out_leads = false;
	do {
		led = c->leads;
		st status = ask_one(s, c, led ? &lead_still : &lead, NULL, 0, &got);
		if (status.code != E_OK)
			pg_rollback(c);
		TRY(status);
	} while (led && !c->leads); /* it was another session that led */
	*out_leads = c->leads = got != 0;
	return OK;
}

st pg_process_alive(struct scope *s, struct db_connection *reader, int64_t process, bool *out_alive)
{
	int64_t count = 0;
	const struct db_value value = db_integer(process);
	TRY(pg_run(s, reader, &alive, &value, 1, read_integer, &count, NULL));
	*out_alive = count > 0;
	return OK;
}
