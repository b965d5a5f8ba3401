#include "hsm_internal.h"

/* What we ask of a module, and what it costs when it is not there. */
struct mechanism_row {
	const char *name;
	CK_MECHANISM_TYPE type;
	CK_FLAGS flag;
	const char *use;
	const char *cost;
};
static const struct mechanism_row mechanisms[] = {
	{ "CKM_EC_KEY_PAIR_GEN", CKM_EC_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, "EC P-256 and P-384 keys",
	  "no EC keys can be generated here: use RSA, six to thirty times slower at signing" },
	{ "CKM_ECDSA", CKM_ECDSA, CKF_SIGN, "ECDSA signatures over digests made by keyd",
	  "no EC key can sign: RSA is all that is left" },
	{ "CKM_RSA_PKCS_KEY_PAIR_GEN", CKM_RSA_PKCS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, "RSA keys",
	  "no RSA keys can be generated here" },
	{ "CKM_RSA_PKCS_PSS", CKM_RSA_PKCS_PSS, CKF_SIGN, "RSA-PSS over digests made by keyd, the default for RSA",
	  "RSA keys sign with PKCS#1 v1.5 only, which TS 119 312 calls legacy" },
	{ "CKM_RSA_PKCS", CKM_RSA_PKCS, CKF_SIGN, "RSA PKCS#1 v1.5 for old relying parties",
	  "no PKCS#1 v1.5: old relying parties cannot be served with RSA" },
	{ "CKM_EC_EDWARDS_KEY_PAIR_GEN", CKM_EC_EDWARDS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, "Ed25519 keys for the audit log",
	  "no Ed25519 keys: the log key will be EC P-256" },
	{ "CKM_EDDSA", CKM_EDDSA, CKF_SIGN, "checkpoints as signed notes of type 0x01",
	  "log checkpoints will be ECDSA signed notes, type 0x02" },
	{ "CKM_AES_KEY_WRAP_PAD", CKM_AES_KEY_WRAP_PAD, CKF_WRAP, "wrapped backup of keys",
	  "backup = wrapped has no standard mechanism here: use the vendor's cloning" },
};

struct probe {
	struct hsm_probe_row *row;
	size_t count;
};
#define PROBE_ROWS_MAX 64

static void add(struct probe *p, const char *kind, const char *name, enum hsm_finding finding, const char *note)
{
	if (p->count < PROBE_ROWS_MAX)
		p->row[p->count++] = (struct hsm_probe_row){ kind, name, finding, note };
}

static void probe_mechanisms(struct scope *s, struct hsm *h, CK_SLOT_ID slot, struct probe *p)
{
	for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
		const struct mechanism_row *m = &mechanisms[i];
		CK_MECHANISM_INFO info = { 0 };
		CK_RV rv = h->p11->C_GetMechanismInfo(slot, m->type, &info);
		if (rv == CKR_OK && (info.flags & m->flag) != 0)
			add(p, "mechanism", m->name, HSM_PROVIDED,
			    scope_printf(s, "%s (sizes %lu to %lu)", m->use, info.ulMinKeySize, info.ulMaxKeySize));
		else if (rv == CKR_OK || rv == CKR_MECHANISM_INVALID)
			add(p, "mechanism", m->name, HSM_MISSING, m->cost);
		else
			add(p, "mechanism", m->name, HSM_UNKNOWN, hsm_rv_name(s, rv));
	}
}

static const struct {
	const char *name;
	const char *cost;
} optional_attributes[] = {
	{ "SIGN_RECOVER", "a key may be used for signatures with message recovery; keyd never asks for that" },
	{ "LOCAL", "the module does not say that a key was made on the token; the ceremony's witness is the only evidence" },
	{ "COPYABLE", "copies of a key object cannot be ruled out by attribute" },
	{ "MODIFIABLE", "attributes of a key object can be changed later by whoever is logged in to the token" },
	{ "WRAP_WITH_TRUSTED", "backup = wrapped is not safe here: a key could be wrapped with any other key" },
	{ "ALLOWED_MECHANISMS", "mechanism limits are kept by keyd only, not by the token" },
	{ "START_DATE", "the usage period of a key stands in keyd's description only, not on the token" },
	{ "END_DATE", "the usage period of a key stands in keyd's description only, not on the token" },
};

static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);
	for (const char *at = list; at != NULL && *at != 0; at = strchr(at, ',') != NULL ? strchr(at, ',') + 1 : NULL)
		if (strncmp(at, name, len) == 0 && (at[len] == 0 || at[len] == ','))
			return true;
	return false;
}

