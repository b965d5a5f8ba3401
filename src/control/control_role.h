/*
 * control_role.h - the trusted roles and the groups that are kept apart (practice statement 5.2.1, 5.2.4, 5.3.7), as tables.
 */
#pragma once
#include "scope.h"

enum control_role {
#define ROLE(symbol, name, group, text) CONTROL_##symbol,
#include "control_role.def"
#undef ROLE
	CONTROL_ROLE_COUNT
};
/* A set of roles. */
#define CONTROL_IS(role) (UINT32_C(1) << CONTROL_##role)

/* The work groups that are kept apart: a person belongs to one of them at most. CONTROL_ANY_GROUP: roles that go with any one group
 * but that of the auditors. CONTROL_AUTHORITY: membership of the Policy Management Authority, which is no role that it grants. */
enum control_group {
	CONTROL_ADMINISTRATION,
	CONTROL_SYSTEMS,
	CONTROL_SECURITY,
	CONTROL_AUDIT,
	CONTROL_ANY_GROUP,
	CONTROL_AUTHORITY,
	CONTROL_GROUP_COUNT
};

struct control_role_row {
	const char *name; /* as proposals and commands write it: "key-custodian" */
	enum control_group group;
	const char *text; /* as the practice statement writes it: "Key Custodian" */
};
const struct control_role_row *control_role_row(enum control_role role);
const char *control_group_name(enum control_group group);
/* E_INPUT, with the roles that there are, when none has this name. */
st control_role_named(struct scope *s, span name, enum control_role *out);
/* May somebody who holds the roles `held` (bits) be given `role`? E_DENIED naming the role that it is to be kept apart from. */
//= tsps#5.2.4 one person belongs to one work group only
st control_role_separate(struct scope *s, uint32_t held, enum control_role role);
/* "key-custodian, pki-operator" */
const char *control_roles_text(struct scope *s, uint32_t roles);
