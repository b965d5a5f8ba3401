#include "alg_oid.h"
#include "pki_profile.h"

/* The key stops before its certificate does, so that its tokens can be verified and a successor be ready: after the profile's
 * period, or at half the certificate's life when that is shorter. */
//= en319421#TIS-7.6.7-01 the private key's life is shorter than the certificate's
static int64_t key_end(const struct pki_ext_context *c)
{
	int64_t half = (c->not_after - c->not_before) / 2;
	int64_t life = c->profile->private_key_usage < half ? c->profile->private_key_usage : half;
	return c->not_before + life - life % MOMENT_SECOND;
}

static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	(void)s;
	*out_present = context->profile->private_key_usage > 0;
	if (!*out_present)
		return OK;
	AUTO_BUF time = { 0 };
	struct der_wr w = der_write(&time);
	der_put_generalized(&w, context->not_before);
	der_put_generalized(&w, key_end(context));
	TRY(der_finish(s, &w));
	struct der_rd r = der_read(buf_span(&time));
	der_begin(out, DER_SEQUENCE);
	der_put(out, DER_CONTEXT(0), der_get(&r, DER_GENERALIZED_TIME)); /* IMPLICIT tags over the same content */
	der_put(out, DER_CONTEXT(1), der_get(&r, DER_GENERALIZED_TIME));
	der_end(out);
	return OK;
}

struct period {
	int64_t not_before, not_after;
};

static st implicit_time(struct scope *s, span content, int64_t *out)
{
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_put(&w, DER_GENERALIZED_TIME, content);
	TRY(der_finish(s, &w));
	struct der_rd r = der_read(buf_span(&b));
	int64_t moment = der_get_generalized(&r, false);
	TRY(der_done(s, &r, "a time in privateKeyUsagePeriod"));
	*out = moment;
	return OK;
}

static st read_period(struct scope *s, span value, struct period *out)
{
	struct der_rd d = der_read(value);
	struct der_rd inner = der_enter(&d, DER_SEQUENCE);
	span not_before = der_get(&inner, DER_CONTEXT(0)), not_after = der_get(&inner, DER_CONTEXT(1));
	der_leave(&d, &inner);
	TRY(der_done(s, &d, "privateKeyUsagePeriod with both ends"));
	TRY(implicit_time(s, not_before, &out->not_before));
	return implicit_time(s, not_after, &out->not_after);
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	struct period p;
	TRY(read_period(s, value, &p));
	if (p.not_before != context->not_before || p.not_after >= context->not_after || p.not_after <= p.not_before)
		return fail(s, E_CRYPTO,
			    "the private key's period does not lie within the certificate's and end before it "
			    "(EN 319 421 TIS-7.6.7)");
	if (p.not_after != key_end(context))
		return fail(s, E_CRYPTO, "the private key's period is not that of profile %s", context->profile->name);
	return OK;
}

static st print(struct scope *s, span value, char **out)
{
	struct period p;
	TRY(read_period(s, value, &p));
	char from[MOMENT_TEXT_MAX], to[MOMENT_TEXT_MAX];
	*out = scope_printf(s, "%s to %s", moment_text(p.not_before, from), moment_text(p.not_after, to));
	return OK;
}

const struct pki_ext_ops pki_ext_private_key_usage_period = {
	.name = "privateKeyUsagePeriod",
	.oid = OCTETS("\x55\x1d\x10"),
	.critical = false,
	.build = build,
	.check = check,
	.print = print,
};

st pki_ext_private_key_end_get(struct scope *s, const struct pki_certificate *c, int64_t *out_end)
{
	const struct pki_extension *e = pki_certificate_extension(c, pki_ext_private_key_usage_period.oid);
	struct period p = { .not_after = INT64_MAX };
	if (e != NULL)
		TRY(read_period(s, e->value, &p));
	*out_end = p.not_after;
	return OK;
}
