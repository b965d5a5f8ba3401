/*
 * keyd_effect.c - the table of operations that keyd carries out, and those on single keys.
 */
#include "keyd_control.h"
#include "digest.h"
#include "text.h"

/* ---- key.generate ---- */

static st read_purposes(struct scope *s, const struct control_proposal *p, unsigned *out)
{
	span name;
	*out = 0;
	for (size_t i = 0; (name = control_parameter(p, "purpose", i)).len > 0; i++) {
		enum key_purpose purpose = key_purpose_named(name);
		if (purpose == 0)
			return fail(s, E_INPUT, "\"%.*s\" is no purpose of a key", (int)name.len, (const char *)name.data);
		*out |= purpose;
	}
	return OK;
}

static st read_policies(struct scope *s, const struct control_proposal *p, struct key_limits *out)
{
	span text;
	for (size_t i = 0; (text = control_parameter(p, "policy", i)).len > 0; i++) {
		if (out->policy_count == KEY_POLICIES_MAX)
			return fail(s, E_LIMIT, "a key is limited to at most %d policies", KEY_POLICIES_MAX);
		TRY(der_oid_parse(s, text, &out->policies[out->policy_count++]));
	}
	return OK;
}

static st read_choice(struct scope *s, const struct control_proposal *p, const char *name, const char *yes, const char *no,
		      bool *out)
{
	span text = control_parameter(p, name, 0);
	*out = span_is(text, yes);
	if (*out || span_is(text, no) || text.len == 0)
		return OK;
	return fail(s, E_INPUT, "%s is %s or %s", name, yes, no);
}

static st read_label(struct scope *s, const struct control_proposal *p, const char *name, char out[KEY_LABEL_MAX + 1])
{
	span text = control_parameter(p, name, 0);
	const char *label = scope_cstr(s, text);
	TRY(key_label_check(s, label));
	memcpy(out, label, text.len + 1);
	return OK;
}

static st read_wanted(struct scope *s, const struct control_proposal *p, struct key_info *out)
{
	bool wrapped;
	span type = control_parameter(p, "type", 0);
	*out = (struct key_info){ .type = alg_key_named(type),
				  .usage_ends = control_parameter_moment(p, "usage-ends"),
				  .limits = { .issuer = control_parameter_octets(s, p, "issuer"),
					      .validity_days = (uint32_t)control_parameter_number(p, "validity-days", 0),
					      .rate = (uint32_t)control_parameter_number(p, "rate", 0),
					      .accuracy_ms = (uint32_t)control_parameter_number(p, "accuracy-ms", 0) } };
	if (out->type == NULL)
		return fail(s, E_INPUT, "\"%.*s\" is no type of key", (int)type.len, (const char *)type.data);
	TRY(read_label(s, p, "key", out->label));
	TRY(read_label(s, p, "group", out->token));
	TRY(read_purposes(s, p, &out->purposes));
	TRY(read_policies(s, p, &out->limits));
	TRY(read_choice(s, p, "issues-to-cas", "yes", "no", &out->limits.ca));
	TRY(read_choice(s, p, "backup", "wrapped", "none", &wrapped));
	out->backup = wrapped ? KEY_BACKUP_WRAPPED : KEY_BACKUP_NONE;
	return OK;
}

st keyd_require_decision(struct scope *s, const struct keyd_work *w)
{
	span decision = control_parameter(&w->operation->proposal, "decision", 0);
	//= tsps#6.1.1 keys are made by consent of the authority
	if (control_decision_taken(w->d->control->persons, decision))
		return OK;
	return fail(s, E_DENIED, "there is no decision %.*s of the authority: decision.take comes first", (int)decision.len,
		    (const char *)decision.data);
}

static st prepare_generate(struct scope *s, struct keyd_work *w)
{
	struct key_info want;
	TRY(keyd_require_decision(s, w));
	TRY(read_wanted(s, &w->operation->proposal, &want));
	TRY(keyd_require_active(s, w->d, want.token));
	return keyd_check_wanted(s, w->d, &want);
}

static st carry_out_generate(struct scope *s, struct keyd_work *w)
{
	struct key_info want;
	struct keyd_key *k;
	TRY(read_wanted(s, &w->operation->proposal, &want));
	return keyd_generate(s, w->d, &want, hex_text(s, SPAN_ARRAY(w->operation->proposal.hash)), &k);
}

/* ---- what was approved, and what the description of a key says ---- */

static bool same_policies(const struct key_limits *a, const struct key_limits *b)
{
	if (a->policy_count != b->policy_count)
		return false;
	for (size_t i = 0; i < a->policy_count; i++)
		if (!span_equal(a->policies[i], b->policies[i]))
			return false;
	return true;
}

static bool same_limits(const struct key_limits *a, const struct key_limits *b)
{
	return span_equal(a->issuer, b->issuer) && a->ca == b->ca && a->validity_days == b->validity_days &&
	       a->rate == b->rate && a->accuracy_ms == b->accuracy_ms && same_policies(a, b);
}

