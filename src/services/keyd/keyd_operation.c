/*
 * keyd_operation.c - one operation after the other: its nonce is ours, its approvals hold, what it asks for can be done; then it is on
 * record, and then it is done.
 */
#include "keyd_control.h"
#include "control_execution.h"
#include "key_protocol.h"
#include "log.h"
#include "text.h"

#define STATEMENT_LIFE (30 * MOMENT_MINUTE)

static st require_control(struct scope *s, const struct keyd *d)
{
	if (d->control != NULL)
		return OK;
	return fail(s, E_STATE, "this keyd carries out no operations: its configuration names no founding document");
}

/* ---- nonces ---- */

static struct keyd_nonce *find_nonce(struct keyd_control *c, const uint8_t nonce[CONTROL_NONCE_LEN], int64_t now)
{
	for (size_t i = 0; i < KEYD_NONCES_MAX; i++)
		if (c->nonce[i].expires > now && memcmp(c->nonce[i].octets, nonce, CONTROL_NONCE_LEN) == 0)
			return &c->nonce[i];
	return NULL;
}

/* A free place, or the one that expires first. */
static struct keyd_nonce *place_for_nonce(struct keyd_control *c)
{
	struct keyd_nonce *oldest = &c->nonce[0];
	for (size_t i = 1; i < KEYD_NONCES_MAX; i++)
		if (c->nonce[i].expires < oldest->expires)
			oldest = &c->nonce[i];
	return oldest;
}

static st challenge(struct scope *s, struct keyd *d, struct key_challenge *out)
{
	TRY(keyd_control_follow(s, d));
	struct keyd_control *c = d->control;
	struct control_head head = control_register_head(c->persons);
	struct keyd_nonce *n = place_for_nonce(c);
	scope_random(s, n->octets, sizeof n->octets);
	n->expires = scope_now(s) + KEYD_NONCE_LIFE;
	*out = (struct key_challenge){ .instance = c->instance,
				       .entries = head.entries,
				       .crl_number = control_crl_lowest(c->persons, &c->state.seen) };
	memcpy(out->nonce, n->octets, sizeof out->nonce);
	memcpy(out->head, head.hash, sizeof out->head);
	return OK;
}

st keyd_challenge(struct scope *s, struct keyd *d, struct key_challenge *out)
{
	TRY(require_control(s, d));
	(void)pthread_mutex_lock(&d->control->lock);
	st status = challenge(s, d, out);
	(void)pthread_mutex_unlock(&d->control->lock);
	return status;
}

/* ---- records ---- */

static void put_operation(struct scope *s, struct audit_event *e, const struct keyd *d, const struct control_signed *o)
{
	audit_str(e, "instance", d->control->instance);
	audit_str(e, "operation", o->proposal.operation->name);
	audit_hex(e, "proposal", SPAN_ARRAY(o->proposal.hash));
	audit_text(e, "words", span_str(control_proposal_words(s, &o->proposal)));
}

static st commit(struct scope *s, struct keyd *d, struct audit_event *e)
{
	uint64_t index;
	TRY(audit_finish(s, e));
	return audit_commit(s, d->audit, e, &index);
}

/* Whoever may write records can write that number; the identity key says that it is ours. */
static st sign_execution(struct scope *s, struct keyd *d, const struct control_signed *o, span *out_signature)
{
	struct control_execution execution = { .instance = span_str(d->control->instance),
					       .sequence = d->control->state.sequence };
	AUTO_BUF text;
	buf_init(&text, 0);
	memcpy(execution.proposal, o->proposal.hash, sizeof execution.proposal);
	TRY(control_execution_text(s, &execution, &text));
	return keyd_identity_sign(s, d, buf_span(&text), out_signature);
}

static st record_executed(struct scope *s, struct keyd *d, const struct control_signed *o, span file)
{
	span signature;
	TRY(sign_execution(s, d, o, &signature));
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_OPERATION_EXECUTED);
	put_operation(s, &e, d, o);
	audit_number(&e, "sequence", (int64_t)d->control->state.sequence);
	audit_number(&e, "signatures", (int64_t)d->control->state.signatures);
	audit_base64(&e, "signature", signature);
	audit_base64(&e, "file", file);
	return commit(s, d, &e);
}

