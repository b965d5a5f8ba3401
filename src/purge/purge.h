/*
 * purge.h - operations log.purge, as each place of a log judges them for itself: auditd, which removes first, and a copy, which follows. Both
 * come to the register of persons by the founding document and the log's own records, and to nobody's word.
 */
#pragma once
#include "audit_log.h"
#include "audit_record.h"
#include "control_records.h"
#include "control_register.h"

/* ---- purge_register: who lets go what ---- */

/* The register of the founding document at PATH, whose SHA-256 must be `hash`, in hexadecimal: who can exchange the file cannot make himself
 * one of two who remove records. E_CONFIG. */
st purge_founding(struct scope *s, const char *path, const char *hash, struct control_register **out);

/* What a record did to the register. */
struct purge_step {
	span file;               /* of an operation log.purge that is in the register now; else empty */
	const char *passed_over; /* why the record changes nothing, as everywhere; else NULL */
};
/* The register follows a record of class control; any other changes nothing. */
st purge_follow(struct scope *s, struct control_register *r, const struct audit_envelope *e, struct purge_step *out);

/* Every operation log.purge of a log's register that auditd began to carry out. */
struct purge {
	struct control_signed operation;
	uint64_t entry; /* of the register */
	uint64_t begun; /* record log.purged of auditd itself */
};
struct purge_list {
	const struct purge *purge; /* in the order of the register */
	size_t count;
};
/* From the records [0, size) of the log, with a register that knows nothing but the founding document. In `s`. */
st purge_list_read(struct scope *s, struct audit_log *log, uint64_t size, struct control_register *r, struct purge_list *out);
/* Is this auditd's word that it begins to carry out an operation? *out_proposal is its hash, in `s`. */
bool purge_is_begun(struct scope *s, const struct audit_envelope *e, span *out_proposal);

/* ---- purge_check: may it be removed? ---- */

struct purge_log {
	struct audit_log *log;
	const char *origin;
	uint64_t size; /* under a checkpoint that is trusted */
};
struct purge_extent {
	const struct control_range *range;
	size_t ranges;
	uint64_t last;    /* record of all of them */
	uint64_t content; /* so many have some */
};
/* Is it about this log, and about full bundles? E_DENIED; *out without `content`. In `s`. */
st purge_check_log(struct scope *s, const struct purge_log *log, const struct control_proposal *p, struct purge_extent *out);
/* This, and each record that has content was kept long enough, or is about a person who is to be erased. E_DENIED says which is not. */
st purge_check(struct scope *s, const struct purge_log *log, const struct control_proposal *p, struct purge_extent *out);
/* Takes it out of the files in DIR: audit_purge(). */
st purge_remove(struct scope *s, const char *dir, const struct purge_extent *extent, uint64_t *out_removed);
