#include "cli_found.h"
#include "cli_audit.h"
#include "cli_ceremony.h"
#include "cli_process.h"
#include "cli_sealed.h"
#include "file.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "pki_profile.h"
#include "pki_request.h"
#include "terminal.h"
#include "text.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY_MS 30000

static st pin_prompt(struct scope *s, const char *what, const char *zone, const char *token, span *out)
{
	char *pin = scope_alloc(s, TERMINAL_ROOM);
	const char *prompt = scope_printf(s, "New %s of token %s, zone %s: ", what, token, zone);
	TRY(terminal_ask_new(s, what, prompt, CLI_PINS_OTHERWISE, pin, &out->len));
	out->data = (const uint8_t *)pin;
	return OK;
}

/* Hexadecimal digits of the kernel's randomness. */
static span pin_random(struct scope *s, size_t octets)
{
	uint8_t random[16];
	scope_random(s, random, octets);
	char *text = hex_text(s, span_of(random, octets));
	wipe(random, sizeof random);
	return span_str(text);
}

static st new_pins(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, const char *token, span *pin,
		   span *officer)
{
	if (daemon->pin_prompt) {
		TRY(pin_prompt(s, "PIN", daemon->zone, token, pin));
		return pin_prompt(s, "officer's PIN", daemon->zone, token, officer);
	}
	*pin = pin_random(s, 16);
	*officer = pin_random(s, 16);
	if (daemon->pin_sealed != NULL)
		return cli_sealed_write(s, c, daemon->pin_sealed, token, *pin);
	*pin = pin_random(s, 8);
	*officer = pin_random(s, 8);
	TRY(file_make_directory(s, daemon->pin_directory, 0700));
	TRY(file_replace(s, scope_printf(s, "%s/%s", daemon->pin_directory, token), *pin, 0600));
	return file_replace(s, scope_printf(s, "%s/%s.officer", daemon->pin_directory, token), *officer, 0600);
}

st cli_found_has_token(struct scope *s, const struct cli *c, const char *zone, const char *token, bool *out)
{
	AUTO(key_client) *client = NULL;
	struct key_status status;
	*out = false;
	TRY(cli_key_open(s, c, zone, &client));
	TRY(key_status(s, client, &status));
	for (size_t i = 0; i < status.token_count; i++)
		*out = *out || (strcmp(status.tokens[i].label, token) == 0 && status.tokens[i].ready);
	return OK;
}

st cli_found_token(struct scope *s, const struct cli *c, const char *zone, const char *token, struct buf *keep)
{
	const struct cli_daemon *daemon = cli_conf_keyd(&c->conf, zone);
	AUTO(key_client) *client = NULL;
	AUTO_SCOPE secret; /* wiped at once */
	scope_init(&secret, s->source);
	span pin, officer;
	if (daemon == NULL)
		return fail(s, E_NOTFOUND, "chancery.conf has no keyd of zone %s", zone);
	TRY(cli_key_open(s, c, zone, &client));
	st made = new_pins(&secret, c, daemon, token, &pin, &officer);
	if (made.code == E_OK)
		made = key_token_create(&secret, client, token, pin, officer);
	if (made.code != E_OK)
		return fail(s, made.code, "token %s of zone %s: %s", token, zone, secret.message);
	return keep == NULL ? OK : cli_pins_add(s, keep, token, pin);
}

st cli_found_key(struct scope *s, const struct cli *c, const char *zone, const struct key_info *want, struct key_info *out)
{
	AUTO(key_client) *client = NULL;
	TRY(cli_key_open(s, c, zone, &client));
	st found = key_find(s, client, want->label, out);
	if (found.code != E_NOTFOUND)
		return found;
	scope_clear_error(s);
	return fail_context(s, key_generate(s, client, want, out), "key %s of zone %s", want->label, zone);
}

st cli_found_request(struct scope *s, const struct cli *c, const char *zone, const char *label, span subject, char **out_pem)
{
	AUTO(key_client) *client = NULL;
	TRY(cli_key_open(s, c, zone, &client));
	struct key_info key;
	TRY(key_find(s, client, label, &key));
	const struct alg_signature *algorithm = alg_signature_default(key.type);
	span info, signature, request;
	TRY(pki_request_build_info(s, subject, key.spki, &info));
	TRY(fail_context(s, key_sign(s, client, label, KEY_FOR_REQUEST, algorithm, info, &signature), "request for key %s",
			 label));
	TRY(pki_request_assemble(s, info, algorithm, signature, &request));
	*out_pem = pki_pem_write(s, "CERTIFICATE REQUEST", request);
	return OK;
}

