/*
 * keyd_control.c - the register of persons as this keyd knows it, and the comparison of what it kept with the log.
 */
#include "keyd_control.h"
#include "audit_record.h"
#include "control_entries.h"
#include "control_execution.h"
#include "digest.h"
#include "file.h"
#include "log.h"
#include "text.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define LOCKED_HEAP   65536
#define LOCKED_LEAST  32
#define READ_AT_ONCE  64
#define LOOK_PERIOD   MOMENT_MINUTE
#define FOUNDING_HASH (2 * CONTROL_HASH_LEN)

/* ---- the founding document ---- */

static st check_hash(struct scope *s, const struct keyd_conf *conf, span document)
{
	uint8_t room[DIGEST_MAX];
	const char *hash = hex_text(s, digest_of(DIGEST_SHA256, document, room));
	if (strcmp(hash, conf->founding_hash) != 0)
		return fail(
			s, E_CONFIG,
			"%s has the SHA-256 %s, founding-hash says %s: this is not the founding document that this keyd was set up "
			"for",
			conf->founding, hash, conf->founding_hash);
	return OK;
}

static st read_founding(struct scope *s, struct keyd *d)
{
	span document;
	TRY(file_read(s, d->conf->founding, CONTROL_TEXT_MAX, &document));
	TRY(check_hash(s, d->conf, document));
	return fail_context(s, control_register_new(s, document, &d->control->persons), "%s", d->conf->founding);
}

static st read_register(struct scope *s, struct keyd *d)
{
	span file;
	if (d->conf->persons == NULL)
		return OK;
	TRY(file_read(s, d->conf->persons, CONTROL_ENTRIES_MAX, &file));
	TRY(fail_context(s, control_entries_apply(s, d->control->persons, file), "%s", d->conf->persons));
	const struct control_head head = control_register_head(d->control->persons);
	log_put(LOG_LEVEL_NOTICE, "register of persons: %llu entries from %s, head %s", (unsigned long long)head.entries,
		d->conf->persons, hex_text(s, SPAN_ARRAY(head.hash)));
	return OK;
}

/* The private halves of the keys that shares are sealed to lie there. */
static st lock_heap(struct scope *s)
{
	if (CRYPTO_secure_malloc_initialized() == 1 || CRYPTO_secure_malloc_init(LOCKED_HEAP, LOCKED_LEAST) == 1)
		return OK;
	return fail(s, E_UNAVAILABLE,
		    "%d octets of memory cannot be locked for the keys of activations; raise the limit of locked "
		    "memory (ulimit -l)",
		    LOCKED_HEAP);
}

st keyd_control_start(struct scope *s, struct keyd *d)
{
	if (d->conf->founding == NULL)
		return OK;
	TRY(lock_heap(s));
	d->control = heap_alloc(sizeof *d->control);
	/* lives as long as the configuration */
	d->control->instance = d->conf->instance != NULL ? d->conf->instance : scope_printf(s, "keyd/%s", d->conf->zone);
	if (pthread_mutex_init(&d->control->lock, NULL) != 0 || pthread_mutex_init(&d->control->permitting, NULL) != 0)
		log_die("no lock for operations");
	TRY(read_founding(s, d));
	TRY(read_register(s, d));
	TRY(keyd_load_groups(s, d));
	return keyd_hold_deactivated(s, d);
}

static void forget_late(struct keyd_late *late)
{
	free(late->leaf);
}

void keyd_control_stop(struct keyd *d)
{
	if (d->control == NULL)
		return;
	control_register_free(d->control->persons);
	keyd_forget_opened(&d->control->opened);
	free(d->control->reshare);
	for (size_t i = 0; i < d->control->lates; i++)
		forget_late(&d->control->late[i]);
	free(d->control->late);
	(void)pthread_mutex_destroy(&d->control->lock);
	(void)pthread_mutex_destroy(&d->control->permitting);
	free(d->control);
	d->control = NULL;
}

/* ---- reading on in the log ---- */

/* What of the operations of a zone matters to all its keyds. */
static const struct {
	const char *operation;
	st (*note)(struct scope *s, struct keyd *d, const struct control_proposal *p, bool here);
} noted[] = {
	{ "key.generate", keyd_compare_generated },
	{ "group.reshare", keyd_note_reshare },
};

#define NOTED (sizeof noted / sizeof noted[0])

/* NOTED when it is none of them. */
static size_t noted_as(const struct control_proposal *p)
{
	size_t i = 0;
	while (i < NOTED && strcmp(p->operation->name, noted[i].operation) != 0)
		i++;
	return i;
}

