/*
 * `chancery restore`: the way back from a copy made by `chancery backup`, while the daemons are stopped. Nothing is overwritten:
 * what was there is moved aside.
 *
 * After a restore of the database alone the ca brings in from the log what the copy does not know. A log is mended: what its copy
 * lacks is taken from the log that is there, when both together verify, so that nothing acknowledged is lost. Where that cannot
 * be, what is lost is counted by the checkpoints that daemons and keyd of the log zone keep, and going on needs --accept-loss.
 *
 * auditd is stopped, so the record lies as a journal in the log's directory `incoming`; auditd takes it before it serves.
 */
#include "audit_log.h"
#include "cli_audit.h"
#include "cli_backup.h"
#include "cli_nouns.h"
#include "cli_process.h"
#include "digest.h"
#include "file.h"
#include "log.h"
#include "text.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct restore {
	struct cli *c;
	const char *from, *stamp;
	bool database, log;
	span digest;      /* of the database's copy */
	char *fresh;      /* the log as it will be, beside the one that is there */
	uint64_t records; /* in it */
	uint64_t lost;    /* acknowledged once, and not in it */
};

static st must_be_stopped(struct scope *s, const struct cli *c)
{
	const struct cli_daemon *const daemons[] = { cli_conf_daemon(&c->conf, "ca"), cli_conf_daemon(&c->conf, "auditd"),
						     cli_conf_keyd(&c->conf, "log") };
	for (size_t i = 0; i < sizeof daemons / sizeof daemons[0]; i++)
		if (daemons[i] != NULL && cli_serves(s, c, daemons[i]))
			return fail(s, E_STATE, "%s runs; stop the daemons first with `chancery run --stop`",
				    daemons[i]->label);
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

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *where)
{
	(void)about;
	(void)kind;
	(void)where;
	return remove(path);
}

/* ---- the log ---- */

static st verdict(struct scope *s, const struct restore *r, bool anchored, struct audit_report *out)
{
	return fail_context(s, cli_audit_check(s, r->c, r->fresh, anchored, out), "verifying the restored log");
}

/* Hashes and entries of the copy, and beside them what only the log that is there has: its newer end. */
static st lay_mended(struct scope *s, const struct restore *r, const char *copy)
{
	static const char *const newer[] = { "checkpoint", "imported" };
	const char *there = r->c->conf.audit_log;
	TRY(cli_copy_tree(s, scope_printf(s, "%s/tile", copy), scope_printf(s, "%s/tile", r->fresh)));
	for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++)
		if (file_exists(scope_printf(s, "%s/%s", there, newer[i])))
			TRY(cli_copy_file(s, scope_printf(s, "%s/%s", there, newer[i]),
					  scope_printf(s, "%s/%s", r->fresh, newer[i])));
	if (file_exists(scope_printf(s, "%s/tail", there)))
		TRY(cli_copy_tree(s, scope_printf(s, "%s/tail", there), scope_printf(s, "%s/tail", r->fresh)));
	return cli_copy_tree(s, there, r->fresh);
}

