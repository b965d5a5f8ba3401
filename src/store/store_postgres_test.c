/* What only a database across a connection has: servers that are not durable, and connections lost at every moment. */
#include "store_internal.h"
#include "moment.h"
#include "store_unit.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- between the store and the server ---- */

enum cut { CUT_NOT, CUT_REQUEST, CUT_ANSWER, CUT_COMMITTED, CUT_ALL };

/* Passes everything on, until it is told to cut: at the next request, at the next answer, or at the answer to a commit. */
struct between {
	char directory[64], from[108], to[108];
	int listener;
	pthread_t thread;
	_Atomic enum cut cut;
	_Atomic bool over;
	atomic_int pairs;
};
struct pair {
	struct between *b;
	int client, server;
};

/* False: it is cut or ended. */
static bool pass(struct between *b, int from, int to, bool is_answer)
{
	static const char done[] = "COMMIT";
	char bytes[8192];
	ssize_t len = read(from, bytes, sizeof bytes);
	if (len <= 0)
		return false;
	enum cut cut = atomic_load(&b->cut);
	bool committed = is_answer && memmem(bytes, (size_t)len, done, sizeof done) != NULL;
	if ((cut == CUT_REQUEST && !is_answer) || (cut == CUT_ANSWER && is_answer) || (cut == CUT_COMMITTED && committed)) {
		atomic_store(&b->cut, CUT_NOT);
		return false;
	}
	return send(to, bytes, (size_t)len, MSG_NOSIGNAL) == len;
}

static void *pair_main(void *arg)
{
	struct pair *p = arg;
	struct pollfd ready[2] = { { .fd = p->client, .events = POLLIN }, { .fd = p->server, .events = POLLIN } };
	bool open = true;
	while (open && !atomic_load(&p->b->over) && atomic_load(&p->b->cut) != CUT_ALL) {
		(void)poll(ready, 2, 20);
		if ((ready[0].revents & (POLLIN | POLLHUP)) != 0)
			open = pass(p->b, p->client, p->server, false);
		if (open && (ready[1].revents & (POLLIN | POLLHUP)) != 0)
			open = pass(p->b, p->server, p->client, true);
	}
	(void)close(p->client);
	(void)close(p->server);
	struct between *b = p->b;
	free(p);
	atomic_fetch_sub(&b->pairs, 1);
	return NULL;
}

static int dial(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	(void)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

static void *between_main(void *arg)
{
	struct between *b = arg;
	struct pollfd ready = { .fd = b->listener, .events = POLLIN };
	while (!atomic_load(&b->over)) {
		if (poll(&ready, 1, 20) <= 0)
			continue;
		struct pair *p = heap_alloc(sizeof *p);
		*p = (struct pair){ b, accept(b->listener, NULL, NULL), dial(b->to) };
		pthread_t thread;
		atomic_fetch_add(&b->pairs, 1);
		assert_int_equal(pthread_create(&thread, NULL, pair_main, p), 0);
		(void)pthread_detach(thread);
	}
	return NULL;
}

/* The store of the place anew, through what stands between. */
static void between_start(struct place *p, struct between *b)
{
	*b = (struct between){ 0 };
	const char *host = strstr(p->url, "host=") + 5;
	(void)snprintf(b->directory, sizeof b->directory, "%s/b", p->directory);
	assert_int_equal(mkdir(b->directory, 0700), 0);
	(void)snprintf(b->from, sizeof b->from, "%s/.s.PGSQL.5432", b->directory);
	(void)snprintf(b->to, sizeof b->to, "%.*s/.s.PGSQL.5432", (int)strcspn(host, " "), host);
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s", b->from);
	b->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(b->listener, (const struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(b->listener, 20), 0);
	assert_int_equal(pthread_create(&b->thread, NULL, between_main, b), 0);
	db_close(p->db);
	p->db = NULL;
	const char *url = scope_printf(&p->s, "postgresql:host=%s dbname=chancery user=chancery", b->directory);
	assert_ok(&p->s, db_open(&p->s, url, &schema_2, &p->db));
}

static void between_stop(struct place *p, struct between *b)
{
	db_close(p->db);
	p->db = NULL;
	atomic_store(&b->over, true);
	(void)pthread_join(b->thread, NULL);
	while (atomic_load(&b->pairs) > 0)
		(void)usleep(1000);
	(void)close(b->listener);
	(void)unlink(b->from);
	(void)rmdir(b->directory);
}

/* ---- a connection lost ---- */

struct cutting {
	struct between *b;
	enum cut cut;
	const char *name;
	int runs;
};

static st insert_and_cut(struct scope *s, struct db_tx *tx, void *arg)
{
	struct cutting *c = arg;
	int64_t n;
	TRY(count(s, tx, &n));
	if (c->runs++ == 0)
		atomic_store(&c->b->cut, c->cut);
	return db_exec(s, tx, &thing_insert, DB_VALUES(db_text(span_str(c->name)), db_null()), NULL);
}

static void a_commit_whose_answer_is_lost_is_found_done_and_not_repeated(void **state)
{
	struct place *p = *state;
	struct between b;
	between_start(p, &b);
	struct cutting c = { .b = &b, .cut = CUT_COMMITTED, .name = "once" };
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_and_cut, &c));
	assert_int_equal(c.runs, 1);
	assert_int_equal(atomic_load(&b.cut), CUT_NOT); /* it was cut */
	assert_int_equal(things(p), 1);
	between_stop(p, &b);
}

