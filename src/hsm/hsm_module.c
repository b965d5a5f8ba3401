#include "hsm_internal.h"
#include "log.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A restart interrupts the tokens that are well: soon after a loss, then less and less often. */
#define RESTART_FIRST (2 * MOMENT_SECOND)
#define RESTART_LAST  (10 * MOMENT_MINUTE)
#define SLOTS_MAX     4096

/* Fields of CK_INFO and CK_TOKEN_INFO are padded with spaces and not terminated. */
static void unpad(const unsigned char *field, size_t width, char *out)
{
	size_t len = width;
	while (len > 0 && (field[len - 1] == ' ' || field[len - 1] == 0))
		len--;
	memcpy(out, field, len);
	out[len] = 0;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)out[i] < 0x20)
			out[i] = '?';
}

static CK_RV initialise(struct hsm *h)
{
	CK_C_INITIALIZE_ARGS arguments = { .flags = CKF_OS_LOCKING_OK, .pReserved = h->init_args };
	CK_RV rv = h->p11->C_Initialize(&arguments);
	return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

static st describe(struct scope *s, struct hsm *h)
{
	CK_INFO info = { 0 };
	CK_RV rv = h->p11->C_GetInfo(&info);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "asking the PKCS#11 module what it is (C_GetInfo)");
	char vendor[33], description[33];
	unpad(info.manufacturerID, sizeof info.manufacturerID, vendor);
	unpad(info.libraryDescription, sizeof info.libraryDescription, description);
	h->description =
		heap_copy_str(scope_printf(s, "%s: %s %u.%u, PKCS#11 %u.%u", vendor, description, info.libraryVersion.major,
					   info.libraryVersion.minor, info.cryptokiVersion.major, info.cryptokiVersion.minor));
	return OK;
}

static char *copy_or_null(const char *text)
{
	return text == NULL || text[0] == 0 ? NULL : heap_copy_str(text);
}

st hsm_adopt(struct scope *s, CK_FUNCTION_LIST *table, const struct hsm_settings *settings, struct hsm **out)
{
	struct hsm *h = heap_alloc(sizeof *h);
	h->p11 = table;
	h->restart_interval = RESTART_FIRST;
	h->module = heap_copy_str(settings->module);
	h->init_args = copy_or_null(settings->init_args);
	h->sync_directory = copy_or_null(settings->sync_directory);
	pthread_rwlockattr_t fair;
	if (pthread_rwlockattr_init(&fair) != 0 ||
	    pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) != 0 ||
	    pthread_rwlock_init(&h->running, &fair) != 0)
		log_die("no lock for a PKCS#11 module");
	CK_RV rv = initialise(h);
	st status =
		rv == CKR_OK ? describe(s, h) : hsm_fail(s, rv, scope_printf(s, "initialising %s (C_Initialize)", h->module));
	if (status.code != E_OK) {
		hsm_unload(h);
		return status;
	}
	*out = h;
	return OK;
}

