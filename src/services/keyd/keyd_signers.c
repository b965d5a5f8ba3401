/*
 * keyd_signers.c - who makes the signatures of a frame. Each thread belongs to one processor, and what is to be signed to none: a
 * processor is never idle while signatures wait, whatever the kernel thinks of moving threads (docs/decisions/0068).
 */
#include "keyd_signers.h"
#include "log.h"
#include "moment.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/resource.h>

/* Whether what is made sleeps is looked at for one of so many, since that is a system call; the mean of it goes from 0 (none does) to
 * SLEPT_ALL. */
#define LOOKED_AT    8u
#define SLEPT_ALL    1024u
#define SLEPT_WEIGHT 16u
#define SLEPT_MOSTLY (SLEPT_ALL / 2)
/* A frame that waits longer than so is made by who waits for it: the threads may hang in another token. */
#define PATIENCE (MOMENT_SECOND / 10)

/* On the stack of who waits for it. */
struct batch {
	void (*make)(void *state, size_t i);
	void *state;
	size_t count, next, left;
	sem_t done;
	struct batch *following;
};

struct signer {
	struct signers *all;
	struct signer *next; /* idle */
	sem_t wake;
	pthread_t thread;
};

struct signers {
	pthread_mutex_t lock;
	struct batch *first, **last; /* with something that nobody has begun */
	struct signer *idle;
	bool stopping;
	unsigned under_way;
	_Atomic unsigned slept; /* changed with the lock */
	unsigned count;
	struct signer signer[SIGNERS_MAX];
};

static void post(sem_t *semaphore)
{
	if (sem_post(semaphore) != 0)
		log_die("a signing thread cannot be woken, or cannot wake");
}

static void await(sem_t *semaphore)
{
	while (sem_wait(semaphore) != 0)
		; /* interrupted */
}

/* How often this thread has given its processor away because it had to wait. */
static long waits(void)
{
	struct rusage usage;
	return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}

/* With the lock: it is no longer one of those that wait. */
static void take_off(struct signers *all, const struct batch *b)
{
	struct batch **at = &all->first;
	while (*at != b)
		at = &(*at)->following;
	*at = b->following;
	if (*at == NULL)
		all->last = at;
}

/* With the lock, given up meanwhile: the next one of this batch. Whoever makes the last one tells who waits, and nobody touches it again. */
static void make_next(struct signers *all, struct batch *b)
{
	size_t i = b->next++;
	if (b->next == b->count)
		take_off(all, b);
	all->under_way++;
	(void)pthread_mutex_unlock(&all->lock);
	bool look = i % LOOKED_AT == 0;
	long before = look ? waits() : 0;
	b->make(b->state, i);
	bool slept = look && waits() != before;
	(void)pthread_mutex_lock(&all->lock);
	all->under_way--;
	if (look)
		all->slept += (slept ? SLEPT_ALL / SLEPT_WEIGHT : 0) - all->slept / SLEPT_WEIGHT;
	if (--b->left > 0)
		return;
	(void)pthread_mutex_unlock(&all->lock);
	post(&b->done);
	(void)pthread_mutex_lock(&all->lock);
}

/* With the lock, given up meanwhile. */
static void sleep_idle(struct signer *me)
{
	struct signers *all = me->all;
	me->next = all->idle;
	all->idle = me;
	(void)pthread_mutex_unlock(&all->lock);
	await(&me->wake);
	(void)pthread_mutex_lock(&all->lock);
}

static void *signer_main(void *argument)
{
	struct signer *me = argument;
	struct signers *all = me->all;
	(void)pthread_mutex_lock(&all->lock);
	while (!all->stopping)
		if (all->first != NULL)
			make_next(all, all->first);
		else
			sleep_idle(me);
	(void)pthread_mutex_unlock(&all->lock);
	return NULL;
}

/* With the lock: so many of those that are idle, if they are. */
static struct signer *take_idle(struct signers *all, size_t most)
{
	struct signer *taken = NULL;
	for (; most > 0 && all->idle != NULL; most--) {
		struct signer *next = all->idle->next;
		all->idle->next = taken;
		taken = all->idle;
		all->idle = next;
	}
	return taken;
}