/* Judged as at the time of its record: who may write records may not thereby approve. `*out_late`: the register has not come so far. */
static st judge(struct scope *s, struct keyd *d, const struct control_signed *o, const char *instance, int64_t at,
		bool *out_late)
{
	bool here = strcmp(instance, d->control->instance) == 0;
	size_t as = noted_as(&o->proposal);
	if (as == NOTED)
		return OK;
	*out_late = o->proposal.entries > control_register_head(d->control->persons).entries;
	if (*out_late)
		return OK;
	TRY(control_check(s, d->control->persons, o, instance, at));
	return noted[as].note(s, d, &o->proposal, here);
}

/* What another wrote in the name of this instance is said once, and counts for nothing. */
static void note_forged(struct keyd_forged *f, uint64_t index, const char *why)
{
	if (f->records++ == 0)
		f->first = index;
	f->last = index;
	(void)snprintf(f->why, sizeof f->why, "%s", why);
}

static st read_execution(struct scope *s, const struct audit_envelope *envelope, struct control_signed *o,
			 struct control_execution *e)
{
	span file;
	int64_t sequence;
	const struct audit_record *r = &envelope->record;
	TRY(audit_field_base64(s, r, "file", &file));
	TRY(audit_field_number(s, r, "sequence", &sequence));
	if (audit_field_of(r, "signature") != NULL)
		TRY(audit_field_base64(s, r, "signature", &e->signature));
	TRY(control_signed_read(s, file, o));
	e->sequence = sequence < 0 ? 0 : (uint64_t)sequence;
	memcpy(e->proposal, o->proposal.hash, sizeof e->proposal);
	return OK;
}

/* `*out_late`: the register does not know that instance yet, which may be because it has not come so far. */
static st check_signed(struct scope *s, const struct keyd *d, const struct audit_envelope *envelope, struct control_signed *o,
		       struct control_execution *e, bool *out_late)
{
	const struct control_register *persons = d->control->persons;
	TRY(read_execution(s, envelope, o, e));
	*out_late = control_instance_named(persons, e->instance) == NULL &&
		    o->proposal.entries > control_register_head(persons).entries;
	return *out_late ? OK : control_execution_check(s, persons, e);
}

/* Several keyds may hold the keys of one zone, each as an instance of its own. */
static bool is_of_zone(struct scope *s, const struct keyd *d, const struct audit_envelope *envelope)
{
	return span_is(envelope->record.component, scope_printf(s, "keyd/%s", d->conf->zone));
}

static st keep_for_later(struct scope *s, struct keyd_control *c, const struct audit_leaf *leaf)
{
	if (c->lates == KEYD_LATE_MAX)
		return fail(s, E_LIMIT, "more than %d operations speak of entries of the register that are not there",
			    KEYD_LATE_MAX);
	c->late = heap_grow(c->late, (c->lates + 1) * sizeof *c->late);
	struct keyd_late *late = &c->late[c->lates++];
	*late = (struct keyd_late){ .leaf = heap_alloc(leaf->bytes.len), .len = leaf->bytes.len, .index = leaf->index };
	memcpy(late->leaf, leaf->bytes.data, leaf->bytes.len);
	return OK;
}

//= control#forged only what this instance signed counts as its own
static st note_executed(struct scope *s, struct keyd *d, const struct audit_envelope *envelope, bool *out_late)
{
	struct keyd_control *c = d->control;
	struct control_signed *o = scope_new(s, struct control_signed);
	struct control_execution e = { .sequence = 0 };
	*out_late = false;
	TRY(audit_field_text(s, &envelope->record, "instance", &e.instance));
	bool here = span_is(e.instance, c->instance);
	if (!here && !is_of_zone(s, d, envelope))
		return OK;
	st status = check_signed(s, d, envelope, o, &e, out_late);
	if (status.code != E_OK && status.code != E_DENIED && here) /* a keyd that is not on the register does nothing */
		note_forged(&c->forged, envelope->seq, s->message);
	if (status.code != E_OK || *out_late)
		return status;
	if (here && e.sequence > c->seen)
		c->seen = e.sequence;
	return judge(s, d, o, scope_cstr(s, e.instance), audit_envelope_time(envelope), out_late);
}

