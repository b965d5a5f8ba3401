#include "digest.h"
#include "moment.h"
#include "unit.h"
#include "watch_book.h"
#include <stdio.h>
#include <stdlib.h>

#define MINUTE (60 * MOMENT_SECOND)

struct mold {
	struct scope s;
	struct watch_conf conf;
	struct watch_rules rules;
	struct watch_book *book;
	uint64_t seq;
	char directory[64];
};

static struct watch_probe_conf probes[] = { { .label = "responder", .kind = "health", .service = "status" } };
static struct watch_outlet_conf outlets[] = { { .label = "hook", .url = "http://127.0.0.1:1/" } };

static void make_book(struct mold *m)
{
	watch_book_free(m->book);
	m->book = watch_book_new(&m->rules, &m->conf);
}

static int setup(void **state)
{
	struct mold *m = heap_alloc(sizeof *m);
	scope_init(&m->s, NULL);
	(void)snprintf(m->directory, sizeof m->directory, "/tmp/chancery-watch-XXXXXX");
	assert_non_null(mkdtemp(m->directory));
	m->conf = (struct watch_conf){ .state = m->directory,
				       .outage_once = 20 * MINUTE,
				       .outage_week = MOMENT_HOUR,
				       .integrity_count = 100,
				       .integrity_share = 1,
				       .probes = { probes, 1 },
				       .outlets = { outlets, 1 } };
	assert_ok(&m->s, watch_rules_read(&m->s, &m->conf, &m->rules));
	make_book(m);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct mold *m = *state;
	watch_book_free(m->book);
	(void)remove(scope_printf(&m->s, "%s/book.json", m->directory));
	(void)remove(m->directory);
	scope_done(&m->s);
	free(m);
	return 0;
}

/* The next leaf of the log, received at this moment. */
static void happens(struct mold *m, struct audit_event *e, int64_t at)
{
	AUTO_BUF leaf, json;
	buf_init(&leaf, 0);
	buf_init(&json, 0);
	assert_ok(&m->s, audit_finish(&m->s, e));
	span record = buf_span(&e->json);
	size_t cut = audit_record_component_place(record);
	(void)buf_append(&json, span_first(record, cut));
	(void)buf_append(&json, SPAN_LITERAL(",\"component\":\"keyd/ca\""));
	(void)buf_append(&json, span_from(record, cut));
	assert_true(audit_envelope_write(&leaf, m->seq, at, "keyd", buf_span(&json)));
	watch_book_take(m->book, m->seq++, buf_span(&leaf));
	audit_event_free(e);
}

static void refused(struct mold *m, const char *instance, const char *reason, int64_t at)
{
	struct audit_event e;
	audit_begin(&e, &m->s, AUDIT_OPERATION_REFUSED);
	audit_str(&e, "instance", instance);
	audit_str(&e, "reason", reason);
	happens(m, &e, at);
}

static size_t open_now(struct mold *m)
{
	return watch_book_open(m->book, AUDIT_INFO);
}

/* What was told so far, and how often. */
static size_t told(struct mold *m, const char *rule, bool opened)
{
	struct watch_notice n = { 0 };
	size_t count = 0;
	while (watch_book_notice(m->book, n.number, &n))
		count += n.opened == opened && strcmp(n.alert.rule->name, rule) == 0;
	return count;
}

static void a_threshold_is_reached_within_its_window_only(void **state)
{
	struct mold *m = *state;
	int64_t t = 1000 * MOMENT_HOUR;
	refused(m, "keyd/ca", "expired", t);
	refused(m, "keyd/ca", "expired", t + MINUTE);
	refused(m, "keyd/root", "expired", t + 2 * MINUTE); /* another's */
	assert_int_equal(open_now(m), 0);
	refused(m, "keyd/ca", "expired", t + 11 * MINUTE); /* the first is too old */
	assert_int_equal(open_now(m), 0);
	refused(m, "keyd/ca", "expired", t + 11 * MINUTE - 1);
	assert_int_equal(open_now(m), 1);
	refused(m, "keyd/ca", "expired", t + 12 * MINUTE);
	assert_int_equal(told(m, "quorum-refused", true), 1);
}