static st profile_of(struct scope *s, const char *name, const struct pki_profile **out)
{
	*out = pki_profile_named(span_str(name));
	return *out != NULL ? OK : fail(s, E_NOTFOUND, "there is no profile %s; `chancery profile list` names them", name);
}

/* The longest validity of anything that a CA of this profile issues. */
static uint32_t longest_validity(const struct pki_profile *ca)
{
	enum pki_issuer_kind kind = strcmp(ca->name, "root") == 0            ? PKI_BY_ROOT
				    : strcmp(ca->name, "management-ca") == 0 ? PKI_BY_MANAGEMENT
									     : PKI_BY_ISSUING;
	int64_t longest = ca->issuer == PKI_SELF_SIGNED ? ca->max_validity : 0;
	const struct pki_profile *p;
	for (size_t i = 0; (p = pki_profile_at(i)) != NULL; i++)
		if (p->issuer == kind && p->max_validity > longest)
			longest = p->max_validity;
	return (uint32_t)(longest / MOMENT_DAY) + 1;
}

st cli_found_ca_key_wanted(struct scope *s, const char *name, const char *profile_name, const char *type, const char *subject,
			   struct key_info *out)
{
	const struct pki_profile *profile;
	TRY(profile_of(s, profile_name, &profile));
	struct key_info want = { .type = alg_key_named(span_str(type)),
				 .purposes = KEY_FOR_CERTIFICATE | KEY_FOR_CRL | KEY_FOR_REQUEST };
	if (want.type == NULL)
		return fail(s, E_INPUT, "'%s' is no type of key", type);
	if (strlen(name) > KEY_LABEL_MAX)
		return fail(s, E_LIMIT, "names of CAs have at most %d characters", KEY_LABEL_MAX);
	(void)snprintf(want.label, sizeof want.label, "%s", name);
	(void)snprintf(want.token, sizeof want.token, "%s", name);
	span asked;
	TRY(pki_name_parse(s, span_str(subject), &asked));
	TRY(pki_profile_subject(s, profile, asked, &want.limits.issuer));
	want.limits.ca = profile->issuer == PKI_SELF_SIGNED;
	want.limits.validity_days = longest_validity(profile);
	*out = want;
	return OK;
}

st cli_found_ca_key(struct scope *s, const struct cli *c, const char *name, const char *profile_name, const char *type,
		    const char *subject)
{
	struct key_info want, made;
	TRY(cli_found_ca_key_wanted(s, name, profile_name, type, subject, &want));
	return cli_found_key(s, c, strcmp(name, "root") == 0 ? "root" : "ca", &want, &made);
}

st cli_found_ocsp_signer(struct scope *s, const struct cli *c, struct cli_api *api, const char *ca, const char *subject,
			 uint64_t lives, struct buf *keep)
{
	char *label = scope_printf(s, "ocsp-%s", ca);
	struct key_info want = { .type = alg_key_named(SPAN_LITERAL("ec-p256")), .purposes = KEY_FOR_OCSP | KEY_FOR_REQUEST };
	if (strlen(label) > KEY_LABEL_MAX)
		return fail(s, E_LIMIT, "names of CAs have at most %d characters", KEY_LABEL_MAX - 5);
	(void)snprintf(want.label, sizeof want.label, "%s", label);
	(void)snprintf(want.token, sizeof want.token, "%s", label);
	bool there;
	TRY(cli_found_has_token(s, c, "status", label, &there));
	if (!there)
		TRY(cli_found_token(s, c, "status", label, keep));
	struct key_info made;
	TRY(cli_found_key(s, c, "status", &want, &made));
	span name;
	char *request;
	TRY(pki_name_parse(s, span_str(subject), &name));
	TRY(cli_found_request(s, c, "status", label, name, &request));
	json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", label, "ca", ca, "profile", "ocsp-signer", "key", label,
				 "request", request);
	if (lives > 0)
		(void)json_object_set_new(body, "validity_seconds", json_integer((json_int_t)lives));
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, api, "POST", "/v1/identities", body, &answer));
	const char *pem;
	TRY(cli_found_member(s, answer, "certificate", &pem));
	return cli_found_keep(s, c, strcmp(ca, "issuing") == 0 ? "ocsp" : label, pem);
}

st cli_found_keep(struct scope *s, const struct cli *c, const char *name, const char *pem)
{
	TRY(file_make_directory(s, c->conf.certificates, 0755));
	return file_replace(s, scope_printf(s, "%s/%s.pem", c->conf.certificates, name), span_str(pem), 0644);
}

