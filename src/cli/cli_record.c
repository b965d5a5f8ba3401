#include "cli_record.h"
#include "file.h"
#include "wire.h"
#include <sys/stat.h>
#include <unistd.h>

#define KNOCK_MS 1000

char *cli_operator(struct scope *s)
{
	return scope_printf(s, "uid %d", (int)getuid());
}

/* By its pid file, or, under another supervisor than ours, by its socket. */
bool cli_serves(struct scope *s, const struct cli *c, const struct cli_daemon *daemon)
{
	struct wire_client *client = NULL;
	bool answers = daemon->socket != NULL && wire_connect(s, daemon->socket, KNOCK_MS, &client).code == E_OK;
	wire_close(client);
	scope_clear_error(s);
	return answers || cli_daemon_runs(s, c, daemon->label);
}

static st put(struct scope *s, const struct audit_settings *settings, struct audit_event *e)
{
	struct audit *audit;
	uint64_t index;
	TRY(audit_finish(s, e));
	TRY(audit_open(s, settings, &audit));
	st status = audit_commit(s, audit, e, &index);
	audit_close(audit);
	return status;
}

st cli_journal_put(struct scope *s, const char *path, struct audit_event *e)
{
	return put(s, &(struct audit_settings){ .journal = path, .component = "cli" }, e);
}

/* ---- while auditd is stopped ---- */

st cli_incoming_path(struct scope *s, const char *log, const char *name, const char **out)
{
	const char *folder = scope_printf(s, "%s/incoming", log);
	*out = scope_printf(s, "%s/%s", folder, name);
	return file_make_directory(s, folder, 0750);
}

/* auditd reads it and takes it away. */
st cli_incoming_give(struct scope *s, const char *log, const char *journal)
{
	struct stat about;
	const char *folder = scope_printf(s, "%s/incoming", log);
	TRY(file_sync_directory_of(s, journal));
	TRY(file_sync_directory_of(s, folder));
	if (geteuid() != 0)
		return OK;
	if (stat(log, &about) != 0 || chown(folder, about.st_uid, about.st_gid) != 0 ||
	    chown(journal, about.st_uid, about.st_gid) != 0)
		return fail_errno(s, E_IO, "owner of %s", journal);
	return OK;
}

static st leave(struct scope *s, const char *log, const char *name, struct audit_event *e)
{
	const char *journal;
	TRY(cli_incoming_path(s, log, name, &journal));
	TRY(cli_journal_put(s, journal, e));
	return cli_incoming_give(s, log, journal);
}

/* ---- whichever way there is ---- */

st cli_record_possible(struct scope *s, const struct cli *c)
{
	const struct cli_daemon *auditd = cli_conf_daemon(&c->conf, "auditd");
	if (auditd == NULL || auditd->socket == NULL || c->conf.audit_log == NULL || !file_exists(c->conf.audit_log))
		return fail(s, E_STATE,
			    "there is no audit log on this host, and this must be on record: do it where auditd runs");
	return OK;
}

st cli_record(struct scope *s, const struct cli *c, const char *name, struct audit_event *e)
{
	TRY(cli_record_possible(s, c));
	const struct cli_daemon *auditd = cli_conf_daemon(&c->conf, "auditd");
	if (cli_serves(s, c, auditd))
		return put(s, &(struct audit_settings){ .socket = auditd->socket, .component = "cli" }, e);
	return leave(s, c->conf.audit_log, name, e);
}
