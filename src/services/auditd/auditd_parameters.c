/*
 * What the log is kept with, on record: as a whole each time that it is opened, and each parameter that changes, with what it was before
 * (daemon_parameters.h); the file is in the log's directory.
 */
#include "auditd.h"
#include "daemon_parameters.h"

#define TEXT_MAX ((size_t)AUDIT_RECORD_MAX / 4) /* escaped it is longer */

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

static st record_change(struct scope *s, void *state, span name, const char *from, const char *to)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_LOG_CHANGED);
	audit_text(&e, "parameter", name);
	if (from != NULL)
		audit_str(&e, "from", from);
	if (to != NULL)
		audit_str(&e, "to", to);
	return auditd_record(s, state, &e);
}

/* All of it is in the record of the first start. */
st parameters_record(struct scope *s, struct auditd *a, const struct auditd_conf *conf)
{
	const char *text;
	TRY(parameters_text(s, conf, &text));
	return daemon_parameters_record(s, scope_printf(s, "%s/parameters", conf->log), text, record_change, a);
}
