#include "key.h"
#include "unit.h"

/* The table of moves once more, as a matrix: rows are where from, columns where to. */
//= sp800-57pt1#7 key states and transitions
static const char *const allowed[KEY_STATE_COUNT] = {
	/* to:              PGASED */
	[KEY_PLANNED] = "-+----",   [KEY_GENERATED] = "--+-++", [KEY_ACTIVE] = "---+++",
	[KEY_SUSPENDED] = "--+-++", [KEY_EXPIRED] = "-----+",   [KEY_DESTROYED] = "------",
};

static void every_move_is_allowed_or_refused_as_the_matrix_says(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (enum key_state from = 0; from < KEY_STATE_COUNT; from++)
		for (enum key_state to = 0; to < KEY_STATE_COUNT; to++) {
			if (allowed[from][to] == '+') {
				assert_ok(&s, key_state_check(&s, "k", from, to));
				continue;
			}
			assert_int_equal(key_state_check(&s, "k", from, to).code, E_STATE);
			assert_non_null(strstr(s.message, key_state_name(from)));
			assert_non_null(strstr(s.message, from == KEY_DESTROYED ? "the end of its life" : "can only become"));
			scope_reset(&s);
		}
}

static void states_have_names_both_ways(void **state)
{
	(void)state;
	for (enum key_state one = 0; one < KEY_STATE_COUNT; one++)
		assert_int_equal(key_state_named(span_str(key_state_name(one))), one);
	assert_int_equal(key_state_named(span_str("sleeping")), KEY_STATE_COUNT);
	assert_int_equal(key_state_named((span){ 0 }), KEY_STATE_COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_move_is_allowed_or_refused_as_the_matrix_says),
		cmocka_unit_test(states_have_names_both_ways),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
