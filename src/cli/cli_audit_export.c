/*
 * `chancery audit export`: a folder that an auditor takes home and verifies with nothing but the verifier: what the newest checkpoint covers, and not a
 * record more; the key, the founding document, the checkpoints that daemons kept, the catalogue of events, and a page that says what all that is.
 */
#include "audit_catalogue.h"
#include "cli_api.h"
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "cli_record.h"
#include "control_text.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "stamp.h"
#include "text.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define CATALOGUE_MAX    ((size_t)1 << 20)
#define README_MAX       16384
#define STAMP_ANCHOR_MAX ((size_t)1 << 20)

struct export
{
	const struct cli *cli;
	struct audit_log *log;
	const char *to; /* EXPORT/log */
	char *made;     /* directory that was made last */
	struct buf bundle;
};

/* Synced with all others at the end. */
static st put_file(struct scope *s, const char *path, span bytes)
{
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	return fail_context(s, file_write_all(s, fd, bytes), "%s", path);
}

static st put_tile_file(struct scope *s, struct export *x, int level, uint64_t n, unsigned width, span bytes)
{
	char *path = audit_tile_path(s, x->to, level, n, width);
	char *parent = scope_cstr(s, span_of(path, (size_t)(strrchr(path, '/') - path)));
	if (x->made == NULL || strcmp(x->made, parent) != 0) {
		TRY(file_make_directory(s, parent, 0755));
		free(x->made);
		x->made = heap_copy_str(parent);
	}
	return put_file(s, path, bytes);
}

/* A bundle may have grown since the checkpoint: what is behind it stays out. */
static st copy_bundle(struct scope *s, struct export *x, uint64_t n, unsigned width)
{
	TRY(audit_log_bundle(s, x->log, n, width, &x->bundle));
	struct rd r = rd_of(buf_span(&x->bundle));
	span leaf;
	unsigned count = 0;
	while (count < width && audit_bundle_next(&r, &leaf))
		count++;
	if (count < width)
		return fail(s, E_CRYPTO, "entry bundle %llu has not %u records; see `chancery audit verify`",
			    (unsigned long long)n, width);
	return put_tile_file(s, x, AUDIT_ENTRIES, n, width, span_first(buf_span(&x->bundle), x->bundle.len - r.rest.len));
}

static st copy_tile(struct scope *s, struct export *x, int level, uint64_t n, unsigned width)
{
	const struct audit_hash *hash;
	if (level == AUDIT_ENTRIES)
		return copy_bundle(s, x, n, width);
	TRY(audit_log_tile(s, x->log, level, n, width, &hash));
	return put_tile_file(s, x, level, n, width, span_of(hash, width * sizeof *hash));
}

static st copy_level(struct scope *s, struct export *x, int level, uint64_t size)
{
	uint64_t full = size / AUDIT_TILE_WIDTH;
	unsigned rest = (unsigned)(size % AUDIT_TILE_WIDTH);
	for (uint64_t n = 0; n < full + (rest > 0); n++) {
		AUTO_SCOPE aside; /* memory of one file is given back before the next */
		scope_init(&aside, s->source);
		st status = copy_tile(&aside, x, level, n, n < full ? AUDIT_TILE_WIDTH : rest);
		if (status.code != E_OK)
			return fail(s, status.code, "%s", aside.message);
	}
	return OK;
}

static st copy_log(struct scope *s, struct export *x, span note, uint64_t size)
{
	TRY(copy_level(s, x, AUDIT_ENTRIES, size));
	for (int level = 0; level < AUDIT_TILE_LEVELS && size > 0; level++, size /= AUDIT_TILE_WIDTH)
		TRY(copy_level(s, x, level, size));
	return put_file(s, scope_printf(s, "%s/checkpoint", x->to), note);
}

/* ---- what lies beside the log ---- */

static st copy_small(struct scope *s, const char *from, const char *to, size_t max)
{
	span bytes;
	TRY(file_read(s, from, max, &bytes));
	return put_file(s, to, bytes);
}

/* Named after who kept it: state/ca/anchor becomes anchors/1-ca. Those of a moment after the checkpoint was read are left out: they cover more. */
static st copy_anchors(struct scope *s, const struct cli_audit_source *source, const char *to, uint64_t size,
		       uint64_t *out_count)
{
	uint64_t count = 0;
	TRY(file_make_directory(s, to, 0755));
	for (size_t i = 0; i < source->anchors; i++) {
		struct audit_checkpoint kept;
		const char *path = source->anchor[i].name;
		span end = span_of(path, (size_t)((strrchr(path, '/') == NULL ? path : strrchr(path, '/')) - path));
		const uint8_t *slash = end.len == 0 ? NULL : memrchr(end.data, '/', end.len);
		span who = slash == NULL ? end : span_from(end, (size_t)(slash - end.data) + 1);
		TRY(fail_context(s, audit_checkpoint_open(s, source->anchor[i].note, source->key, source->keys, &kept), "%s",
				 path));
		if (kept.size > size)
			continue;
		TRY(put_file(s, scope_printf(s, "%s/%zu-%.*s", to, i + 1, (int)who.len, (const char *)who.data),
			     source->anchor[i].note));
		count++;
	}
	*out_count = count;
	return OK;
}

