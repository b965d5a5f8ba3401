/*
 * Records that two persons had removed. auditd keeps a register of persons of its own, from the founding document and the entries that the
 * log has under its checkpoint, and verifies each of them itself: nobody tells it to remove anything. An entry log.purge is carried out once;
 * what a crash has interrupted is done again at the next start, because what is removed already stays so.
 */
#include "audit_purge.h"
#include "audit_retention.h"
#include "auditd.h"
#include "auditd_indexed.h"
#include "control_records.h"
#include "control_register.h"
#include "daemon_pacer.h"
#include "digest.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <stdlib.h>

#define AT_ONCE           256
#define COMPLAIN_EVERY_US MOMENT_MINUTE

struct purger {
	struct auditd *a;
	const struct auditd_conf *conf; /* of the start */
	struct audit_log *log;          /* of this thread alone */
	struct control_register *persons;
	uint64_t read; /* records of class control */
	uint64_t done; /* entries of the register that need not be looked at again */
	/* The operation that is being carried out, in its own memory: */
	bool pending;
	uint64_t entry;
	struct control_signed *operation;
	struct scope memory;
	int64_t complained;
	struct pacer pace;
};

/* ---- what was done: derived, so that a start need not look at every record that ever went ---- */

static char *done_path(struct scope *s, const struct purger *g)
{
	return scope_printf(s, "%s/purged", g->conf->log);
}

static st load_done(struct scope *s, struct purger *g)
{
	span text;
	if (!file_exists(done_path(s, g)))
		return OK;
	TRY(file_read(s, done_path(s, g), 32, &text));
	if (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	if (decimal_parse(s, text, INT64_MAX, &g->done).code != E_OK)
		g->done = 0; /* looked at again */
	scope_clear_error(s);
	return OK;
}

static st finish(struct scope *s, struct purger *g)
{
	TRY(file_replace(s, done_path(s, g), span_str(scope_printf(s, "%llu\n", (unsigned long long)g->entry)), 0644));
	g->done = g->entry;
	g->pending = false;
	scope_reset(&g->memory);
	return OK;
}

/* ---- may it be removed? ---- */

struct looking {
	struct scope *s;
	const struct control_range *range;
	size_t ranges;
	int64_t kept_until; /* 0: erased on somebody's request */
	uint64_t last;
	uint64_t content; /* records that have some */
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
	TRY(audit_kept_until(s, &e, &until));
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
	if (index > l->last)
		return false;
	if (leaf.len == 0 || !control_records_have(l->range, l->ranges, index))
		return true;
	l->content++;
	if (check_record(&aside, l, index, leaf).code != E_OK)
		l->status = fail(l->s, E_DENIED, "%s", aside.message);
	return l->status.code == E_OK;
}

/* What the persons saw is this log. */
static st check_log(struct scope *s, struct purger *g, const struct control_proposal *p, uint64_t last)
{
	struct audit_source source = { .node = audit_log_node, .state = g->log };
	struct audit_hash root;
	uint64_t size = control_parameter_number(p, "size", 0);
	if (!span_is(control_parameter(p, "log", 0), g->conf->origin))
		return fail(s, E_DENIED, "it is about another log than %s", g->conf->origin);
	if (size > signer_size(g->a->signer))
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

static st check(struct scope *s, struct purger *g, const struct control_proposal *p, struct looking *out)
{
	struct control_range *range;
	size_t count;
	TRY(control_records_read(s, control_parameter(p, "records", 0), &range, &count));
	*out = (struct looking){ .s = s, .range = range, .ranges = count, .last = range[count - 1].last };
	out->kept_until = control_parameter_moment(p, "kept-until");
	TRY(check_log(s, g, p, out->last));
	TRY(audit_log_each_bundled(s, g->log, range[0].first, look_at, out));
	return out->status;
}

/* ---- on record, then removed ---- */

static st record_refused(struct scope *s, struct purger *g, const char *reason)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_LOG_PURGE_REFUSED);
	audit_hex(&e, "proposal", SPAN_ARRAY(g->operation->proposal.hash));
	audit_number(&e, "entry", (int64_t)g->entry);
	audit_str(&e, "reason", reason);
	return auditd_record(s, g->a, &e);
}

