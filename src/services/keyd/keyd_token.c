#include "keyd.h"
#include "log.h"
#include <stdio.h>
#include <stdlib.h>

static const char activation_hint[] =
	"two of pki-manager, pki-administrator and pki-operator propose and open group.activate, the key "
	"custodians bring their shares (chancery op activate)";

static const char reactivation_hint[] =
	"it was deactivated; two of pki-manager, pki-administrator, pki-operator and "
	"security-and-quality-manager let it come up again (chancery op propose group.reactivate)";

struct keyd_token *keyd_token_named(struct keyd *d, const char *label)
{
	for (struct keyd_token *t = d->tokens; t != NULL; t = t->next)
		if (strcmp(t->label, label) == 0)
			return t;
	return NULL;
}

/* With the registry locked for writing. */
static struct keyd_token *enter(struct keyd *d, const char *label)
{
	struct keyd_token *t = heap_alloc(sizeof *t);
	memcpy(t->label, label, strlen(label) + 1);
	(void)snprintf(t->reason, sizeof t->reason, "no PIN was given for it");
	t->next = d->tokens;
	d->tokens = t;
	return t;
}

st keyd_add_token(struct scope *s, struct keyd *d, const char *label, span pin)
{
	struct hsm_token *hsm = NULL;
	if (pin.len > 0)
		TRY(hsm_token_new(s, d->hsm, label, pin, &hsm));
	(void)pthread_rwlock_wrlock(&d->registry);
	struct keyd_token *t = keyd_token_named(d, label);
	if (t == NULL)
		t = enter(d, label);
	if (hsm != NULL) {
		/* Only a token that was not there before is given another PIN: no key refers to the old one. */
		hsm_token_free(t->hsm);
		t->hsm = hsm;
		t->ready = false;
		t->reason[0] = 0;
	}
	(void)pthread_rwlock_unlock(&d->registry);
	return OK;
}

static void put_device(struct scope *s, struct keyd *d, const struct keyd_token *t, struct audit_event *e)
{
	struct hsm_token_info *tokens;
	size_t count = 0;
	if (hsm_tokens(s, d->hsm, &tokens, &count).code != E_OK)
		scope_clear_error(s);
	for (size_t i = 0; i < count; i++) {
		if (!tokens[i].initialised || strcmp(tokens[i].label, t->label) != 0)
			continue;
		audit_str(e, "manufacturer", tokens[i].manufacturer);
		audit_str(e, "model", tokens[i].model);
		audit_str(e, "serial", tokens[i].serial);
		audit_str(e, "hardware", tokens[i].hardware);
		audit_str(e, "firmware", tokens[i].firmware);
		break;
	}
	audit_text(e, "module", span_str(hsm_description(d->hsm)));
}

static void record_opened(struct scope *s, struct keyd *d, const struct keyd_token *t)
{
	struct audit_event e;
	audit_begin(&e, s, AUDIT_TOKEN_OPENED);
	audit_str(&e, "zone", d->conf->zone);
	audit_str(&e, "token", t->label);
	put_device(s, d, t, &e);
	if (audit_finish(s, &e).code == E_OK)
		keyd_recorder_put(d->recorder, &e);
	audit_event_free(&e);
}

static void record_lost(struct scope *s, struct keyd *d, const struct keyd_token *t)
{
	struct audit_event e;
	audit_begin(&e, s, AUDIT_TOKEN_LOST);
	audit_str(&e, "zone", d->conf->zone);
	audit_str(&e, "token", t->label);
	audit_text(&e, "reason", span_str(t->reason));
	if (audit_finish(s, &e).code == E_OK)
		keyd_recorder_put(d->recorder, &e);
	audit_event_free(&e);
}

/* With the registry locked for reading. */
static void watch(struct scope *s, struct keyd *d, struct keyd_token *t)
{
	st status = hsm_token_ready(s, t->hsm);
	(void)pthread_mutex_lock(&d->watching);
	if ((t->group || t->held) && status.code == E_STATE) {
		(void)pthread_mutex_unlock(&d->watching);
		return; /* locked, and says so */
	}
	bool ready = status.code == E_OK;
	bool known = t->ready || t->reason[0] != 0;
	if (!ready)
		(void)snprintf(t->reason, sizeof t->reason, "%s", s->message);
	if (ready && !t->ready) {
		log_put(LOG_LEVEL_NOTICE, "token \"%s\" is open", t->label);
		t->reason[0] = 0;
		record_opened(s, d, t);
	} else if (!ready && (t->ready || !known)) {
		log_put(LOG_LEVEL_WARNING, "token \"%s\" is not open: %s", t->label, t->reason);
		if (t->ready)
			record_lost(s, d, t);
	}
	t->ready = ready;
	(void)pthread_mutex_unlock(&d->watching);
}

