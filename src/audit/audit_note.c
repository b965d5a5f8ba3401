#include "audit_note.h"
#include "digest.h"
#include "text.h"
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
DEFINE_AUTO(EVP_MD_CTX, EVP_MD_CTX_free)

#define ED25519_LEN 32
#define KEY_ID_LEN  4
#define TIME_LEN    8 /* of a cosignature */

static const uint8_t dash[] = { 0xe2, 0x80, 0x94, ' ' }; /* U+2014 and a space begin a signature line */

/* ---- keys ---- */

/* c2sp signed-note, "Signatures": key names are not empty and have neither spaces nor plus. Only printable ASCII here: names are origins. */
st audit_name_check(struct scope *s, span name)
{
	bool good = name.len > 0 && name.len <= AUDIT_ORIGIN_MAX;
	for (size_t i = 0; i < name.len; i++)
		good = good && name.data[i] > 0x20 && name.data[i] < 0x7f && name.data[i] != '+';
	if (!good)
		return fail(s, E_INPUT,
			    "a key name or origin has 1 to %d printable characters, no space and no plus (c2sp signed-note)",
			    AUDIT_ORIGIN_MAX);
	return OK;
}

static void set_key_id(struct audit_key *key)
{
	uint8_t value[DIGEST_MAX];
	struct digest d;
	digest_start(&d, DIGEST_SHA256);
	//= c2sp signed-note "Signature types" the id of an ECDSA key is the hash of its SubjectPublicKeyInfo alone
	if (key->type != AUDIT_KEY_ECDSA) {
		uint8_t between[2] = { '\n', (uint8_t)key->type };
		digest_add(&d, key->name);
		digest_add(&d, SPAN_ARRAY(between));
	}
	digest_add(&d, key->key);
	(void)digest_finish(&d, value);
	memcpy(key->id, value, sizeof key->id);
}

static EVP_PKEY *pkey_of(const struct audit_key *key)
{
	const uint8_t *at = key->key.data;
	if (key->type != AUDIT_KEY_ECDSA)
		return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->key.data, key->key.len);
	EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)key->key.len);
	if (pkey != NULL && (at != key->key.data + key->key.len || EVP_PKEY_get_base_id(pkey) != EVP_PKEY_EC)) {
		EVP_PKEY_free(pkey);
		return NULL;
	}
	return pkey;
}

static st check_curve(struct scope *s, const EVP_PKEY *pkey)
{
	char curve[32] = "";
	size_t len = 0;
	if (EVP_PKEY_get_group_name(pkey, curve, sizeof curve, &len) != 1)
		curve[0] = 0;
	if (strcmp(curve, "prime256v1") != 0 && strcmp(curve, "secp384r1") != 0 && strcmp(curve, "secp521r1") != 0)
		return fail(s, E_CRYPTO, "an ECDSA key of a log is on P-256, P-384 or P-521, not on '%s' (c2sp signed-note)",
			    curve);
	return OK;
}

static st check_key(struct scope *s, const struct audit_key *key)
{
	if (key->type != AUDIT_KEY_ECDSA && key->key.len != ED25519_LEN)
		return fail(s, E_CRYPTO, "an Ed25519 key has 32 octets, not %zu", key->key.len);
	AUTO(EVP_PKEY) *pkey = pkey_of(key);
	if (pkey == NULL)
		return fail(s, E_CRYPTO, "the public key of the log cannot be read: Ed25519 or ECDSA is expected");
	return key->type == AUDIT_KEY_ECDSA ? check_curve(s, pkey) : OK;
}

