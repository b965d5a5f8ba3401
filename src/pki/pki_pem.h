/*
 * pki_pem.h - PEM (RFC 7468), strict.
 */
#pragma once
#include "buf.h"
/* The first block with this label, or, when the bytes are no PEM at all, the bytes themselves. */
st pki_pem_or_der(struct scope *s, span bytes, const char *label, span *out_der);
char *pki_pem_write(struct scope *s, const char *label, span der);
/* Calls for each block with this label. */
st pki_pem_each(struct scope *s, span bytes, const char *label, st (*each)(struct scope *s, span der, void *arg), void *arg);