static st clear_fresh(struct scope *s, const struct restore *r)
{
	if (file_exists(r->fresh) && nftw(r->fresh, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
		return fail_errno(s, E_IO, "removing %s", r->fresh);
	return OK;
}

/* Copy and present log together, when they make one sound log that nobody was told more of. */
static st try_mended(struct scope *s, struct restore *r, const char *copy, bool *out_done)
{
	struct audit_report report = { .verdict = AUDIT_UNSOUND };
	*out_done = false;
	if (!file_exists(scope_printf(s, "%s/checkpoint", r->c->conf.audit_log)))
		return OK;
	st laid = lay_mended(s, r, copy);
	if (laid.code == E_OK)
		laid = verdict(s, r, true, &report);
	if (laid.code == E_OK && report.verdict != AUDIT_UNSOUND) {
		r->records = report.checkpoint.size + report.tail;
		*out_done = true;
		return OK;
	}
	cli_progress(r->c, "The log that is there does not help: %s", laid.code == E_OK ? report.problem : s->message);
	scope_clear_error(s);
	return clear_fresh(s, r);
}

static st use_copy(struct scope *s, struct restore *r, const char *copy)
{
	struct audit_report report;
	TRY(cli_copy_tree(s, copy, r->fresh));
	TRY(verdict(s, r, false, &report));
	if (report.verdict == AUDIT_UNSOUND)
		return fail(s, E_CRYPTO, "the copy %s is not sound itself: %s", copy, report.problem);
	r->records = report.checkpoint.size + report.tail;
	return OK;
}

/* ---- what somebody was told of, and what is lost of it ---- */

static st size_of_note(struct scope *s, const char *path, uint64_t *out)
{
	span note;
	struct audit_note parts;
	struct audit_checkpoint checkpoint;
	TRY(file_read(s, path, AUDIT_NOTE_MAX, &note));
	TRY(audit_note_read(s, note, &parts));
	TRY(audit_checkpoint_read(s, parts.text, &checkpoint));
	*out = checkpoint.size;
	return OK;
}

/* A checkpoint that cannot be read tells nothing. */
static uint64_t told_by(struct scope *s, const char *path)
{
	uint64_t size = 0;
	if (file_exists(path) && size_of_note(s, path, &size).code != E_OK)
		scope_clear_error(s);
	return size;
}

/* keyd of the log zone signs only what continues the head it signed last. */
static st head_of_keyd(struct scope *s, const struct cli *c, const char *verb, uint64_t *out)
{
	const struct cli_daemon *keyd = cli_conf_keyd(&c->conf, "log");
	const char *const arguments[] = { "--config", keyd == NULL ? "" : keyd->config, verb, "log", NULL };
	*out = 0;
	if (keyd == NULL)
		return OK;
	AUTO_BUF printed;
	int exit_code;
	buf_init(&printed, 65536);
	TRY(cli_run_program(s, cli_program(s, c, keyd->program), arguments, &keyd->environment, -1, &printed, &exit_code));
	while (printed.len > 0 && printed.data[printed.len - 1] == '\n')
		printed.len--;
	if (exit_code != 0)
		return fail(s, E_STATE, "chancery-keyd %s ends with exit code %d; its message says why", verb, exit_code);
	return decimal_parse(s, buf_span(&printed), INT64_MAX, out);
}

static st count_lost(struct scope *s, struct restore *r)
{
	const struct conf_list *anchors = &r->c->conf.anchors;
	uint64_t most = told_by(s, scope_printf(s, "%s/checkpoint", r->c->conf.audit_log));
	uint64_t head;
	TRY(head_of_keyd(s, r->c, "head", &head));
	most = head > most ? head : most;
	for (size_t i = 0; i < anchors->count; i++) {
		uint64_t told = told_by(s, anchors->item[i]);
		most = told > most ? told : most;
	}
	r->lost = most > r->records ? most - r->records : 0;
	if (r->lost == 0 || cli_get(r->c, "accept-loss") != NULL)
		return OK;
	return fail(
		s, E_STATE,
		"the copy ends at record %llu, and daemons were told of %llu: the %llu records between would be lost. Find a "
		"newer copy, or go on without them with --accept-loss, which puts the loss on record",
		(unsigned long long)r->records, (unsigned long long)most, (unsigned long long)r->lost);
}

/* Whoever was told of what is lost would refuse the log from now on. Their checkpoints stay as evidence, aside. */
static st forget_lost(struct scope *s, const struct restore *r)
{
	const struct conf_list *anchors = &r->c->conf.anchors;
	uint64_t head;
	for (size_t i = 0; i < anchors->count; i++)
		if (told_by(s, anchors->item[i]) > r->records)
			TRY(move_aside(s, anchors->item[i], r->stamp));
	return head_of_keyd(s, r->c, "forget-head", &head);
}

static st lay_log(struct scope *s, struct restore *r, const char *copy)
{
	bool mended;
	TRY(try_mended(s, r, copy, &mended));
	if (!mended)
		TRY(use_copy(s, r, copy));
	return count_lost(s, r);
}

static st prepare_log(struct scope *s, struct restore *r, const char *copy)
{
	r->fresh = scope_printf(s, "%s.restoring-%s", r->c->conf.audit_log, r->stamp);
	cli_progress(r->c, "Audit log ...");
	st laid = lay_log(s, r, copy);
	if (laid.code != E_OK && clear_fresh(s, r).code != E_OK)
		log_put(LOG_LEVEL_WARNING, "%s is left behind", r->fresh);
	return laid;
}

/* ---- the database ---- */

static st digest_of_file(struct scope *s, const char *path, span *out)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	uint8_t part[65536];
	struct digest d;
	digest_start(&d, DIGEST_SHA256);
	ssize_t got;
	while ((got = read(fd, part, sizeof part)) > 0)
		digest_add(&d, span_of(part, (size_t)got));
	*out = digest_finish(&d, scope_alloc(s, DIGEST_MAX));
	return got == 0 ? OK : fail_errno(s, E_IO, "%s", path);
}

static st put_database(struct scope *s, const struct restore *r, const char *copy)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	const char *place = r->c->conf.database;
	for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++)
		TRY(move_aside(s, scope_printf(s, "%s%s", place, tails[i]), r->stamp));
	TRY(cli_copy_file(s, copy, place));
	return file_sync_directory_of(s, place);
}

