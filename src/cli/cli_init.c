/*
 * `chancery init`: a complete provider in an empty directory, in the order of docs/dev/interfaces.md, "Founding". Every step is a
 * row; which one is under way stands in etc/founding, so that an interrupted run is seen.
 */
#include "cli_init.h"
#include "audit.h"
#include "audit_note.h"
#include "cli_ca.h"
#include "cli_found.h"
#include "cli_init_quorum.h"
#include "cli_nouns.h"
#include "cli_soft_key.h"
#include "file.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "pki_profile.h"
#include <stdio.h>
#include <unistd.h>

#define READY_MS   30000
#define KEYD_COUNT 5

struct founding {
	struct cli *c;
	struct cli_init *want;
	struct cli_child keyd[KEYD_COUNT];
	struct cli_child root_ca, ca;
	cli_api *root_api, *api;
	struct cli_rehearsal_instance identity[KEYD_COUNT];
};

static st child_start(struct scope *s, struct founding *f, const char *label, struct cli_child *out)
{
	AUTO_FD log = -1;
	TRY(cli_open_log(s, f->c, label, &log));
	TRY(cli_spawn(s, f->c, cli_conf_daemon(&f->c->conf, label), (span){ 0 }, log, out));
	return fail_context(s, cli_wait_ready(s, out, READY_MS), "log/%s.log", label);
}

static st start_keyds(struct scope *s, struct founding *f)
{
	for (size_t i = 0; cli_init_zones[i] != NULL; i++)
		TRY(child_start(s, f, scope_printf(s, "keyd-%s", cli_init_zones[i]), &f->keyd[i]));
	return OK;
}

static st plain_key(struct scope *s, struct founding *f, const char *zone, const char *label, struct key_info *want,
		    struct key_info *out)
{
	(void)snprintf(want->label, sizeof want->label, "%s", label);
	(void)snprintf(want->token, sizeof want->token, "%s", label);
	TRY(cli_found_token(s, f->c, zone, label));
	return cli_found_key(s, f->c, zone, want, out);
}

/* The verifier key that goes out to whoever wants to check the log. */
static st make_log_key(struct scope *s, struct founding *f)
{
	struct key_info want = { .type = alg_key_named(SPAN_LITERAL("ed25519")), .purposes = KEY_FOR_LOG };
	(void)snprintf(want.limits.origin, sizeof want.limits.origin, "%s", cli_init_origin(f->want));
	struct key_info made;
	st generated = plain_key(s, f, "log", "log", &want, &made);
	if (generated.code == E_CRYPTO) { /* the token is there by now */
		scope_clear_error(s);
		cli_progress(f->c, "The module has no Ed25519: the log's key is on P-256");
		want.type = alg_key_named(SPAN_LITERAL("ec-p256"));
		generated = cli_found_key(s, f->c, "log", &want, &made);
	}
	TRY(generated);
	struct audit_key verifier;
	TRY(audit_key_of_spki(s, cli_init_origin(f->want), made.spki, &verifier));
	char *line = scope_printf(s, "%s\n", audit_key_text(s, &verifier));
	TRY(file_make_directory(s, f->c->conf.certificates, 0755));
	return file_replace(s, f->c->conf.audit_key, span_str(line), 0644);
}

static const struct ca_key {
	const char *zone, *name, *profile, *type, *cn;
} ca_keys[] = {
	{ "root", "root", "root", "ec-p384", "Root CA" },
	{ "ca", "issuing", "issuing-ca", "ec-p256", "Issuing CA" },
	{ "ca", "management", "management-ca", "ec-p256", "Management CA" },
};

static st make_ca_key(struct scope *s, struct founding *f, const struct ca_key *row)
{
	const char *subject = cli_init_subject(s, f->want, row->cn);
	if (f->want->quorum)
		return cli_init_quorum_key(s, f->c, f->api, row->zone, row->name, row->profile, row->type, subject);
	TRY(cli_found_token(s, f->c, row->zone, row->name));
	return cli_found_ca_key(s, f->c, row->name, row->profile, row->type, subject);
}

static st make_ca_keys(struct scope *s, struct founding *f)
{
	for (size_t i = 0; i < sizeof ca_keys / sizeof ca_keys[0]; i++)
		TRY(make_ca_key(s, f, &ca_keys[i]));
	return OK;
}

