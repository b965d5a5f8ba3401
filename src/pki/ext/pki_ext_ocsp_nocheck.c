#include "alg_oid.h"
#include "pki_ext.h"

static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	(void)s;
	(void)context;
	der_put_null(out);
	*out_present = true;
	return OK;
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	(void)context;
	if (!span_equal(value, SPAN_LITERAL("\x05\x00")))
		return fail(s, E_INPUT, "ocsp-nocheck is not NULL (RFC 6960, 4.2.2.2.1)");
	return OK;
}

static st print(struct scope *s, span value, char **out)
{
	TRY(check(s, NULL, value));
	*out = scope_printf(s, "%s", "status of this certificate is not asked for");
	return OK;
}

//= rfc6960#4.2.2.2.1 a NULL, not critical
const struct pki_ext_ops pki_ext_ocsp_nocheck = {
	.name = "ocsp-nocheck",
	.oid = OCTETS("\x2b\x06\x01\x05\x05\x07\x30\x01\x05"),
	.critical = false,
	.build = build,
	.check = check,
	.print = print,
};
