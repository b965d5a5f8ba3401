#include "daemon.h"
#include "daemon_process.h"
#include "log.h"

/* Finished, and on record together. */
static st commit_all(struct scope *s, struct audit *audit, struct audit_event *event, size_t count)
{
	const struct audit_event *all[DAEMON_LIFE_EVENTS + 1] = { NULL };
	st status = OK;
	for (size_t i = 0; i < count; i++) {
		all[i] = &event[i];
		if (status.code == E_OK)
			status = audit_finish(s, &event[i]);
	}
	if (status.code == E_OK)
		status = audit_commit_all(s, audit, all, count);
	for (size_t i = 0; i < count; i++)
		audit_event_free(&event[i]);
	return status;
}

st daemon_record_start(struct scope *s, struct audit *audit)
{
	struct audit_event event[DAEMON_LIFE_EVENTS + 1];
	size_t count = daemon_life_events(s, event);
	struct audit_event *started = &event[count++];
	audit_begin(started, s, AUDIT_SERVICE_STARTED);
	audit_str(started, "version", CHANCERY_VERSION);
	audit_hex(started, "configuration", daemon_configuration_digest());
	audit_hex(started, "program", daemon_program_digest());
	TRY(commit_all(s, audit, event, count));
	daemon_life_begun();
	return OK;
}

void daemon_event_reload(struct scope *s, struct audit_event *out, bool in_force)
{
	audit_begin(out, s, AUDIT_SERVICE_RELOADED);
	audit_hex(out, "configuration", daemon_configuration_digest());
	audit_str(out, "outcome", in_force ? "in force" : "refused");
}

/* What happened has happened: a record that cannot be made is said in the log. */
void daemon_record_reload(struct audit *audit, bool in_force)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_event event[2];
	size_t count = 1;
	daemon_event_reload(&s, &event[0], in_force);
	if (in_force && daemon_event_changed(&s, &event[1]))
		count++;
	if (commit_all(&s, audit, event, count).code != E_OK)
		log_failure(&s, "recording that the configuration was read again");
	else if (in_force)
		daemon_life_begun();
}

void daemon_record_stop(struct audit *audit, const char *reason)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_event event;
	audit_begin(&event, &s, AUDIT_SERVICE_STOPPED);
	audit_str(&event, "reason", reason);
	if (commit_all(&s, audit, &event, 1).code != E_OK)
		log_failure(&s, "recording the stop");
	daemon_life_ended();
}
