#include "control_records.h"
#include "unit.h"
#include <stdlib.h>

static void what_is_read_is_written_again(void **state)
{
	static const char *const good[] = { "0", "3", "3,7-12,400", "0-1", "1-2,4,6-9223372036854775807" };
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct control_range *range;
		size_t count;
		const char *again;
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		assert_ok(&s, control_records_read(&s, span_str(good[i]), &range, &count));
		assert_ok(&s, control_records_write(&s, range, count, &again));
		assert_string_equal(again, good[i]);
	}
}

static void there_is_one_form_only(void **state)
{
	static const char *const bad[] = { "",      ",",     "3,",    ",3",   "3,,4",
					   "03",    "3-3",   "4-3",   "3,3",  "3,4",
					   "3-5,6", "5,3",   "3-5,4", "3 ,5", "-3",
					   "3-",    "3-4-5", "x",     "3;5",  "9223372036854775808",
					   "+3" };
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct control_range *range;
		size_t count;
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		print_message("%s\n", bad[i]);
		assert_fails(&s, E_INPUT, control_records_read(&s, span_str(bad[i]), &range, &count));
	}
}

static void too_many_are_refused(void **state)
{
	struct control_range *range, many[CONTROL_RANGES_MAX + 1];
	size_t count;
	const char *text = "0";
	AUTO_SCOPE s;
	(void)state;
	scope_init(&s, NULL);
	for (size_t i = 0; i <= CONTROL_RANGES_MAX; i++)
		many[i] = (struct control_range){ .first = 2 * i, .last = 2 * i };
	assert_ok(&s, control_records_write(&s, many, CONTROL_RANGES_MAX, &text));
	assert_ok(&s, control_records_read(&s, span_str(text), &range, &count));
	assert_int_equal(count, CONTROL_RANGES_MAX);
	assert_ok(&s, control_records_write(&s, many, CONTROL_RANGES_MAX + 1, &text));
	assert_int_equal(control_records_read(&s, span_str(text), &range, &count).code, E_LIMIT);
}

static void membership_is_that_of_the_ranges(void **state)
{
	static const struct control_range range[] = { { 3, 3 }, { 7, 12 }, { 400, 401 } };
	(void)state;
	assert_int_equal(control_records_count(range, 3), 9);
	for (uint64_t i = 0; i < 500; i++)
		assert_int_equal(control_records_have(range, 3, i), i == 3 || (i >= 7 && i <= 12) || i == 400 || i == 401);
	assert_false(control_records_have(range, 0, 3));
}

static void records_in_order_become_ranges(void **state)
{
	static const uint64_t index[] = { 3, 7, 8, 9, 11 };
	struct control_range *range = NULL;
	size_t count = 0;
	const char *text = "";
	AUTO_SCOPE s;
	(void)state;
	scope_init(&s, NULL);
	for (size_t i = 0; i < sizeof index / sizeof index[0]; i++)
		control_records_add(&range, &count, index[i]);
	assert_ok(&s, control_records_write(&s, range, count, &text));
	assert_string_equal(text, "3,7-9,11");
	free(range);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_read_is_written_again),  cmocka_unit_test(there_is_one_form_only),
		cmocka_unit_test(too_many_are_refused),           cmocka_unit_test(membership_is_that_of_the_ranges),
		cmocka_unit_test(records_in_order_become_ranges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
