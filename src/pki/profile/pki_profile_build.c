#include "pki_extension.h"
#include "pki_profile_internal.h"

#define TBS_USUAL 2048 /* octets for which room is made at once */

int64_t pki_profile_whole_seconds(int64_t moment)
{
	return moment - ((moment % MOMENT_SECOND) + MOMENT_SECOND) % MOMENT_SECOND;
}

/* `value` is room for the content. */
static st put_extension(struct scope *s, const struct pki_ext_context *context, const struct pki_ext_ops *ops,
			enum pki_presence presence, struct buf *value, struct der_wr *out)
{
	buf_clear(value);
	struct der_wr w = der_write(value);
	bool present = false;
	TRY(ops->build(s, context, &w, &present));
	TRY(der_finish(s, &w));
	if (!present && presence == PKI_REQUIRED)
		return fail(s, E_CONFIG, "profile %s needs %s, and nothing was given for it; set its address, name or role",
			    context->profile->name, ops->name);
	if (present)
		pki_extension_put(out, ops->oid, pki_ext_critical(ops, context->profile), buf_span(value));
	return OK;
}

static st put_extensions(struct scope *s, const struct pki_issue *issue, struct der_wr *out)
{
	struct pki_ext_context context = issue->ext;
	AUTO_BUF value = { 0 };
	context.profile = issue->profile;
	context.not_before = pki_profile_whole_seconds(context.not_before);
	context.not_after = pki_profile_whole_seconds(context.not_after);
	der_begin(out, DER_CONTEXT_CONSTRUCTED(3));
	der_begin(out, DER_SEQUENCE);
	for (size_t i = 0; i < PKI_PROFILE_EXTENSIONS_MAX && issue->profile->extension[i].ops != NULL; i++)
		TRY(put_extension(s, &context, issue->profile->extension[i].ops, issue->profile->extension[i].presence, &value,
				  out));
	der_end(out);
	der_end(out);
	return OK;
}

//= rfc5280#4.1 TBSCertificate, version 3
st pki_profile_build_tbs(struct scope *s, const struct pki_issue *issue, span *out_tbs)
{
	AUTO_BUF b;
	buf_init(&b, PKI_CERTIFICATE_MAX);
	(void)buf_reserve(&b, TBS_USUAL);
	struct der_wr w = der_write(&b);
	der_begin(&w, DER_SEQUENCE);
	der_begin(&w, DER_CONTEXT_CONSTRUCTED(0));
	der_put_small(&w, DER_INTEGER, 2);
	der_end(&w);
	der_put_unsigned(&w, issue->serial);
	der_put_raw(&w, issue->algorithm->identifier);
	der_put_raw(&w, issue->issuer);
	der_begin(&w, DER_SEQUENCE);
	der_put_time(&w, issue->ext.not_before);
	der_put_time(&w, issue->ext.not_after);
	der_end(&w);
	der_put_raw(&w, issue->subject);
	der_put_raw(&w, issue->ext.subject_spki);
	TRY(put_extensions(s, issue, &w));
	der_end(&w);
	TRY(der_finish(s, &w));
	*out_tbs = scope_copy(s, buf_span(&b));
	return OK;
}