static st record_purged(struct scope *s, struct purger *g, const struct looking *l)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_LOG_PURGED);
	audit_hex(&e, "proposal", SPAN_ARRAY(g->operation->proposal.hash));
	audit_number(&e, "entry", (int64_t)g->entry);
	audit_number(&e, "records", (int64_t)l->content);
	audit_number(&e, "first", (int64_t)l->range[0].first);
	audit_number(&e, "last", (int64_t)l->last);
	return auditd_record(s, g->a, &e);
}

/* Nobody writes what is to go any more: the tail has dropped it, and the published folder has all of its bundle. */
static st check_settled(struct scope *s, struct purger *g, uint64_t last)
{
	struct audit_segment *segment;
	size_t count;
	TRY(audit_log_segments(s, g->conf->log, &segment, &count));
	if (count == 0 || segment[0].first <= last)
		return fail(s, E_UNAVAILABLE, "the tail of the log still has record %llu", (unsigned long long)last);
	if (g->conf->publish == NULL || !g->conf->publish_entries)
		return OK;
	span note;
	struct audit_note parts;
	struct audit_checkpoint c;
	TRY(file_read(s, scope_printf(s, "%s/checkpoint", g->conf->publish), AUDIT_NOTE_MAX, &note));
	TRY(audit_note_read(s, note, &parts));
	TRY(audit_checkpoint_read(s, parts.text, &c));
	return c.size > last ? OK : fail(s, E_UNAVAILABLE, "record %llu is not published yet", (unsigned long long)last);
}

static st remove_from(struct scope *s, const char *dir, const struct looking *l)
{
	for (size_t i = 0; i < l->ranges; i++) {
		uint64_t ignored_removed;
		TRY(audit_purge(s, dir, l->range[i].first, l->range[i].last, &ignored_removed));
	}
	return OK;
}

static st carry_out(struct scope *s, struct purger *g)
{
	struct looking l;
	st allowed = check(s, g, &g->operation->proposal, &l);
	if (allowed.code == E_DENIED) {
		TRY(record_refused(s, g, scope_cstr(s, span_str(s->message))));
		log_failure(s, "removing records, as an operation asks for");
		scope_clear_error(s);
		return finish(s, g);
	}
	TRY(allowed);
	TRY(check_settled(s, g, l.last));
	if (l.content > 0)
		TRY(record_purged(s, g, &l));
	FAILPOINT("auditd.purge");
	TRY(remove_from(s, g->conf->log, &l));
	if (g->conf->publish != NULL && g->conf->publish_entries)
		TRY(remove_from(s, g->conf->publish, &l));
	if (l.content > 0)
		log_put(LOG_LEVEL_NOTICE,
			"the content of %llu records was removed from the log, as entry %llu of the register says",
			(unsigned long long)l.content, (unsigned long long)g->entry);
	return finish(s, g);
}

/* ---- the register ---- */

static st begin(struct purger *g, span file)
{
	g->operation = scope_new(&g->memory, struct control_signed);
	st status = control_signed_read(&g->memory, scope_copy(&g->memory, file), g->operation);
	g->entry = control_register_head(g->persons).entries;
	g->pending =
		status.code == E_OK && strcmp(g->operation->proposal.operation->name, "log.purge") == 0 && g->entry > g->done;
	if (!g->pending)
		scope_reset(&g->memory);
	return OK;
}

/* What does not hold changes nothing, as everywhere. */
static st take_leaf(struct scope *s, struct purger *g, uint64_t index, span leaf)
{
	struct audit_envelope e;
	span file;
	TRY(fail_context(s, audit_envelope_read(s, leaf, &e), "record %llu", (unsigned long long)index));
	if (e.record.code != AUDIT_REGISTER_CHANGED && e.record.code != AUDIT_CRL_RECORDED)
		return OK;
	st taken = audit_field_base64(s, &e.record, "file", &file);
	if (taken.code == E_OK && e.record.code == AUDIT_CRL_RECORDED)
		taken = control_register_crl_on_record(s, g->persons, file);
	else if (taken.code == E_OK)
		taken = control_register_apply(s, g->persons, file, audit_envelope_time(&e));
	if (taken.code == E_OK && e.record.code == AUDIT_REGISTER_CHANGED)
		return begin(g, file);
	if (taken.code != E_OK)
		log_put(LOG_LEVEL_WARNING, "record %llu of the log is passed over: %s", (unsigned long long)index, s->message);
	scope_clear_error(s);
	return OK;
}

