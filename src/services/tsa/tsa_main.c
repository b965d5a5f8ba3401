#include "daemon.h"
#include "daemon_access.h"
#include "log.h"
#include "tsa.h"
#include <stdlib.h>

#define STOP_GRACE_MS 5000
#define MAX_HEADER    8192

/* ---- what the configuration's rows cannot say alone ---- */

static bool test_clock(const struct tsa_conf *conf)
{
	return strcmp(conf->clock, "test") == 0;
}

static st check_clock(struct scope *s, const struct tsa_conf *conf)
{
	//= en319421#TIS-8.2-01 a qualified unit never stamps with a clock that nobody watches
	if (test_clock(conf) && conf->qualified)
		return fail(s, E_CONFIG,
			    "clock = test is refused for a qualified unit (EN 319 421, TIS-7.7.2); use clock = kernel");
	if (test_clock(conf) && conf->test_policy == NULL)
		return fail(s, E_CONFIG,
			    "clock = test needs test-policy: a policy identifier that tells everybody these are tests");
	for (size_t i = 0; conf->test_policy != NULL && i < conf->policies.count; i++)
		if (strcmp(conf->policies.item[i], conf->test_policy) == 0)
			return fail(s, E_CONFIG, "%s cannot be both policy and test-policy", conf->test_policy);
	if (conf->accuracy % 1000 != 0)
		return fail(s, E_CONFIG, "accuracy is stated in whole milliseconds (EN 319 422, 5.2.2)");
	return OK;
}

static st check_listeners(struct scope *s, const struct tsa_conf *conf)
{
	bool tls = conf->tls_listen.count > 0 || conf->management_listen != NULL;
	if (conf->listen.count + conf->tls_listen.count == 0)
		return fail(s, E_CONFIG, "give at least one address with listen or listen-https");
	if (tls && (conf->tls_certificate == NULL || conf->tls_key == NULL))
		return fail(s, E_CONFIG, "listen-https and management-listen need tls-certificate and tls-key");
	if (conf->management_listen != NULL && conf->tls_ca == NULL)
		return fail(s, E_CONFIG, "management-listen needs tls-ca: whose certificates are let in");
	if (conf->qualified && conf->tls_listen.count == 0)
		return fail(s, E_CONFIG,
			    "a qualified unit must be reached by HTTPS (Regulation (EU) 2025/1929); give listen-https");
	return OK;
}

static st check_audit(struct scope *s, const struct tsa_conf *conf)
{
	if ((conf->audit_socket == NULL) == (conf->audit_journal == NULL))
		return fail(s, E_CONFIG, "name audit-socket, or audit-journal where no auditd runs, not both");
	return OK;
}

/* ---- the clock's records ---- */

static st record_lost(struct scope *s, const char *reason, void *arg)
{
	struct tsa *tsa = arg;
	uint64_t index;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_CLOCK_LOST);
	audit_str(&e, "reason", reason);
	TRY(audit_finish(s, &e));
	return audit_commit(s, tsa->audit, &e, &index);
}

static st record_regained(struct scope *s, int64_t offset, int64_t error, void *arg)
{
	struct tsa *tsa = arg;
	uint64_t index;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_CLOCK_REGAINED);
	audit_number(&e, "offset_us", offset);
	audit_number(&e, "error_us", error);
	TRY(audit_finish(s, &e));
	return audit_commit(s, tsa->audit, &e, &index);
}

static st record_sample(struct scope *s, const struct tsa_clock_sample *sample, void *arg)
{
	struct tsa *tsa = arg;
	uint64_t index;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_CLOCK_SAMPLED);
	audit_number(&e, "samples", sample->looks);
	audit_number(&e, "trusted", sample->trusted);
	audit_number(&e, "offset_us", sample->offset);
	audit_number(&e, "error_us", sample->error);
	audit_time(&e, "since", sample->since);
	audit_time(&e, "until", sample->until);
	TRY(audit_finish(s, &e));
	return audit_commit(s, tsa->audit, &e, &index);
}

static st record_leap(struct scope *s, bool inserted, int64_t day, void *arg)
{
	struct tsa *tsa = arg;
	uint64_t index;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_CLOCK_LEAP);
	audit_str(&e, "change", inserted ? "inserted" : "deleted");
	audit_time(&e, "day", day);
	TRY(audit_finish(s, &e));
	return audit_commit(s, tsa->audit, &e, &index);
}

