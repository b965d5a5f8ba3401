#include "audit_tree.h"
#include "digest.h"

struct audit_hash audit_leaf_hash_prefixed(span prefixed)
{
	struct audit_hash out;
	uint8_t value[DIGEST_MAX];
	(void)digest_of(DIGEST_SHA256, prefixed, value);
	memcpy(out.octets, value, sizeof out.octets);
	return out;
}

struct audit_hash audit_leaf_hash(span leaf)
{
	static const uint8_t prefix = 0;
	struct audit_hash out;
	uint8_t value[DIGEST_MAX];
	(void)digest_of_two(DIGEST_SHA256, span_of(&prefix, 1), leaf, value);
	memcpy(out.octets, value, sizeof out.octets);
	return out;
}

struct audit_hash audit_node_hash(const struct audit_hash *left, const struct audit_hash *right)
{
	uint8_t both[1 + 2 * AUDIT_HASH_LEN];
	both[0] = 1;
	memcpy(both + 1, left->octets, AUDIT_HASH_LEN);
	memcpy(both + 1 + AUDIT_HASH_LEN, right->octets, AUDIT_HASH_LEN);
	return audit_leaf_hash_prefixed(SPAN_ARRAY(both));
}

/* Largest power of two smaller than n, n > 1: where RFC 6962 splits a tree of n leaves. */
static uint64_t split_of(uint64_t n)
{
	return 1ull << (63 - __builtin_clzll(n - 1));
}

struct audit_hash audit_root_of(const struct audit_hash *hash, size_t count)
{
	struct audit_range r = { 0 };
	for (size_t i = 0; i < count; i++)
		audit_range_add(&r, &hash[i]);
	return audit_range_root(&r);
}

void audit_range_add(struct audit_range *r, const struct audit_hash *leaf)
{
	struct audit_hash top = *leaf;
	/* Each trailing one bit of the size is a perfect subtree that the new one completes. */
	for (uint64_t size = r->size; (size & 1) != 0; size >>= 1)
		top = audit_node_hash(&r->node[--r->count], &top);
	r->node[r->count++] = top;
	r->size++;
}

struct audit_hash audit_range_root(const struct audit_range *r)
{
	if (r->count == 0)
		return audit_leaf_hash_prefixed((span){ 0 }); /* rfc6962#2.1 MTH({}) = SHA-256() */
	struct audit_hash root = r->node[r->count - 1];
	for (unsigned i = r->count - 1; i > 0; i--)
		root = audit_node_hash(&r->node[i - 1], &root);
	return root;
}

st audit_source_range(struct scope *s, const struct audit_source *source, uint64_t size, struct audit_range *out)
{
	struct audit_range range = { .size = size };
	uint64_t done = 0;
	for (unsigned bit = 64; bit-- > 0;) {
		uint64_t width = 1ull << bit;
		if ((size & width) == 0)
			continue;
		TRY(source->node(s, source->state, bit, done >> bit, &range.node[range.count++]));
		done += width;
	}
	*out = range;
	return OK;
}

st audit_source_root(struct scope *s, const struct audit_source *source, uint64_t size, struct audit_hash *out)
{
	struct audit_range range;
	TRY(audit_source_range(s, source, size, &range));
	*out = audit_range_root(&range);
	return OK;
}

/* MTH(D[from:to]) of a range that begins at a multiple of its own splits: all that proofs ask for do. */
static st subtree(struct scope *s, const struct audit_source *source, uint64_t from, uint64_t to, struct audit_hash *out)
{
	uint64_t n = to - from;
	if ((n & (n - 1)) == 0) {
		unsigned height = (unsigned)__builtin_ctzll(n);
		return source->node(s, source->state, height, from >> height, out);
	}
	uint64_t k = split_of(n);
	struct audit_hash left, right;
	TRY(subtree(s, source, from, from + k, &left));
	TRY(subtree(s, source, from + k, to, &right));
	*out = audit_node_hash(&left, &right);
	return OK;
}

static st add_subtree(struct scope *s, const struct audit_source *source, uint64_t from, uint64_t to, struct audit_proof *out)
{
	TRY(subtree(s, source, from, to, &out->hash[out->count]));
	out->count++;
	return OK;
}

/* The recursions of RFC 6962 walk from the root down and list their hashes from the leaf up. */
static void reverse(struct audit_proof *p)
{
	for (size_t i = 0; i < p->count / 2; i++) {
		struct audit_hash other = p->hash[i];
		p->hash[i] = p->hash[p->count - 1 - i];
		p->hash[p->count - 1 - i] = other;
	}
}

