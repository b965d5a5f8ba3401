#include "http_internal.h"
#include <stdlib.h>

/* Waits for a job and takes it, with those right behind it for the same route; 0 when the pool stops. */
static unsigned take(struct http_pool *pool, struct http_connection **job)
{
	unsigned count = 0;
	(void)pthread_mutex_lock(&pool->lock);
	while (pool->first == NULL && !pool->stopping)
		(void)pthread_cond_wait(&pool->more, &pool->lock);
	while (pool->first != NULL && count < pool->at_once && (count == 0 || pool->first->route == job[0]->route)) {
		job[count++] = pool->first;
		pool->first = pool->first->next_job;
	}
	pool->waiting -= count;
	(void)pthread_mutex_unlock(&pool->lock);
	return count;
}

/* Takes jobs until the pool stops. Scopes are kept, and reset between requests. */
static void *work(void *argument)
{
	struct http_pool *pool = argument;
	struct http_connection *job[HTTP_TOGETHER_MAX];
	struct scope *s = heap_alloc(pool->at_once * sizeof *s);
	for (unsigned i = 0; i < pool->at_once; i++)
		scope_init(&s[i], NULL);
	for (unsigned count; (count = take(pool, job)) > 0;) {
		if (job[0]->route->handle_all != NULL)
			http_dispatch_all(job, s, count);
		else
			(void)http_dispatch(job[0], s, true);
		for (unsigned i = 0; i < count; i++) {
			scope_reset(&s[i]);
			http_loop_hand_back(job[i]->loop, job[i]);
		}
	}
	for (unsigned i = 0; i < pool->at_once; i++)
		scope_done(&s[i]);
	free(s);
	return NULL;
}

st http_pool_start(struct scope *s, struct http_pool *pool, unsigned workers, unsigned limit, unsigned at_once)
{
	pool->limit = limit;
	pool->at_once = at_once;
	pool->threads = heap_alloc(workers * sizeof *pool->threads);
	if (pthread_mutex_init(&pool->lock, NULL) != 0 || pthread_cond_init(&pool->more, NULL) != 0)
		return fail(s, E_IO, "no lock for the workers");
	for (; pool->count < workers; pool->count++)
		if (pthread_create(&pool->threads[pool->count], NULL, work, pool) != 0)
			return fail(s, E_IO, "only %u of %u workers could be started", pool->count, workers);
	return OK;
}

bool http_pool_put(struct http_pool *pool, struct http_connection *c)
{
	(void)pthread_mutex_lock(&pool->lock);
	bool room = pool->waiting < pool->limit && !pool->stopping;
	if (room) {
		c->next_job = NULL;
		if (pool->first == NULL)
			pool->first = c;
		else
			pool->last->next_job = c;
		pool->last = c;
		pool->waiting++;
		(void)pthread_cond_signal(&pool->more);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return room;
}

void http_pool_stop(struct http_pool *pool)
{
	if (pool->threads == NULL)
		return;
	(void)pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pool->first = NULL;
	pool->waiting = 0;
	(void)pthread_cond_broadcast(&pool->more);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->count; i++)
		(void)pthread_join(pool->threads[i], NULL);
	free(pool->threads);
	(void)pthread_mutex_destroy(&pool->lock);
	(void)pthread_cond_destroy(&pool->more);
}
