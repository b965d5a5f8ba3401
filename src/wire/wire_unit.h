/*
 * wire_unit.h - what the tests of this module share: a place for a socket, and a peer that writes what it likes.
 */
#pragma once
#include "unit.h"
#include "wire_frame.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The path of a socket in a directory of its own, NULL when there is none. The failures that tests provoke are logged; their output
 * stays readable. */
static inline char *wire_unit_place(struct scope *s)
{
	char *directory = scope_printf(s, "/tmp/chancery-wire-XXXXXX");
	if (mkdtemp(directory) == NULL)
		return NULL;
	if (getenv("CHANCERY_TEST_LOG") == NULL && freopen("/dev/null", "w", stderr) == NULL)
		return NULL;
	return scope_printf(s, "%s/sock", directory);
}

static inline void wire_unit_remove(char *path)
{
	*strrchr(path, '/') = 0;
	(void)rmdir(path);
}

static inline int wire_unit_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	assert_true(strlen(path) < sizeof address.sun_path);
	memcpy(address.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
	return fd;
}