st hsm_load(struct scope *s, const struct hsm_settings *settings, struct hsm **out)
{
	void *library = dlopen(settings->module, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return fail(s, E_CONFIG, "the PKCS#11 module cannot be loaded: %s", dlerror());
	CK_C_GetFunctionList get;
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	CK_FUNCTION_LIST *table = NULL;
	if (get == NULL || get(&table) != CKR_OK || table == NULL) {
		(void)dlclose(library);
		return fail(s, E_CONFIG, "%s is no PKCS#11 module: it has no working C_GetFunctionList", settings->module);
	}
	return hsm_adopt(s, table, settings, out);
}

void hsm_unload(struct hsm *h)
{
	if (h == NULL)
		return;
	if (h->description != NULL)
		(void)h->p11->C_Finalize(NULL);
	/* A module that worked stays mapped: some leave threads and exit handlers behind, and leaks could not be told apart. */
	(void)pthread_rwlock_destroy(&h->running);
	free(h->module);
	free(h->init_args);
	free(h->sync_directory);
	free(h->description);
	free(h);
}

const char *hsm_description(const struct hsm *h)
{
	return h->description;
}

void hsm_loss(struct hsm *h)
{
	h->restart_interval = RESTART_FIRST;
	h->restart_at = moment_monotonic();
}

void hsm_restart(struct hsm *h, unsigned generation)
{
	(void)pthread_rwlock_wrlock(&h->running);
	int64_t now = moment_monotonic();
	if (h->generation == generation && now >= h->restart_at) {
		h->restart_at = now + h->restart_interval;
		h->restart_interval = h->restart_interval * 2 < RESTART_LAST ? h->restart_interval * 2 : RESTART_LAST;
		h->generation++;
		(void)h->p11->C_Finalize(NULL);
		(void)initialise(h); /* a failure shows at the next call as CKR_CRYPTOKI_NOT_INITIALIZED and is tried again */
	}
	(void)pthread_rwlock_unlock(&h->running);
}

static st slots(struct scope *s, struct hsm *h, CK_SLOT_ID **out, CK_ULONG *out_count)
{
	CK_ULONG count = 0;
	/* NULL first: with it a module looks anew for tokens (PKCS#11 2.40, C_GetSlotList). */
	CK_RV rv = h->p11->C_GetSlotList(CK_TRUE, NULL, &count);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "listing the slots (C_GetSlotList)");
	if (count > SLOTS_MAX)
		return fail(s, E_LIMIT, "the PKCS#11 module shows %lu slots; at most %d are handled", count, SLOTS_MAX);
	CK_SLOT_ID *list = scope_alloc(s, (count + 1) * sizeof *list);
	rv = h->p11->C_GetSlotList(CK_TRUE, list, &count);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "listing the slots (C_GetSlotList)");
	*out = list;
	*out_count = count;
	return OK;
}

static void put_version(const CK_VERSION *version, char out[8])
{
	(void)snprintf(out, 8, "%u.%u", version->major, version->minor);
}

static bool token_info(struct hsm *h, CK_SLOT_ID slot, struct hsm_token_info *out)
{
	CK_TOKEN_INFO info = { 0 };
	if (h->p11->C_GetTokenInfo(slot, &info) != CKR_OK)
		return false;
	unpad(info.label, sizeof info.label, out->label);
	unpad(info.manufacturerID, sizeof info.manufacturerID, out->manufacturer);
	unpad(info.model, sizeof info.model, out->model);
	unpad(info.serialNumber, sizeof info.serialNumber, out->serial);
	put_version(&info.hardwareVersion, out->hardware);
	put_version(&info.firmwareVersion, out->firmware);
	out->initialised = (info.flags & CKF_TOKEN_INITIALIZED) != 0;
	return true;
}

static st tokens_locked(struct scope *s, struct hsm *h, struct hsm_token_info **out, size_t *out_count)
{
	CK_SLOT_ID *list;
	CK_ULONG count;
	TRY(slots(s, h, &list, &count));
	struct hsm_token_info *infos = scope_alloc(s, (count + 1) * sizeof *infos);
	size_t found = 0;
	for (CK_ULONG i = 0; i < count; i++)
		if (token_info(h, list[i], &infos[found]))
			found++;
	*out = infos;
	*out_count = found;
	return OK;
}

st hsm_tokens(struct scope *s, struct hsm *h, struct hsm_token_info **out, size_t *out_count)
{
	(void)pthread_rwlock_rdlock(&h->running);
	st status = tokens_locked(s, h, out, out_count);
	(void)pthread_rwlock_unlock(&h->running);
	return status;
}

