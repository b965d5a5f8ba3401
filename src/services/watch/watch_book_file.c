/* The book as JSON: for its file, for who asks, for the outlets. */
#include "moment.h"
#include "watch_book_internal.h"
#include <stdio.h>
#include <stdlib.h>

#define BOOK_VERSION 1

/* ---- out ---- */

static json_t *moment_json(int64_t moment)
{
	char text[MOMENT_TEXT_MAX];
	return json_string(moment_text(moment, text));
}

static json_t *pack_alert(const struct watch_alert *a)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I}", "alert", a->id, "rule", a->rule->name, "severity",
			 audit_severity_name(a->rule->severity), "subject", a->subject, "text", a->text, "since",
			 moment_json(a->since), "last", moment_json(a->last), "count", (json_int_t)a->count);
}

static json_t *pack_notice(const struct watch_notice *n)
{
	json_t *all = pack_alert(&n->alert);
	(void)json_object_set_new(all, "state", json_string(n->opened ? "open" : "closed"));
	(void)json_object_set_new(all, "number", json_integer((json_int_t)n->number));
	(void)json_object_set_new(all, "at", moment_json(n->at));
	if (!n->opened)
		(void)json_object_set_new(all, "reason", json_string(n->reason));
	return all;
}

static json_t *pack_count(const struct watch_count *c)
{
	json_t *times = json_array();
	for (unsigned i = 0; i < c->held; i++) {
		unsigned at = c->held < c->rule->threshold ? i : (c->next + i) % c->rule->threshold;
		(void)json_array_append_new(times, moment_json(c->time[at]));
	}
	return json_pack("{s:s, s:s, s:o}", "rule", c->rule->name, "subject", c->subject, "times", times);
}

static json_t *pack_deadline(const struct watch_deadline *d)
{
	return json_pack("{s:s, s:s, s:o, s:o}", "reference", d->reference, "event", d->event, "at", moment_json(d->at), "due",
			 moment_json(d->due));
}

static json_t *pack_service(const struct watch_service *service)
{
	json_t *outages = json_array();
	for (size_t i = 0; i < service->count; i++) {
		json_t *one = json_pack("{s:o}", "from", moment_json(service->outage[i].from));
		if (service->outage[i].to != 0)
			(void)json_object_set_new(one, "to", moment_json(service->outage[i].to));
		(void)json_array_append_new(outages, one);
	}
	return json_pack("{s:s, s:o}", "service", service->name, "outages", outages);
}

json_t *watch_book_pack(const struct watch_book *b)
{
	json_t *alerts = json_array(), *counts = json_array(), *deadlines = json_array(), *notices = json_array(),
	       *services = json_array(), *sent = json_object();
	for (size_t i = 0; i < b->alerts; i++)
		(void)json_array_append_new(alerts, pack_alert(&b->alert[i]));
	for (size_t i = 0; i < b->counts; i++)
		(void)json_array_append_new(counts, pack_count(&b->count[i]));
	for (size_t i = 0; i < b->deadlines; i++)
		(void)json_array_append_new(deadlines, pack_deadline(&b->deadline[i]));
	for (size_t i = 0; i < b->notices; i++) {
		json_t *notice = pack_notice(&b->notice[i]);
		(void)json_object_set_new(notice, "recorded", json_boolean(b->notice[i].recorded));
		(void)json_array_append_new(notices, notice);
	}
	for (size_t i = 0; i < b->services; i++)
		(void)json_array_append_new(services, pack_service(&b->service[i]));
	for (size_t i = 0; i < b->outlets; i++)
		(void)json_object_set_new(sent, b->sent[i].outlet, json_integer((json_int_t)b->sent[i].number));
	return json_pack("{s:i, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "v", BOOK_VERSION, "position",
			 (json_int_t)b->position, "history", (json_int_t)b->history, "next_notice", (json_int_t)b->next_notice,
			 "alerts", alerts, "counts", counts, "deadlines", deadlines, "notices", notices, "services", services,
			 "sent", sent);
}

