/*
 * keyd_key.c - the keys of a zone: made on their tokens, described in files of the state directory that are written once.
 */
#include "keyd.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include "pki_key.h"
#include "text.h"
#include <stdlib.h>

#define DESCRIPTION_MAX 65536u
#define FILE_VERSION    3 /* the first had no checks, the second no operation */

/* Purposes that may be together on a key, and on a token: whoever may use one key of a token may use all. */
//= en319411-1#GEN-6.5.3-03 a CA's key signs certificates and their status only
static const unsigned purpose_groups[] = {
	KEY_FOR_CERTIFICATE | KEY_FOR_CRL | KEY_FOR_REQUEST,
	KEY_FOR_OCSP | KEY_FOR_REQUEST,
	KEY_FOR_TIME_STAMP | KEY_FOR_REQUEST,
	KEY_FOR_LOG,
	KEY_FOR_IDENTITY | KEY_FOR_REQUEST,
};

static bool purposes_fit(unsigned purposes)
{
	for (size_t i = 0; i < sizeof purpose_groups / sizeof purpose_groups[0]; i++)
		if (purposes != 0 && (purposes & ~purpose_groups[i]) == 0)
			return true;
	return false;
}

enum alg_use keyd_use(unsigned purposes)
{
	static const struct {
		unsigned purposes;
		enum alg_use use;
	} uses[] = {
		{ KEY_FOR_CERTIFICATE | KEY_FOR_CRL, ALG_USE_CA },
		{ KEY_FOR_OCSP, ALG_USE_STATUS },
		{ KEY_FOR_TIME_STAMP, ALG_USE_TIME_STAMP },
		{ KEY_FOR_LOG, ALG_USE_LOG },
		{ KEY_FOR_IDENTITY, ALG_USE_INTERNAL },
	};
	for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++)
		if ((purposes & uses[i].purposes) != 0)
			return uses[i].use;
	return ALG_USE_END_ENTITY;
}

static char *key_path(struct scope *s, const struct keyd *d, const char *label)
{
	return scope_printf(s, "%s/keys/%s", d->conf->state, label);
}

//= rfc6960#4.2.1 KeyHash: SHA-1 of the value of the BIT STRING subjectPublicKey
static st hash_key(struct scope *s, span spki, uint8_t out[20])
{
	struct der_rd outer = der_read(spki);
	struct der_rd d = der_enter(&outer, DER_SEQUENCE);
	(void)der_get(&d, DER_SEQUENCE);
	span bits = der_get_bits(&d);
	der_leave(&outer, &d);
	TRY(der_done(s, &outer, "a SubjectPublicKeyInfo"));
	uint8_t hash[DIGEST_MAX];
	memcpy(out, digest_of(DIGEST_SHA1, bits, hash).data, 20);
	return OK;
}

static void free_key(struct keyd_key *k)
{
	hsm_key_free(k->hsm);
	audit_event_free(&k->ocsp.record);
	keyd_life_free(&k->life);
	scope_done(&k->memory);
	(void)pthread_mutex_destroy(&k->lock);
	(void)pthread_mutex_destroy(&k->ocsp.lock);
	free(k);
}

/* Behind the description, for people: attributes as read back, what was checked of the public key, where the key comes from. */
static void read_notes(struct rd *r, uint16_t version, struct keyd_key *k)
{
	k->attributes = rd_str(&k->memory, r, DESCRIPTION_MAX);
	k->checks = version > 1 ? rd_str(&k->memory, r, DESCRIPTION_MAX) : "";
	k->operation = version > 2 ? rd_str(&k->memory, r, KEY_OPERATION_ID) : "";
}

