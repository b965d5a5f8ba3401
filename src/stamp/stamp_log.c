#include "stamp.h"
#include <stdio.h>

struct checking {
	const struct stamp_check *request;
	struct stamp_report *report;
	struct audit_log *log;
};

st stamp_note_check(struct scope *s, struct audit_log *log, const struct audit_key *key, size_t key_count, uint64_t size,
		    span note)
{
	struct audit_source source = { .node = audit_log_node, .state = log };
	struct audit_checkpoint checkpoint;
	struct audit_hash root;
	TRY(audit_checkpoint_open(s, note, key, key_count, &checkpoint));
	if (checkpoint.size != size)
		return fail(s, E_CRYPTO, "the checkpoint in it is of %llu records", (unsigned long long)checkpoint.size);
	TRY(audit_source_root(s, &source, size, &root));
	if (!audit_hash_equal(&root, &checkpoint.root))
		return fail(s, E_CRYPTO, "the log is not the one that was stamped: one of its records below %llu differs",
			    (unsigned long long)size);
	return OK;
}

/* The stamped note is a signed checkpoint of the tree that the tiles have. */
static st check_note(struct scope *s, const struct checking *c, uint64_t size, span note)
{
	const struct stamp_check *q = c->request;
	if (size > q->size)
		return fail(s, E_CRYPTO,
			    "the log had that many signed records then, now it has %llu: it was cut or rolled back",
			    (unsigned long long)q->size);
	return stamp_note_check(s, c->log, q->key, q->key_count, size, note);
}

/* `*out_counts` false: whoever has that key may have made it at any time. */
//= rfc3161#4 whether the signer's certificate was revoked is part of verifying a token
static st judge_standing(struct scope *s, struct checking *c, int64_t gen_time, bool *out_counts)
{
	struct stamp_standing standing;
	struct stamp_report *r = c->report;
	stamp_standing(c->request->trust, gen_time, &standing);
	*out_counts = standing.state != STAMP_VOID;
	if (standing.state == STAMP_REVOKED)
		return fail(s, E_CRYPTO, "%s, before the token was made", standing.words);
	if (standing.state == STAMP_GOOD && (r->unrevoked++ == 0 || standing.as_of < r->as_of))
		r->as_of = standing.as_of;
	if (standing.state == STAMP_UNKNOWN && r->unknown++ == 0) {
		r->unknown_since = gen_time;
		memcpy(r->unknown_why, standing.words, sizeof r->unknown_why);
	}
	if (standing.state == STAMP_VOID && r->voided++ == 0)
		memcpy(r->void_why, standing.words, sizeof r->void_why);
	return OK;
}

static st check_stamp(struct scope *s, struct checking *c, uint64_t size)
{
	span note, token;
	int64_t gen_time;
	TRY(stamp_read(s, c->request->dir, size, &note, &token));
	TRY(check_note(s, c, size, note));
	if (c->request->trust == NULL)
		return OK;
	TRY(stamp_verify(s, c->request->trust, note, token, &gen_time));
	bool counts;
	TRY(judge_standing(s, c, gen_time, &counts));
	if (!counts)
		return OK;
	c->report->verified++;
	c->report->newest = size;
	c->report->gen_time = gen_time;
	return OK;
}

/* What the files are to blame for is a finding, the first of which is told; trouble of the machine is a failure. */
static st take_stamp(struct scope *s, void *state, uint64_t size)
{
	struct checking *c = state;
	if (size > c->request->last)
		return OK;
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	c->report->found++;
	st checked = check_stamp(&aside, c, size);
	if (checked.code == E_IO)
		return fail(s, checked.code, "%s", aside.message);
	if (checked.code != E_OK && c->report->problem[0] == 0)
		(void)snprintf(c->report->problem, sizeof c->report->problem, "the time-stamp of %llu records: %s",
			       (unsigned long long)size, aside.message);
	return OK;
}

st stamp_check_log(struct scope *s, const struct stamp_check *request, struct stamp_report *out)
{
	*out = (struct stamp_report){ .found = 0 };
	struct checking c = { .request = request, .report = out };
	TRY(audit_log_open(s, request->dir, &c.log));
	st walked = stamp_walk(s, request->dir, 0, take_stamp, &c);
	audit_log_close(c.log);
	return walked;
}
