#include "buf.h"
#include "digest.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "secret.h"
#include "text.h"
#include "unit.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void a_scope_keeps_the_first_failure(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st first = fail(&s, E_INPUT, "first %d", 1);
	st second = fail(&s, E_BUG, "second");
	assert_int_equal(first.code, E_INPUT);
	assert_int_equal(second.code, E_BUG);
	assert_string_equal(s.message, "first 1");
	st wrapped = fail_context(&s, first, "outer");
	assert_int_equal(wrapped.code, E_INPUT);
	assert_string_equal(s.message, "outer: first 1");
	scope_reset(&s);
	assert_int_equal(s.code, E_OK);
	assert_int_equal(fail_told(&s, E_BUSY, SPAN_LITERAL("their words")).code, E_BUSY);
	assert_string_equal(s.message, "their words");
	for (size_t len = 0; len < 2; len++) {
		scope_reset(&s);
		assert_int_equal(fail_told(&s, E_BUSY, span_of("\0", len)).code, E_BUSY);
		assert_string_equal(s.message, code_row(E_BUSY)->meaning);
	}
}

static void a_scope_hands_out_zeroed_aligned_memory(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t len = 0; len < 20000; len += 997) {
		uint8_t *bytes = scope_alloc(&s, len);
		assert_int_equal((uintptr_t)bytes % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(bytes[i], 0);
		memset(bytes, 0xa5, len);
	}
}

static void base64_and_hex_are_strict(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span out;
	static const char *const good[][2] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }
	};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_string_equal(base64_text(&s, span_str(good[i][0])), good[i][1]);
		assert_int_equal(base64_parse(&s, span_str(good[i][1]), &out).code, E_OK);
		assert_true(span_is(out, good[i][0]));
	}
	static const char *const bad[] = { "Zg=", "Zh==", "Z===", "Zm9v=", "Zm 9", "====", "Zg==Zg==", "Zm9=" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(base64_parse(&s, span_str(bad[i]), &out).code, E_INPUT);
	assert_int_equal(hex_parse(&s, span_str("00fFa5"), &out).code, E_OK);
	assert_string_equal(hex_text(&s, out), "00ffa5");
	assert_int_equal(hex_parse(&s, span_str("0"), &out).code, E_INPUT);
	assert_int_equal(hex_parse(&s, span_str("0g"), &out).code, E_INPUT);
}

static void decimals_stop_at_their_limit(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint64_t v;
	assert_int_equal(decimal_parse(&s, span_str("18446744073709551615"), UINT64_MAX, &v).code, E_OK);
	assert_true(v == UINT64_MAX);
	static const char *const bad[] = { "", "-1", "18446744073709551616", "1 ", "0x1" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(decimal_parse(&s, span_str(bad[i]), UINT64_MAX, &v).code, E_INPUT);
	assert_int_equal(decimal_parse(&s, span_str("5"), 4, &v).code, E_INPUT);
}

static void moments_are_read_and_written_alike(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const times[] = { "1970-01-01T00:00:00.000000Z", "2000-02-29T23:59:59.999999Z",
					     "1969-12-31T23:59:59.500000Z", "2026-11-22T17:46:00.000001Z",
					     "9999-12-31T23:59:59.000000Z" };
	char text[MOMENT_TEXT_MAX];
	int64_t moment;
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		assert_int_equal(moment_parse(&s, span_str(times[i]), &moment).code, E_OK);
		assert_string_equal(moment_text(moment, text), times[i]);
	}
	static const char *const bad[] = { "2026-02-29T00:00:00Z",
					   "2026-01-01T24:00:00Z",
					   "2026-01-01T00:00:60Z",
					   "2026-01-01T00:00:00",
					   "2026-01-01T00:00:00.Z",
					   "2026-01-01 00:00:00Z",
					   "" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(moment_parse(&s, span_str(bad[i]), &moment).code, E_INPUT);
}

/* Memory that was given back comes again, emptied: whatever was larger or smaller than a block before. */
static void what_a_scope_hands_out_is_zero(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const size_t sizes[] = { 1, 8191, 100, 8192, 8193, 40000, 17, 65536, 200000, 3 };
	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
			uint8_t *bytes = scope_alloc(&s, sizes[i]);
			for (size_t k = 0; k < sizes[i]; k++)
				assert_int_equal(bytes[k], 0);
			memset(bytes, 0xff, sizes[i]);
		}
		scope_reset(&s);
	}
}

