/* PKCS#10 requests as DER or PEM; and what becomes of a subject that anybody may put into one. */
#include "fuzz.h"
#include "pki_name.h"
#include "pki_profile.h"
#include "pki_request.h"

/* A name that reads as text is read back from it as the same text; no profile lets a name through that it then refuses. */
static void try_name(struct scope *s, span name)
{
	char *text, *again;
	span der;
	if (pki_name_text(s, name, &text).code == E_OK && text[0] != 0) {
		bool round_trip =
			pki_name_parse(s, span_str(text), &der).code == E_OK && pki_name_text(s, der, &again).code == E_OK;
		if (round_trip && strcmp(text, again) != 0)
			__builtin_trap();
	}
	for (size_t i = 0; pki_profile_at(i) != NULL; i++) {
		scope_clear_error(s);
		span subject, same;
		if (pki_profile_subject(s, pki_profile_at(i), name, &subject).code != E_OK)
			continue;
		if (pki_profile_subject(s, pki_profile_at(i), subject, &same).code != E_OK || !span_equal(subject, same))
			__builtin_trap();
	}
	scope_clear_error(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_request r;
	span bytes = span_of(data, size);
	if (pki_request_read(&s, bytes, &r).code == E_OK) {
		if (r.key == NULL || !lies_inside(r.subject, r.der) || !lies_inside(r.spki, r.der) ||
		    !lies_inside(r.extensions, r.der))
			__builtin_trap();
		try_name(&s, r.subject);
	}
	scope_clear_error(&s);
	try_name(&s, bytes);
	return 0;
}
