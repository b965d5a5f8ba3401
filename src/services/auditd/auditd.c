#include "auditd.h"
#include "daemon.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define STOP_GRACE_MS 5000
/* Ids of so many of the last leaves are read back at start. A client offers a record again within seconds of a restart; who keeps
 * records longer (the ca's outbox) compares with the log itself before it serves. */
#define IDS_AT_START 65536u

static const struct conf_row rows[] = {
	CONF_ROW(CONF_PATH, struct auditd_conf, log, "log-directory", .access = CONF_KEEPS,
		 .help = "Directory of the log (tlog-tiles layout and tail); nobody else writes in it."),
	CONF_ROW(CONF_PATH, struct auditd_conf, socket, "socket", .access = CONF_LISTENS,
		 .help = "Local socket where daemons put their records."),
	CONF_ROW(CONF_STRING, struct auditd_conf, group, "socket-group", .standard = "",
		 .help = "Group whose members may connect; left out, only the daemon's own user and root may."),
	CONF_ROW(
		CONF_LIST, struct auditd_conf, writer, "writer", .standard = "",
		.help = "NAME USER, repeated: who may write, under which name (not auditd) its records stand in the log; the user by name "
			"or number. Left out, "
			"everybody who may connect writes, under the name of the user.",
		.clause = "EN 319 401 REQ-7.9.1"),
	CONF_ROW(CONF_STRING, struct auditd_conf, origin, "origin",
		 .help = "Origin line of checkpoints: a unique name of the log such as example.org/log, without spaces or "
			 "plus."),
	CONF_ROW(CONF_PATH, struct auditd_conf, keyd, "keyd-socket", .access = CONF_CONNECTS,
		 .help = "Socket of the log zone's keyd."),
	CONF_ROW(CONF_STRING, struct auditd_conf, key, "key", .standard = "log",
		 .help = "Label of the key that signs checkpoints."),
	CONF_ROW(
		CONF_STRING, struct auditd_conf, outgoing_key, "outgoing-key", .standard = "",
		.help = "Label of the key that signed before, after a roll-over: it signs each checkpoint too, until everybody who verifies "
			"has the new one."),
	CONF_ROW(CONF_DURATION, struct auditd_conf, checkpoint_interval, "checkpoint-interval", .standard = "1s", .min = 10000,
		 .max = MOMENT_HOUR, .help = "How often a checkpoint is signed while the log grows.",
		 .clause = "EN 319 401 REQ-7.9.1-14"),
	CONF_ROW(CONF_DURATION, struct auditd_conf, checkpoint_max_age, "checkpoint-max-age", .standard = "60s",
		 .min = MOMENT_SECOND / 10, .max = MOMENT_DAY,
		 .help = "When a record has waited so long for a signed checkpoint, issuance is refused; an alarm goes out at "
			 "half of it."),
	CONF_ROW(CONF_STRING, struct auditd_conf, stamp_url, "stamp-url", .standard = "",
		 .help = "Time-stamping authority that stamps checkpoints, http:// or https://; left out, none are stamped and "
			 "auditd can open no Internet socket.",
		 .clause = "EN 319 401 REQ-7.9.1-15"),
	CONF_ROW(
		CONF_PATH, struct auditd_conf, stamp_tls_ca, "stamp-tls-ca", .standard = "",
		.help = "Certificate that the server of an https:// stamp-url must lead to; left out, those of the system hold."),
	CONF_ROW(CONF_PATH, struct auditd_conf, stamp_anchor, "stamp-anchor", .standard = "",
		 .help = "Certificates, PEM, one of which the signer of each token must lead to; needed with stamp-url.",
		 .clause = "RFC 3161 2.3"),
	CONF_ROW(CONF_DURATION, struct auditd_conf, stamp_interval, "stamp-interval", .standard = "1m", .min = 100000,
		 .max = MOMENT_DAY,
		 .help = "A checkpoint is stamped so often, when there are records behind the last one stamped; those of the "
			 "stamping itself do not count."),
	CONF_ROW(
		CONF_DURATION, struct auditd_conf, stamp_alarm_age, "stamp-alarm-age", .standard = "10m",
		.min = MOMENT_SECOND / 10, .max = 366 * MOMENT_DAY,
		.help = "When a record has waited so long for a time-stamped checkpoint, there is an alarm and a record of it."),
	CONF_ROW(CONF_DURATION, struct auditd_conf, stamp_age_limit, "stamp-age-limit", .standard = "6h",
		 .min = MOMENT_SECOND / 10, .max = 366 * MOMENT_DAY,
		 .help = "When it has waited so long, no certificate is issued; time-stamps, CRLs and OCSP answers go on."),
	CONF_ROW(
		CONF_PATH, struct auditd_conf, publish, "publish-directory", .access = CONF_KEEPS, .standard = "",
		.help = "Folder where the tiles, the newest checkpoint and the time-stamps stand as static files for a web server (C2SP "
			"tlog-tiles); left out, they are not published."),
	CONF_ROW(CONF_BOOLEAN, struct auditd_conf, publish_entries, "publish-entries", .standard = "no",
		 .help = "Publish the entry bundles too: the records themselves, for everybody who can read the folder."),
	CONF_ROW(
		CONF_PATH, struct auditd_conf, founding, "founding", .access = CONF_OPENS, .standard = "",
		.help = "Founding document of the provider: from it on auditd verifies who may have records removed (operation log.purge). Without "
			"it nothing is ever removed.",
		.clause = "practice statement 5.4.3"),
	CONF_ROW(
		CONF_STRING, struct auditd_conf, founding_hash, "founding-hash", .standard = "",
		.help = "SHA-256 of the founding document, in hexadecimal, as the founders' paper has it: auditd starts on no other.",
		.clause = "practice statement 5.2.1"),
	CONF_ROW(CONF_INTEGER, struct auditd_conf, max_connections, "connections", .standard = "256", .min = 1, .max = 4096,
		 .help = "Connections served at once."),
	CONF_ROW(CONF_PATHS, struct auditd_conf, founding_journal, "founding-journal", .access = CONF_OPENS, .standard = "",
		 .help = "Journal of the founding, repeated: its records become the first leaves of a new log."),
};
static const struct conf_row copy_rows[] = {
	CONF_ROW(CONF_STRING, struct auditd_copy_conf, url, "url", .help = "Where a chancery-copy listens, https://HOST:PORT."),
	CONF_ROW(CONF_PATH, struct auditd_copy_conf, tls_certificate, "tls-certificate",
		 .help = "auditd's own TLS certificate, PEM."),
	CONF_ROW(CONF_PATH, struct auditd_copy_conf, tls_key, "tls-key", .help = "Its private key, PEM, mode 0600."),
	CONF_ROW(CONF_PATH, struct auditd_copy_conf, tls_ca, "tls-ca",
		 .help = "Certificate that the copy's certificate must lead to, PEM."),
	CONF_ROW(CONF_STRING, struct auditd_copy_conf, cosigner, "cosigner",
		 .help = "Verifier key of the copy, NAME+id+base64: what it answers is verified by it.",
		 .clause = "C2SP tlog-cosignature"),
	CONF_ROW(CONF_DURATION, struct auditd_copy_conf, interval, "interval", .standard = "1s", .min = 10000,
		 .max = MOMENT_HOUR, .help = "How often the newest checkpoint, with all under it, is copied."),
	CONF_ROW(CONF_DURATION, struct auditd_copy_conf, alarm_age, "alarm-age", .standard = "10m", .min = MOMENT_SECOND / 10,
		 .max = 366 * MOMENT_DAY,
		 .help = "When the copy has lacked records for so long, there is an alarm and a record of it."),
};
static const struct conf_section sections[] = {
	{ .name = "",
	  .size = sizeof(struct auditd_conf),
	  .rows = rows,
	  .row_count = sizeof rows / sizeof rows[0],
	  .help = "The audit log." },
	{ .name = "copy",
	  .many = true,
	  .size = sizeof(struct auditd_copy_conf),
	  .offset = offsetof(struct auditd_conf, copies),
	  .rows = copy_rows,
	  .row_count = sizeof copy_rows / sizeof copy_rows[0],
	  .help = "A second place of the log, which cosigns what it holds." },
};
static const struct conf_schema schema = {
	.service = "auditd", .sections = sections, .section_count = 2, .size = sizeof(struct auditd_conf)
};

