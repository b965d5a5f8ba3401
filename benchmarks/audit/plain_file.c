/*
 * plain_file.c - the reference of "what do durable appends cost": a plain file that is written at its end and synced, nothing else.
 *
 * plain_file FILE, with the octets of each group as 32-bit numbers of this machine on standard input: writes groups of these sizes one
 * after the other, fdatasync after each, and prints the seconds it took. The file must not exist; it is left there.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GROUP_MAX ((size_t)16 << 20)

static double now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static uint32_t size[1 << 20];
	static char bytes[GROUP_MAX];
	size_t count = fread(size, sizeof size[0], sizeof size / sizeof size[0], stdin);
	int fd = argc == 2 ? open(argv[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
	if (fd < 0 || fsync(fd) != 0) {
		fprintf(stderr, "plain_file FILE <SIZES: FILE must not exist\n");
		return 2;
	}
	memset(bytes, 'x', sizeof bytes);
	double begun = now();
	for (size_t i = 0; i < count; i++)
		if (size[i] > GROUP_MAX || write(fd, bytes, size[i]) != (ssize_t)size[i] || fdatasync(fd) != 0) {
			perror(argv[1]);
			return 1;
		}
	printf("%.6f\n", now() - begun);
	return close(fd) == 0 ? 0 : 1;
}
