/*
 * conf_value.h - one value of a configuration: from its text, checked, into the struct of the service. Private to conf.
 */
#pragma once
#include "conf.h"

/* What a value of each type looks like, for messages and for the reference. */
struct conf_type_row {
	const char *name;
	const char *like;
};
const struct conf_type_row *conf_type_row(enum conf_type type);
static inline bool conf_type_repeats(enum conf_type type)
{
	return type == CONF_LIST || type == CONF_PATHS;
}

/* Parse `text` by `row` and store it at `target`; for repeating types the item is added to a list that has room for it.
 * Relative paths are taken from `directory`. The message says what is wrong and what would be right, without file and line. */
st conf_value_set(struct scope *s, const struct conf_row *row, span text, const char *directory, void *target);
/* As it would be written: "5m". */
const char *conf_duration_text(struct scope *s, int64_t microseconds);
