/*
 * control_crl_test.c - the management CA's word on whose certificate is revoked, which goes with every operation once the register
 * names that CA.
 */
#include "control_unit.h"
#include "pki_crl.h"

static struct control_register *r;
static struct scope ground;
static EVP_PKEY *ca_key;
static X509 *ca;
static int64_t now;

static const uint8_t serial_of_p3[] = { 0x0a, 0x33 };

static st collect(struct scope *s, span part, void *arg)
{
	(void)s;
	assert_true(buf_append(arg, part));
	return OK;
}

struct list {
	X509 *issuer;
	EVP_PKEY *key;
	uint64_t number;
	int64_t this_update;
	bool revokes_p3;
};

static struct list good_list(void)
{
	return (struct list){ .issuer = ca, .key = ca_key, .number = 7, .this_update = now - MOMENT_HOUR };
}

static span write_list(struct scope *s, const struct list *l)
{
	const struct pki_crl_head head = { .issuer = unit_subject(s, l->issuer),
					   .issuer_key_identifier = unit_key_hash(s, l->issuer),
					   .number = l->number,
					   .this_update = l->this_update,
					   .next_update = l->this_update + 7 * MOMENT_DAY,
					   .algorithm = unit_algorithm() };
	const struct pki_crl_entry entry = { .serial = SPAN_ARRAY(serial_of_p3), .revoked_at = l->this_update, .reason = 1 };
	struct pki_crl_writer *w;
	struct pki_crl_ends ends;
	AUTO_BUF entries = { 0 }, tbs = { 0 }, whole = { 0 };
	assert_ok(s, pki_crl_open(s, &head, collect, &entries, &w));
	if (l->revokes_p3)
		assert_ok(s, pki_crl_entry(s, w, &entry));
	assert_ok(s, pki_crl_close(s, w, &ends));
	pki_crl_free(w);
	assert_true(buf_append(&tbs, ends.head) && buf_append(&tbs, buf_span(&entries)) && buf_append(&tbs, ends.tail));
	span before, after, signature = unit_sign(s, l->key, buf_span(&tbs));
	assert_ok(s, pki_crl_frame(s, ends.tbs_length, unit_algorithm(), signature, &before, &after));
	assert_true(buf_append(&whole, before) && buf_append(&whole, buf_span(&tbs)) && buf_append(&whole, after));
	return scope_copy(s, buf_span(&whole));
}

static void name_crl(struct control_proposal *p, span crl, uint64_t number)
{
	uint8_t room[DIGEST_MAX];
	p->has_crl = true;
	p->crl_number = number;
	memcpy(p->crl_hash, digest_of(DIGEST_SHA256, crl, room).data, sizeof p->crl_hash);
}

/* A decision with the approvals of two founders, for which this CRL is named and brought. */
static st decide_with(struct scope *s, struct control_proposal *p, span crl)
{
	struct control_signed *o = unit_signed(s, p);
	unit_approve(s, o, 3, CONTROL_SECURITY_MANAGER);
	unit_approve(s, o, 0, CONTROL_AUTHORITY_MEMBER);
	o->crl = crl;
	return control_register_apply(s, r, unit_file(s, o), p->proposed);
}

static struct control_proposal training(struct scope *s)
{
	static int minutes;
	struct control_proposal p = unit_proposal(s, r, "person.training");
	p.proposed = now;
	p.expires = now + MOMENT_HOUR;
	unit_add(s, &p, "person", "p4");
	unit_add(s, &p, "trained", unit_time(s, UNIT_NOW - MOMENT_HOUR + ++minutes * MOMENT_SECOND));
	return p;
}

static st with_list(struct scope *s, const struct list *l)
{
	span crl = write_list(s, l);
	struct control_proposal p = training(s);
	name_crl(&p, crl, l->number);
	return decide_with(s, &p, crl);
}

static st enrol_with_serial(struct scope *s, int person, const char *serial)
{
	struct control_proposal p = unit_proposal(s, r, "person.enrol");
	unit_add(s, &p, "person", unit_person[person].id);
	unit_add(s, &p, "key", base64_text(s, unit_spki(s, unit_person[person].key)));
	unit_add(s, &p, "certificate-serial", serial);
	unit_add(s, &p, "identity", "0000000000000000000000000000000000000000000000000000000000000000");
	unit_add(s, &p, "screened", unit_time(s, UNIT_NOW - MOMENT_DAY));
	unit_add(s, &p, "trained", unit_time(s, UNIT_NOW - MOMENT_DAY));
	return unit_apply(s, r, &p);
}

