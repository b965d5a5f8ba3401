/*
 * cli_register.h - the register of persons as this machine makes it by itself, from the founding document and the signed operations;
 * and the names of persons, which are kept beside it.
 */
#pragma once
#include "cli_api.h"
#include "control_register.h"

/* Of the CA that says whose certificate is revoked. */
#define CLI_MANAGEMENT_CRL "/v1/cas/management/crl"

/* The founding document of chancery.conf, or the ca's when there is no such file (then its SHA-256 is told, or compared with
 * founding-hash); the entries from the ca, each verified. `file`, unless NULL, gets them as a file (control_entries.h), for a machine
 * without network. */
st cli_register_open(struct scope *s, const struct cli *c, struct cli_api *api, struct buf *file,
		     struct control_register **out);
/* For commands that only look: from the file of --register, without network, or else from the ca. */
#define CLI_REGISTER_OPTION                                                                                                    \
	{                                                                                                                      \
		.name = "register", .value = "FILE",                                                                           \
		.help = "the register as `op register` wrote it, instead of the ca: needs no network"                          \
	}
st cli_register_look(struct scope *s, const struct cli *c, struct control_register **out);
typedef struct control_register control_register;
DEFINE_AUTO(control_register, control_register_free)

/* ---- names: a file per person, "chancery person 1", person, name, random, which can be erased ---- */
#define CLI_NAME_RANDOM 16
struct cli_person {
	const char *id, *name;
	uint8_t random[CLI_NAME_RANDOM];
	uint8_t identity[CONTROL_HASH_LEN]; /* SHA-256 over random and name: what the register has */
};
const char *cli_person_path(struct scope *s, const struct cli *c, const char *id);
st cli_person_write(struct scope *s, const struct cli *c, const struct cli_person *person);
st cli_person_read(struct scope *s, const struct cli *c, const char *id, struct cli_person *out);
void cli_person_identity(struct cli_person *person);
/* The name of a person on the register, when the file is here and is what the register has; "-" without it. */
const char *cli_person_name(struct scope *s, const struct cli *c, const struct control_person *person);

/* ---- what chancery-token prints, kept in a file: "key: BASE64" and so on ---- */

/* What stands behind "NAME: " in a file of lines; empty: there is no such line. */
span cli_line_value(span file, const char *name);