static bool is_as_approved(const struct key_info *k, const struct key_info *approved)
{
	return k->type == approved->type && k->purposes == approved->purposes && k->backup == approved->backup &&
	       k->usage_ends == approved->usage_ends && strcmp(k->token, approved->token) == 0 &&
	       same_limits(&k->limits, &approved->limits);
}

/* A label may have been approved more than once, as after a failure of the module: one that fits is enough. */
//= control#limits a key made by an operation does what that operation says, whatever the file beside it says
st keyd_compare_generated(struct scope *s, struct keyd *d, const struct control_proposal *p, bool here)
{
	struct key_info approved;
	TRY(read_wanted(s, p, &approved));
	struct keyd_key *k = keyd_first_key(d);
	while (k != NULL && strcmp(k->info.label, approved.label) != 0)
		k = k->next;
	if (k == NULL || (!here && (k->approved_here || !keyd_is_group(d, approved.token))))
		return OK;
	bool known = k->approval == KEYD_AS_APPROVED && k->approved_here == here;
	k->approved_here = here;
	if (!known)
		k->approval = is_as_approved(&k->info, &approved) ? KEYD_AS_APPROVED : KEYD_NOT_AS_APPROVED;
	return OK;
}

/* ---- key.suspend, key.resume, key.destroy ---- */

static st find_named(struct scope *s, const struct keyd_work *w, struct keyd_key **out)
{
	return keyd_find_key(s, w->d, scope_cstr(s, control_parameter(&w->operation->proposal, "key", 0)), out);
}

static st change(struct scope *s, struct keyd_work *w, enum key_state to, const char *reason)
{
	struct keyd_key *k;
	TRY(find_named(s, w, &k));
	const struct keyd_why why = { .actor = control_approvers_text(s, w->operation), .reason = reason };
	return keyd_key_change(s, w->d, k->info.label, to, &why);
}

static st check_move(struct scope *s, struct keyd_work *w, enum key_state to)
{
	struct keyd_key *k;
	TRY(find_named(s, w, &k));
	return key_state_check(s, k->info.label, keyd_life_state(k, w->at), to);
}

static const char *reason_of(struct scope *s, const struct keyd_work *w)
{
	return scope_cstr(s, control_parameter(&w->operation->proposal, "reason", 0));
}

static st prepare_suspend(struct scope *s, struct keyd_work *w)
{
	return check_move(s, w, KEY_SUSPENDED);
}

static st carry_out_suspend(struct scope *s, struct keyd_work *w)
{
	return change(s, w, KEY_SUSPENDED, reason_of(s, w));
}

static st prepare_resume(struct scope *s, struct keyd_work *w)
{
	return check_move(s, w, KEY_ACTIVE);
}

static st carry_out_resume(struct scope *s, struct keyd_work *w)
{
	return change(s, w, KEY_ACTIVE, reason_of(s, w));
}

static st prepare_destroy(struct scope *s, struct keyd_work *w)
{
	struct keyd_key *k;
	uint8_t room[DIGEST_MAX];
	TRY(keyd_require_decision(s, w));
	TRY(find_named(s, w, &k));
	span fingerprint = control_parameter_octets(s, &w->operation->proposal, "fingerprint");
	if (!span_equal(digest_of(DIGEST_SHA256, k->info.spki, room), fingerprint))
		return fail(s, E_DENIED, "key \"%s\" has another fingerprint than the one that was approved: %s", k->info.label,
			    hex_text(s, span_of(room, CONTROL_HASH_LEN)));
	TRY(check_move(s, w, KEY_DESTROYED));
	struct hsm_key *hsm; /* its token must be there */
	return keyd_hsm_key(s, w->d, k, &hsm);
}

static st carry_out_destroy(struct scope *s, struct keyd_work *w)
{
	span decision = control_parameter(&w->operation->proposal, "decision", 0);
	return change(s, w, KEY_DESTROYED, scope_printf(s, "decision %.*s", (int)decision.len, (const char *)decision.data));
}

const struct keyd_effect keyd_effects[] = {
	{ "group.create", keyd_prepare_create, keyd_carry_out_create },
	{ "group.activate", keyd_prepare_activate, keyd_carry_out_activate },
	{ "group.deactivate", keyd_prepare_deactivate, keyd_carry_out_deactivate },
	{ "group.reactivate", keyd_prepare_reactivate, keyd_carry_out_reactivate },
	{ "group.reshare", keyd_prepare_reshare, keyd_carry_out_reshare },
	{ "key.generate", prepare_generate, carry_out_generate },
	{ "key.suspend", prepare_suspend, carry_out_suspend },
	{ "key.resume", prepare_resume, carry_out_resume },
	{ "key.destroy", prepare_destroy, carry_out_destroy },
	{ "ca.certify", keyd_prepare_certify, keyd_carry_out_certify },
};
const size_t keyd_effect_count = sizeof keyd_effects / sizeof keyd_effects[0];
