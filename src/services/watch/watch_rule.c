#include "watch_rule.h"
#include "moment.h"
#include <stdio.h>

#define NAMES(...)                                                                                                             \
	{                                                                                                                      \
		__VA_ARGS__                                                                                                    \
	}
#define MINUTE (60 * MOMENT_SECOND)

/* EN 319 401 REQ-7.9.1-12: alarms for what deserves attention; the thresholds are those an operator of a small provider can live with. */
static const struct watch_rule built_in[] = {
	{ "quorum-refused", true, AUDIT_WARNING, NAMES("operation.refused"), NAMES(NULL), NAMES("instance"), NULL, NULL, 3,
	  10 * MINUTE,
	  "operations were refused again and again: see `chancery audit show --event operation.refused` for who brought what, and why it "
	  "did not count" },
	{ "shares-wrong", true, AUDIT_ALERT, NAMES("operation.refused"), NAMES(NULL), NAMES("instance"), "reason~share", NULL,
	  1, MOMENT_DAY,
	  "a share that does not belong to the activation was brought to a keyd: ask the custodians what they sent, and who carried it" },
	{ "operation-forged", true, AUDIT_ALERT, NAMES("operation.forged"), NAMES(NULL), NAMES("instance"), NULL, NULL, 1,
	  MOMENT_DAY,
	  "somebody who may write records wrote that a keyd carried out operations, and it did not: `chancery audit show --event "
	  "operation.forged` names the records, and `by` of those who wrote them" },
	{ "keys-refused", true, AUDIT_WARNING, NAMES("key.refused"), NAMES(NULL), NAMES("zone", "key"), NULL, NULL, 10,
	  10 * MINUTE,
	  "keyd refuses what it is asked to sign: a service asks for what the key may not do, or is not what it was" },
	{ "logins-failed", true, AUDIT_WARNING, NAMES("host.login"), NAMES(NULL), NAMES("host", "user"), "outcome=refused",
	  NULL, 5, 10 * MINUTE, "logins on a host failed again and again" },
	{ "access-refused", true, AUDIT_WARNING, NAMES("access.refused"), NAMES(NULL), NAMES("source"), NULL, NULL, 5,
	  10 * MINUTE, "the API refused somebody again and again: see which certificate, from which address" },
	{ "clock-lost", true, AUDIT_ALERT, NAMES("clock.lost"), NAMES("clock.regained"), NAMES(NULL), NULL, NULL, 1, 0,
	  "the clock cannot be trusted: no time-stamps are issued until it is; see chronyc tracking" },
	{ "unit-stopped", true, AUDIT_ALERT, NAMES("unit.stopped"), NAMES("unit.resumed"), NAMES(NULL), NULL, NULL, 1, 0,
	  "the time-stamping unit issues nothing: the record says why" },
	{ "token-lost", true, AUDIT_ALERT, NAMES("token.lost"), NAMES("token.opened"), NAMES("zone", "token"), NULL, NULL, 1, 0,
	  "a token does not answer: see to its device and its network; keyd goes on by itself when it is back" },
	{ "stamp-late", true, AUDIT_WARNING, NAMES("stamp.late"), NAMES("stamp.resumed"), NAMES(NULL), NULL, NULL, 1, 0,
	  "checkpoints of the audit log get no time-stamps; past `stamp-age-limit` nothing is issued" },
	{ "log-not-copied", true, AUDIT_WARNING, NAMES("copy.late"), NAMES("copy.resumed"), NAMES("copy"), NULL, NULL, 1, 0,
	  "the second place of the audit log lacks records: see to its host and the way there" },
	{ "copy-refused", true, AUDIT_ALERT, NAMES("copy.refused"), NAMES(NULL), NAMES("log"), NULL, NULL, 1, 0,
	  "the second place was given another history of the log than the one it holds: one of the two was tampered with. Keep both as they "
	  "are, and call the security manager" },
	{ "copy-keeps-records", true, AUDIT_ALERT, NAMES("copy.purge_refused"), NAMES(NULL), NAMES("log"), NULL, NULL, 1, 0,
	  "the log lost records that its second place must keep by the rules it knows: the second place has them still. Keep both as they are, "
	  "and call the security manager" },
	{ "status-mismatch", true, AUDIT_ALERT, NAMES("status.mismatch"), NAMES("status.compared"), NAMES("ca"), NULL,
	  "differ=0", 1, 0,
	  "OCSP, CRL and database do not say the same of a certificate: relying parties are told something wrong" },
	{ "status-false", true, AUDIT_ALERT, NAMES("probe.failed"), NAMES(NULL), NAMES("target"), "target~status of ", NULL, 1,
	  2 * MOMENT_DAY,
	  "what is published of a CA's status does not verify: the record says what, `chancery crl issue` replaces a CRL" },
	{ "database-set-back", true, AUDIT_ALERT, NAMES("backup.restored"), NAMES(NULL), NAMES(NULL), NULL, NULL, 1, MOMENT_DAY,
	  "a database or the log was restored from a copy: see that this was meant" },
	{ "service-crashed", true, AUDIT_WARNING, NAMES("service.crashed"), NAMES(NULL), NAMES(NULL), NULL, NULL, 1,
	  MOMENT_HOUR, "a daemon had not ended in order before it started: its own log says more" },
	{ "service-restarts", true, AUDIT_WARNING, NAMES("service.crashed"), NAMES(NULL), NAMES(NULL), NULL, NULL, 5,
	  10 * MINUTE, "daemons crash again and again" },
	{ "log-changed", true, AUDIT_NOTICE, NAMES("log.changed", "log.key_changed"), NAMES(NULL), NAMES(NULL), NULL, NULL, 1,
	  MOMENT_DAY, "how the audit log is kept was changed: see that this was meant" },
	{ "watch-changed", true, AUDIT_NOTICE, NAMES("watch.changed"), NAMES(NULL), NAMES(NULL), NULL, NULL, 1, MOMENT_DAY,
	  "what raises an alert, or where it goes, was changed: see that this was meant" },
	{ "host-trouble", true, AUDIT_WARNING, NAMES("host.kernel", "host.gap"), NAMES(NULL), NAMES("host"), NULL, NULL, 1,
	  MOMENT_DAY, "a host reports trouble with its hardware, or its journal could not be read" },
	{ "malware", true, AUDIT_ALERT, NAMES("malware.found"), NAMES(NULL), NAMES("host"), NULL, NULL, 1, 0,
	  "malware was found: an incident is to be opened, `chancery record add incident.opened`" },
	/* Raised by probes and deadlines, not by records; in the table so that they can be changed and are listed. */
	{ "probe-failed", true, AUDIT_ALERT, NAMES(NULL), NAMES(NULL), NAMES(NULL), NULL, NULL, 1, 0,
	  "what the provider offers was asked, and did not answer as it should" },
	{ "crl-late", true, AUDIT_ALERT, NAMES(NULL), NAMES(NULL), NAMES(NULL), NULL, NULL, 1, 0,
	  "the published CRL is about to end and no newer one came: `chancery status` says what keeps it" },
	{ "log-unreachable", true, AUDIT_ALERT, NAMES(NULL), NAMES(NULL), NAMES(NULL), NULL, NULL, 1, 0,
	  "auditd does not answer: nothing is issued meanwhile" },
	{ "outage-significant", true, AUDIT_ALERT, NAMES(NULL), NAMES(NULL), NAMES("service"), NULL, NULL, 1, 0,
	  "a service was down for so long that it is a significant incident (EN 319 401 REQ-7.9.3-07): open one with `chancery record add "
	  "incident.opened`, the supervisory body is told within 24 hours" },
	{ "integrity-significant", true, AUDIT_ALERT, NAMES(NULL), NAMES(NULL), NAMES("ca"), NULL, NULL, 1, 0,
	  "the public was told a false status of so many certificates that it is a significant incident (EN 319 401 REQ-7.9.3-07): open one "
	  "with `chancery record add incident.opened`, the supervisory body is told within 24 hours" },
	{ "deadline-near", true, AUDIT_WARNING, NAMES(NULL), NAMES(NULL), NAMES(NULL), NULL, NULL, 1, 0,
	  "a deadline ends soon: `chancery record list --open`" },
	{ "deadline-missed", true, AUDIT_ALERT, NAMES(NULL), NAMES(NULL), NAMES(NULL), NULL, NULL, 1, 0,
	  "a deadline has passed: `chancery record list --open`" },
	{ "outlet-failed", true, AUDIT_WARNING, NAMES(NULL), NAMES(NULL), NAMES(NULL), NULL, NULL, 1, 0,
	  "alerts cannot be sent where they should go" },
};
#define BUILT_IN (sizeof built_in / sizeof built_in[0])

