/*
 * Landlock: what a taken-over daemon can open. The rows of the configuration say how each path is used, so a new setting brings
 * its own permission. A rule holds for a directory, not for a file in it, since files are replaced by renaming. Programs can be
 * started from nowhere. What a reload names outside the directories of the start is refused by the kernel: restart for that.
 *
 * Connecting to a socket is no matter of files to Landlock; who may connect is decided by its mode and by the peer's uid.
 */
#include "daemon.h"
#include "daemon_process.h"
#include "file.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the kernel headers of Debian 12. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

#define READ   (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE  (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define REMOVE (LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR)
#define MAKE                                                                                                                   \
	(LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM |                             \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO)
#define KEEP    (READ | WRITE | REMOVE | MAKE | LANDLOCK_ACCESS_FS_REFER)
#define HANDLED (KEEP | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)
/* What a rule for a file, not a directory, may name. */
#define OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | WRITE)

static bool fenced;

bool daemon_is_fenced(void)
{
	return fenced;
}

static const struct use {
	bool itself; /* the path; else the directory it lies in, with all below */
	bool make;   /* as a directory, when it is not there */
	uint64_t rights;
} uses[] = {
	[CONF_READS] = { .rights = READ },
	[CONF_REPLACES] = { .rights = READ | WRITE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE },
	[CONF_OPENS] = { .itself = true, .rights = OF_FILES },
	[CONF_KEEPS] = { .itself = true, .make = true, .rights = KEEP },
	[CONF_SEARCHES] = { .itself = true, .rights = READ },
	[CONF_LISTENS] = { .rights = LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
				     LANDLOCK_ACCESS_FS_REMOVE_FILE },
	[CONF_CONNECTS] = { .rights = 0 },
};

/* Of the system: libraries and what they read. */
static const struct system_path {
	const char *path;
	uint64_t rights;
	bool for_modules; /* only where another vendor's code runs */
} system_paths[] = {
	{ "/usr", READ, false },          { "/lib", READ, false },         { "/lib64", READ, false },
	{ "/etc", READ, false },          { "/proc/self", READ, false },   { "/sys/devices/system/cpu", READ, false },
	{ "/dev/null", OF_FILES, false }, { "/dev/urandom", READ, false }, { "/opt", READ, true },
	{ "/proc", READ, true },          { "/sys", READ, true },          { "/dev", READ | WRITE, true },
};

struct fence {
	struct scope *s;
	int ruleset;
	uint64_t handled;
	st status; /* of the first failure */
};

static st allow(struct scope *s, const struct fence *f, const char *path, uint64_t rights)
{
	AUTO_FD fd = open(path, O_PATH | O_CLOEXEC);
	struct stat about;
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
		return OK; /* what is not there for us cannot be opened either */
	if (fd < 0 || fstat(fd, &about) != 0)
		return fail_errno(s, E_IO, "fencing the file system: %s", path);
	rights &= f->handled & (S_ISDIR(about.st_mode) ? HANDLED : OF_FILES);
	const struct landlock_path_beneath_attr rule = { .allowed_access = rights, .parent_fd = fd };
	if (rights == 0 || syscall(SYS_landlock_add_rule, f->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
		return OK;
	return fail_errno(s, E_IO, "fencing the file system: %s", path);
}

static const char *directory_of(struct scope *s, const char *path)
{
	const char *slash = strrchr(path, '/');
	if (slash == NULL)
		return ".";
	return slash == path ? "/" : scope_cstr(s, span_of(path, (size_t)(slash - path)));
}

static st allow_use(struct scope *s, const struct fence *f, enum conf_access access, const char *path)
{
	const struct use *use = &uses[access];
	if (use->make)
		TRY(file_make_directory(s, path, 0750));
	return allow(s, f, use->itself ? path : directory_of(s, path), use->rights);
}

static void take_path(void *state, enum conf_access access, const char *path)
{
	struct fence *f = state;
	if (f->status.code == E_OK)
		f->status = allow_use(f->s, f, access, path);
}

static st allow_system(struct scope *s, const struct fence *f, bool loads_module)
{
	for (size_t i = 0; i < sizeof system_paths / sizeof system_paths[0]; i++)
		if (loads_module || !system_paths[i].for_modules)
			TRY(allow(s, f, system_paths[i].path, system_paths[i].rights));
	return OK;
}

static st allow_all(struct scope *s, struct fence *f, const struct daemon *d, const void *conf, const char *config,
		    const char *pid_file)
{
	TRY(allow_system(s, f, d->loads_module));
	take_path(f, CONF_READS, config);
	if (pid_file != NULL) /* open already; its name goes at the end */
		TRY(allow(s, f, directory_of(s, pid_file), LANDLOCK_ACCESS_FS_REMOVE_FILE));
	conf_paths(d->schema, conf, take_path, f);
	if (d->further_paths != NULL)
		d->further_paths(take_path, f);
	return f->status;
}

/* The rights this kernel knows; 0: it has no Landlock, or does not use it. */
static uint64_t rights_of_kernel(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t rights = version >= 1 ? HANDLED : 0;
	if (version < 2)
		rights &= ~LANDLOCK_ACCESS_FS_REFER;
	if (version < 3)
		rights &= ~LANDLOCK_ACCESS_FS_TRUNCATE;
	return rights;
}

st daemon_fence(struct scope *s, const struct daemon *d, const void *conf, const char *config, const char *pid_file)
{
	struct fence f = { .s = s, .ruleset = -1, .handled = rights_of_kernel(), .status = OK };
	if (f.handled == 0) {
		log_put(LOG_LEVEL_WARNING,
			"this kernel has no Landlock: files are fenced off by users and by the units of systemd only");
		return OK;
	}
	const struct landlock_ruleset_attr attributes = { .handled_access_fs = f.handled };
	AUTO_FD ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
	if (ruleset < 0)
		return fail_errno(s, E_IO, "fencing the file system");
	f.ruleset = ruleset;
	TRY(allow_all(s, &f, d, conf, config, pid_file));
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		return fail_errno(s, E_IO, "fencing the file system");
	fenced = true;
	return OK;
}
