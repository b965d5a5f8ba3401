/*
 * scope.h - what one piece of work needs around it: memory that goes when the work is done, the one error it may end with,
 * the clock, randomness and the identifier under which its records are found again.
 *
 * Every fallible function returns `st`, takes the scope first, and is called under TRY(). A result cannot be dropped.
 */
#pragma once
#include "span.h"
#include <stdarg.h>

enum code {
#define CODE(name, http, ocsp, pki, exit, level, text) E_##name,
#include "codes.def"
#undef CODE
	CODE_COUNT
};

/* GCC 12 takes the C23 attribute on a type, Clang 14 only its own. */
#ifdef __clang__
#define MUST_USE __attribute__((warn_unused_result))
#else
#define MUST_USE [[nodiscard]]
#endif

/* The return type of every fallible function: a result that is dropped does not compile. */
typedef struct MUST_USE status {
	enum code code;
} st;
#define OK ((st){ E_OK })

#define TRY(call)                                                                                                              \
	do {                                                                                                                   \
		st try_ = (call);                                                                                              \
		if (try_.code != E_OK)                                                                                         \
			return try_;                                                                                           \
	} while (0)

/* What each code means to the protocols and to a person; one row of codes.def. */
struct code_row {
	const char *name;
	int http_status;
	int ocsp_status;
	int pki_failure;
	int exit_code;
	int log_level;
	const char *meaning;
};
const struct code_row *code_row(enum code code);

/* Foreign handles: DEFINE_AUTO(X509, X509_free) once, then `AUTO(X509) *c = ...;` frees at the end of the block.
 * TAKE(c) hands the handle on and leaves NULL behind. */
#define DEFINE_AUTO(type, free_function)                                                                                       \
	static inline void type##_auto(type **handle)                                                                          \
	{                                                                                                                      \
		if (*handle != NULL)                                                                                           \
			(void)free_function(*handle);                                                                          \
	}
#define AUTO(type) __attribute__((cleanup(type##_auto))) type
#define TAKE(handle)                                                                                                           \
	({                                                                                                                     \
		__typeof__(handle) take_ = (handle);                                                                           \
		(handle) = NULL;                                                                                               \
		take_;                                                                                                         \
	})

/* A file descriptor that closes itself: `AUTO_FD fd = open(...);` -1 is "none". take_fd() hands it on. */
/* Closes it, and leaves -1. */
void fd_auto(int *fd);
int take_fd(int *fd);
#define AUTO_FD __attribute__((cleanup(fd_auto))) int

/* Where time and randomness come from. Only test programs use another source than the kernel's. */
struct source {
	int64_t (*now)(void *state); /* microseconds since 1970-01-01T00:00:00Z */
	void (*random)(void *state, void *out, size_t len);
	void *state;
};
extern const struct source source_kernel;

struct arena_block;

#define SCOPE_MESSAGE_MAX 512

struct scope {
	struct arena_block *blocks;
	size_t used;  /* bytes handed out since the last reset */
	size_t limit; /* more than this at once is a bug of the caller: input limits come first */
	const struct source *source;
	uint8_t id[16]; /* random per piece of work; `tx` in audit records and log lines */
	enum code code; /* of the first failure since the last reset */
	char message[SCOPE_MESSAGE_MAX];
};

/* Start a scope on the given source, NULL for the kernel's. */
void scope_init(struct scope *s, const struct source *source);
/* Wipe and give back everything handed out, forget the error, take a new id: ready for the next request. */
void scope_reset(struct scope *s);
/* Wipe and free. */
void scope_done(struct scope *s);
#define AUTO_SCOPE __attribute__((cleanup(scope_done))) struct scope

/* `len` zeroed bytes, aligned for any type, valid until the scope is reset. Never NULL: out of memory ends the process. */
void *scope_alloc(struct scope *s, size_t len);
#define scope_new(s, type) ((type *)scope_alloc((s), sizeof(type)))
span scope_copy(struct scope *s, span bytes);
/* Copy with a final zero, for system calls. A zero byte inside is kept, so check first where it matters. */
char *scope_cstr(struct scope *s, span bytes);
char *scope_printf(struct scope *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Microseconds since the epoch, UTC. */
int64_t scope_now(const struct scope *s);
void scope_random(const struct scope *s, void *out, size_t len);

/* Record why this work fails and return the code. The message is one sentence for the person in front of it, names the
 * clause where a standard is the reason, and says what to do next. The first failure of a scope stays; fail() on top of
 * an earlier one only changes the code returned. */
st fail(struct scope *s, enum code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Put words before the message of a failure that is being passed on ("reading ca.conf: "). */
st fail_context(struct scope *s, st status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* As fail(), with the text of errno at the end. */
st fail_errno(struct scope *s, enum code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* As fail(), in the words of another process; where it sent none, the meaning of the code stands in for them. */
st fail_told(struct scope *s, enum code code, span message);
/* Forget a failure that was dealt with. */
void scope_clear_error(struct scope *s);

#ifdef __clang_analyzer__
/* What the analyzer cannot see from a declaration: these return the failure they are given, never OK. */
#define fail(s, code, ...)       ((void)(fail)((s), (code), __VA_ARGS__), (st){ (code) == E_OK ? E_BUG : (code) })
#define fail_errno(s, code, ...) ((void)(fail_errno)((s), (code), __VA_ARGS__), (st){ (code) })
#define fail_context(s, status, ...)                                                                                           \
	({                                                                                                                     \
		st kept_ = (status);                                                                                           \
		(void)(fail_context)((s), kept_, __VA_ARGS__);                                                                 \
		kept_;                                                                                                         \
	})
#endif

/* Memory for things that outlive a scope. Out of memory ends the process: a restart is always safe. */
void *heap_alloc(size_t len);
void *heap_grow(void *old, size_t len);
char *heap_copy_str(const char *text);
/* Overwrite memory that held a secret; the compiler may not leave it out. */
void wipe(void *data, size_t len);