/* A key from its description; `bytes` is copied into the key's own memory. */
static st key_of_file(struct scope *s, span bytes, struct keyd_key **out)
{
	struct keyd_key *k = heap_alloc(sizeof *k);
	scope_init(&k->memory, NULL);
	if (pthread_mutex_init(&k->lock, NULL) != 0 || pthread_mutex_init(&k->ocsp.lock, NULL) != 0)
		log_die("no lock for a key");
	keyd_life_init(&k->life);
	struct rd r = rd_of(scope_copy(&k->memory, bytes));
	uint16_t version = rd_u16(&r);
	st status = version >= 1 && version <= FILE_VERSION ? key_info_read(&k->memory, &r, &k->info)
							    : fail(&k->memory, E_INPUT, "its version is %u", version);
	read_notes(&r, version, k);
	if (status.code == E_OK)
		status = rd_end(&k->memory, &r, "it");
	if (status.code == E_OK)
		status = hash_key(&k->memory, k->info.spki, k->key_hash);
	if (status.code != E_OK) {
		status = fail(s, status.code, "%s", k->memory.message);
		free_key(k);
		return status;
	}
	*out = k;
	return OK;
}

static void enter(struct keyd *d, struct keyd_key *k)
{
	(void)pthread_rwlock_wrlock(&d->registry);
	k->next = d->keys;
	d->keys = k;
	(void)pthread_rwlock_unlock(&d->registry);
}

static st load_key(struct scope *s, struct keyd *d, const char *label)
{
	span bytes;
	struct keyd_key *k;
	const char *path = key_path(s, d, label);
	TRY(file_read(s, path, DESCRIPTION_MAX, &bytes));
	TRY(fail_context(s, key_of_file(s, bytes, &k), "the description of a key in %s cannot be used", path));
	st status = strcmp(k->info.label, label) == 0
			    ? keyd_ocsp_load(s, d, k)
			    : fail(s, E_STATE, "%s describes another key, \"%s\"", path, k->info.label);
	if (status.code == E_OK)
		status = keyd_life_load(s, d, k);
	if (status.code == E_OK)
		enter(d, k);
	else
		free_key(k);
	return status;
}

st keyd_load_keys(struct scope *s, struct keyd *d)
{
	const char *path = scope_printf(s, "%s/keys", d->conf->state);
	TRY(file_make_directory(s, path, 0700));
	TRY(file_make_directory(s, scope_printf(s, "%s/ocsp", d->conf->state), 0700));
	TRY(file_make_directory(s, scope_printf(s, "%s/heads", d->conf->state), 0700));
	TRY(file_make_directory(s, scope_printf(s, "%s/life", d->conf->state), 0700));
	char **name;
	size_t count;
	TRY(file_list(s, path, &name, &count));
	for (size_t i = 0; i < count; i++) {
		st named = key_label_check(s, name[i]);
		if (named.code == E_OK && strstr(name[i], ".new") == NULL)
			TRY(load_key(s, d, name[i]));
		scope_clear_error(s);
	}
	return keyd_load_planned(s, d);
}

void keyd_free_keys(struct keyd *d)
{
	for (struct keyd_key *k = d->keys; k != NULL;) {
		struct keyd_key *next = k->next;
		free_key(k);
		k = next;
	}
	d->keys = NULL;
	keyd_free_planned(d);
	for (struct keyd_token *t = d->tokens; t != NULL;) {
		struct keyd_token *next = t->next;
		hsm_token_free(t->hsm);
		free(t);
		t = next;
	}
	d->tokens = NULL;
}

struct keyd_key *keyd_first_key(struct keyd *d)
{
	(void)pthread_rwlock_rdlock(&d->registry);
	struct keyd_key *k = d->keys;
	(void)pthread_rwlock_unlock(&d->registry);
	return k;
}

st keyd_find_key(struct scope *s, struct keyd *d, const char *label, struct keyd_key **out)
{
	(void)pthread_rwlock_rdlock(&d->registry);
	struct keyd_key *k = d->keys;
	while (k != NULL && strcmp(k->info.label, label) != 0)
		k = k->next;
	(void)pthread_rwlock_unlock(&d->registry);
	if (k == NULL && keyd_find_planned(d, label) != NULL)
		return fail(
			s, E_NOTFOUND,
			"key \"%s\" of zone %s is planned and not generated; when it stays so its generation did not end: have it generated anew",
			label, d->conf->zone);
	if (k == NULL)
		return fail(s, E_NOTFOUND, "zone %s has no key \"%.*s\"", d->conf->zone, KEY_LABEL_MAX, label);
	*out = k;
	return OK;
}