static span text_of(struct scope *s, json_t *all)
{
	char *text = json_dumps(all, JSON_COMPACT);
	span copy = text != NULL ? scope_copy(s, span_str(text)) : (span){ 0 };
	free(text);
	json_decref(all);
	return copy;
}

span watch_notice_json(struct scope *s, const struct watch_notice *n)
{
	return text_of(s, pack_notice(n));
}

span watch_book_json(struct scope *s, struct watch_book *b)
{
	(void)pthread_mutex_lock(&b->lock);
	json_t *all = watch_book_pack(b);
	(void)pthread_mutex_unlock(&b->lock);
	(void)json_object_del(all, "counts");
	(void)json_object_del(all, "next_notice");
	return text_of(s, all);
}

static json_t *names_json(const char *const *names)
{
	json_t *all = json_array();
	for (; *names != NULL; names++)
		(void)json_array_append_new(all, json_string(*names));
	return all;
}

span watch_rules_json(struct scope *s, const struct watch_rules *rules)
{
	json_t *all = json_array();
	for (size_t i = 0; i < rules->count; i++) {
		const struct watch_rule *r = &rules->rule[i];
		(void)json_array_append_new(
			all, json_pack("{s:s, s:b, s:s, s:o, s:o, s:o, s:s, s:I, s:I, s:s}", "rule", r->name, "on", r->on,
				       "severity", audit_severity_name(r->severity), "events", names_json(r->event),
				       "closing events", names_json(r->closing_event), "by", names_json(r->by), "where",
				       r->where != NULL ? r->where : "", "threshold", (json_int_t)r->threshold,
				       "window seconds", (json_int_t)(r->window / MOMENT_SECOND), "text", r->text));
	}
	return text_of(s, all);
}

/* ---- in ---- */

static const char *string_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text != NULL ? text : "";
}

static uint64_t number_of(const json_t *object, const char *name)
{
	json_int_t v = json_integer_value(json_object_get(object, name));
	return v > 0 ? (uint64_t)v : 0;
}

static int64_t moment_of(const json_t *value)
{
	int64_t moment = 0;
	const char *text = json_string_value(value);
	return text != NULL && moment_read(span_str(text), &moment) ? moment : 0;
}

#define COPY(to, object, name) ((void)snprintf((to), sizeof(to), "%s", string_of((object), (name))))

/* False for an alert of a rule that is configured no more: nobody could close it. */
static bool unpack_alert(const struct watch_book *b, const json_t *from, struct watch_alert *out)
{
	*out = (struct watch_alert){ .rule = watch_rule_named(b->rules, string_of(from, "rule")) };
	COPY(out->id, from, "alert");
	COPY(out->subject, from, "subject");
	COPY(out->text, from, "text");
	out->since = moment_of(json_object_get(from, "since"));
	out->last = moment_of(json_object_get(from, "last"));
	out->count = number_of(from, "count");
	return out->rule != NULL;
}

static void unpack_alerts(struct watch_book *b, const json_t *list)
{
	size_t count = json_array_size(list);
	b->alert = heap_grow(b->alert, (count + 1) * sizeof *b->alert);
	for (size_t i = 0; i < count && i < WATCH_ALERTS_MAX; i++)
		b->alerts += unpack_alert(b, json_array_get(list, i), &b->alert[b->alerts]);
}

static void unpack_notices(struct watch_book *b, const json_t *list)
{
	size_t count = json_array_size(list);
	b->notice = heap_grow(b->notice, (count + 1) * sizeof *b->notice);
	for (size_t i = 0; i < count && i < WATCH_NOTICES_MAX; i++) {
		const json_t *from = json_array_get(list, i);
		struct watch_notice *n = &b->notice[b->notices];
		*n = (struct watch_notice){ .number = number_of(from, "number"),
					    .opened = strcmp(string_of(from, "state"), "open") == 0,
					    .recorded = json_is_true(json_object_get(from, "recorded")),
					    .at = moment_of(json_object_get(from, "at")) };
		COPY(n->reason, from, "reason");
		b->notices += unpack_alert(b, from, &n->alert);
	}
}

