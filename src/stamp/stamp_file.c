#include "stamp.h"
#include "file.h"
#include "text.h"
#include <errno.h>
#include <unistd.h>

#define PLACES     7 /* of three digits each: any size */
#define CHECKPOINT ".checkpoint"
#define TOKEN      ".token"

static char *path_of(struct scope *s, const char *dir, uint64_t size, const char *suffix)
{
	unsigned place[PLACES];
	for (int i = PLACES; i-- > 0; size /= 1000)
		place[i] = (unsigned)(size % 1000);
	char *path = scope_printf(s, "%s/stamp", dir);
	for (int i = 0; i < PLACES; i++)
		path = scope_printf(s, "%s/%03u", path, place[i]);
	return scope_printf(s, "%s%s", path, suffix);
}

/* The directories of a stamp's path, each durable in the one above it. */
static st make_parents(struct scope *s, const char *dir, const char *path)
{
	char *parent = scope_cstr(s, span_of(path, (size_t)(strrchr(path, '/') - path)));
	if (file_exists(parent))
		return OK;
	TRY(file_make_directory(s, parent, 0755));
	for (char *up = parent; strlen(up) > strlen(dir); up = scope_cstr(s, span_of(up, (size_t)(strrchr(up, '/') - up))))
		TRY(file_sync_directory_of(s, up));
	return OK;
}

st stamp_put(struct scope *s, const char *dir, uint64_t size, span note, span token)
{
	char *path = path_of(s, dir, size, CHECKPOINT);
	TRY(make_parents(s, dir, path));
	if (file_exists(path))
		return fail(s, E_CONFLICT, "%s is there already", path);
	TRY(file_replace(s, path_of(s, dir, size, TOKEN), token, 0644));
	return file_create(s, path, note, 0644);
}

st stamp_read(struct scope *s, const char *dir, uint64_t size, span *out_note, span *out_token)
{
	span note, token;
	TRY(file_read(s, path_of(s, dir, size, CHECKPOINT), AUDIT_NOTE_MAX, &note));
	TRY(file_read(s, path_of(s, dir, size, TOKEN), STAMP_TOKEN_MAX, &token));
	*out_note = note;
	*out_token = token;
	return OK;
}

/* ---- in order ---- */

struct walk {
	stamp_each each;
	void *state;
	uint64_t after;
	bool backwards, ended;
};

/* Three digits and, in the last place, the end of a checkpoint's name. */
static bool is_place(const char *name, bool last, uint64_t *out)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	span digits = span_first(span_str(name), 3);
	return digits.len == 3 && strcmp(name + 3, last ? CHECKPOINT : "") == 0 &&
	       decimal_parse(&aside, digits, 999, out).code == E_OK;
}

/* The largest number below a folder: its places, and 999 for each that is to come. */
static uint64_t last_below(uint64_t number, int places)
{
	for (; places > 0; places--)
		number = number > (UINT64_MAX - 999) / 1000 ? UINT64_MAX : number * 1000 + 999;
	return number;
}

static st walk_place(struct scope *s, struct walk *w, const char *folder, uint64_t above, int places);

static st walk_names(struct scope *s, struct walk *w, const char *folder, uint64_t above, int places)
{
	char **name;
	size_t count;
	TRY(file_list(s, folder, &name, &count));
	for (size_t i = 0; i < count && !w->ended; i++) {
		const char *one = name[w->backwards ? count - 1 - i : i];
		uint64_t place;
		if (!is_place(one, places == 1, &place) || above > (UINT64_MAX - place) / 1000 ||
		    (!w->backwards && last_below(above * 1000 + place, places - 1) <= w->after))
			continue;
		if (places > 1) {
			TRY(walk_place(s, w, scope_printf(s, "%s/%s", folder, one), above * 1000 + place, places - 1));
			continue;
		}
		TRY(w->each(s, w->state, above * 1000 + place));
		w->ended = w->backwards;
	}
	return OK;
}

/* The names of one folder are given back before the next one's are read. */
static st walk_place(struct scope *s, struct walk *w, const char *folder, uint64_t above, int places)
{
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	st walked = walk_names(&aside, w, folder, above, places);
	return walked.code == E_OK ? OK : fail(s, walked.code, "%s", aside.message);
}

static st walk(struct scope *s, const char *dir, struct walk *w)
{
	char *folder = scope_printf(s, "%s/stamp", dir);
	return file_exists(folder) ? walk_place(s, w, folder, 0, PLACES) : OK;
}

st stamp_walk(struct scope *s, const char *dir, uint64_t after, stamp_each each, void *state)
{
	struct walk w = { .each = each, .state = state, .after = after };
	return walk(s, dir, &w);
}

struct newest {
	bool found;
	uint64_t size;
};

static st take_size(struct scope *s, void *state, uint64_t size)
{
	(void)s;
	*(struct newest *)state = (struct newest){ .found = true, .size = size };
	return OK;
}

st stamp_newest(struct scope *s, const char *dir, uint64_t *out_size)
{
	struct newest newest = { .found = false };
	struct walk w = { .each = take_size, .state = &newest, .backwards = true };
	TRY(walk(s, dir, &w));
	if (!newest.found)
		return fail(s, E_NOTFOUND, "the log in %s has no time-stamp yet", dir);
	*out_size = newest.size;
	return OK;
}

st stamp_remove_above(struct scope *s, const char *dir, uint64_t size)
{
	uint64_t newest;
	for (;;) {
		st found = stamp_newest(s, dir, &newest);
		if (found.code == E_NOTFOUND)
			scope_clear_error(s);
		if (found.code != E_OK || newest <= size)
			return found.code == E_NOTFOUND ? OK : found;
		const char *path = path_of(s, dir, newest, CHECKPOINT);
		if (unlink(path) != 0 || (unlink(path_of(s, dir, newest, TOKEN)) != 0 && errno != ENOENT))
			return fail_errno(s, E_IO, "removing %s", path);
	}
}
