/* PostgreSQL: statements. Parameters and results are binary; a statement is prepared once a connection, on its way. */
#include "moment.h"
#include "store_postgres.h"
#include "text.h"
#include <endian.h>
#include <errno.h>
#include <poll.h>

#define PATIENCE_US (60 * MOMENT_SECOND) /* a server that says nothing for so long is taken for lost */

enum { BOOL = 16, BYTEA = 17, INT8 = 20, INT2 = 21, INT4 = 23, TEXT = 25, UNKNOWN = 705, VARCHAR = 1043 };

/* ---- failures ---- */

/* SQLSTATE by its beginning; the first row that fits. What is not listed is a fault of a statement. */
static const struct state {
	const char *begins;
	enum code code;
	bool again, lost;
} states[] = {
	{ "23", E_CONFLICT, false, false },
	{ "40001", E_BUSY, true, false },
	{ "40P01", E_BUSY, true, false },
	{ "55P03", E_BUSY, false, false },
	{ "53300", E_BUSY, false, false },
	{ "53", E_IO, false, false },
	{ "58", E_IO, false, false },
	{ "XX", E_IO, false, false },
	{ "57P01", E_UNAVAILABLE, true, true },
	{ "57P02", E_UNAVAILABLE, true, true },
	{ "57P03", E_UNAVAILABLE, true, true },
	{ "57014", E_UNAVAILABLE, false, false },
	{ "25P03", E_UNAVAILABLE, false, true },
	{ "08", E_UNAVAILABLE, true, true },
	{ "", E_BUG, false, false },
};

static const struct state *state_of(const char *sqlstate)
{
	const struct state *at = states;
	while (strncmp(sqlstate, at->begins, strlen(at->begins)) != 0)
		at++;
	return at;
}

/* One line of it: PostgreSQL puts a newline behind, and sometimes hints. */
static void note(struct db_connection *c, enum code code, const char *name, const char *text)
{
	if (c->failed != E_OK)
		return;
	c->failed = code;
	(void)snprintf(c->message, sizeof c->message, "database: %s: %.*s", name, (int)strcspn(text, "\n"), text);
}

void pg_lost(struct db_connection *c, const char *why)
{
	note(c, E_UNAVAILABLE, "the connection was lost", why);
	PQfinish(c->handle);
	c->handle = NULL;
	c->queued = 0;
	c->cursors = 0;
	c->again = true;
	memset(c->slot, 0, sizeof c->slot);
}

st pg_failure(struct scope *s, const struct db_connection *c)
{
	return fail(s, c->failed, "%s", c->message);
}

static void take_failure(struct db_connection *c, const char *name, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const struct state *state = state_of(sqlstate != NULL ? sqlstate : "08");
	if (c->failed == E_OK)
		c->again = state->again;
	note(c, state->code, name, text != NULL ? text : PQerrorMessage(c->handle));
	if (state->lost || PQstatus(c->handle) == CONNECTION_BAD)
		pg_lost(c, "the server ended it");
}

/* ---- receiving ---- */

/* Sends what is left to be sent, and waits until the next result is there whole. False: the connection is lost. */
static bool await(struct db_connection *c)
{
	int64_t until = moment_monotonic() + PATIENCE_US;
	for (;;) {
		int left = PQflush(c->handle);
		if (left >= 0 && PQisBusy(c->handle) == 0)
			return true;
		int64_t wait = until - moment_monotonic();
		struct pollfd p = { .fd = PQsocket(c->handle), .events = (short)(POLLIN | (left > 0 ? POLLOUT : 0)) };
		int ready = left < 0 || wait <= 0 ? -1 : poll(&p, 1, (int)(wait / 1000) + 1);
		if (ready < 0 && left >= 0 && wait > 0 && errno == EINTR)
			continue;
		if (ready < 0 || PQconsumeInput(c->handle) == 0) {
			pg_lost(c, wait <= 0 ? "the server does not answer" : PQerrorMessage(c->handle));
			return false;
		}
	}
}

static PGresult *next_result(struct db_connection *c)
{
	return c->handle != NULL && await(c) ? PQgetResult(c->handle) : NULL;
}