void keyd_watch_tokens(struct keyd *d)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	(void)pthread_rwlock_rdlock(&d->registry);
	for (struct keyd_token *t = d->tokens; t != NULL; t = t->next) {
		if (t->hsm != NULL)
			watch(&s, d, t);
		scope_reset(&s);
	}
	(void)pthread_rwlock_unlock(&d->registry);
}

static st record_initialised(struct scope *s, struct keyd *d, const char *label)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_TOKEN_INITIALISED);
	audit_str(&e, "zone", d->conf->zone);
	audit_str(&e, "token", label);
	audit_text(&e, "module", span_str(hsm_description(d->hsm)));
	TRY(audit_finish(s, &e));
	uint64_t index;
	return audit_commit(s, d->audit, &e, &index);
}

/* Asked before the record is made: it should not tell of a token that cannot be. */
st keyd_require_free_token(struct scope *s, struct keyd *d, const char *label)
{
	struct hsm_token_info *tokens;
	size_t count;
	TRY(hsm_tokens(s, d->hsm, &tokens, &count));
	for (size_t i = 0; i < count; i++)
		if (tokens[i].initialised && strcmp(tokens[i].label, label) == 0)
			return fail(s, E_CONFLICT, "a token with the label \"%s\" exists already", label);
	return OK;
}

st keyd_initialise_token(struct scope *s, struct keyd *d, const char *label, span pin, span officer_pin)
{
	TRY(keyd_require_free_token(s, d, label));
	TRY(record_initialised(s, d, label));
	return hsm_token_create(s, d->hsm, label, pin, officer_pin);
}

st keyd_create_token(struct scope *s, struct keyd *d, const char *label, span pin, span officer_pin)
{
	TRY(keyd_initialise_token(s, d, label, pin, officer_pin));
	TRY(keyd_add_token(s, d, label, pin));
	keyd_watch_tokens(d);
	return OK;
}

/* ---- key groups ---- */

st keyd_add_group(struct scope *s, struct keyd *d, const char *label)
{
	struct hsm_token *hsm = NULL;
	TRY(hsm_token_new(s, d->hsm, label, (span){ 0 }, &hsm));
	(void)pthread_rwlock_wrlock(&d->registry);
	struct keyd_token *t = keyd_token_named(d, label);
	bool taken = t != NULL && t->hsm != NULL;
	if (t == NULL)
		t = enter(d, label);
	if (!taken) {
		t->hsm = TAKE(hsm);
		t->group = true;
		(void)snprintf(t->reason, sizeof t->reason, "locked: %s", activation_hint);
	}
	(void)pthread_rwlock_unlock(&d->registry);
	hsm_token_free(hsm);
	return taken ? fail(s, E_CONFLICT, "token \"%s\" is open already", label) : OK;
}

static st find_group(struct scope *s, struct keyd *d, const char *label, struct keyd_token **out)
{
	(void)pthread_rwlock_rdlock(&d->registry);
	struct keyd_token *t = keyd_token_named(d, label);
	(void)pthread_rwlock_unlock(&d->registry);
	if (t == NULL || !t->group)
		return fail(s, E_NOTFOUND, "zone %s has no key group \"%s\" that custodians activate", d->conf->zone, label);
	*out = t;
	return OK;
}

static bool is_active(struct keyd *d, const struct keyd_token *t)
{
	(void)pthread_mutex_lock(&d->watching);
	bool ready = t->ready;
	(void)pthread_mutex_unlock(&d->watching);
	return ready;
}

st keyd_require_group(struct scope *s, struct keyd *d, const char *label)
{
	struct keyd_token *t;
	return find_group(s, d, label, &t);
}

st keyd_require_active(struct scope *s, struct keyd *d, const char *label)
{
	struct keyd_token *t;
	TRY(find_group(s, d, label, &t));
	return is_active(d, t) ? OK : fail(s, E_STATE, "the key group \"%s\" is locked: %s", label, activation_hint);
}

