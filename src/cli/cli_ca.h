/* cli_ca.h - making a CA: shared by `ca create` and init. */
#pragma once
#include "cli_found.h"

/* POST /v1/cas for a key of the same name with the usual urls, and `more` (taken over, may be NULL) on top; a null in it
 * leaves a member out. */
st cli_ca_request(struct scope *s, const struct cli *c, struct cli_api *api, const char *name, const char *profile,
		  const char *subject, json_t *more, json_t **out);
/* Its request signed by the root, the certificate brought back and kept. */
st cli_ca_certify(struct scope *s, const struct cli *c, struct cli_api *api, struct cli_root *root, const char *name,
		  const char *profile, const char *request);
