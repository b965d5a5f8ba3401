/*
 * What the log is kept with, on record: as a whole each time that it is opened, and each parameter that changes, with what it was before. A file in the
 * log's directory has what was recorded last, so that a change made while auditd was stopped is one too.
 */
#include "auditd.h"
#include "file.h"

#define TEXT_MAX ((size_t)AUDIT_RECORD_MAX / 4) /* escaped it is longer */
#define FILE_MAX ((size_t)1 << 16)
#define VERSION  "chancery-parameters/v1\n"

static void put_text(struct wr *out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	wr_raw(out, span_str(name));
	wr_raw(out, SPAN_LITERAL("="));
	wr_raw(out, span_str(value));
	wr_raw(out, SPAN_LITERAL("\n"));
}

static void put_duration(struct scope *s, struct wr *out, const char *name, int64_t us)
{
	put_text(out, name, scope_printf(s, "%lldms", (long long)(us / 1000)));
}

static void put_list(struct wr *out, const char *name, const struct conf_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		put_text(out, name, list->item[i]);
}

/* Lines NAME=VALUE as in the configuration; what is not set has none. */
static st write_parameters(struct scope *s, const struct auditd_conf *c, struct wr *out)
{
	const struct auditd_copy_conf *copy = c->copies.item;
	put_text(out, "key", c->key);
	put_text(out, "outgoing-key", c->outgoing_key);
	put_list(out, "writer", &c->writer);
	put_duration(s, out, "checkpoint-interval", c->checkpoint_interval);
	put_duration(s, out, "checkpoint-max-age", c->checkpoint_max_age);
	if (c->stamp_url != NULL) {
		put_text(out, "stamp-url", c->stamp_url);
		put_text(out, "stamp-anchor", c->stamp_anchor);
		put_duration(s, out, "stamp-interval", c->stamp_interval);
		put_duration(s, out, "stamp-alarm-age", c->stamp_alarm_age);
		put_duration(s, out, "stamp-age-limit", c->stamp_age_limit);
	}
	for (size_t i = 0; i < c->copies.count; i++)
		put_text(out, scope_printf(s, "copy %s", copy[i].label),
			 scope_printf(s, "%s %s", copy[i].url, copy[i].cosigner));
	if (c->publish != NULL)
		put_text(out, "publish-directory",
			 scope_printf(s, "%s%s", c->publish, c->publish_entries ? " with entries" : ""));
	return out->bad ? fail(s, E_LIMIT, "the parameters of the log are too long for a record") : OK;
}

st parameters_text(struct scope *s, const struct auditd_conf *conf, const char **out)
{
	AUTO_BUF text;
	buf_init(&text, TEXT_MAX);
	struct wr w = wr_into(&text);
	TRY(write_parameters(s, conf, &w));
	*out = scope_cstr(s, buf_span(&text));
	return OK;
}

/* ---- changes ---- */

/* All lines of a name, joined: a name that is repeated is one parameter. NULL: there is none. */
static const char *value_of(struct scope *s, const char *text, span name)
{
	const char *value = NULL;
	for (const char *line = text; *line != 0; line += strcspn(line, "\n") + 1) {
		size_t len = strcspn(line, "\n");
		if (len <= name.len || line[name.len] != '=' || memcmp(line, name.data, name.len) != 0)
			continue;
		span one = span_of(line + name.len + 1, len - name.len - 1);
		value = scope_printf(s, "%s%s%.*s", value == NULL ? "" : value, value == NULL ? "" : ", ", (int)one.len,
				     (const char *)one.data);
	}
	return value;
}

static st record_change(struct scope *s, struct auditd *a, span name, const char *from, const char *to)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_LOG_CHANGED);
	audit_text(&e, "parameter", name);
	if (from != NULL)
		audit_str(&e, "from", from);
	if (to != NULL)
		audit_str(&e, "to", to);
	return auditd_record(s, a, &e);
}

/* Each name in `names` whose value differs; with `gone` only those that `to` has no more. */
static st record_changes(struct scope *s, struct auditd *a, const char *names, const char *from, const char *to, bool gone)
{
	span before = { 0 };
	for (const char *line = names; *line != 0; line += strcspn(line, "\n") + 1) {
		span name = span_of(line, strcspn(line, "=\n"));
		bool again = span_equal(name, before); /* lines of one name stand together */
		before = name;
		const char *was = value_of(s, from, name), *is = value_of(s, to, name);
		if (again || (gone && is != NULL) || (was != NULL && is != NULL && strcmp(was, is) == 0))
			continue;
		TRY(record_change(s, a, name, was, is));
	}
	return OK;
}

/* The records first: after a crash between them and the file they stand in the log twice, and never not at all. */
st parameters_record(struct scope *s, struct auditd *a, const struct auditd_conf *conf)
{
	const char *path = scope_printf(s, "%s/parameters", conf->log), *to;
	span file;
	TRY(parameters_text(s, conf, &to));
	span fresh = span_str(scope_printf(s, VERSION "%s", to));
	st known = file_read(s, path, FILE_MAX, &file);
	if (known.code == E_NOTFOUND) { /* all of it is in the record of the start */
		scope_clear_error(s);
		return file_replace(s, path, fresh, 0600);
	}
	TRY(known);
	if (span_equal(file, fresh))
		return OK;
	if (!span_equal(span_first(file, strlen(VERSION)), SPAN_LITERAL(VERSION)))
		return fail(s, E_STATE, "%s is not of the version that this program reads", path);
	const char *from = scope_cstr(s, span_from(file, strlen(VERSION)));
	TRY(record_changes(s, a, to, from, to, false));
	TRY(record_changes(s, a, from, from, to, true));
	return file_replace(s, path, fresh, 0600);
}
