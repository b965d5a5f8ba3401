/* SQLite: write-ahead log, every commit synced. The only file that knows it. */
#include "store_driver.h"
#include "file.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define CACHE_SLOTS 256u /* a power of two, well over the statements of any service */
#define BUSY_MS     5000

struct cached {
	const struct db_statement *statement;
	sqlite3_stmt *prepared;
};
struct db_connection {
	sqlite3 *handle;
	struct cached cache[CACHE_SLOTS];
	uint64_t log_pages; /* in the write-ahead log after the last commit */
};

/* What a result code means to a caller; anything not listed is E_IO: the disk, the file, its format. */
static enum code code_of(int result)
{
	switch (result & 0xff) {
	case SQLITE_CONSTRAINT:
		return E_CONFLICT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return E_BUSY;
	case SQLITE_ERROR:
	case SQLITE_MISUSE:
	case SQLITE_RANGE:
	case SQLITE_MISMATCH:
		return E_BUG;
	default:
		return E_IO;
	}
}

static st failed(struct scope *s, const struct db_connection *c, int result, const char *doing)
{
	return fail(s, code_of(result), "database: %s: %s", doing,
		    c->handle != NULL ? sqlite3_errmsg(c->handle) : sqlite3_errstr(result));
}

static st plain(struct scope *s, struct db_connection *c, const char *sql)
{
	int result = sqlite3_exec(c->handle, sql, NULL, NULL, NULL);
	return result == SQLITE_OK ? OK : failed(s, c, result, sql);
}

/* ---- opening ---- */

static void sqlite_close(struct db_connection *c)
{
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		(void)sqlite3_finalize(c->cache[i].prepared);
	if (sqlite3_close(c->handle) != SQLITE_OK)
		log_put(LOG_LEVEL_WARNING, "database: a connection was closed while in use");
	free(c);
}

static int on_commit(void *state, sqlite3 *handle, const char *name, int pages)
{
	(void)handle;
	(void)name;
	((struct db_connection *)state)->log_pages = (uint64_t)pages;
	return SQLITE_OK;
}

static int first_text(void *state, int count, char **values, char **names)
{
	(void)names;
	if (count > 0 && values[0] != NULL)
		(void)sqlite3_snprintf(16, state, "%s", values[0]);
	return 0;
}

static st pragma_is(struct scope *s, struct db_connection *c, const char *sql, const char *wanted)
{
	char got[16] = "";
	int result = sqlite3_exec(c->handle, sql, first_text, got, NULL);
	if (result != SQLITE_OK)
		return failed(s, c, result, sql);
	if (strcmp(got, wanted) != 0)
		return fail(
			s, E_CONFIG,
			"database: '%s' gives '%s', not '%s': commits would not be durable; put the database on a local disk",
			sql, got, wanted);
	return OK;
}

static st configure(struct scope *s, struct db_connection *c, enum db_role role)
{
	(void)sqlite3_extended_result_codes(c->handle, 1);
	if (sqlite3_busy_timeout(c->handle, BUSY_MS) != SQLITE_OK)
		return fail(s, E_BUG, "database: no busy timeout");
	TRY(pragma_is(s, c, "PRAGMA journal_mode=WAL", "wal"));
	TRY(plain(s, c, "PRAGMA synchronous=FULL"));
	TRY(pragma_is(s, c, "PRAGMA synchronous", "2"));
	TRY(plain(s, c,
		  "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cache_size=-4000; PRAGMA temp_store=MEMORY;"
		  "PRAGMA wal_autocheckpoint=0"));
	if (role == DB_READER)
		return plain(s, c, "PRAGMA query_only=ON");
	if (role == DB_WRITER)
		(void)sqlite3_wal_hook(c->handle, on_commit, c);
	return OK;
}

static st sqlite_open(struct scope *s, const char *address, void *lock, enum db_role role, struct db_connection **out)
{
	(void)lock;
	struct db_connection *c = heap_alloc(sizeof *c);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (role == DB_WRITER ? SQLITE_OPEN_CREATE : 0);
	int result = sqlite3_open_v2(address, &c->handle, flags, NULL);
	st status = result == SQLITE_OK ? configure(s, c, role) : failed(s, c, result, address);
	if (status.code != E_OK) {
		sqlite_close(c);
		return status;
	}
	*out = c;
	return OK;
}

struct sqlite_lock {
	int fd;
};

