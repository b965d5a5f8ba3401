/*
 * hsm_derive.c - agreeing on a secret with a key that lies on a token. The secret is a session object for the time it takes to read it.
 */
#include "hsm_internal.h"

static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

/* Straight into the caller's memory. */
static st read_value(struct scope *s, struct hsm_key *k, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, uint8_t *out)
{
	CK_ATTRIBUTE value = { CKA_VALUE, out, k->type->coordinate };
	CK_RV rv = k->token->module->p11->C_GetAttributeValue(session, object, &value, 1);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "reading an agreed secret (C_GetAttributeValue)");
	if (value.ulValueLen != k->type->coordinate)
		return fail(s, E_CRYPTO, "the token gave a secret of %lu bytes where %zu belong", value.ulValueLen,
			    k->type->coordinate);
	return OK;
}

static st derive_in_session(struct scope *s, struct hsm_key *k, const struct hsm_session *session, span peer_point,
			    uint8_t *out, bool *out_lost)
{
	CK_FUNCTION_LIST *p11 = k->token->module->p11;
	CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE, secret = CK_INVALID_HANDLE;
	CK_ULONG len = k->type->coordinate;
	CK_ECDH1_DERIVE_PARAMS ecdh = { .kdf = CKD_NULL,
					.ulPublicDataLen = peer_point.len,
					.pPublicData = hsm_bytes(peer_point) };
	CK_MECHANISM mechanism = { CKM_ECDH1_DERIVE, &ecdh, sizeof ecdh };
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &secret_key, sizeof secret_key },
		{ CKA_KEY_TYPE, &generic, sizeof generic },
		{ CKA_TOKEN, &no, sizeof no },
		{ CKA_SENSITIVE, &no, sizeof no },
		{ CKA_EXTRACTABLE, &yes, sizeof yes },
		{ CKA_VALUE_LEN, &len, sizeof len },
	};
	TRY(hsm_current_handle(s, k, session, &handle, out_lost));
	CK_RV rv =
		p11->C_DeriveKey(session->handle, &mechanism, handle, template, sizeof template / sizeof template[0], &secret);
	*out_lost = hsm_rv_lost(rv);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, scope_printf(s, "agreeing on a secret with key \"%s\" (C_DeriveKey)", k->label));
	st status = read_value(s, k, session->handle, secret, out);
	(void)p11->C_DestroyObject(session->handle, secret);
	return status;
}

st hsm_derive(struct scope *s, struct hsm_key *k, span peer_point, uint8_t *out)
{
	if (k->type->family != ALG_EC)
		return fail(s, E_CRYPTO, "a key of type %s agrees on no secrets", k->type->name);
	if (peer_point.len != 2 * k->type->coordinate + 1)
		return fail(s, E_INPUT, "a point of %zu bytes is none of %s", peer_point.len, k->type->name);
	for (int attempt = 0;; attempt++) {
		struct hsm_session session;
		bool lost = false;
		TRY(hsm_session_take(s, k->token, &session));
		st status = derive_in_session(s, k, &session, peer_point, out, &lost);
		hsm_session_give(k->token, &session, lost);
		if (status.code == E_OK || !lost || attempt > 0)
			return status;
		scope_clear_error(s);
	}
}
