#include "moment.h"
#include "va.h"

static const struct conf_row rows[] = {
	CONF_ROW(CONF_LIST, struct va_conf, listen, "listen", .access = CONF_LISTENS, .standard = "127.0.0.1:8080",
		 .help = "Address of the public HTTP listener: OCSP, CRLs, CA certificates. May be repeated.",
		 .clause = "RFC 6960 A.1"),
	CONF_ROW(CONF_ADDRESS, struct va_conf, push_listen, "push-listen", .standard = "127.0.0.1:8444",
		 .help = "Address of the listener on which the ca pushes; mutual TLS."),
	CONF_ROW(CONF_STRING, struct va_conf, push_peer, "push-peer", .standard = "",
		 .help = "Common name in the certificate of the only ca that may push; left out: every certificate of role ca.",
		 .clause = "EN 319 411-1 CSS-6.3.10"),
	CONF_ROW(CONF_PATH, struct va_conf, tls_certificate, "tls-certificate", .access = CONF_REPLACES,
		 .help = "Certificate chain of the push listener, PEM."),
	CONF_ROW(CONF_PATH, struct va_conf, tls_key, "tls-key", .help = "Its private key, PEM, readable for this daemon only."),
	CONF_ROW(CONF_PATH, struct va_conf, tls_ca, "tls-ca", .help = "Certificate of the management CA, PEM."),
	CONF_ROW(CONF_PATH, struct va_conf, state_directory, "state-directory", .access = CONF_KEEPS,
		 .help = "Where the status store and the CRLs are kept."),
	CONF_ROW(CONF_PATH, struct va_conf, keyd_socket, "keyd-socket", .access = CONF_CONNECTS,
		 .help = "Socket of the keyd of zone status."),
	CONF_ROW(CONF_PATH, struct va_conf, audit_socket, "audit-socket", .access = CONF_CONNECTS, .standard = "",
		 .help = "Socket of auditd: no audit, no service."),
	CONF_ROW(CONF_PATH, struct va_conf, audit_journal, "audit-journal", .access = CONF_REPLACES, .standard = "",
		 .help = "Instead of audit-socket where no auditd runs: a local file of records, imported into a log later."),
	CONF_ROW(CONF_PATH, struct va_conf, audit_anchor, "audit-anchor", .access = CONF_REPLACES, .standard = "",
		 .help = "File that keeps the last checkpoint this daemon's records were acknowledged under."),
	CONF_ROW(CONF_DURATION, struct va_conf, ocsp_validity, "ocsp-validity", .standard = "12h", .min = 10 * MOMENT_SECOND,
		 .max = 48 * MOMENT_HOUR,
		 .help = "From thisUpdate to nextUpdate of an OCSP answer; a new one is signed after half of it.",
		 .clause = "RFC 9919; thisUpdate stays under 24 h"),
	CONF_ROW(CONF_DURATION, struct va_conf, ocsp_unknown_validity, "ocsp-unknown-validity", .standard = "60s",
		 .min = MOMENT_SECOND, .max = 10 * MOMENT_MINUTE,
		 .help = "The same for the answer 'unknown', which no cache keeps."),
	CONF_ROW(CONF_DURATION, struct va_conf, ocsp_max_age, "ocsp-max-age", .standard = "15m", .min = 0,
		 .max = 24 * MOMENT_HOUR,
		 .help = "How long HTTP caches may give an OCSP answer again, at most until its nextUpdate.",
		 .clause = "RFC 9919 6"),
	CONF_ROW(CONF_DURATION, struct va_conf, repository_max_age, "repository-max-age", .standard = "5m", .min = 0,
		 .max = 24 * MOMENT_HOUR, .help = "The same for CRLs and CA certificates."),
	CONF_ROW(CONF_DURATION, struct va_conf, feed_silence, "feed-silence", .standard = "15m", .min = MOMENT_MINUTE,
		 .max = 24 * MOMENT_HOUR,
		 .help = "When nothing was heard from the ca for so long, the log and /healthz say so."),
	CONF_ROW(CONF_INTEGER, struct va_conf, ocsp_cache, "ocsp-cache", .standard = "10000", .min = 32, .max = 10000000,
		 .help = "How many signed answers are kept in memory, about 1.2 kB each."),
	CONF_ROW(
		CONF_ADDRESS, struct va_conf, metrics_listen, "metrics-listen", .standard = "",
		.help = "Where GET /metrics is answered (Prometheus), ADDRESS:PORT or unix:/path; never where the public comes in. Left out: nowhere."),
	CONF_ROW(CONF_INTEGER, struct va_conf, loops, "loops", .standard = "2", .min = 1, .max = 64,
		 .help = "Threads that take requests and give answers kept in memory; one for each processor."),
	CONF_ROW(CONF_INTEGER, struct va_conf, workers, "workers", .standard = "8", .min = 1, .max = 256,
		 .help = "Threads that send files and pages."),
	CONF_ROW(
		CONF_INTEGER, struct va_conf, signers, "signers", .standard = "4", .min = 1, .max = 256,
		.help = "Threads that look up status and have answers signed, each up to 32 at once; more for an HSM on a network."),
	CONF_ROW(
		CONF_INTEGER, struct va_conf, queue, "queue", .standard = "0", .max = 1000000,
		.help = "Requests that wait for a signer, and as many for a worker; more are answered tryLater (OCSP) or 503 at once. 0: 2048 a signer, 64 a worker.",
		.clause = "RFC 6960 2.3"),
	CONF_ROW(
		CONF_INTEGER, struct va_conf, max_connections, "max-connections", .standard = "4096", .min = 8, .max = 1000000,
		.help = "Connections open at the same time. Above, the one that waits longest for its request is closed; when all are busy, new ones are refused."),
};

static const struct conf_section sections[] = {
	{ .name = "",
	  .size = sizeof(struct va_conf),
	  .rows = rows,
	  .row_count = sizeof rows / sizeof rows[0],
	  .help = "The validation authority: OCSP, CRLs, CA certificates." },
};
const struct conf_schema va_schema = {
	.service = "va", .sections = sections, .section_count = 1, .size = sizeof(struct va_conf)
};
