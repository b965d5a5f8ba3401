/*
 * keyd_reshare.c - the custodians of an active key group are exchanged, and with them the PIN of its token.
 *
 * The new shares come out of both PINs and are in the place of the old ones before the token has the new PIN: wherever the end comes, the shares
 * that are there open the token as it is, and the activation that finds the PIN of before sets the new one. Which exchanges were done is in the
 * log, so that another keyd of the group knows that its files are of before.
 */
#include "audit_record.h"
#include "digest.h"
#include "failpoint.h"
#include "keyd_group.h"
#include "log.h"
#include "text.h"

/* ---- what the log says ---- */

st keyd_note_reshare(struct scope *s, struct keyd *d, const struct control_proposal *p, bool here)
{
	struct keyd_control *c = d->control;
	const char *group = scope_cstr(s, control_parameter(p, "group", 0));
	TRY(key_label_check(s, group));
	for (size_t i = 0; i < c->reshares; i++)
		if (memcmp(c->reshare[i].proposal, p->hash, sizeof p->hash) == 0)
			return OK; /* carried out in this run */
	c->reshare = heap_grow(c->reshare, (c->reshares + 1) * sizeof *c->reshare);
	struct keyd_reshare *r = &c->reshare[c->reshares++];
	*r = (struct keyd_reshare){ .here = here };
	memcpy(r->group, group, strlen(group) + 1);
	memcpy(r->instance, p->instance.data, p->instance.len);
	memcpy(r->proposal, p->hash, sizeof r->proposal);
	return OK;
}

st keyd_note_reshared(struct scope *s, struct keyd *d, span proposal)
{
	for (size_t i = d->control->reshares; i > 0; i--) {
		struct keyd_reshare *r = &d->control->reshare[i - 1];
		if (span_equal(proposal, SPAN_ARRAY(r->proposal))) {
			r->done = true;
			return OK;
		}
	}
	return fail(s, E_DENIED, "no operation that was approved exchanges these custodians");
}

/* The last one of this group that was done, or may have been done here. */
static struct keyd_reshare *last_reshare(const struct keyd_control *c, const char *group)
{
	for (size_t i = c->reshares; i > 0; i--) {
		struct keyd_reshare *r = &c->reshare[i - 1];
		if ((r->done || r->here) && strcmp(r->group, group) == 0)
			return r;
	}
	return NULL;
}

/* ---- the shares that are here ---- */

struct shares {
	struct control_sealed_share h[KEY_SHARES_MAX];
	size_t count;
};

static st read_shares(struct scope *s, struct keyd *d, const char *group, struct shares *out)
{
	span file[KEY_SHARES_MAX];
	TRY(keyd_group_shares(s, d, group, file, &out->count));
	for (size_t i = 0; i < out->count; i++)
		TRY(fail_context(s, control_sealed_share_read(s, file[i], &out->h[i]), "the shares of the key group \"%s\"",
				 group));
	return OK;
}

static bool made_by(const struct shares *shares, const struct keyd_reshare *r)
{
	for (size_t i = 0; i < shares->count; i++)
		if (!shares->h[i].bound || memcmp(shares->h[i].proposal, r->proposal, sizeof r->proposal) != 0)
			return false;
	return true;
}

//= control#reshare shares of before an exchange are asked of nobody
st keyd_require_current_shares(struct scope *s, struct keyd *d, const char *group)
{
	const struct keyd_reshare *r = last_reshare(d->control, group);
	struct shares *shares = scope_new(s, struct shares);
	if (r == NULL || r->here)
		return OK;
	TRY(read_shares(s, d, group, shares));
	if (made_by(shares, r))
		return OK;
	return fail(
		s, E_STATE,
		"the custodians of the key group \"%s\" were exchanged by %s, and the shares here are those of before: copy "
		"groups/%s from its state directory to this one's (nothing in it is secret)",
		group, r->instance, group);
}

/* ---- who can still give a share ---- */

static bool is_able(const struct keyd *d, const struct control_sealed_share *h, int64_t at)
{
	uint8_t room[DIGEST_MAX];
	const struct control_person *p = control_person_named(d->control->persons, h->person);
	return p != NULL && (control_roles_held(p, at) & CONTROL_IS(KEY_CUSTODIAN)) != 0 &&
	       (!h->bound || span_equal(digest_of(DIGEST_SHA256, p->share_spki, room), SPAN_ARRAY(h->key)));
}

static const char *custodians_text(struct scope *s, const struct keyd *d, const struct shares *shares)
{
	size_t able = 0;
	unsigned threshold = shares->count > 0 ? shares->h[0].threshold : 0;
	const char *lost = "";
	for (size_t i = 0; i < shares->count; i++)
		if (is_able(d, &shares->h[i], scope_now(s)))
			able++;
		else
			lost = scope_printf(s, "%s%s%.*s", lost, lost[0] == 0 ? "" : ", ", (int)shares->h[i].person.len,
					    (const char *)shares->h[i].person.data);
	if (able == shares->count || able > threshold)
		return "";
	return scope_printf(
		s,
		"of its %zu custodians %zu can still give a share and %u are needed: exchange them while it is active "
		"(chancery op propose group.reshare), %s. No longer custodian, or with another token than then: %s",
		shares->count, able, threshold,
		able < threshold ? "for once it is locked its keys are lost" : "for with one less its keys are lost", lost);
}

