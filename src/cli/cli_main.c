/* The tool's main: parse, read chancery.conf, run the command, say what went wrong. */
#include "cli.h"
#include "cli_nouns.h"
#include "file.h"
#include "log.h"
#include "pki_certificate.h"
#include "pki_pem.h"
#include "secret.h"
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOME_STANDARD "/var/lib/chancery"

int cli_main(int argc, char **argv);

char *cli_path(struct scope *s, const struct cli *c, const char *relative)
{
	return relative[0] == '/' ? scope_printf(s, "%s", relative) : scope_printf(s, "%s/%s", c->home, relative);
}

char *cli_program(struct scope *s, const struct cli *c, const char *name)
{
	if (strchr(name, '/') != NULL)
		return scope_printf(s, "%s", name);
	const char *slash = strrchr(c->program, '/');
	return scope_printf(s, "%.*s/%s", slash == NULL ? 1 : (int)(slash - c->program), slash == NULL ? "." : c->program,
			    name);
}

st cli_read_certificate(struct scope *s, const char *path, struct pki_certificate *out)
{
	span bytes, der;
	TRY(file_read(s, path, 4 * PKI_CERTIFICATE_MAX, &bytes));
	TRY(fail_context(s, pki_pem_or_der(s, bytes, "CERTIFICATE", &der), "%s", path));
	return fail_context(s, pki_certificate_read(s, der, out), "%s", path);
}

static st find_program(struct scope *s, struct cli *c)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
	if (len <= 0)
		return fail_errno(s, E_IO, "/proc/self/exe");
	c->program = scope_cstr(s, span_of(path, (size_t)len));
	return OK;
}

/* Commands run anywhere, so the home directory is made absolute once. */
static st settle_home(struct scope *s, struct cli *c)
{
	const char *home = c->home != NULL ? c->home : getenv("CHANCERY_HOME");
	if (home == NULL || home[0] == 0)
		home = HOME_STANDARD;
	if (home[0] == '/') {
		c->home = home;
		return OK;
	}
	char here[PATH_MAX];
	if (getcwd(here, sizeof here) == NULL)
		return fail_errno(s, E_IO, "working directory");
	c->home = scope_printf(s, "%s/%s", here, home);
	return OK;
}

st cli_read_conf(struct scope *s, struct cli *c)
{
	char *path = cli_path(s, c, "etc/chancery.conf");
	if (!file_exists(path))
		return fail(
			s, E_CONFIG,
			"no installation at %s (etc/chancery.conf is missing): name one with --home DIR or in CHANCERY_HOME, or set "
			"one up with chancery --home DIR init",
			c->home);
	return conf_read(s, &cli_conf_schema, path, &c->conf);
}

static st run_command(struct scope *s, struct cli *c)
{
	TRY(find_program(s, c));
	TRY(settle_home(s, c));
	if (!c->command->without_configuration)
		TRY(cli_read_conf(s, c));
	return c->command->run(s, c);
}

/* Something did not answer. When daemons of this host are down, that is why. */
static const char *what_is_down(struct scope *s, const struct cli *c)
{
	const struct cli_daemon *all = cli_conf_daemons(&c->conf);
	const char *down = "";
	size_t running = 0;
	for (size_t i = 0; i < c->conf.daemons.count; i++) {
		if (!all[i].supervised)
			continue;
		bool runs = cli_daemon_runs(s, c, all[i].label);
		running += runs;
		if (!runs)
			down = scope_printf(s, "%s%s%s", down, down[0] == 0 ? "" : ", ", all[i].label);
	}
	if (down[0] == 0)
		return "";
	return running == 0 ? ". No daemon of this installation runs: `chancery run` starts them"
			    : scope_printf(s, ". Not running here: %s; `chancery status` shows all, its log says why", down);
}

static int failed(struct scope *s, const struct cli *c, enum code code)
{
	char *message = scope_printf(s, "%s", s->message);
	if (code == E_UNAVAILABLE)
		message = scope_printf(s, "%s%s", message, what_is_down(s, c));
	if (c->json) {
		AUTO(json_t) *problem = json_pack("{s:s, s:s}", "error", code_row(code)->name, "message", message);
		char *text = json_dumps(problem, JSON_INDENT(2));
		(void)fprintf(stderr, "%s\n", text == NULL ? "" : text);
		free(text);
	} else
		(void)fprintf(stderr, "chancery: %s\n", message);
	return code_row(code)->exit_code;
}

static int show_help(const struct cli *c)
{
	AUTO_BUF out;
	buf_init(&out, 0);
	cli_help(c, &out);
	return fwrite(out.data, 1, out.len, stdout) == out.len ? 0 : code_row(E_IO)->exit_code;
}

int cli_main(int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	log_init("chancery", LOG_LEVEL_NOTICE);
	(void)signal(SIGPIPE, SIG_IGN);
	struct cli c = { 0 };
	bool help = argc == 1;
	st result = secret_process(&s); /* PINs and shares pass through it */
	if (result.code == E_OK)
		result = cli_parse(&s, &c, argc, argv, &help);
	if (result.code == E_OK && c.version)
		return printf("chancery %s\n", CHANCERY_VERSION) > 0 ? 0 : code_row(E_IO)->exit_code;
	if (result.code == E_OK && (help || argc == 1))
		return show_help(&c);
	if (result.code == E_OK)
		result = run_command(&s, &c);
	return result.code == E_OK ? c.exit_code : failed(&s, &c, result.code);
}
