/* Logical CAs that come back from the log into a database older than they are. */
#include "ca_unit.h"

static struct ca_authority *request_one(struct unit *u, const char *name)
{
	struct ca_authority *a = NULL;
	const struct ca_founding want = { .name = name,
					  .profile = "issuing-ca",
					  .subject = "C=BE, O=Unit, organizationIdentifier=NTRBE-0123456789, CN=Unit Issuing",
					  .key = name,
					  .crl_url = "http://unit/crl",
					  .issuer_url = "http://unit/ca",
					  .ocsp_url = "http://unit/ocsp",
					  .cps_url = "http://unit/cps",
					  .crl_hours = 7,
					  .request_only = true,
					  .actor = "unit" };
	assert_ok(&u->s, ca_authority_found(&u->s, u->ca, &want, &a));
	return a;
}

static struct ca_authority *found_root(struct unit *u)
{
	struct ca_authority *a = NULL;
	const struct ca_founding want = { .name = "root",
					  .profile = "root",
					  .subject = "C=BE, O=Unit, organizationIdentifier=NTRBE-0123456789, CN=Unit Root",
					  .key = "root",
					  .crl_url = "http://unit/root.crl",
					  .issuer_url = "http://unit/root.crt",
					  .actor = "unit" };
	assert_ok(&u->s, ca_authority_found(&u->s, u->ca, &want, &a));
	return a;
}

static struct ca_authority *complete(struct unit *u, const struct ca_authority *root, const struct ca_authority *waiting)
{
	struct ca_issued issued;
	struct ca_authority *a = NULL;
	const struct ca_order order = {
		.authority = root, .profile = "issuing-ca", .request = waiting->request, .actor = "unit"
	};
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order, &issued));
	const char *pem =
		scope_printf(&u->s, "%s%s", pki_pem_write(&u->s, "CERTIFICATE", issued.certificate.der), root->chain_pem);
	assert_ok(&u->s, ca_authority_complete(&u->s, u->ca, span_str(waiting->name), span_str(pem), "unit", &a));
	return a;
}

static span text_span(const char *text)
{
	return text == NULL ? SPAN_LITERAL("(none)") : span_str(text);
}

/* Everything a CA is, for comparison across a restart. */
static span picture(struct unit *u, const char *name)
{
	const struct ca_authority *a = unit_authority(u, name);
	AUTO_BUF all = { 0 };
	struct wr w = wr_into(&all);
	wr_i64(&w, a->id);
	wr_u8(&w, (uint8_t)a->state);
	wr_str(&w, a->profile != NULL ? a->profile->name : "");
	wr_str(&w, a->key);
	wr_str(&w, a->algorithm != NULL ? a->algorithm->name : "");
	const span parts[] = { a->subject,
			       a->spki,
			       a->certificate,
			       a->request,
			       text_span(a->crl_url),
			       text_span(a->issuer_url),
			       text_span(a->ocsp_url),
			       text_span(a->cps_url) };
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		wr_bytes(&w, parts[i]);
	for (size_t i = 0; i < a->chain_count; i++)
		wr_bytes(&w, a->chain[i]);
	wr_i64(&w, a->crl_hours);
	return scope_copy(&u->s, buf_span(&all));
}

static void every_kind_of_ca_comes_back_as_it_was_with_what_it_issued(void **state)
{
	struct unit *u = *state;
	const char *before = unit_keep(u);
	const struct ca_authority *root = found_root(u);
	struct ca_authority *waiting = request_one(u, "second"), *external = NULL;
	struct ca_authority *issuing = NULL;
	static const char *const names[] = { "root", "second", "elsewhere" };
	/* Another ca's certificate, taken in: made by a key that is none of ours. */
	issuing = complete(u, root, waiting);
	assert_int_equal(issuing->chain_count, 1);
	AUTO(EVP_PKEY) *foreign = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509 *certificate = X509_new();
	assert_int_equal(X509_set_version(certificate, 2), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 77), 1);
	X509_NAME *name = X509_get_subject_name(certificate);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"Elsewhere", -1, -1, 0),
			 1);
	assert_int_equal(X509_set_issuer_name(certificate, name), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), 0));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), 86400));
	assert_int_equal(X509_set_pubkey(certificate, foreign), 1);
	assert_true(X509_sign(certificate, foreign, EVP_sha256()) > 0);
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);
	const char *pem = pki_pem_write(&u->s, "CERTIFICATE", span_of(der, (size_t)len));
	OPENSSL_free(der);
	X509_free(certificate);
	assert_ok(&u->s, ca_authority_take_in(&u->s, u->ca, "elsewhere", pem, false, "unit", &external));
	struct ca_crl crl;
	assert_ok(&u->s, ca_crl_issue(&u->s, u->ca, root, 0, &crl));
	unit_record_crl(&u->s, u, "root", (int64_t)crl.number);

	span was[3];
	for (size_t i = 0; i < 3; i++)
		was[i] = picture(u, names[i]);
	struct ca_certificate own;
	struct pki_certificate c;
	assert_ok(&u->s, pki_certificate_read(&u->s, root->certificate, &c));
	span serial = scope_copy(&u->s, c.serial);

	unit_go_back(u, before);
	for (size_t i = 0; i < 3; i++)
		assert_true(span_equal(was[i], picture(u, names[i])));
	assert_ok(&u->s, ca_certificate_find(&u->s, u->ca, serial, &own));
	assert_string_equal(own.profile, "root");
	assert_int_equal(unit_log_count(u, "\"event\":\"store.reconciled\"", "\"cas_entered\":4"),
			 1); /* one twice: completed */
	assert_true(unit_authority(u, "root")->crl->number == crl.number);
	assert_ok(&u->s, ca_crl_issue(&u->s, u->ca, unit_authority(u, "root"), 0, &crl));
	unit_reopen(u);
	assert_int_equal(unit_log_count(u, "\"event\":\"store.reconciled\"", "\"cas_entered\""), 1);
}

