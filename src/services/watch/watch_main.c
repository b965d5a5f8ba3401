#include "daemon.h"
#include "watch.h"
#include <stdlib.h>

struct watch {
	const struct watch_conf *conf;
	struct audit *audit;
};

static void free_all(struct watch *w)
{
	audit_close(w->audit);
	free(w);
}

static void stop(void *state)
{
	struct watch *w = state;
	daemon_record_stop(w->audit, "asked to");
	free_all(w);
}

static st assemble(struct scope *s, struct watch *w)
{
	const struct audit_settings audit = { .socket = w->conf->audit_socket,
					      .anchor = w->conf->anchor,
					      .component = "watch" };
	TRY(audit_open(s, &audit, &w->audit));
	return daemon_record_start(s, w->audit);
}

static st start(struct scope *s, const void *conf, void **out_state)
{
	struct watch *w = heap_alloc(sizeof *w);
	w->conf = conf;
	st assembled = assemble(s, w);
	if (assembled.code != E_OK) {
		free_all(w);
		return assembled;
	}
	*out_state = w;
	return OK;
}

static const struct daemon watch_daemon = {
	.name = "watch",
	.summary = "reads the audit log, probes the services, and raises alerts",
	.schema = &watch_conf_schema,
	.start = start,
	.stop = stop,
	.may_connect_internet = true,
};

int watch_main(int argc, char **argv);

int watch_main(int argc, char **argv)
{
	return daemon_main(&watch_daemon, argc, argv);
}