/* With label NULL: the first token that is not initialised. */
static st slot_where(struct scope *s, struct hsm *h, const char *label, CK_SLOT_ID *out)
{
	CK_SLOT_ID *list;
	CK_ULONG count;
	TRY(slots(s, h, &list, &count));
	for (CK_ULONG i = 0; i < count; i++) {
		struct hsm_token_info info;
		if (!token_info(h, list[i], &info))
			continue;
		if (label == NULL ? !info.initialised : info.initialised && strcmp(info.label, label) == 0) {
			*out = list[i];
			return OK;
		}
	}
	if (label == NULL)
		return fail(s, E_UNAVAILABLE, "the PKCS#11 module has no token left to initialise");
	return fail(s, E_UNAVAILABLE, "no token with the label \"%s\" is there", label);
}

st hsm_slot_of(struct scope *s, struct hsm *h, const char *label, CK_SLOT_ID *out)
{
	return slot_where(s, h, label, out);
}

st hsm_sync(struct scope *s, const struct hsm *h)
{
	if (h->sync_directory == NULL)
		return OK;
	AUTO_FD fd = open(h->sync_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, E_IO, "opening the token directory %s", h->sync_directory);
	if (syncfs(fd) != 0)
		return fail_errno(s, E_IO, "syncing the token directory %s", h->sync_directory);
	return OK;
}

/* PKCS#11 takes a length with the PIN but no const: it does not write there. */
static CK_UTF8CHAR *pin_of(span pin)
{
	union {
		const uint8_t *in;
		CK_UTF8CHAR *out;
	} u = { .in = pin.data };
	return u.out;
}

static st set_user_pin(struct scope *s, struct hsm *h, CK_SLOT_ID slot, span pin, span officer_pin)
{
	CK_SESSION_HANDLE session;
	CK_RV rv = h->p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "opening a session on the new token (C_OpenSession)");
	rv = h->p11->C_Login(session, CKU_SO, pin_of(officer_pin), officer_pin.len);
	st status = rv == CKR_OK ? OK : hsm_fail(s, rv, "logging in as the new token's officer (C_Login)");
	if (status.code == E_OK) {
		rv = h->p11->C_InitPIN(session, pin_of(pin), pin.len);
		if (rv != CKR_OK)
			status = hsm_fail(s, rv, "setting the new token's user PIN (C_InitPIN)");
		(void)h->p11->C_Logout(session);
	}
	(void)h->p11->C_CloseSession(session);
	return status;
}

static st create_locked(struct scope *s, struct hsm *h, const char *label, span pin, span officer_pin)
{
	CK_SLOT_ID slot;
	st taken = slot_where(s, h, label, &slot);
	if (taken.code == E_OK)
		return fail(s, E_CONFLICT, "a token with the label \"%s\" exists already", label);
	if (taken.code != E_UNAVAILABLE)
		return taken;
	scope_clear_error(s);
	TRY(slot_where(s, h, NULL, &slot));
	unsigned char padded[32];
	memset(padded, ' ', sizeof padded);
	memcpy(padded, label, strlen(label));
	CK_RV rv = h->p11->C_InitToken(slot, pin_of(officer_pin), officer_pin.len, padded);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "initialising the token (C_InitToken)");
	TRY(slot_where(s, h, label, &slot)); /* its slot may have another number now */
	TRY(set_user_pin(s, h, slot, pin, officer_pin));
	return hsm_sync(s, h);
}

st hsm_token_create(struct scope *s, struct hsm *h, const char *label, span pin, span officer_pin)
{
	if (label[0] == 0 || strlen(label) > 32)
		return fail(s, E_INPUT, "a token's label has 1 to 32 bytes (PKCS#11, CK_TOKEN_INFO)");
	if (pin.len == 0 || officer_pin.len == 0)
		return fail(s, E_INPUT, "a new token needs a user PIN and an officer PIN");
	(void)pthread_rwlock_wrlock(&h->running);
	st status = create_locked(s, h, label, pin, officer_pin);
	(void)pthread_rwlock_unlock(&h->running);
	return status;
}
