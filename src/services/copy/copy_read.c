#include "copy.h"
#include "text.h"

static st no_place(struct scope *s)
{
	scope_clear_error(s);
	return fail(s, E_INPUT, "this is no path of a tile or an entry bundle (c2sp tlog-tiles)");
}

static bool cut_at(span *rest, char mark, span *out)
{
	const uint8_t *found = rest->len == 0 ? NULL : memchr(rest->data, mark, rest->len);
	if (found == NULL)
		return false;
	*out = span_of(rest->data, (size_t)(found - rest->data));
	*rest = span_from(*rest, out->len + 1);
	return true;
}

static bool read_level(struct scope *s, span text, int *out)
{
	uint64_t level;
	*out = AUDIT_ENTRIES;
	if (span_is(text, "entries"))
		return true;
	bool good = decimal_parse(s, text, AUDIT_TILE_LEVELS - 1, &level).code == E_OK;
	*out = good ? (int)level : 0;
	return good;
}

/* Digits alone, without their places: what is read is written again, and must be the same text. */
static bool read_index(span text, uint64_t *out)
{
	uint64_t n = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t digit = text.data[i];
		if (digit >= '0' && digit <= '9') {
			if (n > (UINT64_MAX >> 9) / 10)
				return false;
			n = n * 10 + (digit - '0');
		}
	}
	*out = n;
	return true;
}

st copy_place_read(struct scope *s, span path, struct copy_place *out)
{
	struct copy_place place = { .width = AUDIT_TILE_WIDTH };
	span rest = path, level, index;
	uint64_t width = AUDIT_TILE_WIDTH;
	if (path.len > 64 || !cut_at(&rest, '/', &level) || !read_level(s, level, &place.level))
		return no_place(s);
	index = rest;
	const uint8_t *partial = rest.len == 0 ? NULL : memmem(rest.data, rest.len, ".p/", 3);
	if (partial != NULL) {
		index = span_of(rest.data, (size_t)(partial - rest.data));
		if (decimal_parse(s, span_from(rest, index.len + 3), AUDIT_TILE_WIDTH - 1, &width).code != E_OK || width == 0)
			return no_place(s);
	}
	if (!read_index(index, &place.n))
		return no_place(s);
	place.width = (unsigned)width;
	if (!span_is(path, audit_tile_path(s, "", place.level, place.n, place.width) + strlen("/tile/")))
		return no_place(s);
	*out = place;
	return OK;
}

/* c2sp tlog-witness, "add-checkpoint": the old size, a proof of at most 63 hashes, an empty line, the checkpoint. */
st copy_request_read(struct scope *s, span body, struct copy_request *out)
{
	struct copy_request request = { .old = 0 };
	struct audit_proof *proof = scope_new(s, struct audit_proof);
	span rest = body, line = { 0 }, hash;
	if (!cut_at(&rest, '\n', &line) || !span_equal(span_first(line, 4), SPAN_LITERAL("old ")))
		return fail(s, E_INPUT, "a request to cosign begins with \"old\" and a size (c2sp tlog-witness)");
	TRY(fail_context(s, decimal_parse(s, span_from(line, 4), INT64_MAX, &request.old), "the old size"));
	while (cut_at(&rest, '\n', &line) && line.len > 0) {
		TRY(fail_context(s, base64_parse(s, line, &hash), "a hash of the proof"));
		if (hash.len != AUDIT_HASH_LEN || proof->count == 63)
			return fail(s, E_INPUT, "a proof has at most 63 hashes of 32 octets (c2sp tlog-witness)");
		memcpy(proof->hash[proof->count++].octets, hash.data, AUDIT_HASH_LEN);
	}
	if (rest.len == 0)
		return fail(s, E_INPUT, "behind the proof and an empty line stands a checkpoint (c2sp tlog-witness)");
	request.proof = audit_proof_span(proof);
	request.note = rest;
	*out = request;
	return OK;
}

st copy_stamped_read(struct scope *s, span body, struct copy_stamped *out)
{
	struct rd r = rd_of(body);
	span note = rd_bytes(&r, AUDIT_NOTE_MAX);
	if (r.bad || note.len == 0 || r.rest.len == 0)
		return fail(s, E_INPUT, "a time-stamp comes as the length of a checkpoint, the checkpoint, and a token");
	if (r.rest.len > STAMP_TOKEN_MAX)
		return fail(s, E_LIMIT, "the token has %zu octets, at most %zu are taken", r.rest.len, STAMP_TOKEN_MAX);
	*out = (struct copy_stamped){ .note = note, .token = r.rest };
	return OK;
}

bool copy_bundle_unite(span there, span brought, struct buf *out)
{
	struct rd old = rd_of(there), new = rd_of(brought);
	struct wr w = wr_into(out);
	span was, is;
	while (audit_bundle_next(&old, &was)) {
		if (!audit_bundle_next(&new, &is) || (was.len > 0 && is.len > 0 && !span_equal(was, is)))
			return false;
		is = was.len > 0 ? was : is;
		wr_u16(&w, (uint16_t)is.len);
		wr_raw(&w, is);
	}
	return !old.bad && new.rest.len == 0 && !w.bad;
}
