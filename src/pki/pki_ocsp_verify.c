#include "pki_crl.h"
#include "pki_key.h"
#include "pki_ocsp.h"

/* Content octets of id-kp-OCSPSigning, 1.3.6.1.5.5.7.3.9, as it stands inside an extKeyUsage. */
static const uint8_t ocsp_signing[] = { 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09 };
static const uint8_t ext_key_usage[] = { 0x55, 0x1d, 0x25 };

//= rfc6960#4.2.2.2 the signer is the CA itself or was certified by it, directly, for OCSP signing
st pki_ocsp_response_verify(struct scope *s, const struct pki_ocsp_response *response, const struct pki_certificate *issuer)
{
	struct pki_certificate signer;
	TRY(pki_certificate_read(s, response->signer_certificate, &signer));
	TRY(fail_context(s, pki_signature_verify(s, issuer->spki, signer.signature_identifier, signer.tbs, signer.signature),
			 "the signer's certificate (rfc6960#4.2.2.2)"));
	const struct pki_extension *usage = pki_certificate_extension(&signer, SPAN_ARRAY(ext_key_usage));
	if (usage == NULL || memmem(usage->value.data, usage->value.len, ocsp_signing, sizeof ocsp_signing) == NULL)
		return fail(s, E_CRYPTO, "the signer's certificate is not for OCSP signing (rfc6960#4.2.2.2)");
	if (scope_now(s) > signer.not_after || scope_now(s) < signer.not_before)
		return fail(s, E_CRYPTO, "the signer's certificate is not valid now");
	return fail_context(
		s, pki_signature_verify(s, signer.spki, response->signature_identifier, response->tbs, response->signature),
		"the answer's signature");
}

//= rfc5280#6.3.3 (g) the signature of the CRL, by the key of its issuer
st pki_crl_verify(struct scope *s, const struct pki_crl *crl, const struct pki_certificate *issuer)
{
	if (!span_equal(crl->issuer, issuer->subject))
		return fail(s, E_CRYPTO, "the CRL is of another issuer");
	return fail_context(s, pki_signature_verify(s, issuer->spki, crl->signature_identifier, crl->tbs, crl->signature),
			    "the CRL's signature");
}
