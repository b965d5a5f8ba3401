/*
 * unit.h - what every unit test includes: cmocka, and checks that print the scope's message when they fail.
 */
#pragma once
#include "scope.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#undef fail /* cmocka's macro; ours is the function of scope.h */

#define assert_ok(s, call)                                                                                                     \
	do {                                                                                                                   \
		st got_ = (call);                                                                                              \
		if (got_.code != E_OK)                                                                                         \
			print_error("%s\n", (s)->message);                                                                     \
		assert_int_equal(got_.code, E_OK);                                                                             \
	} while (0)

/* The call must fail with this code; the scope is ready for the next check afterwards. */
#define assert_fails(s, expected, call)                                                                                        \
	do {                                                                                                                   \
		st got_ = (call);                                                                                              \
		assert_int_equal(got_.code, (expected));                                                                       \
		scope_clear_error(s);                                                                                          \
	} while (0)