/* The answer to one item of the queue: NULL when it failed, was skipped behind another's failure, or is not a statement. */
static PGresult *receive(struct db_connection *c, const struct pg_item *item)
{
	PGresult *result = next_result(c);
	if (c->handle == NULL)
		return NULL;
	ExecStatusType status = PQresultStatus(result);
	if (status == PGRES_FATAL_ERROR)
		take_failure(c, item->name, result);
	bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
	if (c->handle != NULL && item->kind == PG_PREPARE)
		item->slot->prepared = good;
	if (c->handle != NULL && item->kind != PG_SYNC)
		PQclear(next_result(c)); /* the NULL behind a statement's results */
	if (good && c->handle != NULL)
		return result;
	PQclear(result);
	return NULL;
}

/* All that is queued; the last answer is handed out when it is wanted. */
static st receive_all(struct scope *s, struct db_connection *c, PGresult **out_last)
{
	PGresult *last = NULL;
	for (size_t i = 0; i < c->queued; i++) {
		PQclear(last);
		last = receive(c, &c->queue[i]);
	}
	c->queued = 0;
	if (c->failed != E_OK || out_last == NULL) {
		PQclear(last);
		return c->failed != E_OK ? pg_failure(s, c) : OK;
	}
	*out_last = last;
	return OK;
}

/* ---- sending ---- */

/* What one call hands to libpq. */
struct parameters {
	int count;
	Oid type[DB_COLUMNS_MAX];
	const char *value[DB_COLUMNS_MAX];
	int length[DB_COLUMNS_MAX];
	int format[DB_COLUMNS_MAX];
	uint64_t number[DB_COLUMNS_MAX];
};

static const Oid types[] = { [DB_NULL] = 0, [DB_INTEGER] = INT8, [DB_TEXT] = TEXT, [DB_BLOB] = BYTEA };

static st fill(struct scope *s, const char *name, const struct db_value *values, size_t count, struct parameters *out)
{
	if (count > DB_COLUMNS_MAX)
		return fail(s, E_BUG, "database: %s has more than %d parameters", name, DB_COLUMNS_MAX);
	out->count = (int)count;
	for (size_t i = 0; i < count; i++) {
		const struct db_value *v = &values[i];
		bool integer = v->type == DB_INTEGER;
		if (v->bytes.len > INT32_MAX / 2)
			return fail(s, E_LIMIT, "database: a value of %s is over 1 GB", name);
		out->number[i] = htobe64((uint64_t)v->integer);
		out->type[i] = types[v->type];
		out->format[i] = 1;
		out->length[i] = integer ? 8 : (int)v->bytes.len;
		out->value[i] = integer ? (const char *)&out->number[i] : v->bytes.len > 0 ? (const char *)v->bytes.data : "";
		if (v->type == DB_NULL)
			out->value[i] = NULL;
	}
	return OK;
}

/* `?1` is `$1` here; inside quotes it is a text. */
static char *own_text(struct scope *s, const char *before, const char *sql)
{
	size_t len = strlen(before);
	char *out = scope_alloc(s, len + strlen(sql) + 1);
	memcpy(out, before, len);
	bool quoted = false;
	for (char *to = out + len; *sql != 0; sql++) {
		quoted = quoted != (*sql == '\'');
		*to++ = *sql == '?' && !quoted ? '$' : *sql;
	}
	return out;
}

static void enqueue(struct db_connection *c, enum pg_kind kind, const char *name, struct pg_slot *slot)
{
	c->queue[c->queued++] = (struct pg_item){ .kind = kind, .name = name, .slot = slot };
}

static st sent(struct scope *s, struct db_connection *c, int result, enum pg_kind kind, const char *name, struct pg_slot *slot)
{
	if (result != 1) {
		pg_lost(c, PQerrorMessage(c->handle));
		return pg_failure(s, c);
	}
	enqueue(c, kind, name, slot);
	return OK;
}

/* A place for more answers, and no failure before. */
static st ready(struct scope *s, struct db_connection *c)
{
	if (c->handle == NULL)
		pg_lost(c, "it is to be opened anew");
	if (c->failed != E_OK)
		return pg_failure(s, c);
	if (c->queued < PG_QUEUE)
		return OK;
	if (PQsendFlushRequest(c->handle) != 1)
		pg_lost(c, PQerrorMessage(c->handle));
	return receive_all(s, c, NULL);
}

static struct pg_slot *slot_of(struct db_connection *c, const struct db_statement *statement)
{
	size_t at = (size_t)((uintptr_t)statement / sizeof *statement) % PG_SLOTS;
	for (size_t probes = 0; probes < PG_SLOTS; probes++, at = (at + 1) % PG_SLOTS) {
		if (c->slot[at].statement == NULL)
			c->slot[at].statement = statement;
		if (c->slot[at].statement == statement)
			return &c->slot[at];
	}
	return NULL;
}

