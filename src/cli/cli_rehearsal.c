#include "cli_rehearsal.h"
#include "cli_key.h"
#include "cli_process.h"
#include "control_activation.h"
#include "control_entries.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "pki_crl.h"
#include "text.h"
#include <fcntl.h>
#include <unistd.h>

#define MODULE     "/usr/lib/softhsm/libsofthsm2.so" /* stands in for the cards */
#define WORDS_MAX  32
#define ANSWER_MAX 65536

static const struct person {
	const char *id, *name;
	enum control_role role; /* CONTROL_AUTHORITY_MEMBER: a founder */
} cast[] = {
	{ "p1", "Ada Founder (TEST)", CONTROL_AUTHORITY_MEMBER },
	{ "p2", "Ben Founder (TEST)", CONTROL_AUTHORITY_MEMBER },
	{ "p3", "Cas Founder (TEST)", CONTROL_AUTHORITY_MEMBER },
	{ "p4", "Dia Administrator (TEST)", CONTROL_PKI_ADMINISTRATOR },
	{ "p5", "Eli Operator (TEST)", CONTROL_PKI_OPERATOR },
	{ "p6", "Fay Security (TEST)", CONTROL_SECURITY_MANAGER },
	{ "p7", "Gus Custodian (TEST)", CONTROL_KEY_CUSTODIAN },
	{ "p8", "Hei Custodian (TEST)", CONTROL_KEY_CUSTODIAN },
	{ "p9", "Ida Custodian (TEST)", CONTROL_KEY_CUSTODIAN },
};
#define CAST (sizeof cast / sizeof cast[0])

static char *pin_path(struct scope *s, const struct cli *c, const char *id)
{
	return cli_path(s, c, scope_printf(s, "test-secrets/people/%s", id));
}

static char *work_path(struct scope *s, const struct cli *c, const char *name)
{
	return cli_path(s, c, scope_printf(s, "test-secrets/rehearsal/%s", name));
}

bool cli_rehearsal_here(struct scope *s, const struct cli *c)
{
	return c->conf.test && file_exists(pin_path(s, c, cast[0].id));
}

/* ---- chancery-token, as one of them uses it ---- */

/* The PIN on a descriptor of its own, which the program inherits. */
static st pin_descriptor(struct scope *s, const struct cli *c, const char *id, int *out_fd)
{
	span pin;
	int ends[2];
	TRY(file_read(s, pin_path(s, c, id), 256, &pin));
	if (pipe(ends) != 0)
		return fail_errno(s, E_IO, "pipe");
	AUTO_FD from = ends[0], to = ends[1];
	TRY(file_write_all(s, to, pin));
	TRY(file_write_all(s, to, SPAN_LITERAL("\n")));
	*out_fd = take_fd(&from);
	return OK;
}

/* Its result, which is JSON. `words` end with NULL. */
static st use_token(struct scope *s, const struct cli *c, const char *id, const char *command, const char *const *words,
		    json_t **out)
{
	AUTO_FD pin = -1, log = -1;
	AUTO_BUF answer;
	buf_init(&answer, ANSWER_MAX);
	int code;
	TRY(pin_descriptor(s, c, id, &pin));
	TRY(cli_open_log(s, c, "people", &log)); /* what they have read before they signed */
	const char *given[WORDS_MAX] = { command,   "--json", "--module", MODULE,
					 "--token", id,       "--pin-fd", scope_printf(s, "%d", pin) };
	for (size_t i = 0, at = 8; words[i] != NULL && at + 1 < WORDS_MAX; i++)
		given[at++] = words[i];
	const char *conf = scope_printf(s, "SOFTHSM2_CONF=%s", work_path(s, c, "softhsm2.conf"));
	const struct conf_list environment = { .item = &conf, .count = 1 };
	TRY(cli_run_program(s, cli_program(s, c, "chancery-token"), given, &environment, log, &answer, &code));
	if (code != 0)
		return fail(s, E_STATE, "chancery-token %s of %s ended with %d; log/people.log says why", command, id, code);
	*out = json_loadb((const char *)answer.data, answer.len, 0, NULL);
	return *out != NULL ? OK : fail(s, E_BUG, "chancery-token %s printed no JSON", command);
}