static void cursors_notice_short_and_long_input(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF b;
	buf_init(&b, 64);
	struct wr w = wr_into(&b);
	wr_u8(&w, 7);
	wr_i64(&w, -2);
	wr_str(&w, "abc");
	assert_int_equal(wr_end(&s, &w).code, E_OK);
	struct rd r = rd_of(buf_span(&b));
	assert_int_equal(rd_u8(&r), 7);
	assert_true(rd_i64(&r) == -2);
	assert_string_equal(rd_str(&s, &r, 3), "abc");
	assert_int_equal(rd_end(&s, &r, "test").code, E_OK);
	r = rd_of(buf_span(&b));
	(void)rd_u64(&r);
	assert_int_equal(rd_end(&s, &r, "test").code, E_INPUT);
	scope_clear_error(&s);
	r = rd_of(SPAN_LITERAL("\0\0\0\5ab"));
	assert_int_equal(rd_bytes(&r, 100).len, 0);
	assert_int_equal(rd_end(&s, &r, "test").code, E_INPUT);
	scope_clear_error(&s);
	r = rd_of(SPAN_LITERAL("\0\1\2"));
	assert_false(rd_bool(&r));
	assert_true(rd_bool(&r));
	assert_int_equal(rd_end(&s, &r, "test").code, E_INPUT);
	assert_false(rd_bool(&r));
	assert_true(r.bad);
	uint8_t big[65] = { 0 };
	wr_raw(&w, SPAN_ARRAY(big));
	assert_int_equal(wr_end(&s, &w).code, E_LIMIT);
}

