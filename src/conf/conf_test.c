#include "conf.h"
#include "unit.h"

struct place {
	const char *label;
	const char *path;
	int64_t weight;
};
struct server {
	const char *listen;
	int64_t idle;
};
struct whole {
	const char *name;
	const char *mode;
	const char *policy;
	const char *note;
	bool strict;
	int64_t workers;
	struct conf_list tag;
	struct conf_list journal;
	struct server server;
	struct conf_group place;
};

static const struct conf_row head_rows[] = {
	CONF_ROW(CONF_STRING, struct whole, name, "name", .help = "Name of all this."),
	CONF_ROW(CONF_CHOICE, struct whole, mode, "mode", .standard = "plain", .choices = "plain test other", .help = "How."),
	CONF_ROW(CONF_OID, struct whole, policy, "policy", .standard = "1.3.6.1.4.1.99999.1", .clause = "EN 319 421 5.2"),
	CONF_ROW(CONF_STRING, struct whole, note, "note", .standard = ""),
	CONF_ROW(CONF_BOOLEAN, struct whole, strict, "strict", .standard = "yes"),
	CONF_ROW(CONF_INTEGER, struct whole, workers, "workers", .standard = "4", .min = 1, .max = 64),
	CONF_ROW(CONF_LIST, struct whole, tag, "tag", .standard = ""),
	CONF_ROW(CONF_PATHS, struct whole, journal, "journal", .standard = ""),
};
static const struct conf_row server_rows[] = {
	CONF_ROW(CONF_ADDRESS, struct server, listen, "listen", .standard = "127.0.0.1:0"),
	CONF_ROW(CONF_DURATION, struct server, idle, "idle", .standard = "30s", .min = 1000000, .max = 3600000000),
};
static const struct conf_row place_rows[] = {
	CONF_ROW(CONF_PATH, struct place, path, "path", .help = "Where it lies."),
	CONF_ROW(CONF_INTEGER, struct place, weight, "weight", .standard = "-1"),
};
#define ROWS(rows_) .rows = rows_, .row_count = sizeof rows_ / sizeof rows_[0]
static const struct conf_section sections[] = {
	{ .name = "", .size = sizeof(struct whole), .offset = 0, ROWS(head_rows), .help = "What holds for all." },
	{ .name = "server", .size = sizeof(struct server), .offset = offsetof(struct whole, server), ROWS(server_rows) },
	{ .name = "place",
	  .many = true,
	  .size = sizeof(struct place),
	  .offset = offsetof(struct whole, place),
	  ROWS(place_rows) },
};
static const struct conf_schema schema = {
	.service = "test", .sections = sections, .section_count = 3, .size = sizeof(struct whole)
};

static void a_complete_file_fills_the_struct(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct whole w;
	const char *text =
		"# comment\nname =  two words \nstrict=no\nworkers = 8\r\ntag = a\ntag = b # not a comment\njournal = j1\n"
		"\n[server]\nlisten = [::1]:8443\nidle = 5m\n[place one]\npath = x/y\n[place two]\npath = /z\nweight = 7";
	assert_ok(&s, conf_parse(&s, &schema, "etc/test.conf", span_str(text), &w));
	assert_string_equal(w.name, "two words");
	assert_string_equal(w.mode, "plain");
	assert_string_equal(w.policy, "1.3.6.1.4.1.99999.1");
	assert_null(w.note);
	assert_false(w.strict);
	assert_int_equal(w.workers, 8);
	assert_int_equal(w.tag.count, 2);
	assert_string_equal(w.tag.item[1], "b # not a comment");
	assert_int_equal(w.journal.count, 1);
	assert_string_equal(w.journal.item[0], "etc/j1");
	assert_string_equal(w.server.listen, "[::1]:8443");
	assert_int_equal(w.server.idle, 300000000);
	assert_int_equal(w.place.count, 2);
	const struct place *places = w.place.item;
	assert_string_equal(places[0].label, "one");
	assert_string_equal(places[0].path, "etc/x/y");
	assert_int_equal(places[0].weight, -1);
	assert_string_equal(places[1].label, "two");
	assert_string_equal(places[1].path, "/z");
	assert_int_equal(places[1].weight, 7);
}

static void a_section_left_out_has_its_defaults(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct whole w;
	assert_ok(&s, conf_parse(&s, &schema, "test.conf", span_str("name = n\n"), &w));
	assert_string_equal(w.server.listen, "127.0.0.1:0");
	assert_int_equal(w.server.idle, 30000000);
	assert_int_equal(w.place.count, 0);
	assert_int_equal(w.tag.count, 0);
}

