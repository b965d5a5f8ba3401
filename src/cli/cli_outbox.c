#include "cli_outbox.h"
#include "moment.h"
#include "text.h"
#include <unistd.h>

#define PAGE     1000
#define PAUSE_US 20000
#define SHOWN    100

static st read_row(struct scope *s, const json_t *one, struct cli_waiting *out)
{
	*out = (struct cli_waiting){ .seq = json_integer_value(json_object_get(one, "seq")),
				     .number = json_integer_value(json_object_get(one, "number")),
				     .event = scope_printf(s, "%s", cli_member(one, "event")),
				     .serial = scope_printf(s, "%s", cli_member(one, "serial")),
				     .ca = scope_printf(s, "%s", cli_member(one, "ca")) };
	return moment_parse(s, span_str(cli_member(one, "entered_at")), &out->entered_at);
}

/* `*after` becomes 0 behind the last page. */
static st read_page(struct scope *s, struct cli_api *api, uint64_t *after, struct cli_outbox *out)
{
	AUTO(json_t) *answer = NULL;
	const char *path = scope_printf(s, "/v1/outbox?limit=%d&after=%llu", PAGE, (unsigned long long)*after);
	TRY(cli_api_call(s, api, "GET", path, NULL, &answer));
	const json_t *one, *rows = json_object_get(answer, "outbox"), *next = json_object_get(answer, "next");
	size_t i;
	json_array_foreach(rows, i, one)
	{
		if (out->count == CLI_OUTBOX_MAX)
			return fail(
				s, E_LIMIT,
				"more than %d records wait in the ca's outbox: auditd has not taken any for long; reconcile when it "
				"does again",
				CLI_OUTBOX_MAX);
		TRY(read_row(s, one, &out->row[out->count++]));
	}
	*after = 0;
	return json_is_string(next) ? decimal_parse(s, span_str(json_string_value(next)), INT64_MAX, after) : OK;
}

st cli_outbox_read(struct scope *s, struct cli_api *api, struct cli_outbox *out)
{
	uint64_t after = 0;
	struct cli_outbox o = { .row = scope_alloc(s, CLI_OUTBOX_MAX * sizeof *o.row) };
	do
		TRY(read_page(s, api, &after, &o));
	while (after != 0);
	*out = o;
	return OK;
}

/* Those that were there before and are there still. */
static void keep_known(struct cli_outbox *o, const struct cli_outbox *now)
{
	size_t kept = 0;
	for (size_t i = 0, k = 0; i < o->count; i++) {
		while (k < now->count && now->row[k].seq < o->row[i].seq)
			k++;
		if (k < now->count && now->row[k].seq == o->row[i].seq)
			o->row[kept++] = o->row[i];
	}
	o->count = kept;
}

st cli_outbox_settle(struct scope *s, struct cli_api *api, int64_t patience, struct cli_outbox *out)
{
	int64_t until = moment_monotonic() + patience;
	TRY(cli_outbox_read(s, api, out));
	while (out->count > 0 && moment_monotonic() < until) {
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		struct cli_outbox now;
		(void)usleep(PAUSE_US);
		st read = cli_outbox_read(&aside, api, &now);
		if (read.code != E_OK)
			return fail(s, read.code, "%s", aside.message);
		keep_known(out, &now);
	}
	return OK;
}

bool cli_outbox_has_serial(const struct cli_outbox *o, const char *event, const char *serial)
{
	for (size_t i = 0; i < o->count; i++)
		if (strcmp(o->row[i].event, event) == 0 && strcmp(o->row[i].serial, serial) == 0)
			return true;
	return false;
}

bool cli_outbox_has_crl(const struct cli_outbox *o, const char *ca, int64_t number)
{
	for (size_t i = 0; i < o->count; i++)
		if (strcmp(o->row[i].event, "crl.issued") == 0 && strcmp(o->row[i].ca, ca) == 0 && o->row[i].number == number)
			return true;
	return false;
}

static const char *about(struct scope *s, const struct cli_waiting *w)
{
	if (w->serial[0] != 0)
		return w->serial;
	return w->number != 0 ? scope_printf(s, "CRL %lld of %s", (long long)w->number, w->ca) : w->ca;
}

json_t *cli_outbox_rows(struct scope *s, const struct cli_outbox *o)
{
	json_t *rows = json_array();
	int64_t now = scope_now(s);
	for (size_t i = 0; i < o->count && i < SHOWN; i++) {
		const struct cli_waiting *w = &o->row[i];
		char since[MOMENT_TEXT_MAX];
		(void)json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:I}", "event", w->event, "about", about(s, w),
							    "since", moment_text(w->entered_at, since), "seconds",
							    (json_int_t)((now - w->entered_at) / MOMENT_SECOND)));
	}
	return rows;
}
