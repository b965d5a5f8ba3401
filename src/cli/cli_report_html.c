#include "cli_report.h"
#include "audit_json.h"
#include "moment.h"
#include <stdio.h>
#include <stdlib.h>

static bool put(struct buf *out, const char *text)
{
	return buf_append(out, span_str(text));
}

bool report_text(struct buf *out, span text)
{
	static const struct {
		uint8_t c;
		const char *as;
	} escapes[] = { { '&', "&amp;" }, { '<', "&lt;" }, { '>', "&gt;" }, { '"', "&quot;" } };
	bool good = true;
	for (size_t i = 0; good && i < text.len; i++) {
		const char *as = NULL;
		for (size_t k = 0; k < sizeof escapes / sizeof escapes[0]; k++)
			as = text.data[i] == escapes[k].c ? escapes[k].as : as;
		good = as != NULL ? put(out, as) : buf_append(out, span_of(text.data + i, 1));
	}
	return good;
}

static bool put_text(struct buf *out, const char *text)
{
	return report_text(out, span_str(text));
}

static bool put_element(struct buf *out, const char *tag, const char *text)
{
	char open[64], close[16];
	(void)snprintf(open, sizeof open, "<%s>", tag);
	(void)snprintf(close, sizeof close, "</%.*s>", (int)strcspn(tag, " "), tag);
	return put(out, open) && put_text(out, text) && put(out, close);
}

static bool put_cell_number(struct scope *s, struct buf *out, uint64_t number)
{
	return put_element(out, "td class=\"number\"", scope_printf(s, "%llu", (unsigned long long)number));
}

static const char *second_of(struct scope *s, int64_t moment)
{
	char when[MOMENT_TEXT_MAX];
	(void)moment_text(moment, when);
	return scope_printf(s, "%.10s %.8s", when, when + 11);
}

/* Widths are fixed: what lays out pages need not read a table of hundreds of rows before it begins. */
struct column {
	const char *name; /* NULL behind the last */
	unsigned percent;
};

static bool table_begin(struct scope *s, struct buf *out, const char *caption, const struct column *columns)
{
	bool good = put(out, "<table>") && put_element(out, "caption", caption) && put(out, "<colgroup>");
	for (const struct column *c = columns; good && c->name != NULL; c++)
		good = put(out, scope_printf(s, "<col style=\"width:%u%%\">", c->percent));
	good = good && put(out, "</colgroup><thead><tr>");
	for (const struct column *c = columns; good && c->name != NULL; c++)
		good = put_element(out, "th scope=\"col\"", c->name);
	return good && put(out, "</tr></thead>\n<tbody>\n");
}

static bool table_end(struct buf *out)
{
	return put(out, "</tbody></table>\n");
}

/* ---- head and verdict ---- */

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>\n"
	"body{font-family:'DejaVu Sans',sans-serif;font-size:10pt;line-height:1.45;max-width:52rem;margin:2rem auto;padding:0 1rem;"
	"color:#1a1a1a;background:#fff}\n"
	"h1{font-size:17pt}h2{font-size:13pt;border-bottom:1px solid #999;margin-top:2rem}\n"
	"table{border-collapse:collapse;table-layout:fixed;width:100%;margin:1rem 0;font-size:8.5pt}caption{text-align:left;font-weight:bold;padding:.3rem 0}\n"
	"th,td{border:1px solid #aaa;padding:.2rem .4rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}"
	"th{background:#eee}td.number{text-align:right}\n"
	".bad{border-left:.4rem solid #b3261e;padding-left:.6rem}.good{border-left:.4rem solid #2e6b34;padding-left:.6rem}\n"
	"svg{width:100%;height:auto}\n@page{size:A4;margin:18mm 16mm;@bottom-right{content:counter(page) \" / \" counter(pages)}}\n"
	"@media print{body{margin:0;max-width:none}tr{break-inside:avoid}}\n</style>\n";

static bool put_head(struct scope *s, const struct report *r, const json_t *words, struct buf *out)
{
	const char *title = scope_printf(s, "Audit report of %s, %s to %s", cli_member(words, "origin"), second_of(s, r->from),
					 second_of(s, r->to));
	return put(out, head) && put_element(out, "title", title) && put(out, "</head>\n<body>\n<main>\n") &&
	       put_element(out, "h1", "Audit report") && put(out, "<p>Log ") && put_text(out, cli_member(words, "origin")) &&
	       put(out, scope_printf(s,
				     ", from %s up to %s (UTC), made %s. %llu of the %llu records under the checkpoint are of "
				     "this period.</p>\n",
				     second_of(s, r->from), second_of(s, r->to), second_of(s, scope_now(s)),
				     (unsigned long long)r->records,
				     (unsigned long long)cli_member_number(words, "records under the checkpoint")));
}

