#include "failpoint.h"
#ifdef CHANCERY_FAILPOINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define PLACES_MAX 32

/* What follows the name of this place in the list, and the how manieth of the list it is. NULL: it is not named. */
static const char *find(const char *list, const char *name, size_t *out_at)
{
	size_t len = strlen(name);
	for (*out_at = 0; list != NULL; ++*out_at) {
		if (strncmp(list, name, len) == 0 && strchr(":,", list[len]) != NULL)
			return list + len;
		list = strchr(list, ',');
		list += list != NULL;
	}
	return NULL;
}

/* The thread bears the name of the place meanwhile, for whoever looks at /proc: nothing is written, no output is torn by it. */
static void hold(const char *name)
{
	char own[16], here[16] = "@";
	(void)strncat(here, name, sizeof here - 2);
	(void)prctl(PR_GET_NAME, own);
	(void)prctl(PR_SET_NAME, here);
	(void)raise(SIGSTOP);
	(void)prctl(PR_SET_NAME, own);
}

void failpoint(const char *name)
{
	static atomic_int passages[PLACES_MAX];
	size_t at;
	const char *rest = find(getenv("CHANCERY_FAILPOINT"), name, &at);
	if (rest == NULL || at >= PLACES_MAX)
		return;
	char *end = NULL;
	int nth = *rest == ':' ? (int)strtol(rest + 1, &end, 10) : 1;
	int passage = atomic_fetch_add(&passages[at], 1) + 1;
	if (end != NULL && strncmp(end, ":hold", 5) == 0) {
		if (passage % nth == 0)
			hold(name);
	} else if (passage == nth) {
		(void)raise(SIGKILL);
	}
}
#else
typedef int failpoint_is_not_in_this_build;
#endif
