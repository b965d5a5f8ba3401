#include "secret.h"
#include "file.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* A debugger that started this process sees its memory anyway; so strace -f in the tests can read what it shows. */
static bool is_traced(struct scope *s)
{
	span status;
	if (file_read(s, "/proc/self/status", 65536, &status).code != E_OK) {
		scope_clear_error(s);
		return false;
	}
	return strstr(scope_cstr(s, status), "\nTracerPid:\t0\n") == NULL;
}

st secret_process(struct scope *s)
{
	const struct rlimit no_core = { 0, 0 };
	if (setrlimit(RLIMIT_CORE, &no_core) != 0)
		return fail_errno(s, E_IO, "switching core dumps off");
	if (!SECRET_UNDER_SANITIZER && !is_traced(s) && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return fail_errno(s, E_IO, "closing the process to debuggers");
	return OK;
}

static size_t whole_pages(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	return (len + page - 1) / page * page;
}

st secret_new(struct scope *s, size_t len, void **out)
{
	size_t size = whole_pages(len);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return fail_errno(s, E_IO, "reserving memory for a secret");
	if (mlock(memory, size) != 0 || madvise(memory, size, MADV_DONTDUMP) != 0) {
		st status =
			fail_errno(s, E_IO, "locking the memory for a secret; raise the limit of locked memory (ulimit -l)");
		(void)munmap(memory, size);
		return status;
	}
	*out = memory;
	return OK;
}

void secret_free(void *memory, size_t len)
{
	if (memory == NULL)
		return;
	wipe(memory, whole_pages(len));
	(void)munmap(memory, whole_pages(len));
}

st secret_descriptor(struct scope *s, const char *option, const char *value, int *out_fd)
{
	uint64_t fd;
	if (decimal_parse(s, span_str(value), 65535, &fd).code != E_OK || fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0)
		return fail(s, E_INPUT, "%s %s: give the number of an open descriptor", option, value);
	*out_fd = (int)fd;
	return OK;
}

st secret_read(struct scope *s, int fd, char *out, size_t room, size_t *out_len)
{
	size_t len = 0;
	ssize_t got = 1;
	while (got != 0 && len < room && memchr(out, '\n', len) == NULL) {
		got = read(fd, out + len, room - len);
		if (got < 0 && errno != EINTR)
			return fail_errno(s, E_IO, "reading a secret from descriptor %d", fd);
		len += got > 0 ? (size_t)got : 0;
	}
	const char *end = len > 0 ? memchr(out, '\n', len) : NULL;
	size_t line = end != NULL ? (size_t)(end - out) : len;
	if (line == 0 || (end == NULL && len == room))
		return fail(s, E_INPUT, "descriptor %d gives no secret: a line of 1 to %zu characters belongs there", fd,
			    room - 1);
	wipe(out + line, room - line);
	*out_len = line;
	return OK;
}
