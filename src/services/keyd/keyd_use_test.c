/* Counting by the log: a zone of two keys with a journal of its own, and records put there as keyd and others do. */
#include "file.h"
#include "keyd.h"
#include "unit.h"
#include <stdlib.h>

static struct scope s, kept; /* what is counted with empties the first */
static struct keyd_conf conf;
static struct keyd d;
static struct keyd_key keys[2];
static char directory[] = "/tmp/chancery-use-XXXXXX";

static void add_key(struct keyd_key *k, const char *label, unsigned purposes)
{
	*k = (struct keyd_key){
		.info = { .purposes = purposes, .created = 1 }, .next = d.keys, .checks = "", .attributes = ""
	};
	memcpy(k->info.label, label, strlen(label) + 1);
	keyd_life_init(&k->life);
	d.keys = k;
	assert_ok(&s, keyd_life_load(&s, &d, k));
}

static void open_zone(void)
{
	d = (struct keyd){ .conf = &conf };
	assert_int_equal(pthread_rwlock_init(&d.registry, NULL), 0);
	const struct audit_settings settings = { .journal = conf.audit_journal, .component = "keyd/test" };
	assert_ok(&s, audit_open(&s, &settings, &d.audit));
	add_key(&keys[0], "one", KEY_FOR_CERTIFICATE | KEY_FOR_REQUEST);
	add_key(&keys[1], "two", KEY_FOR_CERTIFICATE);
}

/* A kill: what is in the files is all that stays. */
static void close_zone(void)
{
	audit_close(d.audit);
	for (size_t i = 0; i < 2; i++)
		keyd_life_free(&keys[i].life);
	(void)pthread_rwlock_destroy(&d.registry);
}

static int start(void **state)
{
	(void)state;
	scope_init(&s, NULL);
	scope_init(&kept, NULL);
	memcpy(directory + strlen(directory) - 6, "XXXXXX", 6);
	if (mkdtemp(directory) == NULL)
		return -1;
	conf = (struct keyd_conf){ .zone = "test",
				   .state = directory,
				   .audit_journal = scope_printf(&kept, "%s/journal", directory) };
	assert_ok(&s, file_make_directory(&s, scope_printf(&s, "%s/life", directory), 0700));
	open_zone();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	close_zone();
	const char *command = scope_printf(&s, "rm -r %s", directory);
	int removed = system(command);
	scope_done(&s);
	scope_done(&kept);
	return removed;
}

static uint64_t record(const char *zone, const char *key)
{
	AUTO_EVENT e;
	uint64_t index;
	audit_begin(&e, &s, AUDIT_SIGN_REQUEST);
	audit_str(&e, "zone", zone);
	audit_str(&e, "key", key);
	audit_str(&e, "algorithm", "ed25519");
	audit_hex(&e, "digest", SPAN_LITERAL("\0"));
	audit_base64(&e, "request", SPAN_LITERAL(""));
	assert_ok(&s, audit_finish(&s, &e));
	assert_ok(&s, audit_commit(&s, d.audit, &e, &index));
	return index;
}

/* As a signature goes: begun, offered, on record, ended. */
static void sign(struct keyd_key *k)
{
	assert_ok(&s, keyd_life_begin(&s, &d, k, KEY_FOR_REQUEST));
	keyd_life_offer(k);
	(void)record("test", k->info.label);
	keyd_life_recorded(k, true);
	keyd_life_end(k);
}

static void catch_up(void)
{
	bool more = true;
	while (more)
		assert_ok(&s, keyd_use_catch_up(&s, &d, &more));
}

static void counts(const struct keyd_key *k, uint64_t expected)
{
	assert_false(k->life.behind);
	assert_int_equal(k->life.recorded, expected);
	assert_int_equal(k->life.offered, expected);
}

static void the_log_says_how_often_a_key_signed_and_nobody_else(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		(void)record("test", "one");
		(void)record("other", "one"); /* another zone's key of this name */
		(void)record("test", "none");
	}
	(void)record("test", "two");
	assert_true(keys[0].life.behind);
	catch_up();
	counts(&keys[0], 3);
	counts(&keys[1], 1);
}

