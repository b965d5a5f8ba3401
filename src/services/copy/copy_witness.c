/* When a checkpoint is cosigned: c2sp.org/tlog-witness, and every record under it is here. */
#include "audit_verify.h"
#include "copy.h"
#include "failpoint.h"
#include <stdlib.h>

static st open_note(struct scope *s, const struct copy *c, span note, struct audit_checkpoint *out)
{
	struct audit_note parts;
	TRY(audit_note_read(s, note, &parts));
	TRY(audit_checkpoint_read(s, parts.text, out));
	//= c2sp tlog-witness "add-checkpoint" an origin that is not known is 404, a signature by no key of it 403
	if (!span_is(c->log_key[0].name, out->origin))
		return fail(s, E_NOTFOUND, "the log %s is not the one that is kept here", out->origin);
	if (audit_checkpoint_open(s, note, c->log_key, c->log_keys, out).code != E_OK) {
		scope_clear_error(s);
		return fail(s, E_DENIED, "the key of the log did not sign this checkpoint");
	}
	return OK;
}

//= c2sp tlog-witness "add-checkpoint" the proof shows that the new tree begins with the old one; of the same size it is the same
static st check_grown(struct scope *s, const struct copy *c, const struct copy_request *request,
		      const struct audit_checkpoint *new)
{
	if (new->size < request->old)
		return fail(s, E_INPUT, "the checkpoint is of fewer records than the old one");
	if (new->size == request->old || request->old == 0) {
		if (request->proof.len > 0)
			return fail(s, E_INPUT, "no proof belongs to these sizes");
		return request->old == 0 || audit_hash_equal(&new->root, &c->head.root)
			       ? OK
			       : fail(s, E_CONFLICT, "another tree of this size was cosigned before (a fork)");
	}
	if (audit_verify_consistency(s, request->proof, request->old, &c->head.root, new->size, &new->root).code != E_OK) {
		scope_clear_error(s);
		return fail(s, E_CRYPTO, "the tree does not continue the one of %llu records that was cosigned (a fork)",
			    (unsigned long long)request->old);
	}
	return OK;
}

static st verify_held(struct scope *s, const struct copy *c, span note, struct copy_lacking *lacking)
{
	struct audit_report report;
	const struct audit_verify verify = { .dir = c->conf->log,
					     .key = c->log_key,
					     .key_count = c->log_keys,
					     .since = buf_span(&c->note),
					     .checkpoint = note,
					     .removed = c->conf->founding == NULL ? NULL : copy_lacks,
					     .removed_state = lacking };
	TRY(audit_verify(s, &verify, &report));
	if (report.verdict == AUDIT_UNSOUND)
		return fail(s, E_CRYPTO, "what is held here does not make that tree: %s", report.problem);
	return OK;
}

/* Every record behind the old checkpoint, its tiles and the new root, read from the files. */
static st check_held(struct scope *s, struct copy *c, span note, const struct audit_checkpoint *new)
{
	struct copy_lacking lacking = { .count = 0 };
	st held = verify_held(s, c, note, &lacking);
	if (held.code == E_OK && lacking.count > 0)
		held = copy_lacking_check(s, c, &lacking, new);
	free(lacking.range);
	return held;
}

/* From the head that keyd cosigned last: after a crash it may be further than what is kept here. */
static st cosign(struct scope *s, struct copy *c, const struct audit_checkpoint *new, const char **out_line)
{
	struct audit_log *log;
	struct audit_proof *proof = scope_new(s, struct audit_proof);
	uint64_t signed_size;
	uint8_t root[AUDIT_HASH_LEN];
	span payload;
	TRY(key_log_head(s, c->keyd, c->conf->key, &signed_size, root));
	if (signed_size > new->size)
		return fail(s, E_STATE, "a checkpoint of %llu records was cosigned already", (unsigned long long)signed_size);
	TRY(audit_log_open(s, c->conf->log, &log));
	struct audit_source source = { .node = audit_log_node, .state = log };
	st proved = audit_prove_consistency(s, &source, signed_size, new->size, proof);
	audit_log_close(log);
	TRY(proved);
	TRY(key_cosign_checkpoint(s, c->keyd, c->conf->key, c->conf->name, new->origin, new->size, new->root.octets,
				  audit_proof_span(proof), &payload));
	*out_line = audit_note_signature_line(s, c->conf->name, payload);
	return OK;
}

static st check(struct scope *s, struct copy *c, const struct copy_request *request, const struct audit_checkpoint *new)
{
	TRY(check_grown(s, c, request, new));
	return check_held(s, c, request->note, new);
}

st copy_cosign(struct scope *s, struct copy *c, const struct copy_request *request, bool *out_stale, const char **out_line)
{
	struct audit_checkpoint new;
	TRY(open_note(s, c, request->note, &new));
	*out_stale = request->old != c->head.size;
	if (*out_stale)
		return OK;
	st checked = check(s, c, request, &new);
	if (checked.code == E_CRYPTO || checked.code == E_CONFLICT)
		copy_record_refused(c, s->message, new.size, request->note);
	TRY(checked);
	TRY(cosign(s, c, &new, out_line));
	FAILPOINT("copy.cosigned");
	return copy_keep_note(
		s, c, &new,
		span_str(scope_printf(s, "%.*s%s", (int)request->note.len, (const char *)request->note.data, *out_line)));
}
