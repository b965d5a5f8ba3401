#include "audit_client.h"
#include "audit_journal.h"
#include "audit_json.h"
#include "audit_local.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include "unit.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void revoked(struct audit_event *e, struct scope *s, span actor)
{
	static const uint8_t serial[] = { 0x7f, 0, 1 };
	audit_begin(e, s, AUDIT_CERTIFICATE_REVOKED);
	audit_str(e, "ca", "issuing");
	audit_hex(e, "serial", SPAN_ARRAY(serial));
	audit_str(e, "reason", "keyCompromise");
	audit_time(e, "revoked_at", INT64_C(1700000000) * MOMENT_SECOND);
	audit_text(e, "actor", actor);
}

static void a_record_is_read_back_as_it_was_written(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT e;
	revoked(&e, &s, SPAN_LITERAL("caf\xc3\xa9 \"x\"\\\n\x7f"));
	assert_ok(&s, audit_finish(&s, &e));
	struct audit_record r;
	assert_ok(&s, audit_record_read(&s, buf_span(&e.json), &r));
	assert_int_equal(r.code, AUDIT_CERTIFICATE_REVOKED);
	assert_memory_equal(r.id, e.id, 16);
	assert_memory_equal(r.tx, s.id, 16);
	span value;
	int64_t when;
	assert_ok(&s, audit_field_text(&s, &r, "actor", &value));
	assert_true(span_is(value, "caf\xc3\xa9 \"x\"\\\n\x7f"));
	assert_ok(&s, audit_field_hex(&s, &r, "serial", &value));
	assert_true(span_equal(value, SPAN_LITERAL("\x7f\0\1")));
	assert_ok(&s, audit_field_time(&s, &r, "revoked_at", &when));
	assert_true(when == INT64_C(1700000000) * MOMENT_SECOND);
	assert_fails(&s, E_NOTFOUND, audit_field_text(&s, &r, "invalidity_date", &value));
}

/* Sixteen octets are looked at together: wherever among them an octet stands, it counts. */
static void a_special_octet_is_seen_at_every_place_of_a_string(void **state)
{
	(void)state;
	static const uint8_t specials[] = { 0, 0x1f, '"', '\\', 0x80, 0xff };
	for (size_t at = 1; at <= 40; at++) {
		uint8_t text[64];
		memset(text, ' ', sizeof text);
		memset(text + 33, '~', sizeof text - 33);
		text[0] = '"';
		text[41] = '"';
		struct json good = { .rest = SPAN_ARRAY(text) };
		assert_int_equal(audit_json_string(&good).len, 40);
		assert_false(good.bad);
		for (size_t i = 0; i < sizeof specials; i++) {
			text[at] = specials[i];
			struct json j = { .rest = SPAN_ARRAY(text) };
			span got = audit_json_string(&j);
			assert_true(specials[i] == '"' ? got.len == at - 1 : j.bad);
		}
		/* rfc8259#7: DEL is no control character of JSON; the writer escapes it, a reader takes it. */
		text[at] = 0x7f;
		struct json j = { .rest = SPAN_ARRAY(text) };
		assert_int_equal(audit_json_string(&j).len, 40);
	}
}