/* A throw-away session key of this kind: which attributes hold? */
static void probe_backup(struct scope *s, struct hsm_token *t, CK_SESSION_HANDLE session, enum hsm_backup backup,
			 struct probe *p)
{
	struct hsm *h = t->module;
	const struct hsm_wish wish = { .type = alg_key_named(span_str("ec-p256")),
				       .backup = backup,
				       .for_session = true,
				       .starts = scope_now(s),
				       .ends = scope_now(s) + MOMENT_DAY };
	const char *name = backup == HSM_BACKUP_WRAPPED ? "backup=wrapped" : "backup=none";
	CK_OBJECT_HANDLE public, private;
	struct hsm_report report = { 0 };
	st status =
		hsm_generate_pair(s, h, session, "chancery-probe", SPAN_LITERAL("chancery-probe"), &wish, &public, &private);
	if (status.code != E_OK) {
		add(p, "attribute", name, HSM_MISSING, scope_printf(s, "no session key could be made: %s", s->message));
		scope_clear_error(s);
		return;
	}
	status = hsm_read_back(s, h, session, private, &wish, &report);
	if (status.code == E_OK)
		hsm_read_dates(s, h, session, private, public, &wish, &report);
	(void)h->p11->C_DestroyObject(session, private);
	(void)h->p11->C_DestroyObject(session, public);
	if (status.code != E_OK) {
		add(p, "attribute", name, HSM_MISSING, scope_printf(s, "keys of this kind would be refused: %s", s->message));
		scope_clear_error(s);
		return;
	}
	add(p, "attribute", name, HSM_PROVIDED, report.attributes);
	for (size_t i = 0; i < sizeof optional_attributes / sizeof optional_attributes[0]; i++) {
		bool wrap = strcmp(optional_attributes[i].name, "WRAP_WITH_TRUSTED") == 0;
		if (wrap != (backup == HSM_BACKUP_WRAPPED))
			continue;
		bool missing = listed(report.missing, optional_attributes[i].name);
		add(p, "attribute", scope_printf(s, "CKA_%s", optional_attributes[i].name),
		    missing ? HSM_MISSING : HSM_PROVIDED, missing ? optional_attributes[i].cost : "held by the token");
	}
}

static void probe_random(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, struct probe *p)
{
	uint8_t bytes[16];
	CK_RV rv = h->p11->C_GenerateRandom(session, bytes, sizeof bytes);
	add(p, "token", "random", rv == CKR_OK ? HSM_PROVIDED : HSM_MISSING,
	    rv == CKR_OK ? "C_GenerateRandom answers"
			 : scope_printf(s, "%s: keys could not be generated either", hsm_rv_name(s, rv)));
}

static st probe_token(struct scope *s, struct hsm_token *t, struct probe *p)
{
	struct hsm_session session;
	TRY(hsm_session_take(s, t, &session));
	add(p, "token", "login", HSM_PROVIDED, "the PIN opens the token");
	probe_random(s, t->module, session.handle, p);
	probe_backup(s, t, session.handle, HSM_BACKUP_NONE, p);
	probe_backup(s, t, session.handle, HSM_BACKUP_WRAPPED, p);
	hsm_session_give(t, &session, false);
	return OK;
}

static st any_slot(struct scope *s, struct hsm *h, CK_SLOT_ID *out)
{
	CK_ULONG count = 1;
	CK_RV rv = h->p11->C_GetSlotList(CK_TRUE, out, &count);
	if ((rv == CKR_OK && count > 0) || rv == CKR_BUFFER_TOO_SMALL) {
		CK_SLOT_ID *list = scope_alloc(s, (count + 1) * sizeof *list);
		rv = h->p11->C_GetSlotList(CK_TRUE, list, &count);
		if (rv == CKR_OK && count > 0) {
			*out = list[0];
			return OK;
		}
	}
	return fail(s, E_UNAVAILABLE, "the module shows no token at all: put one in, or initialise one");
}

st hsm_probe(struct scope *s, struct hsm *h, const char *label, struct hsm_token *t, struct hsm_probe_row **out,
	     size_t *out_count)
{
	struct probe p = { .row = scope_alloc(s, PROBE_ROWS_MAX * sizeof *p.row) };
	CK_SLOT_ID slot;
	(void)pthread_rwlock_rdlock(&h->running);
	st status = label != NULL ? hsm_slot_of(s, h, label, &slot) : any_slot(s, h, &slot);
	if (status.code == E_OK)
		probe_mechanisms(s, h, slot, &p);
	(void)pthread_rwlock_unlock(&h->running);
	TRY(status);
	if (t != NULL)
		TRY(probe_token(s, t, &p));
	else
		add(&p, "token", "login", HSM_UNKNOWN,
		    "not logged in: attributes were not tried; give a PIN to have throw-away session keys made");
	*out = p.row;
	*out_count = p.count;
	return OK;
}
