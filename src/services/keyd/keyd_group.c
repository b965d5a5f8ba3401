/*
 * keyd_group.c - key groups whose PIN is random and known to nobody: made here, split, and put together again here when enough custodians
 * have opened their shares for one proposal. The shares are durable before the token exists, so that there is never a token whose PIN is
 * lost.
 */
#include "file.h"
#include "keyd_group.h"
#include "log.h"
#include "text.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- memory for secrets ---- */

st keyd_secret_room(struct scope *s, struct buf *b)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return fail_errno(s, E_IO, "reserving a page for a secret");
	if (mlock(page, size) != 0 || madvise(page, size, MADV_DONTDUMP) != 0) {
		(void)munmap(page, size);
		return fail_errno(s, E_IO,
				  "locking a page for a secret in memory; raise the limit of locked memory (ulimit -l)");
	}
	*b = (struct buf){ .data = page, .room = size, .cap = size };
	return OK;
}

void keyd_secret_wipe(struct buf *b)
{
	if (b->data == NULL)
		return;
	wipe(b->data, b->room);
	(void)munmap(b->data, b->room);
	*b = (struct buf){ .data = NULL };
}

/* ---- creating ---- */

st keyd_prepare_create(struct scope *s, struct keyd_work *w)
{
	struct keyd_plan plan;
	TRY(keyd_require_decision(s, w));
	TRY(keyd_plan_group(s, w, &plan));
	return keyd_require_free_token(s, w->d, plan.group);
}

/* The officer's PIN could set another PIN for the user: it is random as well, and forgotten. */
st keyd_carry_out_create(struct scope *s, struct keyd_work *w)
{
	struct keyd_plan plan;
	TRY(keyd_plan_group(s, w, &plan));
	char *pin = (char *)w->secret.data, *officer = pin + KEYD_PIN_LEN + 1;
	keyd_random_pin(s, pin);
	keyd_random_pin(s, officer);
	TRY(keyd_write_shares(s, &plan, keyd_group_path(s, w->d, plan.group), span_of(pin, KEYD_PIN_LEN)));
	TRY(keyd_initialise_token(s, w->d, plan.group, span_of(pin, KEYD_PIN_LEN), span_of(officer, KEYD_PIN_LEN)));
	return keyd_add_group(s, w->d, plan.group);
}

/* ---- activating ---- */

/* The share as it was made with the group. */
static st find_made(struct scope *s, struct keyd *d, const struct control_opened_share *h, struct control_sealed_share *out)
{
	span file[KEY_SHARES_MAX];
	size_t count;
	TRY(keyd_group_shares(s, d, scope_cstr(s, h->group), file, &count));
	for (size_t i = 0; i < count; i++) {
		TRY(control_sealed_share_read(s, file[i], out));
		if (span_equal(out->person, h->person) && out->index == h->index)
			return OK;
	}
	return fail(s, E_DENIED, "%.*s has no share %u of the key group %.*s", (int)h->person.len, (const char *)h->person.data,
		    h->index, (int)h->group.len, (const char *)h->group.data);
}

static st require_for_this(struct scope *s, const struct keyd_work *w, const struct control_opened_share *h)
{
	const struct control_proposal *p = &w->operation->proposal;
	if (!span_is(h->instance, w->d->control->instance) || memcmp(h->proposal, p->hash, CONTROL_HASH_LEN) != 0 ||
	    !span_equal(h->group, control_parameter(p, "group", 0)))
		return fail(s, E_DENIED, "the share of %.*s was opened for another operation", (int)h->person.len,
			    (const char *)h->person.data);
	for (size_t i = 0; i < w->operation->count; i++)
		if (span_equal(w->operation->approval[i].person, h->person) &&
		    w->operation->approval[i].role == CONTROL_KEY_CUSTODIAN)
			return OK;
	return fail(s, E_DENIED, "%.*s brings a share and has not approved as key custodian", (int)h->person.len,
		    (const char *)h->person.data);
}

