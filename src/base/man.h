/*
 * man.h - writes manual pages (man macros) from tables: what stands in a table is escaped, so that any text may.
 */
#pragma once
#include "buf.h"

/* Opens a page: its name ("chancery-cert"), section ("1") and one line of what it is. */
void man_begin(struct buf *out, const char *name, const char *section, const char *summary);
void man_heading(struct buf *out, const char *text);
void man_subheading(struct buf *out, const char *text);
void man_text(struct buf *out, const char *text);
/* A synopsis line: bold as it is typed, with what stands for a value in capitals in italics. */
void man_usage(struct buf *out, const char *usage);
/* A term and what it means; `detail` is a second paragraph, NULL: none. */
void man_item(struct buf *out, const char *term, const char *text, const char *detail);
/* An example, as it is typed. */
void man_example(struct buf *out, const char *text);
