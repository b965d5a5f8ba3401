/*
 * pki_renewal.h - a certificate that takes the place of another one of the same daemon.
 */
#pragma once
#include "pki_certificate.h"

/* `present`, `renewed` and `ca` are PEM, in each the first certificate counts. The renewed one must be for the same key and the
 * same subject, signed by `ca`, valid now and end later than the present one, or be that one again: E_CRYPTO, E_DENIED or E_CONFLICT otherwise. */
st pki_renewal_check(struct scope *s, span present, span renewed, span ca);
