/*
 * sync_stub.c - only in builds with -Dstub_sync=true: syncs do nothing, here and in every library. tests/flow/test_durable.py must
 * fail against such a build, which is how we know that it can fail.
 */
#include <unistd.h>

int fsync(int fd)
{
	(void)fd;
	return 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return 0;
}

int syncfs(int fd)
{
	(void)fd;
	return 0;
}
