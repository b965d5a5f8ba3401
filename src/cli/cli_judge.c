/* Operations with quorum in a log, judged again one by one as their records come. */
#include "cli_judge.h"
#include "audit_log.h"
#include "file.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>

#define EXECUTED_MAX (1u << 20)

struct used {
	uint8_t proposal[CONTROL_HASH_LEN];
};

struct waiting {
	uint64_t entries;
	span leaf; /* empty: it was judged */
};

struct cli_judge {
	struct scope *s; /* lives as long as this */
	struct control_register *r;
	struct control_head founding;
	json_t *findings;
	json_t *old_crls; /* carried out with a management CRL older than 24 hours */
	uint64_t executed, refused;
	struct control_range *removed; /* records without content, in order */
	size_t removed_ranges;
	struct cli_purge *purge;
	size_t purges;
	struct used *used;       /* proposals that instances carried out */
	struct waiting *waiting; /* operations that speak of entries which come later */
	size_t waiting_count;
	st status;
};

__attribute__((format(printf, 3, 4))) static void find(struct cli_judge *j, const struct audit_envelope *e, const char *format,
						       ...)
{
	char problem[512];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(problem, sizeof problem, format, args);
	va_end(args);
	(void)json_array_append_new(j->findings, json_pack("{s:I, s:s, s:s}", "record", (json_int_t)e->seq, "event",
							   e->record.row->name, "finding", problem));
}

/* ---- entries of the register ---- */

static void compare_entry(struct scope *s, struct cli_judge *j, const struct audit_envelope *e)
{
	struct control_head head = control_register_head(j->r);
	int64_t entry = 0;
	span hash = { 0 };
	st status = audit_field_number(s, &e->record, "entry", &entry);
	if (status.code == E_OK)
		status = audit_field_hex(s, &e->record, "head", &hash);
	if (status.code != E_OK || (uint64_t)entry != head.entries || !span_equal(hash, SPAN_ARRAY(head.hash)))
		find(j, e, "it says that it is entry %lld, and it is entry %llu with another head", (long long)entry,
		     (unsigned long long)head.entries);
}

static void judge_waiting(struct cli_judge *j, bool all);

/* Its parameters were checked when it was applied. */
static st note_purge(struct scope *s, struct cli_judge *j, const struct audit_envelope *e, span file)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	struct control_range *range;
	size_t count;
	TRY(control_signed_read(s, file, o));
	if (strcmp(o->proposal.operation->name, "log.purge") != 0)
		return OK;
	TRY(control_records_read(j->s, control_parameter(&o->proposal, "records", 0), &range, &count));
	if (range[count - 1].last >= e->seq)
		return fail(s, E_INPUT, "it is about record %llu, which is not there before it",
			    (unsigned long long)range[count - 1].last);
	j->purge = heap_grow(j->purge, (j->purges + 1) * sizeof *j->purge);
	struct cli_purge *p = &j->purge[j->purges++];
	*p = (struct cli_purge){ .record = e->seq,
				 .approvers = control_approvers_text(j->s, o),
				 .erasure = control_parameter_moment(&o->proposal, "kept-until") == 0,
				 .stamps_kept = control_parameter_number(&o->proposal, "stamps-kept", 0),
				 .range = range,
				 .ranges = count,
				 .log = scope_cstr(j->s, control_parameter(&o->proposal, "log", 0)),
				 .size = control_parameter_number(&o->proposal, "size", 0) };
	memcpy(p->root, control_parameter_octets(s, &o->proposal, "root").data, sizeof p->root);
	memcpy(p->proposal, o->proposal.hash, sizeof p->proposal);
	return OK;
}

static void judge_entry(struct scope *s, struct cli_judge *j, const struct audit_envelope *e)
{
	span file;
	st status = audit_field_base64(s, &e->record, "file", &file);
	if (status.code == E_OK)
		status = control_register_apply(s, j->r, file, audit_envelope_time(e));
	if (status.code == E_OK)
		compare_entry(s, j, e);
	if (status.code == E_OK)
		status = note_purge(s, j, e, file);
	if (status.code == E_OK)
		judge_waiting(j, false);
	else
		find(j, e, "it has no effect on the register: %s", s->message);
}

/* ---- operations of other instances ---- */

static bool used_before(struct cli_judge *j, const uint8_t proposal[CONTROL_HASH_LEN])
{
	for (uint64_t i = 0; i < j->executed; i++)
		if (memcmp(j->used[i].proposal, proposal, CONTROL_HASH_LEN) == 0)
			return true;
	return false;
}

static st check_instance(struct scope *s, const struct control_register *r, span name)
{
	const struct control_instance *instance = control_instance_named(r, name);
	if (instance == NULL || instance->retired)
		return fail(s, E_DENIED, "the instance %.*s is not on the register, or retired", (int)name.len,
			    (const char *)name.data);
	return OK;
}

