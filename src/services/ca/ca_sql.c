/*
 * Every SQL statement of the ca. The second slot is PostgreSQL's; where it is left out the first text serves both.
 * Times are microseconds, 0 is "none". A serial is its magnitude. The status table is narrow and apart from the certificates,
 * which lie in order of arrival: looking up a status, and inserting under random serials, touches few pages.
 */
#include "ca_sql.h"

/* In PostgreSQL, text is compared by its bytes, as SQLite does it. */
#define PG_TEXT "TEXT COLLATE \"C\""

static const struct db_migration steps[] = {
	{ 1,
	  "first",
	  {
		  "CREATE TABLE authority (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, profile TEXT NOT NULL, state "
		  "INTEGER NOT NULL,"
		  " subject BLOB NOT NULL, key TEXT NOT NULL, algorithm TEXT NOT NULL, spki BLOB NOT NULL, certificate BLOB, "
		  "chain BLOB,"
		  " crl_url TEXT, issuer_url TEXT, ocsp_url TEXT, cps_url TEXT, crl_hours INTEGER NOT NULL, crl_number INTEGER "
		  "NOT NULL,"
		  " request BLOB, created_at INTEGER NOT NULL);"
		  "CREATE TABLE certificate (id INTEGER PRIMARY KEY, serial BLOB NOT NULL, ca INTEGER NOT NULL, profile TEXT "
		  "NOT NULL,"
		  " subject TEXT NOT NULL, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, role TEXT, request_id TEXT,"
		  " actor TEXT NOT NULL, der BLOB NOT NULL);"
		  /* The primary key is what makes a serial unique over all CAs. */
		  "CREATE TABLE status (serial BLOB PRIMARY KEY, ca INTEGER NOT NULL, state INTEGER NOT NULL, reason INTEGER "
		  "NOT NULL,"
		  " revoked_at INTEGER NOT NULL, invalidity_date INTEGER NOT NULL, not_after INTEGER NOT NULL,"
		  " certificate INTEGER NOT NULL) WITHOUT ROWID;"
		  /* Holds all that a CRL entry needs, `state` among it or it would not be read without the table. */
		  "CREATE INDEX status_revoked ON status (ca, serial, revoked_at, reason, invalidity_date, state) WHERE state "
		  "= 1;"
		  "CREATE TABLE public_key (digest BLOB PRIMARY KEY, subject BLOB NOT NULL) WITHOUT ROWID;"
		  "CREATE TABLE request (ca INTEGER NOT NULL, id TEXT NOT NULL, input BLOB NOT NULL, serial BLOB NOT NULL,"
		  " PRIMARY KEY (ca, id)) WITHOUT ROWID;"
		  "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, event BLOB NOT NULL, object BLOB, json BLOB NOT NULL);"
		  "CREATE TABLE feed (number INTEGER PRIMARY KEY, type INTEGER NOT NULL, body BLOB NOT NULL);"
		  "CREATE TABLE va (name TEXT PRIMARY KEY, number INTEGER NOT NULL, confirmed_at INTEGER NOT NULL);"
		  "CREATE TABLE crl (ca INTEGER NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL, size INTEGER NOT NULL,"
		  " entries INTEGER NOT NULL, this_update INTEGER NOT NULL, next_update INTEGER NOT NULL, PRIMARY KEY (ca, "
		  "number));"
		  "CREATE TABLE identity (name TEXT PRIMARY KEY, ca INTEGER NOT NULL, profile TEXT NOT NULL, request BLOB NOT "
		  "NULL,"
		  " settings TEXT NOT NULL, label TEXT NOT NULL, push_url TEXT, file TEXT, serial BLOB NOT NULL, not_after "
		  "INTEGER NOT NULL,"
		  " renew_at INTEGER NOT NULL, pushed INTEGER NOT NULL, failure TEXT);"
		  "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);",
		  "CREATE TABLE authority (id BIGINT PRIMARY KEY, name " PG_TEXT " NOT NULL UNIQUE, profile " PG_TEXT " NOT"
		  " NULL, state BIGINT NOT NULL, subject BYTEA NOT NULL, key " PG_TEXT " NOT NULL, algorithm " PG_TEXT " NOT"
		  " NULL, spki BYTEA NOT NULL, certificate BYTEA, chain BYTEA, crl_url " PG_TEXT ", issuer_url " PG_TEXT ","
		  " ocsp_url " PG_TEXT ", cps_url " PG_TEXT ", crl_hours BIGINT NOT NULL, crl_number BIGINT NOT NULL, request"
		  " BYTEA, created_at BIGINT NOT NULL);"
		  "CREATE TABLE certificate (id BIGINT PRIMARY KEY, serial BYTEA NOT NULL, ca BIGINT NOT"
		  " NULL, profile " PG_TEXT " NOT NULL, subject " PG_TEXT " NOT NULL, not_before BIGINT NOT NULL, not_after"
		  " BIGINT NOT NULL, role " PG_TEXT ", request_id " PG_TEXT ", actor " PG_TEXT " NOT NULL, der BYTEA NOT NULL);"
		  "CREATE TABLE status (serial BYTEA PRIMARY KEY, ca BIGINT NOT NULL, state BIGINT NOT NULL,"
		  " reason BIGINT NOT NULL, revoked_at BIGINT NOT NULL, invalidity_date BIGINT NOT NULL,"
		  " not_after BIGINT NOT NULL, certificate BIGINT NOT NULL);"
		  "CREATE INDEX status_revoked ON status (ca, serial, revoked_at, reason, invalidity_date,"
		  " state) WHERE state = 1;"
		  "CREATE TABLE public_key (digest BYTEA PRIMARY KEY, subject BYTEA NOT NULL);"
		  "CREATE TABLE request (ca BIGINT NOT NULL, id " PG_TEXT " NOT NULL, input BYTEA NOT NULL, serial"
		  " BYTEA NOT NULL, PRIMARY KEY (ca, id));"
		  "CREATE TABLE outbox (seq BIGINT PRIMARY KEY, event BYTEA NOT NULL, object BYTEA, json"
		  " BYTEA NOT NULL);"
		  "CREATE TABLE feed (number BIGINT PRIMARY KEY, type BIGINT NOT NULL, body BYTEA NOT NULL);"
		  "CREATE TABLE va (name " PG_TEXT " PRIMARY KEY, number BIGINT NOT NULL, confirmed_at BIGINT NOT"
		  " NULL);"
		  "CREATE TABLE crl (ca BIGINT NOT NULL, number BIGINT NOT NULL, digest BYTEA NOT NULL, size"
		  " BIGINT NOT NULL, entries BIGINT NOT NULL, this_update BIGINT NOT NULL, next_update"
		  " BIGINT NOT NULL, PRIMARY KEY (ca, number));"
		  "CREATE TABLE identity (name " PG_TEXT " PRIMARY KEY, ca BIGINT NOT NULL, profile " PG_TEXT " NOT NULL,"
		  " request BYTEA NOT NULL, settings " PG_TEXT " NOT NULL, label " PG_TEXT " NOT NULL, push_url " PG_TEXT
		  ", file " PG_TEXT ","
		  " serial BYTEA NOT NULL, not_after BIGINT NOT NULL, renew_at BIGINT NOT NULL, pushed"
		  " BIGINT NOT NULL, failure " PG_TEXT ");"
		  "CREATE TABLE meta (name " PG_TEXT " PRIMARY KEY, value BIGINT NOT NULL);",
	  } },
	{ 2,
	  "lost keys",
	  { "CREATE TABLE lost_key (digest BLOB PRIMARY KEY, serial BLOB NOT NULL) WITHOUT ROWID;",
	    "CREATE TABLE lost_key (digest BYTEA PRIMARY KEY, serial BYTEA NOT NULL);" } },
	{ 3,
	  "processes",
	  { "CREATE TABLE process (id INTEGER PRIMARY KEY, position INTEGER NOT NULL);"
	    "ALTER TABLE outbox ADD COLUMN entered_at INTEGER NOT NULL DEFAULT 0;",
	    "CREATE TABLE process (id BIGINT PRIMARY KEY, position BIGINT NOT NULL);"
	    "ALTER TABLE outbox ADD COLUMN entered_at BIGINT NOT NULL DEFAULT 0;" } },
};
/* Every table, for copies; the outbox and the feed go as well, so that what is under way goes on from where it is. */
static const struct db_table tables[] = {
	{ "authority",
	  "id, name, profile, state, subject, key, algorithm, spki, certificate, chain, crl_url, issuer_url, ocsp_url, cps_url,"
	  " crl_hours, crl_number, request, created_at",
	  "id" },
	{ "certificate", "id, serial, ca, profile, subject, not_before, not_after, role, request_id, actor, der", "id" },
	{ "status", "serial, ca, state, reason, revoked_at, invalidity_date, not_after, certificate", "serial" },
	{ "public_key", "digest, subject", "digest" },
	{ "request", "ca, id, input, serial", "ca, id" },
	{ "outbox", "seq, event, object, json, entered_at", "seq" },
	{ "feed", "number, type, body", "number" },
	{ "va", "name, number, confirmed_at", "name" },
	{ "crl", "ca, number, digest, size, entries, this_update, next_update", "ca, number" },
	{ "identity",
	  "name, ca, profile, request, settings, label, push_url, file, serial, not_after, renew_at, pushed, failure", "name" },
	{ "meta", "name, value", "name" },
	{ "lost_key", "digest, serial", "digest" },
	{ "process", "id, position", "id" },
};
const struct db_schema ca_schema = { .service = "ca",
				     .migrations = steps,
				     .migration_count = sizeof steps / sizeof steps[0],
				     .tables = tables,
				     .table_count = sizeof tables / sizeof tables[0] };

