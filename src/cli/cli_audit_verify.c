/* `chancery audit verify`: the whole log, off-line, held to the checkpoints that daemons and people kept, and its operations with quorum. */
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "cli_report.h"
#include "file.h"

st cli_audit_check(struct scope *s, const struct cli *c, const char *dir, bool anchored, struct audit_report *out)
{
	struct cli_audit_source source = { .log = dir };
	TRY(cli_audit_read_key(s, c->conf.audit_key, &source.key));
	if (anchored)
		TRY(cli_audit_kept(s, c, &source));
	const struct audit_verify request = {
		.dir = dir, .key = &source.key, .key_count = 1, .anchor = source.anchor, .anchor_count = source.anchors
	};
	return audit_verify(s, &request, out);
}

/* Operations with quorum, in the same pass. */
static st open_judge(struct scope *s, const struct cli *c, const struct cli_audit_source *source, struct cli_judge **out,
		     const char **out_why_not)
{
	*out_why_not = "give the founding document: --founding FILE";
	if (cli_get(c, "since") == NULL)
		return source->founding == NULL ? OK : cli_judge_new(s, source->founding, out);
	if (cli_get(c, "founding") != NULL)
		return fail(s, E_INPUT,
			    "operations are judged from the first record on, and --since leaves that out: give --since or "
			    "--founding");
	*out_why_not = "--since leaves out the first of them";
	return OK;
}

st cli_audit_run(struct scope *s, struct cli *c, const struct cli_audit_source *source, struct report *report,
		 json_t **out_words)
{
	AUTO(cli_judge) *judge = NULL;
	const char *why_not = NULL;
	TRY(open_judge(s, c, source, &judge, &why_not));
	struct audit_verify request = { .dir = source->log,
					.key = &source->key,
					.key_count = 1,
					.anchor = source->anchor,
					.anchor_count = source->anchors,
					.visit = judge == NULL ? NULL : cli_judge_record,
					.state = judge };
	if (report != NULL) {
		report->judge = judge;
		request.visit = report_record;
		request.state = report;
	}
	if (cli_get(c, "since") != NULL)
		TRY(file_read(s, cli_get(c, "since"), AUDIT_NOTE_MAX, &request.since));
	struct audit_report found;
	struct cli_judgement judgement;
	TRY(audit_verify(s, &request, &found));
	bool judged = judge != NULL && found.verdict != AUDIT_UNSOUND;
	if (judged)
		TRY(cli_judge_end(judge, &judgement));
	const struct cli_verification v = { .report = &found,
					    .key = &source->key,
					    .has_since = request.since.len > 0,
					    .judgement = judged ? &judgement : NULL,
					    .not_judged = why_not };
	c->exit_code = (int)cli_audit_verdict(&v);
	*out_words = cli_audit_words(s, &v);
	return OK;
}

st cli_audit_verify(struct scope *s, struct cli *c)
{
	struct cli_audit_source source;
	json_t *words;
	TRY(cli_audit_find(s, c, c->argument_count > 0 ? c->argument[0] : NULL, &source));
	TRY(cli_audit_run(s, c, &source, NULL, &words));
	return cli_print(s, c, words);
}