static st check_executed(struct scope *s, struct cli_judge *j, const struct audit_envelope *e, struct control_signed *o)
{
	span file, instance;
	TRY(audit_field_base64(s, &e->record, "file", &file));
	TRY(audit_field_text(s, &e->record, "instance", &instance));
	TRY(control_signed_read(s, file, o));
	if (o->proposal.operation->executor == CONTROL_BY_KEYD) /* a ca has no key of its own there */
		TRY(check_instance(s, j->r, instance));
	TRY(control_check(s, j->r, o, scope_cstr(s, instance), audit_envelope_time(e)));
	//= control#nonce a proposal is carried out once
	if (used_before(j, o->proposal.hash))
		return fail(s, E_CONFLICT, "this proposal was carried out before");
	return OK;
}

/* Everybody's measure of whether an old CRL is the newest. */
static void judge_crl(struct scope *s, struct cli_judge *j, const struct audit_envelope *e)
{
	span crl;
	st status = audit_field_base64(s, &e->record, "file", &crl);
	if (status.code == E_OK)
		status = control_register_crl_on_record(s, j->r, crl);
	if (status.code != E_OK)
		find(j, e, "it is no CRL of the management CA: %s", s->message);
}

static void note_old_crl(struct scope *s, struct cli_judge *j, const struct audit_envelope *e, const struct control_proposal *p)
{
	(void)json_array_append_new(j->old_crls, json_pack("{s:I, s:s, s:s}", "record", (json_int_t)e->seq, "operation",
							   p->operation->name, "words", control_proposal_words(s, p)));
}

/* How much of the register an operation speaks of; 0 when it cannot be read, which is found later. */
static uint64_t entries_of(struct scope *s, const struct audit_envelope *e)
{
	span file;
	struct control_signed *o = scope_new(s, struct control_signed);
	st status = audit_field_base64(s, &e->record, "file", &file);
	if (status.code == E_OK)
		status = control_signed_read(s, file, o);
	scope_clear_error(s);
	return status.code == E_OK ? o->proposal.entries : 0;
}

static void judge_executed(struct scope *s, struct cli_judge *j, const struct audit_envelope *e)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	if (check_executed(s, j, e, o).code != E_OK)
		find(j, e, "it should not have been carried out: %s", s->message);
	else if (control_proposal_old_crl(&o->proposal) != 0)
		note_old_crl(s, j, e, &o->proposal);
	if (j->executed == EXECUTED_MAX) {
		j->status = fail(j->s, E_LIMIT, "more than %u operations cannot be judged at once", EXECUTED_MAX);
		return;
	}
	j->used = heap_grow(j->used, (size_t)(j->executed + 1) * sizeof *j->used);
	memcpy(j->used[j->executed++].proposal, o->proposal.hash, CONTROL_HASH_LEN);
}

/* ---- those that are in the log before the entries that they speak of: a founding's journals come one after the other ---- */

static void wait_for_entries(struct cli_judge *j, uint64_t entries, span leaf)
{
	j->waiting = heap_grow(j->waiting, (j->waiting_count + 1) * sizeof *j->waiting);
	j->waiting[j->waiting_count++] = (struct waiting){ .entries = entries, .leaf = scope_copy(j->s, leaf) };
}

/* Those whose entries are there now; at the end of the log all that are left. */
static void judge_waiting(struct cli_judge *j, bool all)
{
	uint64_t entries = control_register_head(j->r).entries;
	for (size_t i = 0; i < j->waiting_count; i++) {
		struct waiting *w = &j->waiting[i];
		struct audit_envelope e;
		AUTO_SCOPE s;
		scope_init(&s, j->s->source);
		if (w->leaf.len == 0 || (w->entries > entries && !all) || audit_envelope_read(&s, w->leaf, &e).code != E_OK)
			continue;
		w->leaf.len = 0;
		judge_executed(&s, j, &e);
	}
}

/* ---- records whose content was removed ---- */

void cli_judge_removed(void *state, uint64_t index)
{
	struct cli_judge *j = state;
	control_records_add(&j->removed, &j->removed_ranges, index);
}

static void judge_begun(struct scope *s, struct cli_judge *j, const struct audit_envelope *e)
{
	span proposal = { 0 };
	if (!span_is(e->by, "auditd")) {
		find(j, e, "it is auditd that removes, and somebody else wrote this");
		return;
	}
	if (audit_field_hex(s, &e->record, "proposal", &proposal).code != E_OK)
		scope_clear_error(s);
	for (size_t i = 0; i < j->purges; i++)
		if (span_equal(proposal, SPAN_ARRAY(j->purge[i].proposal))) {
			j->purge[i].begun = true;
			return;
		}
	find(j, e, "no operation of two persons lets go what it speaks of");
}

