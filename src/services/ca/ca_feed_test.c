#include "ca_feed.h"
#include "ca_unit.h"

#define THREADS 8
#define EACH    25

/* ---- numbering ---- */

struct statement_of {
	int64_t number[1024];
	int type[1024];
	span body[1024];
	size_t count;
	int64_t after;
};

static st keep(struct scope *s, const struct db_row *row, void *arg)
{
	struct statement_of *f = arg;
	f->number[f->count] = row->column[0].integer;
	f->type[f->count] = (int)row->column[1].integer;
	f->body[f->count++] = scope_copy(s, row->column[2].bytes);
	return OK;
}

static st read_feed(struct scope *s, struct db_tx *tx, void *arg)
{
	struct statement_of *f = arg;
	return db_each(s, tx, &sql_feed_after, DB_VALUES(db_integer(f->after), db_integer(1024)), keep, f);
}

static struct statement_of *feed_after(struct unit *u, int64_t after)
{
	struct statement_of *f = scope_new(&u->s, struct statement_of);
	f->after = after;
	assert_ok(&u->s, db_read(&u->s, u->ca->db, read_feed, f));
	return f;
}

struct writing {
	struct unit *u;
	pthread_t thread;
	uint8_t mark;
	bool fails;
	unsigned failed;
};

static st enter_two(struct scope *s, struct db_tx *tx, void *arg)
{
	const struct writing *w = arg;
	struct ca_certificate c = { .ca = 1, .serial = span_of(&w->mark, 1), .not_after = 5 };
	TRY(ca_feed_status(s, tx, &c));
	c.state = CA_REVOKED;
	TRY(ca_feed_status(s, tx, &c));
	return w->fails ? fail(s, E_CONFLICT, "on purpose") : OK;
}

static void *write_many(void *arg)
{
	struct writing *w = arg;
	for (int i = 0; i < EACH; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		w->fails = i % 5 == 4;
		if (db_tx(&s, w->u->ca->db, enter_two, w).code != E_OK)
			w->failed++;
	}
	return NULL;
}

static void numbers_have_no_gap_whoever_writes_and_whatever_is_undone(void **state)
{
	struct unit *u = *state;
	int64_t start = unit_feed_end(u);
	struct writing w[THREADS] = { 0 };
	for (uint8_t i = 0; i < THREADS; i++) {
		w[i] = (struct writing){ .u = u, .mark = (uint8_t)(i + 1) };
		assert_int_equal(pthread_create(&w[i].thread, NULL, write_many, &w[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		(void)pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].failed, EACH / 5);
	}
	const struct statement_of *f = feed_after(u, start);
	assert_int_equal(f->count, THREADS * (EACH - EACH / 5) * 2);
	for (size_t i = 0; i < f->count; i++) {
		assert_int_equal(f->number[i], start + 1 + (int64_t)i);
		/* The two of one transaction stand together, first one first. */
		struct rd one = rd_of(f->body[i]);
		(void)rd_u16(&one);
		span serial = rd_bytes(&one, 20);
		assert_int_equal(rd_u8(&one), i % 2 == 0 ? CA_GOOD : CA_REVOKED);
		struct rd first = rd_of(f->body[i - i % 2]);
		(void)rd_u16(&first);
		assert_true(span_equal(serial, rd_bytes(&first, 20)));
	}
}

static st prune(struct scope *s, struct db_tx *tx, void *arg)
{
	return db_exec(s, tx, &sql_feed_prune, DB_VALUES(db_integer(*(int64_t *)arg)), NULL);
}

static void numbers_go_on_after_pruning_and_a_restart(void **state)
{
	struct unit *u = *state;
	struct writing w = { .u = u, .mark = 1 };
	(void)write_many(&w);
	int64_t most = unit_feed_end(u), until = most - 1;
	assert_ok(&u->s, db_tx(&u->s, u->ca->db, prune, &until));
	assert_int_equal(unit_number(u, &sql_feed_bounds, 0), most);
	unit_reopen(u);
	w.fails = false;
	assert_ok(&u->s, db_tx(&u->s, u->ca->db, enter_two, &w));
	assert_int_equal(unit_feed_end(u), most + 2);
}

/* ---- what stands in them (docs/dev/interfaces.md) ---- */

static void items_carry_what_the_va_reads(void **state)
{
	struct unit *u = *state;
	AUTO_BUF body = { 0 };
	const struct ca_certificate c = { .ca = 7,
					  .serial = SPAN_LITERAL("\x01\x02"),
					  .state = CA_REVOKED,
					  .reason = 4,
					  .revoked_at = 10,
					  .invalidity_date = 9,
					  .not_after = 11 };
	assert_ok(&u->s, ca_feed_write_status(&u->s, &body, &c));
	struct rd r = rd_of(buf_span(&body));
	assert_int_equal(rd_u16(&r), 7);
	assert_true(span_equal(rd_bytes(&r, 20), c.serial));
	assert_int_equal(rd_u8(&r), 1);
	assert_int_equal(rd_u8(&r), 4);
	assert_int_equal(rd_i64(&r), 10);
	assert_int_equal(rd_i64(&r), 9);
	assert_int_equal(rd_i64(&r), 11);
	assert_ok(&u->s, rd_end(&u->s, &r, "a status"));
	body.len = 0;
	const struct ca_authority *a = unit_authority(u, "management");
	assert_ok(&u->s, ca_feed_write_ca(&u->s, &body, a));
	r = rd_of(buf_span(&body));
	assert_int_equal(rd_u16(&r), a->id);
	assert_string_equal(rd_str(&u->s, &r, 64), "management");
	assert_true(span_equal(rd_bytes(&r, 8192), a->certificate));
	assert_int_equal(rd_u16(&r), 0);
	assert_string_equal(rd_str(&u->s, &r, 64), "management.crl");
	assert_ok(&u->s, rd_end(&u->s, &r, "a CA"));
}

static void a_certificate_its_revocation_and_a_crl_are_told_in_this_order(void **state)
{
	struct unit *u = *state;
	int64_t start = unit_feed_end(u);
	struct ca_certificate c = unit_issue(u, "Told");
	struct ca_revoked revoked;
	const struct ca_revocation want = { .serial = c.serial, .reason = "superseded", .actor = "unit" };
	assert_ok(&u->s, ca_revoke(&u->s, u->ca, &want, &revoked));
	assert_ok(&u->s, ca_revoke(&u->s, u->ca, &want, &revoked)); /* told once */
	struct ca_crl crl;
	assert_ok(&u->s, ca_crl_issue(&u->s, u->ca, unit_authority(u, "management"), 0, &crl));
	const struct statement_of *f = feed_after(u, start);
	assert_int_equal(f->count, 3);
	assert_int_equal(f->type[0], CA_FEED_STATUS);
	assert_int_equal(f->type[1], CA_FEED_STATUS);
	assert_int_equal(f->type[2], CA_FEED_CRL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, unit_set_up, unit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(numbers_have_no_gap_whoever_writes_and_whatever_is_undone),
		CASE(numbers_go_on_after_pruning_and_a_restart),
		CASE(items_carry_what_the_va_reads),
		CASE(a_certificate_its_revocation_and_a_crl_are_told_in_this_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
