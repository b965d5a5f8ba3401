/* Texts that people sign: proposals, operations with their approvals, founding documents. What is read has one spelling: written
 * again it is the same. Nobody here has a founder's key, so no founding document is taken. */
#include "control_register.h"
#include "fuzz.h"

static void try_proposal(struct scope *s, span text)
{
	struct control_proposal p;
	AUTO_BUF again;
	buf_init(&again, 0);
	if (control_proposal_read(s, text, &p).code != E_OK)
		return;
	if (control_proposal_write(s, &p, &again).code != E_OK || !span_equal(buf_span(&again), text))
		check(false);
	if (*control_proposal_words(s, &p) == 0)
		check(false);
}

static void try_signed(struct scope *s, span file)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	AUTO_BUF again;
	buf_init(&again, 0);
	if (control_signed_read(s, file, o).code != E_OK)
		return;
	if (control_signed_write(s, o, &again).code != E_OK)
		check(false);
	/* A proposal alone may come without its blank line. */
	if (o->count + o->crl.len > 0 && !span_equal(buf_span(&again), file))
		check(false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_founding *f = scope_new(&s, struct control_founding);
	try_proposal(&s, span_of(data, size));
	scope_clear_error(&s);
	try_signed(&s, span_of(data, size));
	scope_clear_error(&s);
	(void)control_founding_read(&s, span_of(data, size), f).code;
	return 0;
}
