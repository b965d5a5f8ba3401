/* `chancery metrics DAEMON`: its page, as Prometheus would be given it. */
#include "audit_client.h"
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

static st show(struct scope *s, struct cli *c)
{
	span page;
	const struct cli_daemon *daemon = cli_conf_daemon(&c->conf, c->argument[0]);
	if (daemon == NULL)
		return fail(s, E_NOTFOUND, "there is no daemon %s; `chancery status` names them", c->argument[0]);
	bool keyd = strcmp(daemon->program, "chancery-keyd") == 0, auditd = strcmp(daemon->program, "chancery-auditd") == 0;
	if (daemon->socket == NULL || (!keyd && !auditd))
		return fail(s, E_STATE, "%s answers no requests for metrics: keyd and auditd do, by their local sockets",
			    daemon->label);
	TRY(page_of(s, daemon, &page));
	return cli_write_out(s, c, NULL, page);
}

static const struct cli_command commands[] = {
	{ .arguments = "DAEMON",
	  .summary = "Print the metrics of a keyd or of auditd in the Prometheus text format",
	  .example = "metrics auditd",
	  .run = show },
};
const struct cli_noun cli_noun_metrics = { "metrics", "what a daemon counts and measures", CLI_COMMANDS(commands) };
