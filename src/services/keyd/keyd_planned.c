/*
 * keyd_planned.c - keys that are to be generated: described in STATE/planned/LABEL before the token is asked, and no longer when the key has
 * its own description. What is left there at a start is a generation that did not end; what it left on the token is known by its CKA_ID.
 */
#include "file.h"
#include "keyd.h"
#include "log.h"
#include <stdlib.h>
#include <unistd.h>

#define FILE_VERSION 1
#define FILE_MAX     65536u

static char *planned_path(struct scope *s, const struct keyd *d, const char *label)
{
	return scope_printf(s, "%s/planned/%s", d->conf->state, label);
}

/* ---- the list: entries stay where they are until the end, as those of keys ---- */

static void enter(struct keyd *d, struct keyd_planned *p)
{
	(void)pthread_rwlock_wrlock(&d->registry);
	p->next = d->planned;
	d->planned = p;
	(void)pthread_rwlock_unlock(&d->registry);
}

struct keyd_planned *keyd_next_planned(struct keyd *d, const struct keyd_planned *before)
{
	(void)pthread_rwlock_rdlock(&d->registry);
	struct keyd_planned *p = before == NULL ? d->planned : before->next;
	while (p != NULL && p->over)
		p = p->next;
	(void)pthread_rwlock_unlock(&d->registry);
	return p;
}

struct keyd_planned *keyd_find_planned(struct keyd *d, const char *label)
{
	struct keyd_planned *p = keyd_next_planned(d, NULL);
	while (p != NULL && strcmp(p->info.label, label) != 0)
		p = keyd_next_planned(d, p);
	return p;
}

static void free_one(struct keyd_planned *p)
{
	scope_done(&p->memory);
	free(p);
}

void keyd_free_planned(struct keyd *d)
{
	for (struct keyd_planned *p = d->planned; p != NULL;) {
		struct keyd_planned *next = p->next;
		free_one(p);
		p = next;
	}
	d->planned = NULL;
}

/* ---- the file ---- */

static st read_plan(struct keyd_planned *p, span bytes)
{
	struct scope *s = &p->memory;
	struct rd r = rd_of(scope_copy(s, bytes));
	uint16_t version = rd_u16(&r);
	if (!r.bad && version != FILE_VERSION)
		return fail(s, E_INPUT, "its version is %u", version);
	TRY(key_info_read(s, &r, &p->info));
	span id = rd_raw(&r, sizeof p->id);
	p->operation = rd_str(s, &r, KEY_OPERATION_ID);
	TRY(rd_end(s, &r, "it"));
	memcpy(p->id, id.data, sizeof p->id);
	return OK;
}

/* `bytes` is copied into the entry's own memory. */
static st plan_of_file(struct scope *s, span bytes, struct keyd_planned **out)
{
	struct keyd_planned *p = heap_alloc(sizeof *p);
	scope_init(&p->memory, NULL);
	st status = read_plan(p, bytes);
	if (status.code != E_OK) {
		status = fail(s, status.code, "%s", p->memory.message);
		free_one(p);
		return status;
	}
	*out = p;
	return OK;
}

static st write_plan(struct scope *s, const struct key_info *want, span id, const char *operation, struct buf *out)
{
	struct wr w = wr_into(out);
	wr_u16(&w, FILE_VERSION);
	key_info_write(&w, want);
	wr_raw(&w, id);
	wr_str(&w, operation);
	return wr_end(s, &w);
}

static st load(struct scope *s, struct keyd *d, const char *label)
{
	span bytes;
	struct keyd_planned *p;
	struct keyd_key *k;
	const char *path = planned_path(s, d, label);
	if (keyd_find_key(s, d, label, &k).code == E_OK) /* it was generated; the end came before this file went */
		return unlink(path) == 0 ? OK : fail_errno(s, E_IO, "%s", path);
	scope_clear_error(s);
	TRY(file_read(s, path, FILE_MAX, &bytes));
	TRY(fail_context(s, plan_of_file(s, bytes, &p), "the plan of a key in %s cannot be used", path));
	if (strcmp(p->info.label, label) != 0) {
		st other = fail(s, E_STATE, "%s describes another key, \"%s\"", path, p->info.label);
		free_one(p);
		return other;
	}
	log_put(LOG_LEVEL_WARNING, "key \"%s\" is planned: its generation did not end; propose it anew", label);
	enter(d, p);
	return OK;
}

st keyd_load_planned(struct scope *s, struct keyd *d)
{
	char **name;
	size_t count;
	const char *path = scope_printf(s, "%s/planned", d->conf->state);
	TRY(file_make_directory(s, path, 0700));
	TRY(file_list(s, path, &name, &count));
	for (size_t i = 0; i < count; i++) {
		st named = key_label_check(s, name[i]);
		if (named.code == E_OK && strstr(name[i], ".new") == NULL)
			TRY(load(s, d, name[i]));
		scope_clear_error(s);
	}
	return OK;
}

