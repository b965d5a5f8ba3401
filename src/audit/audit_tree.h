/*
 * audit_tree.h - the Merkle tree of RFC 6962, section 2.1, over SHA-256: hashes, compact ranges, inclusion and consistency proofs.
 * Nothing here reads files: who has the hashes hands them in.
 */
#pragma once
#include "scope.h"

#define AUDIT_HASH_LEN 32
struct audit_hash {
	uint8_t octets[AUDIT_HASH_LEN];
};
static inline bool audit_hash_equal(const struct audit_hash *a, const struct audit_hash *b)
{
	return memcmp(a->octets, b->octets, AUDIT_HASH_LEN) == 0;
}

/* `prefixed` is the leaf with one zero octet before it, so that it is hashed where it lies (rfc6962#2.1). */
struct audit_hash audit_leaf_hash_prefixed(span prefixed);
struct audit_hash audit_leaf_hash(span leaf);
struct audit_hash audit_node_hash(const struct audit_hash *left, const struct audit_hash *right);
/* Root of a tree of these leaf (or node) hashes; of none: the hash of nothing. */
struct audit_hash audit_root_of(const struct audit_hash *hash, size_t count);

/* ---- compact range: the roots of the perfect subtrees that a tree of `size` leaves consists of, largest first ---- */
struct audit_range {
	uint64_t size;
	struct audit_hash node[64];
	unsigned count;
};
/* Append one leaf hash. */
void audit_range_add(struct audit_range *r, const struct audit_hash *leaf);
struct audit_hash audit_range_root(const struct audit_range *r);

/* ---- proofs ---- */
/* Where proofs get hashes from: the root of the perfect subtree of 2^height leaves with this number (its leaves begin at
 * number * 2^height). */
struct audit_source {
	st (*node)(struct scope *s, void *state, unsigned height, uint64_t number, struct audit_hash *out);
	void *state;
};
#define AUDIT_PROOF_MAX 128
struct audit_proof {
	struct audit_hash hash[AUDIT_PROOF_MAX];
	size_t count;
};
/* Root of the first `size` leaves. */
st audit_source_root(struct scope *s, const struct audit_source *source, uint64_t size, struct audit_hash *out);
/* The compact range of the first `size` leaves, to go on from. */
st audit_source_range(struct scope *s, const struct audit_source *source, uint64_t size, struct audit_range *out);
/* rfc6962#2.1.1: PATH(index, D[size]). E_INPUT unless index < size. */
st audit_prove_inclusion(struct scope *s, const struct audit_source *source, uint64_t index, uint64_t size,
			 struct audit_proof *out);
/* rfc6962#2.1.2: PROOF(older, D[newer]). Empty when older is 0 or both are equal. E_INPUT when older > newer. */
st audit_prove_consistency(struct scope *s, const struct audit_source *source, uint64_t older, uint64_t newer,
			   struct audit_proof *out);
/* `proof`: hashes one after the other. E_CRYPTO when it does not prove that. */
st audit_verify_inclusion(struct scope *s, span proof, uint64_t index, uint64_t size, const struct audit_hash *leaf,
			  const struct audit_hash *root);
st audit_verify_consistency(struct scope *s, span proof, uint64_t older, const struct audit_hash *older_root, uint64_t newer,
			    const struct audit_hash *newer_root);
static inline span audit_proof_span(const struct audit_proof *p)
{
	return span_of(p->hash, p->count * AUDIT_HASH_LEN);
}
