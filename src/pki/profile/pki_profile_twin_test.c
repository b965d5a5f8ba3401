/*
 * One broken twin for each rule: a flawless TBSCertificate with one thing changed, which the pre-issuance check must refuse,
 * for the reason meant.
 */
#include "pki_extension.h"
#include "pki_profile_unit.h"

/* A TBSCertificate in parts that can be put together again, right or wrong. */
struct parts {
	span version, serial, algorithm, issuer, validity, subject, spki, tail;
	struct pki_extension extension[PKI_EXTENSIONS_MAX + 1];
	size_t count;
};

static void take_apart(struct scope *s, span tbs, struct parts *p)
{
	struct pki_certificate c;
	assert_ok(s, pki_certificate_read_tbs(s, tbs, &c));
	struct der_rd d = der_read(tbs);
	struct der_rd t = der_enter(&d, DER_SEQUENCE);
	*p = (struct parts){ .version = der_get_whole(&t, 0), .count = c.extension_count };
	span *const fields[] = { &p->serial, &p->algorithm, &p->issuer, &p->validity, &p->subject, &p->spki };
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		*fields[i] = der_get_whole(&t, 0);
	memcpy(p->extension, c.extension, sizeof c.extension);
}

static span put_together(struct scope *s, const struct parts *p)
{
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	const span fields[] = { p->version, p->serial, p->algorithm, p->issuer, p->validity, p->subject, p->spki };
	der_begin(&w, DER_SEQUENCE);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		der_put_raw(&w, fields[i]);
	der_begin(&w, DER_CONTEXT_CONSTRUCTED(3));
	der_begin(&w, DER_SEQUENCE);
	for (size_t i = 0; i < p->count; i++)
		pki_extension_put(&w, p->extension[i].oid, p->extension[i].critical, p->extension[i].value);
	der_end(&w);
	der_end(&w);
	der_put_raw(&w, p->tail);
	der_end(&w);
	assert_ok(s, der_finish(s, &w));
	return scope_copy(s, buf_span(&b));
}

static struct pki_extension *of(struct parts *p, const struct pki_ext_ops *ops)
{
	for (size_t i = 0; i < p->count; i++)
		if (span_equal(p->extension[i].oid, ops->oid))
			return &p->extension[i];
	assert_non_null(NULL);
	return NULL;
}

static void drop(struct parts *p, const struct pki_ext_ops *ops)
{
	struct pki_extension *e = of(p, ops);
	size_t at = (size_t)(e - p->extension);
	memmove(e, e + 1, (--p->count - at) * sizeof *e);
}

static void add(struct parts *p, span oid, bool critical, span value)
{
	p->extension[p->count++] = (struct pki_extension){ oid, critical, value };
}

static span name_of(struct scope *s, const char *text)
{
	span der;
	assert_ok(s, pki_name_parse(s, span_str(text), &der));
	return der;
}

static span validity_of(struct scope *s, int64_t from, int64_t to)
{
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_begin(&w, DER_SEQUENCE);
	der_put_time(&w, from);
	der_put_time(&w, to);
	der_end(&w);
	return scope_copy(s, buf_span(&b));
}

static void set_value(struct parts *p, const struct pki_ext_ops *ops, span value)
{
	of(p, ops)->value = value;
}

/* ---- the edits, a line each where they fit ---- */
// clang-format off
#define EDIT(name) static void name(struct scope *s, struct parts *p, struct pki_issue *i)
#define UNUSED_EDIT (void)s, (void)p, (void)i

