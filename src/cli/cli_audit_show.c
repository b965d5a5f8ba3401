/* `chancery audit show`: records of the running log, of an export, or of a copy. */
#include "audit_catalogue.h"
#include "audit_log.h"
#include "cli_audit.h"
#include "cli_judge.h"
#include "cli_nearest.h"
#include "file.h"
#include "moment.h"
#include "text.h"

#define PAGE 256

struct wish {
	const char *event, *component, *containing;
	enum audit_severity severity;
	int64_t begin, end; /* of receipt; 0 and INT64_MAX: any */
	uint64_t limit;
	json_t *rows;
	struct scope *s;
	st status;
};

static bool filtered(const struct wish *w)
{
	return w->event != NULL || w->component != NULL || w->containing != NULL || w->severity > AUDIT_INFO || w->begin != 0 ||
	       w->end != INT64_MAX;
}

static bool full(const struct wish *w)
{
	return json_array_size(w->rows) >= w->limit;
}

static bool within(struct scope *s, const struct wish *w, const json_t *envelope)
{
	int64_t at;
	if (w->begin == 0 && w->end == INT64_MAX)
		return true;
	st status = moment_parse(s, span_str(cli_member(envelope, "at")), &at);
	scope_clear_error(s);
	return status.code == E_OK && at >= w->begin && at < w->end;
}

/* What this version does not know is shown: it may be anything. */
static const struct audit_row *row_of(const json_t *record)
{
	enum audit_code code;
	return audit_row_named(span_str(cli_member(record, "event")), &code);
}

static bool urgent(const struct wish *w, const json_t *record)
{
	const struct audit_row *row = w->severity > AUDIT_INFO ? row_of(record) : NULL;
	return row == NULL || row->severity >= w->severity;
}

static bool wanted(struct scope *s, const struct wish *w, const json_t *envelope)
{
	const json_t *record = json_object_get(envelope, "record");
	if (w->event != NULL && strcmp(cli_member(record, "event"), w->event) != 0)
		return false;
	if (w->component != NULL && strcmp(cli_member(record, "component"), w->component) != 0)
		return false;
	return urgent(w, record) && within(s, w, envelope);
}

/* Few of millions are wanted: the others are not read as JSON. */
static bool may_be_wanted(const struct wish *w, span leaf)
{
	const char *const words[] = { w->event, w->component, w->containing };
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (words[i] != NULL && memmem(leaf.data, leaf.len, words[i], strlen(words[i])) == NULL)
			return false;
	return true;
}

static st add_leaf(struct scope *s, uint64_t index, span leaf, const struct wish *w)
{
	if (leaf.len == 0 || !may_be_wanted(w, leaf)) /* removed by an operation, or not asked for */
		return OK;
	AUTO(json_t) *envelope = json_loadb((const char *)leaf.data, leaf.len, 0, NULL);
	if (envelope == NULL)
		return fail(s, E_CRYPTO, "record %llu is no JSON; see `chancery audit verify`", (unsigned long long)index);
	if (wanted(s, w, envelope))
		(void)json_array_append_new(w->rows, TAKE(envelope));
	return OK;
}

static json_t *short_rows(const json_t *envelopes)
{
	json_t *rows = json_array();
	size_t i;
	json_t *envelope;
	json_array_foreach(envelopes, i, envelope)
	{
		json_t *record = json_object_get(envelope, "record");
		const struct audit_row *known = row_of(record);
		json_t *row = json_pack("{s:O, s:s, s:s, s:s, s:s}", "seq", json_object_get(envelope, "seq"), "time",
					cli_member(record, "time"), "event", cli_member(record, "event"), "severity",
					known == NULL ? "" : audit_severity_name(known->severity), "component",
					cli_member(record, "component"));
		const char *about = cli_member(record, "serial");
		if (about[0] == 0)
			about = cli_member(record, "key");
		if (about[0] == 0)
			about = cli_member(record, "ca");
		if (about[0] == 0)
			about = cli_member(envelope, "signature");
		(void)json_object_set_new(row, "about", json_string(about));
		(void)json_array_append_new(rows, row);
	}
	return rows;
}