static bool put_sentences(struct buf *out, const char *heading, const json_t *list)
{
	bool good = put_element(out, "h3", heading) && put(out, "<ul>\n");
	for (size_t i = 0; good && i < json_array_size(list); i++)
		good = put_element(out, "li", json_string_value(json_array_get(list, i))) && put(out, "\n");
	return good && put(out, "</ul>\n");
}

static bool put_verdict(const json_t *words, struct buf *out)
{
	const char *verdict = cli_member(words, "verdict");
	bool sound = strncmp(verdict, "sound", 5) == 0;
	bool good = put_element(out, "h2", "Can this log be believed?") &&
		    put(out, sound ? "<p class=\"good\">The whole log was verified for this report: <strong>"
				   : "<p class=\"bad\">The whole log was verified for this report: <strong>") &&
		    put_text(out, verdict) && put(out, "</strong>. ") && put_text(out, cli_member(words, "problem")) &&
		    put(out, "</p>\n");
	return good && put_sentences(out, "Checked", json_object_get(words, "checked")) &&
	       put_sentences(out, "Not checked", json_object_get(words, "not checked"));
}

/* ---- exceptions ---- */

static bool put_findings(struct scope *s, const json_t *findings, struct buf *out)
{
	static const struct column heads[] = { { "Record", 12 }, { "Event", 22 }, { "Finding", 66 }, { NULL, 0 } };
	bool good = json_array_size(findings) == 0 ||
		    table_begin(s, out, "Operations that should not have been carried out", heads);
	for (size_t i = 0; good && i < json_array_size(findings); i++) {
		const json_t *f = json_array_get(findings, i);
		good = put(out, "<tr>") && put_cell_number(s, out, (uint64_t)cli_member_number(f, "record")) &&
		       put_element(out, "td", cli_member(f, "event")) && put_element(out, "td", cli_member(f, "finding")) &&
		       put(out, "</tr>\n");
	}
	return good && (json_array_size(findings) == 0 || table_end(out));
}

static bool put_exception(struct scope *s, const struct report_exception *x, struct buf *out)
{
	return put(out, "<tr>") && put_cell_number(s, out, x->seq) && put_element(out, "td", second_of(s, x->time)) &&
	       put_element(out, "td", x->event) && put_element(out, "td", x->component) && put_element(out, "td", x->who) &&
	       put_element(out, "td", x->words) && put(out, "</tr>\n");
}

/* By kind, worst first; what they were one by one stands at the end. */
static bool put_kinds(struct scope *s, const struct report *r, struct buf *out)
{
	static const struct column heads[] = { { "Event", 24 }, { "What it is", 62 }, { "Records", 14 }, { NULL, 0 } };
	const struct report_kind *kind;
	bool good = table_begin(s, out, "What was refused, lost, put back or abandoned", heads);
	for (size_t i = 0; good && (kind = report_kind_at(i)) != NULL; i++)
		if (r->kinds[i] > 0)
			good = put(out, "<tr>") && put_element(out, "th scope=\"row\"", audit_row(kind->code)->name) &&
			       put_element(out, "td", kind->what) && put_cell_number(s, out, r->kinds[i]) &&
			       put(out, "</tr>\n");
	return good && table_end(out);
}

static bool put_exceptions(struct scope *s, const struct report *r, const json_t *words, struct buf *out)
{
	bool good = put_element(out, "h2", "Exceptions") && put_findings(s, json_object_get(words, "findings"), out);
	if (r->exceptions == 0)
		return good &&
		       put(out,
			   "<p class=\"good\">None: nothing was refused, lost, put back or abandoned in this period.</p>\n");
	return good &&
	       put(out, scope_printf(s, "<p class=\"bad\">%llu records are exceptions. One by one they stand at the end.</p>\n",
				     (unsigned long long)r->exceptions)) &&
	       put_kinds(s, r, out);
}

static bool put_one_by_one(struct scope *s, const struct report *r, struct buf *out)
{
	static const struct column heads[] = { { "Record", 11 }, { "Time (UTC)", 14 }, { "Event", 20 }, { "Daemon", 11 },
					       { "Person", 13 }, { "Why", 31 },        { NULL, 0 } };
	if (r->exceptions == 0)
		return true;
	bool good =
		put_element(out, "h2", "Exceptions, one by one") &&
		put(out,
		    scope_printf(s,
				 "<p>%zu of %llu, in the order of the log. <code>chancery audit show --from RECORD --limit 1 "
				 "--whole</code> shows one in full.</p>\n",
				 r->listed, (unsigned long long)r->exceptions)) &&
		table_begin(s, out, "Exceptions", heads);
	for (size_t i = 0; good && i < r->listed; i++)
		good = put_exception(s, &r->exception[i], out);
	return good && table_end(out);
}

/* ---- who did what ---- */

