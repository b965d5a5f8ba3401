/* Counted events, written to a journal and read back. */
#include "audit_tally.h"
#include "audit_record.h"
#include "moment.h"
#include "unit.h"
#include <stdlib.h>
#include <unistd.h>

struct folder {
	struct scope s;
	char path[40];
	char *file;
	struct audit *audit;
};

static int set_up(void **state)
{
	struct folder *f = heap_alloc(sizeof *f);
	scope_init(&f->s, NULL);
	strcpy(f->path, "/tmp/chancery-tally-XXXXXX");
	if (mkdtemp(f->path) == NULL)
		return -1;
	f->file = scope_printf(&f->s, "%s/journal", f->path);
	const struct audit_settings settings = { .journal = f->file, .component = "test" };
	*state = f;
	return audit_open(&f->s, &settings, &f->audit).code == E_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	struct folder *f = *state;
	audit_close(f->audit);
	(void)unlink(f->file);
	(void)rmdir(f->path);
	scope_done(&f->s);
	free(f);
	return 0;
}

static void refuse(struct audit_tally *t, const char *failure, const char *reason)
{
	const struct audit_tally_field field[] = { { "failure", span_str(failure) }, { "reason", span_str(reason) } };
	audit_tally_add(t, AUDIT_TIME_STAMP_REFUSED, field, 2);
}

static size_t read_all(struct folder *f, struct audit_envelope out[AUDIT_BATCH_MAX])
{
	struct audit_leaf *leaf;
	size_t count;
	uint64_t size;
	assert_ok(&f->s, audit_read(&f->s, f->audit, 0, AUDIT_BATCH_MAX, &leaf, &count, &size));
	assert_int_equal(count, size);
	for (size_t i = 0; i < count; i++)
		assert_ok(&f->s, audit_envelope_read(&f->s, leaf[i].bytes, &out[i]));
	return count;
}

static int64_t number(struct folder *f, const struct audit_envelope *e, const char *name)
{
	int64_t value;
	assert_ok(&f->s, audit_field_number(&f->s, &e->record, name, &value));
	return value;
}

static const char *words(struct folder *f, const struct audit_envelope *e, const char *name)
{
	span value;
	assert_ok(&f->s, audit_field_text(&f->s, &e->record, name, &value));
	return scope_cstr(&f->s, value);
}

static void equal_events_of_a_window_are_one_record_with_their_number(void **state)
{
	struct folder *f = *state;
	struct audit_envelope e[AUDIT_BATCH_MAX];
	struct audit_tally *t = audit_tally_new(f->audit, MOMENT_HOUR);
	for (int i = 0; i < 1000; i++)
		refuse(t, i % 10 == 0 ? "badAlg" : "badRequest", "why");
	assert_int_equal(read_all(f, e), 0);
	audit_tally_free(t);
	assert_int_equal(read_all(f, e), 2);
	assert_string_equal(words(f, &e[0], "failure"), "badAlg");
	assert_int_equal(number(f, &e[0], "count"), 100);
	assert_int_equal(number(f, &e[1], "count"), 900);
}

static void a_window_that_is_over_is_written_while_the_next_one_counts(void **state)
{
	struct folder *f = *state;
	struct audit_envelope e[AUDIT_BATCH_MAX];
	struct audit_tally *t = audit_tally_new(f->audit, 20000);
	refuse(t, "badAlg", "why");
	for (int i = 0; i < 500 && read_all(f, e) == 0; i++)
		(void)usleep(10000);
	assert_int_equal(read_all(f, e), 1);
	refuse(t, "badAlg", "why");
	audit_tally_free(t);
	assert_int_equal(read_all(f, e), 2);
	assert_int_equal(number(f, &e[0], "count") + number(f, &e[1], "count"), 2);
}

/* Whoever makes every refusal different gets a bounded number of records, and none is uncounted. */
static void many_different_events_are_bounded_and_all_counted(void **state)
{
	struct folder *f = *state;
	struct audit_envelope e[AUDIT_BATCH_MAX];
	struct audit_tally *t = audit_tally_new(f->audit, MOMENT_HOUR);
	for (int i = 0; i < 5000; i++)
		refuse(t, "badRequest", scope_printf(&f->s, "%d%0400d", i, 7));
	audit_tally_free(t);
	size_t records = read_all(f, e), others = 0;
	int64_t total = 0;
	assert_true(records > 10 && records <= AUDIT_TALLY_SLOTS);
	for (size_t i = 0; i < records; i++) {
		total += number(f, &e[i], "count");
		others += strcmp(words(f, &e[i], "reason"), "(others)") == 0;
		assert_true(strlen(words(f, &e[i], "reason")) <= AUDIT_TALLY_VALUE_MAX);
	}
	assert_int_equal(total, 5000);
	assert_int_equal(others, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal_events_of_a_window_are_one_record_with_their_number),
		TEST(a_window_that_is_over_is_written_while_the_next_one_counts),
		TEST(many_different_events_are_bounded_and_all_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
