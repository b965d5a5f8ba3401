#include "alg_oid.h"
#include "pki_profile.h"

struct constraints {
	bool ca;
	int64_t path_length; /* -1: none */
};

static st read_constraints(struct scope *s, span value, struct constraints *out)
{
	struct constraints c = { .path_length = -1 };
	struct der_rd d = der_read(value);
	struct der_rd inner = der_enter(&d, DER_SEQUENCE);
	if (der_next(&inner) == DER_BOOLEAN) {
		c.ca = der_get_boolean(&inner);
		if (!c.ca)
			inner.bad = true; /* FALSE is the default and is not encoded (x690#11.5) */
	}
	if (der_next(&inner) == DER_INTEGER)
		c.path_length = der_get_small(&inner, DER_INTEGER);
	der_leave(&d, &inner);
	TRY(der_done(s, &d, "basicConstraints"));
	*out = c;
	return OK;
}

static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	(void)s;
	*out_present = context->profile->ca;
	if (!*out_present)
		return OK;
	der_begin(out, DER_SEQUENCE);
	der_put_boolean(out, true);
	if (context->profile->path_length >= 0)
		der_put_small(out, DER_INTEGER, context->profile->path_length);
	der_end(out);
	return OK;
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	struct constraints c;
	TRY(read_constraints(s, value, &c));
	if (c.ca != context->profile->ca || c.path_length != context->profile->path_length)
		return fail(s, E_CRYPTO,
			    "basicConstraints are not those of profile %s: CA %s, path length %d (RFC 5280, 4.2.1.9)",
			    context->profile->name, context->profile->ca ? "true" : "false", context->profile->path_length);
	return OK;
}

static st print(struct scope *s, span value, char **out)
{
	struct constraints c;
	TRY(read_constraints(s, value, &c));
	*out = c.path_length < 0
		       ? scope_printf(s, "CA: %s", c.ca ? "true" : "false")
		       : scope_printf(s, "CA: %s, path length %lld", c.ca ? "true" : "false", (long long)c.path_length);
	return OK;
}

//= rfc5280#4.2.1.9 critical in CA certificates
const struct pki_ext_ops pki_ext_basic_constraints = {
	.name = "basicConstraints",
	.oid = OCTETS("\x55\x1d\x13"),
	.critical = true,
	.build = build,
	.check = check,
	.print = print,
};

st pki_ext_ca_get(struct scope *s, const struct pki_certificate *c, bool *out_ca)
{
	const struct pki_extension *e = pki_certificate_extension(c, pki_ext_basic_constraints.oid);
	struct constraints constraints = { 0 };
	if (e != NULL)
		TRY(read_constraints(s, e->value, &constraints));
	*out_ca = constraints.ca;
	return OK;
}
