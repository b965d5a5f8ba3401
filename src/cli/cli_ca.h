/* cli_ca.h - making a CA: shared by `ca create` and init. */
#pragma once
#include "cli_ca_quorum.h"
#include "cli_found.h"

/* Sets up the CA of this key with the usual urls, and `more` (taken over, may be NULL) on top; a null in it leaves a member out. By the operation
 * ca.create in a ceremony, else (`m` is NULL, or the off-line root's ca) by POST /v1/cas. */
st cli_ca_request(struct scope *s, const struct cli *c, struct cli_api *api, struct cli_ceremony *m,
		  const struct cli_ca_key *key, json_t *more, json_t **out);
/* Proposes that operation, for cli_ca_request() to carry out with the same `more`. */
st cli_ca_plan(struct scope *s, struct cli_ceremony *m, const struct cli_ca_key *key, json_t *more);
/* Its request signed by the root, the certificate brought back and kept. */
st cli_ca_certify(struct scope *s, const struct cli *c, struct cli_api *api, struct cli_root *root, const char *name,
		  const char *profile, const char *request);
