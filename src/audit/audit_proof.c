#include "audit_proof.h"
#include "text.h"

static const char first_line[] = "c2sp.org/tlog-proof@v1";

/* ---- writing ---- */

static bool put(struct buf *out, const char *text)
{
	return buf_append(out, span_str(text));
}

/* The hashes, a line each, the blank line, and the checkpoint as it is. */
static bool put_path(struct scope *s, const struct audit_proof *path, span note, struct buf *out)
{
	bool good = true;
	for (size_t i = 0; good && i < path->count; i++)
		good = put(out, base64_text(s, SPAN_ARRAY(path->hash[i].octets))) && put(out, "\n");
	return good && put(out, "\n") && buf_append(out, note);
}

//= c2sp tlog-proof "Format" header, extra, index, hashes from the leaf's sibling up, blank line, checkpoint
bool audit_inclusion_write(struct scope *s, const struct audit_inclusion *p, struct buf *out)
{
	bool good = put(out, scope_printf(s, "%s\n", first_line));
	if (p->leaf.len > 0)
		good = good && put(out, "extra ") && put(out, base64_text(s, p->leaf)) && put(out, "\n");
	return good && put(out, scope_printf(s, "index %llu\n", (unsigned long long)p->index)) &&
	       put_path(s, &p->path, p->note, out);
}

//= c2sp tlog-witness "add-checkpoint" old size, consistency proof, blank line, checkpoint
bool audit_consistency_write(struct scope *s, uint64_t older, const struct audit_proof *path, span note, struct buf *out)
{
	return put(out, scope_printf(s, "old %llu\n", (unsigned long long)older)) && put_path(s, path, note, out);
}

/* ---- reading ---- */

static bool next_line(span *rest, span *out)
{
	const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->data, '\n', rest->len);
	if (end == NULL)
		return false;
	*out = span_of(rest->data, (size_t)(end - rest->data));
	*rest = span_from(*rest, out->len + 1);
	return true;
}

static bool begins(span line, span word, span *out_value)
{
	*out_value = span_from(line, word.len);
	return span_equal(span_first(line, word.len), word);
}

static st read_index(struct scope *s, span line, uint64_t *out)
{
	span value;
	if (!begins(line, SPAN_LITERAL("index "), &value) || (value.len > 1 && value.data[0] == '0'))
		return fail(s, E_INPUT,
			    "the index of the record is expected, 'index N' without leading zeros (c2sp tlog-proof)");
	return fail_context(s, decimal_parse(s, value, UINT64_MAX, out), "index in a proof");
}

static st read_path(struct scope *s, span *rest, struct audit_proof *out)
{
	static const char no_end[] = "a proof ends with a blank line and the checkpoint (c2sp tlog-proof)";
	span line = { 0 }, hash;
	for (out->count = 0;;) {
		if (!next_line(rest, &line))
			return fail(s, E_INPUT, "%s", no_end);
		if (line.len == 0)
			break;
		if (out->count == AUDIT_PATH_MAX)
			return fail(s, E_LIMIT, "an inclusion proof has at most %d hashes", AUDIT_PATH_MAX);
		TRY(fail_context(s, base64_parse(s, line, &hash), "hash %zu of a proof", out->count));
		if (hash.len != AUDIT_HASH_LEN)
			return fail(s, E_INPUT, "hash %zu of a proof has %zu octets, not %d", out->count, hash.len,
				    AUDIT_HASH_LEN);
		memcpy(out->hash[out->count++].octets, hash.data, AUDIT_HASH_LEN);
	}
	return rest->len > 0 ? OK : fail(s, E_INPUT, "%s", no_end);
}

st audit_inclusion_read(struct scope *s, span text, struct audit_inclusion *out)
{
	span rest = text, line = { 0 }, extra;
	struct audit_inclusion p = { .index = 0 };
	if (text.len > AUDIT_PROOF_TEXT_MAX)
		return fail(s, E_LIMIT, "a proof of %zu bytes is over the limit of %zu", text.len, AUDIT_PROOF_TEXT_MAX);
	if (!next_line(&rest, &line) || !span_is(line, first_line) || !next_line(&rest, &line))
		return fail(s, E_INPUT, "this is no proof of inclusion: its first line is not %s", first_line);
	if (begins(line, SPAN_LITERAL("extra "), &extra)) {
		TRY(fail_context(s, base64_parse(s, extra, &p.leaf), "extra data of a proof"));
		if (!next_line(&rest, &line))
			line = (span){ 0 };
	}
	TRY(read_index(s, line, &p.index));
	TRY(read_path(s, &rest, &p.path));
	p.note = rest;
	*out = p;
	return OK;
}

st audit_inclusion_verify(struct scope *s, const struct audit_inclusion *p, span leaf, const struct audit_key *key,
			  size_t count, struct audit_checkpoint *out)
{
	struct audit_checkpoint c;
	struct audit_hash hash = audit_leaf_hash(leaf);
	TRY(fail_context(s, audit_checkpoint_open(s, p->note, key, count, &c), "checkpoint of the proof"));
	bool named = false;
	for (size_t i = 0; i < count; i++)
		named = named || span_is(key[i].name, c.origin);
	if (!named)
		return fail(s, E_CRYPTO, "the checkpoint is of the log %s, which has another name than the key", c.origin);
	TRY(audit_verify_inclusion(s, span_of(p->path.hash, p->path.count * sizeof p->path.hash[0]), p->index, c.size, &hash,
				   &c.root));
	*out = c;
	return OK;
}
