#include "pki_profile_internal.h"

/*
 * The certificate profiles (requirements 2.2). To add one: a row here, and a row in profile_test.c; nothing else.
 * Attributes and extensions stand in the order in which they are encoded.
 */
// clang-format off: it does not read lists in macros as lists
#define DIGITAL_SIGNATURE (1u << 0)
#define KEY_CERT_SIGN     (1u << 5)
#define CRL_SIGN          (1u << 6)

#define YEARS(n) ((n)*365 * MOMENT_DAY + (n) / 4 * MOMENT_DAY)
#define DAYS(n)  ((n)*MOMENT_DAY)

static const char *const only_any_policy[] = { PKI_POLICY_ANY, NULL };
static const char *const only_ncp_plus[] = { PKI_POLICY_NCP_PLUS, NULL };
static const char *const only_internal[] = { PKI_POLICY_INTERNAL, NULL };

#define SERVER_AUTH "1.3.6.1.5.5.7.3.1"
#define CLIENT_AUTH "1.3.6.1.5.5.7.3.2"
static const char *const person_purposes[] = { CLIENT_AUTH, "1.3.6.1.5.5.7.3.4" /* emailProtection */, NULL };
static const char *const ocsp_purposes[] = { "1.3.6.1.5.5.7.3.9", NULL };
static const char *const time_purposes[] = { "1.3.6.1.5.5.7.3.8", NULL };
static const char *const server_purposes[] = { SERVER_AUTH, CLIENT_AUTH, NULL };
static const char *const client_purposes[] = { CLIENT_AUTH, NULL };

//= en319412-2#4.2.3 C, O, organizationIdentifier and CN name the issuer, one each
#define AUTHORITY_SUBJECT                                                                                                      \
	{ "C", PKI_REQUIRED }, { "O", PKI_REQUIRED }, { "organizationIdentifier", PKI_REQUIRED },                              \
	{                                                                                                                      \
		"CN", PKI_REQUIRED                                                                                             \
	}
#define SERVICE_SUBJECT                                                                                                        \
	{ "C", PKI_REQUIRED }, { "O", PKI_REQUIRED }, { "organizationIdentifier", PKI_OPTIONAL },                              \
	{                                                                                                                      \
		"CN", PKI_REQUIRED                                                                                             \
	}
#define INTERNAL_SUBJECT                                                                                                       \
	{ "C", PKI_OPTIONAL }, { "O", PKI_OPTIONAL }, { "organizationIdentifier", PKI_OPTIONAL }, { "OU", PKI_OPTIONAL },      \
		{ "serialNumber", PKI_OPTIONAL },                                                                              \
	{                                                                                                                      \
		"CN", PKI_REQUIRED                                                                                             \
	}

#define KEY_IDENTIFIERS                                                                                                        \
	{ &pki_ext_subject_key_identifier, PKI_REQUIRED },                                                                     \
	{                                                                                                                      \
		&pki_ext_authority_key_identifier, PKI_REQUIRED                                                                \
	}
#define STATUS_ADDRESSES                                                                                                       \
	{ &pki_ext_crl_distribution_points, PKI_REQUIRED },                                                                    \
	{                                                                                                                      \
		&pki_ext_authority_info_access, PKI_REQUIRED                                                                   \
	}
#define INTERNAL_ADDRESSES                                                                                                     \
	{ &pki_ext_crl_distribution_points, PKI_OPTIONAL },                                                                    \
	{                                                                                                                      \
		&pki_ext_authority_info_access, PKI_OPTIONAL                                                                   \
	}

