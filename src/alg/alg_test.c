#include "alg.h"
#include "unit.h"
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)

static EVP_PKEY *new_key(const char *name)
{
	static const struct {
		const char *name, *type, *curve;
		size_t bits;
	} rows[] = {
		{ "rsa-2048", "RSA", NULL, 2048 },
		{ "rsa-3072", "RSA", NULL, 3072 },
		{ "ec-p256", "EC", "P-256", 0 },
		{ "ec-p384", "EC", "P-384", 0 },
		{ "ec-p521", "EC", "P-521", 0 },
		{ "ed25519", "ED25519", NULL, 0 },
		{ "ed448", "ED448", NULL, 0 },
		{ "rsa-2064", "RSA", NULL, 2064 },
		{ "ec-brainpoolp512r1", "EC", "brainpoolP512r1", 0 },
		{ "ec-p224", "EC", "P-224", 0 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (strcmp(rows[i].name, name) != 0)
			continue;
		if (rows[i].bits != 0)
			return EVP_PKEY_Q_keygen(NULL, NULL, rows[i].type, rows[i].bits);
		return rows[i].curve != NULL ? EVP_PKEY_Q_keygen(NULL, NULL, rows[i].type, rows[i].curve)
					     : EVP_PKEY_Q_keygen(NULL, NULL, rows[i].type);
	}
	return NULL;
}

static span spki_of(struct scope *s, EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	assert_true(len > 0);
	span out = scope_copy(s, span_of(der, (size_t)len));
	OPENSSL_free(der);
	return out;
}

/* OpenSSL is the outsider: it makes the SubjectPublicKeyInfo, we name it, take it apart and put it together again. */
static void keys_that_openssl_makes_are_recognised(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const names[] = { "rsa-2048", "rsa-3072",           "ec-p256", "ec-p384",
					     "ec-p521",  "ec-brainpoolp512r1", "ed25519" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		AUTO(EVP_PKEY) *key = new_key(names[i]);
		span spki = spki_of(&s, key), again;
		struct alg_public public;
		assert_ok(&s, alg_public_of_spki(&s, spki, &public));
		assert_string_equal(public.key->name, names[i]);
		assert_ptr_equal(alg_key_named(span_str(names[i])), public.key);
		if (public.key->family == ALG_RSA)
			assert_ok(&s, alg_spki_rsa(&s, public.modulus, public.exponent, &again));
		else if (public.key->family == ALG_EC)
			assert_ok(&s, alg_spki_ec(&s, public.key, public.point, &again));
		else
			assert_ok(&s, alg_spki_ed25519(&s, public.point, &again));
		assert_true(span_equal(spki, again));
	}
}

static void keys_outside_the_table_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const names[] = { "ec-p224", "ed448", "rsa-2064" };
	const struct alg_key *key;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		AUTO(EVP_PKEY) *pkey = new_key(names[i]);
		assert_fails(&s, E_CRYPTO, alg_key_of_spki(&s, spki_of(&s, pkey), &key));
	}
	AUTO(EVP_PKEY) *ec = new_key("ec-p256");
	assert_int_equal(EVP_PKEY_set_utf8_string_param(ec, "point-format", "compressed"), 1);
	assert_fails(&s, E_CRYPTO, alg_key_of_spki(&s, spki_of(&s, ec), &key));
}

//= ts119312#6.2 the exponent is 65537, whatever else is right
static void another_exponent_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t modulus[256];
	memset(modulus, 0xff, sizeof modulus);
	span out;
	assert_fails(&s, E_CRYPTO, alg_spki_rsa(&s, SPAN_ARRAY(modulus), SPAN_LITERAL("\x03"), &out));
	assert_ok(&s, alg_spki_rsa(&s, SPAN_ARRAY(modulus), SPAN_LITERAL("\x01\x00\x01"), &out));
	const struct alg_key *key;
	assert_fails(&s, E_INPUT, alg_key_of_spki(&s, span_first(out, out.len - 1), &key));
	assert_fails(&s, E_CRYPTO, alg_spki_rsa(&s, span_from(SPAN_ARRAY(modulus), 1), SPAN_LITERAL("\x01\x00\x01"), &out));
}