static st write_work(struct scope *s, const struct cli *c, const char *name, span bytes, const char **out_path)
{
	*out_path = work_path(s, c, name);
	return file_replace(s, *out_path, bytes, 0600);
}

/* ---- tokens and names ---- */

static st make_softhsm(struct scope *s, const struct cli *c)
{
	const char *path, *tokens = work_path(s, c, "tokens");
	TRY(file_make_directory(s, tokens, 0700));
	char *text = scope_printf(s, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens);
	return write_work(s, c, "softhsm2.conf", span_str(text), &path);
}

static st make_person(struct scope *s, const struct cli *c, const struct person *p)
{
	uint8_t random[8];
	AUTO(json_t) *keys = NULL;
	struct cli_person kept = { .id = p->id, .name = p->name };
	scope_random(s, random, sizeof random);
	TRY(file_replace(s, pin_path(s, c, p->id), span_str(hex_text(s, SPAN_ARRAY(random))), 0600));
	scope_random(s, kept.random, sizeof kept.random);
	TRY(cli_person_write(s, c, &kept));
	TRY(use_token(s, c, p->id, "create", (const char *const[]){ NULL }, &keys));
	char *text = json_dumps(keys, 0);
	const char *path;
	st written = write_work(s, c, scope_printf(s, "%s.keys", p->id), span_str(text), &path);
	free(text);
	return written;
}

st cli_rehearsal_people(struct scope *s, const struct cli *c)
{
	TRY(file_make_directory(s, cli_path(s, c, "test-secrets/people"), 0700));
	TRY(file_make_directory(s, cli_path(s, c, "test-secrets/rehearsal"), 0700));
	TRY(make_softhsm(s, c));
	for (size_t i = 0; i < CAST; i++)
		TRY(make_person(s, c, &cast[i]));
	return OK;
}

static st keys_of(struct scope *s, const struct cli *c, const char *id, const char **out_key, const char **out_share)
{
	AUTO(json_t) *keys = json_load_file(work_path(s, c, scope_printf(s, "%s.keys", id)), 0, NULL);
	if (keys == NULL)
		return fail(s, E_STATE, "the keys of %s are not there", id);
	*out_key = scope_printf(s, "%s", cli_member(keys, "key"));
	*out_share = scope_printf(s, "%s", cli_member(keys, "share-key"));
	return OK;
}

static st identity_of(struct scope *s, const struct cli *c, const char *id, uint8_t out[CONTROL_HASH_LEN])
{
	struct cli_person kept;
	TRY(cli_person_read(s, c, id, &kept));
	memcpy(out, kept.identity, CONTROL_HASH_LEN);
	return OK;
}

/* ---- the founding document ---- */

static st add_founder(struct scope *s, const struct cli *c, const struct person *p, struct control_founding *f)
{
	const char *key, *share;
	struct control_founder *founder = &f->founder[f->founders++];
	founder->id = p->id;
	TRY(keys_of(s, c, p->id, &key, &share));
	TRY(base64_parse(s, span_str(key), &founder->spki));
	TRY(base64_parse(s, span_str(share), &founder->share_spki));
	return identity_of(s, c, p->id, founder->identity);
}

static st sign_founding(struct scope *s, const struct cli *c, const char *text, struct control_founder *founder)
{
	AUTO(json_t) *answer = NULL;
	TRY(use_token(s, c, founder->id, "found", (const char *const[]){ "--text", text, "--person", founder->id, NULL },
		      &answer));
	const char *line = cli_member(answer, "signature"), *space = strchr(line, ' ');
	return base64_parse(s, span_str(space == NULL ? line : space + 1), &founder->signature);
}

static st write_founding(struct scope *s, const struct cli *c, const struct control_founding *f, const char **out_hash)
{
	uint8_t room[DIGEST_MAX];
	AUTO_BUF document;
	buf_init(&document, 0);
	TRY(control_founding_write(s, f, &document));
	*out_hash = hex_text(s, digest_of(DIGEST_SHA256, buf_span(&document), room));
	return file_replace(s, c->conf.founding, buf_span(&document), 0644);
}

