/*
 * Records that two persons had removed. auditd keeps a register of persons of its own, from the founding document and the entries that the
 * log has under its checkpoint, and verifies each of them itself: nobody tells it to remove anything. An entry log.purge is carried out once;
 * what a crash has interrupted is done again at the next start, because what is removed already stays so.
 */
#include "auditd.h"
#include "auditd_indexed.h"
#include "auditd_tail.h"
#include "daemon_pacer.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "purge.h"
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
	struct purge_extent extent;
	uint64_t sealed; /* it is on record that it begins: in so many leaves; 0: not yet */
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
	g->sealed = 0;
	scope_reset(&g->memory);
	return OK;
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

/* From now on it is to be removed, however often a crash comes in between. */
static st record_purged(struct scope *s, struct purger *g)
{
	const struct purge_extent *l = &g->extent;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_LOG_PURGED);
	audit_hex(&e, "proposal", SPAN_ARRAY(g->operation->proposal.hash));
	audit_number(&e, "entry", (int64_t)g->entry);
	audit_number(&e, "records", (int64_t)l->content);
	audit_number(&e, "from", (int64_t)l->range[0].first);
	audit_number(&e, "to", (int64_t)l->last);
	return auditd_record(s, g->a, &e);
}

static st published(struct scope *s, const struct purger *g, uint64_t *out_size)
{
	span note;
	struct audit_note parts;
	struct audit_checkpoint c;
	TRY(file_read(s, scope_printf(s, "%s/checkpoint", g->conf->publish), AUDIT_NOTE_MAX, &note));
	TRY(audit_note_read(s, note, &parts));
	TRY(audit_checkpoint_read(s, parts.text, &c));
	*out_size = c.size;
	return OK;
}

/* Nobody writes what is to go any more: the tail has dropped it, and the published folder has all of its bundle. And whoever meets an entry
 * without content finds log.purged under the newest checkpoint, here and there. */
static st settled(struct scope *s, const struct purger *g, bool *out)
{
	struct audit_segment *segment;
	size_t count;
	uint64_t size = signer_size(g->a->signer);
	TRY(audit_log_segments(s, g->conf->log, &segment, &count));
	*out = count > 0 && segment[0].first > g->extent.last && size >= g->sealed;
	if (!*out || g->conf->publish == NULL || !g->conf->publish_entries)
		return OK;
	TRY(published(s, g, &size));
	*out = size > g->extent.last && size >= g->sealed;
	return OK;
}

static st refuse(struct scope *s, struct purger *g)
{
	TRY(record_refused(s, g, scope_cstr(s, span_str(s->message))));
	log_failure(s, "removing records, as an operation asks for");
	scope_clear_error(s);
	return finish(s, g);
}

static st allow(struct scope *s, struct purger *g)
{
	const struct purge_log log = { .log = g->log, .origin = g->conf->origin, .size = signer_size(g->a->signer) };
	struct purge_extent extent;
	st allowed = purge_check(s, &log, &g->operation->proposal, &extent);
	if (allowed.code == E_DENIED)
		return refuse(s, g);
	TRY(allowed);
	span ranges = scope_copy(&g->memory, span_of(extent.range, extent.ranges * sizeof *extent.range));
	g->extent = extent;
	g->extent.range = (const void *)ranges.data;
	if (g->extent.content > 0)
		TRY(record_purged(s, g));
	g->sealed = tail_size(g->a->tail);
	return OK;
}

static st remove_all(struct scope *s, struct purger *g)
{
	uint64_t ignored_removed;
	FAILPOINT("auditd.purge");
	TRY(purge_remove(s, g->conf->log, &g->extent, &ignored_removed));
	if (g->conf->publish != NULL && g->conf->publish_entries)
		TRY(purge_remove(s, g->conf->publish, &g->extent, &ignored_removed));
	if (g->extent.content > 0)
		log_put(LOG_LEVEL_NOTICE,
			"the content of %llu records was removed from the log, as entry %llu of the register says",
			(unsigned long long)g->extent.content, (unsigned long long)g->entry);
	return finish(s, g);
}

static st carry_out(struct scope *s, struct purger *g)
{
	bool may;
	if (g->sealed == 0)
		TRY(allow(s, g));
	if (!g->pending)
		return OK;
	TRY(settled(s, g, &may));
	return may ? remove_all(s, g) : OK;
}

/* ---- the register ---- */

static st begin(struct scope *s, struct purger *g, span file)
{
	g->entry = control_register_head(g->persons).entries;
	if (g->entry <= g->done)
		return OK;
	g->operation = scope_new(&g->memory, struct control_signed);
	if (control_signed_read(&g->memory, scope_copy(&g->memory, file), g->operation).code != E_OK)
		return fail(s, E_BUG, "an entry of the register cannot be read again: %s", g->memory.message);
	g->pending = true;
	return OK;
}

static st take_leaf(struct scope *s, struct purger *g, uint64_t index, span leaf)
{
	struct audit_envelope e;
	struct purge_step step;
	TRY(fail_context(s, audit_envelope_read(s, leaf, &e), "record %llu", (unsigned long long)index));
	TRY(purge_follow(s, g->persons, &e, &step));
	if (step.passed_over != NULL)
		log_put(LOG_LEVEL_WARNING, "record %llu of the log is passed over: %s", (unsigned long long)index,
			step.passed_over);
	return step.file.len > 0 ? begin(s, g, step.file) : OK;
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

st purger_new(struct scope *s, struct auditd *a, struct purger **out)
{
	if (a->conf->founding == NULL)
		return OK;
	struct purger *g = heap_alloc(sizeof *g);
	*g = (struct purger){ .a = a, .conf = a->conf };
	scope_init(&g->memory, NULL);
	pacer_init(&g->pace);
	*out = g;
	TRY(purge_founding(s, a->conf->founding, a->conf->founding_hash, &g->persons));
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