/* Each line is refused with a message that has these words. */
static const struct {
	const char *text;
	const char *says;
} refused[] = {
	{ "name = a\nnaem = b\n", "f:2: unknown name 'naem' in the head of the file; known are: name, mode" },
	{ "name = a\n[place p]\nlisten = x\n", "f:3: unknown name 'listen' in [place p]; known are: path, weight" },
	{ "name = a\n[place p]\nmode = x\n", "known are: path, weight; this one stands in the head of the file" },
	{ "name = a\nname = b\n", "f:2: 'name' is set already, in line 1" },
	{ "workers = 2\n", "f:1: 'name' is missing in the head of the file: Name of all this." },
	{ "name = a\n\n[place p]\nweight = 1\n", "f:3: 'path' is missing in [place p]" },
	{ "name = a\nworkers = 0\n", "f:2: workers = 0: write a number from 1 to 64" },
	{ "name = a\nworkers = 65\n", "from 1 to 64" },
	{ "name = a\nworkers = 3x\n", "write a whole number" },
	{ "name = a\nworkers = 99999999999999999999\n", "write a whole number" },
	{ "name = a\n[server]\nidle = 30\n", "f:3: idle = 30: write a number with a unit: 500ms, 30s" },
	{ "name = a\n[server]\nidle = s\n", "with a unit" },
	{ "name = a\n[server]\nidle = 9000000000000d\n", "with a unit" },
	{ "name = a\n[server]\nidle = 500ms\n", "write a duration from 1s to 1h" },
	{ "name = a\n[server]\nlisten = localhost:80\n", "write 127.0.0.1:8080" },
	{ "name = a\n[server]\nlisten = 127.0.0.1\n", "write 127.0.0.1:8080" },
	{ "name = a\n[server]\nlisten = ::1:80\n", "write 127.0.0.1:8080" },
	{ "name = a\n[server]\nlisten = 127.0.0.1:65536\n", "write 127.0.0.1:8080" },
	{ "name = a\nmode = tests\n", "write one of: plain test other" },
	{ "name = a\nmode = pla\n", "write one of" },
	{ "name = a\nstrict = true\n", "write yes or no" },
	{ "name = a\npolicy = 3.1\n", "write dotted numbers" },
	{ "name = a\npolicy = 1\n", "write dotted numbers" },
	{ "name = a\npolicy = 1.02\n", "write dotted numbers" },
	{ "name = a\npolicy = 1.2.\n", "write dotted numbers" },
	{ "name =\n", "f:1: 'name' has no value" },
	{ "= b\n", "f:1: unknown name ''" },
	{ "name a\n", "f:1: write \"name = value\"" },
	{ "name = a\001b\n", "control character" },
	{ "name = a\n[server\n", "ends with ']'" },
	{ "name = a\n[]\n", "there is no section []" },
	{ "name = a\n[nothing]\n", "there is no section [nothing]; sections are: [server], [place LABEL]" },
	{ "name = a\n[server one]\n", "has no label" },
	{ "name = a\n[server]\n[server]\n", "f:3: [server] is there already, from line 2" },
	{ "name = a\n[place]\n", "write [place LABEL]" },
	{ "name = a\n[place a/b]\n", "write [place LABEL]" },
	{ "name = a\n[place a]\npath = x\n[place a]\n", "[place a] is there already, from line 2" },
};

static void faults_are_named_with_their_line(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct whole w;
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		st got = conf_parse(&s, &schema, "f", span_str(refused[i].text), &w);
		if (strstr(s.message, refused[i].says) == NULL)
			print_error("'%s' instead of '%s'\n", s.message, refused[i].says);
		assert_int_equal(got.code, E_CONFIG);
		assert_non_null(strstr(s.message, refused[i].says));
		scope_reset(&s);
	}
}

static void socket_paths_start_at_the_file(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct whole w;
	assert_ok(&s, conf_parse(&s, &schema, "/etc/c/f.conf", span_str("name = a\n[server]\nlisten = unix:run/s\n"), &w));
	assert_string_equal(w.server.listen, "unix:/etc/c/run/s");
	char text[300];
	(void)snprintf(text, sizeof text, "name = a\n[server]\nlisten = unix:/%0*d\n", 120, 0);
	assert_fails(&s, E_CONFIG, conf_parse(&s, &schema, "f", span_str(text), &w));
}

