#include "cli_rehearsal.h"
#include "cli_process.h"
#include "file.h"
#include "moment.h"
#include "text.h"
#include <fcntl.h>
#include <unistd.h>

#define MODULE     "/usr/lib/softhsm/libsofthsm2.so" /* stands in for the cards */
#define WORDS_MAX  72                                /* 28 operations with one PIN */
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

/* Its first result, which is JSON. `words` end with NULL. */
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
	*out = json_loadb((const char *)answer.data, answer.len, JSON_DISABLE_EOF_CHECK, NULL); /* the first of several */
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
	const char *path;
	scope_random(s, random, sizeof random);
	TRY(file_replace(s, pin_path(s, c, p->id), span_str(hex_text(s, SPAN_ARRAY(random))), 0600));
	TRY(use_token(s, c, p->id, "create", (const char *const[]){ NULL }, &keys));
	char *text = scope_printf(s, "key: %s\nshare-key: %s\n", cli_member(keys, "key"), cli_member(keys, "share-key"));
	return write_work(s, c, scope_printf(s, "%s.keys", p->id), span_str(text), &path);
}

static st make_people(struct scope *s, const struct cli *c)
{
	TRY(file_make_directory(s, cli_path(s, c, "test-secrets/people"), 0700));
	TRY(file_make_directory(s, cli_path(s, c, "test-secrets/rehearsal"), 0700));
	TRY(make_softhsm(s, c));
	for (size_t i = 0; i < CAST; i++)
		TRY(make_person(s, c, &cast[i]));
	return OK;
}

static st take_person(struct scope *s, const struct cli *c, const struct person *p, struct cli_cast_person *out)
{
	span file;
	*out = (struct cli_cast_person){ .id = p->id, .name = p->name, .roles = UINT32_C(1) << p->role };
	if (!cli_cast_founds(out)) {
		out->screened = scope_now(s) - 30 * MOMENT_DAY;
		out->trained = scope_now(s) - 3 * MOMENT_DAY;
	}
	TRY(file_read(s, work_path(s, c, scope_printf(s, "%s.keys", p->id)), ANSWER_MAX, &file));
	return cli_cast_keys(s, file, out);
}

st cli_rehearsal_cast(struct scope *s, const struct cli *c, struct cli_cast *out)
{
	*out = (struct cli_cast){ .quorum = 2, .threshold = 2 };
	TRY(make_people(s, c));
	for (size_t i = 0; i < CAST; i++)
		TRY(take_person(s, c, &cast[i], &out->person[out->count++]));
	return cli_cast_keep_names(s, c, out);
}

/* ---- the founding document ---- */

st cli_rehearsal_sign_founding(struct scope *s, const struct cli *c, const char *text, struct control_founder *founder)
{
	AUTO(json_t) *answer = NULL;
	TRY(use_token(s, c, founder->id, "found", (const char *const[]){ "--text", text, "--person", founder->id, NULL },
		      &answer));
	const char *line = cli_member(answer, "signature"), *space = strchr(line, ' ');
	return base64_parse(s, span_str(space == NULL ? line : space + 1), &founder->signature);
}

/* ---- an operation ---- */

/* Is it one of the first of the cast who can, as many as the seat has? */
static bool takes(size_t person, const struct control_seat *seat)
{
	unsigned before = 0, wanted = seat->count == 0 ? 2 : seat->count;
	for (size_t i = 0; i < person; i++)
		before += (seat->roles & UINT32_C(1) << cast[i].role) != 0;
	return (seat->roles & UINT32_C(1) << cast[person].role) != 0 && before < wanted;
}

static bool sits(size_t person, const struct cli_ceremony_row *row)
{
	size_t seats = strcmp(row->operation->name, "group.activate") == 0 ? 1 : CONTROL_SEATS_MAX; /* custodians come later */
	for (size_t i = 0; i < seats && row->operation->seat[i].roles != 0; i++)
		if (takes(person, &row->operation->seat[i]))
			return true;
	return row->late != NULL && takes(person, row->late);
}

/* As many of them as fit with one PIN; `*at` moves on. */
static st approve_some(struct scope *s, const struct cli *c, size_t person, const struct cli_ceremony_row *row, size_t count,
		       size_t *at)
{
	AUTO(json_t) *done = NULL;
	const char *words[WORDS_MAX] = { "--person", cast[person].id, "--role", control_role_row(cast[person].role)->name };
	size_t n = 4;
	for (; *at < count && n + 3 < WORDS_MAX - 8; (*at)++)
		if (!row[*at].ready && sits(person, &row[*at])) {
			words[n++] = "--operation";
			words[n++] = row[*at].path;
		}
	return n == 4 ? OK : use_token(s, c, cast[person].id, "approve", words, &done);
}

st cli_rehearsal_approve(struct scope *s, const struct cli *c, const struct cli_ceremony_row *row, size_t count)
{
	for (size_t i = 0; i < CAST; i++)
		for (size_t at = 0; at < count;)
			TRY(approve_some(s, c, i, row, count, &at));
	return OK;
}

st cli_rehearsal_share(struct scope *s, const struct cli *c, const char *person, const char *operation, const char *statement,
		       const char *share, const char *out)
{
	AUTO(json_t) *done = NULL;
	const char *const words[] = {
		"--operation", operation,    "--statement",    statement,    "--share",
		share,         "--founding", c->conf.founding, "--register", cli_path(s, c, CLI_CEREMONY_REGISTER),
		"--person",    person,       "--out",          out,          NULL
	};
	(void)unlink(out);
	return use_token(s, c, person, "share", words, &done);
}
