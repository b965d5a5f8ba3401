#include "daemon_process.h"
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* True when `fd` is still the file at `path`: an orderly ending predecessor removes the name while it holds the lock. */
static bool is_still_named(int fd, const char *path)
{
	struct stat open_file, named;
	return fstat(fd, &open_file) == 0 && stat(path, &named) == 0 && open_file.st_ino == named.st_ino &&
	       open_file.st_dev == named.st_dev;
}

st daemon_pid_file(struct scope *s, const char *path, int *out_fd)
{
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail_errno(s, E_IO, "pid file %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_still_named(fd, path))
		return fail(s, E_STATE, "pid file %s is held by a running process: stop that one first", path);
	const char *pid = scope_printf(s, "%d\n", (int)getpid());
	if (ftruncate(fd, 0) != 0 || fchmod(fd, 0644) != 0)
		return fail_errno(s, E_IO, "pid file %s", path);
	TRY(fail_context(s, file_write_all(s, fd, span_str(pid)), "pid file %s", path));
	*out_fd = take_fd(&fd);
	return OK;
}

st daemon_notify(struct scope *s, const char *message)
{
	const char *path = getenv("NOTIFY_SOCKET");
	if (path == NULL || path[0] == 0)
		return OK;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	if (len >= sizeof to.sun_path)
		return fail(s, E_CONFIG, "$NOTIFY_SOCKET is longer than a socket path can be");
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = 0;
	AUTO_FD fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (fd < 0 || sendto(fd, message, strlen(message), MSG_NOSIGNAL, (const struct sockaddr *)&to, size) < 0)
		return fail_errno(s, E_IO, "telling the service manager %s", path);
	return OK;
}
