#include "alg_oid.h"
#include "pki_profile.h"

static const char *const names[] = {
	"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement",
	"keyCertSign",      "cRLSign",        "encipherOnly",    "decipherOnly",
};
#define NAMES (sizeof names / sizeof names[0])

static st read_usage(struct scope *s, span value, unsigned *out)
{
	struct der_rd d = der_read(value);
	unsigned bits = der_get_named_bits(&d);
	TRY(der_done(s, &d, "keyUsage"));
	//= rfc5280#4.2.1.3 at least one bit is set
	if (bits == 0 || bits >= 1u << NAMES)
		return fail(s, E_INPUT, "keyUsage sets no bit or one that RFC 5280, 4.2.1.3 does not know");
	*out = bits;
	return OK;
}

static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	(void)s;
	*out_present = true;
	der_put_named_bits(out, context->profile->key_usage);
	return OK;
}

static char *text_of(struct scope *s, unsigned bits)
{
	char *text = scope_printf(s, "%s", "");
	for (size_t i = 0; i < NAMES; i++)
		if ((bits & (1u << i)) != 0)
			text = scope_printf(s, "%s%s%s", text, text[0] == 0 ? "" : ", ", names[i]);
	return text;
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	unsigned bits;
	TRY(read_usage(s, value, &bits));
	if (bits != context->profile->key_usage)
		return fail(s, E_CRYPTO, "keyUsage is %s; profile %s has %s (%s)", text_of(s, bits), context->profile->name,
			    text_of(s, context->profile->key_usage), context->profile->clause);
	return OK;
}

static st print(struct scope *s, span value, char **out)
{
	unsigned bits;
	TRY(read_usage(s, value, &bits));
	*out = text_of(s, bits);
	return OK;
}

//= en319412-2#4.3.2 keyUsage is present and critical
const struct pki_ext_ops pki_ext_key_usage = {
	.name = "keyUsage",
	.oid = OCTETS("\x55\x1d\x0f"),
	.critical = true,
	.build = build,
	.check = check,
	.print = print,
};