/* Sole writer: who holds this lock. */
static st lock_directory(struct scope *s, struct auditd *a)
{
	TRY(file_make_directory(s, scope_printf(s, "%s/tail", a->conf->log), 0750));
	char *path = scope_printf(s, "%s/lock", a->conf->log);
	a->directory_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (a->directory_lock < 0)
		return fail_errno(s, E_IO, "%s", path);
	if (flock(a->directory_lock, LOCK_EX | LOCK_NB) != 0)
		return fail_errno(s, E_STATE, "%s: another auditd writes this log; a log has one writer", path);
	return OK;
}

static st require_tail(struct scope *s, const struct auditd *a, uint64_t signed_size)
{
	struct audit_segment *found;
	size_t count;
	TRY(audit_log_segments(s, a->conf->log, &found, &count));
	if (count == 0 && signed_size > 0)
		return fail(s, E_STATE,
			    "%s/tail is empty though the log has %llu leaves: acknowledged records may be lost. Restore the "
			    "directory from a copy",
			    a->conf->log, (unsigned long long)signed_size);
	return OK;
}

static st open_log(struct scope *s, struct auditd *a, struct tree **out_tree)
{
	uint64_t first;
	TRY(audit_log_open(s, a->conf->log, &a->log));
	TRY(signer_new(s, a->conf, a->log, &a->signer));
	TRY(require_tail(s, a, signer_size(a->signer)));
	TRY(tail_first(s, a->conf->log, &first));
	uint64_t base = first > signer_size(a->signer) ? first : signer_size(a->signer);
	TRY(tree_open(s, a->conf->log, a->log, base, out_tree));
	st status = indexed_open(s, a->conf->log, a->log, base, &a->indexed);
	if (status.code == E_OK)
		status = tail_open(s, a->conf->log, base, a->log, a->indexed, &a->tail);
	if (status.code != E_OK) {
		tree_close(*out_tree);
		*out_tree = NULL;
	}
	return status;
}