st audit_prove_inclusion(struct scope *s, const struct audit_source *source, uint64_t index, uint64_t size,
			 struct audit_proof *out)
{
	if (index >= size)
		return fail(s, E_INPUT, "leaf %llu is not in a tree of %llu leaves", (unsigned long long)index,
			    (unsigned long long)size);
	uint64_t from = 0, to = size;
	out->count = 0;
	while (to - from > 1) {
		uint64_t k = split_of(to - from);
		bool left = index - from < k;
		TRY(left ? add_subtree(s, source, from + k, to, out) : add_subtree(s, source, from, from + k, out));
		if (left)
			to = from + k;
		else
			from += k;
	}
	reverse(out);
	return OK;
}

st audit_prove_consistency(struct scope *s, const struct audit_source *source, uint64_t older, uint64_t newer,
			   struct audit_proof *out)
{
	if (older > newer)
		return fail(s, E_INPUT, "a tree of %llu leaves cannot be an extension of one of %llu",
			    (unsigned long long)newer, (unsigned long long)older);
	out->count = 0;
	if (older == 0 || older == newer)
		return OK;
	uint64_t from = 0, to = newer;
	bool known = true; /* the older tree is a subtree whose root the verifier has */
	while (older != to) {
		uint64_t k = split_of(to - from);
		if (older - from <= k) {
			TRY(add_subtree(s, source, from + k, to, out));
			to = from + k;
		} else {
			TRY(add_subtree(s, source, from, from + k, out));
			from += k;
			known = false;
		}
	}
	if (!known)
		TRY(add_subtree(s, source, from, to, out));
	reverse(out);
	return OK;
}

/* ---- verification ---- */

struct proof_rd {
	span rest;
	bool bad;
};

static struct audit_hash next_hash(struct proof_rd *p)
{
	struct audit_hash out = { { 0 } };
	if (p->rest.len < AUDIT_HASH_LEN) {
		p->bad = true;
		return out;
	}
	memcpy(out.octets, p->rest.data, AUDIT_HASH_LEN);
	p->rest = span_from(p->rest, AUDIT_HASH_LEN);
	return out;
}

static st proof_end(struct scope *s, const struct proof_rd *p, bool equal, const char *what)
{
	if (p->bad || p->rest.len > 0 || !equal)
		return fail(s, E_CRYPTO, "%s", what);
	return OK;
}

st audit_verify_inclusion(struct scope *s, span proof, uint64_t index, uint64_t size, const struct audit_hash *leaf,
			  const struct audit_hash *root)
{
	struct proof_rd p = { .rest = proof };
	struct audit_hash hash = *leaf;
	if (index >= size)
		return fail(s, E_CRYPTO, "leaf %llu is not in a tree of %llu leaves", (unsigned long long)index,
			    (unsigned long long)size);
	/* rfc9162#2.1.3.2, which writes out what rfc6962#2.1.1 defines */
	uint64_t fn = index, sn = size - 1;
	for (; sn > 0 && !p.bad; fn >>= 1, sn >>= 1) {
		struct audit_hash other = next_hash(&p);
		if ((fn & 1) == 0 && fn != sn) {
			hash = audit_node_hash(&hash, &other);
			continue;
		}
		hash = audit_node_hash(&other, &hash);
		while ((fn & 1) == 0 && fn != 0) {
			fn >>= 1;
			sn >>= 1;
		}
	}
	return proof_end(s, &p, audit_hash_equal(&hash, root),
			 "the proof does not show that this leaf is in that tree (rfc6962#2.1.1)");
}

st audit_verify_consistency(struct scope *s, span proof, uint64_t older, const struct audit_hash *older_root, uint64_t newer,
			    const struct audit_hash *newer_root)
{
	static const char no[] = "the proof does not show that the newer tree extends the older one (rfc6962#2.1.2)";
	struct proof_rd p = { .rest = proof };
	if (older > newer)
		return fail(s, E_CRYPTO, "a tree of %llu leaves cannot extend one of %llu", (unsigned long long)newer,
			    (unsigned long long)older);
	if (older == newer)
		return proof_end(s, &p, audit_hash_equal(older_root, newer_root), no);
	if (older == 0)
		return proof_end(s, &p, true, no);
	/* rfc9162#2.1.4.2. When the older tree is perfect its root is the first hash and not in the proof. */
	uint64_t fn = older - 1, sn = newer - 1;
	while ((fn & 1) != 0) {
		fn >>= 1;
		sn >>= 1;
	}
	struct audit_hash fr = (older & (older - 1)) == 0 ? *older_root : next_hash(&p);
	struct audit_hash sr = fr;
	for (; sn > 0 && !p.bad; fn >>= 1, sn >>= 1) {
		struct audit_hash c = next_hash(&p);
		if ((fn & 1) == 0 && fn != sn) {
			sr = audit_node_hash(&sr, &c);
			continue;
		}
		fr = audit_node_hash(&c, &fr);
		sr = audit_node_hash(&c, &sr);
		while ((fn & 1) == 0 && fn != 0) {
			fn >>= 1;
			sn >>= 1;
		}
	}
	return proof_end(s, &p, audit_hash_equal(&fr, older_root) && audit_hash_equal(&sr, newer_root), no);
}