static void a_commit_that_did_not_arrive_is_repeated(void **state)
{
	struct place *p = *state;
	struct between b;
	between_start(p, &b);
	struct cutting c = { .b = &b, .cut = CUT_REQUEST, .name = "once" };
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_and_cut, &c));
	assert_int_equal(c.runs, 2);
	assert_int_equal(things(p), 1);
	between_stop(p, &b);
}

static st cut_and_ask(struct scope *s, struct db_tx *tx, void *arg)
{
	struct cutting *c = arg;
	int64_t n;
	TRY(insert_and_cut(s, tx, c));
	return count(s, tx, &n);
}

static void a_transaction_lost_in_the_middle_is_run_again(void **state)
{
	struct place *p = *state;
	struct between b;
	between_start(p, &b);
	struct cutting c = { .b = &b, .cut = CUT_ANSWER, .name = "once" };
	assert_ok(&p->s, db_tx(&p->s, p->db, cut_and_ask, &c));
	assert_int_equal(c.runs, 2);
	assert_int_equal(things(p), 1);
	between_stop(p, &b);
}

static void a_commit_whose_outcome_cannot_be_known_is_neither_repeated_nor_called_done(void **state)
{
	struct place *p = *state;
	struct between b;
	between_start(p, &b);
	/* As if the row were not what this process left. */
	(void)unit_sql(&p->s, "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS"
			      " $$BEGIN NEW.number = NEW.number + 7; RETURN NEW; END$$;"
			      "CREATE TRIGGER other BEFORE UPDATE ON store_writer FOR EACH ROW EXECUTE FUNCTION other()");
	struct cutting c = { .b = &b, .cut = CUT_COMMITTED, .name = "once" };
	assert_int_equal(db_doubts(p->db), 0);
	assert_fails(&p->s, E_UNAVAILABLE, db_tx(&p->s, p->db, insert_and_cut, &c));
	assert_int_equal(c.runs, 1);
	assert_int_equal(db_doubts(p->db), 1);
	between_stop(p, &b);
}

static void a_server_that_stays_away_fails_the_work_at_once_and_service_resumes(void **state)
{
	struct place *p = *state;
	struct between b;
	between_start(p, &b);
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	(void)rename(b.from, scope_printf(&p->s, "%s-away", b.from));
	atomic_store(&b.cut, CUT_ALL);
	(void)usleep(100000);
	assert_fails(&p->s, E_UNAVAILABLE, db_tx(&p->s, p->db, insert_named, name_of(p, "b")));
	int64_t n;
	assert_fails(&p->s, E_UNAVAILABLE, db_read(&p->s, p->db, count, &n));
	atomic_store(&b.cut, CUT_NOT);
	(void)rename(scope_printf(&p->s, "%s-away", b.from), b.from);
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "b")));
	assert_int_equal(things(p), 2);
	between_stop(p, &b);
}

