#include "alg_oid.h"
#include "pki_ext_names.h"

static const span oid_ocsp = OCTETS("\x2b\x06\x01\x05\x05\x07\x30\x01");       /* id-ad-ocsp */
static const span oid_ca_issuers = OCTETS("\x2b\x06\x01\x05\x05\x07\x30\x02"); /* id-ad-caIssuers */

static st put_access(struct scope *s, struct der_wr *out, span method, const char *url)
{
	if (url == NULL)
		return OK;
	TRY(pki_ext_check_url(s, span_str(url), "authorityInfoAccess"));
	der_begin(out, DER_SEQUENCE);
	der_put_oid(out, method);
	der_put(out, NAME_URI, span_str(url));
	der_end(out);
	return OK;
}

static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	*out_present = context->ocsp_url != NULL || context->issuer_url != NULL;
	if (!*out_present)
		return OK;
	der_begin(out, DER_SEQUENCE);
	TRY(put_access(s, out, oid_ocsp, context->ocsp_url));
	TRY(put_access(s, out, oid_ca_issuers, context->issuer_url));
	der_end(out);
	return OK;
}

struct access {
	span ocsp, issuer; /* empty: none */
};

/* At most one of each method, nothing else. */
static st read_access(struct scope *s, span value, struct access *out)
{
	struct access a = { 0 };
	struct der_rd d = der_read(value);
	struct der_rd list = der_enter(&d, DER_SEQUENCE);
	if (!list.bad && list.rest.len == 0)
		list.bad = true; /* SIZE (1..MAX) */
	while (!der_at_end(&list)) {
		struct der_rd one = der_enter(&list, DER_SEQUENCE);
		span method = der_get(&one, DER_OID), url = der_get(&one, NAME_URI);
		der_leave(&list, &one);
		span *place = span_equal(method, oid_ocsp) ? &a.ocsp : span_equal(method, oid_ca_issuers) ? &a.issuer : NULL;
		if (list.bad || place == NULL || place->len > 0)
			return fail(s, E_INPUT,
				    "authorityInfoAccess is not one ocsp and one caIssuers URI (EN 319 412-2, 4.4.1)");
		TRY(pki_ext_check_url(s, url, "authorityInfoAccess"));
		*place = url;
	}
	der_leave(&d, &list);
	TRY(der_done(s, &d, "authorityInfoAccess"));
	*out = a;
	return OK;
}

static bool differs(const struct pki_ext_context *context, span found, const char *wanted)
{
	return !(context->any && wanted == NULL) && !span_equal(found, span_str(wanted));
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	struct access a;
	TRY(read_access(s, value, &a));
	if (differs(context, a.ocsp, context->ocsp_url) || differs(context, a.issuer, context->issuer_url))
		return fail(s, E_CRYPTO, "authorityInfoAccess does not hold the configured addresses (EN 319 412-2, 4.4.1)");
	return OK;
}

static st print(struct scope *s, span value, char **out)
{
	struct access a;
	TRY(read_access(s, value, &a));
	char *text = scope_printf(s, "%s", "");
	if (a.ocsp.len > 0)
		text = scope_printf(s, "ocsp %s%s", scope_cstr(s, a.ocsp), a.issuer.len > 0 ? ", " : "");
	if (a.issuer.len > 0)
		text = scope_printf(s, "%scaIssuers %s", text, scope_cstr(s, a.issuer));
	*out = text;
	return OK;
}

//= en319412-2#4.4.1 not critical, caIssuers and ocsp over http
const struct pki_ext_ops pki_ext_authority_info_access = {
	.name = "authorityInfoAccess",
	.oid = OCTETS("\x2b\x06\x01\x05\x05\x07\x01\x01"),
	.critical = false,
	.build = build,
	.check = check,
	.print = print,
};