/* The identifiers in the table read by OpenSSL: the right algorithm, and the same bytes when OpenSSL writes them. */
static void identifiers_mean_to_openssl_what_they_mean_to_us(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		int nid;
	} rows[] = {
		{ "ecdsa-sha256", NID_ecdsa_with_SHA256 },
		{ "ecdsa-sha384", NID_ecdsa_with_SHA384 },
		{ "ecdsa-sha512", NID_ecdsa_with_SHA512 },
		{ "rsa-pss-sha256", NID_rsassaPss },
		{ "rsa-pss-sha384", NID_rsassaPss },
		{ "rsa-pkcs1-sha256", NID_sha256WithRSAEncryption },
		{ "rsa-pkcs1-sha384", NID_sha384WithRSAEncryption },
		{ "ed25519", NID_ED25519 },
	};
	size_t count = 0;
	for (; alg_signature_at(count) != NULL; count++) {
		const struct alg_signature *a = alg_signature_at(count);
		assert_ptr_equal(a, alg_signature_of_identifier(a->identifier));
		assert_ptr_equal(a, alg_signature_named(span_str(a->name)));
		assert_string_equal(a->name, rows[count].name);
		const unsigned char *at = a->identifier.data;
		X509_ALGOR *read = d2i_X509_ALGOR(NULL, &at, (long)a->identifier.len);
		assert_non_null(read);
		const ASN1_OBJECT *oid;
		X509_ALGOR_get0(&oid, NULL, NULL, read);
		assert_int_equal(OBJ_obj2nid(oid), rows[count].nid);
		unsigned char *again = NULL;
		int len = i2d_X509_ALGOR(read, &again);
		assert_true(span_equal(span_of(again, (size_t)len), a->identifier));
		OPENSSL_free(again);
		X509_ALGOR_free(read);
	}
	assert_int_equal(count, sizeof rows / sizeof rows[0]);
}

static void pss_identifiers_equal_what_openssl_signs_with(void **state)
{
	(void)state;
	AUTO(EVP_PKEY) *key = new_key("rsa-2048");
	static const char *const names[][2] = { { "rsa-pss-sha256", "SHA256" }, { "rsa-pss-sha384", "SHA384" } };
	for (size_t i = 0; i < 2; i++) {
		EVP_MD_CTX *c = EVP_MD_CTX_new();
		EVP_PKEY_CTX *p;
		assert_int_equal(EVP_DigestSignInit_ex(c, &p, names[i][1], NULL, NULL, key, NULL), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(p, 6 /* PSS */), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(p, -1 /* as the digest */), 1);
		X509_REQ *r = X509_REQ_new();
		assert_int_equal(X509_REQ_set_pubkey(r, key), 1);
		assert_true(X509_REQ_sign_ctx(r, c) > 0);
		const X509_ALGOR *algorithm;
		X509_REQ_get0_signature(r, NULL, &algorithm);
		unsigned char *der = NULL;
		int len = i2d_X509_ALGOR(algorithm, &der);
		assert_ptr_equal(alg_signature_of_identifier(span_of(der, (size_t)len)),
				 alg_signature_named(span_str(names[i][0])));
		OPENSSL_free(der);
		X509_REQ_free(r);
		EVP_MD_CTX_free(c);
	}
}

static void digests_are_read_with_and_without_null(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (int i = DIGEST_SHA1; i < DIGEST_COUNT; i++) {
		span identifier = alg_digest_identifier((enum digest_alg)i), content;
		assert_int_equal(alg_digest_of_identifier(identifier), i);
		assert_int_equal(alg_digest_of_oid(alg_digest_oid((enum digest_alg)i)), i);
		assert_ok(&s, der_content(&s, identifier, DER_SEQUENCE, &content));
		AUTO_BUF b = { 0 };
		struct der_wr w = der_write(&b);
		der_begin(&w, DER_SEQUENCE);
		der_put_raw(&w, content);
		der_put_null(&w);
		der_end(&w);
		assert_int_equal(alg_digest_of_identifier(buf_span(&b)), i);
		buf_append(&b, SPAN_LITERAL("x"));
		assert_int_equal(alg_digest_of_identifier(buf_span(&b)), DIGEST_NONE);
	}
	assert_int_equal(alg_digest_of_identifier(SPAN_LITERAL("\x30\x05\x06\x03\x2b\x65\x70")), DIGEST_NONE);
}