st audit_key_of_spki(struct scope *s, const char *name, span spki, struct audit_key *out)
{
	const uint8_t *at = spki.data;
	AUTO(EVP_PKEY) *pkey = d2i_PUBKEY(NULL, &at, (long)spki.len);
	if (pkey == NULL || at != spki.data + spki.len)
		return fail(s, E_CRYPTO, "the public key of the log is not a SubjectPublicKeyInfo");
	struct audit_key key = { .name = scope_copy(s, span_str(name)) };
	TRY(audit_name_check(s, key.name));
	if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519) {
		size_t len = ED25519_LEN;
		uint8_t *raw = scope_alloc(s, len);
		if (EVP_PKEY_get_raw_public_key(pkey, raw, &len) != 1)
			return fail(s, E_CRYPTO, "the Ed25519 key of the log cannot be read");
		key.type = AUDIT_KEY_ED25519;
		key.key = span_of(raw, len);
	} else {
		key.type = AUDIT_KEY_ECDSA;
		key.key = scope_copy(s, spki);
	}
	TRY(check_key(s, &key));
	set_key_id(&key);
	*out = key;
	return OK;
}

st audit_cosigner_of_spki(struct scope *s, const char *name, span spki, struct audit_key *out)
{
	struct audit_key key;
	TRY(audit_key_of_spki(s, name, spki, &key));
	if (key.type != AUDIT_KEY_ED25519)
		return fail(s, E_CRYPTO, "a cosigner's key is Ed25519 (c2sp tlog-cosignature)");
	key.type = AUDIT_KEY_COSIGNER;
	set_key_id(&key);
	*out = key;
	return OK;
}

static bool cut_at(span *rest, uint8_t mark, span *out)
{
	const uint8_t *found = rest->len == 0 ? NULL : memchr(rest->data, mark, rest->len);
	if (found == NULL)
		return false;
	*out = span_of(rest->data, (size_t)(found - rest->data));
	*rest = span_from(*rest, out->len + 1);
	return true;
}

st audit_key_parse(struct scope *s, span text, struct audit_key *out)
{
	struct audit_key key = { 0 };
	span rest = text, id, raw;
	if (!cut_at(&rest, '+', &key.name) || !cut_at(&rest, '+', &id))
		return fail(s, E_INPUT, "a log's public key is written NAME+8 hexadecimal digits+base64");
	TRY(audit_name_check(s, key.name));
	TRY(fail_context(s, hex_parse(s, id, &id), "id in a log's public key"));
	TRY(fail_context(s, base64_parse(s, rest, &raw), "a log's public key"));
	if (raw.len < 2 ||
	    (raw.data[0] != AUDIT_KEY_ED25519 && raw.data[0] != AUDIT_KEY_ECDSA && raw.data[0] != AUDIT_KEY_COSIGNER))
		return fail(s, E_INPUT, "a log's public key is of type 1 (Ed25519), 2 (ECDSA) or 4 (a cosigner's)");
	key.type = (enum audit_key_type)raw.data[0];
	key.key = span_from(raw, 1);
	TRY(check_key(s, &key));
	set_key_id(&key);
	if (!span_equal(id, SPAN_ARRAY(key.id)))
		return fail(s, E_INPUT, "a log's public key does not have the id written before it: it was copied wrongly");
	*out = key;
	out->name = scope_copy(s, key.name);
	return OK;
}

static st parse_key_line(struct scope *s, span line, struct audit_key *out)
{
	span rest = line, key = line;
	uint64_t until = 0;
	if (cut_at(&rest, ' ', &key)) {
		if (!span_equal(span_first(rest, 6), SPAN_LITERAL("until ")))
			return fail(s, E_INPUT,
				    "behind a log's public key stands nothing, or \"until\" and a number of leaves");
		TRY(fail_context(s, decimal_parse(s, span_from(rest, 6), UINT64_MAX, &until), "the end of a log's public key"));
	}
	if (key.len < line.len && until == 0)
		return fail(s, E_INPUT, "a log's public key that ended before the first leaf is none");
	TRY(audit_key_parse(s, key, out));
	out->until = until;
	return OK;
}