struct stamps {
	const char *from, *to;
	uint64_t size;
};

static st copy_stamp(struct scope *s, void *state, uint64_t size)
{
	const struct stamps *all = state;
	span note, token;
	if (size > all->size)
		return OK;
	TRY(stamp_read(s, all->from, size, &note, &token));
	return stamp_put(s, all->to, size, note, token);
}

static st copy_stamps(struct scope *s, const struct cli_audit_source *source, const char *to, uint64_t size)
{
	struct stamps all = { .from = source->log, .to = to, .size = size };
	return stamp_walk(s, source->log, 0, copy_stamp, &all);
}

/* ---- CRLs, where there is a ca to ask ---- */

/* Nobody has to have one: the auditor is told what they were needed for. */
static st copy_crl(struct scope *s, struct cli_api *api, const char *ca, span token, const char *to, uint64_t *count)
{
	span crl;
	st got = cli_api_fetch(s, api, scope_printf(s, "/v1/cas/%s/crl", cli_escape(s, ca)), &crl);
	if (got.code != E_OK || !stamp_crl_concerns(s, token, crl)) {
		scope_clear_error(s);
		return OK;
	}
	++*count;
	TRY(file_make_directory(s, to, 0755));
	return put_file(s, scope_printf(s, "%s/%s.crl", to, ca), crl);
}

static st ask_for_crls(struct scope *s, const struct cli *c, span token, const char *to, uint64_t *count)
{
	AUTO(cli_api) *api = NULL;
	AUTO(json_t) *answer = NULL;
	const json_t *one;
	size_t i;
	st asked = cli_api_open(s, c, &api);
	if (asked.code == E_OK)
		asked = cli_api_call(s, api, "GET", "/v1/cas", NULL, &answer);
	if (asked.code != E_OK) {
		scope_clear_error(s);
		return OK;
	}
	json_array_foreach(json_object_get(answer, "cas"), i, one)
		TRY(copy_crl(s, api, cli_member(one, "name"), token, to, count));
	return OK;
}

/* Of whoever certified the authority of the newest stamp, when it is a CA of this provider. */
static st copy_crls(struct scope *s, const struct cli *c, const struct cli_audit_source *source, const char *to,
		    uint64_t *out_count)
{
	uint64_t newest;
	span note, token;
	*out_count = 0;
	st found = stamp_newest(s, source->log, &newest);
	scope_clear_error(s);
	if (found.code != E_OK || c->conf.api_url == NULL)
		return OK;
	TRY(stamp_read(s, source->log, newest, &note, &token));
	return ask_for_crls(s, c, token, to, out_count);
}

static st put_catalogue(struct scope *s, const char *path)
{
	AUTO_BUF out;
	buf_init(&out, CATALOGUE_MAX);
	audit_catalogue(&out);
	return put_file(s, path, buf_span(&out));
}

static const char readme[] =
	"An audit log, to be verified by somebody who trusts none of those who wrote it\n"
	"===============================================================================\n"
	"\n"
	"Log %s, %llu records, exported %s.\n"
	"\n"
	"  log/checkpoint   how many records there are and the root of the tree over them, signed by the log's key (c2sp.org/tlog-checkpoint)\n"
	"  log/tile/        the records (entries) and the hashes over them (c2sp.org/tlog-tiles; the tree is that of RFC 6962)\n"
	"  log.vkey         the public key of the log\n"
	"  log/stamp/       checkpoints with RFC 3161 tokens over them, when an authority stamped them: openssl ts -verify reads them, too\n"
	"  stamp-anchor.pem the certificate that these tokens must lead to; better, bring your own: --stamp-anchor FILE\n"
	"  crls/            %llu CRLs of who certified the authority, as they were on that day: was its certificate revoked? Newer ones: --crl FILE\n"
	"  anchors/         checkpoints that %llu of the provider's daemons kept: the log must continue each of them\n"
	"  founding         %s\n"
	"  events.md        what the events are, and their fields\n"
	"\n"
	"To verify, on a machine without network:\n"
	"\n"
	"    chancery audit verify THIS-FOLDER --anchor THE-CHECKPOINT-THAT-YOU-KEPT\n"
	"\n"
	"It says what it checked and what it could not, and ends with 0 only if the log is sound. Three things no folder can prove by itself:\n"
	"\n"
	"1. That log.vkey is the provider's key. Compare the SHA-256 of its text with the one you got another way (published, on paper, from your last\n"
	"   audit): %s\n"
	"2. That the founding document is the provider's. Compare its SHA-256 in the same way:\n"
	"   %s\n"
	"3. That this is all of the log. Bring the checkpoint that you kept from your last visit: --anchor FILE. Keep this one for the next:\n"
	"   copy log/checkpoint to a place that the provider cannot reach.\n"
	"\n"
	"To look: chancery audit show THIS-FOLDER --event certificate.refused --whole. To prove one record to others: chancery audit prove\n"
	"THIS-FOLDER --record 17 --out 17.tlog-proof. Other tools read all of these files; the records are JSON, one in each leaf.\n";

