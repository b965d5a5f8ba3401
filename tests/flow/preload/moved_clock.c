/*
 * In front of libc for one process: its clocks, that of the day and the monotonic one, are as far ahead as a test says at any moment. What waits until a
 * moment wakes when the moved clock is there, so that an hour passes in no time.
 *
 * The file, mapped before any sandbox is set: one 64-bit number, seconds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 20000000 /* a waiting thread looks for a clock that was moved */

static _Atomic int64_t *ahead;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_wait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);

__attribute__((constructor)) static void open_file(void)
{
	*(void **)&real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	*(void **)&real_wait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
	int fd = open(getenv("MOVED_CLOCK"), O_RDWR | O_CLOEXEC);
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || real_gettime == NULL || real_wait == NULL)
		abort();
	(void)close(fd);
	ahead = map;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	if (real_gettime == NULL)
		*(void **)&real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	int result = real_gettime(clock, out);
	if (result == 0 && ahead != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC))
		out->tv_sec += atomic_load(ahead);
	return result;
}

static int later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* Returns as if woken in vain when the clock was moved: whoever waits looks at the time again. */
int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *lock, clockid_t clock, const struct timespec *until)
{
	int64_t moved = atomic_load(ahead);
	struct timespec last = *until, look;
	last.tv_sec -= moved;
	for (;;) {
		(void)real_gettime(clock, &look);
		look.tv_nsec += LOOK_NS;
		look.tv_sec += look.tv_nsec / 1000000000;
		look.tv_nsec %= 1000000000;
		int is_last = later(&look, &last);
		int result = real_wait(condition, lock, clock, is_last ? &last : &look);
		if (result != ETIMEDOUT || is_last)
			return result;
		if (atomic_load(ahead) != moved)
			return 0;
	}
}
