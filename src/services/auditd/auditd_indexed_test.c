#include "auditd.h"
#include "auditd_unit.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

/* Every leaf whose number is 3 more than a multiple of 100 is of class control. */
static void append_mixed(struct made *m, uint64_t from, uint64_t to)
{
	for (uint64_t n = from; n < to;) {
		uint64_t next = n % 100 <= 3 ? n - n % 100 + 3 : n - n % 100 + 103;
		if (next > to)
			next = to;
		if (next > n)
			append(m, n, (size_t)(next - n), n);
		if (next < to)
			append_of_class(m, next, 1, next, AUDIT_CONTROL);
		n = next + 1;
	}
}

static void assert_indexed(struct made *m, uint64_t size)
{
	uint64_t *leaf, total;
	size_t count, expected = (size_t)(size / 100 + (size % 100 > 3 ? 1 : 0));
	indexed_read(&m->s, m->indexed, 0, SIZE_MAX, &leaf, &count, &total);
	assert_int_equal(total, expected);
	assert_int_equal(count, expected);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(leaf[i], 100 * i + 3);
}

static char *index_path(struct made *m)
{
	return scope_printf(&m->s, "%s/control-index", m->dir);
}

static span read_index(struct made *m)
{
	span bytes;
	assert_ok(&m->s, file_read(&m->s, index_path(m), 1u << 20, &bytes));
	return bytes;
}

static void start_again(struct made *m, uint64_t base)
{
	close_made(m);
	open_made(m, base);
}

static void records_of_class_control_are_known_after_every_restart(void **state)
{
	struct made *m = *state;
	append_mixed(m, 0, 250);
	assert_indexed(m, 250);
	start_again(m, 0); /* all in the tail */
	assert_indexed(m, 250);
	integrate(m);
	append_of_class(m, 103, 1, 103, AUDIT_CONTROL); /* offered again, it is the same leaf */
	append_mixed(m, 250, 1004);
	assert_indexed(m, 1004);
	start_again(m, 250); /* some in bundles, some in the tail */
	assert_indexed(m, 1004);
	integrate(m);
	start_again(m, 1004);
	assert_indexed(m, 1004);
	assert_int_equal(unlink(index_path(m)), 0);
	start_again(m, 1004);
	assert_indexed(m, 1004);
}

static void a_part_is_read_by_number(void **state)
{
	struct made *m = *state;
	uint64_t *leaf, total;
	size_t count;
	append_mixed(m, 0, 1000);
	indexed_read(&m->s, m->indexed, 7, 2, &leaf, &count, &total);
	assert_int_equal(total, 10);
	assert_int_equal(count, 2);
	assert_int_equal(leaf[0], 703);
	indexed_read(&m->s, m->indexed, 10, 5, &leaf, &count, &total);
	assert_int_equal(count, 0);
	indexed_read(&m->s, m->indexed, UINT64_MAX, 5, &leaf, &count, &total);
	assert_int_equal(count, 0);
}

/* What a crash, a full disk or a hand can do to it. */
static void a_file_that_is_cut_or_changed_costs_time_only(void **state)
{
	struct made *m = *state;
	append_mixed(m, 0, 600);
	integrate(m);
	span good = read_index(m);
	assert_true(good.len == 10 + 6 * 25);
	for (size_t i = 0; i < good.len; i++) {
		uint8_t *changed = scope_alloc(&m->s, good.len);
		close_made(m);
		assert_ok(&m->s, file_replace(&m->s, index_path(m), span_first(good, i), 0640));
		open_made(m, 600);
		assert_indexed(m, 600);
		memcpy(changed, good.data, good.len);
		changed[i] ^= 0x41;
		close_made(m);
		assert_ok(&m->s, file_replace(&m->s, index_path(m), span_of(changed, good.len), 0640));
		open_made(m, 600);
		assert_indexed(m, 600);
		assert_true(span_equal(read_index(m), good)); /* mended, so that the next start is fast again */
	}
}