static void digests_match_their_published_values(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_string_equal(hex_text(&s, digest_new(&s, DIGEST_SHA256, span_str("abc"))),
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	struct digest d;
	uint8_t out[DIGEST_MAX];
	digest_start(&d, DIGEST_SHA1);
	digest_add(&d, span_str("a"));
	digest_add(&d, span_str("bc"));
	assert_string_equal(hex_text(&s, digest_finish(&d, out)), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static void files_appear_whole(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char directory[] = "/tmp/chancery-base-XXXXXX";
	assert_non_null(mkdtemp(directory));
	char *path = scope_printf(&s, "%s/a", directory);
	span out;
	assert_int_equal(file_read(&s, path, 10, &out).code, E_NOTFOUND);
	assert_int_equal(file_create(&s, path, span_str("one"), 0600).code, E_OK);
	assert_int_equal(file_create(&s, path, span_str("two"), 0600).code, E_CONFLICT);
	assert_int_equal(file_replace(&s, path, span_str("three"), 0600).code, E_OK);
	assert_int_equal(file_read(&s, path, 10, &out).code, E_OK);
	assert_true(span_is(out, "three"));
	assert_int_equal(file_read(&s, path, 4, &out).code, E_LIMIT);
	char *other = scope_printf(&s, "%s/b", directory);
	assert_fails(&s, E_NOTFOUND, file_exchange(&s, path, other));
	assert_ok(&s, file_create(&s, other, span_str("four"), 0600));
	assert_ok(&s, file_exchange(&s, path, other));
	assert_ok(&s, file_read(&s, path, 10, &out));
	assert_true(span_is(out, "four"));
	assert_ok(&s, file_read(&s, other, 10, &out));
	assert_true(span_is(out, "three"));
	assert_int_equal(unlink(other), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(directory), 0);
}

/* In the place of the library's: a disk that gives up in the middle of a directory. */
static int names_until_failure = -1;

struct dirent *readdir(DIR *listing)
{
	static struct dirent *(*real)(DIR *);
	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "readdir64");
	if (names_until_failure == 0) {
		errno = EIO;
		return NULL;
	}
	names_until_failure -= names_until_failure > 0;
	return real(listing);
}

static void a_list_of_a_directory_is_whole_or_none(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char directory[] = "/tmp/chancery-base-XXXXXX";
	assert_non_null(mkdtemp(directory));
	for (int i = 0; i < 200; i++)
		assert_ok(&s, file_create(&s, scope_printf(&s, "%s/%03d", directory, i), span_str(""), 0600));
	char **name;
	size_t count;
	names_until_failure = 100;
	assert_fails(&s, E_IO, file_list(&s, directory, &name, &count));
	names_until_failure = -1;
	assert_ok(&s, file_list(&s, directory, &name, &count));
	assert_int_equal(count, 200);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(strtoul(name[i], NULL, 10), i);
		assert_int_equal(unlink(scope_printf(&s, "%s/%s", directory, name[i])), 0);
	}
	assert_int_equal(rmdir(directory), 0);
	assert_fails(&s, E_NOTFOUND, file_list(&s, directory, &name, &count));
}

static void a_timed_wait_ends_at_its_deadline(void **state)
{
	(void)state;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t never = PTHREAD_COND_INITIALIZER;
	int64_t began = moment_monotonic();
	assert_int_equal(pthread_mutex_lock(&lock), 0);
	assert_false(moment_wait(&never, &lock, began + 20000));
	assert_false(moment_wait(&never, &lock, began));
	assert_int_equal(pthread_mutex_unlock(&lock), 0);
	int64_t took = moment_monotonic() - began;
	assert_true(took >= 20000 && took < 5000000);
}

/* A secret's memory is locked and in no dump, as the kernel says itself. */
static void a_secret_stays_in_locked_memory(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	void *memory = NULL;
	span maps;
	assert_ok(&s, secret_new(&s, 100, &memory));
	assert_ok(&s, file_read(&s, "/proc/self/smaps", 4u << 20, &maps));
	const char *mapping = strstr(scope_cstr(&s, maps), scope_printf(&s, "\n%lx-", (unsigned long)memory));
	assert_non_null(mapping);
	const char *flags = strstr(mapping, "VmFlags:");
	assert_non_null(flags);
	const char *line = scope_cstr(&s, span_of(flags, strcspn(flags, "\n")));
	if (dlsym(RTLD_DEFAULT, "__asan_init") == NULL) /* which makes mlock do nothing */
		assert_non_null(strstr(line, " lo"));
	assert_non_null(strstr(line, " dd"));
	secret_free(memory, 100);
	secret_free(NULL, 100);
}

static st read_secret(struct scope *s, const char *sent, char *out, size_t room, size_t *out_len)
{
	int end[2];
	assert_int_equal(pipe(end), 0);
	assert_int_equal(write(end[1], sent, strlen(sent)), (ssize_t)strlen(sent));
	assert_int_equal(close(end[1]), 0);
	st status = secret_read(s, end[0], out, room, out_len);
	assert_int_equal(close(end[0]), 0);
	return status;
}

static void a_secret_is_the_first_line_of_a_descriptor(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char out[8] = "";
	size_t len = 0;
	static const char *const taken[] = { "1234567", "1234567\n", "1234567\nmore" };
	static const char *const refused[] = { "", "\n", "12345678", "12345678\n" };
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		assert_ok(&s, read_secret(&s, taken[i], out, sizeof out, &len));
		assert_true(span_is(span_of(out, len), "1234567"));
	}
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		assert_fails(&s, E_INPUT, read_secret(&s, refused[i], out, sizeof out, &len));
	int fd;
	assert_fails(&s, E_INPUT, secret_descriptor(&s, "--pin-fd", "x", &fd));
	assert_fails(&s, E_INPUT, secret_descriptor(&s, "--pin-fd", "60000", &fd));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scope_keeps_the_first_failure),
		cmocka_unit_test(a_scope_hands_out_zeroed_aligned_memory),
		cmocka_unit_test(base64_and_hex_are_strict),
		cmocka_unit_test(decimals_stop_at_their_limit),
		cmocka_unit_test(moments_are_read_and_written_alike),
		cmocka_unit_test(what_a_scope_hands_out_is_zero),
		cmocka_unit_test(cursors_notice_short_and_long_input),
		cmocka_unit_test(digests_match_their_published_values),
		cmocka_unit_test(files_appear_whole),
		cmocka_unit_test(a_list_of_a_directory_is_whole_or_none),
		cmocka_unit_test(a_secret_stays_in_locked_memory),
		cmocka_unit_test(a_secret_is_the_first_line_of_a_descriptor),
		cmocka_unit_test(a_timed_wait_ends_at_its_deadline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