static void quiet_closes_what_no_record_closes(void **state)
{
	struct mold *m = *state;
	int64_t t = 1000 * MOMENT_HOUR;
	for (int i = 0; i < 3; i++)
		refused(m, "keyd/ca", "expired", t);
	watch_book_tick(m->book, t + 10 * MINUTE);
	assert_int_equal(open_now(m), 1);
	watch_book_tick(m->book, t + 10 * MINUTE + 1);
	assert_int_equal(open_now(m), 0);
	assert_int_equal(told(m, "quorum-refused", false), 1);
}

static void a_wrong_share_is_an_alert_at_once(void **state)
{
	struct mold *m = *state;
	refused(m, "keyd/ca", "this share is not of this activation", 1000 * MOMENT_HOUR);
	assert_int_equal(told(m, "shares-wrong", true), 1);
	assert_int_equal(told(m, "quorum-refused", true), 0);
}

static void a_second_place_that_keeps_what_the_log_lost_is_an_alert(void **state)
{
	static const uint8_t proposal[32] = { 1 };
	struct mold *m = *state;
	struct audit_event e;
	audit_begin(&e, &m->s, AUDIT_COPY_PURGE_REFUSED);
	audit_str(&e, "log", "example.org/log");
	audit_hex(&e, "proposal", SPAN_ARRAY(proposal));
	audit_number(&e, "entry", 4);
	audit_str(&e, "reason", "record 7 is provider.founded and kept for ever");
	happens(m, &e, MOMENT_HOUR);
	assert_int_equal(told(m, "copy-keeps-records", true), 1);
	assert_int_equal(told(m, "copy-refused", true), 0);
}

static void token(struct mold *m, enum audit_code code, const char *name, int64_t at)
{
	struct audit_event e;
	audit_begin(&e, &m->s, code);
	audit_str(&e, "zone", "ca");
	audit_str(&e, "token", name);
	if (code == AUDIT_TOKEN_LOST)
		audit_str(&e, "reason", "CKR_DEVICE_REMOVED");
	happens(m, &e, at);
}

static void a_record_closes_the_alert_of_its_subject_and_no_other(void **state)
{
	struct mold *m = *state;
	token(m, AUDIT_TOKEN_LOST, "issuing", MOMENT_HOUR);
	token(m, AUDIT_TOKEN_LOST, "management", MOMENT_HOUR);
	token(m, AUDIT_TOKEN_OPENED, "issuing", 2 * MOMENT_HOUR);
	assert_int_equal(open_now(m), 1);
	watch_book_tick(m->book, 1000 * MOMENT_HOUR);
	assert_int_equal(open_now(m), 1);
	token(m, AUDIT_TOKEN_OPENED, "management", 2000 * MOMENT_HOUR);
	assert_int_equal(open_now(m), 0);
}

static void what_was_over_before_the_first_run_is_not_told(void **state)
{
	struct mold *m = *state;
	watch_book_begin(m->book, 0, 3);
	token(m, AUDIT_TOKEN_LOST, "issuing", MOMENT_HOUR);
	token(m, AUDIT_TOKEN_LOST, "management", MOMENT_HOUR);
	assert_int_equal(told(m, "token-lost", true), 0);
	token(m, AUDIT_TOKEN_OPENED, "issuing", 2 * MOMENT_HOUR);
	assert_int_equal(told(m, "token-lost", true), 1);
	assert_int_equal(told(m, "token-lost", false), 0);
}

