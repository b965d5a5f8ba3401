/* PostgreSQL: proof that a commit will be durable, from the server's settings and its standbys. */
#include "store_postgres.h"

#define COLUMNS 7
/* As text, whichever way they come. */
#define SETTINGS                                                                                                               \
	"SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),"         \
	" current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_replication"                             \
	" WHERE coalesce(application_name, '') <> 'pg_basebackup')::text, pg_is_in_recovery()::text,"                          \
	" current_setting('server_encoding')"

static const struct db_statement settings = { "settings", { NULL, SETTINGS } };

static st not_durable(struct scope *s, const char *setting, const char *value, const char *what)
{
	return fail(s, E_CONFIG, "the PostgreSQL server has %s = %s: commits would not be durable; %s", setting, value, what);
}

static st check_replication(struct scope *s, const char *level, const char *names, const char *standbys)
{
	bool waits = strcmp(level, "on") == 0 || strcmp(level, "remote_apply") == 0;
	if (names[0] == 0 && strcmp(standbys, "0") == 0)
		return OK;
	if (names[0] == 0)
		return not_durable(s, "synchronous_standby_names", "'' with standbys connected",
				   "name one that every commit waits for, as in 'ANY 1 (*)'");
	return waits ? OK : not_durable(s, "synchronous_commit", level, "with standbys it must be on or remote_apply");
}

static st check(struct scope *s, const char *const value[COLUMNS])
{
	if (strcmp(value[5], "false") != 0)
		return fail(s, E_UNAVAILABLE, "the PostgreSQL server is a standby that takes no writes");
	if (strcmp(value[0], "on") != 0)
		return not_durable(s, "fsync", value[0], "set it to on and restart the server");
	if (strcmp(value[1], "on") != 0)
		return not_durable(s, "full_page_writes", value[1], "set it to on");
	if (strcmp(value[2], "off") == 0)
		return not_durable(s, "synchronous_commit", value[2], "set it to on, for the database and the role too");
	if (strcmp(value[6], "UTF8") != 0)
		return fail(s, E_CONFIG, "the PostgreSQL database has the encoding %s: create it with encoding UTF8", value[6]);
	return check_replication(s, value[2], value[3], value[4]);
}

st pg_durable_at_opening(struct scope *s, struct db_connection *c)
{
	PGresult *r;
	const char *value[COLUMNS];
	TRY(pg_query(s, c, SETTINGS, &r));
	for (int i = 0; i < COLUMNS; i++)
		value[i] = PQgetvalue(r, 0, i);
	st status = check(s, value);
	PQclear(r);
	return status;
}

static st check_row(struct scope *s, const struct db_row *row, void *arg)
{
	const char *value[COLUMNS];
	for (size_t i = 0; i < COLUMNS; i++)
		value[i] = scope_cstr(s, row->column[i].bytes);
	*(st *)arg = check(s, value);
	return OK;
}

st pg_durable_still(struct scope *s, struct db_connection *c)
{
	st found = OK;
	TRY(pg_begin(s, c, DB_READER));
	st asked = pg_run(s, c, &settings, NULL, 0, check_row, &found, NULL);
	pg_rollback(c);
	return asked.code == E_OK ? found : asked;
}
