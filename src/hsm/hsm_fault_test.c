/*
 * hsm_fault_test.c - what a module may do to us: a scripted function table over one token with one EC key. For faults only;
 * what works is shown against SoftHSM in hsm_test.c.
 */
#include "hsm_internal.h"
#include "unit.h"

/* What the module does next. */
static struct script {
	bool absent; /* the token is out of its slot */
	bool logged_in;
	unsigned logins, initialised, restarts_needed;
	CK_RV login;
	CK_RV sign_init[4]; /* one after the other, then CKR_OK */
	unsigned signs;
	CK_RV generate[3];
	unsigned generates, destroyed;
	bool dates; /* in the last template of a private key */
	CK_ULONG max_sessions, open_sessions;
	CK_ATTRIBUTE_TYPE wrong; /* reads back as the opposite */
	CK_ATTRIBUTE_TYPE unknown;
	bool key_there;
	size_t signature_len;
} m;

static const uint8_t p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
static uint8_t point[67] = { 0x04, 65, 0x04 };
static unsigned searched;

static CK_RV f_initialize(void *arguments)
{
	(void)arguments;
	m.initialised++;
	if (m.restarts_needed > 0)
		m.restarts_needed--;
	return CKR_OK;
}
static CK_RV f_finalize(void *reserved)
{
	(void)reserved;
	m.logged_in = false;
	m.open_sessions = 0;
	return CKR_OK;
}
static CK_RV f_get_info(CK_INFO *info)
{
	memset(info, ' ', sizeof *info);
	return CKR_OK;
}
static CK_RV f_slot_list(unsigned char present, CK_SLOT_ID *list, CK_ULONG *count)
{
	(void)present;
	bool there = !m.absent && m.restarts_needed == 0;
	if (list != NULL && there)
		list[0] = 5;
	*count = there;
	return CKR_OK;
}
static CK_RV f_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	(void)slot;
	memset(info, 0, sizeof *info);
	memset(info->label, ' ', sizeof info->label);
	memcpy(info->label, "fake", 4);
	info->flags = CKF_TOKEN_INITIALIZED;
	info->ulMaxSessionCount = m.max_sessions;
	return CKR_OK;
}
static CK_RV f_open(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	(void)slot, (void)flags, (void)application, (void)notify;
	if (m.absent)
		return CKR_TOKEN_NOT_PRESENT;
	*session = ++m.open_sessions;
	return CKR_OK;
}
static CK_RV f_close(CK_SESSION_HANDLE session)
{
	(void)session;
	m.open_sessions--;
	return CKR_OK;
}
static CK_RV f_close_all(CK_SLOT_ID slot)
{
	(void)slot;
	m.open_sessions = 0;
	m.logged_in = false;
	return CKR_OK;
}
static CK_RV f_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	(void)session;
	memset(info, 0, sizeof *info);
	info->state = m.logged_in ? CKS_RO_USER_FUNCTIONS : CKS_RO_PUBLIC_SESSION;
	return m.absent ? CKR_SESSION_HANDLE_INVALID : CKR_OK;
}
static CK_RV f_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len)
{
	(void)session, (void)user, (void)pin, (void)len;
	m.logins++;
	m.logged_in = m.login == CKR_OK;
	return m.login;
}
static CK_RV f_find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *wanted, CK_ULONG count)
{
	(void)session, (void)count;
	CK_OBJECT_CLASS class;
	memcpy(&class, wanted[0].pValue, sizeof class);
	searched = class == CKO_PRIVATE_KEY ? 1 : 2;
	return CKR_OK;
}
static CK_RV f_find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *object, CK_ULONG max, CK_ULONG *count)
{
	(void)session, (void)max;
	object[0] = searched;
	*count = m.key_there;
	return CKR_OK;
}
static CK_RV f_find_final(CK_SESSION_HANDLE session)
{
	(void)session;
	return CKR_OK;
}

static bool wanted_true(CK_ATTRIBUTE_TYPE type)
{
	return type == CKA_TOKEN || type == CKA_PRIVATE || type == CKA_SENSITIVE || type == CKA_ALWAYS_SENSITIVE ||
	       type == CKA_NEVER_EXTRACTABLE || type == CKA_SIGN || type == CKA_LOCAL;
}