/* ---- planning, and the end of it ---- */

static st record_discarded(struct scope *s, struct keyd *d, const struct keyd_planned *p)
{
	AUTO_EVENT e;
	uint64_t index;
	audit_begin(&e, s, AUDIT_KEY_DISCARDED);
	audit_str(&e, "zone", d->conf->zone);
	audit_str(&e, "token", p->info.token);
	audit_str(&e, "key", p->info.label);
	audit_str(&e, "reason",
		  "its generation did not end, and it is generated anew; it was never described and has signed nothing");
	TRY(audit_finish(s, &e));
	return audit_commit(s, d->audit, &e, &index);
}

/* What an interrupted generation left on this token. A key of the same name that another keyd made has another CKA_ID, and stays. */
static st clear(struct scope *s, struct keyd *d, const struct keyd_planned *p, struct hsm_token *token)
{
	size_t count;
	if (strcmp(p->info.token, hsm_token_label(token)) != 0)
		return OK;
	TRY(hsm_count(s, token, p->info.label, SPAN_ARRAY(p->id), &count));
	if (count == 0)
		return OK;
	TRY(record_discarded(s, d, p));
	TRY(hsm_clear(s, token, p->info.label, SPAN_ARRAY(p->id)));
	log_put(LOG_LEVEL_NOTICE, "what the generation of key \"%s\" had left on its token is destroyed", p->info.label);
	return OK;
}

st keyd_plan_key(struct scope *s, struct keyd *d, const struct key_info *want, const char *operation, struct hsm_token *token,
		 struct keyd_planned **out)
{
	AUTO_BUF file = { .cap = FILE_MAX };
	uint8_t id[KEYD_ID_LEN];
	struct key_info planned = *want;
	struct keyd_planned *p, *before = keyd_find_planned(d, want->label);
	if (before != NULL)
		TRY(clear(s, d, before, token));
	scope_random(s, id, sizeof id);
	planned.created = scope_now(s);
	planned.missing = "";
	planned.usable = false;
	TRY(write_plan(s, &planned, SPAN_ARRAY(id), operation, &file));
	TRY(plan_of_file(s, buf_span(&file), &p));
	st kept = file_replace(s, planned_path(s, d, want->label), buf_span(&file), 0600);
	if (kept.code != E_OK) {
		free_one(p);
		return kept;
	}
	if (before != NULL)
		before->over = true;
	enter(d, p);
	*out = p;
	return OK;
}

void keyd_planned_over(struct scope *s, struct keyd *d, struct keyd_planned *p)
{
	p->over = true;
	if (unlink(planned_path(s, d, p->info.label)) != 0)
		log_put(LOG_LEVEL_WARNING, "the plan of key \"%s\" is still there; the next start removes it", p->info.label);
}

void keyd_planned_describe(struct scope *s, const struct keyd *d, const struct keyd_planned *p, struct key_entry *out)
{
	*out = (struct key_entry){ .info = p->info,
				   .state = KEY_PLANNED,
				   .since = p->info.created,
				   .checks = "",
				   .attributes = "",
				   .operation = p->operation,
				   .device = keyd_conf_device(s, d->conf, p->info.token) };
}

/* ---- what no description names ---- */

static bool is_described(struct keyd *d, const char *token, const char *label)
{
	for (const struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next)
		if (strcmp(k->info.label, label) == 0 && strcmp(k->info.token, token) == 0)
			return true;
	return false;
}

static void add_undescribed(struct scope *s, struct keyd *d, const struct keyd_token *t, struct key_stray *stray, size_t *count)
{
	char **labels;
	size_t n = 0;
	st status = hsm_private_labels(s, t->hsm, &labels, &n);
	for (size_t i = 0; status.code == E_OK && i < n && *count < KEY_STRAYS_MAX; i++)
		if (!is_described(d, t->label, labels[i]))
			stray[(*count)++] = (struct key_stray){ t->label, scope_printf(s, "%.*s", KEY_LABEL_MAX, labels[i]) };
	scope_clear_error(s); /* a closed token says nothing of its keys */
}

//= requirements#HSM-01 what is on a token and not in the inventory is named, and not used
void keyd_find_strays(struct scope *s, struct keyd *d, struct key_stray stray[KEY_STRAYS_MAX], size_t *out_count)
{
	*out_count = 0;
	(void)pthread_rwlock_rdlock(&d->registry);
	const struct keyd_token *first = d->tokens; /* tokens stay until the end */
	(void)pthread_rwlock_unlock(&d->registry);
	for (const struct keyd_token *t = first; t != NULL; t = t->next)
		if (t->hsm != NULL)
			add_undescribed(s, d, t, stray, out_count);
}