static st record_opened(struct scope *s, struct keyd *d, const struct control_signed *o, span file)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_OPERATION_OPENED);
	put_operation(s, &e, d, o);
	audit_time(&e, "expires", d->control->opened.expires);
	audit_number(&e, "signatures", (int64_t)d->control->state.signatures);
	audit_base64(&e, "file", file);
	return commit(s, d, &e);
}

/* A refusal is evidence as well; when it cannot be put on record the refusal stands all the same. */
static void record_refused(struct scope *s, struct keyd *d, const struct control_signed *o, bool read)
{
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	AUTO_EVENT e;
	audit_begin(&e, &aside, AUDIT_OPERATION_REFUSED);
	audit_str(&e, "instance", d->control->instance);
	if (read) {
		audit_str(&e, "operation", o->proposal.operation->name);
		audit_hex(&e, "proposal", SPAN_ARRAY(o->proposal.hash));
	}
	audit_text(&e, "reason", span_str(s->message));
	if (commit(&aside, d, &e).code != E_OK)
		log_failure(&aside, "recording that an operation was refused");
}

/* ---- checks that only this instance can make ---- */

static const struct keyd_effect *effect_of(const struct control_proposal *p)
{
	for (size_t i = 0; i < keyd_effect_count; i++)
		if (strcmp(keyd_effects[i].operation, p->operation->name) == 0)
			return &keyd_effects[i];
	return NULL;
}

static st check_here(struct scope *s, struct keyd *d, const struct control_proposal *p, int64_t now)
{
	if (effect_of(p) == NULL)
		return fail(s, E_DENIED, "%s is not carried out by keyd", p->operation->name);
	if (find_nonce(d->control, p->nonce, now) == NULL)
		return fail(s, E_STATE,
			    "the nonce of the proposal is none that this keyd gave out since it was started, or it was used, "
			    "or it is a day old: propose anew");
	return control_seen_check(s, d->control->persons, p, &d->control->state.seen);
}

/* ---- opening: a key that shares are sealed to ---- */

void keyd_forget_opened(struct keyd_opened *opened)
{
	keyd_secret_wipe(&opened->scalar);
	buf_free(&opened->spki);
	*opened = (struct keyd_opened){ .open = false };
}

static st new_key(struct scope *s, struct keyd_opened *opened)
{
	span spki;
	TRY(keyd_secret_room(s, &opened->scalar));
	TRY(control_pair_new(s, opened->scalar.data, &spki));
	return buf_append(&opened->spki, spki) ? OK : fail(s, E_BUG, "a key of P-256 does not fit its buffer");
}

static st sign_statement(struct scope *s, struct keyd *d, const struct control_proposal *p, struct buf *out)
{
	struct control_statement m = { .instance = span_str(d->control->instance),
				       .group = control_parameter(p, "group", 0),
				       .key = buf_span(&d->control->opened.spki),
				       .expires = d->control->opened.expires };
	AUTO_BUF text;
	buf_init(&text, 0);
	memcpy(m.nonce, p->nonce, sizeof m.nonce);
	memcpy(m.proposal, p->hash, sizeof m.proposal);
	TRY(control_statement_text(s, &m, &text));
	TRY(keyd_identity_sign(s, d, buf_span(&text), &m.signature));
	return control_statement_write(s, &m, out);
}

static st make_opened(struct scope *s, struct keyd *d, const struct control_proposal *p, int64_t now, struct buf *out_statement)
{
	struct keyd_opened *opened = &d->control->opened;
	keyd_forget_opened(opened); /* the one before, if there was one: its shares are worth nothing any more */
	TRY(new_key(s, opened));
	opened->expires = p->expires < now + STATEMENT_LIFE ? p->expires : now + STATEMENT_LIFE;
	memcpy(opened->proposal, p->hash, sizeof opened->proposal);
	TRY(sign_statement(s, d, p, out_statement));
	opened->open = true;
	return OK;
}

