/*
 * hsm_generate.c - key pairs with the attributes of requirements 7.1, read back from the token and tried once.
 *
 * Attributes come in two kinds. The required ones are in every module's reach: the key is refused unless each reads back
 * as wanted. The optional ones narrow the key further where the module knows them; where it does not, that is recorded.
 */
#include "hsm_internal.h"

#define TEMPLATE_MAX 24
#define ID_LEN       16

struct attribute_row {
	const char *name;
	CK_ATTRIBUTE_TYPE type;
	bool given;    /* part of the template; the others are set by the token alone */
	bool required; /* must read back as wanted, or the key is refused */
	bool none;     /* value wanted without backup */
	bool wrapped;  /* value wanted with wrapped backup */
	bool derives;  /* value wanted of a key that agrees on secrets */
};

//= req7.1 attributes of private keys of CA, OCSP, TSU and log
//= en319411-1#GEN-6.5.2 a wrapped backup needs EXTRACTABLE with WRAP_WITH_TRUSTED; NEVER_EXTRACTABLE is then false
static const struct attribute_row private_attributes[] = {
	{ "TOKEN", CKA_TOKEN, true, true, true, true, true },
	{ "PRIVATE", CKA_PRIVATE, true, true, true, true, true },
	{ "SENSITIVE", CKA_SENSITIVE, true, true, true, true, true },
	{ "EXTRACTABLE", CKA_EXTRACTABLE, true, true, false, true, false },
	{ "ALWAYS_SENSITIVE", CKA_ALWAYS_SENSITIVE, false, true, true, true, true },
	{ "NEVER_EXTRACTABLE", CKA_NEVER_EXTRACTABLE, false, true, true, false, true },
	{ "SIGN", CKA_SIGN, true, true, true, true, false },
	{ "DECRYPT", CKA_DECRYPT, true, true, false, false, false },
	{ "UNWRAP", CKA_UNWRAP, true, true, false, false, false },
	{ "DERIVE", CKA_DERIVE, true, true, false, false, true },
	{ "SIGN_RECOVER", CKA_SIGN_RECOVER, true, false, false, false, false },
	{ "LOCAL", CKA_LOCAL, false, false, true, true, true },
	{ "COPYABLE", CKA_COPYABLE, true, false, false, false, false },
	{ "MODIFIABLE", CKA_MODIFIABLE, true, false, false, false, false },
	{ "WRAP_WITH_TRUSTED", CKA_WRAP_WITH_TRUSTED, true, false, false, true, false },
};
enum { PRIVATE_ATTRIBUTES = sizeof private_attributes / sizeof private_attributes[0] };

static CK_BBOOL bool_true = CK_TRUE;
static CK_BBOOL bool_false = CK_FALSE;

struct template
{
	CK_ATTRIBUTE item[TEMPLATE_MAX];
	bool optional[TEMPLATE_MAX];
	CK_ULONG count;
};

static void put(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, size_t len, bool optional)
{
	union {
		const void *in;
		void *out;
	} u = { .in = value };
	t->item[t->count] = (CK_ATTRIBUTE){ type, u.out, len };
	t->optional[t->count++] = optional;
}

static void put_flag(struct template *t, CK_ATTRIBUTE_TYPE type, bool value, bool optional)
{
	put(t, type, value ? &bool_true : &bool_false, sizeof bool_true, optional);
}

/* Leave out the last optional attribute; false when there is none left. */
static bool drop_optional(struct template *t)
{
	for (CK_ULONG i = t->count; i > 0; i--) {
		if (!t->optional[i - 1])
			continue;
		for (CK_ULONG j = i; j < t->count; j++) {
			t->item[j - 1] = t->item[j];
			t->optional[j - 1] = t->optional[j];
		}
		t->count--;
		return true;
	}
	return false;
}

