/* The configuration of a new installation. Paths inside a file are relative to it, so that the directory may be moved. */
#include "cli_init.h"
#include "file.h"
#include <stdio.h>

const char *const cli_init_zones[] = { "log", "root", "ca", "status", "time", NULL };

__attribute__((format(printf, 2, 3))) static void put(struct buf *out, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (len > 0 && (size_t)len < sizeof text)
		(void)buf_append(out, span_of(text, (size_t)len));
}

static st keep(struct scope *s, const struct cli *c, const char *name, struct buf *text)
{
	st written = file_replace(s, cli_path(s, c, scope_printf(s, "etc/%s", name)), buf_span(text), 0640);
	buf_clear(text);
	return written;
}

/* Where a daemon's records go: its own journal while the provider is founded, and for the off-line root always. */
static void put_audit(struct buf *out, const char *daemon, bool journal)
{
	if (journal)
		put(out, "audit-journal = ../state/%s/journal\n", daemon);
	else
		put(out, "audit-socket = ../run/auditd.sock\naudit-anchor = ../state/%s/anchor\n", daemon);
}

/* chancery-watch hands them on to Prometheus. */
static void put_metrics(struct buf *out, const char *daemon)
{
	put(out, "metrics-listen = unix:../run/%s-metrics.sock\n", daemon);
}

/* "{zone}" becomes the name of the zone. */
static const char *zoned(struct scope *s, const char *text, const char *zone)
{
	const char *mark = strstr(text, "{zone}");
	if (mark == NULL)
		return text;
	return zoned(s, scope_printf(s, "%.*s%s%s", (int)(mark - text), text, zone, mark + strlen("{zone}")), zone);
}

/* What the founders signed, from which a daemon verifies who may do what. */
static void put_founding(struct buf *out, const struct cli_init *want)
{
	if (want->founding_hash != NULL)
		put(out, "founding = ../founding\nfounding-hash = %s\n", want->founding_hash);
}

/* Off line, and while the records go to journals, a keyd has the register of persons from a file. */
static void put_control(struct buf *out, const struct cli_init *want, const char *zone, bool founding)
{
	bool root = strcmp(zone, "root") == 0, makes_keys = root || strcmp(zone, "ca") == 0;
	if (want->founding_hash == NULL || (founding && !makes_keys))
		return;
	put_founding(out, want);
	if (root || founding)
		put(out, "register = ../state/register\n");
}

/* Where the keys of CAs are under quorum their tokens are made by operations, and every keyd has an identity key. */
static bool has_token(const struct cli_init *want, const char *zone, const char *of_zone)
{
	bool of_ca = strcmp(of_zone, "root") == 0 || strcmp(of_zone, "ca") == 0;
	return strcmp(zone, of_zone) == 0 && !(want->quorum && of_ca);
}

static st write_keyd(struct scope *s, const struct cli *c, const struct cli_init *want, const char *zone, bool founding)
{
	static const struct {
		const char *zone, *token;
	} tokens[] = { { "log", "log" },       { "root", "root" },           { "ca", "issuing" },
		       { "ca", "management" }, { "status", "ocsp-issuing" }, { "time", "tsu" } };
	AUTO_BUF out;
	buf_init(&out, 0);
	char *daemon = scope_printf(s, "keyd-%s", zone);
	put(&out,
	    "# Holds the keys of zone %s.\nzone = %s\nmodule = %s\nsocket = ../run/%s.sock\nstate-directory = ../state/%s\n",
	    zone, zone, want->module, daemon, daemon);
	if (want->module_init_args != NULL)
		put(&out, "module_init_args = %s\n", zoned(s, want->module_init_args, zone));
	if (want->module_directory != NULL)
		put(&out, "module-directory = %s\n", zoned(s, want->module_directory, zone));
	for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
		if (has_token(want, zone, tokens[i].zone))
			put(&out, "token = %s\n", tokens[i].token);
	if (want->quorum)
		put(&out, "token = identity\n");
	put_control(&out, want, zone, founding);
	if (founding || strcmp(zone, "root") == 0)
		put(&out, "audit-journal = ../state/%s/journal\n", daemon);
	else
		put(&out, "audit-socket = ../run/auditd.sock\n");
	return keep(s, c, scope_printf(s, "%s.conf", daemon), &out);
}

