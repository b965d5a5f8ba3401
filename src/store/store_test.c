/* What holds on every database; src/meson.build has this run on PostgreSQL as well. */
#include "store_unit.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const struct db_schema schema_other = { "another", unit_steps, 2 };

static const struct db_statement thing_all = { "thing_all", { "SELECT id, name, bytes FROM thing ORDER BY id" } };
static const struct db_statement thing_named = { "thing_named", { "SELECT bytes FROM thing WHERE name = ?1" } };
static const struct db_statement thing_kind = { "thing_kind", { "UPDATE thing SET kind = ?1" } };

static st insert_and_fail(struct scope *s, struct db_tx *tx, void *arg)
{
	TRY(insert_named(s, tx, arg));
	return fail(s, E_DENIED, "thought better of it");
}

static void a_failed_work_leaves_no_trace(void **state)
{
	struct place *p = *state;
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	assert_fails(&p->s, E_DENIED, db_tx(&p->s, p->db, insert_and_fail, name_of(p, "b")));
	assert_int_equal(things(p), 1);
}

static void a_broken_uniqueness_is_a_conflict(void **state)
{
	struct place *p = *state;
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	assert_fails(&p->s, E_CONFLICT, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	assert_int_equal(things(p), 1);
}

static st insert_bytes(struct scope *s, struct db_tx *tx, void *arg)
{
	(void)arg;
	TRY(db_exec(s, tx, &thing_insert, DB_VALUES(db_text(span_str("none")), db_null()), NULL));
	TRY(db_exec(s, tx, &thing_insert, DB_VALUES(db_text(span_str("empty")), db_blob((span){ 0 })), NULL));
	TRY(db_exec(s, tx, &thing_insert, DB_VALUES(db_text(span_str("some")), db_blob(span_of("\0\1", 2))), NULL));
	int64_t changed;
	TRY(db_exec(s, tx, &thing_kind, DB_VALUES(db_integer(7)), &changed));
	assert_int_equal(changed, 3);
	return OK;
}

static st read_bytes(struct scope *s, struct db_tx *tx, void *arg)
{
	(void)arg;
	struct db_row row;
	bool found;
	TRY(db_one(s, tx, &thing_named, DB_VALUES(db_text(span_str("none"))), &row));
	assert_int_equal(row.column[0].type, DB_NULL);
	TRY(db_one(s, tx, &thing_named, DB_VALUES(db_text(span_str("empty"))), &row));
	assert_int_equal(row.column[0].type, DB_BLOB);
	assert_int_equal(row.column[0].bytes.len, 0);
	TRY(db_one(s, tx, &thing_named, DB_VALUES(db_text(span_str("some"))), &row));
	assert_memory_equal(row.column[0].bytes.data, "\0\1", 2);
	TRY(db_find(s, tx, &thing_named, DB_VALUES(db_text(span_str("other"))), &row, &found));
	assert_false(found);
	return db_one(s, tx, &thing_named, DB_VALUES(db_text(span_str("other"))), &row);
}

static void values_come_back_as_they_went_in(void **state)
{
	struct place *p = *state;
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_bytes, NULL));
	assert_fails(&p->s, E_NOTFOUND, db_read(&p->s, p->db, read_bytes, NULL));
}

static st write_in_reader(struct scope *s, struct db_tx *tx, void *arg)
{
	return insert_named(s, tx, arg);
}

static void a_reader_cannot_write(void **state)
{
	struct place *p = *state;
	st got = db_read(&p->s, p->db, write_in_reader, name_of(p, "a"));
	assert_int_not_equal(got.code, E_OK);
	assert_int_equal(things(p), 0);
}

static st write_beside(struct scope *s, struct db_tx *tx, void *arg)
{
	struct place *p = arg;
	int64_t before, after;
	TRY(count(s, tx, &before));
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	TRY(db_tx(&own, p->db, insert_named, name_of(p, "beside")));
	TRY(count(s, tx, &after));
	assert_int_equal(before, after);
	return OK;
}

static void a_reader_sees_one_snapshot_while_others_write(void **state)
{
	struct place *p = *state;
	assert_ok(&p->s, db_read(&p->s, p->db, write_beside, p));
	assert_int_equal(things(p), 1);
}

struct seen {
	struct db_tx *tx;
	int64_t rows, last;
};

static st insert_1000(struct scope *s, struct db_tx *tx, void *arg)
{
	(void)arg;
	for (int i = 0; i < 1000; i++)
		TRY(insert_named(s, tx, scope_printf(s, "%d", i)));
	return OK;
}

