#include "control_internal.h"
#include "digest.h"
#include "pki_key.h"
#include "text.h"
#include <stdio.h>

#define KIND "founding"
#define WHAT "founding document"

/* ---- writing ---- */

st control_founding_text(struct scope *s, const struct control_founding *f, struct buf *out)
{
	struct control_wr w = control_write(out, KIND);
	control_put_str(&w, "provider", f->provider);
	control_put_moment(&w, "founded", f->founded);
	control_put_number(&w, "quorum", f->quorum);
	for (size_t i = 0; i < f->founders; i++) {
		control_put_str(&w, "founder", f->founder[i].id);
		control_put_base64(&w, "key", f->founder[i].spki);
		if (f->founder[i].share_spki.len > 0)
			control_put_base64(&w, "share-key", f->founder[i].share_spki);
		control_put_hex(&w, "identity", SPAN_ARRAY(f->founder[i].identity));
	}
	for (size_t i = 0; i < f->instances; i++) {
		control_put_str(&w, "instance", f->instance[i].name);
		control_put_base64(&w, "instance-key", f->instance[i].spki);
	}
	return control_written(s, &w);
}

st control_founding_write(struct scope *s, const struct control_founding *f, struct buf *out)
{
	TRY(control_founding_text(s, f, out));
	struct control_wr w = { .out = out, .bad = !buf_append(out, SPAN_LITERAL("\n")) };
	for (size_t i = 0; i < f->founders; i++)
		control_put_str(&w, "signature",
				scope_printf(s, "%s %s", f->founder[i].id, base64_text(s, f->founder[i].signature)));
	return control_written(s, &w);
}

/* ---- reading ---- */

static void read_founder(struct control_rd *r, struct scope *s, struct control_founding *f)
{
	if (f->founders == CONTROL_FOUNDERS_MAX) {
		control_refuse(r, "is followed by more than %d founders", CONTROL_FOUNDERS_MAX);
		return;
	}
	struct control_founder *founder = &f->founder[f->founders++];
	founder->id = scope_cstr(s, control_get_id(r, "founder"));
	founder->spki = control_get_base64(r, s, "key");
	if (control_next_is(r, "share-key"))
		founder->share_spki = control_get_base64(r, s, "share-key");
	control_get_hex(r, "identity", founder->identity, sizeof founder->identity);
}

static void read_instance(struct control_rd *r, struct scope *s, struct control_founding *f)
{
	if (f->instances == CONTROL_INSTANCES_MAX) {
		control_refuse(r, "is followed by more than %d instances", CONTROL_INSTANCES_MAX);
		return;
	}
	struct control_instance *instance = &f->instance[f->instances++];
	instance->name = scope_cstr(s, control_get_id(r, "instance"));
	instance->spki = control_get_base64(r, s, "instance-key");
}

static void read_signatures(struct control_rd *r, struct scope *s, struct control_founding *f)
{
	for (size_t i = 0; i < f->founders && r->problem[0] == 0; i++) {
		span value = control_get(r, "signature"), id = span_str(f->founder[i].id);
		bool fits = span_equal(span_first(value, id.len), id) && value.len > id.len + 1 && value.data[id.len] == ' ';
		AUTO_SCOPE aside;
		scope_init(&aside, NULL);
		span octets = { 0 };
		if (r->problem[0] != 0)
			return;
		if (!fits || base64_parse(&aside, span_from(value, id.len + 1), &octets).code != E_OK)
			control_refuse(r, "is not the signature of founder %s: the founders sign in their order",
				       f->founder[i].id);
		f->founder[i].signature = scope_copy(s, octets);
	}
}

st control_founder_verify(struct scope *s, span text, const struct control_founder *founder)
{
	struct pki_key *key = NULL;
	TRY(fail_context(s, pki_key_new_checked(s, founder->spki, &key), "founder %s", founder->id));
	st status = control_verify(s, key, text, founder->signature);
	pki_key_free(key);
	return fail_context(s, status, "founder %s", founder->id);
}

st control_founding_text_read(struct scope *s, span text, struct control_founding *out)
{
	*out = (struct control_founding){ .quorum = 0 };
	struct control_rd r = control_read(text, KIND, WHAT);
	out->provider = scope_cstr(s, control_get(&r, "provider"));
	out->founded = control_get_moment(&r, "founded");
	out->quorum = (unsigned)control_get_number(&r, "quorum", CONTROL_FOUNDERS_MAX);
	while (control_next_is(&r, "founder"))
		read_founder(&r, s, out);
	while (control_next_is(&r, "instance"))
		read_instance(&r, s, out);
	TRY(control_end(s, &r));
	//= tsps#5.2.2 critical operations need two persons at least
	if (out->quorum < 2 || out->quorum > out->founders)
		return fail(s, E_INPUT,
			    "founding document: a quorum of %u of %zu founders; two at least, and no more than there are",
			    out->quorum, out->founders);
	return OK;
}

st control_founding_read(struct scope *s, span document, struct control_founding *out)
{
	span text, rest;
	if (document.len > CONTROL_TEXT_MAX || !control_cut(document, &text, &rest))
		return fail(s, E_INPUT, "a founding document is a text, a blank line and the founders' signatures");
	TRY(control_founding_text_read(s, text, out));
	struct control_rd behind = { .rest = rest, .line = 1, .what = "founding document, behind the text" };
	read_signatures(&behind, s, out);
	TRY(control_end(s, &behind));
	for (size_t i = 0; i < out->founders; i++)
		TRY(control_founder_verify(s, text, &out->founder[i]));
	return OK;
}
