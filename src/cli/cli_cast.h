/*
 * cli_cast.h - the persons with whom a provider is founded: who they are, which role each takes, and the public keys of their own tokens. A file
 * of the same syntax as configurations; `chancery founding people` prints one to fill in.
 *
 *   quorum = 2
 *   threshold = 2
 *
 *   [person p1]
 *   name = Greet Maes
 *   role = authority-member
 *   keys = p1.keys
 */
#pragma once
#include "cli_register.h"

#define CLI_CAST_MAX 64

struct cli_cast_person {
	const char *id, *name;
	uint32_t roles;
	span key, share_key;       /* SubjectPublicKeyInfo, base64 */
	int64_t screened, trained; /* 0: founders */
};
struct cli_cast {
	struct cli_cast_person person[CLI_CAST_MAX];
	size_t count;
	unsigned quorum, threshold;
};
static inline bool cli_cast_founds(const struct cli_cast_person *p)
{
	return (p->roles & CONTROL_IS(AUTHORITY_MEMBER)) != 0;
}

/* E_CONFIG or E_DENIED say what is wrong with the file, before anything is made: a role that does not go with another, training of last year,
 * two persons with one token, nobody for a seat that the founding needs. */
st cli_cast_read(struct scope *s, const char *path, struct cli_cast *out);
/* The keys in what `chancery-token create` printed. */
st cli_cast_keys(struct scope *s, span file, struct cli_cast_person *out);
/* Their names to where names are kept; those that are there stay. */
st cli_cast_keep_names(struct scope *s, const struct cli *c, const struct cli_cast *cast);
extern const struct conf_schema cli_cast_schema;
/* A file to fill in. */
extern const char cli_cast_example[];
