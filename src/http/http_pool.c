#include "http_internal.h"
#include <stdlib.h>

/* Takes jobs until the pool stops. One scope for each worker, reset between requests. */
static void *work(void *argument)
{
	struct http_pool *pool = argument;
	struct scope s;
	scope_init(&s, NULL);
	for (;;) {
		(void)pthread_mutex_lock(&pool->lock);
		while (pool->first == NULL && !pool->stopping)
			(void)pthread_cond_wait(&pool->more, &pool->lock);
		struct http_connection *c = pool->first;
		if (c == NULL) {
			(void)pthread_mutex_unlock(&pool->lock);
			break;
		}
		pool->first = c->next_job;
		pool->waiting--;
		(void)pthread_mutex_unlock(&pool->lock);
		(void)http_dispatch(c, &s, true);
		scope_reset(&s);
		http_loop_hand_back(c->loop, c);
	}
	scope_done(&s);
	return NULL;
}

st http_pool_start(struct scope *s, struct http_pool *pool, unsigned workers, unsigned limit)
{
	pool->limit = limit;
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
