/* cli_terminal.h - secrets typed at the terminal. */
#pragma once
#include "scope.h"

/* One line, not shown, without its end; in the scope's memory, which is wiped. E_STATE when the person ended it (Ctrl-C, Ctrl-D),
 * with the terminal as it was; E_INPUT when there is no terminal. */
st cli_ask(struct scope *s, const char *prompt, span *out);
/* A line beside the prompts; nothing without a terminal. */
st cli_say(struct scope *s, const char *line);
