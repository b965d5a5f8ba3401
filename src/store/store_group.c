/*
 * Group commit. Whoever comes while nobody leads becomes the leader: it takes what has queued up, runs all works in one
 * transaction (again, each under a mark of its own, when one fails), commits once, passes the lead on, does what is to follow
 * the commit, and wakes all. The next leader is the first that queued meanwhile, so batches grow by themselves with the load and
 * a lone caller pays for nothing.
 *
 * A thread sleeps on a semaphore of its own and needs no lock when it wakes: with a condition, all of a group would be woken only to
 * stand in line for the mutex.
 */
#include "store_internal.h"
#include "log.h"
#include <semaphore.h>
#include <stdlib.h>

#define REPEATS_MAX 4 /* of a transaction that a database gave up, or lost */

/* A thread that waits for some jobs. */
struct waiter {
	atomic_size_t left; /* jobs that are not done */
	bool promoted;      /* woken to lead, not because all are done */
	sem_t wake;
};
struct db_job {
	struct db_job *next;
	struct waiter *waiter;
	struct scope *scope;
	db_work *work;
	db_after *after;
	void *arg;
	st result;
};

static struct db_job *take_group(struct db *db)
{
	struct db_job *group = db->first;
	struct db_job *end = group;
	for (size_t i = 1; i < DB_TOGETHER_MAX && end != NULL && end->next != NULL; i++)
		end = end->next;
	db->first = end != NULL ? end->next : NULL;
	if (db->first == NULL)
		db->last = NULL;
	if (end != NULL)
		end->next = NULL;
	return group;
}

static st run_one(struct db *db, struct db_job *job)
{
	struct db_tx tx = { .db = db, .connection = db->writer };
	return job->work(job->scope, &tx, job->arg);
}

/* What the work put off has failed, if it fails, when its mark is given up. */
static st run_kept(struct db *db, struct db_job *job)
{
	TRY(db->ops->mark(job->scope, db->writer));
	TRY(run_one(db, job));
	return db->ops->in_transaction(db->writer) ? db->ops->keep(job->scope, db->writer) : OK;
}

