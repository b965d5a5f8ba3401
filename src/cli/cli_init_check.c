/* What can be known to go wrong before anything is made: no PIN is typed, and no directory begun, for a founding that would fail. */
#include "cli_init.h"
#include "terminal.h"
#include "der.h"
#include "file.h"
#include "moment.h"
#include "pki_name.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <unistd.h>

static st check_names(struct scope *s, const struct cli_init *want)
{
	span policy, subject;
	if (strlen(want->country) != 2 || !isupper((unsigned char)want->country[0]) ||
	    !isupper((unsigned char)want->country[1]))
		return fail(s, E_INPUT, "--country %s: write the two capital letters of ISO 3166-1, such as BE", want->country);
	TRY(fail_context(s, der_oid_parse(s, span_str(want->tsa_policy), &policy), "--tsa-policy %s", want->tsa_policy));
	return fail_context(s, pki_name_parse(s, span_str(cli_init_subject(s, want, "Root CA")), &subject),
			    "--name or --organisation-identifier");
}

static st check_means(struct scope *s, const struct cli_init *want)
{
	if (strcmp(want->clock, "kernel") != 0 && strcmp(want->clock, "test") != 0)
		return fail(s, E_INPUT, "--clock %s: write kernel, or test with --test", want->clock);
	if (strcmp(want->clock, "test") == 0 && !want->test)
		return fail(s, E_INPUT, "--clock test is for test installations (--test): its time-stamps are worth nothing");
	if (access(want->module, R_OK) != 0)
		return fail(s, E_NOTFOUND, "the PKCS#11 module %s is not there: install it, or name another with --module FILE",
			    want->module);
	if (strncmp(want->public_url, "http://", 7) != 0 && strncmp(want->public_url, "https://", 8) != 0)
		return fail(s, E_INPUT, "--public-url %s: it begins with http:// or https://", want->public_url);
	return OK;
}

static st check_port(struct scope *s, const struct cli_init *want, unsigned port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	if (inet_pton(AF_INET, want->host, &at.sin_addr) != 1)
		return fail(s, E_INPUT, "--address %s is no IPv4 address", want->host);
	AUTO_FD probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int yes = 1;
	if (probe < 0 || setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0)
		return fail_errno(s, E_IO, "socket");
	if (bind(probe, (const struct sockaddr *)&at, sizeof at) == 0)
		return OK;
	return fail_errno(s, E_CONFLICT,
			  "%s:%u cannot be listened on; name free ports with --port-base N, or an own address with "
			  "--address IP",
			  want->host, port);
}

static st check_ports(struct scope *s, const struct cli_init *want)
{
	const unsigned ports[] = { want->va_http,        want->va_push,  want->tsa_http, want->tsa_https,
				   want->tsa_management, want->ca_https, want->metrics };
	for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++)
		TRY(check_port(s, want, ports[i]));
	return OK;
}

/* ---- the directory ---- */

static st start_over(struct scope *s, const struct cli *c)
{
	char *aside = scope_printf(s, "%s.interrupted-%lld", c->home, (long long)(scope_now(s) / MOMENT_SECOND));
	if (rename(c->home, aside) != 0)
		return fail_errno(s, E_IO, "moving %s to %s", c->home, aside);
	cli_progress(c, "Moved the interrupted installation to %s", aside);
	return OK;
}

static st check_empty(struct scope *s, const struct cli *c)
{
	char **name;
	size_t count = 0;
	st listed = file_list(s, c->home, &name, &count);
	if (listed.code != E_OK && listed.code != E_NOTFOUND)
		return listed;
	scope_clear_error(s);
	const char *found = NULL;
	for (size_t i = 0; i < count && found == NULL; i++)
		if (name[i][0] != '.' && strcmp(name[i], "lost+found") != 0)
			found = name[i];
	return found == NULL
		       ? OK
		       : fail(s, E_CONFLICT, "%s holds other things (%s): name a directory that is empty or not there yet",
			      c->home, found);
}

/* What is there already? Nothing is ever overwritten: keys may be in it. */
static st check_directory(struct scope *s, const struct cli *c, const struct cli_init *want)
{
	bool begun = cli_init_begun(s, c);
	if (want->goes_on)
		return OK;
	if (begun && cli_get(c, "start-over") != NULL)
		return start_over(s, c);
	if (begun)
		return fail(
			s, E_STATE,
			"an earlier init of %s was interrupted. With people: `chancery --home %s init --continue` goes on. Or the same "
			"command with --start-over moves it aside and begins anew; nothing of it is in use",
			c->home, c->home);
	if (file_exists(cli_path(s, c, "etc/chancery.conf")))
		return fail(s, E_CONFLICT, "%s holds an installation already; start it with `chancery run` and the same --home",
			    c->home);
	return check_empty(s, c);
}

/* ---- a provider that is no test ---- */

static st prepare_person(struct scope *s, const struct cli *c, const struct cli_init *want)
{
	struct timex kernel = { 0 };
	if (ntp_adjtime(&kernel) == TIME_ERROR)
		cli_progress(
			c,
			"The kernel's clock is NOT SYNCHRONISED: certificates will bear its time, and no time-stamp is given "
			"until chrony or another keeps it.");
	if (want->sealed)
		return OK;
	if (!terminal_there())
		return fail(
			s, E_INPUT,
			"PINs are typed at a terminal, and there is none: start this from one, or have them sealed (--pins sealed); "
			"nothing was made");
	if (want->goes_on)
		return OK;
	cli_progress(
		c,
		"Eight tokens are made that no quorum guards (log, tsu, ocsp-issuing, and an identity for each of five keyds). Each gets a "
		"PIN and an officer's PIN that you choose now, %d to %d characters, typed twice and not shown. The PINs are asked for "
		"again whenever the daemons start; the officer's only to set a new PIN.",
		TERMINAL_PIN_MIN, TERMINAL_PIN_MAX);
	return OK;
}

st cli_init_check(struct scope *s, const struct cli *c, const struct cli_init *want)
{
	TRY(check_names(s, want));
	TRY(check_means(s, want));
	TRY(check_directory(s, c, want));
	TRY(check_ports(s, want));
	return want->test ? OK : prepare_person(s, c, want);
}
