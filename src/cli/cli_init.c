/* `chancery init`: a complete provider in an empty directory. What is asked for is checked as a whole before anything is made. */
#include "cli_init.h"
#include "cli_cast.h"
#include "cli_nouns.h"
#include "cli_sealed.h"
#include "file.h"
#include <stdio.h>
#include <stdlib.h>

/* "127.0.0.1" and a base port; the standard ports have no common base. */
static st take_ports(struct scope *s, const struct cli *c, struct cli_init *want)
{
	*want = (struct cli_init){ .va_http = 8080,
				   .tsa_http = 8081,
				   .ca_https = 8443,
				   .va_push = 8444,
				   .tsa_https = 8445,
				   .tsa_management = 8446,
				   .metrics = 9480 };
	uint64_t base;
	TRY(cli_get_number(s, c, "port-base", 0, 65529, &base));
	if (base > 0) {
		want->va_http = (unsigned)base;
		want->tsa_http = (unsigned)base + 1;
		want->ca_https = (unsigned)base + 2;
		want->va_push = (unsigned)base + 3;
		want->tsa_https = (unsigned)base + 4;
		want->tsa_management = (unsigned)base + 5;
		want->metrics = (unsigned)base + 6;
	}
	want->host = cli_get_or(c, "address", "127.0.0.1");
	want->public_url = cli_get_or(c, "public-url", scope_printf(s, "http://%s:%u/", want->host, want->va_http));
	if (want->public_url[strlen(want->public_url) - 1] != '/')
		want->public_url = scope_printf(s, "%s/", want->public_url);
	return OK;
}

//= tsps#6.1.1 the keys of a provider that is no test are never one person's
static st check_people(struct scope *s, const struct cli_init *want)
{
	if (!want->test && want->people == NULL)
		return fail(
			s, E_INPUT,
			"--people FILE is needed: a provider is founded by several persons with tokens of their own. `chancery founding "
			"people` prints such a file to fill in, docs/guide/operators.md tells how. To look around first: chancery --home "
			"DIR init --test --quorum");
	return OK;
}

/* Where the PINs of the tokens are that are not under quorum: log, status, time and the keyds' identities. */
static st take_pins(struct scope *s, const struct cli *c, struct cli_init *want)
{
	const char *pins = cli_get(c, "pins");
	if (pins == NULL && want->test)
		return OK;
	want->sealed = pins == NULL || strcmp(pins, "sealed") == 0;
	if (!want->sealed && strcmp(pins, "typed") != 0)
		return fail(s, E_INPUT, "--pins %s: write sealed or typed", pins);
	if (want->test && pins != NULL && !want->sealed)
		return fail(s, E_INPUT, "--pins typed is for a provider that is no test");
	return want->sealed ? cli_sealed_check(s) : OK;
}

/* Paths are kept for an init that goes on, perhaps from elsewhere. */
static st make_absolute(struct scope *s, struct cli *c, const char *option)
{
	for (size_t i = 0; i < c->given_count; i++) {
		if (strcmp(c->given[i].option->name, option) != 0)
			continue;
		char *whole = realpath(c->given[i].value, NULL);
		if (whole == NULL)
			return fail_errno(s, E_NOTFOUND, "--%s %s", option, c->given[i].value);
		c->given[i].value = scope_printf(s, "%s", whole);
		free(whole);
	}
	return OK;
}

static st take_wishes(struct scope *s, const struct cli *c, struct cli_init *want)
{
	TRY(take_ports(s, c, want));
	want->test = cli_get(c, "test") != NULL;
	want->people = cli_get(c, "people");
	want->quorum = cli_get(c, "quorum") != NULL || want->people != NULL;
	TRY(check_people(s, want));
	TRY(take_pins(s, c, want));
	const char *name = cli_get(c, "name");
	if (name == NULL && !want->test)
		return fail(
			s, E_INPUT,
			"--name NAME is needed: the provider's name as it stands in certificates. To look around first: chancery --home DIR "
			"init --test");
	if (!want->test && (cli_get(c, "organisation-identifier") == NULL || cli_get(c, "tsa-policy") == NULL))
		return fail(s, E_INPUT,
			    "a provider that is no test (--test) needs --organisation-identifier and --tsa-policy of its own");
	if (name == NULL)
		name = "TEST Demo Provider";
	want->mark = want->test ? "TEST " : "";
	want->name = want->test && strncmp(name, "TEST", 4) != 0 ? scope_printf(s, "TEST %s", name) : name;
	want->organisation = want->name;
	want->country = cli_get_or(c, "country", "BE");
	want->organisation_identifier = cli_get_or(c, "organisation-identifier", "NTRBE-0000000000");
	want->tsa_policy = cli_get_or(c, "tsa-policy", "2.999.3161.1");
	TRY(cli_get_number(s, c, "test-lives", 0, 86400, &want->lives));
	if (want->lives > 0 && !want->test)
		return fail(s, E_INPUT, "--test-lives is for test installations (--test)");
	want->clock = cli_get_or(c, "clock", want->test ? "test" : "kernel");
	want->postgresql = cli_get(c, "postgresql");
	want->module = cli_get_or(c, "module", "/usr/lib/softhsm/libsofthsm2.so");
	want->module_init_args = cli_get(c, "module-init-args");
	want->module_directory = cli_get(c, "module-directory");
	return OK;
}