st cli_judge_purges(struct scope *s, struct cli_judge *j, const char *dir, const char *origin)
{
	struct audit_log *log;
	st status = audit_log_open(s, dir, &log);
	struct audit_source source = { .node = audit_log_node, .state = log };
	TRY(status);
	for (size_t i = 0; i < j->purges && status.code == E_OK; i++) {
		struct cli_purge *p = &j->purge[i];
		struct audit_hash root;
		status = audit_source_root(s, &source, p->size, &root);
		bool same =
			status.code == E_OK && strcmp(p->log, origin) == 0 && memcmp(root.octets, p->root, sizeof p->root) == 0;
		if (status.code == E_NOTFOUND) /* it never had so many records */
			status = OK;
		scope_clear_error(s);
		if (p->begun && !same)
			(void)json_array_append_new(
				j->findings,
				json_pack("{s:I, s:s, s:s}", "record", (json_int_t)p->record, "event", "register.changed",
					  "finding", "it lets go records of another log than this one, and was carried out"));
		p->begun = p->begun && same;
	}
	audit_log_close(log);
	return status;
}

static bool was_let_go(const struct cli_judge *j, uint64_t index)
{
	for (size_t i = 0; i < j->purges; i++)
		if (j->purge[i].begun && control_records_have(j->purge[i].range, j->purge[i].ranges, index))
			return true;
	return false;
}

//= 8.2#LOG-04 purge is an operation on record: what is gone without one was tampered with
static void judge_removed(struct cli_judge *j)
{
	for (size_t i = 0; i < j->removed_ranges; i++)
		for (uint64_t index = j->removed[i].first; index <= j->removed[i].last; index++) {
			if (was_let_go(j, index))
				continue;
			(void)json_array_append_new(
				j->findings,
				json_pack("{s:I, s:s, s:s}", "record", (json_int_t)index, "event", "(removed)", "finding",
					  "the content of this record was removed, and no operation of two persons "
					  "says so"));
			break; /* the first of its range */
		}
}

/* ---- what others call ---- */

st cli_judge_new(struct scope *s, const char *path, struct cli_judge **out)
{
	span document;
	struct control_register *r;
	TRY(fail_context(s, file_read(s, path, CONTROL_TEXT_MAX, &document), "the founding document"));
	TRY(fail_context(s, control_register_new(s, document, &r), "%s", path));
	struct cli_judge *j = heap_alloc(sizeof *j);
	*j = (struct cli_judge){
		.s = s, .r = r, .founding = control_register_head(r), .findings = json_array(), .old_crls = json_array()
	};
	*out = j;
	return OK;
}

void cli_judge_free(struct cli_judge *j)
{
	control_register_free(j->r);
	json_decref(j->findings);
	json_decref(j->old_crls);
	free(j->used);
	free(j->removed);
	free(j->purge);
	free(j->waiting);
	free(j);
}

void cli_judge_record(void *state, const struct audit_envelope *e, span leaf)
{
	struct cli_judge *j = state;
	enum audit_code code = e->record.code;
	if (code != AUDIT_REGISTER_CHANGED && code != AUDIT_OPERATION_EXECUTED && code != AUDIT_OPERATION_REFUSED &&
	    code != AUDIT_CRL_RECORDED && code != AUDIT_LOG_PURGED)
		return;
	AUTO_SCOPE s;
	scope_init(&s, j->s->source);
	if (code == AUDIT_REGISTER_CHANGED)
		judge_entry(&s, j, e);
	else if (code == AUDIT_OPERATION_REFUSED)
		j->refused++;
	else if (code == AUDIT_LOG_PURGED)
		judge_begun(&s, j, e);
	else if (code == AUDIT_CRL_RECORDED)
		judge_crl(&s, j, e);
	else if (entries_of(&s, e) > control_register_head(j->r).entries)
		wait_for_entries(j, entries_of(&s, e), leaf);
	else
		judge_executed(&s, j, e);
}

st cli_judge_end(struct cli_judge *j, struct cli_judgement *out)
{
	judge_waiting(j, true);
	judge_removed(j);
	size_t begun = 0;
	for (size_t i = 0; i < j->purges; i++)
		if (j->purge[i].begun)
			j->purge[begun++] = j->purge[i];
	j->purges = begun;
	TRY(j->status);
	struct control_head head = control_register_head(j->r);
	*out = (struct cli_judgement){ .provider = control_register_provider(j->r),
				       .entries = head.entries,
				       .executed = j->executed,
				       .refused = j->refused,
				       .removed = control_records_count(j->removed, j->removed_ranges),
				       .purge = j->purge,
				       .purges = j->purges,
				       .findings = j->findings,
				       .old_crls = j->old_crls };
	memcpy(out->founding, j->founding.hash, sizeof out->founding);
	memcpy(out->head, head.hash, sizeof out->head);
	return OK;
}
