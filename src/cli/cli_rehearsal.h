/*
 * cli_rehearsal.h - the scripted persons of a test installation: founders, officers and custodians with tokens of their own, whose PINs lie in
 * test-secrets/people. They do what people do (docs/guide/operators.md), with the programs that people use; there are none in an
 * installation that is no test.
 */
#pragma once
#include "cli_op.h"

/* Were they made for this installation? */
bool cli_rehearsal_here(struct scope *s, const struct cli *c);
/* Their tokens and names, each with a random PIN. */
st cli_rehearsal_people(struct scope *s, const struct cli *c);
/* The founding document, signed by the founders' tokens, with these instances; its SHA-256 in hexadecimal. */
struct cli_rehearsal_instance {
	const char *name;
	span spki;
};
st cli_rehearsal_found(struct scope *s, const struct cli *c, const char *provider,
		       const struct cli_rehearsal_instance *instance, size_t count, const char **out_hash);
/* Persons are enrolled and given their roles, by the register's instance behind `api`. */
st cli_rehearsal_staff(struct scope *s, const struct cli *c, struct cli_api *api);
/* The register as it is, into the file that off-line keyds read. */
st cli_rehearsal_export(struct scope *s, const struct cli *c, struct cli_api *api);
#define CLI_REHEARSAL_REGISTER "state/register"
#define CLI_REHEARSAL_DECISION "d-founding"

/* An operation, proposed, approved by those whose seats it has, and carried out. Parameters are name and value in turn, NULL at the end. */
st cli_rehearsal_do(struct scope *s, const struct cli *c, struct cli_api *api, const char *instance, const char *operation,
		    const char *const *parameters);
/* A key group of a keyd that runs: opened by two, activated by two custodians. Nothing when it is active. */
st cli_rehearsal_activate(struct scope *s, const struct cli *c, struct cli_api *api, const char *zone, const char *group);
/* `chancery op rehearse` */
st cli_rehearse(struct scope *s, struct cli *c);
