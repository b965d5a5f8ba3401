/* The ca: its configuration, and everything from start to stop. */
#include "ca_register.h"
#include "daemon.h"
#include "daemon_access.h"
#include "file.h"
#include "log.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>

int ca_main(int argc, char **argv);

#define ROW(type, member, name, ...) CONF_ROW(type, struct ca_conf, member, name, __VA_ARGS__)
static const struct conf_row head_rows[] = {
	ROW(CONF_PATH, database, "database", .access = CONF_REPLACES, .standard = "",
	    .help = "SQLite file with certificates and their status, on a local disk; this or postgresql."),
	ROW(CONF_STRING, postgresql, "postgresql", .standard = "",
	    .help = "Connection to a PostgreSQL database instead, as in `postgresql:///chancery?host=/run/postgresql`; never with a "
		    "password."),
	ROW(CONF_PATH, postgresql_files, "postgresql-files", .access = CONF_SEARCHES, .standard = "",
	    .help = "Directory of the passfile, or certificate and key, that the connection names: the ca may read it."),
	ROW(CONF_BOOLEAN, postgresql_shared, "postgresql-shared", .standard = "no",
	    .help = "Several cas work on this database, each with this setting, on one machine with the same state-directory, keyd and "
		    "auditd."),
	ROW(CONF_PATH, state_directory, "state-directory", .access = CONF_KEEPS, .help = "Directory for CRL files."),
	ROW(CONF_PATH, socket, "socket", .access = CONF_LISTENS,
	    .help = "Local socket of the API, for the ca's own user and root."),
	ROW(CONF_ADDRESS, listen, "listen", .standard = "", .help = "Address of the API with mutual TLS; left out off-line."),
	ROW(CONF_PATH, tls_certificate, "tls-certificate", .access = CONF_REPLACES, .standard = "",
	    .help = "Certificate chain (PEM) for TLS, both as server and towards the vas."),
	ROW(CONF_PATH, tls_key, "tls-key", .standard = "", .help = "Its key (PEM, 0600)."),
	ROW(CONF_PATH, tls_ca, "tls-ca", .standard = "",
	    .help = "Certificate of the management CA, which all peers must lead to."),
	ROW(CONF_PATH, keyd_socket, "keyd-socket", .access = CONF_CONNECTS,
	    .help = "Socket of the keyd that holds the CA keys."),
	ROW(CONF_PATH, audit_socket, "audit-socket", .access = CONF_CONNECTS, .standard = "",
	    .help = "Socket of auditd; this or audit-journal."),
	ROW(CONF_PATH, audit_journal, "audit-journal", .access = CONF_REPLACES, .standard = "",
	    .help = "Local file of records instead of auditd: founding, off-line root."),
	ROW(CONF_PATH, audit_anchor, "audit-anchor", .access = CONF_REPLACES, .standard = "",
	    .help = "File that keeps the last checkpoint a record was acknowledged under."),
	ROW(CONF_PATH, founding, "founding", .access = CONF_OPENS, .standard = "",
	    .help = "Founding document of the register of persons; left out, this ca keeps no register.",
	    .clause = "EN 319 401 REQ-7.2"),
	ROW(CONF_STRING, founding_hash, "founding-hash", .standard = "",
	    .help = "SHA-256 of the founding document, in hexadecimal: the ca starts on no other."),
	ROW(CONF_STRING, instance, "instance", .standard = "ca",
	    .help = "Who this ca is in operations that it carries out; each database behind one log has a name of its own."),
	ROW(CONF_DURATION, crl_life, "crl-life", .standard = "24h", .min = 10 * MOMENT_SECOND, .max = 366 * MOMENT_DAY,
	    .help = "From thisUpdate to nextUpdate, for CAs without a time of their own; a new CRL comes at half of it.",
	    .clause = "EN 319 411-1 CSS-6.3.9-05"),
	ROW(CONF_PATHS, key_blocklist, "key-blocklist", .standard = "",
	    .help = "List of public keys that are not certified, repeated: sorted SHA-256 digests in hexadecimal.",
	    .clause = "CA/Browser Forum BR 6.1.1.3"),
	ROW(CONF_LIST, etsi_curves, "etsi-curves", .standard = "",
	    .help = "Name of a CA, repeated, whose curve set is `etsi` (brainpoolP512r1 as well) instead of `fips`.",
	    .clause = "TS 119 312 6.2.2.3; FIPS 186-5"),
	ROW(CONF_ADDRESS, metrics_listen, "metrics-listen", .standard = "",
	    .help = "Where GET /metrics is answered (Prometheus), ADDRESS:PORT or unix:/path; never where the public comes in. Left out: nowhere."),
	ROW(CONF_INTEGER, workers, "workers", .standard = "64", .min = 2, .max = 512, .help = "Requests worked on at once."),
	ROW(CONF_INTEGER, signers, "signers", .standard = "4", .min = 1, .max = 256,
	    .help = "Threads that issue certificates, each up to 32 at once; more for an HSM on a network."),
	ROW(CONF_INTEGER, feed_window, "feed-window", .standard = "100000", .min = 100, .max = 100000000,
	    .help = "Feed items kept for vas after all have them; a va further behind gets a snapshot."),
};
static const struct conf_row va_rows[] = {
	CONF_ROW(CONF_STRING, struct ca_conf_va, url, "url", .help = "Push address of the va, as in https://127.0.0.1:8444."),
};
static const struct conf_section sections[] = {
	{ .name = "",
	  .size = sizeof(struct ca_conf),
	  .rows = head_rows,
	  .row_count = sizeof head_rows / sizeof head_rows[0],
	  .help = "The certification authority." },
	{ .name = "va",
	  .many = true,
	  .size = sizeof(struct ca_conf_va),
	  .offset = offsetof(struct ca_conf, vas),
	  .rows = va_rows,
	  .row_count = sizeof va_rows / sizeof va_rows[0],
	  .help = "A validation authority that status and CRLs are pushed to." },
};
const struct conf_schema ca_conf_schema = { "ca", sections, sizeof sections / sizeof sections[0], sizeof(struct ca_conf) };

