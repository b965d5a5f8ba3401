#include "control_activation.h"
#include "control_internal.h"
#include "pki_key.h"
#include "text.h"

#define STATEMENT "activation"
#define SEALED    "share"
#define OPENED    "opened-share"

static st check_size(struct scope *s, span file, size_t max, const char *what)
{
	return file.len <= max ? OK : fail(s, E_LIMIT, "%s has at most %zu octets; this has %zu", what, max, file.len);
}

static unsigned get_counted(struct control_rd *r, const char *name, unsigned least)
{
	uint64_t number = control_get_number(r, name, CONTROL_SHARES_MAX);
	if (r->problem[0] == 0 && number < least)
		control_refuse(r, "(%s): %u at least", name, least);
	return (unsigned)number;
}

/* ---- the activation statement ---- */

st control_statement_text(struct scope *s, const struct control_statement *m, struct buf *out)
{
	struct control_wr w = control_write(out, STATEMENT);
	control_put(&w, "instance", m->instance);
	control_put_hex(&w, "nonce", SPAN_ARRAY(m->nonce));
	control_put_hex(&w, "proposal", SPAN_ARRAY(m->proposal));
	control_put(&w, "group", m->group);
	control_put_base64(&w, "key", m->key);
	control_put_moment(&w, "expires", m->expires);
	return control_written(s, &w);
}

st control_statement_write(struct scope *s, const struct control_statement *m, struct buf *out)
{
	TRY(control_statement_text(s, m, out));
	struct control_wr w = { .out = out, .bad = !buf_append(out, SPAN_LITERAL("\n")) };
	control_put_base64(&w, "signature", m->signature);
	return control_written(s, &w);
}

static st check_key(struct scope *s, span spki)
{
	const struct alg_key *type;
	TRY(pki_key_check(s, spki));
	TRY(alg_key_of_spki(s, spki, &type));
	if (strcmp(type->name, "ec-p256") != 0)
		return fail(s, E_CRYPTO, "shares are sealed to a key of type ec-p256, this is %s", type->name);
	return OK;
}

st control_statement_read(struct scope *s, span file, struct control_statement *out)
{
	span behind;
	struct control_statement m = { .expires = 0 };
	TRY(check_size(s, file, CONTROL_STATEMENT_MAX, "an activation statement"));
	if (!control_cut(file, &m.text, &behind))
		return fail(s, E_INPUT, "an activation statement is a text, a blank line and the signature of the instance");
	struct control_rd r = control_read(m.text, STATEMENT, "activation statement");
	m.instance = control_get_id(&r, "instance");
	control_get_hex(&r, "nonce", m.nonce, sizeof m.nonce);
	control_get_hex(&r, "proposal", m.proposal, sizeof m.proposal);
	m.group = control_get_id(&r, "group");
	m.key = control_get_base64(&r, s, "key");
	m.expires = control_get_moment(&r, "expires");
	TRY(control_end(s, &r));
	struct control_rd last = { .rest = behind, .line = r.line + 1, .what = r.what };
	m.signature = control_get_base64(&last, s, "signature");
	TRY(control_end(s, &last));
	TRY(fail_context(s, check_key(s, m.key), "activation statement"));
	*out = m;
	return OK;
}

static st instance_of(struct scope *s, const struct control_register *r, span name, const struct control_instance **out)
{
	const struct control_instance *found = control_instance_named(r, name);
	if (found == NULL)
		return fail(s, E_DENIED,
			    "the register knows no instance %.*s: shares go to instances that it names (instance.enrol)",
			    (int)name.len, (const char *)name.data);
	if (found->retired)
		return fail(s, E_DENIED, "the instance %s is retired: it carries out nothing any more", found->name);
	*out = found;
	return OK;
}

static st check_signature(struct scope *s, const struct control_instance *instance, const struct control_statement *m)
{
	struct pki_key *key = NULL;
	TRY(pki_key_new(s, instance->spki, &key));
	st verified = control_verify(s, key, m->text, m->signature);
	pki_key_free(key);
	if (verified.code == E_OK)
		return OK;
	scope_clear_error(s);
	return fail(
		s, E_CRYPTO,
		"the activation statement is not signed with the identity key that the register has for %s: give no share, and "
		"tell the security manager",
		instance->name);
}

static st check_belongs(struct scope *s, const struct control_statement *m, const struct control_proposal *p)
{
	if (!span_equal(m->instance, p->instance))
		return fail(s, E_DENIED, "the activation statement is of %.*s, the proposal is for %.*s", (int)m->instance.len,
			    (const char *)m->instance.data, (int)p->instance.len, (const char *)p->instance.data);
	if (memcmp(m->proposal, p->hash, sizeof m->proposal) != 0 || memcmp(m->nonce, p->nonce, sizeof m->nonce) != 0)
		return fail(s, E_DENIED, "the activation statement is of another proposal, with the SHA-256 %s",
			    hex_text(s, SPAN_ARRAY(m->proposal)));
	if (!span_equal(m->group, control_parameter(p, "group", 0)))
		return fail(s, E_DENIED, "the activation statement is of the key group %.*s, the proposal of another",
			    (int)m->group.len, (const char *)m->group.data);
	return OK;
}

st control_statement_verify(struct scope *s, const struct control_register *r, const struct control_statement *m,
			    const struct control_proposal *p, int64_t at)
{
	const struct control_instance *instance = NULL;
	TRY(instance_of(s, r, m->instance, &instance));
	TRY(check_signature(s, instance, m));
	TRY(check_belongs(s, m, p));
	if (at >= m->expires)
		return fail(s, E_STATE, "the activation statement has expired: have the operation opened anew (op open)");
	if (m->expires - at > CONTROL_STATEMENT_LIFE + CONTROL_CLOCK_SKEW)
		return fail(s, E_STATE, "the activation statement is good for longer than %d hours: none of ours is",
			    (int)(CONTROL_STATEMENT_LIFE / INT64_C(3600000000)));
	return OK;
}

