/*
 * Whether commits are still durable: proved when a connection is opened, and here again every few seconds on a connection of its own, since
 * a server's settings and standbys change while it runs. As long as they are not, every transaction is refused before it begins.
 */
#include "store_internal.h"
#include "log.h"
#include "moment.h"
#include <stdio.h>
#include <stdlib.h>

int64_t db_watch_interval = 5 * MOMENT_SECOND;

struct db_watch {
	struct db *db;
	struct db_connection *connection;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t stop;
	bool stopping;
	_Atomic bool refused;
	char why[SCOPE_MESSAGE_MAX]; /* with the mutex */
};

/* A server that does not answer is no matter of settings: who wants something of it will notice. */
static st prove(struct scope *s, struct db_watch *w)
{
	const struct db *db = w->db;
	if (w->connection == NULL)
		TRY(db->ops->open(s, db->address, db->lock, DB_READER, &w->connection));
	return db->ops->prove(s, w->connection);
}

static void note(struct db_watch *w, const char *why)
{
	bool before = atomic_load(&w->refused);
	(void)pthread_mutex_lock(&w->mutex);
	(void)snprintf(w->why, sizeof w->why, "%s", why != NULL ? why : "");
	atomic_store(&w->refused, why != NULL);
	(void)pthread_mutex_unlock(&w->mutex);
	if (why != NULL && !before)
		log_put(LOG_LEVEL_ERROR, "nothing is written to the database any more: %s", why);
	if (why == NULL && before)
		log_put(LOG_LEVEL_NOTICE, "commits are durable again; the database is written to");
}

static void look(struct db_watch *w)
{
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	st status = prove(&own, w);
	if (status.code == E_OK)
		note(w, NULL);
	if (status.code == E_CONFIG)
		note(w, own.message);
}

static void *watch_thread(void *arg)
{
	struct db_watch *w = arg;
	(void)pthread_mutex_lock(&w->mutex);
	while (!w->stopping) {
		(void)moment_wait(&w->stop, &w->mutex, moment_monotonic() + db_watch_interval);
		if (w->stopping)
			break;
		(void)pthread_mutex_unlock(&w->mutex);
		look(w);
		(void)pthread_mutex_lock(&w->mutex);
	}
	(void)pthread_mutex_unlock(&w->mutex);
	return NULL;
}

st db_watch_start(struct scope *s, struct db *db)
{
	if (db->ops->prove == NULL)
		return OK;
	struct db_watch *w = heap_alloc(sizeof *w);
	w->db = db;
	if (pthread_mutex_init(&w->mutex, NULL) != 0 || pthread_cond_init(&w->stop, NULL) != 0)
		log_die("no locks for the database");
	if (pthread_create(&w->thread, NULL, watch_thread, w) != 0) {
		free(w);
		return fail(s, E_IO, "database: no thread to watch whether commits are durable");
	}
	db->watch = w;
	return OK;
}

void db_watch_stop(struct db *db)
{
	struct db_watch *w = db->watch;
	if (w == NULL)
		return;
	(void)pthread_mutex_lock(&w->mutex);
	w->stopping = true;
	(void)pthread_cond_signal(&w->stop);
	(void)pthread_mutex_unlock(&w->mutex);
	(void)pthread_join(w->thread, NULL);
	if (w->connection != NULL)
		db->ops->close(w->connection);
	(void)pthread_cond_destroy(&w->stop);
	(void)pthread_mutex_destroy(&w->mutex);
	free(w);
	db->watch = NULL;
}

st db_durable(struct scope *s, struct db *db)
{
	struct db_watch *w = db->watch;
	if (w == NULL || !atomic_load(&w->refused))
		return OK;
	(void)pthread_mutex_lock(&w->mutex);
	st status = fail(s, E_UNAVAILABLE, "%s", w->why);
	(void)pthread_mutex_unlock(&w->mutex);
	return status;
}
