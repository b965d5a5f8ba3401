#include "audit_verify.h"
#include "auditd_unit.h"
#include "moment.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static struct audit_report verify(struct made *m, const char *anchor, const char *since)
{
	struct audit_report report;
	struct audit_anchor kept = { .name = "anchor", .note = span_str(anchor) };
	struct audit_verify request = { .dir = m->dir,
					.key = &m->key,
					.key_count = 1,
					.anchor = &kept,
					.anchor_count = anchor == NULL ? 0 : 1,
					.since = span_str(since) };
	assert_ok(&m->s, audit_verify(&m->s, &request, &report));
	if (report.verdict == AUDIT_UNSOUND)
		print_message("  %lld: %s\n", report.has_index ? (long long)report.index : -1ll, report.problem);
	return report;
}

static void assert_sound(struct made *m, uint64_t size, uint64_t tail)
{
	struct audit_report r = verify(m, NULL, NULL);
	assert_int_equal(r.verdict, AUDIT_NOT_ANCHORED);
	assert_int_equal(r.checkpoint.size, size);
	assert_int_equal(r.tail, tail);
}

static void assert_bad(struct made *m, const char *anchor, const char *since, uint64_t index)
{
	struct audit_report r = verify(m, anchor, since);
	assert_int_equal(r.verdict, AUDIT_UNSOUND);
	assert_true(r.has_index);
	assert_int_equal(r.index, index);
	assert_true(r.problem[0] != 0);
}

/* ---- what is sound ---- */

static void logs_of_many_sizes_verify_and_go_on_after_a_restart(void **state)
{
	struct made *m = *state;
	static const size_t steps[] = { 1, 2, 252, 1, 1, 255, 256, 257, 1000, 0, 64000, 3000 };
	uint64_t size = 0;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		for (size_t left = steps[i]; left > 0;) {
			size_t now = left < 500 ? left : 500;
			append(m, size, now, size);
			size += now;
			left -= now;
		}
		integrate(m);
		(void)sign_checkpoint(m);
		if (i < 9 || i == 11)
			assert_sound(m, size, 0);
		close_made(m);
		open_made(m, size);
		assert_int_equal(tail_size(m->tail), size);
	}
	append(m, size, 7, size);
	assert_sound(m, size, 7);
	/* A tree of 70,000 leaves has a full tile of level 1 and a partial one of level 2 (c2sp tlog-tiles). */
	assert_true(size > 65536);
	assert_true(file_exists(scope_printf(&m->s, "%s/tile/1/000", m->dir)));
	assert_true(file_exists(scope_printf(&m->s, "%s/tile/2/000.p/1", m->dir)));
	assert_string_equal(audit_tile_path(&m->s, "d", 0, 1234067, 256), "d/tile/0/x001/x234/067");
	assert_string_equal(audit_tile_path(&m->s, "d", AUDIT_ENTRIES, 5, 17), "d/tile/entries/005.p/17");
}

static void a_record_offered_again_keeps_its_index(void **state)
{
	struct made *m = *state;
	append(m, 0, 10, 0);
	append(m, 4, 3, 4);
	assert_int_equal(tail_size(m->tail), 10);
	integrate(m);
	append(m, 0, 10, 0);
	append(m, 10, 1, 10);
	close_made(m);
	open_made(m, 10); /* ids of the tail are read back at start */
	append(m, 10, 1, 10);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t id[16];
	number_id(99, id);
	struct tail_record twice[2] = { { .id = id, .json = make_record(&s, id, 99, false) },
					{ .id = id, .json = make_record(&s, id, 99, false) } };
	tail_append(&s, m->tail, "tester", twice, 2);
	assert_int_equal(twice[0].index, 11);
	assert_int_equal(twice[1].index, 11);
	assert_int_equal(tail_size(m->tail), 12);
}

