/*
 * Kept once a second, and when the daemon ends: the CAs that the round is through with; of the one it is at the last serial, the counts, and the serials
 * that are to be looked at again. What is compared twice behind a kill is recorded once: records of a round have ids made of it.
 */
#include "file.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include "watch_compare_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define VERSION  1
#define FILE_MAX 65536
#define PAUSE    MOMENT_SECOND

bool compare_take_serial(span bytes, struct serial *out)
{
	while (bytes.len > 0 && bytes.data[0] == 0)
		bytes = span_from(bytes, 1);
	*out = (struct serial){ .len = (uint8_t)bytes.len };
	if (bytes.len == 0 || bytes.len > SERIAL_MAX)
		return false;
	memcpy(out->octets, bytes.data, bytes.len);
	return true;
}

span compare_serial_span(const struct serial *serial)
{
	return span_of(serial->octets, serial->len);
}

/* ---- the file ---- */

static const char *path(struct scope *s, const struct watch_compare *c)
{
	return scope_printf(s, "%s/comparison", c->conf->state);
}

static json_t *serial_json(struct scope *s, const struct serial *serial)
{
	return json_string(hex_text(s, compare_serial_span(serial)));
}

static json_t *round_json(struct scope *s, const struct round *r)
{
	json_t *doubts = json_array();
	for (size_t i = 0; i < r->doubts; i++)
		(void)json_array_append_new(
			doubts, json_pack("[o, o]", serial_json(s, &r->doubt[i].serial), serial_json(s, &r->doubt[i].before)));
	return json_pack("{s:s, s:o, s:I, s:I, s:I, s:o}", "ca", r->ca, "after", serial_json(s, &r->after), "serials",
			 (json_int_t)r->serials, "differ", (json_int_t)r->differ, "unreachable", (json_int_t)r->unreachable,
			 "doubts", doubts);
}

static st write_place(struct scope *s, const struct watch_compare *c, json_t *at)
{
	AUTO(json_t) *all =
		json_pack("{s:i, s:I, s:O, s:o*}", "v", VERSION, "began", (json_int_t)c->began, "done", c->done, "at", at);
	char *text = json_dumps(all, JSON_COMPACT);
	if (text == NULL)
		return fail(s, E_BUG, "the comparison cannot be written as JSON");
	st written = file_replace(s, path(s, c), span_str(text), 0600);
	free(text);
	return written;
}

static void keep(struct watch_compare *c, const struct round *r)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (write_place(&s, c, r == NULL ? NULL : round_json(&s, r)).code != E_OK)
		log_failure(&s, "keeping how far the comparison is");
	c->kept_last = moment_monotonic();
}

static bool is_of_now(const struct watch_compare *c, const json_t *all, int64_t now)
{
	int64_t began = json_integer_value(json_object_get(all, "began"));
	return json_integer_value(json_object_get(all, "v")) == VERSION && json_is_array(json_object_get(all, "done")) &&
	       began <= now && now - began < c->conf->compare.interval;
}

/* NULL: none, or one that is too old to be told as one comparison, or damaged. */
static json_t *read_place(const struct watch_compare *c, int64_t now)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span text;
	if (file_read(&s, path(&s, c), FILE_MAX, &text).code != E_OK)
		return NULL;
	json_t *all = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	if (all != NULL && is_of_now(c, all, now))
		return all;
	json_decref(all);
	return NULL;
}

/* ---- a round ---- */

bool compare_place_is_kept(struct watch_compare *c, int64_t now)
{
	AUTO(json_t) *all = read_place(c, now);
	return all != NULL;
}

void compare_place_begin(struct watch_compare *c, int64_t now)
{
	AUTO(json_t) *all = read_place(c, now);
	compare_place_free(c);
	c->began = all == NULL ? now : json_integer_value(json_object_get(all, "began"));
	c->done = all == NULL ? json_array() : json_incref(json_object_get(all, "done"));
	c->kept = json_incref(json_object_get(all, "at"));
}

bool compare_place_is_done(const struct watch_compare *c, const char *ca)
{
	const json_t *name;
	size_t i;
	json_array_foreach(c->done, i, name)
	{
		if (json_is_string(name) && strcmp(json_string_value(name), ca) == 0)
			return true;
	}
	return false;
}

static bool take(struct scope *s, const json_t *text, struct serial *out)
{
	span bytes;
	*out = (struct serial){ .len = 0 };
	if (!json_is_string(text) || hex_parse(s, span_str(json_string_value(text)), &bytes).code != E_OK)
		return false;
	return bytes.len == 0 || compare_take_serial(bytes, out);
}

static bool read_round(struct scope *s, const json_t *at, struct round *r)
{
	const json_t *doubt;
	size_t i;
	bool good = take(s, json_object_get(at, "after"), &r->after);
	r->serials = (uint64_t)json_integer_value(json_object_get(at, "serials"));
	r->differ = (uint64_t)json_integer_value(json_object_get(at, "differ"));
	r->unreachable = (uint64_t)json_integer_value(json_object_get(at, "unreachable"));
	json_array_foreach(json_object_get(at, "doubts"), i, doubt)
	{
		if (i >= DOUBTS_MAX)
			return false;
		good = good && take(s, json_array_get(doubt, 0), &r->doubt[i].serial) &&
		       take(s, json_array_get(doubt, 1), &r->doubt[i].before);
		r->doubts = i + 1;
	}
	return good;
}

void compare_place_resume(struct round *r)
{
	const char *ca = json_string_value(json_object_get(r->c->kept, "ca"));
	if (ca == NULL || strcmp(ca, r->ca) != 0)
		return;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (!read_round(&s, r->c->kept, r)) {
		log_put(LOG_LEVEL_WARNING, "%s is damaged: %s is compared from its first serial on", path(&s, r->c), ca);
		r->after = (struct serial){ .len = 0 };
		r->serials = r->differ = r->unreachable = r->doubts = 0;
	} else {
		log_put(LOG_LEVEL_NOTICE, "comparing %s goes on behind %llu serials", ca, (unsigned long long)r->serials);
	}
	json_decref(r->c->kept);
	r->c->kept = NULL;
}

void compare_place_keep(struct round *r, bool at_once)
{
	if (at_once || moment_monotonic() - r->c->kept_last >= PAUSE)
		keep(r->c, r);
}

void compare_place_done(struct watch_compare *c, const char *ca)
{
	(void)json_array_append_new(c->done, json_string(ca));
	keep(c, NULL);
}

void compare_place_end(struct watch_compare *c)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	compare_place_free(c);
	if (unlink(path(&s, c)) != 0 && errno != ENOENT)
		log_put(LOG_LEVEL_WARNING, "forgetting a comparison that is through: %s", path(&s, c));
}

void compare_place_free(struct watch_compare *c)
{
	json_decref(c->done);
	json_decref(c->kept);
	c->done = c->kept = NULL;
	c->began = 0;
}
