#include "control_activation.h"
#include "control_entries.h"
#include "control_execution.h"
#include "control_unit.h"

/* A register that knows the instance keyd/ca, a proposal to activate, and what that instance says of it. */
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

struct world {
	struct scope s;
	EVP_PKEY *identity, *other;
	struct control_register *r;
	struct control_signed *o;
	uint8_t scalar[CONTROL_SCALAR];
	struct control_statement m;
};

static void enrol_instance(struct world *w, const char *name, EVP_PKEY *key)
{
	struct control_proposal p = unit_proposal(&w->s, w->r, "instance.enrol");
	unit_add(&w->s, &p, "name", name);
	unit_add(&w->s, &p, "key", base64_text(&w->s, unit_spki(&w->s, key)));
	assert_ok(&w->s, unit_apply(&w->s, w->r, &p));
}

static span signed_statement(struct world *w, const struct control_statement *m, EVP_PKEY *key)
{
	AUTO_BUF text, file;
	struct control_statement full = *m;
	buf_init(&text, 0);
	buf_init(&file, 0);
	assert_ok(&w->s, control_statement_text(&w->s, m, &text));
	full.signature = unit_sign(&w->s, key, buf_span(&text));
	assert_ok(&w->s, control_statement_write(&w->s, &full, &file));
	return scope_copy(&w->s, buf_span(&file));
}

static int build(void **state)
{
	struct world *w = heap_alloc(sizeof *w);
	scope_init(&w->s, NULL);
	unit_persons();
	w->identity = unit_key();
	w->other = unit_key();
	w->r = unit_register(&w->s);
	enrol_instance(w, "keyd/ca", w->identity);
	enrol_instance(w, "keyd/other", w->other);
	struct control_proposal p = unit_proposal(&w->s, w->r, "group.activate");
	unit_add(&w->s, &p, "group", "issuing");
	w->o = unit_signed(&w->s, &p);
	w->m = (struct control_statement){ .instance = span_str("keyd/ca"),
					   .group = span_str("issuing"),
					   .expires = UNIT_NOW + MOMENT_HOUR };
	memcpy(w->m.nonce, w->o->proposal.nonce, sizeof w->m.nonce);
	memcpy(w->m.proposal, w->o->proposal.hash, sizeof w->m.proposal);
	assert_ok(&w->s, control_pair_new(&w->s, w->scalar, &w->m.key));
	*state = w;
	return 0;
}

static int remove_world(void **state)
{
	struct world *w = *state;
	control_register_free(w->r);
	EVP_PKEY_free(w->identity);
	EVP_PKEY_free(w->other);
	unit_persons_free();
	scope_done(&w->s);
	free(w);
	return 0;
}

static st verify_at(struct world *w, span file, int64_t at)
{
	struct control_statement m;
	assert_ok(&w->s, control_statement_read(&w->s, file, &m));
	return control_statement_verify(&w->s, w->r, &m, &w->o->proposal, at);
}

/* ---- the statement ---- */

static void a_statement_of_the_instance_is_taken(void **state)
{
	struct world *w = *state;
	struct control_statement m;
	span file = signed_statement(w, &w->m, w->identity);
	assert_ok(&w->s, verify_at(w, file, UNIT_NOW));
	assert_ok(&w->s, verify_at(w, file, w->m.expires - 1));
	assert_ok(&w->s, control_statement_read(&w->s, file, &m));
	assert_true(span_equal(m.key, w->m.key));
	assert_int_equal(m.expires, w->m.expires);
}

//= req7.2#HSM-10 timeout
static void a_statement_that_says_anything_else_is_refused(void **state)
{
	struct world *w = *state;
	struct control_statement m = w->m;
	assert_fails(&w->s, E_CRYPTO, verify_at(w, signed_statement(w, &m, w->other), UNIT_NOW));
	m.instance = span_str("keyd/unknown");
	assert_fails(&w->s, E_DENIED, verify_at(w, signed_statement(w, &m, w->identity), UNIT_NOW));
	m.instance = span_str("keyd/other");
	assert_fails(&w->s, E_CRYPTO, verify_at(w, signed_statement(w, &m, w->identity), UNIT_NOW));
	assert_fails(&w->s, E_DENIED, verify_at(w, signed_statement(w, &m, w->other), UNIT_NOW));
	m = w->m;
	m.proposal[0] ^= 1;
	assert_fails(&w->s, E_DENIED, verify_at(w, signed_statement(w, &m, w->identity), UNIT_NOW));
	m = w->m;
	m.nonce[0] ^= 1;
	assert_fails(&w->s, E_DENIED, verify_at(w, signed_statement(w, &m, w->identity), UNIT_NOW));
	m = w->m;
	m.group = span_str("management");
	assert_fails(&w->s, E_DENIED, verify_at(w, signed_statement(w, &m, w->identity), UNIT_NOW));
	m = w->m;
	assert_fails(&w->s, E_STATE, verify_at(w, signed_statement(w, &m, w->identity), m.expires));
	m.expires = UNIT_NOW + CONTROL_STATEMENT_LIFE + CONTROL_CLOCK_SKEW + 1;
	assert_fails(&w->s, E_STATE, verify_at(w, signed_statement(w, &m, w->identity), UNIT_NOW));
}

