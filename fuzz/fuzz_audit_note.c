/* Signed notes, checkpoints and public keys of logs: any text. What is read as a checkpoint is written as the same text. */
#include "audit_note.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char trusted[] = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
	static const char cosigning[] = "copy.test/a+ad82b746+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_note note;
	struct audit_checkpoint c;
	struct audit_key key, other, cosigner;
	span bytes = span_of(data, size);
	if (audit_key_parse(&s, SPAN_LITERAL(trusted), &key).code != E_OK)
		__builtin_trap();
	if (audit_key_parse(&s, SPAN_LITERAL(cosigning), &cosigner).code != E_OK)
		__builtin_trap();
	if (audit_note_read(&s, bytes, &note).code == E_OK) {
		if (note.text.len + 1 + note.signatures.len != size)
			__builtin_trap();
		/* Nobody here can sign with this key. */
		if (audit_note_verify(&s, &note, &key, 1).code == E_OK)
			__builtin_trap();
		scope_clear_error(&s);
		if (audit_note_verify(&s, &note, &cosigner, 1).code == E_OK)
			__builtin_trap();
	}
	scope_clear_error(&s);
	if (audit_checkpoint_read(&s, bytes, &c).code == E_OK) {
		const char *text = audit_checkpoint_text(&s, &c);
		if (!span_equal(span_first(bytes, strlen(text)), span_str(text)))
			__builtin_trap();
	}
	scope_clear_error(&s);
	if (audit_key_parse(&s, bytes, &other).code == E_OK &&
	    audit_key_parse(&s, span_str(audit_key_text(&s, &other)), &other).code != E_OK)
		__builtin_trap();
	scope_clear_error(&s);
	struct audit_key keys[AUDIT_KEYS_MAX];
	size_t count = 0;
	if (audit_keys_parse(&s, bytes, keys, &count).code == E_OK && (count == 0 || count > AUDIT_KEYS_MAX))
		__builtin_trap();
	return 0;
}
