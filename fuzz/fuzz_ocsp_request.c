/* OCSP requests: any bytes as DER and as the URL part of a GET; what is taken is answered and the answer read again. */
#include "fuzz.h"
#include "pki_ocsp.h"

static void answer(struct scope *s, const struct pki_ocsp_request *request)
{
	struct pki_ocsp_single single[PKI_OCSP_SINGLES_MAX] = { 0 };
	for (size_t i = 0; i < request->count; i++)
		single[i] = (struct pki_ocsp_single){ .cert_id = request->id[i].whole,
						      .status = (enum pki_ocsp_status)(i % 3),
						      .next_update = MOMENT_DAY,
						      .archive_cutoff = i % 2 == 0 ? MOMENT_DAY : 0,
						      .reason = 1 };
	static const uint8_t key_hash[20];
	const struct alg_signature *algorithm = alg_signature_at(0);
	struct pki_ocsp_response response;
	span tbs, der;
	bool made = pki_ocsp_build_tbs(s, SPAN_ARRAY(key_hash), 0, single, request->count, request->nonce, &tbs).code == E_OK &&
		    pki_ocsp_assemble(s, tbs, algorithm, SPAN_LITERAL("sig"), SPAN_LITERAL("\x30\x00"), &der).code == E_OK &&
		    pki_ocsp_response_read(s, der, &response).code == E_OK;
	if (!made || response.count != request->count || !span_equal(response.nonce, request->nonce))
		__builtin_trap();
}

static void take(struct scope *s, span der)
{
	struct pki_ocsp_request request;
	if (pki_ocsp_request_read(s, der, &request).code != E_OK) {
		scope_clear_error(s);
		return;
	}
	if (request.count < 1 || request.count > PKI_OCSP_SINGLES_MAX || request.nonce.len > PKI_OCSP_NONCE_MAX ||
	    request.has_nonce != (request.nonce.len > 0) || !lies_inside(request.nonce, der) ||
	    !lies_inside(request.preferred, der))
		__builtin_trap();
	for (size_t i = 0; i < request.count; i++)
		if (!lies_inside(request.id[i].whole, der) || !lies_inside(request.id[i].serial, request.id[i].whole))
			__builtin_trap();
	const struct alg_signature *preferred[PKI_OCSP_PREFERRED_MAX];
	for (size_t i = pki_ocsp_preferred(&request, preferred); i > 0; i--)
		check(preferred[i - 1] != NULL);
	answer(s, &request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span der, bytes = span_of(data, size);
	take(&s, bytes);
	if (pki_ocsp_request_from_url(&s, bytes, &der).code == E_OK)
		take(&s, der);
	scope_clear_error(&s);
	struct pki_ocsp_response ignored;
	(void)pki_ocsp_response_read(&s, bytes, &ignored).code;
	return 0;
}
