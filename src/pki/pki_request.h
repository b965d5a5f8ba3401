/*
 * pki_request.h - PKCS#10 certification requests (RFC 2986).
 */
#pragma once
#include "alg.h"

#define PKI_REQUEST_MAX 16384
struct pki_request {
	span der;
	span subject; /* whole Name, may be empty SEQUENCE */
	span spki;
	const struct alg_key *key;
	span extensions; /* requested extensions: whole Extensions SEQUENCE; empty when none */
};
/* DER or PEM ("CERTIFICATE REQUEST", or "NEW CERTIFICATE REQUEST"). Checks shape, proof of possession (the signature, by the
 * request's own key) and the key's quality. */
//= en319411-1#REG-6.3.1-01 possession of the private key is checked on every request
st pki_request_read(struct scope *s, span bytes, struct pki_request *out);
/* For a key in an HSM: CertificationRequestInfo to sign, then the whole. */
st pki_request_build_info(struct scope *s, span subject, span spki, span *out_info);
st pki_request_assemble(struct scope *s, span info, const struct alg_signature *algorithm, span signature, span *out_der);
