/*
 * hsm_internal.h - shared between the files of this module only.
 */
#pragma once
#include "hsm.h"
#include <p11-kit/pkcs11.h>
#include <pthread.h>

struct hsm {
	CK_FUNCTION_LIST *p11;
	char *module;
	char *init_args;
	char *sync_directory;
	char *description;
	/* Held for reading by every call into the module, for writing while it is finalised and initialised anew. */
	pthread_rwlock_t running;
	_Atomic unsigned generation;
	_Atomic int64_t restart_at, restart_interval; /* monotonic: not before, and how long after that one */
};

/* For fault tests: the same with a function table at hand. */
st hsm_adopt(struct scope *s, CK_FUNCTION_LIST *table, const struct hsm_settings *settings, struct hsm **out);
/* C_Finalize and C_Initialize, when nobody did so since `generation`: SoftHSM and others see returned tokens only then. */
void hsm_restart(struct hsm *h, unsigned generation);
/* A token that was open went away: restarts may help, beginning now. */
void hsm_loss(struct hsm *h);
/* "CKR_TOKEN_NOT_PRESENT", or the number. */
const char *hsm_rv_name(struct scope *s, CK_RV rv);
/* The failure for a return value: its code, and "doing: CKR_...". */
st hsm_fail(struct scope *s, CK_RV rv, const char *doing);
#ifdef __clang_analyzer__
#define hsm_fail(s, rv, doing) ((void)(hsm_fail)((s), (rv), (doing)), (st){ E_IO }) /* never OK, see scope.h */
#endif
/* The token, its session or the login is gone: opening it again may help. */
bool hsm_rv_lost(CK_RV rv);
st hsm_slot_of(struct scope *s, struct hsm *h, const char *label, CK_SLOT_ID *out);
/* Nothing the module wrote is durable before this (measured: SoftHSM 2.6 does not sync). */
st hsm_sync(struct scope *s, const struct hsm *h);

/* Copies of the files of all tokens, where they are files; hsm_mend_tokens removes them again. */
st hsm_keep_tokens(struct scope *s, const struct hsm *h);

struct hsm_token {
	struct hsm *module;
	char label[33];
	char *pin;      /* secret_new */
	size_t pin_len; /* 0: locked */
	pthread_mutex_t lock;
	pthread_cond_t returned;
	bool ready;
	bool held;    /* deactivated, with its PIN here */
	bool locking; /* no session is handed out, those that are out are waited for */
	bool pin_refused;
	int64_t retry_at;               /* monotonic */
	char reason[SCOPE_MESSAGE_MAX]; /* why it is not ready */
	CK_SLOT_ID slot;
	unsigned generation; /* of the module when it was opened */
	unsigned epoch;      /* counts openings: handles of an earlier one are void */
	CK_SESSION_HANDLE *idle;
	size_t idle_count, open_count, max;
};

/* A logged-in session for one signer. While it is held the module is not restarted. */
struct hsm_session {
	CK_SESSION_HANDLE handle;
	unsigned epoch;
};
st hsm_session_take(struct scope *s, struct hsm_token *t, struct hsm_session *out);
/* `lost`: the token must be opened anew before the next use. */
void hsm_session_give(struct hsm_token *t, const struct hsm_session *session, bool lost);

struct hsm_key {
	struct hsm_token *token;
	char *label;
	uint8_t *id;
	size_t id_len;
	const struct alg_key *type;
	uint8_t *spki;
	size_t spki_len;
	pthread_mutex_t lock;
	CK_OBJECT_HANDLE handle;
	unsigned epoch; /* of the token when the handle was found */
};
/* The one object of this class and label; CK_INVALID_HANDLE when there is none. */
st hsm_find_object(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label,
		   CK_OBJECT_HANDLE *out);
/* One attribute, of any length up to 16 KiB. */
CK_RV hsm_attribute(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
		    span *out);
st hsm_read_public(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, span *out_spki);
struct hsm_key *hsm_key_new(struct hsm_token *t, const char *label, span id, const struct alg_key *type, span spki,
			    CK_OBJECT_HANDLE handle, unsigned epoch);

/* The private key's handle as of this session's opening of the token; found again, and compared, when the token was opened anew.
 * `*out_lost`: it may be there when the token is opened once more. */
st hsm_current_handle(struct scope *s, struct hsm_key *k, const struct hsm_session *session, CK_OBJECT_HANDLE *out,
		      bool *out_lost);
/* PKCS#11 takes what it only reads without const. */
CK_BYTE *hsm_bytes(span octets);

/* How a signature algorithm is asked for. */
struct hsm_mechanism {
	CK_MECHANISM value;
	CK_RSA_PKCS_PSS_PARAMS pss;
};
st hsm_mechanism_of(struct scope *s, const struct alg_signature *algorithm, struct hsm_mechanism *out);
/* The octets that go into C_Sign for this digest. */
span hsm_sign_input(struct scope *s, const struct alg_key *type, const struct alg_signature *algorithm, span digest);
/* One row per family: how a pair is generated and what may be done with it. */
struct hsm_family {
	enum alg_family family;
	CK_MECHANISM_TYPE generate;
	CK_KEY_TYPE key_type;
	CK_MECHANISM_TYPE sign[2];
	size_t sign_count;
};
const struct hsm_family *hsm_family_of(const struct alg_key *type);
/* CKA_EC_PARAMS of a curve, whole DER. */
span hsm_curve_parameters(struct scope *s, const struct alg_key *type);
/* What a new key is to be. */
struct hsm_wish {
	const struct alg_key *type;
	enum hsm_backup backup;
	bool derives;         /* agrees on secrets, and does not sign */
	bool for_session;     /* a session key for probing, not one of the token */
	int64_t starts, ends; /* 0: no dates */
};
/* Generate a pair with these wishes; optional attributes the module does not know are left out. */
st hsm_generate_pair(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, const char *label, span id,
		     const struct hsm_wish *wish, CK_OBJECT_HANDLE *out_public, CK_OBJECT_HANDLE *out_private);
/* Adds to the report of hsm_read_back what either half says of the period, or that it says nothing. */
void hsm_read_dates(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private,
		    CK_OBJECT_HANDLE public, const struct hsm_wish *wish, struct hsm_report *out);
/* Read back; E_CRYPTO naming the attribute when one that must match does not. */
st hsm_read_back(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, const struct hsm_wish *wish,
		 struct hsm_report *out);
