/*
 * key_client.h - what the parts of the client share.
 */
#pragma once
#include "key.h"
#include <pthread.h>

/* Time-stamps that wait to travel together. */
struct key_batch {
	pthread_mutex_t lock;
	struct key_waiting *first, **last;
	unsigned under_way; /* frames */
};
void key_batch_init(struct key_batch *b);
void key_batch_done(struct key_batch *b);

struct key_client {
	struct wire_pool *pool;
	struct key_batch batch;
};
