/* The token's beginning: PIN, and two keys that never leave it. */
#include "digest.h"
#include "secret.h"
#include "text.h"
#include "token.h"
#include <unistd.h>

#define OTHERWISE   "start this from one, or give the PIN with --pin-fd N"
#define OFFICER_LEN 8

static st new_pin(struct scope *s, struct token *t)
{
	struct token_secret *secret = t->secret;
	const char *given = token_get(t, "pin-fd");
	int number;
	if (given == NULL)
		return terminal_ask_new(s, "PIN", scope_printf(s, "New PIN of token %s: ", token_get(t, "token")), OTHERWISE,
					secret->pin, &secret->pin_len);
	TRY(secret_descriptor(s, "--pin-fd", given, &number));
	AUTO_FD fd = number;
	TRY(secret_read(s, fd, secret->pin, sizeof secret->pin, &secret->pin_len));
	if (secret->pin_len < TERMINAL_PIN_MIN || secret->pin_len > TERMINAL_PIN_MAX)
		return fail(s, E_INPUT, "a PIN has %d to %d characters, this one %zu", TERMINAL_PIN_MIN, TERMINAL_PIN_MAX,
			    secret->pin_len);
	return OK;
}

/* Nobody knows the officer's PIN: with it somebody could set another PIN and approve in this person's name. */
static st initialise(struct scope *s, struct token *t)
{
	uint8_t random[OFFICER_LEN];
	char officer[2 * OFFICER_LEN + 1];
	const char *label = token_get(t, "token");
	span pin = span_of(t->secret->pin, t->secret->pin_len);
	scope_random(s, random, sizeof random);
	st made = hsm_token_create(s, t->module, label, pin, span_str(hex_write(SPAN_ARRAY(random), officer)));
	wipe(random, sizeof random);
	wipe(officer, sizeof officer);
	TRY(made);
	return hsm_token_new(s, t->module, label, pin, &t->token);
}

static st require_unused(struct scope *s, const struct token *t)
{
	struct hsm_token_info *info;
	size_t count;
	TRY(hsm_tokens(s, t->module, &info, &count));
	for (size_t i = 0; i < count; i++)
		if (info[i].initialised && strcmp(info[i].label, token_get(t, "token")) == 0)
			return fail(
				s, E_CONFLICT,
				"there is a token \"%s\" already: show it with chancery-token show, or choose another label",
				info[i].label);
	return OK;
}

/* Both halves as people compare them and as enrolment wants them. */
static st print_keys(struct scope *s, const struct token *t)
{
	uint8_t room[DIGEST_MAX];
	span sign = hsm_key_spki(t->sign), share = hsm_key_spki(t->share);
	const struct token_member members[] = {
		{ "token", token_get(t, "token") },
		{ "key", base64_text(s, sign) },
		{ "key-sha256", hex_text(s, digest_of(DIGEST_SHA256, sign, room)) },
		{ "share-key", base64_text(s, share) },
		{ "share-key-sha256", hex_text(s, digest_of(DIGEST_SHA256, share, room)) },
	};
	return token_print(s, t, members, sizeof members / sizeof members[0]);
}

st token_run_create(struct scope *s, struct token *t)
{
	struct hsm_report report;
	TRY(token_load(s, t));
	TRY(require_unused(s, t));
	TRY(new_pin(s, t));
	TRY(initialise(s, t));
	TRY(hsm_generate(s, t->token, TOKEN_SIGN, alg_key_named(span_str("ec-p256")), HSM_BACKUP_NONE, &report, &t->sign));
	TRY(hsm_generate_derive(s, t->token, TOKEN_SHARE, &report, &t->share));
	sync(); /* SoftHSM never does; where it writes is not ours to know */
	TRY(print_keys(s, t));
	token_show(
		"Both private keys are on the token and cannot leave it. Hand the two public keys to who enrols you (person.enrol, or "
		"the founding document), and compare their SHA-256 aloud. A forgotten PIN cannot be set anew: it means another token "
		"(person.key).\n");
	return OK;
}

st token_run_show(struct scope *s, struct token *t)
{
	TRY(token_open(s, t, "to show its public keys"));
	return print_keys(s, t);
}
