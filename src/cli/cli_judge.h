/*
 * cli_judge.h - every operation with quorum in a log, judged again from the founding document on: entries of the register applied and
 * compared with what their records say, what keyds and cas carried out checked against the register of that moment. For `op verify` and
 * `audit verify`; it trusts nobody but the founding document, and needs no network.
 */
#pragma once
#include "audit_record.h"
#include "cli.h"
#include "control_register.h"

typedef struct cli_judge cli_judge;
/* `path`: the founding document. `s` must outlive it. */
st cli_judge_new(struct scope *s, const char *path, struct cli_judge **out);
void cli_judge_free(struct cli_judge *j);
DEFINE_AUTO(cli_judge, cli_judge_free)
/* An audit_verify visit, `state` is the cli_judge: all records of the log, in its order. Those that are no operations are passed over. */
void cli_judge_record(void *state, const struct audit_envelope *e, span leaf);

struct cli_judgement {
	const char *provider;
	uint8_t founding[CONTROL_HASH_LEN]; /* SHA-256 of the founding document */
	uint64_t entries;                   /* of the register, and its head behind them */
	uint8_t head[CONTROL_HASH_LEN];
	uint64_t executed, refused; /* operations of keyds and cas */
	json_t *findings;           /* borrowed: {"record", "event", "finding"}; empty when each had its quorum */
	json_t *old_crls;           /* borrowed: {"record", "operation", "words"}, with a management CRL older than 24 hours */
};
/* Behind the last record: operations that waited for entries are judged by those that there are. */
st cli_judge_end(struct cli_judge *j, struct cli_judgement *out);
