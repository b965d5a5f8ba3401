#include "unit.h"
#include "va_cache.h"
#include <pthread.h>
#include <unistd.h>

/* A stand-in for a CertID: a prefix, then the serial. */
struct id {
	uint8_t bytes[16];
};

static struct id id_of(uint8_t form, uint64_t serial)
{
	struct id id = { .bytes = { 0x30, form } };
	memcpy(id.bytes + 8, &serial, sizeof serial);
	return id;
}

static span whole(const struct id *id)
{
	return span_of(id->bytes, 16);
}

static span serial(const struct id *id)
{
	return span_of(id->bytes + 8, 8);
}

static struct va_answer *answer_for(const struct id *id, const char *body, int64_t refresh_at)
{
	struct va_answer *answer = va_answer_new(whole(id), serial(id), span_str(body));
	answer->refresh_at = refresh_at;
	return answer;
}

static void keep(struct va_cache *cache, const struct id *id, const char *body, int64_t refresh_at)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct va_flight *lead;
	struct va_answer *got;
	assert_ok(&s, va_cache_join(&s, cache, whole(id), serial(id), INT64_MAX, &lead, &got));
	assert_non_null(lead);
	struct va_answer *answer = answer_for(id, body, refresh_at);
	va_cache_land(cache, lead, answer, true, E_OK);
	va_answer_release(answer);
}

static bool has(struct va_cache *cache, const struct id *id, const char *body, int64_t now)
{
	struct va_answer *got = va_cache_get(cache, whole(id), serial(id), now);
	bool same = got != NULL && span_is(got->body, body);
	va_answer_release(got);
	return same;
}

static void what_was_kept_since_the_miss_is_found_by_who_joins_or_would_lead(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct va_cache *cache = va_cache_new(100);
	struct id id = id_of(1, 7);
	struct va_flight *lead;
	struct va_answer *got;
	va_cache_lead(cache, whole(&id), serial(&id), 0, &lead, &got);
	assert_true(lead != NULL && got == NULL);
	struct va_flight *second;
	va_cache_lead(cache, whole(&id), serial(&id), 0, &second, &got);
	assert_true(second == NULL && got == NULL);
	struct va_answer *answer = answer_for(&id, "made", 100);
	va_cache_land(cache, lead, answer, true, E_OK);
	va_answer_release(answer);
	va_cache_lead(cache, whole(&id), serial(&id), 0, &lead, &got);
	assert_true(lead == NULL && span_is(got->body, "made"));
	va_answer_release(got);
	assert_ok(&s, va_cache_join(&s, cache, whole(&id), serial(&id), 0, &lead, &got));
	assert_true(lead == NULL && span_is(got->body, "made"));
	va_answer_release(got);
	va_cache_free(cache);
}

static void an_answer_is_given_until_its_half_life(void **state)
{
	(void)state;
	struct va_cache *cache = va_cache_new(100);
	struct id id = id_of(1, 7), other_form = id_of(2, 7), other = id_of(1, 8);
	keep(cache, &id, "good", 1000);
	assert_true(has(cache, &id, "good", 999));
	assert_false(has(cache, &id, "good", 1000));
	assert_false(has(cache, &other_form, "good", 0));
	assert_false(has(cache, &other, "good", 0));
	keep(cache, &id, "newer", 2000);
	assert_true(has(cache, &id, "newer", 1500));
	assert_int_equal(va_cache_count(cache), 1);
	va_cache_free(cache);
}

static void a_change_of_status_forgets_every_form_of_asking(void **state)
{
	(void)state;
	struct va_cache *cache = va_cache_new(100);
	struct id sha1 = id_of(1, 7), sha256 = id_of(2, 7), other = id_of(1, 8);
	keep(cache, &sha1, "good", 1000);
	keep(cache, &sha256, "good", 1000);
	keep(cache, &other, "good", 1000);
	va_cache_drop(cache, serial(&sha1));
	assert_false(has(cache, &sha1, "good", 0));
	assert_false(has(cache, &sha256, "good", 0));
	assert_true(has(cache, &other, "good", 0));
	va_cache_clear(cache);
	assert_int_equal(va_cache_count(cache), 0);
	va_cache_free(cache);
}

/* The feed has 80 01, a CertID 00 80 01. */
static void a_serial_with_its_first_bit_set_is_found_by_its_magnitude(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct va_cache *cache = va_cache_new(100);
	uint8_t integer[] = { 0x30, 0x02, 0x00, 0x80, 0x01 };
	span id = SPAN_ARRAY(integer), serial = span_from(id, 2), magnitude = span_from(id, 3);
	struct va_flight *lead;
	struct va_answer *got, *answer = va_answer_new(id, serial, span_str("good"));
	answer->refresh_at = 1000;
	assert_ok(&s, va_cache_join(&s, cache, id, serial, 0, &lead, &got));
	va_cache_land(cache, lead, answer, true, E_OK);
	va_answer_release(answer);
	assert_int_equal(va_cache_count(cache), 1);
	va_cache_drop(cache, magnitude);
	assert_int_equal(va_cache_count(cache), 0);

	answer = va_answer_new(id, serial, span_str("good"));
	answer->refresh_at = 1000;
	assert_ok(&s, va_cache_join(&s, cache, id, serial, 0, &lead, &got));
	va_cache_drop(cache, magnitude); /* overtakes what is being signed */
	va_cache_land(cache, lead, answer, true, E_OK);
	va_answer_release(answer);
	assert_int_equal(va_cache_count(cache), 0);
	va_cache_free(cache);
}

