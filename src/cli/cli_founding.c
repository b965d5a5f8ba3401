/* `chancery founding`: the document that the register of persons starts from. First its text, which every founder signs with
 * chancery-token found; then the document, with their signatures behind it. */
#include "cli_cast.h"
#include "cli_nouns.h"
#include "cli_register.h"
#include "digest.h"
#include "file.h"
#include "pki_pem.h"
#include "text.h"

#define FILE_MAX (64u << 10)

/* ---- what is in the files ---- */

/* "p1=FILE" */
static st read_pair(struct scope *s, const char *option, const char *given, const char **out_name, span *out_file)
{
	const char *equals = strchr(given, '=');
	if (equals == NULL || equals == given || equals[1] == 0)
		return fail(s, E_INPUT, "--%s %s: write NAME=FILE", option, given);
	*out_name = scope_printf(s, "%.*s", (int)(equals - given), given);
	return file_read(s, equals + 1, FILE_MAX, out_file);
}

span cli_line_value(span file, const char *name)
{
	span start = span_str(name);
	while (file.len > 0) {
		const uint8_t *end = memchr(file.data, '\n', file.len);
		span line = end == NULL ? file : span_first(file, (size_t)(end - file.data));
		if (line.len > start.len + 2 && span_equal(span_first(line, start.len), start) && line.data[start.len] == ':')
			return span_from(line, start.len + 2);
		file = span_from(file, line.len + 1);
	}
	return file;
}

//= tsps#5.2.2 distinct natural persons: no two have one token
static st check_key_is_new(struct scope *s, const struct control_founding *f, const struct control_founder *founder)
{
	for (const struct control_founder *other = f->founder; other < founder; other++)
		if (span_equal(other->spki, founder->spki))
			return fail(s, E_CONFLICT, "%s and %s have the same key: each founder has a token of their own",
				    other->id, founder->id);
	return OK;
}

static st add_founder(struct scope *s, const struct cli *c, const char *given, struct control_founding *f)
{
	span file;
	struct cli_person person;
	if (f->founders == CONTROL_FOUNDERS_MAX)
		return fail(s, E_LIMIT, "there are at most %d founders", CONTROL_FOUNDERS_MAX);
	struct control_founder *founder = &f->founder[f->founders++];
	TRY(read_pair(s, "founder", given, &founder->id, &file));
	span key = cli_line_value(file, "key"), share_key = cli_line_value(file, "share-key");
	if (key.len == 0)
		return fail(s, E_INPUT,
			    "--founder %s: the file has no line \"key: ...\"; it is what chancery-token create printed", given);
	TRY(fail_context(s, base64_parse(s, key, &founder->spki), "key of %s", founder->id));
	TRY(check_key_is_new(s, f, founder));
	TRY(fail_context(s, base64_parse(s, share_key, &founder->share_spki), "share-key of %s", founder->id));
	if (cli_person_read(s, c, founder->id, &person).code != E_OK) {
		scope_clear_error(s);
		return fail(s, E_NOTFOUND, "no name of %s is kept here: chancery person new %s --name NAME comes first",
			    founder->id, founder->id);
	}
	memcpy(founder->identity, person.identity, sizeof founder->identity);
	return OK;
}

static st add_instance(struct scope *s, const char *given, struct control_founding *f)
{
	span file;
	if (f->instances == CONTROL_INSTANCES_MAX)
		return fail(s, E_LIMIT, "there are at most %d instances", CONTROL_INSTANCES_MAX);
	struct control_instance *instance = &f->instance[f->instances++];
	TRY(read_pair(s, "instance", given, &instance->name, &file));
	return fail_context(s, pki_pem_or_der(s, file, "PUBLIC KEY", &instance->spki), "--instance %s", given);
}

/* ---- text ---- */

static st collect(struct scope *s, const struct cli *c, struct control_founding *f)
{
	uint64_t quorum;
	const char *given;
	TRY(cli_get_number(s, c, "quorum", 2, CONTROL_FOUNDERS_MAX, &quorum));
	f->provider = cli_get_or(c, "provider", c->conf.name);
	f->founded = scope_now(s);
	f->quorum = (unsigned)quorum;
	for (size_t i = 0; (given = cli_get_at(c, "founder", i)) != NULL; i++)
		TRY(add_founder(s, c, given, f));
	for (size_t i = 0; (given = cli_get_at(c, "instance", i)) != NULL; i++)
		TRY(add_instance(s, given, f));
	return OK;
}

static st write_text(struct scope *s, struct cli *c)
{
	uint8_t hash[DIGEST_MAX];
	const char *path = cli_get(c, "out");
	struct control_founding *f = scope_new(s, struct control_founding);
	AUTO_BUF text;
	buf_init(&text, 0);
	TRY(collect(s, c, f));
	TRY(control_founding_text(s, f, &text));
	TRY(control_founding_text_read(s, buf_span(&text), f)); /* what the founders' tokens would refuse is refused here */
	TRY(file_create(s, path, buf_span(&text), 0644));
	return cli_print(
		s, c,
		json_pack("{s:s, s:i, s:i, s:s, s:s}", "written to", path, "founders", (int)f->founders, "decide together",
			  (int)f->quorum, "SHA-256", hex_text(s, digest_of(DIGEST_SHA256, buf_span(&text), hash)), "next",
			  scope_printf(s,
				       "each founder: chancery-token found --token LABEL --text %s --person ID > ID.signature",
				       path)));
}

