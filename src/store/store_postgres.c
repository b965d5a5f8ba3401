/*
 * PostgreSQL: connections and transactions; the only files that know it are this one, store_postgres_run.c (statements) and
 * store_postgres_process.c (who works on a database, and what became of a commit).
 */
#include "store_postgres.h"
#include "log.h"
#include "moment.h"
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define LOCK_WAIT "3s" /* a former holder's session ends when its server notices */

static const struct db_statement begin_read = { "begin", { NULL, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" } };
static const struct db_statement begin_write = { "begin", { NULL, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE" } };
static const struct db_statement commit = { "commit", { NULL, "COMMIT" } };
static const struct db_statement rollback = { "rollback", { NULL, "ROLLBACK" } };
static const struct db_statement mark = { "savepoint", { NULL, "SAVEPOINT one" } };
static const struct db_statement keep = { "release", { NULL, "RELEASE one" } };
static const struct db_statement undo = { "rollback to", { NULL, "ROLLBACK TO one" } };

/* ---- the address ---- */

/* What libpq takes: a URI again, or keywords. */
static char *connection_text(struct scope *s, const char *address)
{
	return strncmp(address, "//", 2) == 0 ? scope_printf(s, "postgresql:%s", address) : scope_printf(s, "%s", address);
}

static bool has_password(const PQconninfoOption *option)
{
	for (; option->keyword != NULL; option++) {
		bool secret = strcmp(option->keyword, "password") == 0 || strcmp(option->keyword, "sslpassword") == 0;
		if (secret && option->val != NULL && option->val[0] != 0)
			return true;
	}
	return false;
}

static st check_address(struct scope *s, const char *address)
{
	char *wrong = NULL;
	PQconninfoOption *option = PQconninfoParse(connection_text(s, address), &wrong);
	st status = option == NULL ? fail(s, E_CONFIG, "the address of the PostgreSQL database is not one: %.*s",
					  (int)strcspn(wrong != NULL ? wrong : "", "\n"), wrong != NULL ? wrong : "")
				   : OK;
	PQfreemem(wrong);
	if (option != NULL && (has_password(option) || getenv("PGPASSWORD") != NULL))
		status = fail(
			s, E_CONFIG,
			"no password of a database belongs into a configuration or an environment: use peer authentication "
			"over a Unix socket, a certificate, or name a passfile");
	PQconninfoFree(option);
	return status;
}

/* Who we are; the locks are those of the writer's connection. */
static st postgres_lock(struct scope *s, const char *address, bool shared, void **out_lock)
{
	TRY(check_address(s, address));
	*out_lock = pg_process_new(s, shared);
	return OK;
}

static void postgres_unlock(void *lock)
{
	free(lock);
}

static int64_t postgres_number(const void *lock)
{
	return ((const struct pg_process *)lock)->id;
}

/* ---- opening ---- */

/* One query outside of the pipeline; the failure is that of the connection. */
st pg_query(struct scope *s, struct db_connection *c, const char *sql, PGresult **out)
{
	PGresult *r = PQexec(c->handle, sql);
	ExecStatusType status = PQresultStatus(r);
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
		*out = r;
		return OK;
	}
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	bool waited = state != NULL && strcmp(state, "55P03") == 0;
	PQclear(r);
	if (waited && c->process->entered)
		return fail(s, E_UNAVAILABLE, "the PostgreSQL database is still held by the session that was lost; try again");
	if (waited)
		return fail(
			s, E_STATE,
			"the PostgreSQL database is in use by another process, which does not share it: stop that one first, or "
			"have both share it");
	const char *text = PQerrorMessage(c->handle);
	return fail(s, E_UNAVAILABLE, "database: %.*s", (int)strcspn(text, "\n"), text);
}

st pg_command(struct scope *s, struct db_connection *c, const char *sql)
{
	PGresult *r;
	TRY(pg_query(s, c, sql, &r));
	PQclear(r);
	return OK;
}

/* A warning at a commit says that it is not where it should be: the wait for a standby was broken off. */
static void take_notice(void *state, const PGresult *notice)
{
	struct db_connection *c = state;
	const char *level = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
	if (level != NULL && strcmp(level, "WARNING") == 0)
		c->warned = true;
}

static st dial(struct scope *s, struct db_connection *c)
{
	const char *address = connection_text(s, c->address);
	/* What the address says comes after, and holds, but for the encoding. */
	const char *const keyword[] = { "connect_timeout",
					"keepalives_idle",
					"keepalives_interval",
					"keepalives_count",
					"tcp_user_timeout",
					"application_name",
					"target_session_attrs",
					"gssencmode",
					"dbname",
					"client_encoding",
					NULL };
	const char *const value[] = {
		"5", "10", "3", "3", "15000", "chancery", "read-write", "disable", address, "UTF8", NULL
	};
	c->handle = PQconnectdbParams(keyword, value, 1);
	if (PQstatus(c->handle) == CONNECTION_OK)
		return OK;
	const char *text = PQerrorMessage(c->handle);
	return fail(s, E_UNAVAILABLE, "the PostgreSQL database does not answer: %.*s", (int)strcspn(text, "\n"), text);
}

/*
 * No statement_timeout for the writer: it would break off a commit's wait for its standby, and PostgreSQL calls that a success. A
 * writer that hears nothing for a minute gives the connection up instead.
 */
static st take_role(struct scope *s, struct db_connection *c)
{
	if (c->role != DB_WRITER)
		return pg_command(
			s, c,
			"SET statement_timeout = '60s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '1h'");
	TRY(pg_command(s, c,
		       "SET statement_timeout = 0; SET lock_timeout = '" LOCK_WAIT "';"
		       " SET idle_in_transaction_session_timeout = '60s'"));
	return pg_durable_at_opening(s, c);
}

static st connect_all(struct scope *s, struct db_connection *c)
{
	TRY(dial(s, c));
	(void)PQsetNoticeReceiver(c->handle, take_notice, c);
	TRY(take_role(s, c));
	TRY(pg_process_join(s, c));
	if (PQsetnonblocking(c->handle, 1) != 0 || PQenterPipelineMode(c->handle) != 1)
		return fail(s, E_UNAVAILABLE, "database: no pipeline: %s", PQerrorMessage(c->handle));
	return OK;
}

st pg_connect(struct scope *s, struct db_connection *c)
{
	PQfinish(c->handle);
	c->handle = NULL;
	c->queued = 0;
	c->cursors = 0;
	memset(c->slot, 0, sizeof c->slot);
	st status = connect_all(s, c);
	if (status.code != E_OK) {
		PQfinish(c->handle);
		c->handle = NULL;
	}
	return status;
}

/* ---- transactions ---- */

/* What lay idle may have ended meanwhile: seen now, it is not in doubt what became of the transaction to come. */
static void look_whether_lost(struct db_connection *c)
{
	struct pollfd p = { .fd = PQsocket(c->handle), .events = POLLIN };
	if (poll(&p, 1, 0) <= 0)
		return;
	/* The server's last words first, then the end. */
	if (PQconsumeInput(c->handle) == 0 || PQconsumeInput(c->handle) == 0)
		pg_lost(c, "it ended while it lay idle");
}

st pg_begin_with(struct scope *s, struct db_connection *c, const struct db_statement *how)
{
	if (c->handle != NULL)
		look_whether_lost(c);
	c->failed = E_OK;
	c->again = false;
	c->open = false;
	if (c->handle == NULL)
		TRY(pg_connect(s, c));
	c->open = c->fresh = true;
	return pg_queue(s, c, how, NULL, 0);
}

st pg_begin(struct scope *s, struct db_connection *c, enum db_role role)
{
	if (role != DB_WRITER)
		return pg_begin_with(s, c, &begin_read);
	TRY(pg_begin_with(s, c, &begin_write));
	return pg_process_turn(s, c);
}

static st commit_writer(struct scope *s, struct db_connection *c)
{
	int64_t number;
	TRY(pg_process_count(s, c, &number));
	c->warned = false;
	st status = pg_queue(s, c, &commit, NULL, 0);
	if (status.code == E_OK)
		status = pg_sync(s, c);
	if (status.code == E_OK)
		status = pg_settle(s, c);
	if (status.code != E_OK && c->handle != NULL)
		return status;
	if (status.code != E_OK) {
		scope_clear_error(s);
		status = pg_process_outcome(s, c, number);
		if (status.code == E_OK)
			pg_process_committed(c, number);
		return status;
	}
	pg_process_committed(c, number);
	c->open = false;
	return c->warned ? fail(s, E_UNAVAILABLE,
				"the database has this commit and its synchronous standby perhaps not: ask again with the same "
				"request")
			 : OK;
}

static st postgres_commit(struct scope *s, struct db_connection *c)
{
	if (c->role == DB_WRITER)
		return commit_writer(s, c);
	TRY(pg_queue(s, c, &commit, NULL, 0));
	TRY(pg_sync(s, c)); /* the answer is read with that of the next transaction */
	c->open = false;
	return OK;
}

void pg_rollback(struct db_connection *c)
{
	if (!c->open || c->handle == NULL) {
		c->open = false;
		return;
	}
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	bool again = c->again;
	st status = pg_sync(&own, c);
	if (status.code == E_OK)
		(void)pg_settle(&own, c).code;
	c->failed = E_OK;
	status = pg_queue(&own, c, &rollback, NULL, 0);
	if (status.code == E_OK)
		status = pg_sync(&own, c);
	if (status.code == E_OK)
		status = pg_settle(&own, c);
	if (status.code != E_OK)
		pg_lost(c, "it cannot be rolled back");
	c->again = again;
	c->open = false;
	c->cursors = 0;
}

static st postgres_mark(struct scope *s, struct db_connection *c)
{
	return pg_queue(s, c, &mark, NULL, 0);
}

static st postgres_keep(struct scope *s, struct db_connection *c)
{
	TRY(pg_queue(s, c, &keep, NULL, 0));
	return pg_settle(s, c);
}

static st postgres_undo(struct scope *s, struct db_connection *c)
{
	TRY(pg_sync(s, c));
	(void)pg_settle(s, c).code;
	if (c->handle == NULL)
		return pg_failure(s, c);
	c->failed = E_OK;
	TRY(pg_queue(s, c, &undo, NULL, 0));
	return postgres_keep(s, c);
}

static bool postgres_in_transaction(const struct db_connection *c)
{
	return c->open && c->handle != NULL;
}

static bool postgres_again(const struct db_connection *c)
{
	return c->again;
}

static uint64_t postgres_pending(const struct db_connection *c)
{
	(void)c;
	return 0; /* the server vacuums by itself */
}

static st postgres_backup(struct scope *s, struct db_connection *reader, const char *path)
{
	(void)reader;
	return fail(s, E_STATE,
		    "%s: a PostgreSQL database is backed up with its own tools, pg_basebackup or pg_dump; "
		    "the log by `chancery backup --log-only`",
		    path);
}

/* ---- open and close ---- */

static void postgres_close(struct db_connection *c)
{
	PQfinish(c->handle);
	free(c->address);
	free(c);
}

static st postgres_open(struct scope *s, const char *address, void *lock, enum db_role role, struct db_connection **out)
{
	struct db_connection *c = heap_alloc(sizeof *c);
	c->address = heap_copy_str(address);
	c->role = role;
	c->process = lock;
	st status = pg_connect(s, c);
	if (status.code != E_OK) {
		postgres_close(c);
		return status;
	}
	*out = c;
	return OK;
}

const struct db_driver_ops db_driver_postgres = {
	.scheme = "postgresql",
	.dialect = DB_POSTGRES,
	.lock = postgres_lock,
	.unlock = postgres_unlock,
	.number = postgres_number,
	.lead = pg_process_lead,
	.alive = pg_process_alive,
	.open = postgres_open,
	.close = postgres_close,
	.begin = pg_begin,
	.commit = postgres_commit,
	.rollback = pg_rollback,
	.mark = postgres_mark,
	.keep = postgres_keep,
	.undo = postgres_undo,
	.in_transaction = postgres_in_transaction,
	.again = postgres_again,
	.script = pg_script,
	.prove = pg_durable_still,
	.run = pg_run,
	.each = pg_each,
	.pending = postgres_pending,
	.maintain_from = UINT64_MAX,
	.maintain_hard = UINT64_MAX,
	.backup = postgres_backup,
};
