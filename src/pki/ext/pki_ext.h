/*
 * pki_ext.h - certificate extensions: one file each, one const struct each. To add one: a file pki_ext_NAME.c with its ops,
 * a line in pki_ext_all, a row in the profiles that carry it.
 */
#pragma once
#include "pki_certificate.h"

struct pki_profile;
/* What extensions are made from and checked against. */
struct pki_ext_context {
	const struct pki_profile *profile;
	span subject_spki;
	span issuer_spki;         /* the subject's own when self-signed */
	span issuer_key_identifier; /* issuer certificate's subjectKeyIdentifier; empty: computed from issuer_spki */
	const char *crl_url;      /* NULL: none configured */
	const char *issuer_url;   /* caIssuers */
	const char *ocsp_url;
	const char *cps_url;
	const char *const *dns_names; /* subjectAltName of TLS servers; NULL-terminated */
	const char *const *ip_addresses;
	const char *const *emails;
	const char *role;         /* internal: trusted role of an operator or component */
	int64_t not_before, not_after;
};
struct pki_ext_ops {
	const char *name;         /* as RFC 5280 names it: "keyUsage" */
	span oid;
	bool critical;            /* the standard's rule for it; a profile row may only follow it */
	/* Writes the extension's value; sets *out_present false when the context gives no reason for it. */
	st (*build)(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present);
	/* The value read back from a finished TBS against the context: exact meaning, strict DER. */
	st (*check)(struct scope *s, const struct pki_ext_context *context, span value);
	/* One line for people. */
	st (*print)(struct scope *s, span value, char **out);
};
extern const struct pki_ext_ops *const pki_ext_all[]; /* NULL-terminated */
const struct pki_ext_ops *pki_ext_of(span oid);       /* NULL when unknown */
