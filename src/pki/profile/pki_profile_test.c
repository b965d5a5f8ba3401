#include "pki_extension.h"
#include "pki_key.h"
#include "pki_profile_unit.h"

static st count_finding(struct scope *s, const char *rule, const char *text, void *arg)
{
	(void)s;
	(void)rule;
	(void)text;
	++*(int *)arg;
	return OK;
}

/* Built by us, signed and read by OpenSSL, and found flawless without the issuance at hand. */
static void every_profile_is_built_checked_and_read_by_openssl(void **state)
{
	(void)state;
	for (size_t i = 0; pki_profile_at(i) != NULL; i++) {
		AUTO_SCOPE s;
		scope_init(&s, &clock_of_2026);
		struct fixture f;
		fixture_make(&s, pki_profile_at(i)->name, &f);
		span tbs, der;
		assert_ok(&s, pki_profile_build_tbs(&s, &f.issue, &tbs));
		assert_ok(&s, pki_profile_check(&s, &f.issue, tbs));
		const struct pki_issue nothing_else = { .profile = f.issue.profile };
		int findings = 0;
		assert_ok(&s, pki_profile_lint(&s, &nothing_else, tbs, count_finding, &findings));
		assert_int_equal(findings, 0);
		span signature = unit_sign_with(&s, f.issuer_key, f.issue.algorithm, tbs);
		assert_ok(&s, pki_certificate_assemble(&s, tbs, f.issue.algorithm, signature, &der));
		const unsigned char *at = der.data;
		AUTO(X509) *x = d2i_X509(NULL, &at, (long)der.len);
		assert_non_null(x);
		assert_int_equal(X509_verify(x, f.issuer_key), 1);
		assert_int_equal(X509_check_ca(x), f.issue.profile->ca ? 1 : 0);
		assert_int_equal(X509_get_extension_flags(x) & EXFLAG_INVALID, 0);
		fixture_free(&f);
	}
}

static void every_extension_has_a_line_for_people(void **state)
{
	(void)state;
	static const struct {
		const char *profile, *extension, *line;
	} rows[] = {
		{ "issuing-ca", "basicConstraints", "CA: true, path length 0" },
		{ "root", "keyUsage", "keyCertSign, cRLSign" },
		{ "tsu", "extendedKeyUsage", "timeStamping" },
		{ "ncp-plus-n", "certificatePolicies", "0.4.0.2042.1.2 (http://127.0.0.1:8080/cps)" },
		{ "ncp-plus-n", "cRLDistributionPoints", "http://127.0.0.1:8080/crl/issuing.crl" },
		{ "ncp-plus-n", "authorityInfoAccess",
		  "ocsp http://127.0.0.1:8080/ocsp, caIssuers http://127.0.0.1:8080/ca/issuing.crt" },
		{ "tls-server", "subjectAltName", "DNS:ca.example.test, IP:127.0.0.1, IP:::1" },
		{ "tsu", "privateKeyUsagePeriod", "2026-11-18T11:06:40.000000Z to 2027-11-18T11:06:40.000000Z" },
		{ "operator", "role", "ca" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		AUTO_SCOPE s;
		scope_init(&s, &clock_of_2026);
		struct fixture f;
		fixture_make(&s, rows[i].profile, &f);
		span tbs;
		struct pki_certificate c;
		assert_ok(&s, pki_profile_build_tbs(&s, &f.issue, &tbs));
		assert_ok(&s, pki_certificate_read_tbs(&s, tbs, &c));
		bool found = false;
		for (size_t e = 0; e < c.extension_count; e++) {
			const struct pki_ext_ops *ops = pki_ext_of(c.extension[e].oid);
			char *line;
			assert_non_null(ops);
			assert_ok(&s, ops->print(&s, c.extension[e].value, &line));
			if (strcmp(ops->name, rows[i].extension) != 0)
				continue;
			assert_string_equal(line, rows[i].line);
			found = true;
		}
		assert_true(found);
		fixture_free(&f);
	}
}

static void what_a_daemon_needs_is_read_from_its_certificate(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, &clock_of_2026);
	static const char *const names[] = { "tsu", "operator", "issuing-ca" };
	for (size_t i = 0; i < 3; i++) {
		struct fixture f;
		fixture_make(&s, names[i], &f);
		span tbs, identifier;
		struct pki_certificate c;
		assert_ok(&s, pki_profile_build_tbs(&s, &f.issue, &tbs));
		assert_ok(&s, pki_certificate_read_tbs(&s, tbs, &c));
		char *role;
		int64_t end;
		bool stamps, ca;
		uint8_t key_hash[20];
		assert_ok(&s, pki_ext_role_get(&s, &c, &role));
		assert_true(i == 1 ? strcmp(role, "ca") == 0 : role == NULL);
		assert_ok(&s, pki_ext_private_key_end_get(&s, &c, &end));
		assert_true(i == 0 ? end == c.not_before + 365 * MOMENT_DAY : end == INT64_MAX);
		assert_ok(&s, pki_ext_purpose_get(&s, &c, "1.3.6.1.5.5.7.3.8", &stamps));
		assert_true(stamps == (i == 0));
		assert_ok(&s, pki_ext_ca_get(&s, &c, &ca));
		assert_true(ca == (i == 2));
		assert_ok(&s, pki_ext_key_identifier_get(&s, &c, &identifier));
		assert_ok(&s, pki_key_identifier(&s, c.spki, key_hash));
		assert_true(span_equal(identifier, SPAN_ARRAY(key_hash)));
		fixture_free(&f);
	}
}