/* Where no one process has a certificate of a CA signed: that one, of this CA by that key. */
static st allow_certificate(struct scope *s, struct founding *f, const char *zone, const char *issuer, const char *name,
			    const char *profile, const char *cn)
{
	if (!f->want->quorum)
		return OK;
	return cli_init_quorum_certify(s, f->c, f->api, zone, issuer, name, profile, cli_init_subject(s, f->want, cn));
}

static st make_time_key(struct scope *s, struct founding *f)
{
	struct key_info want = { .type = alg_key_named(SPAN_LITERAL("ec-p256")),
				 .purposes = KEY_FOR_TIME_STAMP | KEY_FOR_REQUEST };
	TRY(der_oid_parse(s, span_str(f->want->tsa_policy), &want.limits.policies[0]));
	want.limits.policy_count = 1;
	want.limits.accuracy_ms = 1000;
	struct key_info made;
	return plain_key(s, f, "time", "tsu", &want, &made);
}

static st make_root(struct scope *s, struct founding *f)
{
	TRY(allow_certificate(s, f, "root", "root", "root", "root", "Root CA"));
	TRY(child_start(s, f, "root-ca", &f->root_ca));
	TRY(cli_api_open_local(s, cli_conf_daemon(&f->c->conf, "root-ca")->socket, &f->root_api));
	AUTO(json_t) *made = NULL;
	/* What the root issues points to the root's own CRL and certificate; it has no OCSP. */
	TRY(cli_ca_request(s, f->c, f->root_api, "root", "root", cli_init_subject(s, f->want, "Root CA"),
			   json_pack("{s:n}", "ocsp_url"), &made));
	const char *pem;
	TRY(cli_found_member(s, made, "certificate", &pem));
	return cli_found_keep(s, f->c, "root", pem);
}

static st start_ca(struct scope *s, struct founding *f)
{
	if (f->api != NULL)
		return OK; /* the register of persons needed it already */
	TRY(child_start(s, f, "ca", &f->ca));
	return cli_api_open_local(s, cli_conf_daemon(&f->c->conf, "ca")->socket, &f->api);
}

static st make_issuing(struct scope *s, struct founding *f)
{
	TRY(start_ca(s, f));
	TRY(allow_certificate(s, f, "root", "root", "issuing", "issuing-ca", "Issuing CA"));
	AUTO(json_t) *made = NULL;
	TRY(cli_ca_request(s, f->c, f->api, "issuing", "issuing-ca", cli_init_subject(s, f->want, "Issuing CA"),
			   json_pack("{s:b}", "request_only", true), &made));
	const char *request;
	TRY(cli_found_member(s, made, "request", &request));
	struct cli_root root = { .api = f->root_api };
	return cli_ca_certify(s, f->c, f->api, &root, "issuing", "issuing-ca", request);
}

static st make_management(struct scope *s, struct founding *f)
{
	AUTO(json_t) *made = NULL;
	TRY(allow_certificate(s, f, "ca", "management", "management", "management-ca", "Management CA"));
	TRY(cli_ca_request(s, f->c, f->api, "management", "management-ca", cli_init_subject(s, f->want, "Management CA"),
			   json_pack("{s:n}", "ocsp_url"), &made));
	const char *pem;
	TRY(cli_found_member(s, made, "certificate", &pem));
	TRY(cli_found_keep(s, f->c, "management", pem));
	return file_replace(s, f->c->conf.api_server_ca, span_str(pem), 0644);
}

static st make_status_signer(struct scope *s, struct founding *f)
{
	return cli_found_ocsp_signer(s, f->c, f->api, "issuing", cli_init_subject(s, f->want, "OCSP Responder"),
				     f->want->lives);
}

static st make_time_unit(struct scope *s, struct founding *f)
{
	span subject;
	char *request;
	TRY(pki_name_parse(s, span_str(cli_init_subject(s, f->want, "Time-Stamp Unit")), &subject));
	TRY(cli_found_request(s, f->c, "time", "tsu", subject, &request));
	AUTO(json_t) *made = NULL;
	TRY(cli_api_call(s, f->api, "POST", "/v1/cas/issuing/certificates",
			 json_pack("{s:s, s:s}", "profile", "tsu", "request", request), &made));
	const char *pem, *chain;
	TRY(cli_found_member(s, made, "certificate", &pem));
	TRY(cli_found_member(s, made, "chain", &chain));
	TRY(cli_found_keep(s, f->c, "chain", chain));
	return cli_found_keep(s, f->c, "tsu", pem);
}

