/*
 * Workers. A worker sleeps on a semaphore of its own and needs no lock when it wakes. A job goes straight to an idle one; where
 * workers take several together it waits in the queue instead, so that those that come until the worker runs go with it.
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

/* With the lock: what waits, with those right behind it for the same route. */
static unsigned take_waiting(struct http_pool *pool, struct http_connection **job)
{
	unsigned count = 0;
	while (pool->first != NULL && count < pool->at_once && (count == 0 || pool->first->route == job[0]->route)) {
		job[count++] = pool->first;
		pool->first = pool->first->next_job;
	}
	pool->waiting -= count;
	return count;
}

/* The next jobs; 0 when the pool stops. */
static unsigned next_jobs(struct http_worker *w, struct http_connection **job)
{
	struct http_pool *pool = w->pool;
	for (;;) {
		(void)pthread_mutex_lock(&pool->lock);
		unsigned count = take_waiting(pool, job);
		bool idle = count == 0 && !pool->stopping;
		if (idle) {
			w->job = NULL;
			w->next = pool->idle;
			pool->idle = w;
		}
		(void)pthread_mutex_unlock(&pool->lock);
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
	for (unsigned count; (count = next_jobs(w, job)) > 0;) {
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
	if (w != NULL)
		pool->idle = w->next;
	if (w != NULL && pool->at_once == 1) {
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
	return w;
}

bool http_pool_put(struct http_pool *pool, struct http_connection *c)
{
	struct http_worker *w = NULL;
	(void)pthread_mutex_lock(&pool->lock);
	bool room = pool->waiting < pool->limit && !pool->stopping;
	if (room)
		w = assign(pool, c);
	(void)pthread_mutex_unlock(&pool->lock);
	wake(w);
	return room;
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
