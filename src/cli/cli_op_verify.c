/* `chancery op verify`: every operation with quorum in a log, judged again from the founding document on. For an auditor who trusts none of
 * those who ran it: it needs the directory of the log and the founding document, and no network. */
#include "audit_log.h"
#include "cli_judge.h"
#include "cli_op.h"
#include "text.h"

#define EXIT_FINDINGS 1

struct walk {
	struct scope *s;
	struct cli_judge *judge;
	st status;
};

/* Few among millions: the others are not read as records. */
static bool may_be_control(span leaf)
{
	static const char *const events[] = { "\"event\":\"register.changed\"", "\"event\":\"operation.",
					      "\"event\":\"crl.recorded\"" };
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		if (memmem(leaf.data, leaf.len, events[i], strlen(events[i])) != NULL)
			return true;
	return false;
}

static bool see(void *state, uint64_t index, span leaf)
{
	struct walk *w = state;
	struct audit_envelope e;
	if (leaf.len == 0 || !may_be_control(leaf))
		return true;
	AUTO_SCOPE s;
	scope_init(&s, w->s->source);
	if (audit_envelope_read(&s, leaf, &e).code != E_OK) {
		w->status = fail(w->s, E_CRYPTO, "record %llu: %s; see `chancery audit verify`", (unsigned long long)index,
				 s.message);
		return false;
	}
	cli_judge_record(w->judge, &e, leaf);
	return true;
}

static st judge_log(struct scope *s, const char *dir, struct cli_judge *judge)
{
	struct walk w = { .s = s, .judge = judge };
	struct audit_log *log;
	TRY(audit_log_open(s, dir, &log));
	st status = audit_log_each(s, log, 0, see, &w);
	audit_log_close(log);
	TRY(status);
	return w.status;
}

static json_t *report(struct scope *s, const struct cli_judgement *j)
{
	bool sound = json_array_size(j->findings) == 0;
	json_t *out =
		json_pack("{s:s, s:s, s:I, s:s, s:I, s:I}", "verdict",
			  sound ? "every operation had its quorum" : "NOT SOUND: see the findings", "provider", j->provider,
			  "entries of the register", (json_int_t)j->entries, "head", hex_text(s, SPAN_ARRAY(j->head)),
			  "carried out by keyds and cas", (json_int_t)j->executed, "refused", (json_int_t)j->refused);
	if (json_array_size(j->old_crls) > 0)
		(void)json_object_set(out, "with a management CRL older than 24 hours", j->old_crls);
	if (!sound)
		(void)json_object_set(out, "findings", j->findings);
	return out;
}

st cli_op_verify(struct scope *s, struct cli *c)
{
	if (cli_get(c, "log") == NULL || cli_get(c, "founding") == NULL)
		TRY(fail_context(s, cli_read_conf(s, c), "without --log DIR and --founding FILE"));
	AUTO(cli_judge) *judge = NULL;
	struct cli_judgement judgement;
	TRY(cli_judge_new(s, cli_get_or(c, "founding", c->conf.founding), &judge));
	TRY(judge_log(s, cli_get_or(c, "log", c->conf.audit_log), judge));
	TRY(cli_judge_end(judge, &judgement));
	c->exit_code = json_array_size(judgement.findings) == 0 ? 0 : EXIT_FINDINGS;
	return cli_print(s, c, report(s, &judgement));
}
