#include "tsa_clock.h"
#include "log.h"
#include "moment.h"
#include "unit.h"
#include <unistd.h>

/* A clock whose every hand we move ourselves. */
static struct world {
	struct timex timex;
	int state;
	int64_t real, up;
	int lost, regained, samples, leaps;
	struct tsa_clock_sample sample;
	bool inserted;
	int64_t leap_day;
	enum code record_code;
	char reason[TSA_CLOCK_REASON_MAX];
} world;

static int world_adjtimex(void *state, struct timex *out)
{
	(void)state;
	*out = world.timex;
	return world.state;
}

static int64_t world_real(void *state)
{
	(void)state;
	return world.real;
}

static int64_t world_up(void *state)
{
	(void)state;
	return world.up;
}

static const struct tsa_clock_source world_source = { world_adjtimex, world_real, world_up, NULL };

static st world_lost(struct scope *s, const char *reason, void *arg)
{
	(void)arg;
	if (world.record_code != E_OK)
		return fail(s, world.record_code, "no audit");
	world.lost++;
	(void)snprintf(world.reason, sizeof world.reason, "%s", reason);
	return OK;
}

static st world_regained(struct scope *s, int64_t offset, int64_t error, void *arg)
{
	(void)arg;
	(void)offset;
	(void)error;
	if (world.record_code != E_OK)
		return fail(s, world.record_code, "no audit");
	world.regained++;
	return OK;
}

static st world_sampled(struct scope *s, const struct tsa_clock_sample *sample, void *arg)
{
	(void)arg;
	if (world.record_code != E_OK)
		return fail(s, world.record_code, "no audit");
	world.samples++;
	world.sample = *sample;
	return OK;
}

static st world_leap(struct scope *s, bool inserted, int64_t day, void *arg)
{
	(void)arg;
	if (world.record_code != E_OK)
		return fail(s, world.record_code, "no audit");
	world.leaps++;
	world.inserted = inserted;
	world.leap_day = day;
	return OK;
}

#define ACCURACY (500 * INT64_C(1000))
/* 2026-12-31T12:00:00Z */
#define NOON INT64_C(1798718400000000)

static struct tsa_clock *new_clock(enum tsa_clock_kind kind)
{
	log_init("tsa", LOG_LEVEL_ERROR - 1);
	world = (struct world){ .real = NOON, .up = 1000 * MOMENT_SECOND, .state = TIME_OK };
	world.timex = (struct timex){ .maxerror = 1000, .esterror = 100, .status = STA_PLL | STA_NANO };
	const struct tsa_clock_settings settings = {
		.kind = kind,
		.accuracy = ACCURACY,
		.source = &world_source,
		.lost = world_lost,
		.regained = world_regained,
		.sampled = world_sampled,
		.leap = world_leap,
	};
	return tsa_clock_new(&settings);
}

static void pass(int64_t microseconds)
{
	world.real += microseconds;
	world.up += microseconds;
}

static bool gives_time(struct tsa_clock *c)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t now = 0;
	st got = tsa_clock_now(&s, c, &now);
	assert_true(got.code == E_OK || got.code == E_CLOCK);
	assert_true(got.code != E_OK || now == world.real);
	return got.code == E_OK;
}

/* The monitor looking for so long; false as soon as a token could be had. */
static bool silent_for(struct tsa_clock *c, int64_t duration)
{
	for (int64_t end = world.up + duration; world.up < end;) {
		if (gives_time(c))
			return false;
		pass(TSA_CLOCK_INTERVAL);
		tsa_clock_look(c);
	}
	return true;
}

static void a_synchronised_clock_gives_the_time(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	assert_false(gives_time(c)); /* nobody has looked yet */
	tsa_clock_look(c);
	assert_true(gives_time(c));
	assert_int_equal(world.regained, 1);
	for (int i = 0; i < 1000; i++) {
		pass(TSA_CLOCK_INTERVAL);
		tsa_clock_look(c);
		assert_true(gives_time(c));
	}
	assert_int_equal(world.regained, 1);
	assert_int_equal(world.lost, 0);
	tsa_clock_free(c);
}

