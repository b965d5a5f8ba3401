#include "control_execution.h"
#include "control_internal.h"
#include "pki_key.h"

st control_execution_text(struct scope *s, const struct control_execution *e, struct buf *out)
{
	struct control_wr w = control_write(out, "execution");
	control_put(&w, "instance", e->instance);
	control_put_number(&w, "sequence", e->sequence);
	control_put_hex(&w, "proposal", SPAN_ARRAY(e->proposal));
	return control_written(s, &w);
}

static st verify(struct scope *s, span spki, span text, span signature)
{
	struct pki_key *key = NULL;
	if (signature.len == 0)
		return fail(s, E_CRYPTO, "there is no signature");
	TRY(pki_key_new(s, spki, &key));
	st verified = control_verify(s, key, text, signature);
	pki_key_free(key);
	return verified;
}

st control_execution_check(struct scope *s, const struct control_register *r, const struct control_execution *e)
{
	AUTO_BUF text;
	buf_init(&text, 0);
	const struct control_instance *i = control_instance_named(r, e->instance);
	if (i == NULL || i->retired)
		return fail(s, E_DENIED, "the instance %.*s is not on the register, or retired", (int)e->instance.len,
			    (const char *)e->instance.data);
	TRY(control_execution_text(s, e, &text));
	return fail_context(s, verify(s, i->spki, buf_span(&text), e->signature),
			    "%s did not sign that this is its operation %llu", i->name, (unsigned long long)e->sequence);
}