static CK_RV give(CK_ATTRIBUTE *a, const void *value, size_t len)
{
	if (a->pValue != NULL)
		memcpy(a->pValue, value, len);
	a->ulValueLen = len;
	return CKR_OK;
}
static CK_RV f_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *a, CK_ULONG count)
{
	(void)session, (void)object, (void)count;
	static const CK_KEY_TYPE ec = CKK_EC;
	CK_BBOOL flag = wanted_true(a->type) != (a->type == m.wrong) ? CK_TRUE : CK_FALSE;
	if (a->type == m.unknown || a->type == CKA_ALLOWED_MECHANISMS)
		return CKR_ATTRIBUTE_TYPE_INVALID;
	if (a->type == CKA_KEY_TYPE)
		return give(a, &ec, sizeof ec);
	if (a->type == CKA_EC_PARAMS)
		return give(a, p256, sizeof p256);
	if (a->type == CKA_EC_POINT)
		return give(a, point, sizeof point);
	return a->type == CKA_ID ? give(a, "id", 2) : give(a, &flag, sizeof flag);
}
static CK_RV f_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	(void)session, (void)mechanism, (void)key;
	CK_RV rv = m.signs < 4 ? m.sign_init[m.signs] : CKR_OK;
	m.signs++;
	return m.absent ? CKR_DEVICE_REMOVED : rv;
}
static CK_RV f_sign(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len, unsigned char *out, CK_ULONG *out_len)
{
	(void)session, (void)data, (void)len;
	memset(out, 1, 64);
	*out_len = m.signature_len;
	return CKR_OK;
}
static CK_RV f_generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public, CK_ULONG public_count,
			CK_ATTRIBUTE *private, CK_ULONG private_count, CK_OBJECT_HANDLE *out_public,
			CK_OBJECT_HANDLE *out_private)
{
	(void)session, (void)mechanism, (void)public, (void)public_count;
	m.dates = false;
	for (CK_ULONG i = 0; i < private_count; i++)
		m.dates = m.dates || private[i].type == CKA_START_DATE || private[i].type == CKA_END_DATE;
	*out_private = 1;
	*out_public = 2;
	CK_RV rv = m.generates < 3 ? m.generate[m.generates] : CKR_OK;
	m.generates++;
	m.key_there = m.key_there || rv == CKR_OK;
	return rv;
}
static CK_RV f_destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	(void)session, (void)object;
	m.destroyed++;
	return CKR_OK;
}

static CK_FUNCTION_LIST table = {
	.C_Initialize = f_initialize,
	.C_Finalize = f_finalize,
	.C_GetInfo = f_get_info,
	.C_GetSlotList = f_slot_list,
	.C_GetTokenInfo = f_token_info,
	.C_OpenSession = f_open,
	.C_CloseSession = f_close,
	.C_CloseAllSessions = f_close_all,
	.C_GetSessionInfo = f_session_info,
	.C_Login = f_login,
	.C_FindObjectsInit = f_find_init,
	.C_FindObjects = f_find,
	.C_FindObjectsFinal = f_find_final,
	.C_GetAttributeValue = f_attribute,
	.C_SignInit = f_sign_init,
	.C_Sign = f_sign,
	.C_GenerateKeyPair = f_generate,
	.C_DestroyObject = f_destroy,
};

static struct scope s;
static struct hsm *module;
static struct hsm_token *token;
static const uint8_t digest[32] = { 9 };

static int start(void **state)
{
	(void)state;
	m = (struct script){
		.max_sessions = CK_EFFECTIVELY_INFINITE, .key_there = true, .signature_len = 64, .wrong = ~0ul, .unknown = ~0ul
	};
	scope_init(&s, NULL);
	const struct hsm_settings settings = { .module = "fake" };
	return hsm_adopt(&s, &table, &settings, &module).code == E_OK &&
			       hsm_token_new(&s, module, "fake", span_str("1234"), &token).code == E_OK
		       ? 0
		       : -1;
}

static int stop(void **state)
{
	(void)state;
	hsm_token_free(token);
	hsm_unload(module);
	scope_done(&s);
	return 0;
}