/* ---- the configuration ---- */

static st take_names(struct scope *s, const char *rule, const struct conf_list *list, const char *out[WATCH_NAMES_MAX + 1])
{
	if (list->count == 0)
		return OK;
	if (list->count > WATCH_NAMES_MAX)
		return fail(s, E_CONFIG, "[rule %s] names more than %d of one kind", rule, WATCH_NAMES_MAX);
	for (size_t i = 0; i < list->count; i++)
		out[i] = list->item[i];
	out[list->count] = NULL;
	return OK;
}

static bool has_field(const struct audit_row *row, const char *name)
{
	enum audit_form form;
	return audit_row_field(row, span_str(name), 0, &form) >= 0;
}

static st check_events(struct scope *s, const struct watch_rule *r, const char *const *event)
{
	enum audit_code code;
	for (; *event != NULL; event++) {
		const struct audit_row *row = audit_row_named(span_str(*event), &code);
		if (row == NULL)
			return fail(s, E_CONFIG,
				    "[rule %s] event %s: the catalogue has none of that name; see `chancery audit catalogue`",
				    r->name, *event);
		for (const char *const *by = r->by; *by != NULL; by++)
			if (!has_field(row, *by))
				return fail(s, E_CONFIG, "[rule %s] by %s: %s has no such field", r->name, *by, *event);
	}
	return OK;
}