span hsm_curve_parameters(struct scope *s, const struct alg_key *type)
{
	static const uint8_t edwards25519[] = { 0x06, 0x03, 0x2b, 0x65, 0x70 };
	if (type->family == ALG_ED25519)
		return SPAN_ARRAY(edwards25519);
	uint8_t *whole = scope_alloc(s, type->curve.len + 2);
	whole[0] = DER_OID;
	whole[1] = (uint8_t)type->curve.len;
	memcpy(whole + 2, type->curve.data, type->curve.len);
	return span_of(whole, type->curve.len + 2);
}

static bool wanted(const struct attribute_row *row, const struct hsm_wish *wish)
{
	if (row->type == CKA_TOKEN)
		return !wish->for_session;
	if (wish->derives)
		return row->derives;
	return wish->backup == HSM_BACKUP_WRAPPED ? row->wrapped : row->none;
}

/* What the key may be used with. */
static span mechanisms_of(const struct hsm_wish *wish)
{
	static const CK_MECHANISM_TYPE derive = CKM_ECDH1_DERIVE;
	const struct hsm_family *family = hsm_family_of(wish->type);
	return wish->derives ? span_of(&derive, sizeof derive)
			     : span_of(family->sign, family->sign_count * sizeof family->sign[0]);
}

static const struct date_row {
	const char *name;
	CK_ATTRIBUTE_TYPE type;
	size_t moment; /* in struct hsm_wish */
} dates[] = {
	{ "START_DATE", CKA_START_DATE, offsetof(struct hsm_wish, starts) },
	{ "END_DATE", CKA_END_DATE, offsetof(struct hsm_wish, ends) },
};
enum { DATES = sizeof dates / sizeof dates[0] };

static int64_t moment_of(const struct date_row *row, const struct hsm_wish *wish)
{
	int64_t moment;
	memcpy(&moment, (const char *)wish + row->moment, sizeof moment);
	return moment;
}

/* "2026-11-26": a CK_DATE is the same without what is between. */
static const char *day_text(struct scope *s, int64_t moment)
{
	char text[MOMENT_TEXT_MAX];
	return scope_printf(s, "%.10s", moment_text(moment, text));
}

static span date_value(struct scope *s, int64_t moment)
{
	const char *day = day_text(s, moment);
	return span_str(scope_printf(s, "%.4s%.2s%.2s", day, day + 5, day + 8));
}

/* The last of a template: a module that has no dates loses them before anything else. */
static void put_dates(struct scope *s, struct template *t, const struct hsm_wish *wish)
{
	for (size_t i = 0; i < DATES; i++) {
		int64_t moment = moment_of(&dates[i], wish);
		span value = date_value(s, moment);
		if (moment != 0)
			put(t, dates[i].type, value.data, value.len, true);
	}
}

static void private_template(struct scope *s, struct template *t, const char *label, span id, const struct hsm_wish *wish)
{
	put(t, CKA_LABEL, label, strlen(label), false);
	put(t, CKA_ID, id.data, id.len, false);
	for (size_t i = 0; i < PRIVATE_ATTRIBUTES; i++) {
		const struct attribute_row *row = &private_attributes[i];
		bool value = wanted(row, wish);
		bool redundant = row->type == CKA_WRAP_WITH_TRUSTED && !value;
		if (row->given && !redundant)
			put_flag(t, row->type, value, !row->required);
	}
	span mechanisms = mechanisms_of(wish);
	put(t, CKA_ALLOWED_MECHANISMS, mechanisms.data, mechanisms.len, true);
	put_dates(s, t, wish);
}

static void family_template(struct scope *s, struct template *t, const struct alg_key *type)
{
	static const uint8_t f4[] = { 1, 0, 1 };
	if (type->family == ALG_RSA) {
		CK_ULONG *bits = scope_new(s, CK_ULONG);
		*bits = type->bits;
		put(t, CKA_MODULUS_BITS, bits, sizeof *bits, false);
		put(t, CKA_PUBLIC_EXPONENT, f4, sizeof f4, false);
		return;
	}
	span parameters = hsm_curve_parameters(s, type);
	put(t, CKA_EC_PARAMS, parameters.data, parameters.len, false);
}