static st send_one(struct scope *s, struct db_connection *c, const struct db_statement *statement,
		   const struct db_value *values, size_t value_count)
{
	struct parameters p;
	TRY(ready(s, c));
	TRY(fill(s, statement->name, values, value_count, &p));
	struct pg_slot *slot = slot_of(c, statement);
	if (slot == NULL)
		return fail(s, E_BUG, "database: more than %u statements", PG_SLOTS);
	char name[16];
	(void)snprintf(name, sizeof name, "s%zu", (size_t)(slot - c->slot));
	if (!slot->prepared) {
		char *sql = own_text(s, "", db_statement_sql(statement, DB_POSTGRES));
		int result = PQsendPrepare(c->handle, name, sql, p.count, p.type);
		TRY(sent(s, c, result, PG_PREPARE, statement->name, slot));
		slot->prepared = true; /* or else the answer says so */
	}
	int result = PQsendQueryPrepared(c->handle, name, p.count, p.value, p.length, p.format, 1);
	return sent(s, c, result, PG_RUN, statement->name, NULL);
}

st pg_queue(struct scope *s, struct db_connection *c, const struct db_statement *statement, const struct db_value *values,
	    size_t value_count)
{
	return send_one(s, c, statement, values, value_count);
}

st pg_sync(struct scope *s, struct db_connection *c)
{
	if (c->handle == NULL)
		return pg_failure(s, c);
	TRY(sent(s, c, PQpipelineSync(c->handle), PG_SYNC, "the end of a pipeline", NULL));
	if (PQflush(c->handle) < 0) {
		pg_lost(c, PQerrorMessage(c->handle));
		return pg_failure(s, c);
	}
	return OK;
}

static st collect(struct scope *s, struct db_connection *c, PGresult **out_last)
{
	if (c->queued > 0 && PQsendFlushRequest(c->handle) != 1)
		pg_lost(c, PQerrorMessage(c->handle));
	TRY(receive_all(s, c, out_last));
	c->fresh = false;
	return OK;
}

st pg_settle(struct scope *s, struct db_connection *c)
{
	return collect(s, c, NULL);
}

/* ---- rows ---- */

static bool take_integer(Oid type, const char *data, struct db_value *out)
{
	uint64_t eight;
	uint32_t four;
	if (type == INT8) {
		memcpy(&eight, data, sizeof eight);
		*out = db_integer((int64_t)be64toh(eight));
	} else if (type == INT4) {
		memcpy(&four, data, sizeof four);
		*out = db_integer((int32_t)be32toh(four));
	} else if (type == BOOL) {
		*out = db_integer(data[0]);
	} else {
		return false;
	}
	return true;
}

static st column_get(struct scope *s, const PGresult *result, int row, int column, struct db_value *out)
{
	Oid type = PQftype(result, column);
	const char *data = PQgetvalue(result, row, column);
	if (PQgetisnull(result, row, column) != 0) {
		*out = db_null();
		return OK;
	}
	if (take_integer(type, data, out))
		return OK;
	if (type != BYTEA && type != TEXT && type != VARCHAR && type != UNKNOWN)
		return fail(s, E_BUG, "database: column %s has type %u", PQfname(result, column), type);
	*out = (struct db_value){ .type = type == BYTEA ? DB_BLOB : DB_TEXT,
				  .bytes = span_of(data, (size_t)PQgetlength(result, row, column)) };
	return OK;
}

static st rows_of(struct scope *s, const char *name, const PGresult *result,
		  st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg)
{
	struct db_row now = { .count = (size_t)PQnfields(result) };
	if (now.count > DB_COLUMNS_MAX)
		return fail(s, E_BUG, "database: %s has more than %d columns", name, DB_COLUMNS_MAX);
	for (int i = 0; i < PQntuples(result); i++) {
		for (int k = 0; k < (int)now.count; k++)
			TRY(column_get(s, result, i, k, &now.column[k]));
		TRY(row(s, &now, arg));
	}
	return OK;
}

/* ---- running ---- */

/* A reader whose connection went away while it lay idle has lost nothing: it begins anew. */
static bool may_begin_anew(const struct db_connection *c, bool fresh)
{
	return c->handle == NULL && fresh && c->role == DB_READER && c->open;
}

static st ask(struct scope *s, struct db_connection *c, const struct db_statement *statement, const struct db_value *values,
	      size_t value_count, PGresult **out)
{
	TRY(send_one(s, c, statement, values, value_count));
	return collect(s, c, out);
}

