#include "moment.h"
#include "watch.h"

#define SEVERITIES "info notice warning alert"

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct watch_conf, member_, name_, __VA_ARGS__)
static const struct conf_row rows[] = {
	ROW(CONF_PATH, socket, "socket", .access = CONF_LISTENS,
	    .help = "Local socket that tells which alerts are open (HTTP)."),
	ROW(CONF_PATH, state, "state-directory", .access = CONF_KEEPS,
	    .help = "What is open, counted and sent, and up to which record."),
	ROW(CONF_PATH, audit_socket, "audit-socket", .access = CONF_CONNECTS,
	    .help = "Socket of auditd: the log is read and alerts are put on record there."),
	ROW(CONF_PATH, anchor, "audit-anchor", .access = CONF_REPLACES, .standard = "",
	    .help = "File that keeps the last checkpoint that its records were acknowledged under."),
	ROW(CONF_PATH, tls_certificate, "tls-certificate", .standard = "",
	    .help = "Its certificate (role watch) for the ca's API, PEM."),
	ROW(CONF_PATH, tls_key, "tls-key", .standard = "", .help = "Private key of the certificate, PEM, mode 0600."),
	ROW(CONF_PATH, tls_ca, "tls-ca", .standard = "",
	    .help = "Certificate that servers of https:// probes must lead to, PEM."),
	ROW(CONF_ADDRESS, metrics_listen, "metrics-listen", .standard = "",
	    .help = "Where Prometheus gets the metrics of chancery-watch (/metrics) and of each [metrics NAME] (/metrics/NAME)."),
	ROW(CONF_DURATION, probe_interval, "probe-interval", .standard = "30s", .min = 10000, .max = MOMENT_DAY,
	    .help = "Pause between two rounds of probes."),
	ROW(CONF_INTEGER, probe_failures, "probe-failures", .standard = "2", .min = 1, .max = 100,
	    .help = "An alert is raised when a probe has failed so often in a row."),
	ROW(CONF_DURATION, outage_once, "outage-limit", .standard = "20m", .min = 10000, .max = MOMENT_DAY,
	    .help = "A service that is down for longer is a significant incident.", .clause = "EN 319 401 REQ-7.9.3-07"),
	ROW(CONF_DURATION, outage_week, "outage-limit-week", .standard = "1h", .min = 10000, .max = 7 * MOMENT_DAY,
	    .help = "So is one that was down for longer within a week, all taken together.",
	    .clause = "EN 319 401 REQ-7.9.3-07"),
	ROW(CONF_INTEGER, integrity_count, "integrity-limit", .standard = "100", .min = 0, .max = 1000000,
	    .help = "So is a false status (OCSP, CRL and database differ) of more certificates of a CA than this.",
	    .clause = "EN 319 401 REQ-7.9.3-07"),
	ROW(CONF_INTEGER, integrity_share, "integrity-limit-share", .standard = "1", .min = 0, .max = 1000,
	    .help = "So is one of more than this many of each thousand certificates of a CA.",
	    .clause = "EN 319 401 REQ-7.9.3-07"),
};
#undef ROW

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct watch_rule_conf, member_, name_, __VA_ARGS__)
static const struct conf_row rule_rows[] = {
	ROW(CONF_BOOLEAN, on, "on", .standard = "yes", .help = "A rule that is not on raises nothing."),
	ROW(CONF_CHOICE, severity, "severity", .standard = "", .choices = SEVERITIES, .help = "Of the alert.",
	    .clause = "RFC 5424 6.2.1"),
	ROW(CONF_INTEGER, threshold, "threshold", .standard = "", .min = 1, .max = 1000,
	    .help = "So many records within the window raise the alert."),
	ROW(CONF_DURATION, window, "window", .standard = "", .min = MOMENT_SECOND / 10, .max = 366 * MOMENT_DAY,
	    .help = "A rule that no record closes is closed when there was none that counts for so long."),
	ROW(CONF_LIST, event, "event", .standard = "",
	    .help = "Events of the catalogue that count, repeated; a new rule needs one."),
	ROW(CONF_LIST, closing_event, "closing-event", .standard = "",
	    .help = "Events that close the alert, repeated; left out, quiet does."),
	ROW(CONF_STRING, where, "where", .standard = "",
	    .help = "FIELD=VALUE or FIELD~PART: only records whose field has this value, or contains this part, count."),
	ROW(CONF_LIST, by, "by", .standard = "",
	    .help = "Fields, repeated: records with other values in them are counted apart, and raise alerts of their own."),
	ROW(CONF_STRING, text, "text", .standard = "", .help = "What the alert says: what it means and what to do."),
};
#undef ROW

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct watch_outlet_conf, member_, name_, __VA_ARGS__)
static const struct conf_row outlet_rows[] = {
	ROW(CONF_CHOICE, severity, "severity", .standard = "notice", .choices = SEVERITIES,
	    .help = "Alerts of this severity and above are sent."),
	ROW(CONF_PATH, command, "command", .standard = "", .access = CONF_OPENS,
	    .help = "Program that is started for each, with the alert as JSON on its standard input; exit code 0 means that it was told."),
	ROW(CONF_STRING, url, "url", .standard = "",
	    .help = "HTTP hook: the alert is posted there as JSON; 2xx means that it was told."),
	ROW(CONF_PATH, tls_ca, "tls-ca", .standard = "",
	    .help = "Certificate that the server of an https:// url must lead to; left out, those of the system hold."),
	ROW(CONF_STRING, mail_to, "mail-to", .standard = "", .help = "Mail address the alert is sent to."),
	ROW(CONF_STRING, mail_from, "mail-from", .standard = "", .help = "Mail address it is sent from."),
	ROW(CONF_STRING, mail_server, "mail-server", .standard = "",
	    .help = "smtp://HOST:PORT of the mail server that takes it.", .clause = "RFC 5321"),
};
#undef ROW

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct watch_probe_conf, member_, name_, __VA_ARGS__)
static const struct conf_row probe_rows[] = {
	ROW(CONF_CHOICE, kind, "kind", .choices = "health crl ocsp socket",
	    .help = "health: the url answers with 200; crl: what it answers with is a CRL that is not about to end; ocsp: the responder there "
		    "answers for the certificate; socket: somebody listens."),
	ROW(CONF_STRING, service, "service", .standard = "",
	    .help = "Whose outage it is when the probe fails: its time down is counted against the limits."),
	ROW(CONF_STRING, url, "url", .standard = "", .help = "What is asked, http:// or https://."),
	ROW(CONF_PATH, socket, "socket", .standard = "", .access = CONF_CONNECTS, .help = "The socket, for kind socket."),
	ROW(CONF_PATH, certificate, "certificate", .standard = "",
	    .help = "Certificate that the responder is asked about, PEM."),
	ROW(CONF_PATH, issuer, "issuer", .standard = "", .help = "Certificate of its CA, PEM."),
};
#undef ROW

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct watch_host_conf, member_, name_, __VA_ARGS__)
static const struct conf_row host_rows[] = {
	ROW(CONF_PATH, journal, "journal", .access = CONF_SEARCHES, .standard = "",
	    .help = "Directory of the systemd journal (/var/log/journal); left out, nothing is read.",
	    .clause = "EN 319 401 REQ-7.9.1-04"),
	ROW(CONF_DURATION, interval, "interval", .standard = "5s", .min = 100000, .max = MOMENT_HOUR,
	    .help = "Pause between two readings."),
	ROW(CONF_DURATION, look_back, "look-back", .standard = "1d", .min = 0, .max = 36500 * MOMENT_DAY,
	    .help = "How far the first reading goes back; later ones go on where the one before ended."),
};
#undef ROW

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct watch_metrics_conf, member_, name_, __VA_ARGS__)
static const struct conf_row metrics_rows[] = {
	ROW(CONF_CHOICE, kind, "kind", .choices = "keyd auditd http",
	    .help = "How it is asked: keyd and auditd by the frames of their local socket, all others by HTTP."),
	ROW(CONF_PATH, socket, "socket", .standard = "", .access = CONF_CONNECTS,
	    .help = "Its local socket; for http that of its metrics-listen."),
	ROW(CONF_STRING, url, "url", .standard = "", .help = "http://ADDRESS:PORT of its metrics-listen."),
};
#undef ROW

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct watch_compare_conf, member_, name_, __VA_ARGS__)
static const struct conf_row compare_rows[] = {
	ROW(CONF_STRING, api_url, "api-url", .standard = "", .help = "HTTPS API of the ca; left out, nothing is compared."),
	ROW(CONF_STRING, ocsp_url, "ocsp-url", .standard = "", .help = "The responder, where relying parties ask it."),
	ROW(CONF_STRING, crl_url, "crl-url", .standard = "",
	    .help = "Where relying parties get CRLs; {ca} stands for the name of the CA."),
	ROW(CONF_DURATION, interval, "interval", .standard = "1d", .min = MOMENT_SECOND, .max = 366 * MOMENT_DAY,
	    .help = "Pause between two rounds; the first begins a 24th of it after the start.",
	    .clause = "EN 319 411-2 OVR-6.6.3-02"),
	ROW(CONF_DURATION, settle, "settle", .standard = "60s", .min = 0, .max = MOMENT_HOUR,
	    .help = "What differs is looked at again after so long: a revocation takes a moment to arrive everywhere."),
	ROW(CONF_INTEGER, ocsp_rate, "ocsp-rate", .standard = "200", .min = 1, .max = 10000,
	    .help = "At most so many OCSP requests a second, so that the responder has time for others."),
};
#undef ROW