static void a_missing_file_is_named(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct whole w;
	st got = conf_read(&s, &schema, "/nonexistent/f.conf", &w);
	assert_int_equal(got.code, E_CONFIG);
	assert_non_null(strstr(s.message, "/nonexistent/f.conf"));
}

static void the_reference_has_every_row(void **state)
{
	(void)state;
	AUTO_BUF out;
	buf_init(&out, 0);
	conf_reference(&out, &schema);
	assert_true(buf_append(&out, span_of("", 1)));
	const char *page = (const char *)out.data;
	for (size_t i = 0; i < schema.section_count; i++)
		for (size_t j = 0; j < sections[i].row_count; j++) {
			char cell[64];
			(void)snprintf(cell, sizeof cell, "| `%s` |", sections[i].rows[j].name);
			assert_non_null(strstr(page, cell));
		}
	assert_non_null(strstr(page, "## [place LABEL]"));
	assert_non_null(strstr(page, "| `idle` | duration, 1s to 1h | `30s` |"));
	assert_non_null(strstr(page, "| `name` | text | required | Name of all this. |"));
	assert_non_null(strstr(page, "EN 319 421 5.2"));
}

struct seen {
	char text[512];
	size_t len;
};

static void see(void *state, enum conf_access access, const char *path)
{
	struct seen *seen = state;
	seen->len += (size_t)snprintf(seen->text + seen->len, sizeof seen->text - seen->len, "%d:%s ", (int)access, path);
}

static void every_path_that_is_set_is_told_with_its_use(void **state)
{
	(void)state;
	struct files {
		const char *read, *kept, *absent, *local, *remote, *word;
		struct conf_list listen, tag, more;
		struct conf_group place;
	};
	static const struct conf_row rows[] = {
		CONF_ROW(CONF_PATH, struct files, read, "read"),
		CONF_ROW(CONF_PATH, struct files, kept, "kept", .access = CONF_KEEPS),
		CONF_ROW(CONF_PATH, struct files, absent, "absent", .standard = "", .access = CONF_KEEPS),
		CONF_ROW(CONF_ADDRESS, struct files, local, "local"),
		CONF_ROW(CONF_ADDRESS, struct files, remote, "remote"),
		CONF_ROW(CONF_STRING, struct files, word, "word"),
		CONF_ROW(CONF_LIST, struct files, listen, "listen", .access = CONF_LISTENS),
		CONF_ROW(CONF_LIST, struct files, tag, "tag"),
		CONF_ROW(CONF_PATHS, struct files, more, "more", .access = CONF_SEARCHES),
	};
	static const struct conf_row group_rows[] = { CONF_ROW(CONF_PATH, struct place, path, "path",
							       .access = CONF_REPLACES) };
	static const struct conf_section parts[] = {
		{ .name = "", .size = sizeof(struct files), .rows = rows, .row_count = sizeof rows / sizeof rows[0] },
		{ .name = "place",
		  .many = true,
		  .size = sizeof(struct place),
		  .offset = offsetof(struct files, place),
		  .rows = group_rows,
		  .row_count = 1 },
	};
	static const struct conf_schema files_schema = {
		.service = "files", .sections = parts, .section_count = 2, .size = sizeof(struct files)
	};
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct files conf = { 0 };
	assert_ok(&s, conf_parse(&s, &files_schema, "/x/conf",
				 SPAN_LITERAL("read = r\nkept = /k\nlocal = unix:/l\nremote = 127.0.0.1:1\nword = /w\n"
					      "listen = unix:/m\nlisten = 127.0.0.1:2\ntag = unix:/t\nmore = a\nmore = b\n"
					      "[place one]\npath = p\n[place two]\npath = q\n"),
				 &conf));
	struct seen seen = { .len = 0 };
	conf_paths(&files_schema, &conf, see, &seen);
	const char *expected =
		scope_printf(&s, "%d:/x/r %d:/k %d:/l %d:/m %d:/x/a %d:/x/b %d:/x/p %d:/x/q ", CONF_READS, CONF_KEEPS,
			     CONF_LISTENS, CONF_LISTENS, CONF_SEARCHES, CONF_SEARCHES, CONF_REPLACES, CONF_REPLACES);
	assert_string_equal(seen.text, expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_complete_file_fills_the_struct),
		cmocka_unit_test(a_section_left_out_has_its_defaults),
		cmocka_unit_test(faults_are_named_with_their_line),
		cmocka_unit_test(socket_paths_start_at_the_file),
		cmocka_unit_test(every_path_that_is_set_is_told_with_its_use),
		cmocka_unit_test(a_missing_file_is_named),
		cmocka_unit_test(the_reference_has_every_row),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
