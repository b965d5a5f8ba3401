/* cli_nearest.h - what a mistyped word may have meant. */
#pragma once
#include "scope.h"

struct cli_nearest {
	span word;
	const char *name; /* the nearest candidate so far that is near enough; NULL */
	unsigned apart;
};
void cli_nearest_try(struct cli_nearest *n, const char *candidate);
/* " (did you mean NAME?)", with `before` in front of the name, or an empty text. */
const char *cli_nearest_question(struct scope *s, const struct cli_nearest *n, const char *before);
