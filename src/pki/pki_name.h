/*
 * pki_name.h - distinguished names: between the text an operator writes and DER.
 */
#pragma once
#include "der.h"

/* "C=BE, O=Example NV, organizationIdentifier=NTRBE-0123456789, CN=Example Root": attributes in the order they are to be encoded
 * (most significant first), short names or dotted OIDs, "\," for a comma in a value, '+' is not offered. Each attribute gets the
 * string type of its definition (C, serialNumber: PrintableString; emailAddress, DC: IA5String; else UTF8String). */
st pki_name_parse(struct scope *s, span text, span *out_der);
st pki_name_text(struct scope *s, span der, char **out);
/* Value of the first attribute with this short name; empty when absent. */
st pki_name_get(struct scope *s, span der, const char *attribute, span *out_value);
/* Calls for each attribute in turn; refuses multi-valued RDNs and values that do not fit their type. */
st pki_name_each(struct scope *s, span der, st (*each)(struct scope *s, span oid, int tag, span value, void *arg), void *arg);
/* Short name of an attribute OID, or NULL. */
const char *pki_name_attribute(span oid);
/* One RDN, for names that are put together from checked attributes; known attributes get the string type of their definition. */
void pki_name_put(struct der_wr *w, span oid, int tag, span value);