/* A log put back from a copy that then went another way: as long, whole, with a file whose rows all fit each other. */
static void the_file_of_another_log_is_dropped(void **state)
{
	struct made *m = *state;
	void *other_state;
	uint64_t *leaf, total;
	size_t count;
	assert_int_equal(set_up(&other_state), 0);
	struct made *other = other_state;
	append_mixed(other, 0, 600);
	integrate(other);
	append(m, 10000, 599, 0);
	append_of_class(m, 20000, 1, 599, AUDIT_CONTROL);
	integrate(m);
	close_made(m);
	assert_ok(&m->s, file_replace(&m->s, index_path(m), read_index(other), 0640));
	assert_int_equal(tear_down(&other_state), 0);
	open_made(m, 600);
	indexed_read(&m->s, m->indexed, 0, 10, &leaf, &count, &total);
	assert_int_equal(count, 1);
	assert_int_equal(leaf[0], 599);
}

/* 20,000 leaves: those below the mark are not read again, so that a start does not take longer as the log grows. */
static void with_the_file_a_start_reads_the_end_of_the_log_only(void **state)
{
	struct made *m = *state;
	append_mixed(m, 0, 203);
	for (uint64_t n = 203; n < 20003; n += 400)
		append(m, n, n + 400 > 20003 ? (size_t)(20003 - n) : 400, n);
	integrate(m);
	close_made(m);
	for (uint64_t n = 0; n < 78; n++)
		assert_int_equal(unlink(audit_tile_path(&m->s, m->dir, AUDIT_ENTRIES, n, AUDIT_TILE_WIDTH)), 0);
	open_made(m, 20003);
	assert_indexed(m, 203);
}

/* ---- over the socket ---- */

struct served {
	struct auditd auditd;
	struct auditd_conf conf;
	struct audit *client;
};

static void serve(struct made *m, struct served *d)
{
	d->conf = (struct auditd_conf){ .log = m->dir,
					.socket = scope_printf(&m->s, "%s/socket", m->dir),
					.origin = "log.test/a",
					.keyd = "/nonexistent",
					.checkpoint_max_age = INT64_MAX,
					.max_connections = 4 };
	d->auditd = (struct auditd){ .conf = &d->conf, .log = m->log, .tail = m->tail, .indexed = m->indexed };
	assert_ok(&m->s, writers_new(&m->s, &d->conf.writer, &d->auditd.writers));
	assert_ok(&m->s, signer_new(&m->s, &d->conf, m->log, &d->auditd.signer));
	assert_ok(&m->s, socket_serve(&m->s, &d->auditd));
	const struct audit_settings settings = { .socket = d->conf.socket, .component = "unit" };
	assert_ok(&m->s, audit_open(&m->s, &settings, &d->client));
}

static void serve_no_more(struct served *d)
{
	audit_close(d->client);
	wire_server_stop(d->auditd.server, 1000);
	signer_free(d->auditd.signer);
	writers_free(d->auditd.writers);
}

static void who_asks_gets_them_in_order_from_bundles_and_tail(void **state)
{
	struct made *m = *state;
	struct served d;
	append_mixed(m, 0, 1000);
	integrate(m);
	append_mixed(m, 1000, 1300);
	serve(m, &d);
	uint64_t next = 0, total;
	do {
		struct audit_leaf *leaf;
		size_t count;
		assert_ok(&m->s, audit_control_read(&m->s, d.client, next, 5, &leaf, &count, &total));
		assert_int_equal(total, 13);
		assert_int_equal(count, next == 10 ? 3 : 5);
		for (size_t i = 0; i < count; i++, next++) {
			struct audit_envelope envelope;
			assert_int_equal(leaf[i].index, 100 * next + 3);
			assert_ok(&m->s, audit_envelope_read(&m->s, leaf[i].bytes, &envelope));
			assert_int_equal(envelope.seq, leaf[i].index);
			assert_int_equal(envelope.record.code, AUDIT_OPERATION_REFUSED);
		}
	} while (next < total);
	serve_no_more(&d);
}