static void look_for(struct tsa_clock *c, int64_t duration)
{
	for (int64_t end = world.up + duration; world.up < end; pass(TSA_CLOCK_INTERVAL))
		tsa_clock_look(c);
}

//= en319421#OVR-7.12-04 synchronisation is on record, also while nothing is wrong
static void each_hour_the_worst_offset_and_error_go_on_record(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	look_for(c, MOMENT_HOUR / 2);
	world.timex.offset = -7000000; /* ns */
	world.timex.maxerror = 9000;
	look_for(c, MOMENT_SECOND);
	world.timex.offset = 3000000;
	world.timex.maxerror = 1000;
	world.timex.status |= STA_UNSYNC; /* what is not trusted is no sample of the offset */
	world.timex.maxerror = 999999;
	look_for(c, MOMENT_SECOND);
	world.timex.status &= ~STA_UNSYNC;
	world.timex.maxerror = 1000;
	assert_int_equal(world.samples, 0);
	look_for(c, MOMENT_HOUR / 2);
	assert_int_equal(world.samples, 1);
	assert_int_equal(world.sample.offset, -7000);
	assert_int_equal(world.sample.error, 9000);
	assert_int_equal(world.sample.looks - world.sample.trusted, 5);
	assert_true(world.sample.until - world.sample.since >= TSA_CLOCK_SAMPLE_PERIOD);
	world.record_code = E_UNAVAILABLE;
	look_for(c, MOMENT_HOUR + MOMENT_MINUTE);
	assert_int_equal(world.samples, 1);
	world.record_code = E_OK;
	look_for(c, MOMENT_SECOND);
	assert_int_equal(world.samples, 2); /* later, and nothing is lost */
	assert_true(world.sample.until - world.sample.since >= MOMENT_HOUR + MOMENT_MINUTE - 2 * TSA_CLOCK_INTERVAL);
	tsa_clock_free(c);
}

//= en319421#OVR-7.12-06 leap seconds are on record
static void an_announced_leap_second_goes_on_record_once(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	look_for(c, MOMENT_SECOND);
	assert_int_equal(world.leaps, 0);
	world.state = TIME_INS;
	world.timex.status |= STA_INS;
	world.record_code = E_UNAVAILABLE;
	look_for(c, MOMENT_SECOND);
	assert_int_equal(world.leaps, 0);
	world.record_code = E_OK;
	look_for(c, MOMENT_MINUTE);
	assert_int_equal(world.leaps, 1);
	assert_true(world.inserted && world.leap_day == NOON - MOMENT_DAY / 2);
	tsa_clock_free(c);
}

static void set_unsync(void)
{
	world.timex.status |= STA_UNSYNC;
	world.state = TIME_ERROR;
}

static void set_wide_maximum(void)
{
	world.timex.maxerror = ACCURACY + 1;
}

static void set_wide_estimate(void)
{
	world.timex.esterror = ACCURACY + 1;
}

static void set_far_offset(void)
{
	world.timex.offset = 1000 * -(ACCURACY - 999); /* nanoseconds; the maximum error is 1000 us */
}

static void set_no_answer(void)
{
	world.state = -1;
}

//= en319421#TIS-7.7.2-06 no token when the clock may be outside the declared accuracy
static void a_clock_out_of_its_accuracy_gives_none(void **state)
{
	(void)state;
	static void (*const faults[])(void) = { set_unsync, set_wide_maximum, set_wide_estimate, set_far_offset,
						set_no_answer };
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
		faults[i]();
		tsa_clock_look(c);
		assert_true(silent_for(c, MOMENT_MINUTE));
		assert_int_equal(world.lost, 1);
		assert_int_equal(world.regained, 0);
		tsa_clock_free(c);
	}
}