static void public_template(struct scope *s, struct template *t, const char *label, span id, const struct hsm_wish *wish)
{
	put(t, CKA_LABEL, label, strlen(label), false);
	put(t, CKA_ID, id.data, id.len, false);
	put_flag(t, CKA_TOKEN, !wish->for_session, false);
	put_flag(t, CKA_PRIVATE, false, false);
	put_flag(t, CKA_VERIFY, !wish->derives, false);
	family_template(s, t, wish->type);
	put_flag(t, CKA_MODIFIABLE, false, true);
	put_dates(s, t, wish);
}

/* The module does not know some attribute: worth another try with fewer of the optional ones. */
static bool template_refused(CK_RV rv)
{
	return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_TEMPLATE_INCONSISTENT ||
	       rv == CKR_ATTRIBUTE_READ_ONLY;
}

static bool drop_last_dates(struct template *t)
{
	CK_ULONG before = t->count;
	while (t->count > 0 && (t->item[t->count - 1].type == CKA_START_DATE || t->item[t->count - 1].type == CKA_END_DATE))
		t->count--;
	return t->count < before;
}

static bool drop_dates(struct template *private, struct template *public)
{
	bool of_private = drop_last_dates(private);
	return drop_last_dates(public) || of_private;
}

st hsm_generate_pair(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, const char *label, span id,
		     const struct hsm_wish *wish, CK_OBJECT_HANDLE *out_public, CK_OBJECT_HANDLE *out_private)
{
	CK_MECHANISM mechanism = { .mechanism = hsm_family_of(wish->type)->generate };
	struct template private = { .count = 0 }, public = { .count = 0 };
	private_template(s, &private, label, id, wish);
	public_template(s, &public, label, id, wish);
	CK_RV rv;
	do
		rv = h->p11->C_GenerateKeyPair(session, &mechanism, public.item, public.count, private.item, private.count,
					       out_public, out_private);
	while (template_refused(rv) && (drop_dates(&private, &public) || drop_optional(&private) || drop_optional(&public)));
	return rv == CKR_OK
		       ? OK
		       : hsm_fail(s, rv, scope_printf(s, "generating a key of type %s (C_GenerateKeyPair)", wish->type->name));
}

static void note_missing(struct buf *missing, const char *name)
{
	if (missing->len > 0)
		(void)buf_append(missing, span_str(","));
	(void)buf_append(missing, span_str(name));
}

static st read_flag(struct scope *s, const struct attribute_row *row, CK_RV rv, span value, bool want, struct buf *text,
		    struct buf *missing)
{
	if (rv != CKR_OK || value.len != sizeof(CK_BBOOL)) {
		if (row->required)
			return fail(s, E_CRYPTO,
				    "the module does not say whether the new key is %s; such a key is not used (PKCS#11 "
				    "attribute CKA_%s)",
				    row->name, row->name);
		note_missing(missing, row->name);
		return OK;
	}
	bool got = value.data[0] != CK_FALSE;
	(void)buf_append(text, span_str(scope_printf(s, "%s%s=%d", text->len > 0 ? " " : "", row->name, got)));
	if (got == want)
		return OK;
	if (row->required)
		return fail(s, E_CRYPTO, "the new key has CKA_%s %s where %s is required; it is not used", row->name,
			    got ? "true" : "false", want ? "true" : "false");
	note_missing(missing, row->name);
	return OK;
}

static bool mechanisms_limited(span value, span allowed)
{
	size_t width = sizeof(CK_MECHANISM_TYPE);
	if (value.len == 0 || value.len % width != 0)
		return false;
	for (size_t at = 0; at < value.len; at += width) {
		bool listed = false;
		for (size_t i = 0; i < allowed.len; i += width)
			listed = listed || memcmp(value.data + at, allowed.data + i, width) == 0;
		if (!listed)
			return false;
	}
	return true;
}

