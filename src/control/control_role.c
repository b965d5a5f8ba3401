#include "control_role.h"
#include "log.h"

static const struct control_role_row rows[CONTROL_ROLE_COUNT] = {
#define ROLE(symbol, name_, group_, text_) [CONTROL_##symbol] = { .name = name_, .group = CONTROL_##group_, .text = text_ },
#include "control_role.def"
#undef ROLE
};

static const char *const groups[CONTROL_GROUP_COUNT] = {
	[CONTROL_ADMINISTRATION] = "PKI administration",
	[CONTROL_SYSTEMS] = "system and network administration",
	[CONTROL_SECURITY] = "security",
	[CONTROL_AUDIT] = "audit",
	[CONTROL_ANY_GROUP] = "any group but audit",
	[CONTROL_AUTHORITY] = "Policy Management Authority",
};

const struct control_role_row *control_role_row(enum control_role role)
{
	if (role >= CONTROL_ROLE_COUNT)
		log_die("role %d is not in the table", (int)role);
	return &rows[role];
}

const char *control_group_name(enum control_group group)
{
	return groups[group];
}

const char *control_roles_text(struct scope *s, uint32_t roles)
{
	const char *text = "";
	for (int i = 0; i < CONTROL_ROLE_COUNT; i++)
		if ((roles & UINT32_C(1) << i) != 0)
			text = scope_printf(s, "%s%s%s", text, *text == 0 ? "" : ", ", rows[i].name);
	return text;
}

st control_role_named(struct scope *s, span name, enum control_role *out)
{
	for (int i = 0; i < CONTROL_ROLE_COUNT; i++)
		if (span_is(name, rows[i].name)) {
			*out = (enum control_role)i;
			return OK;
		}
	return fail(s, E_INPUT, "there is no role '%.*s'; there are: %s", (int)(name.len < 64 ? name.len : 64),
		    (const char *)name.data, control_roles_text(s, UINT32_MAX));
}

static bool apart(enum control_group a, enum control_group b)
{
	if (a == CONTROL_AUTHORITY || b == CONTROL_AUTHORITY || a == b)
		return false;
	if (a == CONTROL_ANY_GROUP || b == CONTROL_ANY_GROUP)
		return a == CONTROL_AUDIT || b == CONTROL_AUDIT;
	return true;
}

st control_role_separate(struct scope *s, uint32_t held, enum control_role role)
{
	enum control_group group = control_role_row(role)->group;
	for (int i = 0; i < CONTROL_ROLE_COUNT; i++) {
		if ((held & UINT32_C(1) << i) == 0 || !apart(rows[i].group, group))
			continue;
		return fail(s, E_DENIED,
			    "%s (group %s) cannot be given to who is %s (group %s): one person belongs to one group only "
			    "(practice statement 5.2.4)",
			    rows[role].name, groups[group], rows[i].name, groups[rows[i].group]);
	}
	return OK;
}
