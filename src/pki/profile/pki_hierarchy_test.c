/*
 * A whole hierarchy by our own DER, verified by OpenSSL as a relying party would. With CHANCERY_SAMPLES=DIRECTORY in the
 * environment every certificate is also written there, for the linters of tests/interop.
 */
#include "file.h"
#include "pki_crl.h"
#include "pki_key.h"
#include "pki_name.h"
#include "pki_ocsp.h"
#include "pki_pem.h"
#include "pki_profile.h"
#include "pki_unit.h"
#include <openssl/x509_vfy.h>

#define ORGANIZATION "C=BE, O=Example TEST NV, organizationIdentifier=NTRBE-0123456789, "

struct member {
	const char *name;
	EVP_PKEY *key;
	X509 *x509;
	struct pki_certificate certificate;
};

struct row {
	const char *name, *profile, *issuer, *subject;
	int purpose; /* for X509_verify_cert; 0: a CA */
};

static const struct row rows[] = {
	{ "root", "root", NULL, ORGANIZATION "CN=Example TEST Root", 0 },
	{ "issuing", "issuing-ca", "root", ORGANIZATION "CN=Example TEST Issuing", 0 },
	{ "management", "management-ca", NULL, ORGANIZATION "CN=Example TEST Management", 0 },
	{ "person", "ncp-plus-n", "issuing",
	  "C=BE, CN=Alice Example, surname=Example, givenName=Alice, serialNumber=PNOBE-85073003328", X509_PURPOSE_SSL_CLIENT },
	{ "pseudonym", "ncp-plus-n", "issuing", "C=BE, CN=Bobby, pseudonym=Bobby, serialNumber=BE:BE-77",
	  X509_PURPOSE_SSL_CLIENT },
	{ "employee", "ncp-plus-n", "issuing",
	  "C=BE, O=Example TEST NV, organizationIdentifier=NTRBE-0123456789, CN=Zo\xc3\xab Example, surname=Example, "
	  "givenName=Zo\xc3\xab, title=Director, serialNumber=IDCBE-590082394654",
	  X509_PURPOSE_SSL_CLIENT },
	{ "ocsp", "ocsp-signer", "issuing", ORGANIZATION "CN=Example TEST OCSP 1", X509_PURPOSE_OCSP_HELPER },
	{ "tsu", "tsu", "issuing", ORGANIZATION "CN=Example TEST TSU 1", X509_PURPOSE_TIMESTAMP_SIGN },
	{ "server", "tls-server", "management", "O=Example TEST NV, CN=va", X509_PURPOSE_SSL_SERVER },
	{ "client", "tls-client", "management", "O=Example TEST NV, CN=ca", X509_PURPOSE_SSL_CLIENT },
	{ "operator", "operator", "management", "O=Example TEST NV, serialNumber=1, CN=Carol Operator",
	  X509_PURPOSE_SSL_CLIENT },
};
#define ROWS (sizeof rows / sizeof rows[0])

struct hierarchy {
	const char *label;
	const char *ca_key, *end_key, *algorithm;
	struct member member[ROWS];
};

static struct member *find(const struct hierarchy *h, const char *name)
{
	for (size_t i = 0; i < ROWS; i++)
		if (h->member[i].name != NULL && strcmp(h->member[i].name, name) == 0)
			return (struct member *)(uintptr_t)&h->member[i];
	return NULL;
}

static void prepare(struct scope *s, const struct hierarchy *h, const struct row *row, struct member *m, struct member *issuer,
		    struct pki_issue *issue)
{
	static const char *const dns[] = { "va.example.test", "localhost", NULL }, *const ips[] = { "127.0.0.1", NULL };
	static const char *const emails[] = { "alice@example.test", NULL };
	const struct pki_profile *profile = pki_profile_named(span_str(row->profile));
	span requested;
	assert_ok(s, pki_name_parse(s, span_str(row->subject), &requested));
	bool internal = profile->use == ALG_USE_INTERNAL, under_root = profile->issuer == PKI_BY_ROOT, self = issuer == m;
	*issue = (struct pki_issue){ .profile = profile, .algorithm = alg_signature_named(span_str(h->algorithm)) };
	assert_ok(s, pki_profile_subject(s, profile, requested, &issue->subject));
	uint8_t *serial = scope_alloc(s, 16);
	pki_serial_new(s, serial);
	issue->serial = span_of(serial, 16);
	issue->issuer = self ? issue->subject : issuer->certificate.subject;
	issue->issuer_not_after = self ? INT64_MAX : issuer->certificate.not_after;
	issue->ext = (struct pki_ext_context){
		.profile = profile,
		.subject_spki = unit_spki(s, m->key),
		.issuer_spki = unit_spki(s, issuer->key),
		.crl_url = self         ? NULL
			   : under_root ? "http://127.0.0.1:8080/crl/root.crl"
					: "http://127.0.0.1:8080/crl/issuing.crl",
		.issuer_url = self         ? NULL
			      : under_root ? "http://127.0.0.1:8080/ca/root.crt"
					   : "http://127.0.0.1:8080/ca/issuing.crt",
		.ocsp_url = self || internal || under_root ? NULL : "http://127.0.0.1:8080/ocsp",
		.cps_url = "http://127.0.0.1:8080/cps",
		.dns_names = strcmp(row->profile, "tls-server") == 0 ? dns : NULL,
		.ip_addresses = strcmp(row->profile, "tls-server") == 0 ? ips : NULL,
		.emails = strcmp(row->name, "person") == 0 ? emails : NULL,
		.role = internal && !self ? row->subject + strlen("O=Example TEST NV, CN=") : NULL,
		.not_before = scope_now(s),
		.not_after = scope_now(s) + profile->standard_validity,
	};
	if (strcmp(row->name, "operator") == 0)
		issue->ext.role = "registration-officer";
	if (issue->ext.not_after > issue->issuer_not_after)
		issue->ext.not_after = issue->issuer_not_after;
}

