/*
 * ca_register.h - the ca as the instance "register": it verifies operations of the register of persons, puts them on record, and has
 * the register from the records, like everybody else. It cannot invent one, and its database has no part in this.
 */
#pragma once
#include "ca.h"
#include "control_register.h"

#define CA_REGISTER "register" /* as proposals name this instance */

/* From the founding document and the records of class control; without `founding` in the configuration there is no register. */
st ca_register_open(struct scope *s, struct ca *ca);
void ca_register_close(struct ca *ca);

/* For one at a time, with all records that are there: E_NOTFOUND when this ca keeps no register. What is borrowed from it lives until
 * ca_register_give. */
st ca_register_take(struct scope *s, struct ca *ca, const struct control_register **out);
void ca_register_give(struct ca *ca);
/* Is this the key of the CA that says for all operations whose certificate is revoked? As of the last time that the register was taken. */
bool ca_register_is_management(const struct ca *ca, span spki);
/* The rest is for who has taken it. */
span ca_register_founding(const struct ca *ca);
/* The entries from this number on, from the log, as control_entries.h has them: at most so many octets, one entry at least when there
 * is one. */
st ca_register_entries(struct scope *s, struct ca *ca, uint64_t from, size_t max, struct buf *out);
/* Good for one proposal that is carried out, for a week, at every ca with this state directory. */
void ca_register_nonce(struct scope *s, struct ca *ca, uint8_t out[CONTROL_NONCE_LEN], int64_t *out_expires);
/* An operation of this ca as the instance of its configuration. `prepare` refuses what cannot be done, before it is on record. */
struct ca_effect {
	const char *operation;
	st (*prepare)(struct scope *s, struct ca *ca, const struct control_signed *o);
	st (*carry_out)(struct scope *s, struct ca *ca, const struct control_signed *o);
};
extern const struct ca_effect ca_effects[]; /* ca_effect.c */
extern const size_t ca_effect_count;

struct ca_register_done {
	const char *operation, *words;
	struct control_head head;
};
/* A signed operation: verified, on record, in the register or, one of this ca's own, carried out once. A refusal is on record too. E_UNAVAILABLE: it is not known to be on record;
 * the same operation may be brought again. */
st ca_register_execute(struct scope *s, struct ca *ca, span file, const char *actor, struct ca_register_done *out);

/* What operations on record have set, into the database, which may be older than they are. For who has taken the register. */
st ca_register_settle(struct scope *s, struct ca *ca);
/* The same at start. */
st ca_register_settle_start(struct scope *s, struct ca *ca);
/* E_DENIED, on record: `what` takes this operation where a register of persons is kept. */
st ca_register_refuse(struct scope *s, struct ca *ca, const char *operation, const char *actor, const char *what);
