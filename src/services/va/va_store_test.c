#include "unit.h"
#include "va_feed_test.h"
#include "va_store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
	char directory[64];
	struct va_store *store;
};

static int set_up(void **state)
{
	struct fixture *f = heap_alloc(sizeof *f);
	snprintf(f->directory, sizeof f->directory, "/tmp/va_store_test.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_ok(&s, va_store_open(&s, f->directory, &f->store));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	va_store_close(f->store);
	char path[96];
	snprintf(path, sizeof path, "%s/data.mdb", f->directory);
	(void)unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", f->directory);
	(void)unlink(path);
	(void)rmdir(f->directory);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	va_store_close(f->store);
	assert_ok(&s, va_store_open(&s, f->directory, &f->store));
}

static struct va_applied apply(struct fixture *f, const struct buf *bytes)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct va_batch batch;
	assert_ok(&s, va_feed_read(&s, buf_span(bytes), &batch));
	struct va_applied applied = { 0 };
	assert_ok(&s, va_store_apply(&s, f->store, &batch, NULL, NULL, &applied));
	return applied;
}

static enum code refused(struct fixture *f, const struct buf *bytes, va_store_check *check)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct va_batch batch;
	assert_ok(&s, va_feed_read(&s, buf_span(bytes), &batch));
	struct va_applied applied = { 0 };
	return va_store_apply(&s, f->store, &batch, check, NULL, &applied).code;
}

/* -1: never issued; 0 good; 1 revoked. */
static int status_of(struct fixture *f, uint16_t ca, uint64_t serial)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t bytes[9];
	bool found;
	struct va_status_item status;
	assert_ok(&s, va_store_status(&s, f->store, ca, serial_of(serial, bytes), &found, &status));
	return found ? status.revoked : -1;
}

static uint64_t number_of(struct fixture *f)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint64_t number;
	assert_ok(&s, va_store_number(&s, f->store, &number));
	return number;
}

static void a_continuation_is_taken_only_from_the_next_number(void **state)
{
	struct fixture *f = *state;
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 2);
	batch_status(&w, 1, 10, 0, 0);
	batch_status(&w, 1, 11, 0, 0);
	assert_int_equal(apply(f, &bytes).number, 2);
	assert_false(apply(f, &bytes).changed);
	w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 4, 1);
	batch_status(&w, 1, 10, 5, 1);
	struct va_applied applied = apply(f, &bytes);
	assert_false(applied.changed);
	assert_int_equal(applied.number, 2);
	assert_int_equal(status_of(f, 1, 10), 0);
	w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 3, 1);
	batch_status(&w, 1, 10, 5, 1);
	assert_int_equal(apply(f, &bytes).number, 3);
	assert_int_equal(status_of(f, 1, 10), 1);
	assert_int_equal(status_of(f, 1, 11), 0);
	assert_int_equal(status_of(f, 2, 10), -1);
	reopen(f);
	assert_int_equal(number_of(f), 3);
	assert_int_equal(status_of(f, 1, 10), 1);
}

static void the_old_content_answers_until_a_snapshot_is_complete(void **state)
{
	struct fixture *f = *state;
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 1);
	batch_status(&w, 1, 10, 0, 0);
	(void)apply(f, &bytes);
	w = batch_begin(&bytes, VA_BATCH_SNAPSHOT_START, 50, 1);
	batch_status(&w, 1, 20, 0, 0);
	assert_int_equal(apply(f, &bytes).number, 1);
	w = batch_begin(&bytes, VA_BATCH_SNAPSHOT_PART, 50, 1);
	batch_status(&w, 1, 21, 5, 1);
	assert_int_equal(apply(f, &bytes).number, 1);
	assert_int_equal(status_of(f, 1, 10), 0);
	assert_int_equal(status_of(f, 1, 20), -1);
	reopen(f);
	(void)batch_begin(&bytes, VA_BATCH_SNAPSHOT_END, 50, 0);
	struct va_applied applied = apply(f, &bytes);
	assert_true(applied.switched);
	assert_int_equal(applied.number, 50);
	assert_int_equal(status_of(f, 1, 10), -1);
	assert_int_equal(status_of(f, 1, 20), 0);
	assert_int_equal(status_of(f, 1, 21), 1);
	assert_int_equal(number_of(f), 50);
}

static void a_new_snapshot_forgets_an_unfinished_one(void **state)
{
	struct fixture *f = *state;
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_SNAPSHOT_START, 50, 1);
	batch_status(&w, 1, 20, 0, 0);
	(void)apply(f, &bytes);
	w = batch_begin(&bytes, VA_BATCH_SNAPSHOT_START, 40, 1);
	batch_status(&w, 1, 21, 0, 0);
	(void)apply(f, &bytes);
	(void)batch_begin(&bytes, VA_BATCH_SNAPSHOT_END, 50, 0);
	assert_int_equal(refused(f, &bytes, NULL), E_CONFLICT);
	(void)batch_begin(&bytes, VA_BATCH_SNAPSHOT_END, 40, 0);
	assert_int_equal(apply(f, &bytes).number, 40);
	assert_int_equal(status_of(f, 1, 20), -1);
	assert_int_equal(status_of(f, 1, 21), 0);
	assert_int_equal(refused(f, &bytes, NULL), E_CONFLICT);
}

static st refuse_everything(struct scope *s, void *arg, const struct va_item *item, const struct va_ca_item *ca)
{
	(void)arg;
	(void)item;
	return fail(s, E_CRYPTO, "the CRL of %.*s does not fit", (int)ca->name.len, (const char *)ca->name.data);
}

