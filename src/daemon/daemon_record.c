#include "daemon.h"
#include "daemon_process.h"
#include "digest.h"
#include "file.h"
#include "log.h"
#include "text.h"

#define CONFIGURATION_MAX (1u << 20)

static uint8_t configuration_digest[32];

/* SHA-256 of the file as it is now: which configuration was in force can be shown later by whoever kept the file. */
st daemon_remember_configuration(struct scope *s, const char *path)
{
	span text;
	TRY(file_read(s, path, CONFIGURATION_MAX, &text));
	(void)digest_of(DIGEST_SHA256, text, configuration_digest);
	return OK;
}

static st commit(struct scope *s, struct audit *audit, struct audit_event *event)
{
	TRY(audit_finish(s, event));
	uint64_t index;
	return audit_commit(s, audit, event, &index);
}

st daemon_record_start(struct scope *s, struct audit *audit)
{
	AUTO_EVENT event;
	audit_begin(&event, s, AUDIT_SERVICE_STARTED);
	audit_str(&event, "version", CHANCERY_VERSION);
	audit_hex(&event, "configuration", SPAN_ARRAY(configuration_digest));
	return commit(s, audit, &event);
}

void daemon_event_reload(struct scope *s, struct audit_event *out, const char *outcome)
{
	audit_begin(out, s, AUDIT_SERVICE_RELOADED);
	audit_hex(out, "configuration", SPAN_ARRAY(configuration_digest));
	audit_str(out, "outcome", outcome);
}

/* What happened has happened: a record that cannot be made is said in the log. */
void daemon_record_reload(struct audit *audit, const char *outcome)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT event;
	daemon_event_reload(&s, &event, outcome);
	if (commit(&s, audit, &event).code != E_OK)
		log_failure(&s, "recording that the configuration was read again");
}

void daemon_record_stop(struct audit *audit, const char *reason)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT event;
	audit_begin(&event, &s, AUDIT_SERVICE_STOPPED);
	audit_str(&event, "reason", reason);
	if (commit(&s, audit, &event).code != E_OK)
		log_failure(&s, "recording the stop");
}
