#include "alg_oid.h"
#include "pki_ext_names.h"
#include "pki_profile.h"

static const span oid_cps = OCTETS("\x2b\x06\x01\x05\x05\x07\x02\x01"); /* id-qt-cps */

static st put_policy(struct scope *s, struct der_wr *out, const char *oid, const char *cps_url)
{
	span content;
	TRY(der_oid_parse(s, span_str(oid), &content));
	der_begin(out, DER_SEQUENCE);
	der_put_oid(out, content);
	if (cps_url != NULL) {
		TRY(pki_ext_check_url(s, span_str(cps_url), "certificatePolicies"));
		der_begin(out, DER_SEQUENCE);
		der_begin(out, DER_SEQUENCE);
		der_put_oid(out, oid_cps);
		der_put(out, DER_IA5_STRING, span_str(cps_url));
		der_end(out);
		der_end(out);
	}
	der_end(out);
	return OK;
}

/* The practice statement's address stands with the first policy. */
static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	const char *const *policies = context->profile->policies;
	*out_present = policies != NULL;
	if (!*out_present)
		return OK;
	der_begin(out, DER_SEQUENCE);
	for (size_t i = 0; policies[i] != NULL; i++)
		TRY(put_policy(s, out, policies[i], i == 0 ? context->cps_url : NULL));
	der_end(out);
	return OK;
}

struct policy {
	char *oid;
	span cps; /* empty: none */
};

/* One PolicyInformation; of qualifiers only one cPSuri, as we write it. */
static st read_policy(struct scope *s, struct der_rd *list, struct policy *out)
{
	struct der_rd one = der_enter(list, DER_SEQUENCE);
	span content = der_get(&one, DER_OID);
	*out = (struct policy){ 0 };
	if (der_next(&one) == DER_SEQUENCE) {
		struct der_rd qualifiers = der_enter(&one, DER_SEQUENCE);
		struct der_rd qualifier = der_enter(&qualifiers, DER_SEQUENCE);
		if (!span_equal(der_get(&qualifier, DER_OID), oid_cps))
			qualifier.bad = true;
		out->cps = der_get(&qualifier, DER_IA5_STRING);
		der_leave(&qualifiers, &qualifier);
		der_leave(&one, &qualifiers);
	}
	der_leave(list, &one);
	if (list->bad)
		return fail(s, E_INPUT, "certificatePolicies is not well formed or has another qualifier than one cPSuri");
	return der_oid_text(s, content, &out->oid);
}

static st each_policy(struct scope *s, span value, st (*each)(struct scope *s, const struct policy *p, void *arg), void *arg)
{
	struct der_rd d = der_read(value);
	struct der_rd list = der_enter(&d, DER_SEQUENCE);
	if (!list.bad && list.rest.len == 0)
		list.bad = true; /* SIZE (1..MAX) */
	while (!der_at_end(&list)) {
		struct policy policy;
		TRY(read_policy(s, &list, &policy));
		TRY(each(s, &policy, arg));
	}
	der_leave(&d, &list);
	return der_done(s, &d, "certificatePolicies");
}

struct progress {
	const struct pki_ext_context *context;
	size_t at;
};

static st compare(struct scope *s, const struct policy *p, void *arg)
{
	struct progress *progress = arg;
	const struct pki_ext_context *c = progress->context;
	const char *wanted = c->profile->policies[progress->at];
	//= en319411-1#GEN-6.6.1-05 exactly the policies of the profile, in its order
	if (wanted == NULL || strcmp(wanted, p->oid) != 0)
		return fail(s, E_CRYPTO, "policy %s is not in its place in profile %s (EN 319 411-1 GEN-6.6.1-05)", p->oid,
			    c->profile->name);
	bool first = progress->at++ == 0;
	if (p->cps.len > 0)
		TRY(pki_ext_check_url(s, p->cps, "certificatePolicies"));
	span url = first ? span_str(c->cps_url) : (span){ 0 };
	if (!span_equal(p->cps, url) && !(c->any && c->cps_url == NULL && first))
		return fail(s, E_CRYPTO,
			    "the cPSuri in certificatePolicies is not the configured address of the practice statement");
	return OK;
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	if (context->profile->policies == NULL)
		return fail(s, E_CRYPTO, "profile %s has no certificatePolicies", context->profile->name);
	struct progress progress = { .context = context };
	TRY(each_policy(s, value, compare, &progress));
	const char *missing = context->profile->policies[progress.at];
	if (missing != NULL)
		return fail(s, E_CRYPTO, "policy %s of profile %s is missing (EN 319 411-1 GEN-6.6.1-05)", missing,
			    context->profile->name);
	return OK;
}

static st append(struct scope *s, const struct policy *p, void *arg)
{
	char **text = arg;
	*text = scope_printf(s, "%s%s%s", *text, (*text)[0] == 0 ? "" : ", ", p->oid);
	if (p->cps.len > 0)
		*text = scope_printf(s, "%s (%s)", *text, scope_cstr(s, p->cps));
	return OK;
}

static st print(struct scope *s, span value, char **out)
{
	char *text = scope_printf(s, "%s", "");
	TRY(each_policy(s, value, append, &text));
	*out = text;
	return OK;
}

//= en319412-2#4.3.3 present and not critical
const struct pki_ext_ops pki_ext_certificate_policies = {
	.name = "certificatePolicies",
	.oid = OCTETS("\x55\x1d\x20"),
	.critical = false,
	.build = build,
	.check = check,
	.print = print,
};
