/*
 * control_review_test.c - a review counts when an auditor of the register signed exactly this text: each case has one thing wrong.
 */
#include "control_review.h"
#include "control_unit.h"

static struct control_register *r;
static struct scope ground;

/* p3 system auditor, p4 compliance officer, p5 PKI operator, p6 system auditor whose training is too old, p7 nothing. */
static int start(void **state)
{
	(void)state;
	unit_persons();
	scope_init(&ground, NULL);
	r = unit_register(&ground);
	assert_ok(&ground, unit_decide(&ground, r, "d1"));
	static const enum control_role roles[] = { CONTROL_SYSTEM_AUDITOR, CONTROL_COMPLIANCE_OFFICER, CONTROL_PKI_OPERATOR,
						   CONTROL_SYSTEM_AUDITOR };
	for (int i = 3; i < 8; i++)
		assert_ok(&ground, unit_enrol(&ground, r, i, UNIT_NOW - (i == 6 ? 360 : 1) * MOMENT_DAY));
	for (int i = 3; i < 7; i++)
		assert_ok(&ground, unit_grant(&ground, r, i, roles[i - 3]));
	return 0;
}

static int end(void **state)
{
	(void)state;
	control_register_free(r);
	scope_done(&ground);
	unit_persons_free();
	return 0;
}

static struct control_review review(int person, enum control_role role)
{
	struct control_review m = { .of = { .log = span_str("unit.example/log"), .size = 7, .from = 1, .to = UNIT_NOW },
				    .conclusion = span_str("two refusals were followed up"),
				    .person = span_str(unit_person[person].id),
				    .role = role,
				    .reviewed = UNIT_NOW };
	memset(m.of.report, 0xa1, sizeof m.of.report);
	memset(m.of.root, 0xb2, sizeof m.of.root);
	return m;
}

static void sign(struct scope *s, struct control_review *m, int person)
{
	AUTO_BUF text;
	buf_init(&text, 0);
	assert_ok(s, control_review_text(s, m, &text));
	m->signature = unit_sign(s, unit_person[person].key, buf_span(&text));
}

static span file_of(struct scope *s, const struct control_review *m)
{
	AUTO_BUF file;
	buf_init(&file, 0);
	assert_ok(s, control_review_write(s, m, &file));
	return scope_copy(s, buf_span(&file));
}

//= tsps#5.4.2 a review is signed off by an auditor
static void auditors_review_and_the_file_says_it(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (int person = 3; person < 5; person++) {
		struct control_review m = review(person, person == 3 ? CONTROL_SYSTEM_AUDITOR : CONTROL_COMPLIANCE_OFFICER),
				      again;
		assert_ok(&s, control_review_read(&s, file_of(&s, &m), &again));
		assert_int_equal(again.signature.len, 0);
		assert_fails(&s, E_CRYPTO, control_review_check(&s, r, &again, UNIT_NOW));
		sign(&s, &m, person);
		assert_ok(&s, control_review_read(&s, file_of(&s, &m), &again));
		assert_ok(&s, control_review_check(&s, r, &again, UNIT_NOW));
		assert_true(span_equal(file_of(&s, &m), file_of(&s, &again)));
	}
}

static void who_is_no_auditor_reviews_nothing(void **state)
{
	(void)state;
	static const struct {
		int person, signer;
		enum control_role role;
		enum code code;
	} rows[] = {
		{ 5, 5, CONTROL_PKI_OPERATOR, E_DENIED }, /* holds it, and it is no auditor's */
		{ 5, 5, CONTROL_SYSTEM_AUDITOR, E_DENIED },
		{ 3, 3, CONTROL_COMPLIANCE_OFFICER, E_DENIED },
		{ 7, 7, CONTROL_SYSTEM_AUDITOR, E_DENIED },
		{ 9, 9, CONTROL_SYSTEM_AUDITOR, E_DENIED }, /* not on the register */
		{ 0, 0, CONTROL_AUTHORITY_MEMBER, E_DENIED },
		{ 3, 4, CONTROL_SYSTEM_AUDITOR, E_CRYPTO },
		{ 4, 3, CONTROL_COMPLIANCE_OFFICER, E_CRYPTO },
	};
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct control_review m = review(rows[i].person, rows[i].role);
		sign(&s, &m, rows[i].signer);
		assert_fails(&s, rows[i].code, control_review_check(&s, r, &m, UNIT_NOW));
	}
}

static void it_is_judged_as_of_its_record(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_review m = review(6, CONTROL_SYSTEM_AUDITOR);
	sign(&s, &m, 6);
	assert_ok(&s, control_review_check(&s, r, &m, UNIT_NOW));
	assert_fails(&s, E_DENIED, control_review_check(&s, r, &m, UNIT_NOW + 30 * MOMENT_DAY)); /* training */
	assert_fails(&s, E_STATE, control_review_check(&s, r, &m, UNIT_NOW - MOMENT_DAY));
}

static void a_review_changed_in_any_octet_does_not_count(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_review m = review(3, CONTROL_SYSTEM_AUDITOR);
	sign(&s, &m, 3);
	span file = file_of(&s, &m);
	for (size_t i = 0; i < file.len; i++) {
		AUTO_SCOPE aside;
		scope_init(&aside, NULL);
		struct control_review read;
		uint8_t *changed = scope_alloc(&aside, file.len);
		memcpy(changed, file.data, file.len);
		changed[i] ^= 1;
		st status = control_review_read(&aside, span_of(changed, file.len), &read);
		if (status.code == E_OK)
			status = control_review_check(&aside, r, &read, UNIT_NOW);
		assert_int_not_equal(status.code, E_OK);
	}
}

static void texts_are_strict(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_review m = review(3, CONTROL_SYSTEM_AUDITOR), read;
	struct control_report of;
	AUTO_BUF text;
	buf_init(&text, 0);
	assert_ok(&s, control_report_write(&s, &m.of, &text));
	assert_ok(&s, control_report_read(&s, buf_span(&text), &of));
	assert_true(of.size == 7 && span_is(of.log, "unit.example/log") && of.to == UNIT_NOW);
	assert_fails(&s, E_INPUT, control_review_read(&s, buf_span(&text), &read));
	assert_fails(&s, E_INPUT, control_report_read(&s, file_of(&s, &m), &of));
	m.of.to = m.of.from;
	assert_fails(&s, E_INPUT, control_review_read(&s, file_of(&s, &m), &read));
	m = review(3, CONTROL_SYSTEM_AUDITOR);
	m.of.size = 0;
	assert_fails(&s, E_INPUT, control_review_read(&s, file_of(&s, &m), &read));
	m = review(3, CONTROL_SYSTEM_AUDITOR);
	char *long_one = scope_alloc(&s, CONTROL_REVIEW_MAX + 1);
	memset(long_one, 'x', CONTROL_REVIEW_MAX + 1);
	m.conclusion = span_of(long_one, CONTROL_CONCLUSION_MAX);
	assert_ok(&s, control_review_read(&s, file_of(&s, &m), &read));
	m.conclusion.len++;
	assert_fails(&s, E_INPUT, control_review_read(&s, file_of(&s, &m), &read));
	assert_fails(&s, E_LIMIT, control_review_read(&s, span_of(long_one, CONTROL_REVIEW_MAX + 1), &read));
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(auditors_review_and_the_file_says_it),
		cmocka_unit_test(who_is_no_auditor_reviews_nothing),
		cmocka_unit_test(it_is_judged_as_of_its_record),
		cmocka_unit_test(a_review_changed_in_any_octet_does_not_count),
		cmocka_unit_test(texts_are_strict),
	};
	return cmocka_run_group_tests(all, start, end);
}
