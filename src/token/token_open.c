#include "control_operation.h"
#include "file.h"
#include "secret.h"
#include "token.h"

#define MODULE_STANDARD "/usr/lib/softhsm/libsofthsm2.so"
#define OTHERWISE       "start this from one, or give the PIN with --pin-fd N"

/* ---- files and options ---- */

st token_read(struct scope *s, const struct token *t, const char *option, size_t max, span *out)
{
	const char *path = token_get(t, option);
	return fail_context(s, file_read(s, path, max, out), "--%s %s", option, path);
}

st token_person(struct scope *s, const struct token *t, span *out)
{
	span id = span_str(token_get(t, "person"));
	const char *problem = control_id_problem(id);
	if (problem != NULL)
		return fail(s, E_INPUT, "--person %.*s: a person's name as the register has it %s", (int)id.len,
			    (const char *)id.data, problem);
	*out = id;
	return OK;
}

/* ---- the token ---- */

st token_load(struct scope *s, struct token *t)
{
	const char *module = token_get(t, "module");
	const struct hsm_settings settings = { .module = module != NULL ? module : MODULE_STANDARD };
	return hsm_load(s, &settings, &t->module);
}

static st require_token(struct scope *s, const struct token *t, const char *label)
{
	struct hsm_token_info *info;
	size_t count;
	const char *others = "";
	TRY(hsm_tokens(s, t->module, &info, &count));
	for (size_t i = 0; i < count; i++) {
		if (info[i].initialised && strcmp(info[i].label, label) == 0)
			return OK;
		if (info[i].initialised)
			others = scope_printf(s, "%s%s\"%s\"", others, others[0] == 0 ? "" : ", ", info[i].label);
	}
	return fail(s, E_NOTFOUND, "there is no token \"%s\"; there %s. A new one is made by chancery-token create", label,
		    others[0] == 0 ? "is none at all" : scope_printf(s, "is %s", others));
}

static st take_pin(struct scope *s, struct token *t, const char *consent)
{
	const char *given = token_get(t, "pin-fd");
	int number;
	if (given == NULL)
		return terminal_ask(s, scope_printf(s, "PIN of token %s, %s: ", token_get(t, "token"), consent), OTHERWISE,
				    t->secret->pin, &t->secret->pin_len);
	TRY(secret_descriptor(s, "--pin-fd", given, &number));
	AUTO_FD fd = number;
	return secret_read(s, fd, t->secret->pin, sizeof t->secret->pin, &t->secret->pin_len);
}

/* The PIN is offered once in a run: cards block themselves after a few wrong ones. */
static st log_in(struct scope *s, struct token *t)
{
	const char *label = token_get(t, "token");
	if (t->secret->pin_len == 0)
		return fail(s, E_STATE, "no PIN was given: nothing was done");
	TRY(hsm_token_new(s, t->module, label, span_of(t->secret->pin, t->secret->pin_len), &t->token));
	st ready = hsm_token_ready(s, t->token);
	if (ready.code != E_DENIED)
		return ready;
	scope_clear_error(s);
	return fail(s, E_DENIED,
		    "the token \"%s\" refused the PIN: nothing was done. Start again with the right one; a token blocks itself "
		    "after a few wrong ones",
		    label);
}

static st find_key(struct scope *s, struct token *t, const char *label, struct hsm_key **out)
{
	st found = hsm_find(s, t->token, label, out);
	if (found.code != E_NOTFOUND)
		return found;
	scope_clear_error(s);
	return fail(s, E_NOTFOUND, "the token \"%s\" has no key \"%s\": it was not made by chancery-token create",
		    token_get(t, "token"), label);
}

st token_open(struct scope *s, struct token *t, const char *consent)
{
	if (t->module == NULL)
		TRY(token_load(s, t));
	TRY(require_token(s, t, token_get(t, "token")));
	TRY(take_pin(s, t, consent));
	TRY(log_in(s, t));
	TRY(find_key(s, t, TOKEN_SIGN, &t->sign));
	return find_key(s, t, TOKEN_SHARE, &t->share);
}

void token_close(struct token *t)
{
	hsm_key_free(t->sign);
	hsm_key_free(t->share);
	hsm_token_free(t->token);
	hsm_unload(t->module);
	secret_free(t->secret, sizeof *t->secret);
}

st token_sign(struct scope *s, struct token *t, span text, span *out_signature)
{
	uint8_t room[DIGEST_MAX];
	const struct alg_signature *algorithm = alg_signature_default(hsm_key_type(t->sign));
	span digest = digest_of(algorithm->digest, text, room);
	TRY(hsm_sign(s, t->sign, algorithm, digest, out_signature));
	return fail_context(s, hsm_verify(s, hsm_key_spki(t->sign), algorithm, digest, *out_signature),
			    "what the token signed does not verify with its own public key; have the token replaced");
}