static st sqlite_lock(struct scope *s, const char *address, bool shared, void **out)
{
	if (shared)
		return fail(s, E_CONFIG, "a file of SQLite is of one process: to share a database, use PostgreSQL");
	AUTO_FD fd = open(scope_printf(s, "%s.lock", address), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(s, E_IO, "database: %s.lock", address);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return fail(s, E_STATE, "database %s is in use by another process; stop that one first", address);
	struct sqlite_lock *lock = heap_alloc(sizeof *lock);
	lock->fd = take_fd(&fd);
	*out = lock;
	return OK;
}

static void sqlite_unlock(void *state)
{
	struct sqlite_lock *lock = state;
	if (lock == NULL)
		return;
	(void)close(lock->fd);
	free(lock);
}

/* ---- statements ---- */

static st prepare(struct scope *s, struct db_connection *c, const struct db_statement *statement, unsigned flags,
		  sqlite3_stmt **out)
{
	const char *sql = db_statement_sql(statement, DB_SQLITE);
	int result = sqlite3_prepare_v3(c->handle, sql, -1, flags, out, NULL);
	return result == SQLITE_OK && *out != NULL ? OK : failed(s, c, result, statement->name);
}

/* From the cache; a statement already running (a query inside its own rows) gets a second copy, *out_own tells. */
static st statement_get(struct scope *s, struct db_connection *c, const struct db_statement *statement, sqlite3_stmt **out,
			bool *out_own)
{
	*out_own = false;
	size_t at = (size_t)((uintptr_t)statement / sizeof *statement) % CACHE_SLOTS;
	for (size_t probes = 0; probes < CACHE_SLOTS; probes++, at = (at + 1) % CACHE_SLOTS) {
		struct cached *slot = &c->cache[at];
		if (slot->statement == NULL) {
			TRY(prepare(s, c, statement, SQLITE_PREPARE_PERSISTENT, &slot->prepared));
			slot->statement = statement;
		}
		if (slot->statement != statement)
			continue;
		*out_own = sqlite3_stmt_busy(slot->prepared) != 0;
		*out = slot->prepared;
		return *out_own ? prepare(s, c, statement, 0, out) : OK;
	}
	*out_own = true;
	return prepare(s, c, statement, 0, out);
}

static int bind_bytes(sqlite3_stmt *prepared, int at, const struct db_value *v)
{
	const char *data = v->bytes.len > 0 ? (const char *)v->bytes.data : "";
	if (v->type == DB_TEXT)
		return sqlite3_bind_text64(prepared, at, data, v->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
	return sqlite3_bind_blob64(prepared, at, data, v->bytes.len, SQLITE_STATIC);
}

static int bind(sqlite3_stmt *prepared, int at, const struct db_value *v)
{
	if (v->type == DB_NULL)
		return sqlite3_bind_null(prepared, at);
	if (v->type == DB_INTEGER)
		return sqlite3_bind_int64(prepared, at, v->integer);
	return bind_bytes(prepared, at, v);
}

/* Asked for once, not once for its type and once for its content: on a connection that is opened without a mutex any value may be
 * looked at (https://sqlite.org/c3ref/value.html). */
static void column_get(sqlite3_stmt *prepared, int at, struct db_value *out)
{
	sqlite3_value *value = sqlite3_column_value(prepared, at);
	int type = sqlite3_value_type(value);
	*out = db_null();
	if (type == SQLITE_INTEGER) {
		out->type = DB_INTEGER;
		out->integer = sqlite3_value_int64(value);
	} else if (type != SQLITE_NULL) {
		out->type = type == SQLITE_BLOB ? DB_BLOB : DB_TEXT;
		out->bytes.data = sqlite3_value_blob(value);
		out->bytes.len = (size_t)sqlite3_value_bytes(value);
	}
}

static st step_all(struct scope *s, struct db_connection *c, const struct db_statement *statement, sqlite3_stmt *prepared,
		   st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg)
{
	int columns = sqlite3_column_count(prepared);
	if (columns > DB_COLUMNS_MAX)
		return fail(s, E_BUG, "database: %s has more than %d columns", statement->name, DB_COLUMNS_MAX);
	struct db_row now = { .count = (size_t)columns };
	for (;;) {
		int result = sqlite3_step(prepared);
		if (result == SQLITE_DONE)
			return OK;
		if (result != SQLITE_ROW)
			return failed(s, c, result, statement->name);
		if (row == NULL)
			continue;
		for (int i = 0; i < columns; i++)
			column_get(prepared, i, &now.column[i]);
		TRY(row(s, &now, arg));
	}
}

static st sqlite_run(struct scope *s, struct db_connection *c, const struct db_statement *statement,
		     const struct db_value *values, size_t value_count,
		     st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg, int64_t *out_changed)
{
	sqlite3_stmt *prepared;
	bool own;
	TRY(statement_get(s, c, statement, &prepared, &own));
	int result = sqlite3_bind_parameter_count(prepared) == (int)value_count ? SQLITE_OK : SQLITE_RANGE;
	for (size_t i = 0; result == SQLITE_OK && i < value_count; i++)
		result = bind(prepared, (int)i + 1, &values[i]);
	st status = result == SQLITE_OK ? step_all(s, c, statement, prepared, row, arg) : failed(s, c, result, statement->name);
	if (out_changed != NULL && status.code == E_OK)
		*out_changed = sqlite3_changes64(c->handle);
	(void)sqlite3_reset(prepared); /* repeats the failure of the step */
	(void)sqlite3_clear_bindings(prepared);
	if (own)
		(void)sqlite3_finalize(prepared);
	return status;
}

static st sqlite_each(struct scope *s, struct db_connection *c, const struct db_statement *statement,
		      const struct db_value *values, size_t value_count,
		      st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg)
{
	return sqlite_run(s, c, statement, values, value_count, row, arg, NULL);
}

/* ---- transactions ---- */

static const struct db_statement begin_read = { "begin", { "BEGIN" } };
static const struct db_statement begin_write = { "begin immediate", { "BEGIN IMMEDIATE" } };
static const struct db_statement commit = { "commit", { "COMMIT" } };
static const struct db_statement mark = { "savepoint", { "SAVEPOINT one" } };
static const struct db_statement keep = { "release", { "RELEASE one" } };
static const struct db_statement undo = { "rollback to", { "ROLLBACK TO one" } };

static st sqlite_begin(struct scope *s, struct db_connection *c, enum db_role role)
{
	return sqlite_run(s, c, role == DB_WRITER ? &begin_write : &begin_read, NULL, 0, NULL, NULL, NULL);
}

static st sqlite_commit(struct scope *s, struct db_connection *c)
{
	return sqlite_run(s, c, &commit, NULL, 0, NULL, NULL, NULL);
}

static bool sqlite_in_transaction(const struct db_connection *c)
{
	return sqlite3_get_autocommit(c->handle) == 0;
}

/* One process, one writer, one file: there is no fault of others. */
static bool sqlite_again(const struct db_connection *c)
{
	(void)c;
	return false;
}

static void sqlite_rollback(struct db_connection *c)
{
	if (sqlite_in_transaction(c) && sqlite3_exec(c->handle, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
		log_die("database: a transaction cannot be rolled back: %s", sqlite3_errmsg(c->handle));
}

static st sqlite_mark(struct scope *s, struct db_connection *c)
{
	return sqlite_run(s, c, &mark, NULL, 0, NULL, NULL, NULL);
}

static st sqlite_keep(struct scope *s, struct db_connection *c)
{
	return sqlite_run(s, c, &keep, NULL, 0, NULL, NULL, NULL);
}

static st sqlite_undo(struct scope *s, struct db_connection *c)
{
	TRY(sqlite_run(s, c, &undo, NULL, 0, NULL, NULL, NULL));
	return sqlite_keep(s, c);
}

/* ---- maintenance ---- */

static uint64_t sqlite_pending(const struct db_connection *c)
{
	return c->log_pages;
}

static bool sqlite_maintain(struct db_connection *keeper, bool exclusive)
{
	int in_log = 0, copied = 0;
	int mode = exclusive ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE;
	/* A long reader must not hold off writers for long: give up soon, the next commit asks again. */
	(void)sqlite3_busy_timeout(keeper->handle, exclusive ? 50 : BUSY_MS);
	int result = sqlite3_wal_checkpoint_v2(keeper->handle, NULL, mode, &in_log, &copied);
	if (result != SQLITE_OK && (result & 0xff) != SQLITE_BUSY)
		log_put(LOG_LEVEL_ERROR, "database: checkpoint: %s", sqlite3_errmsg(keeper->handle));
	return result == SQLITE_OK && in_log == copied;
}

/* The copy is taken in one read transaction, so it neither sees nor hinders writers. */
static int copy_all(sqlite3 *to, sqlite3 *from)
{
	sqlite3_backup *copy = sqlite3_backup_init(to, "main", from, "main");
	if (copy == NULL)
		return sqlite3_errcode(to);
	int result = sqlite3_backup_step(copy, -1);
	int finished = sqlite3_backup_finish(copy);
	return result == SQLITE_DONE ? finished : result;
}

static st sync_file(struct scope *s, const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		return fail_errno(s, E_IO, "%s", path);
	return file_sync_directory_of(s, path);
}

static st sqlite_backup(struct scope *s, struct db_connection *reader, const char *path)
{
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(s, errno == EEXIST ? E_CONFLICT : E_IO, "%s", path);
	sqlite3 *to = NULL;
	int result = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE, NULL);
	if (result == SQLITE_OK)
		result = copy_all(to, reader->handle);
	if (sqlite3_close(to) != SQLITE_OK && result == SQLITE_OK)
		result = SQLITE_IOERR;
	st status = result == SQLITE_OK ? sync_file(s, path)
					: fail(s, E_IO, "database: copying to %s: %s", path, sqlite3_errstr(result));
	if (status.code != E_OK)
		(void)unlink(path);
	return status;
}

const struct db_driver_ops db_driver_sqlite = {
	.scheme = "sqlite",
	.dialect = DB_SQLITE,
	.lock = sqlite_lock,
	.unlock = sqlite_unlock,
	.open = sqlite_open,
	.close = sqlite_close,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.mark = sqlite_mark,
	.keep = sqlite_keep,
	.undo = sqlite_undo,
	.in_transaction = sqlite_in_transaction,
	.again = sqlite_again,
	.script = plain,
	.run = sqlite_run,
	.each = sqlite_each,
	.pending = sqlite_pending,
	.maintain = sqlite_maintain,
	.maintain_from = 4000, /* pages written over and over go into the file once */
	.maintain_hard = 16000,
	.backup = sqlite_backup,
};
