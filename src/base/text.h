/*
 * text.h - hexadecimal and base64, strict both ways.
 */
#pragma once
#include "scope.h"

/* Lower case, 2 * len characters and a final zero into `out`. Returns `out`. */
char *hex_write(span bytes, char *out);
char *hex_text(struct scope *s, span bytes);
/* Either case, no separators, even length; empty is allowed. E_INPUT otherwise. */
st hex_parse(struct scope *s, span text, span *out);

/* Standard alphabet with padding (rfc4648#4). */
char *base64_text(struct scope *s, span bytes);
#define BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4)
/* Writes BASE64_LEN(bytes.len) characters, no final zero. */
void base64_write(span bytes, char *out);
/* Canonical only: padding present, no white space, spare bits zero. E_INPUT otherwise. */
st base64_parse(struct scope *s, span text, span *out);

/* Unsigned decimal, digits only, no sign or space; E_INPUT when empty, not a number or over `max`. */
st decimal_parse(struct scope *s, span text, uint64_t max, uint64_t *out);
/* Length of the UTF-8 character at the start of a text that is not empty, 0 when it is none: overlong forms, surrogates and what lies
 * behind U+10FFFF are none (rfc3629#3). */
size_t utf8_length(span text);
