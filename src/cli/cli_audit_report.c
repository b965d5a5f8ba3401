/* `chancery audit report`: what happened in a period, for an internal auditor, from a log that is verified in the same pass; and `audit review`, the record
 * that somebody read it. */
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "cli_process.h"
#include "cli_record.h"
#include "cli_register.h"
#include "cli_report.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "text.h"
#include <stdlib.h>
#include <unistd.h>

#define PAGE_MAX    ((size_t)16 << 20)
#define REPORT_MAX  ((size_t)64 << 20)
#define REMARKS_MAX 2000

/* ---- PDF/A, by Debian's weasyprint ---- */

static const char weasyprint[] = "/usr/bin/weasyprint";

static st check_pdf(struct scope *s, const char *pdf)
{
	if (pdf == NULL)
		return OK;
	if (access(weasyprint, X_OK) != 0)
		return fail(s, E_NOTFOUND,
			    "--pdf needs %s: apt-get install weasyprint; or leave --pdf out, the HTML says the same",
			    weasyprint);
	return cli_check_out(s, pdf);
}

//= iso19005-2#6 the page as PDF/A-2b: fonts and colour profile in the file, nothing outside it
//= iso19005-2#6.1.3 a file identifier, which weasyprint 57 leaves out by itself
static st write_pdf(struct scope *s, const char *html, span page, const char *pdf)
{
	const char *identifier = scope_printf(s, "%.32s", hex_text(s, digest_new(s, DIGEST_SHA256, page)));
	const char *const arguments[] = {
		"--pdf-variant", "pdf/a-2b", "--pdf-identifier", identifier, "--quiet", html, pdf, NULL
	};
	int code;
	if (pdf == NULL)
		return OK;
	TRY(cli_run_program(s, weasyprint, arguments, NULL, -1, NULL, &code));
	return code == 0 ? OK : fail(s, E_IO, "%s ended with %d and wrote no %s; its message says why", weasyprint, code, pdf);
}

/* ---- report ---- */

static st get_period(struct scope *s, const struct cli *c, int64_t *from, int64_t *to)
{
	TRY(cli_audit_get_time(s, c, "from", 0, from));
	TRY(cli_audit_get_time(s, c, "to", scope_now(s), to));
	if (*from >= *to)
		return fail(s, E_INPUT, "--from must be before --to");
	return OK;
}

static json_t *summary(struct scope *s, const struct report *r, const json_t *words, const char *path, span page)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:I}", "report", path, "sha256", hex_text(s, digest_new(s, DIGEST_SHA256, page)),
			 "verdict", cli_member(words, "verdict"), "records in the period", (json_int_t)r->records, "exceptions",
			 (json_int_t)r->exceptions);
}

static st make_page(struct scope *s, struct cli *c, struct report *r, struct buf *page, json_t **out_words)
{
	struct cli_audit_source source;
	TRY(cli_audit_find(s, c, c->argument_count > 0 ? c->argument[0] : NULL, &source));
	TRY(cli_audit_run(s, c, &source, r, out_words));
	if (!report_html(s, r, *out_words, page))
		return fail(s, E_LIMIT, "the report is over %zu bytes; choose a shorter period", PAGE_MAX);
	return OK;
}

st cli_audit_report(struct scope *s, struct cli *c)
{
	int64_t from, to;
	const char *path = cli_get(c, "out"), *pdf = cli_get(c, "pdf");
	AUTO(json_t) *words = NULL;
	AUTO_BUF page;
	buf_init(&page, PAGE_MAX);
	TRY(get_period(s, c, &from, &to));
	TRY(cli_check_out(s, path));
	TRY(check_pdf(s, pdf));
	struct report *r = scope_new(s, struct report);
	report_begin(r, s, from, to);
	TRY(make_page(s, c, r, &page, &words));
	TRY(file_replace(s, path, buf_span(&page), 0644));
	TRY(write_pdf(s, path, buf_span(&page), pdf));
	json_t *out = summary(s, r, words, path, buf_span(&page));
	if (pdf != NULL) {
		span bytes;
		TRY(file_read(s, pdf, REPORT_MAX, &bytes));
		(void)json_object_set_new(out, "pdf", json_string(pdf));
		(void)json_object_set_new(out, "pdf sha256", json_string(hex_text(s, digest_new(s, DIGEST_SHA256, bytes))));
	}
	return cli_print(s, c, out);
}

/* ---- review ---- */

st cli_audit_review(struct scope *s, struct cli *c)
{
	const char *person = cli_get(c, "by"), *remarks = cli_get_or(c, "remarks", "");
	const char *problem = control_id_problem(span_str(person));
	span report;
	uint8_t digest[DIGEST_MAX];
	if (problem != NULL)
		return fail(s, E_INPUT, "%s: a person's name on the register %s; the log has no other", person, problem);
	if (strlen(remarks) > REMARKS_MAX)
		return fail(s, E_LIMIT, "remarks have at most %d octets", REMARKS_MAX);
	TRY(cli_record_possible(s, c));
	TRY(file_read(s, cli_get(c, "report"), REPORT_MAX, &report));
	span hash = digest_of(DIGEST_SHA256, report, digest);
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_REPORT_REVIEWED);
	audit_hex(&e, "report", hash);
	audit_str(&e, "person", person);
	if (remarks[0] != 0)
		audit_str(&e, "remarks", remarks);
	audit_str(&e, "operator", cli_operator(s));
	TRY(cli_record(s, c, "report-reviewed", &e));
	return cli_print(s, c, json_pack("{s:s, s:s}", "report", hex_text(s, hash), "reviewed by", person));
}
