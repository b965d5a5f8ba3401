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

static const struct control_seen seen_none;
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

static void enrol_instance(struct scope *s, const char *name)
{
	AUTO(EVP_PKEY) *key = unit_key();
	struct control_proposal p = unit_proposal(s, r, "instance.enrol");
	unit_add(s, &p, "name", name);
	unit_add(s, &p, "key", base64_text(s, unit_spki(s, key)));
	assert_ok(s, unit_apply(s, r, &p));
}

static const struct {
	int person;
	enum control_role role;
} activator[] = { { 5, CONTROL_PKI_OPERATOR },
		  { 6, CONTROL_PKI_ADMINISTRATOR },
		  { 7, CONTROL_KEY_CUSTODIAN },
		  { 8, CONTROL_KEY_CUSTODIAN } };
#define ACTIVATORS (sizeof activator / sizeof activator[0])

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
	for (size_t i = 0; i < ACTIVATORS; i++) {
		assert_ok(s, unit_enrol(s, r, activator[i].person, UNIT_NOW - MOMENT_DAY));
		assert_ok(s, unit_grant(s, r, activator[i].person, activator[i].role));
	}
	enrol_instance(s, "keyd/ca");
	enrol_instance(s, "keyd/other");
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

/* The certificate is of the test's own time; the register is told of it then. */
static st name_management(struct scope *s, span first, const char *group, const char *holder, const struct list *with)
{
	struct control_proposal p = unit_proposal(s, r, "management.certificate");
	span crl = { 0 };
	p.proposed = now;
	p.expires = now + MOMENT_HOUR;
	unit_add(s, &p, "certificate", base64_text(s, unit_der(s, ca)));
	unit_add(s, &p, "crl", base64_text(s, first));
	if (group != NULL)
		unit_add(s, &p, "group", group);
	if (holder != NULL)
		unit_add(s, &p, "holder", holder);
	if (with != NULL)
		name_crl(&p, crl = write_list(s, with), with->number);
	struct control_signed *o = unit_signed(s, &p);
	unit_approve(s, o, 0, CONTROL_AUTHORITY_MEMBER);
	unit_approve(s, o, 1, CONTROL_AUTHORITY_MEMBER);
	o->crl = crl;
	return control_register_apply(s, r, unit_file(s, o), now);
}

static void a_crl_is_not_named_before_there_is_a_management_ca(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct list l = good_list();
	assert_fails(&s, E_STATE, with_list(&s, &l));
	assert_fails(&s, E_STATE, control_register_crl_on_record(&s, r, write_list(&s, &l)));
	now = scope_now(&s);
	now -= now % MOMENT_SECOND; /* as thisUpdate is written */
}