static st run_marked(struct db *db, struct db_job *job)
{
	struct db_connection *c = db->writer;
	st result = run_kept(db, job);
	if (result.code == E_OK || !db->ops->in_transaction(c))
		return result;
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

/* All without marks, which nearly always goes well: a mark makes the database keep the former content of every page. False when
 * one has failed, and with it, unless it was alone, whatever the others have done. */
static bool run_unmarked(struct db *db, struct db_job *group)
{
	for (struct db_job *job = group; job != NULL; job = job->next) {
		job->result = run_one(db, job);
		if (job->result.code != E_OK || !db->ops->in_transaction(db->writer))
			return false;
	}
	return true;
}

/* Each under its mark, so that one can fail without the others. False when the transaction was lost. */
static bool run_all_marked(struct db *db, struct db_job *group)
{
	for (struct db_job *job = group; job != NULL; job = job->next) {
		job->result = run_marked(db, job);
		if (!db->ops->in_transaction(db->writer))
			return false;
	}
	return true;
}

static void forget_results(struct db_job *group)
{
	for (struct db_job *job = group; job != NULL; job = job->next) {
		if (job->result.code != E_OK)
			scope_clear_error(job->scope);
		job->result = OK;
	}
}

static st commit(struct scope *own, struct db *db)
{
	st status = db->ops->commit(own, db->writer);
	if (status.code == E_UNAVAILABLE)
		atomic_fetch_add(&db->doubts, 1);
	return status;
}

static st run_works(struct scope *own, struct db *db, struct db_job *group, bool marked)
{
	TRY(db_durable(own, db));
	TRY(db->ops->begin(own, db->writer, DB_WRITER));
	if (marked ? run_all_marked(db, group) : run_unmarked(db, group))
		return commit(own, db);
	if (!marked && group->next == NULL && group->result.code != E_OK)
		return group->result;
	return fail(own, E_IO, "database: the transaction was lost to a failing disk or to another's failure; try again");
}

/* Without marks first; under marks when that failed and more than one may be to blame; again when none is. Not when the commit may
 * be done: what is done twice is worse than what is not known. */
static void run_group(struct db *db, struct db_job *group)
{
	bool marked = false;
	for (int repeats = 0;;) {
		AUTO_SCOPE own;
		scope_init(&own, NULL);
		st status = run_works(&own, db, group, marked);
		if (status.code == E_OK)
			return;
		db->ops->rollback(db->writer);
		bool again = db->ops->again(db->writer) && repeats++ < REPEATS_MAX;
		bool apart = !marked && group->next != NULL && status.code != E_UNAVAILABLE;
		if (!again && !apart) {
			fail_group(group, status.code, own.message);
			return;
		}
		marked = marked || (!again && apart);
		forget_results(group);
	}
}

static void wake(struct waiter *w)
{
	if (w != NULL && sem_post(&w->wake) != 0)
		log_die("a thread that waits for the database cannot be woken");
}

/* With the mutex: the lead goes on, to the thread that is returned or to nobody. */
static struct waiter *pass_lead(struct db *db)
{
	if (db->keeper_waits) {
		db->leading = false;
		(void)pthread_cond_signal(&db->led);
		return NULL;
	}
	if (db->first == NULL) {
		db->leading = false;
		return NULL;
	}
	db->first->waiter->promoted = true;
	return db->first->waiter;
}

static db_after *sequel_of(const struct db_job *job)
{
	return job->result.code == E_OK ? job->after : NULL;
}

/* Takes off the list what has this sequel. */
static struct db_job *take_alike(struct db_job **list, db_after *sequel)
{
	struct db_job *alike = NULL, **end = &alike;
	for (struct db_job **at = list; *at != NULL;) {
		struct db_job *job = *at;
		if (sequel_of(job) != sequel) {
			at = &job->next;
			continue;
		}
		*at = job->next;
		job->next = NULL;
		*end = job;
		end = &job->next;
	}
	return alike;
}

static void run_sequel(db_after *after, const struct db_job *alike)
{
	void *arg[DB_TOGETHER_MAX];
	size_t count = 0;
	for (const struct db_job *job = alike; job != NULL; job = job->next)
		arg[count++] = job->arg;
	after(arg, count);
}

/* A job that is done belongs to its thread again, and must not be looked at any more. True when it was the leader's own last one. */
static bool finish(struct db_job *alike, const struct waiter *own)
{
	bool own_done = false;
	for (struct db_job *job = alike, *next; job != NULL; job = next) {
		next = job->next;
		struct waiter *w = job->waiter;
		if (atomic_fetch_sub(&w->left, 1) > 1)
			continue;
		own_done = own_done || w == own;
		if (w != own)
			wake(w);
	}
	return own_done;
}

/* Whoever has no sequel does not wait for that of others. */
static bool follow_up(struct db_job *group, const struct waiter *own)
{
	bool own_done = finish(take_alike(&group, NULL), own);
	while (group != NULL) {
		db_after *after = group->after;
		struct db_job *alike = take_alike(&group, after);
		run_sequel(after, alike);
		own_done = finish(alike, own) || own_done;
	}
	return own_done;
}

/* With the mutex, which it gives back. True when all of the leader's own jobs are done by that. */
static bool lead(struct db *db, const struct waiter *own)
{
	struct db_job *group = take_group(db);
	(void)pthread_mutex_unlock(&db->mutex);
	run_group(db, group);
	uint64_t pending = db->ops->pending(db->writer);
	atomic_store(&db->pending, pending);
	(void)pthread_mutex_lock(&db->mutex);
	if (pending >= db->ops->maintain_from)
		(void)pthread_cond_signal(&db->wanted);
	struct waiter *next = pass_lead(db);
	(void)pthread_mutex_unlock(&db->mutex);
	wake(next); /* itself, when some of its jobs are left */
	return follow_up(group, own);
}

/* Queue up; with nobody leading it is the caller who leads. */
static bool join(struct db *db, struct db_job *job, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (db->last != NULL)
			db->last->next = &job[i];
		else
			db->first = &job[i];
		db->last = &job[i];
	}
	if (db->leading || db->keeper_waits)
		return false;
	return db->leading = true;
}

static void run_jobs(struct db *db, struct db_job *job, size_t count)
{
	struct waiter w = { .left = count };
	if (sem_init(&w.wake, 0, 0) != 0)
		log_die("no semaphore for a transaction");
	for (size_t i = 0; i < count; i++)
		job[i].waiter = &w;
	(void)pthread_mutex_lock(&db->mutex);
	bool leads = join(db, job, count), done = false;
	if (!leads)
		(void)pthread_mutex_unlock(&db->mutex);
	while (!done) {
		if (leads)
			done = lead(db, &w);
		if (done)
			break;
		while (sem_wait(&w.wake) != 0)
			;
		leads = w.promoted;
		done = !leads;
		w.promoted = false;
		if (leads)
			(void)pthread_mutex_lock(&db->mutex);
	}
	(void)sem_destroy(&w.wake);
}

st db_group_run(struct scope *s, struct db *db, db_work *work, void *arg)
{
	struct db_job job = { .scope = s, .work = work, .arg = arg, .result = OK };
	run_jobs(db, &job, 1);
	return job.result;
}

void db_group_run_all(struct db *db, db_work *work, db_after *after, struct db_item *item, size_t count)
{
	struct db_job *job = heap_alloc(count * sizeof *job);
	for (size_t i = 0; i < count; i++)
		job[i] = (struct db_job){
			.scope = item[i].scope, .work = work, .after = after, .arg = item[i].arg, .result = OK
		};
	run_jobs(db, job, count);
	for (size_t i = 0; i < count; i++)
		item[i].outcome = job[i].result;
	free(job);
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
	struct waiter *next = pass_lead(db);
	(void)pthread_mutex_unlock(&db->mutex);
	wake(next);
}
