/*
 * span.h - borrowed bytes: a const pointer and a length. A span owns nothing and is valid as long as what it points into.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct span {
	const uint8_t *data;
	size_t len;
} span;

static inline span span_of(const void *data, size_t len)
{
	return (span){ .data = data, .len = len };
}

/* Bytes of a C string, without its final zero. NULL gives the empty span. */
static inline span span_str(const char *text)
{
	return text == NULL ? (span){ 0 } : span_of(text, strlen(text));
}

static inline bool span_equal(span a, span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool span_is(span a, const char *text)
{
	return span_equal(a, span_str(text));
}

/* Lexicographic order; a proper prefix comes first. */
static inline int span_compare(span a, span b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The part of `a` from `from` on; empty when `from` lies behind its end. */
static inline span span_from(span a, size_t from)
{
	return from >= a.len ? (span){ 0 } : span_of(a.data + from, a.len - from);
}

static inline span span_first(span a, size_t n)
{
	return span_of(a.data, n < a.len ? n : a.len);
}

#define SPAN_ARRAY(a)      span_of((a), sizeof(a))
#define SPAN_LITERAL(text) span_of((text), sizeof(text) - 1)
