/* Operations with quorum in a log, judged again one by one as their records come. */
#include "cli_judge.h"
#include "audit_log.h"
#include "cli_audit_source.h"
#include "control_execution.h"
#include "control_review.h"
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

/* The log that was verified. */
struct log {
	const char *dir, *origin;
};

struct cli_judge {
	struct scope *s; /* lives as long as this */
	struct control_register *r;
	struct control_head founding;
	json_t *findings;
	json_t *old_crls; /* carried out with a management CRL older than 24 hours */
	uint64_t executed, refused, used_count;
	struct control_range *removed; /* records without content, in order */
	size_t removed_ranges;
	struct cli_purge *purge;
	size_t purges;
	struct cli_review *review;
	size_t reviews;
	struct used *used;       /* proposals that instances carried out */
	struct waiting *waiting; /* operations that speak of entries which come later */
	size_t waiting_count;
	st status;
};

static void find_at(struct cli_judge *j, uint64_t record, const char *event, const char *problem)
{
	(void)json_array_append_new(
		j->findings, json_pack("{s:I, s:s, s:s}", "record", (json_int_t)record, "event", event, "finding", problem));
}

__attribute__((format(printf, 3, 4))) static void find(struct cli_judge *j, const struct audit_envelope *e, const char *format,
						       ...)
{
	char problem[512];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(problem, sizeof problem, format, args);
	va_end(args);
	find_at(j, e->seq, e->record.row->name, problem);
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
	for (uint64_t i = 0; i < j->used_count; i++)
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

/* The instance itself says that it was it, and which number it gave it. */
static st check_execution(struct scope *s, const struct cli_judge *j, const struct audit_envelope *e,
			  const struct control_signed *o, span instance)
{
	int64_t sequence;
	struct control_execution x = { .instance = instance };
	TRY(audit_field_number(s, &e->record, "sequence", &sequence));
	if (audit_field_of(&e->record, "signature") != NULL)
		TRY(audit_field_base64(s, &e->record, "signature", &x.signature));
	x.sequence = sequence < 0 ? 0 : (uint64_t)sequence;
	memcpy(x.proposal, o->proposal.hash, sizeof x.proposal);
	return control_execution_check(s, j->r, &x);
}

static st check_executed(struct scope *s, struct cli_judge *j, const struct audit_envelope *e, struct control_signed *o)
{
	span file, instance;
	TRY(audit_field_base64(s, &e->record, "file", &file));
	TRY(audit_field_text(s, &e->record, "instance", &instance));
	TRY(control_signed_read(s, file, o));
	bool by_keyd = o->proposal.operation->executor == CONTROL_BY_KEYD; /* a ca has no key of its own there */
	if (by_keyd)
		TRY(check_instance(s, j->r, instance));
	TRY(control_check(s, j->r, o, scope_cstr(s, instance), audit_envelope_time(e)));
	if (by_keyd)
		TRY(check_execution(s, j, e, o, instance));
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

static void note_used(struct cli_judge *j, const struct control_proposal *p)
{
	j->used = heap_grow(j->used, (size_t)(j->used_count + 1) * sizeof *j->used);
	memcpy(j->used[j->used_count++].proposal, p->hash, CONTROL_HASH_LEN);
}

/* What was not carried out uses nothing up: a forged record ahead of the true one takes nothing from that. */
static void judge_executed(struct scope *s, struct cli_judge *j, const struct audit_envelope *e)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	if (j->executed == EXECUTED_MAX) {
		j->status = fail(j->s, E_LIMIT, "more than %u operations cannot be judged at once", EXECUTED_MAX);
		return;
	}
	j->executed++;
	if (check_executed(s, j, e, o).code != E_OK) {
		find(j, e, "it should not have been carried out: %s", s->message);
		return;
	}
	note_used(j, &o->proposal);
	if (control_proposal_old_crl(&o->proposal) != 0)
		note_old_crl(s, j, e, &o->proposal);
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

/* ---- reviews of reports ---- */

static st says_the_same(struct scope *s, const struct audit_record *record, const struct control_review *m)
{
	span report, person, conclusion;
	TRY(audit_field_hex(s, record, "report", &report));
	TRY(audit_field_text(s, record, "person", &person));
	TRY(audit_field_text(s, record, "conclusion", &conclusion));
	if (!span_equal(report, SPAN_ARRAY(m->of.report)) || !span_equal(person, m->person) ||
	    !span_equal(conclusion, m->conclusion))
		return fail(s, E_INPUT, "the record says something else than what was signed");
	return OK;
}

static st check_review(struct scope *s, const struct cli_judge *j, const struct audit_envelope *e, struct control_review *m)
{
	span file;
	TRY(audit_field_base64(s, &e->record, "file", &file));
	TRY(control_review_read(s, file, m));
	TRY(control_review_check(s, j->r, m, audit_envelope_time(e)));
	TRY(says_the_same(s, &e->record, m));
	return m->of.size <= e->seq ? OK : fail(s, E_INPUT, "it is about records that were not there before it");
}

//= tsps#5.4.2 reports are signed off by an auditor
static void judge_review(struct scope *s, struct cli_judge *j, const struct audit_envelope *e)
{
	struct control_review m;
	if (check_review(s, j, e, &m).code != E_OK) {
		find(j, e, "it is no review by an auditor: %s", s->message);
		return;
	}
	j->review = heap_grow(j->review, (j->reviews + 1) * sizeof *j->review);
	struct cli_review *v = &j->review[j->reviews++];
	*v = (struct cli_review){ .record = e->seq,
				  .person = scope_cstr(j->s, m.person),
				  .role = control_role_row(m.role)->text,
				  .log = scope_cstr(j->s, m.of.log),
				  .size = m.of.size };
	memcpy(v->root, m.of.root, sizeof v->root);
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

/* Is what was signed for about this log? */
static st is_of_log(struct scope *s, const struct log *log, const char *name, uint64_t size, const uint8_t *root, bool *out)
{
	*out = false;
	return strcmp(name, log->origin) != 0 ? OK : cli_audit_had_root(s, log->dir, size, root, out);
}

static st judge_purges(struct scope *s, struct cli_judge *j, const struct log *log)
{
	for (size_t i = 0; i < j->purges; i++) {
		struct cli_purge *p = &j->purge[i];
		bool same;
		TRY(is_of_log(s, log, p->log, p->size, p->root, &same));
		if (p->begun && !same)
			find_at(j, p->record, "register.changed",
				"it lets go records of another log than this one, and was carried out");
		p->begun = p->begun && same;
	}
	return OK;
}

static st judge_reviews(struct scope *s, struct cli_judge *j, const struct log *log)
{
	for (size_t i = 0; i < j->reviews; i++) {
		const struct cli_review *v = &j->review[i];
		bool same;
		TRY(is_of_log(s, log, v->log, v->size, v->root, &same));
		if (!same)
			find_at(j, v->record, "report.reviewed", "what was reviewed is a report of another log than this one");
	}
	return OK;
}

st cli_judge_trees(struct scope *s, struct cli_judge *j, const char *dir, const char *origin)
{
	const struct log log = { .dir = dir, .origin = origin };
	TRY(judge_purges(s, j, &log));
	return judge_reviews(s, j, &log);
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
			find_at(j, index, "(removed)",
				"the content of this record was removed, and no operation of two persons says so");
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
	free(j->review);
	free(j->waiting);
	free(j);
}

void cli_judge_record(void *state, const struct audit_envelope *e, span leaf)
{
	struct cli_judge *j = state;
	enum audit_code code = e->record.code;
	if (code != AUDIT_REGISTER_CHANGED && code != AUDIT_OPERATION_EXECUTED && code != AUDIT_OPERATION_REFUSED &&
	    code != AUDIT_CRL_RECORDED && code != AUDIT_LOG_PURGED && code != AUDIT_REPORT_REVIEWED)
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
	else if (code == AUDIT_REPORT_REVIEWED)
		judge_review(&s, j, e);
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
				       .review = j->review,
				       .reviews = j->reviews,
				       .findings = j->findings,
				       .old_crls = j->old_crls };
	memcpy(out->founding, j->founding.hash, sizeof out->founding);
	memcpy(out->head, head.hash, sizeof out->head);
	return OK;
}

/* ---- a log that is read for this alone ---- */

struct walk {
	struct scope *s;
	struct cli_judge *judge;
	st status;
};

/* Few among millions: the others are not read as records. */
static bool may_be_judged(span leaf)
{
	static const char *const events[] = { "\"event\":\"register.changed\"", "\"event\":\"operation.",
					      "\"event\":\"crl.recorded\"", "\"event\":\"report.reviewed\"" };
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		if (memmem(leaf.data, leaf.len, events[i], strlen(events[i])) != NULL)
			return true;
	return false;
}

static bool see(void *state, uint64_t index, span leaf)
{
	struct walk *w = state;
	struct audit_envelope e;
	if (leaf.len == 0 || !may_be_judged(leaf))
		return true;
	AUTO_SCOPE s;
	scope_init(&s, w->s->source);
	if (audit_envelope_read(&s, leaf, &e).code != E_OK) {
		w->status = fail(w->s, E_CRYPTO, "record %llu: %s; see `chancery audit verify`", (unsigned long long)index,
				 s.message);
		return false;
	}
	cli_judge_record(w->judge, &e, leaf);
	return true;
}

st cli_judge_log(struct scope *s, const char *dir, struct cli_judge *judge)
{
	struct walk w = { .s = s, .judge = judge };
	struct audit_log *log;
	TRY(audit_log_open(s, dir, &log));
	st status = audit_log_each(s, log, 0, see, &w);
	audit_log_close(log);
	TRY(status);
	return w.status;
}
