/*
 * control_internal.h - the register from inside.
 */
#pragma once
#include "control_register.h"

struct control_register {
	struct scope memory; /* what persons, instances and decisions point to */
	const char *provider;
	struct control_person *person;
	size_t persons;
	struct control_instance *instance;
	size_t instances;
	span *decision;
	size_t decisions;
	unsigned quorum;                       /* of the authority */
	span management_name, management_spki; /* empty: no management CA yet */
	struct pki_key *management_key;
	uint64_t crl_number;
	struct control_head *head; /* after 0, 1, 2, ... entries */
	uint64_t entries;
	uint8_t (*used)[CONTROL_HASH_LEN]; /* hashes of the proposals carried out, one each entry */
};

/* A name of ours; an error of the cursor when it is none. */
span control_get_id(struct control_rd *r, const char *name);
/* The line "approval: PERSON ROLE TIME BASE64"; the signature's octets are in the scope. */
void control_get_approval(struct control_rd *r, struct scope *s, struct control_approval *out);
void control_put_approval(struct control_wr *w, struct scope *s, const struct control_approval *a);

struct control_person *control_find_person(const struct control_register *r, span id);
/* For who signs in the name of nobody yet: the founders. */
st control_verify(struct scope *s, const struct pki_key *key, span text, span signature);
st control_add_person(struct scope *s, struct control_register *r, span id, span spki, span share_spki);
st control_set_keys(struct scope *s, struct control_register *r, struct control_person *p, span spki, span share_spki);
st control_add_instance(struct scope *s, struct control_register *r, span name, span spki);
/* Who is named in the CRL may approve nothing. Verified, of this age, and the CRL that the proposal names. */
st control_crl_check(struct scope *s, const struct control_register *r, const struct control_signed *o, int64_t at);
/* What a checked operation does to the register. */
st control_effect(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at);