static void an_answer_overtaken_by_a_change_of_status_is_not_kept(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct va_cache *cache = va_cache_new(100);
	struct id id = id_of(1, 7);
	struct va_flight *lead, *second;
	struct va_answer *got;
	assert_ok(&s, va_cache_join(&s, cache, whole(&id), serial(&id), 0, &lead, &got));
	va_cache_drop(cache, serial(&id));
	/* Nor may a request that comes after the change wait for it. */
	assert_ok(&s, va_cache_join(&s, cache, whole(&id), serial(&id), 0, &second, &got));
	assert_non_null(second);
	struct va_answer *stale = answer_for(&id, "good", 1000), *fresh = answer_for(&id, "revoked", 1000);
	va_cache_land(cache, second, fresh, true, E_OK);
	va_cache_land(cache, lead, stale, true, E_OK);
	assert_true(has(cache, &id, "revoked", 0));
	va_answer_release(stale);
	va_answer_release(fresh);
	va_cache_free(cache);
}

static void the_cache_stays_within_its_bound_and_keeps_what_is_asked_for(void **state)
{
	(void)state;
	struct va_cache *cache = va_cache_new(320);
	struct id wanted = id_of(1, 1u << 30);
	keep(cache, &wanted, "wanted", 1000);
	for (uint64_t i = 0; i < 5000; i++) {
		struct id id = id_of(1, i);
		keep(cache, &id, "good", 1000);
		assert_true(has(cache, &wanted, "wanted", 0));
	}
	assert_true(va_cache_count(cache) <= 320);
	assert_true(va_cache_count(cache) > 250);
	va_cache_free(cache);
}

static void a_held_answer_outlives_the_cache(void **state)
{
	(void)state;
	struct va_cache *cache = va_cache_new(10);
	struct id id = id_of(1, 7);
	keep(cache, &id, "good", 1000);
	struct va_answer *got = va_cache_get(cache, whole(&id), serial(&id), 0);
	va_cache_free(cache);
	assert_true(span_is(got->body, "good"));
	va_answer_release(got);
}

/* ---- several that ask for the same ---- */

struct asker {
	pthread_t thread;
	struct va_cache *cache;
	struct id id;
	st result;
	bool same;
};

static void *ask(void *arg)
{
	struct asker *asker = arg;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct va_flight *lead = NULL;
	struct va_answer *got = NULL;
	asker->result = va_cache_join(&s, asker->cache, whole(&asker->id), serial(&asker->id), 0, &lead, &got);
	if (lead != NULL)
		va_cache_land(asker->cache, lead, NULL, false, E_BUG);
	asker->same = lead == NULL && got != NULL && span_is(got->body, "signed once");
	va_answer_release(got);
	return NULL;
}

enum { ASKERS = 8 };

static void ask_while_leading(struct va_answer *answer, enum code code, struct asker askers[ASKERS])
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct va_cache *cache = va_cache_new(10);
	struct id id = id_of(1, 7);
	struct va_flight *lead;
	struct va_answer *got;
	assert_ok(&s, va_cache_join(&s, cache, whole(&id), serial(&id), 0, &lead, &got));
	for (size_t i = 0; i < ASKERS; i++) {
		askers[i] = (struct asker){ .cache = cache, .id = id };
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
	}
	usleep(100000);
	va_cache_land(cache, lead, answer, false, code);
	for (size_t i = 0; i < ASKERS; i++)
		assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
	assert_int_equal(va_cache_count(cache), 0);
	va_cache_free(cache);
}

static void those_who_ask_for_the_same_share_one_signature(void **state)
{
	(void)state;
	struct asker askers[ASKERS];
	struct id id = id_of(1, 7);
	struct va_answer *answer = answer_for(&id, "signed once", 1000);
	ask_while_leading(answer, E_OK, askers);
	for (size_t i = 0; i < ASKERS; i++)
		assert_true(askers[i].same);
	va_answer_release(answer);
}

static void those_who_wait_fail_as_the_signature_failed(void **state)
{
	(void)state;
	struct asker askers[ASKERS];
	ask_while_leading(NULL, E_UNAVAILABLE, askers);
	for (size_t i = 0; i < ASKERS; i++)
		assert_int_equal(askers[i].result.code, E_UNAVAILABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_kept_since_the_miss_is_found_by_who_joins_or_would_lead),
		cmocka_unit_test(an_answer_is_given_until_its_half_life),
		cmocka_unit_test(a_change_of_status_forgets_every_form_of_asking),
		cmocka_unit_test(a_serial_with_its_first_bit_set_is_found_by_its_magnitude),
		cmocka_unit_test(an_answer_overtaken_by_a_change_of_status_is_not_kept),
		cmocka_unit_test(the_cache_stays_within_its_bound_and_keeps_what_is_asked_for),
		cmocka_unit_test(a_held_answer_outlives_the_cache),
		cmocka_unit_test(those_who_ask_for_the_same_share_one_signature),
		cmocka_unit_test(those_who_wait_fail_as_the_signature_failed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
