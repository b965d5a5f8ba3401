/* cli_terminal.h - secrets typed at the terminal. */
#pragma once
#include "scope.h"

#define CLI_PIN_MIN 8 /* characters of a new PIN */
#define CLI_PIN_MAX 128

/* One line, not shown, without its end; in the scope's memory, which is wiped. E_STATE when the person ended it (Ctrl-C, Ctrl-D),
 * with the terminal as it was; E_INPUT when there is no terminal. */
st cli_ask(struct scope *s, const char *prompt, span *out);
/* Is there a terminal to ask at? */
bool cli_terminal_there(void);
/* A line beside the prompts; nothing without a terminal. */
st cli_say(struct scope *s, const char *line);