st cli_rehearsal_found(struct scope *s, const struct cli *c, const char *provider,
		       const struct cli_rehearsal_instance *instance, size_t count, const char **out_hash)
{
	struct control_founding *f = scope_new(s, struct control_founding);
	AUTO_BUF text;
	buf_init(&text, 0);
	const char *path;
	f->provider = provider;
	f->founded = scope_now(s);
	f->quorum = 2;
	for (size_t i = 0; i < CAST; i++)
		if (cast[i].role == CONTROL_AUTHORITY_MEMBER)
			TRY(add_founder(s, c, &cast[i], f));
	for (size_t i = 0; i < count; i++)
		f->instance[f->instances++] = (struct control_instance){ .name = instance[i].name, .spki = instance[i].spki };
	TRY(control_founding_text(s, f, &text));
	TRY(write_work(s, c, "founding.text", buf_span(&text), &path));
	for (size_t i = 0; i < f->founders; i++)
		TRY(sign_founding(s, c, path, &f->founder[i]));
	return write_founding(s, c, f, out_hash);
}

/* ---- an operation ---- */

static st fill(struct scope *s, const struct cli *c, struct cli_api *api, const struct control_register *r,
	       struct control_signed *o)
{
	struct control_proposal *p = &o->proposal;
	AUTO(json_t) *given = NULL;
	struct control_head head = control_register_head(r);
	p->entries = head.entries;
	memcpy(p->head, head.hash, sizeof p->head);
	p->proposed_by = span_str(cast[0].id);
	p->proposed = scope_now(s);
	p->expires = p->proposed + MOMENT_HOUR;
	TRY(cli_op_take_crl(s, api, r, o));
	if (p->operation->executor == CONTROL_BY_KEYD)
		return cli_op_keyd_nonce(s, c, p);
	TRY(cli_api_call(s, api, "POST", "/v1/operations/nonce", NULL, &given));
	return cli_op_take_nonce(s, cli_member(given, "nonce"), p);
}

static st propose(struct scope *s, const struct cli *c, struct cli_api *api, const char *instance, const char *operation,
		  const char *const *parameters, const char **out_path)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	AUTO(control_register) *r = NULL;
	AUTO_BUF text;
	buf_init(&text, 0);
	TRY(cli_op_named(s, operation, &o->proposal.operation));
	o->proposal.instance = span_str(instance);
	for (; *parameters != NULL; parameters += 2)
		TRY(control_proposal_add(s, &o->proposal, parameters[0], span_str(parameters[1])));
	TRY(cli_register_open(s, c, api, NULL, &r));
	TRY(fill(s, c, api, r, o));
	TRY(control_proposal_write(s, &o->proposal, &text));
	TRY(control_proposal_read(s, scope_copy(s, buf_span(&text)), &o->proposal));
	*out_path = work_path(s, c, "now.op");
	return cli_op_write(s, *out_path, o);
}

static st approve(struct scope *s, const struct cli *c, const char *path, const struct person *p)
{
	AUTO(json_t) *done = NULL;
	return use_token(s, c, p->id, "approve",
			 (const char *const[]){ "--operation", path, "--person", p->id, "--role",
						control_role_row(p->role)->name, NULL },
			 &done);
}

/* Those who take a seat of the operation, in the order of the cast, as many as it has. */
static st approve_seat(struct scope *s, const struct cli *c, const char *path, const struct control_seat *seat)
{
	unsigned wanted = seat->count == 0 ? 2 : seat->count;
	for (size_t i = 0; i < CAST && wanted > 0; i++)
		if ((seat->roles & UINT32_C(1) << cast[i].role) != 0) {
			TRY(approve(s, c, path, &cast[i]));
			wanted--;
		}
	return wanted == 0 ? OK : fail(s, E_BUG, "the rehearsal has not enough persons for a seat");
}

static st deliver(struct scope *s, const struct cli *c, struct cli_api *api, const char *path, const span *share, size_t count)
{
	struct control_signed *o;
	AUTO(json_t) *done = NULL;
	AUTO(key_client) *client = NULL;
	span file;
	const char *words;
	TRY(cli_op_read(s, path, &o));
	TRY(file_read(s, path, CONTROL_SIGNED_MAX, &file));
	if (o->proposal.operation->executor != CONTROL_BY_KEYD)
		return cli_api_send(s, api, "POST", "/v1/operations", "text/plain", file, &done);
	TRY(cli_op_keyd_open(s, c, o->proposal.instance, &client));
	return key_execute(s, client, file, share, count, &words);
}

