/*
 * pki_ecdsa.h - ECDSA verification with what does not change kept: libcrypto's own way makes the curve anew for every key it decodes,
 * and multiplies by a key it has seen a million times as if it were new. Points and numbers are libcrypto's. Private to pki.
 */
#pragma once
#include "alg.h"

struct pki_ecdsa;
/* A public key from its uncompressed point; E_CRYPTO when the point is not on the curve (and so for infinity). Safe for many threads. */
st pki_ecdsa_new(struct scope *s, const struct alg_key *type, span point, struct pki_ecdsa **out);
void pki_ecdsa_free(struct pki_ecdsa *key);
/* n*Q = O, computed: milliseconds, once in the life of a key of our own. */
bool pki_ecdsa_has_order(const struct pki_ecdsa *key);
/* Whether `signature` (DER) is this key's over `digest`. After some hundreds of calls a key on P-256 gets a table of its own. */
bool pki_ecdsa_verify(struct pki_ecdsa *key, span digest, span signature);
