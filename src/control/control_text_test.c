#include "control_text.h"
#include "moment.h"
#include "unit.h"

static struct control_rd reading(const char *text)
{
	return control_read(span_str(text), "note", "note");
}

static void what_is_written_is_read_back(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF out;
	buf_init(&out, 0);
	struct control_wr w = control_write(&out, "note");
	uint8_t octets[3] = { 0, 0xab, 0xff }, back[3];
	control_put_str(&w, "title", "Zwei: d\xc3\xb6rfte gehen");
	control_put_moment(&w, "at", 1795374000 * MOMENT_SECOND + 5);
	control_put_number(&w, "count", 0);
	control_put_hex(&w, "hash", SPAN_ARRAY(octets));
	control_put_base64(&w, "key", SPAN_ARRAY(octets));
	assert_ok(&s, control_written(&s, &w));
	struct control_rd r = control_read(buf_span(&out), "note", "note");
	assert_true(span_is(control_get(&r, "title"), "Zwei: d\xc3\xb6rfte gehen"));
	assert_true(control_next_is(&r, "at"));
	assert_false(control_next_is(&r, "count"));
	assert_int_equal(control_get_moment(&r, "at"), 1795374000 * MOMENT_SECOND + 5);
	assert_int_equal(control_get_number(&r, "count", 9), 0);
	control_get_hex(&r, "hash", back, sizeof back);
	assert_memory_equal(back, octets, sizeof back);
	assert_true(span_equal(control_get_base64(&r, &s, "key"), SPAN_ARRAY(octets)));
	assert_ok(&s, control_end(&s, &r));
}

static void one_thing_is_written_in_one_way(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const refused[] = {
		"chancery note 2\na: b\n",
		"chancery note 1\na: b",
		"chancery note 1\na:b\n",
		"chancery note 1\na:  b\n",
		"chancery note 1\na: b \n",
		"chancery note 1\na: \n",
		"chancery note 1\nA: b\n",
		"chancery note 1\na: b\r\n",
		"chancery note 1\na: \t\n",
		"chancery note 1\n a: b\n",
		"chancery note 1\na: \x80\n",
		"chancery note 1\na: b\nc: d\n",
		"chancery note 1\na: a\xe2\x80\xae"
		"b\n",
		"chancery note 1\na: a\xe2\x81\xa6"
		"b\n",
		"chancery note 1\na: \xc2\x85x\n",
		"chancery note 1\na: a\xe2\x80\xa8"
		"b\n",
		"chancery note 1\nb: b\n",
		"",
		"chancery note 1\n",
		"chancery other 1\na: b\n",
	};
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		struct control_rd r = reading(refused[i]);
		(void)control_get(&r, "a");
		assert_fails(&s, E_INPUT, control_end(&s, &r));
	}
	struct control_rd good = reading("chancery note 1\na: b\n");
	assert_true(span_is(control_get(&good, "a"), "b"));
	assert_ok(&s, control_end(&s, &good));
}

static void values_have_one_spelling(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t out[2];
	struct control_rd r = reading("chancery note 1\na: 2026-11-26T18:00:00Z\n");
	(void)control_get_moment(&r, "a");
	assert_fails(&s, E_INPUT, control_end(&s, &r));
	r = reading("chancery note 1\na: 007\n");
	(void)control_get_number(&r, "a", 99);
	assert_fails(&s, E_INPUT, control_end(&s, &r));
	r = reading("chancery note 1\na: 100\n");
	(void)control_get_number(&r, "a", 99);
	assert_fails(&s, E_INPUT, control_end(&s, &r));
	r = reading("chancery note 1\na: ABCD\n");
	control_get_hex(&r, "a", out, sizeof out);
	assert_fails(&s, E_INPUT, control_end(&s, &r));
	r = reading("chancery note 1\na: abcdef\n");
	control_get_hex(&r, "a", out, sizeof out);
	assert_fails(&s, E_INPUT, control_end(&s, &r));
	r = reading("chancery note 1\na: YQ\n");
	assert_int_equal(control_get_base64(&r, &s, "a").len, 0);
	assert_fails(&s, E_INPUT, control_end(&s, &r));
}

static void what_cannot_be_read_back_is_not_written(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const refused[] = { "", " a", "a ", "a\nb: c", "a\x1b[2J", "\xff" };
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		AUTO_BUF out;
		buf_init(&out, 0);
		struct control_wr w = control_write(&out, "note");
		control_put_str(&w, "a", refused[i]);
		assert_fails(&s, E_INPUT, control_written(&s, &w));
	}
}

static void the_message_names_line_and_name(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_rd r = reading("chancery note 1\na: b\nc: d\n");
	(void)control_get(&r, "a");
	(void)control_get(&r, "b");
	st ended = control_end(&s, &r);
	assert_int_equal(ended.code, E_INPUT);
	assert_string_equal(s.message, "note: line 3 is c, where b belongs");
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(what_is_written_is_read_back),    cmocka_unit_test(one_thing_is_written_in_one_way),
		cmocka_unit_test(values_have_one_spelling),        cmocka_unit_test(what_cannot_be_read_back_is_not_written),
		cmocka_unit_test(the_message_names_line_and_name),
	};
	return cmocka_run_group_tests(all, NULL, NULL);
}
