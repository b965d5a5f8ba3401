#include "hsm_internal.h"

static const struct hsm_family families[] = {
	{ ALG_RSA, CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA, { CKM_RSA_PKCS_PSS, CKM_RSA_PKCS }, 2 },
	{ ALG_EC, CKM_EC_KEY_PAIR_GEN, CKK_EC, { CKM_ECDSA }, 1 },
	{ ALG_ED25519, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, { CKM_EDDSA }, 1 },
};

const struct hsm_family *hsm_family_of(const struct alg_key *type)
{
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
		if (families[i].family == type->family)
			return &families[i];
	return NULL;
}

/* What RSA needs per digest: PSS parameters, and the DigestInfo before the digest for PKCS#1 v1.5 (rfc8017#9.2 note 1). */
struct digest_row {
	enum digest_alg digest;
	CK_MECHANISM_TYPE hash;
	CK_RSA_PKCS_MGF_TYPE mgf;
	span info;
};
static const uint8_t info_sha256[] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
				       0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };
static const uint8_t info_sha384[] = { 0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
				       0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30 };
static const uint8_t info_sha512[] = { 0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
				       0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40 };
static const struct digest_row digests[] = {
	{ DIGEST_SHA256, CKM_SHA256, CKG_MGF1_SHA256, { info_sha256, sizeof info_sha256 } },
	{ DIGEST_SHA384, CKM_SHA384, CKG_MGF1_SHA384, { info_sha384, sizeof info_sha384 } },
	{ DIGEST_SHA512, CKM_SHA512, CKG_MGF1_SHA512, { info_sha512, sizeof info_sha512 } },
};

static const struct digest_row *digest_row(enum digest_alg digest)
{
	for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++)
		if (digests[i].digest == digest)
			return &digests[i];
	return NULL;
}

st hsm_mechanism_of(struct scope *s, const struct alg_signature *algorithm, struct hsm_mechanism *out)
{
	*out = (struct hsm_mechanism){ 0 };
	if (algorithm->family == ALG_EC)
		out->value.mechanism = CKM_ECDSA;
	else if (algorithm->family == ALG_ED25519)
		out->value.mechanism = CKM_EDDSA;
	else
		out->value.mechanism = algorithm->pss ? CKM_RSA_PKCS_PSS : CKM_RSA_PKCS;
	if (algorithm->family != ALG_RSA)
		return OK;
	const struct digest_row *row = digest_row(algorithm->digest);
	if (row == NULL)
		return fail(s, E_CRYPTO, "no way to sign a %s digest with RSA", digest_name(algorithm->digest));
	if (algorithm->pss) {
		out->pss = (CK_RSA_PKCS_PSS_PARAMS){ row->hash, row->mgf, digest_len(algorithm->digest) };
		out->value.pParameter = &out->pss;
		out->value.ulParameterLen = sizeof out->pss;
	}
	return OK;
}

span hsm_sign_input(struct scope *s, const struct alg_key *type, const struct alg_signature *algorithm, span digest)
{
	//= fips186-5#6.4.1 ECDSA uses the leftmost bits of the digest, as many as the order has
	if (algorithm->family == ALG_EC)
		return span_first(digest, type->coordinate);
	if (algorithm->family == ALG_ED25519 || algorithm->pss)
		return digest;
	span info = digest_row(algorithm->digest)->info;
	uint8_t *joined = scope_alloc(s, info.len + digest.len);
	memcpy(joined, info.data, info.len);
	memcpy(joined + info.len, digest.data, digest.len);
	return span_of(joined, info.len + digest.len);
}

/* Octets C_Sign gives: two coordinates, a modulus, or 64. */
static size_t raw_len(const struct alg_key *type)
{
	if (type->family == ALG_EC)
		return 2 * type->coordinate;
	return type->family == ALG_RSA ? type->bits / 8 : 64;
}

CK_BYTE *hsm_bytes(span octets)
{
	union {
		const uint8_t *in;
		CK_BYTE *out;
	} u = { .in = octets.data };
	return u.out;
}