static void a_clock_that_loses_its_source_stops_at_the_next_look(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	tsa_clock_look(c);
	assert_true(gives_time(c));
	set_unsync();
	pass(TSA_CLOCK_INTERVAL);
	tsa_clock_look(c);
	assert_true(silent_for(c, MOMENT_MINUTE));
	assert_int_equal(world.lost, 1);
	world.timex.status &= ~STA_UNSYNC;
	world.state = TIME_OK;
	for (int i = 0; i < TSA_CLOCK_STEADY; i++) {
		assert_false(gives_time(c));
		pass(TSA_CLOCK_INTERVAL);
		tsa_clock_look(c);
	}
	assert_true(gives_time(c));
	assert_int_equal(world.regained, 2);
	tsa_clock_free(c);
}

/* The error bound grows by 500 us a second when nobody disciplines the clock. */
static void a_slow_drift_stops_before_the_accuracy_is_passed(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	int64_t worst = 0;
	for (int i = 0; i < 10000; i++) {
		tsa_clock_look(c);
		if (gives_time(c))
			worst = world.timex.maxerror;
		pass(TSA_CLOCK_INTERVAL);
		world.timex.maxerror += 100;
	}
	assert_true(worst > ACCURACY / 2 && worst <= ACCURACY);
	assert_int_equal(world.lost, 1);
	tsa_clock_free(c);
}

static void a_step_gives_no_token_until_it_is_recorded_and_steady(void **state)
{
	(void)state;
	static const int64_t steps[] = { 2 * MOMENT_SECOND, -2 * MOMENT_SECOND, ACCURACY + 1, -ACCURACY - 1, MOMENT_DAY };
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
		tsa_clock_look(c);
		assert_true(gives_time(c));
		world.real += steps[i];
		assert_false(gives_time(c)); /* noticed before the monitor looks */
		pass(TSA_CLOCK_INTERVAL / 2);
		tsa_clock_look(c);
		assert_false(gives_time(c));
		assert_int_equal(world.lost, 1);
		assert_true(strstr(world.reason, "jumped") != NULL);
		assert_true(silent_for(c, 2 * TSA_CLOCK_INTERVAL));
		pass(TSA_CLOCK_INTERVAL);
		tsa_clock_look(c);
		assert_true(gives_time(c));
		assert_int_equal(world.regained, 2);
		tsa_clock_free(c);
	}
}

static void a_clock_that_keeps_jumping_is_not_steady(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	tsa_clock_look(c);
	for (int i = 0; i < 100; i++) {
		world.real += i % 2 == 0 ? 2 * MOMENT_SECOND : -2 * MOMENT_SECOND;
		pass(TSA_CLOCK_INTERVAL);
		tsa_clock_look(c);
		assert_false(gives_time(c));
	}
	tsa_clock_free(c);
}

//= en319421#TIS-7.7.2-06 fail closed: a monitor that is silent stops the tokens
static void a_dead_monitor_stops_the_tokens(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	tsa_clock_look(c);
	pass(TSA_CLOCK_STALE);
	assert_true(gives_time(c));
	pass(1);
	assert_false(gives_time(c));
	pass(MOMENT_HOUR);
	assert_false(gives_time(c));
	tsa_clock_look(c);
	assert_true(gives_time(c));
	tsa_clock_free(c);
}

static void announce_leap(int kernel_state, int status)
{
	world.state = kernel_state;
	world.timex.status |= status;
}

//= en319421#TIS-7.7.2-07 a leap second falls into the last minute of the announced day
static void nothing_is_stamped_across_a_leap_second(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	const int64_t midnight = NOON + 12 * MOMENT_HOUR;
	announce_leap(TIME_INS, STA_INS);
	pass(midnight - 10 * MOMENT_SECOND - world.real);
	bool inserted = false;
	int64_t last = 0, first = 0;
	for (int i = 0; i < 120; i++) {
		tsa_clock_look(c);
		if (gives_time(c)) {
			if (!inserted)
				last = world.real;
			else if (first == 0)
				first = world.real;
		}
		pass(TSA_CLOCK_INTERVAL);
		if (!inserted && world.real >= midnight) { /* 23:59:59 comes twice */
			world.real -= MOMENT_SECOND;
			inserted = true;
			world.state = TIME_OOP;
		} else if (inserted && world.real >= midnight) {
			world.state = TIME_WAIT;
			world.timex.status &= ~STA_INS;
		}
	}
	assert_true(last > 0 && last < midnight - MOMENT_SECOND - TSA_CLOCK_LEAP_PAUSE);
	assert_true(first > midnight + TSA_CLOCK_LEAP_PAUSE);
	tsa_clock_free(c);
}