static void look_at(struct scope *s, struct keyd *d, const char *group)
{
	struct shares *shares = scope_new(s, struct shares);
	st status = keyd_require_current_shares(s, d, group);
	if (status.code == E_OK)
		status = read_shares(s, d, group, shares);
	keyd_explain_custodians(d, group, status.code == E_OK ? custodians_text(s, d, shares) : s->message);
}

void keyd_look_at_custodians(struct keyd *d)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	(void)pthread_rwlock_rdlock(&d->registry);
	const struct keyd_token *first = d->tokens; /* tokens stay until the end */
	(void)pthread_rwlock_unlock(&d->registry);
	for (const struct keyd_token *t = first; t != NULL; t = t->next) {
		if (t->group)
			look_at(&s, d, t->label);
		scope_reset(&s);
	}
}

/* ---- exchanging ---- */

st keyd_prepare_reshare(struct scope *s, struct keyd_work *w)
{
	struct keyd_plan plan;
	TRY(keyd_require_decision(s, w));
	TRY(keyd_plan_group(s, w, &plan));
	TRY(keyd_require_active(s, w->d, plan.group));
	return keyd_require_current_shares(s, w->d, plan.group);
}

/* Whom the shares are for that are here. */
static st record_reshared(struct scope *s, struct keyd *d, const struct keyd_reshare *r, const struct shares *shares)
{
	AUTO_EVENT e;
	uint64_t index;
	const char *custodians = "";
	for (size_t i = 0; i < shares->count; i++)
		custodians = scope_printf(s, "%s%s%.*s", custodians, i == 0 ? "" : " ", (int)shares->h[i].person.len,
					  (const char *)shares->h[i].person.data);
	audit_begin(&e, s, AUDIT_GROUP_RESHARED);
	audit_str(&e, "instance", d->control->instance);
	audit_str(&e, "group", r->group);
	audit_hex(&e, "proposal", SPAN_ARRAY(r->proposal));
	audit_number(&e, "threshold", shares->h[0].threshold);
	audit_str(&e, "custodians", custodians);
	TRY(audit_finish(s, &e));
	return audit_commit(s, d->audit, &e, &index);
}

/* The token has the new PIN: on record, once. */
static st settle(struct scope *s, struct keyd *d, const char *group)
{
	struct keyd_reshare *r = last_reshare(d->control, group);
	struct shares *shares = scope_new(s, struct shares);
	if (r == NULL || !r->here || r->done)
		return OK;
	TRY(read_shares(s, d, group, shares));
	if (!made_by(shares, r))
		return OK;
	TRY(record_reshared(s, d, r, shares));
	r->done = true;
	log_put(LOG_LEVEL_NOTICE, "key group \"%s\" has other custodians and another PIN", group);
	return OK;
}

st keyd_carry_out_reshare(struct scope *s, struct keyd_work *w)
{
	struct keyd_plan plan;
	struct keyd *d = w->d;
	TRY(keyd_plan_group(s, w, &plan));
	TRY(keyd_note_reshare(s, d, &w->operation->proposal, true));
	TRY(keyd_group_pin(s, d, plan.group, &w->secret));
	if (w->secret.len != KEYD_PIN_LEN)
		return fail(s, E_STATE, "the PIN of the key group \"%s\" was not made by this program", plan.group);
	keyd_random_pin(s, (char *)w->secret.data + KEYD_PIN_LEN);
	span both = span_of(w->secret.data, 2 * KEYD_PIN_LEN);
	TRY(fail_context(s, keyd_exchange_shares(s, d, &plan, both), "the custodians and the PIN are those of before"));
	FAILPOINT("keyd.reshare.exchanged");
	TRY(fail_context(s, keyd_set_group_pin(s, d, plan.group, span_from(both, KEYD_PIN_LEN)),
			 "the new custodians can activate the group, but what was given out before may still open it: propose "
			 "group.reshare once more"));
	FAILPOINT("keyd.reshare.set");
	st settled = settle(s, d, plan.group);
	keyd_look_at_custodians(d);
	return settled;
}

/* ---- activating, whatever became of an exchange ---- */

static st unlock(struct scope *s, struct keyd *d, const char *group, span pin)
{
	st status = keyd_unlock_group(s, d, group, pin);
	return status.code != E_DENIED
		       ? status
		       : fail_context(
				 s, status,
				 "the token has another PIN than the one that came out: these shares are of before an exchange of "
				 "custodians, bring back those that it made (groups/%s of the keyd that carried it out)",
				 group);
}

static st finish_reshare(struct scope *s, struct keyd *d, const char *group, span before, span now)
{
	TRY(unlock(s, d, group, before));
	log_put(LOG_LEVEL_WARNING, "key group \"%s\" had the PIN of before its custodians were exchanged; it gets the new one",
		group);
	st set = keyd_set_group_pin(s, d, group, now);
	if (set.code != E_OK) {
		log_failure(s, "what was given out to the custodians of before may still open the group");
		scope_clear_error(s);
		return OK;
	}
	return settle(s, d, group);
}

st keyd_open_group(struct scope *s, struct keyd *d, const char *group, span secret)
{
	if (secret.len != 2 * KEYD_PIN_LEN)
		return unlock(s, d, group, secret);
	span now = span_from(secret, KEYD_PIN_LEN);
	st status = keyd_unlock_group(s, d, group, now);
	if (status.code == E_OK)
		return settle(s, d, group);
	if (status.code != E_DENIED)
		return status;
	scope_clear_error(s);
	return finish_reshare(s, d, group, span_first(secret, KEYD_PIN_LEN), now);
}
