#include "hsm_internal.h"
#include "log.h"
#include <stdlib.h>

#define ATTRIBUTE_MAX 16384u

CK_RV hsm_attribute(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
		    span *out)
{
	CK_ATTRIBUTE attribute = { .type = type };
	CK_RV rv = h->p11->C_GetAttributeValue(session, object, &attribute, 1);
	if (rv != CKR_OK)
		return rv;
	if (attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION || attribute.ulValueLen > ATTRIBUTE_MAX)
		return CKR_ATTRIBUTE_TYPE_INVALID;
	uint8_t *value = scope_alloc(s, attribute.ulValueLen);
	attribute.pValue = value;
	rv = h->p11->C_GetAttributeValue(session, object, &attribute, 1);
	if (rv == CKR_OK)
		*out = span_of(value, attribute.ulValueLen);
	return rv;
}

st hsm_find_object(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label,
		   CK_OBJECT_HANDLE *out)
{
	char *name = scope_printf(s, "%s", label);
	CK_ATTRIBUTE wanted[] = {
		{ CKA_CLASS, &class, sizeof class },
		{ CKA_LABEL, name, strlen(name) },
	};
	CK_RV rv = h->p11->C_FindObjectsInit(session, wanted, 2);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "searching the token (C_FindObjectsInit)");
	CK_OBJECT_HANDLE found[2] = { CK_INVALID_HANDLE };
	CK_ULONG count = 0;
	rv = h->p11->C_FindObjects(session, found, 2, &count);
	(void)h->p11->C_FindObjectsFinal(session);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "searching the token (C_FindObjects)");
	if (count == 0)
		return fail(s, E_NOTFOUND, "the token has no key with the label \"%s\"", label);
	if (count > 1)
		return fail(s, E_CONFLICT, "the token has several keys with the label \"%s\"; remove all but one", label);
	*out = found[0];
	return OK;
}

static st value_of(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
		   span *out)
{
	CK_RV rv = hsm_attribute(s, h, session, object, type, out);
	return rv == CKR_OK ? OK : hsm_fail(s, rv, scope_printf(s, "reading attribute 0x%lx of a key", (unsigned long)type));
}

/* CKA_EC_POINT is an OCTET STRING with the point in it; some modules leave the wrapping out. */
static span point_of(span value)
{
	struct der_rd d = der_read(value);
	span inner = der_get(&d, DER_OCTET_STRING);
	return !d.bad && d.rest.len == 0 ? inner : value;
}

static const struct alg_key *type_of_parameters(struct scope *s, span parameters)
{
	const struct alg_key *type;
	for (size_t i = 0; (type = alg_key_at(i)) != NULL; i++)
		if (type->family == ALG_EC && span_equal(hsm_curve_parameters(s, type), parameters))
			return type;
	return NULL;
}

static st read_rsa(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, span *out)
{
	span modulus, exponent;
	TRY(value_of(s, h, session, object, CKA_MODULUS, &modulus));
	TRY(value_of(s, h, session, object, CKA_PUBLIC_EXPONENT, &exponent));
	return alg_spki_rsa(s, modulus, exponent, out);
}

static st read_ec(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, span *out)
{
	span parameters, point;
	TRY(value_of(s, h, session, object, CKA_EC_PARAMS, &parameters));
	TRY(value_of(s, h, session, object, CKA_EC_POINT, &point));
	const struct alg_key *type = type_of_parameters(s, parameters);
	if (type == NULL)
		return fail(s, E_CRYPTO, "a key on the token lies on a curve outside the table of algorithms");
	return alg_spki_ec(s, type, point_of(point), out);
}

static st read_edwards(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, span *out)
{
	span point;
	TRY(value_of(s, h, session, object, CKA_EC_POINT, &point));
	return alg_spki_ed25519(s, point_of(point), out);
}

st hsm_read_public(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, span *out_spki)
{
	span value;
	CK_KEY_TYPE type;
	TRY(value_of(s, h, session, object, CKA_KEY_TYPE, &value));
	if (value.len != sizeof type)
		return fail(s, E_CRYPTO, "the token gives a key type of %zu bytes", value.len);
	memcpy(&type, value.data, sizeof type);
	if (type == CKK_RSA)
		return read_rsa(s, h, session, object, out_spki);
	if (type == CKK_EC)
		return read_ec(s, h, session, object, out_spki);
	if (type == CKK_EC_EDWARDS)
		return read_edwards(s, h, session, object, out_spki);
	return fail(s, E_CRYPTO, "a key on the token is of a type (0x%lx) outside the table of algorithms",
		    (unsigned long)type);
}

