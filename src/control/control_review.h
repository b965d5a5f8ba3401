/*
 * control_review.h - what an auditor signs who has read a report of the audit log: which file, of which log, as far as which checkpoint, over
 * which period, and what the auditor concludes. As a file (REVIEW), which goes on record whole:
 *
 *   chancery review 1
 *   report: SHA-256 of the report's file
 *   log: chancery.example/log
 *   size: 1234                       records under the checkpoint that the report was made of
 *   root: SHA-256
 *   from: 2026-10-01T00:00:00.000000Z
 *   to: 2026-11-01T00:00:00.000000Z
 *   conclusion: two refusals followed up, nothing else
 *   person: p7
 *   role: system-auditor             or compliance-officer: a role of the auditors' group
 *   reviewed: 2026-11-02T09:00:00.000000Z
 *
 *   signature: BASE64                behind a blank line, once it is signed
 *
 * The first six values come from `chancery audit report`, which verified the log, beside the report: "chancery report 1" with those lines.
 */
#pragma once
#include "control_register.h"

#define CONTROL_REVIEW_MAX     8192
#define CONTROL_CONCLUSION_MAX 2000

/* Of which log a report is. */
struct control_report {
	uint8_t report[CONTROL_HASH_LEN];
	span log;
	uint64_t size;
	uint8_t root[CONTROL_HASH_LEN];
	int64_t from, to;
};
struct control_review {
	struct control_report of;
	span conclusion, person;
	enum control_role role;
	int64_t reviewed;
	span signature; /* empty: not signed yet */
};
st control_report_write(struct scope *s, const struct control_report *r, struct buf *out);
st control_report_read(struct scope *s, span file, struct control_report *out);
/* The bytes that the person's token signs. */
st control_review_text(struct scope *s, const struct control_review *m, struct buf *out);
/* The file: the text, with the signature behind it when there is one. */
st control_review_write(struct scope *s, const struct control_review *m, struct buf *out);
/* Signed or not. E_INPUT: it has not exactly that form; E_LIMIT. */
st control_review_read(struct scope *s, span file, struct control_review *out);
/* Did an auditor sign this, who was one at that time? E_DENIED: person, role, training, revoked certificate; E_STATE: not of the past; E_CRYPTO:
 * not signed, or not with that person's key. Whether it is about this log is seen where the log is. */
st control_review_check(struct scope *s, const struct control_register *r, const struct control_review *m, int64_t at);
