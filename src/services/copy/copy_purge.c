/*
 * Records that two persons had removed, at this place. Nobody tells a copy to remove anything: from the founding document and the records that
 * it has cosigned it comes to the register of persons itself, and empties what an operation names when that may be done and auditd began it.
 * Entries that come without content are taken when such an operation covers each of them.
 */
#include "copy.h"
#include "daemon_pacer.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "purge.h"
#include "text.h"
#include <stdlib.h>

#define PAUSE_US          MOMENT_SECOND
#define COMPLAIN_EVERY_US MOMENT_MINUTE
#define KEEP_EVERY        65536 /* records that a start may look at again */

struct copy_follower {
	struct copy *c;
	struct audit_log *log; /* of this thread alone */
	uint64_t looked;       /* what was begun below this record was followed */
	uint64_t kept;         /* so the file says */
	uint64_t refused;      /* entry of the register: up to it refusals are on record */
	int64_t complained;
	struct pacer pace;
};

/* The operations under a checkpoint of so many records. */
static st read_list(struct scope *s, const struct copy_conf *conf, const struct purge_log *log, struct purge_list *out)
{
	struct control_register *r = NULL;
	TRY(purge_founding(s, conf->founding, conf->founding_hash, &r));
	st status = purge_list_read(s, log->log, log->size, r, out);
	control_register_free(r);
	return status;
}

/* ---- entries that come without content ---- */

void copy_lacks(void *state, uint64_t index)
{
	struct copy_lacking *l = state;
	control_records_add(&l->range, &l->count, index);
}

/* Of the extents that are of this log. */
static bool is_covered(const struct purge_extent *extent, size_t count, uint64_t index)
{
	for (size_t i = 0; i < count; i++)
		if (control_records_have(extent[i].range, extent[i].ranges, index))
			return true;
	return false;
}

static st read_extents(struct scope *s, const struct purge_log *log, const struct purge_list *list, struct purge_extent **out,
		       size_t *out_count)
{
	struct purge_extent *extent = scope_alloc(s, (list->count + 1) * sizeof *extent);
	size_t count = 0;
	for (size_t i = 0; i < list->count; i++) {
		st seen = purge_check_log(s, log, &list->purge[i].operation.proposal, &extent[count]);
		if (seen.code != E_OK && seen.code != E_DENIED)
			return seen;
		count += seen.code == E_OK;
		scope_clear_error(s);
	}
	*out = extent;
	*out_count = count;
	return OK;
}

/* auditd may have sent the entry when the operation was under its newest checkpoint already, and asks for the one before. With the next one
 * that excuse is gone. */
static st uncovered(struct scope *s, struct copy *c, uint64_t index, uint64_t size)
{
	bool again = c->lacking_size != 0 && c->lacking == index && size > c->lacking_size;
	if (!again) {
		c->lacking = index;
		c->lacking_size = size;
	}
	return fail(s, again ? E_CRYPTO : E_STATE,
		    "record %llu came without its content, and no operation of two persons that was carried out lets it go",
		    (unsigned long long)index);
}

//= 8.2#LOG-04 what is gone without an operation was tampered with, wherever it goes
st copy_lacking_check(struct scope *s, struct copy *c, const struct copy_lacking *lacking, const struct audit_checkpoint *new)
{
	struct purge_log log = { .origin = new->origin, .size = new->size };
	struct purge_list list;
	struct purge_extent *extent = NULL;
	size_t count = 0;
	TRY(audit_log_open(s, c->conf->log, &log.log));
	st status = read_list(s, c->conf, &log, &list);
	if (status.code == E_OK)
		status = read_extents(s, &log, &list, &extent, &count);
	audit_log_close(log.log);
	TRY(status);
	for (size_t i = 0; i < lacking->count; i++)
		for (uint64_t index = lacking->range[i].first; index <= lacking->range[i].last; index++)
			if (!is_covered(extent, count, index))
				return uncovered(s, c, index, new->size);
	c->lacking_size = 0;
	return OK;
}

/* ---- what is here ---- */

static st record_purged(struct scope *s, struct copy *c, const struct purge *p, const struct purge_extent *extent)
{
	uint64_t ignored_index;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_COPY_PURGED);
	audit_text(&e, "log", c->log_key[0].name);
	audit_hex(&e, "proposal", SPAN_ARRAY(p->operation.proposal.hash));
	audit_number(&e, "entry", (int64_t)p->entry);
	audit_number(&e, "records", (int64_t)extent->content);
	audit_number(&e, "from", (int64_t)extent->range[0].first);
	audit_number(&e, "to", (int64_t)extent->last);
	TRY(audit_finish(s, &e));
	return audit_commit(s, c->audit, &e, &ignored_index);
}

/* auditd removed what may not be removed by what is configured here: this place keeps it. */
static st refuse(struct scope *s, struct copy_follower *f, const struct purge *p)
{
	uint64_t ignored_index;
	AUTO_EVENT e;
	if (p->entry <= f->refused)
		return OK;
	log_put(LOG_LEVEL_ERROR, "ALARM: entry %llu of the register is not followed, its records stay here: %s",
		(unsigned long long)p->entry, s->message);
	audit_begin(&e, s, AUDIT_COPY_PURGE_REFUSED);
	audit_text(&e, "log", f->c->log_key[0].name);
	audit_hex(&e, "proposal", SPAN_ARRAY(p->operation.proposal.hash));
	audit_number(&e, "entry", (int64_t)p->entry);
	audit_str(&e, "reason", s->message);
	scope_clear_error(s);
	TRY(audit_finish(s, &e));
	TRY(audit_commit(s, f->c->audit, &e, &ignored_index));
	f->refused = p->entry;
	return OK;
}

