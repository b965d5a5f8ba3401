#include "alg_oid.h"
#include "pki_ext_names.h"

static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	*out_present = context->crl_url != NULL;
	if (!*out_present)
		return OK;
	TRY(pki_ext_check_url(s, span_str(context->crl_url), "cRLDistributionPoints"));
	der_begin(out, DER_SEQUENCE);
	der_begin(out, DER_SEQUENCE);
	der_begin(out, DER_CONTEXT_CONSTRUCTED(0)); /* distributionPoint */
	der_begin(out, DER_CONTEXT_CONSTRUCTED(0)); /* fullName */
	der_put(out, NAME_URI, span_str(context->crl_url));
	for (int i = 0; i < 4; i++)
		der_end(out);
	return OK;
}

/* One point, fullName with one URI; no reasons, no indirect issuer. */
static st read_point(struct scope *s, span value, span *out)
{
	struct der_rd d = der_read(value);
	struct der_rd points = der_enter(&d, DER_SEQUENCE);
	struct der_rd point = der_enter(&points, DER_SEQUENCE);
	struct der_rd name = der_enter(&point, DER_CONTEXT_CONSTRUCTED(0));
	struct der_rd full = der_enter(&name, DER_CONTEXT_CONSTRUCTED(0));
	span url = der_get(&full, NAME_URI);
	der_leave(&name, &full);
	der_leave(&point, &name);
	der_leave(&points, &point);
	der_leave(&d, &points);
	TRY(der_done(s, &d, "cRLDistributionPoints with one URI"));
	TRY(pki_ext_check_url(s, url, "cRLDistributionPoints"));
	*out = url;
	return OK;
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	span url;
	TRY(read_point(s, value, &url));
	if (!(context->any && context->crl_url == NULL) && !span_equal(url, span_str(context->crl_url)))
		return fail(s, E_CRYPTO, "cRLDistributionPoints is not the configured address (EN 319 412-2 GEN-4.3.11-1)");
	return OK;
}

static st print(struct scope *s, span value, char **out)
{
	span url;
	TRY(read_point(s, value, &url));
	*out = scope_cstr(s, url);
	return OK;
}

//= en319412-2#4.3.11 not critical, at least one public http URI
const struct pki_ext_ops pki_ext_crl_distribution_points = {
	.name = "cRLDistributionPoints",
	.oid = OCTETS("\x55\x1d\x1f"),
	.critical = false,
	.build = build,
	.check = check,
	.print = print,
};