struct remembering {
	struct auditd *a;
	uint64_t below;
};

static bool remember_id(void *state, uint64_t index, span leaf)
{
	struct remembering *r = state;
	struct audit_envelope envelope;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (index >= r->below)
		return false;
	if (audit_envelope_read(&s, leaf, &envelope).code == E_OK)
		tail_know(r->a->tail, envelope.record.id, index);
	return true;
}

static st remember_ids(struct scope *s, struct auditd *a)
{
	uint64_t base = tail_base(a->tail);
	struct remembering r = { .a = a, .below = base };
	return audit_log_each_bundled(s, a->log, base > IDS_AT_START ? base - IDS_AT_START : 0, remember_id, &r);
}

/* The oldest leaf without checkpoint has waited since it was received, also while nobody ran. */
static bool age_of_leaf(void *state, uint64_t index, span leaf)
{
	int64_t *at = state;
	struct audit_envelope envelope;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	(void)index;
	if (audit_envelope_read(&s, leaf, &envelope).code == E_OK)
		*at = envelope.at;
	return false;
}

static st resume_waiting(struct scope *s, struct auditd *a)
{
	int64_t at = 0, now = scope_now(s);
	uint64_t signed_size = signer_size(a->signer);
	tail_signed(a->tail, signed_size, moment_monotonic());
	if (tail_size(a->tail) == signed_size)
		return OK;
	TRY(audit_log_each(s, a->log, signed_size, age_of_leaf, &at));
	if (at > 0 && at < now)
		tail_was_waiting(a->tail, now - at);
	return OK;
}

static st found(struct scope *s, struct auditd *a)
{
	if (signer_size(a->signer) > 0)
		return OK;
	for (size_t i = 0; i < a->conf->founding_journal.count; i++)
		TRY(imported_found(s, a->imported, a->tail, a->conf->founding_journal.item[i]));
	return OK;
}

st auditd_record(struct scope *s, struct auditd *a, struct audit_event *e)
{
	AUTO_BUF json;
	buf_init(&json, AUDIT_LEAF_MAX);
	TRY(audit_finish(s, e));
	span bytes = buf_span(&e->json);
	size_t cut = audit_record_component_place(bytes);
	if (!buf_append(&json, span_first(bytes, cut)) || !buf_append(&json, SPAN_LITERAL(",\"component\":\"auditd\"")) ||
	    !buf_append(&json, span_from(bytes, cut)))
		return fail(s, E_LIMIT, "auditd's own record is too large");
	struct tail_record record = { .id = e->id, .json = buf_span(&json), .class = audit_row(e->code)->class };
	tail_append(s, a->tail, AUDITD_OWN_NAME, &record, 1);
	return record.code == E_OK ? OK : fail(s, record.code, "%s", record.message);
}