static st find_again(struct scope *s, struct hsm_key *k, const struct hsm_session *session, CK_OBJECT_HANDLE *out)
{
	struct hsm *h = k->token->module;
	CK_OBJECT_HANDLE private, public;
	span spki;
	TRY(hsm_find_object(s, h, session->handle, CKO_PRIVATE_KEY, k->label, &private));
	TRY(hsm_find_object(s, h, session->handle, CKO_PUBLIC_KEY, k->label, &public));
	TRY(hsm_read_public(s, h, session->handle, public, &spki));
	if (!span_equal(spki, hsm_key_spki(k)))
		return fail(s, E_STATE, "token \"%s\" came back with another key \"%s\"; it is not used", k->token->label,
			    k->label);
	(void)pthread_mutex_lock(&k->lock);
	k->handle = private;
	k->epoch = session->epoch;
	(void)pthread_mutex_unlock(&k->lock);
	*out = private;
	return OK;
}

st hsm_current_handle(struct scope *s, struct hsm_key *k, const struct hsm_session *session, CK_OBJECT_HANDLE *out,
		      bool *out_lost)
{
	(void)pthread_mutex_lock(&k->lock);
	*out = k->handle;
	bool current = k->epoch == session->epoch;
	(void)pthread_mutex_unlock(&k->lock);
	if (current)
		return OK;
	st status = find_again(s, k, session, out);
	*out_lost = status.code == E_UNAVAILABLE || status.code == E_NOTFOUND;
	return *out_lost ? fail(s, E_UNAVAILABLE, "the key is not there") : status;
}

static st sign_in_session(struct scope *s, struct hsm_key *k, const struct hsm_session *session,
			  struct hsm_mechanism *mechanism, span input, span *out, bool *out_lost)
{
	CK_FUNCTION_LIST *p11 = k->token->module->p11;
	CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
	TRY(hsm_current_handle(s, k, session, &handle, out_lost));
	CK_RV rv = p11->C_SignInit(session->handle, &mechanism->value, handle);
	CK_ULONG len = raw_len(k->type);
	uint8_t *raw = scope_alloc(s, len);
	if (rv == CKR_OK)
		rv = p11->C_Sign(session->handle, hsm_bytes(input), input.len, raw, &len);
	*out_lost = hsm_rv_lost(rv);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, scope_printf(s, "signing with key \"%s\" (C_Sign)", k->label));
	if (len != raw_len(k->type))
		return fail(s, E_CRYPTO, "the token gave a signature of %lu bytes where %zu belong", len, raw_len(k->type));
	*out = span_of(raw, len);
	return OK;
}

st hsm_sign(struct scope *s, struct hsm_key *k, const struct alg_signature *algorithm, span digest, span *out_signature)
{
	if (algorithm->family != k->type->family)
		return fail(s, E_CRYPTO, "a key of type %s cannot sign with %s", k->type->name, algorithm->name);
	if (algorithm->digest != DIGEST_NONE && digest.len != digest_len(algorithm->digest))
		return fail(s, E_INPUT, "a digest of %zu bytes is none of %s", digest.len, algorithm->name);
	struct hsm_mechanism mechanism;
	TRY(hsm_mechanism_of(s, algorithm, &mechanism));
	span input = hsm_sign_input(s, k->type, algorithm, digest);
	span raw = { 0 };
	for (int attempt = 0;; attempt++) {
		struct hsm_session session;
		bool lost = false;
		TRY(hsm_session_take(s, k->token, &session));
		st status = sign_in_session(s, k, &session, &mechanism, input, &raw, &lost);
		hsm_session_give(k->token, &session, lost);
		if (status.code == E_OK)
			break;
		if (!lost || attempt > 0)
			return status;
		scope_clear_error(s);
	}
	if (algorithm->family == ALG_EC)
		return alg_ecdsa_der(s, raw, out_signature);
	*out_signature = raw;
	return OK;
}
