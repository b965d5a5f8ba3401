/*
 * cli_rehearsal.h - the scripted persons of a test installation: founders, officers and custodians with tokens of their own, whose PINs lie in
 * test-secrets/people. They do their part of a ceremony with the programs that people use; there are none in an installation that is no test.
 */
#pragma once
#include "cli_ceremony.h"

#define CLI_REHEARSAL_LEADER "p1"

/* Were they made for this installation? */
bool cli_rehearsal_here(struct scope *s, const struct cli *c);
/* Makes their tokens, each with a random PIN, and their names. */
st cli_rehearsal_cast(struct scope *s, const struct cli *c, struct cli_cast *out);
/* A founder signs the text of the founding document. */
st cli_rehearsal_sign_founding(struct scope *s, const struct cli *c, const char *text, struct control_founder *founder);
/* Those who take the seats of these operations approve them, in the order of the cast, as many as there are; of an activation, who opens it. */
st cli_rehearsal_approve(struct scope *s, const struct cli *c, const struct cli_ceremony_row *row, size_t count);
/* A custodian gives the share, sealed to the statement, as the file `out`. */
st cli_rehearsal_share(struct scope *s, const struct cli *c, const char *person, const char *operation, const char *statement,
		       const char *share, const char *out);