/* For people: a record after the other, envelope and record in one list. */
static st print_whole(struct scope *s, const struct cli *c, const json_t *envelopes)
{
	for (size_t i = 0; i < json_array_size(envelopes); i++) {
		const json_t *envelope = json_array_get(envelopes, i);
		json_t *all = json_pack("{s:O, s:O, s:O}", "seq", json_object_get(envelope, "seq"), "at",
					json_object_get(envelope, "at"), "by", json_object_get(envelope, "by"));
		(void)json_object_update_missing(all, json_object_get(envelope, "record"));
		if (json_object_get(envelope, "signature") != NULL) /* of a review */
			(void)json_object_set(all, "signature", json_object_get(envelope, "signature"));
		if (i > 0)
			TRY(cli_write_out(s, c, NULL, SPAN_LITERAL("\n")));
		TRY(cli_print(s, c, all));
	}
	return json_array_size(envelopes) > 0 ? OK : cli_print(s, c, json_array());
}

/* The newest records unless --from says where to begin. */
static st first_of(struct scope *s, const struct cli *c, const struct wish *w, uint64_t size, uint64_t *out)
{
	uint64_t newest = size > w->limit && !filtered(w) ? size - w->limit : 0;
	return cli_get_number(s, c, "from", newest, UINT64_MAX, out);
}

/* ---- the running log: pages are read from the place that can hold them ---- */

static st collect(struct scope *s, const struct cli *c, struct audit *log, struct wish *w)
{
	uint64_t size, from;
	struct audit_leaf *leaves;
	size_t count;
	TRY(audit_read(s, log, 0, 1, &leaves, &count, &size));
	TRY(first_of(s, c, w, size, &from));
	while (from < size && !full(w)) {
		AUTO_SCOPE page;
		scope_init(&page, NULL);
		st read = audit_read(&page, log, from, PAGE, &leaves, &count, &size);
		for (size_t i = 0; read.code == E_OK && i < count && !full(w); i++)
			read = add_leaf(&page, leaves[i].index, leaves[i].bytes, w);
		if (read.code != E_OK)
			return fail(s, read.code, "%s", page.message);
		if (count == 0)
			break;
		from += count;
	}
	return OK;
}

static st show_running(struct scope *s, struct cli *c, struct wish *w)
{
	const char *socket = NULL;
	struct audit *log;
	TRY(cli_read_conf(s, c));
	TRY(cli_audit_socket(s, c, &socket));
	const struct audit_settings settings = { .socket = socket, .component = "cli" };
	TRY(audit_open(s, &settings, &log));
	st collected = collect(s, c, log, w);
	audit_close(log);
	return collected;
}

/* ---- a copy: nothing of it is verified here ---- */

static bool see(void *state, uint64_t index, span leaf)
{
	struct wish *w = state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (add_leaf(&s, index, leaf, w).code != E_OK)
		w->status = fail(w->s, E_CRYPTO, "%s", s.message);
	return w->status.code == E_OK && !full(w);
}

static st size_of(struct scope *s, const struct audit_log *log, uint64_t *out)
{
	span note;
	struct audit_note parts;
	struct audit_checkpoint checkpoint = { .size = 0 };
	st there = audit_log_checkpoint(s, log, &note);
	if (there.code == E_OK) {
		TRY(audit_note_read(s, note, &parts));
		TRY(audit_checkpoint_read(s, parts.text, &checkpoint));
	}
	scope_clear_error(s);
	*out = checkpoint.size;
	return OK;
}

static st show_copy(struct scope *s, const struct cli *c, const char *dir, struct wish *w)
{
	struct audit_log *log;
	uint64_t size = 0, from = 0;
	TRY(audit_log_open(s, dir, &log));
	st status = size_of(s, log, &size);
	if (status.code == E_OK)
		status = first_of(s, c, w, size, &from);
	if (status.code == E_OK && w->limit > 0)
		status = audit_log_each(s, log, from, see, w);
	audit_log_close(log);
	TRY(status);
	return w->status;
}

/* ---- reviews of reports: a record says who signed, the register whether that person may ---- */

static bool is_review(const json_t *envelope)
{
	return strcmp(cli_member(json_object_get(envelope, "record"), "event"), "report.reviewed") == 0;
}

static bool have_reviews(const json_t *envelopes)
{
	size_t i;
	const json_t *envelope;
	json_array_foreach(envelopes, i, envelope) if (is_review(envelope)) return true;
	return false;
}

