/*
 * keyd_group.h - shares of key groups, between the files that make groups, exchange their custodians and activate them. Part of
 * keyd_control.h, where the calls are that others need.
 *
 * STATE/groups/GROUP/INDEX is one custodian's sealed share. They come out of the PIN (32 characters), or, of a group whose custodians were
 * exchanged, out of the PIN before and the PIN, one behind the other: whichever of the two the token has, these shares open it.
 */
#pragma once
#include "keyd_control.h"

#define KEYD_PIN_LEN 32

/* A page for the shares and for what each of them comes out of. */
struct keyd_secrets {
	struct control_share share[CONTROL_SHARES_MAX];
	uint8_t octets[CONTROL_SHARES_MAX][CONTROL_SECRET_MAX + 8];
};

_Static_assert(sizeof(struct keyd_secrets) <= 4096, "secrets fit a page");

/* ---- keyd_share.c ---- */
/* Who is to have shares, as an operation says it. */
struct keyd_plan {
	const char *group;
	const uint8_t *proposal; /* its SHA-256 */
	unsigned threshold, count;
	const struct control_person *custodian[CONTROL_SHARES_MAX];
};
/* E_DENIED: somebody is no key custodian now; E_STATE: somebody has no share key; E_INPUT: the threshold, or a name twice. */
st keyd_plan_group(struct scope *s, const struct keyd_work *w, struct keyd_plan *out);
/* Every name in a directory of the state directory is that of a key group; what was put aside there is removed. */
st keyd_each_group(struct scope *s, struct keyd *d, const char *directory,
		   st (*take)(struct scope *, struct keyd *, const char *));
char *keyd_group_path(struct scope *s, const struct keyd *d, const char *group);
/* Splits the secret and writes each share, sealed, into the directory, which is made. Durable when it returns. */
st keyd_write_shares(struct scope *s, const struct keyd_plan *plan, const char *directory, span secret);
/* The same in the place of the shares that the group has: at every moment it has all of the ones or all of the others. */
st keyd_exchange_shares(struct scope *s, struct keyd *d, const struct keyd_plan *plan, span secret);
/* KEYD_PIN_LEN characters that every module takes, and a 0. */
void keyd_random_pin(const struct scope *s, char *out);
