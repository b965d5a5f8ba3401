/* Sets of records against what the database must make of them. A database is put back to an earlier state by a backup of it. */
#include "ca_unit.h"

static void assert_state(struct unit *u, span serial, int state, int reason)
{
	struct db_row row;
	assert_ok(&u->s, unit_status(u, serial, &row));
	assert_int_equal(row.column[1].integer, state);
	assert_int_equal(row.column[2].integer, reason);
}

static void revoke_it(struct unit *u, span serial, const char *reason, int64_t invalidity_date)
{
	struct ca_revoked revoked;
	const struct ca_revocation want = {
		.serial = serial, .reason = reason, .invalidity_date = invalidity_date, .actor = "unit"
	};
	assert_ok(&u->s, ca_revoke(&u->s, u->ca, &want, &revoked));
}

/* The newest store.reconciled says so many of each. */
static void assert_reported(struct unit *u, int entered, int revoked, int abandoned)
{
	const char *counts = scope_printf(&u->s, "\"serials_entered\":%d,\"revocations_entered\":%d,\"abandoned\":%d", entered,
					  revoked, abandoned);
	const struct log_record *last = &u->record[u->record_count - 1];
	assert_non_null(memmem(last->json, last->len, "store.reconciled", 16));
	if (memmem(last->json, last->len, counts, strlen(counts)) == NULL)
		print_error("%.*s\n", (int)last->len, (const char *)last->json);
	assert_non_null(memmem(last->json, last->len, counts, strlen(counts)));
}

/* ---- intents ---- */

/* Its serial, when keyd had it on record and nothing came of it. */
static span lost_intent(struct unit *u, const char *name)
{
	struct ca_issued issued;
	struct ca_order order = unit_order(u, &u->s, name);
	atomic_store(&u->lose, true);
	assert_fails(&u->s, E_UNAVAILABLE, ca_issue(&u->s, u->ca, &order, &issued));
	atomic_store(&u->lose, false);
	struct audit_record r;
	span serial;
	const struct log_record *last = &u->record[u->record_count - 1];
	assert_ok(&u->s, audit_record_read(&u->s, span_of(last->json, last->len), &r));
	assert_int_equal(r.code, AUDIT_SIGN_CERTIFICATE);
	assert_ok(&u->s, audit_field_hex(&u->s, &r, "serial", &serial));
	return ca_magnitude(serial);
}

static void an_intent_without_effect_is_closed_as_revoked_and_that_is_on_record_and_in_the_feed(void **state)
{
	struct unit *u = *state;
	span serial = lost_intent(u, "Lost");
	struct db_row row;
	assert_fails(&u->s, E_NOTFOUND, unit_status(u, serial, &row));
	int64_t feed = unit_feed_end(u);
	unit_reopen(u);
	assert_state(u, serial, CA_REVOKED, 0);
	assert_int_equal(unit_log_count(u, "\"event\":\"certificate.abandoned\"", hex_text(&u->s, serial)), 1);
	assert_reported(u, 0, 0, 1);
	assert_int_equal(unit_feed_end(u), feed + 1);
	unit_reopen(u);
	assert_reported(u, 0, 0, 0);
	assert_int_equal(unit_log_count(u, "\"event\":\"certificate.abandoned\"", hex_text(&u->s, serial)), 1);
}

static void an_intent_of_another_issuer_is_not_ours(void **state)
{
	struct unit *u = *state;
	struct ca_issued issued;
	const char *before = unit_keep(u);
	struct ca_authority *second = unit_found(u, "second");
	struct ca_order order = unit_order(u, &u->s, "Foreign");
	order.authority = second;
	atomic_store(&u->lose, true);
	assert_fails(&u->s, E_UNAVAILABLE, ca_issue(&u->s, u->ca, &order, &issued));
	atomic_store(&u->lose, false);
	/* The records of a CA this database never had, without what creates it. */
	size_t kept = 0;
	for (size_t i = 0; i < u->record_count; i++) {
		struct log_record *r = &u->record[i];
		bool creates = memmem(r->json, r->len, "\"ca.created\"", 12) != NULL &&
			       memmem(r->json, r->len, "\"second\"", 8) != NULL;
		if (creates)
			free(r->json);
		else
			u->record[kept++] = *r;
	}
	u->record_count = kept;
	unit_go_back(u, before);
	assert_reported(u, 0, 0, 0);
}

