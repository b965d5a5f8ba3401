#include "store_internal.h"
#include "log.h"
#include <stdlib.h>

static const struct db_driver_ops *const db_drivers[] = { &db_driver_sqlite, &db_driver_postgres };

static st find_driver(struct scope *s, const char *url, const struct db_driver_ops **out, const char **out_address)
{
	for (size_t i = 0; i < sizeof db_drivers / sizeof db_drivers[0]; i++) {
		size_t len = strlen(db_drivers[i]->scheme);
		if (strncmp(url, db_drivers[i]->scheme, len) != 0 || url[len] != ':' || url[len + 1] == 0)
			continue;
		*out = db_drivers[i];
		*out_address = url + len + 1;
		return OK;
	}
	return fail(s, E_CONFIG, "database '%s' is none this program has a driver for; write sqlite:PATH or postgresql:...",
		    url);
}

/* ---- the side thread: takes maintenance away from commits ---- */

static void keep_once(struct db *db, struct db_connection *keeper)
{
	if (db->ops->maintain(keeper, false) && atomic_load(&db->pending) < db->ops->maintain_hard)
		return;
	if (atomic_load(&db->pending) < db->ops->maintain_hard)
		return;
	db_group_hold(db);
	(void)db->ops->maintain(keeper, true);
	db_group_release(db);
}

static void *keeper_main(void *arg)
{
	struct db *db = arg;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct db_connection *keeper = NULL;
	if (db->ops->open(&s, db->address, db->lock, DB_KEEPER, &keeper).code != E_OK)
		log_die("%s", s.message);
	(void)pthread_mutex_lock(&db->mutex);
	while (!db->stopping) {
		(void)pthread_cond_wait(&db->wanted, &db->mutex);
		if (db->stopping)
			break;
		(void)pthread_mutex_unlock(&db->mutex);
		keep_once(db, keeper);
		(void)pthread_mutex_lock(&db->mutex);
	}
	(void)pthread_mutex_unlock(&db->mutex);
	db->ops->close(keeper);
	return NULL;
}

/* ---- open and close ---- */

static void free_all(struct db *db)
{
	db_watch_stop(db);
	for (size_t i = 0; i < db->idle_count; i++)
		db->ops->close(db->idle[i]);
	if (db->writer != NULL)
		db->ops->close(db->writer);
	db->ops->unlock(db->lock);
	(void)pthread_cond_destroy(&db->led);
	(void)pthread_cond_destroy(&db->wanted);
	(void)pthread_mutex_destroy(&db->mutex);
	free(db->address);
	free(db);
}

static st open_all(struct scope *s, struct db *db, const struct db_schema *schema)
{
	TRY(db->ops->lock(s, db->address, db->shared, &db->lock));
	TRY(db->ops->open(s, db->address, db->lock, DB_WRITER, &db->writer));
	TRY(db_schema_apply(s, db, schema));
	TRY(db_watch_start(s, db));
	if (db->ops->maintain == NULL)
		return OK;
	db->kept = pthread_create(&db->keeper, NULL, keeper_main, db) == 0;
	return db->kept ? OK : fail(s, E_IO, "database: no thread for maintenance");
}

static st open_url(struct scope *s, const char *url, const struct db_schema *schema, bool shared, struct db **out)
{
	const struct db_driver_ops *ops = NULL;
	const char *address = NULL;
	TRY(find_driver(s, url, &ops, &address));
	struct db *db = heap_alloc(sizeof *db);
	db->ops = ops;
	db->shared = shared;
	db->address = heap_copy_str(address);
	if (pthread_mutex_init(&db->mutex, NULL) != 0 || pthread_cond_init(&db->led, NULL) != 0 ||
	    pthread_cond_init(&db->wanted, NULL) != 0)
		log_die("no locks for the database");
	st status = open_all(s, db, schema);
	if (status.code != E_OK) {
		free_all(db);
		return status;
	}
	*out = db;
	return OK;
}

st db_open(struct scope *s, const char *url, const struct db_schema *schema, struct db **out)
{
	return open_url(s, url, schema, false, out);
}

st db_open_shared(struct scope *s, const char *url, const struct db_schema *schema, struct db **out)
{
	return open_url(s, url, schema, true, out);
}

void db_close(struct db *db)
{
	if (db == NULL)
		return;
	(void)pthread_mutex_lock(&db->mutex);
	db->stopping = true;
	(void)pthread_cond_signal(&db->wanted);
	(void)pthread_mutex_unlock(&db->mutex);
	if (db->kept)
		(void)pthread_join(db->keeper, NULL);
	free_all(db);
}