static st start_clock(struct scope *s, struct tsa *tsa)
{
	const struct tsa_conf *conf = tsa->conf;
	if (test_clock(conf))
		log_put(LOG_LEVEL_WARNING,
			"TEST: clock = test, the time is not checked against anything; every token carries the test "
			"policy %s and is worth nothing",
			conf->test_policy);
	const struct tsa_clock_settings settings = {
		.kind = test_clock(conf) ? TSA_CLOCK_TEST : TSA_CLOCK_KERNEL,
		.accuracy = conf->accuracy,
		.source = &tsa_clock_kernel,
		.lost = record_lost,
		.regained = record_regained,
		.sampled = record_sample,
		.leap = record_leap,
		.arg = tsa,
	};
	tsa->clock = tsa_clock_new(&settings);
	return tsa_clock_watch(s, tsa->clock);
}

/* ---- listeners ---- */

static st listen_on(struct scope *s, struct http_server *server, const struct conf_list *addresses,
		    const struct http_tls_settings *tls)
{
	for (size_t i = 0; i < addresses->count; i++)
		TRY(http_listen(s, server, addresses->item[i], tls));
	return OK;
}

static st open_public(struct scope *s, struct tsa *tsa)
{
	const struct tsa_conf *conf = tsa->conf;
	const struct http_settings settings = {
		.loops = (unsigned)conf->loops,
		.together = (unsigned)conf->workers,
		.queue = (unsigned)conf->queue,
		.max_connections = (unsigned)conf->max_connections,
		.max_header = MAX_HEADER,
		.idle_seconds = (int)(conf->idle / MOMENT_SECOND),
		.routes = tsa_public_routes,
		.route_count = tsa_public_route_count,
		.state = tsa,
		.failed = tsa_query_failed,
	};
	const struct http_tls_settings tls = { .certificate = conf->tls_certificate, .key = conf->tls_key };
	TRY(http_server_new(s, &settings, &tsa->server));
	TRY(listen_on(s, tsa->server, &conf->listen, NULL));
	TRY(listen_on(s, tsa->server, &conf->tls_listen, &tls));
	return http_server_start(s, tsa->server);
}

static st open_management(struct scope *s, struct tsa *tsa)
{
	const struct tsa_conf *conf = tsa->conf;
	if (conf->management_listen == NULL)
		return OK;
	const struct http_settings settings = {
		.loops = 1,
		.workers = 1,
		.max_connections = 16,
		.max_header = MAX_HEADER,
		.idle_seconds = (int)(conf->idle / MOMENT_SECOND),
		.routes = tsa_management_routes,
		.route_count = tsa_management_route_count,
		.state = tsa,
		.permit = tsa_management_permit,
	};
	const struct http_tls_settings tls = { .certificate = conf->tls_certificate,
					       .key = conf->tls_key,
					       .client_ca = conf->tls_ca };
	TRY(http_server_new(s, &settings, &tsa->management));
	TRY(http_listen(s, tsa->management, conf->management_listen, &tls));
	return http_server_start(s, tsa->management);
}

/* ---- start, reload, stop ---- */

/* Nobody comes in, and whoever came is on record. */
static void close_doors(struct tsa *tsa)
{
	tsa_watch_stop(tsa->watch);
	tsa->watch = NULL;
	http_server_stop(tsa->metrics_server, STOP_GRACE_MS);
	tsa->metrics_server = NULL;
	http_server_stop(tsa->management, STOP_GRACE_MS);
	http_server_stop(tsa->server, STOP_GRACE_MS);
	tsa_clock_free(tsa->clock); /* puts its last sample on record */
	tsa->clock = NULL;
	daemon_access_free(tsa->access);
	audit_tally_free(tsa->refused);
	tsa->management = NULL;
	tsa->server = NULL;
	tsa->access = NULL;
	tsa->refused = NULL;
}

static void free_all(struct tsa *tsa)
{
	close_doors(tsa);
	key_client_free(tsa->keyd);
	audit_close(tsa->audit);
	tsa_unit_free(tsa->unit);
	free(tsa);
}

static void stop(void *state)
{
	struct tsa *tsa = state;
	close_doors(tsa);
	daemon_record_stop(tsa->audit, "asked to");
	free_all(tsa);
}

