/*
 * watch_rule.h - which records raise an alert, and which close it. The built-in rules are one table; the configuration changes them and adds
 * others. A rule counts the records it is about, for each subject apart (the values of its `by` fields), and raises when `threshold` of them
 * came within `window`; a threshold of 1 needs no window.
 */
#pragma once
#include "audit_record.h"
#include "watch.h"

#define WATCH_THRESHOLD_MAX 1000
#define WATCH_SUBJECT_MAX   200 /* octets, with the final zero */
#define WATCH_NAMES_MAX     8

struct watch_rule {
	const char *name;
	bool on;
	enum audit_severity severity;
	const char *event[WATCH_NAMES_MAX + 1], *closing_event[WATCH_NAMES_MAX + 1], *by[WATCH_NAMES_MAX + 1];
	const char *where;         /* NULL: every record of these events */
	const char *closing_where; /* the same for those that close */
	unsigned threshold;
	int64_t window; /* 0 and no closing event: open until a person closes it */
	const char *text;
};

struct watch_rules {
	struct watch_rule *rule;
	size_t count;
};
/* The built-in rules as the configuration has them, and its own; in the scope. E_CONFIG names what is wrong: an event that the catalogue
 * does not have, a new rule without events or text. */
st watch_rules_read(struct scope *s, const struct watch_conf *conf, struct watch_rules *out);
/* NULL when there is none. */
const struct watch_rule *watch_rule_named(const struct watch_rules *rules, const char *name);

/* Does this record count for the rule, does it close it? */
bool watch_rule_counts(const struct watch_rule *rule, const struct audit_record *record);
bool watch_rule_closes(const struct watch_rule *rule, const struct audit_record *record);
/* Whose record it is, "": the rule does not tell. Fields of the record, in the order of `by`, behind each other. */
void watch_rule_subject(struct scope *s, const struct watch_rule *rule, const struct audit_record *record,
			char out[WATCH_SUBJECT_MAX]);
/* [{"rule", "on", "severity", "events", "closing events", "by", "where", "threshold", "window", "text"}], in the scope. */
span watch_rules_json(struct scope *s, const struct watch_rules *rules);
