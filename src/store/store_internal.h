/* What store.c, store_group.c and store_schema.c share. */
#pragma once
#include "store_driver.h"
#include <pthread.h>
#include <stdatomic.h>

#define DB_IDLE_READERS 16

struct db_tx {
	struct db *db;
	struct db_connection *connection;
};

struct db_job;

struct db {
	const struct db_driver_ops *ops;
	char *address;
	void *lock;
	bool shared;
	struct db_connection *writer;

	pthread_mutex_t mutex;
	/* Group commit: jobs in order of arrival; the thread that has `leading` runs them. */
	struct db_job *first, *last;
	bool leading;
	pthread_cond_t led; /* for the keeper, which waits to hold writers off */
	bool keeper_waits;

	struct db_connection *idle[DB_IDLE_READERS];
	size_t idle_count;

	pthread_t keeper;
	bool kept; /* there is one */
	pthread_cond_t wanted;
	_Atomic uint64_t pending;
	_Atomic uint64_t doubts;
	bool stopping;
	struct db_watch *watch;
};

/* store_group.c */
st db_group_run(struct scope *s, struct db *db, db_work *work, void *arg);
void db_group_run_all(struct db *db, db_work *work, db_after *after, struct db_item *item, size_t count);
/* Hold writers off, and let them on again. */
void db_group_hold(struct db *db);
void db_group_release(struct db *db);
/* store_watch.c */
extern int64_t db_watch_interval; /* for tests, before a database is opened */
st db_watch_start(struct scope *s, struct db *db);
void db_watch_stop(struct db *db);
/* store_schema.c */
st db_schema_apply(struct scope *s, struct db *db, const struct db_schema *schema);
