#include "watch_host.h"
#include "daemon_pacer.h"
#include "digest.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include "watch_host_event.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-journal.h>

#define VERSION     "chancery-watch-host 1"
#define STATE_MAX   4096
#define CURSOR_MAX  1024
#define FIELD_MAX   8192
#define ENTRIES_MAX 512 /* read between two writings of the cursor */

struct watch_host {
	const struct watch_conf *conf;
	struct audit *audit;
	struct pacer pacer;
	char cursor[CURSOR_MAX]; /* of the last entry that was dealt with; empty: none */
	int64_t at;              /* its time */
	char host[WATCH_HOST_TEXT_MAX + 1];
	bool gap_told;
};
DEFINE_AUTO(sd_journal, sd_journal_close)

/* ---- what is kept ---- */

static char *state_path(struct scope *s, const struct watch_host *h)
{
	return scope_printf(s, "%s/host", h->conf->state);
}

static span line(span *rest)
{
	const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
	span part = span_first(*rest, end == NULL ? rest->len : (size_t)(end - rest->data));
	*rest = span_from(*rest, part.len + 1);
	return part;
}

static st load(struct scope *s, struct watch_host *h)
{
	span text;
	st read = file_read(s, state_path(s, h), STATE_MAX, &text);
	if (read.code == E_NOTFOUND) {
		scope_clear_error(s);
		return OK;
	}
	TRY(read);
	span version = line(&text), at = line(&text), host = line(&text), cursor = line(&text);
	uint64_t number;
	if (!span_is(version, VERSION) || decimal_parse(s, at, INT64_MAX, &number).code != E_OK || host.len == 0 ||
	    host.len >= sizeof h->host || cursor.len == 0 || cursor.len >= sizeof h->cursor || text.len > 0)
		return fail(s, E_CONFIG, "%s is damaged: remove it, and the journal is read from `look-back` on",
			    state_path(s, h));
	h->at = (int64_t)number;
	memcpy(h->host, host.data, host.len);
	memcpy(h->cursor, cursor.data, cursor.len);
	return OK;
}

static st keep(struct scope *s, const struct watch_host *h)
{
	const char *text = scope_printf(s, VERSION "\n%lld\n%s\n%s\n", (long long)h->at, h->host, h->cursor);
	return file_replace(s, state_path(s, h), span_str(text), 0600);
}

/* ---- records ---- */

static void derive(const char *what, const char *cursor, uint8_t id[16])
{
	uint8_t digest[DIGEST_MAX];
	memcpy(id, digest_of_two(DIGEST_SHA256, span_str(what), span_str(cursor), digest).data, 16);
}

static st record(struct scope *s, struct watch_host *h, const struct watch_host_event *v, const char *cursor, int64_t at)
{
	uint8_t id[16];
	uint64_t index;
	derive("entry", cursor, id);
	AUTO_EVENT e;
	watch_host_begin(&e, s, v, id, h->host, at);
	TRY(audit_finish(s, &e));
	return audit_commit(s, h->audit, &e, &index);
}

static st record_gap(struct scope *s, struct watch_host *h, int64_t to, const char *reason)
{
	uint8_t id[16];
	uint64_t index;
	derive(reason, h->cursor, id);
	AUTO_EVENT e;
	audit_begin_as(&e, s, AUDIT_HOST_GAP, id);
	audit_str(&e, "host", h->host[0] != 0 ? h->host : "(unknown)");
	audit_time(&e, "from", h->at != 0 ? h->at : to); /* nothing was read before */
	audit_time(&e, "to", to);
	audit_str(&e, "reason", reason);
	TRY(audit_finish(s, &e));
	return audit_commit(s, h->audit, &e, &index);
}

/* ---- the journal ---- */

static span field(struct scope *s, sd_journal *j, const char *name)
{
	const void *data;
	size_t len, head = strlen(name) + 1;
	if (sd_journal_get_data(j, name, &data, &len) < 0 || len < head)
		return (span){ 0 };
	return scope_copy(s, span_first(span_of((const uint8_t *)data + head, len - head), FIELD_MAX));
}

static void read_entry(struct scope *s, sd_journal *j, struct watch_host_entry *out)
{
	span subject = field(s, j, "UNIT");
	out->identifier = field(s, j, "SYSLOG_IDENTIFIER");
	out->message_id = field(s, j, "MESSAGE_ID");
	out->message = field(s, j, "MESSAGE");
	out->subject = subject.len > 0 ? subject : field(s, j, "COREDUMP_UNIT");
	out->unit = field(s, j, "_SYSTEMD_UNIT");
	out->program = field(s, j, "_EXE");
	out->is_kernel = span_is(field(s, j, "_TRANSPORT"), "kernel");
	out->is_root = span_is(field(s, j, "_UID"), "0");
}

static void set_host(struct scope *s, struct watch_host *h, span host)
{
	(void)snprintf(h->host, sizeof h->host, "%s", host.len > 0 ? watch_host_clean(s, host) : "(unknown)");
}

/* The entry that the journal stands at: on record, when it is one that goes there, and only then behind us. */
static st take(struct scope *s, struct watch_host *h, sd_journal *j)
{
	char *cursor = NULL;
	uint64_t at;
	struct watch_host_entry entry;
	struct watch_host_event event;
	if (sd_journal_get_realtime_usec(j, &at) < 0 || sd_journal_get_cursor(j, &cursor) < 0)
		return OK; /* damaged, and nothing that could be named */
	const char *mine = scope_printf(s, "%s", cursor);
	free(cursor);
	if (strlen(mine) >= CURSOR_MAX)
		return fail(s, E_LIMIT, "a cursor of the journal has more than %d octets", CURSOR_MAX - 1);
	read_entry(s, j, &entry);
	set_host(s, h, field(s, j, "_HOSTNAME"));
	if (watch_host_event_of(s, &entry, &event))
		TRY(record(s, h, &event, mine, (int64_t)at));
	(void)snprintf(h->cursor, sizeof h->cursor, "%s", mine);
	h->at = (int64_t)at;
	return OK;
}