static st do_it(struct scope *s, const struct cli *c, struct cli_api *api, const char *instance, const char *operation,
		const char *const *parameters)
{
	const struct control_operation *row;
	const char *path;
	TRY(cli_op_named(s, operation, &row));
	TRY(propose(s, c, api, instance, operation, parameters, &path));
	for (size_t i = 0; i < CONTROL_SEATS_MAX && row->seat[i].roles != 0; i++)
		TRY(approve_seat(s, c, path, &row->seat[i]));
	return deliver(s, c, api, path, NULL, 0);
}

st cli_rehearsal_do(struct scope *s, const struct cli *c, struct cli_api *api, const char *instance, const char *operation,
		    const char *const *parameters)
{
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	st done = do_it(&aside, c, api, instance, operation, parameters);
	return done.code == E_OK ? OK : fail(s, done.code, "%s by the scripted persons: %s", operation, aside.message);
}

/* ---- roles ---- */

static st staff_person(struct scope *s, const struct cli *c, struct cli_api *api, const struct person *p)
{
	uint8_t identity[CONTROL_HASH_LEN];
	char screened[MOMENT_TEXT_MAX], trained[MOMENT_TEXT_MAX];
	const char *key, *share;
	TRY(keys_of(s, c, p->id, &key, &share));
	TRY(identity_of(s, c, p->id, identity));
	const char *const enrol[] = { "person",    p->id,
				      "key",       key,
				      "share-key", share,
				      "identity",  hex_text(s, SPAN_ARRAY(identity)),
				      "screened",  moment_text(scope_now(s) - 30 * MOMENT_DAY, screened),
				      "trained",   moment_text(scope_now(s) - 3 * MOMENT_DAY, trained),
				      NULL };
	const char *const grant[] = {
		"person", p->id, "role", control_role_row(p->role)->name, "decision", CLI_REHEARSAL_DECISION, NULL
	};
	TRY(cli_rehearsal_do(s, c, api, "register", "person.enrol", enrol));
	return cli_rehearsal_do(s, c, api, "register", "role.grant", grant);
}

st cli_rehearsal_staff(struct scope *s, const struct cli *c, struct cli_api *api)
{
	const char *const decision[] = { "decision", CLI_REHEARSAL_DECISION, "title", "Founding of the provider (TEST)", NULL };
	TRY(cli_rehearsal_do(s, c, api, "register", "decision.take", decision));
	for (size_t i = 0; i < CAST; i++)
		if (cast[i].role != CONTROL_AUTHORITY_MEMBER)
			TRY(staff_person(s, c, api, &cast[i]));
	return OK;
}

st cli_rehearsal_export(struct scope *s, const struct cli *c, struct cli_api *api)
{
	AUTO(control_register) *r = NULL;
	AUTO_BUF file;
	buf_init(&file, CONTROL_ENTRIES_MAX);
	TRY(cli_register_open(s, c, api, &file, &r));
	return file_replace(s, cli_path(s, c, CLI_REHEARSAL_REGISTER), buf_span(&file), 0644);
}

/* ---- activation ---- */

static st is_locked(struct scope *s, const struct cli *c, const char *zone, const char *group, bool *out)
{
	AUTO(key_client) *client = NULL;
	struct key_status status;
	TRY(cli_key_open(s, c, zone, &client));
	TRY(key_status(s, client, &status));
	for (size_t i = 0; i < status.token_count; i++)
		if (strcmp(status.tokens[i].label, group) == 0) {
			*out = !status.tokens[i].ready;
			return OK;
		}
	return fail(s, E_NOTFOUND, "zone %s has no key group %s", zone, group);
}