static void a_connection_that_went_while_it_lay_idle_is_opened_anew(void **state)
{
	struct place *p = *state;
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	assert_int_equal(things(p), 1);
	(void)unit_sql(&p->s, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
			      " WHERE application_name = 'chancery'");
	(void)usleep(100000);
	assert_int_equal(things(p), 1);
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "b")));
	assert_int_equal(things(p), 2);
}

static void a_lock_that_was_ours_and_is_held_still_is_waited_for_by_asking_again(void **state)
{
	struct place *p = *state;
	PGconn *other = PQconnectdb(p->url + strlen("postgresql:"));
	PQclear(PQexec(other, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"));
	PQclear(PQexec(other, "SELECT pg_advisory_lock(7163082334074663545)"));
	assert_fails(&p->s, E_UNAVAILABLE, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	PQfinish(other);
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	assert_int_equal(things(p), 1);
}

/* ---- several processes ---- */

static const struct db_statement thing_number = {
	"thing_number", { NULL, "INSERT INTO thing (id, name) VALUES ((SELECT coalesce(max(id), 0) + 1 FROM thing), ?1)" }
};
static const struct db_statement thing_bounds = { "thing_bounds", { "SELECT min(id), max(id), count(*) FROM thing" } };

static st insert_numbered(struct scope *s, struct db_tx *tx, void *arg)
{
	return db_exec(s, tx, &thing_number, DB_VALUES(db_text(span_str(arg))), NULL);
}

/* The database of the place, opened by two that share it. */
static void share(struct place *p, struct db **out_other)
{
	db_close(p->db);
	assert_ok(&p->s, db_open_shared(&p->s, p->url, &schema_2, &p->db));
	assert_ok(&p->s, db_open_shared(&p->s, p->url, &schema_2, out_other));
}

struct writing {
	struct db *db;
	const char *who;
};

static void *write_many(void *arg)
{
	struct writing *w = arg;
	for (int i = 0; i < 200; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		assert_ok(&s, db_tx(&s, w->db, insert_numbered, scope_printf(&s, "%s %d", w->who, i)));
	}
	return NULL;
}

static st bounds(struct scope *s, struct db_tx *tx, void *arg)
{
	return db_one(s, tx, &thing_bounds, NULL, 0, arg);
}

static void two_that_share_a_database_write_in_turn_and_leave_no_gap_in_numbers(void **state)
{
	struct place *p = *state;
	struct db *other;
	struct db_row row;
	pthread_t thread[2];
	share(p, &other);
	struct writing w[] = { { p->db, "one" }, { other, "two" } };
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, write_many, &w[i]), 0);
	for (int i = 0; i < 2; i++)
		(void)pthread_join(thread[i], NULL);
	assert_ok(&p->s, db_read(&p->s, p->db, bounds, &row));
	assert_int_equal(row.column[0].integer, 1);
	assert_int_equal(row.column[1].integer, 400);
	assert_int_equal(row.column[2].integer, 400);
	db_close(other);
}

static bool leads(struct place *p, struct db *db)
{
	bool out;
	assert_ok(&p->s, db_lead(&p->s, db, &out));
	return out;
}

struct life {
	int64_t process;
	bool alive;
};

static st look_alive(struct scope *s, struct db_tx *tx, void *arg)
{
	struct life *l = arg;
	return db_process_alive(s, tx, l->process, &l->alive);
}

static bool is_alive(struct place *p, int64_t process)
{
	struct life l = { .process = process };
	assert_ok(&p->s, db_read(&p->s, p->db, look_alive, &l));
	return l.alive;
}

static void one_of_them_leads_until_it_ends_and_is_seen_to_end(void **state)
{
	struct place *p = *state;
	struct db *other;
	share(p, &other);
	int64_t process = db_process(other);
	assert_true(process > 0 && process != db_process(p->db));
	assert_true(leads(p, other) && leads(p, other));
	assert_false(leads(p, p->db));
	assert_true(is_alive(p, process));
	assert_false(is_alive(p, process ^ 1));
	db_close(other);
	for (int i = 0; i < 200 && is_alive(p, process); i++)
		(void)usleep(10000);
	assert_false(is_alive(p, process));
	assert_true(leads(p, p->db));
}

static void a_lost_session_gives_up_the_lead(void **state)
{
	struct place *p = *state;
	struct db *other;
	share(p, &other);
	assert_true(leads(p, p->db));
	(void)unit_sql(&p->s, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
			      " WHERE application_name = 'chancery'");
	(void)usleep(100000);
	assert_true(leads(p, other));
	assert_false(leads(p, p->db));
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	db_close(other);
}

static void whoever_is_alone_with_a_database_keeps_others_out_and_the_other_way_round(void **state)
{
	struct place *p = *state;
	struct db *other;
	assert_fails(&p->s, E_STATE, db_open_shared(&p->s, p->url, &schema_2, &other));
	assert_int_equal(db_process(p->db), 0);
	assert_true(leads(p, p->db));
	share(p, &other);
	struct db *alone;
	assert_fails(&p->s, E_STATE, db_open(&p->s, p->url, &schema_2, &alone));
	db_close(other);
}

/* ---- what is refused ---- */

static void refused(struct place *p, const char *setting, const char *message)
{
	struct db *db;
	db_close(p->db);
	p->db = NULL;
	(void)unit_sql(&p->s, setting);
	st got = db_open(&p->s, p->url, &schema_2, &db);
	(void)unit_sql(&p->s, "SET synchronous_commit = local; ALTER DATABASE chancery RESET ALL");
	assert_int_equal(got.code, E_CONFIG);
	assert_non_null(strstr(p->s.message, message));
	scope_clear_error(&p->s);
}

static void a_server_that_does_not_wait_for_the_disk_is_refused(void **state)
{
	refused(*state, "ALTER DATABASE chancery SET synchronous_commit = off", "synchronous_commit = off");
}

static void change_server(struct place *p, const char *sql, const char *name, const char *expected)
{
	(void)unit_sql(&p->s, sql);
	(void)unit_sql(&p->s, "SELECT pg_reload_conf()");
	for (int i = 0; i < 500 && strcmp(unit_sql(&p->s, scope_printf(&p->s, "SHOW %s", name)), expected) != 0; i++)
		(void)usleep(10000);
}

static bool is_durable(struct place *p)
{
	bool durable = db_durable(&p->s, p->db).code == E_OK;
	scope_clear_error(&p->s);
	return durable;
}

static void becomes(struct place *p, bool durable)
{
	for (int i = 0; i < 500 && is_durable(p) != durable; i++)
		(void)usleep(10000);
	assert_int_equal(is_durable(p), durable);
}

static void a_server_that_stops_waiting_for_the_disk_gets_nothing_until_it_waits_again(void **state)
{
	struct place *p = *state;
	int64_t interval = db_watch_interval;
	db_close(p->db);
	db_watch_interval = 50000;
	assert_ok(&p->s, db_open(&p->s, p->url, &schema_2, &p->db));
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	change_server(p, "ALTER SYSTEM SET synchronous_commit = off", "synchronous_commit", "off");
	becomes(p, false);
	assert_fails(&p->s, E_UNAVAILABLE, db_tx(&p->s, p->db, insert_named, name_of(p, "b")));
	assert_int_equal(things(p), 1);
	change_server(p, "ALTER SYSTEM RESET synchronous_commit", "synchronous_commit", "on");
	becomes(p, true);
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "b")));
	assert_int_equal(things(p), 2);
	db_watch_interval = interval;
}

