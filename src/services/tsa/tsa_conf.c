#include "tsa.h"
#include "moment.h"

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct tsa_conf, member_, name_, __VA_ARGS__)

static const struct conf_row rows[] = {
	ROW(CONF_LIST, listen, "listen", .access = CONF_LISTENS, .standard = "",
	    .help = "Addresses for plain HTTP, as in 127.0.0.1:8081; repeat for more.", .clause = "RFC 3161, 3.4"),
	ROW(CONF_LIST, tls_listen, "listen-https", .access = CONF_LISTENS, .standard = "",
	    .help = "Addresses for HTTPS, as in 127.0.0.1:8445; repeat for more.",
	    .clause = "Implementing Regulation (EU) 2025/1929"),
	ROW(CONF_ADDRESS, management_listen, "management-listen", .standard = "",
	    .help = "Address where the ca, and only it, pushes a renewed TLS certificate; left out, nobody does."),
	ROW(CONF_PATH, tls_certificate, "tls-certificate", .access = CONF_REPLACES, .standard = "",
	    .help = "TLS certificate with its chain, PEM."),
	ROW(CONF_PATH, tls_key, "tls-key", .standard = "", .help = "Private key of the TLS certificate, PEM, mode 0600."),
	ROW(CONF_PATH, tls_ca, "tls-ca", .standard = "",
	    .help = "Certificate of the management CA, PEM: who may use management-listen."),
	ROW(CONF_PATH, keyd_socket, "keyd-socket", .access = CONF_CONNECTS, .help = "Socket of the keyd of zone \"time\"."),
	ROW(CONF_STRING, key, "key", .standard = "tsu", .help = "Label of the time-stamp unit's key at keyd."),
	ROW(CONF_PATH, certificate, "certificate", .help = "Certificate of the time-stamp unit, PEM.",
	    .clause = "RFC 3161, 2.3"),
	ROW(CONF_PATH, chain, "chain",
	    .help = "Certificates from the unit's issuer up to the root, PEM; all but the root go into tokens when asked for.",
	    .clause = "EN 319 421, TIS-7.6.4-05"),
	ROW(CONF_LIST, policies, "policy", .standard = "",
	    .help = "Policy identifiers accepted, the first is the standard one; repeat for more. None: test-policy, else "
		    "BTSP, 0.4.0.2023.1.1.",
	    .clause = "EN 319 421, 5.2"),
	ROW(CONF_OID, test_policy, "test-policy", .standard = "",
	    .help = "Policy identifier marked as one of tests: the only one accepted, and needed, with clock = test."),
	ROW(CONF_BOOLEAN, qualified, "qualified", .standard = "no",
	    .help = "The unit issues qualified time-stamps, and no others; needs clock = kernel.",
	    .clause = "EN 319 421, TIS-8.2-01"),
	ROW(CONF_DURATION, accuracy, "accuracy", .standard = "500ms", .min = 1000, .max = 1000000,
	    .help = "Accuracy declared in every token, in whole milliseconds; nothing is stamped when the clock may be worse.",
	    .clause = "EN 319 422, 5.2.2"),
	ROW(CONF_CHOICE, clock, "clock", .standard = "kernel", .choices = "kernel test",
	    .help = "kernel: stamp only while the kernel's clock is synchronised within the accuracy; test: stamp any time, "
		    "for tests.",
	    .clause = "EN 319 421, TIS-7.7.2"),
	ROW(CONF_INTEGER, verify_every, "verify-every", .standard = "100", .min = 1, .max = 1000000,
	    .help = "One token in so many, and the first after each start, is verified before it leaves."),
	ROW(CONF_PATH, audit_socket, "audit-socket", .access = CONF_CONNECTS, .standard = "",
	    .help = "Socket of auditd: no audit, no token."),
	ROW(CONF_PATH, audit_journal, "audit-journal", .access = CONF_REPLACES, .standard = "",
	    .help = "Instead of audit-socket where no auditd runs: a local file of records, imported into the log later."),
	ROW(CONF_PATH, audit_anchor, "audit-anchor", .access = CONF_REPLACES, .standard = "",
	    .help = "File that keeps the last checkpoint acknowledged under."),
	ROW(CONF_INTEGER, loops, "loops", .standard = "2", .min = 1, .max = 64,
	    .help = "Threads that read and write connections."),
	ROW(CONF_ADDRESS, metrics_listen, "metrics-listen", .standard = "",
	    .help = "Where GET /metrics is answered (Prometheus), ADDRESS:PORT or unix:/path; never where the public comes in. Left out: nowhere."),
	ROW(CONF_INTEGER, workers, "workers", .standard = "4", .min = 1, .max = 512,
	    .help = "Threads that have tokens signed, each up to 32 at once; more for an HSM on a network."),
	ROW(CONF_INTEGER, queue, "queue", .standard = "0", .max = 1000000,
	    .help = "Requests that wait for a worker; more are rejected with systemFailure at once. 0: 2048 for each.",
	    .clause = "RFC 3161 2.4.2"),
	ROW(CONF_INTEGER, max_connections, "max-connections", .standard = "1024", .min = 1, .max = 100000,
	    .help = "Connections open at the same time. Above, the one that waits longest for its request is closed; when all are busy, "
		    "new ones are refused."),
	ROW(CONF_DURATION, idle, "idle", .standard = "30s", .min = 1000000, .max = 3600000000,
	    .help = "A connection without a complete request for so long is closed."),
};

static const struct conf_section sections[] = {
	{ .name = "",
	  .size = sizeof(struct tsa_conf),
	  .rows = rows,
	  .row_count = sizeof rows / sizeof rows[0],
	  .help = "The time-stamping authority." },
};

const struct conf_schema tsa_schema = {
	.service = "tsa",
	.sections = sections,
	.section_count = 1,
	.size = sizeof(struct tsa_conf),
};
