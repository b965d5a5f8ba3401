/*
 * pki_time_stamp.h - time-stamps (RFC 3161, RFC 5816, EN 319 422): requests read, TSTInfo and CMS written by our own DER.
 */
#pragma once
#include "pki_certificate.h"
#include "pki_key.h"

#define PKI_TIME_STAMP_REQUEST_MAX 4096
/* PKIFailureInfo bits (rfc3161#2.4.2). */
enum pki_failure {
	PKI_BAD_ALG = 0,
	PKI_BAD_REQUEST = 2,
	PKI_BAD_DATA_FORMAT = 5,
	PKI_TIME_NOT_AVAILABLE = 14,
	PKI_UNACCEPTED_POLICY = 15,
	PKI_UNACCEPTED_EXTENSION = 16,
	PKI_ADD_INFO_NOT_AVAILABLE = 17,
	PKI_SYSTEM_FAILURE = 25,
};
#define PKI_FAILURE_BITS 26
struct pki_time_stamp_request {
	span imprint; /* whole MessageImprint, copied byte for byte */
	enum digest_alg digest;
	span hash;
	span policy; /* OID content octets; empty when none asked for */
	span nonce;  /* INTEGER content octets; empty when absent */
	bool cert_req;
};
/* On failure *out_failure is what the rejection carries. */
st pki_time_stamp_request_read(struct scope *s, span der, struct pki_time_stamp_request *out, enum pki_failure *out_failure);
/* For `ts request`. */
st pki_time_stamp_request_build(struct scope *s, enum digest_alg digest, span hash, span policy, span nonce, bool cert_req,
				span *out);

struct pki_tst_info {
	span policy;
	span imprint; /* whole */
	span serial;  /* magnitude, at most 20 octets */
	int64_t gen_time;
	uint32_t accuracy_ms; /* written: 1 to 1000; read: rounded up, 0 when absent */
	span nonce;           /* INTEGER content octets; empty: none */
	bool qualified;       /* adds qcStatements with esi4-qtstStatement-1 */
};
st pki_tst_info_build(struct scope *s, const struct pki_tst_info *info, span *out_der);
st pki_tst_info_read(struct scope *s, span der, struct pki_tst_info *out);
/* The DER SET OF signed attributes: content-type, message-digest, signing-certificate-v2 (ESSCertIDv2). */
st pki_time_stamp_attributes(struct scope *s, enum digest_alg digest, span tst_info, span signer_certificate, span *out_set);
/* The TimeStampResp with a token; `chain` certificates (whole, may be none) only when asked for. */
st pki_time_stamp_assemble(struct scope *s, span tst_info, span attributes_set, const struct alg_signature *algorithm,
			   span signature, span signer_certificate, const span *chain, size_t chain_count, bool cert_req,
			   span *out_der);
st pki_time_stamp_rejection(struct scope *s, enum pki_failure failure, const char *text, span *out_der);
/* Status and, when granted, token of a TimeStampResp; what `ts verify` and sampled self-verification need. */
struct pki_time_stamp_response {
	int status;
	int failure; /* -1: none */
	span token;  /* ContentInfo, whole */
	span tst_info;
	struct pki_tst_info info;
	span signed_attributes; /* re-tagged as SET */
	span signature_identifier, signature;
	span certificates;      /* content of [0]; empty when absent */
	enum digest_alg digest; /* of the SignerInfo */
	span certificate_hash;  /* of signing-certificate-v2 ... */
	enum digest_alg certificate_digest;
	span message_digest;
	span text; /* first statusString; empty when absent */
};
//= rfc3161#2.4.2 a token is there exactly when the status is granted or grantedWithMods
st pki_time_stamp_response_read(struct scope *s, span der, struct pki_time_stamp_response *out);
/* A token alone (ContentInfo), as kept beside a document. */
st pki_time_stamp_token_read(struct scope *s, span der, struct pki_time_stamp_response *out);
/* Whole DER of the certificate that signing-certificate-v2 names, among those in the token; E_NOTFOUND when it is not there. */
st pki_time_stamp_signer(struct scope *s, const struct pki_time_stamp_response *response, span *out_certificate);
/* The token against its signer: message digest, ESSCertIDv2, signature. E_CRYPTO says which does not fit. That the
 * certificate is one to be trusted, and for time-stamps, is the caller's to check. */
st pki_time_stamp_verify(struct scope *s, const struct pki_time_stamp_response *response, span signer_certificate,
			 const struct pki_key *key);
/* The token's imprint against the request's data, and its nonce; E_CRYPTO when it answers another request. */
st pki_time_stamp_answers(struct scope *s, const struct pki_time_stamp_response *response, enum digest_alg digest, span hash,
			  span nonce);