static uint8_t *copy_of(span bytes)
{
	uint8_t *copy = heap_alloc(bytes.len);
	if (bytes.len > 0)
		memcpy(copy, bytes.data, bytes.len);
	return copy;
}

struct hsm_key *hsm_key_new(struct hsm_token *t, const char *label, span id, const struct alg_key *type, span spki,
			    CK_OBJECT_HANDLE handle, unsigned epoch)
{
	struct hsm_key *k = heap_alloc(sizeof *k);
	*k = (struct hsm_key){ .token = t,
			       .label = heap_copy_str(label),
			       .id = copy_of(id),
			       .id_len = id.len,
			       .type = type,
			       .spki = copy_of(spki),
			       .spki_len = spki.len,
			       .handle = handle,
			       .epoch = epoch };
	if (pthread_mutex_init(&k->lock, NULL) != 0)
		log_die("no lock for a key");
	return k;
}

void hsm_key_free(struct hsm_key *k)
{
	if (k == NULL)
		return;
	(void)pthread_mutex_destroy(&k->lock);
	free(k->label);
	free(k->id);
	free(k->spki);
	free(k);
}

static st find_in_session(struct scope *s, struct hsm_token *t, const struct hsm_session *session, const char *label,
			  struct hsm_key **out)
{
	struct hsm *h = t->module;
	CK_OBJECT_HANDLE private, public;
	TRY(hsm_find_object(s, h, session->handle, CKO_PRIVATE_KEY, label, &private));
	TRY(hsm_find_object(s, h, session->handle, CKO_PUBLIC_KEY, label, &public));
	span id, spki;
	TRY(value_of(s, h, session->handle, private, CKA_ID, &id));
	TRY(hsm_read_public(s, h, session->handle, public, &spki));
	const struct alg_key *type;
	TRY(alg_key_of_spki(s, spki, &type));
	*out = hsm_key_new(t, label, id, type, spki, private, session->epoch);
	return OK;
}

st hsm_find(struct scope *s, struct hsm_token *t, const char *label, struct hsm_key **out)
{
	struct hsm_session session;
	TRY(hsm_session_take(s, t, &session));
	st status = find_in_session(s, t, &session, label, out);
	hsm_session_give(t, &session, status.code == E_UNAVAILABLE);
	return status;
}

static st destroy_half(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label)
{
	CK_OBJECT_HANDLE object;
	TRY(hsm_find_object(s, h, session, class, label, &object));
	CK_RV rv = h->p11->C_DestroyObject(session, object);
	return rv == CKR_OK ? OK : hsm_fail(s, rv, scope_printf(s, "destroying key \"%s\" (C_DestroyObject)", label));
}

st hsm_destroy(struct scope *s, struct hsm_key *k)
{
	struct hsm *h = k->token->module;
	struct hsm_session session;
	TRY(hsm_session_take(s, k->token, &session));
	CK_SESSION_HANDLE writer;
	CK_RV rv = h->p11->C_OpenSession(k->token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &writer);
	st status = rv == CKR_OK ? OK : hsm_fail(s, rv, "opening a session to destroy a key (C_OpenSession)");
	if (status.code == E_OK) {
		status = destroy_half(s, h, writer, CKO_PRIVATE_KEY, k->label);
		if (status.code == E_OK)
			status = destroy_half(s, h, writer, CKO_PUBLIC_KEY, k->label);
		(void)h->p11->C_CloseSession(writer);
	}
	if (status.code == E_OK)
		status = hsm_sync(s, h);
	hsm_session_give(k->token, &session, false);
	return status;
}

/* ---- what is on a token ---- */

#define OBJECTS_MAX 4096

static st search(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, CK_ATTRIBUTE *wanted, CK_ULONG attributes,
		 CK_OBJECT_HANDLE **out, CK_ULONG *out_count)
{
	CK_OBJECT_HANDLE *found = scope_alloc(s, OBJECTS_MAX * sizeof *found);
	CK_ULONG all = 0, count = 0;
	CK_RV rv = h->p11->C_FindObjectsInit(session, wanted, attributes);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "searching the token (C_FindObjectsInit)");
	do
		rv = h->p11->C_FindObjects(session, found + all, OBJECTS_MAX - all, &count);
	while (rv == CKR_OK && count > 0 && (all += count) < OBJECTS_MAX);
	(void)h->p11->C_FindObjectsFinal(session);
	if (rv != CKR_OK)
		return hsm_fail(s, rv, "searching the token (C_FindObjects)");
	if (all == OBJECTS_MAX)
		return fail(s, E_LIMIT, "the token has more than %d such objects", OBJECTS_MAX - 1);
	*out = found;
	*out_count = all;
	return OK;
}

