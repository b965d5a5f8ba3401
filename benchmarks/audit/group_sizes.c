/*
 * group_sizes.c - preloaded into auditd by the benchmark: how many octets each group had that was written by pwrite and synced by
 * fdatasync, as 32-bit numbers of this machine in the file GROUP_SIZES, which is mapped. Nothing of this is installed.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST (1u << 22)

static _Atomic uint32_t *sizes; /* the first is their count */
static _Thread_local uint32_t written;
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("GROUP_SIZES");
	*(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
	*(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)MOST * 4) != 0)
		return;
	void *map = mmap(NULL, (size_t)MOST * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	sizes = map == MAP_FAILED ? NULL : map;
	(void)close(fd);
}

/* Offsets have 64 bits here as in auditd, so that this is pwrite64 to the linker. */
ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	ssize_t done = real_pwrite(fd, data, len, at);
	written = done > 0 ? (uint32_t)done : 0;
	return done;
}

int fdatasync(int fd)
{
	if (sizes != NULL && written > 0) {
		uint32_t n = atomic_fetch_add(&sizes[0], 1) + 1;
		if (n < MOST)
			atomic_store(&sizes[n], written);
	}
	written = 0;
	return real_fdatasync(fd);
}
