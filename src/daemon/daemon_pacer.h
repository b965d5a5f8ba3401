/*
 * daemon_pacer.h - a thread that does something again and again, pauses in between, and ends when it is told to.
 */
#pragma once
#include "scope.h"
#include <pthread.h>

struct pacer {
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* also of what its owner shares with others */
	pthread_cond_t wake;
	bool stopping;
};
void pacer_init(struct pacer *p);
/* Ends the daemon when there is no thread to be had; `what` it is for. */
void pacer_start(struct pacer *p, const char *what, void *(*run)(void *), void *argument);
/* Waits until the thread has ended; nothing when it was never started. */
void pacer_stop(struct pacer *p);
void pacer_free(struct pacer *p);
/* For the thread: pauses, or less when it is woken; false when it is to end. */
bool pacer_pause(struct pacer *p, int64_t us);
void pacer_wake(struct pacer *p);
bool pacer_is_stopping(struct pacer *p);
