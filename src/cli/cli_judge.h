/*
 * cli_judge.h - every operation with quorum in a log, judged again from the founding document on: entries of the register applied and
 * compared with what their records say, what keyds and cas carried out checked against the register of that moment, and reviews of reports. For `op verify` and
 * `audit verify`; it trusts nobody but the founding document, and needs no network.
 */
#pragma once
#include "audit_record.h"
#include "cli.h"
#include "control_records.h"
#include "control_register.h"

typedef struct cli_judge cli_judge;
/* `path`: the founding document. `s` must outlive it. */
st cli_judge_new(struct scope *s, const char *path, struct cli_judge **out);
void cli_judge_free(struct cli_judge *j);
DEFINE_AUTO(cli_judge, cli_judge_free)
/* An audit_verify visit, `state` is the cli_judge: all records of the log, in its order. Those that are no operations are passed over. */
void cli_judge_record(void *state, const struct audit_envelope *e, span leaf);

/* Of a log, what there is to judge, for who reads it for this alone: nothing else of it is verified. */
st cli_judge_log(struct scope *s, const char *dir, struct cli_judge *judge);
/* An audit_verify removed, `state` is the cli_judge: this record's content is not there. An operation behind it must say so. */
void cli_judge_removed(void *state, uint64_t index);

/* log.purge in the register: what it lets go. */
struct cli_purge {
	uint64_t record; /* of the log, with the operation */
	const char *approvers;
	uint64_t stamps_kept; /* years that it says; 0: none */
	bool erasure;         /* on somebody's request, before its time was over */
	const struct control_range *range;
	size_t ranges;
	const char *log; /* what the persons saw: its name, its size and root then */
	uint64_t size;
	uint8_t root[CONTROL_HASH_LEN];
	uint8_t proposal[CONTROL_HASH_LEN];
	bool begun; /* log.purged is on record: auditd found that it may be done */
};
/* report.reviewed, signed by an auditor of the register as it was then. */
struct cli_review {
	uint64_t record;
	const char *person, *role;
	const char *log; /* of which the report is */
	uint64_t size;
	uint8_t root[CONTROL_HASH_LEN];
};
/* Behind the last record, before cli_judge_end(): were they about this very log, which was verified? `dir` has its tiles. */
st cli_judge_trees(struct scope *s, struct cli_judge *j, const char *dir, const char *origin);

struct cli_judgement {
	const char *provider;
	uint8_t founding[CONTROL_HASH_LEN]; /* SHA-256 of the founding document */
	uint64_t entries;                   /* of the register, and its head behind them */
	uint8_t head[CONTROL_HASH_LEN];
	uint64_t executed, refused;    /* operations of keyds and cas */
	uint64_t removed;              /* records without content, each let go by one of these */
	const struct cli_purge *purge; /* borrowed, in the order of the log: those that were begun */
	size_t purges;
	const struct cli_review *review; /* borrowed, in the order of the log */
	size_t reviews;
	json_t *findings; /* borrowed: {"record", "event", "finding"}; empty when each had its quorum */
	json_t *old_crls; /* borrowed: {"record", "operation", "words"}, with a management CRL older than 24 hours */
};
/* Behind the last record: operations that waited for entries are judged by those that there are. */
st cli_judge_end(struct cli_judge *j, struct cli_judgement *out);
