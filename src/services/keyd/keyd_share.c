/*
 * keyd_share.c - the files of shares: for whom they are made, written as a whole, exchanged as a whole.
 */
#include "digest.h"
#include "failpoint.h"
#include "file.h"
#include "keyd_group.h"
#include "text.h"
#include <unistd.h>

#define PIN_OCTETS 16  /* random; twice as many characters, which every module takes */
#define ASIDE      "~" /* behind the name of a group, where no label has it: shares that are not, or no longer, in use */

/* ---- files ---- */

char *keyd_group_path(struct scope *s, const struct keyd *d, const char *group)
{
	return scope_printf(s, "%s/groups/%s", d->conf->state, group);
}

st keyd_group_shares(struct scope *s, struct keyd *d, const char *group, span share[KEY_SHARES_MAX], size_t *out_count)
{
	char **name;
	size_t count;
	TRY(key_label_check(s, group));
	st listed = file_list(s, keyd_group_path(s, d, group), &name, &count);
	if (listed.code == E_NOTFOUND || (listed.code == E_OK && count == 0)) {
		scope_clear_error(s);
		return fail(s, E_NOTFOUND, "zone %s has no key group \"%s\" that custodians activate", d->conf->zone, group);
	}
	TRY(listed);
	*out_count = 0;
	for (size_t i = 0; i < count && *out_count < KEY_SHARES_MAX; i++)
		if (strchr(name[i], '.') == NULL)
			TRY(file_read(s, scope_printf(s, "%s/%s", keyd_group_path(s, d, group), name[i]),
				      CONTROL_SHARE_FILE_MAX, &share[(*out_count)++]));
	return OK;
}

/* The shares that were exchanged, or were about to be when keyd was killed. */
static st forget_shares(struct scope *s, const char *directory)
{
	char **name;
	size_t count;
	st listed = file_list(s, directory, &name, &count);
	if (listed.code == E_NOTFOUND) {
		scope_clear_error(s);
		return OK;
	}
	TRY(listed);
	for (size_t i = 0; i < count; i++)
		if (unlink(scope_printf(s, "%s/%s", directory, name[i])) != 0)
			return fail_errno(s, E_IO, "%s/%s", directory, name[i]);
	return rmdir(directory) == 0 ? OK : fail_errno(s, E_IO, "%s", directory);
}

st keyd_each_group(struct scope *s, struct keyd *d, const char *directory,
		   st (*take)(struct scope *, struct keyd *, const char *))
{
	char **name;
	size_t count;
	const char *path = scope_printf(s, "%s/%s", d->conf->state, directory);
	TRY(file_make_directory(s, path, 0700));
	TRY(file_list(s, path, &name, &count));
	for (size_t i = 0; i < count; i++) {
		if (strchr(name[i], ASIDE[0]) != NULL) {
			TRY(forget_shares(s, scope_printf(s, "%s/%s", path, name[i])));
			continue;
		}
		TRY(key_label_check(s, name[i]));
		TRY(take(s, d, name[i]));
	}
	return OK;
}

bool keyd_has_group(struct scope *s, const struct keyd *d, const char *group)
{
	return file_exists(keyd_group_path(s, d, group));
}

st keyd_load_groups(struct scope *s, struct keyd *d)
{
	return keyd_each_group(s, d, "groups", keyd_add_group);
}

/* ---- who is to have them ---- */

static st plan_custodian(struct scope *s, const struct keyd_work *w, span id, struct keyd_plan *plan)
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

st keyd_plan_group(struct scope *s, const struct keyd_work *w, struct keyd_plan *out)
{
	const struct control_proposal *p = &w->operation->proposal;
	*out = (struct keyd_plan){ .group = scope_cstr(s, control_parameter(p, "group", 0)),
				   .proposal = p->hash,
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

/* ---- writing them ---- */

static st write_share(struct scope *s, const struct keyd_plan *plan, const char *directory, unsigned i,
		      const struct control_share *share)
{
	uint8_t room[DIGEST_MAX];
	AUTO_BUF context = { 0 }, sealed = { 0 }, file = { 0 };
	struct buf plain;
	struct control_sealed_share h = { .group = span_str(plan->group),
					  .person = span_str(plan->custodian[i]->id),
					  .index = share->index,
					  .threshold = plan->threshold,
					  .bound = true };
	memcpy(h.key, digest_of(DIGEST_SHA256, plan->custodian[i]->share_spki, room).data, sizeof h.key);
	memcpy(h.proposal, plan->proposal, sizeof h.proposal);
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
	return file_replace(s, scope_printf(s, "%s/%u", directory, share->index), buf_span(&file), 0600);
}

st keyd_write_shares(struct scope *s, const struct keyd_plan *plan, const char *directory, span secret)
{
	struct buf room;
	TRY(file_make_directory(s, directory, 0700));
	TRY(keyd_secret_room(s, &room));
	struct keyd_secrets *secrets = (struct keyd_secrets *)(void *)room.data;
	st status = control_split(s, secret, plan->threshold, plan->count, secrets->share);
	for (unsigned i = 0; status.code == E_OK && i < plan->count; i++)
		status = write_share(s, plan, directory, i, &secrets->share[i]);
	keyd_secret_wipe(&room);
	return status;
}

st keyd_exchange_shares(struct scope *s, struct keyd *d, const struct keyd_plan *plan, span secret)
{
	const char *path = keyd_group_path(s, d, plan->group), *aside = scope_printf(s, "%s" ASIDE, path);
	TRY(forget_shares(s, aside));
	st status = keyd_write_shares(s, plan, aside, secret);
	if (status.code == E_OK) {
		FAILPOINT("keyd.reshare.written");
		status = file_exchange(s, path, aside);
	}
	if (status.code == E_OK)
		return forget_shares(s, aside);
	AUTO_SCOPE cleaning;
	scope_init(&cleaning, s->source);
	(void)forget_shares(&cleaning, aside).code; /* else the next start does it */
	return status;
}

/* Hexadecimal characters: what every module takes as a PIN. */
void keyd_random_pin(const struct scope *s, char *out)
{
	uint8_t octets[PIN_OCTETS];
	scope_random(s, octets, sizeof octets);
	(void)hex_write(SPAN_ARRAY(octets), out);
	wipe(octets, sizeof octets);
}
