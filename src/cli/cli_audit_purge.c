/*
 * `chancery audit purge`: which records need not be kept any more, as the parameters of an operation that two persons approve; and the same
 * removal at other places of the log (a copy, an export, a published folder), which that place's own log must say.
 */
#include "audit_purge.h"
#include "audit_retention.h"
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "cli_judge.h"
#include "moment.h"
#include "text.h"
#include <stdlib.h>

/* ---- the plan ---- */

struct kept {
	uint64_t records;
	int64_t oldest, newest;
};

struct plan {
	struct scope *s;
	int64_t as_of;
	uint64_t end;                       /* records behind it cannot go yet */
	const struct control_range *wanted; /* NULL: those whose time is over */
	size_t wanted_ranges;
	struct kept kept[AUDIT_KEEP_COUNT];
	struct control_range range[CONTROL_RANGES_MAX];
	size_t ranges, octets;
	bool more; /* than one operation takes */
	st status;
};

static bool add(struct scope *s, struct plan *p, uint64_t index)
{
	struct control_range *last = p->ranges == 0 ? NULL : &p->range[p->ranges - 1];
	if (last != NULL && last->last + 1 == index) {
		last->last = index;
		return true;
	}
	p->octets += 2 * strlen(scope_printf(s, "%llu", (unsigned long long)index)) + 3; /* its end may have a digit more */
	p->more = p->ranges == CONTROL_RANGES_MAX || p->octets > CONTROL_RECORDS_MAX;
	if (!p->more)
		p->range[p->ranges++] = (struct control_range){ .first = index, .last = index };
	return !p->more;
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
	TRY(audit_kept_until(s, e, &until));
	*out = until <= p->as_of;
	return OK;
}

static st look(struct scope *s, struct plan *p, uint64_t index, span leaf, bool *out_more)
{
	struct audit_envelope e;
	bool go;
	*out_more = true;
	TRY(fail_context(s, audit_envelope_read(s, leaf, &e), "record %llu; see `chancery audit verify`",
			 (unsigned long long)index));
	TRY(goes(s, p, &e, &go));
	if (!go)
		return OK;
	*out_more = add(s, p, index);
	if (*out_more)
		count(&p->kept[audit_keep_of(e.record.code)], audit_envelope_time(&e));
	return OK;
}

static bool see(void *state, uint64_t index, span leaf)
{
	struct plan *p = state;
	bool more = true;
	AUTO_SCOPE s;
	scope_init(&s, p->s->source);
	if (index >= p->end)
		return false;
	if (leaf.len > 0 && look(&s, p, index, leaf, &more).code != E_OK)
		p->status = fail(p->s, E_INPUT, "%s", s.message);
	return more && p->status.code == E_OK;
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

static st print_plan(struct scope *s, const struct cli *c, const struct plan *p, const struct audit_checkpoint *checkpoint)
{
	const char *records = "", *root = hex_text(s, SPAN_ARRAY(checkpoint->root.octets));
	char as_of[MOMENT_TEXT_MAX];
	TRY(control_records_write(s, p->range, p->ranges, &records));
	uint64_t total = control_records_count(p->range, p->ranges);
	const char *kept = p->wanted == NULL ? scope_printf(s, " --kept-until %s", moment_text(p->as_of, as_of)) : "";
	const char *next = scope_printf(
		s,
		"chancery op propose log.purge --by PERSON --log %s --size %llu --root %s --records %s --count %llu%s --reason WORDS --decision ID",
		checkpoint->origin, (unsigned long long)checkpoint->size, root, records, (unsigned long long)total, kept);
	json_t *out =
		json_pack("{s:s, s:I, s:s, s:s, s:I, s:o}", "log", checkpoint->origin, "size", (json_int_t)checkpoint->size,
			  "root", root, "records", records, "count", (json_int_t)total, "classes", classes(p));
	if (p->wanted == NULL)
		(void)json_object_set_new(out, "kept until", json_string(moment_text(p->as_of, as_of)));
	(void)json_object_set_new(out, "more", json_boolean(p->more));
	(void)json_object_set_new(out, "next", json_string(total == 0 ? "nothing is to be removed" : next));
	return cli_print(s, c, out);
}

static st read_wanted(struct scope *s, const struct cli *c, struct plan *p)
{
	struct control_range *range;
	const char *given = cli_get(c, "records");
	if (given == NULL)
		return OK;
	TRY(fail_context(s, control_records_read(s, span_str(given), &range, &p->wanted_ranges), "--records"));
	p->wanted = range;
	if (range[p->wanted_ranges - 1].last >= p->end)
		return fail(s, E_STATE, "record %llu is in the newest bundle, which is not full: records below %llu can go now",
			    (unsigned long long)range[p->wanted_ranges - 1].last, (unsigned long long)p->end);
	return OK;
}

static st plan(struct scope *s, struct cli *c, const struct cli_audit_source *source)
{
	span note;
	struct audit_log *log;
	struct audit_checkpoint checkpoint;
	struct plan *p = scope_new(s, struct plan);
	p->s = s;
	TRY(cli_audit_get_time(s, c, "as-of", scope_now(s), &p->as_of));
	TRY(audit_log_open(s, source->log, &log));
	st status = audit_log_checkpoint(s, log, &note);
	if (status.code == E_OK)
		status = audit_checkpoint_open(s, note, source->key, source->keys, &checkpoint);
	p->end = status.code == E_OK ? audit_purge_end(checkpoint.size) : 0;
	if (status.code == E_OK)
		status = read_wanted(s, c, p);
	if (status.code == E_OK)
		status = audit_log_each_bundled(s, log, 0, see, p);
	audit_log_close(log);
	TRY(status);
	TRY(p->status);
	return print_plan(s, c, p, &checkpoint);
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
	for (size_t i = 0; i < judgement.purges; i++)
		for (size_t k = 0; k < judgement.purge[i].ranges; k++) {
			uint64_t some;
			TRY(audit_purge(s, source->log, judgement.purge[i].range[k].first, judgement.purge[i].range[k].last,
					&some));
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
