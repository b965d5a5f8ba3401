#include "cli_report.h"
#include "audit_json.h"
#include "control_register.h"
#include "moment.h"

#define HOUR        (3600 * MOMENT_SECOND)
#define DAY         (24 * HOUR)
#define HOURS_UP_TO (3 * DAY)

static const struct report_kind kinds[] = {
	{ AUDIT_OPERATION_REFUSED, "an operation without its quorum, or that was none", NULL, NULL, "reason" },
	{ AUDIT_OPERATION_FORGED, "somebody wrote an operation in the name of a keyd that did not carry it out", NULL, NULL,
	  "reason" },
	{ AUDIT_KEY_REFUSED, "a key was asked for what it may not do", NULL, NULL, "reason" },
	{ AUDIT_GROUP_ACTIVATED, "a key group opened with a management CRL older than 24 hours", "old_crl", NULL, "old_crl" },
	{ AUDIT_COPY_REFUSED, "the second place of the log holds another history", NULL, NULL, "reason" },
	{ AUDIT_STATUS_MISMATCH, "database, OCSP and CRL say different things", NULL, NULL, "serial" },
	{ AUDIT_MALWARE_FOUND, "malware was found", NULL, NULL, "text" },
	{ AUDIT_INCIDENT_OPENED, "an incident", NULL, NULL, "text" },
	{ AUDIT_ALERT_OPENED, "an alert", NULL, NULL, "text" },
	{ AUDIT_ACCESS_REFUSED, "somebody was refused at an interface", NULL, NULL, "reason" },
	{ AUDIT_REVOCATION_REFUSED, "a revocation that was refused", NULL, NULL, "reason" },
	{ AUDIT_SERVICE_CRASHED, "a daemon that was not stopped in order", NULL, NULL, "version" },
	{ AUDIT_UNIT_STOPPED, "a time-stamp unit gave no tokens", NULL, NULL, "reason" },
	{ AUDIT_CLOCK_LOST, "time-stamping stopped: the clock was lost", NULL, NULL, "reason" },
	{ AUDIT_TOKEN_LOST, "a token did not answer", NULL, NULL, "reason" },
	{ AUDIT_OCSP_GAP, "OCSP answers that are not counted", NULL, NULL, "key" },
	{ AUDIT_BACKUP_RESTORED, "a copy was put in the place of data", NULL, NULL, "path" },
	{ AUDIT_CERTIFICATE_ABANDONED, "signed and never issued, closed as revoked", NULL, NULL, "serial" },
	{ AUDIT_SERVICE_RELOADED, "a configuration that was refused", "outcome", "refused", "configuration" },
	{ AUDIT_CERTIFICATE_REFUSED, "a request that was refused", NULL, NULL, "reason" },
};
#define KINDS (sizeof kinds / sizeof kinds[0])
_Static_assert(KINDS <= REPORT_KINDS_MAX, "a report counts all kinds");

const struct report_kind *report_kind_at(size_t i)
{
	return i < KINDS ? &kinds[i] : NULL;
}

/* KINDS when the record is no exception. */
static size_t kind_of(const struct audit_record *record)
{
	for (size_t i = 0; i < KINDS; i++) {
		if (kinds[i].code != record->code)
			continue;
		const struct audit_field *field = kinds[i].field == NULL ? NULL : audit_field_of(record, kinds[i].field);
		bool fits = field != NULL && (kinds[i].value == NULL || span_is(field->text, kinds[i].value));
		if (kinds[i].field == NULL || fits)
			return i;
	}
	return KINDS;
}

void report_begin(struct report *r, struct scope *s, int64_t from, int64_t to)
{
	*r = (struct report){ .s = s, .from = from, .to = to, .width = to - from > HOURS_UP_TO ? DAY : HOUR };
	while ((to - from + r->width - 1) / r->width > REPORT_BUCKETS_MAX)
		r->width *= 2;
	r->buckets = (size_t)((to - from + r->width - 1) / r->width);
}