static st write_ca(struct scope *s, const struct cli *c, const struct cli_init *want, const char *name, const char *zone,
		   bool founding)
{
	bool root = strcmp(name, "root-ca") == 0;
	AUTO_BUF out;
	buf_init(&out, 0);
	put(&out, "# %s\n", root ? "The off-line root's ca: runs only while the root works." : "Issues, revokes and lists.");
	if (want->postgresql != NULL && !root)
		put(&out, "postgresql = %s\n", want->postgresql);
	else
		put(&out, "database = ../state/%s/ca.db\n", name);
	put(&out, "state-directory = ../state/%s\nsocket = ../run/%s.sock\nkeyd-socket = ../run/keyd-%s.sock\n", name, name,
	    zone);
	if (!root) /* already while founding: the ca puts renewed certificates of this host beside it */
		put(&out, "tls-certificate = ../tls/ca.pem\ntls-key = ../tls/ca.key\ntls-ca = ../tls/management-ca.pem\n");
	if (!root && !founding)
		put(&out, "listen = %s:%u\n", want->host, want->ca_https);
	if (!root && !founding)
		put_metrics(&out, "ca");
	put_audit(&out, name, root || founding);
	if (!root)
		put_founding(&out, want);
	if (root)
		put(&out, "crl-life = 180d\n");
	if (!root && !founding)
		put(&out, "\n[va main]\nurl = https://%s:%u\n", want->host, want->va_push);
	return keep(s, c, scope_printf(s, "%s.conf", name), &out);
}

static st write_auditd(struct scope *s, const struct cli *c, const struct cli_init *want)
{
	AUTO_BUF out;
	buf_init(&out, 0);
	put(&out,
	    "# Sole writer of the audit log.\nsocket = ../run/auditd.sock\nlog-directory = ../state/auditd/log\n"
	    "origin = %s\nkeyd-socket = ../run/keyd-log.sock\nkey = log\nfounding-journal = ../state/founding.journal\n",
	    cli_init_origin(want));
	put_founding(&out, want);
	if (want->test) /* elsewhere the authority is somebody else's, and the operator's to choose */
		put(&out, "stamp-url = http://%s:%u/tsa\nstamp-anchor = ../certificates/root.pem\n", want->host,
		    want->tsa_http);
	for (size_t i = 0; cli_init_zones[i] != NULL; i++)
		put(&out, "founding-journal = ../state/keyd-%s/journal\n", cli_init_zones[i]);
	put(&out, "founding-journal = ../state/root-ca/journal\nfounding-journal = ../state/ca/journal\n");
	return keep(s, c, "auditd.conf", &out);
}

static st write_public(struct scope *s, const struct cli *c, const struct cli_init *want)
{
	AUTO_BUF out;
	buf_init(&out, 0);
	put(&out,
	    "# Publishes status: OCSP, CRLs, CA certificates.\nlisten = %s:%u\npush-listen = %s:%u\ntls-certificate = ../tls/va.pem\n"
	    "tls-key = ../tls/va.key\ntls-ca = ../tls/management-ca.pem\nstate-directory = ../state/va\nkeyd-socket = ../run/keyd-status.sock\n",
	    want->host, want->va_http, want->host, want->va_push);
	put_metrics(&out, "va");
	put_audit(&out, "va", false);
	TRY(keep(s, c, "va.conf", &out));
	put(&out,
	    "# Time-stamping authority.\nlisten = %s:%u\nlisten-https = %s:%u\ntls-certificate = ../tls/tsa.pem\ntls-key = ../tls/tsa.key\n"
	    "tls-ca = ../tls/management-ca.pem\nkeyd-socket = ../run/keyd-time.sock\nkey = tsu\ncertificate = ../certificates/tsu.pem\n"
	    "chain = ../certificates/chain.pem\nmanagement-listen = %s:%u\nclock = %s\n%s = %s\n",
	    want->host, want->tsa_http, want->host, want->tsa_https, want->host, want->tsa_management, want->clock,
	    strcmp(want->clock, "test") == 0 ? "test-policy" : "policy", want->tsa_policy);
	put_metrics(&out, "tsa");
	put_audit(&out, "tsa", false);
	return keep(s, c, "tsa.conf", &out);
}

static void put_probe(struct buf *out, const char *name, const char *kind, const char *service, const char *what)
{
	put(out, "\n[probe %s]\nkind = %s\n%s", name, kind, what);
	if (service != NULL)
		put(out, "service = %s\n", service);
}

