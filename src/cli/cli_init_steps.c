/*
 * The steps by which `chancery init` founds a provider, in the order of docs/dev/interfaces.md, "Founding". Which one is under way stands in
 * etc/founding: an interrupted one is seen, and one with people goes on there. Every step leaves what it finds made.
 */
#include "audit.h"
#include "audit_note.h"
#include "cli_ca.h"
#include "cli_found.h"
#include "cli_init.h"
#include "cli_rehearsal.h"
#include "cli_soft_key.h"
#include "file.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "pki_profile.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define READY_MS   30000
#define KEYD_COUNT 5
#define PINS_MAX   4096

struct founding {
	struct cli *c;
	struct cli_init *want;
	struct cli_child keyd[KEYD_COUNT];
	struct buf pins[KEYD_COUNT]; /* of the tokens that were made or opened, in locked memory, for another start */
	struct cli_child root_ca, ca;
	cli_api *root_api, *api;
	struct cli_ceremony_instance identity[KEYD_COUNT];
	struct cli_cast cast;
	cli_ceremony *m;  /* NULL: no quorum */
	const char *step; /* that is under way */
};

static st child_start(struct scope *s, struct founding *f, const char *label, span pins, struct cli_child *out)
{
	AUTO_FD log = -1;
	TRY(cli_open_log(s, f->c, label, &log));
	TRY(cli_spawn(s, f->c, cli_conf_daemon(&f->c->conf, label), pins, log, out));
	return fail_context(s, cli_wait_ready(s, out, READY_MS), "log/%s.log", label);
}

static size_t zone_at(const char *zone)
{
	size_t i = 0;
	while (cli_init_zones[i] != NULL && strcmp(cli_init_zones[i], zone) != 0)
		i++;
	return i;
}

static st start_keyd(struct scope *s, struct founding *f, const char *zone)
{
	size_t i = zone_at(zone);
	return child_start(s, f, scope_printf(s, "keyd-%s", zone), buf_span(&f->pins[i]), &f->keyd[i]);
}

/* Of the tokens that were made before it was interrupted. */
static st pins_of(struct scope *s, struct founding *f, size_t i)
{
	const struct cli_daemon *daemon = cli_conf_keyd(&f->c->conf, cli_init_zones[i]);
	char *rest = scope_printf(s, "%s", f->want->tokens), *start = scope_printf(s, "token: %s ", cli_init_zones[i]);
	if (!daemon->pin_prompt)
		return f->want->goes_on ? cli_pins(s, f->c, daemon, &f->pins[i]) : OK;
	for (char *line; (line = strsep(&rest, "\n")) != NULL;)
		if (strncmp(line, start, strlen(start)) == 0)
			TRY(cli_pin_ask(s, daemon, line + strlen(start), &f->pins[i]));
	return OK;
}

static st start_keyds(struct scope *s, struct founding *f)
{
	for (size_t i = 0; cli_init_zones[i] != NULL; i++) {
		buf_init(&f->pins[i], PINS_MAX);
		if (!buf_reserve(&f->pins[i], PINS_MAX) || mlock(f->pins[i].data, f->pins[i].room) != 0)
			return fail_errno(s, E_IO, "locking PINs into memory");
		TRY(pins_of(s, f, i));
		TRY(start_keyd(s, f, cli_init_zones[i]));
	}
	return OK;
}

static st own_token(struct scope *s, struct founding *f, const char *zone, const char *token)
{
	bool there;
	TRY(cli_found_has_token(s, f->c, zone, token, &there));
	if (there)
		return OK;
	TRY(cli_found_token(s, f->c, zone, token, &f->pins[zone_at(zone)]));
	f->want->tokens = scope_printf(s, "%stoken: %s %s\n", f->want->tokens, zone, token);
	return cli_init_mark(s, f->c, f->want, f->step);
}