st pg_run(struct scope *s, struct db_connection *c, const struct db_statement *statement, const struct db_value *values,
	  size_t value_count, st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg, int64_t *out_changed)
{
	if (c->role == DB_WRITER && row == NULL && out_changed == NULL)
		return send_one(s, c, statement, values, value_count);
	PGresult *result = NULL;
	bool fresh = c->fresh;
	st status = ask(s, c, statement, values, value_count, &result);
	if (status.code != E_OK && may_begin_anew(c, fresh)) {
		scope_clear_error(s);
		TRY(pg_begin(s, c, DB_READER));
		status = ask(s, c, statement, values, value_count, &result);
	}
	TRY(status);
	if (row != NULL)
		status = rows_of(s, statement->name, result, row, arg);
	uint64_t changed = 0;
	if (out_changed != NULL)
		status = decimal_parse(s, span_str(PQcmdTuples(result)), INT64_MAX, &changed);
	if (out_changed != NULL && status.code == E_OK)
		*out_changed = (int64_t)changed;
	PQclear(result);
	return status;
}

static st declare(struct scope *s, struct db_connection *c, const struct db_statement *statement, const char *cursor,
		  const struct parameters *p)
{
	TRY(ready(s, c));
	char *sql = own_text(s, scope_printf(s, "DECLARE %s NO SCROLL CURSOR FOR ", cursor),
			     db_statement_sql(statement, DB_POSTGRES));
	int result = PQsendQueryParams(c->handle, sql, p->count, p->type, p->value, p->length, p->format, 1);
	return sent(s, c, result, PG_RUN, statement->name, NULL);
}

static st command(struct scope *s, struct db_connection *c, const char *name, const char *sql)
{
	TRY(ready(s, c));
	return sent(s, c, PQsendQueryParams(c->handle, sql, 0, NULL, NULL, NULL, NULL, 1), PG_RUN, name, NULL);
}

static st fetch(struct scope *s, struct db_connection *c, const char *name, const char *cursor, PGresult **out)
{
	char sql[48];
	(void)snprintf(sql, sizeof sql, "FETCH %d FROM %s", PG_CURSOR, cursor);
	TRY(command(s, c, name, sql));
	return collect(s, c, out);
}

static st open_cursor(struct scope *s, struct db_connection *c, const struct db_statement *statement, const char *cursor,
		      const struct parameters *p, PGresult **out)
{
	TRY(declare(s, c, statement, cursor, p));
	return fetch(s, c, statement->name, cursor, out);
}

st pg_each(struct scope *s, struct db_connection *c, const struct db_statement *statement, const struct db_value *values,
	   size_t value_count, st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg)
{
	struct parameters p;
	PGresult *result = NULL;
	bool fresh = c->fresh;
	char cursor[16];
	(void)snprintf(cursor, sizeof cursor, "c%u", ++c->cursors);
	TRY(fill(s, statement->name, values, value_count, &p));
	st status = open_cursor(s, c, statement, cursor, &p, &result);
	if (status.code != E_OK && may_begin_anew(c, fresh)) {
		scope_clear_error(s);
		TRY(pg_begin(s, c, DB_READER));
		status = open_cursor(s, c, statement, cursor, &p, &result);
	}
	while (status.code == E_OK) {
		int count = PQntuples(result);
		status = rows_of(s, statement->name, result, row, arg);
		PQclear(result);
		result = NULL;
		if (status.code != E_OK || count < PG_CURSOR)
			break;
		status = fetch(s, c, statement->name, cursor, &result);
	}
	c->cursors -= c->cursors > 0;
	TRY(status);
	return command(s, c, "close", scope_printf(s, "CLOSE %s", cursor));
}

st pg_script(struct scope *s, struct db_connection *c, const char *sql)
{
	TRY(pg_sync(s, c));
	TRY(receive_all(s, c, NULL));
	if (PQexitPipelineMode(c->handle) != 1)
		return fail(s, E_BUG, "database: answers are left: %s", PQerrorMessage(c->handle));
	PGresult *result = PQexec(c->handle, sql);
	ExecStatusType status = PQresultStatus(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		take_failure(c, "script", result);
	PQclear(result);
	if (c->handle != NULL && PQenterPipelineMode(c->handle) != 1)
		pg_lost(c, PQerrorMessage(c->handle));
	return c->failed != E_OK ? pg_failure(s, c) : OK;
}
