/* `chancery audit report`: what happened in a period, for an internal auditor, from a log that is verified in the same pass; and beside it, for who
 * reviews it, of which log it is. */
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "cli_process.h"
#include "cli_report.h"
#include "control_review.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "text.h"
#include <stdlib.h>
#include <unistd.h>

#define PAGE_MAX ((size_t)16 << 20)

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

/* For who reviews it: what the review will be signed over. */
static st write_period(struct scope *s, const struct report *r, const char *path, span file)
{
	struct control_report of = {
		.log = span_str(r->checkpoint.origin), .size = r->checkpoint.size, .from = r->from, .to = r->to
	};
	AUTO_BUF text;
	buf_init(&text, 0);
	if (of.size == 0) /* the log is not sound: there is nothing to sign off */
		return OK;
	memcpy(of.report, digest_new(s, DIGEST_SHA256, file).data, sizeof of.report);
	memcpy(of.root, r->checkpoint.root.octets, sizeof of.root);
	TRY(control_report_write(s, &of, &text));
	return file_replace(s, cli_audit_period(s, path), buf_span(&text), 0644);
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

static st print_pdf(struct scope *s, const struct cli *c, const struct report *r, const char *pdf, json_t *out)
{
	span bytes;
	(void)json_object_set_new(out, "pdf", json_string(pdf));
	st status = file_read(s, pdf, CLI_AUDIT_REPORT_MAX, &bytes);
	if (status.code == E_OK)
		status = write_period(s, r, pdf, bytes);
	if (status.code == E_OK)
		(void)json_object_set_new(out, "pdf sha256", json_string(hex_text(s, digest_new(s, DIGEST_SHA256, bytes))));
	if (status.code == E_OK)
		return cli_print(s, c, out);
	json_decref(out);
	return status;
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
	TRY(write_period(s, r, path, buf_span(&page)));
	TRY(write_pdf(s, path, buf_span(&page), pdf));
	json_t *out = summary(s, r, words, path, buf_span(&page));
	return pdf == NULL ? cli_print(s, c, out) : print_pdf(s, c, r, pdf, out);
}
