/*
 * Public keys and signatures: u16 length of a SubjectPublicKeyInfo, that, and a signature. What is taken is made again of its parts;
 * a key that passes the checks can be used.
 */
#include "fuzz.h"
#include "pki_key.h"

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
		verify(&s, key, signature);
		pki_key_free(key);
	}
	return 0;
}
