/*
 * cli_init.h - founding a provider: what was asked for, and the configuration files it gets.
 */
#pragma once
#include "cli.h"

struct cli_init {
	bool test;
	bool quorum;                /* the keys of CAs are nobody's alone: always, but for tests that do without */
	const char *people;         /* the file that names the persons; NULL: scripted ones */
	bool sealed;                /* PINs of the other tokens are sealed to this host; else typed, or in files of a test */
	bool goes_on;               /* a founding that was interrupted, */
	const char *interrupted_at; /* at this step */
	const char *tokens;         /* that were made so far, a line "token: ZONE LABEL" each; never NULL */
	const char *founding_hash;  /* SHA-256 of the founding document, once it is signed */
	const char *name;           /* "TEST Demo Provider" */
	const char *country;
	const char *organisation; /* TEST in front for test installations */
	const char *organisation_identifier;
	const char *mark; /* "TEST " or "" in front of every CN */
	const char *host; /* address of all listeners */
	unsigned va_http, va_push, tsa_http, tsa_https, tsa_management, ca_https, metrics; /* ports */
	const char *public_url;                                                            /* "http://127.0.0.1:8080/" */
	const char *tsa_policy;                                                            /* dotted */
	const char *clock;                                                                 /* kernel or test */
	const char *module;
	const char *module_init_args, *module_directory; /* NULL, or with "{zone}" where each zone has its own */
	const char *postgresql;                          /* connection for the ca's database; NULL: a file of SQLite */
	uint64_t lives; /* seconds that OCSP signers', daemons' and operators' certificates live; 0: as their profiles say */
};

/* Refuses what would fail later: values, ports, a directory that holds something (with --start-over an interrupted installation is
 * moved aside), a missing terminal. Tells a person what will be asked. */
st cli_init_check(struct scope *s, const struct cli *c, const struct cli_init *want);
/* The steps, up to an installation that can be started. */
st cli_init_steps(struct scope *s, struct cli *c, struct cli_init *want);

/* ---- the founding that is under way ---- */
bool cli_init_begun(struct scope *s, const struct cli *c);
/* This step is under way; with it the options of the command and the tokens that were made are kept. */
st cli_init_mark(struct scope *s, const struct cli *c, const struct cli_init *want, const char *step);
st cli_init_unmark(struct scope *s, const struct cli *c);
/* The step at which it was interrupted, and the tokens; the options it began with become those of this command, unless others are given. */
st cli_init_resume(struct scope *s, struct cli *c, const char **out_step, const char **out_tokens);

/* All configuration files. `founding`: the keyds and the ca write their records to journals, and the ca has no listener. */
st cli_init_write(struct scope *s, const struct cli *c, const struct cli_init *want, bool founding);
/* The file `env`, for shells. */
st cli_init_write_env(struct scope *s, const struct cli *c, const struct cli_init *want);
/* The name of the audit log, which its checkpoints open with. */
const char *cli_init_origin(const struct cli_init *want);
/* "C=.., O=.., CN=<mark><cn>" as text. */
char *cli_init_subject(struct scope *s, const struct cli_init *want, const char *cn);

extern const char *const cli_init_zones[]; /* NULL-terminated */