static void the_file_brings_everything_back(void **state)
{
	struct mold *m = *state;
	int64_t t = 1000 * MOMENT_HOUR;
	(void)watch_book_sent(m->book, "hook");
	token(m, AUDIT_TOKEN_LOST, "issuing", t);
	refused(m, "keyd/ca", "expired", t);
	refused(m, "keyd/ca", "expired", t + 1);
	watch_book_seen(m->book, "status", false, t);
	struct watch_notice before, after;
	assert_true(watch_book_notice(m->book, 0, &before));
	assert_ok(&m->s, watch_book_save(&m->s, m->book));
	make_book(m);
	assert_ok(&m->s, watch_book_load(&m->s, m->book));
	assert_int_equal(watch_book_position(m->book), m->seq);
	assert_true(watch_book_notice(m->book, 0, &after));
	assert_string_equal(before.alert.id, after.alert.id);
	assert_int_equal(before.number, after.number);
	refused(m, "keyd/ca", "expired", t + 2); /* the two before still count */
	assert_int_equal(told(m, "quorum-refused", true), 1);
	watch_book_seen(m->book, "status", false, t + 20 * MINUTE);
	assert_int_equal(told(m, "outage-significant", true), 1);
}

static void a_file_that_is_none_of_ours_is_refused(void **state)
{
	struct mold *m = *state;
	static const char *const texts[] = { "", "[]", "{}", "{\"v\":2}", "{\"v\":1}" };
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		FILE *f = fopen(scope_printf(&m->s, "%s/book.json", m->directory), "we");
		assert_non_null(f);
		assert_true(fputs(texts[i], f) >= 0);
		assert_int_equal(fclose(f), 0);
		make_book(m);
		assert_int_equal(watch_book_load(&m->s, m->book).code, E_INPUT);
		scope_clear_error(&m->s);
	}
}

static void outages_are_summed_over_a_week(void **state)
{
	struct mold *m = *state;
	int64_t t = 10000 * MOMENT_HOUR;
	for (int i = 0; i < 3; i++) {
		watch_book_seen(m->book, "status", false, t + i * MOMENT_DAY);
		watch_book_seen(m->book, "status", true, t + i * MOMENT_DAY + 19 * MINUTE);
	}
	watch_book_seen(m->book, "status", false, t + 3 * MOMENT_DAY);
	watch_book_seen(m->book, "status", false, t + 3 * MOMENT_DAY + 2 * MINUTE);
	assert_int_equal(told(m, "outage-significant", true), 0); /* 59 minutes */
	watch_book_seen(m->book, "status", false, t + 3 * MOMENT_DAY + 3 * MINUTE);
	assert_int_equal(told(m, "outage-significant", true), 1);
}

static void more_than_can_be_kept_pushes_out_the_oldest_only(void **state)
{
	struct mold *m = *state;
	for (int i = 0; i < WATCH_ALERTS_MAX + 10; i++)
		token(m, AUDIT_TOKEN_LOST, scope_printf(&m->s, "t%d", i), MOMENT_HOUR);
	assert_int_equal(open_now(m), WATCH_ALERTS_MAX);
	for (int i = 0; i < WATCH_ALERTS_MAX; i++)
		token(m, AUDIT_TOKEN_OPENED, scope_printf(&m->s, "t%d", i), MOMENT_HOUR);
	assert_int_equal(open_now(m), 0);
	assert_true(told(m, "token-lost", true) + told(m, "token-lost", false) <= WATCH_NOTICES_MAX);
}

static void a_subject_is_cut_between_characters(void **state)
{
	struct mold *m = *state;
	AUTO_BUF text;
	buf_init(&text, 0);
	(void)buf_append(&text, SPAN_LITERAL("x"));
	for (int i = 0; i < 150; i++)
		(void)buf_append(&text, SPAN_LITERAL("\xc3\xa9"));
	token(m, AUDIT_TOKEN_LOST, scope_cstr(&m->s, buf_span(&text)), MOMENT_HOUR);
	struct watch_notice n;
	assert_true(watch_book_notice(m->book, 0, &n));
	span rest = span_str(n.alert.subject);
	assert_in_range(rest.len, WATCH_SUBJECT_MAX - 3, WATCH_SUBJECT_MAX - 1);
	assert_true(rest.data[rest.len - 1] == 0xa9);
}

