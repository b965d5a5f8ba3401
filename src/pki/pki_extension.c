#include "pki_extension.h"

bool pki_extension_next(struct der_rd *list, struct pki_extension *out)
{
	struct der_rd extension = der_enter(list, DER_SEQUENCE);
	*out = (struct pki_extension){ .oid = der_get(&extension, DER_OID) };
	if (der_next(&extension) == DER_BOOLEAN) {
		out->critical = der_get_boolean(&extension);
		/* FALSE is the default and does not occur in DER */
		if (!out->critical)
			extension.bad = true;
	}
	out->value = der_get(&extension, DER_OCTET_STRING);
	if (out->oid.len == 0)
		extension.bad = true;
	der_leave(list, &extension);
	return !list->bad;
}

void pki_extension_put(struct der_wr *d, span oid, bool critical, span value)
{
	der_begin(d, DER_SEQUENCE);
	der_put_oid(d, oid);
	if (critical)
		der_put_boolean(d, true);
	der_put(d, DER_OCTET_STRING, value);
	der_end(d);
}
