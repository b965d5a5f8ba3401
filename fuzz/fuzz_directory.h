/*
 * fuzz_directory.h - a directory of its own for a target whose decoder reads files: in memory where the machine has such a place, and
 * gone when the process ends.
 */
#pragma once
#include "fuzz.h"

/* Made at the first call. */
const char *fuzz_directory(void);
/* Path of a name in it; valid until the next call. Directories named in it are not made. */
const char *fuzz_path(const char *name);
void fuzz_make_directory(const char *name);
/* The whole content of a file in it, from now on. */
void fuzz_file(const char *name, span content);
void fuzz_forget(const char *name);
