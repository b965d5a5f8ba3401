/* Time-stamp requests, answers and tokens: any bytes; what is taken is answered and the answer read again. */
#include "fuzz.h"
#include "pki_certificate.h"
#include "pki_key.h"
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

/* With a key that nobody has: whatever fits, the signature does not. */
static void verify(struct scope *s, const struct pki_time_stamp_response *response)
{
	static const uint8_t nobody[32] = { 0x58, 0x66, 0x66 };
	static struct pki_key *key;
	span signer, spki;
	struct pki_certificate certificate;
	struct pki_key *own;
	if (key == NULL)
		check(alg_spki_ed25519(s, SPAN_ARRAY(nobody), &spki).code == E_OK && pki_key_new(s, spki, &key).code == E_OK);
	if (pki_time_stamp_signer(s, response, &signer).code != E_OK)
		signer = SPAN_LITERAL(OUTLINE);
	scope_clear_error(s);
	check(pki_time_stamp_verify(s, response, signer, key).code != E_OK);
	scope_clear_error(s);
	if (pki_certificate_read(s, signer, &certificate).code == E_OK && pki_key_new(s, certificate.spki, &own).code == E_OK) {
		(void)pki_time_stamp_verify(s, response, signer, own).code;
		pki_key_free(own);
	}
	scope_clear_error(s);
	/* It answers a request without nonce, or with its own, for the hash it carries; not one with another nonce. */
	span imprint = response->info.imprint, hash = span_from(imprint, imprint.len > 32 ? imprint.len - 32 : 0);
	if (pki_time_stamp_answers(s, response, DIGEST_SHA256, hash, response->info.nonce).code == E_OK)
		check(pki_time_stamp_answers(s, response, DIGEST_SHA256, hash, SPAN_LITERAL("\x01 another nonce")).code !=
		      E_OK);
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
	struct pki_time_stamp_response response;
	if (pki_time_stamp_response_read(&s, bytes, &response).code == E_OK && response.token.len > 0)
		verify(&s, &response);
	scope_clear_error(&s);
	if (pki_time_stamp_token_read(&s, bytes, &response).code == E_OK)
		verify(&s, &response);
	return 0;
}
