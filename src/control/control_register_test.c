/*
 * control_register_test.c - from the founding document on: what the register becomes, and what it does not take.
 */
#include "control_unit.h"

static int start(void **state)
{
	(void)state;
	unit_persons();
	return 0;
}

static int end(void **state)
{
	(void)state;
	unit_persons_free();
	return 0;
}

static st read_founding(struct scope *s, const struct control_founding *f)
{
	struct control_founding again;
	AUTO_BUF document;
	buf_init(&document, 0);
	TRY(control_founding_write(s, f, &document));
	return control_founding_read(s, buf_span(&document), &again);
}

static void a_founding_document_counts_when_every_founder_signed_it(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_founding f = unit_founding(&s);
	assert_ok(&s, read_founding(&s, &f));
	struct control_founding changed = f;
	changed.provider = "Another Trust Service Provider";
	assert_fails(&s, E_CRYPTO, read_founding(&s, &changed));
	changed = f;
	changed.founder[2].signature = f.founder[1].signature;
	assert_fails(&s, E_CRYPTO, read_founding(&s, &changed));
	changed = f;
	changed.founder[1] = f.founder[2];
	changed.founder[2] = f.founder[1];
	assert_fails(&s, E_CRYPTO, read_founding(&s, &changed));
	//= tsps#5.2.2 critical operations need two persons at least
	changed = f;
	changed.quorum = 1;
	assert_fails(&s, E_INPUT, read_founding(&s, &changed));
	changed.quorum = 4;
	assert_fails(&s, E_INPUT, read_founding(&s, &changed));
}

static void a_signature_short_of_the_founders_is_no_founding_document(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_founding f = unit_founding(&s), again;
	AUTO_BUF document;
	buf_init(&document, 0);
	assert_ok(&s, control_founding_write(&s, &f, &document));
	size_t len = document.len - 1;
	while (document.data[len - 1] != '\n')
		len--;
	assert_fails(&s, E_INPUT, control_founding_read(&s, span_first(buf_span(&document), len), &again));
}

static void two_founders_with_one_key_are_one(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	EVP_PKEY *own = unit_person[1].key;
	unit_person[1].key = unit_person[0].key;
	struct control_founding f = unit_founding(&s);
	unit_person[1].key = own;
	struct control_register *r;
	AUTO_BUF document;
	buf_init(&document, 0);
	assert_ok(&s, control_founding_write(&s, &f, &document));
	assert_fails(&s, E_CONFLICT, control_register_new(&s, buf_span(&document), &r));
}

static void founders_are_the_authority_and_hold_no_role(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_register *r = unit_register(&s);
	const struct control_person *p = control_person_named(r, span_str("p1"));
	assert_int_equal(control_roles_held(p, UNIT_NOW), CONTROL_IS(AUTHORITY_MEMBER));
	assert_int_equal(control_register_head(r).entries, 0);
	assert_null(control_person_named(r, span_str("p3")));
	control_register_free(r);
}

static void a_grant_cites_a_decision_of_the_authority(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_register *r = unit_register(&s);
	assert_ok(&s, unit_enrol(&s, r, 3, UNIT_NOW - MOMENT_DAY));
	assert_fails(&s, E_NOTFOUND, unit_grant(&s, r, 3, CONTROL_PKI_OPERATOR));
	assert_ok(&s, unit_decide(&s, r, "d1"));
	assert_ok(&s, unit_grant(&s, r, 3, CONTROL_PKI_OPERATOR));
	assert_fails(&s, E_CONFLICT, unit_grant(&s, r, 3, CONTROL_PKI_OPERATOR));
	assert_fails(&s, E_CONFLICT, unit_decide(&s, r, "d1"));
	assert_int_equal(control_roles_held(control_person_named(r, span_str("p3")), UNIT_NOW), CONTROL_IS(PKI_OPERATOR));
	assert_int_equal(control_register_head(r).entries, 3);
	control_register_free(r);
}

