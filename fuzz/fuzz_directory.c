#include "fuzz_directory.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[40];

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
	(void)about, (void)type, (void)where;
	return remove(path);
}

static void remove_directory(void)
{
	(void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_directory(void)
{
	if (directory[0] != 0)
		return directory;
	(void)snprintf(directory, sizeof directory, "%s/chancery-fuzz-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	check(mkdtemp(directory) != NULL);
	check(atexit(remove_directory) == 0);
	return directory;
}

const char *fuzz_path(const char *name)
{
	static char path[256];
	check(snprintf(path, sizeof path, "%s/%s", fuzz_directory(), name) < (int)sizeof path);
	return path;
}

void fuzz_make_directory(const char *name)
{
	check(mkdir(fuzz_path(name), 0700) == 0);
}

void fuzz_file(const char *name, span content)
{
	int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, content.data, content.len) == (ssize_t)content.len);
	check(close(fd) == 0);
}

void fuzz_forget(const char *name)
{
	(void)unlink(fuzz_path(name));
}
