#include "hsm_internal.h"
#include "log.h"
#include "secret.h"
#include <stdio.h>
#include <stdlib.h>

#define SESSIONS_MAX   128
#define PIN_MAX        255
#define RETRY_INTERVAL MOMENT_SECOND
#define LOCK_GRACE     (10 * MOMENT_SECOND)

static st check_pin(struct scope *s, span pin)
{
	return pin.len > 0 && pin.len <= PIN_MAX ? OK : fail(s, E_INPUT, "a PIN has 1 to %d bytes", PIN_MAX);
}

st hsm_token_new(struct scope *s, struct hsm *h, const char *label, span pin, struct hsm_token **out)
{
	if (label[0] == 0 || strlen(label) > 32)
		return fail(s, E_INPUT, "a token's label has 1 to 32 bytes (PKCS#11, CK_TOKEN_INFO)");
	void *page = NULL;
	if (pin.len > 0)
		TRY(check_pin(s, pin));
	TRY(fail_context(s, secret_new(s, PIN_MAX, &page), "the PIN of token \"%s\"", label));
	if (pin.len > 0)
		memcpy(page, pin.data, pin.len);
	struct hsm_token *t = heap_alloc(sizeof *t);
	t->module = h;
	t->pin = page;
	t->pin_len = pin.len;
	t->max = SESSIONS_MAX;
	t->idle = heap_alloc(SESSIONS_MAX * sizeof *t->idle);
	memcpy(t->label, label, strlen(label) + 1);
	if (pthread_mutex_init(&t->lock, NULL) != 0 || pthread_cond_init(&t->returned, NULL) != 0)
		log_die("no lock for a token");
	*out = t;
	return OK;
}

/* With the lock held. */
static void forget_sessions(struct hsm_token *t)
{
	if (t->ready && t->generation == t->module->generation)
		(void)t->module->p11->C_CloseAllSessions(t->slot);
	t->ready = false;
	t->idle_count = 0;
	t->open_count = 0;
	t->epoch++;
	(void)pthread_cond_broadcast(&t->returned);
}

void hsm_token_free(struct hsm_token *t)
{
	if (t == NULL)
		return;
	(void)pthread_rwlock_rdlock(&t->module->running);
	(void)pthread_mutex_lock(&t->lock);
	forget_sessions(t);
	(void)pthread_mutex_unlock(&t->lock);
	(void)pthread_rwlock_unlock(&t->module->running);
	secret_free(t->pin, PIN_MAX);
	(void)pthread_mutex_destroy(&t->lock);
	(void)pthread_cond_destroy(&t->returned);
	free(t->idle);
	free(t);
}

const char *hsm_token_label(const struct hsm_token *t)
{
	return t->label;
}

static st login(struct scope *s, struct hsm_token *t, CK_SESSION_HANDLE session)
{
	CK_FUNCTION_LIST *p11 = t->module->p11;
	CK_RV rv = p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)t->pin, t->pin_len);
	if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
		return OK;
	st status = hsm_fail(s, rv, scope_printf(s, "logging in to token \"%s\" (C_Login)", t->label));
	/* Offered once: most tokens lock after a few wrong ones. */
	t->pin_refused = status.code == E_DENIED;
	return status;
}

static st open_token(struct scope *s, struct hsm_token *t)
{
	CK_FUNCTION_LIST *p11 = t->module->p11;
	TRY(hsm_slot_of(s, t->module, t->label, &t->slot));
	CK_TOKEN_INFO info = { 0 };
	CK_RV rv = p11->C_GetTokenInfo(t->slot, &info);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, scope_printf(s, "looking at token \"%s\" (C_GetTokenInfo)", t->label));
	CK_SESSION_HANDLE session;
	rv = p11->C_OpenSession(t->slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, scope_printf(s, "opening a session on token \"%s\" (C_OpenSession)", t->label));
	st status = login(s, t, session);
	if (status.code != E_OK) {
		(void)p11->C_CloseSession(session);
		return status;
	}
	bool limited =
		info.ulMaxSessionCount != CK_EFFECTIVELY_INFINITE && info.ulMaxSessionCount != CK_UNAVAILABLE_INFORMATION;
	t->max = limited && info.ulMaxSessionCount < SESSIONS_MAX ? info.ulMaxSessionCount : SESSIONS_MAX;
	t->generation = t->module->generation;
	t->idle[0] = session;
	t->idle_count = 1;
	t->open_count = 1;
	t->ready = true;
	return OK;
}

static st refused_pin(struct scope *s, const struct hsm_token *t)
{
	return fail(s, E_DENIED, "token \"%s\" refused its PIN (%s); it is not offered again: restart with the right one",
		    t->label, t->reason);
}

static st being_locked(struct scope *s, const struct hsm_token *t)
{
	return fail(s, E_STATE, "token \"%s\" is being locked", t->label);
}

