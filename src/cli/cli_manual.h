/*
 * cli_manual.h - records that persons enter: the kinds are the rows of class manual of the catalogue. Here is what the catalogue does not say of them:
 * how they hang together, which deadline runs, what the options mean.
 */
#pragma once
#include "audit_catalogue.h"
#include "cli.h"

struct cli_kind {
	enum audit_code code;
	const char *example;    /* without the tool's name */
	enum audit_code refers; /* whose references --closes or --about takes */
	bool needs_file;
	/* A deadline that the tool computes: when the field has this value (NULL: always), so long after the time in `from`. */
	const char *field, *value, *from;
	int64_t life;
	const char *why; /* what has to be done until then, with its clause */
};
/* NULL: this is no manual record, or one of which nothing more is known. */
const struct cli_kind *cli_kind_of(enum audit_code code);

/* ---- fields, by their names in the catalogue ---- */
struct cli_manual_field {
	const char *name;
	const char *value; /* what the help calls it */
	const char *help;
	const char *choices; /* words, space separated; NULL: free */
	bool persons;        /* ids of persons, space separated */
	bool may_be_later;   /* a time that may lie in the future */
};
/* Ends the process for a field that has no row: a catalogue that cannot be entered is a fault of ours. */
const struct cli_manual_field *cli_manual_field_named(span name);
/* "occurred_at" as an option: "occurred-at". */
char *cli_manual_option_name(struct scope *s, span field);
/* Puts the value of a field, checked: E_INPUT says what is wrong and what would be right. */
st cli_manual_put(struct scope *s, struct audit_event *e, const struct audit_row_field *field, const char *value);
/* A time in the past year (or, `later`, up to ten years ahead), as 2026-11-27T10:00Z, 2026-11-27 10:00 or a day. */
st cli_manual_time(struct scope *s, const char *option, const char *value, bool later, int64_t *out);

/* ---- the records that are there, from the running auditd ---- */
struct cli_manual_record {
	const char *reference, *person, *about, *closes, *severity, *subject;
	int64_t at, due; /* due 0: none */
	const struct audit_row *row;
	enum audit_code code;
	bool closed;
	int64_t notified; /* of an incident: when somebody was told; 0: nobody yet */
	span json;        /* the whole record */
};
struct cli_manual_log {
	struct cli_manual_record *record;
	size_t count;
};
st cli_manual_read(struct scope *s, struct cli *c, struct cli_manual_log *out);
const struct cli_manual_record *cli_manual_find(const struct cli_manual_log *log, const char *reference);
/* Something that stays open until another record closes it. */
bool cli_manual_opens(enum audit_code code);
st cli_manual_list(struct scope *s, struct cli *c);

/* ---- entering ---- */
st cli_manual_command(struct scope *s, const char *kind, const struct cli_command **out);
