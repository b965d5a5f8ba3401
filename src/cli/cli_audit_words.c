#include "cli_audit_words.h"
#include "moment.h"
#include "text.h"
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static void say(json_t *list, const char *format, ...)
{
	char sentence[SCOPE_MESSAGE_MAX];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	(void)json_array_append_new(list, json_string(sentence));
}

static const char *text_of(struct scope *s, int64_t moment)
{
	return moment_text(moment, scope_alloc(s, MOMENT_TEXT_MAX));
}

/* ---- what was checked ---- */

static void say_records(struct scope *s, json_t *list, const struct audit_report *r)
{
	unsigned long long from = r->from, size = r->checkpoint.size;
	if (size > from)
		say(list,
		    "records %llu to %llu, received from %s to %s: each has the hash that its tile has, each tile that of what is "
		    "below it, and their root is the signed one, so that none was changed, put in, taken out or moved",
		    from, size - 1, text_of(s, r->begin), text_of(s, r->end));
	say(list, "their numbers have no gap, and each has the fields that the catalogue of events wants");
}

static struct audit_writer writers_together(const struct audit_report *r)
{
	struct audit_writer all = { .records = 0 };
	for (size_t i = 0; i < r->writers; i++) {
		all.records += r->writer[i].records;
		all.unnumbered += r->writer[i].unnumbered;
		all.runs += r->writer[i].runs;
		all.ended += r->writer[i].ended;
		all.unclear += r->writer[i].unclear;
	}
	return all;
}

//= tsps#5.4 the records of every component are kept
static void say_writers(json_t *list, const struct audit_report *r)
{
	struct audit_writer all = writers_together(r);
	if (all.runs > 0)
		say(list,
		    "%llu records have their writers' own numbers, in %llu runs: within each run none is missing that was "
		    "acknowledged",
		    (unsigned long long)(all.records - all.unnumbered), (unsigned long long)all.runs);
}

static void say_not_numbered(json_t *list, const struct audit_report *r)
{
	struct audit_writer all = writers_together(r);
	if (all.unnumbered > 0)
		say(list,
		    "whether any is missing among %llu records without a number of their writer: auditd's own, which only the log numbers, and those of "
		    "versions that did not number",
		    (unsigned long long)all.unnumbered);
	if (all.runs > all.ended)
		say(list,
		    "how far %llu runs of writers went: their end is not stated, since the writer is at it, was killed, or is a command",
		    (unsigned long long)(all.runs - all.ended));
	if (all.unclear > 0)
		say(list,
		    "%llu numbers of writers that are in no record: what they were given to was not acknowledged, or these runs were interrupted for too long",
		    (unsigned long long)all.unclear);
}

static json_t *writers(const struct audit_report *r)
{
	json_t *list = json_array();
	for (size_t i = 0; i < r->writers; i++) {
		const struct audit_writer *w = &r->writer[i];
		(void)json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:I,s:I,s:I}", "writer", w->component, "records",
							    (json_int_t)w->records, "without a number",
							    (json_int_t)w->unnumbered, "runs", (json_int_t)w->runs, "ended",
							    (json_int_t)w->ended, "unclear", (json_int_t)w->unclear));
	}
	return list;
}

static void say_anchors(json_t *list, const struct audit_report *r)
{
	size_t brought = r->anchors - r->came_along;
	if (brought > 0)
		say(list,
		    "%zu checkpoint(s) kept outside the log, the largest over %llu records, are of this log: it was not cut, "
		    "put back or forked below that",
		    brought, (unsigned long long)r->anchored);
	if (r->came_along > 0)
		say(list, "%zu checkpoint(s) that the provider's daemons kept, and that came with the export, are of this log",
		    r->came_along);
}

static void say_stamps(struct scope *s, json_t *list, const struct stamp_report *stamps)
{
	if (stamps->verified > 0)
		say(list,
		    "%llu time-stamps over checkpoints: each token is good, leads to the certificate that was named, and is over a checkpoint of "
		    "this log; by the newest, %llu records were there on %s",
		    (unsigned long long)stamps->verified, (unsigned long long)stamps->newest, text_of(s, stamps->gen_time));
}