/* With the lock held: make the token ready, or say why not. */
static st ensure_ready(struct scope *s, struct hsm_token *t)
{
	if (t->locking)
		return being_locked(s, t);
	if (t->held)
		return fail(s, E_STATE, "token \"%s\" is deactivated", t->label);
	if (t->ready && t->generation == t->module->generation)
		return OK;
	if (t->ready)
		forget_sessions(t);
	if (t->pin_len == 0)
		return fail(s, E_STATE, "token \"%s\" is locked: its PIN is not here", t->label);
	if (t->pin_refused)
		return refused_pin(s, t);
	int64_t now = moment_monotonic();
	if (now < t->retry_at)
		return fail(s, E_UNAVAILABLE, "token \"%s\" is not there: %s", t->label, t->reason);
	st status = open_token(s, t);
	if (status.code != E_OK) {
		t->retry_at = now + RETRY_INTERVAL;
		(void)snprintf(t->reason, sizeof t->reason, "%s", s->message);
	}
	return status;
}

/* With the lock held: an idle session, a new one, or wait for one to come back. */
static st pick_session(struct scope *s, struct hsm_token *t, struct hsm_session *out)
{
	unsigned epoch = t->epoch;
	while (t->idle_count == 0 && t->open_count >= t->max && t->ready && t->epoch == epoch && !t->locking)
		(void)pthread_cond_wait(&t->returned, &t->lock);
	if (t->locking)
		return being_locked(s, t);
	if (!t->ready || t->epoch != epoch)
		return fail(s, E_UNAVAILABLE, "token \"%s\" went away", t->label);
	out->epoch = epoch;
	if (t->idle_count > 0) {
		out->handle = t->idle[--t->idle_count];
		return OK;
	}
	CK_RV rv = t->module->p11->C_OpenSession(t->slot, CKF_SERIAL_SESSION, NULL, NULL, &out->handle);
	if (rv == CKR_OK) {
		t->open_count++;
		return OK;
	}
	if (rv == CKR_SESSION_COUNT && t->open_count > 0) {
		t->max = t->open_count;
		return pick_session(s, t, out);
	}
	if (hsm_rv_lost(rv)) {
		forget_sessions(t);
		hsm_loss(t->module);
	}
	return hsm_fail(s, rv, scope_printf(s, "opening a session on token \"%s\" (C_OpenSession)", t->label));
}

static st take_once(struct scope *s, struct hsm_token *t, struct hsm_session *out)
{
	(void)pthread_rwlock_rdlock(&t->module->running);
	(void)pthread_mutex_lock(&t->lock);
	st status = ensure_ready(s, t);
	if (status.code == E_OK)
		status = pick_session(s, t, out);
	(void)pthread_mutex_unlock(&t->lock);
	if (status.code != E_OK)
		(void)pthread_rwlock_unlock(&t->module->running);
	return status;
}

/* HSM-05: is the session still logged in? A token that was pulled and put back has open-looking sessions without login. */
static bool session_sound(struct hsm_token *t, const struct hsm_session *session)
{
	CK_SESSION_INFO info = { 0 };
	if (t->module->p11->C_GetSessionInfo(session->handle, &info) != CKR_OK)
		return false;
	return info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS;
}

st hsm_session_take(struct scope *s, struct hsm_token *t, struct hsm_session *out)
{
	for (int attempt = 0;; attempt++) {
		unsigned generation = t->module->generation;
		st status = take_once(s, t, out);
		if (status.code == E_OK && session_sound(t, out))
			return OK;
		if (status.code == E_OK) {
			hsm_session_give(t, out, true);
			status = fail(s, E_UNAVAILABLE, "token \"%s\" is no longer logged in to", t->label);
		}
		if (attempt >= 2 || status.code != E_UNAVAILABLE)
			return status;
		if (attempt == 1)
			hsm_restart(t->module, generation);
		if (attempt == 1 && generation == t->module->generation)
			return status;
		(void)pthread_mutex_lock(&t->lock);
		t->retry_at = attempt == 1 ? 0 : t->retry_at;
		(void)pthread_mutex_unlock(&t->lock);
		scope_clear_error(s);
	}
}

void hsm_session_give(struct hsm_token *t, const struct hsm_session *session, bool lost)
{
	(void)pthread_mutex_lock(&t->lock);
	if (session->epoch == t->epoch && lost) {
		forget_sessions(t);
		hsm_loss(t->module);
	} else if (session->epoch == t->epoch) {
		t->idle[t->idle_count++] = session->handle;
		(void)pthread_cond_broadcast(&t->returned); /* signers, or who wants to lock it */
	}
	(void)pthread_mutex_unlock(&t->lock);
	(void)pthread_rwlock_unlock(&t->module->running);
}

