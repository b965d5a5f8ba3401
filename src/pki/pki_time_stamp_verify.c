#include "pki_time_stamp.h"

/* rsaEncryption, parameters NULL. */
static const uint8_t rsa_encryption[] = { 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
					  0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00 };

/* Many makers name the key's algorithm alone; the digest is that of the SignerInfo then. */
//= rfc3370#3.2 rsaEncryption in a SignerInfo stands for PKCS #1 v1.5 with the message digest algorithm
static const struct alg_signature *algorithm_of(const struct pki_time_stamp_response *response)
{
	if (!span_equal(response->signature_identifier, SPAN_ARRAY(rsa_encryption)))
		return alg_signature_of_identifier(response->signature_identifier);
	const struct alg_signature *row;
	for (size_t i = 0; (row = alg_signature_at(i)) != NULL; i++)
		if (row->family == ALG_RSA && !row->pss && row->digest == response->digest)
			return row;
	return NULL;
}

//= rfc3161#2.4.2 the signer's certificate is the one ESSCertID names
//= rfc5652#5.6 the message digest is recalculated, and the signature checked over the DER of the signed attributes
st pki_time_stamp_verify(struct scope *s, const struct pki_time_stamp_response *response, span signer_certificate,
			 const struct pki_key *key)
{
	uint8_t hash[DIGEST_MAX];
	const struct alg_signature *algorithm = algorithm_of(response);
	if (algorithm == NULL || algorithm->digest == DIGEST_NONE || algorithm->digest != response->digest)
		return fail(s, E_CRYPTO,
			    "the token is signed with an algorithm not known here, or not with the digest it names");
	if (response->certificate_digest == DIGEST_NONE ||
	    !span_equal(digest_of(response->certificate_digest, signer_certificate, hash), response->certificate_hash))
		return fail(s, E_CRYPTO, "the token names another signer's certificate than this (rfc5816#2.2.1)");
	if (!span_equal(digest_of(response->digest, response->tst_info, hash), response->message_digest))
		return fail(s, E_CRYPTO, "the token's content is not what was signed (rfc5652#5.6)");
	return pki_key_verify(s, key, algorithm, response->signed_attributes, response->signature);
}

st pki_time_stamp_answers(struct scope *s, const struct pki_time_stamp_response *response, enum digest_alg digest, span hash,
			  span nonce)
{
	struct der_rd d = der_read(response->info.imprint);
	struct der_rd imprint = der_enter(&d, DER_SEQUENCE);
	enum digest_alg given = alg_digest_of_identifier(der_get_whole(&imprint, DER_SEQUENCE));
	span stamped = der_get(&imprint, DER_OCTET_STRING);
	if (imprint.bad || given == DIGEST_NONE || given != digest || !span_equal(stamped, hash))
		return fail(s, E_CRYPTO, "the token stamps other data than these (rfc3161#2.2)");
	if (nonce.len > 0 && !span_equal(nonce, response->info.nonce))
		return fail(s, E_CRYPTO, "the token answers another request: its nonce differs (rfc3161#2.2)");
	return OK;
}