static void unpack_counts(struct watch_book *b, const json_t *list)
{
	size_t count = json_array_size(list);
	b->count = heap_grow(b->count, (count + 1) * sizeof *b->count);
	for (size_t i = 0; i < count && i < WATCH_COUNTS_MAX; i++) {
		const json_t *from = json_array_get(list, i), *times = json_object_get(from, "times");
		struct watch_count *c = &b->count[b->counts];
		*c = (struct watch_count){ .rule = watch_rule_named(b->rules, string_of(from, "rule")) };
		if (c->rule == NULL || json_array_size(times) > c->rule->threshold)
			continue; /* of another configuration: counted anew */
		COPY(c->subject, from, "subject");
		c->time = heap_alloc(c->rule->threshold * sizeof *c->time);
		for (; c->held < json_array_size(times); c->held++)
			c->time[c->held] = moment_of(json_array_get(times, c->held));
		c->next = c->held % c->rule->threshold;
		b->counts++;
	}
}

static void unpack_deadlines(struct watch_book *b, const json_t *list)
{
	size_t count = json_array_size(list);
	b->deadline = heap_grow(b->deadline, (count + 1) * sizeof *b->deadline);
	for (size_t i = 0; i < count && i < WATCH_DEADLINES_MAX; i++) {
		const json_t *from = json_array_get(list, i);
		struct watch_deadline *d = &b->deadline[b->deadlines++];
		*d = (struct watch_deadline){ .at = moment_of(json_object_get(from, "at")),
					      .due = moment_of(json_object_get(from, "due")) };
		COPY(d->reference, from, "reference");
		COPY(d->event, from, "event");
	}
}

static void unpack_services(struct watch_book *b, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list) && i < WATCH_SERVICES_MAX; i++) {
		const json_t *from = json_array_get(list, i), *outages = json_object_get(from, "outages");
		struct watch_service *service = &b->service[b->services++];
		COPY(service->name, from, "service");
		for (size_t k = 0; k < json_array_size(outages) && k < WATCH_OUTAGES_MAX; k++) {
			const json_t *one = json_array_get(outages, k);
			service->outage[service->count++] =
				(struct watch_outage){ .from = moment_of(json_object_get(one, "from")),
						       .to = moment_of(json_object_get(one, "to")) };
		}
	}
}

static void unpack_sent(struct watch_book *b, json_t *sent)
{
	const struct watch_outlet_conf *outlet = b->conf->outlets.item;
	for (size_t i = 0; i < b->conf->outlets.count; i++) {
		if (json_object_get(sent, outlet[i].label) == NULL || b->outlets == WATCH_OUTLETS_MAX)
			continue;
		struct watch_sent *to = &b->sent[b->outlets++];
		(void)snprintf(to->outlet, sizeof to->outlet, "%s", outlet[i].label);
		to->number = number_of(sent, outlet[i].label);
	}
}

st watch_book_unpack(struct scope *s, struct watch_book *b, const json_t *all)
{
	if (number_of(all, "v") != BOOK_VERSION)
		return fail(s, E_INPUT, "it is of another version than %d", BOOK_VERSION);
	b->position = number_of(all, "position");
	b->history = number_of(all, "history");
	b->next_notice = number_of(all, "next_notice");
	unpack_alerts(b, json_object_get(all, "alerts"));
	unpack_notices(b, json_object_get(all, "notices"));
	unpack_counts(b, json_object_get(all, "counts"));
	unpack_deadlines(b, json_object_get(all, "deadlines"));
	unpack_services(b, json_object_get(all, "services"));
	unpack_sent(b, json_object_get(all, "sent"));
	return b->next_notice > 0 ? OK : fail(s, E_INPUT, "it does not say which notice is the next");
}