/* Those that still have to wait stay, in their order. */
static void judge_late(struct keyd *d)
{
	struct keyd_control *c = d->control;
	size_t kept = 0;
	for (size_t i = 0; i < c->lates; i++) {
		AUTO_SCOPE aside;
		scope_init(&aside, NULL);
		bool is_late = false;
		struct audit_envelope envelope;
		struct keyd_late *late = &c->late[i];
		st status = audit_envelope_read(&aside, span_of(late->leaf, late->len), &envelope);
		if (status.code == E_OK)
			status = note_executed(&aside, d, &envelope, &is_late);
		if (status.code != E_OK)
			log_put(LOG_LEVEL_WARNING, "record %llu of the log is passed over: %s", (unsigned long long)late->index,
				aside.message);
		if (is_late)
			c->late[kept++] = *late;
		else
			forget_late(late);
	}
	c->lates = kept;
}

/* What waited for this very entry is judged before the next one, which might say something else. */
static st apply_entry(struct scope *s, struct keyd *d, const struct audit_envelope *envelope)
{
	span file;
	TRY(audit_field_base64(s, &envelope->record, "file", &file));
	TRY(control_register_apply(s, d->control->persons, file, audit_envelope_time(envelope)));
	judge_late(d);
	return OK;
}

static st take_executed(struct scope *s, struct keyd *d, const struct audit_envelope *envelope, const struct audit_leaf *leaf)
{
	bool is_late;
	TRY(note_executed(s, d, envelope, &is_late));
	return is_late ? keep_for_later(s, d->control, leaf) : OK;
}

/* Whoever writes this instead speaks of records that stand before it, and says that they are forged. */
static st note_told(struct scope *s, struct keyd *d, const struct audit_envelope *envelope)
{
	span instance;
	int64_t last;
	struct keyd_forged *f = &d->control->forged;
	TRY(audit_field_text(s, &envelope->record, "instance", &instance));
	TRY(audit_field_number(s, &envelope->record, "to", &last));
	if (span_is(instance, d->control->instance) && (uint64_t)last < envelope->seq && (uint64_t)last >= f->last)
		f->records = 0;
	return OK;
}

static st note_reshared(struct scope *s, struct keyd *d, const struct audit_envelope *envelope)
{
	span proposal;
	if (!is_of_zone(s, d, envelope))
		return OK;
	TRY(audit_field_hex(s, &envelope->record, "proposal", &proposal));
	return keyd_note_reshared(s, d, proposal);
}

static st note_crl(struct scope *s, struct keyd *d, const struct audit_envelope *envelope)
{
	span crl;
	TRY(audit_field_base64(s, &envelope->record, "file", &crl));
	return control_register_crl_on_record(s, d->control->persons, crl);
}

/* What does not hold changes nothing: it is passed over, as everybody else passes over it. */
static void take_leaf(struct keyd *d, const struct audit_leaf *leaf)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	struct audit_envelope envelope;
	st status = audit_envelope_read(&aside, leaf->bytes, &envelope);
	if (status.code == E_OK && envelope.record.row == audit_row(AUDIT_REGISTER_CHANGED))
		status = apply_entry(&aside, d, &envelope);
	else if (status.code == E_OK && envelope.record.row == audit_row(AUDIT_OPERATION_EXECUTED))
		status = take_executed(&aside, d, &envelope, leaf);
	else if (status.code == E_OK && envelope.record.row == audit_row(AUDIT_OPERATION_FORGED))
		status = note_told(&aside, d, &envelope);
	else if (status.code == E_OK && envelope.record.row == audit_row(AUDIT_GROUP_RESHARED))
		status = note_reshared(&aside, d, &envelope);
	else if (status.code == E_OK && envelope.record.row == audit_row(AUDIT_CRL_RECORDED))
		status = note_crl(&aside, d, &envelope);
	if (status.code != E_OK && status.code != E_CONFLICT) /* known already, from a file */
		log_put(LOG_LEVEL_WARNING, "record %llu of the log is passed over: %s", (unsigned long long)leaf->index,
			aside.message);
}

static st read_on(struct scope *s, struct keyd *d)
{
	for (;;) {
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		struct audit_leaf *leaf;
		size_t count;
		uint64_t total;
		st status = audit_control_read(&aside, d->audit, d->control->read, READ_AT_ONCE, &leaf, &count, &total);
		if (status.code != E_OK)
			return fail(s, status.code, "%s", aside.message);
		if (total < d->control->read)
			return fail(s, E_STATE,
				    "the log has fewer records of operations than this keyd has read: it was put back from a "
				    "copy; restart keyd");
		for (size_t i = 0; i < count; i++)
			take_leaf(d, &leaf[i]);
		d->control->read += count;
		if (count == 0 || d->control->read >= total)
			return OK;
	}
}

