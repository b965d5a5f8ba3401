#include "hsm_internal.h"

/* What a return value means to us; whatever has no row is a fault of module or token: nothing was done. */
struct result_row {
	CK_RV rv;
	const char *name;
	enum code code;
	bool lost;
};

#define RESULT(name, code, lost)                                                                                               \
	{                                                                                                                      \
		name, #name, code, lost                                                                                        \
	}
static const struct result_row results[] = {
	RESULT(CKR_DEVICE_REMOVED, E_UNAVAILABLE, true),
	RESULT(CKR_DEVICE_ERROR, E_UNAVAILABLE, true),
	RESULT(CKR_DEVICE_MEMORY, E_UNAVAILABLE, false),
	RESULT(CKR_HOST_MEMORY, E_UNAVAILABLE, false),
	RESULT(CKR_GENERAL_ERROR, E_UNAVAILABLE, true),
	RESULT(CKR_FUNCTION_FAILED, E_UNAVAILABLE, true),
	RESULT(CKR_FUNCTION_NOT_SUPPORTED, E_UNAVAILABLE, false),
	RESULT(CKR_CRYPTOKI_NOT_INITIALIZED, E_UNAVAILABLE, true),
	RESULT(CKR_TOKEN_NOT_PRESENT, E_UNAVAILABLE, true),
	RESULT(CKR_TOKEN_NOT_RECOGNIZED, E_UNAVAILABLE, true),
	RESULT(CKR_TOKEN_WRITE_PROTECTED, E_STATE, false),
	RESULT(CKR_SLOT_ID_INVALID, E_UNAVAILABLE, true),
	RESULT(CKR_SESSION_HANDLE_INVALID, E_UNAVAILABLE, true),
	RESULT(CKR_SESSION_CLOSED, E_UNAVAILABLE, true),
	RESULT(CKR_SESSION_COUNT, E_BUSY, false),
	RESULT(CKR_SESSION_EXISTS, E_STATE, false),
	RESULT(CKR_USER_NOT_LOGGED_IN, E_UNAVAILABLE, true),
	RESULT(CKR_KEY_HANDLE_INVALID, E_UNAVAILABLE, true),
	RESULT(CKR_OBJECT_HANDLE_INVALID, E_UNAVAILABLE, true),
	RESULT(CKR_PIN_INCORRECT, E_DENIED, false),
	RESULT(CKR_PIN_LOCKED, E_DENIED, false),
	RESULT(CKR_PIN_EXPIRED, E_DENIED, false),
	RESULT(CKR_PIN_INVALID, E_DENIED, false),
	RESULT(CKR_PIN_LEN_RANGE, E_DENIED, false),
	RESULT(CKR_USER_PIN_NOT_INITIALIZED, E_DENIED, false),
	RESULT(CKR_MECHANISM_INVALID, E_CRYPTO, false),
	RESULT(CKR_MECHANISM_PARAM_INVALID, E_CRYPTO, false),
	RESULT(CKR_KEY_TYPE_INCONSISTENT, E_CRYPTO, false),
	RESULT(CKR_KEY_FUNCTION_NOT_PERMITTED, E_CRYPTO, false),
	RESULT(CKR_KEY_SIZE_RANGE, E_CRYPTO, false),
	RESULT(CKR_DATA_LEN_RANGE, E_CRYPTO, false),
	RESULT(CKR_ATTRIBUTE_TYPE_INVALID, E_CRYPTO, false),
	RESULT(CKR_ATTRIBUTE_VALUE_INVALID, E_CRYPTO, false),
	RESULT(CKR_TEMPLATE_INCONSISTENT, E_CRYPTO, false),
	RESULT(CKR_TEMPLATE_INCOMPLETE, E_CRYPTO, false),
	RESULT(CKR_DOMAIN_PARAMS_INVALID, E_CRYPTO, false),
};

static const struct result_row *result_of(CK_RV rv)
{
	for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
		if (results[i].rv == rv)
			return &results[i];
	return NULL;
}

const char *hsm_rv_name(struct scope *s, CK_RV rv)
{
	const struct result_row *row = result_of(rv);
	return row != NULL ? row->name : scope_printf(s, "CKR 0x%lx", (unsigned long)rv);
}

st(hsm_fail)(struct scope *s, CK_RV rv, const char *doing)
{
	const struct result_row *row = result_of(rv);
	return fail(s, row != NULL ? row->code : E_UNAVAILABLE, "%s: %s", doing, hsm_rv_name(s, rv));
}

bool hsm_rv_lost(CK_RV rv)
{
	const struct result_row *row = result_of(rv);
	return row != NULL && row->lost;
}