static st put_readme(struct scope *s, const struct cli_audit_source *source, const struct audit_checkpoint *c, uint64_t anchors,
		     uint64_t crls, const char *path)
{
	const char *what = "is not here: this provider was founded without quorum", *digest = "there is none";
	span document;
	char when[MOMENT_TEXT_MAX];
	if (source->founding != NULL) {
		what = "the document with which the provider began: who may approve what follows from it";
		TRY(file_read(s, source->founding, CONTROL_TEXT_MAX, &document));
		digest = hex_text(s, digest_new(s, DIGEST_SHA256, document));
	}
	return put_file(
		s, path,
		span_str(scope_printf(s, readme, c->origin, (unsigned long long)c->size, moment_text(scope_now(s), when),
				      (unsigned long long)crls, (unsigned long long)anchors, what,
				      audit_key_digest(s, &source->key[0]), digest)));
}

static st put_beside(struct scope *s, const struct export *x, const struct cli_audit_source *source,
		     const struct audit_checkpoint *c, const char *to)
{
	uint64_t anchors, crls = 0;
	TRY(copy_small(s, source->key_path, scope_printf(s, "%s/log.vkey", to), AUDIT_NOTE_MAX));
	TRY(copy_anchors(s, source, scope_printf(s, "%s/anchors", to), c->size, &anchors));
	if (source->founding != NULL)
		TRY(copy_small(s, source->founding, scope_printf(s, "%s/founding", to), CONTROL_TEXT_MAX));
	if (source->stamp_anchor != NULL)
		TRY(copy_small(s, source->stamp_anchor, scope_printf(s, "%s/stamp-anchor.pem", to), STAMP_ANCHOR_MAX));
	TRY(copy_stamps(s, source, scope_printf(s, "%s/log", to), c->size));
	TRY(copy_crls(s, x->cli, source, scope_printf(s, "%s/crls", to), &crls));
	TRY(put_catalogue(s, scope_printf(s, "%s/events.md", to)));
	return put_readme(s, source, c, anchors, crls, scope_printf(s, "%s/README.txt", to));
}

/* ---- the command ---- */

static st record_export(struct scope *s, const struct cli *c, const char *to, uint64_t records)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_LOG_EXPORTED);
	audit_str(&e, "path", to);
	audit_number(&e, "records", (int64_t)records);
	audit_str(&e, "operator", cli_operator(s));
	return cli_record(s, c, "log-exported", &e);
}

static st sync_all(struct scope *s, const char *to)
{
	AUTO_FD fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || syncfs(fd) != 0)
		return fail_errno(s, E_IO, "syncing %s", to);
	return OK;
}

static st export_log(struct scope *s, struct export *x, const struct cli_audit_source *source, const char *to,
		     struct audit_checkpoint *out)
{
	span note;
	TRY(audit_log_checkpoint(s, x->log, &note));
	TRY(fail_context(s, audit_checkpoint_open(s, note, source->key, source->keys, out), "checkpoint of the log"));
	TRY(file_make_directory(s, x->to, 0755));
	TRY(copy_log(s, x, note, out->size));
	return put_beside(s, x, source, out, to);
}

st cli_audit_export(struct scope *s, struct cli *c)
{
	const char *to = c->argument[0];
	struct cli_audit_source source;
	struct audit_checkpoint checkpoint;
	bool copy = cli_get(c, "log") != NULL;
	TRY(cli_audit_find(s, c, NULL, &source));
	if (file_exists(to))
		return fail(s, E_CONFLICT, "%s exists; name a directory that does not", to);
	if (!copy)
		TRY(cli_record_possible(s, c));
	struct export x = { .cli = c, .to = scope_printf(s, "%s/log", to) };
	buf_init(&x.bundle, AUDIT_BUNDLE_MAX);
	st status = audit_log_open(s, source.log, &x.log);
	if (status.code == E_OK)
		status = export_log(s, &x, &source, to, &checkpoint);
	audit_log_close(x.log);
	buf_free(&x.bundle);
	free(x.made);
	TRY(status);
	TRY(sync_all(s, to));
	if (!copy) /* else it is somebody's copy, and no log is written here */
		TRY(record_export(s, c, to, checkpoint.size));
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:I, s:s, s:s}", "export", to, "origin", checkpoint.origin, "records",
				   (json_int_t)checkpoint.size, "key sha256", audit_key_digest(s, &source.key[0]), "next",
				   scope_printf(s, "chancery audit verify %s", to)));
}
