/*
 * certificate_bench.c - what a certificate costs the ca besides signing and storing it, and what OpenSSL takes for the same.
 *
 * usage: certificate_bench RUNS
 */
#include "pki_key.h"
#include "pki_name.h"
#include "pki_profile.h"
#include "pki_request.h"
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct {
	span request, spki, tbs, signature;
	struct pki_key *issuer;
	struct pki_issue issue;
} material;

static void must(bool done, const char *what)
{
	if (done)
		return;
	fprintf(stderr, "certificate_bench: %s failed\n", what);
	exit(1);
}

static double cpu(void)
{
	struct timespec t;
	must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0, "clock");
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void make_request(struct scope *s, EVP_PKEY *key)
{
	X509_REQ *r = X509_REQ_new();
	unsigned char *der = NULL, *spki = NULL;
	must(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(r), "CN", MBSTRING_UTF8, (const unsigned char *)"A", -1, -1,
					0) == 1 &&
		     X509_REQ_set_pubkey(r, key) == 1 && X509_REQ_sign(r, key, EVP_sha256()) > 0,
	     "request");
	int len = i2d_X509_REQ(r, &der), spki_len = i2d_PUBKEY(key, &spki);
	must(len > 0 && spki_len > 0, "encoding");
	material.request = scope_copy(s, span_of(der, (size_t)len));
	material.spki = scope_copy(s, span_of(spki, (size_t)spki_len));
	OPENSSL_free(der);
	OPENSSL_free(spki);
	X509_REQ_free(r);
}

static void make_issue(struct scope *s)
{
	static const uint8_t serial[16] = { 1, 2, 3 };
	struct pki_issue *i = &material.issue;
	i->profile = pki_profile_named(SPAN_LITERAL("ncp-plus-n"));
	i->serial = SPAN_ARRAY(serial);
	i->algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha256"));
	i->issuer_not_after = INT64_MAX;
	i->ext = (struct pki_ext_context){
		.subject_spki = material.spki,
		.issuer_spki = material.spki,
		.crl_url = "http://127.0.0.1:8080/crl/issuing.crl",
		.issuer_url = "http://127.0.0.1:8080/ca/issuing.crt",
		.ocsp_url = "http://127.0.0.1:8080/ocsp",
		.not_before = scope_now(s),
		.not_after = scope_now(s) + 365 * MOMENT_DAY,
	};
	span issuer = span_str("C=BE, O=Example NV, organizationIdentifier=NTRBE-0123456789, CN=Example TEST Issuing");
	must(pki_name_parse(s, issuer, &i->issuer).code == E_OK &&
		     pki_name_parse(s, span_str("C=BE, surname=A, givenName=B, CN=B A"), &i->subject).code == E_OK &&
		     pki_profile_build_tbs(s, i, &material.tbs).code == E_OK,
	     "material");
}

static bool read_request(struct scope *s)
{
	struct pki_request r;
	return pki_request_read(s, material.request, &r).code == E_OK;
}

static bool read_request_by_openssl(struct scope *s)
{
	(void)s;
	const unsigned char *at = material.request.data;
	X509_REQ *r = d2i_X509_REQ(NULL, &at, (long)material.request.len);
	bool good = r != NULL && X509_REQ_verify(r, X509_REQ_get0_pubkey(r)) == 1;
	X509_REQ_free(r);
	return good;
}

static bool check_key(struct scope *s)
{
	return pki_key_check(s, material.spki).code == E_OK;
}

static void make_signature(struct scope *s, EVP_PKEY *key)
{
	uint8_t out[128];
	size_t len = sizeof out;
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	must(EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) == 1 &&
		     EVP_DigestSign(c, out, &len, material.tbs.data, material.tbs.len) == 1 &&
		     pki_key_new(s, material.spki, &material.issuer).code == E_OK,
	     "signature");
	EVP_MD_CTX_free(c);
	material.signature = scope_copy(s, span_of(out, len));
}

static bool verify_signature(struct scope *s)
{
	return pki_key_verify(s, material.issuer, material.issue.algorithm, material.tbs, material.signature).code == E_OK;
}

static bool build_tbs(struct scope *s)
{
	span tbs;
	return pki_profile_build_tbs(s, &material.issue, &tbs).code == E_OK;
}

static bool check_tbs(struct scope *s)
{
	return pki_profile_check(s, &material.issue, material.tbs).code == E_OK;
}

static void measure(const char *key, const char *work, bool (*one)(struct scope *s), int runs)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	must(one(&s), work);
	double start = cpu();
	for (int i = 0; i < runs; i++) {
		scope_reset(&s);
		must(one(&s), work);
	}
	printf("{\"work\":\"%s\",\"key\":\"%s\",\"cpu_us\":%.1f}\n", work, key, (cpu() - start) / runs);
}

int main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 2000;
	must(runs > 0, "a number of runs");
	static const char *const keys[] = { "rsa-3072", "ec-p256" };
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	EVP_PKEY *key = NULL;
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		EVP_PKEY_free(key);
		key = i == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)3072)
			     : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
		must(key != NULL, "key");
		make_request(&s, key);
		measure(keys[i], "request read and verified, key checked", read_request, runs);
		measure(keys[i], "the same by OpenSSL, key not checked", read_request_by_openssl, runs);
		measure(keys[i], "key checked", check_key, runs);
	}
	make_issue(&s);
	measure("ec-p256", "TBSCertificate written", build_tbs, 10 * runs);
	measure("ec-p256", "TBSCertificate checked before signing", check_tbs, 10 * runs);
	make_signature(&s, key);
	EVP_PKEY_free(key);
	measure("ec-p256", "signature of a key just decoded verified", verify_signature, 400);
	measure("ec-p256", "signature of a key known for long verified", verify_signature, 10 * runs);
	return 0;
}
