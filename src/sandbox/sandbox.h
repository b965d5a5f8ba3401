/*
 * sandbox.h - what a program that holds secrets does to its own process before it touches them: daemons, and chancery-token.
 */
#pragma once
#include "scope.h"

/* No core dumps, no new privileges, files for the owner only, no reading of its memory by others of the same user. */
st sandbox_harden(struct scope *s);
/* A seccomp filter for all threads to come: see the table in sandbox.c. Local sockets stay: the card reader's daemon is reached by one. */
st sandbox_enter(struct scope *s, bool may_connect_internet);
