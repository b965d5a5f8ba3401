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
	span issuer_spki;           /* the subject's own when self-signed */
	span issuer_key_identifier; /* issuer certificate's subjectKeyIdentifier; empty: computed from issuer_spki */
	const char *crl_url;        /* NULL: none configured */
	const char *issuer_url;     /* caIssuers */
	const char *ocsp_url;
	const char *cps_url;
	const char *const *dns_names; /* subjectAltName of TLS servers; NULL-terminated */
	const char *const *ip_addresses;
	const char *const *emails;
	const char *role; /* internal: trusted role of an operator or component */
	int64_t not_before, not_after;
	bool any; /* check without an issuance behind it (lint): what the context lacks is not compared */
};
struct pki_ext_ops {
	const char *name; /* as RFC 5280 names it: "keyUsage" */
	span oid;
	bool critical; /* the standard's rule for it; see pki_ext_critical */
	/* Writes the extension's value; sets *out_present false when the context gives no reason for it. */
	st (*build)(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present);
	/* The value read back from a finished TBS against the context: exact meaning, strict DER. */
	st (*check)(struct scope *s, const struct pki_ext_context *context, span value);
	/* One line for people. */
	st (*print)(struct scope *s, span value, char **out);
};
extern const struct pki_ext_ops *const pki_ext_all[]; /* NULL-terminated */
const struct pki_ext_ops *pki_ext_of(span oid);       /* NULL when unknown */
extern const struct pki_ext_ops pki_ext_basic_constraints, pki_ext_key_usage, pki_ext_extended_key_usage,
	pki_ext_subject_key_identifier, pki_ext_authority_key_identifier, pki_ext_certificate_policies,
	pki_ext_crl_distribution_points, pki_ext_authority_info_access, pki_ext_subject_alt_name,
	pki_ext_private_key_usage_period, pki_ext_ocsp_nocheck, pki_ext_role;
/* Whether this extension is critical in certificates of this profile. */
bool pki_ext_critical(const struct pki_ext_ops *ops, const struct pki_profile *profile);

/* ---- what others read from certificates ---- */
/* The trusted role or component of an internal certificate; NULL when it carries none. */
st pki_ext_role_get(struct scope *s, const struct pki_certificate *c, char **out_role);
/* subjectKeyIdentifier; empty when absent. */
st pki_ext_key_identifier_get(struct scope *s, const struct pki_certificate *c, span *out_identifier);
/* End of the private key's use (TSU): INT64_MAX when the certificate does not limit it. */
st pki_ext_private_key_end_get(struct scope *s, const struct pki_certificate *c, int64_t *out_end);
/* Whether extendedKeyUsage is present and holds this dotted OID. */
st pki_ext_purpose_get(struct scope *s, const struct pki_certificate *c, const char *purpose, bool *out_present);
/* Whether basicConstraints says CA. */
st pki_ext_ca_get(struct scope *s, const struct pki_certificate *c, bool *out_ca);
