/*
 * pki_ocsp.h - OCSP (RFC 6960, RFC 9654 nonce, RFC 9919 profile): requests read, responses written.
 */
#pragma once
#include "pki_certificate.h"

#define PKI_OCSP_REQUEST_MAX   8192
#define PKI_OCSP_SINGLES_MAX   32
#define PKI_OCSP_NONCE_MAX     128
#define PKI_OCSP_PREFERRED_MAX 16

struct pki_ocsp_cert_id {
	span whole;             /* DER, copied into the answer byte for byte */
	enum digest_alg digest; /* DIGEST_NONE when it is none of ours */
	span issuer_name_hash, issuer_key_hash;
	span serial; /* INTEGER content octets */
};
struct pki_ocsp_request {
	struct pki_ocsp_cert_id id[PKI_OCSP_SINGLES_MAX];
	size_t count;
	bool has_nonce;
	span nonce;     /* 1 to 128 octets */
	span preferred; /* preferredSignatureAlgorithms value; empty when absent */
};
//= rfc6960#4.1 malformed requests, and rfc9654#2.1 nonces of 0 or more than 128 octets, give malformedRequest
st pki_ocsp_request_read(struct scope *s, span der, struct pki_ocsp_request *out);
/* The algorithms among the first PKI_OCSP_PREFERRED_MAX that the client prefers which are known here, in its order; none behind a row
 * that is malformed. Returns how many. */
size_t pki_ocsp_preferred(const struct pki_ocsp_request *request, const struct alg_signature *out[PKI_OCSP_PREFERRED_MAX]);
/* CertID of a certificate (`serial` as magnitude); whole. */
st pki_ocsp_cert_id_build(struct scope *s, enum digest_alg digest, span issuer_name, span issuer_spki, span serial, span *out);
/* A request for one certificate, for `ocsp query`; an empty nonce sends none. */
st pki_ocsp_request_build(struct scope *s, enum digest_alg digest, span issuer_name, span issuer_spki, span serial, span nonce,
			  span *out);
/* URL part after the responder's path: base64, percent-escaped or not (rfc6960#A.1). */
st pki_ocsp_request_from_url(struct scope *s, span url_part, span *out_der);

enum pki_ocsp_status { PKI_OCSP_GOOD, PKI_OCSP_REVOKED, PKI_OCSP_UNKNOWN };
struct pki_ocsp_single {
	span cert_id;
	enum pki_ocsp_status status;
	int64_t revoked_at;
	int reason; /* 0: not sent */
	int64_t this_update, next_update;
	int64_t archive_cutoff; /* 0: not sent */
};
/* ResponseData, byKey. */
st pki_ocsp_build_tbs(struct scope *s, span responder_key_hash, int64_t produced_at, const struct pki_ocsp_single *single,
		      size_t count, span nonce, span *out_tbs);
/* The whole OCSPResponse with the signer's certificate. */
st pki_ocsp_assemble(struct scope *s, span tbs, const struct alg_signature *algorithm, span signature, span signer_certificate,
		     span *out_der);
/* An error answer without responseBytes: 1 malformedRequest, 2 internalError, 3 tryLater, 6 unauthorized; static bytes. */
span pki_ocsp_error(int status);

struct pki_ocsp_response {
	int status; /* OCSPResponseStatus; all below is empty unless 0 */
	span tbs, signature_identifier, signature, signer_certificate;
	span responder_key_hash; /* byKey, else empty and ... */
	span responder_name;     /* ... byName, whole */
	int64_t produced_at;
	span nonce;
	struct pki_ocsp_single single[PKI_OCSP_SINGLES_MAX];
	size_t count;
};
/* Shape only: who signed it, for whom and when, is the caller's to check. */
st pki_ocsp_response_read(struct scope *s, span der, struct pki_ocsp_response *out);
/* That the answer is signed by the CA itself, or by whom it certified for that, whose certificate is good now (rfc6960#4.2.2.2). E_CRYPTO says
 * what is wrong. What it is about, and of when, is still the caller's to check. */
st pki_ocsp_response_verify(struct scope *s, const struct pki_ocsp_response *response, const struct pki_certificate *issuer);
