/*
 * control_register.h - the register of persons and roles. It starts with the founding document and grows by operations that were
 * approved; whoever has these texts in order comes to the same register by himself, and takes nobody's word for it.
 *
 *   chancery founding 1
 *   provider: Demo Trust Service Provider
 *   founded: 2026-11-26T18:00:00.000000Z
 *   quorum: 2                        of the founders, who are the first members of the Policy Management Authority
 *   founder: p1                      repeated, each with key, share-key? and identity
 *   key: SubjectPublicKeyInfo, base64
 *   identity: SHA-256 over 16 random octets and the person's name, which are kept elsewhere: they can be erased, this stays
 *   instance: keyd/ca                repeated, each with instance-key
 *   instance-key: SubjectPublicKeyInfo, base64
 *
 *   signature: p1 BASE64             behind a blank line, one of each founder in their order
 */
#pragma once
#include "control_operation.h"

#define CONTROL_PERSONS_MAX   4096
#define CONTROL_FOUNDERS_MAX  16
#define CONTROL_INSTANCES_MAX 256
#define CONTROL_HOLDERS_MAX   8
#define CONTROL_CRL_MAX       (24u << 10)
/* How far the clocks of those who approve and those who carry out may be apart. */
#define CONTROL_CLOCK_SKEW (5 * INT64_C(60000000))
#define CONTROL_CRL_AGE    (24 * INT64_C(3600000000))

struct pki_key;
struct control_person {
	const char *id;
	span spki, share_spki; /* share_spki may be empty */
	struct pki_key *key;
	span serial; /* of the person's certificate, magnitude; empty: none */
	uint8_t identity[CONTROL_HASH_LEN];
	int64_t screened, trained; /* 0: never */
	uint32_t granted;          /* roles, whether or not they have lapsed */
	bool left;
};
struct control_instance {
	const char *name;
	span spki;
	bool retired;
};
struct control_head {
	uint64_t entries;
	uint8_t hash[CONTROL_HASH_LEN]; /* of 0 entries: SHA-256 of the founding document, signatures and all */
};

struct control_register;
/* Reads a founding document and verifies the signatures of all founders. E_CRYPTO when one is missing or wrong. */
st control_register_new(struct scope *s, span founding, struct control_register **out);
void control_register_free(struct control_register *r);
const char *control_register_provider(const struct control_register *r);
struct control_head control_register_head(const struct control_register *r);
/* Was this the head after so many entries? */
bool control_register_was(const struct control_register *r, uint64_t entries, const uint8_t hash[CONTROL_HASH_LEN]);
unsigned control_register_quorum(const struct control_register *r);

const struct control_person *control_person_named(const struct control_register *r, span id); /* NULL: nobody */
const struct control_person *control_person_at(const struct control_register *r, size_t i);   /* NULL behind the last */
/* The roles that this person holds at that time: granted, not left, and trained within the 12 months before. */
//= tsps#5.3.4 a role lapses when the last training is older than 12 months
uint32_t control_roles_held(const struct control_person *p, int64_t at);
/* When the roles lapse if there is no further training; 0: no training. */
int64_t control_training_ends(const struct control_person *p);
const struct control_instance *control_instance_named(const struct control_register *r, span name);
const struct control_instance *control_instance_at(const struct control_register *r, size_t i);
bool control_decision_taken(const struct control_register *r, span decision);
span control_decision_at(const struct control_register *r, size_t i); /* empty behind the last */
bool control_has_management(const struct control_register *r);
struct control_management {
	span spki;          /* of the management CA */
	span group;         /* key group that holds its key; empty: the key is not under quorum */
	const span *holder; /* instances of keyd that serve this group */
	size_t holders;     /* at least one with a group, at most CONTROL_HOLDERS_MAX */
	uint64_t newest;    /* the highest number of its CRLs that are on record */
};
/* False while there is no management CA. The spans are the register's, until its next operation. */
bool control_register_management(const struct control_register *r, struct control_management *out);
/* May what is proposed be carried out with a management CRL that is older than 24 hours, with one person more? Only the activation of the
 * group that holds the management CA's key. */
//= control#late-crl nothing but what brings the next CRL
bool control_takes_old_crl(const struct control_register *r, const struct control_proposal *p);

/* ---- what people sign, put together ---- */
struct control_approval {
	span person;
	enum control_role role; /* the one in which the person approves */
	int64_t approved;
	span signature; /* ECDSA as X.509 carries it, over control_approval_text */
};
/* A proposal with what belongs to it. As a file: the proposal, a blank line, then
 *   approval: PERSON ROLE TIME BASE64    for each, in any order
 *   crl: BASE64                          the management CA's CRL that the proposal names */
