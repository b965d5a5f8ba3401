/* `chancery audit verify`: the whole log, off-line, held to the checkpoints that daemons and people kept. */
#include "audit_verify.h"
#include "cli_audit.h"
#include "file.h"
#include "moment.h"
#include "stamp.h"

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

/* A log's keys: the newest, and those that it was rolled over from. */
struct keys {
	struct audit_key row[AUDIT_KEYS_MAX];
	size_t count;
};

static st read_keys(struct scope *s, const struct cli *c, struct keys *out)
{
	const char *path = cli_get_or(c, "key", c->conf.audit_key);
	span text;
	TRY(file_read(s, path, 16384, &text));
	return fail_context(s, audit_keys_parse(s, text, out->row, &out->count), "%s", path);
}

static json_t *report_json(const struct audit_report *report)
{
	static const char *const verdicts[] = {
		[AUDIT_SOUND] = "sound",
		[AUDIT_UNSOUND] = "NOT SOUND",
		[AUDIT_NOT_ANCHORED] = "sound, but tail not anchored: no checkpoint kept outside the log covers its end",
	};
	json_t *out = json_pack("{s:s}", "verdict", verdicts[report->verdict]);
	if (report->has_index)
		(void)json_object_set_new(out, "first bad record", json_integer((json_int_t)report->index));
	if (report->problem[0] != 0)
		(void)json_object_set_new(out, "problem", json_string(report->problem));
	(void)json_object_set_new(out, "origin", json_string(report->checkpoint.origin));
	(void)json_object_set_new(out, "records under the checkpoint", json_integer((json_int_t)report->checkpoint.size));
	(void)json_object_set_new(out, "read from record", json_integer((json_int_t)report->from));
	(void)json_object_set_new(out, "records behind it", json_integer((json_int_t)report->tail));
	(void)json_object_set_new(out, "anchors that agree", json_integer((json_int_t)report->anchors));
	return out;
}

st cli_audit_check(struct scope *s, const struct cli *c, const char *dir, bool anchored, struct audit_report *out)
{
	struct keys keys = { .count = 0 };
	struct anchors anchors = { .count = 0 };
	TRY(read_keys(s, c, &keys));
	if (anchored)
		TRY(add_kept(s, c, &anchors));
	const struct audit_verify request = {
		.dir = dir, .key = keys.row, .key_count = keys.count, .anchor = anchors.row, .anchor_count = anchors.count
	};
	return audit_verify(s, &request, out);
}

/* ---- time-stamps ---- */

/* Before the log is read: what was stamped then must be in it. */
static st last_stamp(struct scope *s, const char *dir, uint64_t *out)
{
	*out = 0;
	st found = stamp_newest(s, dir, out);
	if (found.code != E_NOTFOUND)
		return found;
	scope_clear_error(s);
	return OK;
}

static st open_trust(struct scope *s, const struct cli *c, struct stamp_trust **out)
{
	const char *path = cli_get(c, "stamp-anchor");
	if (path == NULL && cli_get(c, "log") == NULL && file_exists(c->conf.stamp_anchor))
		path = c->conf.stamp_anchor;
	return path == NULL ? OK : stamp_trust_open(s, path, out);
}

static void add_stamps(struct scope *s, const struct stamp_report *stamps, uint64_t size, bool trusted, json_t *out)
{
	char when[MOMENT_TEXT_MAX];
	const char *text = scope_printf(s, "%llu, the newest of %s over %llu records", (unsigned long long)stamps->verified,
					moment_text(stamps->gen_time, when), (unsigned long long)stamps->newest);
	if (stamps->found == 0)
		text = "none: nothing but the log's own key says when its records were there";
	else if (!trusted)
		text = scope_printf(s, "none of %llu: no anchor is named (--stamp-anchor FILE)",
				    (unsigned long long)stamps->found);
	(void)json_object_set_new(out, "time-stamps verified", json_string(text));
	if (stamps->verified == 0)
		return;
	(void)json_object_set_new(out, "records under no time-stamp", json_integer((json_int_t)(size - stamps->newest)));
	(void)json_object_set_new(out, "not verified",
				  json_string("whether a certificate of the time-stamping authority was revoked"));
}

/* A bad stamp is a finding like any other; it has no record of its own. */
static st verify_stamps(struct scope *s, const struct cli *c, const struct audit_verify *log, uint64_t last,
			struct audit_report *report, json_t **out)
{
	struct stamp_trust *trust = NULL;
	struct stamp_report stamps = { .found = 0 };
	if (report->verdict == AUDIT_UNSOUND) {
		*out = report_json(report);
		return OK;
	}
	TRY(open_trust(s, c, &trust));
	const struct stamp_check request = { .dir = log->dir,
					     .key = log->key,
					     .key_count = log->key_count,
					     .trust = trust,
					     .size = report->checkpoint.size,
					     .last = last };
	bool trusted = trust != NULL;
	st checked = stamp_check_log(s, &request, &stamps);
	stamp_trust_close(trust);
	TRY(checked);
	if (stamps.problem[0] != 0) {
		report->verdict = AUDIT_UNSOUND;
		(void)snprintf(report->problem, sizeof report->problem, "%.*s", SCOPE_MESSAGE_MAX - 1, stamps.problem);
	}
	*out = report_json(report);
	add_stamps(s, &stamps, report->checkpoint.size, trusted, *out);
	return OK;
}

/* Log and key named: a copy on an auditor's own machine, where there is no installation. */
st cli_audit_verify(struct scope *s, struct cli *c)
{
	const char *dir = cli_get(c, "log");
	if (dir == NULL || cli_get(c, "key") == NULL)
		TRY(fail_context(s, cli_read_conf(s, c), "without --log DIR and --key FILE"));
	struct keys keys = { .count = 0 };
	TRY(read_keys(s, c, &keys));
	struct anchors anchors = { .count = 0 };
	if (dir == NULL)
		TRY(add_kept(s, c, &anchors));
	const char *path;
	for (size_t i = 0; (path = cli_get_at(c, "anchor", i)) != NULL; i++)
		TRY(add_anchor(s, &anchors, path));
	struct audit_verify request = { .dir = dir != NULL ? dir : c->conf.audit_log,
					.key = keys.row,
					.key_count = keys.count,
					.anchor = anchors.row,
					.anchor_count = anchors.count };
	if (cli_get(c, "since") != NULL)
		TRY(file_read(s, cli_get(c, "since"), AUDIT_NOTE_MAX, &request.since));
	struct audit_report report;
	json_t *shown;
	uint64_t last;
	TRY(last_stamp(s, request.dir, &last));
	TRY(audit_verify(s, &request, &report));
	TRY(verify_stamps(s, c, &request, last, &report, &shown));
	c->exit_code = (int)report.verdict;
	return cli_print(s, c, shown);
}
