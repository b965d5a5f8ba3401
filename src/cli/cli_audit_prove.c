/* `chancery audit prove` and `audit check`: proofs that stand alone, in the formats that other tools read. */
#include "audit_proof.h"
#include "audit_record.h"
#include "cli_audit.h"
#include "cli_audit_source.h"
#include "file.h"
#include "text.h"

/* ---- prove ---- */

struct proving {
	struct audit_log *log;
	struct audit_checkpoint checkpoint;
	span note;
	struct buf out;
};

struct wanted_leaf {
	struct scope *s;
	span leaf;
};

static bool take_leaf(void *state, uint64_t index, span leaf)
{
	struct wanted_leaf *w = state;
	(void)index;
	w->leaf = scope_copy(w->s, leaf);
	return false;
}

static st too_long(struct scope *s, bool written)
{
	return written ? OK : fail(s, E_LIMIT, "the proof is over the limit of %zu bytes", AUDIT_PROOF_TEXT_MAX);
}

/* Verified before it is handed out: who gets it should not find out that it is wrong. */
static st prove_inclusion(struct scope *s, struct proving *p, const struct cli_audit_source *keys, uint64_t index)
{
	struct audit_source source = { .node = audit_log_node, .state = p->log };
	struct audit_inclusion *i = scope_new(s, struct audit_inclusion);
	struct wanted_leaf w = { .s = s };
	struct audit_checkpoint got;
	if (index >= p->checkpoint.size)
		return fail(s, E_INPUT, "the newest checkpoint covers records 0 to %llu: record %llu cannot be proved",
			    (unsigned long long)p->checkpoint.size - 1, (unsigned long long)index);
	TRY(audit_log_each_bundled(s, p->log, index, take_leaf, &w));
	if (w.leaf.len == 0)
		return fail(s, E_NOTFOUND,
			    "the content of record %llu was removed by an operation: there is nothing left to prove",
			    (unsigned long long)index);
	*i = (struct audit_inclusion){ .index = index, .leaf = w.leaf, .note = p->note };
	TRY(audit_prove_inclusion(s, &source, index, p->checkpoint.size, &i->path));
	TRY(fail_context(s, audit_inclusion_verify(s, i, i->leaf, keys->key, keys->keys, &got),
			 "record %llu and the tiles do not fit the checkpoint, see `chancery audit verify`",
			 (unsigned long long)index));
	return too_long(s, audit_inclusion_write(s, i, &p->out));
}

static st prove_consistency(struct scope *s, struct proving *p, const struct cli_audit_source *keys, const char *path)
{
	struct audit_source source = { .node = audit_log_node, .state = p->log };
	struct audit_proof *proof = scope_new(s, struct audit_proof);
	struct audit_checkpoint older;
	span note;
	TRY(file_read(s, path, AUDIT_NOTE_MAX, &note));
	TRY(fail_context(s, audit_checkpoint_open(s, note, keys->key, keys->keys, &older), "%s", path));
	TRY(audit_prove_consistency(s, &source, older.size, p->checkpoint.size, proof));
	TRY(fail_context(s,
			 audit_verify_consistency(s, span_of(proof->hash, proof->count * sizeof proof->hash[0]), older.size,
						  &older.root, p->checkpoint.size, &p->checkpoint.root),
			 "the log does not continue the tree of %s (a fork), see `chancery audit verify`", path));
	return too_long(s, audit_consistency_write(s, older.size, proof, p->note, &p->out));
}

static st prove_what(struct scope *s, const struct cli *c, const struct cli_audit_source *source, struct proving *p)
{
	const char *since = cli_get(c, "since"), *record = cli_get(c, "record");
	uint64_t index;
	TRY(audit_log_checkpoint(s, p->log, &p->note));
	TRY(fail_context(s, audit_checkpoint_open(s, p->note, source->key, source->keys, &p->checkpoint),
			 "checkpoint of the log"));
	if ((since == NULL) == (record == NULL))
		return fail(s, E_INPUT,
			    "say what is to be proved: --record N, that it is in the log, or --since CHECKPOINT, that the log "
			    "continues that one");
	if (since != NULL)
		return prove_consistency(s, p, source, since);
	TRY(cli_get_number(s, c, "record", 0, UINT64_MAX, &index));
	return prove_inclusion(s, p, source, index);
}

st cli_audit_prove(struct scope *s, struct cli *c)
{
	struct cli_audit_source source;
	struct proving p = { .log = NULL };
	TRY(cli_audit_find(s, c, c->argument_count > 0 ? c->argument[0] : NULL, &source));
	buf_init(&p.out, AUDIT_PROOF_TEXT_MAX);
	st status = audit_log_open(s, source.log, &p.log);
	if (status.code == E_OK)
		status = prove_what(s, c, &source, &p);
	if (status.code == E_OK)
		status = cli_write_out(s, c, cli_get(c, "out"), buf_span(&p.out));
	audit_log_close(p.log);
	buf_free(&p.out);
	return status;
}

/* ---- check ---- */

static json_t *leaf_json(span leaf)
{
	json_t *envelope = json_loadb((const char *)leaf.data, leaf.len, 0, NULL);
	return envelope != NULL ? envelope : json_string("not JSON");
}

st cli_audit_check_proof(struct scope *s, struct cli *c)
{
	span text, leaf;
	struct audit_key key[AUDIT_KEYS_MAX];
	size_t keys;
	struct audit_inclusion *p = scope_new(s, struct audit_inclusion);
	struct audit_checkpoint checkpoint;
	const char *path = cli_get(c, "key"), *given = cli_get(c, "leaf");
	if (path == NULL) {
		TRY(fail_context(s, cli_read_conf(s, c), "without --key FILE"));
		path = c->conf.audit_key;
	}
	TRY(cli_audit_read_keys(s, path, key, &keys));
	TRY(file_read(s, c->argument[0], AUDIT_PROOF_TEXT_MAX, &text));
	TRY(fail_context(s, audit_inclusion_read(s, text, p), "%s", c->argument[0]));
	leaf = p->leaf;
	if (given != NULL)
		TRY(file_read(s, given, AUDIT_LEAF_MAX, &leaf));
	if (leaf.len == 0)
		return fail(s, E_INPUT, "the proof does not bring its record along; give it: --leaf FILE");
	TRY(audit_inclusion_verify(s, p, leaf, key, keys, &checkpoint));
	return cli_print(s, c,
			 json_pack("{s:s, s:s, s:I, s:I, s:s, s:o}", "verdict", "the record is in the log", "origin",
				   checkpoint.origin, "record", (json_int_t)p->index, "records under the checkpoint",
				   (json_int_t)checkpoint.size, "key sha256", audit_key_digest(s, &key[0]), "leaf",
				   leaf_json(leaf)));
}
