/*
 * pki_profile_unit.h - for the unit tests of profiles: what a certificate of each profile is issued from, at a fixed time.
 */
#pragma once
#include "pki_name.h"
#include "pki_profile.h"
#include "pki_unit.h"

#define AUTHORITY "C=BE, O=Example NV, organizationIdentifier=NTRBE-0123456789, CN=Example TEST Root"

static inline int64_t test_now(void *state)
{
	(void)state;
	return INT64_C(1795000000) * MOMENT_SECOND + 123; /* 2026-11-18 */
}

static inline void test_random(void *state, void *out, size_t len)
{
	source_kernel.random(state, out, len);
}

static const struct source clock_of_2026 = { .now = test_now, .random = test_random };

/* Everything a certificate of one profile is issued from. */
struct fixture {
	struct pki_issue issue;
	EVP_PKEY *issuer_key;
	EVP_PKEY *key;
	uint8_t serial[16];
};

static const char *const dns_names[] = { "ca.example.test", NULL };
static const char *const ip_addresses[] = { "127.0.0.1", "::1", NULL };
static const char *const emails[] = { "alice@example.test", NULL };

static inline const char *subject_of(const char *profile)
{
	static const struct {
		const char *profile, *subject;
	} rows[] = {
		{ "root", AUTHORITY },
		{ "issuing-ca", "C=BE, O=Example NV, organizationIdentifier=NTRBE-0123456789, CN=Example TEST Issuing" },
		{ "management-ca", "O=Example NV, CN=Example TEST Management" },
		{ "ncp-plus-n", "CN=Alice Example, C=BE, givenName=Alice, surname=Example, serialNumber=PNOBE-85073003328" },
		{ "ocsp-signer", "C=BE, O=Example NV, CN=Example TEST OCSP 1" },
		{ "tsu", "C=BE, O=Example NV, CN=Example TEST TSU 1" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].profile, profile) == 0)
			return rows[i].subject;
	return "O=Example NV, CN=somebody";
}

static inline void fixture_free(struct fixture *f)
{
	EVP_PKEY_free(f->key);
	EVP_PKEY_free(f->issuer_key);
}

static inline void fixture_make(struct scope *s, const char *name, struct fixture *f)
{
	const struct pki_profile *profile = pki_profile_named(span_str(name));
	assert_non_null(profile);
	bool self = profile->issuer == PKI_SELF_SIGNED, internal = profile->use == ALG_USE_INTERNAL;
	*f = (struct fixture){ .issuer_key = unit_key_named("ec-p256"), .issue.profile = profile };
	f->key = self ? f->issuer_key : unit_key_named("ec-p256");
	if (self)
		assert_int_equal(EVP_PKEY_up_ref(f->key), 1);
	pki_serial_new(s, f->serial);
	struct pki_issue *issue = &f->issue;
	span requested;
	assert_ok(s, pki_name_parse(s, span_str(subject_of(name)), &requested));
	assert_ok(s, pki_profile_subject(s, profile, requested, &issue->subject));
	assert_ok(s, pki_name_parse(s, span_str(internal ? subject_of("management-ca") : AUTHORITY), &issue->issuer));
	issue->serial = SPAN_ARRAY(f->serial);
	issue->issuer_not_after = self ? INT64_MAX : scope_now(s) + 20 * 365 * MOMENT_DAY;
	issue->algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha256"));
	issue->ext = (struct pki_ext_context){
		.profile = profile,
		.subject_spki = unit_spki(s, f->key),
		.issuer_spki = unit_spki(s, f->issuer_key),
		.crl_url = self ? NULL : "http://127.0.0.1:8080/crl/issuing.crl",
		.issuer_url = self ? NULL : "http://127.0.0.1:8080/ca/issuing.crt",
		.ocsp_url = self || internal ? NULL : "http://127.0.0.1:8080/ocsp",
		.cps_url = "http://127.0.0.1:8080/cps",
		.dns_names = strcmp(name, "tls-server") == 0 ? dns_names : NULL,
		.ip_addresses = strcmp(name, "tls-server") == 0 ? ip_addresses : NULL,
		.emails = strcmp(name, "ncp-plus-n") == 0 ? emails : NULL,
		.role = internal && !self ? "ca" : NULL,
		.not_before = scope_now(s),
		.not_after = scope_now(s) + profile->standard_validity,
	};
}
