/*
 * The log as static files for everybody (c2sp.org/tlog-tiles): a folder that a web server may serve as it is. Nothing is in it that no
 * checkpoint covers; a file that is there does not change, but for the checkpoint, which comes last.
 */
#include "auditd.h"
#include "daemon_pacer.h"
#include "auditd_push.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "stamp.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COMPLAIN_EVERY_US MOMENT_MINUTE

struct publisher {
	struct auditd *a;
	const struct auditd_conf *conf; /* of the start */
	struct push push;
	char *made; /* directory that was made or found last */
	int folder;
	uint64_t size;    /* leaves under the published checkpoint */
	uint64_t stamped; /* and under the newest published time-stamp */
	bool known;
	int64_t complained;
	struct pacer pace;
};

/* ---- files: written beside and renamed; one sync for all of them comes before the checkpoint ---- */

static st make_parent(struct scope *s, struct publisher *g, const char *path)
{
	char *parent = scope_cstr(s, span_of(path, (size_t)(strrchr(path, '/') - path)));
	if (g->made != NULL && strcmp(g->made, parent) == 0)
		return OK;
	TRY(file_make_directory(s, parent, 0755));
	free(g->made);
	g->made = heap_copy_str(parent);
	return OK;
}

static st put_file(struct scope *s, void *state, int level, uint64_t n, unsigned width, span bytes)
{
	struct publisher *g = state;
	char *path = audit_tile_path(s, g->conf->publish, level, n, width), *beside = scope_printf(s, "%s.new", path);
	TRY(make_parent(s, g, path));
	AUTO_FD fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", beside);
	TRY(fail_context(s, file_write_all(s, fd, bytes), "%s", beside));
	return rename(beside, path) == 0 ? OK : fail_errno(s, E_IO, "renaming to %s", path);
}

static bool is_stopping(void *state)
{
	struct publisher *g = state;
	return pacer_is_stopping(&g->pace);
}

/* ---- time-stamps: checkpoints with tokens over them, files that nothing of ours is needed for ---- */

static st learn_stamped(struct scope *s, struct publisher *g)
{
	st found = stamp_newest(s, g->conf->publish, &g->stamped);
	if (found.code != E_NOTFOUND)
		return found;
	scope_clear_error(s);
	g->stamped = 0;
	return OK;
}

/* What no published checkpoint covers yet waits for the next round. */
static st publish_stamp(struct scope *s, void *state, uint64_t size)
{
	struct publisher *g = state;
	span note, token;
	if (size > g->size)
		return OK;
	if (is_stopping(g))
		return fail(s, E_UNAVAILABLE, "auditd is being stopped");
	TRY(stamp_read(s, g->conf->log, size, &note, &token));
	TRY(stamp_put(s, g->conf->publish, size, note, token));
	g->stamped = size;
	return OK;
}

/* ---- what is there already ---- */

/* A folder with another log, or with more of this one, is not written over: what was published stays. */
static st learn_size(struct scope *s, struct publisher *g)
{
	span note;
	struct audit_note parts;
	struct audit_checkpoint c;
	struct audit_hash root;
	const char *path = scope_printf(s, "%s/checkpoint", g->conf->publish);
	struct audit_source source = { .node = audit_log_node, .state = g->push.log };
	uint64_t signed_size = signer_size(g->a->signer);
	g->known = true;
	if (!file_exists(path))
		return learn_stamped(s, g);
	g->known = false;
	TRY(file_read(s, path, AUDIT_NOTE_MAX, &note));
	TRY(fail_context(s, audit_note_read(s, note, &parts), "%s", path));
	TRY(fail_context(s, audit_checkpoint_read(s, parts.text, &c), "%s", path));
	bool ours = strcmp(c.origin, g->conf->origin) == 0 && c.size <= signed_size;
	if (ours)
		TRY(audit_source_root(s, &source, c.size, &root));
	if (!ours || !audit_hash_equal(&root, &c.root))
		return fail(s, E_STATE,
			    "%s is of %s and %llu leaves, which this log of %llu does not continue: leaves were lost, or name "
			    "another publish-directory",
			    path, c.origin, (unsigned long long)c.size, (unsigned long long)signed_size);
	TRY(learn_stamped(s, g));
	g->size = g->push.pushed = c.size;
	g->known = true;
	return OK;
}

/* ---- the thread ---- */

static st publish(struct scope *s, struct publisher *g, uint64_t size, span note)
{
	TRY(push_files(s, &g->push, g->size, size));
	if (syncfs(g->folder) != 0)
		return fail_errno(s, E_IO, "syncing %s", g->conf->publish);
	TRY(file_replace(s, scope_printf(s, "%s/checkpoint", g->conf->publish), note, 0644));
	audit_log_tidy(g->conf->publish, g->size, size);
	g->size = size;
	return OK;
}

static void one_round(struct publisher *g)
{
	AUTO_SCOPE s;
	AUTO_BUF note;
	int64_t ignored_time, now = moment_monotonic();
	scope_init(&s, NULL);
	buf_init(&note, AUDIT_NOTE_MAX);
	st status = g->known ? OK : learn_size(&s, g);
	uint64_t size = signer_checkpoint(g->a->signer, g->size, &note, &ignored_time);
	if (status.code == E_OK && size > g->size)
		status = publish(&s, g, size, buf_span(&note));
	if (status.code == E_OK)
		status = stamp_walk(&s, g->conf->log, g->stamped, publish_stamp, g);
	if (status.code == E_OK || (g->complained != 0 && now - g->complained < COMPLAIN_EVERY_US))
		return;
	g->complained = now;
	log_failure(&s, "publishing the log");
}

static void *publisher_main(void *argument)
{
	struct publisher *g = argument;
	do
		one_round(g);
	while (pacer_pause(&g->pace, g->conf->checkpoint_interval));
	return NULL;
}

st publisher_new(struct scope *s, struct auditd *a, struct publisher **out)
{
	if (a->conf->publish == NULL)
		return OK;
	struct publisher *g = heap_alloc(sizeof *g);
	*g = (struct publisher){ .a = a, .conf = a->conf, .folder = -1 };
	g->push = (struct push){ .put = put_file, .stopping = is_stopping, .state = g, .entries = a->conf->publish_entries };
	pacer_init(&g->pace);
	*out = g;
	TRY(file_make_directory(s, a->conf->publish, 0755));
	g->folder = open(a->conf->publish, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->folder < 0)
		return fail_errno(s, E_IO, "%s", a->conf->publish);
	return audit_log_open(s, a->conf->log, &g->push.log);
}

void publisher_start(struct publisher *g)
{
	if (g == NULL)
		return;
	pacer_start(&g->pace, "publish the log", publisher_main, g);
}

void publisher_stop(struct publisher *g)
{
	if (g != NULL)
		pacer_stop(&g->pace);
}

void publisher_free(struct publisher *g)
{
	if (g == NULL)
		return;
	audit_log_close(g->push.log);
	fd_auto(&g->folder);
	free(g->made);
	pacer_free(&g->pace);
	free(g);
}
