/*
 * `chancery audit purge`: which records need not be kept any more, as operations that two persons approve, as many as it takes; and the same
 * removal at other places of the log (a copy, an export, a published folder), which that place's own log must say.
 */
#include "audit_purge.h"
#include "audit_retention.h"
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "cli_judge.h"
#include "cli_op.h"
#include "file.h"
#include "moment.h"
#include "purge.h"
#include "text.h"
#include <stdlib.h>

/* ---- the plan ---- */

struct kept {
	uint64_t records;
	int64_t oldest, newest;
};

/* One operation: as many ranges as it takes. */
struct part {
	struct control_range *range;
	size_t ranges, closed; /* octets of all ranges but the last */
};

struct plan {
	struct scope *s;
	int64_t as_of;
	struct audit_keeping own;
	uint64_t end;                       /* records behind it cannot go yet */
	const struct control_range *wanted; /* NULL: those whose time is over */
	size_t wanted_ranges;
	struct audit_checkpoint checkpoint;
	struct kept kept[AUDIT_KEEP_COUNT];
	struct part *part;
	size_t parts;
	st status;
};

static size_t octets_of_last(const struct part *p)
{
	char text[CONTROL_RANGE_MAX];
	if (p->ranges == 0)
		return 0;
	const struct control_range *last = &p->range[p->ranges - 1];
	return control_range_write(last, p->ranges == 1 ? NULL : last - 1, text);
}

/* The last one will not grow any more; is there room for another, however long it becomes? */
static bool close_range(struct part *p)
{
	size_t closed = p->closed + octets_of_last(p);
	if (p->ranges == CONTROL_RANGES_MAX || closed + CONTROL_RANGE_MAX > CONTROL_RECORDS_MAX)
		return false;
	p->closed = closed;
	return true;
}

static struct part *begin_part(struct plan *p)
{
	p->part = heap_grow(p->part, (p->parts + 1) * sizeof *p->part);
	struct part *part = &p->part[p->parts++];
	*part = (struct part){ .range = heap_alloc(CONTROL_RANGES_MAX * sizeof *part->range) };
	return part;
}

static void add(struct plan *p, uint64_t index)
{
	struct part *part = p->parts == 0 ? begin_part(p) : &p->part[p->parts - 1];
	struct control_range *last = part->ranges == 0 ? NULL : &part->range[part->ranges - 1];
	if (last != NULL && last->last + 1 == index) {
		last->last = index;
		return;
	}
	if (!close_range(part))
		part = begin_part(p);
	part->range[part->ranges++] = (struct control_range){ .first = index, .last = index };
}

static void free_parts(struct plan *p)
{
	for (size_t i = 0; i < p->parts; i++)
		free(p->part[i].range);
	free(p->part);
}

static void count(struct kept *k, int64_t time)
{
	k->oldest = k->records == 0 || time < k->oldest ? time : k->oldest;
	k->newest = time > k->newest ? time : k->newest;
	k->records++;
}

static st goes(struct scope *s, const struct plan *p, const struct audit_envelope *e, bool *out)
{
	int64_t until;
	*out = false;
	if (p->wanted != NULL) {
		*out = control_records_have(p->wanted, p->wanted_ranges, e->seq);
		return *out && !audit_is_personal(e->record.code)
			       ? fail(s, E_DENIED, "record %llu is %s, which is not about a person: only its time lets it go",
				      (unsigned long long)e->seq, e->record.row->name)
			       : OK;
	}
	TRY(audit_kept_until(s, &p->own, e, &until));
	*out = until <= p->as_of;
	return OK;
}

static st look(struct scope *s, struct plan *p, uint64_t index, span leaf)
{
	struct audit_envelope e;
	bool go;
	TRY(fail_context(s, audit_envelope_read(s, leaf, &e), "record %llu; see `chancery audit verify`",
			 (unsigned long long)index));
	TRY(goes(s, p, &e, &go));
	if (!go)
		return OK;
	add(p, index);
	count(&p->kept[audit_keep_of(e.record.code)], audit_envelope_time(&e));
	return OK;
}