st cli_found_member(struct scope *s, const json_t *answer, const char *name, const char **out)
{
	const char *text = cli_member(answer, name);
	if (text[0] == 0)
		return fail(s, E_UNAVAILABLE, "the ca's answer has no member `%s`", name);
	*out = scope_printf(s, "%s", text);
	return OK;
}

static st start(struct scope *s, const struct cli *c, const char *label, struct cli_child *out)
{
	const struct cli_daemon *daemon = cli_conf_daemon(&c->conf, label);
	if (daemon == NULL)
		return fail(s, E_NOTFOUND,
			    "chancery.conf has no daemon %s: the root is kept elsewhere; bring it requests by file", label);
	AUTO_BUF pins;
	buf_init(&pins, 32768);
	TRY(cli_pins(s, c, daemon, &pins));
	AUTO_FD log = -1;
	TRY(cli_open_log(s, c, label, &log));
	TRY(cli_spawn(s, c, daemon, buf_span(&pins), log, out));
	return cli_wait_ready(s, out, READY_MS);
}

/* Where the root's key group is under quorum, people activate it, on the register that the on-line ca has now. */
static st start_in_ceremony(struct scope *s, const struct cli *c, struct cli_ceremony *m, struct cli_child *out)
{
	static const struct cli_ceremony_group root[] = { { "root", "root" }, { NULL, NULL } };
	TRY(cli_ceremony_export(s, m));
	TRY(start(s, c, "keyd-root", out));
	return cli_ceremony_activate(s, m, root);
}

static st start_keyd(struct scope *s, const struct cli *c, struct cli_ceremony *m, struct cli_child *out)
{
	AUTO(cli_api) *online = NULL;
	AUTO(cli_ceremony) *own = NULL;
	if (!cli_ceremony_here(c))
		return start(s, c, "keyd-root", out);
	if (m != NULL)
		return start_in_ceremony(s, c, m, out);
	TRY(cli_api_open_local(s, cli_conf_daemon(&c->conf, "ca")->socket, &online));
	TRY(cli_ceremony_open(s, c, online, &own));
	return start_in_ceremony(s, c, own, out);
}

st cli_root_open(struct scope *s, const struct cli *c, struct cli_ceremony *m, struct cli_root *out)
{
	struct cli_root root = { .keyd = { .ready_fd = -1 }, .ca = { .ready_fd = -1 } };
	st opened = start_keyd(s, c, m, &root.keyd);
	if (opened.code == E_OK)
		opened = start(s, c, "root-ca", &root.ca);
	if (opened.code == E_OK)
		opened = cli_api_open_local(s, cli_conf_daemon(&c->conf, "root-ca")->socket, &root.api);
	if (opened.code != E_OK) {
		cli_root_close(&root);
		return opened;
	}
	*out = root;
	return OK;
}

void cli_root_close(struct cli_root *root)
{
	cli_api_close(root->api);
	cli_stop(&root->ca, 10000);
	cli_stop(&root->keyd, 10000);
	*root = (struct cli_root){ .keyd = { .ready_fd = -1 }, .ca = { .ready_fd = -1 } };
}

st cli_root_import(struct scope *s, const struct cli *c)
{
	/* keyd's first: what was to be signed stands in the log before what became of it. */
	TRY(cli_audit_import(s, c, cli_path(s, c, "state/keyd-root/journal")));
	return cli_audit_import(s, c, cli_path(s, c, "state/root-ca/journal"));
}

st cli_root_sign(struct scope *s, struct cli_root *root, const char *profile, const char *request_pem,
		 const char **out_certificate, const char **out_chain)
{
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, root->api, "POST", "/v1/cas/root/certificates",
			 json_pack("{s:s, s:s}", "profile", profile, "request", request_pem), &answer));
	TRY(cli_found_member(s, answer, "certificate", out_certificate));
	return cli_found_member(s, answer, "chain", out_chain);
}

st cli_root_crl(struct scope *s, struct cli_root *root, json_t *order, span *out)
{
	AUTO(json_t) *made = NULL;
	TRY(cli_api_call(s, root->api, "POST", "/v1/cas/root/crls", order, &made));
	return cli_api_fetch(s, root->api, "/v1/cas/root/crl", out);
}

st cli_crl_hand_over(struct scope *s, struct cli_api *online, const char *ca, span crl, json_t **out)
{
	return cli_api_send(s, online, "PUT", scope_printf(s, "/v1/cas/%s/crl", cli_escape(s, ca)), "application/pkix-crl", crl,
			    out);
}