/* What relying parties use is a service, whose outages are counted. */
static st write_watch(struct scope *s, const struct cli *c, const struct cli_init *want)
{
	AUTO_BUF out;
	buf_init(&out, 0);
	put(&out, "# Watches over the log and the services, and raises alerts. [outlet NAME]: where they go beside the log.\n"
		  "socket = ../run/watch.sock\nstate-directory = ../state/watch\n"
		  "tls-certificate = ../tls/watch.pem\ntls-key = ../tls/watch.key\ntls-ca = ../tls/management-ca.pem\n");
	put(&out, "metrics-listen = 127.0.0.1:%u\n", want->metrics);
	put_audit(&out, "watch", false);
	if (!want->test) /* the host of a test is somebody's own */
		put(&out, "\n[host]\njournal = /var/log/journal\n");
	put_probe(&out, "va", "health", "status", scope_printf(s, "url = %shealthz\n", want->public_url));
	put_probe(&out, "ocsp", "ocsp", "status",
		  scope_printf(s, "url = %socsp\ncertificate = ../certificates/tsu.pem\nissuer = ../certificates/issuing.pem\n",
			       want->public_url));
	put_probe(&out, "crl", "crl", "status", scope_printf(s, "url = %scrl/issuing.crl\n", want->public_url));
	put_probe(&out, "tsa", "health", "time-stamps",
		  scope_printf(s, "url = http://%s:%u/healthz\n", want->host, want->tsa_http));
	put_probe(&out, "ca", "health", "issuance",
		  scope_printf(s, "url = https://%s:%u/healthz\n", want->host, want->ca_https));
	static const char *const zones[] = { "log", "ca", "status", "time" };
	for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
		put_probe(&out, scope_printf(s, "keyd-%s", zones[i]), "socket", NULL,
			  scope_printf(s, "socket = ../run/keyd-%s.sock\n", zones[i]));
	put(&out, "\n[compare]\napi-url = https://%s:%u\nocsp-url = %socsp\ncrl-url = %scrl/{ca}.crl\n", want->host,
	    want->ca_https, want->public_url, want->public_url);
	for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
		put(&out, "\n[metrics keyd-%s]\nkind = keyd\nsocket = ../run/keyd-%s.sock\n", zones[i], zones[i]);
	put(&out, "\n[metrics auditd]\nkind = auditd\nsocket = ../run/auditd.sock\n");
	static const char *const by_http[] = { "va", "tsa", "ca" };
	for (size_t i = 0; i < sizeof by_http / sizeof by_http[0]; i++)
		put(&out, "\n[metrics %s]\nkind = http\nsocket = ../run/%s-metrics.sock\n", by_http[i], by_http[i]);
	return keep(s, c, "watch.conf", &out);
}

static void put_keyd_row(struct buf *out, const struct cli_init *want, const char *zone, bool supervised)
{
	put(out,
	    "\n[daemon keyd-%s]\nprogram = chancery-keyd\nconfig = keyd-%s.conf\nzone = %s\nsocket = ../run/keyd-%s.sock\n",
	    zone, zone, zone, zone);
	put(out,
	    want->sealed ? "pin-sealed = ../sealed/%s\n"
	    : want->test ? "pin-directory = ../test-secrets/%s\n"
			 : "pin-prompt = yes\n# zone %s\n",
	    zone);
	if (!supervised)
		put(out, "supervised = no\n");
}

static void put_service_row(struct buf *out, const char *name, const char *program, const char *rest)
{
	put(out, "\n[daemon %s]\nprogram = chancery-%s\nconfig = %s.conf\n%s", name, program, name, rest);
}