static void after_a_kill_counting_goes_on_from_the_place_that_was_kept(void **state)
{
	(void)state;
	catch_up();
	sign(&keys[0]);
	sign(&keys[0]);
	keyd_life_tick(&s, &d); /* kept: two, before place 2 */
	assert_int_equal(keys[0].life.position, 2);
	sign(&keys[0]);
	sign(&keys[1]);
	close_zone();
	open_zone();
	assert_true(keys[0].life.behind);
	assert_int_equal(keys[0].life.recorded, 2);
	assert_int_equal(keys[0].life.position, 2); /* what lies before is not read again */
	catch_up();
	counts(&keys[0], 3);
	counts(&keys[1], 1);
}

static void a_record_that_may_or_may_not_be_there_is_looked_for(void **state)
{
	(void)state;
	catch_up();
	for (int there = 0; there < 2; there++) {
		assert_ok(&s, keyd_life_begin(&s, &d, &keys[0], KEY_FOR_REQUEST));
		keyd_life_offer(&keys[0]);
		if (there)
			(void)record("test", "one");
		keyd_life_recorded(&keys[0], false);
		keyd_life_end(&keys[0]);
		assert_true(keys[0].life.behind);
		catch_up();
		counts(&keys[0], (uint64_t)there);
	}
}

static void while_a_signature_is_under_way_no_place_is_kept(void **state)
{
	(void)state;
	bool more;
	catch_up();
	sign(&keys[0]);
	assert_ok(&s, keyd_life_begin(&s, &d, &keys[0], KEY_FOR_REQUEST));
	assert_ok(&s, keyd_use_settle(&s, &d));
	assert_int_equal(keys[0].life.position, 0);
	keys[0].life.behind = true;
	assert_ok(&s, keyd_use_catch_up(&s, &d, &more));
	assert_true(more && keys[0].life.behind);
	keyd_life_end(&keys[0]);
	catch_up();
	counts(&keys[0], 1);
}

static void a_key_that_is_never_idle_follows_by_reading(void **state)
{
	(void)state;
	catch_up();
	sign(&keys[0]);
	sign(&keys[1]);
	assert_ok(&s, keyd_life_begin(&s, &d, &keys[0], KEY_FOR_REQUEST));
	keys[0].life.settled_at = moment_monotonic() - 61 * MOMENT_SECOND;
	assert_ok(&s, keyd_use_settle(&s, &d));
	assert_true(keys[0].life.trailing);
	catch_up();
	assert_int_equal(keys[0].life.settled, 1);
	assert_int_equal(keys[0].life.position, 2);
	counts(&keys[0], 1);
	counts(&keys[1], 1);
	keyd_life_end(&keys[0]);
}

static void a_shorter_log_than_was_kept_is_counted_on_from_its_end(void **state)
{
	(void)state;
	catch_up();
	sign(&keys[0]);
	keyd_life_tick(&s, &d);
	keys[0].life.position = 1000;
	keys[0].life.behind = true;
	catch_up();
	assert_int_equal(keys[0].life.position, 1);
	counts(&keys[0], 1);
	sign(&keys[0]);
	catch_up();
	counts(&keys[0], 2);
}

static void the_place_in_another_log_is_none_in_this_one(void **state)
{
	(void)state;
	catch_up();
	sign(&keys[0]);
	sign(&keys[0]);
	keyd_life_tick(&s, &d);
	const char *path = scope_printf(&s, "%s/life/one", directory);
	span file;
	assert_ok(&s, file_read(&s, path, 256, &file));
	uint8_t *changed = scope_alloc(&s, file.len);
	memcpy(changed, file.data, file.len);
	changed[11] = 2; /* kept with auditd's log; now there is a journal */
	assert_ok(&s, file_replace(&s, path, span_of(changed, file.len), 0600));
	close_zone();
	open_zone();
	assert_int_equal(keys[0].life.position, 0);
	catch_up();
	counts(&keys[0], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_log_says_how_often_a_key_signed_and_nobody_else, start, stop),
		cmocka_unit_test_setup_teardown(after_a_kill_counting_goes_on_from_the_place_that_was_kept, start, stop),
		cmocka_unit_test_setup_teardown(a_record_that_may_or_may_not_be_there_is_looked_for, start, stop),
		cmocka_unit_test_setup_teardown(while_a_signature_is_under_way_no_place_is_kept, start, stop),
		cmocka_unit_test_setup_teardown(a_key_that_is_never_idle_follows_by_reading, start, stop),
		cmocka_unit_test_setup_teardown(a_shorter_log_than_was_kept_is_counted_on_from_its_end, start, stop),
		cmocka_unit_test_setup_teardown(the_place_in_another_log_is_none_in_this_one, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
