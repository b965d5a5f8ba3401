/*
 * control_unit.h - a small provider for tests: persons with keys, a founding document, and operations that they approve.
 */
#pragma once
#include "control_register.h"
#include "digest.h"
#include "moment.h"
#include "pki_unit.h"
#include "text.h"

#define UNIT_NOW     (INT64_C(1795374000) * MOMENT_SECOND)
#define UNIT_PERSONS 12

struct unit_person {
	char id[8];
	EVP_PKEY *key;
};
static struct unit_person unit_person[UNIT_PERSONS]; /* p0 to p2 are the founders */

static inline void unit_persons(void)
{
	for (int i = 0; i < UNIT_PERSONS; i++) {
		(void)snprintf(unit_person[i].id, sizeof unit_person[i].id, "p%d", i);
		unit_person[i].key = unit_key();
	}
}

static inline void unit_persons_free(void)
{
	for (int i = 0; i < UNIT_PERSONS; i++)
		EVP_PKEY_free(unit_person[i].key);
}

static inline struct control_founding unit_founding(struct scope *s)
{
	struct control_founding f = {
		.provider = "Unit Trust Service Provider", .founded = UNIT_NOW, .quorum = 2, .founders = 3
	};
	AUTO_BUF text;
	buf_init(&text, 0);
	for (size_t i = 0; i < f.founders; i++)
		f.founder[i] = (struct control_founder){ .id = unit_person[i].id, .spki = unit_spki(s, unit_person[i].key) };
	assert_ok(s, control_founding_text(s, &f, &text));
	for (size_t i = 0; i < f.founders; i++)
		f.founder[i].signature = unit_sign(s, unit_person[i].key, buf_span(&text));
	return f;
}

static inline struct control_register *unit_register(struct scope *s)
{
	struct control_founding f = unit_founding(s);
	struct control_register *r = NULL;
	AUTO_BUF document;
	buf_init(&document, 0);
	assert_ok(s, control_founding_write(s, &f, &document));
	assert_ok(s, control_register_new(s, buf_span(&document), &r));
	return r;
}

/* One that is complete but for its parameters. */
static inline struct control_proposal unit_proposal(struct scope *s, const struct control_register *r, const char *operation)
{
	struct control_head head = control_register_head(r);
	struct control_proposal p = { .operation = control_operation_named(span_str(operation)),
				      .instance = span_str("register"),
				      .entries = head.entries,
				      .proposed_by = span_str("p0"),
				      .proposed = UNIT_NOW,
				      .expires = UNIT_NOW + MOMENT_HOUR };
	assert_non_null(p.operation);
	if (p.operation->executor == CONTROL_BY_KEYD)
		p.instance = span_str("keyd/ca");
	if (p.operation->executor == CONTROL_BY_CA)
		p.instance = span_str("ca");
	memcpy(p.head, head.hash, sizeof p.head);
	scope_random(s, p.nonce, sizeof p.nonce);
	return p;
}

static inline void unit_add(struct scope *s, struct control_proposal *p, const char *name, const char *value)
{
	assert_ok(s, control_proposal_add(s, p, name, span_str(value)));
}

/* Makes the canonical text; it lives as long as the scope. */
static inline struct control_signed *unit_signed(struct scope *s, const struct control_proposal *p)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	AUTO_BUF text;
	buf_init(&text, 0);
	assert_ok(s, control_proposal_write(s, p, &text));
	assert_ok(s, control_proposal_read(s, scope_copy(s, buf_span(&text)), &o->proposal));
	return o;
}

static inline void unit_approve_at(struct scope *s, struct control_signed *o, int person, enum control_role role,
				   int64_t approved)
{
	struct control_approval *a = &o->approval[o->count++];
	AUTO_BUF text;
	buf_init(&text, 0);
	*a = (struct control_approval){ .person = span_str(unit_person[person].id), .role = role, .approved = approved };
	assert_ok(s, control_approval_text(s, &o->proposal, a, &text));
	a->signature = unit_sign(s, unit_person[person].key, buf_span(&text));
}

static inline void unit_approve(struct scope *s, struct control_signed *o, int person, enum control_role role)
{
	unit_approve_at(s, o, person, role, o->proposal.proposed);
}

static inline span unit_file(struct scope *s, const struct control_signed *o)
{
	AUTO_BUF file;
	buf_init(&file, 0);
	assert_ok(s, control_signed_write(s, o, &file));
	return scope_copy(s, buf_span(&file));
}

/* With the approvals of two founders. */
static inline st unit_apply(struct scope *s, struct control_register *r, const struct control_proposal *p)
{
	struct control_signed *o = unit_signed(s, p);
	unit_approve(s, o, 0, CONTROL_AUTHORITY_MEMBER);
	unit_approve(s, o, 1, CONTROL_AUTHORITY_MEMBER);
	return control_register_apply(s, r, unit_file(s, o), p->proposed);
}

static inline const char *unit_time(struct scope *s, int64_t moment)
{
	char text[MOMENT_TEXT_MAX];
	return scope_printf(s, "%s", moment_text(moment, text));
}

static inline st unit_enrol(struct scope *s, struct control_register *r, int person, int64_t trained)
{
	struct control_proposal p = unit_proposal(s, r, "person.enrol");
	unit_add(s, &p, "person", unit_person[person].id);
	unit_add(s, &p, "key", base64_text(s, unit_spki(s, unit_person[person].key)));
	unit_add(s, &p, "identity", "0000000000000000000000000000000000000000000000000000000000000000");
	unit_add(s, &p, "screened", unit_time(s, UNIT_NOW - MOMENT_DAY));
	if (trained != 0)
		unit_add(s, &p, "trained", unit_time(s, trained));
	return unit_apply(s, r, &p);
}

static inline st unit_decide(struct scope *s, struct control_register *r, const char *decision)
{
	struct control_proposal p = unit_proposal(s, r, "decision.take");
	unit_add(s, &p, "decision", decision);
	unit_add(s, &p, "title", "Who does what");
	return unit_apply(s, r, &p);
}

static inline st unit_grant(struct scope *s, struct control_register *r, int person, enum control_role role)
{
	struct control_proposal p = unit_proposal(s, r, "role.grant");
	unit_add(s, &p, "person", unit_person[person].id);
	unit_add(s, &p, "role", control_role_row(role)->name);
	unit_add(s, &p, "decision", "d1");
	return unit_apply(s, r, &p);
}