static void compared(struct mold *m, const char *ca, int64_t serials, int64_t differ)
{
	struct audit_event e;
	audit_begin(&e, &m->s, AUDIT_STATUS_COMPARED);
	audit_str(&e, "ca", ca);
	audit_number(&e, "serials", serials);
	audit_number(&e, "agree", serials - differ);
	audit_number(&e, "differ", differ);
	audit_number(&e, "unreachable", 0);
	happens(m, &e, MOMENT_HOUR);
}

//= en319401#REQ-7.9.3-07 integrity of over 0.1 % of the users, or over 100
static void a_false_status_of_so_many_is_a_significant_incident(void **state)
{
	struct mold *m = *state;
	static const struct {
		int64_t serials, differ;
		bool significant;
	} rows[] = { { 10, 0, false },      { 999, 1, true },        { 1000, 1, false },
		     { 1999, 1, false },    { 1000, 2, true },       { 100000, 100, false },
		     { 100000, 101, true }, { 1000000, 100, false }, { 1000000, 101, true } };
	size_t expected = 0;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		compared(m, scope_printf(&m->s, "ca%zu", i), rows[i].serials, rows[i].differ);
		expected += rows[i].significant;
		assert_int_equal(told(m, "integrity-significant", true), expected);
	}
	compared(m, "ca1", 999, 0);
	assert_int_equal(told(m, "integrity-significant", false), 0); /* a person closes it */
}

/* ---- another configuration ---- */

/* The built-in rules with this one changed. */
static void configure(struct mold *m, struct watch_conf *conf, struct watch_rule_conf *changed, int64_t at)
{
	struct watch_rules *rules = scope_new(&m->s, struct watch_rules);
	conf->rules = (struct conf_group){ changed, changed != NULL };
	assert_ok(&m->s, watch_rules_read(&m->s, conf, rules));
	watch_book_configure(m->book, rules, conf, at);
}

static void what_was_counted_counts_under_another_threshold(void **state)
{
	struct mold *m = *state;
	struct watch_conf next = m->conf;
	struct watch_rule_conf five = { .label = "quorum-refused", .on = true, .threshold = 5 };
	struct watch_rule_conf two = { .label = "quorum-refused", .on = true, .threshold = 2, .window = 2 * MINUTE };
	int64_t t = 1000 * MOMENT_HOUR;
	refused(m, "keyd/ca", "expired", t);
	refused(m, "keyd/ca", "expired", t + MINUTE);
	configure(m, &next, &five, t);
	refused(m, "keyd/ca", "expired", t + 2 * MINUTE);
	refused(m, "keyd/ca", "expired", t + 3 * MINUTE);
	assert_int_equal(open_now(m), 0);
	configure(m, &next, &two, t);
	assert_int_equal(open_now(m), 0); /* a record opens an alert, not a configuration */
	refused(m, "keyd/ca", "expired", t + 5 * MINUTE);
	assert_int_equal(told(m, "quorum-refused", true), 1); /* with the newest of before, two minutes older */
	configure(m, &next, &five, t);
	assert_int_equal(open_now(m), 1);
	watch_book_tick(m->book, t + 16 * MINUTE);
	assert_int_equal(told(m, "quorum-refused", false), 1); /* closed by the rule as it is now */
}

static void counts_of_a_larger_threshold_keep_their_order(void **state)
{
	struct mold *m = *state;
	struct watch_conf next = m->conf;
	struct watch_rule_conf four = { .label = "quorum-refused", .on = true, .threshold = 4 };
	int64_t t = 1000 * MOMENT_HOUR;
	for (int i = 0; i < 5; i++) /* round the ring, never three within ten minutes */
		refused(m, "keyd/ca", "expired", t + i * 6 * MINUTE);
	assert_int_equal(open_now(m), 0);
	configure(m, &next, &four, t);
	refused(m, "keyd/ca", "expired", t + 25 * MINUTE); /* the fourth back is from minute 12 */
	assert_int_equal(open_now(m), 0);
	refused(m, "keyd/ca", "expired", t + 26 * MINUTE); /* 18 */
	assert_int_equal(open_now(m), 1);
}

