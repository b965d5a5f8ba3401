/*
 * conf.h - one parser, driven by schema tables. A file has "name = value" lines, "# comment" lines and "[section label]"
 * groups; a configuration is complete and valid before any privilege is used, and the reference page is printed from the rows.
 */
#pragma once
#include "buf.h"

enum conf_type {
	CONF_STRING,
	CONF_PATH,
	CONF_INTEGER,
	CONF_BOOLEAN, /* yes or no */
	CONF_DURATION,
	CONF_ADDRESS, /* 127.0.0.1:8080, [::1]:8080 or unix:/path; numbers only, so that no name service is asked */
	CONF_CHOICE,
	CONF_OID,
	CONF_LIST,
	CONF_PATHS, /* as LIST, each a path */
	CONF_TYPE_COUNT
};

/* How a daemon uses what a path names: its fence is made of this (src/daemon/daemon_fence.c). */
enum conf_access {
	CONF_READS,    /* a file, and what is put in its place later: its directory is read */
	CONF_REPLACES, /* a file that is written, with others beside it: its directory is written */
	CONF_OPENS,    /* a file that is there, itself and nothing beside it */
	CONF_KEEPS,    /* a directory: everything in it is the daemon's */
	CONF_SEARCHES, /* a directory that is read */
	CONF_LISTENS,  /* a socket that is made there, or "unix:" and its path */
	CONF_CONNECTS, /* a socket of another process: nothing in its directory is needed */
};

/* CONF_STRING, PATH, ADDRESS, OID, CHOICE fill a `const char *`; INTEGER, DURATION (value in microseconds, written 500ms, 30s,
 * 5m, 12h, 7d) an int64_t; BOOLEAN a bool; LIST and PATHS (the name may be repeated) a struct conf_list. */
struct conf_list {
	const char **item;
	size_t count;
};
struct conf_row {
	const char *name;
	enum conf_type type;
	size_t offset; /* into the section's struct */
	/* Default as it would be written; NULL: required; "": optional, and then NULL, 0, false or no items. */
	const char *standard;
	int64_t min, max;        /* INTEGER and DURATION (microseconds); both 0: not limited */
	const char *choices;     /* CHOICE: words, space separated */
	enum conf_access access; /* PATH and PATHS; ADDRESS and a LIST of addresses: CONF_LISTENS */
	const char *help;        /* one sentence */
	const char *clause;      /* the standard's clause behind it, or NULL */
};
/* A section: name "" is the head of the file. `many`: may occur any number of times, each with a label of its own; else it has
 * no label, and when the file has none of it, its defaults hold (an error if one of its rows is required). */
struct conf_section {
	const char *name;
	bool many;
	size_t size;   /* of the struct one occurrence fills; its first member is `const char *label` when many */
	size_t offset; /* of the struct (not many) or of a struct conf_group (many) in the whole */
	const struct conf_row *rows;
	size_t row_count;
	const char *help;
};
struct conf_group {
	void *item; /* array of `count` structs */
	size_t count;
};
struct conf_schema {
	const char *service;
	const struct conf_section *sections;
	size_t section_count;
	size_t size; /* of the whole struct */
};
/* Read and check; everything lives in the scope. E_CONFIG names file, line, what is wrong and what would be right. `path` may
 * be relative to the working directory; relative paths inside are relative to the file's directory. Unknown names, missing
 * required ones and doubles are refused. */
st conf_read(struct scope *s, const struct conf_schema *schema, const char *path, void *out);
st conf_parse(struct scope *s, const struct conf_schema *schema, const char *name, span text, void *out);
/* Each "name = value" line of a file that was read before, in its order: `section` is "name label" without brackets, empty in the head. */
struct conf_line {
	span section, name, value;
};
void conf_lines(span text, void (*each)(void *state, const struct conf_line *line), void *state);
/* Each path of a configuration that was read, with its use; addresses without "unix:", and what is not set, are left out. */
void conf_paths(const struct conf_schema *schema, const void *conf,
		void (*each)(void *state, enum conf_access access, const char *path), void *state);
/* The reference, as Markdown, from the rows. */
void conf_reference(struct buf *out, const struct conf_schema *schema);
/* The same as sections of a manual page. */
void conf_man(struct buf *out, const struct conf_schema *schema);
/* clang-format off */
#define CONF_ROW(type_, struct_, member_, name_, ...) { .name = name_, .type = type_, .offset = offsetof(struct_, member_), __VA_ARGS__ }
/* clang-format on */