static void an_announced_leap_second_does_not_stop_the_day_before(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	announce_leap(TIME_INS, STA_INS);
	tsa_clock_look(c);
	assert_true(gives_time(c));
	tsa_clock_free(c);
}

//= en319421#TIS-7.7.2-06 after a loss, tokens again only with a recalibration on record
static void without_a_record_the_clock_stays_lost(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	world.record_code = E_UNAVAILABLE;
	tsa_clock_look(c);
	assert_true(silent_for(c, 10 * MOMENT_SECOND));
	world.record_code = E_OK;
	tsa_clock_look(c);
	assert_true(gives_time(c));
	world.record_code = E_UNAVAILABLE;
	set_unsync();
	pass(TSA_CLOCK_INTERVAL);
	tsa_clock_look(c);
	assert_false(gives_time(c));
	assert_int_equal(world.lost, 0);
	world.record_code = E_OK; /* the loss is put on record as soon as that is possible */
	pass(TSA_CLOCK_INTERVAL);
	tsa_clock_look(c);
	assert_int_equal(world.lost, 1);
	tsa_clock_free(c);
}

static void the_test_clock_is_always_there(void **state)
{
	(void)state;
	struct tsa_clock *c = new_clock(TSA_CLOCK_TEST);
	set_unsync();
	tsa_clock_look(c);
	assert_true(gives_time(c));
	assert_int_equal(world.lost + world.regained, 0);
	tsa_clock_free(c);
}

/* The real thread over the hands above: it looks, and stops when told to. */
static void the_monitor_looks_by_itself(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct tsa_clock *c = new_clock(TSA_CLOCK_KERNEL);
	const struct tsa_clock_settings settings = { .kind = TSA_CLOCK_KERNEL,
						     .accuracy = ACCURACY,
						     .source = &tsa_clock_kernel };
	struct tsa_clock *own = tsa_clock_new(&settings);
	assert_ok(&s, tsa_clock_watch(&s, own));
	struct timex t = { 0 };
	char reason[TSA_CLOCK_REASON_MAX];
	bool synchronised = adjtimex(&t) != TIME_ERROR && t.maxerror <= ACCURACY;
	(void)usleep(2 * TSA_CLOCK_STALE); /* longer than a dead monitor would be believed */
	assert_int_equal(tsa_clock_trusted(own, reason), synchronised);
	tsa_clock_free(own);
	tsa_clock_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_synchronised_clock_gives_the_time),
		cmocka_unit_test(each_hour_the_worst_offset_and_error_go_on_record),
		cmocka_unit_test(an_announced_leap_second_goes_on_record_once),
		cmocka_unit_test(a_clock_out_of_its_accuracy_gives_none),
		cmocka_unit_test(a_clock_that_loses_its_source_stops_at_the_next_look),
		cmocka_unit_test(a_slow_drift_stops_before_the_accuracy_is_passed),
		cmocka_unit_test(a_step_gives_no_token_until_it_is_recorded_and_steady),
		cmocka_unit_test(a_clock_that_keeps_jumping_is_not_steady),
		cmocka_unit_test(a_dead_monitor_stops_the_tokens),
		cmocka_unit_test(nothing_is_stamped_across_a_leap_second),
		cmocka_unit_test(an_announced_leap_second_does_not_stop_the_day_before),
		cmocka_unit_test(without_a_record_the_clock_stays_lost),
		cmocka_unit_test(the_test_clock_is_always_there),
		cmocka_unit_test(the_monitor_looks_by_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