//= req7.1#HSM-01 read back all attributes after generation and refuse the key if any differs
st hsm_read_back(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, const struct hsm_wish *wish,
		 struct hsm_report *out)
{
	AUTO_BUF text = { .cap = 4096 };
	AUTO_BUF missing = { .cap = 4096 };
	for (size_t i = 0; i < PRIVATE_ATTRIBUTES; i++) {
		const struct attribute_row *row = &private_attributes[i];
		span value = { 0 };
		CK_RV rv = hsm_attribute(s, h, session, key, row->type, &value);
		TRY(read_flag(s, row, rv, value, wanted(row, wish), &text, &missing));
	}
	span value = { 0 };
	CK_RV rv = hsm_attribute(s, h, session, key, CKA_ALLOWED_MECHANISMS, &value);
	if (rv == CKR_OK && mechanisms_limited(value, mechanisms_of(wish)))
		(void)buf_append(&text, span_str(" ALLOWED_MECHANISMS=limited"));
	else
		note_missing(&missing, "ALLOWED_MECHANISMS");
	out->attributes = scope_cstr(s, buf_span(&text));
	out->missing = scope_cstr(s, buf_span(&missing));
	return OK;
}

static bool has_date(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE half, CK_ATTRIBUTE_TYPE type,
		     span wanted)
{
	span value = { 0 };
	return hsm_attribute(s, h, session, half, type, &value) == CKR_OK && span_equal(value, wanted);
}

/* They bind nobody (PKCS#11 v2.40, 4.7: "for reference only"); keyd keeps to the period. SoftHSM 2.6 takes them for a private key and cannot
 * read them there: the public half says the same. */
void hsm_read_dates(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private,
		    CK_OBJECT_HANDLE public, const struct hsm_wish *wish, struct hsm_report *out)
{
	for (size_t i = 0; i < DATES; i++) {
		int64_t moment = moment_of(&dates[i], wish);
		span value = date_value(s, moment);
		if (moment == 0)
			continue;
		if (has_date(s, h, session, private, dates[i].type, value) ||
		    has_date(s, h, session, public, dates[i].type, value))
			out->attributes = scope_printf(s, "%s %s=%s", out->attributes, dates[i].name, day_text(s, moment));
		else
			out->missing = scope_printf(s, "%s%s%s", out->missing, out->missing[0] != 0 ? "," : "", dates[i].name);
	}
}

/* The generator of P-256 (sec2v2#2.4.2): agreed on with it, the secret is the x coordinate of the public key. */
static const uint8_t generator[65] = { 0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5,
				       0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4,
				       0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a,
				       0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33,
				       0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5 };

static st pairwise_derive(struct scope *s, struct hsm_key *k)
{
	uint8_t x[32];
	struct alg_public public;
	TRY(alg_public_of_spki(s, hsm_key_spki(k), &public));
	TRY(hsm_derive(s, k, SPAN_ARRAY(generator), x));
	if (memcmp(x, public.point.data + 1, sizeof x) != 0)
		return fail(s, E_CRYPTO, "the halves of the new key \"%s\" do not belong together; it is not used", k->label);
	return OK;
}

/* req7.3 HSM-20: pairwise test; decoding the public key proves the point lies on its curve. */
static st pairwise_sign(struct scope *s, struct hsm_key *k)
{
	const struct alg_signature *algorithm;
	for (size_t i = 0; (algorithm = alg_signature_at(i)) != NULL; i++) {
		if (algorithm->family != k->type->family)
			continue;
		uint8_t message[DIGEST_MAX];
		scope_random(s, message, sizeof message);
		size_t len = algorithm->digest == DIGEST_NONE ? sizeof message : digest_len(algorithm->digest);
		span signature;
		TRY(hsm_sign(s, k, algorithm, span_of(message, len), &signature));
		TRY(hsm_verify(s, hsm_key_spki(k), algorithm, span_of(message, len), signature));
	}
	return OK;
}

static st require_free_label(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, const char *label)
{
	CK_OBJECT_HANDLE existing;
	st status = hsm_find_object(s, h, session, CKO_PRIVATE_KEY, label, &existing);
	if (status.code == E_OK || status.code == E_CONFLICT)
		return fail(s, E_CONFLICT, "the token has a key with the label \"%s\" already; choose another label", label);
	if (status.code != E_NOTFOUND)
		return status;
	scope_clear_error(s);
	return OK;
}