#define SECTION(name_, many_, struct_, offset_, rows_, help_)                                                                  \
	{                                                                                                                      \
		.name = name_, .many = many_, .size = sizeof(struct_), .offset = offset_, .rows = rows_,                       \
		.row_count = sizeof rows_ / sizeof rows_[0], .help = help_                                                     \
	}
static const struct conf_section sections[] = {
	SECTION("", false, struct watch_conf, 0, rows, "Watches over the log and the services."),
	SECTION("host", false, struct watch_host_conf, offsetof(struct watch_conf, host), host_rows,
		"Logins, privileges, start and stop, time and failures of the host, from its journal into the log."),
	SECTION("rule", true, struct watch_rule_conf, offsetof(struct watch_conf, rules), rule_rows,
		"A rule: changes the built-in one of this label (`chancery alert rules` lists them), or is a new one."),
	SECTION("outlet", true, struct watch_outlet_conf, offsetof(struct watch_conf, outlets), outlet_rows,
		"Where alerts go beside the log: one of command, url and mail-to."),
	SECTION("compare", false, struct watch_compare_conf, offsetof(struct watch_conf, compare), compare_rows,
		"Whether OCSP, CRL and database say the same of every certificate."),
	SECTION("metrics", true, struct watch_metrics_conf, offsetof(struct watch_conf, metrics), metrics_rows,
		"A daemon of this host whose metrics are handed on to Prometheus."),
	SECTION("probe", true, struct watch_probe_conf, offsetof(struct watch_conf, probes), probe_rows,
		"What is asked again and again, as those who rely on it would."),
};
const struct conf_schema watch_conf_schema = { .service = "watch",
					       .sections = sections,
					       .section_count = sizeof sections / sizeof sections[0],
					       .size = sizeof(struct watch_conf) };
