/*
 * cli_inbox.h - a directory to which people bring files, watched until what is waited for is there.
 */
#pragma once
#include "cli.h"

#define CLI_INBOX_FILE_MAX 65536

struct cli_inbox {
	const char *directory;
	void *state;
	/* A file that somebody brought. What fails is told; the file goes to refused/ below the directory, else to taken/. */
	st (*take)(struct scope *s, void *state, span file);
	/* Each time round: is everything there? */
	st (*look)(struct scope *s, void *state, bool *out_done);
};
/* Returns when `look` says so. E_STATE when the person ends it (Ctrl-C): nothing is lost. */
st cli_inbox_wait(struct scope *s, const struct cli *c, const struct cli_inbox *box);