static char *printable(struct scope *s, span label)
{
	char *text = scope_printf(s, "%.*s", (int)label.len, label.len > 0 ? (const char *)label.data : "");
	for (char *at = text; *at != 0; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	return text;
}

static st labels_in_session(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, char ***out, size_t *out_count)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_BBOOL on_token = CK_TRUE;
	CK_ATTRIBUTE wanted[] = { { CKA_CLASS, &class, sizeof class }, { CKA_TOKEN, &on_token, sizeof on_token } };
	CK_OBJECT_HANDLE *found;
	CK_ULONG count;
	TRY(search(s, h, session, wanted, 2, &found, &count));
	char **labels = scope_alloc(s, (count + 1) * sizeof *labels);
	for (CK_ULONG i = 0; i < count; i++) {
		span label = { 0 };
		if (hsm_attribute(s, h, session, found[i], CKA_LABEL, &label) != CKR_OK)
			label = (span){ 0 };
		labels[i] = printable(s, label);
	}
	*out = labels;
	*out_count = count;
	return OK;
}

st hsm_private_labels(struct scope *s, struct hsm_token *t, char ***out, size_t *out_count)
{
	struct hsm_session session;
	TRY(hsm_session_take(s, t, &session));
	st status = labels_in_session(s, t->module, session.handle, out, out_count);
	hsm_session_give(t, &session, status.code == E_UNAVAILABLE);
	return status;
}

static st halves(struct scope *s, struct hsm *h, CK_SESSION_HANDLE session, const char *label, span id, CK_OBJECT_HANDLE **out,
		 CK_ULONG *out_count)
{
	CK_ATTRIBUTE wanted[] = { { CKA_LABEL, scope_printf(s, "%s", label), strlen(label) },
				  { CKA_ID, hsm_bytes(id), id.len } };
	return search(s, h, session, wanted, 2, out, out_count);
}

st hsm_count(struct scope *s, struct hsm_token *t, const char *label, span id, size_t *out_count)
{
	struct hsm_session session;
	CK_OBJECT_HANDLE *found;
	CK_ULONG count = 0;
	TRY(hsm_session_take(s, t, &session));
	st status = halves(s, t->module, session.handle, label, id, &found, &count);
	hsm_session_give(t, &session, status.code == E_UNAVAILABLE);
	*out_count = count;
	return status;
}

static st clear_in_session(struct scope *s, struct hsm *h, CK_SESSION_HANDLE writer, const char *label, span id)
{
	CK_OBJECT_HANDLE *found;
	CK_ULONG count;
	TRY(halves(s, h, writer, label, id, &found, &count));
	for (CK_ULONG i = 0; i < count; i++) {
		CK_RV rv = h->p11->C_DestroyObject(writer, found[i]);
		if (rv != CKR_OK)
			return hsm_fail(s, rv, scope_printf(s, "destroying what is left of \"%s\" (C_DestroyObject)", label));
	}
	return hsm_sync(s, h);
}

st hsm_clear(struct scope *s, struct hsm_token *t, const char *label, span id)
{
	struct hsm_session session;
	CK_SESSION_HANDLE writer;
	TRY(hsm_session_take(s, t, &session));
	CK_RV rv = t->module->p11->C_OpenSession(t->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &writer);
	st status = rv == CKR_OK ? clear_in_session(s, t->module, writer, label, id)
				 : hsm_fail(s, rv, "opening a session to destroy a key (C_OpenSession)");
	if (rv == CKR_OK)
		(void)t->module->p11->C_CloseSession(writer);
	hsm_session_give(t, &session, false);
	return status;
}

const struct alg_key *hsm_key_type(const struct hsm_key *k)
{
	return k->type;
}

span hsm_key_spki(const struct hsm_key *k)
{
	return span_of(k->spki, k->spki_len);
}

span hsm_key_id(const struct hsm_key *k)
{
	return span_of(k->id, k->id_len);
}