static st open_operation(struct scope *s, struct keyd *d, span file, struct control_signed *o, bool *out_read,
			 struct key_opening *out)
{
	int64_t now = scope_now(s);
	AUTO_BUF statement;
	buf_init(&statement, 0);
	TRY(keyd_control_follow(s, d));
	TRY(control_signed_read(s, file, o));
	*out_read = true;
	TRY(check_here(s, d, &o->proposal, now));
	TRY(control_check_opening(s, d->control->persons, o, d->control->instance, now));
	if (strcmp(o->proposal.operation->name, "group.activate") != 0)
		return fail(s, E_DENIED, "%s is carried out at once: only an activation is opened first",
			    o->proposal.operation->name);
	const char *group = scope_cstr(s, control_parameter(&o->proposal, "group", 0));
	TRY(keyd_check_old_crl(s, d, &o->proposal));
	TRY(keyd_require_current_shares(s, d, group));
	TRY(keyd_group_shares(s, d, group, out->share, &out->count));
	TRY(make_opened(s, d, &o->proposal, now, &statement));
	TRY(record_opened(s, d, o, file));
	out->statement = scope_copy(s, buf_span(&statement));
	return OK;
}

st keyd_open_operation(struct scope *s, struct keyd *d, span file, struct key_opening *out)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	bool read = false;
	TRY(require_control(s, d));
	(void)pthread_mutex_lock(&d->control->lock);
	st status = open_operation(s, d, file, o, &read, out);
	if (status.code != E_OK) {
		keyd_forget_opened(&d->control->opened);
		record_refused(s, d, o, read);
	}
	(void)pthread_mutex_unlock(&d->control->lock);
	return status;
}

/* ---- carrying out ---- */

/* The log as it is now goes into what is kept, so that the next start can tell whether it is still the same. */
static st note_log(struct scope *s, struct keyd *d, struct keyd_control_state *state)
{
	uint64_t size;
	uint8_t root[CONTROL_HASH_LEN];
	if (d->conf->audit_socket == NULL)
		return OK;
	TRY(audit_consistent(s, d->audit, state->log_size, state->log_root, &size, root));
	state->log_size = size;
	memcpy(state->log_root, root, sizeof root);
	return OK;
}

/* From here on its number is used up, whatever becomes of it. */
static st take_number(struct scope *s, struct keyd *d, const struct control_proposal *p)
{
	struct keyd_control_state *state = &d->control->state;
	TRY(note_log(s, d, state));
	state->sequence++;
	control_seen_note(d->control->persons, p, &state->seen);
	st kept = keyd_control_keep(s, d, state);
	if (kept.code == E_OK && keyd_control_rebuilding(s, d))
		keyd_control_rebuilt(s, d);
	return kept;
}

/* When this cannot be kept, a log that loses this operation is found out by its checkpoint only. */
static void note_recorded(struct scope *s, struct keyd *d)
{
	struct keyd_control_state *state = &d->control->state;
	state->recorded = state->sequence;
	if (keyd_control_keep(s, d, state).code != E_OK)
		log_failure(s, "keeping that an operation is on record");
	scope_clear_error(s);
}

static st execute(struct scope *s, struct keyd_work *w, struct control_signed *o, bool *out_read)
{
	struct keyd *d = w->d;
	w->at = scope_now(s);
	TRY(keyd_control_follow(s, d));
	TRY(control_signed_read(s, w->request->operation, o));
	*out_read = true;
	TRY(check_here(s, d, &o->proposal, w->at));
	TRY(control_check(s, d->control->persons, o, d->control->instance, w->at));
	const struct keyd_effect *effect = effect_of(&o->proposal);
	TRY(effect->prepare(s, w));
	TRY(take_number(s, d, &o->proposal));
	find_nonce(d->control, o->proposal.nonce, w->at)->expires = 0;
	TRY(record_executed(s, d, o, w->request->operation));
	note_recorded(s, d);
	return fail_context(s, effect->carry_out(s, w), "it is on record, and could not be done");
}

st keyd_execute(struct scope *s, struct keyd *d, const struct key_execution *request, const char **out_words)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	struct keyd_work w = { .d = d, .operation = o, .request = request };
	bool read = false;
	TRY(require_control(s, d));
	TRY(keyd_secret_room(s, &w.secret));
	(void)pthread_mutex_lock(&d->control->lock);
	st status = execute(s, &w, o, &read);
	if (status.code != E_OK)
		record_refused(s, d, o, read);
	else if (w.opened_is_used)
		keyd_forget_opened(&d->control->opened);
	(void)pthread_mutex_unlock(&d->control->lock);
	keyd_secret_wipe(&w.secret);
	if (status.code == E_OK)
		*out_words = control_proposal_words(s, &o->proposal);
	return status;
}