static void a_retired_instance_gets_no_share(void **state)
{
	struct world *w = *state;
	span file = signed_statement(w, &w->m, w->identity);
	struct control_proposal p = unit_proposal(&w->s, w->r, "instance.retire");
	unit_add(&w->s, &p, "name", "keyd/ca");
	assert_ok(&w->s, unit_apply(&w->s, w->r, &p));
	assert_fails(&w->s, E_DENIED, verify_at(w, file, UNIT_NOW));
}

static void a_statement_changed_on_its_way_is_refused(void **state)
{
	struct world *w = *state;
	span file = signed_statement(w, &w->m, w->identity);
	uint8_t *octets = scope_alloc(&w->s, file.len);
	for (size_t i = 0; i < file.len; i++) {
		struct control_statement m;
		AUTO_SCOPE aside;
		scope_init(&aside, NULL);
		memcpy(octets, file.data, file.len);
		octets[i] ^= 1;
		st status = control_statement_read(&aside, span_of(octets, file.len), &m);
		if (status.code == E_OK)
			status = control_statement_verify(&aside, w->r, &m, &w->o->proposal, UNIT_NOW);
		assert_int_not_equal(status.code, E_OK);
	}
	struct control_statement m;
	assert_fails(&w->s, E_INPUT, control_statement_read(&w->s, span_first(file, file.len - 1), &m));
	uint8_t *long_one = scope_alloc(&w->s, CONTROL_STATEMENT_MAX + 1);
	assert_fails(&w->s, E_LIMIT, control_statement_read(&w->s, span_of(long_one, CONTROL_STATEMENT_MAX + 1), &m));
}

static void a_statement_names_a_key_of_p256(void **state)
{
	struct world *w = *state;
	struct control_statement m = w->m;
	AUTO(EVP_PKEY) *p384 = unit_key_named("ec-p384");
	m.key = unit_spki(&w->s, p384);
	assert_fails(&w->s, E_CRYPTO, control_statement_read(&w->s, signed_statement(w, &m, w->identity), &m));
}

/* ---- shares ---- */

static st derive(struct scope *s, void *scalar, span point, uint8_t out[32])
{
	return control_pair_derive(s, scalar, point, out);
}