#define SQL(statement, text)                  const struct db_statement sql_##statement = { #statement, { text } }
#define SQL_EACH(statement, sqlite, postgres) const struct db_statement sql_##statement = { #statement, { sqlite, postgres } }

SQL(authority_all, "SELECT id, name, profile, state, subject, key, algorithm, spki, certificate, chain, crl_url, issuer_url,"
		   " ocsp_url, cps_url, crl_hours, crl_number, request FROM authority ORDER BY id");
SQL(authority_of, "SELECT id, state, spki FROM authority WHERE name = ?1");
SQL(authority_insert,
    "INSERT INTO authority (id, name, profile, state, subject, key, algorithm, spki, certificate, chain, crl_url,"
    " issuer_url, ocsp_url, cps_url, crl_hours, crl_number, request, created_at)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 0, ?16, ?17)");
SQL(authority_complete, "UPDATE authority SET state = 1, certificate = ?2, chain = ?3 WHERE id = ?1 AND state = 0");
SQL(authority_crl_hours, "UPDATE authority SET crl_hours = ?2 WHERE name = ?1 AND crl_hours <> ?2");
SQL_EACH(authority_number, "UPDATE authority SET crl_number = max(crl_number, ?2) WHERE id = ?1",
	 "UPDATE authority SET crl_number = greatest(crl_number, ?2) WHERE id = ?1");

