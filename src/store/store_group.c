/*
 * Group commit. Whoever comes while nobody leads becomes the leader: it takes what has queued up, runs each work under a mark
 * of its own inside one transaction, commits once, and wakes all. The next leader is the first that queued meanwhile, so
 * batches grow by themselves with the load and a lone caller pays for nothing.
 */
#include "store_internal.h"
#include "log.h"

struct db_job {
	struct db_job *next;
	struct scope *scope;
	st (*work)(struct scope *s, struct db_tx *tx, void *arg);
	void *arg;
	st result;
	bool done;
	bool promoted;
	pthread_cond_t changed;
};

static struct db_job *take_group(struct db *db)
{
	struct db_job *group = db->first;
	struct db_job *end = group;
	for (size_t i = 1; i < DB_GROUP_MAX && end != NULL && end->next != NULL; i++)
		end = end->next;
	db->first = end != NULL ? end->next : NULL;
	if (db->first == NULL)
		db->last = NULL;
	if (end != NULL)
		end->next = NULL;
	return group;
}

/* A job that is alone needs no mark: the whole transaction is its own. */
static st run_one(struct db *db, struct db_job *job, bool alone)
{
	struct db_connection *c = db->writer;
	struct db_tx tx = { .db = db, .connection = c };
	if (!alone)
		TRY(db->ops->mark(job->scope, c));
	st result = job->work(job->scope, &tx, job->arg);
	if (alone || !db->ops->in_transaction(c))
		return result;
	if (result.code == E_OK)
		return db->ops->keep(job->scope, c);
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	if (db->ops->undo(&own, c).code != E_OK)
		db->ops->rollback(c);
	return result;
}

/* The transaction is gone: whoever was in it and thought itself well is not. */
static void fail_group(struct db_job *group, enum code code, const char *why)
{
	for (struct db_job *job = group; job != NULL; job = job->next)
		if (job->result.code == E_OK)
			job->result = fail(job->scope, code, "%s", why);
}

static void run_group(struct db *db, struct db_job *group)
{
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	st begun = db->ops->begin(&own, db->writer, DB_WRITER);
	if (begun.code != E_OK) {
		fail_group(group, begun.code, own.message);
		return;
	}
	bool alone = group->next == NULL;
	for (struct db_job *job = group; job != NULL; job = job->next) {
		job->result = run_one(db, job, alone);
		if (!db->ops->in_transaction(db->writer)) {
			fail_group(group, E_IO,
				   "database: the transaction was lost to a failing disk or to another's failure; try again");
			return;
		}
	}
	if (alone && group->result.code != E_OK) {
		db->ops->rollback(db->writer);
		return;
	}
	st committed = db->ops->commit(&own, db->writer);
	if (committed.code == E_OK)
		return;
	db->ops->rollback(db->writer);
	fail_group(group, committed.code, own.message);
}

/* With the mutex: the group is done, the lead goes on. */
static void pass_lead(struct db *db, struct db_job *group)
{
	while (group != NULL) {
		struct db_job *next = group->next;
		group->done = true;
		(void)pthread_cond_signal(&group->changed);
		group = next;
	}
	if (db->keeper_waits) {
		db->leading = false;
		(void)pthread_cond_signal(&db->led);
	} else if (db->first != NULL) {
		db->first->promoted = true;
		(void)pthread_cond_signal(&db->first->changed);
	} else {
		db->leading = false;
	}
}

static void lead(struct db *db)
{
	struct db_job *group = take_group(db);
	(void)pthread_mutex_unlock(&db->mutex);
	run_group(db, group);
	uint64_t pending = db->ops->pending(db->writer);
	atomic_store(&db->pending, pending);
	(void)pthread_mutex_lock(&db->mutex);
	if (pending >= db->ops->maintain_from)
		(void)pthread_cond_signal(&db->wanted);
	pass_lead(db, group);
}

st db_group_run(struct scope *s, struct db *db, st (*work)(struct scope *s, struct db_tx *tx, void *arg), void *arg)
{
	struct db_job job = { .scope = s, .work = work, .arg = arg, .result = OK, .changed = PTHREAD_COND_INITIALIZER };
	(void)pthread_mutex_lock(&db->mutex);
	if (db->last != NULL)
		db->last->next = &job;
	else
		db->first = &job;
	db->last = &job;
	if (!db->leading && !db->keeper_waits) {
		db->leading = true;
		job.promoted = true;
	}
	while (!job.done) {
		if (job.promoted)
			lead(db);
		else
			(void)pthread_cond_wait(&job.changed, &db->mutex);
	}
	(void)pthread_mutex_unlock(&db->mutex);
	(void)pthread_cond_destroy(&job.changed);
	return job.result;
}

void db_group_hold(struct db *db)
{
	(void)pthread_mutex_lock(&db->mutex);
	db->keeper_waits = true;
	while (db->leading)
		(void)pthread_cond_wait(&db->led, &db->mutex);
	db->leading = true;
	db->keeper_waits = false;
	(void)pthread_mutex_unlock(&db->mutex);
}

void db_group_release(struct db *db)
{
	(void)pthread_mutex_lock(&db->mutex);
	pass_lead(db, NULL);
	(void)pthread_mutex_unlock(&db->mutex);
}
