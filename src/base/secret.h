/*
 * secret.h - memory for secrets that stay, and how they come in beside the terminal (terminal.h): by a descriptor. Never by
 * configuration, arguments or environment.
 */
#pragma once
#include "scope.h"

/* The leak checker of a sanitizer build stops the process with ptrace to look at its memory: let it. */
#if defined(__SANITIZE_ADDRESS__)
#define SECRET_UNDER_SANITIZER true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SECRET_UNDER_SANITIZER true
#endif
#endif
#ifndef SECRET_UNDER_SANITIZER
#define SECRET_UNDER_SANITIZER false
#endif

/* From now on nothing of this process gets into a core dump, its own nor one by systemd-coredump, and others of the same user do not
 * read its memory. E_IO. What it starts begins anew with the latter. */
st secret_process(struct scope *s);
/* Whole pages for `len` octets, zeroed, never swapped and in no dump. E_IO when the limit of locked memory is too low. */
st secret_new(struct scope *s, size_t len, void **out);
/* Wipes; NULL is fine. */
void secret_free(void *memory, size_t len);
/* A descriptor's number as given on the command line ("--pin-fd N"); it is closed at the next execve. */
st secret_descriptor(struct scope *s, const char *option, const char *value, int *out_fd);
/* The first line that comes on the descriptor, without its end, into `out`. E_INPUT when it is empty or longer than `room`, E_IO. */
st secret_read(struct scope *s, int fd, char *out, size_t room, size_t *out_len);
