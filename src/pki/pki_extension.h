/*
 * pki_extension.h - the Extension of RFC 5280 section 4.1 as CRLs, OCSP and time-stamps carry it as well.
 */
#pragma once
#include "pki_certificate.h"

/* The next Extension of a list, that der_at_end() says is there; false, with the list bad, when it is malformed. */
bool pki_extension_next(struct der_rd *list, struct pki_extension *out);
/* Extension { oid, critical, value }: `value` is the content of the OCTET STRING. */
void pki_extension_put(struct der_wr *d, span oid, bool critical, span value);