// clang-format on
static const struct pki_profile rows[] = {
	{
		.name = "root",
		.title = "root certificate authority, off-line",
		.issuer = PKI_SELF_SIGNED,
		.ca = true,
		.path_length = -1,
		.key_usage = KEY_CERT_SIGN | CRL_SIGN,
		.standard_validity = YEARS(20),
		.max_validity = YEARS(25),
		.subject = { AUTHORITY_SUBJECT },
		.extension = { { &pki_ext_basic_constraints, PKI_REQUIRED }, { &pki_ext_key_usage, PKI_REQUIRED }, KEY_IDENTIFIERS },
		.use = ALG_USE_CA,
		.clause = "EN 319 412-2 4.2.3, EN 319 411-1 GEN-6.3.3",
	},
	{
		.name = "issuing-ca",
		.title = "issuing certificate authority below the root",
		.issuer = PKI_BY_ROOT,
		.ca = true,
		.path_length = 0,
		.key_usage = KEY_CERT_SIGN | CRL_SIGN,
		.policies = only_any_policy,
		.standard_validity = YEARS(10),
		.max_validity = YEARS(15),
		.subject = { AUTHORITY_SUBJECT },
		.extension = {
			{ &pki_ext_basic_constraints, PKI_REQUIRED }, { &pki_ext_key_usage, PKI_REQUIRED },
			{ &pki_ext_certificate_policies, PKI_REQUIRED }, STATUS_ADDRESSES, KEY_IDENTIFIERS,
		},
		.use = ALG_USE_CA,
		.clause = "EN 319 412-2 4.2.3, RFC 5280 4.2.1.9",
	},
	{
		.name = "management-ca",
		.title = "internal management authority, never below the public root",
		.issuer = PKI_SELF_SIGNED,
		.ca = true,
		.path_length = 0,
		.key_usage = KEY_CERT_SIGN | CRL_SIGN,
		.standard_validity = YEARS(10),
		.max_validity = YEARS(15),
		.subject = { { "C", PKI_OPTIONAL }, { "O", PKI_REQUIRED }, { "organizationIdentifier", PKI_OPTIONAL },
			     { "OU", PKI_OPTIONAL }, { "CN", PKI_REQUIRED } },
		.extension = { { &pki_ext_basic_constraints, PKI_REQUIRED }, { &pki_ext_key_usage, PKI_REQUIRED }, KEY_IDENTIFIERS },
		.use = ALG_USE_INTERNAL,
		.clause = "practice statement 6.7, 6.1.7",
	},
	{
		.name = "ncp-plus-n",
		.title = "natural person, NCP+, authentication (key usage type C)",
		.issuer = PKI_BY_ISSUING,
		.path_length = -1,
		.key_usage = DIGITAL_SIGNATURE,
		.extended_key_usage = person_purposes,
		.policies = only_ncp_plus,
		.standard_validity = YEARS(2),
		.max_validity = YEARS(3),
		.natural_person = true,
		.subject = { { "C", PKI_REQUIRED }, { "O", PKI_OPTIONAL }, { "organizationIdentifier", PKI_OPTIONAL },
			     { "OU", PKI_OPTIONAL }, { "title", PKI_OPTIONAL }, { "surname", PKI_OPTIONAL },
			     { "givenName", PKI_OPTIONAL }, { "pseudonym", PKI_OPTIONAL }, { "serialNumber", PKI_OPTIONAL },
			     { "CN", PKI_REQUIRED } },
		.extension = {
			{ &pki_ext_key_usage, PKI_REQUIRED }, { &pki_ext_extended_key_usage, PKI_REQUIRED },
			{ &pki_ext_certificate_policies, PKI_REQUIRED }, STATUS_ADDRESSES,
			{ &pki_ext_subject_alt_name, PKI_OPTIONAL }, KEY_IDENTIFIERS,
		},
		.use = ALG_USE_END_ENTITY,
		.clause = "EN 319 412-2 4.2.4, 4.3.2 (type C), EN 319 411-1 NCP+",
	},
	{
		.name = "ocsp-signer",
		.title = "OCSP signer of one issuing authority",
		.issuer = PKI_BY_ISSUING,
		.path_length = -1,
		.key_usage = DIGITAL_SIGNATURE,
		.extended_key_usage = ocsp_purposes,
		.standard_validity = DAYS(30),
		.max_validity = DAYS(90),
		.subject = { SERVICE_SUBJECT },
		//= en319411-1#CSS-6.6.3-01B no id-ad-ocsp; rfc9919 no cRLDistributionPoints: neither is in the row
		.extension = {
			{ &pki_ext_key_usage, PKI_REQUIRED }, { &pki_ext_extended_key_usage, PKI_REQUIRED },
			{ &pki_ext_ocsp_nocheck, PKI_REQUIRED }, KEY_IDENTIFIERS,
		},
		.use = ALG_USE_STATUS,
		.clause = "RFC 6960 4.2.2.2, EN 319 411-1 CSS-6.6.3-01B",
	},
	{
		.name = "tsu",
		.title = "time-stamping unit",
		.issuer = PKI_BY_ISSUING,
		.path_length = -1,
		.key_usage = DIGITAL_SIGNATURE,
		.extended_key_usage = time_purposes,
		.extended_key_usage_critical = true,
		.policies = only_ncp_plus,
		.standard_validity = YEARS(5),
		.max_validity = YEARS(6),
		.private_key_usage = YEARS(1),
		.subject = { SERVICE_SUBJECT },
		.extension = {
			{ &pki_ext_key_usage, PKI_REQUIRED }, { &pki_ext_extended_key_usage, PKI_REQUIRED },
			{ &pki_ext_private_key_usage_period, PKI_REQUIRED }, { &pki_ext_certificate_policies, PKI_REQUIRED },
			STATUS_ADDRESSES, KEY_IDENTIFIERS,
		},
		.use = ALG_USE_TIME_STAMP,
		.clause = "RFC 3161 2.3, EN 319 422 6, EN 319 421 TIS-8.1-01",
	},
	{
		.name = "tls-server",
		.title = "TLS of a daemon that listens, and may dial out as well",
		.issuer = PKI_BY_MANAGEMENT,
		.path_length = -1,
		.key_usage = DIGITAL_SIGNATURE,
		.extended_key_usage = server_purposes,
		.policies = only_internal,
		.standard_validity = DAYS(90),
		.max_validity = DAYS(398),
		.subject = { INTERNAL_SUBJECT },
		.extension = {
			{ &pki_ext_key_usage, PKI_REQUIRED }, { &pki_ext_extended_key_usage, PKI_REQUIRED },
			{ &pki_ext_certificate_policies, PKI_REQUIRED }, INTERNAL_ADDRESSES,
			{ &pki_ext_subject_alt_name, PKI_REQUIRED }, { &pki_ext_role, PKI_OPTIONAL }, KEY_IDENTIFIERS,
		},
		.use = ALG_USE_INTERNAL,
		.clause = "practice statement 6.7, RFC 9525",
	},
	{
		.name = "tls-client",
		.title = "TLS of a daemon that only dials out",
		.issuer = PKI_BY_MANAGEMENT,
		.path_length = -1,
		.key_usage = DIGITAL_SIGNATURE,
		.extended_key_usage = client_purposes,
		.policies = only_internal,
		.standard_validity = DAYS(90),
		.max_validity = DAYS(398),
		.subject = { INTERNAL_SUBJECT },
		.extension = {
			{ &pki_ext_key_usage, PKI_REQUIRED }, { &pki_ext_extended_key_usage, PKI_REQUIRED },
			{ &pki_ext_certificate_policies, PKI_REQUIRED }, INTERNAL_ADDRESSES,
			{ &pki_ext_role, PKI_OPTIONAL }, KEY_IDENTIFIERS,
		},
		.use = ALG_USE_INTERNAL,
		.clause = "practice statement 6.7",
	},
	{
		.name = "operator",
		.title = "person in a trusted role",
		.issuer = PKI_BY_MANAGEMENT,
		.path_length = -1,
		.key_usage = DIGITAL_SIGNATURE,
		.extended_key_usage = client_purposes,
		.policies = only_internal,
		.standard_validity = YEARS(1),
		.max_validity = YEARS(2),
		.subject = { INTERNAL_SUBJECT },
		.extension = {
			{ &pki_ext_key_usage, PKI_REQUIRED }, { &pki_ext_extended_key_usage, PKI_REQUIRED },
			{ &pki_ext_certificate_policies, PKI_REQUIRED }, INTERNAL_ADDRESSES,
			{ &pki_ext_subject_alt_name, PKI_OPTIONAL }, { &pki_ext_role, PKI_REQUIRED }, KEY_IDENTIFIERS,
		},
		.use = ALG_USE_INTERNAL,
		.clause = "practice statement 5.2.3, 6.1.7",
	},
};

const struct pki_profile *pki_profile_at(size_t i)
{
	return i < sizeof rows / sizeof rows[0] ? &rows[i] : NULL;
}

const struct pki_profile *pki_profile_named(span name)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (span_is(name, rows[i].name))
			return &rows[i];
	return NULL;
}
