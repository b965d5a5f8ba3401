/*
 * cli_found.h - what founding a provider and adding a CA to it have in common: tokens with their PINs, keys, requests signed by
 * HSM keys, and the off-line root at work for a moment.
 */
#pragma once
#include "cli_api.h"
#include "cli_key.h"
#include "cli_process.h"

/* Is it there, and open? */
st cli_found_has_token(struct scope *s, const struct cli *c, const char *zone, const char *token, bool *out);
/* A token with PINs of its own. With a pin-directory (test installations) they are random and kept there, one file a token, 0600;
 * with sealed PINs the PIN is random and sealed to the host, and the officer's thrown away; otherwise the operator types them. `keep`, unless NULL,
 * gets the PIN as a line of a keyd's descriptor. */
st cli_found_token(struct scope *s, const struct cli *c, const char *zone, const char *token, struct buf *keep);
/* The key of this label, which is made unless it is there. */
st cli_found_key(struct scope *s, const struct cli *c, const char *zone, const struct key_info *want, struct key_info *out);
/* PKCS#10 for a key of a zone, signed by that key, as PEM. */
st cli_found_request(struct scope *s, const struct cli *c, const char *zone, const char *label, span subject, char **out_pem);
/* A CA key's limits: its own name as issuer, the longest validity of its profiles. `subject` as text. */
st cli_found_ca_key_wanted(struct scope *s, const char *name, const char *profile, const char *type, const char *subject,
			   struct key_info *out);
st cli_found_ca_key(struct scope *s, const struct cli *c, const char *name, const char *profile, const char *type,
		    const char *subject);
/* Token, key, request and enrolment of the OCSP signer of a CA; the ca renews it from then on. `lives`: seconds; 0: as the profile
 * says. */
st cli_found_ocsp_signer(struct scope *s, const struct cli *c, struct cli_api *api, const char *ca, const char *subject,
			 uint64_t lives, struct buf *keep);
/* A certificate (PEM) to its place in the installation. */
st cli_found_keep(struct scope *s, const struct cli *c, const char *name, const char *pem);
/* A member of an answer that must be there. */
st cli_found_member(struct scope *s, const json_t *answer, const char *name, const char **out);

struct cli_ceremony;
/* The off-line root, started from this installation for the moment. */
struct cli_root {
	struct cli_child keyd, ca;
	cli_api *api;
};
/* Where its key group is under quorum people activate it: in the ceremony `m`, or, when that is NULL, in one of its own. */
st cli_root_open(struct scope *s, const struct cli *c, struct cli_ceremony *m, struct cli_root *out);
/* Stops it, also after a failure; the journals of what it did stay for cli_root_import(). */
void cli_root_close(struct cli_root *root);
st cli_root_sign(struct scope *s, struct cli_root *root, const char *profile, const char *request_pem,
		 const char **out_certificate, const char **out_chain);
/* A new CRL of the root, DER; `order` is the body of POST /v1/cas/root/crls and is taken over. */
st cli_root_crl(struct scope *s, struct cli_root *root, json_t *order, span *out);
/* What the root did so far into the audit log; records that are there already are left out. */
st cli_root_import(struct scope *s, const struct cli *c);
/* The CRL of a CA that is kept elsewhere to the on-line ca, which publishes it: `number this_update next_update entries`. */
st cli_crl_hand_over(struct scope *s, struct cli_api *online, const char *ca, span crl, json_t **out);
