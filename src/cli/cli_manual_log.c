/* Manual records as the running log has them: what is open, and which deadline runs. */
#include "audit_record.h"
#include "cli_audit.h"
#include "cli_manual.h"
#include "moment.h"
#include "text.h"
#include <stdlib.h>

#define PAGE        256
#define RECORDS_MAX 100000

static const char *text_of(struct scope *s, const struct audit_record *r, const char *name)
{
	span value;
	st found = audit_field_text(s, r, name, &value);
	scope_clear_error(s);
	return found.code == E_OK ? scope_cstr(s, value) : NULL;
}

static int64_t time_of(struct scope *s, const struct audit_record *r, const char *name)
{
	int64_t value = 0;
	(void)audit_field_time(s, r, name, &value).code;
	scope_clear_error(s);
	return value;
}

static st take(struct scope *s, span leaf, struct cli_manual_log *log)
{
	struct audit_envelope e;
	if (memmem(leaf.data, leaf.len, "\"reference\":\"", 13) == NULL)
		return OK;
	TRY(audit_envelope_read(s, leaf, &e));
	if (e.record.row->class != AUDIT_MANUAL)
		return OK;
	if (log->count == RECORDS_MAX)
		return fail(s, E_LIMIT, "there are more than %d manual records; `chancery audit show --event KIND` shows them",
			    RECORDS_MAX);
	const struct audit_record *r = &e.record;
	log->record[log->count++] = (struct cli_manual_record){
		.row = r->row,
		.code = r->code,
		.reference = text_of(s, r, "reference"),
		.person = text_of(s, r, "person"),
		.about = text_of(s, r, "about"),
		.closes = text_of(s, r, "closes"),
		.severity = text_of(s, r, "severity"),
		.subject = text_of(s, r, "subject"),
		.at = time_of(s, r, "at"),
		.due = time_of(s, r, "due"),
		.json = scope_copy(s, e.json),
	};
	return OK;
}

static st read_pages(struct scope *s, struct audit *audit, struct cli_manual_log *log)
{
	uint64_t from = 0, size = 1;
	while (from < size) {
		AUTO_SCOPE page;
		scope_init(&page, NULL);
		struct audit_leaf *leaf;
		size_t count;
		st read = audit_read(&page, audit, from, PAGE, &leaf, &count, &size);
		if (read.code != E_OK)
			return fail(s, read.code, "%s", page.message);
		for (size_t i = 0; i < count; i++)
			TRY(take(s, leaf[i].bytes, log));
		if (count == 0)
			break;
		from += count;
	}
	return OK;
}

/* Records come in the order of the log: what closes another stands behind it. */
static void relate(struct cli_manual_log *log)
{
	for (size_t i = 0; i < log->count; i++) {
		const struct cli_manual_record *r = &log->record[i];
		const char *other = r->closes != NULL ? r->closes : r->about;
		struct cli_manual_record *of =
			other == NULL ? NULL : (struct cli_manual_record *)(uintptr_t)cli_manual_find(log, other);
		if (of == NULL)
			continue;
		of->closed = of->closed || r->closes != NULL;
		if (r->code == AUDIT_INCIDENT_NOTIFIED && of->notified == 0)
			of->notified = r->at;
		if (r->code == AUDIT_INCIDENT_UPDATED && r->severity != NULL)
			of->severity = r->severity;
	}
}

st cli_manual_read(struct scope *s, struct cli *c, struct cli_manual_log *out)
{
	const char *socket = NULL;
	struct audit *audit;
	*out = (struct cli_manual_log){ .record = scope_alloc(s, RECORDS_MAX * sizeof *out->record) };
	TRY(cli_audit_socket(s, c, &socket));
	const struct audit_settings settings = { .socket = socket, .component = "cli" };
	TRY(audit_open(s, &settings, &audit));
	st read = read_pages(s, audit, out);
	audit_close(audit);
	TRY(read);
	relate(out);
	return OK;
}

const struct cli_manual_record *cli_manual_find(const struct cli_manual_log *log, const char *reference)
{
	for (size_t i = 0; i < log->count; i++)
		if (log->record[i].reference != NULL && strcmp(log->record[i].reference, reference) == 0)
			return &log->record[i];
	return NULL;
}

/* ---- the list ---- */

static bool is_open(const struct cli_manual_record *r)
{
	return cli_manual_opens(r->code) && !r->closed;
}

/* 0: none, or kept. */
static int64_t running_deadline(const struct cli_manual_record *r)
{
	return r->code == AUDIT_INCIDENT_OPENED && r->notified != 0 ? 0 : r->due;
}

static int by_deadline(const void *a, const void *b)
{
	const struct cli_manual_record *x = a, *y = b;
	int64_t one = running_deadline(x), other = running_deadline(y);
	one = one == 0 ? INT64_MAX : one;
	other = other == 0 ? INT64_MAX : other;
	return (one > other) - (one < other);
}

static const char *deadline_words(struct scope *s, const struct cli_manual_record *r)
{
	int64_t due = running_deadline(r);
	const struct cli_kind *kind = cli_kind_of(r->code);
	if (due == 0)
		return r->notified != 0 ? "notice was given" : "-";
	const char *why = kind == NULL || kind->why == NULL ? "" : kind->why;
	return scope_printf(s, "%s%s: %s", due < scope_now(s) ? "OVERDUE, was due " : "", cli_age(s, due), why);
}

static json_t *row_of(struct scope *s, const struct cli_manual_record *r, bool open)
{
	char at[MOMENT_TEXT_MAX], due[MOMENT_TEXT_MAX];
	json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s}", "reference", r->reference, "kind", r->row->name, "at",
				moment_text(r->at, at), "by", r->person, "severity", r->severity == NULL ? "-" : r->severity);
	if (open) {
		(void)json_object_set_new(row, "due", json_string(r->due == 0 ? "-" : moment_text(r->due, due)));
		(void)json_object_set_new(row, "deadline", json_string(deadline_words(s, r)));
	} else
		(void)json_object_set_new(row, "state",
					  json_string(!cli_manual_opens(r->code) ? "-"
						      : r->closed                ? "closed"
										 : "open"));
	(void)json_object_set_new(row, "record", json_loadb((const char *)r->json.data, r->json.len, 0, NULL));
	return row;
}

static st check_kind(struct scope *s, const char *name)
{
	enum audit_code code;
	const struct audit_row *row = name == NULL ? NULL : audit_row_named(span_str(name), &code);
	if (name != NULL && (row == NULL || row->class != AUDIT_MANUAL))
		return fail(s, E_INPUT, "%s is no kind of record that persons enter; chancery record kinds lists them", name);
	return OK;
}

st cli_manual_list(struct scope *s, struct cli *c)
{
	struct cli_manual_log log;
	const char *kind = cli_get(c, "kind");
	bool open = cli_get(c, "open") != NULL;
	TRY(check_kind(s, kind));
	TRY(cli_manual_read(s, c, &log));
	if (open)
		qsort(log.record, log.count, sizeof log.record[0], by_deadline);
	json_t *rows = json_array();
	for (size_t i = 0; i < log.count; i++) {
		const struct cli_manual_record *r = &log.record[i];
		if ((kind == NULL || strcmp(kind, r->row->name) == 0) && (!open || is_open(r)))
			(void)json_array_append_new(rows, row_of(s, r, open));
	}
	return cli_print(s, c, rows);
}