/* ---- threads ---- */

void ca_wait(struct ca *ca, pthread_cond_t *what, int64_t microseconds)
{
	if (!atomic_load(&ca->stopping))
		(void)moment_wait(what, &ca->mutex, moment_monotonic() + microseconds);
}

void ca_wake(struct ca *ca)
{
	(void)pthread_mutex_lock(&ca->mutex);
	(void)pthread_cond_broadcast(&ca->work);
	(void)pthread_cond_broadcast(&ca->news);
	(void)pthread_mutex_unlock(&ca->mutex);
}

st ca_thread(struct scope *s, pthread_t *out, void *(*main)(void *), void *arg)
{
	return pthread_create(out, NULL, main, arg) == 0 ? OK : fail(s, E_IO, "a thread cannot be started");
}

/* ---- start ---- */

static st check_conf(struct scope *s, const struct ca_conf *c)
{
	if ((c->audit_socket == NULL) == (c->audit_journal == NULL))
		return fail(s, E_CONFIG, "ca: give either audit-socket or audit-journal");
	if ((c->database == NULL) == (c->postgresql == NULL))
		return fail(s, E_CONFIG, "ca: give either database, a file of SQLite, or postgresql, a connection");
	if (c->founding == NULL && c->founding_hash != NULL)
		return fail(s, E_CONFIG, "ca: founding-hash is the digest of a document that founding must name");
	if (c->postgresql_shared && (c->postgresql == NULL || c->audit_socket == NULL))
		return fail(s, E_CONFIG,
			    "ca: postgresql-shared needs postgresql and audit-socket: cas compare one database with one log");
	bool tls = c->tls_certificate != NULL && c->tls_key != NULL && c->tls_ca != NULL;
	if (c->listen != NULL && !tls)
		return fail(s, E_CONFIG,
			    "ca: listen needs tls-certificate, tls-key and tls-ca: the API is for authenticated peers only");
	if (c->vas.count > 0 && !tls)
		return fail(s, E_CONFIG,
			    "ca: a va needs tls-certificate, tls-key and tls-ca: status is pushed over mutual TLS only");
	return OK;
}

struct ca *ca_new(const struct ca_conf *conf)
{
	struct ca *ca = heap_alloc(sizeof *ca);
	ca->conf = conf;
	ca->shared = conf->postgresql_shared;
	ca->tls = (struct http_tls_settings){ .certificate = conf->tls_certificate,
					      .key = conf->tls_key,
					      .client_ca = conf->tls_ca };
	atomic_store(&ca->crl_life, conf->crl_life);
	if (pthread_cond_init(&ca->work, NULL) != 0 || pthread_cond_init(&ca->news, NULL) != 0 ||
	    pthread_mutex_init(&ca->mutex, NULL) != 0 || pthread_rwlock_init(&ca->lock, NULL) != 0)
		log_die("no locks for the ca");
	ca_flight_new(ca);
	return ca;
}

