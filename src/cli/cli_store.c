/*
 * `chancery store`: where the ca's certificates lie. The copy is made by the ca's own program, which has the database; what is here
 * is the switch: the configuration names the new database only after the copy was proved equal, and that is on record.
 */
#include "cli_conf.h"
#include "cli_nouns.h"
#include "cli_process.h"
#include "cli_record.h"
#include "file.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF_MAX  65536u
#define PROOF_MAX 32768u

static bool is_setting(span line, const char *name)
{
	size_t len = strlen(name);
	return line.len > len && memcmp(line.data, name, len) == 0 && (line.data[len] == ' ' || line.data[len] == '=');
}

static span value_of(span line)
{
	const uint8_t *sign = memchr(line.data, '=', line.len);
	span value = sign != NULL ? span_from(line, (size_t)(sign - line.data) + 1) : line;
	while (value.len > 0 && (value.data[0] == ' ' || value.data[0] == '\t'))
		value = span_from(value, 1);
	while (value.len > 0 && value.data[value.len - 1] <= ' ')
		value.len--;
	return value;
}

/* The ca's configuration with the row `database`, whose value is in `out_before`, exchanged for `postgresql`. */
static st exchanged(struct scope *s, span text, const char *connection, struct buf *out, span *out_before)
{
	size_t found = 0;
	while (text.len > 0) {
		const uint8_t *end = memchr(text.data, '\n', text.len);
		size_t len = end != NULL ? (size_t)(end - text.data) + 1 : text.len;
		span line = span_of(text.data, len);
		bool is_row = is_setting(line, "database");
		found += is_row;
		if (is_row)
			*out_before = value_of(line);
		bool put = is_row ? buf_append(out, span_str(scope_printf(s, "postgresql = %s\n", connection)))
				  : buf_append(out, line);
		if (!put)
			return fail(s, E_LIMIT, "the ca's configuration is too long");
		text = span_of(text.data + len, text.len - len);
	}
	return found == 1 ? OK
			  : fail(s, E_STATE,
				 "the ca's configuration has no setting `database` to exchange: is it on PostgreSQL already?");
}

/* A daemon with a user of its own must be able to read it as before. */
static st put(struct scope *s, const char *path, span text, const struct stat *like)
{
	TRY(file_replace(s, path, text, like->st_mode & 0777));
	return chown(path, like->st_uid, like->st_gid) == 0 ? OK : fail_errno(s, E_IO, "owner of %s", path);
}

static st switch_over(struct scope *s, const struct cli_daemon *ca, span before, span after)
{
	struct stat about;
	if (stat(ca->config, &about) != 0)
		return fail_errno(s, E_IO, "%s", ca->config);
	TRY(put(s, scope_printf(s, "%s.before-migration", ca->config), before, &about));
	return put(s, ca->config, after, &about);
}

/* The ca's lines, a table each, as one: spaces once, a semicolon for each end of a line. */
static char *proof_text(struct scope *s, span printed)
{
	char *out = scope_alloc(s, 2 * printed.len + 1), *to = out;
	for (size_t i = 0; i < printed.len; i++) {
		char now = (char)printed.data[i];
		if (now == '\n' && i + 1 < printed.len) {
			*to++ = ';';
			now = ' ';
		}
		if (now != '\n' && (now != ' ' || (to > out && to[-1] != ' ')))
			*to++ = now;
	}
	*to = 0;
	return out;
}

static st record(struct scope *s, const struct cli *c, span from, const char *to, span printed)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_STORE_MIGRATED);
	audit_text(&e, "from", from);
	audit_str(&e, "to", to);
	audit_str(&e, "tables", proof_text(s, printed));
	audit_str(&e, "operator", cli_operator(s));
	const char *name = scope_printf(s, "migration-%lld", (long long)(scope_now(s) / 1000000));
	return fail_context(s, cli_record(s, c, name, &e),
			    "the copy is whole but not on record, and nothing points to it: empty it before trying again");
}

static st migrate(struct scope *s, struct cli *c)
{
	const char *to = cli_get(c, "to");
	const struct cli_daemon *ca = cli_conf_daemon(&c->conf, "ca");
	span text, from = { 0 };
	AUTO_BUF changed;
	AUTO_BUF printed;
	buf_init(&changed, CONF_MAX);
	buf_init(&printed, PROOF_MAX);
	if (ca == NULL)
		return fail(s, E_NOTFOUND, "no ca is configured on this host: migrate where it runs");
	TRY(file_read(s, ca->config, CONF_MAX, &text));
	TRY(exchanged(s, text, to, &changed, &from));
	TRY(cli_record_possible(s, c));
	const char *const arguments[] = { "migrate", to, NULL };
	TRY(cli_run_command(s, c, ca, arguments, &printed, &c->exit_code));
	(void)fwrite(printed.data, 1, printed.len, stdout);
	if (c->exit_code != 0)
		return OK; /* the ca has said why */
	TRY(record(s, c, from, to, buf_span(&printed)));
	TRY(switch_over(s, ca, text, buf_span(&changed)));
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:s}", "database", to, "configuration", ca->config, "next",
				   "chancery run; the file of SQLite stays as it is and is not used any more"));
}

static const struct cli_option migrate_options[] = {
	{ .name = "to",
	  .value = "CONNECTION",
	  .required = true,
	  .help = "an empty PostgreSQL database; never with a password" },
};
static const struct cli_command commands[] = {
	{ .verb = "migrate",
	  .summary = "Copy the stopped ca's database to PostgreSQL, prove the copy equal table by table, and switch to it",
	  .example = "store migrate --to postgresql:///chancery?host=/run/postgresql",
	  CLI_OPTIONS(migrate_options),
	  .run = migrate },
};
const struct cli_noun cli_noun_store = { "store", "move the ca's database", CLI_COMMANDS(commands) };
