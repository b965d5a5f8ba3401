/* `chancery metrics DAEMON`: its page, as Prometheus would be given it. */
#include "audit_client.h"
#include "cli_api.h"
#include "cli_nouns.h"
#include "key.h"

typedef struct key_client key_client; /* AUTO() takes a type name */
DEFINE_AUTO(key_client, key_client_free)

static st page_of(struct scope *s, const struct cli_daemon *daemon, span *out)
{
	if (strcmp(daemon->program, "chancery-auditd") == 0)
		return audit_metrics(s, daemon->socket, out);
	AUTO(key_client) *keyd = key_client_new(daemon->socket);
	return key_metrics(s, keyd, out);
}

/* What has HTTP is asked by way of chancery-watch, as Prometheus does. */
static st handed_on(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, span *out)
{
	const struct cli_daemon *watch = cli_conf_daemon(&c->conf, "watch");
	struct client_answer answer;
	if (watch == NULL || watch->metrics == NULL)
		return fail(s, E_STATE,
			    "[daemon watch] of chancery.conf says no `metrics`: where chancery-watch hands them on");
	bool own = watch == daemon;
	TRY(cli_fetch(s, scope_printf(s, "%s/metrics%s%s", watch->metrics, own ? "" : "/", own ? "" : daemon->label), "GET",
		      NULL, (span){ 0 }, &answer));
	TRY(client_expect(s, &answer));
	*out = answer.body;
	return OK;
}

static st show(struct scope *s, struct cli *c)
{
	span page;
	const struct cli_daemon *daemon = cli_conf_daemon(&c->conf, c->argument[0]);
	if (daemon == NULL)
		return fail(s, E_NOTFOUND, "there is no daemon %s; `chancery status` names them", c->argument[0]);
	bool keyd = strcmp(daemon->program, "chancery-keyd") == 0, auditd = strcmp(daemon->program, "chancery-auditd") == 0;
	TRY(keyd || auditd ? page_of(s, daemon, &page) : handed_on(s, c, daemon, &page));
	return cli_write_out(s, c, NULL, page);
}

static const struct cli_command commands[] = {
	{ .arguments = "DAEMON",
	  .summary = "Print the metrics of a daemon in the Prometheus text format, as chancery-watch hands them on",
	  .example = "metrics auditd",
	  .run = show },
};
const struct cli_noun cli_noun_metrics = { "metrics", "what a daemon counts and measures", CLI_COMMANDS(commands) };
