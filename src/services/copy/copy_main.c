#include "copy.h"
#include "daemon.h"
#include "daemon_access.h"
#include "file.h"
#include "moment.h"
#include <stdlib.h>

#define STOP_GRACE_MS   5000
#define MAX_HEADER      8192
#define MAX_CONNECTIONS 16

#define ROW(type_, member_, name_, ...) CONF_ROW(type_, struct copy_conf, member_, name_, __VA_ARGS__)
static const struct conf_row rows[] = {
	ROW(CONF_ADDRESS, listen, "listen", .help = "Address for HTTPS with mutual TLS, where auditd puts the log."),
	ROW(CONF_PATH, tls_certificate, "tls-certificate", .access = CONF_REPLACES,
	    .help = "TLS certificate with its chain, PEM."),
	ROW(CONF_PATH, tls_key, "tls-key", .help = "Private key of the TLS certificate, PEM, mode 0600."),
	ROW(CONF_PATH, tls_ca, "tls-ca",
	    .help = "Certificate of the management CA, PEM, that auditd's certificate must lead to."),
	ROW(CONF_STRING, peer_role, "peer-role", .standard = "auditd",
	    .help = "Role in the certificate of who may put the log here."),
	ROW(CONF_PATH, log, "log-directory", .access = CONF_KEEPS,
	    .help = "Directory of the copy (tlog-tiles layout); nobody else writes in it.",
	    .clause = "EN 319 401 REQ-7.9.1-16"),
	ROW(CONF_PATH, log_key, "log-key",
	    .help = "File with the verifier key of the log that is kept here, NAME+id+base64; further lines: keys it was rolled over from."),
	ROW(CONF_PATH, stamp_anchor, "stamp-anchor", .standard = "",
	    .help = "Certificates, PEM, one of which the signer of each time-stamp of the log must lead to; left out, time-stamps are kept "
		    "for others to verify.",
	    .clause = "RFC 3161 2.3"),
	ROW(CONF_PATH, keyd, "keyd-socket", .access = CONF_CONNECTS,
	    .help = "Socket of this host's keyd that has the cosigning key."),
	ROW(CONF_STRING, key, "key", .standard = "copy", .help = "Label of the key that cosigns: Ed25519, for log."),
	ROW(CONF_STRING, name, "name",
	    .help = "Name of the cosigner in notes, such as example.org/copy, without spaces or plus."),
	ROW(CONF_PATH, audit_socket, "audit-socket", .access = CONF_CONNECTS, .standard = "",
	    .help = "Socket of an auditd of this host, for its records."),
	ROW(CONF_PATH, audit_journal, "audit-journal", .access = CONF_REPLACES, .standard = "",
	    .help = "Its records go to this file where no auditd runs."),
	ROW(CONF_PATH, founding, "founding", .access = CONF_OPENS, .standard = "",
	    .help = "Founding document of the provider: from it on the copy verifies who had records of the log removed (operation log.purge), and "
		    "removes the same. Without it nothing is removed here, and a log that lacks content is refused.",
	    .clause = "practice statement 5.4.3"),
	ROW(CONF_STRING, founding_hash, "founding-hash", .standard = "",
	    .help = "SHA-256 of the founding document, in hexadecimal, as the founders' paper has it: the copy starts on no other.",
	    .clause = "practice statement 5.2.1"),
	ROW(CONF_ADDRESS, metrics_listen, "metrics-listen", .standard = "",
	    .help = "Where GET /metrics is answered, and /metrics/keyd with the page of its keyd (Prometheus), ADDRESS:PORT or unix:/path; never "
		    "where the public comes in. Left out: nowhere."),
	ROW(CONF_DURATION, idle, "idle", .standard = "2m", .min = MOMENT_SECOND, .max = MOMENT_HOUR,
	    .help = "A connection without a request for so long is closed."),
};
#undef ROW
static const struct conf_section sections[] = {
	{ .name = "",
	  .size = sizeof(struct copy_conf),
	  .rows = rows,
	  .row_count = sizeof rows / sizeof rows[0],
	  .help = "The second place of an audit log, which cosigns what it holds." },
};
static const struct conf_schema schema = {
	.service = "copy", .sections = sections, .section_count = 1, .size = sizeof(struct copy_conf)
};

