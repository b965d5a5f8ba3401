/* subjectKeyIdentifier and authorityKeyIdentifier: the same twenty octets in two wrappings. */
#include "alg_oid.h"
#include "pki_ext.h"
#include "pki_key.h"

#define IDENTIFIER_MAX 64

static st read_subject(struct scope *s, span value, span *out)
{
	struct der_rd d = der_read(value);
	span identifier = der_get(&d, DER_OCTET_STRING);
	TRY(der_done(s, &d, "subjectKeyIdentifier"));
	if (identifier.len == 0 || identifier.len > IDENTIFIER_MAX)
		return fail(s, E_INPUT, "subjectKeyIdentifier is empty or longer than %d octets", IDENTIFIER_MAX);
	*out = identifier;
	return OK;
}

/* Only [0]: issuer name and serial (rfc5280#4.2.1.1 allows them) are never ours. */
static st read_authority(struct scope *s, span value, span *out)
{
	struct der_rd d = der_read(value);
	struct der_rd inner = der_enter(&d, DER_SEQUENCE);
	span identifier = der_get(&inner, DER_CONTEXT(0));
	der_leave(&d, &inner);
	TRY(der_done(s, &d, "authorityKeyIdentifier of a key identifier only"));
	if (identifier.len == 0 || identifier.len > IDENTIFIER_MAX)
		return fail(s, E_INPUT, "authorityKeyIdentifier is empty or longer than %d octets", IDENTIFIER_MAX);
	*out = identifier;
	return OK;
}

static st identifier_of(struct scope *s, span spki, span *out)
{
	uint8_t *identifier = scope_alloc(s, 20);
	TRY(pki_key_identifier(s, spki, identifier));
	*out = span_of(identifier, 20);
	return OK;
}

//= rfc5280#4.2.1.1 the value of the issuer's subjectKeyIdentifier, whatever method made it
static st issuer_identifier(struct scope *s, const struct pki_ext_context *context, span *out)
{
	if (context->issuer_key_identifier.len > 0) {
		*out = context->issuer_key_identifier;
		return OK;
	}
	return identifier_of(s, context->issuer_spki, out);
}

static st build_subject(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	span identifier;
	TRY(identifier_of(s, context->subject_spki, &identifier));
	der_put(out, DER_OCTET_STRING, identifier);
	*out_present = true;
	return OK;
}

static st build_authority(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	span identifier;
	TRY(issuer_identifier(s, context, &identifier));
	der_begin(out, DER_SEQUENCE);
	der_put(out, DER_CONTEXT(0), identifier);
	der_end(out);
	*out_present = true;
	return OK;
}

static st check_subject(struct scope *s, const struct pki_ext_context *context, span value)
{
	span found, wanted;
	TRY(read_subject(s, value, &found));
	TRY(identifier_of(s, context->subject_spki, &wanted));
	if (!span_equal(found, wanted))
		return fail(s, E_CRYPTO, "subjectKeyIdentifier is not the SHA-1 of the subject's key (RFC 5280, 4.2.1.2)");
	return OK;
}

static st check_authority(struct scope *s, const struct pki_ext_context *context, span value)
{
	span found, wanted;
	TRY(read_authority(s, value, &found));
	if (context->any && context->issuer_spki.len == 0 && context->issuer_key_identifier.len == 0)
		return OK;
	TRY(issuer_identifier(s, context, &wanted));
	if (!span_equal(found, wanted))
		return fail(s, E_CRYPTO, "authorityKeyIdentifier is not the issuer's subjectKeyIdentifier (RFC 5280, 4.2.1.1)");
	return OK;
}

static st print_subject(struct scope *s, span value, char **out)
{
	span identifier;
	TRY(read_subject(s, value, &identifier));
	*out = hex_text(s, identifier);
	return OK;
}

static st print_authority(struct scope *s, span value, char **out)
{
	span identifier;
	TRY(read_authority(s, value, &identifier));
	*out = hex_text(s, identifier);
	return OK;
}

//= rfc5280#4.2.1.2 never critical
const struct pki_ext_ops pki_ext_subject_key_identifier = {
	.name = "subjectKeyIdentifier",
	.oid = OCTETS("\x55\x1d\x0e"),
	.critical = false,
	.build = build_subject,
	.check = check_subject,
	.print = print_subject,
};

//= rfc5280#4.2.1.1 never critical
const struct pki_ext_ops pki_ext_authority_key_identifier = {
	.name = "authorityKeyIdentifier",
	.oid = OCTETS("\x55\x1d\x23"),
	.critical = false,
	.build = build_authority,
	.check = check_authority,
	.print = print_authority,
};

st pki_ext_key_identifier_get(struct scope *s, const struct pki_certificate *c, span *out_identifier)
{
	const struct pki_extension *e = pki_certificate_extension(c, pki_ext_subject_key_identifier.oid);
	span identifier = { 0 };
	if (e != NULL)
		TRY(read_subject(s, e->value, &identifier));
	*out_identifier = identifier;
	return OK;
}
