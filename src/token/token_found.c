#include "control_register.h"
#include "digest.h"
#include "text.h"
#include "token.h"

static st founder_of(struct scope *s, const struct control_founding *f, span person, const struct control_founder **out)
{
	for (size_t i = 0; i < f->founders; i++)
		if (span_is(person, f->founder[i].id)) {
			*out = &f->founder[i];
			return OK;
		}
	return fail(s, E_DENIED, "%.*s is no founder in this text: a founding document is signed by those it names",
		    (int)person.len, (const char *)person.data);
}

static void show(struct scope *s, const struct control_founding *f, const struct control_founder *me, span text)
{
	uint8_t room[DIGEST_MAX];
	token_show(
		"\nYou are asked to found %s:\n\n  %zu founders, of whom %u decide together; they are the first members of the Policy "
		"Management Authority\n  %zu instances that carry out operations from the first day\n  you sign as %s\n  SHA-256 of the "
		"text %s\n\nThe whole text that your token signs:\n",
		f->provider, f->founders, f->quorum, f->instances, me->id, hex_text(s, digest_of(DIGEST_SHA256, text, room)));
	token_show_text(text);
}

/* Who signs with another key than the text names would make a document that nobody can use. */
static st check_keys(struct scope *s, const struct token *t, const struct control_founder *me)
{
	if (!span_equal(me->spki, hsm_key_spki(t->sign)))
		return fail(s, E_DENIED,
			    "the text names another key of %s than this token's: have the text made anew with the key that "
			    "chancery-token show prints",
			    me->id);
	if (me->share_spki.len > 0 && !span_equal(me->share_spki, hsm_key_spki(t->share)))
		return fail(s, E_DENIED,
			    "the text names another share-key of %s than this token's: have the text made anew with the "
			    "share-key that chancery-token show prints",
			    me->id);
	return OK;
}

st token_run_found(struct scope *s, struct token *t)
{
	struct control_founding *f = scope_new(s, struct control_founding);
	const struct control_founder *me = NULL;
	span text, person, signature;
	TRY(token_person(s, t, &person));
	TRY(token_read(s, t, "text", CONTROL_TEXT_MAX, &text));
	TRY(fail_context(s, control_founding_text_read(s, text, f), "%s", token_get(t, "text")));
	TRY(founder_of(s, f, person, &me));
	show(s, f, me, text);
	TRY(token_open(s, t, "to sign this"));
	TRY(check_keys(s, t, me));
	TRY(token_sign(s, t, text, &signature));
	const struct token_member member = { "signature", scope_printf(s, "%s %s", me->id, base64_text(s, signature)) };
	return token_print(s, t, &member, 1);
}