static st read_log_key(struct scope *s, struct copy *c)
{
	span text;
	TRY(file_read(s, c->conf->log_key, 16384, &text));
	TRY(fail_context(s, audit_keys_parse(s, text, c->log_key, &c->log_keys), "%s", c->conf->log_key));
	for (size_t i = 1; i < c->log_keys; i++)
		if (!span_equal(c->log_key[i].name, c->log_key[0].name))
			return fail(s, E_CONFIG, "%s has keys of two logs; a copy keeps one", c->conf->log_key);
	return OK;
}

/* For who is to verify its cosignatures. */
static st write_own_key(struct scope *s, const struct copy *c)
{
	struct key_info info;
	struct audit_key key;
	TRY(key_find(s, c->keyd, c->conf->key, &info));
	TRY(audit_cosigner_of_spki(s, c->conf->name, info.spki, &key));
	return file_replace(s, scope_printf(s, "%s/cosigner", c->conf->log),
			    span_str(scope_printf(s, "%s\n", audit_key_text(s, &key))), 0644);
}

static st open_server(struct scope *s, struct copy *c)
{
	const struct http_settings settings = {
		.loops = 1,
		.workers = 1, /* one thing after the other: at most one body in memory is worked on */
		.max_connections = MAX_CONNECTIONS,
		.max_header = MAX_HEADER,
		.idle_seconds = (int)(c->conf->idle / MOMENT_SECOND),
		.routes = copy_routes,
		.route_count = copy_route_count,
		.state = c,
		.permit = copy_permit
	};
	const struct http_tls_settings tls = { .certificate = c->conf->tls_certificate,
					       .key = c->conf->tls_key,
					       .client_ca = c->conf->tls_ca };
	TRY(http_server_new(s, &settings, &c->server));
	TRY(http_listen(s, c->server, c->conf->listen, &tls));
	return http_server_start(s, c->server);
}

static st assemble(struct scope *s, struct copy *c)
{
	const struct copy_conf *conf = c->conf;
	const struct audit_settings audit = { .socket = conf->audit_socket,
					      .journal = conf->audit_journal,
					      .component = "copy" };
	TRY(audit_name_check(s, span_str(conf->name)));
	TRY(read_log_key(s, c));
	if (conf->stamp_anchor != NULL)
		TRY(stamp_trust_open(s, conf->stamp_anchor, &c->trust));
	TRY(copy_load(s, c));
	TRY(audit_open(s, &audit, &c->audit));
	c->keyd = key_client_new(conf->keyd);
	TRY(write_own_key(s, c));
	TRY(daemon_record_start(s, c->audit));
	c->access = daemon_access_new(c->audit);
	TRY(copy_follower_new(s, c, &c->follower));
	TRY(open_server(s, c));
	copy_follower_start(c->follower);
	return copy_metrics_serve(s, c);
}

/* Nobody comes in, and whoever came is on record. */
static void close_door(struct copy *c)
{
	http_server_stop(c->metrics_server, STOP_GRACE_MS);
	http_server_stop(c->server, STOP_GRACE_MS);
	daemon_access_free(c->access);
	c->metrics_server = NULL;
	c->server = NULL;
	c->access = NULL;
	copy_follower_stop(c->follower);
}

static void free_all(struct copy *c)
{
	close_door(c);
	copy_follower_free(c->follower);
	key_client_free(c->keyd);
	audit_close(c->audit);
	stamp_trust_close(c->trust);
	buf_free(&c->note);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

static void stop(void *state)
{
	struct copy *c = state;
	close_door(c);
	daemon_record_stop(c->audit, "asked to");
	free_all(c);
}

static st start(struct scope *s, const void *conf, void **out_state)
{
	struct copy *c = heap_alloc(sizeof *c);
	c->conf = conf;
	buf_init(&c->note, AUDIT_NOTE_MAX);
	(void)pthread_mutex_init(&c->lock, NULL);
	st assembled = assemble(s, c);
	if (assembled.code != E_OK) {
		free_all(c);
		return assembled;
	}
	*out_state = c;
	return OK;
}

static const char *keeps(struct scope *s, const void *conf)
{
	(void)s;
	return ((const struct copy_conf *)conf)->log;
}

static const struct daemon copy_daemon = {
	.keeps = keeps,
	.name = "copy",
	.summary = "second place of an audit log: keeps what auditd puts there and cosigns it",
	.schema = &schema,
	.start = start,
	.stop = stop,
	.may_connect_internet = true,
};

int copy_main(int argc, char **argv);

int copy_main(int argc, char **argv)
{
	return daemon_main(&copy_daemon, argc, argv);
}
