/*
 * keyd_group.c - key groups whose PIN is random and known to nobody: made here, split, each share sealed to a custodian's token, and put
 * together again here when enough custodians have opened theirs for one proposal.
 *
 * STATE/groups/GROUP/INDEX is one custodian's sealed share. The shares are durable before the token exists, so that there is never a
 * token whose PIN is lost.
 */
#include "file.h"
#include "keyd_control.h"
#include "log.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIN_OCTETS  16 /* random; twice as many characters, which every module takes */
#define PIN_LEN     (2 * PIN_OCTETS)
#define SECRET_ROOM 4096

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

/* A page for the shares and for what each of them comes out of. */
struct secrets {
	struct control_share share[CONTROL_SHARES_MAX];
	uint8_t octets[CONTROL_SHARES_MAX][CONTROL_SECRET_MAX + 8];
};
_Static_assert(sizeof(struct secrets) <= SECRET_ROOM, "secrets fit a page");

/* ---- files ---- */

static char *group_path(struct scope *s, const struct keyd *d, const char *group)
{
	return scope_printf(s, "%s/groups/%s", d->conf->state, group);
}

st keyd_group_shares(struct scope *s, struct keyd *d, const char *group, span share[KEY_SHARES_MAX], size_t *out_count)
{
	char **name;
	size_t count;
	TRY(key_label_check(s, group));
	st listed = file_list(s, group_path(s, d, group), &name, &count);
	if (listed.code == E_NOTFOUND || (listed.code == E_OK && count == 0)) {
		scope_clear_error(s);
		return fail(s, E_NOTFOUND, "zone %s has no key group \"%s\" that custodians activate", d->conf->zone, group);
	}
	TRY(listed);
	*out_count = 0;
	for (size_t i = 0; i < count && *out_count < KEY_SHARES_MAX; i++)
		if (strchr(name[i], '.') == NULL)
			TRY(file_read(s, scope_printf(s, "%s/%s", group_path(s, d, group), name[i]), CONTROL_SHARE_FILE_MAX,
				      &share[(*out_count)++]));
	return OK;
}

/* Every file of a directory in the state directory is named after a key group. */
static st each_group(struct scope *s, struct keyd *d, const char *directory,
		     st (*take)(struct scope *, struct keyd *, const char *))
{
	char **name;
	size_t count;
	const char *path = scope_printf(s, "%s/%s", d->conf->state, directory);
	TRY(file_make_directory(s, path, 0700));
	TRY(file_list(s, path, &name, &count));
	for (size_t i = 0; i < count; i++) {
		TRY(key_label_check(s, name[i]));
		TRY(take(s, d, name[i]));
	}
	return OK;
}

bool keyd_has_group(struct scope *s, const struct keyd *d, const char *group)
{
	return file_exists(group_path(s, d, group));
}

st keyd_load_groups(struct scope *s, struct keyd *d)
{
	return each_group(s, d, "groups", keyd_add_group);
}

/* ---- creating ---- */

struct plan {
	const char *group;
	unsigned threshold, count;
	const struct control_person *custodian[CONTROL_SHARES_MAX];
};

static st plan_custodian(struct scope *s, const struct keyd_work *w, span id, struct plan *plan)
{
	const struct control_person *p = control_person_named(w->d->control->persons, id);
	if (p == NULL || (control_roles_held(p, w->at) & CONTROL_IS(KEY_CUSTODIAN)) == 0)
		return fail(s, E_DENIED, "%.*s is no key custodian now", (int)id.len, (const char *)id.data);
	if (p->share_spki.len == 0)
		return fail(s, E_STATE, "%s has no share key on the register, so no share can be sealed to that token", p->id);
	for (unsigned i = 0; i < plan->count; i++)
		if (plan->custodian[i] == p)
			return fail(s, E_INPUT, "%s is named twice: each share is another custodian's", p->id);
	if (plan->count == CONTROL_SHARES_MAX)
		return fail(s, E_LIMIT, "a group has at most %d custodians", CONTROL_SHARES_MAX);
	plan->custodian[plan->count++] = p;
	return OK;
}

