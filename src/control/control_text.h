/*
 * control_text.h - the one form of everything that people sign: lines "name: value", readable on paper, with one way to write
 * each thing. The first line is "chancery KIND VERSION". What a token signs is exactly these bytes.
 */
#pragma once
#include "buf.h"

#define CONTROL_TEXT_MAX  65536 /* octets of a text */
#define CONTROL_VALUE_MAX 49152 /* octets of a value */

/* ---- reading: a cursor with a sticky error ---- */
struct control_rd {
	span rest;
	unsigned line; /* number of the line that comes next */
	const char *what;
	char problem[160]; /* empty while nothing is wrong */
};
/* `what` names the text in messages and must live as long as the cursor. The first line must be "chancery KIND 1". */
struct control_rd control_read(span text, const char *kind, const char *what);
/* Value of the next line, which must have this name. Values are UTF-8 without control characters, without characters that turn
 * the direction of writing, and without space at their ends; never empty. Empty after an error. */
span control_get(struct control_rd *r, const char *name);
/* The text before the first blank line, and what stands behind that; false when there is none. */
bool control_cut(span file, span *out_text, span *out_behind);
/* Does the next line have this name? */
bool control_next_is(const struct control_rd *r, const char *name);
/* The next line, whatever its name; false at the end. */
bool control_get_any(struct control_rd *r, span *out_name, span *out_value);
/* An error of the caller's own at the line that was read last. */
void control_refuse(struct control_rd *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* E_INPUT with the line when anything failed or lines are left over. */
st control_end(struct scope *s, const struct control_rd *r);

/* Values of the usual types. */
int64_t control_get_moment(struct control_rd *r, const char *name);
uint64_t control_get_number(struct control_rd *r, const char *name, uint64_t max);
/* Octets of this length in lower-case hexadecimal, into `out`. */
void control_get_hex(struct control_rd *r, const char *name, uint8_t *out, size_t len);
/* Base64, one form only; the octets are in the scope. */
span control_get_base64(struct control_rd *r, struct scope *s, const char *name);

/* ---- writing ---- */
struct control_wr {
	struct buf *out;
	bool bad;
};
/* `out` must be empty; its cap is set to CONTROL_TEXT_MAX. */
struct control_wr control_write(struct buf *out, const char *kind);
void control_put(struct control_wr *w, const char *name, span value);
void control_put_str(struct control_wr *w, const char *name, const char *value);
void control_put_moment(struct control_wr *w, const char *name, int64_t moment);
void control_put_number(struct control_wr *w, const char *name, uint64_t v);
void control_put_hex(struct control_wr *w, const char *name, span octets);
void control_put_base64(struct control_wr *w, const char *name, span octets);
/* E_INPUT when a value is none that can be read back, E_LIMIT when the text is over its limit. */
st control_written(struct scope *s, const struct control_wr *w);

/* What a value must be to stand in a text: the rule that both sides use. NULL, or what is wrong with it. */
const char *control_value_problem(span value);