static st unseal(struct scope *s, const struct control_opener *opener, const struct control_opened_share *h, struct buf *plain,
		 struct control_share *out)
{
	AUTO_BUF context = { 0 };
	TRY(control_opened_share_context(s, h, &context));
	TRY(control_unseal(s, opener, buf_span(&context), h->sealed, plain));
	return control_share_read(s, buf_span(plain), out);
}

//= control#activation a share that is not the one that was made with the group is told from the others
static st compare_commitment(struct scope *s, const struct control_sealed_share *made, const struct control_share *share)
{
	AUTO_BUF context = { 0 };
	uint8_t commitment[CONTROL_COMMITMENT];
	TRY(control_share_context(s, made, &context));
	TRY(control_share_commitment(s, share, buf_span(&context), commitment));
	if (share->index == made->index && memcmp(commitment, made->commitment, sizeof commitment) == 0)
		return OK;
	return fail(s, E_DENIED, "the share of %.*s is not the one that was made with the key group", (int)made->person.len,
		    (const char *)made->person.data);
}

static st take_share(struct scope *s, struct keyd_work *w, const struct control_opener *opener, span text,
		     struct keyd_secrets *secrets, size_t i)
{
	struct control_opened_share h;
	struct control_sealed_share made;
	struct buf plain = { .data = secrets->octets[i], .room = sizeof secrets->octets[i], .cap = sizeof secrets->octets[i] };
	TRY(control_opened_share_read(s, text, &h));
	TRY(require_for_this(s, w, &h));
	TRY(find_made(s, w->d, &h, &made));
	TRY(fail_context(s, unseal(s, opener, &h, &plain, &secrets->share[i]), "the share of %.*s", (int)h.person.len,
			 (const char *)h.person.data));
	return compare_commitment(s, &made, &secrets->share[i]);
}

static st join(struct scope *s, struct keyd_work *w, struct keyd_secrets *secrets)
{
	struct keyd_opened *opened = &w->d->control->opened;
	const struct control_opener opener = { .spki = buf_span(&opened->spki),
					       .derive = control_pair_derive,
					       .state = opened->scalar.data };
	for (size_t i = 0; i < w->request->count; i++)
		TRY(take_share(s, w, &opener, w->request->share[i], secrets, i));
	return control_join(s, secrets->share, w->request->count, &w->secret);
}

static st require_opened(struct scope *s, const struct keyd_work *w)
{
	const struct keyd_opened *opened = &w->d->control->opened;
	if (opened->open && memcmp(opened->proposal, w->operation->proposal.hash, CONTROL_HASH_LEN) == 0 &&
	    w->at < opened->expires)
		return OK;
	return fail(s, E_STATE,
		    "this activation is not open: two open it first (`chancery op open`), and the shares come within half "
		    "an hour of that");
}

/* What the register says of it was approved by people, who may have mistyped: the key's description is here. */
//= control#late-crl the group that holds the management CA's own key
st keyd_check_old_crl(struct scope *s, struct keyd *d, const struct control_proposal *p)
{
	struct control_management m;
	if (control_proposal_old_crl(p) == 0)
		return OK;
	if (!control_register_management(d->control->persons, &m))
		return fail(s, E_BUG, "an old CRL without a management CA");
	for (struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next)
		if (span_equal(k->info.spki, m.spki) && span_is(control_parameter(p, "group", 0), k->info.token))
			return OK;
	return fail(
		s, E_DENIED,
		"the key group %.*s does not hold the management CA's key, and only that group is activated with a CRL older "
		"than 24 hours",
		(int)control_parameter(p, "group", 0).len, (const char *)control_parameter(p, "group", 0).data);
}

st keyd_prepare_activate(struct scope *s, struct keyd_work *w)
{
	struct buf room;
	const char *group = scope_cstr(s, control_parameter(&w->operation->proposal, "group", 0));
	TRY(require_opened(s, w));
	TRY(keyd_check_old_crl(s, w->d, &w->operation->proposal));
	TRY(keyd_require_locked(s, w->d, group));
	TRY(keyd_require_current_shares(s, w->d, group));
	TRY(keyd_secret_room(s, &room));
	st status = join(s, w, (struct keyd_secrets *)(void *)room.data);
	keyd_secret_wipe(&room);
	return status;
}

