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

/* ---- where the entries are in the file ---- */

struct filling {
	unsigned from, count;
	size_t serial_len;
};

static st insert_revoked(struct scope *s, struct db_tx *tx, void *arg)
{
	const struct filling *f = arg;
	for (unsigned i = f->from; i < f->from + f->count; i++) {
		const uint8_t serial[20] = { 0x40 | (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i };
		TRY(db_exec(s, tx, &sql_status_insert,
			    DB_VALUES(db_blob(span_of(serial, f->serial_len)), db_integer(1), db_integer(1), db_integer(0),
				      db_integer(MOMENT_DAY), db_integer(0), db_integer(0), db_integer(0)),
			    NULL));
	}
	return OK;
}

static void fill(struct unit *u, unsigned from, unsigned count, size_t serial_len)
{
	struct filling f = { from, count, serial_len };
	assert_ok(&u->s, db_tx(&u->s, u->ca->db, insert_revoked, &f));
}

static st pretend_size(struct scope *s, struct db_tx *tx, void *arg)
{
	static const struct db_statement statement = { "pretend", { "UPDATE crl SET size = ?1" } };
	return db_exec(s, tx, &statement, DB_VALUES(db_integer(*(int64_t *)arg)), NULL);
}

/* One without the wait for its second, read and verified. */
static struct ca_crl issue_verified(struct unit *u, uint64_t entries)
{
	struct ca_authority *a = unit_authority(u, "management");
	a->crl->last = 0;
	struct ca_crl crl = issue_one(u);
	struct pki_crl read = read_file(u, &crl);
	assert_true(crl.entries == entries && read.entries == entries);
	assert_ok(&u->s, pki_key_verify(&u->s, a->public_key, a->algorithm, read.tbs, read.signature));
	return crl;
}

/* Their place is left by the size of the last CRL, and may be right, too long by all lengths of lengths, or too short. */
static void the_entries_are_in_their_place_whatever_the_last_crl_was_like(void **state)
{
	struct unit *u = *state;
	static const struct {
		int64_t last_size;
		unsigned more;
	} rows[] = { { 1, 0 }, { 20000000, 1 }, { 100, 2 }, { 100, 9000 }, { 20000000, 1 }, { 400000, 1 }, { 0, 0 } };
	unsigned entries = 0;
	(void)issue_verified(u, 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int64_t size = rows[i].last_size;
		assert_ok(&u->s, db_tx(&u->s, u->ca->db, pretend_size, &size));
		fill(u, entries, rows[i].more, 16);
		entries += rows[i].more;
		(void)issue_verified(u, entries);
	}
}

/* With the longest signature it would be 65,536 octets, and the length of that takes one octet more than what it comes to. */
static void a_signature_shorter_than_the_longest_moves_them_when_it_takes_an_octet_from_a_length(void **state)
{
	struct unit *u = *state;
	const size_t head = 4, entry = 19, longest = unit_authority(u, "management")->algorithm->max_signature;
	fill(u, 0, 1700, 16);
	struct ca_crl crl = issue_verified(u, 1700);
	size_t missing = 65536 - (crl.size - head + longest - read_file(u, &crl).signature.len);
	unsigned entries = 1700, more = (unsigned)(missing / (entry + 16)) - 1;
	fill(u, entries, more, 16);
	missing -= more * (entry + 16);
	fill(u, entries + more, 1, missing / 2 - entry);
	fill(u, entries + more + 1, 1, missing - missing / 2 - entry);
	crl = issue_verified(u, entries + more + 2);
	assert_int_equal(crl.size - head + longest - read_file(u, &crl).signature.len, 65536);
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
		CASE(the_entries_are_in_their_place_whatever_the_last_crl_was_like),
		CASE(a_signature_shorter_than_the_longest_moves_them_when_it_takes_an_octet_from_a_length),
		CASE(next_update_may_be_given_but_not_in_the_past),
		CASE(revocations_close_together_make_one_crl),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