static st sign_once(struct hsm_key *key)
{
	span signature;
	return hsm_sign(&s, key, alg_signature_named(span_str("ecdsa-sha256")), SPAN_ARRAY(digest), &signature);
}

static void losses_of_the_session_are_mended_once_by_a_new_login(void **state)
{
	(void)state;
	static const CK_RV lost[] = { CKR_DEVICE_REMOVED,         CKR_DEVICE_ERROR,   CKR_TOKEN_NOT_PRESENT,
				      CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED, CKR_USER_NOT_LOGGED_IN,
				      CKR_KEY_HANDLE_INVALID,     CKR_GENERAL_ERROR };
	struct hsm_key *key;
	assert_ok(&s, hsm_find(&s, token, "k", &key));
	for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
		unsigned before = m.logins;
		m.signs = 0;
		m.sign_init[0] = lost[i];
		assert_ok(&s, sign_once(key));
		assert_int_equal(m.logins, before + 1);
		assert_int_equal(m.signs, 2);
	}
	m.signs = 0;
	m.sign_init[0] = m.sign_init[1] = m.sign_init[2] = CKR_DEVICE_ERROR;
	assert_fails(&s, E_UNAVAILABLE, sign_once(key));
	assert_int_equal(m.signs, 2);
	hsm_key_free(key);
}

static void a_refusal_by_the_token_is_not_tried_again(void **state)
{
	(void)state;
	struct hsm_key *key;
	assert_ok(&s, hsm_find(&s, token, "k", &key));
	m.sign_init[0] = CKR_KEY_FUNCTION_NOT_PERMITTED;
	assert_fails(&s, E_CRYPTO, sign_once(key));
	assert_int_equal(m.signs, 1);
	assert_int_equal(m.logins, 1);
	hsm_key_free(key);
}

static void a_session_that_lost_its_login_is_not_used(void **state)
{
	(void)state;
	struct hsm_key *key;
	assert_ok(&s, hsm_find(&s, token, "k", &key));
	m.logged_in = false;
	assert_ok(&s, sign_once(key));
	assert_int_equal(m.logins, 2);
	assert_int_equal(m.signs, 1);
	hsm_key_free(key);
}

static void a_module_that_shows_returned_tokens_only_after_a_restart_is_restarted(void **state)
{
	(void)state;
	m.restarts_needed = 1;
	assert_ok(&s, hsm_token_ready(&s, token));
	assert_int_equal(m.initialised, 2);
}

/* Or the tokens that are well would be interrupted for one that never comes. */
static void a_token_that_stays_away_has_the_module_restarted_less_and_less(void **state)
{
	(void)state;
	m.absent = true;
	for (int i = 0; i < 50; i++)
		assert_fails(&s, E_UNAVAILABLE, hsm_token_ready(&s, token));
	assert_int_equal(m.initialised, 2);
	assert_true(module->restart_interval > 2 * MOMENT_SECOND);
}

static void another_key_under_the_same_label_is_not_used(void **state)
{
	(void)state;
	struct hsm_key *key;
	assert_ok(&s, hsm_find(&s, token, "k", &key));
	point[10] ^= 1;
	m.sign_init[0] = CKR_DEVICE_REMOVED;
	assert_fails(&s, E_STATE, sign_once(key));
	point[10] ^= 1;
	hsm_key_free(key);
}

static void a_signature_of_the_wrong_length_is_refused(void **state)
{
	(void)state;
	struct hsm_key *key;
	assert_ok(&s, hsm_find(&s, token, "k", &key));
	m.signature_len = 63;
	assert_fails(&s, E_CRYPTO, sign_once(key));
	hsm_key_free(key);
}

static st generate(void)
{
	struct hsm_report report;
	struct hsm_key *key;
	m.key_there = false;
	return hsm_generate(&s, token, "new", alg_key_named(span_str("ec-p256")), HSM_BACKUP_NONE, &report, &key);
}

