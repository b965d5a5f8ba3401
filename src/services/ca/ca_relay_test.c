#include "ca_unit.h"

/* One record in the outbox, committed as an effect commits it. */
struct entry {
	struct audit_event event;
	struct ca_record record;
	uint8_t object[4];
};

static st enter(struct scope *s, struct db_tx *tx, void *arg)
{
	struct entry *e = arg;
	return ca_entry_record(s, tx, &e->record);
}

static void begin_entry(struct unit *u, struct entry *e, const char *path)
{
	*e = (struct entry){ .object = "obj" };
	audit_begin(&e->event, &u->s, AUDIT_BACKUP_MADE);
	audit_str(&e->event, "path", path);
	audit_hex(&e->event, "digest", SPAN_LITERAL("unit"));
	assert_ok(&u->s, audit_finish(&u->s, &e->event));
	e->record = (struct ca_record){ .event = &e->event, .object = SPAN_ARRAY(e->object) };
	assert_ok(&u->s, db_tx(&u->s, u->ca->db, enter, e));
}

static void nothing_is_owed(struct unit *u)
{
	assert_ok(&u->s, ca_relay_drain(&u->s, u->ca));
	assert_int_equal(unit_outbox(u), 0);
}

static void a_delivered_record_is_in_the_log_once_and_leaves_the_outbox(void **state)
{
	struct unit *u = *state;
	struct entry e;
	nothing_is_owed(u);
	begin_entry(u, &e, "/one");
	assert_int_equal(unit_outbox(u), 1);
	assert_int_equal(unit_log_count(u, "backup.made", "/one"), 0);
	assert_ok(&u->s, ca_relay_deliver(&u->s, u->ca, &e.record));
	assert_int_equal(unit_log_count(u, "backup.made", "/one"), 1);
	unit_until(unit_outbox(u) == 0);
	assert_int_equal(unit_log_count(u, "\"component\":\"ca\"", "/one"), 1);
	audit_event_free(&e.event);
}

static void what_auditd_refuses_is_said_kept_and_delivered_when_it_takes_it(void **state)
{
	struct unit *u = *state;
	struct entry e;
	nothing_is_owed(u);
	begin_entry(u, &e, "/refused");
	atomic_store(&u->audit_denies, true);
	assert_int_equal(ca_relay_deliver(&u->s, u->ca, &e.record).code, E_UNAVAILABLE);
	assert_non_null(strstr(u->s.message, "it is done and stored, but not yet on record"));
	assert_non_null(strstr(u->s.message, "the disk is full"));
	scope_clear_error(&u->s);
	assert_int_equal(unit_outbox(u), 1);
	atomic_store(&u->audit_denies, false);
	unit_until(unit_log_count(u, "backup.made", "/refused") == 1); /* by the thread */
	unit_until(unit_outbox(u) == 0);
	audit_event_free(&e.event);
}

static void what_is_owed_at_a_stop_is_delivered_at_the_next_start(void **state)
{
	struct unit *u = *state;
	struct entry e;
	nothing_is_owed(u);
	begin_entry(u, &e, "/stopped");
	ca_stop(u->ca);
	assert_int_equal(unit_log_count(u, "backup.made", "/stopped"), 0);
	unit_open(u);
	assert_int_equal(unit_log_count(u, "backup.made", "/stopped"), 1);
	assert_int_equal(unit_outbox(u), 0);
	audit_event_free(&e.event);
}

static void records_are_offered_again_in_the_order_of_their_commits(void **state)
{
	struct unit *u = *state;
	nothing_is_owed(u);
	struct entry e[300]; /* more than are read at once */
	for (size_t i = 0; i < 300; i++)
		begin_entry(u, &e[i], scope_printf(&u->s, "/n%03zu", i));
	assert_int_equal(unit_outbox(u), 300);
	size_t before = u->record_count;
	assert_ok(&u->s, ca_relay_drain(&u->s, u->ca));
	assert_int_equal(u->record_count, before + 300);
	for (size_t i = 0; i < 300; i++) {
		const struct log_record *r = &u->record[before + i];
		const char *path = scope_printf(&u->s, "\"/n%03zu\"", i);
		assert_non_null(memmem(r->json, r->len, path, strlen(path)));
		audit_event_free(&e[i].event);
	}
	assert_int_equal(unit_outbox(u), 0);
}

static void settling_delivers_what_is_owed_about_one_object_only(void **state)
{
	struct unit *u = *state;
	nothing_is_owed(u);
	struct entry mine, other;
	begin_entry(u, &mine, "/mine");
	other = (struct entry){ .object = "xyz" };
	audit_begin(&other.event, &u->s, AUDIT_BACKUP_MADE);
	audit_str(&other.event, "path", "/other");
	audit_hex(&other.event, "digest", SPAN_LITERAL("unit"));
	assert_ok(&u->s, audit_finish(&u->s, &other.event));
	other.record = (struct ca_record){ .event = &other.event, .object = SPAN_ARRAY(other.object) };
	assert_ok(&u->s, db_tx(&u->s, u->ca->db, enter, &other));
	assert_ok(&u->s, ca_relay_settle(&u->s, u->ca, SPAN_ARRAY(mine.object)));
	assert_int_equal(unit_log_count(u, "backup.made", "/mine"), 1);
	assert_int_equal(unit_log_count(u, "backup.made", "/other"), 0);
	audit_event_free(&mine.event);
	audit_event_free(&other.event);
}

/* The outage of a restart: the client waits for auditd to come back. */
static void *come_back(void *arg)
{
	struct unit *u = arg;
	(void)usleep(300000);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	unit_auditd_start(u);
	return NULL;
}

static void a_restart_of_auditd_is_waited_for(void **state)
{
	struct unit *u = *state;
	struct ca_issued issued;
	struct ca_order order = unit_order(u, &u->s, "Patient");
	unit_auditd_stop(u);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, come_back, u), 0);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_ok(&s, ca_issue(&s, u->ca, &order, &issued));
	assert_int_equal(unit_log_count(u, "\"event\":\"certificate.issued\"", hex_text(&s, issued.certificate.serial)), 1);
	(void)pthread_join(thread, NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, unit_set_up, unit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_delivered_record_is_in_the_log_once_and_leaves_the_outbox),
		CASE(what_auditd_refuses_is_said_kept_and_delivered_when_it_takes_it),
		CASE(what_is_owed_at_a_stop_is_delivered_at_the_next_start),
		CASE(records_are_offered_again_in_the_order_of_their_commits),
		CASE(settling_delivers_what_is_owed_about_one_object_only),
		CASE(a_restart_of_auditd_is_waited_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