/* Generate and read back in a session that may write; what is refused is destroyed again. */
static st generate_in_session(struct scope *s, struct hsm_token *t, CK_SESSION_HANDLE writer, unsigned epoch, const char *label,
			      span id, const struct hsm_wish *wish, struct hsm_report *out_report, struct hsm_key **out)
{
	struct hsm *h = t->module;
	TRY(require_free_label(s, h, writer, label));
	uint8_t room[ID_LEN];
	if (id.len == 0) {
		scope_random(s, room, sizeof room);
		id = SPAN_ARRAY(room);
	}
	CK_OBJECT_HANDLE public = CK_INVALID_HANDLE, private = CK_INVALID_HANDLE;
	TRY(hsm_generate_pair(s, h, writer, label, id, wish, &public, &private));
	span spki;
	const struct alg_key *got = NULL;
	st status = hsm_read_back(s, h, writer, private, wish, out_report);
	if (status.code == E_OK)
		hsm_read_dates(s, h, writer, private, public, wish, out_report);
	if (status.code == E_OK)
		status = hsm_read_public(s, h, writer, public, &spki);
	if (status.code == E_OK)
		status = alg_key_of_spki(s, spki, &got);
	if (status.code == E_OK && got != wish->type)
		status = fail(s, E_CRYPTO, "a key of type %s was asked for, the token made one of type %s", wish->type->name,
			      got->name);
	if (status.code != E_OK) {
		(void)h->p11->C_DestroyObject(writer, private);
		(void)h->p11->C_DestroyObject(writer, public);
		return status;
	}
	*out = hsm_key_new(t, label, id, wish->type, spki, private, epoch);
	return OK;
}

static st generate(struct scope *s, struct hsm_token *t, const char *label, span id, const struct hsm_wish *wish,
		   struct hsm_report *out_report, struct hsm_key **out)
{
	struct hsm *h = t->module;
	struct hsm_session session;
	TRY(hsm_session_take(s, t, &session));
	CK_SESSION_HANDLE writer;
	CK_RV rv = h->p11->C_OpenSession(t->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &writer);
	if (rv != CKR_OK) {
		hsm_session_give(t, &session, hsm_rv_lost(rv));
		return hsm_fail(s, rv, "opening a session to generate a key (C_OpenSession)");
	}
	struct hsm_key *key = NULL;
	st status = generate_in_session(s, t, writer, session.epoch, label, id, wish, out_report, &key);
	(void)h->p11->C_CloseSession(writer);
	hsm_session_give(t, &session, false);
	if (status.code != E_OK)
		return status;
	status = wish->derives ? pairwise_derive(s, key) : pairwise_sign(s, key);
	if (status.code == E_OK)
		status = hsm_sync(s, h);
	if (status.code != E_OK) {
		st destroyed = hsm_destroy(s, key);
		hsm_key_free(key);
		return destroyed.code == E_OK ? status
					      : fail_context(s, status, "a bad key \"%s\" could not be destroyed", label);
	}
	*out = key;
	return OK;
}

st hsm_generate_as(struct scope *s, struct hsm_token *t, const struct hsm_wanted *wanted, struct hsm_report *out_report,
		   struct hsm_key **out)
{
	const struct hsm_wish wish = {
		.type = wanted->type, .backup = wanted->backup, .starts = wanted->starts, .ends = wanted->ends
	};
	return generate(s, t, wanted->label, wanted->id, &wish, out_report, out);
}

st hsm_generate(struct scope *s, struct hsm_token *t, const char *label, const struct alg_key *type, enum hsm_backup backup,
		struct hsm_report *out_report, struct hsm_key **out)
{
	const struct hsm_wish wish = { .type = type, .backup = backup };
	return generate(s, t, label, (span){ 0 }, &wish, out_report, out);
}

st hsm_generate_derive(struct scope *s, struct hsm_token *t, const char *label, struct hsm_report *out_report,
		       struct hsm_key **out)
{
	const struct hsm_wish wish = { .type = alg_key_named(span_str("ec-p256")), .derives = true };
	return generate(s, t, label, (span){ 0 }, &wish, out_report, out);
}