//= req7.1#HSM-01 refuse the key if any attribute differs
static void a_key_with_any_wrong_attribute_is_destroyed_and_refused(void **state)
{
	(void)state;
	static const CK_ATTRIBUTE_TYPE required[] = { CKA_TOKEN,       CKA_PRIVATE,          CKA_SENSITIVE,
						      CKA_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE,
						      CKA_SIGN,        CKA_DECRYPT,          CKA_UNWRAP,
						      CKA_DERIVE };
	for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
		m.wrong = required[i];
		m.unknown = ~0ul;
		m.destroyed = 0;
		assert_fails(&s, E_CRYPTO, generate());
		assert_int_equal(m.destroyed, 2);
		m.wrong = ~0ul;
		m.unknown = required[i];
		assert_fails(&s, E_CRYPTO, generate());
		assert_int_equal(m.destroyed, 4);
	}
}

static void attributes_the_module_does_not_know_are_left_out_and_named(void **state)
{
	(void)state;
	m.key_there = false;
	m.generate[0] = CKR_ATTRIBUTE_TYPE_INVALID;
	m.generate[1] = CKR_TEMPLATE_INCONSISTENT;
	m.unknown = CKA_MODIFIABLE;
	CK_SESSION_HANDLE session = 1;
	CK_OBJECT_HANDLE public, private;
	const struct hsm_wish wish = { .type = alg_key_named(span_str("ec-p256")) };
	assert_ok(&s, hsm_generate_pair(&s, module, session, "new", span_str("id"), &wish, &public, &private));
	assert_int_equal(m.generates, 3);
	struct hsm_report report;
	assert_ok(&s, hsm_read_back(&s, module, session, private, &wish, &report));
	assert_string_equal(report.missing, "MODIFIABLE,ALLOWED_MECHANISMS");
}

static void dates_that_the_module_refuses_are_the_first_to_be_left_out(void **state)
{
	(void)state;
	m.key_there = false;
	m.generate[0] = CKR_ATTRIBUTE_TYPE_INVALID;
	CK_OBJECT_HANDLE public, private;
	struct hsm_report report;
	const struct hsm_wish wish = { .type = alg_key_named(span_str("ec-p256")), .starts = 1, .ends = 2 };
	assert_ok(&s, hsm_generate_pair(&s, module, 1, "new", span_str("id"), &wish, &public, &private));
	assert_int_equal(m.generates, 2);
	assert_false(m.dates);
	assert_ok(&s, hsm_read_back(&s, module, 1, private, &wish, &report));
	hsm_read_dates(&s, module, 1, private, public, &wish, &report);
	assert_string_equal(report.missing, "ALLOWED_MECHANISMS,START_DATE,END_DATE");
	assert_ok(&s, hsm_generate_pair(&s, module, 1, "new", span_str("id"), &wish, &public, &private));
	assert_true(m.dates);
}

static void a_key_whose_signatures_do_not_verify_is_destroyed(void **state)
{
	(void)state;
	assert_fails(&s, E_CRYPTO, generate()); /* the fake's point lies on no curve */
	assert_int_equal(m.destroyed, 2);
}

static void a_pin_that_was_refused_is_never_sent_again(void **state)
{
	(void)state;
	m.login = CKR_PIN_INCORRECT;
	for (int i = 0; i < 5; i++)
		assert_fails(&s, E_DENIED, hsm_token_ready(&s, token));
	assert_int_equal(m.logins, 1);
}

int main(void)
{
#define FAULT(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		FAULT(losses_of_the_session_are_mended_once_by_a_new_login),
		FAULT(a_refusal_by_the_token_is_not_tried_again),
		FAULT(a_session_that_lost_its_login_is_not_used),
		FAULT(a_module_that_shows_returned_tokens_only_after_a_restart_is_restarted),
		FAULT(a_token_that_stays_away_has_the_module_restarted_less_and_less),
		FAULT(another_key_under_the_same_label_is_not_used),
		FAULT(a_signature_of_the_wrong_length_is_refused),
		FAULT(a_key_with_any_wrong_attribute_is_destroyed_and_refused),
		FAULT(attributes_the_module_does_not_know_are_left_out_and_named),
		FAULT(dates_that_the_module_refuses_are_the_first_to_be_left_out),
		FAULT(a_key_whose_signatures_do_not_verify_is_destroyed),
		FAULT(a_pin_that_was_refused_is_never_sent_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
