/* The first acts of a ceremony: the founding document, and the staff. */
#include "cli_ceremony.h"
#include "cli_rehearsal.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "text.h"

/* ---- the founding document ---- */

static st add_founder(struct scope *s, const struct cli *c, const struct cli_cast_person *p, struct control_founding *f)
{
	struct cli_person kept;
	if (f->founders == CONTROL_FOUNDERS_MAX)
		return fail(s, E_LIMIT, "there are at most %d founders", CONTROL_FOUNDERS_MAX);
	struct control_founder *founder = &f->founder[f->founders++];
	founder->id = p->id;
	TRY(base64_parse(s, p->key, &founder->spki));
	TRY(base64_parse(s, p->share_key, &founder->share_spki));
	TRY(cli_person_read(s, c, p->id, &kept));
	memcpy(founder->identity, kept.identity, sizeof founder->identity);
	return OK;
}

static st write_text(struct scope *s, const struct cli *c, const struct cli_cast *cast, const char *provider,
		     const struct cli_ceremony_instance *instance, size_t count, const char *path)
{
	struct control_founding *f = scope_new(s, struct control_founding);
	AUTO_BUF text;
	buf_init(&text, 0);
	f->provider = provider;
	f->founded = scope_now(s);
	f->quorum = cast->quorum;
	for (size_t i = 0; i < cast->count; i++)
		if (cli_cast_founds(&cast->person[i]))
			TRY(add_founder(s, c, &cast->person[i], f));
	for (size_t i = 0; i < count; i++)
		f->instance[f->instances++] = (struct control_instance){ .name = instance[i].name, .spki = instance[i].spki };
	TRY(control_founding_text(s, f, &text));
	return file_replace(s, path, buf_span(&text), 0644);
}

static st sign_scripted(struct scope *s, const struct cli *c, const char *path, struct control_founding *f)
{
	for (size_t i = 0; i < f->founders; i++)
		TRY(cli_rehearsal_sign_founding(s, c, path, &f->founder[i]));
	return OK;
}

static st complete(struct scope *s, const struct cli *c, const char *path)
{
	struct control_founding *f = scope_new(s, struct control_founding);
	AUTO(control_register) *r = NULL;
	span text;
	AUTO_BUF document;
	buf_init(&document, 0);
	TRY(file_read(s, path, CONTROL_TEXT_MAX, &text));
	TRY(control_founding_text_read(s, text, f));
	TRY(cli_rehearsal_here(s, c) ? sign_scripted(s, c, path, f) : cli_ceremony_wait_founders(s, c, path, f));
	TRY(control_founding_write(s, f, &document));
	TRY(control_register_new(s, buf_span(&document), &r)); /* as everybody will who starts from it */
	return file_replace(s, c->conf.founding, buf_span(&document), 0644);
}

st cli_ceremony_found(struct scope *s, const struct cli *c, const struct cli_cast *cast, const char *provider,
		      const struct cli_ceremony_instance *instance, size_t count, const char **out_hash)
{
	uint8_t room[DIGEST_MAX];
	span document;
	const char *directory = cli_path(s, c, cli_rehearsal_here(s, c) ? "test-secrets/rehearsal" : "ceremony");
	const char *path = scope_printf(s, "%s/founding.text", directory);
	TRY(file_make_directory(s, directory, 0755));
	if (!file_exists(path)) /* signatures belong to the text that was signed */
		TRY(write_text(s, c, cast, provider, instance, count, path));
	if (!file_exists(c->conf.founding))
		TRY(complete(s, c, path));
	TRY(file_read(s, c->conf.founding, CONTROL_TEXT_MAX, &document));
	*out_hash = hex_text(s, digest_of(DIGEST_SHA256, document, room));
	return OK;
}

/* ---- the staff ---- */

static st plan_enrolment(struct scope *s, struct cli_ceremony *m, const struct cli_cast_person *p)
{
	struct cli_person kept;
	char screened[MOMENT_TEXT_MAX], trained[MOMENT_TEXT_MAX];
	TRY(cli_person_read(s, m->c, p->id, &kept));
	return cli_ceremony_plan(
		s, m, "register", "person.enrol",
		(const char *const[]){ "person", p->id, "key", scope_cstr(s, p->key), "share-key", scope_cstr(s, p->share_key),
				       "identity", hex_text(s, SPAN_ARRAY(kept.identity)), "screened",
				       moment_text(p->screened, screened), "trained", moment_text(p->trained, trained), NULL });
}

static st plan_roles(struct scope *s, struct cli_ceremony *m, const struct cli_cast_person *p, uint32_t granted)
{
	for (int role = 0; role < CONTROL_ROLE_COUNT; role++)
		if ((p->roles & ~granted & UINT32_C(1) << role) != 0)
			TRY(cli_ceremony_plan(s, m, "register", "role.grant",
					      (const char *const[]){ "person", p->id, "role",
								     control_role_row((enum control_role)role)->name,
								     "decision", CLI_FOUNDING_DECISION, NULL }));
	return OK;
}

static st plan_person(struct scope *s, struct cli_ceremony *m, const struct control_register *r,
		      const struct cli_cast_person *p)
{
	const struct control_person *there = control_person_named(r, span_str(p->id));
	if (cli_cast_founds(p))
		return OK;
	if (there == NULL)
		TRY(plan_enrolment(s, m, p));
	return plan_roles(s, m, p, there == NULL ? 0 : there->granted);
}

st cli_ceremony_staff(struct scope *s, struct cli_ceremony *m, const struct cli_cast *cast)
{
	AUTO(control_register) *r = NULL;
	TRY(cli_register_open(s, m->c, m->api, NULL, &r));
	if (!control_decision_taken(r, span_str(CLI_FOUNDING_DECISION)))
		TRY(cli_ceremony_plan(
			s, m, "register", "decision.take",
			(const char *const[]){ "decision", CLI_FOUNDING_DECISION, "title",
					       m->scripted ? "Founding of the provider (TEST)" : "Founding of the provider",
					       NULL }));
	for (size_t i = 0; i < cast->count; i++)
		TRY(plan_person(s, m, r, &cast->person[i]));
	TRY(cli_ceremony_approve(s, m));
	return cli_ceremony_carry_out_all(s, m);
}
