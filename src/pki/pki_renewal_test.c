#include "pki_renewal.h"
#include "pki_pem.h"
#include "pki_unit.h"

/* A certificate for `key` that ends so many days from now. */
static X509 *lasting(const char *name, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key, long days)
{
	X509 *c = unit_certificate(name, key, ca, ca_key, "serverAuth");
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(c), 86400 * days));
	assert_true(X509_sign(c, ca_key, EVP_sha256()) > 0);
	return c;
}

static span pem(struct scope *s, const X509 *c)
{
	return span_str(pki_pem_write(s, "CERTIFICATE", unit_der(s, c)));
}

static void only_a_renewal_of_the_same_certificate_is_one(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *ca_key = unit_key(), *key = unit_key(), *other_key = unit_key();
	AUTO(X509) *ca = unit_certificate("CA", ca_key, NULL, NULL, "critical,CA:TRUE");
	AUTO(X509) *same_name = unit_certificate("CA", other_key, NULL, NULL, "critical,CA:TRUE");
	AUTO(X509) *present = lasting("tsa", key, ca, ca_key, 10);
	AUTO(X509) *renewed = lasting("tsa", key, ca, ca_key, 20);
	AUTO(X509) *stranger = lasting("tsa", other_key, ca, ca_key, 20);
	AUTO(X509) *renamed = lasting("va", key, ca, ca_key, 20);
	AUTO(X509) *foreign = lasting("tsa", key, same_name, other_key, 20);
	AUTO(X509) *shorter = lasting("tsa", key, ca, ca_key, 5);
	span old = pem(&s, present), issuer = pem(&s, ca);
	assert_ok(&s, pki_renewal_check(&s, old, pem(&s, renewed), issuer));
	assert_fails(&s, E_CRYPTO, pki_renewal_check(&s, old, pem(&s, stranger), issuer));
	assert_fails(&s, E_DENIED, pki_renewal_check(&s, old, pem(&s, renamed), issuer));
	assert_fails(&s, E_CRYPTO, pki_renewal_check(&s, old, pem(&s, foreign), issuer));
	assert_fails(&s, E_CONFLICT, pki_renewal_check(&s, old, pem(&s, shorter), issuer));
	assert_ok(&s, pki_renewal_check(&s, old, old, issuer)); /* pushed again */
	assert_fails(&s, E_INPUT, pki_renewal_check(&s, old, SPAN_LITERAL("rubbish"), issuer));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(only_a_renewal_of_the_same_certificate_is_one) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