/* With another question inside, so that the rows are in pieces while the connection is used. */
static st see(struct scope *s, const struct db_row *row, void *arg)
{
	struct seen *seen = arg;
	int64_t all;
	if (seen->rows % 100 == 0)
		TRY(count(s, seen->tx, &all));
	assert_true(row->column[0].integer > seen->last);
	seen->last = row->column[0].integer;
	return ++seen->rows == 900 ? fail(s, E_LIMIT, "enough") : OK;
}

static st see_all(struct scope *s, struct db_tx *tx, void *arg)
{
	struct seen *seen = arg;
	seen->tx = tx;
	return db_each(s, tx, &thing_all, NULL, 0, see, seen);
}

static void rows_without_end_come_in_order_and_whole(void **state)
{
	struct place *p = *state;
	struct seen seen = { 0 };
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_1000, NULL));
	assert_fails(&p->s, E_LIMIT, db_read(&p->s, p->db, see_all, &seen));
	assert_int_equal(seen.rows, 900);
	seen.rows = 1000;
	seen.last = 0;
	assert_ok(&p->s, db_read(&p->s, p->db, see_all, &seen));
	assert_int_equal(seen.rows, 2000);
}

struct nested {
	struct db_tx *tx;
	size_t rows;
};

static st inner_row(struct scope *s, const struct db_row *row, void *arg)
{
	(void)s;
	(void)row;
	((struct nested *)arg)->rows++;
	return OK;
}

static st outer_row(struct scope *s, const struct db_row *row, void *arg)
{
	(void)row;
	struct nested *n = arg;
	return db_each(s, n->tx, &thing_all, NULL, 0, inner_row, n);
}

static st query_in_query(struct scope *s, struct db_tx *tx, void *arg)
{
	struct nested *n = arg;
	n->tx = tx;
	return db_each(s, tx, &thing_all, NULL, 0, outer_row, n);
}

static void a_statement_may_run_inside_its_own_rows(void **state)
{
	struct place *p = *state;
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "b")));
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "c")));
	struct nested n = { 0 };
	assert_ok(&p->s, db_read(&p->s, p->db, query_in_query, &n));
	assert_int_equal(n.rows, 9);
}

#define WRITERS 12
#define WRITES  60

struct writer {
	struct place *place;
	int number;
	int wrong;
};

/* Every third insert is refused by its own work, every fifth repeats a name: neither may touch the neighbours in its group. */
static void *write_many(void *arg)
{
	struct writer *w = arg;
	for (int i = 0; i < WRITES; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		char *name = i % 5 == 4 ? scope_printf(&s, "%d-%d", w->number, i - 1) : scope_printf(&s, "%d-%d", w->number, i);
		bool taken = i % 5 == 4 && (i - 1) % 3 != 2;
		enum code want = taken ? E_CONFLICT : i % 3 == 2 ? E_DENIED : E_OK;
		st got = db_tx(&s, w->place->db, i % 3 == 2 ? insert_and_fail : insert_named, name);
		bool both = taken && i % 3 == 2; /* which of the two is told depends on when the database says its word */
		w->wrong += got.code != want && !(both && got.code == E_DENIED);
	}
	return NULL;
}

static void works_of_a_group_stand_or_fall_alone(void **state)
{
	struct place *p = *state;
	pthread_t thread[WRITERS];
	struct writer writer[WRITERS];
	for (int i = 0; i < WRITERS; i++) {
		writer[i] = (struct writer){ .place = p, .number = i };
		assert_int_equal(pthread_create(&thread[i], NULL, write_many, &writer[i]), 0);
	}
	int expected = 0;
	for (int i = 0; i < WRITES; i++)
		expected += i % 3 != 2 && (i % 5 != 4 || (i - 1) % 3 == 2);
	for (int i = 0; i < WRITERS; i++) {
		(void)pthread_join(thread[i], NULL);
		assert_int_equal(writer[i].wrong, 0);
	}
	assert_int_equal(things(p), expected * WRITERS);
}

static void reopen(struct place *p, const struct db_schema *schema, enum code expected)
{
	db_close(p->db);
	p->db = NULL;
	st got = db_open(&p->s, p->url, schema, &p->db);
	assert_int_equal(got.code, expected);
	scope_clear_error(&p->s);
}