static void the_window_of_ids_forgets_only_what_is_old(void **state)
{
	(void)state;
	struct ids *ids = ids_new();
	uint8_t id[16];
	uint64_t index;
	uint64_t total = 5 * (uint64_t)AUDITD_IDS_WINDOW / 2;
	for (uint64_t n = 0; n < total; n++) {
		number_id(n, id);
		ids_add(ids, id, n);
	}
	for (uint64_t n = total - AUDITD_IDS_WINDOW; n < total; n += 97) {
		number_id(n, id);
		assert_true(ids_find(ids, id, &index));
		assert_int_equal(index, n);
	}
	for (uint64_t n = 0; n < total - 2 * (uint64_t)AUDITD_IDS_WINDOW; n += 97) {
		number_id(n, id);
		assert_false(ids_find(ids, id, &index));
	}
	ids_free(ids);
}

struct appender {
	struct made *m;
	uint64_t from;
	uint64_t index[200];
};

static void *appender_main(void *argument)
{
	struct appender *a = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (uint64_t i = 0; i < 200; i++) {
		uint8_t id[16];
		number_id(a->from + i, id);
		struct tail_record record = { .id = id, .json = make_record(&s, id, a->from + i, false) };
		tail_append(&s, a->m->tail, "tester", &record, 1);
		a->index[i] = record.code == E_OK ? record.index : UINT64_MAX;
		scope_reset(&s);
	}
	return NULL;
}

static void many_threads_append_while_the_integrator_works(void **state)
{
	struct made *m = *state;
	struct appender *a = heap_alloc(16 * sizeof *a);
	pthread_t thread[16];
	static bool taken[16 * 200];
	for (size_t i = 0; i < 16; i++) {
		a[i] = (struct appender){ .m = m, .from = 1000 * i };
		assert_int_equal(pthread_create(&thread[i], NULL, appender_main, &a[i]), 0);
	}
	while (tail_size(m->tail) < 16 * 200)
		integrate(m);
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		for (size_t k = 0; k < 200; k++) {
			assert_true(a[i].index[k] < 16 * 200);
			assert_false(taken[a[i].index[k]]);
			taken[a[i].index[k]] = true;
		}
	}
	free(a);
	integrate(m);
	(void)sign_checkpoint(m);
	assert_sound(m, 16 * 200, 0);
}

static void overwrite(struct made *m, const char *path, size_t at, span bytes)
{
	int fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes.data, bytes.len, (off_t)at), (ssize_t)bytes.len);
	(void)close(fd);
	(void)m;
}

/* ---- disks that refuse ---- */

/* In the place of the library's: a disk that fails to sync, as often as it is told. */
static int failing_syncs;