static int by_who(const void *a, const void *b)
{
	const struct report_deed *left = a, *right = b;
	int order = (int)right->person - (int)left->person;
	if (order == 0)
		order = span_compare(left->who, right->who);
	return order != 0 ? order : (int)left->code - (int)right->code;
}

static bool put_deeds(struct scope *s, const struct report *r, bool persons, const char *caption, struct buf *out)
{
	static const struct column heads[] = {
		{ "Who", 20 }, { "Event", 20 }, { "Meaning", 48 }, { "Records", 12 }, { NULL, 0 }
	};
	struct report_deed *sorted = scope_alloc(s, (r->deeds + 1) * sizeof *sorted);
	memcpy(sorted, r->deed, r->deeds * sizeof *sorted);
	qsort(sorted, r->deeds, sizeof *sorted, by_who);
	bool good = table_begin(s, out, caption, heads);
	for (size_t i = 0; good && i < r->deeds; i++) {
		const struct audit_row *row = audit_row(sorted[i].code);
		if (sorted[i].person != persons)
			continue;
		good = put(out, "<tr><th scope=\"row\">") && report_text(out, audit_json_unescape(s, sorted[i].who)) &&
		       put(out, "</th>") && put_element(out, "td", row->name) && put_element(out, "td", row->text) &&
		       put_cell_number(s, out, sorted[i].count) && put(out, "</tr>\n");
	}
	return good && table_end(out);
}

static bool put_operation(struct scope *s, const struct report_operation *o, struct buf *out)
{
	return put(out, "<tr>") && put_cell_number(s, out, o->seq) && put_element(out, "td", second_of(s, o->time)) &&
	       put_element(out, "td", o->instance) && put_element(out, "td", o->approved) && put_element(out, "td", o->words) &&
	       put(out, "</tr>\n");
}

static bool put_operations(struct scope *s, const struct report *r, struct buf *out)
{
	static const struct column heads[] = { { "Record", 11 },   { "Time (UTC)", 14 }, { "Where", 13 },
					       { "Approved", 24 }, { "What", 38 },       { NULL, 0 } };
	bool good = table_begin(s, out, "Operations with quorum that were carried out", heads);
	for (size_t i = 0; good && i < r->operations_listed; i++)
		good = put_operation(s, &r->operation[i], out);
	good = good && table_end(out);
	if (r->operations > r->operations_listed)
		good = good && put(out, scope_printf(s, "<p>%zu of %llu; choose a shorter period for the others.</p>\n",
						     r->operations_listed, (unsigned long long)r->operations));
	return good;
}

static bool put_who(struct scope *s, const struct report *r, struct buf *out)
{
	bool good = put_element(out, "h2", "Who did what") && put_operations(s, r, out) &&
		    put_deeds(s, r, true, "Persons and operators", out) &&
		    put_deeds(s, r, false, "Daemons, by themselves", out);
	if (r->further_deeds > 0)
		good = good && put(out, scope_printf(s,
						     "<p>%llu further records are of more persons or events than fit this "
						     "report; choose a shorter period.</p>\n",
						     (unsigned long long)r->further_deeds));
	return good;
}

/* ---- in the course of time ---- */

static bool put_time(struct scope *s, const struct report *r, struct buf *out)
{
	static const struct column heads[] = { { "From", 40 }, { "Records", 30 }, { "Exceptions", 30 }, { NULL, 0 } };
	bool good = put_element(out, "h2", "In the course of time") && put(out, "<figure>\n") && report_chart(s, r, out) &&
		    put(out, "<figcaption>Records (blue) and exceptions (red, at the foot).</figcaption></figure>\n") &&
		    table_begin(s, out, "The same figures; parts of the period without records are left out", heads);
	for (size_t i = 0; good && i < r->buckets; i++) {
		if (r->all[i] == 0)
			continue;
		good = put(out, "<tr>") && put_element(out, "th scope=\"row\"", report_bucket_name(s, r, i)) &&
		       put_cell_number(s, out, r->all[i]) && put_cell_number(s, out, r->bad[i]) && put(out, "</tr>\n");
	}
	return good && table_end(out);
}

static bool put_sign_off(struct buf *out)
{
	return put_element(out, "h2", "Review") &&
	       put(out,
		   "<p>An auditor who has read this report and dealt with its exceptions signs that, with the SHA-256 of this "
		   "very file, on the token whose key the register of persons has: <code>chancery audit review --report FILE --by "
		   "PERSON --conclusion '...' --token LABEL</code>. It goes on record, and <code>audit verify</code> judges the "
		   "signature.</p>\n");
}

bool report_html(struct scope *s, const struct report *r, const json_t *words, struct buf *out)
{
	return put_head(s, r, words, out) && put_exceptions(s, r, words, out) && put_verdict(words, out) &&
	       put_time(s, r, out) && put_who(s, r, out) && put_sign_off(out) && put_one_by_one(s, r, out) &&
	       put(out, "</main>\n</body>\n</html>\n");
}
