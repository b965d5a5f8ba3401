/*
 * control_check_test.c - what stands between a proposal and its execution: each case is the right quorum with one thing wrong.
 */
#include "control_unit.h"

static struct control_register *r;
static struct scope ground;

/* p3, p4 PKI operators; p5, p6 key custodians; p7 security and quality manager; p8 PKI administrator; p9 nothing. */
static int start(void **state)
{
	(void)state;
	unit_persons();
	scope_init(&ground, NULL);
	r = unit_register(&ground);
	assert_ok(&ground, unit_decide(&ground, r, "d1"));
	static const enum control_role roles[] = { CONTROL_PKI_OPERATOR,  CONTROL_PKI_OPERATOR,     CONTROL_KEY_CUSTODIAN,
						   CONTROL_KEY_CUSTODIAN, CONTROL_SECURITY_MANAGER, CONTROL_PKI_ADMINISTRATOR };
	for (int i = 3; i < 10; i++)
		assert_ok(&ground, unit_enrol(&ground, r, i, UNIT_NOW - MOMENT_DAY));
	for (int i = 3; i < 9; i++)
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

static struct control_proposal activation(struct scope *s)
{
	struct control_proposal p = unit_proposal(s, r, "group.activate");
	unit_add(s, &p, "group", "issuing");
	return p;
}

static void approve_by(struct scope *s, struct control_signed *o, const int *person, size_t count)
{
	for (size_t i = 0; i < count; i++)
		unit_approve(s, o, person[i], person[i] == 5 || person[i] == 6 ? CONTROL_KEY_CUSTODIAN : CONTROL_PKI_OPERATOR);
}

static const int four[] = { 3, 4, 5, 6 };

static void four_distinct_persons_activate_a_group(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = activation(&s);
	struct control_signed *o = unit_signed(&s, &p);
	approve_by(&s, o, four, 4);
	assert_ok(&s, control_check(&s, r, o, "keyd/ca", UNIT_NOW));
	/* and what went through a file is the same */
	struct control_signed again;
	assert_ok(&s, control_signed_read(&s, unit_file(&s, o), &again));
	assert_ok(&s, control_check(&s, r, &again, "keyd/ca", UNIT_NOW));
}

static void two_open_the_interface_and_nothing_more(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = activation(&s);
	struct control_signed *o = unit_signed(&s, &p);
	approve_by(&s, o, four, 1);
	assert_fails(&s, E_DENIED, control_check_opening(&s, r, o, "keyd/ca", UNIT_NOW));
	approve_by(&s, o, four + 1, 1);
	assert_ok(&s, control_check_opening(&s, r, o, "keyd/ca", UNIT_NOW));
	assert_fails(&s, E_DENIED, control_check(&s, r, o, "keyd/ca", UNIT_NOW));
	o->count = 0;
	approve_by(&s, o, four + 2, 2); /* custodians alone do not */
	assert_fails(&s, E_DENIED, control_check_opening(&s, r, o, "keyd/ca", UNIT_NOW));
}

static void fewer_or_others_do_not(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	//= tsps#6.2.8 two open the interface, two others enter the activation data
	static const struct {
		const char *what;
		int person[4];
		size_t count;
	} rows[] = {
		{ "nobody", { 0 }, 0 },
		{ "one", { 3 }, 1 },
		{ "two openers", { 3, 4 }, 2 },
		{ "two custodians", { 5, 6 }, 2 },
		{ "two and one", { 3, 4, 5 }, 3 },
		{ "one twice", { 3, 3, 5, 6 }, 4 },
		{ "who holds no role", { 3, 9, 5, 6 }, 4 },
		{ "who holds another role", { 3, 7, 5, 6 }, 4 },
		{ "founders", { 0, 1, 5, 6 }, 4 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct control_proposal p = activation(&s);
		struct control_signed *o = unit_signed(&s, &p);
		approve_by(&s, o, rows[i].person, rows[i].count);
		st checked = control_check(&s, r, o, "keyd/ca", UNIT_NOW);
		if (checked.code != E_DENIED)
			print_error("%s\n", rows[i].what);
		assert_int_equal(checked.code, E_DENIED);
		scope_clear_error(&s);
	}
}

static void a_role_that_has_no_say_is_refused_beside_a_quorum(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = activation(&s);
	struct control_signed *o = unit_signed(&s, &p);
	approve_by(&s, o, four, 4);
	unit_approve(&s, o, 7, CONTROL_SECURITY_MANAGER);
	assert_fails(&s, E_DENIED, control_check(&s, r, o, "keyd/ca", UNIT_NOW));
}

static void time_place_and_register_must_fit(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = activation(&s);
	struct control_signed *o = unit_signed(&s, &p);
	approve_by(&s, o, four, 4);
	assert_fails(&s, E_DENIED, control_check(&s, r, o, "keyd/status", UNIT_NOW));
	assert_ok(&s, control_check(&s, r, o, "keyd/ca", p.expires - 1));
	assert_fails(&s, E_STATE, control_check(&s, r, o, "keyd/ca", p.expires));
	assert_fails(&s, E_STATE, control_check(&s, r, o, "keyd/ca", UNIT_NOW - MOMENT_HOUR));
	p.head[0] ^= 1;
	o = unit_signed(&s, &p);
	approve_by(&s, o, four, 4);
	assert_fails(&s, E_STATE, control_check(&s, r, o, "keyd/ca", UNIT_NOW));
	p = activation(&s);
	p.entries++;
	o = unit_signed(&s, &p);
	approve_by(&s, o, four, 4);
	assert_fails(&s, E_STATE, control_check(&s, r, o, "keyd/ca", UNIT_NOW));
	p = activation(&s);
	p.proposed_by = span_str("p11");
	o = unit_signed(&s, &p);
	approve_by(&s, o, four, 4);
	assert_fails(&s, E_DENIED, control_check(&s, r, o, "keyd/ca", UNIT_NOW));
}

static void an_approval_is_of_these_bytes_only(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = activation(&s), other = p;
	struct control_signed *o = unit_signed(&s, &p);
	approve_by(&s, o, four, 4);
	/* another parameter, the same approvals */
	other.value[0].text = span_str("management");
	struct control_signed *changed = unit_signed(&s, &other);
	memcpy(changed->approval, o->approval, sizeof o->approval);
	changed->count = o->count;
	assert_fails(&s, E_CRYPTO, control_check(&s, r, changed, "keyd/ca", UNIT_NOW));
	/* another role, another time, another person than was signed */
	struct control_signed altered = *o;
	altered.approval[0].role = CONTROL_PKI_ADMINISTRATOR;
	assert_fails(&s, E_DENIED, control_check(&s, r, &altered, "keyd/ca", UNIT_NOW));
	altered = *o;
	altered.approval[0].approved++;
	assert_fails(&s, E_CRYPTO, control_check(&s, r, &altered, "keyd/ca", UNIT_NOW));
	altered = *o;
	altered.approval[0].person = span_str("p4");
	altered.approval[1].person = span_str("p3");
	assert_fails(&s, E_CRYPTO, control_check(&s, r, &altered, "keyd/ca", UNIT_NOW));
}

static void an_approval_before_the_proposal_or_after_now_counts_for_nothing(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const int64_t off[] = { -MOMENT_HOUR, MOMENT_HOUR / 2 };
	for (size_t i = 0; i < 2; i++) {
		struct control_proposal p = activation(&s);
		struct control_signed *o = unit_signed(&s, &p);
		approve_by(&s, o, four + 1, 3);
		unit_approve_at(&s, o, 3, CONTROL_PKI_OPERATOR, UNIT_NOW + off[i]);
		assert_fails(&s, E_STATE, control_check(&s, r, o, "keyd/ca", UNIT_NOW));
	}
}

static void a_lapsed_role_approves_nothing(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = activation(&s);
	int64_t later = UNIT_NOW + 365 * MOMENT_DAY;
	p.proposed = later;
	p.expires = later + MOMENT_HOUR;
	struct control_signed *o = unit_signed(&s, &p);
	approve_by(&s, o, four, 4);
	//= tsps#5.3.4 a role lapses when the last training is older than 12 months
	assert_fails(&s, E_DENIED, control_check(&s, r, o, "keyd/ca", later));
}

static void nobody_approves_what_is_about_oneself(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = unit_proposal(&s, r, "role.grant");
	unit_add(&s, &p, "person", "p7");
	unit_add(&s, &p, "role", "hr-manager");
	unit_add(&s, &p, "decision", "d1");
	struct control_signed *o = unit_signed(&s, &p);
	unit_approve(&s, o, 0, CONTROL_AUTHORITY_MEMBER);
	unit_approve(&s, o, 7, CONTROL_SECURITY_MANAGER);
	assert_fails(&s, E_DENIED, control_check(&s, r, o, "register", UNIT_NOW));
	o->count = 1;
	unit_approve(&s, o, 1, CONTROL_AUTHORITY_MEMBER);
	assert_ok(&s, control_check(&s, r, o, "register", UNIT_NOW));
}

static void the_words_say_everything_that_is_approved(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = activation(&s);
	struct control_signed *o = unit_signed(&s, &p);
	assert_string_equal(
		control_proposal_words(&s, &o->proposal),
		"Activate the key group issuing: from then on its keys sign, until it is deactivated or this keyd stops.");
	/* Each parameter of each operation stands in its words, or people approve what they do not see. */
	const struct control_operation *row;
	for (size_t i = 0; (row = control_operation_at(i)) != NULL; i++)
		for (size_t k = 0; k < CONTROL_PARAMETERS && row->parameter[k].name != NULL; k++) {
			if (strstr(row->words, scope_printf(&s, "{%s}", row->parameter[k].name)) == NULL)
				print_error("%s: %s\n", row->name, row->parameter[k].name);
			assert_non_null(strstr(row->words, scope_printf(&s, "{%s}", row->parameter[k].name)));
		}
}

static void no_operation_is_one_persons_and_no_role_has_two_seats(void **state)
{
	(void)state;
	const struct control_operation *row;
	for (size_t i = 0; (row = control_operation_at(i)) != NULL; i++) {
		unsigned persons = 0;
		uint32_t seen = 0;
		for (size_t k = 0; k < CONTROL_SEATS_MAX && row->seat[k].roles != 0; k++) {
			assert_int_equal(seen & row->seat[k].roles, 0);
			seen |= row->seat[k].roles;
			persons +=
				row->seat[k].count == 0 ? 2 : row->seat[k].count; /* the authority's quorum is two at least */
		}
		assert_int_equal(seen & row->late.roles, 0);
		assert_true(persons >= 2);
		assert_true(row->life > 0 && row->words != NULL && row->clause != NULL);
	}
}

static void a_proposal_has_one_spelling(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct control_proposal p = activation(&s), again;
	const char *good = scope_cstr(&s, unit_signed(&s, &p)->proposal.text);
	assert_ok(&s, control_proposal_read(&s, span_str(good), &again));
	static const char *const changes[][2] = {
		{ "group.activate", "group.open" },
		{ "keyd/ca", "Keyd/CA" },
		{ "register: ", "register: 0" },
		{ "management-crl: none", "management-crl: 1" },
		{ "management-crl: none\n", "" },
		{ "proposed-by: p0", "proposed-by: p0\nproposed-by: p1" },
		{ "group: issuing\n", "" },
		{ "group: issuing\n", "group: issuing\ngroup: issuing\n" },
		{ "group: issuing\n", "group: issuing\nmore: x\n" },
		{ "proposal 1", "proposal 2" },
	};
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		const char *at = strstr(good, changes[i][0]);
		assert_non_null(at);
		const char *bad =
			scope_printf(&s, "%.*s%s%s", (int)(at - good), good, changes[i][1], at + strlen(changes[i][0]));
		assert_fails(&s, E_INPUT, control_proposal_read(&s, span_str(bad), &again));
	}
}

static void a_proposal_lives_no_longer_than_its_row_says(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF out;
	buf_init(&out, 0);
	struct control_proposal p = activation(&s);
	p.expires = p.proposed + p.operation->life + 1;
	assert_fails(&s, E_INPUT, control_proposal_write(&s, &p, &out));
	buf_clear(&out);
	p.expires = p.proposed;
	assert_fails(&s, E_INPUT, control_proposal_write(&s, &p, &out));
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(four_distinct_persons_activate_a_group),
		cmocka_unit_test(two_open_the_interface_and_nothing_more),
		cmocka_unit_test(fewer_or_others_do_not),
		cmocka_unit_test(a_role_that_has_no_say_is_refused_beside_a_quorum),
		cmocka_unit_test(time_place_and_register_must_fit),
		cmocka_unit_test(an_approval_is_of_these_bytes_only),
		cmocka_unit_test(an_approval_before_the_proposal_or_after_now_counts_for_nothing),
		cmocka_unit_test(a_lapsed_role_approves_nothing),
		cmocka_unit_test(nobody_approves_what_is_about_oneself),
		cmocka_unit_test(the_words_say_everything_that_is_approved),
		cmocka_unit_test(no_operation_is_one_persons_and_no_role_has_two_seats),
		cmocka_unit_test(a_proposal_has_one_spelling),
		cmocka_unit_test(a_proposal_lives_no_longer_than_its_row_says),
	};
	return cmocka_run_group_tests(all, start, end);
}
