#include "purge.h"
#include "digest.h"
#include "file.h"
#include "text.h"
#include <stdlib.h>

st purge_founding(struct scope *s, const char *path, const char *hash, struct control_register **out)
{
	span document;
	uint8_t room[DIGEST_MAX];
	if (hash == NULL)
		return fail(s, E_CONFIG, "founding needs founding-hash, the SHA-256 of the document");
	TRY(fail_context(s, file_read(s, path, CONTROL_TEXT_MAX, &document), "the founding document"));
	const char *found = hex_text(s, digest_of(DIGEST_SHA256, document, room));
	if (strcmp(found, hash) != 0)
		return fail(s, E_CONFIG, "%s has the SHA-256 %s, founding-hash says %s: it is another document", path, found,
			    hash);
	return fail_context(s, control_register_new(s, document, out), "%s", path);
}

static bool is_purge(struct scope *s, span file)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	return control_signed_read(s, file, o).code == E_OK && strcmp(o->proposal.operation->name, "log.purge") == 0;
}

st purge_follow(struct scope *s, struct control_register *r, const struct audit_envelope *e, struct purge_step *out)
{
	span file;
	*out = (struct purge_step){ .passed_over = NULL };
	if (e->record.code != AUDIT_REGISTER_CHANGED && e->record.code != AUDIT_CRL_RECORDED)
		return OK;
	st taken = audit_field_base64(s, &e->record, "file", &file);
	if (taken.code == E_OK && e->record.code == AUDIT_CRL_RECORDED)
		taken = control_register_crl_on_record(s, r, file);
	else if (taken.code == E_OK)
		taken = control_register_apply(s, r, file, audit_envelope_time(e));
	if (taken.code != E_OK)
		out->passed_over = scope_cstr(s, span_str(s->message));
	else if (e->record.code == AUDIT_REGISTER_CHANGED && is_purge(s, file))
		out->file = file;
	scope_clear_error(s);
	return OK;
}

bool purge_is_begun(struct scope *s, const struct audit_envelope *e, span *out_proposal)
{
	/* The one name that nobody who writes over the socket has: auditd notes it for records of its own. */
	if (e->record.code != AUDIT_LOG_PURGED || !span_is(e->by, "auditd"))
		return false;
	bool read = audit_field_hex(s, &e->record, "proposal", out_proposal).code == E_OK;
	scope_clear_error(s);
	return read;
}

/* ---- all of a log ---- */

struct reading {
	struct scope *s;
	struct control_register *r;
	uint64_t size;
	struct purge *purge;
	size_t count;
	st status;
};

static void keep(struct reading *g, span file)
{
	if ((g->count & (g->count - 1)) == 0) { /* the room for them doubles */
		struct purge *grown = scope_alloc(g->s, (2 * g->count + 1) * sizeof *grown);
		if (g->count > 0)
			memcpy(grown, g->purge, g->count * sizeof *grown);
		g->purge = grown;
	}
	struct purge *p = &g->purge[g->count];
	*p = (struct purge){ .entry = control_register_head(g->r).entries };
	g->status = control_signed_read(g->s, scope_copy(g->s, file), &p->operation);
	g->count += g->status.code == E_OK;
}

static void begin(struct reading *g, span proposal, uint64_t index)
{
	for (size_t i = 0; i < g->count; i++)
		if (span_equal(proposal, SPAN_ARRAY(g->purge[i].operation.proposal.hash)))
			g->purge[i].begun = index;
}

static st read_leaf(struct scope *s, struct reading *g, span leaf)
{
	struct audit_envelope e;
	struct purge_step step;
	span proposal;
	TRY(audit_envelope_read(s, leaf, &e));
	if (purge_is_begun(s, &e, &proposal))
		begin(g, proposal, e.seq);
	TRY(purge_follow(s, g->r, &e, &step));
	if (step.file.len > 0)
		keep(g, step.file);
	return g->status;
}

static bool each_leaf(void *state, uint64_t index, span leaf)
{
	struct reading *g = state;
	if (index >= g->size)
		return false;
	if (leaf.len == 0)
		return true;
	AUTO_SCOPE aside;
	scope_init(&aside, g->s->source);
	st status = read_leaf(&aside, g, leaf);
	if (status.code != E_OK && g->status.code == E_OK)
		g->status = fail(g->s, status.code, "record %llu: %s", (unsigned long long)index, aside.message);
	return g->status.code == E_OK;
}

st purge_list_read(struct scope *s, struct audit_log *log, uint64_t size, struct control_register *r, struct purge_list *out)
{
	struct reading g = { .s = s, .r = r, .size = size };
	TRY(audit_log_each_bundled(s, log, 0, each_leaf, &g));
	TRY(g.status);
	size_t begun = 0;
	for (size_t i = 0; i < g.count; i++)
		if (g.purge[i].begun > 0)
			g.purge[begun++] = g.purge[i];
	*out = (struct purge_list){ .purge = g.purge, .count = begun };
	return OK;
}
