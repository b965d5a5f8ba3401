/* `chancery audit verify`: the whole log, off-line, held to the checkpoints that daemons and people kept, and its operations with quorum. */
#include "cli_audit.h"
#include "cli_audit_words.h"
#include "file.h"

#define ANCHORS_MAX 64

struct anchors {
	struct audit_anchor row[ANCHORS_MAX];
	size_t count;
};

static st add_anchor(struct scope *s, struct anchors *to, const char *path)
{
	span note;
	TRY(file_read(s, path, AUDIT_NOTE_MAX, &note));
	if (note.len == 0)
		return OK;
	if (to->count == ANCHORS_MAX)
		return fail(s, E_LIMIT, "at most %d anchors", ANCHORS_MAX);
	to->row[to->count++] = (struct audit_anchor){ .name = path, .note = note };
	return OK;
}

/* Daemons replace their anchor while this runs, so each is read once, before the log. One that does not exist yet is left out. */
static st add_kept(struct scope *s, const struct cli *c, struct anchors *to)
{
	const struct conf_list *kept = &c->conf.anchors;
	for (size_t i = 0; i < kept->count; i++)
		if (file_exists(kept->item[i]))
			TRY(add_anchor(s, to, kept->item[i]));
	return OK;
}

static st read_key(struct scope *s, const struct cli *c, struct audit_key *out)
{
	const char *path = cli_get_or(c, "key", c->conf.audit_key);
	span line;
	TRY(file_read(s, path, 4096, &line));
	while (line.len > 0 && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r'))
		line.len--;
	return fail_context(s, audit_key_parse(s, line, out), "%s", path);
}

st cli_audit_check(struct scope *s, const struct cli *c, const char *dir, bool anchored, struct audit_report *out)
{
	struct audit_key key;
	struct anchors anchors = { .count = 0 };
	TRY(read_key(s, c, &key));
	if (anchored)
		TRY(add_kept(s, c, &anchors));
	const struct audit_verify request = {
		.dir = dir, .key = &key, .key_count = 1, .anchor = anchors.row, .anchor_count = anchors.count
	};
	return audit_verify(s, &request, out);
}

/* ---- operations with quorum, in the same pass ---- */

/* A copy (--log) brings its own founding document or none; an installation has one unless it was founded without quorum. */
static st open_judge(struct scope *s, const struct cli *c, struct cli_judge **out, const char **out_why_not)
{
	const char *path = cli_get(c, "founding");
	bool since = cli_get(c, "since") != NULL;
	*out_why_not = "give the founding document: --founding FILE";
	if (path != NULL && since)
		return fail(s, E_INPUT,
			    "operations are judged from the first record on, and --since leaves that out: give --since or "
			    "--founding");
	if (path == NULL && cli_get(c, "log") == NULL && c->conf.founding != NULL && file_exists(c->conf.founding)) {
		path = since ? NULL : c->conf.founding;
		*out_why_not = "--since leaves out the first of them";
	}
	return path == NULL ? OK : cli_judge_new(s, path, out);
}

static st read_anchors(struct scope *s, const struct cli *c, struct anchors *to)
{
	const char *path;
	if (cli_get(c, "log") == NULL)
		TRY(add_kept(s, c, to));
	for (size_t i = 0; (path = cli_get_at(c, "anchor", i)) != NULL; i++)
		TRY(add_anchor(s, to, path));
	return OK;
}

/* Log and key named: a copy on an auditor's own machine, where there is no installation. */
st cli_audit_verify(struct scope *s, struct cli *c)
{
	const char *dir = cli_get(c, "log");
	if (dir == NULL || cli_get(c, "key") == NULL)
		TRY(fail_context(s, cli_read_conf(s, c), "without --log DIR and --key FILE"));
	struct audit_key key;
	struct anchors anchors = { .count = 0 };
	AUTO(cli_judge) *judge = NULL;
	const char *why_not = NULL;
	TRY(read_key(s, c, &key));
	TRY(read_anchors(s, c, &anchors));
	TRY(open_judge(s, c, &judge, &why_not));
	struct audit_verify request = { .dir = dir != NULL ? dir : c->conf.audit_log,
					.key = &key,
					.key_count = 1,
					.anchor = anchors.row,
					.anchor_count = anchors.count,
					.visit = judge == NULL ? NULL : cli_judge_record,
					.state = judge };
	if (cli_get(c, "since") != NULL)
		TRY(file_read(s, cli_get(c, "since"), AUDIT_NOTE_MAX, &request.since));
	struct audit_report report;
	struct cli_judgement judgement;
	TRY(audit_verify(s, &request, &report));
	if (judge != NULL && report.verdict != AUDIT_UNSOUND)
		TRY(cli_judge_end(judge, &judgement));
	const struct cli_verification v = { .report = &report,
					    .key = &key,
					    .has_since = request.since.len > 0,
					    .judgement = judge == NULL || report.verdict == AUDIT_UNSOUND ? NULL : &judgement,
					    .not_judged = why_not };
	c->exit_code = (int)cli_audit_verdict(&v);
	return cli_print(s, c, cli_audit_words(s, &v));
}
