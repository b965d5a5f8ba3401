#include "unit.h"
#include "va_feed_test.h"

static void a_batch_is_read_as_it_was_written(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_SNAPSHOT_PART, 77, 4);
	batch_ca(&w, 3, "issuing-2");
	batch_status(&w, 3, 5, 1700000000000000, 1);
	batch_crl(&w, 3, 9);
	batch_signer(&w, 3, "ocsp-issuing");
	struct va_batch batch;
	assert_ok(&s, va_feed_read(&s, buf_span(&bytes), &batch));
	assert_int_equal(batch.kind, VA_BATCH_SNAPSHOT_PART);
	assert_int_equal(batch.first, 77);
	assert_int_equal(batch.count, 4);
	assert_true(span_is(batch.item[0].ca_item.name, "issuing-2"));
	assert_true(span_is(batch.item[0].ca_item.chain[0], "issuer"));
	assert_int_equal(batch.item[0].ca, 3);
	uint8_t serial[9];
	assert_true(span_equal(batch.item[1].status.serial, serial_of(5, serial)));
	assert_true(batch.item[1].status.revoked);
	assert_int_equal(batch.item[1].status.reason, 1);
	assert_int_equal(batch.item[2].crl.number, 9);
	assert_int_equal(batch.item[2].crl.digest[31], 9);
	assert_true(span_is(batch.item[3].signer.key, "ocsp-issuing"));
}

static void a_batch_cut_anywhere_or_with_more_behind_it_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 4);
	batch_ca(&w, 3, "issuing");
	batch_status(&w, 3, 5, 0, 0);
	batch_crl(&w, 3, 9);
	batch_signer(&w, 3, "ocsp-issuing");
	struct va_batch batch;
	for (size_t len = 0; len < bytes.len; len++)
		assert_fails(&s, E_INPUT, va_feed_read(&s, span_first(buf_span(&bytes), len), &batch));
	assert_ok(&s, va_feed_read(&s, buf_span(&bytes), &batch));
	wr_u8(&w, 0);
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
}

static void refuse_ca_named(const char *name)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 1);
	batch_ca(&w, 3, name);
	struct va_batch batch;
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
}

static void a_name_that_could_leave_its_directory_is_refused(void **state)
{
	(void)state;
	static const char *const names[] = { "", "..", ".", "a/b", "../a", "a.crl", "A", "-a", "a b", "a%2f" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		refuse_ca_named(names[i]);
}

static void a_status_that_contradicts_itself_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF bytes = { 0 };
	struct va_batch batch;
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 1);
	batch_status(&w, 3, 5, 1, 7);
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
	w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 1);
	batch_status(&w, 3, 5, 1, 11);
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
	w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 1);
	batch_status(&w, 3, 5, 0, 0);
	size_t state_at = bytes.len - 26;
	bytes.data[state_at] = 1;
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
	bytes.data[state_at] = 2;
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
	bytes.data[state_at] = 0;
	assert_ok(&s, va_feed_read(&s, buf_span(&bytes), &batch));
	bytes.data[state_at - 9] = 0;
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
}

static void other_versions_kinds_types_and_counts_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF bytes = { 0 };
	struct va_batch batch;
	(void)batch_begin(&bytes, VA_BATCH_KINDS, 1, 0);
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
	(void)batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, VA_FEED_ITEMS_MAX + 1);
	assert_fails(&s, E_LIMIT, va_feed_read(&s, buf_span(&bytes), &batch));
	(void)batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 0);
	assert_ok(&s, va_feed_read(&s, buf_span(&bytes), &batch));
	bytes.data[1] = VA_FEED_VERSION + 1;
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 1);
	struct buf body = { 0 };
	struct wr b = wr_into(&body);
	wr_u16(&b, 1);
	batch_item(&w, VA_ITEM_TYPES, &body);
	assert_fails(&s, E_INPUT, va_feed_read(&s, buf_span(&bytes), &batch));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_is_read_as_it_was_written),
		cmocka_unit_test(a_batch_cut_anywhere_or_with_more_behind_it_is_refused),
		cmocka_unit_test(a_name_that_could_leave_its_directory_is_refused),
		cmocka_unit_test(a_status_that_contradicts_itself_is_refused),
		cmocka_unit_test(other_versions_kinds_types_and_counts_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
