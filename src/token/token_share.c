/*
 * token_share.c - a key custodian's part of an activation: verify for whom the share is, show it, open it on the token, seal it to that
 * key alone, approve.
 */
#include "control_activation.h"
#include "control_entries.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "text.h"
#include "token.h"
#include <sys/mman.h>

struct activation {
	span founding, person;
	struct control_register *r;
	struct control_signed *o;
	struct control_statement m;
	struct control_sealed_share h;
	int64_t now;
};

/* ---- reading ---- */

static st read_register(struct scope *s, const struct token *t, struct activation *a)
{
	span entries;
	TRY(token_read(s, t, "founding", CONTROL_TEXT_MAX, &a->founding));
	TRY(fail_context(s, control_register_new(s, a->founding, &a->r), "%s", token_get(t, "founding")));
	if (token_get(t, "register") == NULL)
		return OK;
	TRY(token_read(s, t, "register", CONTROL_ENTRIES_MAX, &entries));
	return fail_context(s, control_entries_apply(s, a->r, entries), "%s", token_get(t, "register"));
}

static st read_files(struct scope *s, const struct token *t, struct activation *a)
{
	span file;
	TRY(token_read(s, t, "operation", CONTROL_SIGNED_MAX, &file));
	TRY(fail_context(s, control_signed_read(s, file, a->o), "%s", token_get(t, "operation")));
	TRY(token_read(s, t, "statement", CONTROL_STATEMENT_MAX, &file));
	TRY(fail_context(s, control_statement_read(s, file, &a->m), "%s", token_get(t, "statement")));
	TRY(token_read(s, t, "share", CONTROL_SHARE_FILE_MAX, &file));
	return fail_context(s, control_sealed_share_read(s, file, &a->h), "%s", token_get(t, "share"));
}

/* ---- judging ---- */

/* The history that the proposer saw must be the one that this machine has verified by itself. */
static st check_head(struct scope *s, const struct activation *a)
{
	const struct control_proposal *p = &a->o->proposal;
	unsigned long long have = control_register_head(a->r).entries;
	if (control_register_was(a->r, p->entries, p->head))
		return OK;
	if (p->entries > have)
		return fail(
			s, E_STATE,
			"the proposal names entry %llu of the register, and what was given ends at %llu: have the register written to "
			"a file and name that with --register FILE",
			(unsigned long long)p->entries, have);
	return fail(
		s, E_DENIED,
		"the proposal was made upon another register than the founding document and entries given lead to: give no share, and "
		"tell the security manager");
}

static st check_share(struct scope *s, const struct activation *a)
{
	const struct control_sealed_share *h = &a->h;
	if (!span_equal(h->person, a->person))
		return fail(s, E_DENIED, "the share is %.*s's, and you are %.*s: each custodian opens their own",
			    (int)h->person.len, (const char *)h->person.data, (int)a->person.len, (const char *)a->person.data);
	if (!span_equal(h->group, a->m.group))
		return fail(s, E_DENIED, "the share is of the key group %.*s, the activation of %.*s", (int)h->group.len,
			    (const char *)h->group.data, (int)a->m.group.len, (const char *)a->m.group.data);
	return OK;
}

static st check_custodian(struct scope *s, const struct activation *a, const struct control_person **out)
{
	const struct control_person *me = control_person_named(a->r, a->person);
	if (me == NULL)
		return fail(s, E_DENIED, "the register knows nobody called %.*s", (int)a->person.len,
			    (const char *)a->person.data);
	if ((control_roles_held(me, a->now) & CONTROL_IS(KEY_CUSTODIAN)) == 0)
		return fail(s, E_DENIED, "%s is no key-custodian at this time: not granted, or lapsed since the last training",
			    me->id);
	*out = me;
	return OK;
}

static st check_token(struct scope *s, const struct token *t, const struct control_person *me)
{
	if (!span_equal(me->spki, hsm_key_spki(t->sign)) || !span_equal(me->share_spki, hsm_key_spki(t->share)))
		return fail(s, E_DENIED, "the register has other keys of %s than those of this token: is it yours?", me->id);
	return OK;
}

static void show(struct scope *s, const struct activation *a)
{
	uint8_t room[DIGEST_MAX];
	char until[MOMENT_TEXT_MAX];
	token_show(
		"\nThe activation statement is signed by %.*s, as the register of %s has its key. Your share %u of %u needed goes to the "
		"key that it made for this, until %s.\nSHA-256 of the founding document: %s\n",
		(int)a->m.instance.len, (const char *)a->m.instance.data, control_register_provider(a->r), a->h.index,
		a->h.threshold, moment_text(a->m.expires, until), hex_text(s, digest_of(DIGEST_SHA256, a->founding, room)));
}

/* ---- opening and sealing ---- */

static st derive(struct scope *s, void *key, span point, uint8_t out[32])
{
	return hsm_derive(s, key, point, out);
}

