#include "control_review.h"
#include "control_internal.h"

#define REPORT "report"
#define REVIEW "review"

/* ---- writing ---- */

static void put_report(struct control_wr *w, const struct control_report *r)
{
	control_put_hex(w, "report", SPAN_ARRAY(r->report));
	control_put(w, "log", r->log);
	control_put_number(w, "size", r->size);
	control_put_hex(w, "root", SPAN_ARRAY(r->root));
	control_put_moment(w, "from", r->from);
	control_put_moment(w, "to", r->to);
}

st control_report_write(struct scope *s, const struct control_report *r, struct buf *out)
{
	struct control_wr w = control_write(out, REPORT);
	put_report(&w, r);
	return control_written(s, &w);
}

st control_review_text(struct scope *s, const struct control_review *m, struct buf *out)
{
	struct control_wr w = control_write(out, REVIEW);
	put_report(&w, &m->of);
	control_put(&w, "conclusion", m->conclusion);
	control_put(&w, "person", m->person);
	control_put_str(&w, "role", control_role_row(m->role)->name);
	control_put_moment(&w, "reviewed", m->reviewed);
	return control_written(s, &w);
}

st control_review_write(struct scope *s, const struct control_review *m, struct buf *out)
{
	TRY(control_review_text(s, m, out));
	if (m->signature.len == 0)
		return OK;
	struct control_wr w = { .out = out, .bad = !buf_append(out, SPAN_LITERAL("\n")) };
	control_put_base64(&w, "signature", m->signature);
	return control_written(s, &w);
}

/* ---- reading ---- */

static void get_report(struct control_rd *r, struct control_report *out)
{
	control_get_hex(r, "report", out->report, sizeof out->report);
	out->log = control_get(r, "log");
	out->size = control_get_number(r, "size", INT64_MAX);
	control_get_hex(r, "root", out->root, sizeof out->root);
	out->from = control_get_moment(r, "from");
	out->to = control_get_moment(r, "to");
	if (r->problem[0] == 0 && (out->size == 0 || out->from >= out->to))
		control_refuse(r, "ends a period of a log that has nothing in it");
}

static st check_size(struct scope *s, span file)
{
	return file.len <= CONTROL_REVIEW_MAX
		       ? OK
		       : fail(s, E_LIMIT, "a review has at most %d octets, this has %zu", CONTROL_REVIEW_MAX, file.len);
}

st control_report_read(struct scope *s, span file, struct control_report *out)
{
	struct control_report report;
	TRY(check_size(s, file));
	struct control_rd r = control_read(file, REPORT, "what a report says of its log");
	get_report(&r, &report);
	TRY(control_end(s, &r));
	*out = report;
	return OK;
}

static void get_role(struct control_rd *r, enum control_role *out)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	span value = control_get(r, "role");
	if (r->problem[0] == 0 && control_role_named(&aside, value, out).code != E_OK)
		control_refuse(r, "(role): %s", aside.message);
}

static st read_text(struct scope *s, span text, struct control_review *out)
{
	struct control_rd r = control_read(text, REVIEW, "review");
	get_report(&r, &out->of);
	out->conclusion = control_get(&r, "conclusion");
	if (out->conclusion.len > CONTROL_CONCLUSION_MAX)
		control_refuse(&r, "(conclusion): at most %d octets", CONTROL_CONCLUSION_MAX);
	out->person = control_get_id(&r, "person");
	get_role(&r, &out->role);
	out->reviewed = control_get_moment(&r, "reviewed");
	return control_end(s, &r);
}

st control_review_read(struct scope *s, span file, struct control_review *out)
{
	span text = file, behind = { 0 };
	struct control_review m = { .reviewed = 0 };
	TRY(check_size(s, file));
	bool is_signed = control_cut(file, &text, &behind);
	TRY(read_text(s, text, &m));
	if (is_signed) {
		struct control_rd last = { .rest = behind, .line = 1, .what = "review, behind the text" };
		m.signature = control_get_base64(&last, s, "signature");
		TRY(control_end(s, &last));
	}
	*out = m;
	return OK;
}

/* ---- is it an auditor's ---- */

//= tsps#5.4.2 who reviews the log is none of those who run what it is about
static st check_auditor(struct scope *s, const struct control_register *r, const struct control_person *p,
			const struct control_review *m, int64_t at)
{
	if (control_role_row(m->role)->group != CONTROL_AUDIT)
		return fail(s, E_DENIED, "%s reviews as %s; a report is reviewed by a System Auditor or a Compliance Officer",
			    p->id, control_role_row(m->role)->text);
	TRY(control_check_role_held(s, p, m->role, at));
	return control_newest_not_naming(s, r, p, at);
}

st control_review_check(struct scope *s, const struct control_register *r, const struct control_review *m, int64_t at)
{
	AUTO_BUF text;
	buf_init(&text, 0);
	const struct control_person *p = control_find_person(r, m->person);
	if (p == NULL)
		return fail(s, E_DENIED, "%.*s is not on the register", (int)m->person.len, (const char *)m->person.data);
	TRY(check_auditor(s, r, p, m, at));
	if (m->reviewed > at + CONTROL_CLOCK_SKEW)
		return fail(s, E_STATE, "%s has reviewed it at a time that is still to come", p->id);
	if (m->signature.len == 0)
		return fail(s, E_CRYPTO, "%s has not signed it", p->id);
	TRY(control_review_text(s, m, &text));
	return fail_context(s, control_verify(s, p->key, buf_span(&text), m->signature), "the review of %s", p->id);
}