static void a_management_ca_is_named_with_a_crl_that_it_has_issued(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *other_key = unit_key();
	struct control_management m;
	struct list l = good_list();
	//= control#late-crl whoever is to say who is revoked has said it once
	l.key = other_key;
	assert_fails(&s, E_CRYPTO, name_management(&s, write_list(&s, &l), NULL, NULL, NULL));
	l = good_list();
	l.this_update = now - 25 * MOMENT_HOUR;
	assert_fails(&s, E_STATE, name_management(&s, write_list(&s, &l), NULL, NULL, NULL));
	l = good_list();
	span crl = write_list(&s, &l);
	assert_fails(&s, E_INPUT, name_management(&s, crl, "management", NULL, NULL));
	assert_fails(&s, E_INPUT, name_management(&s, crl, NULL, "keyd/ca", NULL));
	assert_fails(&s, E_NOTFOUND, name_management(&s, crl, "management", "keyd/nobody", NULL));
	assert_false(control_has_management(r));
	assert_ok(&s, name_management(&s, crl, NULL, NULL, NULL));
	assert_true(control_register_management(r, &m));
	assert_int_equal(m.group.len, 0);
	assert_int_equal(m.newest, 7);
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
	assert_int_equal(control_crl_lowest(r, &seen_none), 7);
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

static void nor_who_is_on_a_newer_one_that_is_on_record(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct list with = good_list(), newer = good_list();
	with.number = 10;
	newer.number = 12;
	newer.revokes_p3 = true;
	assert_ok(&s, control_register_crl_on_record(&s, r, write_list(&s, &newer)));
	assert_fails(&s, E_DENIED, with_list(&s, &with));
	newer.number = 11; /* one from before is no reason to forget the newest */
	newer.revokes_p3 = false;
	assert_ok(&s, control_register_crl_on_record(&s, r, write_list(&s, &newer)));
	assert_fails(&s, E_DENIED, with_list(&s, &with));
	newer.number = 13;
	assert_ok(&s, control_register_crl_on_record(&s, r, write_list(&s, &newer)));
	assert_ok(&s, with_list(&s, &with));
}

/* ---- older than 24 hours ---- */

struct attempt {
	struct list list;
	const char *group, *instance;
	int64_t says; /* the CRL is of this time; 0: does not say */
	size_t activators;
	int fifth; /* -1: none */
	enum control_role fifth_role;
};

static void assert_refused(struct scope *s, enum code code, const char *words, st status)
{
	assert_int_equal(status.code, code);
	assert_non_null(strstr(s->message, words));
	scope_clear_error(s);
}

static struct attempt good_attempt(void)
{
	struct attempt a = { .list = good_list(), .group = "management", .instance = "keyd/ca", .activators = ACTIVATORS };
	a.list.this_update = a.says = now - 49 * MOMENT_HOUR;
	a.fifth = 3;
	a.fifth_role = CONTROL_SECURITY_MANAGER;
	return a;
}

static struct control_signed *signed_attempt(struct scope *s, const struct attempt *a)
{
	struct control_proposal p = unit_proposal(s, r, "group.activate");
	span crl = write_list(s, &a->list);
	p.instance = span_str(a->instance);
	p.proposed = now;
	p.expires = now + MOMENT_HOUR;
	unit_add(s, &p, "group", a->group);
	if (a->says != 0)
		unit_add(s, &p, "old-crl", unit_time(s, a->says));
	name_crl(&p, crl, a->list.number);
	struct control_signed *o = unit_signed(s, &p);
	for (size_t i = 0; i < a->activators; i++)
		unit_approve(s, o, activator[i].person, activator[i].role);
	if (a->fifth >= 0)
		unit_approve(s, o, a->fifth, a->fifth_role);
	o->crl = crl;
	return o;
}

static st try_attempt(struct scope *s, const struct attempt *a)
{
	return control_check(s, r, signed_attempt(s, a), a->instance, now);
}

static void with_an_old_crl_nothing_is_activated_before_the_register_says_where_the_key_is(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct attempt a = good_attempt();
	assert_fails(&s, E_STATE, try_attempt(&s, &a));
	struct list fresh = good_list();
	fresh.number = 9;
	assert_ok(&s, name_management(&s, write_list(&s, &fresh), "management", "keyd/ca", &fresh));
	assert_int_equal(control_crl_lowest(r, &seen_none), 9); /* the same CA goes on counting */
}

//= control#late-crl nothing but what brings the next CRL, and five persons
static void with_an_old_crl_five_persons_activate_the_management_cas_own_group(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct attempt a = good_attempt();
	a.list.number = 9;
	assert_ok(&s, try_attempt(&s, &a));
	a.fifth = 0;
	a.fifth_role = CONTROL_AUTHORITY_MEMBER;
	assert_ok(&s, try_attempt(&s, &a));
	a.fifth = -1;
	assert_refused(&s, E_DENIED, "needs 1 approvals by security-and-quality-manager, authority-member",
		       try_attempt(&s, &a));
	a.fifth = 5; /* opens already */
	a.fifth_role = CONTROL_PKI_OPERATOR;
	assert_fails(&s, E_DENIED, try_attempt(&s, &a));
	a = good_attempt();
	a.list.number = 9;
	a.activators = ACTIVATORS - 1; /* the fifth takes nobody else's seat */
	assert_fails(&s, E_DENIED, try_attempt(&s, &a));
}

static void the_fifth_is_there_before_it_is_opened(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct attempt a = good_attempt();
	a.list.number = 9;
	a.activators = 2;
	assert_ok(&s, control_check_opening(&s, r, signed_attempt(&s, &a), a.instance, now));
	a.fifth = -1;
	assert_fails(&s, E_DENIED, control_check_opening(&s, r, signed_attempt(&s, &a), a.instance, now));
}

static void an_old_crl_serves_no_other_group_instance_or_operation(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct attempt a = good_attempt();
	a.list.number = 9;
	a.group = "issuing";
	assert_refused(&s, E_STATE, "group.activate of management at keyd/ca", try_attempt(&s, &a));
	a.group = "management";
	a.instance = "keyd/other";
	assert_fails(&s, E_STATE, try_attempt(&s, &a));
	a.list.this_update = now - 25 * MOMENT_HOUR;
	assert_fails(&s, E_STATE, with_list(&s, &a.list));
}

static void what_people_sign_says_how_old_the_crl_is(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct attempt a = good_attempt();
	a.list.number = 9;
	assert_non_null(
		strstr(control_proposal_words(&s, &signed_attempt(&s, &a)->proposal), ", 49 hours before this was proposed"));
	a.says = 0;
	assert_fails(&s, E_STATE, try_attempt(&s, &a));
	a.says = a.list.this_update + MOMENT_HOUR;
	assert_fails(&s, E_STATE, try_attempt(&s, &a));
	a.list.this_update = a.says = now - MOMENT_HOUR; /* it is not old at all */
	assert_fails(&s, E_STATE, try_attempt(&s, &a));
	a.says = 0;
	a.fifth = -1;
	assert_ok(&s, try_attempt(&s, &a));
}

static void who_is_on_an_old_crl_is_not_one_of_the_five(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct attempt a = good_attempt();
	a.list.number = 9;
	a.list.revokes_p3 = true;
	assert_fails(&s, E_DENIED, try_attempt(&s, &a));
}

//= control#late-crl the newest on record
static void an_old_crl_is_the_newest_that_is_on_record(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *other_key = unit_key();
	struct attempt a = good_attempt();
	a.list.number = 8; /* 9 came with an operation */
	assert_fails(&s, E_STATE, try_attempt(&s, &a));
	struct list newer = a.list;
	newer.number = 11;
	newer.key = other_key;
	assert_fails(&s, E_CRYPTO, control_register_crl_on_record(&s, r, write_list(&s, &newer)));
	a.list.number = 9;
	assert_ok(&s, try_attempt(&s, &a));
	newer.key = ca_key;
	assert_ok(&s, control_register_crl_on_record(&s, r, write_list(&s, &newer)));
	assert_refused(&s, E_STATE, "CRL 11 is on record", try_attempt(&s, &a));
	a.list.number = 11;
	assert_ok(&s, try_attempt(&s, &a));
	/* Others may come with one that is not the newest, when it is of today. */
	struct list fresh = good_list();
	fresh.number = 10;
	assert_ok(&s, with_list(&s, &fresh));
}

//= control#crl an operation is judged by what could be known when it was carried out
static void what_was_done_off_line_is_judged_as_of_its_own_time(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct attempt a = good_attempt();
	struct list newest = good_list();
	newest.number = 20;
	newest.revokes_p3 = true;
	a.list.number = 13; /* 13 is on record; an entry of the register comes with 14 */
	struct control_signed *o = signed_attempt(&s, &a);
	assert_ok(&s, control_check(&s, r, o, a.instance, now));
	struct list later = good_list();
	int64_t before = now;
	later.number = 14;
	now += 20 * MOMENT_MINUTE;
	assert_ok(&s, with_list(&s, &later));
	newest.this_update = now;
	assert_ok(&s, control_register_crl_on_record(&s, r, write_list(&s, &newest)));
	assert_ok(&s, control_check(&s, r, o, a.instance, before));
	assert_refused(&s, E_STATE, "is older than CRL 14", control_check(&s, r, o, a.instance, now));
	a.list.number = 14;
	now = before;
	o = signed_attempt(&s, &a);
	assert_ok(&s, control_check(&s, r, o, a.instance, before));
	assert_refused(&s, E_STATE, "CRL 20 is on record", control_check(&s, r, o, a.instance, before + 20 * MOMENT_MINUTE));
}

static void what_an_instance_has_seen_is_of_one_management_ca_and_its_own(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_seen seen = { .number = 0 };
	struct control_proposal p = training(&s);
	control_seen_note(r, &p, &seen); /* comes without a CRL */
	assert_memory_equal(seen.issuer, seen_none.issuer, sizeof seen.issuer);
	struct list l = good_list();
	l.number = 30;
	name_crl(&p, write_list(&s, &l), l.number);
	control_seen_note(r, &p, &seen);
	assert_int_equal(control_crl_lowest(r, &seen), 30);
	assert_int_equal(control_crl_lowest(r, &seen_none), 10);
	p.crl_number = 29;
	assert_fails(&s, E_STATE, control_seen_check(&s, r, &p, &seen));
	assert_ok(&s, control_seen_check(&s, r, &p, &seen_none));
	control_seen_note(r, &p, &seen);
	assert_int_equal(seen.number, 30);
	seen.issuer[0] ^= 1; /* of the CA before: this one counts anew */
	assert_ok(&s, control_seen_check(&s, r, &p, &seen));
	control_seen_note(r, &p, &seen);
	assert_int_equal(control_crl_lowest(r, &seen), 29);
	/* The register, which everybody makes, knows nothing of it. */
	l.number = 10;
	assert_ok(&s, with_list(&s, &l));
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(a_crl_is_not_named_before_there_is_a_management_ca),
		cmocka_unit_test(a_management_ca_is_named_with_a_crl_that_it_has_issued),
		cmocka_unit_test(from_then_on_every_operation_comes_with_one),
		cmocka_unit_test(it_is_the_cas_own_of_today_and_the_one_that_was_named),
		cmocka_unit_test(who_is_on_it_approves_nothing),
		cmocka_unit_test(with_an_old_crl_nothing_is_activated_before_the_register_says_where_the_key_is),
		cmocka_unit_test(with_an_old_crl_five_persons_activate_the_management_cas_own_group),
		cmocka_unit_test(the_fifth_is_there_before_it_is_opened),
		cmocka_unit_test(an_old_crl_serves_no_other_group_instance_or_operation),
		cmocka_unit_test(what_people_sign_says_how_old_the_crl_is),
		cmocka_unit_test(who_is_on_an_old_crl_is_not_one_of_the_five),
		cmocka_unit_test(an_old_crl_is_the_newest_that_is_on_record),
		cmocka_unit_test(nor_who_is_on_a_newer_one_that_is_on_record),
		cmocka_unit_test(what_an_instance_has_seen_is_of_one_management_ca_and_its_own),
		cmocka_unit_test(what_was_done_off_line_is_judged_as_of_its_own_time),
	};
	return cmocka_run_group_tests(all, start, end);
}
