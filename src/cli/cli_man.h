/* cli_man.h - the manual pages, from the command tables and what the daemons print of themselves. */
#pragma once
#include "cli.h"

/* Writes man1/ and man8/ below the directory of --out. */
st cli_man_pages(struct scope *s, struct cli *c);
