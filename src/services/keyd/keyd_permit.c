/*
 * keyd_permit.c - certificates of certificate authorities: whoever may ask for signatures gets one such certificate for each operation
 * ca.certify that people approved, and no other (design: CA:true only with the operation's approvals).
 */
#include "digest.h"
#include "keyd_control.h"
#include "pki_name.h"
#include "text.h"
#include <stdio.h>

st keyd_prepare_certify(struct scope *s, struct keyd_work *w)
{
	struct keyd_key *k;
	const struct control_proposal *p = &w->operation->proposal;
	TRY(keyd_require_decision(s, w));
	TRY(keyd_find_key(s, w->d, scope_cstr(s, control_parameter(p, "key", 0)), &k));
	if (!k->info.limits.ca || (k->info.purposes & KEY_FOR_CERTIFICATE) == 0)
		return fail(s, E_DENIED, "key \"%s\" was not generated to sign certificates of certificate authorities",
			    k->info.label);
	if (control_parameter_moment(p, "not-after") <= w->at)
		return fail(s, E_INPUT, "not-after has passed");
	return OK;
}

/* A free place, or the one that expires first. */
static struct keyd_permit *place_for_permit(struct keyd_control *c)
{
	struct keyd_permit *oldest = &c->permit[0];
	for (size_t i = 1; i < KEYD_PERMITS_MAX; i++)
		if (c->permit[i].expires < oldest->expires)
			oldest = &c->permit[i];
	return oldest;
}

st keyd_carry_out_certify(struct scope *s, struct keyd_work *w)
{
	const struct control_proposal *p = &w->operation->proposal;
	struct keyd_control *c = w->d->control;
	span key = control_parameter(p, "key", 0), subject = control_parameter(p, "subject", 0);
	struct keyd_permit permit = { .expires = w->at + KEYD_PERMIT_LIFE,
				      .not_after = control_parameter_moment(p, "not-after") };
	memcpy(permit.key, key.data, key.len);
	memcpy(permit.subject, subject.data, subject.len);
	memcpy(permit.spki, control_parameter_octets(s, p, "subject-key").data, sizeof permit.spki);
	(void)pthread_mutex_lock(&c->permitting);
	*place_for_permit(c) = permit;
	(void)pthread_mutex_unlock(&c->permitting);
	return OK;
}

static bool fits(const struct keyd_permit *permit, const struct keyd_permit *wanted, int64_t now)
{
	return permit->expires > now && strcmp(permit->key, wanted->key) == 0 &&
	       strcmp(permit->subject, wanted->subject) == 0 && memcmp(permit->spki, wanted->spki, sizeof permit->spki) == 0 &&
	       wanted->not_after <= permit->not_after;
}

static bool take(struct keyd_control *c, const struct keyd_permit *wanted, int64_t now)
{
	bool taken = false;
	(void)pthread_mutex_lock(&c->permitting);
	for (size_t i = 0; i < KEYD_PERMITS_MAX && !taken; i++) {
		taken = fits(&c->permit[i], wanted, now);
		if (taken)
			c->permit[i].expires = 0;
	}
	(void)pthread_mutex_unlock(&c->permitting);
	return taken;
}

st keyd_take_permit(struct scope *s, struct keyd *d, const struct keyd_key *k, const struct keyd_found *found)
{
	char *subject;
	uint8_t room[DIGEST_MAX];
	struct keyd_permit wanted = { .not_after = found->not_after };
	if (d->control == NULL)
		return OK;
	TRY(pki_name_text(s, found->subject, &subject));
	(void)snprintf(wanted.key, sizeof wanted.key, "%s", k->info.label);
	(void)snprintf(wanted.subject, sizeof wanted.subject, "%s", subject);
	memcpy(wanted.spki, digest_of(DIGEST_SHA256, found->spki, room).data, sizeof wanted.spki);
	if (strlen(subject) < sizeof wanted.subject && take(d->control, &wanted, scope_now(s)))
		return OK;
	//= tsps#6.1.1 no one process has a certificate of a certificate authority signed
	return fail(
		s, E_DENIED,
		"no operation ca.certify allows key \"%s\" to sign a certificate of a certificate authority for %.200s (public key with "
		"SHA-256 %s) now",
		k->info.label, subject, hex_text(s, SPAN_ARRAY(wanted.spki)));
}