//= rfc3161#4 whether a certificate of the authority was revoked
static void say_unrevoked(struct scope *s, json_t *list, const struct stamp_report *stamps)
{
	if (stamps->unrevoked > 0)
		say(list,
		    "no certificate of the authority of %llu time-stamps was revoked when they were made, nor later so that they would be worth nothing: by the "
		    "CRLs that are here, the oldest that this rests on of %s",
		    (unsigned long long)stamps->unrevoked, text_of(s, stamps->as_of));
}

static void say_operations(struct scope *s, json_t *list, const struct cli_judgement *j)
{
	say(list,
	    "%llu entries of the register of persons and %llu operations of keyds and cas had the approvals that they need, "
	    "judged from the founding document of %s with SHA-256 %s",
	    (unsigned long long)j->entries, (unsigned long long)j->executed, j->provider, hex_text(s, SPAN_ARRAY(j->founding)));
}

static const char *why_removed(struct scope *s, const struct cli_purge *p)
{
	if (p->erasure)
		return "as an erasure";
	return p->stamps_kept == 0 ? "because their time was over"
				   : scope_printf(s, "because their time was over, with %llu years for time-stamps",
						  (unsigned long long)p->stamps_kept);
}

static void say_removed(struct scope *s, json_t *list, const struct cli_judgement *j)
{
	for (size_t i = 0; i < j->purges; i++)
		say(list, "the content of %llu records was let go by record %llu, %s, %s; their hashes are those of the tree",
		    (unsigned long long)control_records_count(j->purge[i].range, j->purge[i].ranges),
		    (unsigned long long)j->purge[i].record, j->purge[i].approvers, why_removed(s, &j->purge[i]));
}

static void say_reviews(json_t *list, const struct cli_judgement *j)
{
	if (j->reviews > 0)
		say(list,
		    "%zu reviews of reports are signed by persons who were auditors then, each over a checkpoint of this log; the newest is record %llu, "
		    "by %s",
		    j->reviews, (unsigned long long)j->review[j->reviews - 1].record, j->review[j->reviews - 1].person);
}

static json_t *checked(struct scope *s, const struct cli_verification *v)
{
	const struct audit_report *r = v->report;
	json_t *list = json_array();
	if (r->verdict == AUDIT_UNSOUND) {
		say_anchors(list, r);
		return list;
	}
	say(list, "the checkpoint over %llu records is signed by the log's key with id %s",
	    (unsigned long long)r->checkpoint.size, hex_text(s, SPAN_ARRAY(v->key->id)));
	say_records(s, list, r);
	if (v->has_since)
		say(list, "the log continues the tree of %llu records that was verified earlier", (unsigned long long)r->from);
	say_writers(list, r);
	say_anchors(list, r);
	say_stamps(s, list, v->stamps);
	say_unrevoked(s, list, v->stamps);
	if (r->tail > 0)
		say(list, "%llu records behind the checkpoint are whole, in order and of the right form",
		    (unsigned long long)r->tail);
	if (v->judgement != NULL && json_array_size(v->judgement->findings) == 0) {
		say_operations(s, list, v->judgement);
		say_removed(s, list, v->judgement);
		say_reviews(list, v->judgement);
	}
	return list;
}

/* ---- what could not be ---- */

static void say_unanchored(json_t *list, const struct audit_report *r)
{
	unsigned long long anchored = r->anchored, size = r->checkpoint.size;
	if (anchored == 0)
		say(list,
		    "whether this is all of the log: nothing kept outside it says how far it went. Give a checkpoint that somebody "
		    "else kept: --anchor FILE");
	else if (anchored < size)
		say(list,
		    "records %llu to %llu: no checkpoint kept outside covers them, so only the log's key speaks for them. Give a "
		    "newer one: --anchor FILE",
		    anchored, size - 1);
}