static void raw_ecdsa_signatures_become_der(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span out;
	assert_ok(&s, alg_ecdsa_der(&s, SPAN_LITERAL("\x00\x7f\x80\x01"), &out));
	assert_true(span_equal(out, SPAN_LITERAL("\x30\x08\x02\x01\x7f\x02\x03\x00\x80\x01")));
	assert_fails(&s, E_CRYPTO, alg_ecdsa_der(&s, SPAN_LITERAL("\x00\x00\x80\x01"), &out));
	assert_fails(&s, E_CRYPTO, alg_ecdsa_der(&s, SPAN_LITERAL("\x01\x02\x03"), &out));
	assert_fails(&s, E_CRYPTO, alg_ecdsa_der(&s, (span){ 0 }, &out));
}

static st check_at(struct scope *s, const char *key, const char *signature, enum alg_use use, bool fresh, const char *day)
{
	int64_t now;
	TRY(moment_parse(s, span_str(day), &now));
	return alg_policy_check(s, alg_key_named(span_str(key)), alg_signature_named(span_str(signature)), use, fresh, now);
}

//= ts119312#tables RSA below 3000 bits: no new certificate after 2026-12-31, no use after 2028-12-31
static void short_rsa_ends_on_its_dates(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	const char *rsa = "rsa-2048", *pss = "rsa-pss-sha256";
	assert_ok(&s, check_at(&s, rsa, pss, ALG_USE_END_ENTITY, true, "2026-12-31T23:59:59Z"));
	assert_fails(&s, E_CRYPTO, check_at(&s, rsa, pss, ALG_USE_END_ENTITY, true, "2027-01-01T00:00:00Z"));
	assert_ok(&s, check_at(&s, rsa, pss, ALG_USE_END_ENTITY, false, "2028-12-31T23:59:59Z"));
	assert_fails(&s, E_CRYPTO, check_at(&s, rsa, pss, ALG_USE_END_ENTITY, false, "2029-01-01T00:00:00Z"));
	assert_fails(&s, E_CRYPTO, check_at(&s, rsa, pss, ALG_USE_CA, false, "2026-01-01T00:00:00Z"));
}

static void what_the_policy_does_not_name_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	const char *day = "2026-11-22T00:00:00Z";
	assert_ok(&s, check_at(&s, "ec-p256", "ecdsa-sha256", ALG_USE_CA, true, day));
	assert_fails(&s, E_CRYPTO, check_at(&s, "ec-p384", "ecdsa-sha256", ALG_USE_CA, true, day));
	assert_fails(&s, E_CRYPTO, check_at(&s, "ec-p256", "rsa-pss-sha256", ALG_USE_CA, true, day));
	assert_ok(&s, check_at(&s, "ed25519", "ed25519", ALG_USE_LOG, true, day));
	assert_fails(&s, E_CRYPTO, check_at(&s, "ed25519", "ed25519", ALG_USE_CA, true, day));
}

static void every_row_and_default_names_what_exists(void **state)
{
	(void)state;
	for (size_t i = 0; alg_policy_at(i) != NULL; i++) {
		const struct alg_key *key = alg_key_named(span_str(alg_policy_at(i)->key));
		const struct alg_signature *signature = alg_signature_named(span_str(alg_policy_at(i)->signature));
		assert_non_null(key);
		assert_non_null(signature);
		assert_int_equal(key->family, signature->family);
	}
	for (size_t i = 0; alg_key_at(i) != NULL; i++) {
		assert_non_null(alg_signature_default(alg_key_at(i)));
		assert_int_equal(alg_signature_default(alg_key_at(i))->family, alg_key_at(i)->family);
	}
	assert_null(alg_key_named(SPAN_LITERAL("dsa-1024")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_that_openssl_makes_are_recognised),
		cmocka_unit_test(keys_outside_the_table_are_refused),
		cmocka_unit_test(another_exponent_is_refused),
		cmocka_unit_test(identifiers_mean_to_openssl_what_they_mean_to_us),
		cmocka_unit_test(pss_identifiers_equal_what_openssl_signs_with),
		cmocka_unit_test(digests_are_read_with_and_without_null),
		cmocka_unit_test(raw_ecdsa_signatures_become_der),
		cmocka_unit_test(short_rsa_ends_on_its_dates),
		cmocka_unit_test(what_the_policy_does_not_name_is_refused),
		cmocka_unit_test(every_row_and_default_names_what_exists),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