/* ---- on record, then done ---- */

static st record(struct scope *s, const struct restore *r)
{
	const char *log = r->log ? r->fresh : r->c->conf.audit_log;
	const char *journal;
	const char *made = scope_printf(s, "%s/journal", r->from);
	TRY(cli_incoming_path(s, log, scope_printf(s, "restore-%s", r->stamp), &journal));
	if (r->log && file_exists(made)) /* that the copy was made is on record behind its end */
		TRY(cli_copy_file(s, made, journal));
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_BACKUP_RESTORED);
	audit_str(&e, "path", r->from);
	if (r->database)
		audit_hex(&e, "digest", r->digest);
	if (r->log)
		audit_number(&e, "records", (int64_t)r->records);
	if (r->lost > 0)
		audit_number(&e, "lost", (int64_t)r->lost);
	audit_str(&e, "operator", cli_operator(s));
	TRY(cli_journal_put(s, journal, &e));
	return cli_incoming_give(s, log, journal);
}

static st put_log(struct scope *s, const struct restore *r)
{
	TRY(move_aside(s, r->c->conf.audit_log, r->stamp));
	if (rename(r->fresh, r->c->conf.audit_log) != 0)
		return fail_errno(s, E_IO, "moving %s to %s", r->fresh, r->c->conf.audit_log);
	TRY(file_sync_directory_of(s, r->c->conf.audit_log));
	return r->lost > 0 ? forget_lost(s, r) : OK;
}

static st restore(struct scope *s, struct cli *c)
{
	struct restore r = { .c = c,
			     .from = c->argument[0],
			     .stamp = scope_printf(s, "%lld", (long long)(scope_now(s) / 1000000)),
			     .database = cli_get(c, "log-only") == NULL,
			     .log = cli_get(c, "database-only") == NULL };
	if (!r.database && !r.log)
		return fail(s, E_INPUT, "--database-only and --log-only exclude each other; without either, both are restored");
	TRY(must_be_stopped(s, c));
	const char *database_copy = scope_printf(s, "%s/ca.db", r.from);
	const char *log_copy = scope_printf(s, "%s/log", r.from);
	if ((r.database && !file_exists(database_copy)) || (r.log && !file_exists(log_copy)))
		return fail(s, E_NOTFOUND, "%s holds no backup: ca.db and log/ are expected there", r.from);
	if (!r.log && !file_exists(c->conf.audit_log))
		return fail(s, E_STATE, "there is no audit log in %s: restore it as well", c->conf.audit_log);
	if (r.log)
		TRY(prepare_log(s, &r, log_copy));
	if (r.database)
		TRY(digest_of_file(s, database_copy, &r.digest));
	TRY(record(s, &r));
	if (r.log)
		TRY(put_log(s, &r));
	if (r.database)
		TRY(put_database(s, &r, database_copy));
	json_t *out = json_pack("{s:s, s:b, s:b}", "restored from", r.from, "database", r.database, "log", r.log);
	if (r.log)
		(void)json_object_set_new(out, "log records", json_integer((json_int_t)r.records));
	if (r.lost > 0)
		(void)json_object_set_new(out, "records lost", json_integer((json_int_t)r.lost));
	(void)json_object_set_new(out, "next", json_string("chancery run; then chancery audit verify"));
	return cli_print(s, c, out);
}

static const struct cli_option options[] = {
	{ .name = "database-only", .help = "leave the audit log as it is: the ca then catches up from the log" },
	{ .name = "log-only",
	  .help = "leave the database as it is; a log that is there is mended with the copy, so that its newer records stay" },
	{ .name = "accept-loss",
	  .help = "go on with a copy of the log that lacks records daemons were told of; the loss goes on record" },
};
static const struct cli_command commands[] = {
	{ .arguments = "DIR",
	  .summary = "Put a backup back while the daemons are stopped; what was there is moved aside",
	  .example = "restore /srv/backup/2026-11-22 --database-only",
	  CLI_OPTIONS(options),
	  .run = restore },
};
const struct cli_noun cli_noun_restore = { "restore", "put a backup back", CLI_COMMANDS(commands) };
