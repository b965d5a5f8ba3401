/*
 * pki_profile.h - certificate profiles as tables: "root", "issuing-ca", "management-ca", "ncp-plus-n", "ocsp-signer", "tsu",
 * "tls-server", "tls-client" (daemons), "operator". To add one: a row in pki_profile_rows.c.
 */
#pragma once
#include "pki_ext.h"

enum pki_presence { PKI_FORBIDDEN, PKI_OPTIONAL, PKI_REQUIRED };
struct pki_profile_attribute {
	const char *name; /* short name as in pki_name.h */
	enum pki_presence presence;
};
enum pki_issuer_kind { PKI_SELF_SIGNED, PKI_BY_ROOT, PKI_BY_ISSUING, PKI_BY_MANAGEMENT };

/* Our own policy for internal certificates, see docs/decisions/0006-internal-object-identifiers.md. */
#define PKI_POLICY_INTERNAL "1.3.6.1.4.1.47718.2.0.9.1"
#define PKI_POLICY_NCP_PLUS "0.4.0.2042.1.2"
#define PKI_POLICY_ANY      "2.5.29.32.0"

#define PKI_PROFILE_ATTRIBUTES_MAX 12
#define PKI_PROFILE_EXTENSIONS_MAX 16
struct pki_profile {
	const char *name;
	const char *title;
	enum pki_issuer_kind issuer;
	bool ca;
	int path_length;    /* -1: none */
	unsigned key_usage; /* named bits of RFC 5280: bit 0 digitalSignature ... bit 5 keyCertSign, bit 6 cRLSign */
	const char *const *extended_key_usage; /* dotted OIDs, NULL-terminated; NULL: no extension */
	bool extended_key_usage_critical;
	const char *const *policies;             /* dotted OIDs, NULL-terminated */
	int64_t standard_validity, max_validity; /* microseconds */
	int64_t private_key_usage;               /* TSU: privateKeyUsagePeriod from notBefore; 0: none */
	bool natural_person;                     /* the subject names one: name or pseudonym, not both (EN 319 412-2, 4.2.4) */
	/* In encoding order; any other attribute is refused. */
	struct pki_profile_attribute subject[PKI_PROFILE_ATTRIBUTES_MAX];
	struct {
		const struct pki_ext_ops *ops;
		enum pki_presence presence;
	} extension[PKI_PROFILE_EXTENSIONS_MAX]; /* in encoding order; any other extension is refused */
	enum alg_use use;
	const char *clause; /* the standard's clause behind it */
};
const struct pki_profile *pki_profile_named(span name); /* NULL when unknown */
const struct pki_profile *pki_profile_at(size_t i);     /* NULL behind the last */

struct pki_issue {
	const struct pki_profile *profile;
	span serial;              /* magnitude */
	span issuer;              /* whole Name */
	int64_t issuer_not_after; /* INT64_MAX when self-signed */
	span subject;             /* whole Name, see pki_profile_subject */
	const struct alg_signature *algorithm;
	struct pki_ext_context ext; /* with profile, keys, validity */
};
/* The subject a certificate gets: the request's, or the operator's override, put in the profile's order; refuses attributes the
 * profile forbids or lacks. */
st pki_profile_subject(struct scope *s, const struct pki_profile *profile, span requested, span *out);
st pki_profile_build_tbs(struct scope *s, const struct pki_issue *issue, span *out_tbs);
/* Pre-issuance check of the finished bytes, read back without anything the builder left in memory: every field and extension
 * against the profile row, dates, sizes, algorithm policy. Also what `cert lint` runs (issue->serial etc. may be empty there:
 * not compared). E_CRYPTO or E_INPUT naming rule and clause. */
st pki_profile_check(struct scope *s, const struct pki_issue *issue, span tbs);
/* Every finding instead of the first; what `issue` leaves empty but for the profile is not compared, for `cert lint`. */
st pki_profile_lint(struct scope *s, const struct pki_issue *issue, span tbs,
		    st (*finding)(struct scope *s, const char *rule, const char *text, void *arg), void *arg);
/* JSON or text of a row for `profile show` is the cli's: it reads the row. */
