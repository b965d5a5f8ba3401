#include "keyd_content.h"

static st read_extension(struct scope *s, struct der_rd *list, const char *what, struct keyd_extension *out)
{
	struct der_rd d = der_enter(list, DER_SEQUENCE);
	out->oid = der_get(&d, DER_OID);
	out->critical = false;
	if (der_next(&d) == DER_BOOLEAN) {
		out->critical = der_get_boolean(&d);
		//= rfc5280#4.1 critical is DEFAULT FALSE: DER leaves FALSE out
		d.bad = d.bad || !out->critical;
	}
	out->value = der_get(&d, DER_OCTET_STRING);
	der_leave(list, &d);
	if (list->bad || out->oid.len == 0)
		return fail(s, E_INPUT, "an extension of %s is malformed (RFC 5280 4.1)", what);
	return OK;
}

const struct keyd_extension *keyd_extension_of(const struct keyd_extension *list, size_t count, span oid)
{
	for (size_t i = 0; i < count; i++)
		if (span_equal(list[i].oid, oid))
			return &list[i];
	return NULL;
}

st keyd_read_extensions(struct scope *s, struct der_rd *list, const char *what, struct keyd_extension out[KEYD_EXTENSIONS_MAX],
			size_t *out_count)
{
	size_t count = 0;
	while (!der_at_end(list)) {
		struct keyd_extension one;
		TRY(read_extension(s, list, what, &one));
		//= rfc5280#4.2 a certificate must not have more than one instance of an extension
		if (keyd_extension_of(out, count, one.oid) != NULL)
			return fail(s, E_INPUT, "an extension occurs twice in %s (RFC 5280 4.2)", what);
		if (count == KEYD_EXTENSIONS_MAX)
			return fail(s, E_LIMIT, "%s has more than %d extensions", what, KEYD_EXTENSIONS_MAX);
		out[count++] = one;
	}
	if (list->bad || count == 0)
		return fail(s, E_INPUT, "the extensions of %s are malformed or none (RFC 5280 4.1.2.9)", what);
	*out_count = count;
	return OK;
}

st keyd_check_algorithm(struct scope *s, const struct keyd_rules *rules, span identifier, const char *what)
{
	//= rfc5280#4.1.2.3 the algorithm inside is the one that signs
	if (!span_equal(identifier, rules->algorithm->identifier))
		return fail(s, E_CRYPTO, "%s names another signature algorithm than %s (RFC 5280 4.1.2.3, 5.1.2.2)", what,
			    rules->algorithm->name);
	return OK;
}

st keyd_check_issuer(struct scope *s, const struct keyd_rules *rules, span issuer, const char *what)
{
	span limit = rules->key->limits.issuer;
	if (limit.len > 0 && !span_equal(limit, issuer))
		return fail(s, E_DENIED, "%s has another issuer than the one key \"%s\" is limited to", what,
			    rules->key->label);
	return OK;
}

st keyd_check_policy(struct scope *s, const struct keyd_rules *rules, span policy)
{
	const struct key_limits *limits = &rules->key->limits;
	for (size_t i = 0; i < limits->policy_count; i++)
		if (span_equal(limits->policies[i], policy))
			return OK;
	if (limits->policy_count == 0)
		return OK;
	char *text;
	TRY(der_oid_text(s, policy, &text));
	return fail(s, E_DENIED, "policy %s is not among those key \"%s\" is limited to", text, rules->key->label);
}

st keyd_check_life(struct scope *s, const struct keyd_rules *rules, int64_t from, int64_t to, const char *what)
{
	if (to < from)
		return fail(s, E_INPUT, "%s ends before it begins (RFC 5280 4.1.2.5)", what);
	uint32_t days = rules->key->limits.validity_days;
	if (days > 0 && to - from > (int64_t)days * MOMENT_DAY)
		return fail(s, E_DENIED, "%s lasts longer than the %u days key \"%s\" is limited to", what, days,
			    rules->key->label);
	return OK;
}