static bool see(void *state, uint64_t index, span leaf)
{
	struct plan *p = state;
	AUTO_SCOPE s;
	scope_init(&s, p->s->source);
	if (index >= p->end)
		return false;
	if (leaf.len > 0 && look(&s, p, index, leaf).code != E_OK)
		p->status = fail(p->s, E_INPUT, "%s", s.message);
	return p->status.code == E_OK;
}

static json_t *classes(const struct plan *p)
{
	json_t *rows = json_array();
	for (int i = 0; i < AUDIT_KEEP_COUNT; i++) {
		char oldest[MOMENT_TEXT_MAX], newest[MOMENT_TEXT_MAX];
		const struct kept *k = &p->kept[i];
		if (k->records > 0)
			(void)json_array_append_new(
				rows, json_pack("{s:s, s:I, s:s, s:s}", "kept as", audit_keep_name((enum audit_keep)i),
						"records", (json_int_t)k->records, "oldest", moment_text(k->oldest, oldest),
						"newest", moment_text(k->newest, newest)));
	}
	return rows;
}

/* ---- as proposals ---- */

#define VALUES 9

struct value {
	const char *name, *text;
};

static const char *number(struct scope *s, uint64_t n)
{
	return scope_printf(s, "%llu", (unsigned long long)n);
}

/* What one operation says; *out_count of them. */
static st values_of(struct scope *s, const struct cli *c, const struct plan *p, const struct part *part,
		    struct value out[VALUES], size_t *out_count)
{
	const char *records;
	char until[MOMENT_TEXT_MAX];
	TRY(control_records_write(s, part->range, part->ranges, &records));
	const struct value value[] = {
		{ "log", p->checkpoint.origin },
		{ "size", number(s, p->checkpoint.size) },
		{ "root", hex_text(s, SPAN_ARRAY(p->checkpoint.root.octets)) },
		{ "records", records },
		{ "count", number(s, control_records_count(part->range, part->ranges)) },
		{ "kept-until", p->wanted != NULL ? NULL : scope_printf(s, "%s", moment_text(p->as_of, until)) },
		{ "stamps-kept", p->wanted != NULL ? NULL : cli_get(c, "stamps-kept") },
		{ "reason", cli_get_or(c, "reason", "WORDS") },
		{ "decision", cli_get_or(c, "decision", "ID") },
	};
	*out_count = 0;
	for (size_t i = 0; i < sizeof value / sizeof value[0]; i++)
		if (value[i].text != NULL)
			out[(*out_count)++] = value[i];
	return OK;
}

static st propose_one(struct scope *s, const struct cli *c, struct cli_api *api, const struct control_register *r,
		      const struct plan *p, size_t i, const char **out_path)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	struct value value[VALUES];
	size_t count;
	o->proposal.operation = control_operation_named(SPAN_LITERAL("log.purge"));
	TRY(values_of(s, c, p, &p->part[i], value, &count));
	for (size_t k = 0; k < count; k++)
		TRY(control_proposal_add(s, &o->proposal, value[k].name, span_str(value[k].text)));
	TRY(cli_op_complete(s, c, api, r, o));
	*out_path = scope_printf(s, "%s/purge-%zu.op", cli_get(c, "propose"), i + 1);
	TRY(cli_check_out(s, *out_path));
	return cli_op_write(s, *out_path, o);
}

static st propose(struct scope *s, struct cli *c, const struct plan *p, json_t *out_files)
{
	static const char *const needed[] = { "by", "reason", "decision" };
	AUTO(cli_api) *api = NULL;
	AUTO(control_register) *r = NULL;
	for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
		if (cli_get(c, needed[i]) == NULL)
			return fail(s, E_INPUT, "--propose needs --by, --reason and --decision as well");
	TRY(cli_read_conf(s, c));
	TRY(cli_api_open(s, c, &api));
	TRY(cli_register_open(s, c, api, NULL, &r));
	TRY(file_make_directory(s, cli_get(c, "propose"), 0755));
	for (size_t i = 0; i < p->parts; i++) {
		const char *path;
		TRY(propose_one(s, c, api, r, p, i, &path));
		(void)json_array_append_new(out_files, json_string(path));
	}
	return OK;
}

