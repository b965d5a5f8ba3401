/*
 * Public keys and signatures: u16 length of a SubjectPublicKeyInfo, that, and a signature. What is taken is made again of its parts;
 * a key that passes the checks can be used.
 */
#include "fuzz.h"
#include "pki_key.h"

#define OFTEN 1000 /* verifications, more than a key takes to get its table */

static void make_again(struct scope *s, span spki, const struct alg_public *public)
{
	span again;
	st made = public->key->family == ALG_RSA  ? alg_spki_rsa(s, public->modulus, public->exponent, &again)
		  : public->key->family == ALG_EC ? alg_spki_ec(s, public->key, public->point, &again)
						  : alg_spki_ed25519(s, public->point, &again);
	check(made.code == E_OK && span_equal(again, spki));
}

static void verify(struct scope *s, const struct pki_key *key, span signature)
{
	const struct alg_signature *algorithm;
	for (size_t i = 0; (algorithm = alg_signature_at(i)) != NULL; i++) {
		st status = pki_key_verify(s, key, algorithm, SPAN_LITERAL("message"), signature);
		if (algorithm->family != pki_key_type(key)->family)
			check(status.code != E_OK);
		scope_clear_error(s);
	}
}

/* A key on P-256 that is used often verifies by a table of its own: signatures are read there again. */
static void verify_by_table(struct scope *s, span signature)
{
	static const uint8_t point[65] = {
		0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
		0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
		0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
		0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5
	}; /* the generator: the private key is 1 */
	static struct pki_key *often;
	const struct alg_signature *algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha256"));
	const span message = SPAN_LITERAL("message");
	struct pki_key *fresh;
	span spki;
	check(alg_spki_ec(s, alg_key_named(SPAN_LITERAL("ec-p256")), SPAN_ARRAY(point), &spki).code == E_OK);
	if (often == NULL) {
		check(pki_key_new(s, spki, &often).code == E_OK);
		for (int i = 0; i < OFTEN; i++) {
			check(pki_key_verify(s, often, algorithm, message, (span){ 0 }).code != E_OK);
			scope_clear_error(s);
		}
	}
	check(pki_key_new(s, spki, &fresh).code == E_OK);
	bool table = pki_key_verify(s, often, algorithm, message, signature).code == E_OK;
	scope_clear_error(s);
	check(table == (pki_key_verify(s, fresh, algorithm, message, signature).code == E_OK));
	scope_clear_error(s);
	pki_key_free(fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct alg_public public;
	const struct alg_key *type;
	uint8_t identifier[20];
	size_t len = (size_t)data[0] << 8 | data[1];
	span rest = span_of(data + 2, size - 2), spki = span_first(rest, len), signature = span_from(rest, len);
	span raw;
	(void)alg_ecdsa_der(&s, signature, &raw).code;
	scope_clear_error(&s);
	verify_by_table(&s, signature);
	if (alg_public_of_spki(&s, spki, &public).code != E_OK) {
		check(s.message[0] != 0);
		return 0;
	}
	check(alg_key_of_spki(&s, spki, &type).code == E_OK && type == public.key);
	check(pki_key_identifier(&s, spki, identifier).code == E_OK);
	make_again(&s, spki, &public);
	struct pki_key *key;
	if (pki_key_new_checked(&s, spki, &key).code == E_OK) {
		check(pki_key_check(&s, spki).code == E_OK);
		const char *checks = NULL;
		check(pki_key_assure(&s, spki, &checks).code == E_OK ? checks[0] != 0 : s.message[0] != 0);
		scope_clear_error(&s);
		verify(&s, key, signature);
		pki_key_free(key);
	}
	return 0;
}