static void write_file(struct scope *s, const struct hierarchy *h, const char *name, span bytes)
{
	if (getenv("CHANCERY_SAMPLES") != NULL)
		assert_ok(s, file_replace(s, scope_printf(s, "%s/%s-%s", getenv("CHANCERY_SAMPLES"), h->label, name), bytes,
					  0644));
}

static void write_sample(struct scope *s, const struct hierarchy *h, const char *name, span der)
{
	write_file(s, h, scope_printf(s, "%s.pem", name), span_str(pki_pem_write(s, "CERTIFICATE", der)));
}

static void issue_one(struct scope *s, struct hierarchy *h, size_t at)
{
	struct member *m = &h->member[at];
	m->name = rows[at].name;
	m->key = unit_key_named(rows[at].purpose == 0 ? h->ca_key : h->end_key);
	struct member *issuer = rows[at].issuer == NULL ? m : find(h, rows[at].issuer);
	struct pki_issue issue;
	prepare(s, h, &rows[at], m, issuer, &issue);
	span tbs, der;
	assert_ok(s, pki_profile_build_tbs(s, &issue, &tbs));
	assert_ok(s, pki_profile_check(s, &issue, tbs));
	assert_ok(s, pki_certificate_assemble(s, tbs, issue.algorithm, unit_sign_with(s, issuer->key, issue.algorithm, tbs),
					      &der));
	assert_ok(s, pki_certificate_read(s, der, &m->certificate));
	const unsigned char *octets = der.data;
	m->x509 = d2i_X509(NULL, &octets, (long)der.len);
	assert_non_null(m->x509);
	write_sample(s, h, rows[at].name, der);
}

static st append_part(struct scope *s, span part, void *arg)
{
	(void)s;
	assert_true(buf_append(arg, part));
	return OK;
}

/* A CRL of the issuing authority with one entry, or none, and of the root. */
static void write_crl(struct scope *s, const struct hierarchy *h, struct member *issuer, const char *name, size_t entries)
{
	uint8_t identifier[20];
	assert_ok(s, pki_key_identifier(s, issuer->certificate.spki, identifier));
	struct pki_crl_head head = {
		.issuer = issuer->certificate.subject,
		.issuer_key_identifier = SPAN_ARRAY(identifier),
		.number = 7,
		.this_update = scope_now(s),
		.next_update = scope_now(s) + 7 * MOMENT_DAY,
		.expired_certs_from = issuer->certificate.not_before,
		.algorithm = alg_signature_named(span_str(h->algorithm)),
	};
	struct pki_crl_entry entry = { .serial = find(h, "person")->certificate.serial,
				       .revoked_at = scope_now(s) - MOMENT_HOUR,
				       .reason = 1 };
	struct pki_crl_writer *w;
	struct pki_crl_ends ends;
	AUTO_BUF list = { 0 }, tbs = { 0 }, whole = { 0 };
	assert_ok(s, pki_crl_open(s, &head, append_part, &list, &w));
	for (size_t i = 0; i < entries; i++)
		assert_ok(s, pki_crl_entry(s, w, &entry));
	assert_ok(s, pki_crl_close(s, w, &ends));
	pki_crl_free(w);
	assert_true(buf_append(&tbs, ends.head) && buf_append(&tbs, buf_span(&list)) && buf_append(&tbs, ends.tail));
	span before, after, signature = unit_sign_with(s, issuer->key, head.algorithm, buf_span(&tbs));
	assert_ok(s, pki_crl_frame(s, ends.tbs_length, head.algorithm, signature, &before, &after));
	assert_true(buf_append(&whole, before) && buf_append(&whole, buf_span(&tbs)) && buf_append(&whole, after));
	write_file(s, h, name, buf_span(&whole));
}

