/* cli_backup.h - what backup and restore have in common: copies that are durable and keep their owner. */
#pragma once
#include "cli_record.h"

/* A file that must not be there yet; synced. */
st cli_copy_file(struct scope *s, const char *from, const char *to);
/* A directory with all that is in it; files that are there already stay as they are. */
st cli_copy_tree(struct scope *s, const char *from, const char *to);