static st write_chancery(struct scope *s, const struct cli *c, const struct cli_init *want)
{
	AUTO_BUF out;
	buf_init(&out, 0);
	put(&out,
	    "# This installation, for the command-line tool and the supervisor. Daemons start in the order of this file.\n"
	    "name = %s\ntest = %s\nlog-directory = ../log\nmodule = %s\napi-url = https://%s:%u\nocsp-url = %socsp\ntsa-url = http://%s:%u/tsa\n"
	    "crl-url = %scrl/issuing.crl\nrepository-url = %s\n",
	    want->name, want->test ? "yes" : "no", want->module, want->host, want->ca_https, want->public_url, want->host,
	    want->tsa_http, want->public_url, want->public_url);
	if (want->founding_hash != NULL)
		put(&out, "founding-hash = %s\n", want->founding_hash);
	static const char *const anchored[] = { "ca", "va", "tsa", "watch", "keyd-ca", "keyd-status", "keyd-time", "keyd-log" };
	for (size_t i = 0; i < sizeof anchored / sizeof anchored[0]; i++)
		put(&out, "anchor = ../state/%s/anchor\n", anchored[i]);
	put_keyd_row(&out, want, "log", true);
	put_service_row(&out, "auditd", "auditd", "socket = ../run/auditd.sock\n");
	static const char *const later[] = { "ca", "status", "time" };
	for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
		put_keyd_row(&out, want, later[i], true);
	put_service_row(&out, "va", "va", scope_printf(s, "health = %shealthz\n", want->public_url));
	put_service_row(&out, "tsa", "tsa", scope_printf(s, "health = http://%s:%u/healthz\n", want->host, want->tsa_http));
	put_service_row(
		&out, "ca", "ca",
		scope_printf(s, "socket = ../run/ca.sock\nhealth = https://%s:%u/healthz\n", want->host, want->ca_https));
	put_service_row(&out, "watch", "watch",
			scope_printf(s, "socket = ../run/watch.sock\nmetrics = http://127.0.0.1:%u\n", want->metrics));
	put_keyd_row(&out, want, "root", false);
	put_service_row(&out, "root-ca", "ca", "socket = ../run/root-ca.sock\nsupervised = no\n");
	return keep(s, c, "chancery.conf", &out);
}

st cli_init_write(struct scope *s, const struct cli *c, const struct cli_init *want, bool founding)
{
	TRY(file_make_directory(s, cli_path(s, c, "etc"), 0755));
	for (size_t i = 0; cli_init_zones[i] != NULL; i++) {
		TRY(file_make_directory(s, cli_path(s, c, scope_printf(s, "state/keyd-%s/tokens", cli_init_zones[i])), 0700));
		if (want->sealed)
			TRY(file_make_directory(s, cli_path(s, c, scope_printf(s, "sealed/%s", cli_init_zones[i])), 0700));
		TRY(write_keyd(s, c, want, cli_init_zones[i], founding));
	}
	static const char *const states[] = { "state/auditd/log", "state/ca", "state/root-ca", "state/va", "state/tsa",
					      "state/watch",      "run",      "log",           "tls" };
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		TRY(file_make_directory(s, cli_path(s, c, states[i]), 0755));
	TRY(write_ca(s, c, want, "root-ca", "root", founding));
	TRY(write_ca(s, c, want, "ca", "ca", founding));
	TRY(write_auditd(s, c, want));
	TRY(write_public(s, c, want));
	TRY(write_watch(s, c, want));
	return write_chancery(s, c, want);
}

st cli_init_write_env(struct scope *s, const struct cli *c, const struct cli_init *want)
{
	AUTO_BUF out;
	buf_init(&out, 0);
	put(&out,
	    "CHANCERY=\"%s --home %s\"\nCHANCERY_OCSP_URL=%socsp\nCHANCERY_TSA_URL=http://%s:%u/tsa\nCHANCERY_CRL_URL=%scrl/issuing.crl\n"
	    "CHANCERY_REPOSITORY_URL=%s\nCHANCERY_API_URL=https://%s:%u\n",
	    c->program, c->home, want->public_url, want->host, want->tsa_http, want->public_url, want->public_url, want->host,
	    want->ca_https);
	put(&out,
	    "CHANCERY_ROOT_PEM=%s/certificates/root.pem\nCHANCERY_ISSUING_PEM=%s/certificates/issuing.pem\n"
	    "CHANCERY_TSU_PEM=%s/certificates/tsu.pem\n",
	    c->home, c->home, c->home);
	put(&out,
	    "export CHANCERY CHANCERY_OCSP_URL CHANCERY_TSA_URL CHANCERY_CRL_URL CHANCERY_REPOSITORY_URL CHANCERY_API_URL\n"
	    "export CHANCERY_ROOT_PEM CHANCERY_ISSUING_PEM CHANCERY_TSU_PEM\n");
	return file_replace(s, cli_path(s, c, "env"), buf_span(&out), 0644);
}

const char *cli_init_origin(const struct cli_init *want)
{
	return want->test ? "chancery.test/log" : "chancery/log";
}

char *cli_init_subject(struct scope *s, const struct cli_init *want, const char *cn)
{
	return scope_printf(s, "C=%s, O=%s, organizationIdentifier=%s, CN=%s%s", want->country, want->organisation,
			    want->organisation_identifier, want->mark, cn);
}