EDIT(version_1) { UNUSED_EDIT; p->version = SPAN_LITERAL("\xa0\x03\x02\x01\x00"); }
EDIT(unique_identifier) { UNUSED_EDIT; p->tail = SPAN_LITERAL("\x81\x02\x00\x01"); }
EDIT(serial_short) { UNUSED_EDIT; p->serial = SPAN_LITERAL("\x02\x07\x01\x02\x03\x04\x05\x06\x07"); }
EDIT(serial_other)
{
	UNUSED_EDIT;
	p->serial = scope_copy(s, p->serial);
	((uint8_t *)(uintptr_t)p->serial.data)[p->serial.len - 1] ^= 1;
}
EDIT(serial_negative)
{
	UNUSED_EDIT;
	p->serial = scope_copy(s, p->serial);
	((uint8_t *)(uintptr_t)p->serial.data)[2] |= 0x80;
}
EDIT(serial_long)
{
	UNUSED_EDIT;
	p->serial = SPAN_LITERAL("\x02\x15\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15");
}
EDIT(algorithm_other) { UNUSED_EDIT; p->algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha384"))->identifier; }
EDIT(algorithm_unknown) { UNUSED_EDIT; p->algorithm = SPAN_LITERAL("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x01"); }
EDIT(algorithm_not_in_policy)
{
	UNUSED_EDIT;
	i->algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha384"));
	p->algorithm = i->algorithm->identifier;
}
EDIT(issuer_other) { UNUSED_EDIT; p->issuer = name_of(s, "C=BE, O=Other NV, organizationIdentifier=NTRBE-1, CN=Root"); }
EDIT(issuer_is_subject) { UNUSED_EDIT; i->issuer = p->issuer = p->subject; }
EDIT(issuer_without_identifier) { UNUSED_EDIT; i->issuer = p->issuer = name_of(s, "C=BE, O=Example NV, CN=Example TEST Root"); }
EDIT(subject_not_issuer) { UNUSED_EDIT; i->issuer = p->issuer = name_of(s, AUTHORITY " 2"); }
EDIT(ends_after_issuer) { UNUSED_EDIT; i->issuer_not_after = i->ext.not_after - MOMENT_DAY; }
EDIT(ends_before_it_begins) { UNUSED_EDIT; p->validity = validity_of(s, i->ext.not_after, i->ext.not_before); }
EDIT(begins_earlier) { UNUSED_EDIT; p->validity = validity_of(s, i->ext.not_before - MOMENT_DAY, i->ext.not_after); }
EDIT(ends_a_second_later) { UNUSED_EDIT; p->validity = validity_of(s, i->ext.not_before, i->ext.not_after + MOMENT_SECOND); }
EDIT(valid_too_long)
{
	UNUSED_EDIT;
	i->ext.not_after = i->ext.not_before + i->profile->max_validity + MOMENT_DAY;
	p->validity = validity_of(s, i->ext.not_before, i->ext.not_after);
}
EDIT(year_2050_as_generalized_before) /* a GeneralizedTime for a year before 2050 */
{
	UNUSED_EDIT;
	p->validity = SPAN_LITERAL("\x30\x20\x17\x0d" "261118110640Z" "\x18\x0f" "20281117110640Z");
}
EDIT(subject_other) { UNUSED_EDIT; p->subject = name_of(s, "C=BE, surname=Other, givenName=Alice, CN=Alice Example"); }
EDIT(subject_out_of_order) { UNUSED_EDIT; i->subject = p->subject = name_of(s, "CN=A, C=BE, surname=A"); }
EDIT(subject_name_and_pseudonym) { UNUSED_EDIT; i->subject = p->subject = name_of(s, "C=BE, surname=A, pseudonym=B, CN=A"); }
EDIT(subject_without_country) { UNUSED_EDIT; i->subject = p->subject = name_of(s, "surname=A, CN=A"); }
EDIT(subject_foreign_attribute) { UNUSED_EDIT; i->subject = p->subject = name_of(s, "C=BE, L=Gent, surname=A, CN=A"); }
EDIT(key_other)
{
	UNUSED_EDIT;
	AUTO(EVP_PKEY) *key = unit_key();
	p->spki = unit_spki(s, key);
}
EDIT(key_short_rsa_past_its_day) /* 2026-11 lies before the end, but the certificate ends after 2028 */
{
	UNUSED_EDIT;
	AUTO(EVP_PKEY) *key = unit_key_named("rsa-2048");
	i->ext.subject_spki = p->spki = unit_spki(s, key);
	i->ext.not_after = i->ext.not_before + i->profile->max_validity;
	p->validity = validity_of(s, i->ext.not_before, i->ext.not_after);
}
EDIT(key_of_a_curve_for_logs_only)
{
	UNUSED_EDIT;
	AUTO(EVP_PKEY) *key = unit_key_named("ed25519");
	i->ext.subject_spki = p->spki = unit_spki(s, key);
}
EDIT(no_key_usage) { UNUSED_EDIT; drop(p, &pki_ext_key_usage); }
EDIT(no_policies) { UNUSED_EDIT; drop(p, &pki_ext_certificate_policies); }
EDIT(no_crl_address) { UNUSED_EDIT; drop(p, &pki_ext_crl_distribution_points); }
EDIT(no_subject_key_identifier) { UNUSED_EDIT; drop(p, &pki_ext_subject_key_identifier); }
EDIT(no_authority_key_identifier) { UNUSED_EDIT; drop(p, &pki_ext_authority_key_identifier); }
EDIT(no_basic_constraints) { UNUSED_EDIT; drop(p, &pki_ext_basic_constraints); }
EDIT(no_nocheck) { UNUSED_EDIT; drop(p, &pki_ext_ocsp_nocheck); }
EDIT(no_names) { UNUSED_EDIT; drop(p, &pki_ext_subject_alt_name); }
EDIT(no_role) { UNUSED_EDIT; drop(p, &pki_ext_role); }
EDIT(key_usage_not_critical) { UNUSED_EDIT; of(p, &pki_ext_key_usage)->critical = false; }
EDIT(constraints_not_critical) { UNUSED_EDIT; of(p, &pki_ext_basic_constraints)->critical = false; }
EDIT(purpose_not_critical) { UNUSED_EDIT; of(p, &pki_ext_extended_key_usage)->critical = false; }
EDIT(purpose_critical) { UNUSED_EDIT; of(p, &pki_ext_extended_key_usage)->critical = true; }
EDIT(policies_critical) { UNUSED_EDIT; of(p, &pki_ext_certificate_policies)->critical = true; }
EDIT(key_usage_extra_bit) { UNUSED_EDIT; set_value(p, &pki_ext_key_usage, SPAN_LITERAL("\x03\x02\x06\xc0")); }
EDIT(key_usage_untrimmed) { UNUSED_EDIT; set_value(p, &pki_ext_key_usage, SPAN_LITERAL("\x03\x02\x00\x80")); }
EDIT(key_usage_may_sign_certificates) { UNUSED_EDIT; set_value(p, &pki_ext_key_usage, SPAN_LITERAL("\x03\x02\x02\x84")); }
EDIT(constraints_ca_of_a_person) { UNUSED_EDIT; add(p, pki_ext_basic_constraints.oid, true, SPAN_LITERAL("\x30\x03\x01\x01\xff")); }
EDIT(constraints_longer_path) { UNUSED_EDIT; set_value(p, &pki_ext_basic_constraints, SPAN_LITERAL("\x30\x06\x01\x01\xff\x02\x01\x01")); }
EDIT(constraints_no_path) { UNUSED_EDIT; set_value(p, &pki_ext_basic_constraints, SPAN_LITERAL("\x30\x03\x01\x01\xff")); }
EDIT(constraints_false) { UNUSED_EDIT; set_value(p, &pki_ext_basic_constraints, SPAN_LITERAL("\x30\x00")); }
EDIT(purpose_extra)
{
	UNUSED_EDIT;
	set_value(p, &pki_ext_extended_key_usage, SPAN_LITERAL("\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x08"
							       "\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02"));
}
EDIT(purpose_lacking) { UNUSED_EDIT; set_value(p, &pki_ext_extended_key_usage, SPAN_LITERAL("\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02")); }
EDIT(policy_other) { UNUSED_EDIT; set_value(p, &pki_ext_certificate_policies, SPAN_LITERAL("\x30\x0a\x30\x08\x06\x06\x04\x00\x8f\x7a\x01\x01")); }
EDIT(crl_address_other)
{
	UNUSED_EDIT;
	set_value(p, &pki_ext_crl_distribution_points, SPAN_LITERAL("\x30\x11\x30\x0f\xa0\x0d\xa0\x0b\x86\x09" "http://x/"));
}
EDIT(crl_address_https) /* right length, wrong scheme */
{
	UNUSED_EDIT;
	set_value(p, &pki_ext_crl_distribution_points, SPAN_LITERAL("\x30\x12\x30\x10\xa0\x0e\xa0\x0c\x86\x0a" "https://x/"));
}
EDIT(access_without_issuer)
{
	UNUSED_EDIT;
	set_value(p, &pki_ext_authority_info_access, SPAN_LITERAL("\x30\x28\x30\x26\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x01\x86\x1a"
								  "http://127.0.0.1:8080/ocsp"));
}
EDIT(subject_identifier_other)
{
	UNUSED_EDIT;
	set_value(p, &pki_ext_subject_key_identifier, SPAN_LITERAL("\x04\x14" "abcdefghijklmnopqrst"));
}
EDIT(authority_identifier_other)
{
	UNUSED_EDIT;
	set_value(p, &pki_ext_authority_key_identifier, SPAN_LITERAL("\x30\x16\x80\x14" "abcdefghijklmnopqrst"));
}
EDIT(name_added)
{
	UNUSED_EDIT;
	set_value(p, &pki_ext_subject_alt_name, SPAN_LITERAL("\x30\x14\x82\x0c" "evil.example" "\x87\x04\x7f\x00\x00\x01"));
}
EDIT(name_for_a_tsu) { UNUSED_EDIT; add(p, pki_ext_subject_alt_name.oid, false, SPAN_LITERAL("\x30\x05\x82\x03" "a.b")); }
EDIT(nocheck_for_a_person) { UNUSED_EDIT; add(p, pki_ext_ocsp_nocheck.oid, false, SPAN_LITERAL("\x05\x00")); }
EDIT(nocheck_not_null) { UNUSED_EDIT; set_value(p, &pki_ext_ocsp_nocheck, SPAN_LITERAL("\x04\x00")); }
EDIT(role_other) { UNUSED_EDIT; set_value(p, &pki_ext_role, SPAN_LITERAL("\x0c\x05" "admin")); }
EDIT(name_constraints) { UNUSED_EDIT; add(p, SPAN_LITERAL("\x55\x1d\x1e"), true, SPAN_LITERAL("\x30\x00")); }
EDIT(foreign_extension) { UNUSED_EDIT; add(p, SPAN_LITERAL("\x2a\x03\x04"), false, SPAN_LITERAL("\x05\x00")); }
EDIT(extension_twice) { UNUSED_EDIT; add(p, p->extension[0].oid, p->extension[0].critical, p->extension[0].value); }
EDIT(extensions_out_of_order)
{
	UNUSED_EDIT;
	struct pki_extension first = p->extension[0];
	p->extension[0] = p->extension[1];
	p->extension[1] = first;
}
EDIT(addresses_for_ocsp)
{
	UNUSED_EDIT;
	add(p, pki_ext_authority_info_access.oid, false,
	    SPAN_LITERAL("\x30\x28\x30\x26\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x01\x86\x1a" "http://127.0.0.1:8080/ocsp"));
}
EDIT(period_to_the_end)
{
	UNUSED_EDIT;
	set_value(p, &pki_ext_private_key_usage_period,
		  SPAN_LITERAL("\x30\x22\x80\x0f" "20261118110640Z" "\x81\x0f" "20311118110640Z"));
}
EDIT(period_longer)
{
	UNUSED_EDIT;
	set_value(p, &pki_ext_private_key_usage_period,
		  SPAN_LITERAL("\x30\x22\x80\x0f" "20261118110640Z" "\x81\x0f" "20281118110640Z"));
}
EDIT(trailing_octets) { UNUSED_EDIT; of(p, &pki_ext_key_usage)->value = SPAN_LITERAL("\x03\x02\x07\x80\x00"); }

// clang-format on
static const struct {
	const char *profile;
	void (*edit)(struct scope *s, struct parts *p, struct pki_issue *i);
	const char *says; /* in the refusal */
} twins[] = {
	{ "ncp-plus-n", version_1, "version 3" },
	{ "ncp-plus-n", unique_identifier, "version 3" },
	{ "ncp-plus-n", serial_short, "64 random bits" },
	{ "ncp-plus-n", serial_other, "on record" },
	{ "ncp-plus-n", serial_negative, "TBSCertificate" },
	{ "ncp-plus-n", serial_long, "TBSCertificate" },
	{ "ncp-plus-n", algorithm_other, "to be signed with" },
	{ "ncp-plus-n", algorithm_unknown, "not in the table" },
	{ "ncp-plus-n", algorithm_not_in_policy, "algorithm policy" },
	{ "ncp-plus-n", issuer_other, "byte for byte" },
	{ "ncp-plus-n", issuer_is_subject, "the same" },
	{ "ncp-plus-n", issuer_without_identifier, "lacks organizationIdentifier" },
	{ "root", subject_not_issuer, "differ" },
	{ "ncp-plus-n", ends_after_issuer, "outlives" },
	{ "ncp-plus-n", ends_before_it_begins, "does not lie after" },
	{ "ncp-plus-n", begins_earlier, "validity is not" },
	{ "ncp-plus-n", ends_a_second_later, "validity is not" },
	{ "ncp-plus-n", valid_too_long, "allows" },
	{ "ncp-plus-n", year_2050_as_generalized_before, "TBSCertificate" },
	{ "ncp-plus-n", subject_other, "subject is not" },
	{ "ncp-plus-n", subject_out_of_order, "order" },
	{ "ncp-plus-n", subject_name_and_pseudonym, "both" },
	{ "ncp-plus-n", subject_without_country, "lacks C" },
	{ "ncp-plus-n", subject_foreign_attribute, "has L" },
	{ "ncp-plus-n", key_other, "not the subject's" },
	{ "ncp-plus-n", key_short_rsa_past_its_day, "would end after" },
	{ "ncp-plus-n", key_of_a_curve_for_logs_only, "algorithm policy" },
	{ "root", key_other, "not the subject's" },
	{ "ncp-plus-n", no_key_usage, "keyUsage is missing" },
	{ "ncp-plus-n", no_policies, "certificatePolicies is missing" },
	{ "ncp-plus-n", no_crl_address, "cRLDistributionPoints is missing" },
	{ "issuing-ca", no_subject_key_identifier, "subjectKeyIdentifier is missing" },
	{ "issuing-ca", no_authority_key_identifier, "authorityKeyIdentifier is missing" },
	{ "issuing-ca", no_basic_constraints, "basicConstraints is missing" },
	{ "ocsp-signer", no_nocheck, "ocsp-nocheck is missing" },
	{ "tls-server", no_names, "subjectAltName is missing" },
	{ "ncp-plus-n", no_names, "subjectAltName is missing" },
	{ "operator", no_role, "role is missing" },
	{ "tls-client", no_role, "role is missing" },
	{ "ncp-plus-n", key_usage_not_critical, "must be critical" },
	{ "issuing-ca", constraints_not_critical, "must be critical" },
	{ "tsu", purpose_not_critical, "must be critical" },
	{ "ncp-plus-n", purpose_critical, "must not be critical" },
	{ "ncp-plus-n", policies_critical, "must not be critical" },
	{ "ncp-plus-n", key_usage_extra_bit, "keyUsage is digitalSignature, nonRepudiation" },
	{ "ncp-plus-n", key_usage_untrimmed, "keyUsage is not well-formed" },
	{ "ncp-plus-n", key_usage_may_sign_certificates, "keyCertSign" },
	{ "ncp-plus-n", trailing_octets, "keyUsage is followed" },
	{ "ncp-plus-n", constraints_ca_of_a_person, "carries no basicConstraints" },
	{ "issuing-ca", constraints_longer_path, "basicConstraints are not" },
	{ "issuing-ca", constraints_no_path, "basicConstraints are not" },
	{ "issuing-ca", constraints_false, "basicConstraints are not" },
	{ "tsu", purpose_extra, "holds clientAuth" },
	{ "ncp-plus-n", purpose_lacking, "lacks emailProtection" },
	{ "ncp-plus-n", policy_other, "policy 0.4.0.2042.1.1" },
	{ "ncp-plus-n", crl_address_other, "not the configured" },
	{ "ncp-plus-n", crl_address_https, "plain http" },
	{ "ncp-plus-n", access_without_issuer, "configured addresses" },
	{ "ncp-plus-n", subject_identifier_other, "SHA-1 of the subject" },
	{ "ncp-plus-n", authority_identifier_other, "issuer's subjectKeyIdentifier" },
	{ "tls-server", name_added, "lacks ca.example.test" },
	{ "tsu", name_for_a_tsu, "carries no subjectAltName" },
	{ "ncp-plus-n", nocheck_for_a_person, "carries no ocsp-nocheck" },
	{ "ocsp-signer", nocheck_not_null, "not NULL" },
	{ "operator", role_other, "role 'admin'" },
	{ "ncp-plus-n", name_constraints, "carries no 2.5.29.30" },
	{ "ncp-plus-n", foreign_extension, "carries no 1.2.3.4" },
	{ "ncp-plus-n", extension_twice, "twice" },
	{ "ncp-plus-n", extensions_out_of_order, "in the order" },
	{ "ocsp-signer", addresses_for_ocsp, "carries no authorityInfoAccess" },
	{ "tsu", period_to_the_end, "end before it" },
	{ "tsu", period_longer, "not that of profile" },
};

static void refuse_twin(size_t at)
{
	AUTO_SCOPE s;
	scope_init(&s, &clock_of_2026);
	struct fixture f;
	struct parts parts;
	span tbs;
	fixture_make(&s, twins[at].profile, &f);
	assert_ok(&s, pki_profile_build_tbs(&s, &f.issue, &tbs));
	take_apart(&s, tbs, &parts);
	assert_true(span_equal(put_together(&s, &parts), tbs)); /* the twin differs by its edit only */
	twins[at].edit(&s, &parts, &f.issue);
	st status = pki_profile_check(&s, &f.issue, put_together(&s, &parts));
	if (status.code == E_OK || strstr(s.message, twins[at].says) == NULL)
		print_error("twin %zu of %s, expected '%s': %s\n", at, twins[at].profile, twins[at].says, s.message);
	assert_int_not_equal(status.code, E_OK);
	assert_non_null(strstr(s.message, twins[at].says));
	fixture_free(&f);
}

//= requirements#12.1 one broken twin per rule that must be refused
static void every_broken_twin_is_refused_for_its_reason(void **state)
{
	(void)state;
	for (size_t at = 0; at < sizeof twins / sizeof twins[0]; at++)
		refuse_twin(at);
}

static st gather(struct scope *s, const char *rule, const char *text, void *arg)
{
	(void)text;
	return buf_append(arg, span_str(scope_printf(s, "%s ", rule))) ? OK : fail(s, E_BUG, "no room");
}

/* Lint tells all of them where the check stops at the first. */
static void lint_tells_every_finding(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, &clock_of_2026);
	AUTO_BUF rules = { 0 };
	struct fixture f;
	struct parts parts;
	span tbs;
	fixture_make(&s, "ncp-plus-n", &f);
	assert_ok(&s, pki_profile_build_tbs(&s, &f.issue, &tbs));
	take_apart(&s, tbs, &parts);
	serial_short(&s, &parts, &f.issue);
	policy_other(&s, &parts, &f.issue);
	no_key_usage(&s, &parts, &f.issue);
	foreign_extension(&s, &parts, &f.issue);
	subject_name_and_pseudonym(&s, &parts, &f.issue);
	const struct pki_issue profile_only = { .profile = f.issue.profile };
	assert_ok(&s, pki_profile_lint(&s, &profile_only, put_together(&s, &parts), gather, &rules));
	assert_true(span_is(buf_span(&rules), "serial subject extension extension extension "));
	buf_clear(&rules);
	assert_ok(&s, pki_profile_lint(&s, &profile_only, SPAN_LITERAL("\x30\x00"), gather, &rules));
	assert_true(span_is(buf_span(&rules), "encoding "));
	fixture_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_broken_twin_is_refused_for_its_reason),
		cmocka_unit_test(lint_tells_every_finding),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
