/*
 * audit_proof.h - proofs as files that stand alone: that a record is in a signed tree (c2sp.org/tlog-proof), and that a signed tree continues
 * an older one (the body of an add-checkpoint request, c2sp.org/tlog-witness). Any tool that knows these formats verifies them.
 */
#pragma once
#include "audit_note.h"

#define AUDIT_PROOF_TEXT_MAX ((size_t)1 << 18)
#define AUDIT_PATH_MAX       64 /* hashes in an inclusion proof: a tree has no more levels */

struct audit_inclusion {
	uint64_t index;
	span leaf; /* carried along, authenticated by nothing but the proof; empty: it comes another way */
	struct audit_proof path;
	span note; /* the signed checkpoint */
};
/* False when over the cap of `out`. */
bool audit_inclusion_write(struct scope *s, const struct audit_inclusion *p, struct buf *out);
/* E_INPUT, E_LIMIT: not such a file. Nothing is verified yet; what it points to lies in `text` or the scope. */
st audit_inclusion_read(struct scope *s, span text, struct audit_inclusion *out);
/* Is `leaf` in the tree of the checkpoint, and the checkpoint by one of the keys, for the log that the key is named after? E_CRYPTO when not. */
st audit_inclusion_verify(struct scope *s, const struct audit_inclusion *p, span leaf, const struct audit_key *key,
			  size_t count, struct audit_checkpoint *out);

/* That the tree of `note` continues the one of `older` leaves. False when over the cap of `out`. */
bool audit_consistency_write(struct scope *s, uint64_t older, const struct audit_proof *path, span note, struct buf *out);
