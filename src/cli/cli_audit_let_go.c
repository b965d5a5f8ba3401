#include "cli_audit_let_go.h"
#include "control_register.h"
#include "file.h"
#include "purge.h"

struct taking {
	struct purge_extent extent;
	struct cli_let_go *one;
};

static bool take_index(const struct taking *t, size_t count, uint64_t index)
{
	for (size_t i = 0; i < count; i++)
		if (control_records_have(t[i].extent.range, t[i].extent.ranges, index)) {
			t[i].one->left++;
			return true;
		}
	return false;
}

static void take_all(const struct taking *t, size_t count, const struct control_range *removed, size_t ranges,
		     struct cli_let_go_list *out)
{
	for (size_t i = 0; i < ranges; i++)
		for (uint64_t index = removed[i].first; index <= removed[i].last; index++)
			if (!take_index(t, count, index) && !out->stray) {
				out->stray = true;
				out->first_stray = index;
			}
}

/* Those about this log: the others took nothing of it. */
static st weigh(struct scope *s, const struct purge_log *log, const struct purge_list *list, struct taking *t,
		struct cli_let_go_list *out)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct purge *p = &list->purge[i];
		st checked = purge_check_log(s, log, &p->operation.proposal, &t[out->count].extent);
		if (checked.code != E_OK && checked.code != E_DENIED)
			return checked;
		scope_clear_error(s);
		if (checked.code == E_DENIED)
			continue;
		t[out->count].one = &out->one[out->count];
		out->one[out->count++] =
			(struct cli_let_go){ .by = scope_printf(s, "%s, entry %llu of the register",
								control_approvers_text(s, &p->operation),
								(unsigned long long)p->entry),
					     .kept_until = control_parameter_moment(&p->operation.proposal, "kept-until") };
	}
	return OK;
}

static st read_operations(struct scope *s, const struct cli_audit_source *source, struct purge_log *log, struct purge_list *out)
{
	span document, note;
	struct audit_checkpoint checkpoint;
	struct control_register *r = NULL;
	TRY(audit_log_checkpoint(s, log->log, &note));
	TRY(audit_checkpoint_open(s, note, source->key, source->keys, &checkpoint));
	log->origin = scope_cstr(s, span_str(checkpoint.origin));
	log->size = checkpoint.size;
	TRY(fail_context(s, file_read(s, source->founding, CONTROL_TEXT_MAX, &document), "the founding document"));
	TRY(fail_context(s, control_register_new(s, document, &r), "%s", source->founding));
	st status = purge_list_read(s, log->log, log->size, r, out);
	control_register_free(r);
	return status;
}

st cli_let_go_read(struct scope *s, const struct cli_audit_source *source, const struct control_range *removed, size_t ranges,
		   struct cli_let_go_list *out)
{
	struct purge_log log = { .size = 0 };
	*out = (struct cli_let_go_list){ .count = 0 };
	if (source->founding == NULL || ranges == 0)
		return OK;
	TRY(audit_log_open(s, source->log, &log.log));
	struct purge_list list = { .count = 0 };
	st status = read_operations(s, source, &log, &list);
	struct taking *t = scope_alloc(s, (list.count + 1) * sizeof *t);
	out->one = scope_alloc(s, (list.count + 1) * sizeof *out->one);
	if (status.code == E_OK)
		status = weigh(s, &log, &list, t, out);
	audit_log_close(log.log);
	TRY(status);
	take_all(t, out->count, removed, ranges, out);
	return OK;
}

const struct cli_let_go *cli_let_go_take(struct cli_let_go_list *list, enum audit_keep keep, bool personal, int64_t from)
{
	const struct audit_keeping own = { .stamps = AUDIT_STAMPS_KEPT }; /* nobody misses a time-stamp */
	for (size_t i = 0; i < list->count; i++) {
		struct cli_let_go *one = &list->one[i];
		bool may = one->kept_until == 0 ? personal : audit_keep_until(&own, keep, from) <= one->kept_until;
		if (!may || one->left == 0)
			continue;
		one->left--;
		return one;
	}
	return NULL;
}

uint64_t cli_let_go_left(const struct cli_let_go_list *list)
{
	uint64_t left = 0;
	for (size_t i = 0; i < list->count; i++)
		left += list->one[i].kept_until != 0 ? list->one[i].left : 0;
	return left;
}
