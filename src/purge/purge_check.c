#include "purge.h"
#include "audit_purge.h"
#include "audit_retention.h"
#include "moment.h"

struct looking {
	struct scope *s;
	struct purge_extent *extent;
	int64_t kept_until; /* 0: erased on somebody's request */
	struct audit_keeping own;
	st status;
};

static st check_record(struct scope *s, const struct looking *l, uint64_t index, span leaf)
{
	struct audit_envelope e;
	int64_t until;
	char text[MOMENT_TEXT_MAX];
	TRY(fail_context(s, audit_envelope_read(s, leaf, &e), "record %llu", (unsigned long long)index));
	//= gdpr#17 erased before its time is only what is about a person
	if (l->kept_until == 0)
		return audit_is_personal(e.record.code)
			       ? OK
			       : fail(s, E_DENIED,
				      "record %llu is %s, which is not about a person: it goes when its time is over, with --kept-until",
				      (unsigned long long)index, e.record.row->name);
	TRY(audit_kept_until(s, &l->own, &e, &until));
	//= tsps#5.4.3 nothing is removed before its time is over
	if (until > l->kept_until)
		return fail(s, E_DENIED, "record %llu is %s and kept %s%s", (unsigned long long)index, e.record.row->name,
			    until == INT64_MAX ? "for ever" : "until ", until == INT64_MAX ? "" : moment_text(until, text));
	return OK;
}

static bool look_at(void *state, uint64_t index, span leaf)
{
	struct looking *l = state;
	AUTO_SCOPE aside;
	scope_init(&aside, l->s->source);
	if (index > l->extent->last)
		return false;
	if (leaf.len == 0 || !control_records_have(l->extent->range, l->extent->ranges, index))
		return true;
	l->extent->content++;
	if (check_record(&aside, l, index, leaf).code != E_OK)
		l->status = fail(l->s, E_DENIED, "%s", aside.message);
	return l->status.code == E_OK;
}

/* What the persons saw is this log. */
static st check_seen(struct scope *s, const struct purge_log *log, const struct control_proposal *p, uint64_t last)
{
	struct audit_source source = { .node = audit_log_node, .state = log->log };
	struct audit_hash root;
	uint64_t size = control_parameter_number(p, "size", 0);
	if (!span_is(control_parameter(p, "log", 0), log->origin))
		return fail(s, E_DENIED, "it is about another log than %s", log->origin);
	if (size > log->size)
		return fail(s, E_DENIED, "it is about a log of %llu records, and this one has fewer", (unsigned long long)size);
	if (last >= audit_purge_end(size))
		return fail(
			s, E_DENIED,
			"record %llu is in the newest bundle, which is not full: it can go when %llu more records are there",
			(unsigned long long)last, (unsigned long long)(AUDIT_TILE_WIDTH - size % AUDIT_TILE_WIDTH));
	TRY(audit_source_root(s, &source, size, &root));
	if (!span_equal(control_parameter_octets(s, p, "root"), SPAN_ARRAY(root.octets)))
		return fail(s, E_DENIED, "the log of %llu records has another root than the one that was approved",
			    (unsigned long long)size);
	return OK;
}

st purge_check_log(struct scope *s, const struct purge_log *log, const struct control_proposal *p, struct purge_extent *out)
{
	struct control_range *range;
	size_t count;
	TRY(control_records_read(s, control_parameter(p, "records", 0), &range, &count));
	TRY(check_seen(s, log, p, range[count - 1].last));
	*out = (struct purge_extent){ .range = range, .ranges = count, .last = range[count - 1].last };
	return OK;
}

st purge_check(struct scope *s, const struct purge_log *log, const struct control_proposal *p, struct purge_extent *out)
{
	struct purge_extent extent;
	struct looking l = { .s = s,
			     .extent = &extent,
			     .kept_until = control_parameter_moment(p, "kept-until"),
			     .own.stamps = control_parameter_number(p, "stamps-kept", AUDIT_STAMPS_KEPT) };
	TRY(purge_check_log(s, log, p, &extent));
	TRY(audit_log_each_bundled(s, log->log, extent.range[0].first, look_at, &l));
	TRY(l.status);
	*out = extent;
	return OK;
}

static uint64_t next_of(const void *state, uint64_t index)
{
	const struct purge_extent *extent = state;
	return control_records_next(extent->range, extent->ranges, index);
}

st purge_remove(struct scope *s, const char *dir, const struct purge_extent *extent, uint64_t *out_removed)
{
	const struct audit_going going = { next_of, extent };
	return audit_purge(s, dir, &going, out_removed);
}