/* With the lock held: who is signing may end, for a while. */
static void wait_for_sessions(struct hsm_token *t)
{
	int64_t deadline = moment_monotonic() + LOCK_GRACE;
	while (t->ready && t->idle_count < t->open_count)
		if (!moment_wait(&t->returned, &t->lock, deadline))
			return;
}

static void close_down(struct hsm_token *t, bool forget)
{
	(void)pthread_rwlock_rdlock(&t->module->running);
	(void)pthread_mutex_lock(&t->lock);
	t->locking = true;
	(void)pthread_cond_broadcast(&t->returned);
	wait_for_sessions(t);
	if (t->ready && t->idle_count > 0 && t->generation == t->module->generation)
		(void)t->module->p11->C_Logout(t->idle[0]);
	forget_sessions(t);
	if (forget) {
		wipe(t->pin, PIN_MAX);
		t->pin_len = 0;
	}
	t->held = !forget;
	t->locking = false;
	(void)pthread_mutex_unlock(&t->lock);
	(void)pthread_rwlock_unlock(&t->module->running);
}

void hsm_token_lock(struct hsm_token *t)
{
	close_down(t, true);
}

void hsm_token_hold(struct hsm_token *t)
{
	close_down(t, false);
}

st hsm_token_release(struct scope *s, struct hsm_token *t)
{
	(void)pthread_mutex_lock(&t->lock);
	t->held = false;
	t->retry_at = 0;
	(void)pthread_mutex_unlock(&t->lock);
	return hsm_token_ready(s, t);
}

static st take_pin(struct scope *s, struct hsm_token *t, span pin)
{
	(void)pthread_mutex_lock(&t->lock);
	bool locked = t->pin_len == 0 && !t->locking;
	if (locked) {
		memcpy(t->pin, pin.data, pin.len);
		t->pin_len = pin.len;
		t->pin_refused = false;
		t->retry_at = 0;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return locked ? OK : fail(s, E_CONFLICT, "token \"%s\" is not locked", t->label);
}

st hsm_token_unlock(struct scope *s, struct hsm_token *t, span pin)
{
	TRY(check_pin(s, pin));
	TRY(take_pin(s, t, pin));
	st status = hsm_token_ready(s, t);
	if (status.code != E_OK)
		hsm_token_lock(t);
	return status;
}

st hsm_token_ready(struct scope *s, struct hsm_token *t)
{
	struct hsm_session session;
	TRY(hsm_session_take(s, t, &session));
	hsm_session_give(t, &session, false);
	return OK;
}

/* ---- another PIN ---- */

/* With the lock held, so that nobody logs in with the one while the token has the other. */
static st set_pin(struct scope *s, struct hsm_token *t, CK_SESSION_HANDLE writer, span pin)
{
	CK_RV rv = t->module->p11->C_SetPIN(writer, (CK_UTF8CHAR *)t->pin, t->pin_len, hsm_bytes(pin), pin.len);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, scope_printf(s, "setting another PIN of token \"%s\" (C_SetPIN)", t->label));
	wipe(t->pin, PIN_MAX);
	memcpy(t->pin, pin.data, pin.len);
	t->pin_len = pin.len;
	return OK;
}

static st set_pin_in_session(struct scope *s, struct hsm_token *t, span pin)
{
	CK_SESSION_HANDLE writer;
	CK_RV rv = t->module->p11->C_OpenSession(t->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &writer);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "opening a session to set another PIN (C_OpenSession)");
	(void)pthread_mutex_lock(&t->lock);
	st status = set_pin(s, t, writer, pin);
	(void)pthread_mutex_unlock(&t->lock);
	(void)t->module->p11->C_CloseSession(writer);
	return status;
}

st hsm_token_set_pin(struct scope *s, struct hsm_token *t, span pin)
{
	struct hsm_session session;
	TRY(check_pin(s, pin));
	TRY(hsm_session_take(s, t, &session));
	st status = hsm_keep_tokens(s, t->module);
	if (status.code == E_OK)
		status = set_pin_in_session(s, t, pin);
	hsm_session_give(t, &session, false);
	TRY(status);
	TRY(hsm_sync(s, t->module));
	return hsm_mend_tokens(s, t->module->sync_directory);
}

st hsm_token_pin(struct scope *s, struct hsm_token *t, struct buf *out)
{
	(void)pthread_mutex_lock(&t->lock);
	bool here = t->pin_len > 0 && !t->locking;
	bool room = here && buf_append(out, span_of(t->pin, t->pin_len));
	(void)pthread_mutex_unlock(&t->lock);
	if (!here)
		return fail(s, E_STATE, "token \"%s\" is locked: its PIN is not here", t->label);
	return room ? OK : fail(s, E_BUG, "a PIN does not fit the memory for it");
}