struct control_signed {
	struct control_proposal proposal;
	struct control_approval approval[CONTROL_APPROVALS_MAX];
	size_t count;
	span crl;
};
#define CONTROL_SIGNED_MAX 65536
st control_signed_read(struct scope *s, span file, struct control_signed *out);
st control_signed_write(struct scope *s, const struct control_signed *o, struct buf *out);
/* The bytes that the person's token signs: who approves, in which role, when, and the whole proposal. */
st control_approval_text(struct scope *s, const struct control_proposal *p, const struct control_approval *a, struct buf *out);

/* The operation and who approved it, for the record of what it did: "ca.revoke by p3, p8". */
const char *control_approvers_text(struct scope *s, const struct control_signed *o);

/* Does this operation have the approvals that its row wants, from persons who may give them at that time? Everything is verified
 * but what only the executing instance knows: that the nonce is one of its own and unused, and what the parameters mean to it.
 * E_DENIED: persons, roles, quorum; E_STATE: expired, register or CRL of another time; E_CRYPTO: a signature. The message says which
 * rule, and what to do. */
st control_check(struct scope *s, const struct control_register *r, const struct control_signed *o, const char *instance,
		 int64_t at);
/* The same with the first seat alone: who approves there opens an operation for which the others come with something in their hands. */
st control_check_opening(struct scope *s, const struct control_register *r, const struct control_signed *o,
			 const char *instance, int64_t at);
/* One approval of it by itself: the person, the role, the time, the signature. For who shows what counts and what does not. */
st control_approval_check(struct scope *s, const struct control_register *r, const struct control_signed *o,
			  const struct control_approval *a, int64_t at);
/* An operation of the register: checked, and carried out. Nothing changes when it fails. E_CONFLICT when it is in the register. */
st control_register_apply(struct scope *s, struct control_register *r, span file, int64_t at);
/* What control_register_apply would say of it, and the head that there would be: nothing changes. For who puts an operation on record
 * before it takes effect. */
st control_register_would(struct scope *s, const struct control_register *r, span file, int64_t at, struct control_head *out);
/* A CRL of the management CA that is on record (event crl.recorded): from now on whose certificate is on it approves nothing, whatever CRL
 * a proposal comes with; and when it has to be an old one, none below this number is taken. One that is not the newest changes nothing.
 * E_CRYPTO when it is not this management CA's, E_STATE when there is none. */
st control_register_crl_on_record(struct scope *s, struct control_register *r, span der);

/* Of the CRLs of the management CA, what one instance has seen with the operations that it carried out itself: it takes none of a lower number
 * again. That is the instance's alone; the register has to come out the same for everybody. */
struct control_seen {
	uint64_t number;
	uint8_t issuer[CONTROL_HASH_LEN]; /* SHA-256 of the management CA's key: another CA counts anew. Zeros: none was seen */
};
/* E_STATE when the CRL that this operation comes with is an older one. */
st control_seen_check(struct scope *s, const struct control_register *r, const struct control_proposal *p,
		      const struct control_seen *seen);
void control_seen_note(const struct control_register *r, const struct control_proposal *p, struct control_seen *seen);
/* No CRL below this number is taken by who has seen these. */
uint64_t control_crl_lowest(const struct control_register *r, const struct control_seen *seen);

/* ---- founding ---- */
struct control_founder {
	const char *id;
	span spki, share_spki;
	uint8_t identity[CONTROL_HASH_LEN];
	span signature; /* over the text */
};
struct control_founding {
	const char *provider;
	int64_t founded;
	unsigned quorum;
	struct control_founder founder[CONTROL_FOUNDERS_MAX];
	size_t founders;
	struct control_instance instance[CONTROL_INSTANCES_MAX];
	size_t instances;
};
/* The text that every founder signs. */
st control_founding_text(struct scope *s, const struct control_founding *f, struct buf *out);
/* The text with the signatures behind it: the founding document. */
st control_founding_write(struct scope *s, const struct control_founding *f, struct buf *out);
/* Reads the text alone, before it is signed. */
st control_founding_text_read(struct scope *s, span text, struct control_founding *out);
/* The signature of one founder over the text. E_CRYPTO. */
st control_founder_verify(struct scope *s, span text, const struct control_founder *founder);
/* Reads and verifies. */
st control_founding_read(struct scope *s, span document, struct control_founding *out);