/* Said with the next reading when it cannot be said now; what a restart forgets it finds again. */
static void tell_forged(struct scope *s, struct keyd *d)
{
	struct keyd_forged *f = &d->control->forged;
	if (f->records == 0 || d->recorder == NULL)
		return;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_OPERATION_FORGED);
	audit_str(&e, "instance", d->control->instance);
	audit_number(&e, "records", (int64_t)f->records);
	audit_number(&e, "from", (int64_t)f->first);
	audit_number(&e, "to", (int64_t)f->last);
	audit_text(&e, "reason", span_str(f->why));
	if (audit_finish(s, &e).code != E_OK)
		log_failure(s, "recording that somebody writes operations in the name of this keyd");
	else
		keyd_recorder_put(d->recorder, &e);
	f->records = 0;
}

/* ---- what was kept, and the log ---- */

//= control#state a log that does not continue the one that was seen ends all operations
static st check_log(struct scope *s, struct keyd *d, const struct keyd_control_state *state)
{
	uint64_t size;
	uint8_t root[CONTROL_HASH_LEN];
	if (state->log_size == 0 || d->conf->audit_socket == NULL)
		return OK;
	st status = audit_consistent(s, d->audit, state->log_size, state->log_root, &size, root);
	if (status.code != E_CRYPTO)
		return status;
	scope_clear_error(s);
	return fail(
		s, E_STATE,
		"the log does not continue the one of %llu records that this keyd has seen: it was cut, forked or put back from a "
		"copy. Nothing is carried out until that is understood",
		(unsigned long long)state->log_size);
}

//= control#state a state that is behind the log was put back from a copy
static st check_sequence(struct scope *s, struct keyd *d, struct keyd_control_state *state, bool found)
{
	if (!found && keyd_control_rebuilding(s, d)) {
		state->sequence = state->recorded = d->control->seen;
		log_put(LOG_LEVEL_WARNING, "operations go on after number %llu, taken from the log",
			(unsigned long long)state->sequence);
		return OK;
	}
	if (d->control->seen < state->recorded)
		return fail(
			s, E_STATE,
			"operation %llu of this keyd was on record, the log ends with its operation %llu: a journal of off-line work is not in it yet "
			"(`chancery audit import`), or the log was put back from a copy. Nothing is carried out until that is understood",
			(unsigned long long)state->recorded, (unsigned long long)d->control->seen);
	if (state->sequence >= d->control->seen)
		return OK;
	return fail(
		s, E_STATE,
		"what this keyd kept ends with operation %llu, the log has its operation %llu: the file was put back from a copy. "
		"Nothing is carried out; when that is understood, `chancery-keyd --config FILE rebuild-control` takes it from the log",
		(unsigned long long)state->sequence, (unsigned long long)d->control->seen);
}

static st compare(struct scope *s, struct keyd *d)
{
	struct keyd_control_state state;
	bool found;
	TRY(keyd_control_load(s, d, &state, &found));
	TRY(check_log(s, d, &state));
	TRY(check_sequence(s, d, &state, found));
	d->control->state = state;
	d->control->sound = true;
	return OK;
}

st keyd_control_follow(struct scope *s, struct keyd *d)
{
	TRY(read_on(s, d));
	tell_forged(s, d);
	if (!d->control->sound)
		TRY(compare(s, d));
	keyd_look_at_custodians(d);
	return OK;
}

/* What fails here is said by the next operation. */
void keyd_control_watch(struct keyd *d)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct keyd_control *c = d->control;
	int64_t now = moment_monotonic();
	if (c == NULL || (c->looked != 0 && now < c->looked + LOOK_PERIOD) || pthread_mutex_trylock(&c->lock) != 0)
		return;
	c->looked = now;
	(void)keyd_control_follow(&s, d).code;
	(void)pthread_mutex_unlock(&c->lock);
}

void keyd_control_look(struct keyd *d)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (d->control == NULL)
		return;
	(void)pthread_mutex_lock(&d->control->lock);
	st status = keyd_control_follow(&s, d);
	(void)pthread_mutex_unlock(&d->control->lock);
	if (status.code == E_OK)
		return;
	log_put(status.code == E_STATE ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "no operation is carried out: %s", s.message);
	if (status.code == E_STATE)
		keyd_explain_locked(d, s.message);
}
