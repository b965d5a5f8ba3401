#include "key.h"

static const char *const names[KEY_STATE_COUNT] = {
	[KEY_PLANNED] = "planned",     [KEY_GENERATED] = "generated", [KEY_ACTIVE] = "active",
	[KEY_SUSPENDED] = "suspended", [KEY_EXPIRED] = "expired",     [KEY_DESTROYED] = "destroyed",
};

/* Every move there is; a state without a row is the end. */
//= sp800-57pt1#7 key states and transitions
static const struct {
	enum key_state from, to;
} moves[] = {
	{ KEY_PLANNED, KEY_GENERATED }, /* by generating it */
	{ KEY_GENERATED, KEY_ACTIVE },  /* by its first use other than proving possession */
	{ KEY_ACTIVE, KEY_SUSPENDED },    { KEY_SUSPENDED, KEY_ACTIVE },
	{ KEY_GENERATED, KEY_EXPIRED }, /* these three by date */
	{ KEY_ACTIVE, KEY_EXPIRED },      { KEY_SUSPENDED, KEY_EXPIRED },
	{ KEY_GENERATED, KEY_DESTROYED }, { KEY_ACTIVE, KEY_DESTROYED },
	{ KEY_SUSPENDED, KEY_DESTROYED }, { KEY_EXPIRED, KEY_DESTROYED },
};
#define MOVES (sizeof moves / sizeof moves[0])

const char *key_state_name(enum key_state state)
{
	return state < KEY_STATE_COUNT ? names[state] : "unknown";
}

enum key_state key_state_named(span name)
{
	enum key_state state = KEY_PLANNED;
	while (state < KEY_STATE_COUNT && !span_is(name, names[state]))
		state++;
	return state;
}

static const char *ways_on(struct scope *s, enum key_state from)
{
	const char *text = "";
	for (size_t i = 0; i < MOVES; i++)
		if (moves[i].from == from)
			text = scope_printf(s, "%s%s%s", text, text[0] != 0 ? " or " : "", names[moves[i].to]);
	return text[0] != 0 ? scope_printf(s, "from there it can only become %s", text) : "that is the end of its life";
}

st key_state_check(struct scope *s, const char *label, enum key_state from, enum key_state to)
{
	for (size_t i = 0; i < MOVES; i++)
		if (moves[i].from == from && moves[i].to == to)
			return OK;
	return fail(s, E_STATE, "key \"%s\" is %s and cannot become %s: %s (SP 800-57 part 1, 7)", label, key_state_name(from),
		    key_state_name(to), ways_on(s, from));
}