/* An answer of the OCSP signer about the person. */
static void write_ocsp(struct scope *s, struct hierarchy *h)
{
	struct member *issuing = find(h, "issuing"), *signer = find(h, "ocsp");
	span request, tbs, der, spki = issuing->certificate.spki;
	uint8_t identifier[20];
	struct pki_ocsp_request read;
	assert_ok(s, pki_ocsp_request_build(s, DIGEST_SHA256, issuing->certificate.subject, spki,
					    find(h, "person")->certificate.serial,
					    SPAN_LITERAL("0123456789abcdef0123456789abcdef"), &request));
	assert_ok(s, pki_ocsp_request_read(s, request, &read));
	assert_ok(s, pki_key_identifier(s, signer->certificate.spki, identifier));
	const struct pki_ocsp_single single = {
		.cert_id = read.id[0].whole,
		.status = PKI_OCSP_REVOKED,
		.revoked_at = scope_now(s) - MOMENT_HOUR,
		.reason = 1,
		.this_update = scope_now(s),
		.next_update = scope_now(s) + MOMENT_HOUR,
		.archive_cutoff = issuing->certificate.not_before,
	};
	const struct alg_key *type;
	assert_ok(s, alg_key_of_spki(s, signer->certificate.spki, &type));
	const struct alg_signature *algorithm = alg_signature_default(type);
	assert_ok(s, pki_ocsp_build_tbs(s, SPAN_ARRAY(identifier), scope_now(s), &single, 1, read.nonce, &tbs));
	assert_ok(s, pki_ocsp_assemble(s, tbs, algorithm, unit_sign_with(s, signer->key, algorithm, tbs),
				       signer->certificate.der, &der));
	write_file(s, h, "ocsp.der", der);
}

/* The verdict of a strict relying party that trusts this root. */
static int verdict(struct hierarchy *h, const char *root, X509 *leaf, int purpose)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	STACK_OF(X509) *between = sk_X509_new_null();
	assert_true(sk_X509_push(between, find(h, "issuing")->x509) > 0);
	assert_int_equal(X509_STORE_add_cert(store, find(h, root)->x509), 1);
	assert_int_equal(X509_STORE_CTX_init(context, store, leaf, between), 1);
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(context);
	assert_int_equal(X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_POLICY_CHECK), 1);
	if (purpose != 0)
		assert_int_equal(X509_VERIFY_PARAM_set_purpose(param, purpose), 1);
	int error = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	sk_X509_free(between);
	return error;
}

static void openssl_accepts(struct hierarchy *h)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t i = 0; i < ROWS; i++)
		issue_one(&s, h, i);
	write_crl(&s, h, find(h, "issuing"), "issuing.crl", 1);
	write_crl(&s, h, find(h, "issuing"), "empty.crl", 0);
	write_crl(&s, h, find(h, "root"), "root.crl", 0);
	write_ocsp(&s, h);
	for (size_t i = 0; i < ROWS; i++) {
		const char *root =
			pki_profile_named(span_str(rows[i].profile))->use == ALG_USE_INTERNAL ? "management" : "root";
		const char *other = strcmp(root, "root") == 0 ? "management" : "root";
		int error = verdict(h, root, h->member[i].x509, rows[i].purpose);
		if (error != X509_V_OK)
			print_error("%s: %s\n", rows[i].name, X509_verify_cert_error_string(error));
		assert_int_equal(error, X509_V_OK);
		//= practice-statement#6.7 internal certificates never chain to the public root, nor public ones to the internal
		assert_int_not_equal(verdict(h, other, h->member[i].x509, rows[i].purpose), X509_V_OK);
	}
	/* What must not pass for something else. */
	assert_int_not_equal(verdict(h, "root", find(h, "person")->x509, X509_PURPOSE_TIMESTAMP_SIGN), X509_V_OK);
	assert_int_not_equal(verdict(h, "root", find(h, "tsu")->x509, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
	assert_int_not_equal(verdict(h, "management", find(h, "operator")->x509, X509_PURPOSE_SSL_SERVER), X509_V_OK);
	for (size_t i = 0; i < ROWS; i++) {
		X509_free(h->member[i].x509);
		EVP_PKEY_free(h->member[i].key);
	}
}

static void a_hierarchy_of_p384_and_p256_keys_verifies(void **state)
{
	(void)state;
	openssl_accepts(&(struct hierarchy){ "ec", "ec-p256", "ec-p256", "ecdsa-sha256", { { 0 } } });
	openssl_accepts(&(struct hierarchy){ "p384", "ec-p384", "ec-p256", "ecdsa-sha384", { { 0 } } });
}

static void a_hierarchy_of_rsa_keys_verifies_with_pss_and_pkcs1(void **state)
{
	(void)state;
	openssl_accepts(&(struct hierarchy){ "pss", "rsa-3072", "ec-p256", "rsa-pss-sha256", { { 0 } } });
	openssl_accepts(&(struct hierarchy){ "pkcs1", "rsa-3072", "ec-p384", "rsa-pkcs1-sha256", { { 0 } } });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hierarchy_of_p384_and_p256_keys_verifies),
		cmocka_unit_test(a_hierarchy_of_rsa_keys_verifies_with_pss_and_pkcs1),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