static st begun_in_vain(struct scope *s, const struct cli *c, const struct cli_init *want, st why)
{
	char *message = scope_printf(s, "%s", s->message);
	scope_clear_error(s);
	if (want->people != NULL)
		return fail(
			s, why.code,
			"%s. What was done is kept: `chancery --home %s init --continue` goes on here; with --start-over instead, the "
			"same command as before moves it aside and begins anew",
			message, c->home);
	return fail(s, why.code,
		    "%s. Nothing in %s is in use: the same command with --start-over moves it aside and begins anew", message,
		    c->home);
}

/* The founding document that was signed before it was interrupted, as it was pinned then. */
static st take_founding(struct scope *s, struct cli *c, struct cli_init *want)
{
	const char *path = cli_path(s, c, "etc/chancery.conf");
	if (!file_exists(path))
		return OK;
	TRY(conf_read(s, &cli_conf_schema, path, &c->conf));
	want->founding_hash = c->conf.founding_hash;
	return OK;
}

static st go_on(struct scope *s, struct cli *c, struct cli_init *want)
{
	const char *step = NULL, *tokens = "";
	bool goes_on = cli_get(c, "continue") != NULL;
	if (goes_on)
		TRY(cli_init_resume(s, c, &step, &tokens));
	TRY(make_absolute(s, c, "people"));
	TRY(take_wishes(s, c, want));
	want->goes_on = goes_on;
	want->interrupted_at = step;
	want->tokens = tokens;
	if (goes_on)
		TRY(take_founding(s, c, want));
	if (goes_on && want->people == NULL)
		return fail(s, E_STATE, "a test installation does not go on: the same command with --start-over begins anew");
	return OK;
}

/* What can be found wrong with the persons is found before anything is made. */
static st check_cast(struct scope *s, const struct cli_init *want)
{
	struct cli_cast *cast = scope_new(s, struct cli_cast);
	return want->people == NULL ? OK : cli_cast_read(s, want->people, cast);
}

static st init(struct scope *s, struct cli *c)
{
	struct cli_init want;
	TRY(go_on(s, c, &want));
	TRY(check_cast(s, &want));
	TRY(cli_init_check(s, c, &want));
	cli_progress(c, "Founding %s in %s", want.name, c->home);
	TRY(cli_init_write(s, c, &want, true));
	TRY(conf_read(s, &cli_conf_schema, cli_path(s, c, "etc/chancery.conf"), &c->conf));
	st founded = cli_init_steps(s, c, &want);
	if (founded.code != E_OK)
		return begun_in_vain(s, c, &want, founded);
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:b, s:s}", "provider", want.name, "directory", c->home, "test", want.test,
				   "next", scope_printf(s, "chancery --home %s run", c->home)));
}

static const struct cli_option init_options[] = {
	{ .name = "test",
	  .help = "a test installation: TEST in every name, random PINs kept in test-secrets, time-stamps from an unchecked clock" },
	{ .name = "name", .value = "NAME", .help = "the provider's name, as it stands in certificates" },
	{ .name = "country", .value = "CC", .help = "its country (default BE)" },
	{ .name = "organisation-identifier", .value = "ID", .help = "its registered identifier, NTRBE-0123456789" },
	{ .name = "tsa-policy", .value = "OID", .help = "time-stamp policy" },
	{ .name = "address", .value = "IP", .help = "address of all listeners (default 127.0.0.1)" },
	{ .name = "port-base",
	  .value = "N",
	  .help = "seven ports from here: va, tsa, ca, va push, tsa HTTPS, tsa management, metrics (default 8080 8081 8443 8444 8445 8446 9480)" },
	{ .name = "public-url", .value = "URL", .help = "where relying parties reach the va (default http://ADDRESS:PORT/)" },
	{ .name = "clock", .value = "KIND", .help = "kernel, or test (only with --test)" },
	{ .name = "module", .value = "FILE", .help = "PKCS#11 module (default SoftHSM 2)" },
	{ .name = "module-init-args",
	  .value = "TEXT",
	  .help = "what the module wants when it is loaded; {zone} stands for ca, status, time, log and root" },
	{ .name = "module-directory", .value = "DIR", .help = "where the module keeps its tokens; {zone} as above" },
	{ .name = "test-lives",
	  .value = "SECONDS",
	  .help = "only with --test: certificates that are renewed by themselves live so long" },
	{ .name = "postgresql",
	  .value = "CONNECTION",
	  .help = "the ca's database is this one of PostgreSQL, which is there and empty, as in postgresql:///chancery?host=/run/postgresql "
		  "(default: a file of SQLite)" },
	{ .name = "people",
	  .value = "FILE",
	  .help = "the persons who found it and take its roles (`chancery founding people` prints one to fill in); needed without --test" },
	{ .name = "pins",
	  .value = "WHERE",
	  .help = "of the tokens that no quorum guards (log, OCSP, time-stamps, identity): sealed to this host and its TPM by systemd-creds "
		  "(default), or typed" },
	{ .name = "quorum",
	  .help = "with --test: the keys of CAs are under quorum from the founding document on, by scripted persons with tokens of their own" },
	{ .name = "continue", .help = "go on where a founding with people was interrupted; its options are kept" },
	{ .name = "start-over", .help = "move an interrupted installation aside and begin anew" },
};
static const struct cli_command commands[] = {
	{ .summary =
		  "Set up a complete provider: keys, CAs, OCSP signer, time-stamp unit, TLS certificates, configuration. Without "
		  "--test it leads the persons of --people through the founding: it proposes, waits for their approvals, shares and "
		  "signatures, and can be interrupted",
	  .example = "--home var/first init --test --quorum --name 'First Steps'",
	  CLI_OPTIONS(init_options),
	  .without_configuration = true,
	  .run = init },
};
const struct cli_noun cli_noun_init = { "init", "set up a provider", CLI_COMMANDS(commands) };