/* Under the lock of its row until the commit: a number is given once, whoever asks. */
SQL(authority_take_number, "UPDATE authority SET crl_number = crl_number + 1 WHERE id = ?1");
SQL(authority_number_of, "SELECT crl_number FROM authority WHERE id = ?1");

/* Numbers without gaps, which an identity column has not: one transaction writes at a time on every database. */
SQL_EACH(certificate_insert,
	 "INSERT INTO certificate (serial, ca, profile, subject, not_before, not_after, role, request_id, actor, der)"
	 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
	 "INSERT INTO certificate (id, serial, ca, profile, subject, not_before, not_after, role, request_id, actor, der)"
	 " VALUES ((SELECT coalesce(max(id), 0) + 1 FROM certificate), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
SQL(certificate_of,
    "SELECT c.serial, c.ca, c.profile, c.subject, c.not_before, c.not_after, s.state, s.reason, s.revoked_at,"
    " s.invalidity_date, c.role, c.request_id, c.der, c.id FROM status s JOIN certificate c ON c.id = s.certificate"
    " WHERE s.serial = ?1");
#define LIST_BEFORE                                                                                                            \
	"SELECT c.serial, c.ca, c.profile, c.subject, c.not_before, c.not_after, s.state, s.reason, s.revoked_at,"             \
	" s.invalidity_date, c.role, c.request_id, NULL, c.id FROM certificate c JOIN status s ON s.serial = c.serial"         \
	" WHERE c.id > ?1 AND (?2 = 0 OR c.ca = ?2) AND (?3 < 0 OR s.state = ?3) AND (?4 = '' OR c.subject "
#define LIST_AFTER ") AND (?5 = 0 OR c.not_after < ?5) AND (?6 = 0 OR c.not_after >= ?6) ORDER BY c.id LIMIT ?7"
/* Whatever the case of ASCII letters; a backslash is one. */
SQL_EACH(certificate_list, LIST_BEFORE "LIKE '%' || ?4 || '%'" LIST_AFTER,
	 LIST_BEFORE "ILIKE '%' || ?4 || '%' ESCAPE ''" LIST_AFTER);
SQL(certificate_count, "SELECT coalesce(max(id), 0) FROM certificate");

SQL(status_insert, "INSERT INTO status (serial, ca, state, reason, revoked_at, invalidity_date, not_after, certificate)"
		   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
/* For the certificate that was inserted just now, on the same connection. */
SQL_EACH(status_insert_good,
	 "INSERT INTO status (serial, ca, state, reason, revoked_at, invalidity_date, not_after, certificate)"
	 " VALUES (?1, ?2, 0, 0, 0, 0, ?3, last_insert_rowid())",
	 "INSERT INTO status (serial, ca, state, reason, revoked_at, invalidity_date, not_after, certificate)"
	 " VALUES (?1, ?2, 0, 0, 0, 0, ?3, (SELECT max(id) FROM certificate))");
SQL(status_of, "SELECT ca, state, reason, revoked_at, invalidity_date, not_after, certificate FROM status WHERE serial = ?1");
SQL(status_revoke,
    "UPDATE status SET state = 1, reason = ?2, revoked_at = ?3, invalidity_date = ?4 WHERE serial = ?1 AND state = 0");
SQL_EACH(status_revoked,
	 "SELECT serial, revoked_at, reason, invalidity_date FROM status INDEXED BY status_revoked"
	 " WHERE ca = ?1 AND state = 1 ORDER BY serial",
	 "SELECT serial, revoked_at, reason, invalidity_date FROM status WHERE ca = ?1 AND state = 1 ORDER BY serial");
SQL_EACH(status_count, "SELECT count(*) FROM status INDEXED BY status_revoked WHERE state = 1",
	 "SELECT count(*) FROM status WHERE state = 1");
SQL(status_lost, "SELECT serial, reason FROM status WHERE serial > ?1 AND state = 1 AND reason IN (1, 2, 10) ORDER BY serial"
		 " LIMIT ?2");
SQL(status_after,
    "SELECT ca, serial, state, reason, revoked_at, not_after FROM status WHERE serial > ?1 ORDER BY serial LIMIT ?2");
SQL(status_all, "SELECT ca, serial, state, reason, revoked_at, invalidity_date, not_after FROM status ORDER BY serial");

/* Once an hour, over the whole narrow table: an index would cost each certificate more. */
SQL(status_expired, "SELECT ca, serial FROM status WHERE state = 0 AND not_after >= ?1 AND not_after < ?2 ORDER BY ca, serial");

SQL(key_insert, "INSERT INTO public_key (digest, subject) VALUES (?1, ?2) ON CONFLICT DO NOTHING");
SQL(key_of, "SELECT subject FROM public_key WHERE digest = ?1");

SQL(key_lost_insert, "INSERT INTO lost_key (digest, serial) VALUES (?1, ?2) ON CONFLICT DO NOTHING");
SQL(key_lost_of, "SELECT serial FROM lost_key WHERE digest = ?1");

SQL(request_insert, "INSERT INTO request (ca, id, input, serial) VALUES (?1, ?2, ?3, ?4)");
SQL(request_of, "SELECT input, serial FROM request WHERE ca = ?1 AND id = ?2");

SQL(outbox_insert, "INSERT INTO outbox (seq, event, object, json, entered_at) VALUES (?1, ?2, ?3, ?4, ?5)");
SQL(outbox_last, "SELECT coalesce(max(seq), 0) FROM outbox");
SQL(outbox_delete, "DELETE FROM outbox WHERE seq BETWEEN ?1 AND ?2");
SQL(outbox_all, "SELECT seq, event, json FROM outbox WHERE seq > ?1 AND entered_at < ?2 ORDER BY seq LIMIT 256");
SQL(outbox_of, "SELECT seq, event, json FROM outbox WHERE object = ?1 ORDER BY seq");
SQL(outbox_settle, "DELETE FROM outbox WHERE event = ?1");
SQL(outbox_after, "SELECT seq, json, entered_at FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2");
SQL(outbox_count, "SELECT count(*), coalesce(min(entered_at), 0) FROM outbox");

SQL_EACH(feed_insert, "INSERT INTO feed (type, body) VALUES (?1, ?2)",
	 "INSERT INTO feed (number, type, body) VALUES ((SELECT coalesce(max(number), 0) + 1 FROM feed), ?1, ?2)");
SQL(feed_bounds, "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM feed");
SQL(feed_after, "SELECT number, type, body FROM feed WHERE number > ?1 ORDER BY number LIMIT ?2");
SQL(feed_prune, "DELETE FROM feed WHERE number IN (SELECT number FROM feed WHERE number <= ?1 ORDER BY number LIMIT 20000)");

SQL(va_set, "INSERT INTO va (name, number, confirmed_at) VALUES (?1, ?2, ?3)"
	    " ON CONFLICT (name) DO UPDATE SET number = excluded.number, confirmed_at = excluded.confirmed_at");
SQL(va_of, "SELECT number, confirmed_at FROM va WHERE name = ?1");
SQL(va_least, "SELECT min(number) FROM va");
SQL(va_forget, "UPDATE va SET number = -1");

SQL(crl_insert,
    "INSERT INTO crl (ca, number, digest, size, entries, this_update, next_update) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
SQL(crl_last,
    "SELECT number, digest, size, entries, this_update, next_update FROM crl WHERE ca = ?1 ORDER BY number DESC LIMIT 1");
SQL(crl_after,
    "SELECT number, size, entries, this_update, next_update FROM crl WHERE ca = ?1 AND number > ?2 ORDER BY number LIMIT ?3");
SQL(crl_of, "SELECT number, digest, size, entries, this_update, next_update FROM crl WHERE ca = ?1 AND number = ?2");

SQL(identity_set,
    "INSERT INTO identity (name, ca, profile, request, settings, label, push_url, file, serial, not_after, renew_at, pushed)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    " ON CONFLICT (name) DO UPDATE SET ca = excluded.ca, profile = excluded.profile, request = excluded.request,"
    " settings = excluded.settings, label = excluded.label, push_url = excluded.push_url, file = excluded.file,"
    " serial = excluded.serial, not_after = excluded.not_after, renew_at = excluded.renew_at, pushed = excluded.pushed,"
    " failure = NULL");
#define IDENTITY_COLUMNS                                                                                                       \
	"name, ca, profile, request, settings, label, push_url, file, serial, not_after, renew_at, pushed, failure"
SQL(identity_all, "SELECT " IDENTITY_COLUMNS " FROM identity ORDER BY name");
SQL(identity_of, "SELECT " IDENTITY_COLUMNS " FROM identity WHERE name = ?1");
SQL(identity_due, "SELECT " IDENTITY_COLUMNS " FROM identity WHERE renew_at <= ?1 OR pushed = 0 ORDER BY renew_at");
SQL(identity_renewed,
    "UPDATE identity SET serial = ?2, not_after = ?3, renew_at = ?4, pushed = ?5, failure = NULL WHERE name = ?1");
SQL(identity_pushed, "UPDATE identity SET pushed = 1, failure = NULL WHERE name = ?1");
SQL(identity_failed, "UPDATE identity SET failure = ?2 WHERE name = ?1");
SQL(identity_signers, "SELECT i.ca, i.label, c.der FROM identity i JOIN status s ON s.serial = i.serial JOIN certificate c"
		      " ON c.id = s.certificate WHERE i.profile = 'ocsp-signer' AND s.state = 0 ORDER BY i.name");

SQL(process_all, "SELECT id, position FROM process ORDER BY id");
SQL(process_set,
    "INSERT INTO process (id, position) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET position = excluded.position");
SQL(process_delete, "DELETE FROM process WHERE id = ?1");
SQL(process_least, "INSERT INTO meta (name, value) SELECT 'log_position', min(position) FROM process WHERE true"
		   " ON CONFLICT (name) DO UPDATE SET value = excluded.value");

SQL(meta_set, "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value");
SQL(meta_of, "SELECT value FROM meta WHERE name = ?1");