static void the_schema_is_checked_both_ways(void **state)
{
	struct place *p = *state;
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	reopen(p, &schema_1, E_STATE);
	reopen(p, &schema_other, E_STATE);
	reopen(p, &schema_2, E_OK);
	assert_int_equal(things(p), 1);
}

/* ---- what follows a commit ---- */

struct followed {
	struct place *place;
	char name[24];
	bool refused;
	int told, told_by; /* how often, and by which of the two below */
	bool durable;      /* it could be read when it was told */
};

static st insert_followed(struct scope *s, struct db_tx *tx, void *arg)
{
	struct followed *f = arg;
	return f->refused ? insert_and_fail(s, tx, f->name) : insert_named(s, tx, f->name);
}

static st look_for(struct scope *s, struct db_tx *tx, void *arg)
{
	struct db_row row;
	struct followed *f = arg;
	return db_find(s, tx, &thing_named, DB_VALUES(db_text(span_str(f->name))), &row, &f->durable);
}

static void tell(void *const *arg, size_t count, int by)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t i = 0; i < count; i++) {
		struct followed *f = arg[i];
		f->told++;
		f->told_by = by;
		if (db_read(&s, f->place->db, look_for, f).code != E_OK)
			f->durable = false;
	}
}

static void tell_one(void *const *arg, size_t count)
{
	tell(arg, count, 1);
}

static void tell_other(void *const *arg, size_t count)
{
	tell(arg, count, 2);
}

static void *follow_many(void *arg)
{
	struct writer *w = arg;
	for (int i = 0; i < WRITES; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		struct followed f = { .place = w->place, .refused = i % 4 == 3 };
		(void)snprintf(f.name, sizeof f.name, "%d-%d", w->number, i);
		db_after *after = i % 3 == 0 ? tell_one : i % 3 == 1 ? tell_other : NULL;
		struct db_item item = { .scope = &s, .arg = &f };
		db_tx_all(w->place->db, insert_followed, after, &item, 1);
		bool told = after != NULL && !f.refused;
		w->wrong += item.outcome.code != (f.refused ? E_DENIED : E_OK) || f.told != told || f.durable != told;
		w->wrong += told && f.told_by != (after == tell_one ? 1 : 2);
	}
	return NULL;
}

static void what_follows_a_commit_is_done_once_for_each_and_before_it_returns(void **state)
{
	struct place *p = *state;
	pthread_t thread[WRITERS];
	struct writer writer[WRITERS];
	for (int i = 0; i < WRITERS; i++) {
		writer[i] = (struct writer){ .place = p, .number = i };
		assert_int_equal(pthread_create(&thread[i], NULL, follow_many, &writer[i]), 0);
	}
	for (int i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(writer[i].wrong, 0);
	}
}

#define TOGETHER 600 /* more than one commit holds */

static void *run_all_many(void *arg)
{
	struct writer *w = arg;
	static const size_t counts[] = { 1, 7, 40, TOGETHER };
	for (size_t round = 0; round < sizeof counts / sizeof counts[0]; round++) {
		size_t count = counts[round];
		struct followed *f = heap_alloc(count * sizeof *f);
		struct db_item *item = heap_alloc(count * sizeof *item);
		struct scope *s = heap_alloc(count * sizeof *s);
		for (size_t i = 0; i < count; i++) {
			scope_init(&s[i], NULL);
			f[i] = (struct followed){ .place = w->place, .refused = i % 50 == 9 };
			(void)snprintf(f[i].name, sizeof f[i].name, "%d-%zu-%zu", w->number, round, i);
			item[i] = (struct db_item){ .scope = &s[i], .arg = &f[i] };
		}
		db_tx_all(w->place->db, insert_followed, tell_one, item, count);
		for (size_t i = 0; i < count; i++) {
			bool good = !f[i].refused;
			w->wrong +=
				item[i].outcome.code != (good ? E_OK : E_DENIED) || f[i].told != good || f[i].durable != good;
			scope_done(&s[i]);
		}
		free(f);
		free(item);
		free(s);
	}
	return NULL;
}