const char *report_bucket_name(struct scope *s, const struct report *r, size_t bucket)
{
	char when[MOMENT_TEXT_MAX];
	(void)moment_text(r->from + (int64_t)bucket * r->width, when);
	return scope_printf(s, r->width < DAY ? "%.10s %.5s" : "%.10s", when, when + 11);
}

/* ---- counting ---- */

/* The person a record names, or else the daemon that wrote it. */
static span who_did(const struct audit_record *record, bool *out_person)
{
	static const char *const names[] = { "actor", "person", "operator" };
	*out_person = true;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const struct audit_field *field = audit_field_of(record, names[i]);
		if (field != NULL && !field->is_number && field->text.len > 0)
			return field->text;
	}
	*out_person = false;
	return record->component;
}

static void count_deed(struct report *r, const struct audit_record *record)
{
	bool person;
	span who = who_did(record, &person);
	for (size_t i = 0; i < r->deeds; i++) {
		struct report_deed *d = &r->deed[i];
		if (d->code == record->code && d->person == person && span_equal(d->who, who)) {
			d->count++;
			return;
		}
	}
	if (r->deeds == REPORT_DEEDS_MAX) {
		r->further_deeds++;
		return;
	}
	r->deed[r->deeds++] =
		(struct report_deed){ .who = scope_copy(r->s, who), .person = person, .code = record->code, .count = 1 };
}

static const char *text_of(struct report *r, const struct audit_record *record, const char *name)
{
	span text = { 0 };
	if (audit_field_text(r->s, record, name, &text).code != E_OK)
		scope_clear_error(r->s);
	return scope_cstr(r->s, text);
}

static void list_exception(struct report *r, const struct audit_envelope *e, int64_t time, const struct report_kind *kind)
{
	bool person;
	span who = who_did(&e->record, &person);
	if (r->listed == REPORT_EXCEPTIONS_MAX)
		return;
	r->exception[r->listed++] =
		(struct report_exception){ .seq = e->seq,
					   .time = time,
					   .event = e->record.row->name,
					   .component = scope_cstr(r->s, e->record.component),
					   .who = person ? scope_cstr(r->s, audit_json_unescape(r->s, who)) : "",
					   .words = text_of(r, &e->record, kind->words) };
}

/* Who approved it stands in the signed operation itself; whether they could, the judge says. */
static const char *approved(struct report *r, const struct audit_record *record)
{
	span file;
	AUTO_SCOPE s;
	scope_init(&s, r->s->source);
	struct control_signed *o = scope_new(&s, struct control_signed);
	if (audit_field_base64(&s, record, "file", &file).code != E_OK || control_signed_read(&s, file, o).code != E_OK)
		return "cannot be read";
	return scope_cstr(r->s, span_str(control_approvers_text(&s, o)));
}

static void list_operation(struct report *r, const struct audit_envelope *e, int64_t time)
{
	const struct audit_record *record = &e->record;
	bool entry = record->code == AUDIT_REGISTER_CHANGED;
	if (!entry && record->code != AUDIT_OPERATION_EXECUTED)
		return;
	r->operations++;
	if (r->operations_listed == REPORT_OPERATIONS_MAX)
		return;
	r->operation[r->operations_listed++] =
		(struct report_operation){ .seq = e->seq,
					   .time = time,
					   .instance = entry ? "register" : text_of(r, record, "instance"),
					   .approved = approved(r, record),
					   .words = text_of(r, record, "words") };
}

void report_record(void *state, const struct audit_envelope *e, span leaf)
{
	struct report *r = state;
	int64_t time = audit_envelope_time(e);
	if (r->judge != NULL)
		cli_judge_record(r->judge, e, leaf);
	if (time < r->from || time >= r->to)
		return;
	size_t kind = kind_of(&e->record);
	size_t bucket = (size_t)((time - r->from) / r->width);
	r->records++;
	r->all[bucket]++;
	count_deed(r, &e->record);
	list_operation(r, e, time);
	if (kind == KINDS)
		return;
	r->exceptions++;
	r->kinds[kind]++;
	r->bad[bucket]++;
	list_exception(r, e, time, &kinds[kind]);
}
