/*
 * pki_key_edwards.h - full validation of an Ed25519 public key that somebody else made; libcrypto checks no more than its length. For pki_key.c.
 */
#pragma once
#include "pki_key.h"

/* E_CRYPTO unless the 32 octets are the one encoding of a point on edwards25519 that is not the neutral element and has the order of
 * the base point. */
st pki_key_check_edwards(struct scope *s, span key);
