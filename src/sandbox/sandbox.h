/*
 * sandbox.h - what a program that holds secrets does to its own process before it touches them: daemons, and chancery-token.
 */
#pragma once
#include "scope.h"

/* The leak checker of a sanitizer build stops the process with ptrace to look at its memory: let it. */
#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_UNDER_SANITIZER true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_UNDER_SANITIZER true
#endif
#endif
#ifndef SANDBOX_UNDER_SANITIZER
#define SANDBOX_UNDER_SANITIZER false
#endif

/* No core dumps, no new privileges, files for the owner only, no reading of its memory by others of the same user. */
st sandbox_harden(struct scope *s);
/* A seccomp filter for all threads to come: see the table in sandbox.c. Local sockets stay: the card reader's daemon is reached by one. */
st sandbox_enter(struct scope *s, bool may_connect_internet);