int fdatasync(int fd)
{
	if (failing_syncs > 0) {
		failing_syncs--;
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static int failing_directories;

int fsync(int fd)
{
	struct stat about;
	if (failing_directories > 0 && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
		failing_directories--;
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

static enum code append_one(struct made *m, uint64_t n, uint64_t *out_index)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t id[16];
	number_id(n, id);
	struct tail_record record = { .id = id, .json = make_record(&s, id, n, false) };
	tail_append(&s, m->tail, "tester", &record, 1);
	*out_index = record.index;
	return record.code;
}

static void after_a_failed_sync_the_tail_is_read_back_and_written_anew(void **state)
{
	struct made *m = *state;
	struct stat before, after;
	uint64_t index;
	append(m, 0, 50, 0);
	char *path = scope_printf(&m->s, "%s/tail/%020d", m->dir, 0);
	assert_int_equal(stat(path, &before), 0);
	failing_syncs = 1;
	assert_int_equal(append_one(m, 50, &index), E_UNAVAILABLE);
	assert_int_equal(tail_size(m->tail), 50);
	assert_int_equal(append_one(m, 51, &index), E_OK);
	assert_int_equal(index, 50);
	assert_int_equal(append_one(m, 50, &index), E_OK); /* offered again with its id */
	assert_int_equal(index, 51);
	assert_int_equal(stat(path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino); /* a new file, not the doubtful one */
	/* What the doubtful file has of an acknowledged record is damaged: nothing more is accepted into this log. */
	failing_syncs = 1;
	assert_int_equal(append_one(m, 52, &index), E_UNAVAILABLE);
	overwrite(m, path, 200, SPAN_LITERAL("?"));
	assert_int_equal(append_one(m, 53, &index), E_UNAVAILABLE);
	assert_int_equal(append_one(m, 53, &index), E_UNAVAILABLE);
	assert_int_equal(tail_size(m->tail), 52);
}

static void a_full_disk_refuses_and_resumes_by_itself(void **state)
{
	struct made *m = *state;
	struct rlimit before, small;
	append(m, 0, 100, 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	small = before;
	small.rlim_cur = 25000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct tail_record *record = scope_alloc(&s, 100 * sizeof *record);
	for (size_t i = 0; i < 100; i++) {
		uint8_t *fresh = scope_alloc(&s, 16);
		number_id(100 + i, fresh);
		record[i] = (struct tail_record){ .id = fresh, .json = make_record(&s, fresh, 100 + i, false) };
	}
	tail_append(&s, m->tail, "tester", record, 100);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(record[i].code, E_UNAVAILABLE);
	assert_int_equal(tail_size(m->tail), 100);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	append(m, 100, 100, 100); /* the same ids: they are not on record yet */
	integrate(m);
	(void)sign_checkpoint(m);
	assert_sound(m, 200, 0);
}

static const char *unremovable;

int unlink(const char *path)
{
	if (unremovable != NULL && strcmp(path, unremovable) == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_unlink, path);
}

static void a_segment_that_cannot_be_removed_is_no_gap_at_the_next_start(void **state)
{
	struct made *m = *state;
	char *first = scope_printf(&m->s, "%s/tail/%020d", m->dir, 0);
	unremovable = first;
	for (uint64_t size = 0; size < 30; size += 10) {
		append(m, size, 10, size);
		integrate(m);
	}
	(void)sign_checkpoint(m);
	unremovable = NULL;
	close_made(m);
	open_made(m, 30);
	assert_int_equal(tail_size(m->tail), 30);
	assert_true(file_exists(first));
	append(m, 30, 10, 30);
	integrate(m);
	assert_false(file_exists(first));
	assert_false(file_exists(scope_printf(&m->s, "%s/tail/%020d", m->dir, 10)));
	(void)sign_checkpoint(m);
	assert_sound(m, 40, 0);
}

static void a_segment_that_was_begun_and_not_finished_is_no_gap_at_the_next_start(void **state)
{
	struct made *m = *state;
	uint64_t size;
	append(m, 0, 10, 0);
	failing_directories = 1;
	assert_fails(&m->s, E_IO, tail_rotate(&m->s, m->tail, &size));
	append(m, 10, 10, 10);
	integrate(m);
	(void)sign_checkpoint(m);
	close_made(m);
	open_made(m, 20);
	assert_int_equal(tail_size(m->tail), 20);
	assert_sound(m, 20, 0);
}

/* As an empty one it would be begun anew, and the numbers of its leaves be given out again. */
static void a_tail_that_cannot_be_listed_is_not_an_empty_one(void **state)
{
	struct made *m = *state;
	char *tail = scope_printf(&m->s, "%s/tail", m->dir), *away = scope_printf(&m->s, "%s/away", m->dir);
	uint64_t first;
	append(m, 0, 3, 0);
	close_made(m);
	assert_int_equal(rename(tail, away), 0);
	assert_ok(&m->s, file_create(&m->s, tail, span_str("no directory"), 0600));
	assert_fails(&m->s, E_IO, tail_first(&m->s, m->dir, &first));
	assert_int_equal(unlink(tail), 0);
	assert_int_equal(rename(away, tail), 0);
	open_made(m, 0);
	assert_int_equal(tail_size(m->tail), 3);
}

/* Behind it are zeroes only; a record ends in a brace. */
static size_t written_of(struct made *m, const char *path)
{
	span bytes;
	assert_ok(&m->s, file_read(&m->s, path, (size_t)1 << 24, &bytes));
	while (bytes.len > 0 && bytes.data[bytes.len - 1] == 0)
		bytes.len--;
	return bytes.len;
}

/* A log whose active segment, from leaf 300 on, has five records and room that was made ready. */
static char *with_room(struct made *m, size_t *out_end)
{
	struct stat about;
	char *path = scope_printf(&m->s, "%s/tail/%020d", m->dir, 300);
	append(m, 0, 300, 0);
	integrate(m);
	(void)sign_checkpoint(m);
	append(m, 300, 5, 300);
	*out_end = written_of(m, path);
	assert_int_equal(stat(path, &about), 0);
	assert_true((size_t)about.st_size > *out_end + 16384);
	return path;
}

static void room_that_is_not_used_yet_is_no_part_of_the_log(void **state)
{
	struct made *m = *state;
	size_t end;
	char *path = with_room(m, &end);
	assert_sound(m, 300, 5);
	close_made(m);
	open_made(m, 300);
	assert_int_equal(tail_size(m->tail), 305);
	append(m, 305, 5, 305);
	assert_sound(m, 300, 10);
	assert_true(written_of(m, path) > end);
	integrate(m);
	(void)sign_checkpoint(m);
	assert_sound(m, 310, 0);
}

/* The octets of the active segment, room included. */
static size_t size_of_segment(struct made *m, unsigned first)
{
	struct stat about;
	assert_int_equal(stat(scope_printf(&m->s, "%s/tail/%020u", m->dir, first), &about), 0);
	return (size_t)about.st_size;
}

static void load_that_ended_finds_room_when_it_comes_back(void **state)
{
	struct made *m = *state;
	size_t end;
	(void)with_room(m, &end);
	size_t before = size_of_segment(m, 300);
	integrate(m);
	append(m, 305, 5, 305);
	size_t then = size_of_segment(m, 305);
	assert_true(then >= before / 2 && then < before);
	for (unsigned first = 305; first < 345; first += 5) {
		integrate(m);
		append(m, first + 5, 5, first + 5);
	}
	assert_int_equal(size_of_segment(m, 345), written_of(m, scope_printf(&m->s, "%s/tail/%020d", m->dir, 345)));
	(void)sign_checkpoint(m);
	assert_sound(m, 345, 5);
}

static void what_an_unfinished_group_left_in_the_room_is_cut_off(void **state)
{
	struct made *m = *state;
	size_t end;
	char *path = with_room(m, &end);
	close_made(m);
	overwrite(m, path, end + 5000, SPAN_LITERAL("half a group"));
	open_made(m, 300);
	assert_int_equal(tail_size(m->tail), 305);
	assert_int_equal(written_of(m, path), end);
	append(m, 305, 5, 305);
	assert_sound(m, 300, 10);
}

static void zeroes_before_a_good_group_are_damage_and_no_room(void **state)
{
	struct made *m = *state;
	size_t end;
	char *path = with_room(m, &end);
	append(m, 305, 5, 305);
	close_made(m);
	uint8_t *zeroes = scope_alloc(&m->s, end - AUDIT_FILE_HEAD);
	overwrite(m, path, AUDIT_FILE_HEAD, span_of(zeroes, end - AUDIT_FILE_HEAD));
	assert_ok(&m->s, audit_log_open(&m->s, m->dir, &m->log));
	struct tail *t;
	assert_fails(&m->s, E_STATE, tail_open(&m->s, m->dir, 300, m->log, m->indexed, &t));
}

static void a_disk_without_room_for_the_next_segment_still_takes_records(void **state)
{
	struct made *m = *state;
	struct rlimit before, small;
	append(m, 0, 300, 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	small = before;
	small.rlim_cur = 65536 + 100; /* one step of zeroes fits, not two */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	integrate(m);
	append(m, 300, 5, 300);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_false(file_exists(scope_printf(&m->s, "%s/tail/next", m->dir)));
	(void)sign_checkpoint(m);
	assert_sound(m, 300, 5);
}

static void a_torn_group_at_the_end_was_never_acknowledged(void **state)
{
	struct made *m = *state;
	append(m, 0, 300, 0);
	integrate(m);
	(void)sign_checkpoint(m);
	append(m, 300, 5, 300);
	char *path = scope_printf(&m->s, "%s/tail/%020d", m->dir, 300);
	size_t end = written_of(m, path);
	append(m, 305, 5, 305);
	close_made(m);
	assert_int_equal(truncate(path, (off_t)end + 60), 0);
	open_made(m, 300);
	assert_int_equal(tail_size(m->tail), 305);
	append(m, 305, 2, 305);
	assert_sound(m, 300, 7);
}

/* ---- what is tampered with ---- */

static char *bundle_path(struct made *m, uint64_t n, unsigned width)
{
	return audit_tile_path(&m->s, m->dir, AUDIT_ENTRIES, n, width);
}

/* Where leaf `within` begins in a bundle: at its length. */
static size_t place_of(struct made *m, const char *path, unsigned within, span *out_bytes)
{
	assert_ok(&m->s, file_read(&m->s, path, AUDIT_BUNDLE_MAX, out_bytes));
	struct rd r = rd_of(*out_bytes);
	span leaf;
	for (unsigned i = 0; i < within; i++)
		assert_true(audit_bundle_next(&r, &leaf));
	return out_bytes->len - r.rest.len;
}

static void make_700(struct made *m)
{
	for (uint64_t i = 0; i < 700; i += 100)
		append(m, i, 100, i);
	integrate(m);
	(void)sign_checkpoint(m);
	assert_sound(m, 700, 0);
}

static void a_changed_record_is_named(void **state)
{
	struct made *m = *state;
	make_700(m);
	span bytes;
	char *path = bundle_path(m, 1, 256);
	size_t at = place_of(m, path, 44, &bytes);
	overwrite(m, path, at + 40, SPAN_LITERAL("X"));
	assert_bad(m, NULL, NULL, 300);
	overwrite(m, path, 0, bytes);
	assert_sound(m, 700, 0);
}

static void a_deleted_record_is_named(void **state)
{
	struct made *m = *state;
	make_700(m);
	span bytes, rest;
	char *path = bundle_path(m, 2, 700 - 512);
	size_t at = place_of(m, path, 10, &bytes), next = place_of(m, path, 11, &rest);
	AUTO_BUF cut;
	buf_init(&cut, 0);
	assert_true(buf_append(&cut, span_first(bytes, at)) && buf_append(&cut, span_from(bytes, next)));
	assert_ok(&m->s, file_replace(&m->s, path, buf_span(&cut), 0644));
	assert_bad(m, NULL, NULL, 522);
}

static void exchanged_records_are_named(void **state)
{
	struct made *m = *state;
	make_700(m);
	span bytes;
	char *path = bundle_path(m, 0, 256);
	size_t a = place_of(m, path, 100, &bytes), b = place_of(m, path, 101, &bytes), c = place_of(m, path, 102, &bytes);
	assert_int_equal(b - a, c - b);
	overwrite(m, path, a, span_of(bytes.data + b, c - b));
	overwrite(m, path, b, span_of(bytes.data + a, b - a));
	assert_bad(m, NULL, NULL, 100);
}

static void a_cut_log_is_named(void **state)
{
	struct made *m = *state;
	make_700(m);
	assert_int_equal(unlink(bundle_path(m, 2, 700 - 512)), 0);
	assert_bad(m, NULL, NULL, 512);
}

static void a_changed_tile_is_named(void **state)
{
	struct made *m = *state;
	make_700(m);
	overwrite(m, audit_tile_path(&m->s, m->dir, 0, 1, 256), 32 * 7, SPAN_LITERAL("x"));
	assert_bad(m, NULL, NULL, 263);
}

static void a_changed_tile_of_an_upper_level_is_named(void **state)
{
	struct made *m = *state;
	make_700(m);
	overwrite(m, audit_tile_path(&m->s, m->dir, 1, 0, 2), 32, SPAN_LITERAL("x"));
	assert_bad(m, NULL, NULL, 256);
}

static void a_rolled_back_log_does_not_have_what_an_anchor_has(void **state)
{
	struct made *m = *state;
	make_700(m);
	span old;
	assert_ok(&m->s, file_read(&m->s, scope_printf(&m->s, "%s/checkpoint", m->dir), 4096, &old));
	append(m, 700, 100, 700);
	integrate(m);
	char *anchor = sign_checkpoint(m);
	assert_int_equal(verify(m, anchor, NULL).verdict, AUDIT_SOUND);
	assert_ok(&m->s, file_replace(&m->s, scope_printf(&m->s, "%s/checkpoint", m->dir), old, 0644));
	assert_bad(m, anchor, NULL, 700);
	assert_bad(m, NULL, anchor, 700);
}

/* Another history under the same key: what keyd's consistency proofs prevent, and anchors find. */
static void a_fork_does_not_agree_with_an_anchor(void **state)
{
	struct made *m = *state;
	make_700(m);
	char *first = sign_checkpoint(m);
	append(m, 700, 50, 700);
	integrate(m);
	char *anchor = sign_checkpoint(m);
	struct audit_report r = verify(m, first, NULL);
	assert_int_equal(r.verdict, AUDIT_SOUND);
	assert_int_equal(r.anchors, 1);
	assert_int_equal(verify(m, anchor, first).verdict, AUDIT_SOUND);
	/* The same records, but others from 700 on, all tiles in order and a good signature. */
	close_made(m);
	char *folder = scope_printf(&m->s, "%s", m->dir);
	(void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(mkdir(scope_printf(&m->s, "%s/tail", folder), 0700), 0);
	open_made(m, 0);
	make_700(m);
	append(m, 9000, 60, 700);
	integrate(m);
	(void)sign_checkpoint(m);
	r = verify(m, anchor, NULL);
	assert_int_equal(r.verdict, AUDIT_UNSOUND);
	assert_non_null(strstr(r.problem, "fork"));
	r = verify(m, NULL, anchor);
	assert_int_equal(r.verdict, AUDIT_UNSOUND);
}

static void verification_since_a_checkpoint_reads_only_what_follows(void **state)
{
	struct made *m = *state;
	make_700(m);
	char *since = sign_checkpoint(m);
	append(m, 700, 400, 700);
	integrate(m);
	(void)sign_checkpoint(m);
	struct audit_report r = verify(m, NULL, since);
	assert_int_equal(r.verdict, AUDIT_SOUND);
	assert_int_equal(r.from, 700);
	assert_int_equal(unlink(bundle_path(m, 0, 256)), 0); /* older entries may be gone */
	assert_int_equal(verify(m, NULL, since).verdict, AUDIT_SOUND);
	span bytes;
	char *path = bundle_path(m, 3, 256);
	size_t at = place_of(m, path, 30, &bytes);
	overwrite(m, path, at + 3, SPAN_LITERAL("X"));
	assert_bad(m, NULL, since, 798);
}

static void a_damaged_tail_is_named(void **state)
{
	struct made *m = *state;
	make_700(m);
	append(m, 700, 5, 700);
	char *path = scope_printf(&m->s, "%s/tail/%020d", m->dir, 700);
	size_t end = written_of(m, path);
	append(m, 705, 5, 705);
	assert_sound(m, 700, 10);
	overwrite(m, path, end - 9, SPAN_LITERAL("?"));
	assert_bad(m, NULL, NULL, 700);
	close_made(m);
	assert_ok(&m->s, audit_log_open(&m->s, m->dir, &m->log));
	struct tail *t;
	assert_fails(&m->s, E_STATE, tail_open(&m->s, m->dir, 700, m->log, m->indexed, &t));
	/* The last group cannot be told from one that was never finished. */
	overwrite(m, path, end - 9, SPAN_LITERAL("0"));
}

static void a_wrong_key_and_a_forged_checkpoint_are_refused(void **state)
{
	struct made *m = *state;
	make_700(m);
	char *path = scope_printf(&m->s, "%s/checkpoint", m->dir);
	overwrite(m, path, strlen("log.test/a\n"), SPAN_LITERAL("699"));
	assert_int_equal(verify(m, NULL, NULL).verdict, AUDIT_UNSOUND);
	overwrite(m, path, strlen("log.test/a\n"), SPAN_LITERAL("700"));
	m->key.id[1] ^= 1;
	assert_int_equal(verify(m, NULL, NULL).verdict, AUDIT_UNSOUND);
	m->key.id[1] ^= 1;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(verify(m, NULL, NULL).verdict, AUDIT_UNSOUND);
}

static bool count_leaf(void *state, uint64_t index, span leaf)
{
	(void)leaf;
	assert_int_equal(index, (*(uint64_t *)state)++);
	return true;
}

/* Name and content of a bundle disagree: one leaf too few, and one too many. */
static void a_bundle_that_is_not_as_long_as_its_name_says_is_refused(void **state)
{
	struct made *m = *state;
	uint64_t count = 0;
	make_700(m);
	assert_ok(&m->s, audit_log_each(&m->s, m->log, 0, count_leaf, &count));
	assert_int_equal(count, 700);
	AUTO_BUF bundle = { 0 };
	assert_ok(&m->s, audit_log_bundle(&m->s, m->log, 1, AUDIT_TILE_WIDTH, &bundle));
	char *path = audit_tile_path(&m->s, m->dir, AUDIT_ENTRIES, 1, AUDIT_TILE_WIDTH);
	struct rd r = rd_of(buf_span(&bundle));
	span leaf;
	assert_true(audit_bundle_next(&r, &leaf));
	size_t first = bundle.len - r.rest.len;
	assert_ok(&m->s, file_replace(&m->s, path, span_first(buf_span(&bundle), first), 0644));
	count = 0;
	assert_fails(&m->s, E_INPUT, audit_log_each(&m->s, m->log, 0, count_leaf, &count));
	assert_int_equal(count, 257);
	span again = scope_copy(&m->s, span_first(buf_span(&bundle), first));
	assert_true(buf_append(&bundle, again));
	assert_ok(&m->s, file_replace(&m->s, path, buf_span(&bundle), 0644));
	count = 0;
	assert_fails(&m->s, E_INPUT, audit_log_each(&m->s, m->log, 0, count_leaf, &count));
	assert_int_equal(count, 512);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(logs_of_many_sizes_verify_and_go_on_after_a_restart),
		TEST(a_record_offered_again_keeps_its_index),
		cmocka_unit_test(the_window_of_ids_forgets_only_what_is_old),
		TEST(many_threads_append_while_the_integrator_works),
		TEST(a_full_disk_refuses_and_resumes_by_itself),
		TEST(after_a_failed_sync_the_tail_is_read_back_and_written_anew),
		TEST(a_segment_that_cannot_be_removed_is_no_gap_at_the_next_start),
		TEST(a_segment_that_was_begun_and_not_finished_is_no_gap_at_the_next_start),
		TEST(room_that_is_not_used_yet_is_no_part_of_the_log),
		TEST(load_that_ended_finds_room_when_it_comes_back),
		TEST(what_an_unfinished_group_left_in_the_room_is_cut_off),
		TEST(zeroes_before_a_good_group_are_damage_and_no_room),
		TEST(a_disk_without_room_for_the_next_segment_still_takes_records),
		TEST(a_tail_that_cannot_be_listed_is_not_an_empty_one),
		TEST(a_torn_group_at_the_end_was_never_acknowledged),
		TEST(a_changed_record_is_named),
		TEST(a_deleted_record_is_named),
		TEST(exchanged_records_are_named),
		TEST(a_cut_log_is_named),
		TEST(a_changed_tile_is_named),
		TEST(a_changed_tile_of_an_upper_level_is_named),
		TEST(a_rolled_back_log_does_not_have_what_an_anchor_has),
		TEST(a_fork_does_not_agree_with_an_anchor),
		TEST(verification_since_a_checkpoint_reads_only_what_follows),
		TEST(a_damaged_tail_is_named),
		TEST(a_wrong_key_and_a_forged_checkpoint_are_refused),
		TEST(a_bundle_that_is_not_as_long_as_its_name_says_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