static st hsm_token_of(struct scope *s, struct keyd *d, const char *label, struct hsm_token **out)
{
	(void)pthread_rwlock_rdlock(&d->registry);
	struct keyd_token *t = keyd_token_named(d, label);
	struct hsm_token *hsm = t != NULL ? t->hsm : NULL;
	(void)pthread_rwlock_unlock(&d->registry);
	if (t == NULL)
		return fail(s, E_NOTFOUND, "zone %s has no token \"%s\"; make it first, or name it in the configuration",
			    d->conf->zone, label);
	if (hsm == NULL)
		return fail(s, E_UNAVAILABLE, "token \"%s\" is closed: keyd was started without its PIN", label);
	*out = hsm;
	return OK;
}

st keyd_hsm_key(struct scope *s, struct keyd *d, struct keyd_key *k, struct hsm_key **out)
{
	(void)pthread_mutex_lock(&k->lock);
	struct hsm_key *known = k->hsm;
	(void)pthread_mutex_unlock(&k->lock);
	if (known != NULL) {
		*out = known;
		return OK;
	}
	struct hsm_token *token;
	TRY(hsm_token_of(s, d, k->info.token, &token));
	struct hsm_key *found;
	TRY(hsm_find(s, token, k->info.label, &found));
	if (!span_equal(hsm_key_spki(found), k->info.spki)) {
		hsm_key_free(found);
		return fail(s, E_STATE, "token \"%s\" holds another key \"%s\" than the one that was generated; it is not used",
			    k->info.token, k->info.label);
	}
	(void)pthread_mutex_lock(&k->lock);
	if (k->hsm == NULL)
		k->hsm = TAKE(found);
	*out = k->hsm;
	(void)pthread_mutex_unlock(&k->lock);
	hsm_key_free(found);
	return OK;
}

void keyd_describe(struct keyd *d, const struct keyd_key *k, struct key_info *out)
{
	*out = k->info;
	(void)pthread_rwlock_rdlock(&d->registry);
	struct keyd_token *t = keyd_token_named(d, k->info.token);
	(void)pthread_mutex_lock(&d->watching);
	out->usable = t != NULL && t->ready;
	(void)pthread_mutex_unlock(&d->watching);
	(void)pthread_rwlock_unlock(&d->registry);
}

/* ---- generating ---- */

static st check_token_group(struct scope *s, struct keyd *d, const struct key_info *want)
{
	const struct keyd_key *other = keyd_first_key(d);
	while (other != NULL &&
	       (strcmp(other->info.token, want->token) != 0 || purposes_fit(other->info.purposes | want->purposes)))
		other = other->next;
	if (other == NULL)
		return OK;
	return fail(s, E_DENIED,
		    "token \"%s\" is the key group of \"%s\", which serves other purposes; a login opens a whole token, so "
		    "make one of its own "
		    "(EN 319 411-1 GEN-6.5.3-03)",
		    want->token, other->info.label);
}

st keyd_check_wanted(struct scope *s, struct keyd *d, const struct key_info *want)
{
	if (!purposes_fit(want->purposes) && want->purposes != KEY_FOR_REQUEST)
		return fail(s, E_DENIED, "these purposes do not go together on one key (EN 319 411-1 GEN-6.5.3-03)");
	TRY(check_token_group(s, d, want));
	const struct alg_signature *algorithm = alg_signature_default(want->type);
	TRY(alg_policy_check(s, want->type, algorithm, keyd_use(want->purposes), true, scope_now(s)));
	if (want->limits.issuer.len > 0) {
		struct der_rd name = der_read(want->limits.issuer);
		(void)der_get(&name, DER_SEQUENCE);
		TRY(fail_context(s, der_done(s, &name, "it"), "the issuer a key is limited to must be a Name"));
	}
	if (want->usage_ends != 0 && want->usage_ends <= scope_now(s))
		return fail(s, E_INPUT, "the usage period of key \"%s\" would end before it began", want->label);
	struct keyd_key *existing;
	if (keyd_find_key(s, d, want->label, &existing).code == E_OK)
		return fail(s, E_CONFLICT, "zone %s has a key \"%s\" already", d->conf->zone, want->label);
	scope_clear_error(s);
	return OK;
}

