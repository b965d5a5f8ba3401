/*
 * cli_audit_words.h - what `chancery audit verify` found, in words: what it checked, what it could not, and the first bad place.
 */
#pragma once
#include "audit_verify.h"
#include "cli_judge.h"
#include "stamp.h"

struct cli_verification {
	const struct audit_report *report;
	const struct audit_key *key; /* the newest first */
	size_t keys;
	const struct stamp_report *stamps;
	bool stamps_trusted; /* certificates were named that they must lead to */
	bool has_since;
	const struct cli_judgement *judgement; /* NULL: operations were not judged, because */
	const char *not_judged;
};
/* The whole answer, for cli_print. */
json_t *cli_audit_words(struct scope *s, const struct cli_verification *v);
/* Its exit code. */
enum audit_verdict cli_audit_verdict(const struct cli_verification *v);
