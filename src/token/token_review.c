#include "control_review.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "text.h"
#include "token.h"

#define REPORT_MAX ((size_t)64 << 20)

static st read_review(struct scope *s, const struct token *t, struct control_review *m)
{
	span file, person;
	TRY(token_person(s, t, &person));
	TRY(token_read(s, t, "review", CONTROL_REVIEW_MAX, &file));
	TRY(fail_context(s, control_review_read(s, file, m), "%s", token_get(t, "review")));
	if (m->signature.len > 0)
		return fail(s, E_CONFLICT, "%s is signed already", token_get(t, "review"));
	if (!span_equal(m->person, person))
		return fail(s, E_DENIED, "%s is the review of %.*s: a review is signed by the person whom it names",
			    token_get(t, "review"), (int)m->person.len, (const char *)m->person.data);
	return OK;
}

/* What was read is what is signed, whoever made the text. */
static st check_report(struct scope *s, const struct token *t, const struct control_review *m)
{
	span report;
	uint8_t room[DIGEST_MAX];
	TRY(file_read(s, token_get(t, "report"), REPORT_MAX, &report));
	if (!span_equal(digest_of(DIGEST_SHA256, report, room), SPAN_ARRAY(m->of.report)))
		return fail(s, E_CONFLICT, "%s is another file than the one that %s is about", token_get(t, "report"),
			    token_get(t, "review"));
	return OK;
}

static void show(const struct token *t, const struct control_review *m, span text)
{
	char from[MOMENT_TEXT_MAX], to[MOMENT_TEXT_MAX];
	token_show("\nYou are asked to sign that you have reviewed %s and conclude:\n\n  %.*s\n\n", token_get(t, "report"),
		   (int)m->conclusion.len, (const char *)m->conclusion.data);
	token_show("  log      %.*s, %llu records\n  period   %s to %s\n  you are  %.*s, %s\n\nThe whole text that your token "
		   "signs:\n",
		   (int)m->of.log.len, (const char *)m->of.log.data, (unsigned long long)m->of.size,
		   moment_text(m->of.from, from), moment_text(m->of.to, to), (int)m->person.len, (const char *)m->person.data,
		   control_role_row(m->role)->text);
	token_show_text(text);
}

static st write_review(struct scope *s, const char *path, const struct control_review *m)
{
	AUTO_BUF file;
	buf_init(&file, 0);
	TRY(control_review_write(s, m, &file));
	return fail_context(s, file_replace(s, path, buf_span(&file), 0644), "writing %s", path);
}

st token_run_review(struct scope *s, struct token *t)
{
	struct control_review m;
	AUTO_BUF text;
	buf_init(&text, 0);
	TRY(read_review(s, t, &m));
	TRY(check_report(s, t, &m));
	TRY(control_review_text(s, &m, &text));
	show(t, &m, buf_span(&text));
	TRY(token_open(s, t, "to sign this"));
	TRY(token_sign(s, t, buf_span(&text), &m.signature));
	TRY(write_review(s, token_get(t, "review"), &m));
	const struct token_member members[] = { { "review", token_get(t, "review") },
						{ "report-sha256", hex_text(s, SPAN_ARRAY(m.of.report)) },
						{ "person", scope_cstr(s, m.person) },
						{ "role", control_role_row(m.role)->name } };
	return token_print(s, t, members, sizeof members / sizeof members[0]);
}