static char *purposes_text(struct scope *s, unsigned purposes)
{
	char *text = scope_printf(s, "%s", "");
	for (unsigned bit = 1; bit <= KEY_FOR_REQUEST; bit <<= 1)
		if ((purposes & bit) != 0)
			text = scope_printf(s, "%s%s%s", text, text[0] != 0 ? " " : "",
					    key_purpose_name((enum key_purpose)bit));
	return text;
}

static st limits_text(struct scope *s, const struct key_info *info, span description, char **out)
{
	const struct key_limits *limits = &info->limits;
	char ends[MOMENT_TEXT_MAX];
	uint8_t digest[DIGEST_MAX];
	char *text = scope_printf(s, "description=sha256:%s ca=%s validity_days=%u rate=%u accuracy_ms=%u",
				  hex_text(s, digest_of(DIGEST_SHA256, description, digest)), limits->ca ? "yes" : "no",
				  limits->validity_days, limits->rate, limits->accuracy_ms);
	if (limits->issuer.len > 0)
		text = scope_printf(s, "%s issuer=%s", text, hex_text(s, limits->issuer));
	if (info->usage_ends != 0)
		text = scope_printf(s, "%s usage_ends=%s", text, moment_text(info->usage_ends, ends));
	if (limits->origin[0] != 0)
		text = scope_printf(s, "%s origin=%s", text, limits->origin);
	for (size_t i = 0; i < limits->policy_count; i++) {
		char *policy;
		TRY(der_oid_text(s, limits->policies[i], &policy));
		text = scope_printf(s, "%s policy=%s", text, policy);
	}
	*out = text;
	return OK;
}

/* A key pair as it came from its token, with all that was found. */
struct generated {
	struct key_info info;
	struct hsm_report report;
	const char *checks, *operation;
};

static st record_generated(struct scope *s, struct keyd *d, const struct generated *g, span description, uint64_t *out_index)
{
	const struct key_info *info = &g->info;
	char *limits;
	TRY(limits_text(s, info, description, &limits));
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_KEY_GENERATED);
	audit_str(&e, "zone", d->conf->zone);
	audit_str(&e, "token", info->token);
	audit_str(&e, "key", info->label);
	audit_str(&e, "type", info->type->name);
	audit_str(&e, "purposes", purposes_text(s, info->purposes));
	audit_text(&e, "limits", span_str(limits));
	audit_str(&e, "backup", info->backup == KEY_BACKUP_WRAPPED ? "wrapped" : "none");
	audit_base64(&e, "spki", info->spki);
	audit_str(&e, "attributes", g->report.attributes);
	if (g->report.missing[0] != 0)
		audit_str(&e, "missing", g->report.missing);
	audit_str(&e, "checks", g->checks);
	TRY(audit_finish(s, &e));
	return audit_commit(s, d->audit, &e, out_index);
}

/* Record, then description: a key is used only when it has both. */
static st enter_generated(struct scope *s, struct keyd *d, const struct generated *g, struct keyd_key **out)
{
	AUTO_BUF file = { .cap = DESCRIPTION_MAX };
	struct wr w = wr_into(&file);
	wr_u16(&w, FILE_VERSION);
	key_info_write(&w, &g->info);
	wr_str(&w, g->report.attributes);
	wr_str(&w, g->checks);
	wr_str(&w, g->operation);
	TRY(wr_end(s, &w));
	struct keyd_key *k;
	uint64_t index;
	TRY(key_of_file(s, buf_span(&file), &k));
	st status = record_generated(s, d, g, buf_span(&file), &index);
	FAILPOINT("keyd.generate.recorded");
	if (status.code == E_OK)
		status = keyd_life_generated(s, d, k, index);
	if (status.code == E_OK)
		status = file_create(s, key_path(s, d, g->info.label), buf_span(&file), 0600);
	if (status.code != E_OK) {
		free_key(k);
		return status;
	}
	enter(d, k);
	*out = k;
	return OK;
}

