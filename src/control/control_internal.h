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
	uint64_t crl_number;                                /* the highest that came with an operation */
	int64_t crl_came;                                   /* when that was */
	uint64_t crl_newest;                                /* the highest that is on record */
	struct buf newest;                                  /* that CRL */
	int64_t newest_of;                                  /* its thisUpdate */
	span management_group, holder[CONTROL_HOLDERS_MAX]; /* where the management CA's key is; empty: not under quorum */
	size_t holders;
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
/* The CRL that the proposal names: verified, and of the last 24 hours, or an old one where that may do and is said. */
st control_crl_check(struct scope *s, const struct control_register *r, const struct control_signed *o, int64_t at);
/* Who is named in that CRL, or in the newest that is on record, may approve nothing. */
st control_crl_not_named(struct scope *s, const struct control_register *r, const struct control_signed *o,
			 const struct control_person *p, int64_t at);
/* The same with that newest one alone. */
st control_newest_not_naming(struct scope *s, const struct control_register *r, const struct control_person *p, int64_t at);
/* E_DENIED: the person has left, is not this, or the training has lapsed. */
st control_check_role_held(struct scope *s, const struct control_person *p, enum control_role role, int64_t at);
struct pki_crl;
/* A verified CRL of the management CA, unless a newer one is known. */
void control_keep_newest(struct control_register *r, const struct pki_crl *crl, span der);
/* A CRL of the CA with this key and name: signature verified. */
st control_crl_read(struct scope *s, const struct pki_key *key, span name, span der, struct pki_crl *out);
/* With an entry of the register: none below it comes with a later one. */
void control_crl_came(struct control_register *r, uint64_t number, int64_t at);
/* What a checked operation does to the register. */
st control_effect(struct scope *s, struct control_register *r, const struct control_proposal *p, int64_t at);
