/*
 * file.h - files that survive a crash: every write here is complete, synced and renamed into place, or not there.
 */
#pragma once
#include "buf.h"

/* The whole file, at most `max` bytes (E_LIMIT over it, E_NOTFOUND when absent, E_IO otherwise). */
st file_read(struct scope *s, const char *path, size_t max, span *out);
/* Write beside, fsync, rename over, fsync the directory. `mode` as for open(2), exact whatever the umask. */
st file_replace(struct scope *s, const char *path, span bytes, unsigned mode);
/* As file_replace, but E_CONFLICT when the path exists. */
st file_create(struct scope *s, const char *path, span bytes, unsigned mode);
/* All bytes or an error; continues after interrupted and partial writes. */
st file_write_all(struct scope *s, int fd, span bytes);
/* `len` bytes from `at`, all of them or an error; the file's position stays. */
st file_read_at(struct scope *s, int fd, void *out, size_t len, uint64_t at);
/* fsync the directory that holds `path`, so that a new name in it is durable. */
st file_sync_directory_of(struct scope *s, const char *path);
/* The names in a directory, in order, without "." and "..": all of them, or an error (E_NOTFOUND when the directory is absent). What is
 * missing in a list that broke off would count as not being there. */
st file_list(struct scope *s, const char *directory, char ***out_names, size_t *out_count);
/* Make a directory, and those above it, when absent. */
st file_make_directory(struct scope *s, const char *path, unsigned mode);
/* Append-only handle on `path`, created when absent. */
st file_open_append(struct scope *s, const char *path, unsigned mode, int *out_fd);
/* Two names in one directory change places, durably and at once: whenever the end comes, either both have or none. E_NOTFOUND when one is absent;
 * E_IO, with nothing changed, where the file system cannot do it (NFS). */
st file_exchange(struct scope *s, const char *a, const char *b);
bool file_exists(const char *path);