static int start(void **state)
{
	(void)state;
	struct scope *s = &ground;
	scope_init(s, NULL);
	unit_persons();
	now = UNIT_NOW;
	ca_key = unit_key();
	ca = unit_certificate("Management CA", ca_key, NULL, NULL, "critical,CA:TRUE");
	r = unit_register(s);
	assert_ok(s, unit_decide(s, r, "d1"));
	assert_ok(s, enrol_with_serial(s, 3, "0a33"));
	assert_ok(s, unit_enrol(s, r, 4, UNIT_NOW - MOMENT_DAY));
	assert_ok(s, unit_grant(s, r, 3, CONTROL_SECURITY_MANAGER));
	return 0;
}

static int end(void **state)
{
	(void)state;
	control_register_free(r);
	scope_done(&ground);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	unit_persons_free();
	return 0;
}

static void a_crl_is_not_named_before_there_is_a_management_ca(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct list l = good_list();
	assert_fails(&s, E_STATE, with_list(&s, &l));
	/* The certificate is of the test's own time; the register is told of it then. */
	struct control_proposal p = unit_proposal(&s, r, "management.certificate");
	now = scope_now(&s);
	p.proposed = now;
	p.expires = now + MOMENT_HOUR;
	unit_add(&s, &p, "certificate", base64_text(&s, unit_der(&s, ca)));
	struct control_signed *o = unit_signed(&s, &p);
	unit_approve(&s, o, 0, CONTROL_AUTHORITY_MEMBER);
	unit_approve(&s, o, 1, CONTROL_AUTHORITY_MEMBER);
	assert_ok(&s, control_register_apply(&s, r, unit_file(&s, o), now));
	assert_true(control_has_management(r));
}

static void from_then_on_every_operation_comes_with_one(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = training(&s);
	assert_fails(&s, E_STATE, decide_with(&s, &p, (span){ 0 }));
	struct list l = good_list();
	span crl = write_list(&s, &l);
	p = training(&s);
	name_crl(&p, crl, l.number);
	assert_fails(&s, E_STATE, decide_with(&s, &p, (span){ 0 }));
	assert_ok(&s, with_list(&s, &l));
	assert_int_equal(control_register_crl_number(r), 7);
}

static void it_is_the_cas_own_of_today_and_the_one_that_was_named(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *other_key = unit_key();
	AUTO(X509) *other = unit_certificate("Another CA", other_key, NULL, NULL, "critical,CA:TRUE");
	struct list l = good_list();
	//= control#crl a management CRL no older than 24 h goes with every operation
	l.this_update = now - 25 * MOMENT_HOUR;
	assert_fails(&s, E_STATE, with_list(&s, &l));
	l = good_list();
	l.this_update = now + MOMENT_HOUR;
	assert_fails(&s, E_STATE, with_list(&s, &l));
	l = good_list();
	l.issuer = other;
	assert_fails(&s, E_CRYPTO, with_list(&s, &l));
	l = good_list();
	l.key = other_key;
	assert_fails(&s, E_CRYPTO, with_list(&s, &l));
	l = good_list();
	l.number = 6; /* 7 was seen */
	assert_fails(&s, E_STATE, with_list(&s, &l));
	l = good_list();
	struct control_proposal p = training(&s);
	span crl = write_list(&s, &l);
	name_crl(&p, crl, 8); /* says another number than it has */
	assert_fails(&s, E_INPUT, decide_with(&s, &p, crl));
	p = training(&s);
	name_crl(&p, crl, 7);
	p.crl_hash[0] ^= 1;
	assert_fails(&s, E_CRYPTO, decide_with(&s, &p, crl));
}

static void who_is_on_it_approves_nothing(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct list l = good_list();
	l.number = 9;
	l.revokes_p3 = true;
	assert_fails(&s, E_DENIED, with_list(&s, &l));
	l.revokes_p3 = false;
	assert_ok(&s, with_list(&s, &l));
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(a_crl_is_not_named_before_there_is_a_management_ca),
		cmocka_unit_test(from_then_on_every_operation_comes_with_one),
		cmocka_unit_test(it_is_the_cas_own_of_today_and_the_one_that_was_named),
		cmocka_unit_test(who_is_on_it_approves_nothing),
	};
	return cmocka_run_group_tests(all, start, end);
}
