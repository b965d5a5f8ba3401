/* Entries of a host's journal: who wrote it, then identifier and message, parted by a line feed. What comes out is short, UTF-8, and has no control character. */
#include "fuzz.h"
#include "text.h"
#include "watch_host_event.h"

static void is_clean(const char *text)
{
	if (text == NULL)
		return;
	check(strlen(text) <= WATCH_HOST_TEXT_MAX);
	for (span rest = span_str(text); rest.len > 0; rest = span_from(rest, utf8_length(rest)))
		check(utf8_length(rest) > 0 && rest.data[0] >= 0x20 && rest.data[0] != 0x7f);
}

static span until_line_feed(span *rest)
{
	const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
	span part = span_first(*rest, end == NULL ? rest->len : (size_t)(end - rest->data));
	*rest = span_from(*rest, part.len + 1);
	return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span rest = span_of(data, size);
	span who = until_line_feed(&rest);
	struct watch_host_entry entry = { .is_root = span_is(who, "root"), .is_kernel = span_is(who, "kernel"), .unit = who };
	entry.identifier = until_line_feed(&rest);
	entry.message_id = until_line_feed(&rest);
	entry.subject = until_line_feed(&rest);
	entry.message = rest;
	struct watch_host_event e = { 0 };
	if (!watch_host_event_of(&s, &entry, &e))
		return 0;
	check(entry.is_root || entry.is_kernel || who.len > 0);
	const char *const texts[] = { e.user, e.target, e.method, e.source, e.unit, e.text };
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		is_clean(texts[i]);
	AUTO_EVENT record;
	watch_host_begin(&record, &s, &e, (const uint8_t[16]){ 0 }, "host", 1);
	check(audit_finish(&s, &record).code == E_OK);
	return 0;
}
