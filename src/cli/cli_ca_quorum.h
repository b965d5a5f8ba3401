/*
 * cli_ca_quorum.h - the keys of CAs when no one has them alone: made and used by operations (docs/dev/operations.md). What is there already is
 * left as it is, so that a ceremony that was interrupted goes on.
 */
#pragma once
#include "cli_ceremony.h"

struct cli_ca_key {
	const char *zone, *name; /* of CA, key and key group */
	const char *profile, *type, *subject;
};
/* Key groups for these, with the key custodians on the register; not activated yet. */
st cli_ca_groups(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, size_t count);
st cli_ca_activate(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, size_t count);
/* The keys, in groups that are active, with the limits that the profiles ask for. */
st cli_ca_keys(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, size_t count);
/* Proposes ca.certify: the key of `issuer` may sign one certificate, of the CA of this key. */
st cli_ca_plan_certify(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *issuer, const struct cli_ca_key *key);
/* Carries it out. */
st cli_ca_allow(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *issuer, const struct cli_ca_key *key);
/* ca.take-in: the on-line ca publishes the certificate and CRLs of the CA of this key, which is run off line. */
st cli_ca_plan_take_in(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key);
st cli_ca_take_in(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key);
/* management.certificate: from then on every operation comes with the CRL of the CA of this key. Nothing when the register names one. */
st cli_ca_plan_management(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key);
st cli_ca_name_management(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key);