/* ---- a share, sealed to its custodian ---- */

/* What both the context and the file begin with. */
static void put_share(struct control_wr *w, const struct control_sealed_share *h)
{
	control_put(w, "group", h->group);
	control_put(w, "person", h->person);
	control_put_number(w, "index", h->index);
	control_put_number(w, "threshold", h->threshold);
}

st control_share_context(struct scope *s, const struct control_sealed_share *h, struct buf *out)
{
	struct control_wr w = control_write(out, SEALED);
	put_share(&w, h);
	return control_written(s, &w);
}

st control_sealed_share_write(struct scope *s, const struct control_sealed_share *h, struct buf *out)
{
	struct control_wr w = control_write(out, SEALED);
	put_share(&w, h);
	control_put_hex(&w, "commitment", SPAN_ARRAY(h->commitment));
	if (h->bound) {
		control_put_hex(&w, "key", SPAN_ARRAY(h->key));
		control_put_hex(&w, "proposal", SPAN_ARRAY(h->proposal));
	}
	control_put_base64(&w, "sealed", h->sealed);
	return control_written(s, &w);
}

st control_sealed_share_read(struct scope *s, span file, struct control_sealed_share *out)
{
	struct control_sealed_share h = { .index = 0 };
	TRY(check_size(s, file, CONTROL_SHARE_FILE_MAX, "a share"));
	struct control_rd r = control_read(file, SEALED, "share");
	h.group = control_get_id(&r, "group");
	h.person = control_get_id(&r, "person");
	h.index = get_counted(&r, "index", 1);
	h.threshold = get_counted(&r, "threshold", 2);
	control_get_hex(&r, "commitment", h.commitment, sizeof h.commitment);
	h.bound = control_next_is(&r, "key");
	if (h.bound) {
		control_get_hex(&r, "key", h.key, sizeof h.key);
		control_get_hex(&r, "proposal", h.proposal, sizeof h.proposal);
	}
	h.sealed = control_get_base64(&r, s, "sealed");
	TRY(control_end(s, &r));
	*out = h;
	return OK;
}

/* ---- a share, sealed to the statement's key ---- */

static void put_opened(struct control_wr *w, const struct control_opened_share *h)
{
	control_put(w, "instance", h->instance);
	control_put_hex(w, "proposal", SPAN_ARRAY(h->proposal));
	control_put(w, "group", h->group);
	control_put(w, "person", h->person);
	control_put_number(w, "index", h->index);
}

st control_opened_share_context(struct scope *s, const struct control_opened_share *h, struct buf *out)
{
	struct control_wr w = control_write(out, OPENED);
	put_opened(&w, h);
	return control_written(s, &w);
}

st control_opened_share_write(struct scope *s, const struct control_opened_share *h, struct buf *out)
{
	struct control_wr w = control_write(out, OPENED);
	put_opened(&w, h);
	control_put_base64(&w, "sealed", h->sealed);
	return control_written(s, &w);
}

st control_opened_share_read(struct scope *s, span text, struct control_opened_share *out)
{
	struct control_opened_share h = { .index = 0 };
	TRY(check_size(s, text, CONTROL_SHARE_FILE_MAX, "an opened share"));
	struct control_rd r = control_read(text, OPENED, "opened share");
	h.instance = control_get_id(&r, "instance");
	control_get_hex(&r, "proposal", h.proposal, sizeof h.proposal);
	h.group = control_get_id(&r, "group");
	h.person = control_get_id(&r, "person");
	h.index = get_counted(&r, "index", 1);
	h.sealed = control_get_base64(&r, s, "sealed");
	TRY(control_end(s, &r));
	*out = h;
	return OK;
}

/* ---- what a custodian hands in ---- */

static st check_custodian(struct scope *s, const struct control_opened_share *h, const struct control_approval *a)
{
	if (!span_equal(a->person, h->person) || a->role != CONTROL_KEY_CUSTODIAN)
		return fail(s, E_INPUT,
			    "the share is of %.*s, the approval with it of %.*s as %s: it must be the same person's, as %s",
			    (int)h->person.len, (const char *)h->person.data, (int)a->person.len, (const char *)a->person.data,
			    control_role_row(a->role)->name, control_role_row(CONTROL_KEY_CUSTODIAN)->name);
	return OK;
}

st control_custodian_file_write(struct scope *s, const struct control_opened_share *h, const struct control_approval *a,
				struct buf *out)
{
	TRY(check_custodian(s, h, a));
	TRY(control_opened_share_write(s, h, out));
	struct control_wr w = { .out = out, .bad = !buf_append(out, SPAN_LITERAL("\n")) };
	control_put_approval(&w, s, a);
	return control_written(s, &w);
}

st control_custodian_file_read(struct scope *s, span file, struct control_opened_share *out,
			       struct control_approval *out_approval, span *out_text)
{
	span text, behind;
	struct control_approval a = { .approved = 0 };
	TRY(check_size(s, file, CONTROL_SHARE_FILE_MAX, "a custodian's file"));
	if (!control_cut(file, &text, &behind))
		return fail(s, E_INPUT, "a custodian's file is an opened share, a blank line and the custodian's approval");
	struct control_opened_share h;
	TRY(control_opened_share_read(s, text, &h));
	struct control_rd r = { .rest = behind, .line = 1, .what = "behind the opened share" };
	control_get_approval(&r, s, &a);
	TRY(control_end(s, &r));
	TRY(check_custodian(s, &h, &a));
	*out = h;
	*out_approval = a;
	*out_text = text;
	return OK;
}