static void works_of_one_thread_stand_or_fall_alone_as_well(void **state)
{
	struct place *p = *state;
	pthread_t thread[4];
	struct writer writer[4];
	for (int i = 0; i < 4; i++) {
		writer[i] = (struct writer){ .place = p, .number = i };
		assert_int_equal(pthread_create(&thread[i], NULL, run_all_many, &writer[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(writer[i].wrong, 0);
	}
}

static st set_kinds(struct scope *s, struct db_tx *tx, void *arg)
{
	(void)arg;
	return db_exec(s, tx, &thing_kind, DB_VALUES(db_integer(1)), NULL);
}

static void an_older_database_is_migrated(void **state)
{
	struct place *p = *state;
	db_close(p->db);
	p->db = NULL;
	unit_wipe(p);
	assert_ok(&p->s, db_open(&p->s, p->url, &schema_1, &p->db));
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "a")));
	reopen(p, &schema_2, E_OK);
	assert_int_equal(things(p), 1);
	assert_ok(&p->s, db_tx(&p->s, p->db, set_kinds, NULL));
}

static void a_second_process_is_kept_out(void **state)
{
	struct place *p = *state;
	struct db *second;
	assert_fails(&p->s, E_STATE, db_open(&p->s, p->url, &schema_2, &second));
	assert_fails(&p->s, E_CONFIG, db_open(&p->s, "mysql:somewhere", &schema_2, &second));
	assert_fails(&p->s, E_CONFIG, db_open_shared(&p->s, "sqlite:/tmp/nowhere", &schema_2, &second));
}

static void a_backup_is_whole_while_others_write(void **state)
{
	struct place *p = *state;
	pthread_t thread;
	struct writer writer = { .place = p, .number = 1 };
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "before")));
	assert_int_equal(pthread_create(&thread, NULL, write_many, &writer), 0);
	char *copy = scope_printf(&p->s, "%s/copy.db", p->directory);
	assert_ok(&p->s, db_backup(&p->s, p->db, copy));
	(void)pthread_join(thread, NULL);
	assert_fails(&p->s, E_CONFLICT, db_backup(&p->s, p->db, copy));
	struct db *second;
	assert_ok(&p->s, db_open(&p->s, scope_printf(&p->s, "sqlite:%s", copy), &schema_2, &second));
	int64_t n = 0;
	assert_ok(&p->s, db_read(&p->s, second, count, &n));
	db_close(second);
	assert_true(n >= 1);
}

static st insert_big(struct scope *s, struct db_tx *tx, void *arg)
{
	return db_exec(s, tx, &thing_insert, DB_VALUES(db_null(), db_blob(span_of(arg, 200000))), NULL);
}

static void a_full_disk_fails_the_work_and_service_goes_on_after(void **state)
{
	struct place *p = *state;
	(void)signal(SIGXFSZ, SIG_IGN);
	uint8_t *big = scope_alloc(&p->s, 200000);
	struct rlimit before, small;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 300000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	enum code last = E_OK;
	for (int i = 0; i < 8 && last == E_OK; i++)
		last = db_tx(&p->s, p->db, insert_big, big).code;
	scope_clear_error(&p->s);
	assert_int_equal(last, E_IO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	int64_t kept = things(p);
	assert_ok(&p->s, db_tx(&p->s, p->db, insert_named, name_of(p, "after")));
	assert_int_equal(things(p), kept + 1);
}

static void the_log_ahead_does_not_grow_without_end(void **state)
{
	struct place *p = *state;
	uint8_t *big = scope_alloc(&p->s, 200000);
	for (int i = 0; i < 800; i++)
		assert_ok(&p->s, db_tx(&p->s, p->db, insert_big, big));
	struct stat about;
	assert_int_equal(stat(scope_printf(&p->s, "%s/test.db-wal", p->directory), &about), 0);
	assert_true(about.st_size < 120 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_failed_work_leaves_no_trace),
		TEST(a_broken_uniqueness_is_a_conflict),
		TEST(values_come_back_as_they_went_in),
		TEST(a_reader_cannot_write),
		TEST(a_reader_sees_one_snapshot_while_others_write),
		TEST(a_statement_may_run_inside_its_own_rows),
		TEST(works_of_a_group_stand_or_fall_alone),
		TEST(works_of_one_thread_stand_or_fall_alone_as_well),
		TEST(what_follows_a_commit_is_done_once_for_each_and_before_it_returns),
		TEST(the_schema_is_checked_both_ways),
		TEST(an_older_database_is_migrated),
		TEST(a_second_process_is_kept_out),
		TEST(rows_without_end_come_in_order_and_whole),
	};
	static const struct CMUnitTest of_files[] = {
		TEST(a_backup_is_whole_while_others_write),
		TEST(a_full_disk_fails_the_work_and_service_goes_on_after),
		TEST(the_log_ahead_does_not_grow_without_end),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return failed + (unit_postgres() != NULL ? 0 : cmocka_run_group_tests(of_files, NULL, NULL));
}
