/*
 * watch.h - reads the audit log as it grows, probes what the provider offers, and raises alerts: to the log, to a command, an HTTP hook, a
 * mailbox (EN 319 401 REQ-7.9.1-05, -11, -12, -17). It has no key, and nothing depends on it: when it is away, the log waits for it.
 *
 * One thread follows the log (watch_log.c) and feeds the rules (watch_rule.c) and the deadlines (watch_deadline.c); one probes
 * (watch_probe.c); one for each outlet sends (watch_send.c). What is open, what is counted and what was sent is one book (watch_book.c),
 * kept in one file, which says up to which leaf it is true: a kill at any point tells nothing twice in the log, and loses nothing.
 */
#pragma once
#include "audit.h"
#include "conf.h"

struct watch_rule_conf {
	const char *label; /* of a rule that is built in, or a new one */
	bool on;
	const char *severity; /* NULL, 0: as built in */
	int64_t threshold, window;
	struct conf_list event, closing_event; /* names of the catalogue */
	const char *where;                     /* "field=value", "field~part" */
	struct conf_list by;                   /* fields whose values tell one subject from another */
	const char *text;
};
struct watch_outlet_conf {
	const char *label;
	const char *severity; /* and above */
	const char *command;
	const char *url, *tls_ca;
	const char *mail_to, *mail_from, *mail_server;
};
struct watch_probe_conf {
	const char *label;
	const char *kind;    /* health, crl, ocsp, socket */
	const char *service; /* whose outage it is; NULL: nobody's */
	const char *url, *socket, *tls_ca;
	const char *certificate, *issuer; /* ocsp */
};
struct watch_host_conf {
	const char *journal;
	int64_t interval, look_back;
};
struct watch_compare_conf {
	const char *api_url, *ocsp_url, *crl_url; /* api_url NULL: nothing is compared */
	int64_t interval, settle, ocsp_rate;
};
struct watch_metrics_conf {
	const char *label;
	const char *kind; /* keyd, auditd, http */
	const char *socket, *url;
};
struct watch_conf {
	const char *metrics_listen;
	struct conf_group metrics;
	const char *socket, *state;
	const char *audit_socket, *anchor;
	const char *tls_certificate, *tls_key, *tls_ca;
	int64_t probe_interval, probe_failures;
	int64_t outage_once, outage_week;
	int64_t integrity_count, integrity_share; /* share: of a thousand */
	struct watch_host_conf host;
	struct watch_compare_conf compare;
	struct conf_group rules, outlets, probes;
};
extern const struct conf_schema watch_conf_schema;