//= en319421#TIS-7.6.7-01 a short-lived TSU certificate keeps its key in use for half of its life
static void the_key_of_a_short_lived_tsu_ends_at_half_time(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, &clock_of_2026);
	struct fixture f;
	fixture_make(&s, "tsu", &f);
	f.issue.ext.not_after = f.issue.ext.not_before + 100 * MOMENT_SECOND;
	span tbs;
	struct pki_certificate c;
	int64_t end;
	assert_ok(&s, pki_profile_build_tbs(&s, &f.issue, &tbs));
	assert_ok(&s, pki_profile_check(&s, &f.issue, tbs));
	assert_ok(&s, pki_certificate_read_tbs(&s, tbs, &c));
	assert_ok(&s, pki_ext_private_key_end_get(&s, &c, &end));
	assert_true(end == c.not_before + 50 * MOMENT_SECOND);
	fixture_free(&f);
}

/* ---- subjects ---- */

static void subjects_are_put_in_the_order_of_the_profile(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, &clock_of_2026);
	span requested, subject;
	char *text;
	const struct pki_profile *person = pki_profile_named(SPAN_LITERAL("ncp-plus-n"));
	assert_ok(&s, pki_name_parse(&s, span_str("CN=Al, serialNumber=PNOBE-1, pseudonym=Al, C=BE"), &requested));
	assert_ok(&s, pki_profile_subject(&s, person, requested, &subject));
	assert_ok(&s, pki_name_text(&s, subject, &text));
	assert_string_equal(text, "C=BE, pseudonym=Al, serialNumber=PNOBE-1, CN=Al");
}

static void subjects_that_break_a_rule_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *profile, *subject, *says;
	} rows[] = {
		{ "ncp-plus-n", "CN=Al, pseudonym=Al", "lacks C" },
		{ "ncp-plus-n", "C=BE, CN=Al", "none of them" },
		{ "ncp-plus-n", "C=BE, CN=Al, givenName=Al, pseudonym=Al", "both" },
		{ "ncp-plus-n", "C=BE, CN=Al, CN=Bo, pseudonym=Al", "CN twice" },
		{ "ncp-plus-n", "C=BE, CN=Al, pseudonym=Al, ST=Some-State", "ST, which" },
		{ "ncp-plus-n", "C=BE, CN=Al, pseudonym=Al, 1.2.3.4=x", "1.2.3.4, which" },
		{ "ncp-plus-n", "C=BE, CN=\xd0\x90lice, pseudonym=Al", "several scripts" },
		{ "ncp-plus-n", "C=BE, CN=Al, pseudonym=Al, serialNumber=TAXBE-123", "none of PAS" },
		{ "root", "C=BE, O=Example NV, organizationIdentifier=ABCBE-123, CN=Root", "form NTRBE" },
		{ "root", "C=BE, O=Example NV, CN=Root", "lacks organizationIdentifier" },
		{ "root", "C=BE, O=NTRBE-0123456789, organizationIdentifier=NTRBE-0123456789, CN=Root", "repeats O" },
		{ "root", "C=BE, O=Example NV, organizationIdentifier=0123456789, CN=Root", "form NTRBE" },
		{ "tsu", "C=BE, CN=TSU", "lacks O" },
		{ "operator", "O=Example NV", "lacks CN" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		AUTO_SCOPE s;
		scope_init(&s, &clock_of_2026);
		span requested, subject;
		assert_ok(&s, pki_name_parse(&s, span_str(rows[i].subject), &requested));
		st status = pki_profile_subject(&s, pki_profile_named(span_str(rows[i].profile)), requested, &subject);
		assert_int_equal(status.code, E_INPUT);
		if (strstr(s.message, rows[i].says) == NULL)
			print_error("%s: %s\n", rows[i].subject, s.message);
		assert_non_null(strstr(s.message, rows[i].says));
	}
}

static void what_a_profile_requires_must_be_given(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, &clock_of_2026);
	struct fixture f;
	span tbs;
	fixture_make(&s, "ncp-plus-n", &f);
	f.issue.ext.crl_url = NULL;
	assert_fails(&s, E_CONFIG, pki_profile_build_tbs(&s, &f.issue, &tbs));
	f.issue.ext.crl_url = "https://example.test/a.crl";
	assert_fails(&s, E_INPUT, pki_profile_build_tbs(&s, &f.issue, &tbs));
	fixture_free(&f);
	fixture_make(&s, "operator", &f);
	f.issue.ext.role = NULL;
	assert_fails(&s, E_CONFIG, pki_profile_build_tbs(&s, &f.issue, &tbs));
	f.issue.ext.role = "Operator 1";
	assert_fails(&s, E_INPUT, pki_profile_build_tbs(&s, &f.issue, &tbs));
	fixture_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_profile_is_built_checked_and_read_by_openssl),
		cmocka_unit_test(every_extension_has_a_line_for_people),
		cmocka_unit_test(what_a_daemon_needs_is_read_from_its_certificate),
		cmocka_unit_test(the_key_of_a_short_lived_tsu_ends_at_half_time),
		cmocka_unit_test(subjects_are_put_in_the_order_of_the_profile),
		cmocka_unit_test(subjects_that_break_a_rule_are_refused),
		cmocka_unit_test(what_a_profile_requires_must_be_given),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