/* ---- among others ---- */

int64_t db_process(const struct db *db)
{
	return db->shared ? db->ops->number(db->lock) : 0;
}

st db_lead(struct scope *s, struct db *db, bool *out_leads)
{
	*out_leads = !db->shared;
	if (!db->shared)
		return OK;
	db_group_hold(db);
	st status = db->ops->lead(s, db->writer, out_leads);
	db_group_release(db);
	return status;
}

st db_process_alive(struct scope *s, struct db_tx *tx, int64_t process, bool *out_alive)
{
	*out_alive = false;
	return tx->db->shared ? tx->db->ops->alive(s, tx->connection, process, out_alive) : OK;
}

/* ---- transactions ---- */

st db_tx(struct scope *s, struct db *db, db_work *work, void *arg)
{
	return db_group_run(s, db, work, arg);
}

void db_tx_all(struct db *db, db_work *work, db_after *after, struct db_item *item, size_t count)
{
	if (count > 0)
		db_group_run_all(db, work, after, item, count);
}

uint64_t db_doubts(struct db *db)
{
	return atomic_load(&db->doubts);
}

static st reader_take(struct scope *s, struct db *db, struct db_connection **out)
{
	struct db_connection *c = NULL;
	(void)pthread_mutex_lock(&db->mutex);
	if (db->idle_count > 0)
		c = db->idle[--db->idle_count];
	(void)pthread_mutex_unlock(&db->mutex);
	if (c == NULL)
		TRY(db->ops->open(s, db->address, db->lock, DB_READER, &c));
	*out = c;
	return OK;
}

static void reader_give(struct db *db, struct db_connection *c)
{
	(void)pthread_mutex_lock(&db->mutex);
	bool kept = db->idle_count < DB_IDLE_READERS;
	if (kept)
		db->idle[db->idle_count++] = c;
	(void)pthread_mutex_unlock(&db->mutex);
	if (!kept)
		db->ops->close(c);
}

st db_read(struct scope *s, struct db *db, db_work *work, void *arg)
{
	struct db_tx tx = { .db = db };
	TRY(reader_take(s, db, &tx.connection));
	st status = db->ops->begin(s, tx.connection, DB_READER);
	if (status.code == E_OK)
		status = work(s, &tx, arg);
	if (status.code == E_OK)
		status = db->ops->commit(s, tx.connection);
	if (status.code != E_OK)
		db->ops->rollback(tx.connection);
	reader_give(db, tx.connection);
	return status;
}

/* ---- statements ---- */

st db_exec(struct scope *s, struct db_tx *tx, const struct db_statement *statement, const struct db_value *values,
	   size_t value_count, int64_t *out_changed)
{
	return tx->db->ops->run(s, tx->connection, statement, values, value_count, NULL, NULL, out_changed);
}

struct one {
	struct db_row row;
	size_t found;
	const char *name;
};

static st keep_row(struct scope *s, const struct db_row *row, void *arg)
{
	struct one *one = arg;
	if (one->found++ > 0)
		return fail(s, E_BUG, "database: %s gives more than one row", one->name);
	one->row = *row;
	for (size_t i = 0; i < row->count; i++)
		one->row.column[i].bytes = scope_copy(s, row->column[i].bytes);
	return OK;
}

st db_find(struct scope *s, struct db_tx *tx, const struct db_statement *statement, const struct db_value *values,
	   size_t value_count, struct db_row *out, bool *out_found)
{
	struct one one = { .name = statement->name };
	TRY(tx->db->ops->run(s, tx->connection, statement, values, value_count, keep_row, &one, NULL));
	*out_found = one.found > 0;
	*out = one.row;
	return OK;
}

st db_one(struct scope *s, struct db_tx *tx, const struct db_statement *statement, const struct db_value *values,
	  size_t value_count, struct db_row *out)
{
	bool found;
	TRY(db_find(s, tx, statement, values, value_count, out, &found));
	return found ? OK : fail(s, E_NOTFOUND, "database: %s finds nothing", statement->name);
}

st db_each(struct scope *s, struct db_tx *tx, const struct db_statement *statement, const struct db_value *values,
	   size_t value_count, st (*row)(struct scope *s, const struct db_row *row, void *arg), void *arg)
{
	return tx->db->ops->each(s, tx->connection, statement, values, value_count, row, arg);
}

st db_backup(struct scope *s, struct db *db, const char *path)
{
	struct db_connection *reader;
	TRY(reader_take(s, db, &reader));
	st status = db->ops->backup(s, reader, path);
	reader_give(db, reader);
	return status;
}
