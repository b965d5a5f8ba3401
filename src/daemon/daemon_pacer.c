#include "daemon_pacer.h"
#include "log.h"
#include "moment.h"

void pacer_init(struct pacer *p)
{
	*p = (struct pacer){ .running = false };
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->wake, NULL);
}

void pacer_start(struct pacer *p, const char *what, void *(*run)(void *), void *argument)
{
	if (pthread_create(&p->thread, NULL, run, argument) != 0)
		log_die("no thread to %s", what);
	p->running = true;
}

void pacer_stop(struct pacer *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->stopping = true;
	(void)pthread_cond_signal(&p->wake);
	(void)pthread_mutex_unlock(&p->lock);
	if (p->running)
		(void)pthread_join(p->thread, NULL);
	p->running = false;
}

void pacer_free(struct pacer *p)
{
	(void)pthread_cond_destroy(&p->wake);
	(void)pthread_mutex_destroy(&p->lock);
}

bool pacer_pause(struct pacer *p, int64_t us)
{
	int64_t until = moment_monotonic() + us;
	(void)pthread_mutex_lock(&p->lock);
	if (!p->stopping)
		(void)moment_wait(&p->wake, &p->lock, until);
	bool go_on = !p->stopping;
	(void)pthread_mutex_unlock(&p->lock);
	return go_on;
}

void pacer_wake(struct pacer *p)
{
	(void)pthread_mutex_lock(&p->lock);
	(void)pthread_cond_signal(&p->wake);
	(void)pthread_mutex_unlock(&p->lock);
}

bool pacer_is_stopping(struct pacer *p)
{
	(void)pthread_mutex_lock(&p->lock);
	bool stopping = p->stopping;
	(void)pthread_mutex_unlock(&p->lock);
	return stopping;
}
