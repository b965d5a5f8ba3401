#include "ca_json.h"
#include "unit.h"

struct sample {
	const char *word;
	int64_t number, moment;
	bool flag;
	const char *const *names;
};
static const struct ca_member members[] = {
	CA_MEMBER(CA_MEMBER_TEXT, sample, word, .required = true),
	CA_MEMBER(CA_MEMBER_INTEGER, sample, number),
	CA_MEMBER(CA_MEMBER_TIME, sample, moment),
	CA_MEMBER(CA_MEMBER_BOOLEAN, sample, flag),
	CA_MEMBER(CA_MEMBER_TEXTS, sample, names),
};

static st parse(struct scope *s, const char *body, struct sample *out)
{
	return CA_JSON_READ(s, span_str(body), members, out);
}

static void every_member_arrives_as_what_it_is(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct sample in = { 0 };
	assert_ok(&s, parse(&s,
			    "{\"word\":\"a\\u00e9\",\"number\":-9223372036854775808,\"moment\":\"2026-01-02T03:04:05Z\","
			    "\"flag\":true,\"names\":[\"x\",\"\"]}",
			    &in));
	assert_string_equal(in.word, "a\xc3\xa9");
	assert_true(in.number == INT64_MIN && in.flag);
	char text[MOMENT_TEXT_MAX];
	assert_string_equal(moment_text(in.moment, text), "2026-01-02T03:04:05.000000Z");
	assert_string_equal(in.names[0], "x");
	assert_string_equal(in.names[1], "");
	assert_null(in.names[2]);
}

static void null_and_an_empty_list_are_as_if_left_out(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct sample in = { .number = 7, .flag = true };
	assert_ok(&s, parse(&s, "{\"word\":\"a\",\"number\":null,\"flag\":null,\"names\":[]}", &in));
	assert_true(in.number == 7 && in.flag && in.names == NULL && in.moment == 0);
}

static void what_is_wrong_is_refused_by_name(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		const char *body, *why;
	} rows[] = {
		{ "", "no JSON" },
		{ "{\"word\":\"a\"} x", "no JSON" },
		{ "{\"word\":\"a\"", "no JSON" },
		{ "{\"word\":\"\xff\"}", "no JSON" },
		{ "[]", "no JSON object" },
		{ "{\"word\":\"a\",\"word\":\"b\"}", "no JSON: duplicate" },
		{ "{\"word\":\"a\",\"colour\":1}", "'colour' is no member" },
		{ "{}", "'word' is missing" },
		{ "{\"word\":null}", "'word' is missing" },
		{ "{\"word\":7}", "'word' is a text" },
		{ "{\"word\":\"a\\u0000b\"}", "no JSON" },
		{ "{\"word\":\"a\",\"number\":\"1\"}", "'number' is a whole number" },
		{ "{\"word\":\"a\",\"number\":1.0}", "'number' is a whole number" },
		{ "{\"word\":\"a\",\"number\":9223372036854775808}", "no JSON" },
		{ "{\"word\":\"a\",\"flag\":1}", "'flag' is true or false" },
		{ "{\"word\":\"a\",\"moment\":1}", "'moment' is a text" },
		{ "{\"word\":\"a\",\"moment\":\"yesterday\"}", "'moment'" },
		{ "{\"word\":\"a\",\"names\":\"x\"}", "'names' is a list" },
		{ "{\"word\":\"a\",\"names\":[\"x\",1]}", "'names' is a text" },
		{ "{\"word\":\"a\",\"names\":[[\"x\"]]}", "'names' is a text" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sample in = { 0 };
		st status = parse(&s, rows[i].body, &in);
		if (status.code != E_INPUT || strstr(s.message, rows[i].why) == NULL)
			print_error("%s: %s\n", rows[i].body, s.message);
		assert_int_equal(status.code, E_INPUT);
		assert_non_null(strstr(s.message, rows[i].why));
		scope_clear_error(&s);
	}
}

static void a_list_has_32_texts_at_most(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t count = 31; count <= 33; count++) {
		AUTO_BUF body = { 0 };
		struct wr w = wr_into(&body);
		wr_raw(&w, span_str("{\"word\":\"a\",\"names\":["));
		for (size_t i = 0; i < count; i++)
			wr_raw(&w, span_str(i == 0 ? "\"x\"" : ",\"x\""));
		wr_raw(&w, span_str("]}"));
		struct sample in = { 0 };
		st status = parse(&s, scope_cstr(&s, buf_span(&body)), &in);
		assert_int_equal(status.code, count <= 32 ? E_OK : E_INPUT);
		scope_clear_error(&s);
	}
}

static void an_answer_leaves_out_what_there_is_not(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct http_reply reply = { 0 };
	json_t *root = json_object();
	ca_json_text(root, "absent", NULL);
	ca_json_time(root, "never", 0);
	ca_json_text(root, "word", "\"\n");
	ca_json_hex(&s, root, "serial", SPAN_LITERAL("\x00\xaf"));
	ca_json_time(root, "at", 1000001);
	ca_json_number(root, "number", INT64_MIN);
	assert_ok(&s, ca_json_reply(&s, &reply, 201, root));
	assert_int_equal(reply.status, 201);
	assert_string_equal(reply.content_type, "application/json");
	const char *expected = "{\"word\":\"\\\"\\n\",\"serial\":\"00af\",\"at\":\"1970-01-01T00:00:01.000001Z\","
			       "\"number\":-9223372036854775808}\n";
	assert_true(span_is(reply.body, expected));
}

static json_t *everything(void)
{
	char controls[0x80];
	for (int c = 1; c <= 0x7f; c++)
		controls[c - 1] = (char)c;
	controls[0x7f] = 0;
	return json_pack("{s:s, s:s, s:s, s:[i, s, {}, []], s:{s:b, s:b, s:n}, s:[], s:{}, s:I, s:s}", "controls", controls,
			 "quotes", "\"\\\"\\\\", "utf8", "Zo\xc3\xab \xe2\x82\xac \xf0\x9f\x94\x91", "list", -7, "one",
			 "object", "true", 1, "false", 0, "none", "empty list", "empty object", "large", (json_int_t)INT64_MAX,
			 "", "empty name");
}

//= rfc8259#7 quotation mark, reverse solidus and control characters are escaped
static void jansson_reads_what_was_written(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	json_t *wanted = everything();
	struct http_reply reply = { 0 };
	assert_non_null(wanted);
	assert_ok(&s, ca_json_reply(&s, &reply, 201, json_incref(wanted)));
	assert_int_equal(reply.status, 201);
	json_t *read = json_loadb((const char *)reply.body.data, reply.body.len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(read);
	assert_true(json_equal(read, wanted));
	for (size_t i = 0; i + 1 < reply.body.len; i++)
		assert_true(reply.body.data[i] >= 0x20);
	json_decref(read);
	json_decref(wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_member_arrives_as_what_it_is),
		cmocka_unit_test(null_and_an_empty_list_are_as_if_left_out),
		cmocka_unit_test(what_is_wrong_is_refused_by_name),
		cmocka_unit_test(a_list_has_32_texts_at_most),
		cmocka_unit_test(an_answer_leaves_out_what_there_is_not),
		cmocka_unit_test(jansson_reads_what_was_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