/* What keyd does when it makes the group, the custodian's token when it opens, and keyd when it activates. */
static void a_share_goes_from_keyd_to_its_custodian_and_back(void **state)
{
	struct world *w = *state;
	struct scope *s = &w->s;
	uint8_t token[CONTROL_SCALAR], commitment[CONTROL_COMMITMENT];
	span token_spki, text;
	struct control_share split[3], share, back;
	AUTO_BUF context, octets, sealed, file, opened, resealed, handed_in;
	struct buf *all[] = { &context, &octets, &sealed, &file, &opened, &resealed, &handed_in };
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		buf_init(all[i], 0);

	assert_ok(s, control_pair_new(s, token, &token_spki));
	assert_ok(s, control_split(s, span_str("a PIN of 32 octets, never typed!"), 2, 3, split));
	struct control_sealed_share h = { .group = span_str("issuing"), .person = span_str("p4"), .index = 2, .threshold = 2 };
	assert_ok(s, control_share_context(s, &h, &context));
	assert_ok(s, control_share_commitment(s, &split[1], buf_span(&context), h.commitment));
	assert_ok(s, control_share_write(s, &split[1], &octets));
	assert_ok(s, control_seal(s, token_spki, buf_span(&context), buf_span(&octets), &sealed));
	h.sealed = buf_span(&sealed);
	assert_ok(s, control_sealed_share_write(s, &h, &file));

	struct control_sealed_share got;
	struct control_opener custodian = { .spki = token_spki, .derive = derive, .state = token };
	assert_ok(s, control_sealed_share_read(s, buf_span(&file), &got));
	assert_ok(s, control_unseal(s, &custodian, buf_span(&context), got.sealed, &opened));
	assert_ok(s, control_share_read(s, buf_span(&opened), &share));
	struct control_opened_share o = {
		.instance = w->m.instance, .group = got.group, .person = got.person, .index = got.index
	};
	memcpy(o.proposal, w->m.proposal, sizeof o.proposal);
	buf_clear(&context);
	assert_ok(s, control_opened_share_context(s, &o, &context));
	assert_ok(s, control_seal(s, w->m.key, buf_span(&context), buf_span(&opened), &resealed));
	o.sealed = buf_span(&resealed);
	struct control_approval a = {
		.person = o.person, .role = CONTROL_KEY_CUSTODIAN, .approved = UNIT_NOW, .signature = span_str("signature")
	};
	assert_ok(s, control_custodian_file_write(s, &o, &a, &handed_in));

	struct control_opened_share received;
	struct control_approval approval;
	struct control_opener keyd = { .spki = w->m.key, .derive = control_pair_derive, .state = w->scalar };
	assert_ok(s, control_custodian_file_read(s, buf_span(&handed_in), &received, &approval, &text));
	assert_true(span_is(approval.signature, "signature"));
	assert_ok(s, control_opened_share_read(s, text, &received));
	assert_ok(s, control_unseal(s, &keyd, buf_span(&context), received.sealed, &opened));
	assert_ok(s, control_share_read(s, buf_span(&opened), &back));
	buf_clear(&context);
	assert_ok(s, control_share_context(s, &h, &context));
	assert_ok(s, control_share_commitment(s, &back, buf_span(&context), commitment));
	assert_memory_equal(commitment, h.commitment, sizeof commitment);
}

/* Whatever a share is for stands in its context. */
static void contexts_tell_shares_apart(void **state)
{
	struct world *w = *state;
	struct scope *s = &w->s;
	const struct control_sealed_share h = {
		.group = span_str("issuing"), .person = span_str("p4"), .index = 1, .threshold = 2
	};
	struct control_sealed_share changed[] = { h, h, h, h };
	changed[0].group = span_str("management");
	changed[1].person = span_str("p5");
	changed[2].index = 2;
	changed[3].threshold = 3;
	AUTO_BUF one;
	buf_init(&one, 0);
	assert_ok(s, control_share_context(s, &h, &one));
	assert_true(span_is(buf_span(&one), "chancery share 1\ngroup: issuing\nperson: p4\nindex: 1\nthreshold: 2\n"));
	for (size_t i = 0; i < 4; i++) {
		AUTO_BUF other;
		buf_init(&other, 0);
		assert_ok(s, control_share_context(s, &changed[i], &other));
		assert_false(span_equal(buf_span(&one), buf_span(&other)));
	}
	struct control_opened_share o = { .instance = span_str("keyd/ca"), .group = h.group, .person = h.person, .index = 1 };
	buf_clear(&one);
	assert_ok(s, control_opened_share_context(s, &o, &one));
	assert_string_equal(scope_cstr(s, buf_span(&one)), "chancery opened-share 1\ninstance: keyd/ca\nproposal: "
							   "0000000000000000000000000000000000000000000000000000000000000000\n"
							   "group: issuing\nperson: p4\nindex: 1\n");
}

/* Shares of before say neither; both lines or none. */
static void a_share_says_to_which_key_it_is_sealed_and_what_made_it(void **state)
{
	struct world *w = *state;
	struct scope *s = &w->s;
	struct control_sealed_share got, h = { .group = span_str("issuing"),
					       .person = span_str("p4"),
					       .index = 1,
					       .threshold = 2,
					       .bound = true,
					       .sealed = span_str("x") };
	memset(h.key, 1, sizeof h.key);
	memset(h.proposal, 2, sizeof h.proposal);
	AUTO_BUF file;
	buf_init(&file, 0);
	assert_ok(s, control_sealed_share_write(s, &h, &file));
	assert_ok(s, control_sealed_share_read(s, buf_span(&file), &got));
	assert_true(got.bound);
	assert_memory_equal(got.key, h.key, sizeof h.key);
	assert_memory_equal(got.proposal, h.proposal, sizeof h.proposal);
	h.bound = false;
	buf_clear(&file);
	assert_ok(s, control_sealed_share_write(s, &h, &file));
	assert_null(strstr(scope_cstr(s, buf_span(&file)), "proposal"));
	assert_ok(s, control_sealed_share_read(s, buf_span(&file), &got));
	assert_false(got.bound);
}

