#include "cli_audit_source.h"
#include "audit_log.h"
#include "file.h"

#define KEY_FILE_MAX 16384

st cli_audit_read_keys(struct scope *s, const char *path, struct audit_key out[AUDIT_KEYS_MAX], size_t *out_count)
{
	span text;
	TRY(file_read(s, path, KEY_FILE_MAX, &text));
	return fail_context(s, audit_keys_parse(s, text, out, out_count), "%s", path);
}

static st add_anchor(struct scope *s, struct cli_audit_source *to, const char *path, bool came_along)
{
	span note;
	TRY(file_read(s, path, AUDIT_NOTE_MAX, &note));
	if (note.len == 0)
		return OK;
	if (to->anchors == CLI_ANCHORS_MAX)
		return fail(s, E_LIMIT, "at most %d anchors", CLI_ANCHORS_MAX);
	to->anchor[to->anchors++] = (struct audit_anchor){ .name = path, .note = note, .came_along = came_along };
	return OK;
}

/* Daemons replace their anchor while this runs, so each is read once, before the log. One that does not exist yet is left out. */
st cli_audit_kept(struct scope *s, const struct cli *c, struct cli_audit_source *to)
{
	const struct conf_list *kept = &c->conf.anchors;
	for (size_t i = 0; i < kept->count; i++)
		if (file_exists(kept->item[i]))
			TRY(add_anchor(s, to, kept->item[i], false));
	return OK;
}

static st add_crl(struct scope *s, struct cli_audit_source *to, const char *path)
{
	if (to->crls == CLI_CRLS_MAX)
		return fail(s, E_LIMIT, "at most %d files of CRLs", CLI_CRLS_MAX);
	to->crl[to->crls++] = path;
	return OK;
}

static st add_came_along(struct scope *s, struct cli_audit_source *to, const char *path)
{
	return add_anchor(s, to, path, true);
}

static st each_in(struct scope *s, const char *folder, struct cli_audit_source *to,
		  st (*add)(struct scope *, struct cli_audit_source *, const char *))
{
	char **name;
	size_t count = 0;
	if (!file_exists(folder))
		return OK;
	TRY(file_list(s, folder, &name, &count));
	for (size_t i = 0; i < count; i++)
		TRY(add(s, to, scope_printf(s, "%s/%s", folder, name[i])));
	return OK;
}

static const char *if_there(const char *path)
{
	return path != NULL && file_exists(path) ? path : NULL;
}

static st find_in_folder(struct scope *s, const char *folder, struct cli_audit_source *out)
{
	out->log = scope_printf(s, "%s/log", folder);
	out->key_path = scope_printf(s, "%s/log.vkey", folder);
	out->founding = if_there(scope_printf(s, "%s/founding", folder));
	out->stamp_anchor = if_there(scope_printf(s, "%s/stamp-anchor.pem", folder));
	if (!file_exists(out->log))
		return fail(s, E_NOTFOUND, "%s is no export: it has no log/; `chancery audit export` writes one", folder);
	TRY(each_in(s, scope_printf(s, "%s/crls", folder), out, add_crl));
	return each_in(s, scope_printf(s, "%s/anchors", folder), out, add_came_along);
}

static st find_here(struct scope *s, struct cli *c, struct cli_audit_source *out)
{
	bool copy = cli_get(c, "log") != NULL;
	if (copy && cli_get(c, "key") != NULL)
		return OK;
	TRY(fail_context(s, cli_read_conf(s, c), "without an export, or --log DIR and --key FILE"));
	out->log = c->conf.audit_log;
	out->key_path = c->conf.audit_key;
	if (copy)
		return OK;
	out->founding = if_there(c->conf.founding);
	out->stamp_anchor = if_there(c->conf.stamp_anchor);
	return cli_audit_kept(s, c, out);
}

st cli_audit_find(struct scope *s, struct cli *c, const char *folder, struct cli_audit_source *out)
{
	const char *path;
	*out = (struct cli_audit_source){ .anchors = 0 };
	TRY(folder != NULL ? find_in_folder(s, folder, out) : find_here(s, c, out));
	out->log = cli_get_or(c, "log", out->log);
	out->key_path = cli_get_or(c, "key", out->key_path);
	out->founding = cli_get_or(c, "founding", out->founding);
	out->stamp_anchor = cli_get_or(c, "stamp-anchor", out->stamp_anchor);
	for (size_t i = 0; (path = cli_get_at(c, "anchor", i)) != NULL; i++)
		TRY(add_anchor(s, out, path, false));
	for (size_t i = 0; (path = cli_get_at(c, "crl", i)) != NULL; i++)
		TRY(add_crl(s, out, path));
	return cli_audit_read_keys(s, out->key_path, out->key, &out->keys);
}

st cli_audit_had_root(struct scope *s, const char *dir, uint64_t size, const uint8_t root[AUDIT_HASH_LEN], bool *out)
{
	struct audit_log *log;
	struct audit_hash had;
	TRY(audit_log_open(s, dir, &log));
	struct audit_source source = { .node = audit_log_node, .state = log };
	st status = audit_source_root(s, &source, size, &had);
	audit_log_close(log);
	*out = status.code == E_OK && memcmp(had.octets, root, AUDIT_HASH_LEN) == 0;
	if (status.code != E_NOTFOUND) /* it never had so many records */
		return status;
	scope_clear_error(s);
	return OK;
}
