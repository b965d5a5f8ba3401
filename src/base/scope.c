#include "scope.h"
#include "log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_MIN   8192u
#define BLOCK_KEEP  65536u /* a worker's scope keeps a block that holds a whole request, and no more than this */
#define SCOPE_LIMIT (256u << 20)

struct arena_block {
	struct arena_block *next;
	size_t size;
	size_t used;
	_Alignas(max_align_t) uint8_t data[];
};

static const struct code_row code_rows[CODE_COUNT] = {
#define CODE(name, http, ocsp, pki, exit, level, text) [E_##name] = { #name, http, ocsp, pki, exit, LOG_LEVEL_##level, text },
#include "codes.def"
#undef CODE
};

const struct code_row *code_row(enum code code)
{
	return &code_rows[code < CODE_COUNT ? code : E_BUG];
}

static int64_t kernel_now(void *state)
{
	(void)state;
	struct timespec now;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void kernel_random(void *state, void *out, size_t len)
{
	(void)state;
	uint8_t *at = out;
	while (len > 0) {
		ssize_t got = getrandom(at, len, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			log_die("the kernel gives no random bytes: %s", strerror(errno));
		at += got;
		len -= (size_t)got;
	}
}

const struct source source_kernel = { kernel_now, kernel_random, NULL };

void fd_auto(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1; /* the number is given to the next file that anybody opens */
}

int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

void wipe(void *data, size_t len)
{
	if (len > 0)
		explicit_bzero(data, len);
}

void *heap_alloc(size_t len)
{
	void *new = calloc(1, len == 0 ? 1 : len);
	if (new == NULL)
		log_die("out of memory: %zu bytes", len);
	return new;
}

void *heap_grow(void *old, size_t len)
{
	void *new = realloc(old, len == 0 ? 1 : len);
	if (new == NULL)
		log_die("out of memory: %zu bytes", len);
	return new;
}

char *heap_copy_str(const char *text)
{
	size_t len = strlen(text) + 1;
	return memcpy(heap_alloc(len), text, len);
}

/* Identifiers of work are public, so they may come from a supply that one call to the kernel fills: a call for each request shows
 * where answers leave from memory. Secrets and serials never come from here. No daemon forks once it runs. */
static void fresh_id(struct scope *s)
{
	static _Thread_local uint8_t supply[64][sizeof s->id];
	static _Thread_local size_t left;
	if (s->source != &source_kernel) {
		scope_random(s, s->id, sizeof s->id);
		return;
	}
	if (left == 0) {
		scope_random(s, supply, sizeof supply);
		left = sizeof supply / sizeof supply[0];
	}
	memcpy(s->id, supply[--left], sizeof s->id);
}

void scope_init(struct scope *s, const struct source *source)
{
	*s = (struct scope){ .source = source != NULL ? source : &source_kernel, .limit = SCOPE_LIMIT };
	fresh_id(s);
}

void scope_reset(struct scope *s)
{
	struct arena_block *keep = NULL;
	while (s->blocks != NULL) {
		struct arena_block *block = s->blocks;
		s->blocks = block->next;
		wipe(block->data, block->used);
		block->used = 0;
		block->next = NULL;
		bool larger = block->size <= BLOCK_KEEP && (keep == NULL || block->size > keep->size);
		free(larger ? keep : block);
		keep = larger ? block : keep;
	}
	s->blocks = keep;
	s->used = 0;
	scope_clear_error(s);
	fresh_id(s);
}

void scope_done(struct scope *s)
{
	while (s->blocks != NULL) {
		struct arena_block *old = s->blocks;
		s->blocks = old->next;
		wipe(old->data, old->used);
		free(old);
	}
	s->used = 0;
}

void *scope_alloc(struct scope *s, size_t len)
{
	size_t align = _Alignof(max_align_t);
	if (len > s->limit || s->used > s->limit - len)
		log_die("one piece of work wants more than %zu bytes: an input limit is missing", s->limit);
	size_t rounded = (len + align - 1) & ~(align - 1);
	struct arena_block *block = s->blocks;
	if (block == NULL || block->size - block->used < rounded) {
		size_t size = block == NULL ? BLOCK_MIN : block->size < BLOCK_KEEP / 2 ? 2 * block->size : BLOCK_KEEP;
		size = rounded > size ? rounded : size;
		block = heap_alloc(sizeof *block + size);
		block->size = size;
		block->next = s->blocks;
		s->blocks = block;
	}
	uint8_t *out = block->data + block->used;
	block->used += rounded;
	s->used += rounded;
	return out; /* zeroed: by heap_alloc, or by the wipe of what was there before */
}

span scope_copy(struct scope *s, span bytes)
{
	if (bytes.len == 0)
		return (span){ 0 };
	return span_of(memcpy(scope_alloc(s, bytes.len), bytes.data, bytes.len), bytes.len);
}

char *scope_cstr(struct scope *s, span bytes)
{
	char *out = scope_alloc(s, bytes.len + 1);
	if (bytes.len > 0)
		memcpy(out, bytes.data, bytes.len);
	return out;
}

char *scope_printf(struct scope *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	va_list again;
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		log_die("format '%s' cannot be written", format);
	char *out = scope_alloc(s, (size_t)len + 1);
	(void)vsnprintf(out, (size_t)len + 1, format, again);
	va_end(again);
	return out;
}

int64_t scope_now(const struct scope *s)
{
	return s->source->now(s->source->state);
}

void scope_random(const struct scope *s, void *out, size_t len)
{
	s->source->random(s->source->state, out, len);
}

__attribute__((format(printf, 4, 0))) static st fail_with(struct scope *s, enum code code, const char *tail, const char *format,
							  va_list args)
{
	if (s->code == E_OK) {
		s->code = code;
		int len = vsnprintf(s->message, sizeof s->message, format, args);
		if (tail != NULL && len >= 0 && (size_t)len < sizeof s->message)
			(void)snprintf(s->message + len, sizeof s->message - (size_t)len, ": %s", tail);
	}
	return (st){ code };
}

st(fail)(struct scope *s, enum code code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	st status = fail_with(s, code, NULL, format, args);
	va_end(args);
	return status;
}

st(fail_errno)(struct scope *s, enum code code, const char *format, ...)
{
	const char *why = strerror(errno);
	va_list args;
	va_start(args, format);
	st status = fail_with(s, code, why, format, args);
	va_end(args);
	return status;
}

st fail_told(struct scope *s, enum code code, span message)
{
	if (message.len == 0 || message.data[0] == 0)
		message = span_str(code_row(code)->meaning);
	return fail(s, code, "%.*s", (int)message.len, (const char *)message.data);
}

st(fail_context)(struct scope *s, st status, const char *format, ...)
{
	if (status.code == E_OK)
		return status;
	char old[SCOPE_MESSAGE_MAX];
	memcpy(old, s->message, sizeof old);
	va_list args;
	va_start(args, format);
	int len = vsnprintf(s->message, sizeof s->message, format, args);
	va_end(args);
	if (len >= 0 && (size_t)len < sizeof s->message)
		(void)snprintf(s->message + len, sizeof s->message - (size_t)len, ": %s", old);
	return status;
}

void scope_clear_error(struct scope *s)
{
	s->code = E_OK;
	s->message[0] = 0;
}