/* A software key and its certificate from the management CA: tls/NAME.key and tls/NAME.pem. With `identity` the ca renews the
 * certificate by itself and pushes it there. */
static st make_tls(struct scope *s, struct founding *f, const char *name, const char *profile, const char *role,
		   json_t *identity)
{
	AUTO(json_t) *body = identity != NULL ? identity : json_object();
	span key, subject, request;
	TRY(cli_soft_key_new(s, &key));
	TRY(file_replace(s, cli_path(s, f->c, scope_printf(s, "tls/%s.key", name)), key, 0600));
	TRY(pki_name_parse(s, span_str(scope_printf(s, "O=%s, CN=%s%s", f->want->organisation, f->want->mark, name)),
			   &subject));
	TRY(cli_soft_key_request(s, key, subject, &request));
	if (f->want->lives > 0)
		(void)json_object_set_new(body, "validity_seconds", json_integer((json_int_t)f->want->lives));
	(void)json_object_set_new(body, "profile", json_string(profile));
	(void)json_object_set_new(body, "role", json_string(role));
	(void)json_object_set_new(body, "request", json_string(pki_pem_write(s, "CERTIFICATE REQUEST", request)));
	if (strcmp(profile, "tls-server") == 0) {
		(void)json_object_set_new(body, "dns_names", json_pack("[s]", "localhost"));
		(void)json_object_set_new(body, "ip_addresses", json_pack("[s]", f->want->host));
	}
	AUTO(json_t) *made = NULL;
	TRY(cli_api_call(s, f->api, "POST", identity != NULL ? "/v1/identities" : "/v1/cas/management/certificates", TAKE(body),
			 &made));
	const char *pem;
	TRY(cli_found_member(s, made, "certificate", &pem));
	return file_replace(s, cli_path(s, f->c, scope_printf(s, "tls/%s.pem", name)), span_str(pem), 0644);
}

static st make_tls_all(struct scope *s, struct founding *f)
{
	TRY(make_tls(
		s, f, "ca", "tls-server", "ca",
		json_pack("{s:s, s:s, s:s}", "name", "tls-ca", "ca", "management", "file", cli_path(s, f->c, "tls/ca.pem"))));
	TRY(make_tls(s, f, "va", "tls-server", "va",
		     json_pack("{s:s, s:s, s:s}", "name", "tls-va", "ca", "management", "push_url",
			       scope_printf(s, "https://%s:%u", f->want->host, f->want->va_push))));
	TRY(make_tls(s, f, "tsa", "tls-server", "tsa",
		     json_pack("{s:s, s:s, s:s}", "name", "tls-tsa", "ca", "management", "push_url",
			       scope_printf(s, "https://%s:%u", f->want->host, f->want->tsa_management))));
	return make_tls(s, f, "operator", "operator", "operator", NULL);
}

/* The on-line ca publishes the root's certificate and CRL, which it does not make. */
static st publish_root(struct scope *s, struct founding *f)
{
	span pem;
	TRY(file_read(s, scope_printf(s, "%s/root.pem", f->c->conf.certificates), 65536, &pem));
	AUTO(json_t) *taken = NULL;
	TRY(cli_api_call(s, f->api, "POST", "/v1/cas",
			 json_pack("{s:s, s:s#}", "name", "root", "certificate", (const char *)pem.data, (int)pem.len),
			 &taken));
	struct cli_root root = { .api = f->root_api };
	AUTO(json_t) *published = NULL;
	span crl;
	TRY(cli_root_crl(s, &root, json_object(), &crl));
	return cli_crl_hand_over(s, f->api, "root", crl, &published);
}

static st first_crls(struct scope *s, struct founding *f)
{
	static const char *const names[] = { "issuing", "management" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		AUTO(json_t) *made = NULL;
		TRY(cli_api_call(s, f->api, "POST", scope_printf(s, "/v1/cas/%s/crls", names[i]), json_object(), &made));
	}
	return OK;
}