static st put_started(struct scope *s, struct auditd *a)
{
	const char *parameters;
	TRY(parameters_text(s, a->conf, &parameters));
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_LOG_STARTED);
	audit_str(&e, "origin", a->conf->origin);
	audit_number(&e, "size", (int64_t)tail_size(a->tail));
	audit_str(&e, "version", CHANCERY_VERSION);
	audit_str(&e, "parameters", parameters);
	TRY(auditd_record(s, a, &e));
	TRY(parameters_record(s, a, a->conf));
	daemon_life_begun();
	return OK;
}

/* How the run before ended. */
static st put_former(struct scope *s, struct auditd *a)
{
	struct audit_event event[DAEMON_LIFE_EVENTS];
	size_t count = daemon_life_events(s, event);
	st status = OK;
	for (size_t i = 0; i < count; i++) {
		if (status.code == E_OK)
			status = auditd_record(s, a, &event[i]);
		audit_event_free(&event[i]);
	}
	return status;
}

static void put_stopped(struct auditd *a)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT e;
	audit_begin(&e, &s, AUDIT_LOG_STOPPED);
	audit_number(&e, "size", (int64_t)tail_size(a->tail));
	if (auditd_record(&s, a, &e).code != E_OK)
		log_failure(&s, "recording the stop");
	daemon_life_ended();
}

static void stop(void *state)
{
	struct auditd *a = state;
	purger_stop(a->purger);
	publisher_stop(a->publisher);
	copiers_stop(a->copiers);
	stamper_stop(a->stamper);
	if (a->server != NULL) {
		wire_server_stop(a->server, STOP_GRACE_MS);
		put_stopped(a);
	}
	signer_stop(a->signer);
	stamper_free(a->stamper);
	copiers_free(a->copiers);
	publisher_free(a->publisher);
	purger_free(a->purger);
	signer_free(a->signer);
	tail_close(a->tail);
	indexed_close(a->indexed);
	imported_close(a->imported);
	writers_free(a->writers);
	audit_log_close(a->log);
	fd_auto(&a->directory_lock);
	free(a);
}

static st bring_up(struct scope *s, struct auditd *a)
{
	struct tree *tree = NULL;
	a->started = scope_now(s);
	TRY(audit_name_check(s, span_str(a->conf->origin)));
	TRY(lock_directory(s, a));
	TRY(writers_new(s, &a->conf->writer, &a->writers));
	TRY(open_log(s, a, &tree));
	st status = remember_ids(s, a);
	if (status.code == E_OK)
		status = imported_open(s, a->conf->log, &a->imported);
	if (status.code == E_OK)
		status = resume_waiting(s, a);
	if (status.code == E_OK)
		status = found(s, a);
	if (status.code == E_OK)
		status = imported_incoming(s, a->imported, a->tail, a->conf->log);
	if (status.code == E_OK)
		status = put_former(s, a);
	if (status.code == E_OK)
		status = put_started(s, a);
	if (status.code == E_OK)
		status = stamper_new(s, a, &a->stamper);
	if (status.code == E_OK)
		status = copiers_new(s, a, &a->copiers);
	if (status.code == E_OK)
		status = publisher_new(s, a, &a->publisher);
	if (status.code == E_OK)
		status = purger_new(s, a, &a->purger);
	if (status.code == E_OK && a->stamper != NULL)
		status = stamper_resume(s, a->stamper);
	if (status.code != E_OK) {
		tree_close(tree);
		return status;
	}
	signer_start(a->signer, a, a->tail, tree, a->indexed);
	TRY(socket_serve(s, a));
	stamper_start(a->stamper);
	copiers_start(a->copiers);
	publisher_start(a->publisher);
	purger_start(a->purger);
	return OK;
}

static st start(struct scope *s, const void *conf, void **out_state)
{
	struct auditd *a = heap_alloc(sizeof *a);
	a->conf = conf;
	a->directory_lock = -1;
	st status = bring_up(s, a);
	if (status.code != E_OK) {
		stop(a);
		return status;
	}
	*out_state = a;
	return OK;
}