static void what_is_not_utf8_is_replaced_and_never_lost(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "\xff", "\"\xef\xbf\xbd\"" },
		{ "a\xc0\x80z", "\"a\xef\xbf\xbd\xef\xbf\xbdz\"" },             /* overlong zero */
		{ "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* surrogate */
		{ "\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"" }, /* cut */
		{ "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"" },
		{ "\x01\t\"\\", "\"\\u0001\\u0009\\\"\\\\\"" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		AUTO_BUF b;
		buf_init(&b, 100);
		assert_true(audit_json_string_write(&b, span_str(cases[i].in)));
		assert_true(span_is(buf_span(&b), cases[i].out));
		struct json j = { .rest = buf_span(&b) };
		(void)audit_json_string(&j);
		assert_false(j.bad);
		assert_int_equal(j.rest.len, 0);
	}
}

static void a_value_of_another_form_than_the_catalogue_has_is_refused(void **state)
{
	(void)state;
	static const struct {
		enum audit_form form;
		const char *text;
		bool fits;
	} cases[] = {
		{ AUDIT_TEXT, "", true },
		{ AUDIT_TEXT, "anything", true },
		{ AUDIT_NUMBER, "7", false }, /* as a string */
		{ AUDIT_HEX, "", true },
		{ AUDIT_HEX, "00ff", true },
		{ AUDIT_HEX, "0123456789abcdef0123456789abcdef01", true },
		{ AUDIT_HEX, "0ff", false },
		{ AUDIT_HEX, "00FF", false },
		{ AUDIT_HEX, "00fg", false },
		{ AUDIT_HEX, "0`", false },
		{ AUDIT_HEX, "0/", false },
		{ AUDIT_HEX, "0:", false },
		{ AUDIT_HEX, "0\xe6", false },
		{ AUDIT_HEX, "0123456789abcdeg0123456789abcdef", false },
		{ AUDIT_HEX, "0123456789abcdef0123456789abcdef0x", false },
		{ AUDIT_BASE64, "", true },
		{ AUDIT_BASE64, "AAAA", true },
		{ AUDIT_BASE64, "az+/AZ09az+/AZ09", true },
		{ AUDIT_BASE64, "AA==", true },
		{ AUDIT_BASE64, "AAA=", true },
		{ AUDIT_BASE64, "AB==", false }, /* bits that stand for nothing */
		{ AUDIT_BASE64, "AAB=", false },
		{ AUDIT_BASE64, "AAA", false },
		{ AUDIT_BASE64, "A===", false },
		{ AUDIT_BASE64, "====", false },
		{ AUDIT_BASE64, "AA=A", false },
		{ AUDIT_BASE64, "AA-_", false },
		{ AUDIT_BASE64, "AA@@", false },
		{ AUDIT_BASE64, "AA[[", false },
		{ AUDIT_BASE64, "AA{`", false },
		{ AUDIT_BASE64, "AA:.", false },
		{ AUDIT_BASE64, "AAA\xc1", false },
		{ AUDIT_TIME, "2026-01-02T03:04:05Z", true },
		{ AUDIT_TIME, "2026-01-02T03:04:05.000006Z", true },
		{ AUDIT_TIME, "2026-02-30T03:04:05Z", false },
		{ AUDIT_TIME, "2026-01-02", false },
		{ AUDIT_TIME, "", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(audit_form_fits(cases[i].form, span_str(cases[i].text)), cases[i].fits);
}

static void malformed_records_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
#define HEAD "{\"v\":1,\"id\":\"000102030405060708090a0b0c0d0e0f\",\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"log.stopped\","
#define TX   "\"tx\":\"000102030405060708090a0b0c0d0e0f\""
#define EVENT_OF(name)                                                                                                         \
	"{\"v\":1,\"id\":\"000102030405060708090a0b0c0d0e0f\",\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"" name "\"," TX ","
#define EXPORTED EVENT_OF("log.exported")
#define REVIEWED EVENT_OF("report.reviewed")
	struct audit_record r;
	assert_ok(&s, audit_record_read(&s, SPAN_LITERAL(EXPORTED "\"path\":\"x\",\"records\":7,\"operator\":\"x\"}"), &r));
	assert_ok(
		&s,
		audit_record_read(
			&s,
			SPAN_LITERAL(
				REVIEWED
				"\"report\":\"0f\",\"person\":\"x\",\"conclusion\":\"x\",\"file\":\"AA==\",\"operator\":\"x\"}"),
			&r));
	assert_ok(&s, audit_record_read(&s, SPAN_LITERAL(HEAD TX ",\"size\":7}"), &r));
	assert_ok(&s, audit_record_read(&s, SPAN_LITERAL(HEAD "\"component\":\"auditd\"," TX ",\"size\":7}"), &r));
	assert_ok(&s, audit_record_read(&s, SPAN_LITERAL(HEAD TX ",\"size\":-7}"), &r));
	static const char *const bad[] = {
		"",
		"{}",
		HEAD TX "}",
		HEAD TX ",\"size\":7",
		HEAD TX ",\"size\":7} ",
		HEAD TX ",\"size\":07}",
		HEAD TX ",\"size\":}",
		HEAD TX ",\"size\":7,\"size\":7}",
		HEAD TX ",\"extra\":7,\"size\":7}",
		HEAD TX ",\"size\":99999999999999999999}",
		HEAD TX ",\"size\":\"\\q\"}",
		HEAD TX ",\"size\":\"\\ud800\"}",
		HEAD TX ",\"size\":\"\xff\"}",
		HEAD TX ",\"size\":\"\n\"}",
		HEAD TX ",\"size\":[1]}",
		HEAD TX ",\"size\":\"7\"}",
		EXPORTED "\"path\":7,\"records\":7,\"operator\":\"x\"}",
		REVIEWED "\"report\":\"0g\",\"person\":\"x\",\"conclusion\":\"x\",\"file\":\"AA==\",\"operator\":\"x\"}",
		HEAD TX ", \"size\":7}",
		HEAD "\"tx\":\"00\",\"size\":7}",
		HEAD TX ",\"size\":-0}",
		"{\"v\":2,\"id\":\"000102030405060708090a0b0c0d0e0f\",\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"log."
		"stopped\"," TX ",\"size\":7}",
		"{\"v\":1,\"id\":\"000102030405060708090A0B0C0D0E0F\",\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"log."
		"stopped\"," TX ",\"size\":7}",
		"{\"v\":1,\"id\":\"000102030405060708090a0b0c0d0e0f\",\"time\":\"2026-02-30T03:04:05Z\",\"event\":\"log."
		"stopped\"," TX ",\"size\":7}",
		"{\"v\":1,\"id\":\"000102030405060708090a0b0c0d0e0f\",\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"no."
		"such\"," TX ",\"size\":7}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_fails(&s, E_INPUT, audit_record_read(&s, span_str(bad[i]), &r));
}

static void put_of_form(struct audit_event *e, const char *field, enum audit_form form)
{
	if (form == AUDIT_NUMBER)
		audit_number(e, field, 7);
	else if (form == AUDIT_HEX)
		audit_hex(e, field, SPAN_LITERAL("\x07"));
	else if (form == AUDIT_BASE64)
		audit_base64(e, field, SPAN_LITERAL("\x07"));
	else if (form == AUDIT_TIME)
		audit_time(e, field, 7);
	else
		audit_str(e, field, "seven");
}

static void every_event_of_the_catalogue_can_be_written_and_read(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (int code = 0; code < AUDIT_CODE_COUNT; code++) {
		const char *at = audit_row((enum audit_code)code)->fields;
		struct audit_row_field field;
		AUTO_EVENT e;
		audit_begin(&e, &s, (enum audit_code)code);
		while (audit_row_next_field(&at, &field))
			if (!field.optional)
				put_of_form(&e, scope_cstr(&s, field.name), field.form);
		assert_ok(&s, audit_finish(&s, &e));
		AUTO_BUF envelope;
		buf_init(&envelope, AUDIT_LEAF_MAX + 1);
		assert_true(audit_envelope_write(&envelope, 1234567, scope_now(&s), "c\"a", buf_span(&e.json)));
		struct audit_envelope got;
		assert_ok(&s, audit_envelope_read(&s, buf_span(&envelope), &got));
		assert_int_equal(got.seq, 1234567);
		assert_int_equal(got.record.code, code);
	}
	AUTO_BUF page;
	buf_init(&page, 0);
	audit_catalogue(&page);
	assert_non_null(memmem(page.data, page.len, "`certificate.issued`", 20));
}

static void unknown_field(struct audit_event *e)
{
	audit_number(e, "sise", 7);
}

static void another_form(struct audit_event *e)
{
	audit_str(e, "size", "7");
}

static void twice(struct audit_event *e)
{
	audit_number(e, "size", 7);
	audit_number(e, "size", 7);
}

static void nothing(struct audit_event *e)
{
	(void)e;
}

static void as_it_should_be(struct audit_event *e)
{
	audit_number(e, "size", 7);
}

static int ending_of(void (*fill)(struct audit_event *e), enum audit_code code)
{
	(void)fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		struct audit_event e;
		log_init("test", LOG_LEVEL_ERROR - 1);
		audit_begin(&e, &s, code);
		fill(&e);
		_exit(audit_finish(&s, &e).code == E_OK ? 0 : 99);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A reader of JSON takes one of two members of a name, or refuses both: the ca did, and did not start. */
static void no_field_has_the_name_of_one_that_every_record_has(void **state)
{
	(void)state;
	static const char *const taken[] = { "v", "id", "time", "event", "component", "run", "n", "after", "last", "tx" };
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (int code = 0; code < AUDIT_CODE_COUNT; code++) {
		const char *fields = scope_printf(&s, " %s", audit_row((enum audit_code)code)->fields);
		for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
			assert_null(strstr(fields, scope_printf(&s, " %s:", taken[i])));
	}
}

/* A fault of ours ends the process: nothing that the catalogue does not have leaves a daemon. */
static void what_is_not_in_the_catalogue_cannot_be_written(void **state)
{
	(void)state;
	int bug = code_row(E_BUG)->exit_code;
	assert_int_equal(ending_of(as_it_should_be, AUDIT_LOG_STOPPED), 0);
	assert_int_equal(ending_of(as_it_should_be, AUDIT_CODE_COUNT), bug);
	assert_int_equal(ending_of(unknown_field, AUDIT_LOG_STOPPED), bug);
	assert_int_equal(ending_of(another_form, AUDIT_LOG_STOPPED), bug);
	assert_int_equal(ending_of(twice, AUDIT_LOG_STOPPED), bug);
	assert_int_equal(ending_of(nothing, AUDIT_LOG_STOPPED), bug);
}

static void severities_are_those_of_the_standard(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	enum audit_severity severity;
	assert_ok(&s, audit_severity_named(&s, "warning", &severity));
	assert_true(severity == AUDIT_WARNING && AUDIT_INFO < AUDIT_NOTICE && AUDIT_NOTICE < severity &&
		    severity < AUDIT_ALERT);
	assert_fails(&s, E_INPUT, audit_severity_named(&s, "urgent", &severity));
	for (int code = 0; code < AUDIT_CODE_COUNT; code++)
		assert_true(audit_row((enum audit_code)code)->clause[0] != 0 && audit_row((enum audit_code)code)->text[0] != 0);
}

static void an_oversize_record_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t *big = scope_alloc(&s, AUDIT_RECORD_MAX);
	AUTO_EVENT e;
	memset(big, 'x', AUDIT_RECORD_MAX);
	revoked(&e, &s, span_of(big, AUDIT_RECORD_MAX));
	assert_fails(&s, E_LIMIT, audit_finish(&s, &e));
}

/* ---- files of groups ---- */

struct folder {
	struct scope s;
	char path[40];
	char *file;
};

static int set_up(void **state)
{
	struct folder *f = heap_alloc(sizeof *f);
	scope_init(&f->s, NULL);
	strcpy(f->path, "/tmp/chancery-audit-XXXXXX");
	if (mkdtemp(f->path) == NULL)
		return -1;
	f->file = scope_printf(&f->s, "%s/journal", f->path);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct folder *f = *state;
	(void)unlink(f->file);
	(void)rmdir(f->path);
	scope_done(&f->s);
	free(f);
	return 0;
}

struct seen {
	uint64_t count;
	bool right;
};

static bool see(void *state, uint64_t index, span record)
{
	struct seen *seen = state;
	char expected[40];
	(void)snprintf(expected, sizeof expected, "record %llu", (unsigned long long)index);
	seen->right = seen->right && span_is(record, expected) && index == seen->count;
	seen->count++;
	return true;
}

static void append(struct folder *f, struct audit_local *j, uint64_t from, size_t count)
{
	span *record = scope_alloc(&f->s, count * sizeof *record);
	for (size_t i = 0; i < count; i++)
		record[i] = span_str(scope_printf(&f->s, "record %llu", (unsigned long long)(from + i)));
	uint64_t first;
	assert_ok(&f->s, audit_local_append(&f->s, j, record, count, &first));
	assert_int_equal(first, from);
}

static uint64_t count_records(struct folder *f, struct audit_local *j)
{
	struct seen seen = { .right = true };
	uint64_t size;
	assert_ok(&f->s, audit_local_read(&f->s, j, 0, see, &seen, &size));
	assert_true(seen.right);
	assert_int_equal(seen.count, size);
	return size;
}

static off_t file_size(const char *path)
{
	int fd = open(path, O_RDONLY);
	off_t size = lseek(fd, 0, SEEK_END);
	(void)close(fd);
	return size;
}

static void flip(const char *path, off_t at)
{
	uint8_t byte;
	int fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	(void)close(fd);
}

static void a_journal_that_does_not_begin_with_record_0_is_refused(void **state)
{
	struct folder *f = *state;
	struct audit_local *j;
	for (uint64_t first = 0; first < 2; first++) {
		uint8_t head[AUDIT_FILE_HEAD];
		audit_file_head(AUDIT_FILE_JOURNAL, first, head);
		assert_ok(&f->s, file_replace(&f->s, f->file, SPAN_ARRAY(head), 0600));
		if (first == 0) {
			assert_ok(&f->s, audit_local_open(&f->s, f->file, &j));
			audit_local_close(j);
		} else
			assert_fails(&f->s, E_INPUT, audit_local_open(&f->s, f->file, &j));
	}
}

static void a_torn_last_group_is_dropped_whole_and_a_damaged_earlier_one_is_not(void **state)
{
	struct folder *f = *state;
	struct audit_local *j;
	assert_ok(&f->s, audit_local_open(&f->s, f->file, &j));
	append(f, j, 0, 3);
	off_t after_first = file_size(f->file);
	append(f, j, 3, 5);
	audit_local_close(j);
	off_t end = file_size(f->file);
	for (off_t cut = after_first + 1; cut < end; cut += 7) {
		assert_int_equal(truncate(f->file, cut), 0);
		assert_ok(&f->s, audit_local_open(&f->s, f->file, &j));
		assert_int_equal(count_records(f, j), 3);
		assert_int_equal(file_size(f->file), after_first);
		append(f, j, 3, 5);
		audit_local_close(j);
	}
	for (off_t at = AUDIT_FILE_HEAD; at < after_first; at += 5) {
		flip(f->file, at);
		assert_fails(&f->s, E_STATE, audit_local_open(&f->s, f->file, &j));
		flip(f->file, at);
	}
	assert_ok(&f->s, audit_local_open(&f->s, f->file, &j));
	assert_int_equal(count_records(f, j), 8);
	audit_local_close(j);
	flip(f->file, 3);
	assert_fails(&f->s, E_INPUT, audit_local_open(&f->s, f->file, &j));
}

static void two_processes_may_share_a_journal(void **state)
{
	struct folder *f = *state;
	struct audit_local *a, *b;
	assert_ok(&f->s, audit_local_open(&f->s, f->file, &a));
	assert_ok(&f->s, audit_local_open(&f->s, f->file, &b));
	for (uint64_t i = 0; i < 20; i += 4) {
		append(f, a, i, 1);
		append(f, b, i + 1, 3);
	}
	assert_int_equal(count_records(f, a), 20);
	assert_int_equal(count_records(f, b), 20);
	audit_local_close(a);
	audit_local_close(b);
}

struct writer {
	struct audit *audit;
	uint64_t seen[50];
	int failed;
};

static void *writer_main(void *argument)
{
	struct writer *w = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t i = 0; i < 50; i++) {
		AUTO_EVENT e;
		revoked(&e, &s, SPAN_LITERAL("somebody"));
		if (audit_finish(&s, &e).code != E_OK || audit_commit(&s, w->audit, &e, &w->seen[i]).code != E_OK)
			w->failed++;
	}
	return NULL;
}

static void threads_commit_together_to_a_journal_each_with_its_own_index(void **state)
{
	struct folder *f = *state;
	struct writer writer[8];
	pthread_t thread[8];
	bool taken[8 * 50] = { false };
	struct audit_settings settings = { .journal = f->file, .component = "ca/root" };
	struct audit *a;
	assert_ok(&f->s, audit_open(&f->s, &settings, &a));
	for (size_t i = 0; i < 8; i++) {
		writer[i] = (struct writer){ .audit = a };
		assert_int_equal(pthread_create(&thread[i], NULL, writer_main, &writer[i]), 0);
	}
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(writer[i].failed, 0);
		for (size_t k = 0; k < 50; k++) {
			assert_true(writer[i].seen[k] < 400);
			assert_false(taken[writer[i].seen[k]]);
			taken[writer[i].seen[k]] = true;
		}
	}
	struct audit_leaf *leaf;
	size_t count;
	uint64_t size;
	assert_ok(&f->s, audit_read(&f->s, a, 390, 100, &leaf, &count, &size));
	assert_int_equal(count, 10);
	assert_int_equal(size, 400);
	struct audit_envelope e;
	assert_ok(&f->s, audit_envelope_read(&f->s, leaf[9].bytes, &e));
	assert_int_equal(e.seq, 399);
	assert_true(span_is(e.record.component, "ca/root"));
	audit_close(a);
}

static void *group_main(void *argument)
{
	struct writer *w = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t i = 0; i < 10; i++) {
		struct audit_event e[5];
		const struct audit_event *group[5];
		for (size_t k = 0; k < 5; k++) {
			revoked(&e[k], &s, SPAN_LITERAL("somebody"));
			w->failed += audit_finish(&s, &e[k]).code != E_OK;
			group[k] = &e[k];
		}
		w->failed += audit_commit_all(&s, w->audit, group, 5).code != E_OK;
		for (size_t k = 0; k < 5; k++)
			audit_event_free(&e[k]);
	}
	return NULL;
}

/* More records at once than one frame takes, so that groups are cut by its end. */
static void groups_of_many_threads_are_all_on_record(void **state)
{
	struct folder *f = *state;
	enum { THREADS = 60 };
	struct writer writer[THREADS];
	pthread_t thread[THREADS];
	struct audit_settings settings = { .journal = f->file, .component = "ca/root" };
	struct audit *a;
	assert_ok(&f->s, audit_open(&f->s, &settings, &a));
	for (size_t i = 0; i < THREADS; i++) {
		writer[i] = (struct writer){ .audit = a };
		assert_int_equal(pthread_create(&thread[i], NULL, group_main, &writer[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(writer[i].failed, 0);
	}
	struct audit_leaf *leaf;
	size_t count;
	uint64_t size;
	assert_ok(&f->s, audit_read(&f->s, a, 0, 1, &leaf, &count, &size));
	assert_int_equal(size, THREADS * 50);
	assert_ok(&f->s, audit_commit_all(&f->s, a, NULL, 0));
	audit_close(a);
}

static void without_auditd_an_event_is_refused_at_once(void **state)
{
	struct folder *f = *state;
	struct audit_settings settings = { .socket = f->file, .component = "ca" };
	struct audit *a;
	uint64_t index;
	AUTO_EVENT e;
	assert_ok(&f->s, audit_open(&f->s, &settings, &a));
	revoked(&e, &f->s, SPAN_LITERAL("x"));
	assert_ok(&f->s, audit_finish(&f->s, &e));
	int64_t begun = moment_monotonic();
	assert_fails(&f->s, E_UNAVAILABLE, audit_commit(&f->s, a, &e, &index));
	assert_true(moment_monotonic() - begun < MOMENT_SECOND);
	audit_close(a);
	settings.journal = f->file;
	assert_fails(&f->s, E_CONFIG, audit_open(&f->s, &settings, &a));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_read_back_as_it_was_written),
		cmocka_unit_test(a_special_octet_is_seen_at_every_place_of_a_string),
		cmocka_unit_test(what_is_not_utf8_is_replaced_and_never_lost),
		cmocka_unit_test(a_value_of_another_form_than_the_catalogue_has_is_refused),
		cmocka_unit_test(malformed_records_are_refused),
		cmocka_unit_test(every_event_of_the_catalogue_can_be_written_and_read),
		cmocka_unit_test(no_field_has_the_name_of_one_that_every_record_has),
		cmocka_unit_test(what_is_not_in_the_catalogue_cannot_be_written),
		cmocka_unit_test(severities_are_those_of_the_standard),
		cmocka_unit_test(an_oversize_record_is_refused),
		TEST(a_journal_that_does_not_begin_with_record_0_is_refused),
		TEST(a_torn_last_group_is_dropped_whole_and_a_damaged_earlier_one_is_not),
		TEST(two_processes_may_share_a_journal),
		TEST(threads_commit_together_to_a_journal_each_with_its_own_index),
		TEST(groups_of_many_threads_are_all_on_record),
		TEST(without_auditd_an_event_is_refused_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