static st failed(struct scope *s, int result, const char *what)
{
	errno = -result;
	return fail_errno(s, E_IO, "the journal of the host: %s", what);
}

/* A journal may be years long: what stands in it from before the first start is history. */
static uint64_t first_moment(const struct scope *s, const struct watch_host *h)
{
	int64_t from = scope_now(s) - h->conf->host.look_back;
	return from > 0 ? (uint64_t)from : 0;
}

/* Behind the last entry that was dealt with; when that is not there any more, its place is taken by the next, and what was between is a gap. */
static st go_to_cursor(struct scope *s, struct watch_host *h, sd_journal *j, bool *out_at_entry)
{
	*out_at_entry = false;
	int moved =
		h->cursor[0] != 0 ? sd_journal_seek_cursor(j, h->cursor) : sd_journal_seek_realtime_usec(j, first_moment(s, h));
	if (moved < 0)
		return failed(s, moved, "the place that was reached");
	if (h->cursor[0] == 0)
		return OK;
	moved = sd_journal_next(j);
	if (moved < 0)
		return failed(s, moved, "reading");
	if (moved > 0 && sd_journal_test_cursor(j, h->cursor) > 0)
		return OK;
	uint64_t at = (uint64_t)scope_now(s);
	if (moved > 0 && sd_journal_get_realtime_usec(j, &at) < 0)
		return failed(s, -EBADMSG, "the time of an entry");
	*out_at_entry = moved > 0;
	if (h->gap_told)
		return OK;
	TRY(record_gap(s, h, (int64_t)at, "the last entry read is not in the journal any more"));
	h->gap_told = moved == 0;
	return OK;
}

static st take_some(struct watch_host *h, sd_journal *j, bool at_entry, bool *out_more)
{
	*out_more = false;
	for (size_t i = 0; i < ENTRIES_MAX && !pacer_is_stopping(&h->pacer); i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		int moved = at_entry ? 1 : sd_journal_next(j);
		at_entry = false;
		st taken = moved < 0 ? failed(&s, moved, "reading") : moved > 0 ? take(&s, h, j) : OK;
		if (taken.code != E_OK)
			log_failure(&s, "host events");
		if (taken.code != E_OK || moved == 0)
			return taken;
		h->gap_told = false;
	}
	*out_more = !pacer_is_stopping(&h->pacer);
	return OK;
}

static st read_on(struct scope *s, struct watch_host *h, sd_journal *j)
{
	bool at_entry, more = true;
	TRY(go_to_cursor(s, h, j, &at_entry));
	while (more) {
		char before[CURSOR_MAX];
		memcpy(before, h->cursor, sizeof before);
		st taken = take_some(h, j, at_entry, &more);
		if (strcmp(before, h->cursor) != 0)
			TRY(keep(s, h));
		if (taken.code != E_OK)
			return OK; /* it was told; from the cursor again */
		at_entry = false;
	}
	return OK;
}

/* libsystemd passes over files that it may not read, and finds nothing. */
static int open_journal(const char *directory, sd_journal **out)
{
	uint64_t octets = 0;
	int opened = sd_journal_open_directory(out, directory, 0);
	if (opened >= 0)
		opened = sd_journal_get_usage(*out, &octets);
	if (opened >= 0 && octets == 0)
		return -ENODATA;
	return opened;
}

/* Files come and go: it is opened anew each time. */
static st look(struct scope *s, struct watch_host *h)
{
	AUTO(sd_journal) *j = NULL;
	int opened = open_journal(h->conf->host.journal, &j);
	if (opened >= 0) {
		(void)sd_journal_set_data_threshold(j, FIELD_MAX);
		return read_on(s, h, j);
	}
	if (!h->gap_told)
		TRY(record_gap(s, h, scope_now(s), "the journal cannot be opened, or has no file that can be read"));
	h->gap_told = true;
	return failed(s, opened,
		      scope_printf(s, "%s has no file that can be read (its user needs the group systemd-journal)",
				   h->conf->host.journal));
}

static void *run(void *argument)
{
	struct watch_host *h = argument;
	bool loaded = false;
	do {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		st done = loaded ? OK : load(&s, h);
		loaded = done.code == E_OK;
		if (loaded)
			done = look(&s, h);
		if (done.code != E_OK)
			log_failure(&s, "host events");
	} while (pacer_pause(&h->pacer, h->conf->host.interval));
	return NULL;
}

void watch_host_start(const struct watch_conf *conf, struct audit *audit, struct watch_host **out)
{
	*out = NULL;
	if (conf->host.journal == NULL || conf->host.journal[0] == 0)
		return;
	struct watch_host *h = heap_alloc(sizeof *h);
	*h = (struct watch_host){ .conf = conf, .audit = audit };
	pacer_init(&h->pacer);
	pacer_start(&h->pacer, "host events", run, h);
	*out = h;
}

void watch_host_stop(struct watch_host *h)
{
	if (h == NULL)
		return;
	pacer_stop(&h->pacer);
	pacer_free(&h->pacer);
	free(h);
}