/* ---- reload ---- */

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_copies(const struct auditd_conf *now, const struct auditd_conf *next)
{
	const struct auditd_copy_conf *a = now->copies.item, *b = next->copies.item;
	if (now->copies.count != next->copies.count)
		return false;
	for (size_t i = 0; i < now->copies.count; i++)
		if (!same_text(a[i].label, b[i].label) || !same_text(a[i].url, b[i].url) ||
		    !same_text(a[i].cosigner, b[i].cosigner) || !same_text(a[i].tls_certificate, b[i].tls_certificate) ||
		    !same_text(a[i].tls_key, b[i].tls_key) || !same_text(a[i].tls_ca, b[i].tls_ca) ||
		    a[i].interval != b[i].interval || a[i].alarm_age != b[i].alarm_age)
			return false;
	return true;
}

static st check_same_ground(struct scope *s, const struct auditd_conf *now, const struct auditd_conf *next)
{
	const struct {
		const char *name;
		bool same;
	} ground[] = {
		{ "log-directory", same_text(now->log, next->log) },
		{ "socket", same_text(now->socket, next->socket) },
		{ "socket-group", same_text(now->group, next->group) },
		{ "origin", same_text(now->origin, next->origin) },
		{ "keyd-socket", same_text(now->keyd, next->keyd) },
		{ "key", same_text(now->key, next->key) },
		{ "outgoing-key", same_text(now->outgoing_key, next->outgoing_key) },
		{ "stamp-url", same_text(now->stamp_url, next->stamp_url) },
		{ "stamp-tls-ca", same_text(now->stamp_tls_ca, next->stamp_tls_ca) },
		{ "stamp-anchor", same_text(now->stamp_anchor, next->stamp_anchor) },
		{ "[copy]", same_copies(now, next) },
		{ "publish-directory", same_text(now->publish, next->publish) },
		{ "founding", same_text(now->founding, next->founding) },
		{ "founding-hash", same_text(now->founding_hash, next->founding_hash) },
		{ "publish-entries", now->publish_entries == next->publish_entries },
		{ "connections", now->max_connections == next->max_connections },
	};
	for (size_t i = 0; i < sizeof ground / sizeof ground[0]; i++)
		if (!ground[i].same)
			return fail(s, E_STATE,
				    "%s cannot change while auditd runs: restart it; writer, checkpoint-interval, "
				    "checkpoint-max-age, stamp-interval, stamp-alarm-age and stamp-age-limit can",
				    ground[i].name);
	return OK;
}

/* On record before it is in force. */
static st take_over(struct scope *s, struct auditd *a, const struct auditd_conf *next)
{
	struct writers *writers;
	TRY(check_same_ground(s, a->conf, next));
	TRY(writers_new(s, &next->writer, &writers));
	st recorded = parameters_record(s, a, next);
	if (recorded.code != E_OK) {
		writers_free(writers);
		return recorded;
	}
	writers_replace(a, writers);
	signer_reload(a->signer, next);
	stamper_reload(a->stamper, next);
	a->conf = next;
	return OK;
}

static void put_reloaded(struct auditd *a, bool in_force)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT e;
	AUTO_EVENT changed = { 0 };
	daemon_event_reload(&s, &e, in_force);
	st recorded = auditd_record(&s, a, &e);
	if (recorded.code == E_OK && in_force && daemon_event_changed(&s, &changed))
		recorded = auditd_record(&s, a, &changed);
	if (recorded.code != E_OK)
		log_failure(&s, "recording that the configuration was read again");
	else if (in_force)
		daemon_life_begun();
}

static st reload(struct scope *s, void *state, const void *conf)
{
	struct auditd *a = state;
	st taken = take_over(s, a, conf);
	put_reloaded(a, taken.code == E_OK);
	return taken;
}

/* Sockets of the Internet only for the authority and the copies that the configuration names. */
static bool needs_internet(const void *conf)
{
	const struct auditd_conf *c = conf;
	return c->stamp_url != NULL || c->copies.count > 0;
}

static const char *keeps(struct scope *s, const void *conf)
{
	(void)s;
	return ((const struct auditd_conf *)conf)->log;
}

static const struct daemon auditd = {
	.keeps = keeps,
	.name = "auditd",
	.summary = "sole writer of the audit log: makes records durable, numbers them, has checkpoints signed",
	.schema = &schema,
	.start = start,
	.reload = reload,
	.stop = stop,
	.needs_internet = needs_internet,
};

int auditd_main(int argc, char **argv);

int auditd_main(int argc, char **argv)
{
	return daemon_main(&auditd, argc, argv);
}