static st record_founding(struct scope *s, struct founding *f)
{
	const struct audit_settings settings = { .journal = cli_path(s, f->c, "state/founding.journal"), .component = "cli" };
	struct audit *journal;
	TRY(audit_open(s, &settings, &journal));
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_PROVIDER_FOUNDED);
	audit_str(&e, "name", f->want->name);
	audit_str(&e, "operator", scope_printf(s, "uid %d", (int)getuid()));
	st recorded = audit_finish(s, &e);
	uint64_t index;
	if (recorded.code == E_OK)
		recorded = audit_commit(s, journal, &e, &index);
	audit_close(journal);
	return recorded;
}

static void stop_all(struct founding *f)
{
	cli_api_close(f->api);
	cli_api_close(f->root_api);
	f->api = NULL;
	f->root_api = NULL;
	cli_stop(&f->ca, 10000);
	cli_stop(&f->root_ca, 10000);
	for (size_t i = 0; i < KEYD_COUNT; i++)
		cli_stop(&f->keyd[i], 10000);
}

/* ---- with quorum ---- */

static st make_identities(struct scope *s, struct founding *f)
{
	for (size_t i = 0; f->want->quorum && cli_init_zones[i] != NULL; i++) {
		struct key_info want = { .type = alg_key_named(SPAN_LITERAL("ec-p256")), .purposes = KEY_FOR_IDENTITY }, made;
		TRY(plain_key(s, f, cli_init_zones[i], "identity", &want, &made));
		f->identity[i] = (struct cli_rehearsal_instance){ .name = scope_printf(s, "keyd/%s", cli_init_zones[i]),
								  .spki = scope_copy(s, made.spki) };
	}
	return OK;
}

static st make_people(struct scope *s, struct founding *f)
{
	return f->want->quorum ? cli_rehearsal_people(s, f->c) : OK;
}

static st restart_keyd(struct scope *s, struct founding *f, const char *zone)
{
	for (size_t i = 0; cli_init_zones[i] != NULL; i++) {
		if (strcmp(cli_init_zones[i], zone) != 0)
			continue;
		AUTO_BUF pins;
		AUTO_FD log = -1;
		const char *label = scope_printf(s, "keyd-%s", zone);
		const struct cli_daemon *daemon = cli_conf_daemon(&f->c->conf, label);
		buf_init(&pins, 32768);
		cli_stop(&f->keyd[i], 10000);
		TRY(cli_pins(s, f->c, daemon, &pins));
		TRY(cli_open_log(s, f->c, label, &log));
		TRY(cli_spawn(s, f->c, daemon, buf_span(&pins), log, &f->keyd[i]));
		TRY(fail_context(s, cli_wait_ready(s, &f->keyd[i], READY_MS), "log/%s.log", label));
	}
	return OK;
}

static st sign_founding(struct scope *s, struct founding *f)
{
	if (!f->want->quorum)
		return OK;
	TRY(cli_rehearsal_found(s, f->c, f->want->name, f->identity, KEYD_COUNT, &f->want->founding_hash));
	cli_progress(f->c, "       SHA-256 of the founding document: %s", f->want->founding_hash);
	TRY(cli_init_write(s, f->c, f->want, true));
	return conf_read(s, &cli_conf_schema, cli_path(s, f->c, "etc/chancery.conf"), &f->c->conf);
}

static st give_roles(struct scope *s, struct founding *f)
{
	if (!f->want->quorum)
		return OK;
	TRY(start_ca(s, f));
	TRY(cli_rehearsal_staff(s, f->c, f->api));
	TRY(cli_rehearsal_export(s, f->c, f->api));
	TRY(restart_keyd(s, f, "root"));
	return restart_keyd(s, f, "ca");
}

static st name_management(struct scope *s, struct founding *f)
{
	return f->want->quorum ? cli_init_quorum_management(s, f->c, f->api) : OK;
}

static st settle(struct scope *s, struct founding *f)
{
	stop_all(f);
	TRY(cli_init_write(s, f->c, f->want, false));
	return cli_init_write_env(s, f->c, f->want);
}