static const char *database_of(struct scope *s, const struct ca_conf *c)
{
	if (c->postgresql == NULL)
		return scope_printf(s, "sqlite:%s", c->database);
	bool whole = strncmp(c->postgresql, "postgresql:", strlen("postgresql:")) == 0;
	return whole ? c->postgresql : scope_printf(s, "postgresql:%s", c->postgresql);
}

st ca_open(struct scope *s, struct ca *ca)
{
	const struct ca_conf *c = ca->conf;
	struct audit_settings audit = {
		.socket = c->audit_socket, .journal = c->audit_journal, .component = "ca", .anchor = c->audit_anchor
	};
	TRY(file_make_directory(s, c->state_directory, 0700));
	TRY(audit_open(s, &audit, &ca->audit));
	ca->keyd = key_client_new(c->keyd_socket);
	TRY((ca->shared ? db_open_shared : db_open)(s, database_of(s, c), &ca_schema, &ca->db));
	TRY(ca_entry_start(s, ca));
	TRY(ca_key_lists_load(s, ca, &c->key_blocklist));
	TRY(ca_key_catch_up(s, ca));
	TRY(ca_authority_load(s, ca));
	TRY(ca_register_open(s, ca));
	TRY(ca_relay_start(s, ca));
	TRY(ca_cluster_join(s, ca));
	return ca_register_settle_start(s, ca);
}

static st serve(struct scope *s, struct ca *ca)
{
	const struct ca_conf *c = ca->conf;
	struct http_settings http = {
		.loops = 1,
		.workers = (unsigned)c->workers,
		.together = (unsigned)c->signers,
		.max_connections = 1024,
		.max_header = 16384,
		.idle_seconds = 60,
		.routes = ca_routes,
		.route_count = ca_route_count,
		.state = ca,
		.permit = ca_permit,
	};
	ca->access = daemon_access_new(ca->audit);
	TRY(http_server_new(s, &http, &ca->http));
	TRY(http_listen(s, ca->http, scope_printf(s, "unix:%s", c->socket), NULL));
	if (c->listen != NULL)
		TRY(http_listen(s, ca->http, c->listen, &ca->tls));
	return http_server_start(s, ca->http);
}

static st start_all(struct scope *s, struct ca *ca)
{
	TRY(ca_open(s, ca));
	TRY(ca_flight_start(s, ca));
	TRY(ca_cluster_start(s, ca));
	TRY(ca_crl_start(s, ca));
	ca->threads = 1;
	TRY(ca_push_start(s, ca));
	TRY(serve(s, ca));
	TRY(ca_metrics_serve(s, ca));
	TRY(ca_renew_start(s, ca));
	ca->threads = 2;
	TRY(daemon_record_start(s, ca->audit));
	ca->recorded = true;
	return OK;
}

/* From outside in: no new requests, then what carries effects outward, then what they stand on. */
void ca_stop(void *state)
{
	struct ca *ca = state;
	http_server_stop(ca->metrics_server, 1000);
	if (ca->http != NULL)
		http_server_stop(ca->http, 5000);
	daemon_access_free(ca->access);
	atomic_store(&ca->stopping, true);
	ca_wake(ca);
	if (ca->threads > 0)
		(void)pthread_join(ca->crl_thread, NULL);
	if (ca->threads > 1)
		(void)pthread_join(ca->renew_thread, NULL);
	ca_push_stop(ca);
	ca_cluster_stop(ca);
	ca_flight_stop(ca);
	ca_relay_stop(ca);
	ca_authority_free_all(ca);
	ca_key_lists_free(ca);
	ca_register_close(ca);
	db_close(ca->db);
	if (ca->keyd != NULL)
		key_client_free(ca->keyd);
	if (ca->recorded)
		daemon_record_stop(ca->audit, "asked to");
	if (ca->audit != NULL)
		audit_close(ca->audit);
	(void)pthread_rwlock_destroy(&ca->lock);
	(void)pthread_cond_destroy(&ca->work);
	(void)pthread_cond_destroy(&ca->news);
	(void)pthread_mutex_destroy(&ca->mutex);
	free(ca);
}

