#include "watch_parameters.h"
#include "daemon_parameters.h"
#include "digest.h"
#include "text.h"

#define TEXT_MAX ((size_t)256 << 10)

static void put(struct buf *out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	(void)(buf_append(out, span_str(name)) && buf_append(out, SPAN_LITERAL("=")) && buf_append(out, span_str(value)) &&
	       buf_append(out, SPAN_LITERAL("\n")));
}

static void put_duration(struct scope *s, struct buf *out, const char *name, int64_t us)
{
	put(out, name, scope_printf(s, "%lldms", (long long)(us / 1000)));
}

static const char *joined(struct scope *s, const char *word, const char *const *names)
{
	const char *text = "";
	for (; *names != NULL; names++)
		text = scope_printf(s, "%s%s%s", text, text[0] == 0 ? word : ",", *names);
	return text;
}

/* As it is in force, not only what the configuration says of it. */
static void put_rule(struct scope *s, struct buf *out, const struct watch_rule *r)
{
	put(out, scope_printf(s, "rule %s", r->name),
	    scope_printf(s, "%s %s threshold %u window %lldms%s%s%s%s%s", r->on ? "on" : "off",
			 audit_severity_name(r->severity), r->threshold, (long long)(r->window / 1000),
			 joined(s, " event ", r->event), joined(s, " closing-event ", r->closing_event),
			 joined(s, " by ", r->by), r->where == NULL ? "" : " where ", r->where == NULL ? "" : r->where));
}

/* The address of a hook may be a password to it, that of a mailbox is a person's: that it is another is all that goes on record. */
static const char *covered(struct scope *s, const char *address)
{
	return scope_printf(s, "SHA-256 %s", hex_text(s, digest_new(s, DIGEST_SHA256, span_str(address))));
}

static void put_outlet(struct scope *s, struct buf *out, const struct watch_outlet_conf *o)
{
	const char *way = o->command != NULL ? scope_printf(s, "command %s", o->command)
			  : o->url != NULL   ? scope_printf(s, "url %s", covered(s, o->url))
					     : scope_printf(s, "mail by %s to %s", o->mail_server, covered(s, o->mail_to));
	put(out, scope_printf(s, "outlet %s", o->label), scope_printf(s, "%s %s", o->severity, way));
}

static void put_probe(struct scope *s, struct buf *out, const struct watch_probe_conf *p)
{
	put(out, scope_printf(s, "probe %s", p->label),
	    scope_printf(s, "%s %s%s%s", p->kind, p->url != NULL ? p->url : p->socket, p->service == NULL ? "" : " service ",
			 p->service == NULL ? "" : p->service));
}

static void put_limits(struct scope *s, struct buf *out, const struct watch_conf *c)
{
	put_duration(s, out, "probe-interval", c->probe_interval);
	put(out, "probe-failures", scope_printf(s, "%lld", (long long)c->probe_failures));
	put_duration(s, out, "outage-limit", c->outage_once);
	put_duration(s, out, "outage-limit-week", c->outage_week);
	put(out, "integrity-limit", scope_printf(s, "%lld", (long long)c->integrity_count));
	put(out, "integrity-limit-share", scope_printf(s, "%lld", (long long)c->integrity_share));
	put(out, "host journal", c->host.journal);
	put(out, "compare api-url", c->compare.api_url);
	if (c->compare.api_url != NULL)
		put_duration(s, out, "compare interval", c->compare.interval);
}

static st record(struct scope *s, void *state, span name, const char *from, const char *to)
{
	uint64_t index;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_WATCH_CHANGED);
	audit_text(&e, "parameter", name);
	if (from != NULL)
		audit_str(&e, "from", from);
	if (to != NULL)
		audit_str(&e, "to", to);
	TRY(audit_finish(s, &e));
	return audit_commit(s, state, &e, &index);
}

/* Built-in rules that nobody changed are what the program is, and that is on record with each start. */
st watch_parameters_record(struct scope *s, struct audit *audit, const struct watch_conf *conf, const struct watch_rules *rules)
{
	const struct watch_rule_conf *rule = conf->rules.item;
	const struct watch_outlet_conf *outlet = conf->outlets.item;
	const struct watch_probe_conf *probe = conf->probes.item;
	AUTO_BUF text;
	buf_init(&text, TEXT_MAX);
	put_limits(s, &text, conf);
	for (size_t i = 0; i < conf->rules.count; i++)
		put_rule(s, &text, watch_rule_named(rules, rule[i].label));
	for (size_t i = 0; i < conf->outlets.count; i++)
		put_outlet(s, &text, &outlet[i]);
	for (size_t i = 0; i < conf->probes.count; i++)
		put_probe(s, &text, &probe[i]);
	if (text.len + 1 >= TEXT_MAX)
		return fail(s, E_LIMIT, "what is watched has more than %zu octets in its records", TEXT_MAX);
	return daemon_parameters_record(s, scope_printf(s, "%s/parameters", conf->state), scope_cstr(s, buf_span(&text)),
					record, audit);
}
