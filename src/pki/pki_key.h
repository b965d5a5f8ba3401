/*
 * pki_key.h - public keys: quality checks, and verification of signatures with keys decoded once.
 */
#pragma once
#include "alg.h"

/* Key quality for certification (requirements 7.3): RSA modulus size, odd, no small factor, exponent 65537, no Fermat-close
 * primes, no ROCA fingerprint, composite and not the power of a prime; EC point on the named curve and not infinity. E_CRYPTO names the check that failed. */
st pki_key_check(struct scope *s, span spki);
/* Full validation of a key of our own after its generation (FIPS 186-5, SP 800-89 5.3.3, SP 800-56A 5.6.2.3.3): what pki_key_check checks, and for
 * curves n*Q = O computed. `out_checks` says in words what was checked, for the record. */
st pki_key_assure(struct scope *s, span spki, const char **out_checks);
/* A decoded public key. Safe for many threads; one that is kept verifies ECDSA on P-256 in half the time after some hundreds of calls. */
struct pki_key;
st pki_key_new(struct scope *s, span spki, struct pki_key **out);
/* As pki_key_new, after the checks of pki_key_check. */
st pki_key_new_checked(struct scope *s, span spki, struct pki_key **out);
void pki_key_free(struct pki_key *key);
const struct alg_key *pki_key_type(const struct pki_key *key);
/* E_CRYPTO when the signature (as X.509 carries it) does not fit. */
st pki_key_verify(struct scope *s, const struct pki_key *key, const struct alg_signature *algorithm, span message,
		  span signature);
/* The same for a SubjectPublicKeyInfo and an AlgorithmIdentifier as they stand in a file, for what is verified once. */
st pki_signature_verify(struct scope *s, span spki, span identifier, span message, span signature);
/* The same for a message whose digest, by the algorithm's own, is there already: of what passes in parts. Not for algorithms that sign whole messages. */
st pki_key_verify_digest(struct scope *s, const struct pki_key *key, const struct alg_signature *algorithm, span digest,
			 span signature);
/* SHA-1 over the content of the BIT STRING: subject key identifier, and the key hash of OCSP (rfc6960#4.2.1). */
st pki_key_identifier(struct scope *s, span spki, uint8_t out[20]);
