/*
 * pki_certificate.h - X.509 certificates: read with our own DER (no decoding by OpenSSL on hot paths), built from a profile.
 */
#pragma once
#include "alg.h"

#define PKI_CERTIFICATE_MAX 16384
#define PKI_EXTENSIONS_MAX  24
#define PKI_SERIAL_MAX      20

struct pki_extension {
	span oid; /* content octets */
	bool critical;
	span value; /* content of the OCTET STRING */
};
struct pki_certificate {
	span der;
	span tbs;                  /* whole TBSCertificate */
	span serial;               /* INTEGER content octets, positive */
	span signature_identifier; /* whole AlgorithmIdentifier inside the TBS */
	span issuer, subject;      /* whole Names */
	int64_t not_before, not_after;
	span spki;
	struct pki_extension extension[PKI_EXTENSIONS_MAX];
	size_t extension_count;
	span signature; /* empty when read from a TBS */
};
/* v3 only, strict; both signature identifiers must agree. E_INPUT otherwise. */
st pki_certificate_read(struct scope *s, span der, struct pki_certificate *out);
st pki_certificate_read_tbs(struct scope *s, span tbs, struct pki_certificate *out);
/* The serial number without leading zeros, for records; empty when this is no certificate. */
span pki_certificate_serial(struct scope *s, span der);
/* NULL when absent. */
const struct pki_extension *pki_certificate_extension(const struct pki_certificate *c, span oid);
st pki_certificate_assemble(struct scope *s, span tbs, const struct alg_signature *algorithm, span signature, span *out_der);
/* SEQUENCE { what was signed, algorithm, BIT STRING }: the outer shape of certificates and certification requests. */
st pki_signed_assemble(struct scope *s, span tbs, const struct alg_signature *algorithm, span signature, span *out_der);

/* A serial number: 16 random octets, positive, first octet not zero (rfc5280#4.1.2.2, en319411-1#GEN-6.3.3-02A). */
void pki_serial_new(struct scope *s, uint8_t out[16]);
