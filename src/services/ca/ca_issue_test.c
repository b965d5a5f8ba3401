#include "ca_unit.h"

/* ---- serial numbers ---- */

//= en319411-1#GEN-6.3.3-02A 16 random octets, positive, without a leading zero
static void serials_are_random_positive_and_of_full_length(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t seen[2000][16];
	unsigned bits[128] = { 0 };
	for (size_t i = 0; i < 2000; i++) {
		pki_serial_new(&s, seen[i]);
		assert_in_range(seen[i][0], 1, 0x7f);
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(seen[k], seen[i], 16);
		for (size_t bit = 8; bit < 128; bit++)
			bits[bit] += (seen[i][bit / 8] >> (7 - bit % 8)) & 1;
	}
	for (size_t bit = 8; bit < 128; bit++)
		assert_in_range(bits[bit], 800, 1200); /* each free of the others: nine standard deviations */
}

/* Randomness that repeats itself, over the real clock. */
static void same_again(void *state, void *out, size_t len)
{
	memset(out, *(uint8_t *)state, len);
}

static int64_t real_now(void *state)
{
	(void)state;
	return source_kernel.now(source_kernel.state);
}

static st issue_from(struct unit *u, uint8_t *pattern, const char *ca, const char *name, struct ca_issued *out)
{
	const struct source repeating = { real_now, same_again, pattern };
	AUTO_SCOPE s;
	scope_init(&s, &repeating);
	struct ca_order order = unit_order(u, &u->s, name);
	order.authority = unit_authority(u, ca);
	st status = ca_issue(&s, u->ca, &order, out);
	out->certificate.serial = scope_copy(&u->s, out->certificate.serial);
	return status;
}

//= en319411-1#GEN-6.3.3-02A
static void a_serial_drawn_twice_is_refused_over_all_cas_and_the_first_stays(void **state)
{
	struct unit *u = *state;
	struct ca_issued first = { 0 }, again = { 0 };
	uint8_t pattern = 0x5a, other = 0x5b;
	(void)unit_found(u, "second");
	assert_ok(&u->s, issue_from(u, &pattern, "management", "First", &first));
	int64_t feed = unit_feed_end(u);
	assert_int_equal(issue_from(u, &pattern, "management", "Again", &again).code, E_CONFLICT);
	assert_int_equal(issue_from(u, &pattern, "second", "Elsewhere", &again).code, E_CONFLICT);
	assert_int_equal(unit_feed_end(u), feed);
	struct ca_certificate c;
	assert_ok(&u->s, ca_certificate_find(&u->s, u->ca, first.certificate.serial, &c));
	assert_non_null(strstr(c.subject, "First"));
	assert_int_equal(c.state, CA_GOOD);
	assert_ok(&u->s, issue_from(u, &other, "second", "Elsewhere", &again));
}

/* ---- the order of deeds ---- */

static void a_certificate_is_on_record_before_it_is_signed_and_again_when_it_is_stored(void **state)
{
	struct unit *u = *state;
	struct ca_certificate c = unit_issue(u, "Recorded");
	const char *serial = hex_text(&u->s, c.serial);
	assert_int_equal(unit_log_count(u, "\"event\":\"sign.certificate\"", serial), 1);
	assert_int_equal(unit_log_count(u, "\"event\":\"certificate.issued\"", serial), 1);
}

static void what_keyd_refuses_leaves_no_trace(void **state)
{
	struct unit *u = *state;
	struct ca_issued issued;
	struct ca_order order = unit_order(u, &u->s, "Refused");
	assert_ok(&u->s, ca_relay_drain(&u->s, u->ca));
	int64_t feed = unit_feed_end(u);
	atomic_store(&u->refuse, E_DENIED);
	assert_fails(&u->s, E_DENIED, ca_issue(&u->s, u->ca, &order, &issued));
	assert_int_equal(unit_feed_end(u), feed);
	assert_int_equal(unit_outbox(u), 0);
	atomic_store(&u->refuse, E_OK);
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order, &issued));
}

static void a_signature_that_does_not_verify_is_not_let_out(void **state)
{
	struct unit *u = *state;
	struct ca_issued issued;
	struct ca_order order = unit_order(u, &u->s, "Wrong key");
	int64_t feed = unit_feed_end(u);
	EVP_PKEY *right = u->key[0];
	u->key[0] = u->key[1];
	assert_fails(&u->s, E_CRYPTO, ca_issue(&u->s, u->ca, &order, &issued));
	u->key[0] = right;
	assert_int_equal(unit_feed_end(u), feed);
	assert_int_equal(unit_log_count(u, "\"event\":\"certificate.issued\"", "Wrong"), 0);
}

static void a_request_id_is_answered_again_and_only_for_the_same_request(void **state)
{
	struct unit *u = *state;
	struct ca_issued first, again;
	struct ca_order order = unit_order(u, &u->s, "Repeats");
	order.request_id = "unit-1";
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order, &first));
	unsigned made = atomic_load(&u->signed_certificates);
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order, &again));
	assert_true(again.repeated && span_equal(again.certificate.der, first.certificate.der));
	assert_int_equal(atomic_load(&u->signed_certificates), made);
	order.validity_days = 3;
	assert_fails(&u->s, E_CONFLICT, ca_issue(&u->s, u->ca, &order, &again));
	unit_reopen(u);
	order.authority = unit_authority(u, "management");
	order.validity_days = 0;
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order, &again));
	assert_true(again.repeated);
}

