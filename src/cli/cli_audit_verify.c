/* `chancery audit verify`: the whole log, off-line, held to the checkpoints that daemons and people kept, and its operations with quorum. */
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "cli_report.h"
#include "file.h"
#include "stamp.h"
#include <stdio.h>

/* Whether somebody might remove it is asked where operations are judged; the number of those is in the report. */
static void count_only(void *state, uint64_t index)
{
	(void)state;
	(void)index;
}

st cli_audit_check(struct scope *s, const struct cli *c, const char *dir, bool anchored, struct audit_report *out)
{
	struct cli_audit_source source = { .log = dir };
	TRY(cli_audit_read_keys(s, c->conf.audit_key, source.key, &source.keys));
	if (anchored)
		TRY(cli_audit_kept(s, c, &source));
	const struct audit_verify request = { .dir = dir,
					      .key = source.key,
					      .key_count = source.keys,
					      .anchor = source.anchor,
					      .anchor_count = source.anchors,
					      .removed = count_only };
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

/* ---- time-stamps ---- */

/* Before the log is read: what was stamped then must be in it. */
static st newest_stamp(struct scope *s, const char *log, uint64_t *out)
{
	*out = 0;
	st found = stamp_newest(s, log, out);
	if (found.code != E_NOTFOUND)
		return found;
	scope_clear_error(s);
	return OK;
}

/* NULL: no anchor is named. */
static st open_trust(struct scope *s, const struct cli_audit_source *source, struct stamp_trust **out)
{
	struct stamp_trust *trust = NULL;
	st added = OK;
	if (source->stamp_anchor != NULL)
		TRY(stamp_trust_open(s, source->stamp_anchor, &trust));
	for (size_t i = 0; i < source->crls && trust != NULL && added.code == E_OK; i++)
		added = stamp_trust_add_crls(s, trust, source->crl[i]);
	if (added.code != E_OK)
		stamp_trust_close(TAKE(trust));
	*out = trust;
	return added;
}

/* A bad stamp is a finding like any other; it has no record of its own. */
static st verify_stamps(struct scope *s, const struct cli_audit_source *source, uint64_t last, struct audit_report *found,
			struct stamp_report *out)
{
	struct stamp_trust *trust = NULL;
	if (found->verdict == AUDIT_UNSOUND)
		return OK;
	TRY(open_trust(s, source, &trust));
	const struct stamp_check request = { .dir = source->log,
					     .key = source->key,
					     .key_count = source->keys,
					     .trust = trust,
					     .size = found->checkpoint.size,
					     .last = last };
	st checked = stamp_check_log(s, &request, out);
	stamp_trust_close(trust);
	TRY(checked);
	if (out->problem[0] != 0) {
		found->verdict = AUDIT_UNSOUND;
		(void)snprintf(found->problem, sizeof found->problem, "%.*s", SCOPE_MESSAGE_MAX - 1, out->problem);
	}
	return OK;
}

st cli_audit_run(struct scope *s, struct cli *c, const struct cli_audit_source *source, struct report *report,
		 json_t **out_words)
{
	AUTO(cli_judge) *judge = NULL;
	const char *why_not = NULL;
	TRY(open_judge(s, c, source, &judge, &why_not));
	struct audit_verify request = { .dir = source->log,
					.key = source->key,
					.key_count = source->keys,
					.anchor = source->anchor,
					.anchor_count = source->anchors,
					.visit = judge == NULL ? NULL : cli_judge_record,
					.state = judge,
					.removed = judge == NULL ? count_only : cli_judge_removed,
					.removed_state = judge };
	if (report != NULL) {
		report->judge = judge;
		request.visit = report_record;
		request.state = report;
	}
	if (cli_get(c, "since") != NULL)
		TRY(file_read(s, cli_get(c, "since"), AUDIT_NOTE_MAX, &request.since));
	struct audit_report found;
	struct cli_judgement judgement;
	struct stamp_report stamps = { .found = 0 };
	uint64_t last;
	TRY(newest_stamp(s, source->log, &last));
	TRY(audit_verify(s, &request, &found));
	TRY(verify_stamps(s, source, last, &found, &stamps));
	if (report != NULL && found.verdict != AUDIT_UNSOUND)
		report->checkpoint = found.checkpoint;
	bool judged = judge != NULL && found.verdict != AUDIT_UNSOUND;
	if (judged)
		TRY(cli_judge_trees(s, judge, source->log, found.checkpoint.origin));
	if (judged)
		TRY(cli_judge_end(judge, &judgement));
	const struct cli_verification v = { .report = &found,
					    .key = source->key,
					    .keys = source->keys,
					    .stamps = &stamps,
					    .stamps_trusted = source->stamp_anchor != NULL,
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
