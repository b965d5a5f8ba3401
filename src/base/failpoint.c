#include "failpoint.h"
#ifdef CHANCERY_FAILPOINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void failpoint(const char *name)
{
	static atomic_int passages;
	const char *wanted = getenv("CHANCERY_FAILPOINT");
	size_t len = strlen(name);
	if (wanted == NULL || strncmp(wanted, name, len) != 0 || (wanted[len] != 0 && wanted[len] != ':'))
		return;
	int nth = wanted[len] == ':' ? (int)strtol(wanted + len + 1, NULL, 10) : 1;
	if (atomic_fetch_add(&passages, 1) + 1 == nth)
		(void)raise(SIGKILL);
}
#else
typedef int failpoint_is_not_in_this_build;
#endif