static void a_key_is_certified_for_one_subject_and_when_lost_for_none(void **state)
{
	struct unit *u = *state;
	struct ca_issued issued;
	AUTO(EVP_PKEY) *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	struct ca_order order = unit_order(u, &u->s, "Owner");
	order.request = unit_request(&u->s, key, "Owner");
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order, &issued));
	struct ca_order other = order;
	other.request = unit_request(&u->s, key, "Other");
	assert_fails(&u->s, E_CONFLICT, ca_issue(&u->s, u->ca, &other, &issued));
	struct ca_revoked revoked;
	const struct ca_revocation lost = { .serial = issued.certificate.serial, .reason = "keyCompromise", .actor = "unit" };
	assert_ok(&u->s, ca_revoke(&u->s, u->ca, &lost, &revoked));
	unsigned made = atomic_load(&u->signed_certificates);
	assert_fails(&u->s, E_CRYPTO, ca_issue(&u->s, u->ca, &order, &issued));
	assert_int_equal(atomic_load(&u->signed_certificates), made);
}

#define BATCH 6

/* In one batch: a good one, one that is none, a repeat of an earlier request, two for one key, one whose key is another's. */
static void of_a_batch_each_has_its_own_outcome(void **state)
{
	struct unit *u = *state;
	struct scope s[BATCH];
	struct ca_order order[BATCH];
	struct ca_issuance batch[BATCH];
	struct ca_issued first;
	AUTO(EVP_PKEY) *twice = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	AUTO(EVP_PKEY) *owned = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	for (size_t i = 0; i < BATCH; i++) {
		scope_init(&s[i], NULL);
		order[i] = unit_order(u, &u->s, scope_printf(&u->s, "Batch %zu", i));
		batch[i] = (struct ca_issuance){ .scope = &s[i], .order = &order[i] };
	}
	order[1].request = SPAN_LITERAL("no request");
	order[2].request_id = "batch-2";
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order[2], &first));
	order[3].request = order[4].request = unit_request(&u->s, twice, "Twice");
	order[5].request = unit_request(&u->s, owned, "Owner");
	struct ca_issued ignored;
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order[5], &ignored));
	order[5].request = unit_request(&u->s, owned, "Other");
	unsigned made = atomic_load(&u->signed_certificates);
	ca_issue_all(u->ca, batch, BATCH);
	static const enum code expected[BATCH] = { E_OK, E_INPUT, E_OK, E_OK, E_BUSY, E_CONFLICT };
	for (size_t i = 0; i < BATCH; i++) {
		assert_int_equal(batch[i].outcome.code, expected[i]);
		assert_int_equal(s[i].code, expected[i]);
	}
	assert_int_equal(atomic_load(&u->signed_certificates), made + 2);
	assert_true(batch[2].issued.repeated && span_equal(batch[2].issued.certificate.der, first.certificate.der));
	static const size_t issued[] = { 0, 3 };
	for (size_t i = 0; i < 2; i++) {
		const struct ca_certificate *c = &batch[issued[i]].issued.certificate;
		assert_int_equal(unit_log_count(u, "\"event\":\"certificate.issued\"", hex_text(&u->s, c->serial)), 1);
		struct ca_certificate found;
		assert_ok(&u->s, ca_certificate_find(&u->s, u->ca, c->serial, &found));
		assert_true(span_equal(found.der, c->der));
	}
	ca_issue_all(u->ca, &batch[4], 1); /* nothing of it is in the way any more */
	assert_int_equal(batch[4].outcome.code, E_OK);
	for (size_t i = 0; i < BATCH; i++)
		scope_done(&s[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serials_are_random_positive_and_of_full_length),
		cmocka_unit_test_setup_teardown(a_serial_drawn_twice_is_refused_over_all_cas_and_the_first_stays, unit_set_up,
						unit_tear_down),
		cmocka_unit_test_setup_teardown(a_certificate_is_on_record_before_it_is_signed_and_again_when_it_is_stored,
						unit_set_up, unit_tear_down),
		cmocka_unit_test_setup_teardown(what_keyd_refuses_leaves_no_trace, unit_set_up, unit_tear_down),
		cmocka_unit_test_setup_teardown(a_signature_that_does_not_verify_is_not_let_out, unit_set_up, unit_tear_down),
		cmocka_unit_test_setup_teardown(a_request_id_is_answered_again_and_only_for_the_same_request, unit_set_up,
						unit_tear_down),
		cmocka_unit_test_setup_teardown(of_a_batch_each_has_its_own_outcome, unit_set_up, unit_tear_down),
		cmocka_unit_test_setup_teardown(a_key_is_certified_for_one_subject_and_when_lost_for_none, unit_set_up,
						unit_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
