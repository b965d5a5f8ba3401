#include "copy.h"
#include "digest.h"
#include "file.h"
#include "log.h"
#include <stdio.h>

/* A note of ours has some hundred octets; what strangers may have added to it need not be kept. */
#define NOTE_ON_RECORD_MAX 16384

static char *note_path(struct scope *s, const struct copy *c)
{
	return scope_printf(s, "%s/checkpoint", c->conf->log);
}

static st set_head(struct scope *s, struct copy *c, const struct audit_checkpoint *head, span note)
{
	c->head = *head;
	buf_clear(&c->note);
	return buf_append(&c->note, note) ? OK : fail(s, E_LIMIT, "the checkpoint is over the limit of a note");
}

st copy_load(struct scope *s, struct copy *c)
{
	span note;
	struct audit_checkpoint head;
	const char *path = note_path(s, c);
	TRY(file_make_directory(s, scope_printf(s, "%s/tile", c->conf->log), 0755));
	if (!file_exists(path))
		return OK;
	TRY(file_read(s, path, AUDIT_NOTE_MAX, &note));
	TRY(fail_context(s, audit_checkpoint_open(s, note, c->log_key, c->log_keys, &head), "%s", path));
	return set_head(s, c, &head, note);
}

/* ---- refusals ---- */

static st record_refused(struct scope *s, struct copy *c, const char *reason, uint64_t size, span note)
{
	uint64_t index;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_COPY_REFUSED);
	audit_text(&e, "log", c->log_key[0].name);
	audit_number(&e, "size", (int64_t)size);
	audit_str(&e, "reason", reason);
	if (note.len > 0 && note.len <= NOTE_ON_RECORD_MAX)
		audit_base64(&e, "note", note);
	TRY(audit_finish(s, &e));
	return audit_commit(s, c->audit, &e, &index);
}

void copy_record_refused(struct copy *c, const char *reason, uint64_t size, span note)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t hash[DIGEST_MAX];
	span name = digest_of(DIGEST_SHA256, note.len > 0 ? note : span_str(reason), hash);
	(void)snprintf(c->refused, sizeof c->refused, "%s", reason);
	if (memcmp(c->refused_note, name.data, sizeof c->refused_note) == 0)
		return;
	log_put(LOG_LEVEL_ERROR, "ALARM: the log %.*s is refused: %s", (int)c->log_key[0].name.len,
		(const char *)c->log_key[0].name.data, reason);
	if (record_refused(&s, c, reason, size, note).code != E_OK)
		log_failure(&s, "recording that the log was refused");
	else
		memcpy(c->refused_note, name.data, sizeof c->refused_note);
}

/* ---- tiles ---- */

static st make_parents(struct scope *s, const struct copy *c, const char *path)
{
	char *parent = scope_cstr(s, span_of(path, (size_t)(strrchr(path, '/') - path)));
	if (file_exists(parent))
		return OK;
	TRY(file_make_directory(s, parent, 0755));
	for (char *up = parent; strlen(up) > strlen(c->conf->log);
	     up = scope_cstr(s, span_of(up, (size_t)(strrchr(up, '/') - up))))
		TRY(file_sync_directory_of(s, up));
	return OK;
}

/* A record is removed by an operation that is in the log (copy_purge.c), never by who leaves it out here; nor does it come back then. */
static st keep_united(struct scope *s, const struct copy *c, const struct copy_place *place, const char *path, span there,
		      span united)
{
	bool cosigned = (place->n + 1) * AUDIT_TILE_WIDTH <= c->head.size;
	return cosigned || span_equal(there, united) ? OK : file_replace(s, path, united, 0644);
}

/* What was taken once stays: who could change it could have the copy agree with another history. */
static st compare(struct scope *s, struct copy *c, const struct copy_place *place, const char *path, span bytes)
{
	span there;
	AUTO_BUF united;
	buf_init(&united, AUDIT_BUNDLE_MAX);
	TRY(file_read(s, path, AUDIT_BUNDLE_MAX, &there));
	if (span_equal(there, bytes))
		return OK;
	if (place->level == AUDIT_ENTRIES && copy_bundle_unite(there, bytes, &united))
		return keep_united(s, c, place, path, there, buf_span(&united));
	const char *reason = scope_printf(s, "%s is here with other bytes: the log has changed what it had before (a fork)",
					  path + strlen(c->conf->log) + 1);
	copy_record_refused(c, reason, c->head.size, (span){ 0 });
	return fail(s, E_CONFLICT, "%s", reason);
}

st copy_keep_tile(struct scope *s, struct copy *c, const struct copy_place *place, span bytes)
{
	size_t len = place->level == AUDIT_ENTRIES ? bytes.len : place->width * (size_t)AUDIT_HASH_LEN;
	if (bytes.len == 0 || bytes.len != len)
		return fail(s, E_INPUT, "this is no tile of %u hashes (c2sp tlog-tiles)", place->width);
	char *path = audit_tile_path(s, c->conf->log, place->level, place->n, place->width);
	if (file_exists(path))
		return compare(s, c, place, path, bytes);
	TRY(make_parents(s, c, path));
	return file_replace(s, path, bytes, 0644);
}

st copy_keep_note(struct scope *s, struct copy *c, const struct audit_checkpoint *head, span note)
{
	uint64_t old = c->head.size;
	TRY(file_replace(s, note_path(s, c), note, 0644));
	TRY(set_head(s, c, head, note));
	c->refused[0] = 0;
	audit_log_tidy(c->conf->log, old, head->size);
	return OK;
}
