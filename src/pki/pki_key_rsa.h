/*
 * pki_key_rsa.h - tests of an RSA modulus that somebody else made: what can be told from the public key alone. For pki_key.c.
 */
#pragma once
#include "pki_key.h"

st pki_key_check_modulus(struct scope *s, span modulus);