static const struct {
	const char *text;
	st (*run)(struct scope *s, struct founding *f);
} steps[] = {
	{ "Record of the founding", record_founding },
	{ "Key zones", start_keyds },
	{ "Key of the audit log", make_log_key },
	{ "Identity of the keyds", make_identities },
	{ "Persons and their tokens (TEST)", make_people },
	{ "Founding document", sign_founding },
	{ "Roles", give_roles },
	{ "Keys of the CAs", make_ca_keys },
	{ "Key of the time-stamp unit", make_time_key },
	{ "Root CA", make_root },
	{ "Issuing CA", make_issuing },
	{ "Management CA", make_management },
	{ "OCSP signer", make_status_signer },
	{ "Time-stamp unit", make_time_unit },
	{ "TLS certificates of daemons and operator", make_tls_all },
	{ "Root certificate and CRL", publish_root },
	{ "First CRLs", first_crls },
	{ "Management CA of the register", name_management },
	{ "Configuration", settle },
};
#define STEPS        (sizeof steps / sizeof steps[0])
#define QUORUM_STEPS 5

static bool is_quorums(st (*run)(struct scope *s, struct founding *f))
{
	return run == make_identities || run == make_people || run == sign_founding || run == give_roles ||
	       run == name_management;
}

static st run_steps(struct scope *s, struct founding *f)
{
	char *marker = cli_path(s, f->c, "etc/founding");
	size_t number = 0, all = f->want->quorum ? STEPS : STEPS - QUORUM_STEPS;
	for (size_t i = 0; i < STEPS; i++) {
		if (!f->want->quorum && is_quorums(steps[i].run))
			continue;
		cli_progress(f->c, "%2zu/%zu  %s", ++number, all, steps[i].text);
		char *line = scope_printf(s, "%s\n", steps[i].text);
		TRY(file_replace(s, marker, span_str(line), 0644));
		TRY(fail_context(s, steps[i].run(s, f), "%s", steps[i].text));
	}
	if (unlink(marker) != 0)
		return fail_errno(s, E_IO, "%s", marker);
	return file_sync_directory_of(s, marker);
}

/* "127.0.0.1" and a base port; the standard ports have no common base. */
static st take_ports(struct scope *s, const struct cli *c, struct cli_init *want)
{
	*want = (struct cli_init){
		.va_http = 8080, .tsa_http = 8081, .ca_https = 8443, .va_push = 8444, .tsa_https = 8445, .tsa_management = 8446
	};
	uint64_t base;
	TRY(cli_get_number(s, c, "port-base", 0, 65529, &base));
	if (base > 0) {
		want->va_http = (unsigned)base;
		want->tsa_http = (unsigned)base + 1;
		want->ca_https = (unsigned)base + 2;
		want->va_push = (unsigned)base + 3;
		want->tsa_https = (unsigned)base + 4;
		want->tsa_management = (unsigned)base + 5;
	}
	want->host = cli_get_or(c, "address", "127.0.0.1");
	want->public_url = cli_get_or(c, "public-url", scope_printf(s, "http://%s:%u/", want->host, want->va_http));
	if (want->public_url[strlen(want->public_url) - 1] != '/')
		want->public_url = scope_printf(s, "%s/", want->public_url);
	return OK;
}

static st take_wishes(struct scope *s, const struct cli *c, struct cli_init *want)
{
	TRY(take_ports(s, c, want));
	want->test = cli_get(c, "test") != NULL;
	want->quorum = cli_get(c, "quorum") != NULL;
	if (want->quorum && !want->test)
		return fail(
			s, E_INPUT,
			"--quorum is for test installations (--test), whose persons are scripted; people found a provider as "
			"docs/guide/operators.md says");
	const char *name = cli_get(c, "name");
	if (name == NULL && !want->test)
		return fail(
			s, E_INPUT,
			"--name NAME is needed: the provider's name as it stands in certificates. To look around first: chancery --home DIR "
			"init --test");
	if (!want->test && (cli_get(c, "organisation-identifier") == NULL || cli_get(c, "tsa-policy") == NULL))
		return fail(s, E_INPUT,
			    "a provider that is no test (--test) needs --organisation-identifier and --tsa-policy of its own");
	if (name == NULL)
		name = "TEST Demo Provider";
	want->mark = want->test ? "TEST " : "";
	want->name = want->test && strncmp(name, "TEST", 4) != 0 ? scope_printf(s, "TEST %s", name) : name;
	want->organisation = want->name;
	want->country = cli_get_or(c, "country", "BE");
	want->organisation_identifier = cli_get_or(c, "organisation-identifier", "NTRBE-0000000000");
	want->tsa_policy = cli_get_or(c, "tsa-policy", "2.999.3161.1");
	TRY(cli_get_number(s, c, "test-lives", 0, 86400, &want->lives));
	if (want->lives > 0 && !want->test)
		return fail(s, E_INPUT, "--test-lives is for test installations (--test)");
	want->clock = cli_get_or(c, "clock", want->test ? "test" : "kernel");
	want->postgresql = cli_get(c, "postgresql");
	want->module = cli_get_or(c, "module", "/usr/lib/softhsm/libsofthsm2.so");
	want->module_init_args = cli_get(c, "module-init-args");
	want->module_directory = cli_get(c, "module-directory");
	return OK;
}

