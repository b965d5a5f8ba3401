#include "audit_writers.h"
#include "audit.h"
#include "unit.h"

struct seen {
	uint64_t run, n, after, last;
	enum audit_code code;
};

/* In this order, of a writer "ca"; the number of the first one that is refused, or `count`. */
static size_t add_all(struct scope *s, struct audit_writers *w, const struct seen *seen, size_t count)
{
	size_t i = 0;
	for (; i < count; i++) {
		struct audit_record r = { .run = seen[i].run,
					  .n = seen[i].n,
					  .after = seen[i].after,
					  .last = seen[i].last,
					  .code = seen[i].code,
					  .component = SPAN_LITERAL("ca") };
		if (audit_writers_add(s, w, &r).code != E_OK)
			break;
	}
	return i;
}

#define CASES(name, ...)                                                                                                       \
	{                                                                                                                      \
		name, (const struct seen[]){ __VA_ARGS__ }, sizeof((const struct seen[]){ __VA_ARGS__ }) / sizeof(struct seen) \
	}

static const struct history {
	const char *name;
	const struct seen *seen;
	size_t count;
} complete[] = {
	CASES("two runs beside each other", { 1, 1 }, { 2, 1 }, { 1, 2 }, { 2, 2 }),
	CASES("one that stopped", { 1, 1 }, { 1, 2, .code = AUDIT_SERVICE_STOPPED }),
	CASES("one that was given up in a frame of which some arrived", { 1, 1 }, { 1, 3 }, { 2, 1, .after = 1, .last = 1 }),
	CASES("what was given up comes late", { 1, 1 }, { 2, 1, .after = 1, .last = 1 }, { 1, 3 }),
	CASES("one that was killed", { 1, 1 }, { 1, 2 }),
	CASES("one without numbers", { 0, 0 }, { 0, 0 }),
	CASES("a gap at the very end, of which nobody can tell", { 1, 1 }, { 1, 3 }),
	CASES("after a run that never arrived in this log", { 2, 1, .after = 1, .last = 5 }),
}, lacking[] = {
	CASES("one in the middle, before an end in order", { 1, 1 }, { 1, 3 }, { 1, 4, .code = AUDIT_SERVICE_STOPPED }),
	CASES("the first", { 1, 2 }, { 1, 3, .code = AUDIT_SERVICE_STOPPED }),
	CASES("the last ones, as the next run says", { 1, 1 }, { 2, 1, .after = 1, .last = 2 }),
	CASES("one in the middle, as the next run says", { 1, 1 }, { 1, 3 }, { 2, 1, .after = 1, .last = 3 }),
	CASES("one, and the writer went on for more than a frame", { 1, 1 }, { 1, 3 }, { 1, 2 + AUDIT_BATCH_MAX + 1 }),
	CASES("none, but one is there twice", { 1, 1 }, { 1, 2 }, { 1, 2 }),
};

static void a_run_that_is_whole_or_was_given_up_is_no_finding(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof complete / sizeof complete[0]; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		struct audit_writers *w = audit_writers_new(true);
		if (add_all(&s, w, complete[i].seen, complete[i].count) != complete[i].count) {
			print_error("%s: %s\n", complete[i].name, s.message);
			assert_true(false);
		}
		audit_writers_free(w);
	}
}

static void a_number_that_was_acknowledged_and_is_missing_is_a_finding_at_the_last_record(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof lacking / sizeof lacking[0]; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		struct audit_writers *w = audit_writers_new(true);
		if (add_all(&s, w, lacking[i].seen, lacking[i].count) != lacking[i].count - 1) {
			print_error("%s: %s\n", lacking[i].name, s.message);
			assert_true(false);
		}
		assert_non_null(strstr(s.message, "of ca"));
		audit_writers_free(w);
	}
}

static void a_log_that_is_read_from_its_middle_begins_in_the_middle_of_runs(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_writers *w = audit_writers_new(false);
	static const struct seen seen[] = { { 1, 7 }, { 1, 8 }, { 1, 10 }, { 1, 11, .code = AUDIT_SERVICE_STOPPED } };
	assert_int_equal(add_all(&s, w, seen, 4), 3);
	audit_writers_free(w);
}