static void a_refused_crl_undoes_its_whole_batch(void **state)
{
	struct fixture *f = *state;
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 3);
	batch_ca(&w, 1, "issuing");
	batch_status(&w, 1, 10, 0, 0);
	batch_crl(&w, 1, 4);
	assert_int_equal(refused(f, &bytes, refuse_everything), E_CRYPTO);
	assert_int_equal(number_of(f), 0);
	assert_int_equal(status_of(f, 1, 10), -1);
	w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 1);
	batch_signer(&w, 1, "ocsp");
	assert_int_equal(refused(f, &bytes, NULL), E_CONFLICT);
}

static st count_crls(struct scope *s, void *arg, const struct va_item *item, const struct va_ca_item *ca)
{
	(void)s;
	(void)ca;
	if (item->type == VA_ITEM_CRL) {
		assert_int_equal(item->crl.number, 9);
		(*(int *)arg)++;
	}
	return OK;
}

static void of_several_crls_of_one_ca_only_the_last_is_looked_at(void **state)
{
	struct fixture *f = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 4);
	batch_ca(&w, 1, "issuing");
	batch_crl(&w, 1, 7);
	batch_crl(&w, 1, 8);
	batch_crl(&w, 1, 9);
	struct va_batch batch;
	assert_ok(&s, va_feed_read(&s, buf_span(&bytes), &batch));
	struct va_applied applied;
	int looked_at = 0;
	assert_ok(&s, va_store_apply(&s, f->store, &batch, count_crls, &looked_at, &applied));
	assert_int_equal(looked_at, 1);
	assert_int_equal(applied.number, 4);
}

static st count_cas(struct scope *s, const struct va_item *item, void *arg)
{
	(void)s;
	size_t *count = arg;
	assert_int_equal(item->ca, *count + 1);
	assert_true(span_is(item->ca_item.name, *count == 0 ? "issuing" : "other"));
	(*count)++;
	return OK;
}

static void the_last_item_of_each_ca_is_listed(void **state)
{
	struct fixture *f = *state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 4);
	batch_ca(&w, 2, "other");
	batch_ca(&w, 1, "first");
	batch_ca(&w, 1, "issuing");
	batch_status(&w, 1, 1, 0, 0);
	(void)apply(f, &bytes);
	size_t count = 0;
	assert_ok(&s, va_store_each(&s, f->store, VA_ITEM_CA, count_cas, &count));
	assert_int_equal(count, 2);
}

static void the_map_grows_when_a_batch_does_not_fit(void **state)
{
	struct fixture *f = *state;
	AUTO_BUF bytes = { 0 };
	enum { PER_BATCH = 10000, BATCHES = 50 };
	for (uint64_t batch = 0; batch < BATCHES; batch++) {
		struct wr w = batch_begin(&bytes, batch == 0 ? VA_BATCH_SNAPSHOT_START : VA_BATCH_SNAPSHOT_PART, 7, PER_BATCH);
		for (uint64_t i = 0; i < PER_BATCH; i++)
			batch_status(&w, 1, batch * PER_BATCH + i + 1, 0, 0);
		(void)apply(f, &bytes);
	}
	(void)batch_begin(&bytes, VA_BATCH_SNAPSHOT_END, 7, 0);
	assert_int_equal(apply(f, &bytes).number, 7);
	char path[96];
	snprintf(path, sizeof path, "%s/data.mdb", f->directory);
	struct stat file;
	assert_int_equal(stat(path, &file), 0);
	assert_true(file.st_size > 16 << 20);
	assert_int_equal(status_of(f, 1, 1), 0);
	assert_int_equal(status_of(f, 1, PER_BATCH * BATCHES), 0);
	assert_int_equal(status_of(f, 1, PER_BATCH * BATCHES + 1), -1);
}

/* LMDB's own calls come here. It writes its root, and nothing else, by a descriptor that is opened for synchronous writes. */
static bool roots_fail;
ssize_t pwrite_by_lmdb(int fd, const void *data, size_t len, off_t at) __asm__("pwrite");
ssize_t pwrite_by_lmdb(int fd, const void *data, size_t len, off_t at)
{
	if (roots_fail && (fcntl(fd, F_GETFL) & O_DSYNC) != 0) {
		errno = EIO;
		return -1;
	}
	return (ssize_t)syscall(SYS_pwrite64, fd, data, len, at);
}

/* In a child, which is to end by itself: 100 says that the write did not fail, 101 that the store goes on without its root. */
_Noreturn static void lose_a_root_and_look(struct fixture *f)
{
	AUTO_BUF bytes = { 0 };
	reopen(f);
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 2, 1);
	batch_status(&w, 1, 10, 5, 1);
	roots_fail = true;
	if (refused(f, &bytes, NULL) != E_IO)
		_exit(100);
	roots_fail = false;
	(void)status_of(f, 1, 10);
	_exit(101);
}

static void a_root_that_cannot_be_written_ends_the_process_and_costs_nothing_that_was_answered(void **state)
{
	struct fixture *f = *state;
	AUTO_BUF bytes = { 0 };
	struct wr w = batch_begin(&bytes, VA_BATCH_CONTINUATION, 1, 1);
	batch_status(&w, 1, 10, 0, 0);
	(void)apply(f, &bytes);
	pid_t child = fork();
	if (child == 0)
		lose_a_root_and_look(f);
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), code_row(E_BUG)->exit_code);
	reopen(f);
	assert_int_equal(number_of(f), 1);
	assert_int_equal(status_of(f, 1, 10), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_continuation_is_taken_only_from_the_next_number, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_old_content_answers_until_a_snapshot_is_complete, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_new_snapshot_forgets_an_unfinished_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_refused_crl_undoes_its_whole_batch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_several_crls_of_one_ca_only_the_last_is_looked_at, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_last_item_of_each_ca_is_listed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_map_grows_when_a_batch_does_not_fit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_root_that_cannot_be_written_ends_the_process_and_costs_nothing_that_was_answered, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