/* The share of a custodian of the cast, sealed to the statement. */
static st bring(struct scope *s, const struct cli *c, const char *operation, const char *statement, span file, span *out_text,
		struct control_signed *o)
{
	struct control_sealed_share h;
	AUTO(json_t) *done = NULL;
	const char *share;
	TRY(control_sealed_share_read(s, file, &h));
	const char *person = scope_cstr(s, h.person), *opened = work_path(s, c, scope_printf(s, "%s.opened", person));
	TRY(write_work(s, c, scope_printf(s, "%s.share", person), file, &share));
	const char *const words[] = {
		"--operation", operation,    "--statement",    statement,    "--share",
		share,         "--founding", c->conf.founding, "--register", cli_path(s, c, CLI_REHEARSAL_REGISTER),
		"--person",    person,       "--out",          opened,       NULL
	};
	(void)unlink(opened);
	TRY(use_token(s, c, person, "share", words, &done));
	return cli_op_take_custodian(s, opened, o, out_text);
}

static st activate(struct scope *s, const struct cli *c, struct cli_api *api, const char *zone, const char *group)
{
	const char *path, *statement;
	struct control_signed *o;
	struct key_opening *opening = scope_new(s, struct key_opening);
	AUTO(key_client) *client = NULL;
	span file, share[2];
	const char *const parameters[] = { "group", group, NULL };
	const struct control_operation *row;
	TRY(cli_op_named(s, "group.activate", &row));
	TRY(cli_rehearsal_export(s, c, api));
	TRY(propose(s, c, api, scope_printf(s, "keyd/%s", zone), "group.activate", parameters, &path));
	TRY(approve_seat(s, c, path, &row->seat[0]));
	TRY(cli_op_read(s, path, &o));
	if (control_late_seat(&o->proposal) != NULL)
		TRY(approve_seat(s, c, path, control_late_seat(&o->proposal)));
	TRY(file_read(s, path, CONTROL_SIGNED_MAX, &file));
	TRY(cli_key_open(s, c, zone, &client));
	TRY(key_open_operation(s, client, file, opening));
	TRY(write_work(s, c, "now.statement", opening->statement, &statement));
	TRY(cli_op_read(s, path, &o));
	if (opening->count < 2)
		return fail(s, E_STATE, "the key group %s has fewer than two shares", group);
	for (size_t i = 0; i < 2; i++)
		TRY(bring(s, c, path, statement, opening->share[i], &share[i], o));
	TRY(cli_op_write(s, path, o));
	return deliver(s, c, api, path, share, 2);
}

st cli_rehearsal_activate(struct scope *s, const struct cli *c, struct cli_api *api, const char *zone, const char *group)
{
	bool locked = true;
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	TRY(is_locked(s, c, zone, group, &locked));
	if (!locked)
		return OK;
	st done = activate(&aside, c, api, zone, group);
	return done.code == E_OK ? OK : fail(s, done.code, "activating %s by the scripted persons: %s", group, aside.message);
}

/* After an outage: with the CRL of before only the management CA's own group was activated. */
static st renew_old_crl(struct scope *s, struct cli_api *api)
{
	struct pki_crl crl;
	span der;
	AUTO(json_t) *made = NULL;
	TRY(cli_api_fetch(s, api, CLI_MANAGEMENT_CRL, &der));
	TRY(pki_crl_read(s, der, &crl));
	if (scope_now(s) - crl.this_update <= CONTROL_CRL_AGE)
		return OK;
	return cli_api_call(s, api, "POST", "/v1/cas/management/crls", json_object(), &made);
}

st cli_rehearse(struct scope *s, struct cli *c)
{
	static const char *const groups[] = { "management", "issuing" };
	AUTO(cli_api) *api = NULL;
	if (!cli_rehearsal_here(s, c))
		return fail(
			s, E_STATE,
			"there are no scripted persons here: they are for test installations that `chancery init --test --quorum` made; "
			"otherwise people activate key groups (docs/guide/operators.md)");
	TRY(cli_api_open_local(s, cli_conf_daemon(&c->conf, "ca")->socket, &api));
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
		TRY(cli_rehearsal_activate(s, c, api, "ca", groups[i]));
		TRY(renew_old_crl(s, api));
	}
	return cli_print(s, c,
			 json_pack("{s:s, s:[s, s]}", "activated by", "the scripted persons of test-secrets (TEST)", "groups",
				   groups[0], groups[1]));
}