static void files_of_shares_are_strict(void **state)
{
	struct world *w = *state;
	struct scope *s = &w->s;
	static const char *const shares[] = {
		"chancery share 1\ngroup: issuing\nperson: p4\nindex: 0\nthreshold: 2\ncommitment: " ZEROS "\nsealed: YQ==\n",
		"chancery share 1\ngroup: issuing\nperson: p4\nindex: 17\nthreshold: 2\ncommitment: " ZEROS "\nsealed: YQ==\n",
		"chancery share 1\ngroup: issuing\nperson: p4\nindex: 1\nthreshold: 1\ncommitment: " ZEROS "\nsealed: YQ==\n",
		"chancery share 1\ngroup: issuing\nperson: P4\nindex: 1\nthreshold: 2\ncommitment: " ZEROS "\nsealed: YQ==\n",
		"chancery share 1\ngroup: issuing\nperson: p4\nindex: 1\nthreshold: 2\ncommitment: " ZEROS
		"\nsealed: YQ==\nsealed: YQ==\n",
		"chancery opened-share 1\ngroup: issuing\nperson: p4\nindex: 1\nthreshold: 2\ncommitment: " ZEROS
		"\nsealed: YQ==\n",
		"chancery share 1\ngroup: issuing\nperson: p4\nindex: 1\nthreshold: 2\ncommitment: " ZEROS "\nkey: " ZEROS
		"\nsealed: YQ==\n",
		"chancery share 1\ngroup: issuing\nperson: p4\nindex: 1\nthreshold: 2\ncommitment: " ZEROS "\nproposal: " ZEROS
		"\nsealed: YQ==\n",
	};
	struct control_sealed_share h;
	for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
		assert_fails(s, E_INPUT, control_sealed_share_read(s, span_str(shares[i]), &h));
	}
	struct control_opened_share o = { .instance = span_str("keyd/ca"),
					  .group = span_str("issuing"),
					  .person = span_str("p4"),
					  .index = 1,
					  .sealed = span_str("x") };
	struct control_approval a = {
		.person = span_str("p5"), .role = CONTROL_KEY_CUSTODIAN, .approved = UNIT_NOW, .signature = span_str("x")
	};
	AUTO_BUF file;
	buf_init(&file, 0);
	assert_fails(s, E_INPUT, control_custodian_file_write(s, &o, &a, &file));
	a.person = o.person;
	a.role = CONTROL_PKI_OPERATOR;
	assert_fails(s, E_INPUT, control_custodian_file_write(s, &o, &a, &file));
}

/* ---- the register as a file ---- */

static void the_register_as_a_file_leads_to_the_same_head(void **state)
{
	struct world *w = *state;
	struct scope *s = &w->s;
	AUTO_BUF file;
	buf_init(&file, 0);
	struct control_register *one = unit_register(s), *two = unit_register(s);
	struct control_founding f = unit_founding(s);
	AUTO_BUF document;
	buf_init(&document, 0);
	assert_ok(s, control_founding_write(s, &f, &document));
	control_register_free(one);
	control_register_free(two);
	assert_ok(s, control_register_new(s, buf_span(&document), &one));
	assert_ok(s, control_register_new(s, buf_span(&document), &two));
	for (uint64_t i = 1; i <= 2; i++) {
		struct control_proposal p = unit_proposal(s, one, "decision.take");
		unit_add(s, &p, "decision", i == 1 ? "d1" : "d2");
		unit_add(s, &p, "title", "Who does what");
		struct control_signed *o = unit_signed(s, &p);
		unit_approve(s, o, 0, CONTROL_AUTHORITY_MEMBER);
		unit_approve(s, o, 1, CONTROL_AUTHORITY_MEMBER);
		assert_ok(s, control_register_apply(s, one, unit_file(s, o), UNIT_NOW));
		assert_ok(s, control_entries_write(s, i, UNIT_NOW, unit_file(s, o), &file));
	}
	assert_ok(s, control_entries_apply(s, two, buf_span(&file)));
	assert_int_equal(control_register_head(two).entries, 2);
	assert_true(control_register_was(one, 2, control_register_head(two).hash));
	assert_fails(s, E_INPUT, control_entries_apply(s, two, buf_span(&file))); /* entry 1 again */
	control_register_free(two);
	assert_ok(s, control_register_new(s, buf_span(&document), &two));
	const uint8_t *second_line = memchr(file.data + sizeof "chancery register 1", '\n', file.len);
	for (size_t i = (size_t)(second_line - file.data) + 1; i < file.len; i++) {
		AUTO_SCOPE aside;
		scope_init(&aside, NULL);
		span rest = span_from(buf_span(&file), i);
		if (span_equal(span_first(rest, 7),
			       SPAN_LITERAL("entry: "))) /* the time of the record is nothing that people signed */
			i += (size_t)((const uint8_t *)memchr(rest.data, '\n', rest.len) - rest.data);
		file.data[i] ^= 1;
		bool same = control_entries_apply(&aside, two, buf_span(&file)).code == E_OK &&
			    control_register_was(two, 2, control_register_head(one).hash);
		file.data[i] ^= 1;
		assert_false(same);
		control_register_free(two);
		assert_ok(s, control_register_new(s, buf_span(&document), &two));
	}
	control_register_free(one);
	control_register_free(two);
}

