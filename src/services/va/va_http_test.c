#include "unit.h"
#include "va_http.h"

/* The request of these tests: two headers, as http.h gives them. */
static const char *if_none_match, *if_modified_since;

span http_header(const struct http_request *request, const char *name)
{
	(void)request;
	return span_str(strcmp(name, "If-None-Match") == 0       ? if_none_match
			: strcmp(name, "If-Modified-Since") == 0 ? if_modified_since
								 : NULL);
}

static void dates_are_written_as_http_wants_them(void **state)
{
	(void)state;
	char text[32];
	assert_string_equal(va_http_date(784111777 * MOMENT_SECOND, text), "Sun, 06 Nov 1994 08:49:37 GMT");
	assert_string_equal(va_http_date(0, text), "Thu, 01 Jan 1970 00:00:00 GMT");
	assert_string_equal(va_http_date(INT64_C(253402300799) * MOMENT_SECOND, text), "Fri, 31 Dec 9999 23:59:59 GMT");
}

static void only_fixed_dates_are_read(void **state)
{
	(void)state;
	int64_t moment = 0;
	assert_true(va_http_date_read(span_str("Sun, 06 Nov 1994 08:49:37 GMT"), &moment));
	assert_int_equal(moment, 784111777 * MOMENT_SECOND);
	static const char *const bad[] = { "",
					   "Sunday, 06-Nov-94 08:49:37 GMT",
					   "Sun Nov  6 08:49:37 1994",
					   "Mon, 06 Nov 1994 08:49:37 GMT",
					   "Sun, 06 Nov 1994 08:49:37 UTC",
					   "Sun, 31 Feb 1994 08:49:37 GMT",
					   "Sun, 06 Xxx 1994 08:49:37 GMT",
					   "Sun, 06 Nov 1994 08:49:3x GMT" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(va_http_date_read(span_str(bad[i]), &moment));
}

static bool unchanged(const char *none_match, const char *modified_since)
{
	if_none_match = none_match;
	if_modified_since = modified_since;
	struct http_request request = { 0 };
	return va_http_unchanged(&request, "\"abc\"", 784111777 * MOMENT_SECOND + 5);
}

static void a_client_that_has_it_is_told_so(void **state)
{
	(void)state;
	assert_false(unchanged(NULL, NULL));
	assert_true(unchanged("\"abc\"", NULL));
	assert_true(unchanged("\"x\" ,W/\"abc\"", NULL));
	assert_true(unchanged("*", NULL));
	assert_false(unchanged("\"ab\"", NULL));
	assert_false(unchanged("abc", NULL));
	assert_true(unchanged(NULL, "Sun, 06 Nov 1994 08:49:37 GMT"));
	assert_true(unchanged(NULL, "Sun, 06 Nov 1994 08:49:38 GMT"));
	assert_false(unchanged(NULL, "Sun, 06 Nov 1994 08:49:36 GMT"));
	/* The tag decides when there is one. */
	assert_false(unchanged("\"x\"", "Sun, 06 Nov 1994 08:49:38 GMT"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dates_are_written_as_http_wants_them),
		cmocka_unit_test(only_fixed_dates_are_read),
		cmocka_unit_test(a_client_that_has_it_is_told_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