/* ---- complete ---- */

static st add_signature(struct scope *s, const struct cli *c, const struct control_founder *founder, struct buf *out)
{
	const char *path, *start = scope_printf(s, "%s ", founder->id);
	for (size_t i = 0; (path = cli_get_at(c, "signature", i)) != NULL; i++) {
		span file;
		TRY(file_read(s, path, FILE_MAX, &file));
		span signature = cli_line_value(file, "signature");
		if (!span_equal(span_first(signature, strlen(start)), span_str(start)))
			continue;
		const char *line = scope_printf(s, "signature: %.*s\n", (int)signature.len, (const char *)signature.data);
		return buf_append(out, span_str(line)) ? OK : fail(s, E_LIMIT, "the document is too long");
	}
	return fail(s, E_DENIED, "the signature of %s is not among them: every founder signs (chancery-token found)",
		    founder->id);
}

static st complete(struct scope *s, struct cli *c)
{
	span text;
	uint8_t room[DIGEST_MAX];
	const char *path = cli_get(c, "out");
	struct control_founding *f = scope_new(s, struct control_founding);
	AUTO_BUF out;
	buf_init(&out, 0);
	TRY(file_read(s, c->argument[0], FILE_MAX, &text));
	TRY(fail_context(s, control_founding_text_read(s, text, f), "%s", c->argument[0]));
	if (!buf_append(&out, text) || !buf_append(&out, SPAN_LITERAL("\n")))
		return fail(s, E_LIMIT, "the document is too long");
	for (size_t i = 0; i < f->founders; i++)
		TRY(add_signature(s, c, &f->founder[i], &out));
	AUTO(control_register) *r = NULL;
	TRY(control_register_new(s, buf_span(&out), &r)); /* as everybody will who starts from it */
	TRY(file_create(s, path, buf_span(&out), 0644));
	const char *hash = hex_text(s, digest_of(DIGEST_SHA256, buf_span(&out), room));
	return cli_print(
		s, c,
		json_pack("{s:s, s:s, s:s}", "written to", path, "founding-hash", hash, "next",
			  "print it, read the hash out, and put founding and founding-hash at the head of chancery.conf, "
			  "ca.conf and each keyd.conf"));
}

/* ---- people ---- */

static st print_people(struct scope *s, struct cli *c)
{
	return cli_write_out(s, c, cli_get(c, "out"), span_str(cli_cast_example));
}

static const struct cli_option people_options[] = {
	{ .name = "out", .value = "FILE", .help = "default: standard output" },
};
static const struct cli_option text_options[] = {
	{ .name = "provider", .value = "NAME", .help = "the provider's name (default: that of this installation)" },
	{ .name = "quorum", .value = "N", .help = "how many founders decide together: 2 at least (default: 2)" },
	{ .name = "founder",
	  .value = "ID=FILE",
	  .required = true,
	  .help = "repeated, two at least: p1, and what `chancery-token create` printed for p1. Its name is kept here (`chancery person new`)" },
	{ .name = "instance",
	  .value = "NAME=FILE",
	  .help = "repeated: keyd/ca, and the public key of its identity (PEM, `chancery key show identity`)" },
	{ .name = "out", .value = "FILE", .required = true, .help = "the text that every founder signs" },
};
static const struct cli_option complete_options[] = {
	{ .name = "signature",
	  .value = "FILE",
	  .required = true,
	  .help = "repeated: the line that `chancery-token found` printed" },
	{ .name = "out", .value = "FILE", .required = true, .help = "the founding document" },
};
static const struct cli_command commands[] = {
	{ .verb = "people",
	  .summary = "Print a file of persons to fill in, for `chancery init --people`",
	  .example = "founding people --out people.conf",
	  .without_configuration = true,
	  CLI_OPTIONS(people_options),
	  .run = print_people },
	{ .verb = "text",
	  .summary = "Write the text of the founding document, for the founders to sign with their tokens",
	  .example =
		  "founding text --founder p1=p1.keys --founder p2=p2.keys --founder p3=p3.keys --instance keyd/ca=identity.pem --out founding.text",
	  CLI_OPTIONS(text_options),
	  .run = write_text },
	{ .verb = "complete",
	  .arguments = "TEXT",
	  .summary = "Put the founders' signatures behind the text, verify them, and print the hash that is pinned everywhere",
	  .example =
		  "founding complete founding.text --signature p1.signature --signature p2.signature --signature p3.signature --out founding",
	  CLI_OPTIONS(complete_options),
	  .run = complete },
};
const struct cli_noun cli_noun_founding = { "founding", "the document that the register of persons starts from",
					    CLI_COMMANDS(commands) };