/* ---- in words ---- */

static st command_of(struct scope *s, const struct cli *c, const struct plan *p, const struct part *part, const char **out)
{
	struct value value[VALUES];
	size_t count;
	TRY(values_of(s, c, p, part, value, &count));
	*out = "chancery op propose log.purge --by PERSON --out FILE";
	for (size_t i = 0; i < count; i++)
		*out = scope_printf(s, "%s --%s %s", *out, value[i].name, value[i].text);
	return OK;
}

static st operations(struct scope *s, const struct cli *c, const struct plan *p, json_t *out)
{
	for (size_t i = 0; i < p->parts; i++) {
		const char *records, *command;
		TRY(control_records_write(s, p->part[i].range, p->part[i].ranges, &records));
		TRY(command_of(s, c, p, &p->part[i], &command));
		uint64_t count_of = control_records_count(p->part[i].range, p->part[i].ranges);
		(void)json_array_append_new(out, json_pack("{s:I, s:s, s:s}", "count", (json_int_t)count_of, "records", records,
							   "command", command));
	}
	return OK;
}

static const char *approvals_text(struct scope *s, const struct plan *p)
{
	const struct control_operation *row = control_operation_named(SPAN_LITERAL("log.purge"));
	size_t each = 0;
	for (size_t i = 0; i < CONTROL_SEATS_MAX; i++)
		each += row->seat[i].count;
	if (p->parts == 0)
		return "nothing is to be removed";
	return scope_printf(s, "%zu, by %zu persons for each of %zu operations; with their PIN once for all of them",
			    each * p->parts, each, p->parts);
}

static const char *next_text(struct scope *s, const struct cli *c, const struct plan *p)
{
	const char *directory = cli_get(c, "propose");
	if (p->parts == 0)
		return "nothing is to be removed";
	if (directory == NULL)
		return "the authority decides; then chancery audit purge --propose DIRECTORY --by PERSON --reason WORDS --decision ID, "
		       "or the command of each operation";
	return scope_printf(
		s,
		"chancery op approve %s/*.op --token LABEL --person ID --role ROLE, by each of them; then chancery op "
		"execute, file by file",
		directory);
}

static st print_plan(struct scope *s, struct cli *c, const struct plan *p)
{
	char as_of[MOMENT_TEXT_MAX];
	uint64_t total = 0;
	AUTO(json_t) *rows = json_array(), *files = json_array();
	TRY(operations(s, c, p, rows));
	if (cli_get(c, "propose") != NULL)
		TRY(propose(s, c, p, files));
	for (size_t i = 0; i < p->parts; i++)
		total += control_records_count(p->part[i].range, p->part[i].ranges);
	json_t *out =
		json_pack("{s:s, s:I, s:s, s:I, s:o, s:O, s:s}", "log", p->checkpoint.origin, "size",
			  (json_int_t)p->checkpoint.size, "root", hex_text(s, SPAN_ARRAY(p->checkpoint.root.octets)), "count",
			  (json_int_t)total, "classes", classes(p), "operations", rows, "approvals", approvals_text(s, p));
	if (p->wanted == NULL)
		(void)json_object_set_new(out, "kept until", json_string(moment_text(p->as_of, as_of)));
	if (json_array_size(files) > 0)
		(void)json_object_set(out, "written to", files);
	(void)json_object_set_new(out, "next", json_string(next_text(s, c, p)));
	return cli_print(s, c, out);
}

/* ---- reading the log ---- */

static st read_wanted(struct scope *s, const struct cli *c, struct plan *p)
{
	struct control_range *range;
	const char *given = cli_get(c, "records");
	if (given == NULL)
		return OK;
	TRY(fail_context(s, control_records_parse(s, span_str(given), &range, &p->wanted_ranges), "--records"));
	p->wanted = range;
	if (range[p->wanted_ranges - 1].last >= p->end)
		return fail(s, E_STATE, "record %llu is in the newest bundle, which is not full: records below %llu can go now",
			    (unsigned long long)range[p->wanted_ranges - 1].last, (unsigned long long)p->end);
	return OK;
}