/* Is what came out the share that was made with the group? */
static st check_opened(struct scope *s, const struct activation *a, span context, span opened)
{
	struct control_share share;
	uint8_t commitment[CONTROL_COMMITMENT];
	TRY(control_share_read(s, opened, &share));
	bool fits = share.index == a->h.index && share.threshold == a->h.threshold;
	st made = control_share_commitment(s, &share, context, commitment);
	wipe(&share, sizeof share);
	TRY(made);
	if (!fits || memcmp(commitment, a->h.commitment, sizeof commitment) != 0)
		return fail(s, E_CRYPTO, "what the share's file holds is not the share that it names: have it brought anew");
	return OK;
}

/* Into memory that is never swapped; it is wiped with the buf. */
static st open_share(struct scope *s, struct token *t, const struct activation *a, struct buf *out)
{
	const struct control_opener opener = { .spki = hsm_key_spki(t->share), .derive = derive, .state = t->share };
	AUTO_BUF context;
	buf_init(&context, 0);
	TRY(control_share_context(s, &a->h, &context));
	if (!buf_reserve(out, CONTROL_SEALED_MAX) || mlock(out->data, out->room) != 0)
		return fail_errno(s, E_IO, "locking the memory for a share; raise the limit of locked memory (ulimit -l)");
	TRY(fail_context(s, control_unseal(s, &opener, buf_span(&context), a->h.sealed, out), "%s", token_get(t, "share")));
	return check_opened(s, a, buf_span(&context), buf_span(out));
}

static st reseal(struct scope *s, const struct activation *a, span opened, struct control_opened_share *out)
{
	AUTO_BUF context, sealed;
	buf_init(&context, 0);
	buf_init(&sealed, 0);
	*out = (struct control_opened_share){
		.instance = a->m.instance, .group = a->h.group, .person = a->h.person, .index = a->h.index
	};
	memcpy(out->proposal, a->m.proposal, sizeof out->proposal);
	TRY(control_opened_share_context(s, out, &context));
	TRY(control_seal(s, a->m.key, buf_span(&context), opened, &sealed));
	out->sealed = scope_copy(s, buf_span(&sealed));
	return OK;
}

static st move_share(struct scope *s, struct token *t, const struct activation *a, struct control_opened_share *out)
{
	AUTO_BUF opened;
	buf_init(&opened, 0);
	TRY(open_share(s, t, a, &opened));
	return reseal(s, a, buf_span(&opened), out);
}

/* ---- the command ---- */

static st hand_in(struct scope *s, const struct token *t, const struct control_opened_share *h,
		  const struct control_approval *ap)
{
	const char *path = token_get(t, "out");
	AUTO_BUF file;
	buf_init(&file, 0);
	TRY(control_custodian_file_write(s, h, ap, &file));
	TRY(fail_context(s, file_replace(s, path, buf_span(&file), 0644), "writing %s", path));
	const struct token_member members[] = {
		{ "out", path },
		{ "group", scope_cstr(s, h->group) },
		{ "person", scope_cstr(s, h->person) },
		{ "instance", scope_cstr(s, h->instance) },
	};
	TRY(token_print(s, t, members, sizeof members / sizeof members[0]));
	token_show(
		"Give %s to who carries the operation out (chancery op execute): only %.*s can open it, and only for this proposal.\n",
		path, (int)h->instance.len, (const char *)h->instance.data);
	return OK;
}

static st give_share(struct scope *s, struct token *t, struct activation *a)
{
	const struct control_person *me = NULL;
	struct control_opened_share h;
	struct control_approval approval = { .person = a->person, .role = CONTROL_KEY_CUSTODIAN, .approved = a->now };
	TRY(read_files(s, t, a));
	TRY(read_register(s, t, a));
	TRY(token_check_time(s, &a->o->proposal, a->now));
	TRY(token_check_seat(s, a->o, &approval));
	TRY(check_head(s, a));
	TRY(fail_context(s, control_statement_verify(s, a->r, &a->m, &a->o->proposal, a->now), "%s",
			 token_get(t, "statement")));
	TRY(check_share(s, a));
	TRY(check_custodian(s, a, &me));
	show(s, a);
	TRY(token_show_approval(s, &a->o->proposal, &approval));
	TRY(token_open(s, t, "to approve this and give your share"));
	TRY(check_token(s, t, me));
	TRY(move_share(s, t, a, &h));
	TRY(token_approve(s, t, &a->o->proposal, &approval));
	return hand_in(s, t, &h, &approval);
}

st token_run_share(struct scope *s, struct token *t)
{
	struct activation a = { .o = scope_new(s, struct control_signed), .now = scope_now(s) };
	TRY(token_person(s, t, &a.person));
	st status = give_share(s, t, &a);
	control_register_free(a.r);
	return status;
}