static void a_ca_that_waited_when_the_backup_was_made_is_completed(void **state)
{
	struct unit *u = *state;
	const struct ca_authority *root = found_root(u);
	struct ca_authority *waiting = request_one(u, "second");
	const char *before = unit_keep(u);
	(void)complete(u, root, waiting);
	span was = picture(u, "second");
	unit_go_back(u, before);
	assert_true(span_equal(was, picture(u, "second")));
	assert_int_equal(unit_authority(u, "second")->state, CA_ACTIVE);
}

static void a_ca_that_still_waits_comes_back_waiting(void **state)
{
	struct unit *u = *state;
	const char *before = unit_keep(u);
	(void)request_one(u, "second");
	span was = picture(u, "second");
	unit_go_back(u, before);
	assert_true(span_equal(was, picture(u, "second")));
	assert_int_equal(unit_authority(u, "second")->state, CA_WAITING);
}

static st note_va(struct scope *s, struct db_tx *tx, void *arg)
{
	(void)arg;
	return db_exec(s, tx, &sql_va_set, DB_VALUES(db_text(SPAN_LITERAL("unit")), db_integer(1), db_integer(1)), NULL);
}

static void the_vas_get_a_snapshot_with_it(void **state)
{
	struct unit *u = *state;
	assert_ok(&u->s, db_tx(&u->s, u->ca->db, note_va, NULL));
	const char *before = unit_keep(u);
	(void)found_root(u);
	int64_t feed = unit_feed_end(u);
	unit_go_back(u, before);
	assert_int_equal(unit_feed_end(u), feed); /* the CA and its own certificate are told again */
	assert_int_equal(unit_number(u, &sql_va_least, 0), -1);
}

/* The keyd does not know the label, or has another key under it: the CA is another ca's in the same log. */
static void the_ca_of_another_ca_in_the_log_is_left_alone(void **state)
{
	struct unit *u = *state;
	const char *before = unit_keep(u);
	(void)found_root(u);
	EVP_PKEY *kept = u->key[1];
	u->key[1] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	unit_go_back(u, before);
	struct ca_authority *a;
	assert_fails(&u->s, E_NOTFOUND, ca_authority_named(&u->s, u->ca, SPAN_LITERAL("root"), &a));
	EVP_PKEY_free(u->key[1]);
	u->key[1] = kept;
}

static void without_keyd_the_question_whose_it_is_stays_open_and_nothing_starts(void **state)
{
	struct unit *u = *state;
	const char *before = unit_keep(u);
	(void)found_root(u);
	unit_restore(u, before);
	wire_server_stop(u->keyd, 1000);
	u->ca = ca_new(&u->conf);
	assert_int_equal(ca_open(&u->s, u->ca).code, E_UNAVAILABLE);
	assert_non_null(strstr(u->s.message, "whether CA 'root' of the log, which the database lacks, is ours"));
	scope_clear_error(&u->s);
	ca_stop(u->ca);
	unit_keyd_start(u);
	unit_open(u);
	assert_int_equal(unit_authority(u, "root")->state, CA_ACTIVE);
}

/* ---- records of the version before ---- */

static void log_old_record(struct unit *u, const char *name, EVP_PKEY *key)
{
	AUTO_EVENT e = { 0 };
	uint8_t digest[DIGEST_MAX];
	audit_begin(&e, &u->s, AUDIT_CA_CREATED);
	audit_str(&e, "ca", name);
	audit_str(&e, "subject", "CN=Old");
	audit_hex(&e, "key", digest_of(DIGEST_SHA256, unit_spki(&u->s, key), digest));
	audit_base64(&e, "certificate", SPAN_LITERAL("certificate"));
	audit_str(&e, "actor", "unit");
	unit_log_event(&u->s, u, "ca", &e);
}

static void a_record_that_does_not_hold_enough_ends_the_start_with_what_to_do(void **state)
{
	struct unit *u = *state;
	log_old_record(u, "old", u->key[2]);
	ca_stop(u->ca);
	u->ca = ca_new(&u->conf);
	assert_int_equal(ca_open(&u->s, u->ca).code, E_STATE);
	assert_non_null(strstr(u->s.message, "the log has CA 'old' since 2"));
	assert_non_null(strstr(u->s.message, "restore a backup of the database made after that time"));
	scope_clear_error(&u->s);
}

static void old_records_of_known_and_of_foreign_cas_do_no_harm(void **state)
{
	struct unit *u = *state;
	AUTO(EVP_PKEY) *foreign = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	log_old_record(u, "management", u->key[0]);
	log_old_record(u, "foreign", foreign);
	unit_reopen(u);
	struct ca_authority *a;
	assert_fails(&u->s, E_NOTFOUND, ca_authority_named(&u->s, u->ca, SPAN_LITERAL("foreign"), &a));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, unit_set_up, unit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_kind_of_ca_comes_back_as_it_was_with_what_it_issued),
		CASE(a_ca_that_waited_when_the_backup_was_made_is_completed),
		CASE(a_ca_that_still_waits_comes_back_waiting),
		CASE(the_vas_get_a_snapshot_with_it),
		CASE(the_ca_of_another_ca_in_the_log_is_left_alone),
		CASE(without_keyd_the_question_whose_it_is_stays_open_and_nothing_starts),
		CASE(a_record_that_does_not_hold_enough_ends_the_start_with_what_to_do),
		CASE(old_records_of_known_and_of_foreign_cas_do_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
