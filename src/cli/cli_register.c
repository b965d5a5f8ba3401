#include "cli_register.h"
#include "control_entries.h"
#include "digest.h"
#include "file.h"
#include "text.h"

#define PERSON_FILE_MAX 4096

/* ---- the register ---- */

static st check_hash(struct scope *s, const struct cli *c, span document, bool from_ca)
{
	uint8_t hash[DIGEST_MAX];
	span wanted;
	const char *found = hex_text(s, digest_of(DIGEST_SHA256, document, hash));
	if (c->conf.founding_hash == NULL && from_ca)
		cli_progress(c, "The founding document is the ca's: compare its SHA-256 with the printed one: %s", found);
	if (c->conf.founding_hash == NULL)
		return OK;
	TRY(fail_context(s, hex_parse(s, span_str(c->conf.founding_hash), &wanted), "founding-hash"));
	if (!span_equal(wanted, span_of(hash, CONTROL_HASH_LEN)))
		return fail(
			s, E_CRYPTO,
			"the founding document has the SHA-256 %s, and founding-hash in chancery.conf says another: it is not "
			"this provider's",
			found);
	return OK;
}

static st founding(struct scope *s, const struct cli *c, struct cli_api *api, span *out)
{
	bool here = file_exists(c->conf.founding);
	if (here)
		TRY(file_read(s, c->conf.founding, CONTROL_TEXT_MAX, out));
	else
		TRY(cli_api_fetch(s, api, "/v1/register/founding", out));
	return check_hash(s, c, *out, !here);
}

/* One file of all pages: the first line once. */
static st keep_page(struct scope *s, span page, struct buf *file)
{
	const uint8_t *end = memchr(page.data, '\n', page.len);
	size_t first = end == NULL || file->len == 0 ? 0 : (size_t)(end - page.data) + 1;
	if (!buf_append(file, span_from(page, first)))
		return fail(s, E_LIMIT, "the register as a file has at most %u octets", CONTROL_ENTRIES_MAX);
	return OK;
}

static st next_entries(struct scope *s, struct cli_api *api, struct control_register *r, struct buf *file, bool *out_more)
{
	span page;
	struct control_head head = control_register_head(r);
	TRY(cli_api_fetch(s, api, scope_printf(s, "/v1/register/entries?from=%llu", (unsigned long long)head.entries + 1),
			  &page));
	*out_more = page.len > 0;
	if (page.len == 0)
		return OK;
	TRY(control_entries_apply(s, r, page));
	return file == NULL ? OK : keep_page(s, page, file);
}

static st entries(struct scope *s, struct cli_api *api, struct control_register *r, struct buf *file)
{
	for (bool more = true; more;) {
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		st status = next_entries(&aside, api, r, file, &more);
		if (status.code != E_OK)
			return fail(s, status.code, "the register of persons: %s", aside.message);
	}
	return OK;
}

/* Who is revoked by now, for who judges here as keyd and ca do by the log. What is not the management CA's own says nothing. */
static void newest_crl(struct scope *s, struct cli_api *api, struct control_register *r)
{
	span crl;
	if (!control_has_management(r))
		return;
	st known = cli_api_fetch(s, api, CLI_MANAGEMENT_CRL, &crl);
	if (known.code == E_OK)
		known = control_register_crl_on_record(s, r, crl);
	if (known.code != E_OK)
		scope_clear_error(s);
}

st cli_register_open(struct scope *s, const struct cli *c, struct cli_api *api, struct buf *file, struct control_register **out)
{
	AUTO(control_register) *r = NULL;
	span document;
	TRY(founding(s, c, api, &document));
	TRY(fail_context(s, control_register_new(s, document, &r), "the founding document"));
	TRY(entries(s, api, r, file));
	newest_crl(s, api, r);
	*out = TAKE(r);
	return OK;
}

static st from_file(struct scope *s, const struct cli *c, const char *path, struct control_register **out)
{
	AUTO(control_register) *r = NULL;
	span document, file;
	TRY(fail_context(s, file_read(s, c->conf.founding, CONTROL_TEXT_MAX, &document), "the founding document"));
	TRY(check_hash(s, c, document, false));
	TRY(fail_context(s, control_register_new(s, document, &r), "the founding document"));
	TRY(file_read(s, path, CONTROL_ENTRIES_MAX, &file));
	if (file.len > 0)
		TRY(fail_context(s, control_entries_apply(s, r, file), "%s", path));
	*out = TAKE(r);
	return OK;
}

st cli_register_look(struct scope *s, const struct cli *c, struct control_register **out)
{
	AUTO(cli_api) *api = NULL;
	if (cli_get(c, "register") != NULL)
		return from_file(s, c, cli_get(c, "register"), out);
	TRY(cli_api_open(s, c, &api));
	return cli_register_open(s, c, api, NULL, out);
}

/* ---- names ---- */

const char *cli_person_path(struct scope *s, const struct cli *c, const char *id)
{
	return scope_printf(s, "%s/%s", c->conf.people, id);
}

//= control#identity SHA-256 over 16 random octets and the name: without the file nobody can tell whose it is
void cli_person_identity(struct cli_person *person)
{
	uint8_t hash[DIGEST_MAX];
	struct digest d;
	digest_start(&d, DIGEST_SHA256);
	digest_add(&d, SPAN_ARRAY(person->random));
	digest_add(&d, span_str(person->name));
	(void)digest_finish(&d, hash);
	memcpy(person->identity, hash, sizeof person->identity);
}

st cli_person_write(struct scope *s, const struct cli *c, const struct cli_person *person)
{
	AUTO_BUF text;
	buf_init(&text, 0);
	struct control_wr w = control_write(&text, "person");
	control_put_str(&w, "person", person->id);
	control_put_str(&w, "name", person->name);
	control_put_hex(&w, "random", SPAN_ARRAY(person->random));
	TRY(control_written(s, &w));
	TRY(file_make_directory(s, c->conf.people, 0700));
	return file_create(s, cli_person_path(s, c, person->id), buf_span(&text), 0600);
}

st cli_person_read(struct scope *s, const struct cli *c, const char *id, struct cli_person *out)
{
	span text;
	TRY(file_read(s, cli_person_path(s, c, id), PERSON_FILE_MAX, &text));
	struct control_rd r = control_read(text, "person", "file of a person");
	out->id = scope_cstr(s, control_get(&r, "person"));
	out->name = scope_cstr(s, control_get(&r, "name"));
	control_get_hex(&r, "random", out->random, sizeof out->random);
	TRY(control_end(s, &r));
	if (strcmp(out->id, id) != 0)
		return fail(s, E_INPUT, "%s is the file of %s", cli_person_path(s, c, id), out->id);
	cli_person_identity(out);
	return OK;
}

const char *cli_person_name(struct scope *s, const struct cli *c, const struct control_person *person)
{
	struct cli_person kept;
	st status = cli_person_read(s, c, person->id, &kept);
	scope_clear_error(s);
	bool same = status.code == E_OK && memcmp(kept.identity, person->identity, sizeof kept.identity) == 0;
	return same ? kept.name : "-";
}