static void a_server_with_standbys_that_it_does_not_wait_for_is_refused(void **state)
{
	struct place *p = *state;
	change_server(p, "ALTER SYSTEM SET synchronous_standby_names = '*'", "synchronous_standby_names", "*");
	refused(p, "SET synchronous_commit = local; ALTER DATABASE chancery SET synchronous_commit = local",
		"with standbys it must be on or remote_apply");
	change_server(p, "ALTER SYSTEM RESET synchronous_standby_names", "synchronous_standby_names", "");
}

struct waiting {
	struct place *p;
	enum code got;
};

static void *commit_and_wait(void *arg)
{
	struct waiting *w = arg;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char name[] = "waits";
	w->got = db_tx(&s, w->p->db, insert_named, name).code;
	return NULL;
}

/* PostgreSQL calls such a commit a success, with a warning. */
static void a_commit_whose_wait_for_a_standby_is_broken_off_is_not_called_durable(void **state)
{
	struct place *p = *state;
	struct waiting w = { .p = p, .got = E_OK };
	pthread_t thread;
	change_server(p, "ALTER SYSTEM SET synchronous_standby_names = '*'", "synchronous_standby_names", "*");
	assert_int_equal(pthread_create(&thread, NULL, commit_and_wait, &w), 0);
	for (int i = 0; i < 500; i++) {
		if (strcmp(unit_sql(&p->s,
				    "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"),
			   "1") == 0)
			break;
		(void)usleep(10000);
	}
	(void)pthread_join(thread, NULL);
	change_server(p, "ALTER SYSTEM RESET synchronous_standby_names", "synchronous_standby_names", "");
	assert_int_equal(w.got, E_UNAVAILABLE);
	assert_int_equal(things(p), 1);
}