static st carry_out(struct scope *s, struct copy_follower *f, const struct purge_log *log, const struct purge *p)
{
	struct purge_extent extent;
	uint64_t ignored_removed;
	st checked = purge_check(s, log, &p->operation.proposal, &extent);
	if (checked.code == E_DENIED)
		return refuse(s, f, p);
	TRY(checked);
	if (extent.content > 0)
		TRY(record_purged(s, f->c, p, &extent));
	FAILPOINT("copy.purge");
	TRY(purge_remove(s, f->c->conf->log, &extent, &ignored_removed));
	if (extent.content > 0)
		log_put(LOG_LEVEL_NOTICE, "the content of %llu records was removed here, as entry %llu of the register says",
			(unsigned long long)extent.content, (unsigned long long)p->entry);
	return OK;
}

static st carry_out_all(struct scope *s, struct copy_follower *f, const struct purge_log *log)
{
	struct purge_list list;
	TRY(read_list(s, f->c->conf, log, &list));
	for (size_t i = 0; i < list.count; i++)
		if (list.purge[i].begun >= f->looked)
			TRY(carry_out(s, f, log, &list.purge[i]));
	return OK;
}

/* ---- which records were looked at: derived, so that a start need not begin at the first ---- */

static char *followed_path(struct scope *s, const struct copy *c)
{
	return scope_printf(s, "%s/followed", c->conf->log);
}

static st load_looked(struct scope *s, struct copy_follower *f)
{
	span text;
	if (!file_exists(followed_path(s, f->c)))
		return OK;
	TRY(file_read(s, followed_path(s, f->c), 32, &text));
	if (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	if (decimal_parse(s, text, f->c->head.size, &f->looked).code != E_OK)
		f->looked = 0; /* the directory was put back, or somebody wrote in it */
	scope_clear_error(s);
	f->kept = f->looked;
	return OK;
}

static st keep_looked(struct scope *s, struct copy_follower *f)
{
	TRY(file_replace(s, followed_path(s, f->c), span_str(scope_printf(s, "%llu\n", (unsigned long long)f->looked)), 0644));
	f->kept = f->looked;
	return OK;
}

/* ---- the thread ---- */

struct looking {
	struct scope *s;
	uint64_t end;
	bool begun;
	st status;
};

static bool look_at(void *state, uint64_t index, span leaf)
{
	struct looking *l = state;
	struct audit_envelope e;
	span ignored_proposal;
	AUTO_SCOPE aside;
	scope_init(&aside, l->s->source);
	if (index >= l->end)
		return false;
	if (leaf.len == 0)
		return true;
	st read = audit_envelope_read(&aside, leaf, &e);
	if (read.code != E_OK)
		l->status = fail(l->s, read.code, "record %llu: %s", (unsigned long long)index, aside.message);
	else
		l->begun = purge_is_begun(&aside, &e, &ignored_proposal);
	return l->status.code == E_OK && !l->begun;
}

static st follow(struct scope *s, struct copy_follower *f)
{
	struct copy *c = f->c;
	(void)pthread_mutex_lock(&c->lock);
	struct purge_log log = { .log = f->log, .origin = scope_cstr(s, c->log_key[0].name), .size = c->head.size };
	(void)pthread_mutex_unlock(&c->lock);
	struct looking l = { .s = s, .end = log.size };
	if (log.size == f->looked)
		return OK;
	TRY(audit_log_each_bundled(s, f->log, f->looked, look_at, &l));
	TRY(l.status);
	if (l.begun)
		TRY(carry_out_all(s, f, &log));
	f->looked = log.size;
	return l.begun || f->looked - f->kept >= KEEP_EVERY ? keep_looked(s, f) : OK;
}

static void one_round(struct copy_follower *f)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t now = moment_monotonic();
	if (follow(&s, f).code == E_OK || (f->complained != 0 && now - f->complained < COMPLAIN_EVERY_US))
		return;
	f->complained = now;
	log_failure(&s, "following what was removed from the log");
}

static void *follower_main(void *argument)
{
	struct copy_follower *f = argument;
	do
		one_round(f);
	while (pacer_pause(&f->pace, PAUSE_US));
	return NULL;
}

st copy_follower_new(struct scope *s, struct copy *c, struct copy_follower **out)
{
	struct control_register *r = NULL;
	if (c->conf->founding == NULL)
		return OK;
	TRY(purge_founding(s, c->conf->founding, c->conf->founding_hash, &r)); /* later it is read when it is needed */
	control_register_free(r);
	struct copy_follower *f = heap_alloc(sizeof *f);
	*f = (struct copy_follower){ .c = c };
	pacer_init(&f->pace);
	*out = f;
	TRY(load_looked(s, f));
	return audit_log_open(s, c->conf->log, &f->log);
}

void copy_follower_start(struct copy_follower *f)
{
	if (f != NULL)
		pacer_start(&f->pace, "follow what was removed from the log", follower_main, f);
}

void copy_follower_stop(struct copy_follower *f)
{
	if (f != NULL)
		pacer_stop(&f->pace);
}

void copy_follower_free(struct copy_follower *f)
{
	if (f == NULL)
		return;
	audit_log_close(f->log);
	pacer_free(&f->pace);
	free(f);
}
