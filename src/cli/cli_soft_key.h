/*
 * cli_soft_key.h - the software keys of TLS (daemons, operators): EC P-256, made and used with libcrypto. No certificate of the
 * provider's own trade is ever bound to one of these.
 */
#pragma once
#include "scope.h"

/* A new key as PEM (PKCS#8). */
st cli_soft_key_new(struct scope *s, span *out_pem);
/* A certification request of the key for this subject (whole Name), DER. */
st cli_soft_key_request(struct scope *s, span key_pem, span subject, span *out_request);