static void doubts_close_what_was_doubted_and_leave_the_rest(void **state)
{
	struct unit *u = *state;
	span doubted = lost_intent(u, "Doubted"), other = lost_intent(u, "Other");
	struct ca_doubt doubt = { .authority = 1, .serial_len = doubted.len };
	memcpy(doubt.serial, doubted.data, doubted.len);
	assert_ok(&u->s, ca_reconcile_doubts(&u->s, u->ca, &doubt));
	assert_state(u, doubted, CA_REVOKED, 0);
	struct db_row row;
	assert_fails(&u->s, E_NOTFOUND, unit_status(u, other, &row));
	assert_int_equal(unit_log_count(u, "\"event\":\"store.reconciled\"", "\"to\""), 1); /* only that of the start */
}

/* ---- effects ---- */

static void effects_a_restored_database_lacks_are_entered_byte_for_byte(void **state)
{
	struct unit *u = *state;
	const char *before = unit_keep(u);
	struct ca_issued first, again;
	struct ca_order order = unit_order(u, &u->s, "Entered");
	order.request_id = "unit-7";
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order, &first));
	struct ca_certificate second = unit_issue(u, "Also");
	unit_go_back(u, before);
	assert_reported(u, 2, 0, 0);
	struct ca_certificate c;
	assert_ok(&u->s, ca_certificate_find(&u->s, u->ca, first.certificate.serial, &c));
	assert_true(span_equal(c.der, first.certificate.der));
	assert_string_equal(c.role, "va");
	assert_string_equal(c.request_id, "unit-7");
	assert_ok(&u->s, ca_certificate_find(&u->s, u->ca, second.serial, &c));
	assert_true(span_equal(c.der, second.der));
	order.authority = unit_authority(u, "management");
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order, &again));
	assert_true(again.repeated && span_equal(again.certificate.der, first.certificate.der));
}

static void a_false_signature_in_the_log_is_not_entered(void **state)
{
	struct unit *u = *state;
	const char *before = unit_keep(u);
	struct ca_certificate c = unit_issue(u, "Forged");
	for (size_t i = 0; i < u->record_count; i++) {
		struct log_record *r = &u->record[i];
		char *at = memmem(r->json, r->len, "\"signature\":\"", 13);
		if (at != NULL && memmem(r->json, r->len, hex_text(&u->s, c.serial), 2 * c.serial.len) != NULL)
			at[13 + 60] = at[13 + 60] == 'A' ? 'B' : 'A';
	}
	ca_stop(u->ca);
	assert_int_equal(rename(before, u->conf.database), 0);
	u->ca = ca_new(&u->conf);
	st status = ca_open(&u->s, u->ca);
	assert_true(status.code == E_CRYPTO || status.code == E_INPUT);
	assert_non_null(strstr(u->s.message, "of the audit log"));
	scope_clear_error(&u->s);
}

/* ---- revocations ---- */

static void revocations_come_back_with_time_reason_and_invalidity_date(void **state)
{
	struct unit *u = *state;
	struct ca_certificate plain = unit_issue(u, "Plain"), dated = unit_issue(u, "Dated");
	const char *before = unit_keep(u);
	int64_t invalid = scope_now(&u->s) - 100 * MOMENT_SECOND;
	revoke_it(u, plain.serial, NULL, 0);
	revoke_it(u, dated.serial, "keyCompromise", invalid);
	struct ca_certificate new = unit_issue(u, "New");
	revoke_it(u, new.serial, "superseded", 0);
	struct ca_certificate was;
	assert_ok(&u->s, ca_certificate_find(&u->s, u->ca, dated.serial, &was));
	unit_go_back(u, before);
	assert_reported(u, 1, 3, 0);
	assert_state(u, plain.serial, CA_REVOKED, 0);
	assert_state(u, dated.serial, CA_REVOKED, pki_reason_named(SPAN_LITERAL("keyCompromise")));
	assert_state(u, new.serial, CA_REVOKED, pki_reason_named(SPAN_LITERAL("superseded")));
	struct ca_certificate is;
	assert_ok(&u->s, ca_certificate_find(&u->s, u->ca, dated.serial, &is));
	assert_true(is.revoked_at == was.revoked_at && is.invalidity_date == was.invalidity_date);
	assert_true(is.invalidity_date == invalid - invalid % MOMENT_SECOND);
}

static void a_revocation_in_the_database_is_not_changed_by_the_log(void **state)
{
	struct unit *u = *state;
	struct ca_certificate c = unit_issue(u, "Kept");
	revoke_it(u, c.serial, "superseded", 0);
	AUTO_EVENT e = { 0 };
	audit_begin(&e, &u->s, AUDIT_CERTIFICATE_REVOKED);
	audit_str(&e, "ca", "management");
	audit_hex(&e, "serial", c.serial);
	audit_str(&e, "reason", "keyCompromise");
	audit_time(&e, "revoked_at", 1);
	audit_str(&e, "actor", "unit");
	unit_log_event(&u->s, u, "ca", &e);
	unit_reopen(u);
	assert_reported(u, 0, 0, 0);
	assert_state(u, c.serial, CA_REVOKED, pki_reason_named(SPAN_LITERAL("superseded")));
}