static st assemble(struct scope *s, struct tsa *tsa)
{
	const struct tsa_conf *conf = tsa->conf;
	const struct audit_settings audit = {
		.socket = conf->audit_socket, .journal = conf->audit_journal, .component = "tsa", .anchor = conf->audit_anchor
	};
	TRY(check_clock(s, conf));
	TRY(check_listeners(s, conf));
	TRY(check_audit(s, conf));
	TRY(audit_open(s, &audit, &tsa->audit));
	tsa->keyd = key_client_new(conf->keyd_socket);
	TRY(tsa_unit_load(s, conf, tsa->keyd, &tsa->unit));
	TRY(daemon_record_start(s, tsa->audit));
	tsa->access = daemon_access_new(tsa->audit);
	tsa->refused = audit_tally_new(tsa->audit, MOMENT_MINUTE);
	TRY(tsa_record_unit(s, tsa, conf, tsa->unit));
	TRY(start_clock(s, tsa));
	tsa->watch = tsa_watch_start(tsa);
	TRY(open_management(s, tsa));
	TRY(open_public(s, tsa));
	return tsa_metrics_serve(s, tsa);
}

static st start(struct scope *s, const void *conf, void **out_state)
{
	struct tsa *tsa = heap_alloc(sizeof *tsa);
	tsa->conf = conf;
	st assembled = assemble(s, tsa);
	if (assembled.code != E_OK) {
		free_all(tsa);
		return assembled;
	}
	*out_state = tsa;
	return OK;
}

/* What is fixed for the life of the process. */
static bool same_ground(const struct tsa_conf *a, const struct tsa_conf *b)
{
	const char *const pairs[][2] = { { a->clock, b->clock },
					 { a->key, b->key },
					 { a->keyd_socket, b->keyd_socket },
					 { a->test_policy, b->test_policy },
					 { a->management_listen, b->management_listen },
					 { a->audit_socket, b->audit_socket },
					 { a->audit_journal, b->audit_journal },
					 { a->tls_certificate, b->tls_certificate },
					 { a->tls_key, b->tls_key },
					 { a->tls_ca, b->tls_ca } };
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
		if (!span_equal(span_str(pairs[i][0]), span_str(pairs[i][1])))
			return false;
	return a->accuracy == b->accuracy && a->qualified == b->qualified && a->verify_every == b->verify_every &&
	       a->loops == b->loops && a->workers == b->workers && a->queue == b->queue &&
	       a->max_connections == b->max_connections && a->idle == b->idle;
}

static st reload_unit(struct scope *s, struct tsa *tsa, const struct tsa_conf *new)
{
	if (!same_ground(tsa->conf, new))
		return fail(s, E_STATE,
			    "only certificate, chain and policy are read anew; everything else changes at a restart");
	struct tsa_unit *unit = NULL;
	TRY(tsa_unit_load(s, new, tsa->keyd, &unit));
	st recorded = tsa_record_unit(s, tsa, new, unit);
	if (recorded.code != E_OK) {
		tsa_unit_free(unit);
		return recorded;
	}
	unit->earlier = tsa->unit;
	__atomic_store_n(&tsa->unit, unit, __ATOMIC_RELEASE);
	http_server_reload(tsa->server);
	if (tsa->management != NULL)
		http_server_reload(tsa->management);
	return OK;
}

static st reload(struct scope *s, void *state, const void *new)
{
	struct tsa *tsa = state;
	st reloaded = reload_unit(s, tsa, new);
	daemon_record_reload(tsa->audit, reloaded.code == E_OK);
	return reloaded;
}

/* It has no directory but that of its anchor. */
static const char *keeps(struct scope *s, const void *conf)
{
	const char *anchor = ((const struct tsa_conf *)conf)->audit_anchor;
	const char *slash = anchor == NULL ? NULL : strrchr(anchor, '/');
	return slash == NULL ? NULL : scope_cstr(s, span_of(anchor, (size_t)(slash - anchor)));
}

static const struct daemon tsa_daemon = {
	.keeps = keeps,
	.name = "tsa",
	.summary = "time-stamping authority (RFC 3161)",
	.schema = &tsa_schema,
	.start = start,
	.reload = reload,
	.stop = stop,
	.may_connect_internet = true,
};

int tsa_main(int argc, char **argv)
{
	return daemon_main(&tsa_daemon, argc, argv);
}