static st plain_key(struct scope *s, struct founding *f, const char *zone, const char *label, struct key_info *want,
		    struct key_info *out)
{
	(void)snprintf(want->label, sizeof want->label, "%s", label);
	(void)snprintf(want->token, sizeof want->token, "%s", label);
	TRY(own_token(s, f, zone, label));
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

static st make_time_key(struct scope *s, struct founding *f)
{
	struct key_info want = { .type = alg_key_named(SPAN_LITERAL("ec-p256")),
				 .purposes = KEY_FOR_TIME_STAMP | KEY_FOR_REQUEST };
	TRY(der_oid_parse(s, span_str(f->want->tsa_policy), &want.limits.policies[0]));
	want.limits.policy_count = 1;
	want.limits.accuracy_ms = 1000;
	struct key_info made;
	TRY(plain_key(s, f, "time", "tsu", &want, &made));
	return own_token(s, f, "status", "ocsp-issuing");
}

/* ---- CAs ---- */

enum { ROOT, ISSUING, MANAGEMENT, CAS };

static void ca_keys_of(struct scope *s, const struct founding *f, struct cli_ca_key out[CAS])
{
	static const struct cli_ca_key rows[CAS] = {
		[ROOT] = { "root", "root", "root", "ec-p384", "Root CA" },
		[ISSUING] = { "ca", "issuing", "issuing-ca", "ec-p256", "Issuing CA" },
		[MANAGEMENT] = { "ca", "management", "management-ca", "ec-p256", "Management CA" },
	};
	for (size_t i = 0; i < CAS; i++) {
		out[i] = rows[i];
		out[i].subject = cli_init_subject(s, f->want, rows[i].subject);
	}
}

static st make_groups(struct scope *s, struct founding *f)
{
	struct cli_ca_key key[CAS];
	ca_keys_of(s, f, key);
	return cli_ca_groups(s, f->m, key, CAS);
}

static st activate_groups(struct scope *s, struct founding *f)
{
	struct cli_ca_key key[CAS];
	ca_keys_of(s, f, key);
	return cli_ca_activate(s, f->m, key, CAS);
}

static st make_ca_keys(struct scope *s, struct founding *f)
{
	struct cli_ca_key key[CAS];
	ca_keys_of(s, f, key);
	if (f->m != NULL)
		return cli_ca_keys(s, f->m, key, CAS);
	for (size_t i = 0; i < CAS; i++) {
		TRY(own_token(s, f, key[i].zone, key[i].name));
		TRY(cli_found_ca_key(s, f->c, key[i].name, key[i].profile, key[i].type, key[i].subject));
	}
	return OK;
}

/* The CA as it is there; NULL: it is not. */
static st look_for_ca(struct scope *s, struct cli_api *api, const char *name, json_t **out)
{
	st asked = cli_api_call(s, api, "GET", scope_printf(s, "/v1/cas/%s", name), NULL, out);
	if (asked.code != E_NOTFOUND)
		return asked;
	scope_clear_error(s);
	return OK;
}

static bool is_certified(struct scope *s, const struct founding *f, const char *ca)
{
	return file_exists(scope_printf(s, "%s/%s.pem", f->c->conf.certificates, ca));
}

/* What is asked for beyond the usual. What the root issues points to the root's own CRL and certificate; it has no OCSP. */
static json_t *more_of(size_t ca)
{
	return ca == ISSUING ? json_pack("{s:b}", "request_only", true) : json_pack("{s:n}", "ocsp_url");
}

/* All approvals that the certificates of the CAs need, at once; they are carried out as the CAs are made. */
static st approve_cas(struct scope *s, struct founding *f)
{
	static const size_t issuer[CAS] = { [ROOT] = ROOT, [ISSUING] = ROOT, [MANAGEMENT] = MANAGEMENT };
	struct cli_ca_key key[CAS];
	ca_keys_of(s, f, key);
	for (size_t i = 0; i < CAS; i++) {
		AUTO(json_t) *there = NULL;
		if (is_certified(s, f, key[i].name))
			continue;
		TRY(cli_ca_plan_certify(s, f->m, &key[issuer[i]], &key[i]));
		if (i == ROOT)
			continue; /* its ca is off line, and asks nobody */
		TRY(look_for_ca(s, f->api, key[i].name, &there));
		if (there == NULL)
			TRY(cli_ca_plan(s, f->m, &key[i], more_of(i)));
	}
	return cli_ceremony_approve(s, f->m);
}

static st make_self_signed(struct scope *s, struct founding *f, size_t ca, struct cli_api *api)
{
	struct cli_ca_key key[CAS];
	AUTO(json_t) *made = NULL;
	const char *pem;
	ca_keys_of(s, f, key);
	TRY(look_for_ca(s, api, key[ca].name, &made));
	if (made == NULL && f->m != NULL)
		TRY(cli_ca_allow(s, f->m, &key[ca], &key[ca]));
	if (made == NULL)
		TRY(cli_ca_request(s, f->c, api, f->m, &key[ca], more_of(ca), &made));
	TRY(cli_found_member(s, made, "certificate", &pem));
	return cli_found_keep(s, f->c, key[ca].name, pem);
}

static st make_root(struct scope *s, struct founding *f)
{
	TRY(child_start(s, f, "root-ca", (span){ 0 }, &f->root_ca));
	TRY(cli_api_open_local(s, cli_conf_daemon(&f->c->conf, "root-ca")->socket, &f->root_api));
	return make_self_signed(s, f, ROOT, f->root_api);
}

static st start_ca(struct scope *s, struct founding *f)
{
	if (f->api != NULL)
		return OK; /* the register of persons needed it already */
	TRY(child_start(s, f, "ca", (span){ 0 }, &f->ca));
	return cli_api_open_local(s, cli_conf_daemon(&f->c->conf, "ca")->socket, &f->api);
}

static st make_issuing(struct scope *s, struct founding *f)
{
	struct cli_ca_key key[CAS];
	AUTO(json_t) *made = NULL;
	const char *request;
	ca_keys_of(s, f, key);
	TRY(start_ca(s, f));
	if (is_certified(s, f, "issuing"))
		return OK;
	TRY(look_for_ca(s, f->api, "issuing", &made));
	if (made == NULL)
		TRY(cli_ca_request(s, f->c, f->api, f->m, &key[ISSUING], more_of(ISSUING), &made));
	if (f->m != NULL)
		TRY(cli_ca_allow(s, f->m, &key[ROOT], &key[ISSUING]));
	TRY(cli_found_member(s, made, "request", &request));
	struct cli_root root = { .api = f->root_api };
	return cli_ca_certify(s, f->c, f->api, &root, "issuing", "issuing-ca", request);
}

static st make_management(struct scope *s, struct founding *f)
{
	span pem;
	TRY(make_self_signed(s, f, MANAGEMENT, f->api));
	TRY(file_read(s, scope_printf(s, "%s/management.pem", f->c->conf.certificates), 65536, &pem));
	return file_replace(s, f->c->conf.api_server_ca, pem, 0644);
}

/* ---- certificates of the daemons ---- */

static st make_status_signer(struct scope *s, struct founding *f)
{
	if (is_certified(s, f, "ocsp"))
		return OK;
	return cli_found_ocsp_signer(s, f->c, f->api, "issuing", cli_init_subject(s, f->want, "OCSP Responder"), f->want->lives,
				     &f->pins[zone_at("status")]);
}

static st make_time_unit(struct scope *s, struct founding *f)
{
	span subject;
	char *request;
	if (is_certified(s, f, "tsu"))
		return OK;
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
	if (file_exists(cli_path(s, f->c, scope_printf(s, "tls/%s.pem", name))))
		return OK;
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
	TRY(make_tls(s, f, "watch", "operator", "watch",
		     json_pack("{s:s, s:s, s:s}", "name", "tls-watch", "ca", "management", "file",
			       cli_path(s, f->c, "tls/watch.pem"))));
	return make_tls(s, f, "operator", "operator", "operator", NULL);
}

static st take_in_root(struct scope *s, struct founding *f)
{
	struct cli_ca_key key[CAS];
	AUTO(json_t) *there = NULL, *taken = NULL;
	span pem;
	ca_keys_of(s, f, key);
	TRY(look_for_ca(s, f->api, "root", &there));
	if (there != NULL)
		return OK;
	if (f->m != NULL)
		return cli_ca_take_in(s, f->m, &key[ROOT]);
	TRY(file_read(s, scope_printf(s, "%s/root.pem", f->c->conf.certificates), 65536, &pem));
	return cli_api_call(s, f->api, "POST", "/v1/cas",
			    json_pack("{s:s, s:s#}", "name", "root", "certificate", (const char *)pem.data, (int)pem.len),
			    &taken);
}

/* The on-line ca publishes the root's certificate and CRL, which it does not make. */
static st publish_root(struct scope *s, struct founding *f)
{
	struct cli_root root = { .api = f->root_api };
	AUTO(json_t) *published = NULL;
	span crl;
	TRY(take_in_root(s, f));
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

/* ---- with quorum ---- */

static st make_identities(struct scope *s, struct founding *f)
{
	for (size_t i = 0; cli_init_zones[i] != NULL; i++) {
		struct key_info want = { .type = alg_key_named(SPAN_LITERAL("ec-p256")), .purposes = KEY_FOR_IDENTITY }, made;
		TRY(plain_key(s, f, cli_init_zones[i], "identity", &want, &made));
		f->identity[i] = (struct cli_ceremony_instance){ .name = scope_printf(s, "keyd/%s", cli_init_zones[i]),
								 .spki = scope_copy(s, made.spki) };
	}
	return OK;
}

static st know_people(struct scope *s, struct founding *f)
{
	if (f->want->people == NULL)
		return cli_rehearsal_cast(s, f->c, &f->cast);
	TRY(cli_cast_read(s, f->want->people, &f->cast));
	return cli_cast_keep_names(s, f->c, &f->cast);
}

static st sign_founding(struct scope *s, struct founding *f)
{
	const char *pinned = f->want->founding_hash;
	TRY(cli_ceremony_found(s, f->c, &f->cast, f->want->name, f->identity, KEYD_COUNT, &f->want->founding_hash));
	if (pinned != NULL && strcmp(pinned, f->want->founding_hash) != 0)
		return fail(s, E_CRYPTO, "%s has the SHA-256 %s, and %s was signed: fetch the one that the founders have",
			    f->c->conf.founding, f->want->founding_hash, pinned);
	if (pinned != NULL)
		return OK;
	cli_progress(f->c, "       SHA-256 of the founding document: %s", f->want->founding_hash);
	if (f->want->people != NULL)
		cli_progress(
			f->c,
			"       Every founder and every custodian gets it on paper: it is the root of all trust that follows.");
	TRY(cli_init_write(s, f->c, f->want, true));
	return conf_read(s, &cli_conf_schema, cli_path(s, f->c, "etc/chancery.conf"), &f->c->conf);
}

static const char *first_founder(const struct cli_cast *cast)
{
	for (size_t i = 0; i < cast->count; i++)
		if (cli_cast_founds(&cast->person[i]))
			return cast->person[i].id;
	return NULL;
}

static st open_register(struct scope *s, struct founding *f)
{
	TRY(start_ca(s, f));
	TRY(cli_ceremony_open(s, f->c, f->api, &f->m));
	f->m->by = first_founder(&f->cast);
	f->m->decision = CLI_FOUNDING_DECISION;
	f->m->threshold = f->cast.threshold;
	return OK;
}

/* keyd reads the register when it starts. */
static st restart_keyd(struct scope *s, struct founding *f, const char *zone)
{
	cli_stop(&f->keyd[zone_at(zone)], 10000);
	return start_keyd(s, f, zone);
}

static st give_roles(struct scope *s, struct founding *f)
{
	TRY(cli_ceremony_staff(s, f->m, &f->cast));
	TRY(cli_ceremony_export(s, f->m));
	TRY(restart_keyd(s, f, "root"));
	return restart_keyd(s, f, "ca");
}

static st name_management(struct scope *s, struct founding *f)
{
	struct cli_ca_key key[CAS];
	ca_keys_of(s, f, key);
	return cli_ca_name_management(s, f->m, &key[MANAGEMENT]);
}

/* What of it can be approved by now, in one round; each is carried out by its step. */
static st approve_publishing(struct scope *s, struct founding *f)
{
	struct cli_ca_key key[CAS];
	AUTO(json_t) *there = NULL;
	ca_keys_of(s, f, key);
	TRY(look_for_ca(s, f->api, "root", &there));
	if (there == NULL)
		TRY(cli_ca_plan_take_in(s, f->m, &key[ROOT]));
	TRY(cli_ca_plan_management(s, f->m, &key[MANAGEMENT]));
	return cli_ceremony_approve(s, f->m);
}

/* ---- all of them ---- */

static void stop_all(struct founding *f)
{
	cli_ceremony_close(f->m);
	cli_api_close(f->api);
	cli_api_close(f->root_api);
	f->m = NULL;
	f->api = NULL;
	f->root_api = NULL;
	cli_stop(&f->ca, 10000);
	cli_stop(&f->root_ca, 10000);
	for (size_t i = 0; i < KEYD_COUNT; i++) {
		cli_stop(&f->keyd[i], 10000);
		buf_free(&f->pins[i]);
	}
}

static st settle(struct scope *s, struct founding *f)
{
	stop_all(f);
	TRY(cli_init_write(s, f->c, f->want, false));
	return cli_init_write_env(s, f->c, f->want);
}

#define QUORUM 1u /* only with quorum */
#define ALWAYS 2u /* also when an interrupted founding goes on behind it: daemons, and what is only in memory */
static const struct step {
	const char *text;
	st (*run)(struct scope *s, struct founding *f);
	unsigned when;
} steps[] = {
	{ "Record of the founding", record_founding, 0 },
	{ "Key zones", start_keyds, ALWAYS },
	{ "Key of the audit log", make_log_key, 0 },
	{ "Tokens of time-stamp unit and OCSP signer", make_time_key, 0 },
	{ "Identity of the keyds", make_identities, QUORUM | ALWAYS },
	{ "Persons", know_people, QUORUM | ALWAYS },
	{ "Founding document", sign_founding, QUORUM | ALWAYS },
	{ "Register of persons", open_register, QUORUM | ALWAYS },
	{ "Roles", give_roles, QUORUM },
	{ "Key groups of the CAs", make_groups, QUORUM },
	{ "Activation of the key groups", activate_groups, QUORUM | ALWAYS },
	{ "Keys of the CAs", make_ca_keys, 0 },
	{ "Approval of the CAs", approve_cas, QUORUM | ALWAYS },
	{ "Root CA", make_root, ALWAYS },
	{ "Issuing CA", make_issuing, 0 },
	{ "Management CA", make_management, 0 },
	{ "OCSP signer", make_status_signer, 0 },
	{ "Time-stamp unit", make_time_unit, 0 },
	{ "TLS certificates of daemons and operator", make_tls_all, 0 },
	{ "First CRLs", first_crls, 0 },
	{ "Approval of root and management CA", approve_publishing, QUORUM | ALWAYS },
	{ "Root certificate and CRL", publish_root, 0 },
	{ "Management CA of the register", name_management, QUORUM },
	{ "Configuration", settle, 0 },
};
#define STEPS (sizeof steps / sizeof steps[0])

static bool is_wanted(const struct founding *f, const struct step *step)
{
	return (step->when & QUORUM) == 0 || f->want->quorum;
}

/* Where it was interrupted; the first step when it was not. */
static size_t begins_at(const struct founding *f)
{
	for (size_t i = 0; f->want->goes_on && i < STEPS; i++)
		if (strcmp(steps[i].text, f->want->interrupted_at) == 0)
			return i;
	return 0;
}

static st run_step(struct scope *s, struct founding *f, const struct step *step, size_t number, size_t all)
{
	f->step = step->text;
	cli_progress(f->c, "%2zu/%zu  %s", number, all, step->text);
	return fail_context(s, step->run(s, f), "%s", step->text);
}

static st run_all(struct scope *s, struct founding *f)
{
	size_t number = 0, all = 0, first = begins_at(f);
	for (size_t i = 0; i < STEPS; i++)
		all += is_wanted(f, &steps[i]);
	for (size_t i = 0; i < STEPS; i++) {
		number += is_wanted(f, &steps[i]);
		if (!is_wanted(f, &steps[i]) || (i < first && (steps[i].when & ALWAYS) == 0))
			continue;
		if (i >= first)
			TRY(cli_init_mark(s, f->c, f->want, steps[i].text));
		TRY(run_step(s, f, &steps[i], number, all));
	}
	return cli_init_unmark(s, f->c);
}

st cli_init_steps(struct scope *s, struct cli *c, struct cli_init *want)
{
	struct founding *f = heap_alloc(sizeof *f);
	*f = (struct founding){ .c = c, .want = want };
	st founded = run_all(s, f);
	stop_all(f);
	free(f);
	return founded;
}
