/*
 * `chancery backup` and `restore`: the ca's database and the audit log. The copy is made while everything runs: the database by
 * the ca itself, the log file by file (it only grows), checkpoint first, so that what the copy's checkpoint covers is in the copy.
 * Keys are not part of it: a key group is backed up, where its keys allow that, by the means of its HSM.
 */
#include "cli_api.h"
#include "cli_audit.h"
#include "cli_nouns.h"
#include "file.h"
#include "text.h"
#include "digest.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 16

static st copy_file(struct scope *s, const char *from, const char *to)
{
	AUTO_FD in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0)
		return fail_errno(s, E_IO, "%s", from);
	struct stat about;
	if (fstat(in, &about) != 0)
		return fail_errno(s, E_IO, "%s", from);
	AUTO_FD out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, about.st_mode & 0777);
	if (out < 0)
		return fail_errno(s, errno == EEXIST ? E_CONFLICT : E_IO, "%s", to);
	uint8_t part[65536];
	ssize_t got;
	while ((got = read(in, part, sizeof part)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(s, E_IO, "%s", from);
		TRY(fail_context(s, file_write_all(s, out, span_of(part, (size_t)got)), "%s", to));
	}
	return fsync(out) == 0 ? OK : fail_errno(s, E_IO, "syncing %s", to);
}

static st copy_tree(struct scope *s, const char *from, const char *to, int depth);

static st copy_entry(struct scope *s, const char *from, const char *to, int depth)
{
	struct stat about;
	if (lstat(from, &about) != 0)
		return errno == ENOENT ? OK : fail_errno(s, E_IO, "%s", from); /* a file beside, renamed in the meantime */
	if (S_ISDIR(about.st_mode))
		return copy_tree(s, from, to, depth + 1);
	return S_ISREG(about.st_mode) && !file_exists(to) ? copy_file(s, from, to) : OK;
}

static st copy_tree(struct scope *s, const char *from, const char *to, int depth)
{
	if (depth > DEPTH_MAX)
		return fail(s, E_LIMIT, "%s is nested too deep", from);
	TRY(file_make_directory(s, to, 0750));
	DIR *entries = opendir(from);
	if (entries == NULL)
		return fail_errno(s, E_IO, "%s", from);
	st copied = OK;
	for (struct dirent *entry; copied.code == E_OK && (entry = readdir(entries)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			copied = copy_entry(s, scope_printf(s, "%s/%s", from, entry->d_name),
					    scope_printf(s, "%s/%s", to, entry->d_name), depth);
	(void)closedir(entries);
	TRY(copied);
	return file_sync_directory_of(s, scope_printf(s, "%s/x", to));
}

static const struct cli_daemon *ca_of(const struct cli *c)
{
	return cli_conf_daemon(&c->conf, "ca");
}

static st backup_database(struct scope *s, const struct cli *c, const char *to, json_t **out)
{
	const struct cli_daemon *ca = ca_of(c);
	if (ca == NULL || ca->socket == NULL)
		return fail(s, E_NOTFOUND, "no ca runs on this host: make the backup where it does");
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open_local(s, ca->socket, &api));
	return cli_api_call(s, api, "POST", "/v1/backup", json_pack("{s:s}", "path", to), out);
}

static st backup(struct scope *s, struct cli *c)
{
	const char *to = c->argument[0];
	if (to[0] != '/') {
		char *here = getcwd(NULL, 0);
		to = scope_printf(s, "%s/%s", here == NULL ? "" : here, to);
		free(here);
	}
	if (file_exists(to))
		return fail(s, E_CONFLICT, "%s exists; name a directory that does not", to);
	TRY(file_make_directory(s, to, 0700));
	/* The database first: whatever it refers to in the log is then in the log's copy. */
	cli_progress(c, "Database ...");
	AUTO(json_t) *database = NULL;
	TRY(backup_database(s, c, scope_printf(s, "%s/ca.db", to), &database));
	cli_progress(c, "Audit log ...");
	char *log = scope_printf(s, "%s/log", to);
	TRY(file_make_directory(s, log, 0750));
	const char *checkpoint = scope_printf(s, "%s/checkpoint", c->conf.audit_log);
	if (file_exists(checkpoint))
		TRY(copy_file(s, checkpoint, scope_printf(s, "%s/checkpoint", log)));
	TRY(copy_tree(s, c->conf.audit_log, log, 0));
	if (file_exists(c->conf.audit_key))
		TRY(copy_file(s, c->conf.audit_key, scope_printf(s, "%s/log.vkey", to)));
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:I}", "backup", to, "database sha256", cli_member(database, "digest"),
				   "database size", (json_int_t)cli_member_number(database, "size")));
}