static st read_log(struct scope *s, struct cli *c, const struct cli_audit_source *source, struct plan *p)
{
	span note;
	struct audit_log *log;
	TRY(audit_log_open(s, source->log, &log));
	st status = audit_log_checkpoint(s, log, &note);
	if (status.code == E_OK)
		status = audit_checkpoint_open(s, note, source->key, source->keys, &p->checkpoint);
	p->end = status.code == E_OK ? audit_purge_end(p->checkpoint.size) : 0;
	if (status.code == E_OK)
		status = read_wanted(s, c, p);
	if (status.code == E_OK)
		status = audit_log_each_bundled(s, log, 0, see, p);
	audit_log_close(log);
	TRY(status);
	return p->status;
}

static st plan(struct scope *s, struct cli *c, const struct cli_audit_source *source)
{
	struct plan *p = scope_new(s, struct plan);
	p->s = s;
	TRY(cli_audit_get_time(s, c, "as-of", scope_now(s), &p->as_of));
	TRY(cli_get_number(s, c, "stamps-kept", AUDIT_STAMPS_KEPT, CONTROL_STAMPS_KEPT_MOST, &p->own.stamps));
	if (p->own.stamps < CONTROL_STAMPS_KEPT_LEAST)
		return fail(s, E_INPUT, "--stamps-kept is at least %d: a year longer than the certificate of any unit",
			    CONTROL_STAMPS_KEPT_LEAST);
	st status = read_log(s, c, source, p);
	if (status.code == E_OK)
		status = print_plan(s, c, p);
	free_parts(p);
	return status;
}

/* ---- at another place ---- */

static st check_sound(struct scope *s, const struct cli_audit_source *source, struct cli_judge *judge,
		      struct cli_judgement *out)
{
	struct audit_report found;
	const struct audit_verify request = { .dir = source->log,
					      .key = source->key,
					      .key_count = source->keys,
					      .visit = cli_judge_record,
					      .state = judge,
					      .removed = cli_judge_removed,
					      .removed_state = judge };
	TRY(audit_verify(s, &request, &found));
	if (found.verdict == AUDIT_UNSOUND)
		return fail(s, E_CRYPTO, "%s is not sound, nothing is removed: %s", source->log, found.problem);
	TRY(cli_judge_trees(s, judge, source->log, found.checkpoint.origin));
	TRY(cli_judge_end(judge, out));
	if (json_array_size(out->findings) > 0)
		return fail(
			s, E_CRYPTO,
			"an operation in %s should not have been carried out, nothing is removed: see `chancery audit verify`",
			source->log);
	return OK;
}

//= 8.2#LOG-04 what two persons let go is let go at every place
static st apply(struct scope *s, struct cli *c, const struct cli_audit_source *source)
{
	AUTO(cli_judge) *judge = NULL;
	struct cli_judgement judgement;
	uint64_t removed = 0;
	if (source->founding == NULL)
		return fail(s, E_INPUT, "the operations are judged from the founding document on: --founding FILE");
	TRY(cli_judge_new(s, source->founding, &judge));
	TRY(check_sound(s, source, judge, &judgement));
	for (size_t i = 0; i < judgement.purges; i++) {
		const struct purge_extent extent = { .range = judgement.purge[i].range, .ranges = judgement.purge[i].ranges };
		uint64_t some;
		TRY(purge_remove(s, source->log, &extent, &some));
		removed += some;
	}
	return cli_print(s, c,
			 json_pack("{s:s, s:I, s:I}", "log", source->log, "operations", (json_int_t)judgement.purges,
				   "records removed", (json_int_t)removed));
}

st cli_audit_purge(struct scope *s, struct cli *c)
{
	struct cli_audit_source source;
	TRY(cli_audit_find(s, c, c->argument_count > 0 ? c->argument[0] : NULL, &source));
	return cli_get(c, "apply") != NULL ? apply(s, c, &source) : plan(s, c, &source);
}