static void an_alert_that_nobody_could_close_any_more_is_closed(void **state)
{
	struct mold *m = *state;
	struct watch_conf first = m->conf, next = m->conf;
	const char *event = "token.lost";
	struct watch_rule_conf own = { .label = "own", .on = true, .event = { &event, 1 }, .text = "a token is lost" };
	int64_t t = 1000 * MOMENT_HOUR;
	configure(m, &first, &own, t);
	token(m, AUDIT_TOKEN_LOST, "issuing", t);
	watch_book_raise(m->book, "probe-failed", "responder", "no answer", t);
	watch_book_raise(m->book, "outlet-failed", "hook", "no answer", t);
	assert_int_equal(open_now(m), 4);
	next.probes.count = next.outlets.count = 0;
	configure(m, &next, NULL, t + MINUTE);
	assert_int_equal(open_now(m), 1);
	assert_int_equal(told(m, "own", false) + told(m, "probe-failed", false) + told(m, "outlet-failed", false), 3);
	assert_int_equal(told(m, "token-lost", false), 0);
}

static void an_outage_that_nobody_measures_any_more_has_ended(void **state)
{
	struct mold *m = *state;
	struct watch_conf next = m->conf;
	int64_t t = 1000 * MOMENT_HOUR;
	watch_book_seen(m->book, "status", false, t);
	next.probes.count = 0;
	configure(m, &next, NULL, t + 10 * MINUTE);
	next.probes.count = 1;
	configure(m, &next, NULL, t + MOMENT_HOUR);
	watch_book_seen(m->book, "status", false, t + MOMENT_HOUR);
	watch_book_seen(m->book, "status", false, t + MOMENT_HOUR + 19 * MINUTE);
	assert_int_equal(told(m, "outage-significant", true), 0);
	watch_book_seen(m->book, "status", false, t + MOMENT_HOUR + 20 * MINUTE);
	assert_int_equal(told(m, "outage-significant", true), 1);
}

static void no_notice_is_kept_for_an_outlet_that_is_gone(void **state)
{
	struct mold *m = *state;
	struct watch_conf next = m->conf;
	struct watch_notice n;
	(void)watch_book_sent(m->book, "hook");
	token(m, AUDIT_TOKEN_LOST, "issuing", MOMENT_HOUR);
	assert_true(watch_book_unrecorded(m->book, &n));
	watch_book_recorded(m->book, n.number);
	assert_int_equal(told(m, "token-lost", true), 1); /* the hook has not had it */
	next.outlets.count = 0;
	configure(m, &next, NULL, MOMENT_HOUR);
	token(m, AUDIT_TOKEN_OPENED, "issuing", 2 * MOMENT_HOUR);
	while (watch_book_unrecorded(m->book, &n))
		watch_book_recorded(m->book, n.number);
	assert_int_equal(told(m, "token-lost", true) + told(m, "token-lost", false), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(a_threshold_is_reached_within_its_window_only),
		TEST(quiet_closes_what_no_record_closes),
		TEST(a_wrong_share_is_an_alert_at_once),
		TEST(a_second_place_that_keeps_what_the_log_lost_is_an_alert),
		TEST(a_record_closes_the_alert_of_its_subject_and_no_other),
		TEST(what_was_over_before_the_first_run_is_not_told),
		TEST(the_file_brings_everything_back),
		TEST(a_file_that_is_none_of_ours_is_refused),
		TEST(outages_are_summed_over_a_week),
		TEST(more_than_can_be_kept_pushes_out_the_oldest_only),
		TEST(a_subject_is_cut_between_characters),
		TEST(a_false_status_of_so_many_is_a_significant_incident),
		TEST(what_was_counted_counts_under_another_threshold),
		TEST(counts_of_a_larger_threshold_keep_their_order),
		TEST(an_alert_that_nobody_could_close_any_more_is_closed),
		TEST(an_outage_that_nobody_measures_any_more_has_ended),
		TEST(no_notice_is_kept_for_an_outlet_that_is_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