/* For who puts an operation on record before it takes effect. */
static void what_would_be_is_told_and_nothing_changes(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_register *r = unit_register(&s);
	assert_ok(&s, unit_enrol(&s, r, 3, UNIT_NOW - MOMENT_DAY));
	assert_ok(&s, unit_decide(&s, r, "d1"));
	struct control_head before = control_register_head(r), would, after;
	struct control_proposal p = unit_proposal(&s, r, "person.key");
	unit_add(&s, &p, "person", "p3");
	unit_add(&s, &p, "key", base64_text(&s, unit_spki(&s, unit_person[4].key)));
	unit_add(&s, &p, "reason", "a new token");
	struct control_signed *o = unit_signed(&s, &p);
	unit_approve(&s, o, 0, CONTROL_AUTHORITY_MEMBER);
	assert_fails(&s, E_DENIED, control_register_would(&s, r, unit_file(&s, o), UNIT_NOW, &would));
	unit_approve(&s, o, 1, CONTROL_AUTHORITY_MEMBER);
	span file = unit_file(&s, o);
	assert_ok(&s, control_register_would(&s, r, file, UNIT_NOW, &would));
	after = control_register_head(r);
	assert_memory_equal(&before, &after, sizeof before);
	span key = control_person_named(r, span_str("p3"))->spki;
	assert_true(span_equal(key, unit_spki(&s, unit_person[3].key)));
	assert_ok(&s, control_register_apply(&s, r, file, UNIT_NOW));
	after = control_register_head(r);
	assert_memory_equal(&would, &after, sizeof would);
	assert_fails(&s, E_CONFLICT, control_register_would(&s, r, file, UNIT_NOW, &would));
	assert_true(span_is(control_decision_at(r, 0), "d1") && control_decision_at(r, 1).len == 0);
	control_register_free(r);
}

static void one_person_belongs_to_one_group(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		enum control_role has, gets;
		enum code code;
	} rows[] = {
		{ CONTROL_PKI_OPERATOR, CONTROL_PKI_ADMINISTRATOR, E_OK },
		{ CONTROL_PKI_OPERATOR, CONTROL_IT_MANAGER, E_DENIED },
		{ CONTROL_PKI_OPERATOR, CONTROL_REGISTRATION_OFFICER, E_DENIED },
		{ CONTROL_PKI_OPERATOR, CONTROL_SYSTEM_AUDITOR, E_DENIED },
		{ CONTROL_PKI_OPERATOR, CONTROL_KEY_CUSTODIAN, E_OK },
		{ CONTROL_SYSTEM_AUDITOR, CONTROL_KEY_CUSTODIAN, E_DENIED },
		{ CONTROL_SPOKESPERSON, CONTROL_COMPLIANCE_OFFICER, E_DENIED },
		{ CONTROL_SPOKESPERSON, CONTROL_SECURITY_MANAGER, E_OK },
		{ CONTROL_LOCAL_REGISTRATION_OFFICER, CONTROL_PLANT_MANAGER, E_DENIED },
	};
	struct control_register *r = unit_register(&s);
	assert_ok(&s, unit_decide(&s, r, "d1"));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int person = 3 + (int)i;
		assert_ok(&s, unit_enrol(&s, r, person, UNIT_NOW - MOMENT_DAY));
		assert_ok(&s, unit_grant(&s, r, person, rows[i].has));
		//= tsps#5.2.4 a grant that crosses groups is refused
		assert_int_equal(unit_grant(&s, r, person, rows[i].gets).code, rows[i].code);
		scope_clear_error(&s);
	}
	control_register_free(r);
}

static void roles_lapse_twelve_months_after_training(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t trained = unit_moment(&s, "2025-12-01T00:00:00Z"), ends = unit_moment(&s, "2026-12-01T00:00:00Z");
	struct control_register *r = unit_register(&s);
	assert_ok(&s, unit_decide(&s, r, "d1"));
	assert_ok(&s, unit_enrol(&s, r, 3, trained));
	assert_ok(&s, unit_grant(&s, r, 3, CONTROL_PKI_OPERATOR));
	const struct control_person *p = control_person_named(r, span_str("p3"));
	//= tsps#5.3.4 a role lapses when the last training is older than 12 months
	assert_int_equal(control_training_ends(p), ends);
	assert_int_equal(control_roles_held(p, ends - 1), CONTROL_IS(PKI_OPERATOR));
	assert_int_equal(control_roles_held(p, ends), 0);
	struct control_person leap = { .trained = unit_moment(&s, "2024-02-29T12:00:00Z") };
	assert_int_equal(control_training_ends(&leap), unit_moment(&s, "2025-02-28T12:00:00Z"));
	control_register_free(r);
}

static void nobody_untrained_or_long_trained_gets_a_role(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_register *r = unit_register(&s);
	assert_ok(&s, unit_decide(&s, r, "d1"));
	assert_ok(&s, unit_enrol(&s, r, 3, 0));
	assert_ok(&s, unit_enrol(&s, r, 4, UNIT_NOW - 367 * MOMENT_DAY));
	assert_fails(&s, E_DENIED, unit_grant(&s, r, 3, CONTROL_PKI_OPERATOR));
	assert_fails(&s, E_DENIED, unit_grant(&s, r, 4, CONTROL_PKI_OPERATOR));
	struct control_proposal p = unit_proposal(&s, r, "person.training");
	unit_add(&s, &p, "person", "p4");
	unit_add(&s, &p, "trained", unit_time(&s, UNIT_NOW - MOMENT_HOUR));
	assert_ok(&s, unit_apply(&s, r, &p));
	assert_ok(&s, unit_grant(&s, r, 4, CONTROL_PKI_OPERATOR));
	control_register_free(r);
}

