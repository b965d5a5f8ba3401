/* `chancery op verify`: every operation with quorum in a log, judged again from the founding document on. For an auditor who trusts none of
 * those who ran it: it needs the directory of the log and the founding document, and no network. */
#include "cli_judge.h"
#include "cli_op.h"
#include "text.h"

#define EXIT_FINDINGS 1

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
	TRY(cli_judge_log(s, cli_get_or(c, "log", c->conf.audit_log), judge));
	TRY(cli_judge_end(judge, &judgement));
	c->exit_code = json_array_size(judgement.findings) == 0 ? 0 : EXIT_FINDINGS;
	return cli_print(s, c, report(s, &judgement));
}