st keyd_require_locked(struct scope *s, struct keyd *d, const char *label)
{
	struct keyd_token *t;
	TRY(find_group(s, d, label, &t));
	return is_active(d, t) ? fail(s, E_STATE, "the key group \"%s\" is active", label) : OK;
}

st keyd_unlock_group(struct scope *s, struct keyd *d, const char *label, span pin)
{
	struct keyd_token *t;
	TRY(find_group(s, d, label, &t));
	hsm_token_lock(t->hsm); /* it is not active, but a PIN that the token refused may be here */
	TRY(hsm_token_unlock(s, t->hsm, pin));
	keyd_watch_tokens(d);
	return OK;
}

static void set_locked(struct keyd *d, struct keyd_token *t, const char *hint)
{
	(void)pthread_mutex_lock(&d->watching);
	t->ready = false;
	t->held = !t->group;
	(void)snprintf(t->reason, sizeof t->reason, "locked: %s", hint);
	(void)pthread_mutex_unlock(&d->watching);
}

st keyd_lock_group(struct scope *s, struct keyd *d, const char *label)
{
	struct keyd_token *t;
	TRY(find_group(s, d, label, &t));
	hsm_token_lock(t->hsm);
	set_locked(d, t, activation_hint);
	log_put(LOG_LEVEL_NOTICE, "key group \"%s\" is locked", label);
	return OK;
}

void keyd_explain_locked(struct keyd *d, const char *why)
{
	(void)pthread_rwlock_rdlock(&d->registry);
	for (struct keyd_token *t = d->tokens; t != NULL; t = t->next)
		if (t->group && !is_active(d, t))
			set_locked(d, t, why);
	(void)pthread_rwlock_unlock(&d->registry);
}

st keyd_group_pin(struct scope *s, struct keyd *d, const char *label, struct buf *out)
{
	struct keyd_token *t;
	TRY(find_group(s, d, label, &t));
	return hsm_token_pin(s, t->hsm, out);
}

st keyd_set_group_pin(struct scope *s, struct keyd *d, const char *label, span pin)
{
	struct keyd_token *t;
	TRY(find_group(s, d, label, &t));
	return hsm_token_set_pin(s, t->hsm, pin);
}

void keyd_explain_custodians(struct keyd *d, const char *label, const char *text)
{
	(void)pthread_rwlock_rdlock(&d->registry);
	struct keyd_token *t = keyd_token_named(d, label);
	(void)pthread_mutex_lock(&d->watching);
	if (t != NULL)
		(void)snprintf(t->custodians, sizeof t->custodians, "%s", text);
	(void)pthread_mutex_unlock(&d->watching);
	(void)pthread_rwlock_unlock(&d->registry);
}

bool keyd_is_group(struct keyd *d, const char *label)
{
	(void)pthread_rwlock_rdlock(&d->registry);
	struct keyd_token *t = keyd_token_named(d, label);
	(void)pthread_rwlock_unlock(&d->registry);
	return t != NULL && t->group;
}

/* ---- tokens that come up by themselves ---- */

static st find_open(struct scope *s, struct keyd *d, const char *label, struct keyd_token **out)
{
	(void)pthread_rwlock_rdlock(&d->registry);
	struct keyd_token *t = keyd_token_named(d, label);
	(void)pthread_rwlock_unlock(&d->registry);
	if (t == NULL || t->hsm == NULL)
		return fail(s, E_NOTFOUND, "zone %s has no key group \"%s\" that is open", d->conf->zone, label);
	*out = t;
	return OK;
}

st keyd_require_token(struct scope *s, struct keyd *d, const char *label)
{
	struct keyd_token *t;
	return find_open(s, d, label, &t);
}

st keyd_hold_token(struct scope *s, struct keyd *d, const char *label)
{
	struct keyd_token *t;
	TRY(find_open(s, d, label, &t));
	hsm_token_hold(t->hsm);
	set_locked(d, t, reactivation_hint);
	log_put(LOG_LEVEL_NOTICE, "key group \"%s\" is deactivated", label);
	return OK;
}

st keyd_release_token(struct scope *s, struct keyd *d, const char *label)
{
	struct keyd_token *t;
	TRY(find_open(s, d, label, &t));
	TRY(hsm_token_release(s, t->hsm));
	(void)pthread_mutex_lock(&d->watching);
	t->held = false;
	(void)pthread_mutex_unlock(&d->watching);
	keyd_watch_tokens(d);
	return OK;
}