static st begun_in_vain(struct scope *s, const struct cli *c, st why)
{
	char *message = scope_printf(s, "%s", s->message);
	scope_clear_error(s);
	return fail(s, why.code,
		    "%s. Nothing in %s is in use: the same command with --start-over moves it aside and begins anew", message,
		    c->home);
}

static st init(struct scope *s, struct cli *c)
{
	struct cli_init want;
	TRY(take_wishes(s, c, &want));
	TRY(cli_init_check(s, c, &want));
	cli_progress(c, "Founding %s in %s", want.name, c->home);
	TRY(cli_init_write(s, c, &want, true));
	TRY(conf_read(s, &cli_conf_schema, cli_path(s, c, "etc/chancery.conf"), &c->conf));
	struct founding f = { .c = c, .want = &want };
	st founded = run_steps(s, &f);
	stop_all(&f);
	if (founded.code != E_OK)
		return begun_in_vain(s, c, founded);
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:b, s:s}", "provider", want.name, "directory", c->home, "test", want.test,
				   "next", scope_printf(s, "chancery --home %s run", c->home)));
}

static const struct cli_option init_options[] = {
	{ .name = "test",
	  .help = "a test installation: TEST in every name, random PINs kept in test-secrets, time-stamps from an unchecked clock" },
	{ .name = "name", .value = "NAME", .help = "the provider's name, as it stands in certificates" },
	{ .name = "country", .value = "CC", .help = "its country (default BE)" },
	{ .name = "organisation-identifier", .value = "ID", .help = "its registered identifier, NTRBE-0123456789" },
	{ .name = "tsa-policy", .value = "OID", .help = "time-stamp policy" },
	{ .name = "address", .value = "IP", .help = "address of all listeners (default 127.0.0.1)" },
	{ .name = "port-base",
	  .value = "N",
	  .help = "six ports from here: va, tsa, ca, va push, tsa HTTPS, tsa management (default 8080 8081 8443 8444 8445 8446)" },
	{ .name = "public-url", .value = "URL", .help = "where relying parties reach the va (default http://ADDRESS:PORT/)" },
	{ .name = "clock", .value = "KIND", .help = "kernel, or test (only with --test)" },
	{ .name = "module", .value = "FILE", .help = "PKCS#11 module (default SoftHSM 2)" },
	{ .name = "module-init-args",
	  .value = "TEXT",
	  .help = "what the module wants when it is loaded; {zone} stands for ca, status, time, log and root" },
	{ .name = "module-directory", .value = "DIR", .help = "where the module keeps its tokens; {zone} as above" },
	{ .name = "test-lives",
	  .value = "SECONDS",
	  .help = "only with --test: certificates that are renewed by themselves live so long" },
	{ .name = "postgresql",
	  .value = "CONNECTION",
	  .help = "the ca's database is this one of PostgreSQL, which is there and empty, as in postgresql:///chancery?host=/run/postgresql "
		  "(default: a file of SQLite)" },
	{ .name = "quorum",
	  .help = "only with --test: the keys of CAs are under quorum from the founding document on, by scripted persons with tokens of their own" },
	{ .name = "start-over", .help = "move an interrupted installation aside and begin anew" },
};
static const struct cli_command commands[] = {
	{ .summary = "Set up a complete provider: keys, CAs, OCSP signer, time-stamp unit, TLS certificates, configuration",
	  .example = "--home var/first init --test --name 'First Steps'",
	  CLI_OPTIONS(init_options),
	  .without_configuration = true,
	  .run = init },
};
const struct cli_noun cli_noun_init = { "init", "set up a provider", CLI_COMMANDS(commands) };
