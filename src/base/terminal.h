/* terminal.h - secrets typed at the terminal. */
#pragma once
#include "scope.h"

#define TERMINAL_PIN_MIN 8 /* characters of a new PIN */
#define TERMINAL_PIN_MAX 128
#define TERMINAL_ROOM    256 /* octets of a line, with its end */

/* One line, not shown, without its end, into `out`. E_STATE when the person ended it (Ctrl-C, Ctrl-D), with the terminal as it was;
 * E_INPUT when it is longer, or there is no terminal: then `otherwise` says what else can be done. */
st terminal_ask(struct scope *s, const char *prompt, const char *otherwise, char out[TERMINAL_ROOM], size_t *out_len);
/* A new PIN, typed twice, until both entries agree and its length is allowed; `what` it is called in the second prompt. */
st terminal_ask_new(struct scope *s, const char *what, const char *prompt, const char *otherwise, char out[TERMINAL_ROOM],
		    size_t *out_len);
/* Is there a terminal to ask at? */
bool terminal_there(void);
/* A line beside the prompts; nothing without a terminal. */
st terminal_say(struct scope *s, const char *line);
