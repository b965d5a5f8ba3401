#include "control_records.h"
#include "pki_profile.h"
#include "unit.h"
#include <stdlib.h>

static void what_is_read_is_written_again(void **state)
{
	static const char *const good[] = { "0",
					    "3",
					    "3,7-12,400",
					    "0-1",
					    "1-2,4,6-9223372036854775807",
					    "98,100-02,12,200,1000",
					    "812340-45,71,3002",
					    "1234567-69,71,80-83,600",
					    "999-1000",
					    "1195,202-300,5000" };
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
	static const char *const bad[] = { "",
					   ",",
					   "3,",
					   ",3",
					   "3,,4",
					   "03",
					   "3-3",
					   "4-3",
					   "3,3",
					   "3,4",
					   "3-5,6",
					   "5,3",
					   "3-5,4",
					   "3 ,5",
					   "-3",
					   "3-",
					   "3-4-5",
					   "x",
					   "3;5",
					   "9223372036854775808",
					   "+3",
					   "400,3",
					   "812340-812345",
					   "812340-5",
					   "812340,812371",
					   "812340,2371",
					   "100,098",
					   "0,00",
					   "3,07",
					   "10,10",
					   "100-00" };
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

static void people_may_type_more_than_needed(void **state)
{
	static const struct {
		const char *typed, *means;
	} row[] = { { "776,777,778", "776-78" },
		    { "812340-812345,812346", "812340-46" },
		    { "17,40-44", "17,40-44" },
		    { "3,4,5-7", "3-7" } };
	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		struct control_range *range;
		size_t count;
		const char *text = "";
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		assert_ok(&s, control_records_parse(&s, span_str(row[i].typed), &range, &count));
		assert_ok(&s, control_records_write(&s, range, count, &text));
		assert_string_equal(text, row[i].means);
	}
}

/* Every range behind every other, of numbers about which carries and lengths change. */
static void every_number_is_read_as_it_was_written(void **state)
{
	static const uint64_t number[] = { 0,   9,   10,   11,   99,   100,  101,  109,   110,   199,
					   200, 999, 1000, 1001, 1099, 1100, 9999, 10000, 99999, 100000 };
	enum { COUNT = sizeof number / sizeof number[0] };
	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		for (size_t k = i + 1; k < COUNT; k++)
			for (size_t m = k; m < COUNT && number[k] > number[i] + 1; m++) {
				struct control_range range[] = { { number[i], number[i] }, { number[k], number[m] } }, *read;
				size_t count;
				const char *text = "";
				AUTO_SCOPE s;
				scope_init(&s, NULL);
				assert_ok(&s, control_records_write(&s, range, 2, &text));
				assert_ok(&s, control_records_read(&s, span_str(text), &read, &count));
				assert_int_equal(count, 2);
				assert_memory_equal(read, range, sizeof range);
			}
}

static void too_many_are_refused(void **state)
{
	struct control_range *range, many[CONTROL_RANGES_MAX + 1];
	size_t count, most = 0;
	const char *text = "0";
	AUTO_SCOPE s;
	(void)state;
	scope_init(&s, NULL);
	for (size_t i = 0; i <= CONTROL_RANGES_MAX; i++)
		many[i] = (struct control_range){ .first = 1000000 + 2 * i, .last = 1000000 + 2 * i };
	while (control_records_write(&s, many, most + 1, &text).code == E_OK)
		most++;
	scope_clear_error(&s);
	assert_int_equal(most, 2032); /* 7 octets, then 3 for each, but for those where the hundreds change */
	assert_ok(&s, control_records_read(&s, span_str(text), &range, &count));
	assert_int_equal(count, most);
	const char *longer = scope_printf(&s, "%s,%0*d", text, CONTROL_RECORDS_MAX, 1);
	assert_int_equal(control_records_read(&s, span_str(longer), &range, &count).code, E_LIMIT);
}

static void membership_is_that_of_the_ranges(void **state)
{
	static const struct control_range range[] = { { 3, 3 }, { 7, 12 }, { 400, 401 } };
	(void)state;
	assert_int_equal(control_records_count(range, 3), 9);
	for (uint64_t i = 0; i < 500; i++)
		assert_int_equal(control_records_have(range, 3, i), i == 3 || (i >= 7 && i <= 12) || i == 400 || i == 401);
	assert_false(control_records_have(range, 0, 3));
	assert_true(control_records_next(range, 3, 0) == 3 && control_records_next(range, 3, 4) == 7 &&
		    control_records_next(range, 3, 13) == 400 && control_records_next(range, 3, 402) == UINT64_MAX);
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

/* The number stays when the profile changes: then another has to be found for operations from then on. */
static void time_stamps_are_kept_a_year_longer_than_any_unit_has_a_certificate(void **state)
{
	const struct pki_profile *profile = pki_profile_named(SPAN_LITERAL("tsu"));
	(void)state;
	assert_non_null(profile);
	assert_true(profile->max_validity <= (CONTROL_STAMPS_KEPT_LEAST - 1) * INT64_C(31556952000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_read_is_written_again),
		cmocka_unit_test(there_is_one_form_only),
		cmocka_unit_test(people_may_type_more_than_needed),
		cmocka_unit_test(every_number_is_read_as_it_was_written),
		cmocka_unit_test(too_many_are_refused),
		cmocka_unit_test(membership_is_that_of_the_ranges),
		cmocka_unit_test(records_in_order_become_ranges),
		cmocka_unit_test(time_stamps_are_kept_a_year_longer_than_any_unit_has_a_certificate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
