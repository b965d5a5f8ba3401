/*
 * Distinguished names: any bytes as the text of an operator and as DER. A name that was taken from text is written as text that gives
 * the same name; what is walked is what is found by its attribute.
 */
#include "fuzz.h"
#include "pki_name.h"

static st walk(struct scope *s, span oid, int tag, span value, void *arg)
{
	span whole = *(span *)arg;
	(void)s, (void)tag;
	check(lies_inside(oid, whole) && lies_inside(value, whole) && value.len > 0);
	return OK;
}

static st find(struct scope *s, span oid, int tag, span value, void *arg)
{
	const char *attribute = pki_name_attribute(oid);
	span whole = *(span *)arg, first;
	(void)tag, (void)value;
	if (attribute != NULL)
		check(pki_name_get(s, whole, attribute, &first).code == E_OK && first.len > 0);
	return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span bytes = span_of(data, size), der, again;
	char *text;
	if (pki_name_each(&s, bytes, walk, &bytes).code == E_OK)
		check(pki_name_each(&s, bytes, find, &bytes).code == E_OK);
	scope_clear_error(&s);
	if (pki_name_parse(&s, bytes, &der).code != E_OK) {
		check(s.message[0] != 0);
		return 0;
	}
	check(pki_name_each(&s, der, walk, &der).code == E_OK);
	check(pki_name_text(&s, der, &text).code == E_OK);
	check(pki_name_parse(&s, span_str(text), &again).code == E_OK && span_equal(der, again));
	return 0;
}
