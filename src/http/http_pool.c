/*
 * Workers. A worker sleeps on a semaphore of its own and needs no lock when it wakes. A job goes straight to an idle one; where
 * workers take several together it waits in the queue instead, until an even share of all that are there waits with it
 * (docs/decisions/0067): the first of many would else keep a worker busy alone.
 */
#include "http_internal.h"
#include "log.h"
#include <semaphore.h>
#include <stdlib.h>

struct http_worker {
	struct http_pool *pool;
	struct http_worker *next;    /* idle */
	struct http_connection *job; /* given when it was woken, or NULL: it looks for itself */
	sem_t wake;
	pthread_t thread;
};

static void wake(struct http_worker *w)
{
	if (w != NULL && sem_post(&w->wake) != 0)
		log_die("a worker cannot be woken");
}

/* With the lock: what each worker gets when all that wait and all that are worked on are dealt out evenly. */
static unsigned share(const struct http_pool *pool)
{
	unsigned all = pool->waiting + pool->under_way, workers = pool->workers_wanted;
	unsigned even = (all + workers - 1) / workers;
	return even < pool->at_once ? even : pool->at_once;
}

/* With the lock: so many more workers find work. */
static bool work_for(const struct http_pool *pool, unsigned workers)
{
	return pool->waiting > 0 && (pool->hurried || pool->waiting >= workers * share(pool));
}

/* With the lock: a share of what waits, as far as it is for one route. */
static unsigned take_waiting(struct http_pool *pool, struct http_connection **job)
{
	unsigned count = 0, most = pool->hurried ? pool->at_once : share(pool);
	if (!work_for(pool, 1))
		return 0;
	while (pool->first != NULL && count < most && (count == 0 || pool->first->route == job[0]->route)) {
		job[count++] = pool->first;
		pool->first = pool->first->next_job;
	}
	pool->waiting -= count;
	pool->under_way += count;
	pool->hurried = false;
	pool->taken++;
	return count;
}

/* With the lock: one to wake, when there is work for it beside those that are awake already. */
static struct http_worker *call_idle(struct http_pool *pool)
{
	struct http_worker *w = pool->idle;
	if (w == NULL || !work_for(pool, pool->called + 1))
		return NULL;
	pool->idle = w->next;
	pool->called++;
	return w;
}

/* The next jobs, when so many are done; 0 when the pool stops. */
static unsigned next_jobs(struct http_worker *w, struct http_connection **job, unsigned done)
{
	struct http_pool *pool = w->pool;
	unsigned called = 0;
	for (;; done = 0, called = 1) {
		(void)pthread_mutex_lock(&pool->lock);
		pool->under_way -= done;
		pool->called -= called;
		unsigned count = take_waiting(pool, job);
		struct http_worker *other = call_idle(pool);
		bool idle = count == 0 && !pool->stopping;
		if (idle) {
			w->job = NULL;
			w->next = pool->idle;
			pool->idle = w;
		}
		(void)pthread_mutex_unlock(&pool->lock);
		wake(other);
		if (!idle)
			return count;
		while (sem_wait(&w->wake) != 0)
			;
		job[0] = w->job;
		if (job[0] != NULL)
			return 1;
	}
}

/* Takes jobs until the pool stops. Scopes are kept, and reset between requests. */
static void *work(void *argument)
{
	struct http_worker *w = argument;
	unsigned at_once = w->pool->at_once;
	struct http_connection *job[HTTP_TOGETHER_MAX];
	struct scope *s = heap_alloc(at_once * sizeof *s);
	for (unsigned i = 0; i < at_once; i++)
		scope_init(&s[i], NULL);
	for (unsigned count = 0; (count = next_jobs(w, job, count)) > 0;) {
		if (job[0]->route->handle_all != NULL)
			http_dispatch_all(job, s, count);
		else
			(void)http_dispatch(job[0], s, true);
		for (unsigned i = 0; i < count; i++) {
			scope_reset(&s[i]);
			http_loop_hand_back(job[i]->loop, job[i]);
		}
	}
	for (unsigned i = 0; i < at_once; i++)
		scope_done(&s[i]);
	free(s);
	return NULL;
}

st http_pool_start(struct scope *s, struct http_pool *pool, unsigned workers, unsigned limit, unsigned at_once)
{
	pool->limit = limit;
	pool->workers_wanted = workers;
	pool->at_once = at_once;
	pool->workers = heap_alloc(workers * sizeof *pool->workers);
	if (pthread_mutex_init(&pool->lock, NULL) != 0)
		return fail(s, E_IO, "no lock for the workers");
	for (; pool->count < workers; pool->count++) {
		struct http_worker *w = &pool->workers[pool->count];
		w->pool = pool;
		if (sem_init(&w->wake, 0, 0) != 0 || pthread_create(&w->thread, NULL, work, w) != 0)
			return fail(s, E_IO, "only %u of %u workers could be started", pool->count, workers);
	}
	return OK;
}

/* With the lock: give it to a worker or let it wait; the worker to wake, if one is idle. */
static struct http_worker *assign(struct http_pool *pool, struct http_connection *c)
{
	struct http_worker *w = pool->idle;
	if (w != NULL && pool->at_once == 1) {
		pool->idle = w->next;
		pool->under_way++;
		w->job = c;
		return w;
	}
	c->next_job = NULL;
	if (pool->first == NULL)
		pool->first = c;
	else
		pool->last->next_job = c;
	pool->last = c;
	pool->waiting++;
	return call_idle(pool);
}

bool http_pool_put(struct http_pool *pool, struct http_connection *c)
{
	struct http_worker *w = NULL;
	(void)pthread_mutex_lock(&pool->lock);
	bool room = pool->waiting < pool->limit && !pool->stopping;
	if (room)
		w = assign(pool, c);
	bool watch = pool->at_once > 1 && pool->waiting > 0 && !pool->watched;
	pool->watched = pool->watched || watch;
	(void)pthread_mutex_unlock(&pool->lock);
	wake(w);
	if (watch)
		http_loop_watch(c->loop);
	return room;
}

bool http_pool_look(struct http_pool *pool)
{
	(void)pthread_mutex_lock(&pool->lock);
	pool->hurried = pool->waiting > 0 && pool->idle != NULL && pool->taken == pool->taken_before;
	pool->taken_before = pool->taken;
	struct http_worker *w = call_idle(pool);
	bool again = pool->watched = pool->waiting > 0;
	(void)pthread_mutex_unlock(&pool->lock);
	wake(w);
	return again;
}

void http_pool_stop(struct http_pool *pool)
{
	if (pool->workers == NULL)
		return;
	(void)pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pool->first = NULL;
	pool->waiting = 0;
	struct http_worker *idle = pool->idle;
	pool->idle = NULL;
	for (struct http_worker *w = idle; w != NULL; w = w->next)
		pool->called++;
	(void)pthread_mutex_unlock(&pool->lock);
	for (struct http_worker *w = idle; w != NULL; w = w->next)
		wake(w);
	for (unsigned i = 0; i < pool->count; i++)
		(void)pthread_join(pool->workers[i].thread, NULL);
	for (unsigned i = 0; i < pool->count; i++)
		(void)sem_destroy(&pool->workers[i].wake);
	free(pool->workers);
	(void)pthread_mutex_destroy(&pool->lock);
}
