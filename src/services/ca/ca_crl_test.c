#include "ca_unit.h"
#include "file.h"

#define ASKING 8

struct asking {
	struct unit *u;
	pthread_t thread;
	struct ca_crl crl;
	enum code code;
	char message[SCOPE_MESSAGE_MAX];
};

static void *ask(void *arg)
{
	struct asking *a = arg;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	a->code = ca_crl_issue(&s, a->u->ca, unit_authority(a->u, "management"), 0, &a->crl).code;
	(void)snprintf(a->message, sizeof a->message, "%s", s.message);
	return NULL;
}

static void all_ask(struct unit *u, struct asking *asking)
{
	for (size_t i = 0; i < ASKING; i++) {
		asking[i].u = u;
		assert_int_equal(pthread_create(&asking[i].thread, NULL, ask, &asking[i]), 0);
	}
	for (size_t i = 0; i < ASKING; i++)
		(void)pthread_join(asking[i].thread, NULL);
}

static struct ca_crl issue_one(struct unit *u)
{
	struct ca_crl crl;
	assert_ok(&u->s, ca_crl_issue(&u->s, u->ca, unit_authority(u, "management"), 0, &crl));
	return crl;
}

static struct ca_certificate revoke_one(struct unit *u, const char *name)
{
	struct ca_certificate c = unit_issue(u, name);
	struct ca_revoked revoked;
	const struct ca_revocation want = { .serial = c.serial, .reason = "superseded", .actor = "unit" };
	assert_ok(&u->s, ca_revoke(&u->s, u->ca, &want, &revoked));
	return c;
}

static struct pki_crl read_file(struct unit *u, const struct ca_crl *crl)
{
	span der;
	struct pki_crl read;
	assert_ok(&u->s, file_read(&u->s, ca_crl_path(&u->s, u->ca, "management", crl->number), 1u << 20, &der));
	uint8_t digest[DIGEST_MAX];
	assert_int_equal(der.len, crl->size);
	assert_memory_equal(digest_of(DIGEST_SHA256, der, digest).data, crl->digest, 32);
	assert_ok(&u->s, pki_crl_read(&u->s, der, &read));
	return read;
}

static void the_file_is_the_crl_that_was_reported(void **state)
{
	struct unit *u = *state;
	struct ca_crl empty = issue_one(u);
	assert_true(empty.entries == 0 && read_file(u, &empty).number == 1);
	(void)revoke_one(u, "One");
	(void)revoke_one(u, "Two");
	struct ca_crl crl = issue_one(u);
	struct pki_crl read = read_file(u, &crl);
	assert_true(crl.entries == 2 && read.number == crl.number && crl.number == 2);
	assert_true(crl.next_update - crl.this_update == MOMENT_DAY);
	assert_ok(&u->s, pki_key_verify(&u->s, unit_authority(u, "management")->public_key,
					alg_signature_of_identifier(read.signature_identifier), read.tbs, read.signature));
}

static void who_asks_at_once_shares_and_gets_one_that_was_begun_later(void **state)
{
	struct unit *u = *state;
	struct asking asking[ASKING] = { 0 };
	(void)issue_one(u);
	struct ca_certificate c = revoke_one(u, "Before");
	(void)c;
	unsigned before = atomic_load(&u->signed_crls);
	all_ask(u, asking);
	for (size_t i = 0; i < ASKING; i++) {
		assert_int_equal(asking[i].code, E_OK);
		assert_int_equal(asking[i].crl.entries, 1);
	}
	assert_in_range(atomic_load(&u->signed_crls) - before, 1, 2);
}

static void there_is_one_a_second_at_most(void **state)
{
	struct unit *u = *state;
	int64_t start = moment_monotonic();
	struct ca_crl first = issue_one(u), second = issue_one(u);
	assert_true(moment_monotonic() - start >= MOMENT_SECOND);
	assert_int_equal(second.number, first.number + 1);
	assert_int_equal(atomic_load(&u->signed_crls), 2);
}

static void all_who_wait_learn_why_it_failed_and_the_number_is_not_used_again(void **state)
{
	struct unit *u = *state;
	struct asking asking[ASKING] = { 0 };
	atomic_store(&u->refuse, E_DENIED);
	all_ask(u, asking);
	atomic_store(&u->refuse, E_OK);
	for (size_t i = 0; i < ASKING; i++) {
		assert_int_equal(asking[i].code, E_DENIED);
		assert_non_null(strstr(asking[i].message, "the unit test says no"));
	}
	uint64_t taken = unit_authority(u, "management")->crl->number;
	assert_in_range(taken, 1, 2);
	assert_int_equal(issue_one(u).number, taken + 1);
}

static void a_signature_that_does_not_verify_is_not_published(void **state)
{
	struct unit *u = *state;
	struct ca_crl crl;
	EVP_PKEY *right = u->key[0];
	int64_t feed = unit_feed_end(u);
	u->key[0] = u->key[1];
	assert_fails(&u->s, E_CRYPTO, ca_crl_issue(&u->s, u->ca, unit_authority(u, "management"), 0, &crl));
	u->key[0] = right;
	assert_fails(&u->s, E_NOTFOUND, ca_crl_last(&u->s, u->ca, 1, &crl));
	assert_int_equal(unit_feed_end(u), feed);
	assert_false(file_exists(ca_crl_path(&u->s, u->ca, "management", 1)));
}

static void next_update_may_be_given_but_not_in_the_past(void **state)
{
	struct unit *u = *state;
	struct ca_crl crl;
	int64_t now = scope_now(&u->s), later = (now / MOMENT_SECOND + 77) * MOMENT_SECOND;
	struct ca_authority *a = unit_authority(u, "management");
	assert_fails(&u->s, E_INPUT, ca_crl_issue(&u->s, u->ca, a, now - 1, &crl));
	assert_ok(&u->s, ca_crl_issue(&u->s, u->ca, a, later + 5, &crl));
	assert_true(crl.next_update == later);
}

/* The schedule: one when there is none, none while the last is young, one for many revocations that come close together. */
static void revocations_close_together_make_one_crl(void **state)
{
	struct unit *u = *state;
	for (int i = 0; i < 5; i++)
		(void)unit_issue(u, scope_printf(&u->s, "Holder %d", i));
	assert_ok(&u->s, ca_crl_start(&u->s, u->ca));
	u->ca->threads = 1;
	struct ca_crl last;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	unit_until(atomic_load(&u->signed_crls) == 1);
	(void)usleep(1300000);
	assert_int_equal(atomic_load(&u->signed_crls), 1);
	for (int i = 0; i < 5; i++)
		(void)revoke_one(u, scope_printf(&u->s, "Lost %d", i));
	unit_until(ca_crl_last(&s, u->ca, 1, &last).code == E_OK && last.entries == 5);
	assert_in_range(atomic_load(&u->signed_crls), 2, 3);
	(void)usleep(1300000);
	assert_in_range(atomic_load(&u->signed_crls), 2, 3);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, unit_set_up, unit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_file_is_the_crl_that_was_reported),
		CASE(who_asks_at_once_shares_and_gets_one_that_was_begun_later),
		CASE(there_is_one_a_second_at_most),
		CASE(all_who_wait_learn_why_it_failed_and_the_number_is_not_used_again),
		CASE(a_signature_that_does_not_verify_is_not_published),
		CASE(next_update_may_be_given_but_not_in_the_past),
		CASE(revocations_close_together_make_one_crl),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