static void say_tail(json_t *list, const struct audit_report *r)
{
	if (r->tail > 0)
		say(list, "who wrote the %llu records behind the checkpoint: nothing is signed over them yet",
		    (unsigned long long)r->tail);
	if (r->tail_unfinished)
		say(list, "the last group of the tail: it is not whole, its writer is at it or died; nobody was told that it "
			  "is on record");
}

static void say_revocation_unknown(struct scope *s, json_t *list, const struct stamp_report *stamps)
{
	if (stamps->unknown > 0)
		say(list,
		    "whether a certificate of the time-stamping authority was revoked when %llu time-stamps were made, the first of them on %s: %s. Give "
		    "newer CRLs of who certified it: --crl FILE",
		    (unsigned long long)stamps->unknown, text_of(s, stamps->unknown_since), stamps->unknown_why);
	if (stamps->voided > 0)
		say(list,
		    "anything by %llu time-stamps: %s, and whoever has its key may have made them at any time (RFC 3161, section 4)",
		    (unsigned long long)stamps->voided, stamps->void_why);
}

//= tsps#5.4.4 what no time-stamp covers
static void say_unstamped(struct scope *s, json_t *list, const struct cli_verification *v)
{
	uint64_t size = v->report->checkpoint.size;
	if (v->stamps->found > 0 && !v->stamps_trusted)
		say(list,
		    "the %llu time-stamps that are there: name the certificates that they must lead to, --stamp-anchor FILE",
		    (unsigned long long)v->stamps->found);
	if (v->stamps->verified == 0)
		say(list, "when the records were written: their times are those of the provider's clock");
	else if (v->stamps->newest < size)
		say(list,
		    "when records %llu to %llu were written: no time-stamp covers them, their times are those of the provider's clock",
		    (unsigned long long)v->stamps->newest, (unsigned long long)size - 1);
	say_revocation_unknown(s, list, v->stamps);
}

static void add_stamps(struct scope *s, json_t *out, const struct cli_verification *v)
{
	const struct stamp_report *stamps = v->stamps;
	const char *text = scope_printf(s, "%llu, the newest of %s over %llu records", (unsigned long long)stamps->verified,
					text_of(s, stamps->gen_time), (unsigned long long)stamps->newest);
	if (stamps->verified == 0)
		text = scope_printf(s, "none of %llu", (unsigned long long)stamps->found);
	if (stamps->found == 0)
		text = "none: nothing but the log's own key says when its records were there";
	else if (!v->stamps_trusted)
		text = scope_printf(s, "none of %llu: no anchor is named (--stamp-anchor FILE)",
				    (unsigned long long)stamps->found);
	(void)json_object_set_new(out, "time-stamps verified", json_string(text));
	if (stamps->verified > 0)
		(void)json_object_set_new(out, "records under no time-stamp",
					  json_integer((json_int_t)(v->report->checkpoint.size - stamps->newest)));
}

static json_t *not_checked(struct scope *s, const struct cli_verification *v)
{
	const struct audit_report *r = v->report;
	json_t *list = json_array();
	if (r->verdict == AUDIT_UNSOUND) {
		say(list, "what lies behind the first bad place: the verification ends there");
		return list;
	}
	if (r->from > 0)
		say(list, "records 0 to %llu: --since says that they were verified before", (unsigned long long)r->from - 1);
	say_unanchored(list, r);
	say_tail(list, r);
	say_not_numbered(list, r);
	if (r->removed > 0)
		say(list, "what %llu records said: their content was removed", (unsigned long long)r->removed);
	if (r->removed > 0 && v->judgement == NULL)
		say(list, "whether somebody might remove it: %s", v->not_judged);
	if (v->judgement == NULL)
		say(list, "whether critical operations had their approvals, and whether reviews of reports are auditors': %s",
		    v->not_judged);
	for (size_t i = 0; i < v->keys; i++)
		say(list, "whether this key is the provider's: compare its SHA-256, %s, with one that came to you another way",
		    audit_key_digest(s, &v->key[i]));
	if (v->judgement != NULL)
		say(list, "whether the founding document is the provider's: compare its SHA-256, %s, in the same way",
		    hex_text(s, SPAN_ARRAY(v->judgement->founding)));
	say_unstamped(s, list, v);
	say(list, "what was never put on record: a log shows what its writers put into it");
	return list;
}

