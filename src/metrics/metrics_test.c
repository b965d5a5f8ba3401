#include "metrics.h"
#include "unit.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

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

static const struct metric took = { "chancery_took_seconds", METRIC_HISTOGRAM, "How long." };

static void a_histogram_has_each_value_in_its_bucket_and_all_above(void **state)
{
	(void)state;
	AUTO_METRICS_PAGE page;
	struct metric_histogram h = { 0 };
	static const int64_t values[] = { -5, 0, 250, 251, 10000000, 10000001 };
	const struct metric_label label = { "key", "a\"b" };
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
		metrics_observe(&h, values[i]);
	metrics_page_begin(&page, "keyd", 0);
	metrics_family(&page, &took);
	metrics_histogram(&page, &took, &label, 1, &h);
	metrics_histogram(&page, &took, NULL, 0, &h);
	assert_page_has(&page, "\n# TYPE chancery_took_seconds histogram\n"
			       "chancery_took_seconds_bucket{key=\"a\\\"b\",le=\"0.00025\"} 3\n"
			       "chancery_took_seconds_bucket{key=\"a\\\"b\",le=\"0.001\"} 4\n");
	assert_page_has(&page, "{key=\"a\\\"b\",le=\"2.5\"} 4\n"
			       "chancery_took_seconds_bucket{key=\"a\\\"b\",le=\"10\"} 5\n"
			       "chancery_took_seconds_bucket{key=\"a\\\"b\",le=\"+Inf\"} 6\n"
			       "chancery_took_seconds_count{key=\"a\\\"b\"} 6\n"
			       "chancery_took_seconds_sum{key=\"a\\\"b\"} 20.000502\n"
			       "chancery_took_seconds_bucket{le=\"0.00025\"} 3\n");
}

static void half_a_histogram_is_never_on_a_page(void **state)
{
	(void)state;
	AUTO_METRICS_PAGE page;
	AUTO_SCOPE s;
	struct metric_histogram h = { 0 };
	scope_init(&s, NULL);
	metrics_page_begin(&page, "keyd", 0);
	size_t buckets = 0, sums = 0;
	while (page.left_out == 0)
		metrics_histogram(&page, &took, NULL, 0, &h);
	for (const char *at = scope_cstr(&s, metrics_page_end(&page)); (at = strstr(at, "\nchancery_took_seconds_")) != NULL;
	     at++) {
		buckets += strncmp(at, "\nchancery_took_seconds_bucket", 29) == 0;
		sums += strncmp(at, "\nchancery_took_seconds_sum", 26) == 0;
	}
	assert_true(sums > 0);
	assert_int_equal(buckets, sums * (METRIC_BUCKETS + 1));
}

static int64_t value_after(const struct metrics_page *page, const char *name)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	const char *at = strstr(scope_cstr(&s, buf_span(&page->text)), name);
	assert_non_null(at);
	return strtoll(at + strlen(name), NULL, 10);
}

static void the_process_is_seen_as_it_is(void **state)
{
	(void)state;
	AUTO_METRICS_PAGE before, after;
	metrics_page_begin(&before, "keyd", 0);
	int opened = dup(0);
	assert_true(opened >= 0);
	metrics_page_begin(&after, "keyd", 0);
	(void)close(opened);
	assert_int_equal(value_after(&after, "\nchancery_process_open_fds "),
			 value_after(&before, "\nchancery_process_open_fds ") + 1);
	assert_true(value_after(&after, "\nchancery_process_max_fds ") == sysconf(_SC_OPEN_MAX));
	assert_true(value_after(&after, "\nchancery_process_resident_memory_bytes ") > 100000);
}

static _Atomic uint64_t counted;
static struct metric_histogram observed;
static void *count_many(void *state)
{
	for (int i = 0; i < 100000; i++) {
		metrics_count(&counted);
		metrics_observe(&observed, i % 2 == 0 ? 1 : 600);
	}
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
	assert_int_equal(observed.bucket[0], 200000);
	assert_int_equal(observed.bucket[1], 200000);
	assert_int_equal(observed.sum, 200000 * 601);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(families_come_before_their_values_and_are_escaped),
		cmocka_unit_test(a_hostile_label_stays_in_its_quotes),
		cmocka_unit_test(seconds_keep_their_sign_and_their_microseconds),
		cmocka_unit_test(a_full_page_ends_with_a_whole_line_and_says_what_is_missing),
		cmocka_unit_test(a_histogram_has_each_value_in_its_bucket_and_all_above),
		cmocka_unit_test(half_a_histogram_is_never_on_a_page),
		cmocka_unit_test(the_process_is_seen_as_it_is),
		cmocka_unit_test(threads_that_count_lose_nothing),
	};
	return cmocka_run_group_tests(all, NULL, NULL);
}