/* ---- an execution ---- */

static span signed_execution(struct world *w, const struct control_execution *e, EVP_PKEY *key)
{
	AUTO_BUF text;
	buf_init(&text, 0);
	assert_ok(&w->s, control_execution_text(&w->s, e, &text));
	return unit_sign(&w->s, key, buf_span(&text));
}

//= control#forged only what this instance signed counts as its own
static void an_execution_is_the_instance_s_own_for_this_number_and_this_proposal(void **state)
{
	struct world *w = *state;
	struct control_execution e = { .instance = span_str("keyd/ca"), .sequence = 7 };
	memcpy(e.proposal, w->o->proposal.hash, sizeof e.proposal);
	span own = signed_execution(w, &e, w->identity);
	assert_fails(&w->s, E_CRYPTO, control_execution_check(&w->s, w->r, &e));
	e.signature = signed_execution(w, &e, w->other);
	assert_fails(&w->s, E_CRYPTO, control_execution_check(&w->s, w->r, &e));
	e.signature = own;
	assert_ok(&w->s, control_execution_check(&w->s, w->r, &e));
	e.sequence = 8;
	assert_fails(&w->s, E_CRYPTO, control_execution_check(&w->s, w->r, &e));
	e.sequence = 7;
	e.proposal[0] ^= 1;
	assert_fails(&w->s, E_CRYPTO, control_execution_check(&w->s, w->r, &e));
	e.proposal[0] ^= 1;
	e.instance = span_str("keyd/other");
	assert_fails(&w->s, E_CRYPTO, control_execution_check(&w->s, w->r, &e));
	e.instance = span_str("keyd/nobody");
	assert_fails(&w->s, E_DENIED, control_execution_check(&w->s, w->r, &e));
}

static void an_instance_that_is_retired_executes_nothing(void **state)
{
	struct world *w = *state;
	struct control_execution e = { .instance = span_str("keyd/ca"), .sequence = 1 };
	e.signature = signed_execution(w, &e, w->identity);
	assert_ok(&w->s, control_execution_check(&w->s, w->r, &e));
	struct control_proposal p = unit_proposal(&w->s, w->r, "instance.retire");
	unit_add(&w->s, &p, "name", "keyd/ca");
	assert_ok(&w->s, unit_apply(&w->s, w->r, &p));
	assert_fails(&w->s, E_DENIED, control_execution_check(&w->s, w->r, &e));
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, build, remove_world)
	const struct CMUnitTest all[] = {
		IN_WORLD(a_statement_of_the_instance_is_taken),
		IN_WORLD(a_statement_that_says_anything_else_is_refused),
		IN_WORLD(a_retired_instance_gets_no_share),
		IN_WORLD(a_statement_changed_on_its_way_is_refused),
		IN_WORLD(a_statement_names_a_key_of_p256),
		IN_WORLD(a_share_goes_from_keyd_to_its_custodian_and_back),
		IN_WORLD(contexts_tell_shares_apart),
		IN_WORLD(a_share_says_to_which_key_it_is_sealed_and_what_made_it),
		IN_WORLD(files_of_shares_are_strict),
		IN_WORLD(the_register_as_a_file_leads_to_the_same_head),
		IN_WORLD(an_execution_is_the_instance_s_own_for_this_number_and_this_proposal),
		IN_WORLD(an_instance_that_is_retired_executes_nothing),
	};
	return cmocka_run_group_tests(all, NULL, NULL);
}
