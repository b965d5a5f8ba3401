/* What the kernel says of the process; each daemon may read its own /proc/self, fenced or not. */
#include "file.h"
#include "metrics_internal.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define STATM_MAX 4096

/* The second number of /proc/self/statm, in pages. */
static bool resident(struct scope *s, int64_t *out)
{
	span statm;
	if (file_read(s, "/proc/self/statm", STATM_MAX, &statm).code != E_OK)
		return false;
	const char *second = strchr(scope_cstr(s, statm), ' ');
	*out = second == NULL ? 0 : strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE);
	return *out > 0;
}

/* Without the one that it takes to look. */
static bool descriptors(int64_t *out)
{
	DIR *directory = opendir("/proc/self/fd");
	int64_t found = 0;
	if (directory == NULL)
		return false;
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
		found += entry->d_name[0] != '.';
	(void)closedir(directory);
	*out = found - 1;
	return true;
}

void metrics_process(struct metrics_page *page)
{
	static const struct metric memory = { "chancery_process_resident_memory_bytes", METRIC_GAUGE,
					      "Memory of the process that is in RAM." };
	static const struct metric open_now = { "chancery_process_open_fds", METRIC_GAUGE, "Descriptors that are open." };
	static const struct metric most = { "chancery_process_max_fds", METRIC_GAUGE, "Descriptors that may be open." };
	AUTO_SCOPE s;
	struct rlimit limit;
	int64_t value;
	scope_init(&s, NULL);
	if (resident(&s, &value))
		metrics_one(page, &memory, value);
	if (descriptors(&value))
		metrics_one(page, &open_now, value);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= INT64_MAX)
		metrics_one(page, &most, (int64_t)limit.rlim_cur);
}