static st must_be_stopped(struct scope *s, const struct cli *c)
{
	static const char *const names[] = { "ca", "auditd" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (cli_daemon_runs(s, c, names[i]))
			return fail(s, E_STATE, "%s runs; stop the daemons first with `chancery run --stop`", names[i]);
	return OK;
}

static st move_aside(struct scope *s, const char *path, const char *stamp)
{
	if (!file_exists(path))
		return OK;
	char *aside = scope_printf(s, "%s.before-restore-%s", path, stamp);
	if (rename(path, aside) != 0)
		return fail_errno(s, E_IO, "moving %s to %s", path, aside);
	return file_sync_directory_of(s, path);
}

/* Nothing is overwritten: what is there is moved aside. After a restore of the database alone the ca brings in from the log what
 * the copy does not know; a restored log is shorter than what daemons were told, which `audit verify` says by its anchors. */
static st restore(struct scope *s, struct cli *c)
{
	const char *from = c->argument[0];
	bool database = cli_get(c, "log-only") == NULL;
	bool log = cli_get(c, "database-only") == NULL;
	TRY(must_be_stopped(s, c));
	char *database_copy = scope_printf(s, "%s/ca.db", from);
	char *log_copy = scope_printf(s, "%s/log", from);
	if ((database && !file_exists(database_copy)) || (log && !file_exists(log_copy)))
		return fail(s, E_NOTFOUND, "%s holds no backup: ca.db and log/ are expected there", from);
	char *stamp = scope_printf(s, "%lld", (long long)(scope_now(s) / 1000000));
	if (database) {
		static const char *const tails[] = { "", "-wal", "-shm" };
		for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++)
			TRY(move_aside(s, scope_printf(s, "%s%s", c->conf.database, tails[i]), stamp));
		TRY(copy_file(s, database_copy, c->conf.database));
		TRY(file_sync_directory_of(s, c->conf.database));
	}
	if (log) {
		TRY(move_aside(s, c->conf.audit_log, stamp));
		TRY(copy_tree(s, log_copy, c->conf.audit_log, 0));
	}
	return cli_print(s, c,
			 json_pack("{s:s, s:b, s:b, s:s}", "restored from", from, "database", database, "log", log, "next",
				   "chancery run; then chancery audit verify"));
}

static const struct cli_option restore_options[] = {
	{ .name = "database-only",
	  .help = "leave the audit log as it is: the usual case, the ca then catches up from the log" },
	{ .name = "log-only", .help = "leave the database as it is" },
};
static const struct cli_command backup_commands[] = {
	{ .arguments = "DIR",
	  .summary = "Copy the database and the audit log into a new directory while everything runs",
	  .example = "backup /srv/backup/2026-11-22",
	  .run = backup },
};
static const struct cli_command restore_commands[] = {
	{ .arguments = "DIR",
	  .summary = "Put a backup back while the daemons are stopped; what was there is moved aside",
	  .example = "restore /srv/backup/2026-11-22 --database-only",
	  CLI_OPTIONS(restore_options),
	  .run = restore },
};
const struct cli_noun cli_noun_backup = { "backup", "copy database and audit log", CLI_COMMANDS(backup_commands) };
const struct cli_noun cli_noun_restore = { "restore", "put a backup back", CLI_COMMANDS(restore_commands) };