static void the_sums_of_a_writer_are_those_of_its_runs(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	size_t count;
	struct audit_writers *w = audit_writers_new(true);
	static const struct seen seen[] = {
		{ 1, 1 }, { 1, 4 }, { 2, 1, .after = 1, .last = 1 }, { 2, 2, .code = AUDIT_SERVICE_STOPPED }, { 0, 0 }, { 3, 1 }
	};
	assert_int_equal(add_all(&s, w, seen, 6), 6);
	const struct audit_writer *ca = audit_writers_end(w, &count);
	assert_int_equal(count, 1);
	assert_string_equal(ca->component, "ca");
	assert_int_equal(ca->records, 6);
	assert_int_equal(ca->unnumbered, 1);
	assert_int_equal(ca->runs, 3);
	assert_int_equal(ca->ended, 2);
	assert_int_equal(ca->unclear, 2);
	audit_writers_free(w);
}

static void more_runs_than_are_kept_forget_those_that_ended_first(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_writers *w = audit_writers_new(true);
	const struct seen open = { 1, 1 }, later = { 1, 2 }, gap = { 1, 4 }, stop = { 1, 5, .code = AUDIT_SERVICE_STOPPED };
	assert_int_equal(add_all(&s, w, &open, 1), 1);
	for (uint64_t run = 2; run < 3 * AUDIT_RUNS_MAX; run++) {
		/* All of them in a row of neighbours, and some that would lie in the same place. */
		struct seen ended = { run * 2 * (run % 5 == 0 ? AUDIT_RUNS_MAX : 1), 1, .code = AUDIT_SERVICE_STOPPED };
		assert_int_equal(add_all(&s, w, &ended, 1), 1);
	}
	assert_int_equal(add_all(&s, w, &later, 1), 1);
	assert_int_equal(add_all(&s, w, &gap, 1), 1);
	assert_int_equal(add_all(&s, w, &stop, 1), 0);
	audit_writers_free(w);
}

static void more_writers_than_are_named_are_counted_together(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	size_t count;
	struct audit_writers *w = audit_writers_new(true);
	for (unsigned i = 0; i < AUDIT_WRITERS_MAX + 10; i++) {
		struct audit_record r = { .component = span_str(scope_printf(&s, "writer %u", i)) };
		assert_ok(&s, audit_writers_add(&s, w, &r));
	}
	const struct audit_writer *writer = audit_writers_end(w, &count);
	assert_int_equal(count, AUDIT_WRITERS_MAX);
	assert_string_equal(writer[count - 1].component, "others");
	assert_int_equal(writer[count - 1].records, 11);
	audit_writers_free(w);
}

/* Without content it is nobody's in particular: so many missing numbers as there are of these are none, and not one more. */
static void what_was_removed_is_not_missing(void **state)
{
	static const struct seen two[] = { { 1, 1 }, { 1, 4 }, { 1, 5, .code = AUDIT_SERVICE_STOPPED } };
	(void)state;
	for (unsigned removed = 0; removed < 3; removed++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		struct audit_writers *w = audit_writers_new(true);
		for (unsigned i = 0; i < removed; i++)
			audit_writers_removed(w);
		assert_int_equal(add_all(&s, w, two, 3), removed < 2 ? 2 : 3);
		audit_writers_free(w);
	}
	for (size_t i = 0; i + 1 < sizeof lacking / sizeof lacking[0]; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		struct audit_writers *w = audit_writers_new(true);
		for (unsigned k = 0; k < AUDIT_BATCH_MAX; k++)
			audit_writers_removed(w);
		assert_int_equal(add_all(&s, w, lacking[i].seen, lacking[i].count), lacking[i].count);
		audit_writers_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_that_is_whole_or_was_given_up_is_no_finding),
		cmocka_unit_test(a_number_that_was_acknowledged_and_is_missing_is_a_finding_at_the_last_record),
		cmocka_unit_test(a_log_that_is_read_from_its_middle_begins_in_the_middle_of_runs),
		cmocka_unit_test(the_sums_of_a_writer_are_those_of_its_runs),
		cmocka_unit_test(what_was_removed_is_not_missing),
		cmocka_unit_test(more_runs_than_are_kept_forget_those_that_ended_first),
		cmocka_unit_test(more_writers_than_are_named_are_counted_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