//= rfc6962#2.1.2 what was seen of the log must be in the log that there is
static void a_log_that_was_cut_or_forked_is_not_consistent(void **state)
{
	struct made *m = *state;
	struct served d;
	uint64_t size, newer;
	uint8_t root[32], newer_root[32], none[32] = { 0 };
	append(m, 0, 300, 0);
	integrate(m);
	serve(m, &d);
	assert_ok(&m->s, audit_consistent(&m->s, d.client, 0, none, &size, root));
	assert_int_equal(size, 0); /* there is no checkpoint yet */
	serve_no_more(&d);
	(void)sign_checkpoint(m);
	serve(m, &d);
	assert_ok(&m->s, audit_consistent(&m->s, d.client, 0, none, &size, root));
	assert_int_equal(size, 300);
	assert_ok(&m->s, audit_consistent(&m->s, d.client, size, root, &newer, newer_root));
	assert_memory_equal(root, newer_root, 32);
	serve_no_more(&d);
	append(m, 300, 277, 300);
	integrate(m);
	(void)sign_checkpoint(m);
	serve(m, &d);
	assert_ok(&m->s, audit_consistent(&m->s, d.client, size, root, &newer, newer_root));
	assert_int_equal(newer, 577);
	assert_memory_not_equal(root, newer_root, 32);
	assert_fails(&m->s, E_CRYPTO, audit_consistent(&m->s, d.client, 578, newer_root, &newer, none)); /* cut */
	root[5] ^= 1;
	assert_fails(&m->s, E_CRYPTO, audit_consistent(&m->s, d.client, size, root, &newer, none)); /* forked */
	assert_fails(&m->s, E_CRYPTO, audit_consistent(&m->s, d.client, 577, root, &newer, none));
	serve_no_more(&d);
}

static void a_journal_gives_those_of_its_records(void **state)
{
	struct made *m = *state;
	struct audit *a;
	struct audit_leaf *leaf;
	size_t count;
	uint64_t index, total, size;
	uint8_t root[32] = { 0 };
	const struct audit_settings settings = { .journal = scope_printf(&m->s, "%s/journal", m->dir), .component = "unit" };
	assert_ok(&m->s, audit_open(&m->s, &settings, &a));
	for (int i = 0; i < 9; i++) {
		AUTO_EVENT e;
		audit_begin(&e, &m->s, i % 2 == 0 ? AUDIT_LOG_STOPPED : AUDIT_OPERATION_REFUSED);
		if (i % 2 == 0)
			audit_number(&e, "size", i);
		else
			audit_str(&e, "instance", "register");
		if (i % 2 != 0)
			audit_str(&e, "reason", "unit");
		assert_ok(&m->s, audit_finish(&m->s, &e));
		assert_ok(&m->s, audit_commit(&m->s, a, &e, &index));
	}
	assert_ok(&m->s, audit_control_read(&m->s, a, 1, 2, &leaf, &count, &total));
	assert_int_equal(total, 4);
	assert_int_equal(count, 2);
	assert_int_equal(leaf[0].index, 3);
	assert_int_equal(leaf[1].index, 5);
	assert_ok(&m->s, audit_consistent(&m->s, a, 0, root, &size, root));
	assert_int_equal(size, 0);
	assert_fails(&m->s, E_STATE, audit_consistent(&m->s, a, 1, root, &size, root));
	audit_close(a);
}

/* The descriptor of the index. */
static int descriptor_of_index(void)
{
	for (int fd = 3; fd < 256; fd++) {
		char link[64], path[PATH_MAX + 1] = { 0 };
		(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		if (readlink(link, path, PATH_MAX) > 0 && strstr(path, "/control-index") != NULL)
			return fd;
	}
	return -1;
}

/* Its number goes to the next file that is opened: a tail of the log, for one. */
static void where_the_index_could_not_be_written_no_other_file_is(void **state)
{
	struct made *m = *state;
	span other;
	const char *path = scope_printf(&m->s, "%s/other", m->dir);
	append_mixed(m, 0, 250);
	integrate(m);
	int index = descriptor_of_index(), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(index >= 0 && full >= 0 && dup2(full, index) == index);
	(void)close(full);
	append_mixed(m, 250, 700);
	integrate(m);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && (fd == index || dup2(fd, index) == index));
	append_mixed(m, 700, 1004);
	integrate(m);
	assert_ok(&m->s, file_read(&m->s, path, 4096, &other));
	assert_int_equal(other.len, 0);
	(void)close(index);
	if (fd != index)
		(void)close(fd);
	assert_indexed(m, 1004);
	start_again(m, 1004);
	assert_indexed(m, 1004);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(records_of_class_control_are_known_after_every_restart),
		TEST(a_part_is_read_by_number),
		TEST(a_file_that_is_cut_or_changed_costs_time_only),
		TEST(the_file_of_another_log_is_dropped),
		TEST(with_the_file_a_start_reads_the_end_of_the_log_only),
		TEST(who_asks_gets_them_in_order_from_bundles_and_tail),
		TEST(a_log_that_was_cut_or_forked_is_not_consistent),
		TEST(a_journal_gives_those_of_its_records),
		TEST(where_the_index_could_not_be_written_no_other_file_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