static void a_password_in_an_address_is_refused(void **state)
{
	struct place *p = *state;
	struct db *db;
	assert_fails(&p->s, E_CONFIG, db_open(&p->s, "postgresql:host=/tmp password=x", &schema_2, &db));
	assert_fails(&p->s, E_CONFIG, db_open(&p->s, "postgresql://u:x@localhost/d", &schema_2, &db));
	assert_fails(&p->s, E_CONFIG, db_open(&p->s, "postgresql:no keywords", &schema_2, &db));
	assert_fails(&p->s, E_UNAVAILABLE, db_open(&p->s, "postgresql:host=/nowhere", &schema_2, &db));
	assert_int_equal(setenv("PGPASSWORD", "x", 1), 0);
	assert_fails(&p->s, E_CONFIG, db_open(&p->s, p->url, &schema_2, &db));
	assert_int_equal(unsetenv("PGPASSWORD"), 0);
}

int main(void)
{
	db_watch_interval = MOMENT_DAY; /* no requests but the test's go between the store and the server */
	const struct CMUnitTest tests[] = {
		TEST(a_commit_whose_answer_is_lost_is_found_done_and_not_repeated),
		TEST(a_commit_that_did_not_arrive_is_repeated),
		TEST(a_transaction_lost_in_the_middle_is_run_again),
		TEST(a_commit_whose_outcome_cannot_be_known_is_neither_repeated_nor_called_done),
		TEST(a_server_that_stays_away_fails_the_work_at_once_and_service_resumes),
		TEST(a_connection_that_went_while_it_lay_idle_is_opened_anew),
		TEST(a_lock_that_was_ours_and_is_held_still_is_waited_for_by_asking_again),
		TEST(two_that_share_a_database_write_in_turn_and_leave_no_gap_in_numbers),
		TEST(one_of_them_leads_until_it_ends_and_is_seen_to_end),
		TEST(a_lost_session_gives_up_the_lead),
		TEST(whoever_is_alone_with_a_database_keeps_others_out_and_the_other_way_round),
		TEST(a_server_that_does_not_wait_for_the_disk_is_refused),
		TEST(a_server_that_stops_waiting_for_the_disk_gets_nothing_until_it_waits_again),
		TEST(a_server_with_standbys_that_it_does_not_wait_for_is_refused),
		TEST(a_commit_whose_wait_for_a_standby_is_broken_off_is_not_called_durable),
		TEST(a_password_in_an_address_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
