/*
 * cli_init_quorum.h - the keys of CAs when no one has them alone: made and used by operations (docs/dev/operations.md).
 */
#pragma once
#include "cli_rehearsal.h"

/* Key group, activated, and the key in it, with the limits that the profile asks for. */
st cli_init_quorum_key(struct scope *s, const struct cli *c, struct cli_api *api, const char *zone, const char *name,
		       const char *profile, const char *type, const char *subject);
/* management.certificate: from then on every operation comes with the CRL of the CA `management`, whose key is in the key group of that name. */
st cli_init_quorum_management(struct scope *s, const struct cli *c, struct cli_api *api);
/* ca.certify: key `issuer` of the zone may sign one certificate, of the CA whose key has this name. */
st cli_init_quorum_certify(struct scope *s, const struct cli *c, struct cli_api *api, const char *zone, const char *issuer,
			   const char *name, const char *profile, const char *subject);
