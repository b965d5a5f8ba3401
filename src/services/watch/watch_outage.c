/* Significant incidents (EN 319 401 REQ-7.9.3-07): how long each service was down, at once and within a week, and of how many certificates the public is
 * told something false. */
#include "log.h"
#include "moment.h"
#include "watch_book_internal.h"
#include <stdio.h>

#define WEEK (7 * MOMENT_DAY)

static struct watch_service *service_of(struct watch_book *b, const char *name)
{
	for (size_t i = 0; i < b->services; i++)
		if (strcmp(b->service[i].name, name) == 0)
			return &b->service[i];
	if (b->services == WATCH_SERVICES_MAX) {
		log_put(LOG_LEVEL_ERROR, "more than %d services are probed; %s is not counted", WATCH_SERVICES_MAX, name);
		return NULL;
	}
	struct watch_service *new = &b->service[b->services++];
	*new = (struct watch_service){ .count = 0 };
	(void)snprintf(new->name, sizeof new->name, "%s", name);
	return new;
}

static bool is_down(const struct watch_service *service)
{
	return service->count > 0 && service->outage[service->count - 1].to == 0;
}

/* What is older than a week counts no more; of very many short ones the two oldest become one, which counts for longer than it was. */
static void make_room(struct watch_service *service, int64_t now)
{
	size_t old = 0;
	while (old < service->count && service->outage[old].to != 0 && service->outage[old].to < now - WEEK)
		old++;
	memmove(&service->outage[0], &service->outage[old], (service->count - old) * sizeof service->outage[0]);
	service->count -= old;
	if (service->count < WATCH_OUTAGES_MAX)
		return;
	service->outage[0].to = service->outage[1].to;
	memmove(&service->outage[1], &service->outage[2], (--service->count - 1) * sizeof service->outage[0]);
}

static int64_t down_within_week(const struct watch_service *service, int64_t now)
{
	int64_t sum = 0;
	for (size_t i = 0; i < service->count; i++) {
		int64_t to = service->outage[i].to != 0 ? service->outage[i].to : now, from = service->outage[i].from;
		if (to > now - WEEK)
			sum += to - (from > now - WEEK ? from : now - WEEK);
	}
	return sum;
}

/* Raised while it is down; it stays until a person closes it, who has opened an incident. */
static void judge(struct watch_book *b, const struct watch_service *service, int64_t now)
{
	int64_t once = is_down(service) ? now - service->outage[service->count - 1].from : 0;
	int64_t week = down_within_week(service, now);
	char text[WATCH_TEXT_MAX];
	const struct watch_rule *rule = watch_rule_named(b->rules, "outage-significant");
	if (!is_down(service) || (once < b->conf->outage_once && week < b->conf->outage_week))
		return;
	(void)snprintf(text, sizeof text, "down for %lld minutes, %lld within a week: %s",
		       (long long)(once / (60 * MOMENT_SECOND)), (long long)(week / (60 * MOMENT_SECOND)), rule->text);
	watch_raise(b, "outage-significant", service->name, text, now);
}

void watch_outage_seen(struct watch_book *b, const char *name, bool up, int64_t at)
{
	struct watch_service *service = service_of(b, name);
	if (service == NULL)
		return;
	if (up && is_down(service)) {
		service->outage[service->count - 1].to = at;
		b->changed = true;
	} else if (!up && !is_down(service)) {
		make_room(service, at);
		service->outage[service->count++] = (struct watch_outage){ .from = at };
		b->changed = true;
	}
	judge(b, service, at);
}

static bool is_probed(const struct watch_conf *conf, const char *service)
{
	const struct watch_probe_conf *item = conf->probes.item;
	for (size_t i = 0; i < conf->probes.count; i++)
		if (item[i].service != NULL && strcmp(item[i].service, service) == 0)
			return true;
	return false;
}

void watch_outage_end_unprobed(struct watch_book *b, int64_t at)
{
	for (size_t i = 0; i < b->services; i++) {
		struct watch_service *service = &b->service[i];
		if (!is_down(service) || is_probed(b->conf, service->name))
			continue;
		service->outage[service->count - 1].to = at;
		b->changed = true;
	}
}

/* ---- integrity ---- */

void watch_integrity_take(struct watch_book *b, const struct audit_record *r, int64_t at)
{
	if (r->code != AUDIT_STATUS_COMPARED)
		return;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span ca;
	int64_t differ, serials;
	if (audit_field_text(&s, r, "ca", &ca).code != E_OK || audit_field_number(&s, r, "differ", &differ).code != E_OK ||
	    audit_field_number(&s, r, "serials", &serials).code != E_OK)
		return;
	//= en319401#REQ-7.9.3-07 over 0.1 % of the users, or over 100
	if (differ <= b->conf->integrity_count && differ <= serials * b->conf->integrity_share / 1000)
		return;
	watch_raise(b, "integrity-significant", scope_cstr(&s, ca),
		    scope_printf(&s, "%lld of %lld certificates: %s", (long long)differ, (long long)serials,
				 watch_rule_named(b->rules, "integrity-significant")->text),
		    at);
}