/* Without the lock: who is woken may get this processor at once, and others would wait for a lock whose holder waits for it. */
static void wake(struct signer *taken)
{
	for (struct signer *next; taken != NULL; taken = next) {
		next = taken->next;
		post(&taken->wake);
	}
}

/* As long as what is made mostly sleeps, or until everything is begun. */
static void work_along(struct signers *all, struct batch *b, bool whatever)
{
	if (!whatever && all->slept <= SLEPT_MOSTLY)
		return;
	(void)pthread_mutex_lock(&all->lock);
	while (b->next < b->count && (whatever || all->slept > SLEPT_MOSTLY))
		make_next(all, b);
	(void)pthread_mutex_unlock(&all->lock);
}

static bool done_in_time(struct batch *b)
{
	int64_t until = moment_monotonic() + PATIENCE;
	struct timespec at = { .tv_sec = until / MOMENT_SECOND, .tv_nsec = until % MOMENT_SECOND * 1000 };
	int waited;
	while ((waited = sem_clockwait(&b->done, CLOCK_MONOTONIC, &at)) != 0 && errno == EINTR)
		;
	return waited == 0;
}

void signers_each(struct signers *all, size_t count, void (*make)(void *state, size_t i), void *state)
{
	if (count <= 1 || all->count == 0) {
		for (size_t i = 0; i < count; i++)
			make(state, i);
		return;
	}
	struct batch b = { .make = make, .state = state, .count = count, .left = count };
	if (sem_init(&b.done, 0, 0) != 0)
		log_die("no semaphore for a frame of signatures");
	(void)pthread_mutex_lock(&all->lock);
	*all->last = &b;
	all->last = &b.following;
	struct signer *idle = take_idle(all, count);
	(void)pthread_mutex_unlock(&all->lock);
	wake(idle);
	work_along(all, &b, false);
	if (!done_in_time(&b)) {
		work_along(all, &b, true);
		await(&b.done);
	}
	(void)sem_destroy(&b.done);
}

/* ---- start and stop ---- */

static bool start_one(struct signers *all, size_t processor)
{
	struct signer *new = &all->signer[all->count];
	cpu_set_t only;
	CPU_ZERO(&only);
	CPU_SET(processor, &only);
	new->all = all;
	if (sem_init(&new->wake, 0, 0) != 0 || pthread_create(&new->thread, NULL, signer_main, new) != 0)
		return false;
	all->count++;
	/* Taken away since we asked: the kernel may move it then. */
	(void)pthread_setaffinity_np(new->thread, sizeof only, &only);
	return true;
}

/* Round the processors, until there are so many. */
static st start_all(struct scope *s, struct signers *all, unsigned wanted, const cpu_set_t *allowed)
{
	for (size_t i = 0; all->count < wanted; i = (i + 1) % CPU_SETSIZE)
		if (CPU_ISSET(i, allowed) && !start_one(all, i))
			return fail(s, E_IO, "only %u of %u threads that sign could be started", all->count, wanted);
	return OK;
}

st signers_start(struct scope *s, unsigned wanted, struct signers **out)
{
	struct signers *all = heap_alloc(sizeof *all);
	cpu_set_t allowed;
	all->last = &all->first;
	(void)pthread_mutex_init(&all->lock, NULL);
	*out = all;
	CPU_ZERO(&allowed);
	/* It fails with more than 1,024 processors: callers do what they can. */
	unsigned processors = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? (unsigned)CPU_COUNT(&allowed) : 0;
	if (processors < 2 || wanted == 1)
		return OK;
	wanted = wanted == 0 ? processors : wanted;
	return start_all(s, all, wanted < SIGNERS_MAX ? wanted : SIGNERS_MAX, &allowed);
}

void signers_stop(struct signers *all)
{
	if (all == NULL)
		return;
	(void)pthread_mutex_lock(&all->lock);
	all->stopping = true;
	bool hangs = all->under_way > 0;
	struct signer *idle = take_idle(all, all->count);
	(void)pthread_mutex_unlock(&all->lock);
	wake(idle);
	if (hangs)
		return; /* in a module that does not answer: what it uses stays until the process ends */
	for (unsigned i = 0; i < all->count; i++) {
		(void)pthread_join(all->signer[i].thread, NULL);
		(void)sem_destroy(&all->signer[i].wake);
	}
	(void)pthread_mutex_destroy(&all->lock);
	free(all);
}
