/*
 * `chancery backup`: the ca's database and the audit log. The copy is made while everything runs: the database by the ca itself,
 * the log file by file (it only grows), checkpoint first, so that what the copy's checkpoint covers is in the copy. The ca puts its
 * copy on record; the record of the log's copy lies beside it, as a journal, and goes into the log. Keys are not part of it: a key group is backed up, where its
 * keys allow that, by the means of its HSM. The way back is in cli_restore.c.
 */
#include "cli_backup.h"
#include "audit.h"
#include "cli_api.h"
#include "cli_audit.h"
#include "cli_nouns.h"
#include "file.h"
#include "stamp.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 16

/* Copied by root, a file stays the daemon's. */
static st keep_owner(struct scope *s, int fd, const struct stat *about, const char *path)
{
	if (geteuid() != 0 || fchown(fd, about->st_uid, about->st_gid) == 0)
		return OK;
	return fail_errno(s, E_IO, "owner of %s", path);
}

st cli_copy_file(struct scope *s, const char *from, const char *to)
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
	TRY(keep_owner(s, out, &about, to));
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
	return S_ISREG(about.st_mode) && !file_exists(to) ? cli_copy_file(s, from, to) : OK;
}

static st make_like(struct scope *s, const char *path, int like)
{
	struct stat about;
	TRY(file_make_directory(s, path, 0750));
	AUTO_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(like, &about) != 0)
		return fail_errno(s, E_IO, "%s", path);
	return keep_owner(s, fd, &about, path);
}

static st copy_tree(struct scope *s, const char *from, const char *to, int depth)
{
	if (depth > DEPTH_MAX)
		return fail(s, E_LIMIT, "%s is nested too deep", from);
	AUTO_FD like = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (like < 0)
		return fail_errno(s, E_IO, "%s", from);
	TRY(make_like(s, to, like));
	char **name;
	size_t count;
	TRY(file_list(s, from, &name, &count));
	for (size_t i = 0; i < count; i++)
		TRY(copy_entry(s, scope_printf(s, "%s/%s", from, name[i]), scope_printf(s, "%s/%s", to, name[i]), depth));
	return file_sync_directory_of(s, scope_printf(s, "%s/x", to));
}

st cli_copy_tree(struct scope *s, const char *from, const char *to)
{
	return copy_tree(s, from, to, 0);
}

/* ---- what is on record ---- */

/* Records under the checkpoint of a log's copy; 0 when it has none yet. */
static st records_of(struct scope *s, const char *log, uint64_t *out)
{
	span note;
	struct audit_note parts;
	struct audit_checkpoint checkpoint = { 0 };
	const char *path = scope_printf(s, "%s/checkpoint", log);
	if (file_exists(path)) {
		TRY(file_read(s, path, AUDIT_NOTE_MAX, &note));
		TRY(fail_context(s, audit_note_read(s, note, &parts), "%s", path));
		TRY(fail_context(s, audit_checkpoint_read(s, parts.text, &checkpoint), "%s", path));
	}
	*out = checkpoint.size;
	return OK;
}

static st record_backup(struct scope *s, const struct cli *c, const char *to, uint64_t records)
{
	const char *journal = scope_printf(s, "%s/journal", to);
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_BACKUP_MADE);
	audit_str(&e, "path", scope_printf(s, "%s/log", to));
	audit_number(&e, "records", (int64_t)records);
	audit_str(&e, "operator", cli_operator(s));
	TRY(cli_journal_put(s, journal, &e));
	return fail_context(s, cli_audit_import(s, c, journal),
			    "the copy in %s is whole but not on record; do `chancery audit import %s`", to, journal);
}

/* ---- the copy ---- */

static const struct cli_daemon *ca_of(const struct cli *c)
{
	return cli_conf_daemon(&c->conf, "ca");
}

/* The ca can make files in its own directories only (Landlock): the copy is made beside the database and brought to `to`. */
static st backup_database(struct scope *s, const struct cli *c, const char *to, json_t **out)
{
	char *made = scope_printf(s, "%s.backup-%d", c->conf.database, (int)getpid());
	const struct cli_daemon *ca = ca_of(c);
	if (ca == NULL || ca->socket == NULL)
		return fail(s, E_NOTFOUND, "no ca runs on this host: make the backup where it does");
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open_local(s, ca->socket, &api));
	TRY(cli_api_call(s, api, "POST", "/v1/backup", json_pack("{s:s, s:s}", "path", made, "destination", to), out));
	st copied = cli_copy_file(s, made, to);
	if (unlink(made) != 0 && copied.code == E_OK)
		return fail_errno(s, E_IO, "removing %s", made);
	return copied;
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
	AUTO(json_t) *database = NULL;
	st copied = OK;
	if (cli_get(c, "log-only") == NULL) {
		cli_progress(c, "Database ...");
		copied = backup_database(s, c, scope_printf(s, "%s/ca.db", to), &database);
	}
	if (copied.code != E_OK) {
		(void)rmdir(to); /* empty still, so that the same command can be given again */
		return copied;
	}
	cli_progress(c, "Audit log ...");
	char *log = scope_printf(s, "%s/log", to);
	TRY(file_make_directory(s, log, 0750));
	const char *checkpoint = scope_printf(s, "%s/checkpoint", c->conf.audit_log);
	if (file_exists(checkpoint))
		TRY(cli_copy_file(s, checkpoint, scope_printf(s, "%s/checkpoint", log)));
	TRY(cli_copy_tree(s, c->conf.audit_log, log));
	if (file_exists(c->conf.audit_key))
		TRY(cli_copy_file(s, c->conf.audit_key, scope_printf(s, "%s/log.vkey", to)));
	uint64_t records;
	TRY(records_of(s, log, &records));
	TRY(stamp_remove_above(s, log, records)); /* made while the tiles were copied */
	TRY(record_backup(s, c, to, records));
	json_t *out = json_pack("{s:s, s:I}", "backup", to, "log records", (json_int_t)records);
	if (database != NULL)
		(void)json_object_update_missing_new(out, json_pack("{s:s, s:I}", "database sha256",
								    cli_member(database, "digest"), "database size",
								    (json_int_t)cli_member_number(database, "size")));
	return cli_print(s, c, out);
}

static const struct cli_option backup_options[] = {
	{ .name = "log-only",
	  .help = "leave the database out: one of PostgreSQL is backed up with its own tools, before this" },
};

static const struct cli_command backup_commands[] = {
	{ .arguments = "DIR",
	  .summary = "Copy the database and the audit log into a new directory while everything runs",
	  .example = "backup /srv/backup/2026-11-22",
	  CLI_OPTIONS(backup_options),
	  .run = backup },
};
const struct cli_noun cli_noun_backup = { "backup", "copy database and audit log", CLI_COMMANDS(backup_commands) };