/* ---- the answer ---- */

static const json_t *first_finding(const struct cli_verification *v)
{
	return v->judgement == NULL ? NULL : json_array_get(v->judgement->findings, 0);
}

enum audit_verdict cli_audit_verdict(const struct cli_verification *v)
{
	return first_finding(v) != NULL ? AUDIT_UNSOUND : v->report->verdict;
}

/* Whether what is wrong are reviews alone. */
static bool only_reviews(const struct cli_verification *v)
{
	size_t i;
	const json_t *finding;
	if (first_finding(v) == NULL)
		return false;
	json_array_foreach(v->judgement->findings, i,
			   finding) if (strcmp(cli_member(finding, "event"), "report.reviewed") != 0) return false;
	return true;
}

static const char *verdict_text(const struct cli_verification *v)
{
	static const char *const verdicts[] = {
		[AUDIT_SOUND] = "sound",
		[AUDIT_UNSOUND] = "NOT SOUND",
		[AUDIT_NOT_ANCHORED] = "sound, but tail not anchored: no checkpoint kept outside the log covers its end",
	};
	if (v->report->verdict != AUDIT_UNSOUND && only_reviews(v))
		return "NOT SOUND: a review of a report is none, see the findings";
	if (v->report->verdict != AUDIT_UNSOUND && first_finding(v) != NULL)
		return "NOT SOUND: an operation should not have been carried out, see the findings";
	return verdicts[v->report->verdict];
}

static void add_problem(json_t *out, const struct cli_verification *v)
{
	const struct audit_report *r = v->report;
	const json_t *finding = first_finding(v);
	if (r->verdict == AUDIT_UNSOUND && r->has_index)
		(void)json_object_set_new(out, "first bad record", json_integer((json_int_t)r->index));
	if (r->verdict == AUDIT_UNSOUND)
		(void)json_object_set_new(out, "problem", json_string(r->problem));
	else if (finding != NULL) {
		(void)json_object_set(out, "first bad record", json_object_get(finding, "record"));
		(void)json_object_set(out, "problem", json_object_get(finding, "finding"));
	}
}

json_t *cli_audit_words(struct scope *s, const struct cli_verification *v)
{
	const struct audit_report *r = v->report;
	json_t *out = json_pack("{s:s}", "verdict", verdict_text(v));
	add_problem(out, v);
	(void)json_object_set_new(out, "origin", json_string(r->checkpoint.origin));
	(void)json_object_set_new(out, "records under the checkpoint", json_integer((json_int_t)r->checkpoint.size));
	(void)json_object_set_new(out, "read from record", json_integer((json_int_t)r->from));
	(void)json_object_set_new(out, "records behind it", json_integer((json_int_t)r->tail));
	(void)json_object_set_new(out, "anchors that agree", json_integer((json_int_t)r->anchors));
	if (r->removed > 0)
		(void)json_object_set_new(out, "records removed", json_integer((json_int_t)r->removed));
	if (r->verdict != AUDIT_UNSOUND)
		add_stamps(s, out, v);
	if (v->judgement != NULL && r->verdict != AUDIT_UNSOUND) {
		(void)json_object_set_new(out, "operations carried out", json_integer((json_int_t)v->judgement->executed));
		(void)json_object_set_new(out, "operations refused", json_integer((json_int_t)v->judgement->refused));
	}
	if (v->judgement != NULL && json_array_size(v->judgement->old_crls) > 0)
		(void)json_object_set(out, "with a management CRL older than 24 hours", v->judgement->old_crls);
	if (r->verdict != AUDIT_UNSOUND)
		(void)json_object_set_new(out, "writers", writers(r));
	(void)json_object_set_new(out, "checked", checked(s, v));
	(void)json_object_set_new(out, "not checked", not_checked(s, v));
	if (first_finding(v) != NULL)
		(void)json_object_set(out, "findings", v->judgement->findings);
	return out;
}
