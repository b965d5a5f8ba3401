/* Renewal by itself, at two thirds of a life that lasts seconds here. */
#include "ca_unit.h"
#include "file.h"

static struct ca_identity only(struct unit *u)
{
	struct ca_identity *list;
	size_t count;
	assert_ok(&u->s, ca_identity_list(&u->s, u->ca, &list, &count));
	assert_int_equal(count, 1);
	return list[0];
}

static const char *file_of(struct unit *u)
{
	return scope_printf(&u->s, "%s/daemon.pem", u->directory);
}

static struct ca_certificate enrol(struct unit *u, int64_t seconds, const char *file)
{
	struct ca_issued issued;
	struct ca_order order = unit_order(u, &u->s, "Daemon");
	order.validity_seconds = seconds;
	const struct ca_identity identity = { .name = "daemon", .profile = "tls-client", .label = "daemon", .file = file };
	assert_ok(&u->s, ca_identity_enrol(&u->s, u->ca, &order, &identity, &issued));
	return issued.certificate;
}

static void start(struct unit *u)
{
	assert_ok(&u->s, ca_crl_start(&u->s, u->ca)); /* ca_stop joins these two in this order */
	u->ca->threads = 1;
	assert_ok(&u->s, ca_renew_start(&u->s, u->ca));
	u->ca->threads = 2;
}

static void it_is_due_when_two_thirds_of_the_life_have_passed(void **state)
{
	struct unit *u = *state;
	static const int64_t lives[] = { 3, 4, 3600, 90 * 86400 };
	for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
		struct ca_certificate c = enrol(u, lives[i], NULL);
		struct ca_identity identity = only(u);
		/* notAfter is part of the life: it ends a second later. */
		int64_t passed = identity.renew_at - c.not_before, life = c.not_after + MOMENT_SECOND - c.not_before;
		assert_true(life == lives[i] * MOMENT_SECOND);
		assert_true(passed > life / 3 && passed <= life / 3 * 2 && passed >= life / 3 * 2 - MOMENT_SECOND);
	}
}

static void it_is_renewed_then_and_not_before_with_the_same_name_and_key(void **state)
{
	struct unit *u = *state;
	struct ca_certificate first = enrol(u, 7, NULL); /* due after 4 s */
	struct ca_identity before = only(u);
	start(u);
	while (scope_now(&u->s) < before.renew_at - 300000) {
		assert_true(span_equal(only(u).serial, first.serial));
		(void)usleep(100000);
	}
	unit_until(!span_equal(only(u).serial, first.serial));
	assert_true(scope_now(&u->s) >= before.renew_at && scope_now(&u->s) < first.not_after);
	struct ca_identity after = only(u);
	struct ca_certificate second;
	struct pki_certificate a, b;
	assert_ok(&u->s, ca_certificate_find(&u->s, u->ca, after.serial, &second));
	assert_ok(&u->s, pki_certificate_read(&u->s, first.der, &a));
	assert_ok(&u->s, pki_certificate_read(&u->s, second.der, &b));
	assert_true(span_equal(a.subject, b.subject) && span_equal(a.spki, b.spki));
	assert_true(b.not_after - b.not_before == a.not_after - a.not_before && after.renew_at > before.renew_at);
	assert_string_equal(second.role, "va");
	unit_until(unit_log_count(u, "\"event\":\"certificate.renewed\"", hex_text(&u->s, first.serial)) == 1);
	assert_int_equal(unit_log_count(u, "\"event\":\"certificate.renewed\"", hex_text(&u->s, after.serial)), 1);
}

static void the_file_of_its_holder_has_the_new_certificate_with_its_chain(void **state)
{
	struct unit *u = *state;
	struct ca_certificate first = enrol(u, 4, file_of(u));
	start(u);
	unit_until(!span_equal(only(u).serial, first.serial) && only(u).pushed);
	struct ca_certificate second;
	span pem;
	assert_ok(&u->s, ca_certificate_find(&u->s, u->ca, only(u).serial, &second));
	assert_ok(&u->s, file_read(&u->s, file_of(u), 65536, &pem));
	const char *expected = scope_printf(&u->s, "%s%s", pki_pem_write(&u->s, "CERTIFICATE", second.der),
					    unit_authority(u, "management")->chain_pem);
	assert_true(span_is(pem, expected));
}

static void a_failure_is_kept_with_the_identity_and_not_tried_again_at_once(void **state)
{
	struct unit *u = *state;
	struct ca_certificate first = enrol(u, 3, NULL);
	atomic_store(&u->refuse, E_DENIED);
	start(u);
	unit_until(only(u).failure != NULL);
	assert_non_null(strstr(only(u).failure, "the unit test says no"));
	assert_true(span_equal(only(u).serial, first.serial));
	unsigned made = atomic_load(&u->signed_certificates);
	atomic_store(&u->refuse, E_OK);
	(void)usleep(2500000); /* it pauses for ten seconds */
	assert_true(span_equal(only(u).serial, first.serial));
	assert_int_equal(atomic_load(&u->signed_certificates), made);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, unit_set_up, unit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(it_is_due_when_two_thirds_of_the_life_have_passed),
		CASE(it_is_renewed_then_and_not_before_with_the_same_name_and_key),
		CASE(the_file_of_its_holder_has_the_new_certificate_with_its_chain),
		CASE(a_failure_is_kept_with_the_identity_and_not_tried_again_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