static st check_where(struct scope *s, const struct watch_rule *r)
{
	if (r->where != NULL && strpbrk(r->where, "=~") == NULL)
		return fail(s, E_CONFIG, "[rule %s] where = %s: write FIELD=VALUE or FIELD~PART", r->name, r->where);
	return OK;
}

static st change(struct scope *s, struct watch_rule *r, const struct watch_rule_conf *conf)
{
	r->on = conf->on;
	if (conf->severity != NULL)
		TRY(audit_severity_named(s, conf->severity, &r->severity));
	if (conf->threshold > 0)
		r->threshold = (unsigned)conf->threshold;
	if (conf->window > 0)
		r->window = conf->window;
	if (conf->where != NULL)
		r->where = conf->where;
	if (conf->text != NULL)
		r->text = conf->text;
	TRY(take_names(s, r->name, &conf->event, r->event));
	TRY(take_names(s, r->name, &conf->closing_event, r->closing_event));
	TRY(take_names(s, r->name, &conf->by, r->by));
	if (r->threshold > 1 && r->window == 0)
		return fail(s, E_CONFIG, "[rule %s] a threshold of %u needs a window", r->name, r->threshold);
	TRY(check_where(s, r));
	TRY(check_events(s, r, r->event));
	return check_events(s, r, r->closing_event);
}

static struct watch_rule *find(struct watch_rules *rules, const char *name)
{
	for (size_t i = 0; i < rules->count; i++)
		if (strcmp(rules->rule[i].name, name) == 0)
			return &rules->rule[i];
	return NULL;
}

st watch_rules_read(struct scope *s, const struct watch_conf *conf, struct watch_rules *out)
{
	const struct watch_rule_conf *item = conf->rules.item;
	out->rule = scope_alloc(s, (BUILT_IN + conf->rules.count) * sizeof *out->rule);
	out->count = BUILT_IN;
	memcpy(out->rule, built_in, sizeof built_in);
	for (size_t i = 0; i < conf->rules.count; i++) {
		struct watch_rule *r = find(out, item[i].label);
		if (r == NULL) {
			r = &out->rule[out->count++];
			*r = (struct watch_rule){ .name = item[i].label, .severity = AUDIT_WARNING, .threshold = 1 };
			if (item[i].event.count == 0 || item[i].text == NULL)
				return fail(s, E_CONFIG, "[rule %s] is none of the built-in ones, so it needs event and text",
					    item[i].label);
		}
		TRY(change(s, r, &item[i]));
	}
	return OK;
}

const struct watch_rule *watch_rule_named(const struct watch_rules *rules, const char *name)
{
	return find(&(struct watch_rules){ .rule = rules->rule, .count = rules->count }, name);
}

/* ---- records ---- */

static bool listed(const char *const *names, const char *name)
{
	for (; *names != NULL; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

static bool contains(span text, const char *part)
{
	return part[0] == 0 || (text.len > 0 && memmem(text.data, text.len, part, strlen(part)) != NULL);
}

static span text_of(struct scope *s, const struct audit_record *r, const char *name)
{
	const struct audit_field *field = audit_field_of(r, name);
	span text;
	if (field == NULL)
		return (span){ 0 };
	if (field->is_number)
		return span_str(scope_printf(s, "%lld", (long long)field->number));
	if (audit_field_text(s, r, name, &text).code == E_OK)
		return text;
	scope_clear_error(s);
	return field->text;
}

static bool holds(const char *where, const struct audit_record *record)
{
	if (where == NULL)
		return true;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	size_t name = strcspn(where, "=~");
	span text = text_of(&s, record, scope_cstr(&s, span_of(where, name)));
	return where[name] == '=' ? span_is(text, where + name + 1) : contains(text, where + name + 1);
}

bool watch_rule_counts(const struct watch_rule *rule, const struct audit_record *record)
{
	return rule->on && listed(rule->event, record->row->name) && holds(rule->where, record);
}

bool watch_rule_closes(const struct watch_rule *rule, const struct audit_record *record)
{
	return listed(rule->closing_event, record->row->name) && holds(rule->closing_where, record);
}

void watch_rule_subject(struct scope *s, const struct watch_rule *rule, const struct audit_record *record,
			char out[WATCH_SUBJECT_MAX])
{
	AUTO_BUF text;
	buf_init(&text, AUDIT_RECORD_MAX);
	for (const char *const *by = rule->by; *by != NULL; by++) {
		if (text.len > 0)
			(void)buf_append(&text, SPAN_LITERAL(" "));
		(void)buf_append(&text, text_of(s, record, *by));
	}
	size_t len = text.len;
	if (len >= WATCH_SUBJECT_MAX)
		len = WATCH_SUBJECT_MAX - 1;
	while (len > 0 && len < text.len && (text.data[len] & 0xc0) == 0x80)
		len--; /* not in the middle of a character */
	memcpy(out, len > 0 ? (const void *)text.data : "", len);
	out[len] = 0;
}