st audit_keys_parse(struct scope *s, span text, struct audit_key out[AUDIT_KEYS_MAX], size_t *out_count)
{
	size_t count = 0;
	for (span rest = text, line; rest.len > 0;) {
		if (!cut_at(&rest, '\n', &line)) {
			line = rest;
			rest = (span){ 0 };
		}
		if (line.len > 0 && line.data[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0)
			continue;
		if (count == AUDIT_KEYS_MAX)
			return fail(s, E_LIMIT, "at most %d keys of a log", AUDIT_KEYS_MAX);
		TRY(parse_key_line(s, line, &out[count++]));
	}
	if (count == 0)
		return fail(s, E_INPUT, "there is no public key of a log: NAME+id+base64 is expected");
	*out_count = count;
	return OK;
}

char *audit_key_text(struct scope *s, const struct audit_key *key)
{
	uint8_t *raw = scope_alloc(s, key->key.len + 1);
	raw[0] = (uint8_t)key->type;
	memcpy(raw + 1, key->key.data, key->key.len);
	return scope_printf(s, "%.*s+%s+%s", (int)key->name.len, (const char *)key->name.data, hex_text(s, SPAN_ARRAY(key->id)),
			    base64_text(s, span_of(raw, key->key.len + 1)));
}

char *audit_key_digest(struct scope *s, const struct audit_key *key)
{
	return hex_text(s, digest_new(s, DIGEST_SHA256, span_str(audit_key_text(s, key))));
}

/* ---- notes ---- */

st audit_note_read(struct scope *s, span note, struct audit_note *out)
{
	if (note.len > AUDIT_NOTE_MAX)
		return fail(s, E_LIMIT, "a note of %zu bytes is over the limit of %d", note.len, AUDIT_NOTE_MAX);
	for (size_t i = 0; i < note.len; i++)
		if (note.data[i] < 0x20 && note.data[i] != '\n')
			return fail(s, E_INPUT, "a note has no control characters but line ends (c2sp signed-note)");
	/* The last blank line separates text and signatures. */
	size_t cut = note.len;
	for (size_t i = 1; i < note.len; i++)
		if (note.data[i] == '\n' && note.data[i - 1] == '\n')
			cut = i;
	if (cut == note.len || cut + 1 == note.len || note.data[note.len - 1] != '\n')
		return fail(s, E_INPUT, "a note is text, a blank line and signature lines, each ended (c2sp signed-note)");
	*out = (struct audit_note){ .text = span_first(note, cut), .signatures = span_from(note, cut + 1) };
	return OK;
}

char *audit_cosigned_text(struct scope *s, uint64_t seconds, span note_text)
{
	return scope_printf(s, "cosignature/v1\ntime %llu\n%.*s", (unsigned long long)seconds, (int)note_text.len,
			    (const char *)note_text.data);
}

/* c2sp tlog-cosignature, "Format": the time stands before the signature, and in what is signed. */
static bool take_time(struct scope *s, span *text, span *signature)
{
	uint64_t seconds = 0;
	for (size_t i = 0; i < TIME_LEN && i < signature->len; i++)
		seconds = seconds << 8 | signature->data[i];
	*text = span_str(audit_cosigned_text(s, seconds, *text));
	*signature = span_from(*signature, TIME_LEN);
	return seconds <= INT64_MAX;
}

static bool verify(struct scope *s, const struct audit_key *key, span text, span signature)
{
	if (key->type == AUDIT_KEY_COSIGNER && !take_time(s, &text, &signature))
		return false;
	AUTO(EVP_PKEY) *pkey = pkey_of(key);
	AUTO(EVP_MD_CTX) *context = EVP_MD_CTX_new();
	if (pkey == NULL || context == NULL)
		return false;
	const EVP_MD *digest = key->type == AUDIT_KEY_ECDSA ? EVP_sha256() : NULL;
	return EVP_DigestVerifyInit(context, NULL, digest, NULL, pkey) == 1 &&
	       EVP_DigestVerify(context, signature.data, signature.len, text.data, text.len) == 1;
}

static st read_signature_line(struct scope *s, span *rest, span *out_name, span *out_payload)
{
	span line = { 0 };
	bool good = cut_at(rest, '\n', &line) && span_equal(span_first(line, sizeof dash), SPAN_ARRAY(dash));
	span base64 = span_from(line, sizeof dash);
	if (!good || !cut_at(&base64, ' ', out_name) || base64_parse(s, base64, out_payload).code != E_OK ||
	    out_payload->len <= KEY_ID_LEN) {
		scope_clear_error(s);
		return fail(s, E_INPUT,
			    "a signature line is not dash, name and base64 of key id and signature (c2sp signed-note)");
	}
	return OK;
}

st audit_note_verify(struct scope *s, const struct audit_note *note, const struct audit_key *key, size_t count)
{
	span rest = note->signatures;
	bool verified = false;
	for (int lines = 0; rest.len > 0; lines++) {
		span name = { 0 }, payload = { 0 };
		if (lines >= AUDIT_NOTE_SIGNATURES_MAX)
			return fail(s, E_LIMIT, "a note has more than %d signatures", AUDIT_NOTE_SIGNATURES_MAX);
		TRY(read_signature_line(s, &rest, &name, &payload));
		for (size_t i = 0; i < count; i++) {
			if (!span_equal(name, key[i].name) ||
			    !span_equal(span_first(payload, KEY_ID_LEN), SPAN_ARRAY(key[i].id)))
				continue;
			if (!verify(s, &key[i], note->text, span_from(payload, KEY_ID_LEN)))
				return fail(s, E_CRYPTO, "the signature of %.*s on this note is wrong", (int)name.len,
					    (const char *)name.data);
			verified = true;
		}
	}
	if (!verified)
		return fail(s, E_CRYPTO, "no key that is trusted here signed this note");
	return OK;
}

char *audit_note_signature_line(struct scope *s, const char *name, span payload)
{
	return scope_printf(s, "%.*s%s %s\n", (int)sizeof dash, (const char *)dash, name, base64_text(s, payload));
}

/* ---- checkpoints ---- */

char *audit_checkpoint_text(struct scope *s, const struct audit_checkpoint *c)
{
	return scope_printf(s, "%s\n%llu\n%s\n", c->origin, (unsigned long long)c->size,
			    base64_text(s, SPAN_ARRAY(c->root.octets)));
}

st audit_checkpoint_read(struct scope *s, span text, struct audit_checkpoint *out)
{
	span rest = text, origin, size, root;
	if (!cut_at(&rest, '\n', &origin) || !cut_at(&rest, '\n', &size) || !cut_at(&rest, '\n', &root))
		return fail(s, E_INPUT, "a checkpoint has lines for origin, size and root (c2sp tlog-checkpoint)");
	struct audit_checkpoint c = { .size = 0 };
	TRY(fail_context(s, audit_name_check(s, origin), "origin of a checkpoint"));
	memcpy(c.origin, origin.data, origin.len);
	TRY(fail_context(s, decimal_parse(s, size, UINT64_MAX, &c.size), "size in a checkpoint"));
	if (size.len > 1 && size.data[0] == '0')
		return fail(s, E_INPUT, "the size in a checkpoint has leading zeros (c2sp tlog-checkpoint)");
	TRY(fail_context(s, base64_parse(s, root, &root), "root in a checkpoint"));
	if (root.len != AUDIT_HASH_LEN)
		return fail(s, E_INPUT, "the root in a checkpoint has %zu octets, not 32", root.len);
	memcpy(c.root.octets, root.data, AUDIT_HASH_LEN);
	*out = c;
	return OK;
}

st audit_checkpoint_open(struct scope *s, span note, const struct audit_key *key, size_t count, struct audit_checkpoint *out)
{
	struct audit_note parts;
	struct audit_checkpoint c;
	struct audit_key *fit = scope_alloc(s, (count + 1) * sizeof *fit);
	size_t fitting = 0;
	TRY(audit_note_read(s, note, &parts));
	TRY(audit_checkpoint_read(s, parts.text, &c));
	for (size_t i = 0; i < count; i++)
		if (key[i].until == 0 || c.size <= key[i].until)
			fit[fitting++] = key[i];
	TRY(audit_note_verify(s, &parts, fit, fitting));
	*out = c;
	return OK;
}