static st plan_group(struct scope *s, const struct keyd_work *w, struct plan *out)
{
	const struct control_proposal *p = &w->operation->proposal;
	*out = (struct plan){ .group = scope_cstr(s, control_parameter(p, "group", 0)),
			      .threshold = (unsigned)control_parameter_number(p, "threshold", 0) };
	TRY(key_label_check(s, out->group));
	if (strlen(out->group) > 32)
		return fail(s, E_INPUT, "a token's label has 1 to 32 characters (PKCS#11, CK_TOKEN_INFO)");
	span id;
	for (size_t i = 0; (id = control_parameter(p, "custodian", i)).len > 0; i++)
		TRY(plan_custodian(s, w, id, out));
	//= tsps#6.2.2 two custodians at least
	if (out->threshold < 2 || out->threshold > out->count)
		return fail(s, E_INPUT,
			    "%u of %u custodians: two at least, and no more than are named (practice statement 6.2.2)",
			    out->threshold, out->count);
	return OK;
}

st keyd_prepare_create(struct scope *s, struct keyd_work *w)
{
	struct plan plan;
	TRY(keyd_require_decision(s, w));
	TRY(plan_group(s, w, &plan));
	return keyd_require_free_token(s, w->d, plan.group);
}

static st write_share(struct scope *s, struct keyd *d, const struct plan *plan, unsigned i, const struct control_share *share)
{
	AUTO_BUF context = { 0 }, sealed = { 0 }, file = { 0 };
	struct buf plain;
	struct control_sealed_share h = { .group = span_str(plan->group),
					  .person = span_str(plan->custodian[i]->id),
					  .index = share->index,
					  .threshold = plan->threshold };
	TRY(control_share_context(s, &h, &context));
	TRY(control_share_commitment(s, share, buf_span(&context), h.commitment));
	TRY(keyd_secret_room(s, &plain));
	st status = control_share_write(s, share, &plain);
	if (status.code == E_OK)
		status = control_seal(s, plan->custodian[i]->share_spki, buf_span(&context), buf_span(&plain), &sealed);
	keyd_secret_wipe(&plain);
	TRY(status);
	h.sealed = buf_span(&sealed);
	TRY(control_sealed_share_write(s, &h, &file));
	return file_replace(s, scope_printf(s, "%s/%u", group_path(s, d, plan->group), share->index), buf_span(&file), 0600);
}

static st write_shares(struct scope *s, struct keyd *d, const struct plan *plan, span pin)
{
	struct buf room;
	TRY(keyd_secret_room(s, &room));
	struct secrets *secrets = (struct secrets *)(void *)room.data;
	st status = control_split(s, pin, plan->threshold, plan->count, secrets->share);
	for (unsigned i = 0; status.code == E_OK && i < plan->count; i++)
		status = write_share(s, d, plan, i, &secrets->share[i]);
	keyd_secret_wipe(&room);
	return status;
}

/* Hexadecimal characters: what every module takes as a PIN. */
static void random_pin(const struct scope *s, char *out)
{
	uint8_t octets[PIN_OCTETS];
	scope_random(s, octets, sizeof octets);
	(void)hex_write(SPAN_ARRAY(octets), out);
	wipe(octets, sizeof octets);
}

/* The officer's PIN could set another PIN for the user: it is random as well, and forgotten. */
st keyd_carry_out_create(struct scope *s, struct keyd_work *w)
{
	struct plan plan;
	TRY(plan_group(s, w, &plan));
	char *pin = (char *)w->secret.data, *officer = pin + PIN_LEN + 1;
	random_pin(s, pin);
	random_pin(s, officer);
	TRY(file_make_directory(s, group_path(s, w->d, plan.group), 0700));
	TRY(write_shares(s, w->d, &plan, span_of(pin, PIN_LEN)));
	TRY(keyd_initialise_token(s, w->d, plan.group, span_of(pin, PIN_LEN), span_of(officer, PIN_LEN)));
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
		     struct secrets *secrets, size_t i)
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

static st join(struct scope *s, struct keyd_work *w, struct secrets *secrets)
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
	TRY(keyd_secret_room(s, &room));
	st status = join(s, w, (struct secrets *)(void *)room.data);
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
	TRY(keyd_unlock_group(s, w->d, group, buf_span(&w->secret)));
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
	return each_group(s, d, "deactivated", keyd_hold_token);
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