static st record_group(struct scope *s, const struct keyd_work *w, enum audit_code code, const char *group)
{
	AUTO_EVENT e;
	uint64_t index;
	audit_begin(&e, s, code);
	audit_str(&e, "instance", w->d->control->instance);
	audit_str(&e, "group", group);
	audit_hex(&e, "proposal", SPAN_ARRAY(w->operation->proposal.hash));
	int64_t old = control_proposal_old_crl(&w->operation->proposal);
	if (old != 0)
		audit_time(&e, "old_crl", old);
	if (code == AUDIT_GROUP_DEACTIVATED)
		audit_text(&e, "reason", control_parameter(&w->operation->proposal, "reason", 0));
	TRY(audit_finish(s, &e));
	return audit_commit(s, w->d->audit, &e, &index);
}

st keyd_carry_out_activate(struct scope *s, struct keyd_work *w)
{
	const char *group = scope_cstr(s, control_parameter(&w->operation->proposal, "group", 0));
	w->opened_is_used = true;
	TRY(keyd_open_group(s, w->d, group, buf_span(&w->secret)));
	st recorded = record_group(s, w, AUDIT_GROUP_ACTIVATED, group);
	if (recorded.code != E_OK)
		(void)keyd_lock_group(s, w->d, group).code;
	return recorded;
}

/* ---- deactivating ---- */

static const char *group_of(struct scope *s, const struct keyd_work *w)
{
	return scope_cstr(s, control_parameter(&w->operation->proposal, "group", 0));
}

static char *mark_path(struct scope *s, const struct keyd *d, const char *group)
{
	return scope_printf(s, "%s/deactivated/%s", d->conf->state, group);
}

st keyd_hold_deactivated(struct scope *s, struct keyd *d)
{
	return keyd_each_group(s, d, "deactivated", keyd_hold_token);
}

//= tsps#6.2.8 the identity by which keyd proves itself carries the operation that would bring it back
st keyd_prepare_deactivate(struct scope *s, struct keyd_work *w)
{
	if (strcmp(group_of(s, w), "identity") == 0)
		return fail(
			s, E_DENIED,
			"the group of keyd's identity key is not deactivated: without it nothing could be carried out any more");
	return keyd_require_token(s, w->d, group_of(s, w));
}

/* The mark comes first: a start in between finds it. */
static st hold(struct scope *s, struct keyd_work *w)
{
	TRY(file_replace(s, mark_path(s, w->d, group_of(s, w)), SPAN_LITERAL("chancery deactivated 1\n"), 0600));
	return keyd_hold_token(s, w->d, group_of(s, w));
}

st keyd_prepare_reactivate(struct scope *s, struct keyd_work *w)
{
	TRY(keyd_require_token(s, w->d, group_of(s, w)));
	if (keyd_is_group(w->d, group_of(s, w)))
		return fail(s, E_DENIED,
			    "the key group \"%s\" does not come up by itself: its custodians activate it (group.activate)",
			    group_of(s, w));
	return file_exists(mark_path(s, w->d, group_of(s, w)))
		       ? OK
		       : fail(s, E_STATE, "the key group \"%s\" is not deactivated", group_of(s, w));
}

st keyd_carry_out_reactivate(struct scope *s, struct keyd_work *w)
{
	const char *path = mark_path(s, w->d, group_of(s, w));
	if (unlink(path) != 0)
		return fail_errno(s, E_IO, "%s", path);
	TRY(file_sync_directory_of(s, path));
	TRY(keyd_release_token(s, w->d, group_of(s, w)));
	return record_group(s, w, AUDIT_GROUP_ACTIVATED, group_of(s, w));
}

st keyd_carry_out_deactivate(struct scope *s, struct keyd_work *w)
{
	const char *group = scope_cstr(s, control_parameter(&w->operation->proposal, "group", 0));
	TRY(keyd_is_group(w->d, group) ? keyd_lock_group(s, w->d, group) : hold(s, w));
	return record_group(s, w, AUDIT_GROUP_DEACTIVATED, group);
}
