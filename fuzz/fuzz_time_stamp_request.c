/* Time-stamp requests, answers and tokens: any bytes; what is taken is answered and the answer read again. */
#include "fuzz.h"
#include "pki_time_stamp.h"

/* A certificate in outline: serial 1, an empty name as its issuer. */
#define OUTLINE "\x30\x11\x30\x0f\xa0\x03\x02\x01\x02\x02\x01\x01\x30\x03\x06\x01\x2a\x30\x00"

static void answer(struct scope *s, const struct pki_time_stamp_request *request)
{
	const struct pki_tst_info info = {
		.policy = request->policy.len > 0 ? request->policy : SPAN_LITERAL("\x2a\x03"),
		.imprint = request->imprint,
		.serial = SPAN_LITERAL("\x01"),
		.gen_time = 1234000,
		.accuracy_ms = 500,
		.nonce = request->nonce,
		.qualified = true,
	};
	const span certificate = SPAN_LITERAL(OUTLINE);
	const struct alg_signature *algorithm = alg_signature_at(0);
	struct pki_time_stamp_response response;
	span tst_info, attributes, der;
	bool made = pki_tst_info_build(s, &info, &tst_info).code == E_OK &&
		    pki_time_stamp_attributes(s, algorithm->digest, tst_info, certificate, &attributes).code == E_OK &&
		    pki_time_stamp_assemble(s, tst_info, attributes, algorithm, SPAN_LITERAL("sig"), certificate, NULL, 0,
					    request->cert_req, &der)
				    .code == E_OK &&
		    pki_time_stamp_response_read(s, der, &response).code == E_OK &&
		    pki_time_stamp_answers(s, &response, request->digest, request->hash, request->nonce).code == E_OK;
	if (!made || !span_equal(response.info.imprint, request->imprint) || !span_equal(response.info.nonce, request->nonce))
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span bytes = span_of(data, size);
	struct pki_time_stamp_request request;
	enum pki_failure failure = (enum pki_failure) - 1;
	if (pki_time_stamp_request_read(&s, bytes, &request, &failure).code == E_OK) {
		if (request.hash.len != digest_len(request.digest) || request.digest < DIGEST_SHA256)
			__builtin_trap();
		answer(&s, &request);
	} else if (failure == (enum pki_failure) - 1)
		__builtin_trap();
	scope_clear_error(&s);
	struct pki_time_stamp_response ignored;
	(void)pki_time_stamp_response_read(&s, bytes, &ignored).code;
	scope_clear_error(&s);
	(void)pki_time_stamp_token_read(&s, bytes, &ignored).code;
	return 0;
}
