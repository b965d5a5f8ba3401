/*
 * cli_audit_let_go.h - records of the log without content, and the operations log.purge that took it: for who misses a record and has to tell one
 * that was let go from one that never was. What such a record said nobody knows any more; an operation says what it may have been.
 */
#pragma once
#include "audit_retention.h"
#include "cli_audit_source.h"
#include "control_records.h"

struct cli_let_go {
	const char *by;     /* the operation, and who approved it */
	int64_t kept_until; /* it took what was kept until then; 0: what is about a person */
	uint64_t left;      /* records that it took and that were not missed yet */
};
struct cli_let_go_list {
	struct cli_let_go *one;
	size_t count;
	bool stray; /* record `first_stray` has no content and no operation took it */
	uint64_t first_stray;
};
/* `removed`: those without content. Judged from the founding document on; without one nothing is known of any. In `s`. */
st cli_let_go_read(struct scope *s, const struct cli_audit_source *source, const struct control_range *removed, size_t ranges,
		   struct cli_let_go_list *out);
/* An operation that may have taken a record of this kind, kept from then on; it counts as one of its own from now on. NULL: there is none. */
const struct cli_let_go *cli_let_go_take(struct cli_let_go_list *list, enum audit_keep keep, bool personal, int64_t from);
/* Records that operations took because their time was over, and that nobody missed yet. */
uint64_t cli_let_go_left(const struct cli_let_go_list *list);
