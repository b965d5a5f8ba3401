/* `chancery audit verify`: the whole log, off-line, held to the checkpoints that daemons and people kept. */
#include "audit_verify.h"
#include "cli_audit.h"
#include "file.h"

#define ANCHORS_MAX 64

/* Daemons replace their anchor while this runs, so each is read once, before the log. One that does not exist yet is left out. */
static st read_anchors(struct scope *s, const struct cli *c, struct audit_anchor anchors[ANCHORS_MAX], size_t *out_count)
{
	size_t count = 0;
	const struct conf_list *kept = &c->conf.anchors;
	for (size_t i = 0; i < kept->count && cli_get(c, "log") == NULL; i++) {
		if (!file_exists(kept->item[i]))
			continue;
		if (count == ANCHORS_MAX)
			return fail(s, E_LIMIT, "at most %d anchors", ANCHORS_MAX);
		anchors[count].name = kept->item[i];
		TRY(file_read(s, kept->item[i], AUDIT_NOTE_MAX, &anchors[count].note));
		count += anchors[count].note.len > 0;
	}
	const char *path;
	for (size_t i = 0; (path = cli_get_at(c, "anchor", i)) != NULL; i++) {
		if (count == ANCHORS_MAX)
			return fail(s, E_LIMIT, "at most %d anchors", ANCHORS_MAX);
		anchors[count].name = path;
		TRY(file_read(s, path, AUDIT_NOTE_MAX, &anchors[count++].note));
	}
	*out_count = count;
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

st cli_audit_verify(struct scope *s, struct cli *c)
{
	struct audit_key key;
	TRY(read_key(s, c, &key));
	struct audit_anchor anchors[ANCHORS_MAX];
	struct audit_verify request = {
		.dir = cli_get_or(c, "log", c->conf.audit_log), .key = &key, .key_count = 1, .anchor = anchors
	};
	TRY(read_anchors(s, c, anchors, &request.anchor_count));
	if (cli_get(c, "since") != NULL)
		TRY(file_read(s, cli_get(c, "since"), AUDIT_NOTE_MAX, &request.since));
	struct audit_report report;
	TRY(audit_verify(s, &request, &report));
	c->exit_code = (int)report.verdict;
	return cli_print(s, c, report_json(&report));
}
