#include "cli_conf.h"

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct cli_conf, member_, name_, __VA_ARGS__)
static const struct conf_row head_rows[] = {
	ROW(CONF_STRING, name, "name", .help = "Name of the provider, as people read it."),
	ROW(CONF_BOOLEAN, test, "test", .standard = "no",
	    .help = "A test installation: everything it makes carries a TEST mark."),
	ROW(CONF_PATH, run_directory, "run-directory", .standard = "../run", .help = "Pid files and local sockets."),
	ROW(CONF_PATH, log_directory, "log-directory", .standard = "",
	    .help = "The supervisor writes each daemon's log here; empty: to its own standard error."),
	ROW(CONF_PATH, module, "module", .standard = "/usr/lib/softhsm/libsofthsm2.so",
	    .help = "PKCS#11 module that new key zones are written with."),
	ROW(CONF_STRING, api_url, "api-url", .standard = "https://127.0.0.1:8443", .help = "HTTPS API of the ca."),
	ROW(CONF_PATH, api_certificate, "api-certificate", .standard = "../tls/operator.pem",
	    .help = "The operator's certificate. The tool renews it after two thirds of its life."),
	ROW(CONF_PATH, api_key, "api-key", .standard = "../tls/operator.key", .help = "The operator's private key."),
	ROW(CONF_PATH, api_server_ca, "api-server-ca", .standard = "../tls/management-ca.pem",
	    .help = "Certificate that the ca's own certificate must lead to."),
	ROW(CONF_STRING, ocsp_url, "ocsp-url", .standard = "http://127.0.0.1:8080/ocsp", .help = "Where OCSP is asked."),
	ROW(CONF_STRING, tsa_url, "tsa-url", .standard = "http://127.0.0.1:8081/tsa",
	    .help = "Where time-stamps are asked for."),
	ROW(CONF_STRING, crl_url, "crl-url", .standard = "http://127.0.0.1:8080/crl/issuing.crl",
	    .help = "The published CRL of the issuing CA."),
	ROW(CONF_STRING, repository_url, "repository-url", .standard = "http://127.0.0.1:8080/",
	    .help = "The repository page."),
	ROW(CONF_PATH, certificates, "certificates", .standard = "../certificates",
	    .help = "Directory of the CA certificates."),
	ROW(CONF_PATH, audit_log, "audit-log", .standard = "../state/auditd/log", .help = "Directory of the audit log."),
	ROW(CONF_PATH, audit_key, "audit-key", .standard = "../certificates/log.vkey",
	    .help = "Verifier key of the audit log's checkpoints."),
	ROW(CONF_PATHS, anchors, "anchor", .standard = "",
	    .help = "File in which a daemon keeps the last checkpoint it was acknowledged under; `audit verify` holds the log to it."),
	ROW(CONF_PATH, stamp_anchor, "stamp-anchor", .standard = "../certificates/root.pem",
	    .help = "Certificates, PEM, that the time-stamps of checkpoints must lead to; where the file is not, `audit verify` says "
		    "that it did not verify them."),
	ROW(CONF_PATH, database, "database", .standard = "../state/ca/ca.db",
	    .help = "Database of the ca, for backup and restore."),
	ROW(CONF_PATH, founding, "founding", .standard = "../founding",
	    .help = "Founding document that the tool verifies the register of persons with; where the file is not, it is asked for."),
	ROW(CONF_STRING, founding_hash, "founding-hash", .standard = "",
	    .help = "SHA-256 of the founding document, in hexadecimal: the tool takes no other."),
	ROW(CONF_PATH, people, "people", .standard = "../people",
	    .help = "Directory with the names of persons, a file each: what can be erased of the register."),
};
#undef ROW

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct cli_daemon, member_, name_, __VA_ARGS__)
static const struct conf_row daemon_rows[] = {
	ROW(CONF_STRING, program, "program", .help = "The program: beside the tool, or with its path."),
	ROW(CONF_PATH, config, "config", .help = "Its configuration."),
	ROW(CONF_STRING, zone, "zone", .standard = "", .help = "keyd: the zone it serves."),
	ROW(CONF_PATH, socket, "socket", .standard = "", .help = "Its local socket."),
	ROW(CONF_STRING, health, "health", .standard = "", .help = "Its /healthz, for `chancery status`."),
	ROW(CONF_STRING, metrics, "metrics", .standard = "",
	    .help = "watch: http://ADDRESS:PORT of its metrics-listen, for `chancery metrics`."),
	ROW(CONF_PATH, pin_directory, "pin-directory", .standard = "",
	    .help = "keyd: directory with a file per token that holds its PIN; the supervisor hands them over on a descriptor."),
	ROW(CONF_PATH, pin_sealed, "pin-sealed", .standard = "",
	    .help = "keyd: directory with a file per token that holds its PIN as systemd-creds(1) sealed it to this host; the supervisor, "
		    "which must be root, hands them over on a descriptor."),
	ROW(CONF_BOOLEAN, pin_prompt, "pin-prompt", .standard = "no",
	    .help = "keyd: the supervisor asks for the PINs on its terminal, keeps them in locked memory and hands them over on a "
		    "descriptor."),
	ROW(CONF_LIST, environment, "environment", .standard = "",
	    .help = "NAME=VALUE in its environment, for PKCS#11 modules that are steered by it. Never a secret."),
	ROW(CONF_BOOLEAN, supervised, "supervised", .standard = "yes",
	    .help = "Started by `chancery run`, in the order of this file."),
};
#undef ROW

static const struct conf_section sections[] = {
	{ .name = "",
	  .size = sizeof(struct cli_conf),
	  .rows = head_rows,
	  .row_count = sizeof head_rows / sizeof head_rows[0],
	  .help = "The installation as the command-line tool sees it." },
	{ .name = "daemon",
	  .many = true,
	  .size = sizeof(struct cli_daemon),
	  .offset = offsetof(struct cli_conf, daemons),
	  .rows = daemon_rows,
	  .row_count = sizeof daemon_rows / sizeof daemon_rows[0],
	  .help = "One daemon of this host." },
};

const struct conf_schema cli_conf_schema = {
	.service = "chancery",
	.sections = sections,
	.section_count = sizeof sections / sizeof sections[0],
	.size = sizeof(struct cli_conf),
};

const struct cli_daemon *cli_conf_daemon(const struct cli_conf *conf, const char *label)
{
	const struct cli_daemon *all = cli_conf_daemons(conf);
	for (size_t i = 0; i < conf->daemons.count; i++)
		if (strcmp(all[i].label, label) == 0)
			return &all[i];
	return NULL;
}

const struct cli_daemon *cli_conf_keyd(const struct cli_conf *conf, const char *zone)
{
	const struct cli_daemon *all = cli_conf_daemons(conf);
	for (size_t i = 0; i < conf->daemons.count; i++)
		if (all[i].zone != NULL && strcmp(all[i].zone, zone) == 0)
			return &all[i];
	return NULL;
}
