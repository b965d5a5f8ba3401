/* Our own extension of internal certificates: the trusted role of an operator, or the component that a daemon is. */
#include "alg_oid.h"
#include "pki_ext.h"

#define ROLE_MAX 64

/* Lower-case letters, digits and hyphens, a letter first: what configurations and records call the role. */
static st check_role(struct scope *s, span role)
{
	bool good = role.len > 0 && role.len <= ROLE_MAX && role.data[0] >= 'a' && role.data[0] <= 'z';
	for (size_t i = 0; good && i < role.len; i++) {
		uint8_t c = role.data[i];
		good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
	}
	if (!good)
		return fail(s, E_INPUT, "a role is 1 to %d lower-case letters, digits and hyphens, a letter first", ROLE_MAX);
	return OK;
}

static st read_role(struct scope *s, span value, span *out)
{
	struct der_rd d = der_read(value);
	span role = der_get(&d, DER_UTF8_STRING);
	TRY(der_done(s, &d, "the role extension"));
	TRY(check_role(s, role));
	*out = role;
	return OK;
}

static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	*out_present = context->role != NULL;
	if (!*out_present)
		return OK;
	TRY(check_role(s, span_str(context->role)));
	der_put(out, DER_UTF8_STRING, span_str(context->role));
	return OK;
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	span role;
	TRY(read_role(s, value, &role));
	if (!(context->any && context->role == NULL) && !span_equal(role, span_str(context->role)))
		return fail(s, E_CRYPTO, "the certificate carries role '%s', which is not the one asked for",
			    scope_cstr(s, role));
	return OK;
}

static st print(struct scope *s, span value, char **out)
{
	span role;
	TRY(read_role(s, value, &role));
	*out = scope_cstr(s, role);
	return OK;
}

/* 1.3.6.1.4.1.47718.2.0.9.2, see docs/decisions/0006-internal-object-identifiers.md */
const struct pki_ext_ops pki_ext_role = {
	.name = "role",
	.oid = OCTETS("\x2b\x06\x01\x04\x01\x82\xf4\x66\x02\x00\x09\x02"),
	.critical = false,
	.build = build,
	.check = check,
	.print = print,
};

st pki_ext_role_get(struct scope *s, const struct pki_certificate *c, char **out_role)
{
	const struct pki_extension *e = pki_certificate_extension(c, pki_ext_role.oid);
	span role = { 0 };
	if (e != NULL)
		TRY(read_role(s, e->value, &role));
	*out_role = e == NULL ? NULL : scope_cstr(s, role);
	return OK;
}