static void who_left_has_no_role_and_does_not_come_back(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_register *r = unit_register(&s);
	assert_ok(&s, unit_decide(&s, r, "d1"));
	assert_ok(&s, unit_enrol(&s, r, 3, UNIT_NOW - MOMENT_DAY));
	assert_ok(&s, unit_grant(&s, r, 3, CONTROL_PKI_OPERATOR));
	struct control_proposal p = unit_proposal(&s, r, "person.leave");
	unit_add(&s, &p, "person", "p3");
	unit_add(&s, &p, "reason", "dismissed");
	assert_ok(&s, unit_apply(&s, r, &p));
	assert_int_equal(control_roles_held(control_person_named(r, span_str("p3")), UNIT_NOW), 0);
	assert_fails(&s, E_STATE, unit_grant(&s, r, 3, CONTROL_PKI_OPERATOR));
	assert_fails(&s, E_CONFLICT, unit_enrol(&s, r, 3, UNIT_NOW));
	control_register_free(r);
}

static st dismiss(struct scope *s, struct control_register *r, const char *person, const char *quorum)
{
	struct control_proposal p = unit_proposal(s, r, "authority.dismiss");
	unit_add(s, &p, "person", person);
	unit_add(s, &p, "quorum", quorum);
	return unit_apply(s, r, &p);
}

static void the_authority_never_becomes_one_person(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_register *r = unit_register(&s);
	assert_fails(&s, E_INPUT, dismiss(&s, r, "p2", "1"));
	assert_fails(&s, E_INPUT, dismiss(&s, r, "p2", "3"));
	assert_ok(&s, dismiss(&s, r, "p2", "2"));
	assert_fails(&s, E_DENIED, dismiss(&s, r, "p1", "2")); /* p1 approves nothing of it */
	control_register_free(r);
}

static void who_has_the_texts_in_order_has_the_same_register(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_register *one = unit_register(&s);
	struct control_founding f = unit_founding(&s);
	AUTO_BUF document;
	buf_init(&document, 0);
	assert_ok(&s, control_founding_write(&s, &f, &document));
	control_register_free(one);
	struct control_register *other;
	assert_ok(&s, control_register_new(&s, buf_span(&document), &one));
	assert_ok(&s, control_register_new(&s, buf_span(&document), &other));
	struct control_proposal p = unit_proposal(&s, one, "decision.take");
	unit_add(&s, &p, "decision", "d1");
	unit_add(&s, &p, "title", "Who does what");
	struct control_signed *o = unit_signed(&s, &p);
	unit_approve(&s, o, 0, CONTROL_AUTHORITY_MEMBER);
	unit_approve(&s, o, 2, CONTROL_AUTHORITY_MEMBER);
	span file = unit_file(&s, o);
	assert_ok(&s, control_register_apply(&s, one, file, UNIT_NOW));
	assert_false(control_register_was(other, 1, control_register_head(one).hash));
	assert_ok(&s, control_register_apply(&s, other, file, UNIT_NOW));
	assert_memory_equal(control_register_head(one).hash, control_register_head(other).hash, CONTROL_HASH_LEN);
	assert_fails(&s, E_CONFLICT, control_register_apply(&s, one, file, UNIT_NOW)); /* once */
	control_register_free(one);
	control_register_free(other);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(a_founding_document_counts_when_every_founder_signed_it),
		cmocka_unit_test(a_signature_short_of_the_founders_is_no_founding_document),
		cmocka_unit_test(two_founders_with_one_key_are_one),
		cmocka_unit_test(founders_are_the_authority_and_hold_no_role),
		cmocka_unit_test(a_grant_cites_a_decision_of_the_authority),
		cmocka_unit_test(what_would_be_is_told_and_nothing_changes),
		cmocka_unit_test(one_person_belongs_to_one_group),
		cmocka_unit_test(roles_lapse_twelve_months_after_training),
		cmocka_unit_test(nobody_untrained_or_long_trained_gets_a_role),
		cmocka_unit_test(who_left_has_no_role_and_does_not_come_back),
		cmocka_unit_test(the_authority_never_becomes_one_person),
		cmocka_unit_test(who_has_the_texts_in_order_has_the_same_register),
	};
	return cmocka_run_group_tests(all, start, end);
}
