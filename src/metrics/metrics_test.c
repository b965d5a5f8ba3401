#include "metrics.h"
#include "unit.h"
#include <pthread.h>
#include <stdlib.h>

static const struct metric gauge = { "chancery_g", METRIC_GAUGE, "A \"help\"\nwith \\ in it." };
static const struct metric counter = { "chancery_c_total", METRIC_COUNTER, "Counts." };

static void assert_page_has(struct metrics_page *page, const char *text)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_non_null(strstr(scope_cstr(&s, buf_span(&page->text)), text));
}

static void families_come_before_their_values_and_are_escaped(void **state)
{
	(void)state;
	AUTO_METRICS_PAGE page;
	metrics_page_begin(&page, "keyd", 1500000);
	assert_page_has(&page, "\nchancery_build_info{daemon=\"keyd\",version=\"" CHANCERY_VERSION "\"} 1\n");
	assert_page_has(&page, "\nchancery_process_start_time_seconds 1.500000\n");
	metrics_one(&page, &gauge, -3);
	metrics_one(&page, &counter, 7);
	assert_page_has(&page, "\n# HELP chancery_g A \"help\"\\nwith \\\\ in it.\n# TYPE chancery_g gauge\nchancery_g -3\n"
			       "# HELP chancery_c_total Counts.\n# TYPE chancery_c_total counter\nchancery_c_total 7\n");
	(void)metrics_page_end(&page);
	assert_page_has(&page, "\nchancery_metrics_left_out 0\n");
}

static void a_hostile_label_stays_in_its_quotes(void **state)
{
	(void)state;
	AUTO_METRICS_PAGE page;
	metrics_page_begin(&page, "keyd", 0);
	const struct metric_label label[] = { { "key", "a\"} 1\nchancery_forged 1\\" }, { "zone", "ca" } };
	metrics_value(&page, &gauge, label, 2, 1);
	assert_page_has(&page, "\nchancery_g{key=\"a\\\"} 1\\nchancery_forged 1\\\\\",zone=\"ca\"} 1\n");
}

static void seconds_keep_their_sign_and_their_microseconds(void **state)
{
	(void)state;
	AUTO_METRICS_PAGE page;
	metrics_page_begin(&page, "keyd", 0);
	metrics_seconds(&page, &gauge, NULL, 0, -1);
	metrics_seconds(&page, &gauge, NULL, 0, INT64_MIN);
	metrics_seconds(&page, &gauge, NULL, 0, 61000002);
	assert_page_has(&page, "\nchancery_g -0.000001\nchancery_g -9223372036854.775808\nchancery_g 61.000002\n");
}

static void a_full_page_ends_with_a_whole_line_and_says_what_is_missing(void **state)
{
	(void)state;
	AUTO_METRICS_PAGE page;
	metrics_page_begin(&page, "keyd", 0);
	for (size_t i = 0; i < METRICS_PAGE_MAX; i++)
		metrics_value(&page, &gauge, NULL, 0, 1);
	span text = metrics_page_end(&page);
	assert_true(text.len <= METRICS_PAGE_MAX);
	assert_true(page.left_out > 0);
	assert_page_has(&page, "\nchancery_g 1\n# HELP chancery_metrics_left_out");
	assert_int_equal(text.data[text.len - 1], '\n');
}

static _Atomic uint64_t counted;
static void *count_many(void *state)
{
	for (int i = 0; i < 100000; i++)
		metrics_count(&counted);
	return state;
}

static void threads_that_count_lose_nothing(void **state)
{
	(void)state;
	pthread_t thread[4];
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, count_many, NULL), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(counted, 400000);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(families_come_before_their_values_and_are_escaped),
		cmocka_unit_test(a_hostile_label_stays_in_its_quotes),
		cmocka_unit_test(seconds_keep_their_sign_and_their_microseconds),
		cmocka_unit_test(a_full_page_ends_with_a_whole_line_and_says_what_is_missing),
		cmocka_unit_test(threads_that_count_lose_nothing),
	};
	return cmocka_run_group_tests(all, NULL, NULL);
}