struct one_leaf {
	struct scope *s;
	span leaf;
};

static bool keep_leaf(void *state, uint64_t index, span leaf)
{
	struct one_leaf *one = state;
	(void)index;
	one->leaf = scope_copy(one->s, leaf);
	return false;
}

/* Those that a checkpoint covers, up to the next operation that is to be carried out. */
static st read_on(struct scope *s, struct purger *g)
{
	uint64_t *index, ignored_total, size = signer_size(g->a->signer);
	size_t count;
	indexed_read(s, g->a->indexed, g->read, AT_ONCE, &index, &count, &ignored_total);
	for (size_t i = 0; i < count && !g->pending && index[i] < size; i++) {
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		struct one_leaf one = { .s = &aside };
		st status = audit_log_each_bundled(&aside, g->log, index[i], keep_leaf, &one);
		if (status.code == E_OK)
			status = take_leaf(&aside, g, index[i], one.leaf);
		if (status.code != E_OK)
			return fail(s, status.code, "%s", aside.message);
		g->read++;
	}
	return OK;
}

/* ---- the thread ---- */

static void one_round(struct purger *g)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t now = moment_monotonic();
	st status = g->pending ? OK : read_on(&s, g);
	if (status.code == E_OK && g->pending)
		status = carry_out(&s, g);
	if (status.code == E_OK || (g->complained != 0 && now - g->complained < COMPLAIN_EVERY_US))
		return;
	g->complained = now;
	log_failure(&s, "following the register of persons, to remove records");
}

static void *purger_main(void *argument)
{
	struct purger *g = argument;
	do
		one_round(g);
	while (pacer_pause(&g->pace, g->conf->checkpoint_interval));
	return NULL;
}

/* Whoever can exchange the file cannot make himself one of two who remove records. */
static st check_founding(struct scope *s, const struct auditd_conf *conf, span document)
{
	uint8_t room[DIGEST_MAX];
	if (conf->founding_hash == NULL)
		return fail(s, E_CONFIG, "founding needs founding-hash, the SHA-256 of the document");
	const char *hash = hex_text(s, digest_of(DIGEST_SHA256, document, room));
	if (strcmp(hash, conf->founding_hash) != 0)
		return fail(s, E_CONFIG, "%s has the SHA-256 %s, founding-hash says %s: it is another document", conf->founding,
			    hash, conf->founding_hash);
	return OK;
}

st purger_new(struct scope *s, struct auditd *a, struct purger **out)
{
	span document;
	if (a->conf->founding == NULL)
		return OK;
	struct purger *g = heap_alloc(sizeof *g);
	*g = (struct purger){ .a = a, .conf = a->conf };
	scope_init(&g->memory, NULL);
	pacer_init(&g->pace);
	*out = g;
	TRY(fail_context(s, file_read(s, a->conf->founding, CONTROL_TEXT_MAX, &document), "the founding document"));
	TRY(check_founding(s, a->conf, document));
	TRY(fail_context(s, control_register_new(s, document, &g->persons), "%s", a->conf->founding));
	TRY(load_done(s, g));
	return audit_log_open(s, a->conf->log, &g->log);
}

void purger_start(struct purger *g)
{
	if (g != NULL)
		pacer_start(&g->pace, "remove records", purger_main, g);
}

void purger_stop(struct purger *g)
{
	if (g != NULL)
		pacer_stop(&g->pace);
}

void purger_free(struct purger *g)
{
	if (g == NULL)
		return;
	audit_log_close(g->log);
	control_register_free(g->persons);
	scope_done(&g->memory);
	pacer_free(&g->pace);
	free(g);
}