static const char *finding_of(const struct cli_judgement *j, json_int_t seq)
{
	size_t i;
	const json_t *finding;
	json_array_foreach(j->findings, i, finding) if (json_integer_value(json_object_get(finding, "record")) ==
							seq) return cli_member(finding, "finding");
	return "it is not in the log on disk yet: not judged";
}

static const char *word_on(struct scope *s, const struct cli_judgement *j, json_int_t seq)
{
	for (size_t i = 0; i < j->reviews; i++)
		if ((json_int_t)j->review[i].record == seq)
			return scope_printf(s, "signed by %s, %s", j->review[i].person, j->review[i].role);
	return finding_of(j, seq);
}

/* Judged from the founding document on; without one nothing can be said. */
static st judge_reviews(struct scope *s, const char *log, const char *founding, json_t *envelopes)
{
	AUTO(cli_judge) *judge = NULL;
	struct cli_judgement judgement;
	size_t i;
	json_t *envelope;
	if (founding != NULL) {
		TRY(cli_judge_new(s, founding, &judge));
		TRY(cli_judge_log(s, log, judge));
		TRY(cli_judge_end(judge, &judgement));
	}
	json_array_foreach(envelopes, i, envelope)
	{
		json_int_t seq = json_integer_value(json_object_get(envelope, "seq"));
		if (is_review(envelope))
			(void)json_object_set_new(
				envelope, "signature",
				json_string(judge == NULL ? "not judged: --founding FILE" : word_on(s, &judgement, seq)));
	}
	return OK;
}

static const char *founding_of(struct scope *s, const struct cli *c)
{
	const char *path = cli_get(c, "log") == NULL ? c->conf.founding : NULL;
	if (c->argument_count > 0)
		path = scope_printf(s, "%s/founding", c->argument[0]);
	return cli_get_or(c, "founding", path != NULL && file_exists(path) ? path : NULL);
}

/* ---- the command ---- */

static st check_event(struct scope *s, const char *name)
{
	struct cli_nearest near = { .word = span_str(name == NULL ? "" : name) };
	for (int code = 0; name != NULL && code < AUDIT_CODE_COUNT; code++) {
		if (strcmp(audit_row((enum audit_code)code)->name, name) == 0)
			return OK;
		cli_nearest_try(&near, audit_row((enum audit_code)code)->name);
	}
	return name == NULL ? OK
			    : fail(s, E_INPUT, "there is no event %s%s; `chancery audit catalogue` names them", name,
				   cli_nearest_question(s, &near, ""));
}

st cli_audit_get_time(struct scope *s, const struct cli *c, const char *option, int64_t otherwise, int64_t *out)
{
	const char *text = cli_get(c, option);
	*out = otherwise;
	if (text == NULL)
		return OK;
	const char *whole = strchr(text, 'T') == NULL ? scope_printf(s, "%sT00:00:00Z", text) : text;
	return fail_context(s, moment_parse(s, span_str(whole), out), "--%s, a day (2026-11-01) or a time", option);
}

static const char *copy_of(struct scope *s, const struct cli *c)
{
	if (c->argument_count > 0)
		return scope_printf(s, "%s/log", c->argument[0]);
	return cli_get(c, "log");
}

st cli_audit_show(struct scope *s, struct cli *c)
{
	AUTO(json_t) *rows = json_array();
	struct wish w = { .event = cli_get(c, "event"),
			  .component = cli_get(c, "component"),
			  .containing = cli_get(c, "containing"),
			  .rows = rows,
			  .s = s };
	const char *copy = copy_of(s, c), *severity = cli_get(c, "severity");
	TRY(check_event(s, w.event));
	TRY(severity == NULL ? OK : audit_severity_named(s, severity, &w.severity));
	TRY(cli_get_number(s, c, "limit", 50, 1000000, &w.limit));
	TRY(cli_audit_get_time(s, c, "begin", 0, &w.begin));
	TRY(cli_audit_get_time(s, c, "end", INT64_MAX, &w.end));
	TRY(copy != NULL ? show_copy(s, c, copy, &w) : show_running(s, c, &w));
	if (have_reviews(rows))
		TRY(judge_reviews(s, copy != NULL ? copy : c->conf.audit_log, founding_of(s, c), rows));
	if (!c->json && cli_get(c, "whole") != NULL)
		return print_whole(s, c, rows);
	return cli_print(s, c, c->json ? TAKE(rows) : short_rows(rows));
}