static void what_was_closed_before_stays_closed_with_its_time(void **state)
{
	struct unit *u = *state;
	const char *before = unit_keep(u);
	span serial = lost_intent(u, "Closed");
	unit_reopen(u);
	struct db_row first, again;
	assert_ok(&u->s, unit_status(u, serial, &first));
	unit_go_back(u, before);
	assert_reported(u, 0, 1, 0);
	assert_ok(&u->s, unit_status(u, serial, &again));
	assert_true(again.column[3].integer == first.column[3].integer);
	assert_int_equal(unit_log_count(u, "\"event\":\"certificate.abandoned\"", hex_text(&u->s, serial)), 1);
}

/* ---- CRL numbers, feed, outbox ---- */

//= rfc5280#5.2.3
static void crl_numbers_go_on_above_every_one_in_the_log(void **state)
{
	struct unit *u = *state;
	unit_record_crl(&u->s, u, "management", 41);
	unit_record_crl(&u->s, u, "management", 17);
	unit_record_crl(&u->s, u, "other", 99);
	unit_reopen(u);
	struct ca_crl crl;
	assert_ok(&u->s, ca_crl_issue(&u->s, u->ca, unit_authority(u, "management"), 0, &crl));
	assert_int_equal(crl.number, 42);
	unit_reopen(u);
	assert_int_equal(unit_authority(u, "management")->crl->number, 42);
}

static st note_va(struct scope *s, struct db_tx *tx, void *arg)
{
	(void)arg;
	return db_exec(s, tx, &sql_va_set, DB_VALUES(db_text(SPAN_LITERAL("unit")), db_integer(3), db_integer(1)), NULL);
}

static void vas_get_a_snapshot_when_something_was_entered_and_only_then(void **state)
{
	struct unit *u = *state;
	const char *before = unit_keep(u);
	assert_ok(&u->s, db_tx(&u->s, u->ca->db, note_va, NULL));
	unit_reopen(u);
	assert_int_equal(unit_number(u, &sql_va_least, 0), 3);
	(void)unit_issue(u, "Later");
	unit_go_back(u, before);
	assert_ok(&u->s, db_tx(&u->s, u->ca->db, note_va, NULL));
	before = unit_keep(u);
	(void)unit_issue(u, "Later still");
	unit_go_back(u, before);
	assert_int_equal(unit_number(u, &sql_va_least, 0), -1);
}

static void records_the_log_has_leave_the_outbox_without_being_sent_again(void **state)
{
	struct unit *u = *state;
	(void)unit_issue(u, "Sent");
	const char *before = unit_keep(u); /* its record may still be in the outbox of this copy */
	size_t count = u->record_count;
	unit_go_back(u, before);
	assert_int_equal(unit_outbox(u), 0);
	assert_int_equal(u->record_count, count + 1);
	assert_reported(u, 0, 0, 0);
}

static void a_log_that_was_cut_is_noticed(void **state)
{
	struct unit *u = *state;
	(void)unit_issue(u, "One");
	unit_reopen(u);
	ca_stop(u->ca);
	while (u->record_count > 2)
		free(u->record[--u->record_count].json);
	u->ca = ca_new(&u->conf);
	assert_int_equal(ca_open(&u->s, u->ca).code, E_STATE);
	assert_non_null(strstr(u->s.message, "the log was cut or is another one"));
	scope_clear_error(&u->s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, unit_set_up, unit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_intent_without_effect_is_closed_as_revoked_and_that_is_on_record_and_in_the_feed),
		CASE(an_intent_of_another_issuer_is_not_ours),
		CASE(doubts_close_what_was_doubted_and_leave_the_rest),
		CASE(effects_a_restored_database_lacks_are_entered_byte_for_byte),
		CASE(a_false_signature_in_the_log_is_not_entered),
		CASE(revocations_come_back_with_time_reason_and_invalidity_date),
		CASE(a_revocation_in_the_database_is_not_changed_by_the_log),
		CASE(what_was_closed_before_stays_closed_with_its_time),
		CASE(crl_numbers_go_on_above_every_one_in_the_log),
		CASE(vas_get_a_snapshot_when_something_was_entered_and_only_then),
		CASE(records_the_log_has_leave_the_outbox_without_being_sent_again),
		CASE(a_log_that_was_cut_is_noticed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