/* The public key as the module gives it is checked by what we know of its family, and not by the module. The pairwise test with every signature
 * algorithm of the family was part of its generation. */
//= requirements#HSM-20 checks of the public key and pairwise test, their result on record per key
static st assure(struct scope *s, struct generated *g)
{
	const char *checks;
	TRY(fail_context(s, pki_key_assure(s, g->info.spki, &checks),
			 "the token made a key \"%s\" that is not used and was destroyed", g->info.label));
	g->checks = scope_printf(s, "%s; pairwise test: signed and verified", checks);
	return OK;
}

static bool discard(struct scope *s, struct hsm_key *hsm)
{
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	st destroyed = hsm_destroy(&aside, hsm);
	if (destroyed.code != E_OK)
		log_failure(&aside, "destroying a key that could not be recorded or is not good");
	hsm_key_free(hsm);
	return destroyed.code == E_OK;
}

/* How the token is to describe the plan. The last day of the period is the one before nothing is signed any more. */
//= requirements#HSM-02 CKA_START_DATE and CKA_END_DATE are the usage period
static struct hsm_wanted wanted_of(const struct scope *s, const struct keyd_planned *plan)
{
	int64_t ends = plan->info.usage_ends;
	return (struct hsm_wanted){ .label = plan->info.label,
				    .type = plan->info.type,
				    .backup = plan->info.backup == KEY_BACKUP_WRAPPED ? HSM_BACKUP_WRAPPED : HSM_BACKUP_NONE,
				    .id = SPAN_ARRAY(plan->id),
				    .starts = ends != 0 ? scope_now(s) : 0,
				    .ends = ends != 0 ? ends - 1 : 0 };
}

/* `*out_left`: something may be on the token all the same. */
static st make(struct scope *s, struct keyd *d, struct hsm_token *token, const struct keyd_planned *plan, struct keyd_key **out,
	       bool *out_left)
{
	struct generated *g = scope_new(s, struct generated);
	struct hsm_key *hsm;
	const struct hsm_wanted wanted = wanted_of(s, plan);
	st status = hsm_generate_as(s, token, &wanted, &g->report, &hsm);
	*out_left = status.code == E_UNAVAILABLE || status.code == E_IO;
	TRY(status);
	FAILPOINT("keyd.generate.made");
	g->info = plan->info;
	g->info.spki = hsm_key_spki(hsm);
	g->info.created = scope_now(s);
	g->info.usable = true;
	g->info.missing = g->report.missing;
	g->operation = plan->operation;
	struct keyd_key *k = NULL;
	status = assure(s, g);
	if (status.code == E_OK)
		status = enter_generated(s, d, g, &k);
	if (status.code != E_OK) {
		*out_left = !discard(s, hsm);
		return status;
	}
	k->hsm = hsm;
	*out = k;
	return OK;
}

static st generate_locked(struct scope *s, struct keyd *d, const struct key_info *want, const char *operation,
			  struct keyd_key **out)
{
	TRY(keyd_check_wanted(s, d, want));
	struct hsm_token *token;
	struct keyd_planned *plan;
	bool left = false;
	TRY(hsm_token_of(s, d, want->token, &token));
	TRY(keyd_plan_key(s, d, want, operation, token, &plan));
	FAILPOINT("keyd.generate.planned");
	st status = make(s, d, token, plan, out, &left);
	FAILPOINT("keyd.generate.entered");
	if (!left)
		keyd_planned_over(s, d, plan);
	return status;
}

st keyd_generate(struct scope *s, struct keyd *d, const struct key_info *want, const char *operation, struct keyd_key **out)
{
	(void)pthread_mutex_lock(&d->generating);
	st status = generate_locked(s, d, want, operation, out);
	(void)pthread_mutex_unlock(&d->generating);
	return status;
}