static st ca_start(struct scope *s, const void *conf, void **out)
{
	TRY(check_conf(s, conf));
	struct ca *ca = ca_new(conf);
	st status = start_all(s, ca);
	if (status.code != E_OK) {
		ca_stop(ca);
		return status;
	}
	*out = ca;
	return OK;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_list(const struct conf_list *a, const struct conf_list *b)
{
	bool same = a->count == b->count;
	for (size_t i = 0; same && i < a->count; i++)
		same = strcmp(a->item[i], b->item[i]) == 0;
	return same;
}

static st ca_reload(struct scope *s, void *state, const void *conf)
{
	struct ca *ca = state;
	const struct ca_conf *next = conf;
	const struct ca_conf *now = ca->conf;
	const struct ca_conf_va *next_va = next->vas.item, *now_va = now->vas.item;
	bool same = same_text(next->database, now->database) && same_text(next->postgresql, now->postgresql) &&
		    next->postgresql_shared == now->postgresql_shared &&
		    same_text(next->postgresql_files, now->postgresql_files) && same_text(next->socket, now->socket) &&
		    same_text(next->listen, now->listen) && same_text(next->keyd_socket, now->keyd_socket) &&
		    same_text(next->audit_socket, now->audit_socket) && same_text(next->audit_journal, now->audit_journal) &&
		    same_text(next->founding, now->founding) && same_text(next->founding_hash, now->founding_hash) &&
		    same_text(next->instance, now->instance) && same_text(next->state_directory, now->state_directory) &&
		    same_text(next->tls_certificate, now->tls_certificate) && same_text(next->tls_key, now->tls_key) &&
		    same_text(next->tls_ca, now->tls_ca) && next->workers == now->workers && next->signers == now->signers &&
		    next->feed_window == now->feed_window && next->vas.count == now->vas.count &&
		    same_list(&next->etsi_curves, &now->etsi_curves);
	for (size_t i = 0; same && i < next->vas.count; i++)
		same = same_text(next_va[i].label, now_va[i].label) && same_text(next_va[i].url, now_va[i].url);
	st status = same ? ca_key_lists_load(s, ca, &next->key_blocklist) : OK;
	daemon_record_reload(ca->audit, same && status.code == E_OK);
	if (!same)
		return fail(
			s, E_STATE,
			"only crl-life, key-blocklist and the content of the TLS files can change while the ca runs: restart "
			"it for the rest");
	TRY(status);
	atomic_store(&ca->crl_life, next->crl_life);
	http_server_reload(ca->http);
	return OK;
}

/* ---- the database elsewhere ---- */

static void tell_copied(const struct db_table *table, int64_t rows, span digest, void *arg)
{
	printf("%-12s %10lld rows  sha256 %s\n", table->name, (long long)rows, hex_text(arg, digest));
}

static int migrate(const void *conf, int argc, char **argv)
{
	const struct ca_conf *c = conf;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct ca_conf to = { .postgresql = argc == 2 ? argv[1] : NULL };
	st status =
		argc != 2 || c->database == NULL
			? fail(&s, E_INPUT, "name the PostgreSQL database to copy into; this ca's own must be a file of SQLite")
			: db_copy(&s, database_of(&s, c), database_of(&s, &to), &ca_schema, tell_copied, &s);
	if (status.code == E_OK)
		return 0;
	log_failure(&s, "copying the database");
	return code_row(status.code)->exit_code;
}

static const char *keeps(struct scope *s, const void *conf)
{
	(void)s;
	return ((const struct ca_conf *)conf)->state_directory;
}

int ca_main(int argc, char **argv)
{
	static const struct daemon_command commands[] = {
		{ "migrate",
		  "CONNECTION: copy the database into that one of PostgreSQL, which is empty, and prove the copy equal; only while the ca is "
		  "stopped",
		  migrate },
		{ 0 },
	};
	static const struct daemon daemon = {
		.keeps = keeps,
		.name = "ca",
		.summary = "issues and revokes certificates, writes CRLs, feeds the vas",
		.schema = &ca_conf_schema,
		.start = ca_start,
		.reload = ca_reload,
		.stop = ca_stop,
		.commands = commands,
		.may_connect_internet = true,
	};
	return daemon_main(&daemon, argc, argv);
}
